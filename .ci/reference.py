"""The reference of the library as Markdown for the site: what a function takes stands in the comments of its
parameters (docments), where Sphinx does not look. One page a module; every public name has its entry."""

import ast
import json
import re
from pathlib import Path
from cells import comments

root = Path(__file__).resolve().parent.parent
library = root / 'colorize_nb'


def public_names(module):
    "What a module offers, in the order of its file: functions, classes and constants"
    tree = ast.parse((library / f'{module}.py').read_text('utf-8'))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from ((name, node) for name in names if not name.startswith('_'))


def modules():
    "The modules of the library, by name, each with its lesson"
    found = {}
    for notebook in sorted((root / 'nbs').glob('[0-9]*.ipynb')):
        source = notebook.read_text('utf-8')
        exported = re.search(r'#\| *default_exp (\w+)', source)
        if exported and (library / f'{exported[1]}.py').is_file():
            found[exported[1]] = notebook
    return found


def slug(title):
    "The anchor that MyST makes of a heading"
    plain = re.sub(r'[`*\\]', '', title).strip().lower().replace(' ', '-')
    return re.sub(r'[^\w\-]', '', plain)


def where_defined(notebook):
    "For each name that a lesson exports: the heading under which it is made"
    heading, found = None, {}
    for cell in json.loads(notebook.read_text('utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            code_left_out = re.sub(r'```.*?```', '', source, flags=re.S)
            headings = re.findall(r'^#{2,3} (.+)$', code_left_out, re.M)
            heading = headings[-1] if headings else heading
        elif re.search(r'^#\| *export', source, re.M):
            for name in re.findall(r'^(?:def|class) (\w+)|^(\w+) *=', source, re.M):
                found.setdefault(name[0] or name[1], heading)
    return found


def written(annotation):
    "A type as a person writes it"
    if annotation is None:
        return ''
    text = ast.unparse(annotation)
    return ast.unparse(annotation.slice.elts[0]) if text.startswith('Annotated[') else text


def arguments(function):
    "Each argument of a function with how it is called (`*args`, `size=256`) and the line where it ends"
    every = function.args.posonlyargs + function.args.args
    defaults = [None] * (len(every) - len(function.args.defaults)) + function.args.defaults
    found = [('', argument, default) for argument, default in zip(every, defaults)]
    if function.args.vararg:
        found.append(('*', function.args.vararg, None))
    elif function.args.kwonlyargs:
        found.append(('*', None, None))
    found += [('', *pair) for pair in zip(function.args.kwonlyargs, function.args.kw_defaults)]
    if function.args.kwarg:
        found.append(('**', function.args.kwarg, None))
    for stars, argument, default in found:
        if argument and argument.arg in ('self', 'cls'):
            continue
        call = stars + (argument.arg if argument else '')
        if default is not None:
            call += f'={ast.unparse(default)}'
        yield argument, call, (default or argument).end_lineno if argument else None


def made_by(node):
    "The function that takes the arguments: of a class its `__init__`, if it has one of its own"
    if isinstance(node, ast.FunctionDef):
        return node
    made = [m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == '__init__']
    return made[0] if made else None


def signature(name, function):
    "How a function is called, on one line or one argument a line"
    calls = [call for _, call, _ in arguments(function)] if function else []
    line = f'{name}({", ".join(calls)})'
    if len(line) <= 80:
        return line
    return '\n'.join([f'{name}(', *(f'    {call},' for call in calls), ')'])


def plain(text):
    "Words of a comment or docstring as Markdown: what stands in backticks stays, all else means itself"
    parts = re.split(r'(`[^`]*`)', text or '')
    return ''.join(p if i % 2 else re.sub(r'([*_<$\[\\])', r'\\\1', p) for i, p in enumerate(parts))


def item(name, kind, comment):
    "One line about an argument or a result"
    comment = plain(comment)
    return f'- **{name}**{f" `{kind}`" if kind else ""}{f": {comment}" if comment else ""}'


def parameters(function, said):
    "A list of what a function takes and returns, with the comments that stand beside it"
    if function is None:
        return ''
    lines, taken = [], set()
    for argument, _, end in arguments(function):
        if argument is None:
            continue
        comment = said.get(argument.lineno) or said.get(end, '')
        taken |= {argument.lineno, end}
        lines.append(item(f'`{argument.arg}`', written(argument.annotation), comment))
    if function.returns is not None and ast.unparse(function.returns) != 'None':
        end = function.returns.end_lineno
        lines.append(item('returns', written(function.returns), '' if end in taken else said.get(end, '')))
    return '\n'.join(lines)


def command(name, module):
    "A sentence for a function that is a command: settings.ini says under which name"
    settings = (root / 'settings.ini').read_text('utf-8')
    found = re.search(rf'^(?:console_scripts =|\s)\s*([\w-]+)=colorize_nb\.{module}:{name}$', settings, re.M)
    return f'The command `{found[1]}`: its arguments are options of the same names.' if found else ''


def entry(module, name, node, said, place):
    "One public name: how it is called, what it does, what it takes"
    if isinstance(node, ast.Assign):
        value = ast.unparse(node.value)
        shown = value if len(value) <= 200 else f'{value[:190]} ...'
        return [f'## {name}', f'```python\n{name} = {shown}\n```', f'[In the lesson]({place})']
    function = made_by(node)
    out = [f'## {name}', f'```python\n{signature(name, function)}\n```']
    out += [command(name, module), plain(ast.get_docstring(node)), parameters(function, said)]
    for method in node.body if isinstance(node, ast.ClassDef) else ():
        documented = isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
        if documented and not method.name.startswith('_'):
            out += [f'### {name}.{method.name}', f'```python\n{signature(method.name, method)}\n```']
            out += [plain(documented), parameters(method, said)]
    return [*out, f'[In the lesson]({place})']


def page(name, notebook):
    "The Markdown of one module"
    first = ''.join(json.loads(notebook.read_text('utf-8'))['cells'][0]['source'])
    title = re.search(r'^# (.+)$', first, re.M)[1]
    promise = re.search(r'^> (.+)$', first, re.M)
    out = [f'# {name}', f'`colorize_nb.{name}`, made in the lesson [{title}](../{notebook.name}).']
    out += [promise[0]] if promise else []
    said = comments((library / f'{name}.py').read_text('utf-8'))
    headings = where_defined(notebook)
    for public, node in public_names(name):
        heading = headings.get(public)
        place = f'../{notebook.name}' + (f'#{slug(heading)}' if heading else '')
        out += entry(name, public, node, said, place)
    return '\n\n'.join(part for part in out if part) + '\n'


def overview():
    "The first page: all modules with what they hold"
    rows = ['# Reference', 'All public names of the library. Each page belongs to the lesson that makes it.']
    for name in modules():
        entries = ', '.join(f'[`{public}`]({name}.md#{slug(public)})' for public, _ in public_names(name))
        rows.append(f'**[{name}]({name}.md)**: {entries}')
    return '\n\n'.join(rows) + '\n'


def write(folder):
    "All pages of the reference; their names"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'index.md').write_text(overview(), encoding='utf-8')
    for name, notebook in modules().items():
        (folder / f'{name}.md').write_text(page(name, notebook), encoding='utf-8')
    return ['index', *modules()]
