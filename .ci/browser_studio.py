"""The studio in a real browser: a photo is opened, clicked, undone, saved and reopened in headless Chromium.

Ends with 1 if something is not as it should be, and with 0 and a sentence where there is no browser. Needs
playwright (pip), a Chromium, and the extra `studio`.
"""

import base64
import io
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
import numpy as np
from browser_page import find_browser, flags
from PIL import Image

slowest = 5  # seconds from click to picture on a machine that does other things too; the aim is 0.5
hint, size = (158, 105), (455, 256)  # on the wing of the kingfisher; the size of that photo


def start():
    "The address of a studio on a free port."
    import uvicorn
    from colorize_nb.studio import studio_app

    listening = socket.create_server(('127.0.0.1', 0))
    server = uvicorn.Server(uvicorn.Config(studio_app('secret'), log_level='warning'))
    work = threading.Thread(target=server.run, kwargs={'sockets': [listening]}, daemon=True)
    work.start()
    return f'http://127.0.0.1:{listening.getsockname()[1]}/?token=secret', server, work


def wait(page, text, limit=60):
    "Until the page says this."
    end = time.time() + limit
    while not page.locator('.state').inner_text().startswith(text):
        assert time.time() < end, f'expected {text}, the page says {page.locator(".state").inner_text()}'
        page.wait_for_timeout(10)


def pixels(page):
    "What the canvas shows, (height, width, 3)."
    url = page.evaluate("document.querySelector('canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(',')[1]))).convert('RGB')).astype(int)


def check(page, folder):
    "Colour a kingfisher as a person would."
    from colorize_nb.photo import photos_dir

    page.set_input_files('#photo', str(photos_dir() / 'color' / 'kingfisher.jpg'))
    wait(page, '0 hints')
    automatic, box = pixels(page), page.locator('canvas').bounding_box()
    start = time.time()
    page.mouse.click(
        box['x'] + box['width'] * hint[0] / size[0], box['y'] + box['height'] * hint[1] / size[1]
    )
    wait(page, '1 hints')
    took = time.time() - start
    page.locator('.colour').first.wait_for()
    hinted = pixels(page)
    change = np.abs(hinted - automatic).max(2)
    near, far = change[hint[1] + 10, hint[0]], change[-25:, :40].max()
    assert near > 30 and far <= 8, f'changed near by {near}, far by {far}'
    with page.expect_download() as got:
        page.click('#savehints')
    got.value.save_as(folder / 'hints.json')
    page.click('#undo')
    wait(page, '0 hints')
    assert (pixels(page) == automatic).all(), 'undo gives other pixels'
    page.set_input_files('#hints', str(folder / 'hints.json'))
    wait(page, '1 hints')
    elsewhere = np.ones(change.shape, bool)
    elsewhere[hint[1] - 10 : hint[1] + 11, hint[0] - 10 : hint[0] + 11] = False  # the mark of the hint
    assert (pixels(page) == hinted)[elsewhere].all(), 'reopened hints give other pixels'
    page.focus('canvas')
    page.keyboard.press('Control+z')
    wait(page, '0 hints')
    assert took < slowest, f'{took:.1f} s from click to picture'
    return f'click to picture {took:.2f} s; near the hint {near} of 255, far from it {far}'


def main():
    "Run the check; what to return to the shell."
    playwright, path = find_browser()
    if playwright is None:
        print(path)
        return 0
    address, server, work = start()
    with playwright() as p, tempfile.TemporaryDirectory() as folder:
        page = p.chromium.launch(executable_path=path, args=flags).new_page()
        errors = []
        page.on('pageerror', lambda e: errors.append(str(e)))
        page.goto(address)
        print('ok studio:', check(page, Path(folder)))
        assert not errors, errors
    server.should_exit = True
    work.join(10)
    return 0


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
