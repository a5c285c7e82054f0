"""Moves of accounts that leave nothing behind, torn at each step: the source, and then the target, is
killed when a chunk goes between them, at the first, the second, and so on, until the move comes to its
end. A small account is torn at each of its chunks; one that goes in several parts has many more, and
is torn evenly over them: CHAPAR_ROUNDS sets how many kills of each node that are (default 4; 1000 is
all of them)."""

import json
import os
import re
import subprocess
import threading

import chapar_test as chapar
from chapar_test import message, wait_until

ROUNDS = int(os.environ.get("CHAPAR_ROUNDS", "4"))
ALL = 1000
COMMENT = "kept since 1999"
UNREACHED, BROKEN = 69, 75  # the same command is to be given again


class Chunks:
    """What goes over the wires of a pair from now on; kills `victim` at the chunk of that number,
    which goes on, although whoever sent it, or is to have it, is gone."""

    def __init__(self, pair, victim=None, number=0):
        self.wires = (pair.wire_ab, pair.wire_ba)
        self.victim = victim
        self.number = number
        self.count = 0
        self.lock = threading.Lock()
        for wire in self.wires:
            wire.watch = wire.watch_answers = self.watch

    def watch(self, _):
        with self.lock:
            self.count += 1
            if self.count == self.number:
                self.victim.process.kill()
                self.victim.process.wait()

    def end(self):
        """Returns whether the victim was killed."""
        for wire in self.wires:
            wire.watch = wire.watch_answers = None
        with self.lock:
            return self.victim is not None and self.count >= self.number


class MoveTorn(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        for node in self.nodes.nodes:
            node.settings["client-host"] = '"%s.example.org"' % node.name
        self.nodes.start("alice", "bob")
        self.source, self.target = self.nodes.a, self.nodes.b
        self.subjects = []  # what was taken for INBOX
        self.known = None  # what clients saw last

    def prepare(self, count, size):
        self.source.tool("quota", "alice", "--messages", "5000")
        with self.source.imap("alice") as client:
            client.command("CREATE Work")
            client.command("SUBSCRIBE Work")
            client.command("SETACL Work bob lrs")
            client.command('SETMETADATA Work (/private/comment "%s")' % COMMENT)
            body = "x" * size + "\r\n"
            for tag in [client.send("APPEND Work", message("work %d" % number, body))
                        for number in range(count)]:
                self.assertEqual(client.finish(tag)[0], "OK")
            client.select("Work")
            client.command("UID STORE 2:5 +FLAGS (\\Seen word)")
            client.command("UID STORE 6 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 6")
        self.nodes.wait_equal("alice")
        self.known = self.look(self.source)

    def look(self, node):
        """All that a client sees of the account there; None if it is not served there."""
        with node.imap() as client:
            status, text = client.try_command("LOGIN alice " + chapar.PASSWORD)
            if status != "OK":
                self.assertRegex(text, "REFERRAL|UNAVAILABLE")
                return None
            client.command("GETMETADATA Work /private/comment")
            settings = [line for line in client.untagged if line.startswith(b"* METADATA")]
            client.command("GETACL Work")
            settings += client.untagged
            client.command("GETQUOTA alice")
            settings += [re.sub(rb"MESSAGE \d+", b"", line) for line in client.untagged]
        found = chapar.snapshot(node, "alice")
        found["settings"] = settings
        return found

    def check(self, found):
        """Everything is there once, as it was, and what was taken for INBOX meanwhile."""
        inbox, known = found["INBOX"], self.known["INBOX"]
        self.assertEqual(sorted(entry[4] for entry in inbox[2].values()), sorted(self.subjects))
        self.assertEqual(inbox[0], known[0])
        self.assertEqual({uid: inbox[2].get(uid) for uid in known[2]}, known[2])
        for part in set(found) | set(self.known):
            if part != "INBOX":
                self.assertEqual(found.get(part), self.known.get(part), part)

    def append(self, node, subject):
        """Whether that node takes it, as the one on which alice's mailboxes change."""
        with node.imap() as client:
            if client.try_command("LOGIN alice " + chapar.PASSWORD)[0] != "OK":
                return False
            return client.try_command("APPEND INBOX", message(subject))[0] == "OK"

    def held(self, node):
        accounts = json.loads(node.tool("account", "list", "--json")[1])
        return {account["name"]: account["held"] for account in accounts}["alice"]

    def begin(self):
        return subprocess.Popen(
            [chapar.CHAPAR, "-c", self.source.config_file, "account", "move", "alice", "--to",
             self.target.name, "--remove-source"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", preexec_fn=chapar.end_with_parent,
        )

    def finish(self):
        """Gives the command until it is done, as one is told to."""
        answers = []

        def is_done():
            with self.begin() as running:
                answers.append(running.communicate()[0])
            self.assertIn(running.returncode, (0, UNREACHED), answers)
            return running.returncode == 0

        wait_until(is_done, 60, "the move's end")
        self.assertIn("there is no copy here", answers[-1])

    def check_moved(self):
        self.assertEqual(self.held(self.source), "away")
        with self.source.imap() as client:
            status, text = client.try_command("LOGIN alice " + chapar.PASSWORD)
        self.assertEqual(status, "NO")
        self.assertIn("[REFERRAL imap://alice@%s.example.org/]" % self.target.name, text)
        self.assertEqual(self.held(self.target), "")
        found = self.look(self.target)
        self.check(found)
        self.known = found
        # What the next move needs not: the account goes back.
        self.source, self.target = self.target, self.source

    def tear(self, number, victim):
        """Returns whether the move was torn, before its end."""
        chunks = Chunks(self.nodes, victim, number)
        with self.begin() as running:
            wait_until(lambda: running.poll() is not None or victim.process.poll() is not None, 60,
                       "the move")
            was_torn = chunks.end()
            if was_torn:
                self.check_torn(number, victim)
            text = running.communicate()[0]
        self.assertIn(running.returncode, (0, UNREACHED, BROKEN) if was_torn else (0,), text)
        return was_torn

    def check_torn(self, number, victim):
        """While one is dead, and when it is back and has heard of nothing: one node at least serves
        all of it, one at most takes changes."""
        self.nodes.cut()
        served, taken = [], []
        for node in sorted(self.nodes.nodes, key=lambda node: node is victim):
            if node is victim:
                node.kill()
                node.start()
            found = self.look(node)
            if found is not None:
                self.check(found)
                served.append(node.name)
            subject = "%d on %s, %s was killed" % (number, node.name, victim.name)
            if self.append(node, subject):
                taken.append((subject, self.look(node)))
        self.assertTrue(served, "nobody has it")
        self.assertLess(len(taken), 2, "both nodes take changes")
        for subject, found in taken:
            self.subjects.append(subject)
            self.known = found
        self.nodes.heal()

    def tear_both(self, number):
        """The source, and in the next move the target. Returns how many were torn."""
        count = 0
        for is_source in (True, False):
            count += self.tear(number, self.source if is_source else self.target)
            self.finish()
            self.verify_clean(self.target)
            self.check_moved()
        return count

    def tear_at_each_step(self, kill_count, step_count_min):
        # The first one has a copy at the target already; the others go where the account was.
        for _ in range(2):
            chunks = Chunks(self.nodes)
            self.finish()
            chunks.end()
            self.check_moved()
        self.assertGreaterEqual(chunks.count, step_count_min)
        stride = max(1.0, chunks.count / kill_count)
        position, torn_count = 1.0, 0
        while True:
            torn = self.tear_both(int(position))
            if torn == 0:
                break
            torn_count += torn
            position += stride
        self.assertGreater(torn_count, min(kill_count, step_count_min))
        for node in self.nodes.nodes:
            self.verify_clean(node)

    def test_killed_at_each_chunk_one_node_has_all_of_it(self):
        self.prepare(12, 3000)
        self.tear_at_each_step(ALL, 8)

    def test_one_that_goes_in_parts(self):
        self.prepare(1100, 300)
        self.tear_at_each_step(ROUNDS, 14)


if __name__ == "__main__":
    chapar.main()
