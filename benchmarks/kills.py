"""Is anything lost when `colorize` is killed?   kills.py [--kills 20] [--jobs 1] [--film]

Colours a folder once without a break, then again in another folder where it is killed (SIGKILL) at random
moments while it works and started again, each time from where it is. At the end a run that may finish. Both
folders must hold the same files with the same bytes, and nothing half-written. With --film the folder is one
film of `--photos` seconds, made here; that needs the extra `video`.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import numpy as np
from pathlib import Path
from tempfile import TemporaryDirectory
from fastcore.script import call_parse
from colorize_nb.files import find_photos, photos_dir
from colorize_nb.photo import open_photo

colorize = shutil.which('colorize', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')


def started(scans, out, jobs):
    "The command, running."
    films = sorted(map(str, scans.glob('*.mp4')))
    call = [colorize, *(films or [str(scans)]), '-o', str(out), '--jobs', str(jobs)]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def contents(folder):
    "Every file of a folder but the journal, with its bytes."
    files = [p for p in folder.rglob('*') if p.is_file() and p.name != '.colorize.jsonl']
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def made_twice(folder):
    "How many results the journal has noted more than once: work that kills have cost."
    lines = (folder / '.colorize.jsonl').read_text().splitlines()
    names = [json.loads(line)['result'] for line in lines if '"size"' in line]
    return len(names) - len(set(names))


def album(folder, photos):
    "Gray photos of several sizes, formats and subfolders, and one broken file."
    files = find_photos(photos_dir() / 'color')[:photos]
    for i, file in enumerate(files):
        im = open_photo(file).convert('L').resize((320 + 40 * (i % 9), 240 + 30 * (i % 9)))
        target = folder / f'{i % 4}' / f'{file.stem}{(".jpg", ".png", ".tif")[i % 3]}'
        target.parent.mkdir(parents=True, exist_ok=True)
        im.save(target)
    (folder / 'broken.jpg').write_bytes(b'\xff\xd8\xff half a photo')


def results(folder):
    "How many results, or parts of a film, a folder holds."
    return len([p for p in folder.rglob('*') if p.suffix in ('.jpg', '.png', '.tif', '.nut')])


def at_work(run, folder, before):
    "Wait until a run has added its first result, or has ended."
    while run.poll() is None and results(folder) == before:
        time.sleep(0.01)


def begun(run, folder):
    "Wait until a run is at a segment of a film."
    unfinished = lambda: {p.name for p in folder.rglob('.*.nut.*.part')}
    before = unfinished()
    while run.poll() is None and unfinished() <= before:
        time.sleep(0.01)


def gliding(folder, seconds):
    "A film of 5 frames a second: a camera that glides over the photos of the project, with grain."
    import av

    folder.mkdir()
    chance = np.random.default_rng(0)
    files = find_photos(photos_dir() / 'color')
    with av.open(str(folder / 'film.mp4'), 'w') as out:
        stream = out.add_stream('libx264', rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, 'yuv420p'
        for t in range(5 * seconds):
            if t % 15 == 0:  # three seconds a photo
                wide = np.asarray(open_photo(files[t // 15]).convert('L').resize((380, 240)), np.float32)
            view = wide[:, 4 * (t % 15) : 4 * (t % 15) + 320] + chance.normal(0, 3, (240, 320))
            gray = np.ascontiguousarray(view.clip(0, 255).astype(np.uint8))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(gray, 'gray')))
        out.mux(stream.encode())


@call_parse
def main(
    kills: int = 20,  # runs that are killed
    photos: int = 40,  # in the folder
    jobs: int = 1,  # processes of each run
    seed: int = 1,  # of the moments
    film: bool = False,  # one film of so many seconds instead
):
    "Kill `colorize` again and again, and compare what it leaves with an unbroken run."
    chance = random.Random(seed)
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        (gliding if film else album)(folder / 'scans', photos)
        run = started(folder / 'scans', folder / 'whole', jobs)
        at_work(run, folder / 'whole', 0)
        began = time.perf_counter()
        unbroken = run.wait()
        work = time.perf_counter() - began  # from the first result to the last
        done = []
        for _ in range(kills):
            run = started(folder / 'scans', folder / 'killed', jobs)
            if film:
                begun(run, folder / 'killed')
                time.sleep(chance.uniform(0, 1.2 * work / kills))
            else:
                at_work(run, folder / 'killed', done[-1] if done else 0)
                time.sleep(chance.uniform(0, 1.5 * work / kills))  # so that each adds a little
            run.kill()
            run.wait()
            done.append(results(folder / 'killed'))
        last = started(folder / 'scans', folder / 'killed', jobs).wait()
        twice = made_twice(folder / 'killed')
        whole, killed = contents(folder / 'whole'), contents(folder / 'killed')
        equal = sum(whole[name] == killed.get(name) for name in whole)
        rest = sorted(killed.keys() - whole.keys())
        shutil.rmtree(folder / 'scans')
    print(json.dumps(dict(kills=kills, photos=photos, jobs=jobs, exit_codes=[unbroken, last])))
    print(f'results after each kill: {done}')
    print(
        f'{equal} of {len(whole)} results equal to those of the unbroken run; left over: {rest or "nothing"}'
    )
    print(f'made twice: {twice}')
    sys.exit(equal != len(whole) or bool(rest))
