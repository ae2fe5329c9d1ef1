"""The browser page in a real browser: `browser_page.py [CHECK ...] [--shots FOLDER]`.

Writes the page with `write_page`, serves it from this machine, colours five photos in headless Chromium and compares each with what
`colorize` makes of the same file. Prints a line for each check; ends with 1 if one fails, and with 0 and a sentence where there is
no browser. Needs playwright (pip) and a Chromium.
"""

# ruff: noqa: E501  (scripts for the page itself stand in strings)
import argparse
import base64
import contextlib
import functools
import http.server
import io
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
import numpy as np
from PIL import Image

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
flags = (
    '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update '
    '--disable-sync'
).split()


def find_browser():
    "playwright's entry point and the path of a Chromium; or a sentence that says what is missing."
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None, 'skipped: no playwright here: pip install playwright'
    names = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
    path = os.environ.get('CHROMIUM') or next(filter(None, map(shutil.which, names)), None)
    if not path:
        return (
            None,
            'skipped: no Chromium here: install it (Debian: apt install chromium), or name it in $CHROMIUM',
        )
    return sync_playwright, path


class Handler(http.server.SimpleHTTPRequestHandler):
    isolated = False

    def end_headers(self):
        if self.isolated:
            self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
            self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
        super().end_headers()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder, isolated=False):
    "The address of a folder on this machine, with or without the headers that allow threads."
    handler = type('Isolated', (Handler,), {'isolated': isolated})
    server = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/'
    finally:
        server.shutdown()


# ---- the photos ----
def make_photos(folder):
    "Five photos of the kinds that go wrong, as {kind: file}."
    from colorize_nb.photo import photos_dir

    color, gray = (sorted((photos_dir() / kind).glob('*.jpg')) for kind in ('color', 'gray'))
    photos = {
        'gray': folder / 'gray.jpg',
        'colour': folder / 'colour.jpg',
        'turned': folder / 'turned.jpg',
        'transparent': folder / 'transparent.png',
        'odd': folder / 'odd sizes.png',
    }
    shutil.copy(gray[0], photos['gray'])
    shutil.copy(color[0], photos['colour'])
    turned, exif = Image.open(color[5]).convert('RGB'), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 'maker of the camera'
    turned.transpose(Image.Transpose.ROTATE_90).save(photos['turned'], exif=exif, quality=92)
    see = Image.open(color[10]).convert('RGB').resize((403, 301))
    ramp = np.linspace(0, 255, 403).round().astype(np.uint8)
    see.putalpha(Image.fromarray(np.tile(ramp, (301, 1))))
    see.save(photos['transparent'])
    Image.open(color[20]).convert('L').resize((1001, 173)).save(photos['odd'])
    return photos


# ---- one page ----
class Browser:
    "A page of the site, with every request and error written down; whatever asks another host is stopped."

    def __init__(self, playwright, path, address, more=(), **context):
        self.browser = playwright.chromium.launch(executable_path=path, args=[*flags, *more])
        self.context = self.browser.new_context(
            accept_downloads=True, **{'viewport': {'width': 1100, 'height': 800}, **context}
        )
        self.page, self.asked, self.errors, self.address = self.context.new_page(), [], [], address
        self.context.on('request', lambda r: self.asked.append(r.url))
        self.page.on('pageerror', lambda e: self.errors.append(str(e)))
        self.page.on('console', lambda m: self.errors.append(m.text) if m.type == 'error' else None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.close()

    def go(self, more=''):
        self.page.goto(self.address + more)
        return self

    def give(self, *files):
        self.page.set_input_files('#files', [str(f) for f in files])

    def item(self, name):
        return self.page.locator('#photos > li').filter(has=self.page.locator('h2', has_text=name)).last

    def wait(self, name, limit=120):
        "The state of a photo once it is coloured or refused."
        li, end = self.item(name), time.time() + limit
        li.wait_for(timeout=5000)
        while time.time() < end:
            if {'coloured', 'failed'} & set((li.get_attribute('class') or '').split()):
                return li.locator('.state').inner_text()
            self.page.wait_for_timeout(50)
        raise AssertionError(
            f'{name}: nothing after {limit} s: {li.locator(".state").inner_text()!r}, errors {self.errors}'
        )

    def download(self, name, kind='image/png'):
        "The file that the page saves, and its name."
        li = self.item(name)
        li.locator('select').select_option(kind)
        with self.page.expect_download(timeout=120_000) as got:
            li.locator('.save').click()
        return Path(got.value.path()), got.value.suggested_filename

    @property
    def run(self):
        return self.page.evaluate('document.documentElement.dataset.run')

    def quiet(self, allowed=()):
        "No error, and no request but to the page's own address."
        errors = [e for e in self.errors if not any(a in e for a in allowed)]
        assert not errors, f'the page reports {errors}'
        away = [url for url in self.asked if not url.startswith((self.address, 'blob:', 'data:'))]
        assert not away, f'the page asked {away}'


def difference(got, want):
    "Share of pixels within 2 levels of 255 in every channel, and the largest difference."
    a, b = (np.asarray(im.convert('RGBA')).astype(int) for im in (got, want))
    assert a.shape == b.shape, f'size {got.size}, expected {want.size}'
    d = np.abs(a - b).max(-1)
    return (d <= 2).mean(), d.max()


# ---- checks; each gets a Place and returns what it has to say ----
class Place:
    "What the checks share: photos, a Colorizer, the page in both forms, a way to open it."

    def __init__(self, playwright, path, site, tmp, shots=None):
        from colorize_nb.colorize import Colorizer

        self.playwright, self.path, self.site, self.tmp = playwright, path, site, tmp
        self.shots = shots
        self.photos, self.colorizer = make_photos(tmp), Colorizer(device='cpu')

    @contextlib.contextmanager
    def open(self, isolated=False, **context):
        with (
            served(self.site, isolated) as address,
            Browser(self.playwright, self.path, address, **context) as b,
        ):
            yield b.go()

    def compare(self, b, kind, colorizer=None):
        "The page's picture of a photo against that of `colorize`."
        file = self.photos[kind]
        path, name = b.download(file.name)
        share, most = difference(Image.open(path), (colorizer or self.colorizer)(file))
        assert name == f'{file.stem}_color.png', name
        assert share >= 0.99, (
            f'{kind}: only {share:.2%} of pixels within 2 levels, the largest difference is {most}'
        )
        return f'{kind} {share:.2%}, at most {most}'


def five_photos(p, isolated=False):
    "Five photos come out as `colorize` makes them: 99% of pixels within 2 levels of 255"
    with p.open(isolated) as b:
        b.give(*p.photos.values())
        for file in p.photos.values():
            state = b.wait(file.name)
            assert 'pixels' in state, f'{file.name}: {state}'
        said = [p.compare(b, kind) for kind in p.photos]
        b.quiet()
        return f'{b.run}; ' + '; '.join(said)


def threads(p):
    "With the headers that allow it the network runs in threads, and nothing changes"
    said = five_photos(p, isolated=True)
    assert 'threads' in said or os.cpu_count() == 1, said
    return said.split(';')[0]


def one_file(p):
    "The page as one file, opened without a server"
    with Browser(p.playwright, p.path, (p.site / 'colorize.html').as_uri()) as b:
        b.go().give(p.photos['gray'])
        state = b.wait('gray.jpg')
        assert 'pixels' in state, f'{state}, {b.errors}'
        said = p.compare(b, 'gray')
        b.quiet()
        return f'{(p.site / "colorize.html").stat().st_size / 1e6:.1f} MB, {said}'


def saturation(p):
    "The knob is that of `colorize`: half of it, and none"
    from colorize_nb.colorize import Colorizer

    with p.open() as b:
        b.give(p.photos['turned'])
        b.wait('turned.jpg')
        said = []
        for strength in (0.5, 0):
            b.item('turned').locator('.strength').fill(str(strength))
            said.append(
                p.compare(b, 'turned', Colorizer(device='cpu', saturation=strength * p.colorizer.saturation))
            )
        return '; '.join(said)


def jpeg(p):
    "A JPEG has the photo's size, upright, its EXIF without the turn, nearly the same colours"
    with p.open() as b:
        b.give(p.photos['turned'])
        b.wait('turned.jpg')
        path, name = b.download('turned.jpg', 'image/jpeg')
        im, want = Image.open(path), p.colorizer(p.photos['turned'])
        exif = im.getexif()
        assert (name, im.format, im.size) == ('turned_color.jpg', 'JPEG', want.size), (
            name,
            im.format,
            im.size,
            want.size,
        )
        assert exif[0x0112] == 1 and exif[0x010F] == 'maker of the camera', dict(exif)
        gray = [np.asarray(i.convert('L')).astype(int) for i in (im, want)]
        off, light = (
            np.abs(np.asarray(im).astype(int) - np.asarray(want)).mean(),
            np.abs(gray[0] - gray[1]).mean(),
        )
        assert off < 4 and light < 2, f'mean difference {off:.1f} levels, of the gray {light:.1f}'
        return f'mean difference {off:.2f} levels, of the gray {light:.2f}'


def other_exif(p):
    "EXIF of a PNG and of a WebP: the photo is turned as it says, and stays in what is saved, without the turn"
    exif, said = Image.Exif(), []
    see = Image.open(p.photos['colour']).convert('RGB').crop((0, 0, 200, 150))
    for kind, turn, options in (('png', 6, {}), ('webp', 7, {'lossless': True})):
        exif[0x0112], exif[0x010F] = turn, 'maker of the scanner'
        file = p.tmp / f'scan {kind}.{kind}'
        see.save(file, exif=exif, **options)
        p.photos[kind] = file
        with p.open() as b:
            b.give(file)
            b.wait(file.name)
            said.append(p.compare(b, kind))
            for made in ('image/png', 'image/jpeg'):
                path, _ = b.download(file.name, made)
                kept = Image.open(path).getexif()
                assert kept.get(0x010F) == 'maker of the scanner' and kept[0x0112] == 1, (
                    f'{made}: {dict(kept)}'
                )
        del p.photos[kind]
    return '; '.join(said)


def bad_files(p):
    "A broken file between good ones costs one sentence, not the rest"
    data = p.photos['colour'].read_bytes()
    deep = io.BytesIO()
    Image.new('L', (40, 30), 9).save(deep, 'TIFF')
    huge = io.BytesIO()
    Image.new('1', (12_000, 9_000)).save(huge, 'PNG')
    bad = {
        'letter.jpg': (b'%PDF-1.4 a letter', 'PDF'),
        'cut off.jpg': (data[: len(data) // 2], 'cut off or damaged'),
        'nothing.jpg': (b'', 'empty'),
        'noise.png': (os.urandom(5000), 'no photo'),
        'scan.tif': (deep.getvalue(), 'TIFF'),
        'drawing.svg': (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'drawing'),
        'huge.png': (huge.getvalue(), 'over the limit of 100 megapixels'),
    }
    files = []
    for name, (content, _) in bad.items():
        files.append(p.tmp / name)
        files[-1].write_bytes(content)
    with p.open() as b:
        b.give(p.photos['gray'], *files, p.photos['odd'])
        for name, (_, word) in bad.items():
            state = b.wait(name)
            assert word in state and 'Not coloured' in state, f'{name}: {state}'
        for kind in ('gray', 'odd'):
            b.wait(p.photos[kind].name)
            p.compare(b, kind)
        b.quiet()
        return f'{len(bad)} refused, each with its reason'


def other_ways_in(p):
    "Pasted and dropped photos"
    put = """([bytes, how]) => {
      const data = new DataTransfer(), name = how === 'paste' ? 'pasted.jpg' : 'dropped.jpg';
      data.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, {type: 'image/jpeg'}));
      const event = how === 'paste' ? new ClipboardEvent('paste', {clipboardData: data}) : new DragEvent('drop', {dataTransfer: data, cancelable: true});
      document.dispatchEvent(event);
    }"""
    data = base64.b64encode(p.photos['gray'].read_bytes()).decode()
    with p.open() as b:
        for how in ('paste', 'drop'):
            b.page.evaluate(put, [data, how])
            state = b.wait('pasted' if how == 'paste' else 'dropped')
            assert 'pixels' in state, f'{how}: {state}'
        assert b.page.locator('#all').is_visible(), 'no button for all of them'


def keyboard(p):
    "Everything works without a mouse"
    with p.open() as b:
        focus = lambda: b.page.evaluate(
            'document.activeElement.id || document.activeElement.className || document.activeElement.tagName'
        )
        b.page.on('filechooser', lambda chooser: chooser.set_files(str(p.photos['gray'])))
        b.go().page.locator('#drop').wait_for()  # a new load: by now the browser knows that we listen
        b.page.keyboard.press('Tab')
        assert focus() == 'files', focus()
        b.page.keyboard.press('Space')
        b.wait('gray.jpg')
        li = b.item('gray.jpg')
        b.page.keyboard.press('Tab')
        for _ in range(5):
            b.page.keyboard.press('ArrowRight')
        cut = li.locator('.compare').evaluate('e => e.style.getPropertyValue("--cut")')
        assert cut == '55%', f'the slider went to {cut}'
        b.page.keyboard.press('Tab')
        b.page.keyboard.press('ArrowLeft')
        assert li.locator('output').inner_text() == '0.95', li.locator('output').inner_text()
        b.page.keyboard.press('Tab')
        assert focus() == 'SELECT', focus()
        b.page.keyboard.press('Tab')
        assert 'save' in focus(), focus()
        with b.page.expect_download() as got:
            b.page.keyboard.press('Enter')
        assert got.value.suggested_filename == 'gray_color.jpg'
        b.page.wait_for_timeout(300)
        li.locator('.save').focus()
        b.page.keyboard.press('Tab')
        b.page.keyboard.press('Enter')
        assert li.count() == 0 and focus() == 'files', focus()


contrast = """() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => (v /= 255) > .04045 ? ((v + .055)/1.055)**2.4 : v/12.92); return .2126*r + .7152*g + .0722*b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  return Math.min(...[...document.querySelectorAll('h1, h2, p, strong, label, button, select, output, summary')].filter(e => e.checkVisibility() && !e.disabled).map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    return (a + .05)/(b + .05); }));
}"""


def small_picture(png, file, width):
    "A screenshot for a lesson, of this width."
    im = Image.open(io.BytesIO(png)).convert('RGB')
    im.resize((width, round(im.height * width / im.width)), Image.Resampling.LANCZOS).save(
        file, optimize=True
    )


def looks(p):
    "Desktop, phone and dark: nothing wider than the screen, text readable, buttons large enough for fingers"
    phone = dict(
        viewport={'width': 360, 'height': 780}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    from colorize_nb.photo import photos_dir

    said, scene = [], p.tmp / 'castle clinton 1961.jpg'
    shutil.copy(photos_dir() / 'gray' / 'castle_clinton_new_york_1961.jpg', scene)
    for name, context in (('desktop', {}), ('phone', phone), ('dark', dict(color_scheme='dark'))):
        with p.open(**context) as b:
            (p.tmp / 'letter.jpg').write_bytes(b'%PDF-1.4 a letter')
            b.give(scene, p.tmp / 'letter.jpg')
            b.wait('castle clinton')
            b.wait('letter')
            wide, screen = b.page.evaluate('[document.documentElement.scrollWidth, innerWidth]')
            assert wide <= screen, f'{name}: {wide} pixels wide on a screen of {screen}'
            least = b.page.evaluate(contrast)
            assert least >= 4.5, f'{name}: contrast of text {least:.1f}, WCAG asks 4.5'
            low = b.page.evaluate(
                'Math.min(...[...document.querySelectorAll("button, select, .button")].filter(e => e.checkVisibility()).map(e => e.offsetHeight))'
            )
            assert low >= 44, f'{name}: a button is {low} pixels high, fingers want 44'
            said.append(f'{name} {screen} px, contrast {least:.1f}')
            if p.shots:
                small_picture(
                    b.page.screenshot(full_page=True),
                    Path(p.shots) / f'page_{name}.png',
                    280 if name == 'phone' else 560,
                )
    return '; '.join(said)


def old_browser(p):
    "A browser without WebAssembly gets a sentence"
    with served(p.site) as address, Browser(p.playwright, p.path, address) as b:
        b.context.add_init_script('delete globalThis.WebAssembly')
        b.go()
        text = b.page.locator('#problem').inner_text()
        assert 'WebAssembly' in text and not b.page.locator('#drop').is_visible(), text
        return text


def network_away(p):
    "A network that does not arrive is said, and the next photo tries again"
    with p.open() as b:
        b.context.route('**/network.onnx.gz', lambda route: route.fulfill(status=404), times=1)
        b.give(p.photos['gray'])
        state = b.wait('gray.jpg')
        assert '404' in state, state
        b.give(p.photos['odd'])
        assert 'pixels' in b.wait(p.photos['odd'].name)
        return state


def no_gpu(p):
    "Where WebGPU was promised and is not there, the page goes on with WebAssembly"
    with p.open() as b:
        b.go('?run=webgpu').give(p.photos['gray'])
        b.wait('gray.jpg')
        assert b.run.startswith('wasm'), b.run
        p.compare(b, 'gray')
        return b.run


def gpu(p):
    "WebGPU on a graphics card made of software (slow)"
    more = '--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --enable-features=Vulkan'.split()
    with p.open(more=more) as b:
        b.go('?run=webgpu').give(p.photos['gray'])
        b.wait('gray.jpg', 300)
        assert b.run.startswith('webgpu'), b.run
        return f'{b.run}; {p.compare(b, "gray")}'


def twelve_megapixels(p, limit=5.0):
    "12 megapixels in under 5 s of work where the machine is quiet, and the page stays alive"
    big, rng = p.tmp / 'twelve megapixels.jpg', np.random.default_rng(0)
    im = np.asarray(Image.open(p.photos['colour']).convert('RGB').resize((4000, 3000))).astype(np.int16)
    Image.fromarray((im + rng.integers(-6, 7, (3000, 4000, 1))).clip(0, 255).astype(np.uint8)).save(
        big, quality=92
    )
    busy = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0.0
    with p.open() as b:
        b.page.evaluate(
            'gap = 0, last = performance.now(), setInterval(() => { const now = performance.now(); gap = Math.max(gap, now - last); last = now; }, 10)'
        )
        b.give(big)
        first = b.wait(big.name)
        b.download(big.name, 'image/jpeg')
        b.page.wait_for_timeout(200)
        state, gap = b.item(big.name).locator('.state').inner_text(), b.page.evaluate('gap')
        seconds = sum(map(float, re.findall(r'([\d.]+) s\b', state)))
        assert seconds < limit or busy > 0.5, f'{seconds:.1f} s ({state}) on a machine with load {busy:.1f}'
        assert gap < 1000, f'the page stood still for {gap:.0f} ms'
        return f'{seconds:.1f} s ({state}), load {busy:.1f} before; longest standstill {gap:.0f} ms'


checks = (
    five_photos,
    threads,
    one_file,
    saturation,
    jpeg,
    other_exif,
    bad_files,
    other_ways_in,
    keyboard,
    looks,
    old_browser,
    network_away,
    no_gpu,
    twelve_megapixels,
)


def refuse_unknown(wanted, checks):
    "End with a sentence if somebody wants a check that there is not."
    unknown = set(wanted) - {c.__name__ for c in checks}
    if unknown:
        sys.exit(f'no check is called {", ".join(unknown)}')


def run_checks(checks, place):
    "A line for each check with its time; 1 if one fails, else 0."
    failed = 0
    for check in checks:
        began = time.perf_counter()
        try:
            said, word = check(place), 'ok'
        except Exception as e:
            said, word, failed = ''.join(traceback.format_exception(e)[-4:]).strip(), 'FAILED', 1
        took = time.perf_counter() - began
        print(f'{word} {check.__name__} ({took:.1f} s){f": {said}" if said else ""}', flush=True)
    return failed


def asked(doc, checks, optional=(), shots=True):
    "Options, the wanted checks, and the browser to start; ends with a sentence where there is none"
    every = (*checks, *optional)
    but = f'; default all but {", ".join(c.__name__ for c in optional)}' if optional else ''
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    p.add_argument('only', nargs='*', help=f'names of checks{but}: ' + ', '.join(c.__name__ for c in every))
    if shots:
        p.add_argument('--shots', help='folder for screenshots')
    a = p.parse_args()
    start, path = find_browser()
    if start is None:
        print(path)
        sys.exit(0)
    refuse_unknown(a.only, every)
    wanted = a.only or [c.__name__ for c in checks]
    return a, [c for c in every if c.__name__ in wanted], start, path


def main():
    a, wanted, start, path = asked(__doc__, checks, optional=(gpu,))
    from colorize_nb.deploy import PageError, write_page

    with tempfile.TemporaryDirectory(prefix='colorize_nb_page_') as folder:
        tmp = Path(folder)
        try:
            write_page(tmp / 'site')
            write_page(tmp / 'site', single=True)
        except PageError as e:
            print(f'skipped: {e}')
            return 0
        with start() as playwright:
            return run_checks(wanted, Place(playwright, path, tmp / 'site', tmp, a.shots))


if __name__ == '__main__':
    sys.exit(main())
