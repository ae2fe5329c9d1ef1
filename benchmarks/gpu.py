"""Seconds of a training step by order of memory and batch: gpu.py [--device cuda] [--bs 64 192] [--steps 16]

The generator that we ship (forward, L1, backward, AdamW) on noise of 160 x 160 pixels in bfloat16: what the
first step takes, the median of the second half of the steps, photos a second. A slow first step pays for
cuDNN's plans of the depthwise convolutions, once a process and size.
"""

import argparse
import statistics
import time

import torch

from colorize_nb.encoders import create_generator
from colorize_nb.runs import provenance

orders = dict(NCHW=torch.contiguous_format, NHWC=torch.channels_last)


def wait(device):
    "Until the device has done all that it was told"
    if device == 'cuda':
        torch.cuda.synchronize()


def step_seconds(order, bs, device, steps, size=160):
    "Seconds of every step"
    torch.manual_seed(0)
    generator = create_generator('lite_unet', encoder='lite2', looks=2, pretrained=False).to(device)
    generator = generator.to(memory_format=orders[order]).train()
    L = torch.randn(bs, 1, size, size, device=device).to(memory_format=orders[order])
    ab = torch.randn(bs, 2, size, size, device=device)
    optimizer = torch.optim.AdamW(generator.parameters(), 1e-4, fused=True)
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            pred = generator(L)
        (pred.float() - ab).abs().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        wait(device)
        seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--bs', type=int, nargs='+', default=[64, 192])
    parser.add_argument('--steps', type=int, default=16)
    o = parser.parse_args()
    print(provenance())
    for bs in o.bs:
        for order in orders:
            seconds = step_seconds(order, bs, o.device, o.steps)
            usual = statistics.median(seconds[len(seconds) // 2 :])
            print(
                f'{order}, batch {bs}: first step {seconds[0]:.2f} s, then {1000 * usual:.1f} ms, '
                f'{bs / usual:.0f} photos/s',
                flush=True,
            )
