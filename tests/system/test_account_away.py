"""Accounts that are moved and leave nothing behind: what clients, mail and other nodes are told, what
becomes of it when a node is killed in between, and how they come back."""

import json
import re
import threading

import chapar_test as chapar
from chapar_test import message, wait_until

REFERRAL = b"[REFERRAL imap://alice@b.example.org/]"
MANY = 120


class Away(chapar.TestCase):
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
            for number in range(MANY):
                client.append("Work", message("work %d" % number, "x" * 2000 + "\r\n"))
            client.select("Work")
            client.command("UID STORE 1:9 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 1:9")
        self.before = self.nodes.wait_equal("alice")

    def until_done(self, node, *command):
        """Again, as one is told to, while the other node is not reached."""
        answers = []

        def is_done():
            answers.append(node.tool(*command, check=False))
            self.assertIn(answers[-1][0], (0, 69), answers)
            return answers[-1][0] == 0

        wait_until(is_done, 60, " ".join(command))
        return answers[-1][1]

    def move(self, node, to, *more):
        return self.until_done(node, "account", "move", "alice", "--to", to, *more)

    def move_away(self):
        return self.move(self.a, "b", "--remove-source")

    def held(self, node):
        accounts = json.loads(node.tool("account", "list", "--json")[1])
        return {account["name"]: account["held"] for account in accounts}["alice"]

    def login(self, node, user="alice"):
        """The answer to LOGIN: (status, text)."""
        with chapar.Imap(node.address, node.imap_port) as client:
            return client.try_command("LOGIN %s %s" % (user, chapar.PASSWORD))

    def subjects(self, node):
        inbox = chapar.snapshot(node, "alice").get("INBOX", (0, 0, {}))
        return sorted(entry[4] for entry in inbox[2].values())

    def check_away(self):
        self.assertEqual(self.held(self.a), "away")
        status, text = self.login(self.a)
        self.assertEqual(status, "NO")
        self.assertIn(REFERRAL.decode(), text)
        with self.a.lmtp() as lmtp:
            lmtp.command("MAIL FROM:<>")
            self.assertIn(b"451 4.3.5", lmtp.command("RCPT TO:<alice@example.org>"))
        self.assertEqual(self.held(self.b), "")

    def test_it_is_on_the_other_node_only_and_comes_back(self):
        with self.a.imap("bob") as client:
            client.append("INBOX", message("bob's own"))
        self.nodes.wait_equal("bob")
        # Who has a mailbox selected is told where it is; who idles at once.
        idling, quiet = self.a.imap("alice"), self.a.imap("alice")
        self.addCleanup(idling.close)
        self.addCleanup(quiet.close)
        quiet.select("Work")
        idling.select("Work")
        idling.send("IDLE")
        self.assertTrue(idling.response().startswith(b"+"))
        self.assertIn("there is no copy here any more", self.move_away())
        line = idling.response()
        while not line.startswith(b"* BYE"):
            line = idling.response()
        self.assertIn(REFERRAL, line)
        quiet.send("NOOP")
        line = quiet.response()
        self.assertTrue(line.startswith(b"* BYE " + REFERRAL), line)
        self.check_away()
        after = chapar.snapshot(self.b, "alice")
        self.assertEqual(after, self.before)
        # The other account goes on, also through both channels, and nothing fails.
        self.b.deliver("bob", message("for bob"))
        self.nodes.wait_equal("bob")
        self.b.deliver("alice", message("two"))
        for _ in range(2):
            for node in self.nodes.nodes:
                status, text = node.tool("status", "--check", check=False)
                self.assertEqual(status, 0, text)
                self.verify_clean(node)
            self.a.kill()
            self.a.start()
            self.check_away()
        status, text = self.a.tool("account", "move", "alice", "--to", "b", check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("there is no copy here", self.move_away())  # once more is no harm
        # Back again: what it is by then, with the UIDs and modseqs that go on.
        with self.b.imap("alice") as client:
            client.command("RENAME Work Play")
            client.append("Play", message("while away"))
        self.move(self.b, "a")
        state = self.nodes.wait_equal("alice")
        self.assertNotIn("Work", state)
        self.assertEqual(len(state["Play"][2]), MANY - 9 + 1)
        self.assertEqual(state["Play"][:1], self.before["Work"][:1])
        self.assertEqual(self.held(self.a), "")
        with self.a.imap("alice") as client:
            client.append("Play", message("after"))
        self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            self.verify_clean(node)

    def test_what_it_held_is_free_again(self):
        def size():
            text = self.a.tool("status")[1]
            return int(re.search(r"(\d+) messages", text).group(1))

        held = size()
        self.move_away()
        self.assertEqual(size(), held - 1 - (MANY - 9))
        self.a.tool("compact")
        self.verify_clean(self.a)
        stored = b""
        for path in self.a.segment_files():
            with open(path, "rb") as segment:
                stored += segment.read()
        self.assertNotIn(b"Subject: work 50", stored)

    def test_killed_in_any_step_one_node_has_all_of_it(self):
        """Kills one node after the other some time after the command began, a little later each time."""
        taken = ["one"]
        for round_number in range(6):
            victim = (self.a, self.b)[round_number % 2]
            killer = threading.Timer(0.02 + 0.06 * (round_number // 2), victim.kill)
            killer.start()
            status, text = self.a.tool(
                "account", "move", "alice", "--to", "b", "--remove-source", check=False
            )
            killer.join()
            victim.start()
            self.assertNotEqual(status, 65, text)
            subject = "round %d" % round_number
            self.move_away()
            self.check_away()
            wait_until(lambda: self.append(self.b, subject), 30, "a master")
            taken.append(subject)
            self.verify_clean(self.a)
            self.move(self.b, "a")
            state = self.nodes.wait_equal("alice")
            subjects = [entry[4] for entry in state["INBOX"][2].values()]
            self.assertEqual(sorted(subjects), sorted(taken))
            self.assertEqual(len(state["Work"][2]), MANY - 9)

    def append(self, node, subject):
        with node.imap("alice") as client:
            return client.try_command("APPEND INBOX", message(subject))[0] == "OK"

    def test_the_copy_stays_while_the_other_node_has_not_all_of_it(self):
        self.b.kill()
        status, text = self.a.tool(
            "account", "move", "alice", "--to", "b", "--remove-source", check=False
        )
        self.assertEqual(status, 69, text)
        self.assertEqual(self.held(self.a), "")
        self.assertEqual(chapar.snapshot(self.a, "alice"), self.before)
        # Without the other node it begins anew, if that is what the operator wants.
        self.b.start()
        self.move_away()
        self.b.kill()
        status, text = self.a.tool("account", "serve", "*", check=False)
        self.assertNotEqual(status, 0, text)
        self.a.tool("account", "serve", "alice")
        self.a.deliver("alice", message("new"))
        self.b.start()
        state = self.nodes.wait_equal("alice")
        subjects = [entry[4] for entry in state["INBOX"][2].values()]
        self.assertEqual(sorted(subjects), ["new", "one"])
        self.assertEqual(len(state["Work"][2]), MANY - 9)

    def test_who_has_it_through_this_node_is_told_where_it_is(self):
        """A third node whose only channel leads here."""
        third = self.node("c")
        self.a.peers["c"] = (third.address, third.imap_port)
        self.a.restart()
        third.peers["a"] = (self.a.address, self.a.imap_port)
        third.start()
        wait_until(lambda: "alice" in third.tool("account", "list")[1], 30, "a copy")
        wait_until(lambda: self.held(third) == "", 30, "the whole of it")
        third.deliver("alice", message("by the third"))
        wait_until(lambda: self.subjects(self.b) == ["by the third", "one"], 30, "its mail")
        self.before = self.nodes.wait_equal("alice")
        self.assertEqual(chapar.snapshot(third, "alice"), self.before)
        self.move_away()
        # Nothing is deleted there, and what changes there is told to have nowhere to go.
        self.assertEqual(chapar.snapshot(third, "alice"), self.before)
        third.tool("account", "mode", "alice", "multi")

        def is_told():
            text = third.tool("status")[1]
            return "moved to node" in text and "failing" in text

        wait_until(is_told, 30, "the failure")
        self.assertEqual(self.held(third), "")
        self.assertEqual(self.held(self.a), "away")
        self.assertEqual(self.held(self.b), "")
        self.assertEqual(chapar.snapshot(self.b, "alice"), self.before)


if __name__ == "__main__":
    chapar.main()
