#!/usr/bin/env python3
"""How much the first sync of a new node delays live changes of others.

    first-sync.py --build DIR [--accounts 20] [--messages 2000] [--size 20000] [--seconds 15] [--rate BYTES]

Two nodes a and b that are in sync; a has some large accounts (on b, too). Mail comes to one more account,
on a, every 50 ms, and a client on b waits for it in IDLE: from the 250 of LMTP on a to EXISTS on b. That is
measured for some seconds while all is quiet, and again from the moment a third, empty node c starts, to which
both send all that they have, until c holds it. Then the same on c, as far as the account is there.
--rate sets backlog-rate-max. Prints one line of figures for each, and one that ends with "ok" or "TOO SLOW" (over a
second); exits with 1 for that.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/system"))

import chapar_test as chapar  # pylint: disable=wrong-import-position

LIMIT_S = 1.0
PAUSE_S = 0.05


class Listener(threading.Thread):
    """IDLEs on a node; notes when each message that it is told of was there."""

    def __init__(self, node, user):
        super().__init__(daemon=True)
        self.client = node.imap(user)
        self.first = self.client.select()["exists"]
        self.seen = {}  # number in the mailbox -> when
        self.start()

    def run(self):
        last = self.first
        try:
            self.client.send("IDLE")
            while True:
                words = self.client.response().split()
                now = time.monotonic()
                if len(words) >= 3 and words[0] == b"*" and words[2] == b"EXISTS":
                    for number in range(last + 1, int(words[1]) + 1):
                        self.seen[number] = now
                    last = int(words[1])
        except Exception:  # the connection was closed
            return


class Sender(threading.Thread):
    """Delivers on a node until it is told to stop; notes when each was taken."""

    def __init__(self, node, user, first):
        super().__init__(daemon=True)
        self.node, self.user, self.count = node, user, first
        self.taken = {}
        self.is_ending = False
        self.start()

    def run(self):
        with self.node.lmtp() as lmtp:
            while not self.is_ending:
                lmtp.deliver([self.user], chapar.message("live %d" % self.count))
                self.count += 1
                self.taken[self.count] = time.monotonic()
                time.sleep(PAUSE_S)

    def end(self):
        self.is_ending = True
        self.join()


def tell(what, taken, seen, begin, end):
    """Of what was taken between these times. Returns the longest delay."""
    delays, lost = [], 0
    for number, when in taken.items():
        if begin <= when <= end:
            if number in seen:
                delays.append(max(0.0, seen[number] - when))
            else:
                lost += 1
    delays.sort()
    if not delays:
        raise SystemExit("%s: nothing was seen" % what)
    print("%-34s %5d messages: median %6.1f ms, 99 %% %7.1f ms, longest %7.1f ms%s" % (
        what, len(delays), 1000 * delays[len(delays) // 2], 1000 * delays[len(delays) * 99 // 100],
        1000 * delays[-1], ", %d not seen" % lost if lost else ""))
    return delays[-1] if not lost else LIMIT_S * 1000


def make_node(name, folder, rate):
    address = chapar.loopback_address()
    node = chapar.Node(name, os.path.join(folder, name), address, chapar.free_port_base(address))
    if rate:
        node.peer_settings = "backlog-rate-max = %d" % rate
    return node


def counts(node):
    return {row["name"]: row["messages"] for row in json.loads(node.tool("account", "list", "--json")[1])
            if not row["held"]}


def write_accounts(node, arguments):
    body = os.urandom(arguments.size * 3 // 8).hex() + "\r\n"
    for account in range(arguments.accounts):
        user = "big%d" % account
        node.add_account(user)
        with node.lmtp() as lmtp:
            for number in range(arguments.messages):
                lmtp.deliver([user], chapar.message("%s %d" % (user, number), "%d %s" % (number, body)))


def wait_for(node, wanted, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        have = counts(node)
        if all(have.get(user, -1) >= count for user, count in wanted.items()):
            return time.monotonic()
        time.sleep(0.1)
    raise SystemExit("node %s does not get all: %s" % (node.name, counts(node)))


def measure(arguments, folder, nodes):
    a, b, c = (make_node(name, folder, arguments.rate) for name in "abc")
    nodes += [a, b, c]
    for near in nodes:
        near.peers = {far.name: (far.address, far.imap_port) for far in nodes if far is not near}
    a.write_config()
    a.add_account("live")
    a.start()
    write_accounts(a, arguments)
    b.start()
    wanted = {user: count for user, count in counts(a).items() if user != "live"}
    wait_for(b, wanted, 3600)
    chapar.wait_until(lambda: "live" in counts(b), 60, "the account is on b")
    listener = Listener(b, "live")
    sender = Sender(a, "live", listener.first)
    begin = time.monotonic()
    time.sleep(arguments.seconds)
    quiet = time.monotonic()
    c.start()
    there = wait_for(c, wanted, 3600)
    on_c = Listener(c, "live")
    time.sleep(arguments.seconds)
    end = time.monotonic()
    sender.end()
    time.sleep(2)
    tell("a to b, quiet", sender.taken, listener.seen, begin, quiet)
    longest = tell("a to b, while c gets all (%.0f s)" % (there - quiet), sender.taken, listener.seen,
                   quiet, there)
    tell("a to c, afterwards", sender.taken, on_c.seen, there + 1, end)
    return longest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--size", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rate", type=int, default=0)
    arguments = parser.parse_args()
    chapar.use_build(os.path.abspath(arguments.build))
    folder = tempfile.mkdtemp(prefix="chapar-first-sync-")
    nodes = []
    try:
        longest = measure(arguments, folder, nodes)
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
    print("live changes are delayed by at most %.3f s: %s" % (
        longest, "ok" if longest <= LIMIT_S else "TOO SLOW"))
    return 0 if longest <= LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
