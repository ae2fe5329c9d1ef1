"""README.md from nbs/index.ipynb, without Quarto.   readme.py [--check]: write it, or compare

Text cells stay as they are, code cells become fenced code with their stored output below. Pictures among the
outputs become files in nbs/images/readme/, named after their cell. Links are written relative to nbs/ in the
notebook and come out relative to the root; one that leads nowhere is an error.
"""

import base64
import difflib
import posixpath
import re
import sys
from pathlib import Path
from urllib.parse import unquote
import nbformat
from cells import alt_text, flags, hides_input, hides_output, is_hidden, outside_code, without_flags

root = Path(__file__).resolve().parent.parent
pics = Path('nbs/images/readme')
note = '<!-- Made from nbs/index.ipynb by `make export`: edit the notebook, not this file. -->'


def front_matter(src):
    "A raw cell with `title:` and `description:` as markdown"
    fm = dict(re.findall(r'^(title|description): *["\']?(.*?)["\']? *$', src, re.M))
    return '\n\n'.join(
        s
        for s in (
            f'# {fm["title"]}' if 'title' in fm else '',
            f'> {fm["description"]}' if 'description' in fm else '',
        )
        if s
    )


def relink(md):
    "Links and pictures of `md`, relative to nbs/, made relative to the root; code is left alone"

    def fix(m):
        url = m[2]
        if re.match(r'[a-z][a-z0-9+.-]*:|#|//', url, re.I):
            return m[0]
        path, mark, rest = re.match(r'([^#?]*)([#?]?)(.*)', url).groups()
        new = posixpath.normpath(posixpath.join('nbs', path))
        if not (root / unquote(new)).exists():
            sys.exit(f'index.ipynb links to {url}, but there is no {new}')
        return m[1] + new + mark + rest + m[3]

    link = r'(\]\(\s*<?|(?:src|href)=")([^\s)">]+)([\s)">])'
    return outside_code(md, lambda text: re.sub(link, fix, text))


def fence(text, lang=''):
    return f'```{lang}\n{text.rstrip()}\n```'


def output(o, name, files, alt):
    "One stored output as markdown; a picture, with its alt text, is added to `files`"
    if o.output_type == 'error':
        sys.exit(f'index.ipynb has a stored error: {o.ename}: {o.evalue}')
    if o.output_type == 'stream':
        return fence(o.text, 'text') if o.name == 'stdout' else ''
    for mime, ext in (('image/png', 'png'), ('image/jpeg', 'jpg')):
        if mime in o.data:
            path = pics / f'{name}.{ext}'
            files[path] = base64.b64decode(o.data[mime])
            return f'![{alt}]({path.as_posix()})'
    if 'text/markdown' in o.data:
        return relink(o.data['text/markdown'])
    return fence(o.data['text/plain'], 'text') if 'text/plain' in o.data else ''


def convert(nb):
    "The README as text and its pictures as {path: bytes}"
    out, files = [note], {}
    for c in nb.cells:
        if c.get('attachments'):
            sys.exit('index.ipynb has a pasted picture: save it under nbs/images and link to it')
        marks, src = flags(c), without_flags(c)
        if is_hidden(marks):
            continue
        if c.cell_type == 'raw':
            out.append(front_matter(src))
        if c.cell_type == 'markdown':
            out.append(relink(src))
        if c.cell_type != 'code':
            continue
        if src.strip() and not hides_input(marks):
            out.append(fence(src, 'python'))
        if hides_output(marks):
            continue
        out += [output(o, f'{c.id}-{i}', files, alt_text(marks)) for i, o in enumerate(c.outputs)]
    return '\n\n'.join(s for s in out if s.strip()) + '\n', files


def main():
    text, files = convert(nbformat.read(root / 'nbs/index.ipynb', 4))
    files[Path('README.md')] = text.encode()
    old = {
        p: (root / p).read_bytes()
        for p in [*files, *(f.relative_to(root) for f in (root / pics).glob('*'))]
        if (root / p).exists()
    }
    changed = sorted(str(p) for p in {*files, *old} if files.get(p) != old.get(p))
    if '--check' in sys.argv:
        diff = difflib.unified_diff(
            old.get(Path('README.md'), b'').decode().split('\n'),
            text.split('\n'),
            'README.md',
            'from index.ipynb',
            n=1,
            lineterm='',
        )
        if changed:
            sys.exit(
                '\n'.join(
                    [
                        f'differs from nbs/index.ipynb: {", ".join(changed)}. `make export` writes it.',
                        *list(diff)[:40],
                    ]
                )
            )
        return
    for p in old.keys() - files.keys():
        (root / p).unlink()
    for p, data in files.items():
        (root / p).parent.mkdir(parents=True, exist_ok=True)
        (root / p).write_bytes(data)
    print(
        f'README.md: {len(text.splitlines())} lines, {len(files) - 1} pictures'
        + (f'; changed: {", ".join(changed)}' if changed else ', unchanged')
    )


if __name__ == '__main__':
    main()
