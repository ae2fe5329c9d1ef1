"""PSNR against the number of hints: hints.py PHOTOS ... [--out FOLDER] [--n 500] [--size 256]

Validation photos (by content hash, never trained on) at a small size; random places show the mean colour of
7 x 7 pixels, as in Zhang et al. 2017. Systems: Levin's (2004), which has hints alone, and `HandColorizer`,
which has hints and the automatic colours; with --weights also a trained `HintBranch`. The same call goes on
where it was; a folder that holds a measurement of other weights, size or share of photos is refused.
"""

import json
import sys
from pathlib import Path
from typing import Annotated
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from fastcore.script import call_parse
from PIL import Image
from colorize_nb.color import join_lab, lab_to_rgb, rgb_to_lab, split_lab, to_tensor
from colorize_nb.colorize import Colorizer, weights_file
from colorize_nb.data import PhotoCache, is_valid
from colorize_nb.encoders import WeightsError, load_weights
from colorize_nb.files import replacing, sha256_of
from colorize_nb.hints import HandColorizer, Hint, levin
from colorize_nb.metrics import bootstrap, psnr
from colorize_nb.photo import find_photos, write_csv
from colorize_nb.runs import provenance

counts = (0, 1, 2, 5, 10, 50, 100)
patch = 3  # pixels to each side of the hinted one


def random_hints(photo, n, rng):
    "n places, and what is there"
    pixels = np.asarray(photo, float)
    hints = []
    for _ in range(n):
        x, y = (int(rng.integers(0, side)) for side in photo.size)
        part = pixels[max(0, y - patch) : y + patch + 1, max(0, x - patch) : x + patch + 1]
        hints.append(Hint(x, y, tuple(part.mean((0, 1)).round(1).tolist())))
    return hints


def by_levin(photo, hints):
    "Levin's colours on a grid of every second pixel, on the photo's own lightness; without hints gray"
    L, _ = split_lab(rgb_to_lab(to_tensor(photo)[None]))
    small = F.avg_pool2d(L, 2, ceil_mode=True)[0, 0]
    ab = torch.zeros(2, *small.shape)
    if hints:
        colours = torch.tensor([h.rgb for h in hints]).T[None, :, :, None] / 255
        ab_hints = split_lab(rgb_to_lab(colours))[1][0, :, :, 0].T.numpy()
        places = [int(h.y) // 2 * small.shape[1] + int(h.x) // 2 for h in hints]
        ab = torch.from_numpy(levin(((small + 1) / 2).numpy(), np.array(places), ab_hints)).float()
    ab = F.interpolate(ab[None], size=L.shape[-2:], mode='bilinear').clamp(-1, 1)
    return lab_to_rgb(join_lab(L, ab))[0]


def measure_photo(photo, seed, colorizer, branch):
    "Rows of system, number of hints and PSNR for one photo"
    real = to_tensor(photo)
    hints = random_hints(photo, max(counts), np.random.default_rng(seed))
    painters = dict(hand=HandColorizer(photo, colorizer=colorizer))
    if branch:
        painters['branch'] = HandColorizer(photo, colorizer=colorizer, branch=branch)
    rows = []
    for n in counts:
        rows.append(dict(system='levin', n=n, psnr=psnr(by_levin(photo, hints[:n]), real)))
        for system, painter in painters.items():
            rows.append(dict(system=system, n=n, psnr=psnr(to_tensor(painter.paint(hints[:n])), real)))
    return rows


def settings(size, valid_pct, branch):
    "What must be the same for all rows of a table"
    shown = sha256_of(weights_file())[:16], sha256_of(branch)[:16] if branch else None
    return dict(size=size, valid_pct=valid_pct, counts=list(counts), weights=shown[0], branch=shown[1])


def earlier(out, now):
    "The rows that an earlier call of the same measurement has written"
    table, run = out / 'hints.csv', out / 'run.json'
    if not table.exists():
        return []
    try:
        then = json.loads(run.read_text())
    except (OSError, ValueError) as e:
        raise ValueError(f'{run}: {e}: nobody can say what {table.name} measured; take another --out') from e
    other = [f'{k} {then.get(k)!r}, now {v!r}' for k, v in now.items() if then.get(k) != v]
    if other:
        raise ValueError(f'{out} was measured with {"; ".join(other)}: delete it or take another --out')
    return pd.read_csv(table).to_dict('records')


def keep(out, rows, now):
    "Write the rows and what they are"
    about = dict(provenance(), photos=len({row['photo'] for row in rows}), seed='rank of the photo', **now)
    with replacing(out / 'run.json') as part:
        part.write_text(json.dumps(about, indent=1) + '\n')
    write_csv(out / 'hints.csv', rows)


def summary(table):
    "Mean PSNR with its interval for each system and number of hints, and paired differences to Levin's"
    rows = []
    wide = table.pivot_table(index='photo', columns=['system', 'n'], values='psnr')
    for system, n in wide.columns:
        values = wide[system, n].to_numpy()
        gain = values - wide['levin', n].to_numpy()
        low, high = bootstrap(values)
        less, more = bootstrap(gain)
        row = dict(system=system, n=n, psnr=values.mean(), low=low, high=high)
        rows.append(dict(row, over_levin=gain.mean(), over_low=less, over_high=more))
    return rows


def measure(photos, out, n, valid_pct, size, weights):
    "All photos that are not measured yet, then the means"
    now = settings(size, valid_pct, weights)
    cache = PhotoCache(find_photos(photos), size * 9 // 8)
    here = sorted((i for i in cache.items if valid_pct >= 1 or is_valid(i[1], valid_pct)), key=lambda i: i[1])
    if not here:
        found = f'{len(cache.items)} photos in {", ".join(map(str, photos))}'
        raise ValueError(f'{found}, none of them kept for validation: --valid-pct 1 takes all')
    where = {item[1]: i for i, item in enumerate(cache.items)}
    colorizer, branch = Colorizer(size=size, device='cpu'), load_weights(weights) if weights else None
    out.mkdir(parents=True, exist_ok=True)
    rows = earlier(out, now)
    done = {row['photo'] for row in rows}
    for k, item in enumerate(here[:n]):
        if item[1][:16] in done:
            continue
        photo = Image.fromarray(np.array(cache.pixels(where[item[1]])))
        rows += [dict(photo=item[1][:16], **row) for row in measure_photo(photo, k, colorizer, branch)]
        if k % 10 == 9 or k == len(here[:n]) - 1:
            keep(out, rows, now)
            print(k + 1, 'of', len(here[:n]), flush=True)
    table = summary(pd.DataFrame(rows))
    write_csv(out / 'summary.csv', table)
    return table


@call_parse
def main(
    photos: Annotated[str, {'nargs': '+'}],  # folders of colour photos
    out: Path = Path('data/results/hints'),  # folder for hints.csv (a row a photo), summary.csv and run.json
    n: int = 500,  # photos
    valid_pct: float = 0.05,  # share that the trainings keep for validation; 1 takes all
    size: int = 256,  # short side that the network sees, pixels
    weights: Path = None,  # of a trained HintBranch
):
    "Measure colours by hand on validation photos."
    try:
        table = measure(photos, out, n, valid_pct, size, weights)
    except (WeightsError, OSError, ValueError) as e:
        sys.exit(f'hints.py: {e}')
    print(pd.DataFrame(table).round(2).to_string())
    print((out / 'run.json').read_text())
