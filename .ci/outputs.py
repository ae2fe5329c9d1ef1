"""What a notebook has stored against what it prints now.   outputs.py STORED.ipynb FRESH.ipynb

Pictures and widgets are for eyes and are not compared. Text is compared word by word. Numbers may differ in
their last digit or by half a percent, for processors add in different orders, and seconds may be any. A cell
whose output depends on the machine, or on a training (where small differences grow), says so with the flag
`#| machine`.
"""

import re
import sys
import nbformat

advice = (
    'Run the page and store its outputs (`make lab`), or flag a cell with `#| machine` '
    'if its output depends on machine or time.'
)
seconds = re.compile(r'\d[\d.]* ?(ms|s|CPU seconds|photos/s)\b')
number = re.compile(r'[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?')


def text_of(cell):
    "All that a cell printed or returned as text, without what is new in every run"
    parts = []
    for o in cell.get('outputs', []):
        if o.output_type == 'stream' and o.name == 'stdout':
            parts.append(o.text)
        data = o.get('data', {})
        if any(kind.startswith(('image/', 'application/')) for kind in data):
            continue
        table = data.get('text/html')  # a table as text is cut to the width of the screen
        parts.append(
            data.get('text/markdown')
            or table
            and re.sub(r'<style.*?</style>|<[^>]+>', ' ', table, flags=re.S)
            or data.get('text/plain', '')
        )
    text = re.sub(
        r'^(?:\d+/\d+ photos|.*: \d+ of \d+)\n', '', ''.join(parts), flags=re.M
    )  # progress of what takes long
    text = re.sub(r' at 0x[0-9a-f]+|/tmp/\S+', '', text)
    return seconds.sub(r'some \1', text).split()


def close(old, new):
    "Are these two words the same, but for the last digit of their numbers?"
    if old == new:
        return True
    if number.sub('#', old) != number.sub('#', new):
        return False
    for a, b in zip(number.findall(old), number.findall(new)):
        if not near(a, b):
            return False
    return True


def near(a, b):
    "Two numbers as text: equal within half a percent, or within two steps of the last digit"
    x, y = (float(s.replace(',', '')) for s in (a, b))
    decimals = len(a.split('e')[0].rpartition('.')[2]) if '.' in a else 0
    if 'e' in a:
        return x * y > 0 and 0.1 < x / y < 10  # a rounding error such as 3e-07: its order of magnitude
    return abs(x - y) <= max(0.005 * abs(x), 2 * 10.0**-decimals if decimals else 0)


def machine(cell):
    return re.search(r'^#\| *machine\b', cell.source, re.M)


def differences(stored, fresh):
    "One line for each cell whose text differs"
    old, new = (nbformat.read(f, 4).cells for f in (stored, fresh))
    found = []
    for was, now in zip(old, new):
        if was.cell_type != 'code' or machine(was):
            continue
        a, b = text_of(was), text_of(now)
        if len(a) == len(b) and all(map(close, a, b)):
            continue
        k = next((i for i, (x, y) in enumerate(zip(a, b)) if not close(x, y)), min(len(a), len(b)))
        show = lambda words: ' '.join(words[max(0, k - 3) : k + 4])[:90]
        found.append(f'  [{was.id}] stored "... {show(a)}", now "... {show(b)}"')
    return found


if __name__ == '__main__':
    found = differences(*sys.argv[1:3])
    print(*found, sep='\n')
    sys.exit(bool(found))
