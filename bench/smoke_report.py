#!/usr/bin/env python3
"""Sums up what callgrind dumped for bench/smoke and compares it with the record.

    smoke_report.py FOLDER RECORD [FILE TO WRITE]
"""

import pathlib
import re
import sys

GROWTH_MAX = 1.10


def read_dumps(folder):
    """Instructions by operation, each divided by its count, in the order of the dumps."""
    totals = {}
    dumps = {}
    for path in folder.glob("out.*.*"):
        text = path.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.*) (\d+)$", text, re.M)
        total = re.search(r"^totals: (\d+)$", text, re.M)
        if name is not None and total is not None:
            number = int(path.suffix[1:])
            dumps[number] = (name.group(1), int(total.group(1)) / int(name.group(2)))
    for number in sorted(dumps):
        name, total = dumps[number]
        totals[name] = round(total)
    return totals


def read_record(path):
    lines = path.read_text().splitlines() if path.exists() else []
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return {name: int(number) for name, number in rows}


def main():
    folder, record = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    now, before = read_dumps(folder), read_record(record)
    grown = []
    print("%-28s %12s %12s %8s" % ("operation", "recorded", "now", "change"))
    for name, count in now.items():
        old = before.get(name)
        change = "new" if old is None else "%+.1f %%" % (100 * (count / old - 1))
        print("%-28s %12s %12d %8s" % (name, "" if old is None else old, count, change))
        if old is None or count > old * GROWTH_MAX:
            grown.append(name)
    grown += ["%s (missing)" % name for name in before if name not in now]
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w") as out:
            out.write("# Instructions for each operation, by bench/smoke.sh --record\n")
            for name, count in now.items():
                out.write("%s %d\n" % (name, count))
        return 0
    if not now:
        print("nothing was counted")
        return 1
    if grown:
        print("over the record by more than a tenth: %s" % ", ".join(grown))
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
