"""The studio in a real browser: `browser_studio.py [CHECK ...] [--shots FOLDER]`.

Starts `colorize-studio` as a person would, and colours photos by hand in headless Chromium: by mouse, by keys
alone, with bad files, two people at once, and in a cell of JupyterLab. Prints a line for each check; ends
with 1 if one fails, and with 0 and a sentence where there is no browser. Needs playwright (pip), a Chromium,
and the extra `studio`. `--shots` writes the screenshots of lesson 15.
"""

import base64
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
import numpy as np
from browser_page import Browser, asked, contrast, root, run_checks, small_picture
from PIL import Image

slowest = 5  # seconds from click to picture on a machine that does other things too; the aim is 0.5
wing, breast, size = (158, 105), (170, 150), (455, 256)  # places on the kingfisher; the size of that photo
blue, red = '#086ecd', '#d02020'
command = 'import sys; sys.argv[0] = "colorize-studio"; from colorize_nb.commands import main; main()'
env = os.environ | {'PYTHONPATH': str(root), 'PYTHONWARNINGS': 'ignore'}


@contextlib.contextmanager
def studio(folder):
    "The command itself, in a process of its own; at the end it gets a Ctrl-C."
    options = ['--port', '0', '--no-browser', '--folder', str(folder)]
    running = subprocess.Popen(
        [sys.executable, '-c', command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        line = running.stdout.readline().strip()
        assert line.startswith('http://127.0.0.1:'), f'{line}{running.stderr.read()}'
        yield line
    finally:
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 130 and 'Traceback' not in said, f'{running.returncode}: {said}'


class Person:
    "Somebody in front of a canvas, in a page or in a cell."

    def __init__(self, page):
        self.page = page
        self.canvas = page.locator('canvas[role=application]')

    def says(self):
        return self.page.locator('.state').inner_text()

    def wait(self, text, limit=90):
        "Until the page says this and asks for nothing more."
        end = time.time() + limit
        busy = self.page.locator('.studio')
        while text not in self.says() or busy.get_attribute('aria-busy') != 'false':
            assert time.time() < end, f'expected {text!r}, the page says {self.says()!r}'
            self.page.wait_for_timeout(20)
        return self

    def open(self, file):
        self.page.set_input_files('#photo', str(file))
        return self.wait('0 hints')

    def at(self, x, y):
        "Where a place of the photo is on the screen."
        box = self.canvas.bounding_box()
        return box['x'] + box['width'] * x / size[0], box['y'] + box['height'] * y / size[1]

    def click(self, x, y):
        self.page.mouse.click(*self.at(x, y))
        return self

    def drag(self, here, there):
        self.page.mouse.move(*self.at(*here))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*there), steps=5)
        self.page.mouse.up()
        return self

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def choose(self, colour):
        "Take a colour in the field for any colour."
        self.page.evaluate(
            """colour => { const e = document.querySelector('#free');
            e.value = colour; e.dispatchEvent(new Event('change')); }""",
            colour,
        )
        return self

    def slide(self, name, value):
        self.page.locator(name).fill(str(value))
        return self

    def push(self, name):
        self.page.locator(name).click()
        return self

    def hints(self):
        "Names of the hints as a screen reader says them."
        buttons = self.page.locator('.studio ol button')
        return [buttons.nth(i).get_attribute('aria-label') for i in range(buttons.count())]

    def picture(self):
        "What the canvas shows, without the marks of hints: (height, width, 3), and where marks are."
        url = self.canvas.evaluate('e => e.toDataURL()')
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(',')[1]))).convert('RGB'))
        free = np.ones(shown.shape[:2], bool)
        for label in self.hints():
            x, y = map(int, re.search(r': (\d+), (\d+)', label).groups())
            free[max(0, y - 11) : y + 12, max(0, x - 11) : x + 12] = False
        return shown.astype(int), free

    def save(self, folder):
        "The two files that the page hands out."
        got = []
        take = lambda download: got.append(download)
        self.page.on('download', take)
        self.push('#save').wait('Saved')
        end = time.time() + 10
        while len(got) < 2:
            assert time.time() < end, f'{len(got)} files came'
            self.page.wait_for_timeout(50)
        self.page.remove_listener('download', take)
        for one in got:
            one.save_as(folder / one.suggested_filename)
        return [folder / one.suggested_filename for one in got]


def same(one, other, what):
    "Two pictures are equal where neither has a mark."
    (a, free), (b, also) = one, other
    assert a.shape == b.shape and (a == b)[free & also].all(), f'{what}: other pixels'


def differs(one, other):
    "The largest change of a channel at each pixel without a mark."
    (a, free), (b, also) = one, other
    return np.abs(a - b).max(2) * (free & also)


def mouse(p):
    "Open, click, palette, pipette, drag, delete, undo, redo, clear, slider, saturation, zoom, pan"
    with p.person() as (me, b):
        me.open(p.bird)
        automatic = me.picture()
        me.choose(blue).click(*wing).wait('1 hint')
        took = float(me.canvas.get_attribute('data-took')) / 1000
        hinted = me.picture()
        change = differs(hinted, automatic)
        near, far = (
            change[wing[1] - 20 : wing[1] + 20, wing[0] - 20 : wing[0] + 20].max(),
            change[-25:, :40].max(),
        )
        assert near > 30 and far <= 8, f'changed near by {near}, far by {far}'
        p.shot(b, 'page', me)
        me.page.locator('.colour').first.wait_for()
        assert me.page.locator('.colour').first.get_attribute('aria-label').startswith('likely colour #')
        me.page.locator('.colour').last.click()
        me.wait('1 hint')
        offered = me.page.locator('.colour').last.get_attribute('aria-label').split()[-1]
        assert me.hints()[0].endswith(offered), me.hints()
        me.push('#undo').wait('1 hint')
        same(me.picture(), hinted, 'undo of a colour')
        me.push('#pipette').click(60, 200).wait('1 hint')
        assert not me.hints()[0].endswith(blue), 'the pipette took nothing'
        me.push('#undo').wait('1 hint')
        me.drag(wing, breast).wait('1 hint')
        assert f': {breast[0]}, {breast[1]}' in me.hints()[0], me.hints()
        assert differs(me.picture(), hinted).max() > 20, 'dragging changed nothing'
        me.push('#undo').wait('1 hint')
        same(me.picture(), hinted, 'undo of dragging')
        me.push('#redo').wait('1 hint')
        me.push('#undo').wait('1 hint')
        me.choose(blue).press('Escape')
        me.click(*breast).wait('2 hints').push('#delete').wait('1 hint')
        same(me.picture(), hinted, 'delete')
        me.push('#clear').wait('0 hints')
        same(me.picture(), automatic, 'clear')
        me.push('#undo').wait('1 hint')
        me.slide('#cut', 0.2)
        shown = me.picture()[0]
        spread = np.ptp(shown, axis=2)
        assert spread[:, :85].max() <= 2 and spread[:, 95:].max() > 40, 'left is not gray, or right is'
        me.page.select_option('#against', 'automatic')
        left = (me.picture()[0] == automatic[0])[:, :85]
        assert left.mean() > 0.99, 'left of the line are not the automatic colours'
        me.slide('#cut', 0).slide('#saturation', 0).wait('1 hint')
        pale = me.picture()
        assert np.ptp(pale[0], axis=2)[-25:, :40].max() <= 4, 'saturation 0 left colours'
        me.push('#undo').wait('1 hint')
        same(me.picture(), hinted, 'undo of saturation')
        view = me.page.locator('.view')
        wide = me.canvas.bounding_box()['width']
        me.push('#larger').push('#larger')
        assert abs(me.canvas.bounding_box()['width'] / wide - 2.25) < 0.05, 'zoom'
        view.scroll_into_view_if_needed()
        was = view.evaluate('e => e.scrollLeft')
        box = view.bounding_box()
        me.page.keyboard.down('Shift')
        me.page.mouse.move(box['x'] + 300, box['y'] + 200)
        me.page.mouse.down()
        me.page.mouse.move(box['x'] + 200, box['y'] + 150, steps=5)
        me.page.mouse.up()
        me.page.keyboard.up('Shift')
        assert abs(view.evaluate('e => e.scrollLeft') - was - 100) < 8, 'pan'
        me.click(200, 130).wait('2 hints')
        assert re.search(r': (199|200|201), (129|130|131)', me.hints()[1]), me.hints()
        b.quiet()
        assert took < slowest, f'{took:.1f} s from click to picture'
        return f'click to picture {took:.2f} s; near the hint {near} of 255, far from it {far}'


def files(p):
    "Save photo, hints and saturation, reopen: the same pixels, on the page and in full resolution"
    from colorize_nb.hints import colorize_with_hints
    from colorize_nb.metadata import is_our_result

    with p.person() as (me, b):
        me.open(p.bird).choose(blue).click(*wing).wait('1 hint').choose(red).press('Escape')
        me.click(*breast).wait('2 hints')
        vivid = me.picture()
        before = me.slide('#saturation', 0.4).wait('2 hints').picture()
        assert differs(vivid, before).max() > 20, 'the saturation changed nothing'
        photo, hints = me.save(p.tmp)
        assert [photo.name, hints.name] == ['kingfisher_color.png', 'kingfisher_color.hints.json']
        assert is_our_result(photo) and len(json.loads(hints.read_text())['hints']) == 2
        again = np.asarray(colorize_with_hints(p.bird, hints, p.colorizer))
        assert (np.asarray(Image.open(photo)) == again).all(), 'colorize_with_hints makes other pixels'
        saturation = me.open(p.bird).page.locator('#saturation')
        usual = saturation.input_value()
        me.page.set_input_files('#hints', str(hints))
        same(me.wait('2 hints').picture(), before, 'reopened')
        assert saturation.input_value() == '0.4' != usual, saturation.input_value()
        me.page.set_input_files('#hints', str(root / 'data' / 'hints' / 'kingfisher.hints.json'))
        me.wait('5 hints')  # a file of the first version, which held no saturation
        assert saturation.input_value() == usual, saturation.input_value()
        same(me.push('#undo').wait('2 hints').picture(), before, 'undo of reopening')
        me.slide('#name', 'scan.tif').save(p.tmp)
        assert Image.open(p.tmp / 'scan.tif').size == size
        me.slide('#path', 'dahlia.jpg').page.locator('#path').press('Enter')
        me.wait('0 hints')
        assert me.page.locator('#name').input_value() == 'dahlia_color.png'
        me.page.select_option('#sample', 'color/kingfisher.jpg')
        me.wait('0 hints')
        assert me.page.locator('#name').input_value() == 'kingfisher_color.png'
        b.quiet()
        return f'{photo.stat().st_size / 1000:.0f} kB, {len(again):,} rows equal'


def keys(p):
    "Everything without a mouse"
    with p.person() as (me, b):
        me.open(p.bird)
        automatic = me.picture()
        focus = 'document.activeElement.getAttribute("role") || document.activeElement.id'
        for _ in range(30):
            me.press('Tab')
            if me.page.evaluate(focus) == 'application':
                break
        assert me.page.evaluate(focus) == 'application', 'Tab does not reach the photo'
        outline = me.canvas.evaluate('e => getComputedStyle(e).outlineWidth')
        assert float(outline.removesuffix('px')) >= 2, f'focus is not to be seen: {outline}'
        me.press('ArrowLeft', 'Shift+ArrowUp', 'Enter').wait('1 hint')
        assert me.hints() and ': 225, 117' in me.hints()[0], me.hints()
        one = me.picture()
        me.press('Shift+ArrowLeft', 'Shift+ArrowLeft', 'ArrowDown')
        me.page.wait_for_timeout(600)
        me.wait('1 hint')
        assert ': 202, 119' in me.hints()[0], me.hints()
        me.press('Control+z').wait('1 hint')
        same(me.picture(), one, 'undo takes back the whole way of the arrow keys')
        me.press('Control+y').wait('1 hint').press('Control+Shift+z').wait('1 hint')
        assert ': 202, 119' in me.hints()[0], me.hints()
        me.press('Escape', 'n', 'Delete').wait('0 hints')
        same(me.press('Escape').picture(), me.press('+', '-').picture(), 'zoom and back')
        me.page.locator('#undo').focus()
        me.press('Enter').wait('1 hint').press('Tab', 'Tab', 'Tab', 'Enter').wait('0 hints')
        me.page.locator('#cut').focus()
        me.press('ArrowRight')
        assert me.page.locator('#cut').get_attribute('aria-valuetext').startswith('1%')
        me.press('ArrowLeft')
        same(me.picture(), automatic, 'after all')
        b.quiet()


names = """() => [...document.querySelectorAll('button, input, select, canvas')].filter(e => !(
  e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels[0]?.textContent.trim())
)).map(e => e.outerHTML)"""


def labels(p):
    "Each part has a name for a screen reader; text can be read; nothing is wider than a telephone"
    said = []
    for width in (1100, 390):
        with p.person(viewport={'width': width, 'height': 800}) as (me, b):
            me.open(p.bird).click(*wing).wait('1 hint')
            me.page.locator('.colour').first.wait_for()
            assert not me.page.evaluate(names), me.page.evaluate(names)
            assert me.page.locator('.state').get_attribute('role') == 'status'
            least = me.page.evaluate(contrast)
            assert least >= 4.5, f'contrast {least:.1f}, WCAG asks 4.5'
            wide = me.page.evaluate('document.documentElement.scrollWidth')
            assert wide <= width, f'{wide} pixels wide on a screen of {width}'
            assert 'guesses' in me.page.locator('p').first.inner_text()
            p.shot(b, 'phone', me) if width < 400 else None
            said.append(f'{width} px, contrast {least:.1f}')
    return '; '.join(said)


def bad(p):
    "A text, a cut photo, 200 megapixels, broken and foreign hints: a sentence each, and nothing is lost"
    huge = io.BytesIO()
    Image.new('1', (20_000, 10_000)).save(huge, 'PNG')
    wrong = {
        'letter.jpg': (b'a letter', 'photo'),
        'cut.jpg': (p.bird.read_bytes()[:3000], 'cut off'),
        'huge.png': (huge.getvalue(), 'more than 50,000,000 pixels'),
        'long.jpg': (bytes(50_000_001), 'make the photo smaller'),
    }
    row = dict(x=900, y=5, rgb=[1, 2, 3])
    good = dict(format='colorize_nb hints', version=1, size=list(size), photo=None, hints=[row])
    hints = {
        'broken': (b'{"format": ', 'not JSON'),
        'outside': (json.dumps(good).encode(), 'outside the photo'),
        'other': (json.dumps({**good, 'size': [9, 9]}).encode(), 'for a photo of [9, 9] pixels'),
    }
    fifty = {**good, 'hints': [{**row, 'x': wing[0], 'y': wing[1], 'rgb': [8, 110, 205]}] * 50}
    with p.person() as (me, b):
        me.open(p.bird).choose(blue).click(*wing).wait('1 hint')
        before = me.picture()
        for field, given in (('#photo', wrong), ('#hints', hints)):
            for name, (content, word) in given.items():
                (p.tmp / name).write_bytes(content)
                me.page.set_input_files(field, str(p.tmp / name))
                me.wait(word)
                assert me.page.locator('.state.wrong').count() == 1, me.says()
                same(me.picture(), before, name)
        me.slide('#path', '../../etc/passwd').page.locator('#path').press('Enter')
        me.wait('only photos in')
        me.slide('#name', 'bird.gif').push('#save').wait('end the name in one of')
        me.page.set_input_files('#hints', str(p.write('fifty.json', json.dumps(fifty))))
        me.wait('50 hints')
        most = differs(me.picture(), before).max()
        assert most <= 12, f'fifty equal hints differ from one by {most}'
        me.push('#undo').wait('1 hint')
        same(me.picture(), before, 'after fifty')
        assert all('400' in e for e in b.errors), b.errors  # the console names each refusal
        return f'{len(wrong) + len(hints) + 2} refused; fifty equal hints differ by {most} of 255'


def people(p):
    "Two people on one server: neither sees the other's photo; other pages and wrong tokens are refused"
    with p.person() as (me, b):
        other = Person(b.context.new_page())
        other.page.goto(p.address)
        other.open(p.bird)
        me.open(p.bird).click(*wing).wait('1 hint')
        other.click(*breast).wait('1 hint').click(*wing).wait('2 hints').push('#undo').wait('1 hint')
        assert len(me.hints()) == 1 and me.hints() != other.hints()
        me.push('#undo').wait('0 hints')
        assert len(other.hints()) == 1
    for headers in ({'Origin': 'http://evil.example'}, {'X-Token': 'guess'}):
        request = urllib.request.Request(p.address.split('?')[0] + 'about', b'', headers)
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as e:
            assert e.code == 403, e.code
        else:
            raise AssertionError(f'{headers} is welcome')


@contextlib.contextmanager
def lab(folder, **more):
    "JupyterLab on a folder: the address of a notebook there, with NAME for its name."
    settings = {'@jupyterlab/apputils-extension:notification': {'fetchNews': 'false'}}
    settings |= {'@jupyterlab/notebook-extension:tracker': {'windowingMode': 'none'}}  # draw all cells
    for place in ('settings', 'config', 'data', 'run'):
        (folder / place).mkdir()
    (folder / 'settings' / 'overrides.json').write_text(json.dumps(settings))
    places = {'JUPYTER_CONFIG_DIR': 'config', 'JUPYTER_RUNTIME_DIR': 'run', 'IPYTHONDIR': 'config'}
    options = ['--no-browser', '--allow-root', '--ip=127.0.0.1', '--port=0', '--port-retries=0']
    options += [f'--LabApp.app_settings_dir={folder / "settings"}', f'--ServerApp.root_dir={folder}']
    running = subprocess.Popen(
        [sys.executable, '-m', 'jupyterlab', *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=env | {k: str(folder / v) for k, v in places.items()} | more,
    )
    try:
        end = time.time() + 90
        while not (found := list((folder / 'run').glob('jpserver-*.json'))):
            assert time.time() < end and running.poll() is None, 'JupyterLab does not start'
            time.sleep(0.2)
        time.sleep(1)
        said = json.loads(found[0].read_text())
        yield f'{said["url"]}lab/tree/NAME.ipynb?token={said["token"]}'
    finally:
        running.terminate()
        running.wait(60)


def cell(p):
    "Studio() in a cell of JupyterLab: upload, click, keys, undo, save beside the notebook, reopen"
    import nbformat

    folder = p.tmp / 'lab'
    folder.mkdir()
    source = 'from colorize_nb.studio import Studio\nStudio()'
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nb.metadata.kernelspec = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
    nbformat.write(nb, folder / 'studio.ipynb')
    with lab(folder) as address, Browser(p.playwright, p.path, address.replace('NAME', 'studio')) as b:
        b.page.set_default_navigation_timeout(120_000)  # JupyterLab is large
        b.go().page.locator('.jp-Notebook .jp-Cell').first.wait_for(timeout=240_000)
        b.page.get_by_text('| Idle').first.wait_for(timeout=240_000)  # the kernel is there
        b.page.locator('.jp-Notebook .jp-Cell .cm-content').first.click()
        b.page.keyboard.press('Control+Enter')
        me = Person(b.page)
        me.canvas.wait_for(timeout=120_000)
        me.page.locator('#sample option').nth(5).wait_for(state='attached', timeout=60_000)
        me.open(p.bird)
        automatic = me.picture()
        me.choose(blue)
        me.canvas.scroll_into_view_if_needed()
        me.click(*wing).wait('1 hint')
        took = float(me.canvas.get_attribute('data-took')) / 1000
        hinted = me.picture()
        assert differs(hinted, automatic).max() > 30 and differs(hinted, automatic)[-25:, :40].max() <= 8
        p.shot(b, 'cell', me)
        me.canvas.focus()
        me.press('Control+z').wait('0 hints')
        same(me.picture(), automatic, 'undo by keys')
        me.press('Control+y').wait('1 hint').press('n', 'ArrowLeft').wait('1 hint')
        me.page.wait_for_timeout(600)
        me.wait('1 hint').press('Control+z').wait('1 hint')
        same(me.picture(), hinted, 'undo of an arrow key')
        faint = me.slide('#saturation', 0.5).wait('1 hint').picture()
        me.push('#save').wait('Saved kingfisher_color.png')
        saved = folder / 'kingfisher_color.hints.json'
        assert Image.open(folder / 'kingfisher_color.png').size == size and saved.exists()
        me.push('#clear').wait('0 hints').slide('#saturation', 1).wait('0 hints')
        me.page.set_input_files('#hints', str(saved))
        same(me.wait('1 hint').picture(), faint, 'reopened')
        me.page.set_input_files('#photo', str(p.write('letter.jpg', 'a letter')))
        me.wait('photo')
        same(me.picture(), faint, 'after a bad file')
        assert took < slowest, f'{took:.1f} s from click to picture'
        return f'click to picture {took:.2f} s'


class Place:
    "What the checks share."

    def __init__(self, playwright, path, tmp, shots):
        from colorize_nb.colorize import Colorizer
        from colorize_nb.photo import photos_dir

        self.playwright, self.path, self.tmp, self.shots = playwright, path, tmp, shots
        self.folder, self.colorizer = photos_dir() / 'color', Colorizer(device='cpu')
        self.bird, self.address = self.folder / 'kingfisher.jpg', None

    def write(self, name, text):
        (self.tmp / name).write_text(text)
        return self.tmp / name

    @contextlib.contextmanager
    def person(self, **context):
        "A new person in a new browser."
        with Browser(self.playwright, self.path, self.address.split('?')[0], **context) as b:
            yield Person(b.go('?' + self.address.split('?')[1]).page), b

    def shot(self, b, name, me):
        "A screenshot for the lesson: the photo half gray, half in colour."
        if not self.shots:
            return
        me.page.locator('.colour').first.wait_for()
        me.wait('hint').slide('#cut', 0.3)
        whole = {'full_page': True} if name != 'cell' else {}
        small_picture(
            b.page.screenshot(**whole),
            Path(self.shots) / f'studio_{name}.png',
            260 if name == 'phone' else 720,
        )
        me.slide('#cut', 0)


checks = (mouse, files, keys, labels, bad, people, cell)


def main():
    a, wanted, start, path = asked(__doc__, checks)
    with tempfile.TemporaryDirectory(prefix='colorize_nb_studio_') as folder, start() as playwright:
        place = Place(playwright, path, Path(folder), a.shots)
        with studio(place.folder) as place.address:
            return run_checks(wanted, place)


if __name__ == '__main__':
    sys.exit(main())
