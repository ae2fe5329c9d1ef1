"""Everything that must hold before a change lands. `check.py` runs it all; `check.py wheel 02_data` runs
only what matches.

One line per check, `ok NAME (seconds)` or `FAILED NAME` with the reason below it; the last line counts them.
Nothing here writes into the tree: what has to be generated or built is made in a copy.
"""

import configparser
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
import zipfile
import outputs
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parent.parent
tmp = Path(tempfile.mkdtemp(prefix='colorize_nb_check_'))
site, win = sysconfig.get_path('purelib'), os.name == 'nt'
exe = lambda name, py=sys.executable: Path(py).with_name(
    name + ('.exe' if win else '')
)  # the command that lies beside a Python
big, slow_s, quick_s = (
    16 * 2**20,
    180,
    1.0,
)  # bytes of one file; CPU seconds of one notebook; seconds to start
notebooks = sorted(
    p for p in (root / 'nbs').rglob('*.ipynb') if not any(s[0] in '_.' for s in p.relative_to(root).parts)
)

# Nothing may depend on who runs this: no caches of theirs, UTF-8 everywhere. One thread per process, for two
# notebooks run side by side and more threads than cores are slower, not faster.
env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'PYTHONHOME', 'IN_TEST')}
env |= dict(
    PYTHONUTF8='1',
    PYTHONDONTWRITEBYTECODE='1',
    NO_COLOR='1',
    TQDM_DISABLE='1',
    HF_HUB_OFFLINE='1',
    JUPYTER_PLATFORM_DIRS='1',
    OMP_NUM_THREADS='1',
    MKL_NUM_THREADS='1',
    OPENBLAS_NUM_THREADS='1',
)


def timed(*cmd, cwd=root, timeout=1800, **more):
    """stdout and stderr of a command, and the CPU seconds that it and its children used (None where the
    system does not tell); an AssertionError with its last lines if it fails"""
    with tempfile.TemporaryFile(dir=tmp) as log:
        p = subprocess.Popen(
            [str(c) for c in cmd],
            cwd=cwd,
            env=env | more,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        timer = threading.Timer(timeout, p.kill)
        timer.start()
        if hasattr(os, 'wait4'):
            _, status, used = os.wait4(p.pid, 0)
            p.returncode, cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        else:
            p.wait()
            cpu = None
        timer.cancel()
        log.seek(0)
        said = io.TextIOWrapper(
            log, encoding='utf-8', errors='replace'
        ).read()  # line ends of any system become \n
    assert p.returncode == 0, f'{Path(cmd[0]).name} ended with {p.returncode}:\n' + '\n'.join(
        said.splitlines()[-40:]
    )
    return said, cpu


def run(*cmd, **more):
    "`timed` for those who do not ask for the time"
    return timed(*cmd, **more)[0]


def same(a, b, what):
    assert a == b, f'{what}: {a!r} is not {b!r}'


def copy(*names):
    "A copy of these parts of the tree, without caches"
    dst = Path(tempfile.mkdtemp(dir=tmp))
    for n in names:
        if (root / n).is_dir():
            shutil.copytree(
                root / n, dst / n, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints')
            )
        else:
            shutil.copy(root / n, dst / n)
    return dst


def metadata():
    "settings.ini, pyproject.toml, __init__.py and constraints.txt agree"
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(root / 'settings.ini', encoding='utf-8')
    s, toml, init, pins = (
        ini['DEFAULT'],
        *(
            (root / f).read_text('utf-8')
            for f in ('pyproject.toml', 'colorize_nb/__init__.py', 'constraints.txt')
        ),
    )
    field = lambda k: re.search(rf'^{k} = "(.*)"$', toml, re.M)[1]
    same(re.search(r'^__version__ = "(.*)"$', init, re.M)[1], s['version'], 'version in __init__.py')
    for key, want in (
        ('name', s['lib_name']),
        ('requires-python', '>=' + s['min_python']),
        ('Repository', s['git_url']),
        ('Documentation', s['doc_url']),
        ('lib_path', s['lib_path']),
        ('nbs_path', s['nbs_path']),
    ):
        same(field(key), want, f'{key} in pyproject.toml')
    for req in s['requirements'].split() + s['dev_requirements'].split():
        name = re.match(r'[\w-]+', req)[0]
        assert re.search(rf'^{name}==', pins, re.M), f'{name} has no tried version in constraints.txt'
    assert f'## {s["version"]}' in (root / 'CHANGELOG.md').read_text('utf-8'), (
        f'CHANGELOG.md does not name {s["version"]}'
    )


def declared():
    "What is imported is declared, what gets installed is locked, and every action is named by its commit"
    run(sys.executable, root / '.ci/declared.py')


def export():
    "nbdev-export would change nothing, and every module has its notebook"
    t = copy('nbs', 'pyproject.toml', 'settings.ini')
    (t / 'colorize_nb').mkdir()
    shutil.copy(root / 'colorize_nb/__init__.py', t / 'colorize_nb')
    run(exe('nbdev-export'), cwd=t)
    new, old = ({f.name: f.read_text('utf-8') for f in (d / 'colorize_nb').glob('*.py')} for d in (t, root))
    bad = sorted(f for f in new.keys() | old.keys() if new.get(f) != old.get(f))
    assert not bad, (
        f'the notebooks export something else: {", ".join(bad)}. '
        '`make export` writes it; a module without notebook must go.'
    )


def clean():
    "nbdev-clean would change no notebook"
    t = copy('nbs', 'pyproject.toml', 'settings.ini')
    run(exe('nbdev-clean'), cwd=t)
    bad = [n.name for n in notebooks if n.read_text('utf-8') != (t / n.relative_to(root)).read_text('utf-8')]
    assert not bad, f'not clean: {", ".join(bad)}. `make export` cleans them.'


def pages():
    "The pages keep the rules of pages.py: code that can be read, alt text, comments on parameters"
    return run(sys.executable, root / '.ci/pages.py').splitlines()[-1]


def readme():
    "README.md is what nbs/index.ipynb makes"
    run(sys.executable, root / '.ci/readme.py', '--check')


def notebook(nb):
    "A notebook runs from top to bottom, and prints what is stored in it"
    t = copy('pyproject.toml', 'settings.ini')
    fresh = t / nb.relative_to(root)
    fresh.parent.mkdir(parents=True)
    shutil.copy(nb, fresh)
    said, cpu = timed(exe('nbdev-test'), fresh, '--save', cwd=t)
    assert 'Success.' in said, f'nbdev-test ran nothing:\n{said}'
    stale = outputs.differences(nb, fresh)
    assert not stale, '\n'.join(
        [f'{len(stale)} cells print something else than what is stored:', *stale, outputs.advice]
    )
    slow = f' WARNING: over {slow_s} s' if cpu and cpu > slow_s else ''
    return (f'{cpu:.0f} CPU s' if cpu else '') + slow


def built():
    "The wheel and the environment it is installed in, made once: it borrows only the dependencies"
    py = tmp / 'venv' / ('Scripts/python.exe' if win else 'bin/python')
    if not py.exists():
        raise AssertionError('needs the wheel installed, and that failed')
    return py


def outside(*cmd):
    "Run in the wheel's environment, in a folder of its own, with an empty home and no way to the network"
    home = tmp / 'home'
    home.mkdir(exist_ok=True)
    return run(
        *cmd,
        cwd=home,
        HOME=str(home),
        USERPROFILE=str(home),
        XDG_CACHE_HOME=str(home / 'cache'),
        TORCH_HOME=str(home / 'torch'),
        HF_HOME=str(home / 'hf'),
        HF_HUB_OFFLINE='1',
        MPLBACKEND='Agg',
    )


no_network = '''"Loaded by every Python that the checks start: whoever leaves this machine gets an error"
import socket
def guard(f, at):
    def g(*args, **kw):
        host = args[at][0] if isinstance(args[at], tuple) else args[at]
        here = host in ('', 'localhost', '::1') or str(host).startswith(('127.', '/'))
        if isinstance(host, str) and not here:
            raise OSError(f'offline test: something asked for {host}')
        return f(*args, **kw)
    return g
for n in ('connect', 'connect_ex'): setattr(socket.socket, n, guard(getattr(socket.socket, n), 1))
socket.getaddrinfo = guard(socket.getaddrinfo, 0)
'''


def wheel():
    "The wheel builds, holds what it should and nothing else, and installs in another environment"
    t = copy(
        'setup.py',
        'settings.ini',
        'pyproject.toml',
        'MANIFEST.in',
        'README.md',
        'LICENSE',
        'colorize_nb',
        'data/photos',
    )
    run(
        sys.executable,
        '-m',
        'pip',
        '-q',
        'wheel',
        '--no-deps',
        '--no-build-isolation',
        '-w',
        tmp / 'dist',
        '.',
        cwd=t,
    )
    (whl,) = (tmp / 'dist').glob('*.whl')
    names = {n for n in zipfile.ZipFile(whl).namelist() if '.dist-info/' not in n}
    want = {p.relative_to(t).as_posix() for p in (t / 'colorize_nb').rglob('*') if p.is_file()}
    want |= {
        'colorize_nb/photos/' + p.relative_to(t / 'data/photos').as_posix()
        for p in (t / 'data/photos').rglob('*')
        if p.is_file()
    }
    same(sorted(names ^ want), [], 'files in the wheel or in the tree, but not in both')
    venv.create(tmp / 'venv', symlinks=not win)
    (py,) = [p for p in (tmp / 'venv' / 'bin/python', tmp / 'venv' / 'Scripts/python.exe') if p.exists()]
    lib = Path(run(py, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    # A path line lends the dependencies, but not the .pth files there: the checkout's install stays out.
    (lib / 'borrowed.pth').write_text(f'{site}\n', encoding='utf-8')
    run(sys.executable, '-m', 'pip', '-q', '--python', py, 'install', '--no-deps', '--no-index', whl)
    return f'{whl.stat().st_size / 2**20:.1f} MB'


def command():
    "`colorize PHOTO -o OUT` of the wheel, elsewhere and offline, gives a photo of the same size in colour"
    import numpy as np
    from PIL import Image

    outside(
        built(),
        '-c',
        'import socket as s\nassert s.socket.connect.__module__ == s.getaddrinfo.__module__ == "no_network"',
    )
    src, out = tmp / 'old photo.jpg', tmp / 'colour'
    Image.open(sorted((root / 'data/photos/gray').glob('*.jpg'))[0]).convert('L').save(src)
    said = outside(exe('colorize', built()), src, '-o', out)
    done = [p for p in out.rglob('*') if p.suffix.lower() in ('.jpg', '.jpeg', '.png')]
    same(len(done), 1, f'photos in the output folder after:\n{said}')
    im = Image.open(done[0])
    same(im.size, Image.open(src).size, 'size of the result')
    spread = float(np.ptp(np.asarray(im.convert('RGB')).astype(float), axis=-1).mean())
    assert spread > 3, (
        f'the result has hardly any colour: R, G and B differ by {spread:.2f} levels on average'
    )


def photos():
    "The embedded photos are reachable from the installed wheel"
    said = outside(
        built(),
        '-c',
        'from colorize_nb.data import photos_dir as d; print(d()); print(len(list(d().rglob("*.jpg"))))',
    ).split('\n')[-3:]  # past warnings of imports
    assert Path(said[0]).resolve().is_relative_to(tmp.resolve()), (
        f'photos_dir() is {said[0]}, not in the installed package'
    )
    same(int(said[1]), len(list((root / 'data/photos').rglob('*.jpg'))), 'photos in the wheel')


def quick():
    "`import colorize_nb` and `colorize --help` answer within a second (median of five)"
    said = []
    for name, cmd in (
        ('import', (built(), '-c', 'import colorize_nb')),
        ('--help', (exe('colorize', built()), '--help')),
    ):
        times = []
        for _ in range(6):
            t = time.perf_counter()
            outside(*cmd)
            times.append(time.perf_counter() - t)
        s = statistics.median(times[1:])
        assert s < quick_s, f'{name} takes {s:.2f} s'
        said.append(f'{name} {s:.2f} s')
    return ', '.join(said)


def files():
    "No paths of somebody's machine and no big files in what git would take"
    if not (root / '.git').exists() or not shutil.which('git'):
        return 'skipped: not a git checkout'
    names = run('git', '-c', 'core.quotePath=off', 'ls-files', '-co', '--exclude-standard').splitlines()
    mine = [re.escape(p.as_posix()) for p in (root, Path.home()) if len(p.parts) > 1]
    path = re.compile(
        '|'.join(
            [
                rf'(?<![\w./-])(?:{"|".join(mine)})/',
                r'(?<![\w.])/(?:home|Users)/\w+/',
                r'/tmp/ipykernel_\d',
                r'[A-Z]:\\+Users\\',
            ]
        )
    )
    bad = []
    for p in (root / n for n in names if (root / n).is_file()):
        data = p.read_bytes()
        if len(data) > big:
            bad.append(f'{p.relative_to(root)}: {len(data) / 2**20:.0f} MB')
        if b'\0' in data[:8000]:
            continue
        bad += [
            f'{p.relative_to(root)}:{i}: {m[0]}'
            for i, line in enumerate(data.decode('utf-8', 'replace').split('\n'), 1)
            if (m := path.search(line))
        ]
    assert not bad, '\n'.join(bad[:20])


def check(name, f, *args):
    "Run one check, print its line, tell whether it passed"
    start = time.perf_counter()
    try:
        said, ok = f(*args), True
    except Exception as e:
        said, ok = str(e) if isinstance(e, AssertionError) else f'{type(e).__name__}: {e}', False
    s = time.perf_counter() - start
    if ok:
        print(f'ok {name} ({s:.1f} s{"; " + said if said else ""})', flush=True)
    else:
        print(f'FAILED {name} ({s:.1f} s)\n    ' + said.replace('\n', '\n    '), flush=True)
    return ok


def main():
    wanted = lambda name: not sys.argv[1:] or any(a in name for a in sys.argv[1:])
    need = {command, photos, quick}
    guard = tmp / 'guard'  # what is checked asks no other host
    guard.mkdir()
    (guard / 'no_network.py').write_text(no_network)
    (guard / 'sitecustomize.py').write_text('import no_network')
    env['PYTHONPATH'] = str(guard)
    results = [
        check(f.__name__, f)
        for f in (metadata, declared, export, clean, pages, readme, files)
        if wanted(f.__name__)
    ]
    with ThreadPoolExecutor(2) as pool:
        results += pool.map(
            lambda nb: check(nb.name, notebook, nb), [nb for nb in notebooks if wanted(nb.name)]
        )
    results += [
        check(f.__name__, f)
        for f in (wheel, command, photos, quick)
        if wanted(f.__name__) or f is wheel and any(wanted(g.__name__) for g in need)
    ]
    shutil.rmtree(tmp, ignore_errors=True)
    print(f'{sum(results)} passed, {len(results) - sum(results)} failed')
    return int(not all(results))


if __name__ == '__main__':
    sys.exit(main())
