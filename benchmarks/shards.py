"""Photos a second and memory of two ways to bring the same photos to a training, in turns:
(cache) `photo_dls`: decoded once into files of pixels, which epochs map into memory;
(shards) `stream_dls`: packed by `colorize-shards`, read from front to back, decoded in every epoch.
Each epoch runs in a process of its own, so that its memory can be told: the most that it held, less what it
held before the loader was made. For the cache these are pages of its files, which the system may take back.

    python benchmarks/shards.py [--photos FOLDER ...] [--limit 1000] [--kinds jpeg,avif] [--rounds 3]
                                [--size 128] [--bs 32] [--workers 0] [--store data/results/shards.json]
"""

import json
import os
import random
import resource
import statistics
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
import torch
import webdataset  # noqa: F401  a second that belongs to the program, not to an epoch
from fastcore.script import call_parse
from colorize_nb.data import PhotoCache, photo_dls
from colorize_nb.files import find_photos, photos_dir
from colorize_nb.runs import provenance
from colorize_nb.shards import make_shards
from colorize_nb.stream import ShardPhotos, stream_dls


def held():
    "Megabytes that this process holds now, without its workers (Linux)."
    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize() / 1e6


def cpu_seconds():
    "Processor time of this process and of its workers that have ended."
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def loaders(folder, kind, paths, how):
    "The loaders of a way, and the seconds until they were there."
    began, side = time.perf_counter(), how['size'] * 9 // 8
    if kind == 'cache':
        dls = photo_dls(PhotoCache(paths, side, folder, progress=False), device='cpu', **how)
    else:
        dls = stream_dls(ShardPhotos(folder, side), device='cpu', **how)
    return dls, time.perf_counter() - began


def epoch(folder, kind, paths, how, threads):
    "One epoch in a fresh process: photos, seconds, processor seconds, seconds to start, megabytes."
    torch.set_num_threads(threads)
    before, photos, most = held(), 0, 0
    dls, start = loaders(folder, kind, paths, how)
    cpu, clock = cpu_seconds(), time.perf_counter()
    for L, ab in dls.train:
        photos, most = photos + len(L), max(most, held())
    return dict(
        photos=photos,
        seconds=time.perf_counter() - clock,
        cpu=cpu_seconds() - cpu,
        start=start,
        memory=most - before,
    )


def in_a_process(*args):
    "What `epoch` finds in a process of its own."
    with get_context('spawn').Pool(1) as pool:
        return pool.apply(epoch, args)


def made(folder, kind, paths, side):
    "Write what a way needs: photos a second, and megabytes on the disk."
    began = time.perf_counter()
    if kind == 'cache':
        photos = len(PhotoCache(paths, side, folder, progress=False))
    else:
        photos = make_shards(paths, folder, side, kind, say=lambda line: None)['made']
    seconds = time.perf_counter() - began
    return photos / seconds, sum(p.stat().st_size for p in folder.iterdir()) / 1e6


def row(turns, speed, disk):
    "The medians of a way."
    middle = {k: statistics.median(turn[k] for turn in turns) for k in turns[0]}
    return {
        'photos a second': middle['photos'] / middle['seconds'],
        'photos a CPU second': middle['photos'] / middle['cpu'],
        'MB of memory': middle['memory'],
        'MB on the disk': disk,
        'made, photos a second': speed,
        'seconds to start': middle['start'],
    }


def told(ways):
    "Print the table and the ratios."
    columns = list(next(iter(ways.values())))
    print(f'{"":14}', *(f'{c:>22}' for c in columns))
    for name, way in ways.items():
        print(f'{name:14}', *(f'{way[c]:22.1f}' for c in columns))
    cache, *streams = ways.items()
    for name, way in streams:
        ratios = (f'{c} {way[c] / cache[1][c]:.2f}' for c in columns if cache[1][c])
        print(f'{name} / cache:', ', '.join(ratios))


@call_parse
def main(
    photos: str = None,  # folders of photos, with commas between; default the ones that come with the project
    limit: int = 1000,  # draw so many photos, with seed 0; 0 is all
    kinds: str = 'jpeg,avif',  # how shards are packed
    rounds: int = 3,  # epochs of each way
    size: int = 128,  # pixels of the training square
    bs: int = 32,  # photos a batch
    workers: int = 0,  # processes that load photos
    threads: int = 1,  # of torch in each process
    store: str = None,  # file for the table, with what made it: .json
):
    "Compare the cache and shards on the same photos."
    began = time.perf_counter()
    paths = find_photos(photos.split(',') if photos else photos_dir() / 'color')
    paths = sorted(random.Random(0).sample(paths, min(limit or len(paths), len(paths))))
    names = ['cache', *kinds.split(',')]
    how, turns = dict(size=size, bs=bs, num_workers=workers), {name: [] for name in names}
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place, name) for name in names}
        wrote = {name: made(folders[name], name, paths, size * 9 // 8) for name in names}
        for turn in range(rounds):
            for name in names:
                turns[name].append(in_a_process(folders[name], name, paths, how, threads))
                print(f'turn {turn + 1}, {name}:', turns[name][-1], flush=True)
    ways = {f'shards, {n}' if n != 'cache' else n: row(turns[n], *wrote[n]) for n in names}
    print(f'{len(paths)} photos, {turns["cache"][0]["photos"]} in each epoch, {workers} workers')
    told(ways)
    about = dict(provenance(), photos=len(paths), size=size, bs=bs, workers=workers, rounds=rounds)
    about |= dict(threads=threads, minutes=round((time.perf_counter() - began) / 60, 1), ways=ways)
    if store:
        Path(store).write_text(json.dumps(about, indent=1) + '\n')
