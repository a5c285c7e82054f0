#!/usr/bin/env python3
"""test_summary.py TESTLOG: the result of `meson test` in plain words.

Names what failed and what was skipped and why; the last line is `N passed, N failed`, and the exit
status is 0 only when something passed and nothing failed.
"""

import json
import sys


def reason_of(entry):
    for line in entry.get("stdout", "").splitlines():
        if line.startswith("SKIPPED"):
            return line.partition(": ")[2] or line
    return "no reason given"


def main():
    counts = {"passed": 0, "failed": 0}
    try:
        with open(sys.argv[1], encoding="utf-8") as log:
            entries = [json.loads(line) for line in log if line.strip()]
    except OSError as error:
        print("no test results: %s" % error)
        entries = []
    for entry in entries:
        result = entry["result"]
        if result == "SKIP":
            print("skipped: %s (%s)" % (entry["name"], reason_of(entry)))
        elif result in ("OK", "EXPECTEDFAIL"):
            counts["passed"] += 1
        else:
            counts["failed"] += 1
            print("failed: %s (%s)" % (entry["name"], result.lower()))
    print("%(passed)d passed, %(failed)d failed" % counts)
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
