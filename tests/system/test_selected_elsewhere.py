"""What becomes of sessions whose mailbox another node renames, deletes, unites with its own of the
same name, or gives another UIDVALIDITY."""

import chapar_test as chapar
from chapar_test import message


class Session:
    """A client of node A that has a mailbox selected, in IDLE or between commands."""

    def __init__(self, node, mailbox, is_idling):
        self.client = node.imap("alice")
        self.uidvalidity = self.client.select(mailbox)["uidvalidity"]
        self.is_idling = is_idling
        self.tag = self.client.send("IDLE") if is_idling else None
        if is_idling:
            assert self.client.response().startswith(b"+"), "IDLE was not begun"

    def hears(self, wanted):
        """The first untagged answer that holds `wanted`; BYE ends the search."""
        while True:
            tag = None if self.is_idling else self.client.send("NOOP")
            line = self.client.response()
            while tag and not line.startswith(tag.encode()):
                if wanted in line or line.startswith(b"* BYE"):
                    return line
                line = self.client.response()
            if wanted in line or line.startswith(b"* BYE"):
                return line

    def goes_on(self):
        if self.is_idling:
            self.client.socket.sendall(b"DONE\r\n")
            self.client.finish(self.tag)
            self.is_idling = False
        self.client.command("NOOP")


class SelectedElsewhere(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.nodes.start("alice")

    def make_mailbox(self, name, *subjects):
        with self.a.imap("alice") as client:
            client.command("CREATE %s" % name)
            for subject in subjects:
                client.append(name, message(subject))
        self.nodes.wait_equal("alice")

    def sessions(self, node, mailbox):
        both = [Session(node, mailbox, is_idling) for is_idling in (True, False)]
        for session in both:
            self.addCleanup(session.client.close)
        return both

    def on_b(self, *commands):
        with self.b.imap("alice") as client:
            for command in commands:
                client.command(*command)

    def test_renamed_they_go_on(self):
        self.make_mailbox("Work", "one")
        sessions = self.sessions(self.a, "Work")
        self.on_b(["RENAME Work Job"], ["APPEND Job", message("two")])
        for session in sessions:
            self.assertEqual(session.hears(b"EXISTS"), b"* 2 EXISTS")
            session.goes_on()
            self.assertEqual(session.client.search("SUBJECT", b"two"), [2])

    def test_deleted_they_get_bye_and_others_do_not(self):
        self.make_mailbox("Work", "one")
        sessions, others = self.sessions(self.a, "Work"), self.sessions(self.a, "INBOX")
        self.on_b(["DELETE Work"])
        for session in sessions:
            self.assertTrue(session.hears(b"BYE").startswith(b"* BYE"))
            self.assertEqual(session.client.stream.read(), b"")
        for session in others:
            session.goes_on()
        with self.a.imap("alice") as client:
            self.assertNotIn("Work", client.mailboxes())

    def changed_together(self, mailbox):
        """After the wire is healed: who lost his mailbox or its UIDVALIDITY gets BYE."""
        sessions = [(node, session) for node in (self.a, self.b)
                    for session in self.sessions(node, mailbox)]
        self.nodes.heal()
        state = self.nodes.wait_equal("alice")
        lost = 0
        for node, session in sessions:
            if session.uidvalidity == state[mailbox][0]:
                self.a.deliver("alice", message("for who stays"))
                session.goes_on()
                continue
            lost += 1
            self.assertTrue(session.hears(b"BYE").startswith(b"* BYE"), node.name)
            with node.imap("alice") as client:
                self.assertEqual(client.select(mailbox)["uidvalidity"], state[mailbox][0])
        self.assertGreater(lost, 0)
        return {entry[4] for entry in state[mailbox][2].values()}

    def test_united_those_of_the_one_that_went_get_bye(self):
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        for node in (self.a, self.b):
            with node.imap("alice") as client:
                client.command("CREATE Work")
                client.append("Work", message("on " + node.name))
        self.assertEqual(self.changed_together("Work"), {"on a", "on b"})

    def test_with_another_uidvalidity_they_get_bye(self):
        self.nodes.wait_equal("alice")
        self.nodes.cut()
        for node in (self.a, self.b):
            node.add_account("bert")
            node.deliver("bert", message("on " + node.name))
        sessions = []
        for node in (self.a, self.b):
            client = node.imap("bert")
            self.addCleanup(client.close)
            sessions.append((node, client, client.select()["uidvalidity"]))
        self.nodes.heal()
        state = self.nodes.wait_equal("bert")
        self.assertEqual({entry[4] for entry in state["INBOX"][2].values()}, {"on a", "on b"})
        changed = [one for one in sessions if one[2] != state["INBOX"][0]]
        if sessions[0][2] != sessions[1][2]:
            self.assertGreater(len(changed), 0)
        for node, client, uidvalidity in sessions:
            tag = client.send("NOOP")
            line = client.response()
            while not line.startswith((b"* BYE", tag.encode())):
                line = client.response()
            self.assertEqual(
                line.startswith(b"* BYE"), uidvalidity != state["INBOX"][0], node.name)


if __name__ == "__main__":
    chapar.main()
