"""What was measured as a table in Markdown, each row with its aim and whether it was met."""

import json
import os
import statistics

from compare import plot
from compare.servers import BENCH, NAMES

DOCS = os.path.join(BENCH, "../docs")
BEGIN, END = "<!-- %s: begin -->\n", "<!-- %s: end -->"
MORE, LESS = "more", "less"  # which is better


class Values:
    def __init__(self, values):
        self.values = values

    def all(self, row, name):
        return self.values.get(row, {}).get(name, [])

    def of(self, row, name="chapar"):
        found = self.all(row, name)
        return statistics.median(found) if found else None

    def better_peer(self, row, better):
        peers = {name: self.of(row, name) for name in NAMES if name != "chapar"}
        peers = {name: value for name, value in peers.items() if value is not None}
        if not peers:
            return None
        return (max if better == MORE else min)(peers, key=peers.get)


# ---- aims: (text, function of (values, row, better) that tells whether it is met, or None)


def ratio(values, row, better, name=None):
    """How many times as good as the better peer, or `name`; above 1 is ahead."""
    name = name or values.better_peer(row, better)
    mine, other = values.of(row), values.of(row, name) if name else None
    if not mine or not other:
        return None
    return mine / other if better == MORE else other / mine


def times(count, name=None):
    text = ("%g times" % count if count != 1 else "ahead") + (" of %s" % NAMES[name] if name else "")

    def met(values, row, better):
        found = ratio(values, row, better, name)
        return None if found is None else found >= count

    return text, met


def at_most(limit, unit=""):
    def met(values, row, better):
        return None if values.of(row) is None else values.of(row) <= limit

    return ("%g %s" % (limit, unit)).strip(), met


def beside(other, factor, text, name="chapar"):
    """At most `factor` times that other row's value (MORE: at least)."""

    def met(values, row, better):
        mine, value = values.of(row), values.of(other, name)
        if mine is None or value is None:
            return None
        return mine >= value * factor if better == MORE else mine <= value * factor

    return text, met


NONE = ("", lambda values, row, better: None)


# ---- rows: (what, row, better, aim)

TABLE = [
    ("Delivery by LMTP, replication on, 200 users", [
        ("8 connections, messages/s", "deliver8", MORE, times(10)),
        ("the same, CPU on A, ms a message", "deliver8.cpu_a", LESS, at_most(0.2)),
        ("the same, CPU on B, ms a message", "deliver8.cpu_b", LESS,
         beside("deliver8.cpu_a", 1, "less than on A")),
        ("64 connections, messages/s", "deliver64", MORE,
         beside("deliver8", 1, "more than with 8")),
        ("the same, CPU on A, ms a message", "deliver64.cpu_a", LESS, at_most(0.2)),
        ("latency with 8 connections, 99 % below, ms", "deliver8.p99", LESS, NONE),
        ("after 8 connections, B complete after the last OK, s", "deliver8.drain", LESS, at_most(0.1)),
        ("the same after 64 connections, s", "deliver64.drain", LESS, at_most(0.1)),
    ]),
    ("APPEND, replication on, messages/s", [
        ("1 connection", "append1", MORE, times(3)),
        ("8 connections", "append8", MORE, times(6)),
        ("MULTIAPPEND of 50", "append_multi", MORE, times(2)),
    ]),
    ("The large mailbox ({messages:,} messages), ms", [
        *[(label + note, key + suffix, LESS, aim)
          for label, key in (("SELECT", "SELECT"), ("FETCH FLAGS", "FLAGS"),
                             ("FETCH ENVELOPE and more", "ENVELOPE"),
                             ("FETCH HEADER.FIELDS", "HEADER.FIELDS"),
                             ("FETCH HEADER.FIELDS, rare ones", "HEADER.FIELDS-uncached"),
                             ("FETCH BODYSTRUCTURE", "BODYSTRUCTURE"))
          for note, suffix, aim in (
              ("", "", times(1)),
              (", first time", ".first", beside(key, 1.2, "as the second")))],
        ("SEARCH SUBJECT", "SEARCH-SUBJECT", LESS, at_most(20)),
        ("SEARCH TEXT, no index", "SEARCH-TEXT", LESS, at_most(2000)),
        ("SEARCH FLAGGED", "SEARCH-FLAGGED", LESS, times(1)),
        ("download of everything, MB/s", "download", MORE, times(1.5)),
        ("CHANGEDSINCE, 100 changed", "CHANGEDSINCE-100", LESS, at_most(0.5)),
        ("the same of 1,000,000 messages", "large.changedsince", LESS, at_most(0.5)),
        ("SELECT QRESYNC, 100 changed", "SELECT-QRESYNC", LESS, at_most(0.5)),
        ("the same of 1,000,000 messages", "large.qresync", LESS, at_most(0.5)),
    ]),
    ("STORE in it, replication on", [
        ("one by one, changes/s", "store_one", MORE, times(5, "cyrus")),
        ("64 under way, changes/s", "store_pipelined", MORE, times(1, "dovecot")),
        ("all in one command, ms", "store_all", LESS, times(1, "dovecot")),
    ]),
    ("Replication", [
        *[("lag of %s, %s, ms" % (what, word), "lag_%s.%s" % (key, field), LESS, at_most(limit))
          for what, key in (("a new message", "append"), ("a flag", "flag"), ("an expunge", "expunge"))
          for word, field, limit in (("median", "p50", 2), ("99 % below", "p99", 10))],
        *[("lag of %s under full delivery, 99 %% below, ms" % what, "lag_%s_loaded.p99" % key, LESS,
           at_most(100))
          for what, key in (("a new message", "append"), ("a flag", "flag"), ("an expunge", "expunge"))],
        ("catch-up, 5000 appended and 1000 flagged, s", "catchup", LESS, at_most(0.5)),
        ("first sync of the large mailbox, s", "first_sync", LESS,
         beside("first_sync", 1, "faster than rsync", "rsync")),
        ("nothing new in 201 mailboxes, round trips of the exchange", "unchanged.rounds", LESS, at_most(1)),
        ("bytes of the exchange", "unchanged.exchange", LESS, at_most(200)),
        ("round trips with connecting and login", "unchanged.trips", LESS, times(1)),
        ("bytes with connecting and login", "unchanged.bytes", LESS, times(1)),
        ("10,000 accounts, nothing new, s", "large.unchanged_s", LESS, at_most(1)),
        ("bytes of that, login included", "large.unchanged_bytes", LESS, NONE),
    ]),
    ("Memory and disk", [
        ("an idle connection, KiB", "idle", LESS, at_most(8)),
        ("an idle connection with TLS, KiB", "idle_tls", LESS, at_most(30)),
        ("connections at once", "idle.count", MORE, NONE),
        ("wake of an idler, ms", "idle.wake", LESS, at_most(0.1)),
        ("start after kill -9, 1,000,000 messages, s", "large.start", LESS, at_most(1)),
        ("daemon, empty, MB", "memory.empty", LESS, at_most(10)),
        ("daemon, 1,000,000 messages and 10,000 accounts, MB", "large.memory", LESS, at_most(50)),
        ("disk, bytes a message of {average:.0f} bytes", "disk", LESS, times(1)),
        *[("disk with zstd level %d, bytes a message" % level if level else
           "disk without compression, bytes a message", "level%d.disk" % level, LESS, NONE)
          for level in (0, 1, 3, 9)],
        *[("CPU of APPEND with level %d, ms a message" % level if level else
           "CPU of APPEND without compression, ms a message", "level%d.cpu" % level, LESS, NONE)
          for level in (0, 1, 3, 9)],
    ]),
]


def show(value):
    if value is None:
        return "-"
    if value >= 1000:
        return "{:,.0f}".format(value)
    return "%.0f" % value if value >= 100 else "%.3g" % value


def cell(values, row, name):
    found = values.all(row, name)
    text = show(values.of(row, name))
    if len(found) > 1 and min(found) != max(found):
        text += " (%s to %s)" % (show(min(found)), show(max(found)))
    return text


def rows_of(values, names, rows, words):
    for what, row, better, aim in rows:
        cells = [cell(values, row, name) for name in names]
        if cells[0] == "-":
            continue
        found = ratio(values, row, better)
        met = aim[1](values, row, better)
        yield [what.format(**words), *cells, "-" if found is None else "%.2g" % found if found < 100 else
               "%.0f" % found, aim[0] or "-", "-" if met is None else "met" if met else "**not met**"]


def markdown(values, meta):
    names = [name for name in NAMES if name in meta["servers"]]
    words = {"messages": meta["messages"], "average": values.of("message_bytes", "all") or 0}
    yield ("%s. Load besides this: see the spread. Medians of %d repetitions taking turns; the least and "
           "the greatest stand beside them. Of `first sync` and `catch-up` there are %d repetitions (the "
           "peers' first sync: 1), a lag is of single changes; counts at %g %% of those of a full run.\n\n"
           % (meta["machine"], meta["reps"], meta["slow_reps"], meta["scale"]))
    for title, rows in TABLE:
        lines = list(rows_of(values, names, rows, words))
        if not lines:
            continue
        yield "**%s**\n\n" % (title.format(**words))
        head = ["", *[NAMES[name] for name in names], "times the better", "aim", ""]
        yield "| %s |\n|%s\n" % (" | ".join(head), "---|" * len(head))
        for line in lines:
            yield "| %s |\n" % " | ".join(line)
        yield "\n"
    if values.of("first_sync", "rsync") is not None:
        yield "`rsync -a` and `sync -f` of the same messages as a Maildir: %s s.\n" % cell(
            values, "first_sync", "rsync")


PLOTS = [
    ("benchmarks-writing", "Writing, per second (more is better)", [
        ("LMTP, 8 connections", "deliver8"), ("LMTP, 64 connections", "deliver64"),
        ("APPEND, 1 connection", "append1"), ("APPEND, 8 connections", "append8"),
        ("MULTIAPPEND of 50", "append_multi"), ("STORE, one by one", "store_one"),
        ("STORE, 64 under way", "store_pipelined")]),
    ("benchmarks-reading", "The large mailbox, ms (less is better)", [
        ("SELECT", "SELECT"), ("FETCH FLAGS", "FLAGS"), ("ENVELOPE", "ENVELOPE"),
        ("HEADER.FIELDS", "HEADER.FIELDS"), ("rare fields", "HEADER.FIELDS-uncached"),
        ("BODYSTRUCTURE", "BODYSTRUCTURE"), ("SEARCH SUBJECT", "SEARCH-SUBJECT"),
        ("SEARCH TEXT", "SEARCH-TEXT"), ("all bodies", "BODY.PEEK[]"),
        ("CHANGEDSINCE", "CHANGEDSINCE-100"), ("QRESYNC", "SELECT-QRESYNC"),
        ("STORE of all", "store_all")]),
    ("benchmarks-replication", "Replication, seconds (less is better)", [
        ("lag: new message", "lag_append.p50"), ("lag: flag", "lag_flag.p50"),
        ("lag: expunge", "lag_expunge.p50"), ("lag under delivery", "lag_append_loaded.p99"),
        ("drain", "deliver8.drain"), ("catch-up", "catchup"), ("first sync", "first_sync")]),
]


def plots(values, names):
    for file_name, title, rows in PLOTS:
        bars = []
        for label, row in rows:
            scale = 1000 if row.startswith("lag") else 1
            found = {name: values.of(row, name) for name in [*names, "rsync"]}
            bars.append((label, {name: value / scale for name, value in found.items() if value}))
        bars = [bar for bar in bars if "chapar" in bar[1]]
        if bars:
            yield file_name + ".svg", plot.bars(title, bars, dict(NAMES, rsync="rsync"))


def replace_part(path, name, text):
    """Puts `text` between the marks of that name in a file."""
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN % name)
    _, mark, after = rest.partition(END % name)
    if not mark:
        raise SystemExit("%s has no marks for %s" % (path, name))
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN % name + text + END % name + after)


def report(out, large, record):
    with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    found = results["values"]
    if large:
        with open(large, encoding="utf-8") as file:
            found.update(json.load(file)["values"])
    if "unchanged.exchange" in found:
        found["unchanged.rounds"] = {"chapar": [1]}  # one command, one answer
    values = Values(found)
    text = "".join(markdown(values, results["meta"]))
    print(text)
    with open(os.path.join(out, "table.md"), "w", encoding="utf-8") as file:
        file.write(text)
    for name, svg in plots(values, results["meta"]["servers"]):
        for folder in [out] + ([DOCS] if record else []):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(svg)
    if record:
        replace_part(os.path.join(DOCS, "benchmarks.md"), "run.sh", text)
