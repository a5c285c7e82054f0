"""Two live nodes: what is done on one shows on the other, also after cuts at any moment."""

import os
import threading

import chapar_test as chapar
from chapar_test import message, snapshot, wait_until


def subjects(node, user, mailbox="INBOX"):
    return sorted(entry[4] for entry in snapshot(node, user)[mailbox][2].values())


class PairConverges(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.nodes.start("alice")

    def seen_names(self, node):
        """{(mailbox, UIDVALIDITY, UID): subject} as clients of `node` see it now."""
        return {
            (mailbox, state[0], uid): entry[4]
            for mailbox, state in snapshot(node, "alice").items()
            if mailbox
            for uid, entry in state[2].items()
        }

    def assert_no_uid_reused(self, before, after):
        for name, subject in after.items():
            self.assertEqual(before.get(name, subject), subject, "%s names two messages" % (name,))

    def test_a_delivery_on_one_node_shows_on_the_other(self):
        self.a.deliver("alice", message("from a"))
        self.b.deliver("alice", message("from b"))
        wait_until(lambda: subjects(self.a, "alice") == ["from a", "from b"], 60, "both on a")
        self.nodes.wait_equal("alice")

    def test_flags_set_on_both_sides_of_a_cut_both_stay(self):
        self.a.deliver("alice", message("one"))
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        for node, flag in ((self.a, "\\Seen"), (self.b, "\\Answered")):
            with node.imap("alice") as client:
                client.select()
                client.command("UID STORE 1:* +FLAGS (%s)" % flag)
        self.nodes.heal()
        state = self.nodes.wait_equal("alice")
        self.assertEqual([entry[0] for entry in state["INBOX"][2].values()], ["\\answered \\seen"])

    def test_copies_changed_apart_become_equal_and_reuse_no_uid(self):
        for number in range(10):
            self.a.deliver("alice", message("shared %d" % number))
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        for node in self.nodes.nodes:
            for number in range(10):
                node.deliver("alice", message("%s %d" % (node.name, number)))
        with self.a.imap("alice") as client:
            client.select()
            client.command('CREATE "Both"')
            client.append("Both", message("a in Both"))
            uid = client.search('SUBJECT "shared 1"')[0]
            client.command('UID MOVE %d "Both"' % uid)
            uid = client.search('SUBJECT "shared 2"')[0]
            client.command("UID STORE %d +FLAGS (\\Deleted)" % uid)
            client.command("UID EXPUNGE %d" % uid)
        with self.b.imap("alice") as client:
            client.select()
            client.command('CREATE "Both"')
            client.append("Both", message("b in Both"))
            for subject in ("shared 1", "shared 3"):
                uid = client.search('SUBJECT "%s"' % subject)[0]
                client.command("UID STORE %d +FLAGS (\\Flagged)" % uid)
        before = {node: self.seen_names(node) for node in self.nodes.nodes}
        self.nodes.heal()
        state = self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            self.assert_no_uid_reused(before[node], self.seen_names(node))
        inbox = {entry[4]: entry for entry in state["INBOX"][2].values()}
        both = {entry[4]: entry for entry in state["Both"][2].values()}
        wanted = {"%s %d" % (name, n) for name in ("a", "b") for n in range(10)}
        wanted |= {"shared %d" % n for n in range(10) if n not in (1, 2)}
        self.assertEqual(set(inbox), wanted)
        self.assertEqual(set(both), {"a in Both", "b in Both", "shared 1"})
        self.assertEqual(both["shared 1"][0], "\\flagged")
        self.assertEqual(len(state["INBOX"][2]), len(wanted), "a message is there twice")
        for node in self.nodes.nodes:
            self.verify_clean(node)

    def test_a_wire_that_breaks_in_the_middle_loses_nothing(self):
        body = ("x" * 70 + "\r\n") * 600
        self.nodes.cut()
        for number in range(40):
            self.a.deliver("alice", message("large %d" % number, body + str(number)))
        for limit in (1000, 30_000, 200_000, 700_000):
            self.nodes.wire_ab.cut_after(limit)
            self.nodes.wire_ba.cut_after(limit)
            self.nodes.heal()
            self.a.deliver("alice", message("while %d" % limit))
            self.b.deliver("alice", message("while b %d" % limit))
            threading.Event().wait(1.5)
            self.nodes.cut()
            self.nodes.wire_ab.bytes_until_cut = self.nodes.wire_ba.bytes_until_cut = None
        self.nodes.heal()
        state = self.nodes.wait_equal("alice")
        self.assertEqual(len(state["INBOX"][2]), 48)
        self.assertEqual(len({entry[4] for entry in state["INBOX"][2].values()}), 48)

    def test_a_peer_killed_while_it_receives_catches_up(self):
        self.nodes.cut()
        for number in range(60):
            self.a.deliver("alice", message("mail %d" % number, os.urandom(6000).hex() + "\r\n"))
        self.nodes.heal()
        threading.Event().wait(0.3)
        self.b.kill()
        self.a.deliver("alice", message("while b is down"))
        self.b.start()
        state = self.nodes.wait_equal("alice")
        self.assertEqual(len(state["INBOX"][2]), 61)
        self.verify_clean(self.b)

    def test_an_account_made_on_one_node_comes_to_the_other(self):
        self.a.add_account("bert")
        self.a.deliver("bert", message("for bert"))
        self.b.deliver("carol", message("for carol"))

        def both_have_both():
            try:
                return subjects(self.b, "bert") == ["for bert"]
            except (chapar.ImapError, KeyError):
                return False

        wait_until(both_have_both, 60, "bert can read his mail on b, with his password from a")


if __name__ == "__main__":
    chapar.main()
