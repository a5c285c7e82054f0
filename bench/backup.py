#!/usr/bin/env python3
"""What a backup costs beside rsync of a Maildir: first copy, nothing new, 100 new messages.

backup.py BUILD [MESSAGES]: prints seconds, bytes and files of each. One account; both copies on one disk.
The machine's speed cancels out in the ratios, which are what counts.
"""

import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
os.environ["CHAPAR_BUILD"] = os.path.abspath(sys.argv[1])
import chapar_test as chapar  # noqa: E402

COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 50000
BODY = "".join("line %d of some text that people write to each other\r\n" % n for n in range(60))


def message(number):
    return chapar.message("mail %d" % number, BODY + os.urandom(600).hex() + "\r\n")


class Scene:
    def __init__(self, folder):
        self.folder = folder
        self.node = chapar.Node("a", folder + "/a", "127.0.0.1", chapar.free_port_base("127.0.0.1"))
        self.node.settings["log-level"] = '"error"'
        self.node.write_config()
        self.node.add_account("alice")
        self.node.start()
        self.maildir = folder + "/maildir/cur"
        os.makedirs(self.maildir)
        self.number = 0

    def deliver(self, count):
        with self.node.lmtp() as client:
            for _ in range(count):
                data = message(self.number)
                client.deliver(["alice"], data)
                with open("%s/%010d.m:2," % (self.maildir, self.number), "wb") as out:
                    out.write(data if isinstance(data, bytes) else data.encode())
                self.number += 1

    def run(self, *command):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began

    def size(self, folder):
        files = [os.path.join(f, n) for f, _, names in os.walk(folder) for n in names if "/cache" not in f]
        return sum(os.path.getsize(path) for path in files), len(files)

    def measure(self, name):
        backup = self.run(chapar.CHAPAR, "-c", self.node.config_file, "backup", self.folder + "/b")
        rsync = self.run("rsync", "-a", "--fsync", self.folder + "/maildir/", self.folder + "/r/")
        print("%-14s chapar %7.2f s  rsync %7.2f s  ratio %5.2f   %s %s" % (
            name, backup, rsync, backup / rsync, self.size(self.folder + "/b"), self.size(self.folder + "/r")),
            flush=True)


def main():
    with tempfile.TemporaryDirectory(prefix="chapar-bench-") as folder:
        scene = Scene(folder)
        try:
            scene.deliver(COUNT)
            scene.measure("first")
            scene.measure("nothing new")
            scene.deliver(100)
            scene.measure("100 new")
        finally:
            scene.node.stop()


if __name__ == "__main__":
    main()
