#!/usr/bin/env python3
"""report.py FOLDER: tables in Markdown of what run-peers.sh left in FOLDER (BENCH_TMP/out).

Where a step was repeated, the median of the repetitions stands in the table and the least and the
greatest beside it.
"""

import collections
import glob
import os
import re
import statistics
import sys

PEERS = ["chapar", "cyrus", "dovecot"]
NAMES = {"chapar": "Chapar", "cyrus": "Cyrus 3.6", "dovecot": "Dovecot 2.3"}


def read(folder, step):
    """{peer: [text of each repetition]}."""
    found = collections.defaultdict(list)
    for path in sorted(glob.glob(os.path.join(folder, step + "-*.txt"))):
        name = os.path.basename(path)[len(step) + 1 :]
        peer = next((peer for peer in PEERS if name.startswith(peer)), None)
        if peer:
            with open(path, encoding="utf-8", errors="replace") as file:
                found[peer].append(file.read())
    return found


def numbers(texts, pattern, index=0):
    """The number that `pattern` finds for the `index`-th time in each text."""
    values = []
    for text in texts:
        hits = re.findall(pattern, text, re.M)
        if len(hits) > index:
            values.append(float(hits[index]))
    return values


def cell(values):
    if not values:
        return "-"

    def show(value):
        return "%.0f" % value if value >= 100 else "%.3g" % value

    text = show(statistics.median(values))
    if len(values) > 1 and min(values) != max(values):
        text += " (%s to %s)" % (show(min(values)), show(max(values)))
    return text


def table(title, texts, rows, note=""):
    """`rows` are (what, pattern, index)."""
    if not texts:
        return
    peers = [peer for peer in PEERS if peer in texts]
    print("## %s\n" % title)
    if note:
        print(note + "\n")
    print("| | " + " | ".join(NAMES[peer] for peer in peers) + " |")
    print("|---" * (len(peers) + 1) + "|")
    for what, pattern, index in rows:
        cells = [cell(numbers(texts[peer], pattern, index)) for peer in peers]
        if any(value != "-" for value in cells):
            print("| %s | %s |" % (what, " | ".join(cells)))
    print()


def latency(prefix, field):
    return r"^%s n=\d+ .*\b%s=([\d.]+)" % (re.escape(prefix), field)


def fetch_rows():
    labels = [
        ("SELECT", "SELECT"), ("FLAGS of all", "FLAGS"), ("ENVELOPE of all", "ENVELOPE"),
        ("four header fields of all", "HEADER.FIELDS"),
        ("fields that nobody asked for before", "HEADER.FIELDS-uncached"),
        ("BODYSTRUCTURE of all", "BODYSTRUCTURE"), ("SEARCH SUBJECT", "SEARCH-SUBJECT"),
        ("SEARCH FLAGGED", "SEARCH-FLAGGED"), ("SEARCH TEXT", "SEARCH-TEXT"),
        ("all bodies", "BODY.PEEK[]"), ("CHANGEDSINCE, nothing changed", "CHANGEDSINCE-none"),
        ("CHANGEDSINCE, 100 changed", "CHANGEDSINCE-100"),
        ("SELECT with QRESYNC", "SELECT-QRESYNC"),
    ]
    return [
        (what + ", ms", r"^fetch %s +.*?median_ms=([\d.]+)" % re.escape(label), 0)
        for what, label in labels
    ]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.split("\n", 1)[0])
    folder = sys.argv[1]
    table("Delivery by LMTP, 8 connections", read(folder, "deliver"), [
        ("messages a second", r"^deliver conns=.* rate=([\d.]+)", 0),
        ("latency, median ms", latency("deliver", "p50_ms"), 0),
        ("latency, 99 % below ms", latency("deliver", "p99_ms"), 0),
        ("CPU on A, ms a message", r"^deliver cost A: cpu_ms/op=([\d.]+)", 0),
        ("CPU on B, ms a message", r"^deliver cost B: cpu_ms/op=([\d.]+)", 0),
        ("written on A, KiB a message", r"^deliver cost A: .*written_KiB/op=([\d.]+)", 0),
        ("B complete after the last reply, s", r"^drain .* secs=([\d.]+)", 0),
    ])
    append = r"^append conns=.* rate=([\d.]+)"
    table("APPEND, messages a second", read(folder, "append"), [
        ("one connection, one by one", append, 0), ("eight connections", append, 1),
        ("one connection, 32 under way", append, 2), ("50 in one command", append, 3),
    ])
    table("Reading a large mailbox, median", read(folder, "fetch"), fetch_rows())
    table("Changing flags", read(folder, "store"), [
        ("one by one, a second", r"^store one-by-one n=\d+ ops/s=([\d.]+)", 0),
        ("64 under way, a second", r"^store pipelined .* ops/s=([\d.]+)", 0),
        ("whole mailbox in one command, messages a second",
         r"^store single-command .* msgs/s=([\d.]+)", 0),
    ])
    wake = "idle wake (append OK to EXISTS on one idler)"
    table("Idle connections", read(folder, "idle"), [
        ("memory for each, KiB (PSS)", r"^idle per_conn PSS_KiB=([-\d.]+)", 0),
        ("opened a second", r"^idle conns=.* opens/s=([\d.]+)", 0),
        ("woken after an APPEND, median ms", latency(wake, "p50_ms"), 0),
    ])
    table("Replication lag: from the answer on A until a client of B sees it, ms",
          read(folder, "lag"), [
              ("%s, %s" % (what, word), latency(prefix, field), 0)
              for what, prefix in (("new message", "lag append (B by NOOP)"),
                                   ("flag", "lag flag"), ("expunge", "lag expunge"))
              for word, field in (("median", "p50_ms"), ("99 % below", "p99_ms"))
          ])
    table("Catching up after the wire was cut", read(folder, "catchup"), [
        ("from heal to equal, s", r"all_equal_s=([-\d.]+)", 0),
        ("messages a second", r"^catchup first.* rate=([\d.]+)", 0),
    ])
    fields = ["lost_or_missing", "duplicated", "flag_changes_lost", "resurrected", "uid_reused",
              "A_B_differences"]
    table("Split brain: both sides changed while the wire was cut", read(folder, "split"), [
        (field.replace("_", " "), r"^splitbrain summary: .*\b%s=(\d+)" % field, 0)
        for field in fields
    ])


if __name__ == "__main__":
    main()
