"""Colorize a photo with a network in ONNX format: needs numpy, Pillow and onnxruntime, and neither PyTorch nor colorize_nb.

    pip install numpy pillow onnxruntime
    python onnx_colorize.py lite_unet.onnx old_photo.jpg colour.png

Make the .onnx file once, where colorize_nb is installed: colorize-onnx weights.safetensors lite_unet.onnx
It takes L/50 - 1 as `L` (n, 1, h, w) and answers ab/110 as `ab` (n, 2, h, w).
"""
import argparse, os, sys
from pathlib import Path
import numpy as np
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')  # before the import: nobody else need know what you colour
import onnxruntime
from PIL import Image, ImageOps

white = np.float32([0.95047, 1, 1.08883])                                  # D65
to_xyz = np.float32([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])

def lightness(gray):  # (h, w) bytes -> L*, 0..100
    v = gray.astype(np.float32)/255
    y = np.where(v > 0.04045, ((v + 0.055)/1.055)**2.4, v/12.92)
    return 116*np.where(y > 0.008856, np.cbrt(y), 7.787*y + 16/116) - 16

def lab_to_linear(L, a, b):  # (h, w) each, CIE Lab -> (h, w, 3) light of red, green and blue; outside 0..1 a screen cannot show it
    f = (L + 16)/116
    f = np.stack([f + a/500, f, f - b/200], -1)
    return (white*np.where(f > 0.008856**(1/3), f**3, (f - 16/116)/7.787)) @ np.linalg.inv(to_xyz).T

def lab_to_bytes(L, a, b):  # (h, w) each, CIE Lab -> (h, w, 3) bytes, sRGB; chroma is taken off where it does not fit
    k = np.zeros_like(L)
    for step in 2.0**-np.arange(13):
        more = np.minimum(k + step, 1); light = lab_to_linear(L, more*a, more*b)
        k = np.where(((light >= -1e-4) & (light <= 1 + 1e-4)).all(-1), more, k)
    v = lab_to_linear(L, k*a, k*b).clip(0, 1)
    return (np.where(v > 0.0031308, 1.055*v**(1/2.4) - 0.055, 12.92*v).clip(0, 1)*255 + 0.5).astype(np.uint8)

def smooth(x):  # (h, w) -> the mean of each 3 x 3 window
    x = np.pad(x, 1, mode='edge'); h, w = x.shape
    return sum(x[i:h - 2 + i, j:w - 2 + j] for i in range(3) for j in range(3))/9

def enlarge(x, size): return np.asarray(Image.fromarray(x.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))

def colorize(session, photo, size=256):  # PIL image -> PIL image of the same size, by the steps of lesson 11
    about = session.get_modelmeta().custom_metadata_map
    saturation, soft, even = (float(about.get(k, v)) for k, v in (('saturation', 1), ('soft', 0), ('even', 0)))
    gray = ImageOps.exif_transpose(photo).convert('L')
    scale, fixed = min(1, size/min(gray.size)), session.get_inputs()[0].shape[2:]
    h, w = (s if isinstance(s, int) else min(4*size, max(32, round(n*scale/32)*32)) for s, n in zip(fixed, gray.size[::-1]))
    x, L = (lightness(np.asarray(im))/50 - 1 for im in (gray.resize((w, h), Image.Resampling.BILINEAR, reducing_gap=3.), gray))
    x = x + soft*(smooth(x) - x)                                           # as soft as what the network learned from
    ask = lambda x: session.run(None, {'L': np.ascontiguousarray(x[None, None], np.float32)})[0][0]
    ab = (ask(x) + ask(x[:, ::-1])[..., ::-1])/2                           # the photo and its mirror image
    ab = ab*np.clip((0.12/max(1e-3, np.hypot(*ab).mean()))**even, 0.5, 2)    # neither too pale nor too loud
    spread, offset = smooth(x*x) - smooth(x)**2 + .1, L - enlarge(x, gray.size)
    a, b = (110*saturation*(enlarge(c, gray.size) + enlarge(smooth((smooth(x*c) - smooth(x)*smooth(c))/spread), gray.size)*offset) for c in ab)  # along the edges of L
    return Image.fromarray(lab_to_bytes(50*(L + 1), a, b))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('model', help='.onnx file made by colorize-onnx'); p.add_argument('photo'); p.add_argument('out')
    p.add_argument('--size', type=int, default=256, help='short side in pixels that the network sees (default 256)')
    a = p.parse_args()
    for f in (a.model, a.photo):
        if not Path(f).is_file(): sys.exit(f'no such file: {f}')
    try: session = onnxruntime.InferenceSession(a.model, providers=['CPUExecutionProvider'])
    except Exception as e: sys.exit(f'{a.model} is no ONNX network: {e}')
    if [i.name for i in session.get_inputs()] != ['L']: sys.exit(f'{a.model} takes other inputs than L: make it with colorize-onnx')
    try: photo = Image.open(a.photo); photo.load()
    except OSError as e: sys.exit(f'{a.photo} is no photo that Pillow can read: {e}')
    try: colorize(session, photo, a.size).save(a.out)
    except (OSError, ValueError) as e: sys.exit(f'cannot save {a.out}: {e}')
    print(f'{a.out}  ({session.get_modelmeta().custom_metadata_map.get("generator", "unknown network")})')

if __name__ == '__main__': main()
