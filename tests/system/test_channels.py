"""A running set of nodes changes: channels are added, paused, resumed and removed on the fly."""

import json
import os

import chapar_test as chapar
from chapar_test import message, snapshot, wait_until


class Channels(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.c = self.node("c")
        self.nodes.start("alice", "bob")
        # c knows a, and a will be told of c.
        password_file = self.a.password_file()
        self.c.extra = 'sync-user "a" { password-file = "%s" }' % password_file
        self.c.start()
        self.add_words = [
            "address=%s:%d" % (self.c.address, self.c.imap_port),
            "user=a",
            "password-file=" + password_file,
            "tls=none",
        ]

    def channel(self, node, name):
        _, text = node.tool("channel", "list", "--json")
        return {row["name"]: row for row in json.loads(text)}.get(name)

    def wait_same(self, user, *nodes):
        wait_until(
            lambda: all(
                snapshot(node, user) == snapshot(nodes[0], user) for node in nodes[1:]
            ),
            60,
            "equal copies of " + user,
        )

    def has_account(self, node, user):
        return '"%s"' % user in node.tool("account", "list", "--json")[1]

    def test_a_node_joins_and_leaves_a_running_set(self):
        self.a.deliver("alice", message("before"))
        self.a.tool("channel", "add", "c", *self.add_words)
        self.a.deliver("alice", message("after"))
        wait_until(lambda: self.has_account(self.c, "alice"), 60, "alice on c")
        self.wait_same("alice", self.a, self.b, self.c)
        # What came to the other node goes on to c, and after a restart too.
        self.b.deliver("alice", message("from b"))
        self.wait_same("alice", self.a, self.b, self.c)
        self.a.restart()
        self.b.deliver("alice", message("from b again"))
        self.wait_same("alice", self.a, self.b, self.c)
        self.a.tool("channel", "remove", "c")
        self.assertIsNone(self.channel(self.a, "c"))
        self.a.deliver("alice", message("not for c"))
        self.wait_same("alice", self.a, self.b)
        self.assertNotEqual(snapshot(self.a, "alice"), snapshot(self.c, "alice"))
        # Added again it brings what c missed.
        self.a.tool("channel", "add", "c", *self.add_words)
        self.wait_same("alice", self.a, self.b, self.c)

    def test_a_paused_channel_keeps_what_changes(self):
        self.a.deliver("alice", message("one"))
        self.wait_same("alice", self.a, self.b)
        self.a.tool("channel", "pause", "b")
        self.a.restart()  # it stays paused
        self.assertTrue(self.channel(self.a, "b")["paused"])
        self.a.deliver("alice", message("two"))
        self.assertEqual(len(snapshot(self.b, "alice")["INBOX"][2]), 1)
        self.a.tool("channel", "resume", "b")
        self.wait_same("alice", self.a, self.b)

    def test_a_filter_leaves_accounts_out(self):
        self.a.deliver("alice", message("one"))
        self.a.deliver("bob", message("one"))
        self.a.tool("channel", "add", "c", *self.add_words, "accounts=* !bo*")
        wait_until(lambda: self.has_account(self.c, "alice"), 60, "alice on c")
        wait_until(lambda: self.channel(self.a, "c")["pending"] == 0, 60, "all sent")
        self.assertFalse(self.has_account(self.c, "bob"))

    def test_a_filter_leaves_mailboxes_out(self):
        words = [*self.add_words, "mailboxes=INBOX, Work*, !Work/secret"]
        with self.a.imap("alice") as client:
            for name in ("Work", "Work/secret", "Private"):
                client.command('CREATE "%s"' % name)
                client.append(name, message("in " + name))
        self.a.deliver("alice", message("one"))
        self.a.tool("channel", "add", "c", *words)
        wait_until(lambda: self.has_account(self.c, "alice"), 60, "alice on c")
        wait_until(lambda: self.channel(self.a, "c")["pending"] == 0, 60, "all sent")
        self.assertTrue(self.channel(self.a, "c")["partial"])
        self.assertEqual(sorted(snapshot(self.c, "alice")), ["", "INBOX", "Work"])
        # c's changes come back by its own channel, whose filter is in a's configuration.
        self.a.extra = 'sync-user "c" { password-file = "%s" mailboxes = "INBOX, Work*, !Work/secret" }' % (
            self.a.password_file()
        )
        self.a.write_config()
        self.a.restart()
        self.c.tool(
            "channel",
            "add",
            "a",
            "address=%s:%d" % (self.a.address, self.a.imap_port),
            "user=c",
            "password-file=" + self.a.password_file(),
            "tls=none",
        )
        with self.c.imap("alice") as client:
            client.command("RENAME Work Done")
            client.append("Done", message("from c"))
            client.command("CREATE Mine")
        wait_until(lambda: len(snapshot(self.a, "alice").get("Done", [0, 0, []])[2]) == 2, 60, "c's changes")
        wait_until(lambda: self.channel(self.c, "a")["pending"] == 0, 60, "all sent")
        names = sorted(snapshot(self.a, "alice"))
        self.assertIn("Private", names)
        self.assertNotIn("Mine", names)
        self.assertNotIn("Private", snapshot(self.c, "alice"))
        for node in (self.a, self.c):
            self.verify_clean(node)

    def test_what_is_wrong_is_refused_with_the_reason(self):
        cases = [
            (("add", "b", *self.add_words), 73, "already"),
            (("add", "a", *self.add_words), 65, "this node itself"),
            (("add", "d", "address=127.0.0.1:1"), 65, "user= is missing"),
            (("add", "d", "adress=127.0.0.1:1"), 65, "not KEY=VALUE"),
            (("add", "d", *self.add_words, "accounts=a !"), 65, "without a pattern"),
            (("add", "d", *self.add_words[:2], "password-file=/nonexistent", "tls=none"), 67, "No such file"),
            (("pause", "d"), 67, "no channel"),
            (("remove", "b"), 77, "configuration file"),
        ]
        for words, status, text in cases:
            with self.subTest(words=words):
                got, output = self.a.tool("channel", *words, check=False)
                self.assertEqual(got, status, output)
                self.assertIn(text, output)
        self.assertIsNone(self.channel(self.a, "d"))


if __name__ == "__main__":
    chapar.main()
