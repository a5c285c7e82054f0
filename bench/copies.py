#!/usr/bin/env python3
"""What copies of an account cost: chapar clone, backup and bundle beside rsync, mbsync and doveadm backup.

    copies.py BUILD [--messages 50000] [--new 100] [--first 3] [--slow 1] [--again 5] [--folder DIR]

One mailbox with the same messages lies in a Maildir, which a Dovecot serves, and in a Chapar. Each tool makes a copy of it on the
same disk: a first one, one more when nothing is new, one more after --new messages came. Rounds are interleaved; what is
told are medians (least to greatest), then what the copies take on disk. Prints tables for docs/benchmarks.md.
Needs rsync, isync, dovecot-imapd; as root, since a Dovecot runs its parts under several users.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "system"))

MBSYNC = """
IMAPAccount there
Host {address}
Port {port}
User anna
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore there
Account there

MaildirStore here
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel all
Far :there:
Near :here:
Patterns INBOX
Create Near
Expunge Near
Sync Pull
SyncState *
"""


class Scene:
    def __init__(self, chapar, foreign, options, folder):
        self.chapar, self.folder, self.options = chapar, folder, options
        self.node = chapar.Node("a", folder + "/a", "127.0.0.1", chapar.free_port_base("127.0.0.1"))
        self.node.settings["log-level"] = '"error"'
        self.node.write_config()
        self.node.start()
        self.server = foreign.Dovecot(folder + "/d")
        self.server.start()
        self.maildir = self.server.home("anna") + "/Maildir"
        self.password = folder + "/password"
        with open(self.password, "w", encoding="ascii") as out:
            out.write(chapar.PASSWORD + "\n")
        os.chmod(self.password, 0o600)
        self.batch = 0
        with self.server.imap("anna") as client:
            client.select()

    def stop(self):
        self.server.stop()
        self.node.stop()

    def deliver(self, count):
        """The same new messages to both."""
        fresh = self.folder + "/fresh"
        os.makedirs(fresh)
        self.batch += 1
        subprocess.run(
            [self.chapar.MAILLOAD, "gen", "--dir", fresh, "--count", str(count), "--seed", str(self.batch)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for name in os.listdir(fresh):
            os.rename(os.path.join(fresh, name), "%s/cur/%d.%s" % (self.maildir, self.batch, name))
        os.rmdir(fresh)
        self.server.give(self.maildir)
        with self.server.imap("anna") as client:
            client.select()
        self.node.tool("import", "anna", "maildir:" + self.maildir)
        if self.batch == 1:
            self.node.tool("account", "passwd", "anna", "--password-file", self.password)
        subprocess.run(["sync"], check=True)

    def run(self, *command):
        began = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - began
        if done.returncode != 0:
            raise SystemExit("%s: %s" % (command, done.stdout.decode(errors="replace")[-2000:]))
        return seconds

    # Each makes the copy in `folder`, or brings it up to date.

    def rsync(self, folder):
        return self.run("rsync", "-a", "--delete", self.maildir + "/", folder + "/copy/")

    def mbsync(self, folder):
        config = folder + "/mbsyncrc"
        with open(config, "w", encoding="ascii") as out:
            out.write(
                MBSYNC.format(
                    address=self.server.address, port=self.server.port,
                    password=self.chapar.PASSWORD, folder=folder,
                )
            )  # fmt: skip
        return self.run("mbsync", "-q", "-c", config, "all")

    def doveadm(self, folder):
        """As the mail user, for doveadm makes what it writes his."""
        os.chmod(folder, 0o777)
        return self.run(
            "doveadm", "-c", self.server.folder + "/dovecot.conf", "backup", "-u", "anna", "maildir:%s/copy" % folder
        )

    def clone(self, folder):
        copy = folder + "/copy"
        if os.path.exists(copy):
            return self.run(self.chapar.CHAPAR, "pull", copy, "--password-file", self.password)
        url = "imap://anna@%s:%d/" % (self.node.address, self.node.imap_port)
        return self.run(self.chapar.CHAPAR, "clone", url, copy, "--no-tls", "--password-file", self.password)

    def backup(self, folder):
        return self.run(self.chapar.CHAPAR, "-c", self.node.config_file, "backup", folder + "/copy")

    def bundle(self, folder):
        """A file for each step; the first holds all."""
        files = sorted(os.listdir(folder))
        since = ["--since", "%s/%s" % (folder, files[-1])] if files else []
        path = "%s/%03d.bundle" % (folder, len(files))
        return self.run(self.chapar.CHAPAR, "-c", self.node.config_file, "bundle", "create", path, *since)


TOOLS = (
    ("rsync", "rsync -a"),
    ("mbsync", "mbsync (Dovecot)"),
    ("doveadm", "doveadm backup"),
    ("clone", "chapar clone, pull"),
    ("backup", "chapar backup"),
    ("bundle", "chapar bundle"),
)
SLOW = ("mbsync", "doveadm")  # they bring each message to disk before the next


def size_of(folder):
    paths = [os.path.join(top, name) for top, _, names in os.walk(folder) for name in names]
    return sum(os.lstat(path).st_blocks * 512 for path in paths), len(paths)


def measure(scene, options):
    """{step: {tool: [seconds]}}, {tool: (bytes, files)}"""
    seconds = {step: {tool: [] for tool, _ in TOOLS} for step in ("first copy", "nothing new", "new")}
    sizes = {}
    scene.deliver(options.messages)
    copies = scene.folder + "/copies"

    def step(name, without=()):
        for tool, _ in TOOLS:
            if tool in without:
                continue
            seconds[name][tool].append(getattr(scene, tool)(os.path.join(copies, tool)))
            print("%-12s %-8s %8.3f s" % (name, tool, seconds[name][tool][-1]), file=sys.stderr)

    for number in range(options.first):
        without = SLOW if number >= options.slow else ()
        for tool, _ in TOOLS:
            if tool not in without:
                shutil.rmtree(os.path.join(copies, tool), ignore_errors=True)
                os.makedirs(os.path.join(copies, tool))
        os.chmod(copies, 0o755)
        subprocess.run(["sync"], check=True)
        step("first copy", without)
    for tool, _ in TOOLS:
        sizes[tool] = size_of(os.path.join(copies, tool))
    for _ in range(options.again):
        step("nothing new")
    for _ in range(options.first):
        scene.deliver(options.new)
        step("new")
    return seconds, sizes


def cell(values):
    unit, digits = (1, "%.2f s") if statistics.median(values) >= 1 else (1000, "%.0f ms")
    least, middle, most = (value * unit for value in (min(values), statistics.median(values), max(values)))
    return "%s (%s to %s)" % (digits % middle, digits.split(" ")[0] % least, digits.split(" ")[0] % most)


def report(seconds, sizes, options):
    print("| %s messages | first copy | nothing new | %d new | on disk, MB | files |" % (
        format(options.messages, ","), options.new))  # fmt: skip
    print("|---|---|---|---|---|---|")
    for tool, title in TOOLS:
        times = [cell(seconds[name][tool]) for name in ("first copy", "nothing new", "new")]
        size, files = sizes[tool]
        print("| %s | %s | %.1f | %s |" % (title, " | ".join(times), size / 1e6, format(files, ",")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--messages", type=int, default=50000)
    parser.add_argument("--new", type=int, default=100)
    parser.add_argument("--first", type=int, default=3, help="rounds of the first copy, and of new messages")
    parser.add_argument("--slow", type=int, default=1, help="in how many of them mbsync and doveadm take part")
    parser.add_argument("--again", type=int, default=5, help="rounds in which nothing is new")
    parser.add_argument("--folder", help="on the disk to measure; made if it is not there")
    parser.add_argument("--json", help="all seconds go to this file")
    options = parser.parse_args()
    os.environ["CHAPAR_BUILD"] = os.path.abspath(options.build)
    import chapar_test as chapar
    import foreign_test as foreign

    if options.folder:
        os.makedirs(options.folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="chapar-copies-", dir=options.folder) as folder:
        os.chmod(folder, 0o755)
        scene = Scene(chapar, foreign, options, folder)
        try:
            seconds, sizes = measure(scene, options)
        finally:
            scene.stop()
    report(seconds, sizes, options)
    if options.json:
        with open(options.json, "w", encoding="ascii") as out:
            json.dump({"options": vars(options), "seconds": seconds, "sizes": sizes}, out, indent=1)


if __name__ == "__main__":
    main()
