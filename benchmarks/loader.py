"""Photos a second of two loaders on the same photos, cores and number of workers, taking turns:
(usual) the loader of the public tutorial 'Image Colorization with U-Net and GAN': PIL opens, squashes, flips; scikit-image's Lab, photo by photo;
(ours) `photo_dls`: photos decoded once into a cache, random crop and flip of bytes, Lab for the batch. Its first epoch, which fills the cache, is timed apart.

    python benchmarks/loader.py [--photos FOLDER] [--sizes 256,128] [--workers 0] [--rounds 7] [--source-side 480]
"""
import argparse, os, platform, random, statistics, tempfile, time
from pathlib import Path
import numpy as np
import torch
import fastai, PIL, skimage
from PIL import Image
from colorize_nb.data import PhotoCache, photo_dls
from colorize_nb.photo import find_photos, photos_dir
from usual import usual_sample


class UsualPhotos(torch.utils.data.Dataset):
    "The tutorial's data set."
    def __init__(self, paths, size): self.paths, self.size = paths, size
    def __len__(self): return len(self.paths)
    def __getitem__(self, i):
        return usual_sample(Image.open(self.paths[i]), self.size, flip=random.random() < .5)


def cpu_seconds():
    "Processor time of this process and of the workers that have ended."
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def epoch(loader):
    "(photos a second by the clock, photos a second of processor time) of one epoch."
    cpu, clock = cpu_seconds(), time.perf_counter()
    n = sum(len(b['L'] if isinstance(b, dict) else b[0]) for b in loader)
    return n/(time.perf_counter() - clock), n/max(1e-9, cpu_seconds() - cpu)


def compare(paths, size, bs, workers, rounds):
    "Print and return the ratio at one size."
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        photos = PhotoCache(paths, side=size*9//8, folder=folder)
        filled = len(photos)/(time.perf_counter() - began)
        dls = photo_dls(photos, size=size, bs=bs, num_workers=workers, device='cpu')
        ours = dls.train
        usual = torch.utils.data.DataLoader(UsualPhotos([photos.items[i][0] for i in dls.train_ds.items], size), batch_size=bs,
                                            shuffle=True, drop_last=True, num_workers=workers)
        turns = [(*epoch(usual), *epoch(ours)) for _ in range(rounds + 1)][1:]  # the first turn warms up
        u, u_cpu, o, o_cpu = (statistics.median(t) for t in zip(*turns))
        each, best = sorted(t[2]/t[0] for t in turns), max(t[2] for t in turns)/max(t[0] for t in turns)
        print(f'{size} px, {len(dls.train_ds)} photos, batch {bs}, {workers} workers, {rounds} turns (medians):')
        print(f'  usual  {u:8.0f} photos/s   ({u_cpu:.0f} per second of processor time)')
        print(f'  ours   {o:8.0f} photos/s   ({o_cpu:.0f} per second of processor time)   cache filled once at {filled:.0f} photos/s')
        print(f'  ratio  {o/u:8.1f}   (turns {each[0]:.1f} to {each[-1]:.1f}; best turn of each {best:.1f}; of processor time {o_cpu/u_cpu:.1f})', flush=True)
        photos._maps.clear()
    return o/u


def at_side(paths, side, folder):
    "The same photos at the short side that photos of a data set have (COCO: 480): what the usual loader decodes in every epoch."
    for i, p in enumerate(paths):
        im = Image.open(p).convert('RGB')
        scale = side/min(im.size)
        im.resize([round(s*scale) for s in im.size], Image.Resampling.BICUBIC).save(Path(folder)/f'{i:05d}.jpg', quality=90)
    return find_photos(folder)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--photos', type=Path, default=None, help='folder of photos; default the ones that come with the project')
    p.add_argument('--sizes', default='256,128', help="squares that the network sees, in pixels; 256 is the tutorial's")
    p.add_argument('--bs', type=int, default=16, help="photos a batch; 16 is the tutorial's")
    p.add_argument('--workers', type=int, default=0, help='worker processes of both loaders')
    p.add_argument('--rounds', type=int, default=7, help='turns of each')
    p.add_argument('--limit', type=int, default=1000, help='at most so many photos')
    p.add_argument('--source-side', type=int, default=480, help='short side of the photo files, in pixels: 480 as in COCO, which the tutorial uses; 0 leaves the files as they are')
    a = p.parse_args()
    paths = find_photos(a.photos or photos_dir()/'color')[:a.limit]
    load = f'{os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else 'unknown'
    print(f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, load {load}; Python {platform.python_version()}, torch {torch.__version__}, '
          f'fastai {fastai.__version__}, scikit-image {skimage.__version__}, Pillow {PIL.__version__}, numpy {np.__version__}')
    with tempfile.TemporaryDirectory() as folder:
        if a.source_side: paths = at_side(paths, a.source_side, folder)
        print(f'photo files: short side {a.source_side or "as they are"}')
        ratios = [compare(paths, int(s), a.bs, a.workers, a.rounds) for s in a.sizes.split(',')]
    print('ratios at', a.sizes, 'px:', ', '.join(f'{r:.1f}' for r in ratios))


if __name__ == '__main__': main()
