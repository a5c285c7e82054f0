#!/usr/bin/env python3
"""What accounts cost that did not change: a backup, and the comparison with a peer.

unchanged.py BUILD [ACCOUNTS]: a pair of nodes with so many accounts (10,000) of one message each; prints how
long each takes, and how many questions it asks.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
os.environ["CHAPAR_BUILD"] = os.path.abspath(sys.argv[1])
import chapar_test as chapar  # noqa: E402

COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
BATCH = 100


def run(node, *arguments):
    """(seconds, what the tool said)"""
    began = time.monotonic()
    done = subprocess.run(
        [chapar.CHAPAR, "-c", node.config_file, *arguments],
        stdout=subprocess.PIPE, encoding="utf-8", check=True,
    )
    return time.monotonic() - began, done.stdout


def tell(what, seconds, questions):
    print("%-44s %8.2f s %6s questions" % (what, seconds, questions), flush=True)


def backup(node, what, target):
    seconds, text = run(node, "backup", target, "--json")
    said = json.loads(text)
    assert said["seen"] == COUNT and said["failed"] == 0, said
    tell(what, seconds, said["requests"])
    return said


def wait_all_there(pair):
    while True:
        _, text = run(pair.b, "status", "--json")
        status = json.loads(text)
        if status["accounts"] >= COUNT and not any(c["pending"] for c in status["channels"]):
            return
        time.sleep(1)


def main():
    with tempfile.TemporaryDirectory(prefix="chapar-bench-") as folder:
        pair = chapar.Pair(folder)
        for node in pair.nodes:
            node.settings["log-level"] = '"error"'
        try:
            pair.start()
            with pair.a.lmtp() as client:
                for begin in range(0, COUNT, BATCH):
                    users = ["u%06d" % n for n in range(begin, min(begin + BATCH, COUNT))]
                    client.deliver(users, chapar.message("to all", "some text\r\n" * 20))
            target = os.path.join(folder, "backup")
            backup(pair.a, "backup, first", target)
            for _ in range(3):
                said = backup(pair.a, "backup, nothing new", target)
                assert said["point"] == ""
            pair.a.deliver("u000000", chapar.message("one more"))
            said = backup(pair.a, "backup, one account changed", target)
            assert said["changed"] == 1
            wait_all_there(pair)
            for _ in range(3):
                seconds, text = run(pair.a, "verify", "--peer", "b")
                tell("verify --peer, all equal", seconds, text.split("; ")[1].split()[0])
        finally:
            pair.stop()


if __name__ == "__main__":
    main()
