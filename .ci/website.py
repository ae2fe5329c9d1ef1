"""The documentation site: website.py [--shots FOLDER]   builds _docs, and checks it

The committed notebooks become pages with the outputs that are stored in them; nothing is run. The reference
is made of the comments in the source (.ci/reference.py), the front page holds the page that colours photos.
Then the site is held to its promises: Sphinx warns of nothing, each link leads somewhere, each picture says
what it shows, each public name has its entry, and in Chromium each page opens without an error and asks no
other host. Sphinx and its settings (.ci/_site) live in an environment of their own (constraints-site.txt).
"""

import ast
import functools
import json
import re
import shutil
import subprocess
import sys
import time
import venv
from html.parser import HTMLParser
from os import environ
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

root = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(root), str(root / '.ci')]
import reference  # noqa: E402
from cells import alt_text, flags, hides_input, hides_output, is_hidden  # noqa: E402
from cells import most_lines, outside_code, without_flags  # noqa: E402

repository = 'https://github.com/colorize-nb/colorize_nb'
colab = 'https://colab.research.google.com/github/colorize-nb/colorize_nb/blob/main/nbs'
source, built, tools = root / '_proc/source', root / '_docs', root / '.cache/site'
lock = root / 'constraints-site.txt'
parts = {
    'Photos and colours': (0, 2),
    'Networks': (3, 5),
    'Training': (6, 8),
    'Judging': (9, 10),
    'Using': (11, 16),
    'Two other roads': (17, 18),
    'More than one machine': (19, 19),
    'Further': (20, 99),
}


# ---- from notebooks to what Sphinx reads ----
def left_out(cell):
    "Cells that no reader needs: hidden ones, and the one that installs the library in Colab"
    marks = flags(cell)
    return is_hidden(marks) or 'google.colab' in cell['source'] and marks.get('eval') == 'false'


def imports(lines):
    "Hardly anything but imports, and more than a few"
    return len(lines) > 5 and sum(not line.startswith(('import ', 'from ', ' ', ')')) for line in lines) < 2


def code(cell, heading):
    "A code cell without its `#|` lines: they decide what is shown, and become alt text"
    marks = flags(cell)
    cell['source'] = without_flags(cell)
    lines = [line for line in cell['source'].split('\n') if line.strip()]
    tags = cell['metadata'].setdefault('tags', [])
    if hides_input(marks):
        tags.append('remove-input')
    elif 'code-fold' in marks or 'export' in marks and len(lines) > most_lines or imports(lines):
        tags.append('hide-input')
    if hides_output(marks):
        tags.append('remove-output')
    for output in cell['outputs']:
        if 'data' in output:  # a widget needs scripts from elsewhere; its picture is another output
            output['data'].pop('application/vnd.jupyter.widget-view+json', None)
            if 'text/markdown' in output['data']:
                output['data']['text/markdown'] = relink(''.join(output['data']['text/markdown']))
    alt = alt_text(marks) or f'Picture below the heading: {heading}'
    cell['metadata']['mystnb'] = {'image': {'alt': alt}}
    return cell


def relink(text):
    "Links of a page: what lies outside of nbs/ is on GitHub; anchors are those of MyST"

    def fix(match):
        url = match[2]
        if url.startswith('../'):
            return f'{match[1]}{repository}/blob/main/{url[3:]}{match[3]}'
        path, mark, anchor = url.partition('#')
        if mark and not re.match(r'[a-z]+:', url):
            url = f'{path}#{anchor.lower()}'
        return match[1] + url + match[3]

    return re.sub(r'(\]\(|(?:src|href)=")([^\s)"]+)([\s)"])', fix, text)


def markdown(cell):
    "A text cell: its links, and answers in `<details>` that are Markdown inside"
    text = outside_code(cell['source'], relink)
    text = re.sub(r'(<details><summary>.*?</summary>) *', r'\n\1\n\n', text)
    cell['source'] = re.sub(r'\s*</details>', '\n\n</details>\n', text)
    return cell


def linked_names():
    "Names of the library that cannot be mistaken for a word, each with the page of its entry"
    places = {}
    for module in reference.modules():
        for name, _ in reference.public_names(module):
            places.setdefault(name, []).append(f'api/{module}.md#{reference.slug(name)}')
    speaking = {name: found[0] for name, found in places.items() if len(found) == 1}
    return {name: place for name, place in speaking.items() if re.search('[A-Z_]', name[1:])}


def link_names(text, places):
    "The first mention of each name in a text becomes a link to its entry"
    seen = set()

    def link(match):
        name = match[1]
        if name not in places or name in seen:
            return match[0]
        seen.add(name)
        return f'[`{name}`]({places[name]})'

    free = re.compile(r'(```.*?```|^#.*?$|<summary>.*?</summary>|\[[^\]]*\]\([^)]*\))', re.S | re.M)
    pieces = free.split(text)
    return ''.join(p if i % 2 else re.sub(r'`(\w+)`', link, p) for i, p in enumerate(pieces))


def first_cell(name, text):
    "Title and promise of a page, and links in place of Colab's badge, which is a picture from elsewhere"
    text = re.sub(r'^\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\n?', '', text, flags=re.M)
    lines = [
        f'[Open in Colab]({colab}/{name}.ipynb)',
        f'[Edit this page]({repository}/edit/main/nbs/{name}.ipynb)',
    ]
    module = next((m for m, page in reference.modules().items() if page.stem == name), None)
    if module:
        lines.append(f'[Reference](api/{module}.md)')
    links = '<div class="lesson-links">\n\n' + ' · '.join(lines) + '\n\n</div>'
    found = re.match(r'(# [^\n]*\n\s*)(>[^\n]*\n)?(.*)', text + '\n', re.S)
    assert found, f'{name}.ipynb does not begin with a title'
    head, promise, rest = found.groups()
    return f'{head}{promise or ""}\n{links}\n\n{rest}'


def lesson(page, places):
    "One notebook as the site shows it"
    nb = json.loads(page.read_text('utf-8'))
    cells, heading = [], page.stem
    for cell in nb['cells']:
        cell['source'] = ''.join(cell['source'])
        if cell['cell_type'] == 'code':
            if left_out(cell):
                continue
            cell = code(cell, heading)
            if not cell['source'] and not cell['outputs']:
                continue
        if cell['cell_type'] == 'markdown':
            if not cells:
                cell['source'] = first_cell(page.stem, cell['source'])
            heading = (re.findall(r'^#+ (.+)$', cell['source'], re.M) or [heading])[-1]
            cell = markdown(cell)
            cell['source'] = link_names(cell['source'], places)
        cells.append(cell)
    return {**nb, 'cells': cells}


frame = (
    '<iframe class="colorizer" src="colour/index.html" title="Colour your own photos"></iframe>'
    '\n\n<p><a href="colour/index.html">The same alone on a page</a></p>'
)


def short_title(page):
    "`13 Leaving PyTorch` of `# 13 · Leaving PyTorch: more words`"
    first = ''.join(json.loads(page.read_text('utf-8'))['cells'][0]['source'])
    title = re.search(r'^# (.+)$', first, re.M)[1].replace('\\', '')
    return re.sub(r'^(\d+) · ', r'\1 ', title).split(':')[0]


def contents(lessons):
    "The list that stays beside each page: parts with their lessons, then the reference"
    out = []
    for part, (first, last) in parts.items():
        names = [page for page in lessons if first <= int(page.stem[:2]) <= last]
        entries = [f'{short_title(page)} <{page.stem}>' for page in names]
        if entries:
            out.append('\n'.join(['```{toctree}', ':hidden:', f':caption: {part}', '', *entries, '```']))
    entries = ['Overview <api/index>', *(f'{module} <api/{module}>' for module in reference.modules())]
    out.append('\n'.join(['```{toctree}', ':hidden:', ':caption: Reference', '', *entries, '```']))
    return '\n\n'.join(out)


def prepare():
    "All that Sphinx reads, anew in _proc"
    shutil.rmtree(source.parent, ignore_errors=True)
    shutil.copytree(root / 'nbs/images', source / 'images')
    pages = sorted((root / 'nbs').glob('[!_]*.ipynb'))
    lessons = [page for page in pages if page.stem[:2].isdigit()]
    places = linked_names()
    for page in pages:
        nb = lesson(page, places)
        if page.stem == 'index':
            front = nb['cells'][0]
            whole = '\n'.join(cell['source'] for cell in nb['cells'])
            assert '<!-- the colorizer -->' in whole, 'index.ipynb has no place for the colorizer'
            for cell in nb['cells']:
                cell['source'] = cell['source'].replace('<!-- the colorizer -->', frame)
            front['source'] += '\n\n' + contents(lessons)
        (source / page.name).write_text(json.dumps(nb), encoding='utf-8')
    made = reference.write(source / 'api')
    from colorize_nb.deploy import write_page

    write_page(source / 'extra/colour')
    (source / 'extra/.nojekyll').touch()  # or GitHub leaves out the folders that begin with _
    return f'{len(lessons)} lessons, {len(made)} pages of reference'


# ---- Sphinx ----
def set_up():
    "Sphinx in an environment of its own, made anew when its lock changes"
    stamp = tools / 'lock'
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        return
    venv.create(tools, with_pip=True, clear=True)
    python = tools / ('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    quiet = ['-q', '--no-input', '--disable-pip-version-check', '--only-binary', ':all:']
    run(python, '-m', 'pip', 'install', *quiet, '--require-hashes', '-r', lock)
    shutil.copy(lock, stamp)


def run(*command):
    "Run a program; what it says, if it fails, is the error"
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def build():
    "The site in _docs; a warning of Sphinx is an error"
    set_up()
    shutil.rmtree(built, ignore_errors=True)
    sphinx = tools / ('Scripts/sphinx-build.exe' if sys.platform == 'win32' else 'bin/sphinx-build')
    made, doctrees = source.with_name('html'), source.with_name('doctrees')
    shutil.rmtree(made, ignore_errors=True)
    strict = ['-q', '-W', '--keep-going', '-b', 'html']
    run(sphinx, *strict, '-c', root / '.ci/_site', '-d', doctrees, source, made)
    made.rename(built)
    size = sum(file.stat().st_size for file in built.rglob('*') if file.is_file())
    return f'{len(list(built.rglob("*.html")))} pages, {size / 1e6:.1f} MB'


# ---- checks of the files ----
class Page(HTMLParser):
    "What a page refers to, what can be referred to in it, its pictures and its words"

    def __init__(self, file):
        super().__init__()
        self.links, self.loads, self.anchors, self.silent = [], [], set(), []
        self.words, self.prose, self.inside_pre = [], [], False
        self.feed(file.read_text('utf-8'))

    def handle_starttag(self, tag, pairs):
        has = dict(pairs)
        self.anchors |= {has[key] for key in ('id', 'name') if has.get(key)}
        if tag == 'a' and 'href' in has:
            self.links.append(has['href'])
        if tag in ('img', 'script', 'iframe', 'source', 'video') and has.get('src'):
            self.loads.append(has['src'])
        if tag == 'link' and has.get('rel') not in ('canonical', 'search', 'next', 'prev', 'index'):
            self.loads.append(has['href'])
        if tag == 'img' and not has.get('alt'):
            self.silent.append(has.get('src', '?')[:60])

        self.inside_pre |= tag == 'pre'

    def handle_endtag(self, tag):
        self.inside_pre &= tag != 'pre'

    def handle_data(self, data):
        self.words.append(data)
        if not self.inside_pre:
            self.prose.append(data)


@functools.cache
def read(file):
    "A page of the site, read once"
    return Page(file)


def html_files():
    "All pages, but for the one that colours photos: it has checks of its own"
    theirs = {'colour', '_static'}
    return [file for file in sorted(built.rglob('*.html')) if not theirs & set(file.relative_to(built).parts)]


def target(file, url):
    "The file of the site that a link means, and its anchor; nothing for other hosts"
    parts = urlsplit(urljoin(f'http://site/{file.relative_to(built).as_posix()}', url))
    if urlsplit(url).scheme or url.startswith('//'):
        return None
    path = built / unquote(parts.path).lstrip('/')
    return path / 'index.html' if path.is_dir() else path, parts.fragment


def links():
    "Each link inside the site leads to a page and a place in it, and nothing is loaded from other hosts"
    bad, count = [], 0
    for file in html_files():
        page = read(file)
        for url in page.links + page.loads:
            found = target(file, url)
            count += found is not None
            if found is None:
                if url in page.loads and not url.startswith('data:'):
                    bad.append(f'{file.name} loads {url}')
            elif not found[0].is_file():
                bad.append(f'{file.name} links to {url}, but there is no such file')
            elif found[1] and found[0].suffix == '.html' and found[1] not in read(found[0]).anchors:
                bad.append(f'{file.name} links to {url}, but nothing there has this name')
    assert not bad, '\n'.join(bad)
    return f'{count} links'


def pictures():
    "Each picture says what it shows"
    silent = {file.name: read(file).silent for file in html_files() if read(file).silent}
    assert not silent, f'without alt text: {silent}'
    guessed = sum(file.read_text('utf-8').count('alt="Picture below the heading') for file in html_files())
    return f'{guessed} of them only by the heading above' if guessed else ''


def nothing_raw():
    "No `#|` line, and no table outside of what cells print, stands there as text"
    table = re.compile(r'\|[ :]*[-\u2014]+[ :]*\|')
    left = [file.name for file in html_files() if re.search(r'#\| *[a-z]', ''.join(read(file).words))]
    left += [file.name for file in html_files() if table.search(''.join(read(file).prose))]
    assert not left, f'as text: {left}'


def entries():
    "Each public function and class has its entry, with each of its parameters"
    count, missing = 0, []
    for module in sorted(root.glob('colorize_nb/[!_]*.py')):
        page = built / f'api/{module.stem}.html'
        words = ''.join(read(page).words) if page.is_file() else ''
        for node in ast.parse(module.read_text('utf-8')).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'):
                continue
            count += 1
            # a module or another method may have the same name: one of the places must hold all
            places = re.findall(rf'^{node.name}#?$(.*?)(?=In the lesson)', words, re.M | re.S)
            inside = ast.walk(node.args) if hasattr(node, 'args') else ()
            given = {a.arg for a in inside if isinstance(a, ast.arg)} - {'self'}
            if not places:
                missing.append(f'{module.stem}.{node.name}')
            elif lacks := min(([n for n in given if n not in place] for place in places), key=len):
                missing.append(f'{module.stem}.{node.name}: {", ".join(lacks)}')
    assert not missing, f'not in the reference: {missing}'
    return f'{count} functions and classes'


# ---- checks in a browser ----
phone = dict(viewport={'width': 390, 'height': 844}, device_scale_factor=2, is_mobile=True, has_touch=True)
loaded = (
    '[...document.images].every(image => image.loading === "lazy" || image.complete && image.naturalWidth)'
)


def opens():
    "Each page opens, wide and on a phone: no error, no other host, all pictures, nothing too wide"
    import browser_page

    playwright, chromium = browser_page.find_browser()
    assert playwright, chromium
    count = 0
    with browser_page.served(built) as address, playwright() as play:
        for name, context in (('wide', {}), ('phone', phone)):
            with browser_page.Browser(play, chromium, address, **context) as b:
                for file in [*html_files(), built / 'colour/index.html']:
                    b.go(file.relative_to(built).as_posix())
                    b.page.wait_for_load_state('networkidle')
                    where = f'{file.relative_to(built)} ({name})'
                    assert b.page.evaluate(loaded), f'{where}: a picture is missing'
                    wide, screen = b.page.evaluate('[document.documentElement.scrollWidth, innerWidth]')
                    assert wide <= screen, f'{where}: {wide} pixels wide on a screen of {screen}'
                    try:
                        b.quiet()
                    except AssertionError as e:
                        raise AssertionError(f'{where}: {e}') from e
                    count += 1
    return f'{count} views'


def finds():
    "The search answers, and the photo of a reader is coloured on the front page"
    import browser_page

    playwright, chromium = browser_page.find_browser()
    assert playwright, chromium
    with browser_page.served(built) as address, playwright() as play:
        with browser_page.Browser(play, chromium, address) as b:
            b.go('search.html?q=edge_slope')
            b.page.wait_for_selector('ul.search li a', timeout=20_000)
            found = b.page.locator('ul.search li a').all_inner_texts()
            assert any('edge_slope' in text for text in found), found
            b.go('index.html')
            inside = b.page.frame_locator('iframe.colorizer')
            photo = root / 'data/photos/gray/castle_clinton_new_york_1961.jpg'
            inside.locator('#files').set_input_files(str(photo))
            inside.locator('li.coloured').wait_for(timeout=120_000)
            state = inside.locator('li.coloured .state').inner_text()
            b.quiet()
    return f'{len(found)} answers; {state}'


def shots(folder):
    "Screenshots for eyes: front page, two lessons and the reference; wide, phone and dark"
    import browser_page

    playwright, chromium = browser_page.find_browser()
    folder.mkdir(parents=True, exist_ok=True)
    names = ['index.html', '01_color.html', '13_deploy.html', 'api/colorize.html']
    looks = {'wide': dict(viewport={'width': 1400, 'height': 900}), 'phone': phone}
    looks['dark'] = dict(viewport={'width': 1400, 'height': 900}, color_scheme='dark')
    with browser_page.served(built) as address, playwright() as play:
        for look, context in looks.items():
            with browser_page.Browser(play, chromium, address, **context) as b:
                for name in names:
                    b.go(name).page.wait_for_load_state('networkidle')
                    file = folder / f'{Path(name).stem}_{look}.png'
                    b.page.screenshot(path=file)
                    b.page.screenshot(path=file.with_stem(f'{file.stem}_whole'), full_page=True)


def check(step):
    "Run one step and print its line; did it hold?"
    start = time.perf_counter()
    try:
        said, ok = step(), True
    except Exception as e:
        said, ok = str(e) if isinstance(e, AssertionError) else f'{type(e).__name__}: {e}', False
    took = f'{time.perf_counter() - start:.1f} s'
    print(
        f'{"ok" if ok else "FAILED"} {step.__name__} ({took}{"; " + said if said and ok else ""})', flush=True
    )
    if not ok:
        print(f'    {said}', flush=True)
    return ok


def main():
    if not (check(prepare) and check(build)):
        return 1
    results = [check(step) for step in (links, pictures, nothing_raw, entries)]
    import browser_page

    playwright, why = browser_page.find_browser()
    if playwright or environ.get('CI'):
        results += [check(step) for step in (opens, finds)]
    else:
        print(why)
    if '--shots' in sys.argv:
        shots(Path(sys.argv[sys.argv.index('--shots') + 1]))
    print(f'{built / "index.html"}: {sum(results)} checks hold, {len(results) - sum(results)} do not')
    return int(not all(results))


if __name__ == '__main__':
    sys.exit(main())
