"""Time and memory of `colorize`: by stages, by runtimes, beside the network of Zhang et al. 2016.

    python benchmarks/colorize.py [--megapixels 24] [--photos 100] [--threads 2]

Networks change places inside the same command, so all else is the same. The weights of the one of 2016 are
random numbers here: its time does not depend on them. CPU-seconds are those of the process and its children:
on a busy machine they say more than the clock, which is printed beside them. Every comparison is from one
run, the candidates taking turns; ratios are to torch.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from fastcore.script import call_parse

program = shutil.which('colorize', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')


class Clock:
    "CPU-seconds and seconds since it was last asked."

    def __init__(self):
        self.before = time.process_time(), time.perf_counter()

    def __call__(self, stage):
        now = time.process_time(), time.perf_counter()
        cpu, wall = (a - b for a, b in zip(now, self.before))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f'  {stage:24} {cpu:6.2f} CPU-s {wall:6.2f} s   peak {peak:.2f} GB', flush=True)
        self.before = time.process_time(), time.perf_counter()


def stages(file, out, runtime):
    "One photo, step by step, in this process."
    clock = Clock()
    from colorize_nb.colorize import Colorizer
    from colorize_nb.metadata import save_photo
    from colorize_nb.photo import open_photo
    import torch

    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    clock('imports')
    colorizer = Colorizer(runtime=runtime)
    clock(f'network ({runtime})')
    photo = open_photo(file, alpha=True)
    clock('read')
    colorizer._answer(photo)
    clock('network, two passes')
    result = colorizer.paint(photo)
    clock('network and strips')
    save_photo(result, out, like=file)
    clock('write')


def whole(args, threads):
    "(CPU-seconds, seconds, peak GB) of one call of the command."
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    began, _before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    code = 'import resource, subprocess, sys, json; r = subprocess.run(sys.argv[1:], capture_output=True)'
    code += '; u = resource.getrusage(resource.RUSAGE_CHILDREN); assert not r.returncode, r.stderr.decode()'
    code += '; print(json.dumps([u.ru_utime + u.ru_stime, u.ru_maxrss / 1e6]))'
    call = [sys.executable, '-c', code, program, *map(str, args)]
    done = subprocess.run(call, capture_output=True, text=True, env=env, check=True)
    cpu, peak = json.loads(done.stdout)
    return cpu, time.perf_counter() - began, peak


def zhang2016(file):
    "Weights for the network of Zhang, Isola and Efros 2016 (lesson 18)."
    from colorize_nb.encoders import save_weights
    from colorize_nb.unet import create_generator

    generator = create_generator('zhang2016', pretrained=False, n_bins=313)
    generator.centres.uniform_(-1, 1)  # its colours: they come with weights that were trained
    return save_weights(generator, file)


def gray(file, megapixels, like):
    "A gray JPEG of so many megapixels, with the grain of an old photo."
    import numpy as np
    from PIL import Image

    w, h = round((megapixels * 1.5e6) ** 0.5), round((megapixels / 1.5 * 1e6) ** 0.5)
    pixels = np.asarray(Image.open(like).convert('L').resize((w, h), Image.Resampling.BICUBIC)).astype(
        np.int16
    )
    grain = np.random.default_rng(0).normal(0, 4, (512, 512)).astype(np.int16)
    pixels += np.tile(grain, (h // 512 + 1, w // 512 + 1))[:h, :w]
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=92)


@call_parse
def main(
    megapixels: float = 24,  # of the one large photo
    photos: int = 100,  # small ones, of 0.3 megapixels
    threads: int = 2,  # for the one large photo
    stage: str = None,  # used by itself: the runtime whose stages are printed
):
    "Measure `colorize`."
    from colorize_nb.files import find_photos, photos_dir

    files = find_photos(photos_dir() / 'color')
    folder = Path(os.environ.get('BENCH_FOLDER') or mkdtemp())
    large = folder / 'large.jpg'
    if stage:
        return stages(large, folder / 'out.jpg', stage)
    gray(large, megapixels, files[0])
    (folder / 'small').mkdir()
    for i, file in enumerate((files * (photos // len(files) + 1))[:photos]):
        gray(folder / 'small' / f'{i}.jpg', 0.3, file)
    other = zhang2016(folder / 'zhang2016.safetensors')
    from colorize_nb.runs import processor

    print(f'{processor()}, load {os.getloadavg()[0]:.1f}')
    for runtime in ('torch', 'onnx'):
        print(f'{megapixels:g} megapixels by stages, {runtime}, {threads} threads:', flush=True)
        env = {**os.environ, 'BENCH_FOLDER': str(folder), 'OMP_NUM_THREADS': str(threads)}
        subprocess.run([sys.executable, __file__, '--stage', runtime], env=env, check=True)
    print(f'the whole command, one photo and {photos}:')
    for name, args in {
        'large, torch': [large, '--runtime', 'torch'],
        'large, onnx': [large, '--runtime', 'onnx'],
        'large, zhang2016': [large, '--weights', other, '--runtime', 'torch'],
        'small, torch': [folder / 'small', '--jobs', 1, '--runtime', 'torch'],
        'small, onnx': [folder / 'small', '--jobs', 1, '--runtime', 'onnx'],
        'small, zhang2016': [folder / 'small', '--jobs', 1, '--weights', other, '--runtime', 'torch'],
        'small, onnx, 2 jobs': [folder / 'small', '--jobs', 2, '--runtime', 'onnx'],
    }.items():
        out = folder / name.replace(', ', '_').replace(' ', '_')
        cpu, wall, peak = whole([*args, '-o', out], threads if 'large' in name else 1)
        if name.endswith('torch'):
            base = cpu, wall
        ratios = f'{cpu / base[0]:.2f} of torch in CPU, {wall / base[1]:.2f} in time'
        print(f'  {name:22} {cpu:6.2f} CPU-s {wall:6.2f} s  peak {peak:.2f} GB   {ratios}', flush=True)
    shutil.rmtree(folder)
    print(f'load at the end: {os.getloadavg()[0]:.1f}')
