"""Both nodes deliver to one mailbox: while they see each other no UID is given twice; a client's OK
can wait for the other node's disk."""

import json
import os
import threading
import time

import chapar_test as chapar
from chapar_test import message, snapshot, wait_until

SECONDS = float(os.environ.get("CHAPAR_SECONDS", "4"))  # 60 for the long run


class Authority(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b

    def conflicts(self):
        """How many messages had to be renumbered."""
        rows = []
        for node in self.nodes.nodes:
            rows += json.loads(node.tool("conflict", "list", "--json")[1])
        return sum(1 for row in rows if row["uid"] != 0)

    def deliver_on_both(self, seconds, by_imap=False):
        """Delivers to alice on both nodes at full rate; returns the subjects taken, per node."""
        taken = {node.name: [] for node in self.nodes.nodes}
        failures = []
        deadline = time.monotonic() + seconds

        def work(node, worker):
            try:
                client = node.imap("alice") if by_imap else node.lmtp()
                with client:
                    number = 0
                    while time.monotonic() < deadline:
                        subject = "%s %d %d" % (node.name, worker, number)
                        number += 1
                        if by_imap:
                            client.command("APPEND INBOX", message(subject))
                        else:
                            replies = client.deliver(["alice"], message(subject))
                            assert replies[0].startswith(b"250"), replies
                        taken[node.name].append(subject)
            except Exception as error:  # told by the main thread
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(node, worker))
            for node in self.nodes.nodes
            for worker in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return taken

    def check(self, taken):
        state = self.nodes.wait_equal("alice")
        subjects = sorted(entry[4] for entry in state["INBOX"][2].values())
        self.assertEqual(subjects, sorted(sum(taken.values(), [])))
        for name, list_of_node in taken.items():
            self.assertTrue(list_of_node, "node %s delivered nothing" % name)

    def check_without_conflicts(self, taken):
        self.check(taken)
        # A node that is starved of the processor for a second is not asked for a while: that is no
        # conflict of the rules, and told in the log.
        slow = [
            line
            for node in self.nodes.nodes
            for line in node.log().splitlines()
            if "append-not-forwarded" in line
        ]
        if slow and self.conflicts() > 0:
            self.skipTest("the machine is too busy to tell: " + slow[0])
        self.assertEqual(self.conflicts(), 0)

    def wait_up(self):
        def is_up(node):
            rows = json.loads(node.tool("channel", "list", "--json")[1])
            return all(row["connected"] for row in rows)

        wait_until(lambda: is_up(self.a) and is_up(self.b), 60, "both channels up")

    def test_deliveries_on_both_nodes_conflict_in_no_uid(self):
        self.nodes.start("alice")
        self.wait_up()
        taken = self.deliver_on_both(SECONDS)
        self.check_without_conflicts(taken)

    def test_appends_on_both_nodes_conflict_in_no_uid(self):
        self.nodes.start("alice")
        self.wait_up()
        taken = self.deliver_on_both(SECONDS, by_imap=True)
        self.check_without_conflicts(taken)

    def test_what_only_one_node_appends_keeps_its_uids_while_the_nodes_find_each_other(self):
        self.nodes.start("alice")
        uids = {}
        with self.a.imap("alice") as client:
            for number in range(200):
                if number in (80, 140):
                    self.nodes.cut()
                if number in (100, 160):
                    self.nodes.heal()
                subject = "only here %d" % number
                uids[subject] = client.append("INBOX", message(subject))
        state = self.nodes.wait_equal("alice")
        self.assertEqual({entry[4]: uid for uid, entry in state["INBOX"][2].items()}, uids)

    def test_when_the_other_node_is_away_delivery_goes_on(self):
        self.nodes.start("alice")
        self.wait_up()
        self.nodes.cut()
        taken = self.deliver_on_both(2)
        self.nodes.heal()
        self.check(taken)

    def test_a_cut_in_the_midst_loses_and_doubles_nothing(self):
        self.nodes.start("alice")
        self.wait_up()
        timer = threading.Timer(1.5, self.nodes.cut)
        timer.start()
        taken = self.deliver_on_both(4)
        timer.join()
        self.nodes.heal()
        self.check(taken)

    def set_commit(self, fallback):
        for node in self.nodes.nodes:
            node.peer_settings = (
                'commit = "sync" commit-timeout = 1500 commit-fallback = "%s"' % fallback
            )

    def test_a_synchronous_commit_is_on_the_other_disk_when_it_is_told(self):
        self.set_commit("refuse")
        self.nodes.start("alice")
        self.wait_up()
        for number in range(10):
            with self.a.imap("alice") as client:
                client.command("APPEND INBOX", message("number %d" % number))
            self.assertEqual(len(snapshot(self.b, "alice")["INBOX"][2]), number + 1)

    def test_a_synchronous_commit_waits_for_each_of_the_commands_sent_together(self):
        self.set_commit("refuse")
        self.nodes.start("alice")
        self.wait_up()
        raw = message("together")
        with self.a.imap("alice") as client:
            client.command("APPEND INBOX", raw)
            client.select()
            for is_up in (True, False):
                if not is_up:
                    self.b.kill()
                first = client.tag_count + 1
                client.tag_count += 4
                client.socket.sendall(b"".join([
                    b"t%d STORE 1 +FLAGS.SILENT (a%d)\r\n" % (first, is_up),
                    b"t%d STORE 1 +FLAGS.SILENT (b%d)\r\n" % (first + 1, is_up),
                    b"t%d APPEND INBOX {%d+}\r\n%s\r\n" % (first + 2, len(raw), raw),
                    b"t%d NOOP\r\n" % (first + 3),
                ]))
                answers = [client.finish("t%d" % (first + i))[0] for i in range(4)]
                self.assertEqual(answers, ["OK" if is_up else "NO"] * 3 + ["OK"])
                if is_up:
                    entries = snapshot(self.b, "alice")["INBOX"][2]
                    self.assertEqual(len(entries), 2)

    def test_appends_sent_together_on_both_nodes_conflict_in_no_uid(self):
        self.nodes.start("alice")
        self.wait_up()
        taken = {node.name: [] for node in self.nodes.nodes}
        failures = []

        def work(node):
            try:
                with node.imap("alice") as client:
                    for number in range(10):
                        subjects = ["%s %d %d" % (node.name, number, i) for i in range(8)]
                        first = client.tag_count + 1
                        client.tag_count += len(subjects)
                        client.socket.sendall(b"".join(
                            b"t%d APPEND INBOX {%d+}\r\n%s\r\n"
                            % (first + i, len(message(subject)), message(subject))
                            for i, subject in enumerate(subjects)
                        ))
                        for i, subject in enumerate(subjects):
                            assert client.finish("t%d" % (first + i))[0] == "OK"
                            taken[node.name].append(subject)
            except Exception as error:  # told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(node,)) for node in self.nodes.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        self.check_without_conflicts(taken)

    def test_a_synchronous_commit_that_is_not_confirmed_is_refused_or_accepted(self):
        self.set_commit("refuse")
        self.nodes.start("alice")
        self.wait_up()
        self.b.kill()
        with self.a.imap("alice") as client:
            status, text = client.try_command("APPEND INBOX", message("one"))
            self.assertEqual(status, "NO")
            self.assertIn("[UNAVAILABLE]", text)
        with self.a.lmtp() as lmtp:
            self.assertTrue(lmtp.deliver(["alice"], message("two"))[0].startswith(b"451"))
        self.set_commit("accept")
        self.a.restart()
        with self.a.imap("alice") as client:
            client.command("APPEND INBOX", message("three"))
        self.assertIn("commit-not-confirmed", self.a.log())
        self.b.start()
        state = self.nodes.wait_equal("alice")
        self.assertEqual(
            sorted(entry[4] for entry in state["INBOX"][2].values()), ["one", "three", "two"]
        )


if __name__ == "__main__":
    chapar.main()
