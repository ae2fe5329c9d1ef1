#!/bin/sh
# Makes .venv with everything in it. The Makefile calls this when the stamp .venv/.ready is missing or out of date.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P) stamp=.venv/.ready

# A usable Python is 3.10 or newer and has the parts that make a virtual environment. Otherwise: say why not.
why=
usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 || return 1
    "$1" -c 'import venv, ensurepip' >/dev/null 2>&1 && return
    why="$1 is new enough, but cannot make virtual environments (on Debian or Ubuntu: sudo apt install python3-venv)."
    return 1
}
found=
for p in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10 python; do
    if usable "$p"; then found=$p; break; fi
    if [ -n "${PYTHON:-}" ]; then break; fi
done
if [ -z "$found" ]; then
    echo "No usable Python found${PYTHON:+ at PYTHON=$PYTHON}: this needs Python 3.10 or newer." >&2
    echo "${why:-Install one from https://www.python.org or name one: make PYTHON=/path/to/python3 ...}" >&2
    exit 1
fi

# With a stamp of this folder the environment is whole and only needs an update. Without one it was cut off half-way,
# and with a foreign one the folder was moved, which breaks the absolute paths inside: make it anew.
if [ "$(cat "$stamp" 2>/dev/null)" = "$here" ] && usable .venv/bin/python; then
    echo "Updating .venv: settings.ini, setup.py, pyproject.toml or a lock changed."
    rm "$stamp"
else
    echo "Setting up .venv with $("$found" --version). Once only: about 2 minutes on a good line and 6.4 GB of disk"
    echo "on Linux, where torch brings CUDA along; less elsewhere. Details go to .venv/pip.log."
    "$found" -m venv --clear .venv
fi
pip() {
    .venv/bin/python -m pip install --no-input --disable-pip-version-check --progress-bar off "$@" >>.venv/pip.log 2>&1 && return
    grep -v '^WARNING' .venv/pip.log | tail -n 20 >&2
    echo "Could not install the packages: the reason is above, the whole story in .venv/pip.log. Run make again to retry." >&2
    exit 1
}
# CI (which sets $CI) takes nothing whose hash is not written down, and lets no setup.py run but ours. Others get
# the same versions from where they like: torch without CUDA, or a mirror that builds its own wheels.
if [ -n "${CI:-}" ]; then
    pip --only-binary :all: --require-hashes -r constraints-hashes.txt
    pip --no-deps --no-build-isolation -e .
else
    pip 'pip>=23.1'   # older ones cannot install into another environment, as make test does
    pip -c constraints.txt -e '.[dev]'
fi
printf %s "$here" > "$stamp"
echo "Set up .venv: $(du -sh .venv | cut -f1)."
