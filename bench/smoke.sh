#!/bin/bash
# Instructions for each operation of bench/smoke, counted by callgrind, beside those on record.
#   smoke.sh [--record] [BUILD]       BUILD: default ../build (--buildtype=debugoptimized)
# Exits 1 if an operation takes over 10 % more than bench/smoke.txt says; --record writes that file
# anew, to be committed with the change that it comes from. Recorded on x86-64 with AVX2; another
# processor or C library may differ by itself. PROFILE=FOLDER keeps callgrind's files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
record=
[ "${1:-}" != --record ] || { record=$here/smoke.txt && shift; }
build=${1:-$here/../build}
[ -x "$build/bench/smoke" ] || {
	echo "$build/bench/smoke is not there: it is built when valgrind is installed" >&2
	exit 1
}
folder=${PROFILE:-$(mktemp -d)}
mkdir -p "$folder"
[ -n "${PROFILE:-}" ] || trap 'rm -rf "$folder"' EXIT

valgrind --quiet --tool=callgrind --instr-atstart=no --fair-sched=yes \
	--callgrind-out-file="$folder/out.%p" "$build/bench/smoke" >"$folder/log" 2>&1 || {
	cat "$folder/log" >&2
	exit 1
}
python3 "$here/smoke_report.py" "$folder" "$here/smoke.txt" ${record:+"$record"}
