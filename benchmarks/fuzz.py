"""Damage photo files by the thousand and open them: anything but a photo or a PhotoError is a fault.

    python benchmarks/fuzz.py                      10,000 files, two workers
    python benchmarks/fuzz.py --seconds 10         as many as that takes
    python benchmarks/fuzz.py --first 4711 --count 1 --jobs 1     one file again

Each file is made from its number alone. Workers may take 2 GB and 10 seconds a file; one that breaks
these limits or dies is a fault too, and is replaced. What opens is saved in some format, and opened again.
Exit code 1 if there was a fault; the files that made one are kept in --keep.
"""

import argparse
import collections
import io
import multiprocessing
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from colorize_nb.files import PhotoError, Tags, png_chunk, write_exif
from colorize_nb.metadata import save_photo
from colorize_nb.photo import has_colour, open_pages, open_photo

memory_limit, time_limit = 2 * 2**30, 10  # bytes, seconds a file


def picture(w=61, h=47):
    "A small colour photo of waves and noise"
    y, x = np.mgrid[:h, :w]
    noise = np.random.default_rng(0).normal(0, 9, (h, w, 3))
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], -1)
    return (128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)


def metadata():
    "EXIF with camera, place and thumbnail, and an XMP packet"
    thumbnail = saved(Image.fromarray(picture(16, 12)), 'JPEG')
    exif = Tags('<', {0x010E: (2, b'a description\0'), 0x0112: (3, struct.pack('<H', 6))})
    exif.camera = {0x9003: (2, b'1931:05:01 10:00:00\0'), 0x927C: (7, b'maker' * 9)}
    exif.gps = {2: (5, struct.pack('<6I', 50, 1, 2, 1, 3, 1))}
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {rdf}></rdf:RDF></x:xmpmeta>'
    return {'exif': write_exif(exif, thumbnail), 'xmp': xmp.encode()}


def saved(im, kind, **options):
    "An image as the bytes of a file"
    file = io.BytesIO()
    im.save(file, kind, **options)
    return file.getvalue()


def tiff(a, **options):
    "An array as the bytes of a TIFF file"
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, a, **options)
    return file.getvalue()


def by_pillow():
    "Whole files of every format that Pillow writes"
    im, words = Image.fromarray(picture()), metadata()
    gray, few = im.convert('L'), im.quantize(60)
    clear = im.copy()
    clear.putalpha(gray)
    yield 'jpeg', saved(im, 'JPEG', comment='a comment', dpi=(300, 300), **words)
    yield 'jpeg, progressive', saved(im, 'JPEG', progressive=True, subsampling=0)
    yield 'jpeg, inks', saved(im.convert('CMYK'), 'JPEG')
    yield 'jpeg, gray', saved(gray, 'JPEG', **words)
    yield 'png', saved(clear, 'PNG', exif=words['exif'], dpi=(300, 300))
    yield 'png, palette', saved(few, 'PNG', transparency=3)
    yield 'png, gray 16', saved(Image.fromarray(picture()[..., 0].astype(np.uint16) * 257), 'PNG')
    yield 'webp', saved(clear, 'WEBP', **words)
    yield 'webp, animated', saved(im, 'WEBP', save_all=True, append_images=[im.rotate(180)])
    yield 'gif', saved(few, 'GIF', save_all=True, append_images=[few.rotate(180)])
    yield 'bmp', saved(im, 'BMP')
    yield 'ppm', saved(im, 'PPM')
    yield 'jpeg 2000', saved(im, 'JPEG2000')
    yield 'avif', saved(im, 'AVIF', **words)
    yield 'tiff, pages', saved(im, 'TIFF', save_all=True, append_images=[im.resize((30, 23))])
    yield 'tiff, jpeg', saved(im, 'TIFF', compression='jpeg')
    yield 'tiff, 1 bit', saved(gray.convert('1'), 'TIFF', compression='group4')


def by_others():
    "TIFF of every depth and order, deep PNG, HEIC"
    import imagecodecs

    rgb = picture()
    deep = rgb.astype(np.uint16) * 257
    for compression in (None, 'lzw', 'zlib', 'packbits', 'zstd'):
        yield f'tiff, 16 bits, {compression}', tiff(deep, photometric='rgb', compression=compression)
    yield 'tiff, planes', tiff(deep.transpose(2, 0, 1), photometric='rgb', planarconfig='separate')
    yield 'tiff, white is 0', tiff(65535 - deep[..., 0], photometric='miniswhite', compression='lzw')
    yield 'tiff, tiles', tiff(rgb, photometric='rgb', tile=(16, 16), compression='zlib', predictor=True)
    yield 'tiff, floats', tiff((rgb / 255).astype(np.float32), photometric='rgb', predictor=True, compression='zlib')
    yield 'tiff, 12 bits', tiff(deep[..., 0] >> 4, bitspersample=12)
    yield 'tiff, big', tiff(rgb, photometric='rgb', bigtiff=True)
    yield 'png, 16 bits', imagecodecs.png_encode(deep)
    try:
        from pillow_heif import from_pillow
    except ImportError:
        return
    file = io.BytesIO()
    from_pillow(Image.fromarray(rgb)).save(file, quality=90)
    yield 'heic', file.getvalue()


def sealed(data):
    "A PNG whose checksums are right again, so that the damage inside its chunks is looked at"
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], 'big')
        if at + 12 + size > len(data):
            break
        parts.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return b''.join(parts) + data[at:]


def damaged(data, rng):
    "A file with bytes or numbers overwritten, parts moved, doubled, zeroed or cut off"
    b = bytearray(data)
    for _ in range(rng.integers(1, 12)):
        where = rng.integers(min(len(b), 600 if rng.random() < 0.6 else len(b)))
        kind = rng.integers(5)
        if kind == 0:
            b[where] = rng.integers(256)
        elif kind == 1:
            b[where] ^= 1 << rng.integers(8)
        elif kind == 2:
            number = rng.choice([0, 1, 255, 65_535, 2**31 - 1, 2**32 - 1, rng.integers(2**16)])
            b[where : where + 4] = struct.pack(rng.choice(['<I', '>I']), number)
        elif kind == 3:
            other = rng.integers(len(b))
            b[where : where + 16] = b[other : other + 16]
        else:
            b[where : where + rng.integers(1, 40)] = b''
    if rng.random() < 0.15:
        b = b[: rng.integers(len(b))]
    data = bytes(b)
    return sealed(data) if data.startswith(b'\x89PNG') and rng.random() < 0.7 else data


def file_of(number, seeds):
    "The damaged file with this number, and what it was"
    rng = np.random.default_rng(number)
    name, data = seeds[number % len(seeds)]
    return name, damaged(data, rng), rng


def outcome(data, rng, folder):
    "What becomes of one file: photo or refused; whatever else is raised is a fault"
    try:
        pages = list(open_pages(data, deep=True)) if rng.random() < 0.2 else [open_photo(data, alpha=rng.random() < 0.5)]
    except PhotoError:
        return 'refused'
    for photo in pages:
        assert min(photo.size) > 0 and photo.mode in ('L', 'LA', 'RGB', 'RGBA'), photo
        has_colour(photo)
    if pages[0].size[0] * pages[0].size[1] > 4_000_000:
        return 'photo'
    file = save_photo(pages[0], folder / f'saved.{rng.choice(["jpg", "png", "webp", "tif"])}')
    again = open_photo(file)
    assert again.size == pages[0].size, (again.size, pages[0].size)
    return 'photo'


def work(pipe):
    "A worker: numbers in, outcomes out"
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_limit, memory_limit))
    except ImportError:
        pass  # Windows: no limit of memory
    seeds = [*by_pillow(), *by_others()]
    with tempfile.TemporaryDirectory() as folder:
        pipe.send('ready')
        for number in iter(pipe.recv, None):
            name, data, rng = file_of(number, seeds)
            try:
                pipe.send((name, outcome(data, rng, Path(folder)), ''))
            except PhotoError as e:  # a photo that cannot be saved, or not be opened again
                pipe.send((name, 'fault', f'after opening: {e}'))
            except BaseException as e:
                pipe.send((name, 'fault', f'{type(e).__name__}: {e}'))


class Worker:
    "A process that is replaced when it dies or takes too long"

    def __init__(self):
        self.start()

    def start(self):
        "A fresh process"
        context = multiprocessing.get_context('spawn')
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def __call__(self, number):
        "What becomes of the file with this number"
        try:
            self.pipe.send(number)
            if self.pipe.poll(time_limit):
                return self.pipe.recv()
            fault = f'more than {time_limit} seconds'
        except (EOFError, OSError):
            self.process.join(5)
            fault = f'the process died with code {self.process.exitcode}'
        self.process.kill()
        self.process.join()
        self.start()
        return '', 'fault', fault


def run(numbers, jobs, seconds):
    "Outcomes by number, from several workers at once"
    todo, results, began = iter(numbers), {}, time.perf_counter()
    lock = threading.Lock()

    def hand_out():
        worker = Worker()
        while time.perf_counter() - began < seconds:
            with lock:
                number = next(todo, None)
            if number is None:
                break
            results[number] = worker(number)
        worker.pipe.send(None)

    threads = [threading.Thread(target=hand_out) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main():
    "The command"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=10_000, help='files')
    parser.add_argument('--first', type=int, default=0, help='number of the first one')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop after so long')
    parser.add_argument('--jobs', type=int, default=2, help='workers')
    parser.add_argument('--keep', type=Path, default=Path('fuzz'), help='folder for the files that made a fault')
    a = parser.parse_args()
    began = time.perf_counter()
    results = run(range(a.first, a.first + a.count), a.jobs, a.seconds)
    seeds = [*by_pillow(), *by_others()]
    counts = collections.Counter(kind for _, kind, _ in results.values())
    took = time.perf_counter() - began
    print(f'{len(results):,} files of {len(seeds)} kinds in {took:.0f} s:', end=' ')
    print(f'{counts["photo"]:,} photos, {counts["refused"]:,} refused, {counts["fault"]} faults')
    faults = {number: result for number, result in results.items() if result[1] == 'fault'}
    for number, (_, _, why) in sorted(faults.items())[:40]:
        name, data, _ = file_of(number, seeds)
        a.keep.mkdir(exist_ok=True)
        (a.keep / f'{number}').write_bytes(data)
        print(f'  {number} ({name}): {why[:300]}')
    sys.exit(bool(faults))


if __name__ == '__main__':
    main()
