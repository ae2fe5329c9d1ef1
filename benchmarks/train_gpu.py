"""Train as colorize-train does, with photos and crops on the GPU: train_gpu.py --photos DIR DIR --out DIR

A step of our small network keeps a fast GPU busy for a part of the time that Python needs to launch its
thousand kernels, and sixteen CPU cores can just crop photos fast enough for one. So all decoded photos lie in
the GPU's memory (35,000 photos of 180 pixels are 4.5 GB), crops, mirrors and old films are made there for a
whole batch, and a step (network, loss, gradients, AdamW, moving average) is recorded once as a CUDA graph and
replayed.

Losses, network, split and the boxes of the crops are those of the library (lessons 02, 06, 07, 08). What
differs: a pixel of a crop is the mean of 2 x 2 bilinear samples in place of an antialiased resize, Adam's
first beta stays 0.9 through the cycle of the learning rate, and only what multiplies decays. It measures its
own speed for a moment, plans as many epochs as fit into --minutes, and saves the averaged weights as it goes.
There is no checkpoint to go on from: it is meant for a quarter of an hour on a GPU that one has only so long.
"""

import argparse
import copy
import json
import math
import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from fastai.callback.schedule import combined_cos
from gpu import wait

from colorize_nb.color import rgb_to_L, rgb_to_lab, split_lab
from colorize_nb.data import PhotoCache, crop_box, photo_dls
from colorize_nb.encoders import create_generator, lite0_features, load_weights, save_weights, split_params
from colorize_nb.losses import ColorLoss, GANLoss, PerceptualLoss
from colorize_nb.patchgan import PatchDiscriminator
from colorize_nb.photo import find_photos, write_csv
from colorize_nb.runs import net_config, provenance
from colorize_nb.training import real_colour, valid_colour, valid_L1, valid_psnr

metrics = (valid_L1, valid_psnr, valid_colour, real_colour)


class Photos:
    "All photos as bytes in the device's memory; batches of random crops, made there"

    def __init__(self, cache, numbers, o):
        self.o, self.numbers, self.device = o, numbers, o.device
        shapes = [cache.pixels(i).shape[:2] for i in numbers]
        sizes = torch.tensor([3 * h * w for h, w in shapes])
        self.shapes = shapes
        self.starts = (sizes.cumsum(0) - sizes).to(o.device)
        self.widths = torch.tensor([w for _, w in shapes], device=o.device)
        self.bytes = torch.empty(int(sizes.sum()), dtype=torch.uint8, device=o.device)
        for i, start, n in zip(numbers, self.starts.tolist(), sizes.tolist()):
            self.bytes[start : start + n] = torch.from_numpy(cache.pixels(i)).flatten()

    def boxes(self, places, draw):
        "Random crops as the library draws them: (B, 6) of photo, left, top, width, height, mirrored"
        state = random.getstate()
        random.seed(draw)
        rows = []
        for i in places:
            h, w = self.shapes[i]
            rows.append([i, *crop_box(w, h, self.o.min_scale), random.random() < 0.5])
        random.setstate(state)
        boxes = torch.tensor(rows, dtype=torch.float32)
        return boxes.pin_memory().to(self.device, non_blocking=True) if self.device == 'cuda' else boxes

    def crops(self, boxes):
        "(B, 3, size, size) in 0..1: each pixel is the mean of 2 x 2 bilinear samples"
        n = 2 * self.o.size
        at, left, top, w, h, mirrored = boxes.T[:, :, None]  # (B, 1) each
        steps = (torch.arange(n, device=self.device) + 0.5) / n
        across = torch.where(mirrored > 0, 1 - steps, steps)
        x = (across * w - 0.5).clamp(min=0).minimum(w - 1)  # (B, n), inside the crop
        y = (steps * h - 0.5).clamp(min=0).minimum(h - 1)
        x0, y0 = x.floor(), y.floor()
        dx, dy = (x - x0)[:, None, :, None], (y - y0)[:, :, None, None]
        x1, y1 = (x0 + 1).minimum(w - 1), (y0 + 1).minimum(h - 1)
        start, width = self.starts[at.long()], self.widths[at.long()]

        def pixels(ys, xs):  # (B, n, n, 3)
            rows = start + (top + ys).long() * width * 3
            where = rows[:, :, None] + (left + xs).long()[:, None] * 3
            return torch.stack([self.bytes[where + c] for c in range(3)], -1).float()

        upper = torch.lerp(pixels(y0, x0), pixels(y0, x1), dx)
        lower = torch.lerp(pixels(y1, x0), pixels(y1, x1), dx)
        samples = torch.lerp(upper, lower, dy).permute(0, 3, 1, 2) / 255
        return F.avg_pool2d(samples.contiguous(), 2)

    def batches(self, seed, epoch):
        "(L, ab), shuffled by seed and epoch"
        order = list(range(len(self.numbers)))
        random.Random(f'{seed} {epoch}').shuffle(order)
        for b in range(len(order) // self.o.bs):
            places, draw = order[b * self.o.bs : (b + 1) * self.o.bs], f'{seed} {epoch} {b}'
            rgb = self.crops(self.boxes(places, draw))
            generator = torch.Generator(self.device).manual_seed(random.Random(draw).getrandbits(63))
            L, ab = split_lab(rgb_to_lab(rgb))
            yield (aged(rgb, L, self.o.old_film, generator) if self.o.old_film else L), ab


def aged(rgb, L, share, generator):
    "L of a share of the photos as an old film would have kept it: `OldFilm` of lesson 02 for a batch"
    b = len(rgb)

    def uniform(low, high):
        draws = torch.rand(b, 1, 1, 1, device=rgb.device, generator=generator)
        return low + (high - low) * draws

    red, green, blue = uniform(0, 0.5), uniform(0.3, 0.6), uniform(0.05, 0.5)
    gray = (red * rgb[:, :1] + green * rgb[:, 1:2] + blue * rgb[:, 2:]) / (red + green + blue)
    gray = gray.clamp(min=1e-4) ** uniform(math.log(0.6), math.log(1.6)).exp()
    middle, contrast = uniform(0.3, 0.7), uniform(0.7, 1.5)
    gray = middle + (gray - middle) * contrast
    soft = F.avg_pool2d(F.pad(gray, (1,) * 4, mode='replicate'), 3, 1)
    gray = torch.lerp(gray, soft, uniform(0, 1))
    noise = torch.randn(gray.shape, device=rgb.device, generator=generator)
    old = rgb_to_L((gray + noise * uniform(0, 0.03)).clamp(0, 1))
    return torch.where(uniform(0, 1) < share, old, L)


def decayed(parameters):
    "Groups for AdamW: only what multiplies decays"
    parameters = [p for p in parameters if p.requires_grad]
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


def clip_(parameters, longest):
    "Shorten gradients together; what is not finite becomes 0. Nothing waits for the device"
    gradients = [p.grad for p in parameters if p.grad is not None]
    length = torch.stack(torch._foreach_norm(gradients)).norm()
    scale = (longest / (length + 1e-6)).clamp(max=1)
    good = length.isfinite()
    for g in gradients:
        g.nan_to_num_(0, 0, 0)
    torch._foreach_mul_(gradients, torch.where(good, scale, 0.0))
    return length


class Trainer:
    "A step that a CUDA graph can record: no Python decision, no wait, all in place"

    def __init__(self, generator, o):
        self.o, capturable = o, o.device == 'cuda'
        to = dict(device=o.device, memory_format=torch.channels_last)
        self.generator = generator.to(**to).train()
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        eyes = PerceptualLoss(lite0_features().to(**to)) if o.perceptual else None
        self.loss = ColorLoss(eyes, o.perceptual, o.chroma)
        self.rates, groups = [], []
        for parameters, top in zip(split_params(self.generator), (o.encoder_lr, o.lr)):
            for parameters, wd in zip(decayed(parameters), (o.wd, 0.0)):
                rate = torch.tensor(0.0, device=o.device)
                self.rates.append((rate, top))
                groups.append(dict(params=parameters, lr=rate, weight_decay=wd))
        betas = (0.5 if o.gan else 0.9, 0.999)
        self.optimizer = torch.optim.AdamW(groups, betas=betas, fused=True, capturable=capturable)
        self.said = torch.zeros(5, device=o.device)  # loss, length of gradient, loss_D real, fake, fool
        if o.gan:
            self.discriminator = PatchDiscriminator().to(**to).train()
            self.gan = GANLoss(o.gan)
            self.d_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), o.d_lr, (0.5, 0.999), fused=True, capturable=capturable
            )
        shape = (o.bs, 1, o.size, o.size)
        self.L = torch.empty(shape, device=o.device).to(memory_format=torch.channels_last)
        self.ab = torch.empty(o.bs, 2, o.size, o.size, device=o.device)
        self.graph = None

    def verdicts(self, pred):
        "The discriminator's step"
        self.d_optimizer.zero_grad(set_to_none=False)
        with torch.autocast(self.o.device, torch.bfloat16, cache_enabled=False):
            real = self.gan(self.discriminator(self.L, self.ab).float(), True)
            fake = self.gan(self.discriminator(self.L, pred).float(), False)
        ((real + fake) / 2).backward()
        self.d_optimizer.step()
        self.said[2].copy_(real.detach())
        self.said[3].copy_(fake.detach())

    def step(self):
        "Everything that one batch changes"
        self.optimizer.zero_grad(set_to_none=False)
        with torch.autocast(self.o.device, torch.bfloat16, cache_enabled=False):
            pred = self.generator(self.L)
        pred = pred.float()
        if self.o.gan:
            self.verdicts(pred.detach())
        with torch.autocast(self.o.device, torch.bfloat16, cache_enabled=False):
            loss = self.loss(pred, self.ab, self.L)
            if self.o.gan:
                fool = self.gan.fool(self.discriminator(self.L, pred).float())
                self.said[4].copy_(fool.detach())
                loss = self.o.pixel_weight * loss + self.o.gan_weight * fool
        loss.backward()
        self.said[0].copy_(loss.detach())
        self.said[1].copy_(clip_(list(self.generator.parameters()), self.o.clip))
        self.optimizer.step()
        with torch.no_grad():
            both = list(zip(self.average.state_dict().values(), self.generator.state_dict().values()))
            floats = [(a, g) for a, g in both if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in floats], [g for _, g in floats], 1 - self.o.ema)

    def record(self):
        "The graph of a step, after three that were not recorded; `unchanged` is for who wants them undone"
        for _ in range(3):
            self.run_eagerly()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    @contextmanager
    def unchanged(self):
        "Steps in here do not count: networks and optimizers are as before, in the same memory"
        networks = [self.generator, self.average, *([self.discriminator] if self.o.gan else [])]
        kept = copy.deepcopy([network.state_dict() for network in networks])
        yield
        for network, state in zip(networks, kept):
            network.load_state_dict(state)
        for optimizer in [self.optimizer, self.d_optimizer] if self.o.gan else [self.optimizer]:
            for state in optimizer.state.values():
                for v in state.values():
                    v.zero_()

    def run_eagerly(self):
        "A step on a stream of its own, as recording wants it"
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.step()
        torch.cuda.current_stream().wait_stream(stream)

    def __call__(self, L, ab, progress):
        "One batch at a progress of 0..1"
        rate = 1.0 if self.o.gan else combined_cos(0.25, 1 / 25, 1.0, 1e-5)(progress)
        for tensor, top in self.rates:
            tensor.fill_(rate * top)
        self.L.copy_(L)
        self.ab.copy_(ab)
        if self.graph:
            self.graph.replay()
        else:
            self.step()


@torch.no_grad()
def validate(generator, batches, o):
    "Mean of every metric over the photos"
    sums, n = [0.0] * len(metrics), 0
    for L, ab in batches:
        more = torch.zeros(
            o.bs - len(L), *L.shape[1:], device=L.device
        )  # another shape is another slow first step
        with torch.autocast(o.device, torch.bfloat16, cache_enabled=False):
            pred = generator(torch.cat([L, more]))
        pred = pred[: len(L)].float()
        sums = [s + len(L) * f(pred, ab, L) for s, f in zip(sums, metrics)]
        n += len(L)
    return {f.__name__: float(s / n) for s, f in zip(sums, metrics)}


def speed(trainer, photos, n=12):
    "Seconds of a batch"
    photos = photos.batches('speed', 0)
    for i, (L, ab) in enumerate(photos):
        trainer(L, ab, 0.0)
        if i == 3:  # the first ones wait for memory
            wait(trainer.o.device)
            began = time.perf_counter()
        if i + 1 == n:
            break
    wait(trainer.o.device)
    return (time.perf_counter() - began) / (i - 3)


def train(o):
    "All epochs"
    began = time.perf_counter()
    say = lambda *a: print(f'{time.perf_counter() - began:7.1f} s', *a, flush=True)
    torch.manual_seed(o.seed)
    o.out.mkdir(parents=True, exist_ok=True)
    cache = PhotoCache(find_photos(o.photos), o.size * 9 // 8)
    dls = photo_dls(cache, o.size, o.bs, valid_pct=o.valid_pct, device=o.device, num_workers=o.workers)
    numbers, valid_numbers = dls.train_ds.items, dls.valid_ds.items
    if o.limit:
        numbers = numbers[: o.limit]
    n_batches = len(numbers) // o.bs
    if n_batches < 6:
        found = f'{len(numbers)} photos make {n_batches} batches of {o.bs}'
        sys.exit(f'{found}: give more photos or a smaller --bs')
    photos = Photos(cache, numbers, o)
    valid = [tuple(t.as_subclass(torch.Tensor) for t in batch) for batch in dls.valid]
    say(f'{len(numbers)} photos to train on, {len(valid_numbers)} to validate, {len(cache.broken)} broken')
    generator = load_weights(o.init) if o.init else create_generator('lite_unet', **net_config(o.net))
    trainer = Trainer(generator, o)
    with trainer.unchanged():
        if o.device == 'cuda' and not o.eager:
            L, ab = next(photos.batches('start', 0))
            trainer.L.copy_(L)
            trainer.ab.copy_(ab)
            trainer.record()
            say('recorded')
        seconds = speed(trainer, photos)
    left = 60 * o.minutes - (time.perf_counter() - began)
    epochs = o.epochs or max(1, int(left / (seconds * n_batches * 1.03 + 1.0)))
    say(f'{1000 * seconds:.0f} ms a batch, {o.bs / seconds:.0f} photos/s: {epochs} epochs')
    rows = [dict(epoch=0, loss=0.0, **validate(trainer.average, valid, o), minutes=0.0)]
    say(rows[-1])
    for epoch in range(epochs):
        for b, (L, ab) in enumerate(photos.batches(o.seed, epoch)):
            trainer(L, ab, (epoch + b / n_batches) / epochs)
        if (epoch + 1) % o.every and epoch + 1 < epochs:
            continue
        names = ('loss', 'length', 'D_real', 'D_fake', 'fool')[: 5 if o.gan else 2]
        said = dict(zip(names, trainer.said.tolist()))
        minutes = (time.perf_counter() - began) / 60
        rows.append(dict(epoch=epoch + 1, **said, **validate(trainer.average, valid, o), minutes=minutes))
        say('  '.join(f'{k} {v:.4f}' if isinstance(v, float) else f'{k} {v}' for k, v in rows[-1].items()))
        write_csv(o.out / 'log.csv', [{k: row.get(k, '') for k in rows[-1]} for row in rows])
        save_weights(trainer.average, o.out / 'weights.safetensors')
        if (epoch + 1) % (o.keep or epochs + 1) == 0:
            save_weights(trainer.average, o.out / f'weights_{epoch + 1}.safetensors')
    made = dict(
        provenance(), **{**vars(o), 'epochs': epochs}, n_train=len(numbers), n_valid=len(valid_numbers)
    )
    made.update(minutes=rows[-1]['minutes'], photos_per_second=o.bs / seconds)
    (o.out / 'run.json').write_text(json.dumps(made, indent=1, default=str))
    say('done')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--photos', nargs='+', type=Path, required=True, help='colour photos, or folders')
    add('--out', type=Path, required=True, help='folder for log.csv, weights, run.json')
    add('--init', type=Path, help='weights to start from; default ImageNet in the encoder')
    add('--net', default="encoder='lite2',looks=2", help='settings of a new network')
    add('--minutes', type=float, default=10.0, help='all of it')
    add('--epochs', type=int, default=0, help='in place of as many as fit')
    add('--size', type=int, default=160)
    add('--bs', type=int, default=192)
    add('--lr', type=float, default=2e-3)
    add('--encoder-lr', type=float, default=5e-4)
    add('--wd', type=float, default=0.02)
    add('--clip', type=float, default=1.0)
    add('--ema', type=float, default=0.998)
    add('--perceptual', type=float, default=0.25)
    add('--chroma', type=float, default=1.0)
    add('--min-scale', type=float, default=0.25)
    add('--old-film', type=float, default=0.4)
    add('--valid-pct', type=float, default=0.05)
    add('--gan', choices=GANLoss.modes)
    add('--gan-weight', type=float, default=1.0)
    add('--pixel-weight', type=float, default=40.0)
    add('--d-lr', type=float, default=2e-4)
    add('--seed', type=int, default=0)
    add('--limit', type=int, default=0, help='photos to train on; 0 is all')
    add('--every', type=int, default=2, help='epochs between validations')
    add('--keep', type=int, default=0, help='epochs between weights that stay; 0 keeps the last')
    add('--workers', type=int, default=0)
    add('--device', default='cuda')
    add('--eager', action='store_true', help='no CUDA graph')
    train(parser.parse_args())
