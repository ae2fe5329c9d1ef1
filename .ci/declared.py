"""What the project depends on: is it declared, locked and free of known holes?

declared.py                 a sentence for each import that settings.ini lacks, each package that
                            is not locked, each GitHub action without its commit; exit code 1 if any
declared.py list [EXTRA..]  the requirements of settings.ini, one a line; .ci/lock.sh locks them
declared.py audit           known vulnerabilities of the lock with hashes; by pip-audit beside this Python
"""

import ast
import configparser
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from importlib import metadata
from pathlib import Path

root = Path(__file__).resolve().parent.parent


def normal(name):
    "The name of a package as indexes compare it: `Scikit_Image` -> `scikit-image`"
    return re.sub(r'[-_.]+', '-', name).lower()


def settings():
    "The fields of settings.ini"
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(root / 'settings.ini', encoding='utf-8')
    return ini['DEFAULT']


def extras():
    "The extras that setup.py offers: each has its field in settings.ini"
    return [field.removesuffix('_requirements') for field in settings() if field.endswith('_requirements')]


def requirements(*which):
    "What settings.ini asks for: the requirements of the library, and those of some extras"
    fields = ['requirements', *(f'{extra}_requirements' for extra in which)]
    return [req for field in fields for req in settings()[field].split()]


def names(reqs):
    "The packages of some requirements, without their versions"
    return {normal(re.match(r'[\w.-]+', req)[0]) for req in reqs}


def code_of(file):
    "The Python of a module or of the code cells of a notebook, where `%magic` and `!command` become calls"
    text = file.read_text('utf-8')
    if file.suffix != '.ipynb':
        yield text
        return
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in json.loads(text)['cells']:
        if cell['cell_type'] == 'code':
            yield TransformerManager().transform_cell(''.join(cell['source']))


def guarded(tree):
    "The nodes inside a `try` that catches ImportError or its child ModuleNotFoundError"
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    missing = re.compile('ImportError|ModuleNotFoundError')
    caught = [t for t in tries if any(missing.search(ast.unparse(h.type)) for h in t.handlers if h.type)]
    return {inner for t in caught for statement in t.body for inner in ast.walk(statement)}


def imports(file):
    "{module: may it be missing} for the imports of a file; `a.b` counts as a; one guard is enough"
    found = {}
    for code in code_of(file):
        tree = ast.parse(code)
        careful = guarded(tree)
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                module = name.split('.')[0]
                found[module] = found.get(module, False) or node in careful
    return found


def sources(folder):
    "The modules and notebooks in a folder, without subfolders that nbdev skips: .ipynb_checkpoints, _drafts"
    found = [p.relative_to(root / folder) for p in sorted((root / folder).rglob('*'))]
    wanted = [p for p in found if p.suffix in ('.py', '.ipynb')]
    return [
        root / folder / p for p in wanted if not any(part.startswith(('.', '_')) for part in p.parts[:-1])
    ]


def owners():
    "{module: packages that bring it}; Python 3.10 itself knows only those with a top_level.txt"
    found = {module: set(packages) for module, packages in metadata.packages_distributions().items()}
    for dist in metadata.distributions():
        if dist.read_text('top_level.txt'):
            continue
        for file in dist.files or ():
            if file.suffix == '.py':
                module = file.parts[0].removesuffix('.py')
                found.setdefault(module, set()).add(dist.metadata['Name'])
    return found


def undeclared():
    "A sentence for each module that is imported while no requirement of settings.ini brings it"
    library = sources('colorize_nb')
    rest = [file for folder in ('.ci', 'benchmarks', 'examples', 'nbs') for file in sources(folder)]
    always = names(requirements())
    anywhere = names(requirements(*extras()))
    brought_by = owners()
    said = []
    for file in [*library, *rest]:
        name = file.relative_to(root).as_posix()
        try:
            found = imports(file)
        except (SyntaxError, ValueError, KeyError) as e:  # no Python, notebook or UTF-8
            said.append(f'{name} cannot be read: {e}')
            continue
        for module, maybe in found.items():
            here = module == settings()['lib_name'] or (file.parent / f'{module}.py').exists()
            if here or module in sys.stdlib_module_names:
                continue
            packages = sorted(brought_by.get(module, ()))
            if maybe and file not in library:
                continue  # a check that says what it skips
            needed = always if file in library and not maybe else anywhere
            if needed & {normal(p) for p in packages or [module]}:  # not installed: by its own name
                continue
            field = 'requirements' if needed is always else 'dev_requirements'
            if packages:
                why = f'which {" or ".join(packages)} brings: add it'
            else:
                why = 'which no installed package brings: install it, and add it'
            said.append(f'{name} imports {module}, {why} to {field} in settings.ini')
    return said


def installed(*which):
    "{name: version} of what is installed because the project asks for it, directly or through others"
    from packaging.requirements import Requirement

    found, waiting = {}, [Requirement(req) for req in requirements(*which)]
    seen = set()
    while waiting:
        req = waiting.pop()
        key = normal(req.name), frozenset(req.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            dist = metadata.distribution(req.name)
        except metadata.PackageNotFoundError:
            continue  # pip had a reason to leave it out: markers of other systems
        found[key[0]] = dist.version
        for text in dist.requires or ():
            more = Requirement(text)
            if more.marker is None or any(more.marker.evaluate({'extra': e}) for e in ('', *req.extras)):
                waiting.append(more)
    return found


def locked(file):
    "{name: the version as `==1.2`} of a lock, for this Python and this system"
    from packaging.requirements import Requirement

    lines = [line.rstrip(' \\') for line in (root / file).read_text('utf-8').splitlines()]
    reqs = [Requirement(line) for line in lines if line and not line.lstrip().startswith(('#', '--'))]
    return {normal(r.name): r.specifier for r in reqs if r.marker is None or r.marker.evaluate()}


def unlocked():
    "A sentence for each installed package that the locks do not hold, and for each of their differences"
    plain = locked('constraints.txt')
    hashed = locked('constraints-hashes.txt')
    said = []
    for name, version in sorted(installed('dev').items()):
        if name not in plain:
            said.append(f'{name} {version} is installed, but not in constraints.txt: run `make lock`')
        elif version not in plain[name]:
            wrong = f'{name} {version} is installed, but constraints.txt says {plain[name]}'
            said.append(f'{wrong}: rm .venv/.ready, then make')
        if name not in hashed:
            said.append(f'{name} is not in constraints-hashes.txt: run `make lock`')
    for name, version in sorted(hashed.items()):
        if plain.get(name) != version:
            was = plain.get(name, 'no version')
            said.append(f'{name} has {was} in constraints.txt, but {version} with hashes: run `make lock`')
    return said


def movable():
    "A sentence for each GitHub action that is named by a tag, which can be moved, and not by its commit"
    said = []
    for file in sorted((root / '.github/workflows').glob('*.y*ml')):
        for action in re.findall(r'^[ -]*uses: *(\S.*)', file.read_text('utf-8'), re.M):
            if not re.fullmatch(r'\./\S+|[\w./-]+@[0-9a-f]{40} +# v\d\S*', action.strip()):
                wanted = 'its commit of 40 hexadecimal digits, and `# v1.2.3` behind it'
                said.append(f'{file.relative_to(root).as_posix()} uses {action}: name {wanted}')
    return said


def ask(lock):
    "What pip-audit says about each package of a lock; RuntimeError if it could not ask"
    tool = Path(sys.executable).with_name('pip-audit')
    how = ['--require-hashes', '--disable-pip', '--progress-spinner', 'off', '--format', 'json']
    r = subprocess.run(
        [str(tool), '-r', str(lock), *how],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding='utf-8',
        errors='replace',
    )
    try:
        return json.loads(r.stdout)['dependencies']
    except ValueError:
        said = r.stderr.strip().splitlines() or [f'pip-audit ended with {r.returncode}']
        raise RuntimeError(said[-1]) from None


def audit():
    "Known vulnerabilities of what CI installs: 1 if there are some, 0 if not or if nobody can be asked"
    lock = root / 'constraints-hashes.txt'
    blocks = re.findall(r'^\S+==.*(?:\n +--hash.*)+', lock.read_text('utf-8'), re.M)
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / 'probe.txt'
        probe.write_text(next(b for b in blocks if b.startswith('pip==')), encoding='utf-8')
        try:
            known = [dep for dep in ask(probe) if 'skip_reason' not in dep]
            if not known:
                raise RuntimeError('the package index does not hand out vulnerabilities')
            deps = ask(lock)
        except (RuntimeError, OSError) as e:
            print('audit skipped:', textwrap.shorten(str(e), 120))
            return 0
    return verdict(deps)


def verdict(deps):
    "Print the answers of pip-audit, and say whether a vulnerability is among them"
    bad = [(dep, vuln) for dep in deps for vuln in dep.get('vulns', ())]
    for dep, vuln in bad:
        fixed = ', '.join(vuln['fix_versions']) or 'none yet'
        print(f'{dep["name"]} {dep["version"]}: {vuln["id"]}, fixed in {fixed}')
    unknown = [dep['name'] for dep in deps if 'skip_reason' in dep]
    if unknown:
        print(f'not known to the index: {", ".join(unknown)}')
    print(f'{len(deps) - len(unknown)} packages, {len(bad)} known vulnerabilities')
    return int(bool(bad))


def main():
    "See the head of this file; the exit code"
    what, *which = sys.argv[1:] or ['check']
    if what == 'list' and set(which) <= set(extras()):
        print('\n'.join(requirements(*which)))
        return 0
    if what == 'audit' and not which:
        return audit()
    if what != 'check':
        print(__doc__, file=sys.stderr)
        return 2
    said = undeclared() + unlocked() + movable()
    print('\n'.join(said) or f'{len(installed("dev"))} packages, all declared and locked')
    return int(bool(said))


if __name__ == '__main__':
    sys.exit(main())
