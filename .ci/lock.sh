#!/bin/sh
# Writes the locks of what gets installed; `make lock` and `make audit` call it.
#   lock.sh             what settings.ini asks for now; what is locked already keeps its version
#   lock.sh --upgrade   the newest of everything that is a week old: most bad uploads are found by then
#   lock.sh audit       known vulnerabilities of what is locked, where there is a network to ask
# constraints.txt          versions, for people: pip install -c constraints.txt -e '.[dev]'
# constraints-hashes.txt   with hashes, and pip itself, for CI: pip install --require-hashes -r ...
# constraints-tools.txt    the tools that do this, with hashes
# constraints-site.txt     what .ci/website.py builds the site with, with hashes
# One resolution holds for Python 3.10 and newer on Linux, Windows and macOS 14 or newer on Apple processors: uv
# adds the markers. (torch has no wheels for older macOS, nor for Intel there.)
set -eu
cd "$(dirname "$0")/.."
tools=.cache/tools
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# The tools live outside .venv, for they are no part of what is checked. A new lock of theirs makes them anew.
make_tools() {
    if cmp -s constraints-tools.txt "$tools/.lock"; then return 0; fi
    "${PYTHON:-python3}" -m venv --clear "$tools" >"$new/pip.log" 2>&1 &&
    "$tools/bin/python" -m pip install -q --no-input --disable-pip-version-check --only-binary :all: \
        --require-hashes -r constraints-tools.txt >>"$new/pip.log" 2>&1 &&
    cp constraints-tools.txt "$tools/.lock"
}

if [ "${1:-}" = audit ]; then
    if make_tools; then
        "$tools/bin/python" .ci/declared.py audit
    else
        why=$(grep -v '^WARNING' "$new/pip.log" | tail -n 1)
        echo "audit skipped: pip-audit could not be installed: $why"
    fi
    exit
fi

case "${1:-}" in
    '') cp constraints.txt constraints-tools.txt constraints-site.txt "$new" ;;   # uv keeps what it finds in these
    --upgrade) set -- --exclude-newer '7 days' ;;
    *) echo "lock.sh: $1 is neither --upgrade nor audit" >&2; exit 2 ;;
esac
make_tools || { cat "$new/pip.log" >&2; echo "Could not install uv: the reason is above." >&2; exit 1; }

# compile SOURCES... -o FILE ...: only what has wheels, so that no setup.py of others runs at an installation
compile() {
    "$tools/bin/uv" --no-config pip compile -q --universal --python-version 3.10 --only-binary :all: \
        --no-annotate --no-header "$@"
}
lock=$new/constraints.txt
hashes=$new/constraints-hashes.txt
tool_lock=$new/constraints-tools.txt
site_lock=$new/constraints-site.txt
"$tools/bin/python" .ci/declared.py list dev online browser >"$new/all.in"
"$tools/bin/python" .ci/declared.py list dev >"$new/dev.in"
echo pip >"$new/pip.in"
printf '%s\n' pip-audit uv >"$new/tools.in"
compile "$@" "$new/all.in" "$new/pip.in" -o "$lock"
compile "$new/dev.in" "$new/pip.in" -c "$lock" --generate-hashes -o "$hashes"
compile "$@" "$new/tools.in" --generate-hashes -o "$tool_lock"
printf '%s\n' sphinx myst-nb pydata-sphinx-theme >"$new/site.in"
compile "$@" "$new/site.in" --generate-hashes -o "$site_lock"

# write FILE TEXT: what the file is, then what uv wrote
write() {
    { printf '# %s\n' "$2" '`make lock` writes this file: do not edit it.'; cat "$1"; } >"$new/whole"
    mv "$new/whole" "$(basename "$1")"
}
write "$lock" "The versions that were tried together: pip install -c constraints.txt -e '.[dev]'"
write "$hashes" 'The same with hashes, and pip: pip install --require-hashes -r constraints-hashes.txt'
write "$site_lock" 'What .ci/website.py works with, apart from the project: Sphinx, MyST-NB and the theme.'
write "$tool_lock" 'What .ci/lock.sh works with, apart from the project: uv and pip-audit.'
packages=$(sed -n 's/==.*//p' constraints.txt | sort -u | wc -l | tr -d ' ')
echo "Locked $(grep -c '==' constraints.txt) versions of $packages packages."
