"""Ten hard photos before and after a few clicks: hard.py [--clicks CLICKS.json] [--out SHEET.jpg]

CLICKS.json says for each photo of data/photos/color where somebody clicked, at most five times, and which
colour they chose: {"kingfisher": [{"x": 158, "y": 105, "rgb": [20, 110, 190]}, ...], ...}. The sheet shows
each photo as the network colours it, the clicks, what they make of it, and the real photo. Beside it lie the
numbers, with command, commit, hardware and date (SHEET.run.json).
"""

import json
import sys
from pathlib import Path
from fastcore.script import call_parse
from PIL import Image, ImageDraw, ImageOps
from colorize_nb.color import to_tensor
from colorize_nb.colorize import Colorizer, weights_file
from colorize_nb.easel import Easel
from colorize_nb.encoders import WeightsError
from colorize_nb.files import photos_dir, replacing, results_dir, sha256_of
from colorize_nb.hints import HintError
from colorize_nb.metadata import image_bytes
from colorize_nb.metrics import psnr
from colorize_nb.runs import provenance

most_clicks = 5  # what somebody does in a minute
columns = ('automatic', 'clicks', 'by hand', 'real')


def read_clicks(file):
    "What a file says of each photo, as {photo: [(x, y, rgb), ...]}"
    try:
        said = json.loads(file.read_text('utf-8'))
        clicks = {name: [(row['x'], row['y'], row['rgb']) for row in rows] for name, rows in said.items()}
    except OSError as e:
        raise HintError(f'{file.name}: cannot be read ({e.strerror}): check the name') from e
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise HintError(f'{file.name}: expected JSON with x, y and rgb for clicks in photos ({e!r})') from e
    for name, rows in clicks.items():
        if not 0 < len(rows) <= most_clicks:
            raise HintError(f'{name}: {len(rows)} clicks, expected 1 to {most_clicks}')
        if not (photos_dir() / 'color' / f'{Path(name).name}.jpg').is_file():
            raise HintError(f'{name}: there is no such photo in data/photos/color')
    return clicks


def work(name, clicks, colorizer):
    "The four pictures of one photo, and its PSNR before and after"
    easel = Easel(photos_dir() / 'color' / f'{Path(name).name}.jpg', colorizer)
    before = easel.picture()
    try:
        easel.change(clicks)
    except HintError as e:
        raise HintError(f'{name}: {e}') from e
    after, real = easel.picture(), easel.hand.small.convert('RGB')
    gain = [round(psnr(to_tensor(im), to_tensor(real)), 2) for im in (before, after)]
    return (before, easel.marked(), after, real), dict(clicks=len(clicks), before=gain[0], after=gain[1])


def sheet(rows, width, height):
    "Two photos a line, each four times, under a line of words"
    line, lines = height + 16, -(-len(rows) // 2)
    im = Image.new('RGB', (8 * width, line * lines), 'white')
    draw = ImageDraw.Draw(im)
    for i, (name, pictures, numbers) in enumerate(rows):
        left, top = (i % 2) * 4 * width, (i // 2) * line
        for k, (word, picture) in enumerate(zip(columns, pictures)):
            words = f'{name}: {word}' if k == 0 else f'{numbers["clicks"]} {word}' if k == 1 else word
            draw.text((left + k * width + 4, top + 2), words, fill='black')
            tile = ImageOps.pad(picture, (width - 4, height - 4), color='white')
            im.paste(tile, (left + k * width + 2, top + 14))
    return im


@call_parse
def main(
    clicks: Path = None,  # .json; default data/results/hints/hard.json
    out: Path = None,  # .jpg; default beside the clicks
    width: int = 200,  # of a tile, pixels, at least 160
    height: int = 150,  # of a tile, pixels
    weights: Path = None,  # of a training; default the weights that come with the package
):
    "Colour hard photos by hand, as a file of clicks says."
    clicks = clicks or results_dir() / 'hints' / 'hard.json'
    out = out or clicks.with_suffix('.jpg')
    try:
        if width < 160:
            raise HintError(f'tiles of {width} pixels are too small to judge: at least 160')
        colorizer = Colorizer(weights, device='cpu')
        rows = [(name, *work(name, made, colorizer)) for name, made in read_clicks(clicks).items()]
        about = dict(
            provenance(), weights=sha256_of(weights or weights_file())[:16], seed='none: nothing is drawn'
        )
        about['photos'] = {name: numbers for name, _, numbers in rows}
        with replacing(out) as part:
            part.write_bytes(image_bytes(sheet(rows, width, height), 'JPEG', quality=88))
        with replacing(out.with_suffix('.run.json')) as part:
            part.write_text(json.dumps(about, indent=1) + '\n')
    except (WeightsError, ValueError, OSError) as e:
        sys.exit(f'hard.py: {e}')
    for name, _, numbers in rows:
        print(f'{name:20} {numbers["clicks"]} clicks  {numbers["before"]:5.1f} dB -> {numbers["after"]:5.1f}')
    print(out)
