"""Can a learner read it?   pages.py [PAGE ...]: the rules for pages, and for the code in .ci

- ruff (pyproject.toml): its formatting, lines up to 110 characters, one statement a line, no unknown names,
  no mutable defaults.
- A page has 40 to 75 cells; a cell has at most 16 lines of code (lines that only name a parameter do not
  count), but for networks, learners and commands.
- Every picture has alt text: `#| fig-alt: ...` in the cell that makes it, or `![alt text](...)`.
- Every public function and class: a one-line docstring, and a comment on each parameter.
- Every public name is used on its own page, outside the cells that export.
- The state of widgets is kept only where an output shows one: it can be half of a page.
- No formula holds what the site's builder (docutils, LaTeX to MathML) does not know.
"""

import ast
import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from cells import comments, flags, most_lines, source

root = Path(__file__).resolve().parent.parent
fewest_cells, most_cells = 40, 75
unknown_latex = {r'\dots': r'\ldots'}  # what docutils does not know, and what it does


def lines_of_parameters(cell):
    "Numbers of the lines that hold nothing but a parameter with its comment: they document"
    functions = [node for node in ast.walk(parsed(cell)) if isinstance(node, ast.FunctionDef)]
    spans = [range(f.lineno + 1, f.body[0].lineno) for f in functions]
    return {number for span in spans for number in span}


def code_lines(cell):
    "Its lines without flags, comments, parameters and blank ones"
    skipped = lines_of_parameters(cell)
    lines = enumerate(source(cell).split('\n'), 1)
    return [s for i, s in lines if i not in skipped and s.strip() and not s.strip().startswith('#')]


def parsed(cell):
    "The cell as a tree; nothing where IPython's own syntax stands in it"
    try:
        return ast.parse(source(cell))
    except SyntaxError:
        return ast.parse('')


def may_be_long(cell):
    "Is it one network, learner or command? These are read as a whole"
    for node in parsed(cell).body:
        if isinstance(node, ast.ClassDef) and node.bases:
            return True
        decorators = [ast.unparse(d) for d in getattr(node, 'decorator_list', [])]
        if 'call_parse' in decorators:
            return True
    return False


def has_picture(cell):
    "Did this cell leave a picture?"
    kinds = [kind for out in cell.get('outputs', []) for kind in out.get('data', {})]
    return any(kind.startswith('image/') for kind in kinds)


def undocumented(function, commented, owner=None):
    "What is missing at one function: its docstring, or a comment on a parameter"
    name = owner or function.name
    doc = ast.get_docstring(function)
    if owner is None and (not doc or '\n\n' in doc):
        yield f'{name} needs a docstring of one sentence'
    arguments = function.args
    every = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    every += [a for a in (arguments.vararg, arguments.kwarg) if a]
    for argument in every:
        if argument.arg in ('self', 'cls') or argument.arg.startswith('_'):
            continue
        if argument.lineno not in commented:
            yield f'{name}: parameter {argument.arg} needs a comment (shape, range or unit)'


def public_definitions(cell):
    "The functions and classes that a cell exports"
    kinds = ast.FunctionDef, ast.ClassDef
    return [node for node in parsed(cell).body if isinstance(node, kinds) and not node.name.startswith('_')]


def faults_of_definitions(cell):
    "Missing docstrings and comments in a cell that exports"
    commented = comments(source(cell))
    for node in public_definitions(cell):
        if isinstance(node, ast.FunctionDef):
            yield from undocumented(node, commented)
            continue
        if not ast.get_docstring(node):
            yield f'{node.name} needs a docstring'
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == '__init__':
                yield from undocumented(method, commented, owner=node.name)


def faults_of_cell(cell):
    "What is wrong with one cell"
    if cell['cell_type'] == 'markdown':
        if re.search(r'!\[\s*\]\(|<img(?![^>]*\balt="[^"]+")', source(cell)):
            yield 'a picture without alt text'
        yield from faults_of_formulas(source(cell))
        return
    lines = len(code_lines(cell))
    if lines > most_lines and not may_be_long(cell):
        yield f'{lines} lines of code, at most {most_lines} are read with pleasure'
    if has_picture(cell) and 'fig-alt' not in flags(cell):
        yield 'its picture needs a line `#| fig-alt: what is to be seen`'
    if {'export', 'exporti', 'exports'} & flags(cell).keys():
        yield from faults_of_definitions(cell)


def faults_of_formulas(text):
    "Commands that would end `make site`, with what to write in their place"
    for command, better in unknown_latex.items():
        if re.search(rf'{re.escape(command)}\b', text):
            yield f'the site does not know {command} in a formula: write {better}'


def never_shown(cells):
    "Names that the page exports and never uses where a reader can see it"
    exports = [c for c in cells if c['cell_type'] == 'code' and 'export' in flags(c)]
    others = [c for c in cells if c['cell_type'] == 'code' and 'export' not in flags(c)]
    shown = set(re.findall(r'\w+', '\n'.join(source(c) for c in others)))
    names = [node.name for c in exports for node in public_definitions(c)]
    return [f'{name} is exported and never shown' for name in names if name not in shown]


def dead_widgets(notebook):
    "Is there state of widgets that no output shows?"
    shown = 'application/vnd.jupyter.widget-view+json'
    outputs = [output for cell in notebook['cells'] for output in cell.get('outputs', [])]
    return 'widgets' in notebook['metadata'] and not any(shown in o.get('data', {}) for o in outputs)


def faults_of_page(page):
    "All that is wrong with one notebook, but for what ruff says"
    notebook = json.loads(page.read_text('utf-8'))
    cells, found = notebook['cells'], []
    if dead_widgets(notebook):
        found.append('holds the state of widgets that no output shows: take "widgets" out of its metadata')
    if page.stem != 'index' and not fewest_cells <= len(cells) <= most_cells:
        found.append(f'{len(cells)} cells; a page has {fewest_cells} to {most_cells}')
    for cell in cells:
        found += [f'[{cell["id"]}] {fault}' for fault in faults_of_cell(cell)]
    return found + never_shown(cells)


def badly_formatted(paths):
    "The files that `ruff format` would change"
    command = [sys.executable, '-m', 'ruff', 'format', '--check', '--no-cache', *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode in (0, 1), done.stderr
    names = re.findall(r'^Would reformat: (.*)$', done.stdout, re.M)
    return [(root / name).resolve() for name in names]


def ruff_faults(*options):
    "What `ruff check` finds with these options and in these places, by path"
    command = [sys.executable, '-m', 'ruff', 'check', '--output-format', 'json', '--no-cache', *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode in (0, 1), done.stderr
    found = defaultdict(list)
    for fault in json.loads(done.stdout):
        where = f'cell {fault["cell"]}, ' if fault.get('cell') else ''
        line = f'{where}line {fault["location"]["row"]}: {fault["code"]} {fault["message"]}'
        found[Path(fault['filename']).resolve()].append(line)
    return found


def linted(paths):
    "What ruff finds, by path"
    found = ruff_faults(*map(str, paths))
    for path in badly_formatted(paths):
        found[path].insert(0, 'is not formatted: `make export` does it')
    return found


def unknown_names():
    "Benchmarks and examples have no tests: names that nothing defines, imports that nothing uses"
    return ruff_faults('--isolated', '--select', 'F', 'benchmarks', 'examples')


def main(wanted):
    "Print the faults; how many stand where none may"
    if find_spec('ruff') is None:
        sys.exit('pages.py: this Python has no ruff; run it by .venv/bin/python, which `make test` sets up')
    pages = sorted(p for p in (root / 'nbs').glob('*.ipynb') if not wanted or p.stem in wanted)
    scripts = [] if wanted else sorted((root / '.ci').glob('*.py'))
    found = linted(pages + scripts)
    for page in pages:
        found[page.resolve()] += faults_of_page(page)
    failing = {path: faults for path, faults in found.items() if faults}
    if not wanted:
        failing.update(unknown_names())
    for path, faults in failing.items():
        print(path.name, *faults, sep='\n  ')
    print(f'{sum(page.resolve() not in failing for page in pages)} of {len(pages)} pages keep all rules')
    return sum(map(len, failing.values()))


if __name__ == '__main__':
    sys.exit(bool(main(sys.argv[1:])))
