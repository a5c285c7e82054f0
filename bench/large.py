#!/usr/bin/env python3
"""A large mailbox and many accounts on one node: what grows with the store, and who has to wait.

    large.py [--build DIR] [--messages 1000000] [--accounts 10000] [--out FILE] [--record]

Two nodes replicate. Accounts with 1/1000, 1/20 and all of MESSAGES small messages are filled one after the
other, and the same small things measured in each. Then half of the large mailbox is expunged, the
store compacted, a third node given its first copy, while a session of another user on each node
does small things all the time: its longest wait is the pause. Prints Markdown; --record puts it and
a plot into docs/.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, BENCH)
sys.path.insert(0, os.path.join(BENCH, "../tests/system"))
import chapar_test as chapar  # noqa: E402
from compare import plot, table  # noqa: E402
from compare.imap import Imap  # noqa: E402
from compare.servers import cpu_seconds, disk_bytes, private_kib  # noqa: E402

OTHER_USER = "other"
SMALL = b"Subject: small\r\nFrom: a@example.org\r\n\r\nA short line.\r\n"


def note(text):
    print("%s %s" % (time.strftime("%T"), text), file=sys.stderr, flush=True)


def median_ms(function, count):
    """The median of `count` calls, in milliseconds."""
    seconds = []
    for index in range(count):
        began = time.monotonic()
        function(index)
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds) * 1000


# ---- the other session


def probe(where, user, is_ending, results):
    """Small commands without rest; puts {command: longest wait in ms} when told to end."""
    client = Imap(where, user)
    client.must("SELECT INBOX")
    commands = {
        "NOOP": lambda: client.must("NOOP"),
        "FETCH": lambda: client.must("FETCH 1 (FLAGS ENVELOPE)"),
        "STATUS": lambda: client.must("STATUS INBOX (MESSAGES UNSEEN)"),
        "STORE": lambda: client.must("STORE 1 %sFLAGS.SILENT (\\Flagged)" % "+-"[rounds % 2]),
        "APPEND": lambda: client.must(b"APPEND INBOX {%d+}\r\n%s" % (len(SMALL), SMALL)),
    }
    longest = dict.fromkeys(commands, 0.0)
    rounds = 0
    while not is_ending.is_set():
        for name, run in commands.items():
            began = time.monotonic()
            run()
            longest[name] = max(longest[name], (time.monotonic() - began) * 1000)
        rounds += 1
        time.sleep(0.002)
    client.close()
    results.put((where, longest))


class Probes:
    """Other sessions on these nodes for as long as the block lasts; then `longest` is known."""

    def __init__(self, nodes):
        self.where = [address_of(node) for node in nodes]

    def __enter__(self):
        self.is_ending = multiprocessing.Event()
        self.results = multiprocessing.Queue()
        self.processes = [
            multiprocessing.Process(target=probe, args=(where, OTHER_USER, self.is_ending, self.results))
            for where in self.where]
        for process in self.processes:
            process.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.is_ending.set()
        found = dict(self.results.get(timeout=60) for _ in self.processes)
        for process in self.processes:
            process.join()
        self.longest = [found[where] for where in self.where]


# ---- the nodes


def address_of(node):
    return "%s:%d" % (node.address, node.imap_port)


class Scene:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.sizes = [max(options.messages // 1000, 100), max(options.messages // 20, 200), options.messages]
        address = chapar.loopback_address()
        base = chapar.free_port_base(address)
        self.a, self.b, self.c = self.nodes = [
            chapar.Node(name, os.path.join(folder, name), address, base + 1000 * index)
            for index, name in enumerate("abc")]
        self.proxy_port = chapar.free_port_base("127.0.0.1") + 1999
        for node in self.nodes:
            node.settings["log-level"] = '"warning"'
        self.a.peers["b"] = ("127.0.0.1", self.proxy_port)
        self.b.peers["a"] = (address, self.a.imap_port)
        self.proxy = None
        self.values = {}
        self.rows = {}  # of the table by size: {what: [a value for each size]}
        self.pauses = []  # (what, seconds it took, {command: ms} on A, and on B or C)

    def put(self, row, value):
        self.values[row] = {"chapar": [value]}

    def start(self):
        self.heal()
        for node in (self.a, self.b):
            for name in [OTHER_USER, *map(self.user, self.sizes)]:
                node.add_account(name)
            node.start()
        for node in (self.a, self.b):
            client = Imap(address_of(node), OTHER_USER)
            client.must(b"APPEND INBOX {%d+}\r\n%s" % (len(SMALL), SMALL))
            client.close()

    def stop(self):
        for node in self.nodes:
            node.stop()
        self.cut()

    def kill(self):
        for node in self.nodes:
            node.kill()
        self.cut()

    def heal(self):
        self.log = open(os.path.join(self.folder, "proxy.log"), "w+", encoding="ascii")
        self.proxy = subprocess.Popen(
            [chapar.MAILLOAD, "proxy", "--listen", str(self.proxy_port), "--to", address_of(self.b)],
            stdout=self.log)

    def cut(self):
        """Returns the bytes that went over the wire since it was healed."""
        if self.proxy is None:
            return 0
        self.proxy.terminate()
        self.proxy.wait()
        self.proxy = None
        self.log.seek(0)
        line = [line for line in self.log if line.startswith("proxy totals")][-1]
        self.log.close()
        fields = dict(word.split("=") for word in line.split() if "=" in word)
        return int(fields["to_server"]) + int(fields["to_client"])

    def user(self, size):
        return "large%d" % size

    def settle(self, nodes=None, seconds=300):
        """Until the daemons rest: flushes and replication are done."""
        pids = [node.process.pid for node in nodes or self.nodes if node.process]
        deadline, before = time.monotonic() + seconds, cpu_seconds(pids)
        while time.monotonic() < deadline:
            time.sleep(1)
            now = cpu_seconds(pids)
            if now - before <= 0.02:
                return
            before = now

    def wait_equal(self, user, seconds=900):
        """Until B shows as many messages and the same modseq; polls each 2 ms."""
        items = "MESSAGES UIDNEXT HIGHESTMODSEQ"
        a, b = Imap(address_of(self.a), user), Imap(address_of(self.b), user)
        wanted = a.status("INBOX", items)
        deadline = time.monotonic() + seconds
        while b.status("INBOX", items) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError("%s not equal after %d s" % (user, seconds))
            time.sleep(0.002)
        a.close()
        b.close()


# ---- the same small things in each size


def fill(scene, size):
    began = time.monotonic()
    subprocess.run(
        [chapar.MAILLOAD, "append", "--imap", address_of(scene.a), "--user", scene.user(size), "--count",
         str(size), "--multi", "200", "--conns", "2", "--size", "600,900,1500", "--seed", str(size)],
        check=True, stdout=subprocess.DEVNULL)
    note("%d messages in %.0f s" % (size, time.monotonic() - began))
    began = time.monotonic()
    scene.wait_equal(scene.user(size), 1800)
    note("on B %.1f s later" % (time.monotonic() - began))
    scene.settle()


def spread(size, count):
    return ",".join(str(1 + index * (size // count)) for index in range(count))


def measure_session(scene, size, row):
    user = scene.user(size)
    began = time.monotonic()
    client = Imap(address_of(scene.a), user)
    client.must("ENABLE QRESYNC")
    client.must("SELECT INBOX", keep=False)
    row("first SELECT of a process, ms", (time.monotonic() - began) * 1000)

    def select(_):
        client.must("SELECT INBOX", keep=False)

    row("SELECT, ms", median_ms(select, 9))
    row("STATUS, ms", median_ms(lambda _: client.status("INBOX", "MESSAGES UNSEEN UIDNEXT"), 9))
    state = client.status("INBOX", "UIDVALIDITY HIGHESTMODSEQ")
    modseq = state["HIGHESTMODSEQ"]
    client.must("STORE %s +FLAGS.SILENT (\\Draft)" % spread(size, 100))
    row("CHANGEDSINCE, 100 changed, ms", median_ms(
        lambda _: client.must("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % modseq), 9))
    row("SELECT QRESYNC, 100 changed, ms", median_ms(
        lambda _: client.must("SELECT INBOX (QRESYNC (%d %d))" % (state["UIDVALIDITY"], modseq)), 9))
    row("STORE of one, ms", median_ms(
        lambda index: client.must("STORE %d +FLAGS.SILENT (\\Flagged)" % (1 + index * (size // 50))), 25))
    row("APPEND of one, ms", median_ms(
        lambda _: client.must(b"APPEND INBOX {%d+}\r\n%s" % (len(SMALL), SMALL)), 25))

    uids = [int(line.split(b"UID ")[1].split(b")")[0].split()[0])
            for line in client.must("FETCH %s (UID)" % spread(size, 25))
            if b"FETCH" in line and b"UID " in line]
    client.must("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, uids)))
    row("EXPUNGE of one, ms", median_ms(
        lambda index: client.must("UID EXPUNGE %d" % uids[index]), len(uids)))
    client.close()


def measure_replication(scene, size, row):
    user = scene.user(size)
    scene.wait_equal(user)
    client = Imap(address_of(scene.a), user)
    client.must("SELECT INBOX", keep=False)

    def sync(index):
        client.must("STORE %s %sFLAGS.SILENT (\\Answered)" % (spread(size, 100), "+-"[index % 2]))
        scene.wait_equal(user)

    row("sync of 100 changes, until B shows them, ms", median_ms(sync, 9))
    client.close()
    peer = Imap(address_of(scene.b), "a", chapar.SYNC_PASSWORD)
    peer.must("SYNC HELLO %(NODE d659cce65af39af6 VERSION 1 SOFTWARE bench)")
    row("sync of nothing, ms", median_ms(
        lambda _: peer.must("SYNC POINTS %%(ACCOUNTS (%s))" % user), 9))
    peer.close()


def measure_start(scene, size, row):
    client = Imap(address_of(scene.a), scene.user(size))
    client.must("SELECT INBOX", keep=False)
    client.must("STORE %s +FLAGS.SILENT (\\Answered)" % spread(size, 100))
    client.close()
    scene.a.kill()
    began = time.monotonic()
    scene.a.start(wait=False)
    while True:
        try:
            client = Imap(address_of(scene.a), scene.user(size))
            break
        except OSError:
            time.sleep(0.002)
    client.must("SELECT INBOX", keep=False)
    seconds = time.monotonic() - began
    client.close()
    row("start after kill -9 until SELECT, ms", seconds * 1000)
    return seconds


def measure_size(scene, index):
    size = scene.sizes[index]
    fill(scene, size)

    def row(what, value):
        scene.rows.setdefault(what, []).append(value)

    seconds = measure_start(scene, size, row)
    scene.settle()
    row("memory of the daemon after the start, MB", private_kib(scene.a.process.pid) / 1024)
    measure_session(scene, size, row)
    measure_replication(scene, size, row)
    scene.settle()
    time.sleep(7)
    row("memory after this work, MB", private_kib(scene.a.process.pid) / 1024)
    if index == len(scene.sizes) - 1:
        scene.put("large.start", seconds)
        scene.put("large.changedsince", scene.rows["CHANGEDSINCE, 100 changed, ms"][-1])
        scene.put("large.qresync", scene.rows["SELECT QRESYNC, 100 changed, ms"][-1])


# ---- many accounts


def measure_accounts(scene):
    count = scene.options.accounts
    for first in range(1, count + 1, 200):  # one delivery makes them
        users = min(200, count + 1 - first)
        subprocess.run(
            [chapar.MAILLOAD, "deliver", "--lmtp", "%s:%d" % (scene.a.address, scene.a.lmtp_port), "--first",
             str(first), "--users", str(users), "--rcpts", str(users), "--userfmt", "many%05ld", "--count",
             "1", "--size", "1000", "--seed", str(first)], check=True, stdout=subprocess.DEVNULL)
    total = len(scene.sizes) + 1 + count
    chapar.wait_until(lambda: ask_all(scene) and scene.asked >= total, 600, "all accounts on B")
    scene.settle()
    note("%d accounts" % count)
    scene.put("large.asked_ms", median_ms(lambda _: ask_all(scene), 3))
    connects = channel_status(scene)["connects"]
    scene.cut()
    began = time.monotonic()
    scene.heal()
    seconds = wait_connected(scene, began, connects)
    time.sleep(2)
    scene.put("large.unchanged_s", seconds)
    scene.put("large.unchanged_bytes", scene.cut())
    scene.heal()
    wait_connected(scene, time.monotonic(), connects + 1)


def ask_all(scene):
    """Asks B for the points of all accounts, as a peer does that has lost its own; counts them."""
    peer = Imap(address_of(scene.b), "a", chapar.SYNC_PASSWORD)
    peer.must("SYNC HELLO %(NODE d659cce65af39af6 VERSION 1 SOFTWARE bench)")
    cursor, scene.asked = 0, 0
    while cursor is not None:
        answer = peer.must("SYNC POINTS %%(CURSOR %d)" % cursor)[0]
        scene.asked += answer.count(b"%(ACCOUNT ")
        found = re.search(rb" CURSOR (\d+)", answer)
        cursor = int(found.group(1)) if found else None
    peer.close()
    return True


def channel_status(scene):
    status = json.loads(scene.a.tool("channel", "list", "--json")[1])
    channels = status["channels"] if isinstance(status, dict) else status
    return [channel for channel in channels if channel["name"] == "b"][0]


def wait_connected(scene, began, connects):
    """Seconds from `began` until the channel to B is up again and has nothing to send."""
    def is_up():
        status = channel_status(scene)
        is_quiet = status["connected"] and status["pending"] == 0
        return is_quiet and status["connects"] > connects and time.monotonic() - began

    return chapar.wait_until(is_up, 60, "the channel is up")


# ---- what others have to wait


def with_probes(scene, what, function, other=None):
    """`other`: the second node that is looked at, by default B."""
    note(what)
    with Probes([scene.a, other or scene.b]) as probes:
        began = time.monotonic()
        function()
        seconds = time.monotonic() - began
    scene.pauses.append((what, seconds, *probes.longest))
    note("  %.1f s; A %s; other %s" % (seconds, worst(probes.longest[0]), worst(probes.longest[1])))


def worst(longest):
    name = max(longest, key=longest.get)
    return "%.0f ms (%s)" % (longest[name], name)


def measure_pauses(scene):
    size = scene.sizes[-1]
    user = scene.user(size)
    client = Imap(address_of(scene.a), user, seconds=1800)
    client.must("SELECT INBOX", keep=False)
    half = size // 2

    def command(text):
        return lambda: client.must(text, keep=False)

    def replicated(text):
        def run():
            client.must(text, keep=False)
            scene.wait_equal(user, 1800)

        return run

    with_probes(scene, "nothing else", lambda: time.sleep(5))
    with_probes(scene, "FETCH FLAGS of all", command("FETCH 1:* (FLAGS)"))
    with_probes(scene, "FETCH ENVELOPE of all", command("FETCH 1:* (ENVELOPE)"))
    with_probes(scene, "SEARCH SUBJECT in all", command("UID SEARCH SUBJECT xylophone"))
    with_probes(scene, "SORT of all", command("UID SORT (SUBJECT) UTF-8 ALL"))
    with_probes(scene, "STORE of all", replicated("STORE 1:* +FLAGS.SILENT (\\Seen)"))
    client.must("CREATE Copies")
    with_probes(scene, "COPY of a tenth", replicated("COPY 1:%d Copies" % (size // 10)))
    with_probes(scene, "STORE \\Deleted of half", replicated("STORE 1:%d +FLAGS.SILENT (\\Deleted)" % half))
    with_probes(scene, "EXPUNGE of half", replicated("EXPUNGE"))
    client.must("DELETE Copies")
    client.close()
    with_probes(scene, "compaction", lambda: scene.a.tool("compact"))
    scene.settle()
    time.sleep(7)  # what is freed goes back to the system each 5 s
    scene.put("large.memory", private_kib(scene.a.process.pid) / 1024)
    with_probes(scene, "first sync of a third node", lambda: join(scene, user))


def join(scene, user):
    """C is added to A while it runs, and has nothing."""
    c = scene.c
    c.peers["a"] = (scene.a.address, scene.a.imap_port)
    c.write_config()
    c.start()
    password = os.path.join(scene.folder, "c-password")
    with open(password, "w", encoding="ascii") as out:
        out.write(chapar.SYNC_PASSWORD + "\n")
    os.chmod(password, 0o600)
    scene.a.tool("channel", "add", "c", "address=" + address_of(c), "user=a", "password-file=" + password,
                 "tls=none")
    wanted = Imap(address_of(scene.a), user).status("INBOX", "MESSAGES")

    def is_there():
        try:
            client = Imap(address_of(c), user)
        except (RuntimeError, ConnectionError):
            return False
        try:
            return client.status("INBOX", "MESSAGES") == wanted
        finally:
            client.close()

    chapar.wait_until(is_there, 1800, "the first copy on C")


# ---- the report


def markdown(scene):
    yield "| | %s |\n|---|%s\n" % (" | ".join("{:,} messages".format(n) for n in scene.sizes), "---|" * 3)
    for what, found in scene.rows.items():
        yield "| %s | %s |\n" % (what, " | ".join(table.show(value) for value in found))
    yield "\nThe longest wait of another session while something large goes on, ms (aim: 50):\n\n"
    yield "| | takes, s | on A | by command | on the other node | by command |\n|---|---|---|---|---|---|\n"
    for what, seconds, *longest in scene.pauses:
        cells = []
        for found in longest:
            cells += ["%.0f" % max(found.values()),
                      ", ".join("%s %.0f" % item for item in found.items())]
        yield "| %s | %s | %s |\n" % (what, table.show(seconds), " | ".join(cells))
    yield "\n"
    for text, row in (("10,000 accounts, nothing new: connected and done, s", "large.unchanged_s"),
                      ("bytes of that, login included", "large.unchanged_bytes"),
                      ("points of all accounts, asked for anew in parts of 1000, ms", "large.asked_ms"),
                      ("memory with all messages and accounts, after all this work, MB", "large.memory")):
        if row in scene.values:
            yield "- %s: %s\n" % (text, table.show(scene.values[row]["chapar"][0]))
    yield "- disk: %s bytes a message\n" % table.show(scene.bytes_each)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", default=os.path.join(BENCH, "../build"))
    parser.add_argument("--messages", type=int, default=1000000)
    parser.add_argument("--accounts", type=int, default=10000)
    parser.add_argument("--out", default=None, help="file for the values, for run.sh --large")
    parser.add_argument("--record", action="store_true", help="write table and plot into docs")
    options = parser.parse_args()
    chapar.use_build(os.path.abspath(options.build))
    folder = tempfile.mkdtemp(prefix="chapar-large-")
    scene = Scene(options, folder)
    try:
        scene.start()
        measure_accounts(scene)
        before = disk_bytes(scene.a.store)
        for index in range(len(scene.sizes)):
            measure_size(scene, index)
        scene.bytes_each = (disk_bytes(scene.a.store) - before) / sum(scene.sizes)
        measure_pauses(scene)
        report(scene, options)
        scene.stop()
    except BaseException:
        for node in scene.nodes:
            sys.stderr.write(node.log()[-2000:])
        raise
    finally:
        scene.kill()
        shutil.rmtree(folder, ignore_errors=True)


def report(scene, options):
    text = "".join(markdown(scene))
    print(text)
    svg = plot.lines("Cost of small things by the size of the mailbox, ms", scene.sizes,
                     [(what.rsplit(",", 1)[0], found) for what, found in scene.rows.items()
                      if what.endswith("ms")], "milliseconds")
    if options.out:
        with open(options.out, "w", encoding="utf-8") as out:
            json.dump({"values": scene.values, "rows": scene.rows, "pauses": scene.pauses}, out, indent=1)
        with open(options.out + ".svg", "w", encoding="utf-8") as out:
            out.write(svg)
    if options.record:
        with open(os.path.join(table.DOCS, "benchmarks-large.svg"), "w", encoding="utf-8") as out:
            out.write(svg)
        table.replace_part(os.path.join(table.DOCS, "benchmarks.md"), "large.py", text)


if __name__ == "__main__":
    main()
