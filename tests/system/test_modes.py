"""Accounts with a master: replicas refuse changes, roles are exchanged, a dead master is replaced."""

import threading

import chapar_test as chapar
from chapar_test import message, wait_until


class Modes(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        for node in self.nodes.nodes:
            node.settings["client-host"] = '"%s.example.org"' % node.name
        self.nodes.start("alice", "bob")
        self.a.deliver("alice", message("one"))
        with self.a.imap("alice") as client:
            client.command("CREATE Work")
        self.nodes.wait_equal("alice")

    def append(self, node, subject, user="alice"):
        """The answer to an APPEND: (status, text)."""
        with node.imap(user) as client:
            return client.try_command("APPEND INBOX", message(subject))

    def wait_refused(self, node, host):
        referral = "[REFERRAL imap://%s.example.org/]" % host
        wait_until(lambda: referral in self.append(node, "refused")[1], 30, "a replica")

    def wait_taken(self, node):
        wait_until(lambda: self.append(node, "taken")[0] == "OK", 30, "a master")

    def make_a_master(self):
        self.a.tool("account", "mode", "al*", "master")
        self.wait_refused(self.b, "a")

    def until_reached(self, node, *command):
        """Again, as one is told to, while the other node is not reached."""
        answers = []

        def is_done():
            answers.append(node.tool(*command, check=False))
            self.assertIn(answers[-1][0], (0, 69), answers)
            return answers[-1][0] == 0

        wait_until(is_done, 60, " ".join(command))
        return answers[-1][1]

    def move(self, node, to):
        return self.until_reached(node, "account", "move", "alice", "--to", to)

    def test_an_account_moves_while_mail_comes_in(self):
        wait_until(lambda: "b: up" in self.a.tool("channel", "list")[1], 30, "the channel")
        self.a.tool("channel", "pause", "b")
        status, text = self.a.tool("account", "move", "alice", "--to", "b", check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("paused", text)
        self.a.tool("channel", "resume", "b")
        taken, stop = [], threading.Event()

        def deliver():
            with self.a.lmtp() as lmtp:
                while not stop.is_set():
                    subject = "mail %d" % len(taken)
                    if not lmtp.deliver(["alice"], message(subject))[0].startswith(b"250"):
                        break  # moved
                    taken.append(subject)

        self.a.tool("account", "mode", "alice", "master")
        sender = threading.Thread(target=deliver)
        sender.start()
        wait_until(lambda: len(taken) > 20, 30, "mail")
        self.assertIn("moved to node b", self.move(self.a, "b"))
        sender.join(30)
        stop.set()
        self.assertGreater(len(taken), 20)
        self.wait_refused(self.a, "b")
        self.wait_taken(self.b)
        self.nodes.wait_equal("alice")
        subjects = {value[4] for value in chapar.snapshot(self.b, "alice")["INBOX"][2].values()}
        self.assertLessEqual(set(taken), subjects)
        # Once more is no harm; from where nothing can be changed it is refused.
        self.assertIn("moved", self.move(self.a, "b"))
        status, text = self.a.tool("account", "move", "alice", "--to", "a", check=False)
        self.assertEqual(status, 65, text)
        self.move(self.b, "a")
        self.wait_taken(self.a)

    def test_a_replica_can_be_read_and_refuses_changes_with_a_referral(self):
        self.make_a_master()
        self.assertEqual(self.append(self.b, "another account", "bob")[0], "OK")
        with self.b.imap("alice") as client:
            self.assertIn("[READ-ONLY]", client.command("SELECT INBOX"))
            for command in (
                "UID STORE 1 +FLAGS (\\Seen)",
                "UID MOVE 1 Trash",
                "EXPUNGE",
                "CREATE New",
                "DELETE Work",
                "RENAME INBOX Old",
                "SUBSCRIBE INBOX",
            ):
                with self.subTest(command=command):
                    status, text = client.try_command(command)
                    self.assertEqual(status, "NO")
                    self.assertIn("[REFERRAL imap://a.example.org/]", text)
            client.command("UID FETCH 1 BODY[]")
            self.assertIn(b"Subject: one", b"".join(client.untagged))
        with self.b.lmtp() as lmtp:
            replies = lmtp.deliver(["alice"], message("by LMTP"))
        self.assertTrue(replies[0].startswith(b"451"), replies)
        # The master's changes come as ever.
        self.a.deliver("alice", message("two"))
        self.nodes.wait_equal("alice")

    def test_roles_are_exchanged_under_load_and_nothing_is_lost(self):
        self.make_a_master()
        taken = ["one"]
        for round_number in range(6):
            node = self.nodes.nodes[round_number % 2]
            other = self.nodes.nodes[1 - round_number % 2]
            for number in range(5):
                subject = "round %d %d" % (round_number, number)
                if self.append(node, subject)[0] == "OK":
                    taken.append(subject)
            self.until_reached(node, "account", "switch", "alice", other.name)
            self.wait_refused(node, other.name)
            self.wait_taken(other)
        state = self.nodes.wait_equal("alice")
        subjects = [entry[4] for entry in state["INBOX"][2].values()]
        for subject in taken:
            self.assertEqual(subjects.count(subject), 1, subject)

    def test_a_dead_master_is_replaced_and_merged_when_it_comes_back(self):
        self.make_a_master()
        self.nodes.cut()
        self.assertEqual(self.append(self.a, "taken alone")[0], "OK")
        self.a.kill()
        self.b.tool("account", "switch", "alice")
        self.wait_taken(self.b)
        self.assertEqual(self.append(self.b, "after the take-over")[0], "OK")
        self.nodes.heal()
        self.a.start()
        state = self.nodes.wait_equal("alice")
        subjects = [entry[4] for entry in state["INBOX"][2].values()]
        for subject in ("one", "taken alone", "after the take-over"):
            self.assertEqual(subjects.count(subject), 1, subject)
        self.wait_refused(self.a, "b")

    def test_multi_again(self):
        self.make_a_master()
        self.b.tool("account", "mode", "alice", "multi")
        self.wait_taken(self.b)
        self.wait_taken(self.a)
        self.nodes.wait_equal("alice")

    def test_what_cannot_be_done_is_told(self):
        cases = [
            (("mode", "alice", "slave"), 65, "neither multi nor master"),
            (("mode", "nobody*", "multi"), 67, "no account matches"),
            (("mode", "alice", "multi", "b"), 65, "no node is named"),
            (("mode", "alice", "master", "c"), 67, "no channel leads to"),
            (("switch", "alice"), 77, "mode multi"),
        ]
        for words, status, text in cases:
            with self.subTest(words=words):
                got, output = self.a.tool("account", *words, check=False)
                self.assertEqual(got, status, output)
                self.assertIn(text, output)


if __name__ == "__main__":
    chapar.main()
