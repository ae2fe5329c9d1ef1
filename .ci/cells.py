"""What the scripts here must know of the cells of a notebook: their text, `#|` lines, comments and code."""

import re
import tokenize
from io import StringIO

# Lines of code in a cell, but for networks, learners and commands; longer exports are folded on the site.
most_lines = 16


def source(cell):
    "The text of a cell, whether it is stored in lines or as a whole"
    return ''.join(cell['source'])


def flags(cell):
    "The `#|` lines of a cell as {name: value}"
    return dict(re.findall(r'^#\| *([\w-]+) *:? *(.*?) *$', source(cell), re.M))


def without_flags(cell):
    "The text of a cell without its `#|` lines"
    return re.sub(r'^#\|.*\n?', '', source(cell), flags=re.M).strip('\n')


def is_hidden(marks):
    "Is a cell with these flags for no reader?"
    return 'hide' in marks or marks.get('include') == 'false'


def hides_input(marks):
    "Does a cell with these flags show only what it prints?"
    return 'hide_input' in marks or marks.get('echo') == 'false'


def hides_output(marks):
    "Does a cell with these flags show only its code?"
    return 'hide_output' in marks or marks.get('output') == 'false'


def alt_text(marks):
    "What a cell with these flags says of its picture; empty if it says nothing"
    return marks.get('fig-alt', '').strip('"\'')


def outside_code(text, change):
    "`change` for what is neither a block nor a word of code in a text in Markdown"
    pieces = re.split(r'(```.*?```|`[^`\n]*`)', text, flags=re.S)
    return ''.join(piece if i % 2 else change(piece) for i, piece in enumerate(pieces))


def comments(text):
    "The comments of Python code, by the number of their line"
    tokens = tokenize.generate_tokens(StringIO(text).readline)
    return {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}
