"""Two live nodes: limits, metadata and annotations replicate, and of each the later change stays."""

import json

import chapar_test as chapar
from chapar_test import message, wait_until


class PairAnnotations(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.nodes.start("alice")

    def tearDown(self):
        for node in self.nodes.nodes:
            self.verify_clean(node)
        super().tearDown()

    def tell(self, node, command, mailbox=None):
        """What `command` answers, untagged lines only, as one text."""
        with node.imap("alice") as client:
            if mailbox is not None:
                client.select(mailbox)
            client.command(command)
            return " ".join(line.decode("utf-8", "replace") for line in client.untagged)

    def wait_told(self, node, command, text, mailbox=None):
        wait_until(
            lambda: text in self.tell(node, command, mailbox), 60, "%s on %s" % (text, node.name)
        )

    def quota(self, node):
        return json.loads(node.tool("quota", "alice", "--json")[1])[0]

    def test_entries_changed_on_both_sides_of_a_cut_are_the_later_ones(self):
        self.tell(self.a, "CREATE box")
        self.tell(self.a, 'SETMETADATA box (/shared/comment "old" /private/color "red")')
        self.nodes.wait_equal("alice")
        self.wait_told(self.b, "GETMETADATA box /shared/comment", "old")
        self.nodes.cut()
        self.tell(self.b, 'SETMETADATA box (/shared/comment "earlier" /private/b "from b")')
        self.tell(self.a, 'SETMETADATA box (/shared/comment "later" /private/color NIL)')
        self.nodes.heal()
        self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            self.wait_told(node, "GETMETADATA box /shared/comment", "later")
            self.wait_told(node, "GETMETADATA box /private/b", "from b")
            self.assertIn("NIL", self.tell(node, "GETMETADATA box /private/color"))

    def test_annotations_find_their_message_where_it_was_moved(self):
        self.a.deliver("alice", message("one"))
        self.a.deliver("alice", message("two"))
        self.tell(self.a, "CREATE box")
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        self.tell(self.a, 'UID STORE 1 ANNOTATION (/comment (value.priv "note"))', "INBOX")
        self.tell(self.b, "UID MOVE 1 box", "INBOX")
        # The later act of the two on message 2 is the expunge: its annotation goes.
        self.tell(self.a, 'UID STORE 2 ANNOTATION (/comment (value.priv "doomed"))', "INBOX")
        self.tell(self.b, "UID STORE 2 +FLAGS (\\Deleted)", "INBOX")
        self.tell(self.b, "EXPUNGE", "INBOX")
        self.nodes.heal()
        self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            self.wait_told(node, "UID FETCH 1:* (ANNOTATION (/comment value.priv))", "note", "box")

    def test_a_limit_set_on_one_node_binds_both_and_never_a_merge(self):
        self.a.tool("quota", "alice", "--messages", "2")
        wait_until(
            lambda: self.quota(self.b).get("messages-limit") == 2,
            60,
            "the limit on b",
        )
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        for node in self.nodes.nodes:
            node.deliver("alice", message("1 on " + node.name))
            node.deliver("alice", message("2 on " + node.name))
            with node.lmtp() as client:
                reply = client.deliver(["alice"], message("3"))[0]
            self.assertTrue(reply.startswith(b"452 4.2.2"), reply)
        self.nodes.heal()
        state = self.nodes.wait_equal("alice")
        self.assertEqual(len(state["INBOX"][2]), 4)
        with self.a.imap("alice") as client, self.assertRaisesRegex(AssertionError, "OVERQUOTA"):
            client.append("INBOX", message("4"))
        self.b.tool("quota", "alice", "--messages", "none")
        wait_until(
            lambda: "messages-limit" not in self.quota(self.a),
            60,
            "no limit on a",
        )
        self.a.deliver("alice", message("5"))


if __name__ == "__main__":
    chapar.main()
