#!/bin/bash
# run.sh [--messages N] [--scale PERCENT] [--reps N] [--peers "chapar cyrus dovecot"] [--steps "..."]
#   [--out FOLDER] [--large FILE] [--record] [--report] [--build FOLDER]
# The whole comparison in one run: Chapar and whichever peers are installed (peers/setup.sh; they need
# root), taking turns, medians of 5. Prints a table in Markdown; --record puts it and the plots into
# docs/. `run.sh --help` tells the options; README.md how long it takes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -H -n)"
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/compare/run.py" "$@"
