"""Bundles: what changed at a node goes to another one in a file, and is taken or refused as a whole."""

import json
import os

import chapar_test as chapar
from chapar_test import message


class Bundle(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.a, self.b = self.node("a"), self.node("b")
        for node in (self.a, self.b):
            node.write_config()
        self.a.add_account("alice")
        self.a.start()

    def path(self, name):
        return os.path.join(self.folder, name)

    def create(self, node, name, *options):
        return node.tool("bundle", "create", self.path(name), *options)[1]

    def apply(self, node, name, *options, check=True):
        status, text = node.tool("bundle", "apply", self.path(name), *options, check=False)
        if check:
            self.assertEqual(status, 0, text)
        return status, text

    def digests(self, node):
        _, text = node.tool("account", "list", "--json")
        return {entry["name"]: entry["digest"] for entry in json.loads(text)}

    def assert_equal(self):
        self.assertEqual(self.digests(self.a), self.digests(self.b))
        for node in (self.a, self.b):
            self.verify_clean(node)

    def subjects(self, node):
        state = chapar.snapshot(node, "alice")
        return sorted(entry[4] for entry in state["INBOX"][2].values())

    def fill(self, count=20):
        for number in range(count):
            self.a.deliver("alice", message("mail %d" % number, "x" * 500 + "\r\n"))

    def test_all_of_it_then_what_changed_since_comes_to_a_node_without_a_network(self):
        self.fill()
        self.a.add_account("bob")
        self.assertIn("20 messages", self.create(self.a, "one"))
        # The other node's daemon is stopped for the first, and runs for the second.
        self.apply(self.b, "one")
        self.assert_equal()
        self.b.start()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1:3 +FLAGS (\\Seen)")
            client.command("UID STORE 4 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 4")
            client.command('CREATE "Work"')
            client.command('UID MOVE 5 "Work"')
        self.a.deliver("alice", message("new"))
        text = self.create(self.a, "two", "--since", self.path("one"))
        self.assertIn("1 of 2 accounts changed", text)
        self.assertIn("1 messages", text)
        self.apply(self.b, "two")
        self.assert_equal()
        self.assertIn("new", self.subjects(self.b))
        # The password came along.
        with self.b.imap("alice") as client:
            client.select()

    def test_applied_twice_or_an_older_one_later_changes_nothing(self):
        self.fill(5)
        self.create(self.a, "one")
        self.a.deliver("alice", message("later"))
        self.create(self.a, "two", "--since", self.path("one"))
        for name in ("one", "one", "two", "two", "one"):
            _, text = self.apply(self.b, name)
        self.assertIn("was here already", text)
        self.assert_equal()
        before = self.sequences(self.b)
        self.apply(self.b, "one")
        self.apply(self.b, "two")
        self.assertEqual(self.sequences(self.b), before)

    def sequences(self, node):
        _, text = node.tool("account", "list", "--json")
        return {entry["name"]: (entry["digest"], entry["highestmodseq"]) for entry in json.loads(text)}

    def test_a_copy_that_changed_since_refuses_and_its_reply_brings_both_together(self):
        self.fill(5)
        self.create(self.a, "one")
        self.apply(self.b, "one")
        self.b.start()
        self.b.deliver("alice", message("from b"))
        with self.b.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 +FLAGS (\\Flagged)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
        self.a.deliver("alice", message("from a"))
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 +FLAGS (\\Seen)")
        self.create(self.a, "two", "--since", self.path("one"))
        before = self.digests(self.b)
        status, text = self.apply(self.b, "two", check=False)
        self.assertEqual(status, 75, text)
        self.assertIn("refused", text)
        self.assertEqual(self.digests(self.b), before)
        status, text = self.apply(self.a, "two.reply", check=False)
        self.assertEqual(status, 0, text)
        self.assertIn("merged", text)
        # Again: nothing more.
        before = self.digests(self.a)
        self.assertIn("was here already", self.apply(self.a, "two.reply")[1])
        self.assertEqual(self.digests(self.a), before)
        self.create(self.a, "three", "--since", self.path("two.reply"))
        self.apply(self.b, "three")
        self.assert_equal()
        self.assertEqual(
            self.subjects(self.a), ["from a", "from b", "mail 0", "mail 2", "mail 3", "mail 4"]
        )
        flags = chapar.snapshot(self.b, "alice")["INBOX"][2][1][0]
        self.assertEqual(flags, "\\flagged \\seen")
        # And on from there, with the last one as the point.
        self.a.deliver("alice", message("after"))
        self.create(self.a, "four", "--since", self.path("three"))
        self.apply(self.b, "four")
        self.assert_equal()

    def test_two_nodes_that_both_have_the_account_and_never_met_are_merged(self):
        self.fill(3)
        self.b.add_account("alice")
        self.b.start()
        self.b.deliver("alice", message("only b"))
        self.create(self.a, "one")
        self.assertEqual(self.apply(self.b, "one", check=False)[0], 75)
        self.apply(self.a, "one.reply")
        self.create(self.a, "two", "--since", self.path("one.reply"))
        self.apply(self.b, "two")
        self.assert_equal()
        self.assertEqual(self.subjects(self.b), ["mail 0", "mail 1", "mail 2", "only b"])

    def test_damage_anywhere_is_found_and_named_and_nothing_is_taken(self):
        self.fill(4)
        secret = self.path("key")
        with open(secret, "wb") as out:
            out.write(os.urandom(32))
        for name, options in (("plain", ()), ("sealed", ("--key-file", secret))):
            self.create(self.a, name, *options)
            self.assertEqual(self.a.tool("bundle", "verify", self.path(name), *options)[0], 0)
            with open(self.path(name), "rb") as whole:
                data = whole.read()
            places = list(range(0, len(data), max(1, len(data) // 60))) + [len(data) - 1]
            for at in places:
                self.write("broken", data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
                status, text = self.a.tool(
                    "bundle", "verify", self.path("broken"), *options, check=False
                )
                self.assertIn(status, (1, 65, 77), "byte %d: %s" % (at, text))
                if at > 150:
                    self.assertIn("damaged: frame", text)
            for end in (0, 50, len(data) // 2, len(data) - 1):
                self.write("broken", data[:end])
                status, text = self.a.tool(
                    "bundle", "verify", self.path("broken"), *options, check=False
                )
                self.assertIn(status, (1, 65), text)
            self.write("broken", data + b"x")
            self.assertNotEqual(
                self.a.tool("bundle", "verify", self.path("broken"), *options, check=False)[0], 0
            )
            self.write("broken", data[: len(data) // 2])
            self.assertEqual(self.apply(self.b, "broken", *options, check=False)[0], 1)
            self.assertEqual(self.digests(self.b), {})

    def write(self, name, data):
        with open(self.path(name), "wb") as out:
            out.write(data)

    def test_an_encrypted_one_tells_nothing_without_its_passphrase(self):
        self.a.deliver("alice", message("a secret subject"))
        passphrase, wrong = self.path("passphrase"), self.path("wrong")
        self.write("passphrase", b"correct horse\n")
        self.write("wrong", b"battery staple\n")
        self.create(self.a, "sealed", "--passphrase-file", passphrase)
        with open(self.path("sealed"), "rb") as sealed:
            data = sealed.read()
        for word in (b"secret subject", b"alice", b"ACCOUNT"):
            self.assertNotIn(word, data)
        self.assertEqual(os.stat(self.path("sealed")).st_mode & 0o77, 0)
        status, text = self.apply(self.b, "sealed", "--passphrase-file", wrong, check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("not the one", text)
        _, text = self.a.tool(
            "bundle", "info", self.path("sealed"), "--json", "--passphrase-file", passphrase
        )
        told = json.loads(text)
        self.assertTrue(told["encrypted"])
        self.assertEqual([entry["account"] for entry in told["accounts"]], ["alice"])
        self.apply(self.b, "sealed", "--passphrase-file", passphrase)
        self.assert_equal()

    def test_what_is_no_point_or_not_for_this_node_is_refused(self):
        self.fill(2)
        self.create(self.a, "one")
        status, text = self.apply(self.a, "one", check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("made the bundle itself", text)
        self.apply(self.b, "one")
        status, text = self.b.tool(
            "bundle", "create", self.path("two"), "--since", self.path("one"), check=False
        )
        self.assertEqual(status, 65, text)
        self.assertIn("a point is a bundle that this node made", text)
        self.assertFalse(os.path.exists(self.path("two")))
        status, text = self.a.tool("bundle", "create", self.path("one"), check=False)
        self.assertEqual(status, 73, text)
        status, text = self.a.tool("bundle", "info", self.b.config_file, check=False)
        self.assertEqual(status, 65, text)


if __name__ == "__main__":
    chapar.main()
