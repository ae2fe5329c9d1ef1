"""The widgets of the lessons in a real JupyterLab: `browser_widgets.py [CHECK ...]`.

Each check makes a small notebook: the cell of the lesson that shows the widget, and those of the cells
before it that it needs, as they stand in the lesson. Headless Chromium opens it, runs all cells, moves the
widget by mouse and by keys, and looks at the picture: it must be the one that belongs to the new place.
Prints a line for each check; ends with 1 if one fails, and with 0 and a sentence where there is no browser.
Needs playwright (pip), a Chromium and JupyterLab.
"""

import ast
import base64
import contextlib
import csv
import io
import re
import symtable
import sys
import tempfile
import time
from pathlib import Path
import nbformat
import numpy as np
from browser_page import Browser, asked, root, run_checks
from browser_studio import lab
from cells import flags, without_flags
from PIL import Image

kernel = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}


# ---- a cell of a lesson, and what it needs ----
def names(text):
    "The names that a cell makes, and those that it needs from cells before it."
    top = symtable.symtable(text, 'cell', 'exec')
    made = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    used, tables = {s.get_name() for s in top.get_symbols() if s.is_referenced()}, top.get_children()
    while tables:
        table = tables.pop()
        used |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        tables += table.get_children()
    return made, used - made


def only_imports(text):
    "Nothing but imports? Then it is needed here too; other cells that export are in the library."
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(text).body)


def needed(cells, last, also):
    "The cells that make what cell number `last` and those of `also` need, in the order of the page."
    wanted, chosen = set(), {}
    for i in range(last, -1, -1):
        marks, text = flags(cells[i]), without_flags(cells[i])
        if cells[i].cell_type != 'code' or marks.get('eval') == 'false':
            continue
        if 'export' in marks and not only_imports(text):
            continue
        made, uses = names(text)
        if i == last or cells[i].id in also or made & wanted:
            chosen[i] = text
            wanted = wanted - made | uses
    return [chosen[i] for i in sorted(chosen)]


def lesson(page, cell, also=(), before='', after=''):
    "A notebook with a cell of a lesson and what it needs; `before` and `after` are ours."
    cells = nbformat.read(root / 'nbs' / f'{page}.ipynb', 4).cells
    ids = [c.id for c in cells]
    lost = {cell, *also} - set(ids)
    assert not lost, (
        f'{page}.ipynb has no cell {", ".join(lost)} any more: name here the one that took its place'
    )
    *first, widget = needed(cells, ids.index(cell), also)
    library = f'from colorize_nb.{page.partition("_")[2]} import *'
    texts = [library, *first, before, widget, after]
    made = [nbformat.v4.new_code_cell(text) for text in texts if text]
    return nbformat.v4.new_notebook(cells=made, metadata={'kernelspec': kernel})


# ---- a person in front of the notebook ----
class Widgets:
    "The widgets below a cell of a notebook that is open in JupyterLab."

    def __init__(self, page, cell=-1):
        self.page, self.box = page, page.locator('.jp-Notebook .jp-CodeCell').nth(cell)

    def until(self, true, what, limit=60):
        "Wait until something is true, which may take as long as the kernel takes."
        end = time.time() + limit
        while not true():
            assert time.time() < end, f'{what}: not after {limit} s'
            self.page.wait_for_timeout(20)
        return self

    def bytes(self, k=0):
        "The file that picture number k shows."
        script = """async e => { const got = new Uint8Array(await (await fetch(e.src)).arrayBuffer());
        let text = ''; for (const v of got) text += String.fromCharCode(v); return btoa(text); }"""
        for _ in range(5):
            with contextlib.suppress(Exception):  # it may change while it is read
                return base64.b64decode(self.box.locator('img.widget-image').nth(k).evaluate(script))
        raise AssertionError(f'picture {k} cannot be read')

    def picture(self, k=0):
        return np.asarray(Image.open(io.BytesIO(self.bytes(k))).convert('RGB')).astype(int)

    def reads(self, value):
        "Until the number beside the slider is this one."
        number = self.box.locator('.widget-readout').first
        return self.until(lambda: float(number.inner_text() or 'nan') == value, f'the slider reads {value}')

    def press(self, *keys):
        "Keys for the handle of the slider."
        self.box.locator('.noUi-handle').first.focus()
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def drag(self, share):
        "Take the handle by mouse to this share of the slider's way."
        centre = lambda e: (e['x'] + e['width'] / 2, e['y'] + e['height'] / 2)
        way = self.box.locator('.noUi-base').first.bounding_box()
        x, y = centre(self.box.locator('.noUi-handle').first.bounding_box())
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(way['x'] + share * way['width'], y, steps=5)
        self.page.mouse.up()
        return self

    def write(self, value):
        "Write a number beside the slider."
        self.box.locator('.widget-readout').first.fill(value)
        self.page.keyboard.press('Enter')
        return self

    def push(self, name):
        self.box.get_by_role('button', name=name).click()
        return self


@contextlib.contextmanager
def opened(p, notebook, limit=300):
    "The widgets of a notebook after all its cells ran, and the folder of its files; no error may stand."
    folder = Path(tempfile.mkdtemp(dir=p.tmp))
    (folder / 'tmp').mkdir()
    nbformat.write(notebook, folder / 'lesson.ipynb')
    with (
        lab(folder, TMPDIR=str(folder / 'tmp')) as address,
        Browser(p.playwright, p.path, address.replace('NAME', 'lesson')) as b,
    ):
        b.page.set_default_navigation_timeout(120_000)  # JupyterLab is large
        b.go().page.locator('.jp-Notebook .jp-CodeCell').first.wait_for(timeout=240_000)
        b.page.get_by_text('| Idle').first.wait_for(timeout=240_000)  # the kernel is there
        b.page.get_by_role('menuitem', name='Run').first.click()
        b.page.get_by_text('Run All Cells', exact=True).click()
        w = Widgets(b.page)
        numbers = b.page.locator('.jp-Notebook .jp-CodeCell .jp-InputPrompt')
        ran = lambda: all(text.strip('[]: ').isdigit() for text in numbers.all_inner_texts())
        w.until(lambda: ran() or complaints(b.page), 'all cells have run', limit)
        assert not complaints(b.page), complaints(b.page)
        yield w, folder / 'tmp'
        assert not complaints(b.page), complaints(b.page)
        assert not b.errors, f'the page reports {b.errors}'


def complaints(page):
    "Errors and warnings below the cells, and widgets that do not come."
    kinds = ('application/vnd.jupyter.error', 'application/vnd.jupyter.stderr')
    found = page.locator(', '.join(f'[data-mime-type="{kind}"]' for kind in kinds)).all_inner_texts()
    return found + page.get_by_text('Error displaying widget').all_inner_texts()


# ---- checks ----
def plane(L):
    "What sRGB can show at this L, over a and b from -110 to 110; light gray where nothing is: bytes."
    import torch
    from colorize_nb.color import in_gamut, lab_to_rgb

    axis = torch.arange(-110.0, 111)
    lab = torch.stack([torch.full((221, 221), float(L)), axis.repeat(221, 1), -axis.repeat(221, 1).T])
    shown = torch.where(in_gamut(lab), lab_to_rgb(lab), 0.93)
    return (255 * shown.movedim(0, -1)).round().int().numpy()


def gamut(p):
    "Lesson 01: a slider through L shows the colours of sRGB at that L"
    with opened(p, lesson('01_color', 'bb0b41cb')) as (w, _):
        shows = lambda L: w.reads(L).until(
            lambda: np.abs(w.picture() - plane(L)).max() <= 1, f'the plane at L = {L}'
        )
        shows(60)
        w.press(*['ArrowRight'] * 5)
        shows(65)
        w.drag(-0.1)
        shows(0)
        w.write('30')
        shows(30)
        w.press('End')
        shows(100)
        return 'L 60, by keys 65, by mouse 0, written 30, at the end 100'


def flipbook(p):
    "Lesson 08: the pictures of a training, one by one and played"
    strips = root / 'data' / 'results' / 'training' / 'lite_l1'
    files = sorted(strips.glob('epoch_*.jpg'))
    frames = {file.read_bytes(): i for i, file in enumerate(files, 1)}
    before = f"import shutil\nshutil.copytree({str(strips)!r}, tmp / 'stage1', dirs_exist_ok=True)"
    with opened(p, lesson('08_runs', '0b01d9d8', before=before)) as (w, _):
        shows = lambda n: w.reads(n).until(lambda: frames.get(w.bytes()) == n, f'the picture of epoch {n}')
        shows(1)
        w.press('ArrowRight', 'ArrowRight')
        shows(3)
        w.drag(0.5)
        seen = {frames.get(w.bytes())}
        w.box.locator('.widget-play button').first.click()
        end = time.time() + 60
        while len(files) not in seen:
            assert time.time() < end, f'after a minute only {seen} were shown'
            seen.add(frames.get(w.bytes()))
            w.page.wait_for_timeout(50)
        shows(len(files))
        assert len(seen) >= 6, f'played, but only {seen} were seen'
        return f'epochs 1 and 3, then played: {len(seen)} of {len(files)} pictures seen'


def temperature(p):
    "Lesson 18: a colder answer is more colourful, and as light"
    import torch
    from colorize_nb.color import colourfulness, rgb_to_L

    tensor = lambda w: torch.from_numpy(w.picture()).movedim(-1, 0)[None] / 255
    with opened(p, lesson('18_classification', '6d06b455'), limit=900) as (w, _):
        coldest = w.reads(0.1).bytes()
        found, light = {}, {}
        for keys, reads in ((['Home'], 0.1), (['ArrowRight'] * 10, 0.316), (['End'], 1)):
            was = w.bytes()
            w.press(*keys).reads(reads)
            w.until(lambda: reads == 0.1 or w.bytes() != was, f'another picture at T = {reads}')
            w.page.wait_for_timeout(500)  # all moves on the way are painted
            found[reads], light[reads] = colourfulness(tensor(w)).item(), rgb_to_L(tensor(w))
        assert found[0.1] > found[0.316] > found[1], f'colourfulness {found}'
        off = (light[0.1] - light[1]).abs().mean().item() * 50
        assert off < 2, f'the lightness moved by {off:.1f} of 100'
        w.drag(-0.1).reads(0.1).until(lambda: w.bytes() == coldest, 'the first picture again')
        return 'colourfulness ' + ', '.join(f'{c:.0f} at T = {T}' for T, c in found.items())


def blind_test(p):
    "Lesson 10: two pictures for a second, an answer by mouse or key, and a file of answers"
    from colorize_nb.photo import photos_dir

    after = (
        "guess_widget(Guess(pairs, tmp / 'fresh.csv', seconds=3, seed=3))"  # time to look on a busy machine
    )
    made = lesson('10_eyes', 'a068627c', also=('22a5ecb7',), after=after)
    rows = lambda folder, name: list(csv.DictReader(next(folder.rglob(name)).open(newline='')))
    with opened(p, made) as (w, folder):
        hidden = lambda game: all(np.ptp(game.picture(k)) <= 2 for k in (0, 1))
        says = lambda game, text: game.until(lambda: text in game.box.inner_text(), f'the page says {text!r}')
        mine = Widgets(w.page, -2)  # the cell of the lesson has answered twice
        says(mine, '2 of 3').until(lambda: hidden(mine), 'the pictures are hidden after a second')
        says(mine.push('left (f)'), 'saved in guesses.csv')
        assert [r['answer'] for r in rows(folder, 'guesses.csv')][-3:] == ['left', 'right', 'left']
        w.until(lambda: hidden(w), 'the pictures are hidden after three seconds')
        w.push('right (j)').until(lambda: not hidden(w), 'the next pair')
        shown, began = [w.picture(k) for k in (0, 1)], time.time()
        w.until(lambda: hidden(w), 'the pictures are hidden after three seconds')
        took = time.time() - began
        field = w.box.locator('input[type=text]')
        field.click()
        w.page.keyboard.press('j')
        says(w, '2 of 3')
        w.page.keyboard.press('f')
        says(w, 'saved in fresh.csv')
        answers = rows(folder, 'fresh.csv')
        assert [r['answer'] for r in answers] == ['right', 'right', 'left'], answers
        for r in answers:
            right = (r['answer'] == 'left') == (r['first_is_left'] == 'True')
            assert r['chose_first'] == str(right), r
        second = answers[1]
        real = Image.open(photos_dir() / 'color' / f'{second["pair"]}.jpg').convert('RGB')
        off = [np.abs(im - np.asarray(real.resize(im.shape[1::-1]))).mean() for im in shown]
        left = second['first_is_left'] == 'True'
        assert off[not left] < 5 < off[left], f'{second["pair"]}: real on the left {left}, differences {off}'
        score = ast.literal_eval(re.search(r'\{.*?\}', w.box.inner_text())[0])
        chose = sum(r['chose_first'] == 'True' for r in answers)
        assert score['n'] == 3 and abs(score['chose_first'] - chose / 3) < 0.001, score
        return f'a pair was hidden after {took:.1f} s; six answers stand in two files'


class Place:
    "What the checks share."

    def __init__(self, playwright, path, tmp):
        self.playwright, self.path, self.tmp = playwright, path, tmp


checks = (gamut, flipbook, temperature, blind_test)


def main():
    _, wanted, start, path = asked(__doc__, checks, shots=False)
    with tempfile.TemporaryDirectory(prefix='colorize_nb_widgets_') as folder, start() as playwright:
        return run_checks(wanted, Place(playwright, path, Path(folder)))


if __name__ == '__main__':
    sys.exit(main())
