"""Users work in each other's mailboxes on two live nodes: at once, apart, and back together."""

import re

import chapar_test as chapar
from chapar_test import message, wait_until

TEAM = "Shared/team"
WORK = "Other Users/alice/work"
ALL = "lrswipkxtea"


class Sharing(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        for node in self.nodes.nodes:
            node.extra = 'group "Office" { members = "bob carol" }'

    def tearDown(self):
        for node in self.nodes.nodes:
            self.verify_clean(node)
        super().tearDown()

    def share_work(self, *grants):
        """Alice's mailbox work with two messages, on both nodes."""
        with self.a.imap("alice") as alice:
            alice.command("CREATE work")
            for identifier, rights in grants:
                alice.command("SETACL work %s %s" % (identifier, rights))
            for subject in ("one", "two"):
                alice.append("work", message(subject))
        self.nodes.wait_equal("alice")

    def wait_listed(self, node, user, mailbox):
        def is_listed():
            with node.imap(user) as client:
                return mailbox in client.mailboxes()

        wait_until(is_listed, chapar.SYNC_SECONDS, "%s lists %s on %s" % (user, mailbox, node.name))

    def seen(self, node, user, mailbox):
        with node.imap(user) as client:
            client.select(mailbox, "EXAMINE")
            return client.search("SEEN")

    def wait_seen(self, user, mailbox, uids):
        for node in self.nodes.nodes:
            wait_until(
                lambda node=node: self.seen(node, user, mailbox) == uids,
                chapar.SYNC_SECONDS,
                "\\Seen of %s on %s: %s" % (user, node.name, uids),
            )

    def acl(self, node):
        with node.imap("alice") as client:
            client.command("GETACL work")
            words = client.untagged[0].decode().split()[3:]
            return dict(zip(words[::2], words[1::2]))

    def test_two_users_work_in_one_mailbox_on_both_nodes(self):
        self.nodes.start("alice", "bob", "carol")
        self.share_work(("bob", ALL), ("carol", ALL))
        self.wait_listed(self.b, "bob", WORK)
        self.wait_listed(self.b, "carol", WORK)

        # At once, with the link up: each on another node.
        with self.a.imap("bob") as bob, self.b.imap("carol") as carol:
            bob.select(WORK)
            carol.select(WORK)
            for number in range(10):
                bob.append(WORK, message("bob %d" % number), "\\Flagged")
                carol.append(WORK, message("carol %d" % number), "\\Seen")
            bob.command("UID STORE 1 +FLAGS.SILENT (\\Seen \\Answered)")
            carol.command("UID STORE 2 +FLAGS.SILENT (\\Seen mine)")
        state = self.nodes.wait_equal("alice")["work"][2]
        self.assertEqual(len(state), 22)
        self.assertEqual(len({values[4] for values in state.values()}), 22)
        uid_of = {values[4]: uid for uid, values in state.items()}
        self.assertNotIn("\\seen", " ".join(values[0] for values in state.values()))
        own = sorted(uid for subject, uid in uid_of.items() if subject.startswith("carol"))
        self.wait_seen("carol", WORK, sorted([2] + own))
        self.wait_seen("bob", WORK, [1])

        # Apart: both change what the other does too.
        self.nodes.cut()
        with self.a.imap("bob") as bob, self.b.imap("carol") as carol, self.b.imap("bob") as other:
            bob.select(WORK)
            bob.command("UID STORE 1 -FLAGS.SILENT (\\Seen)")
            bob.command("UID STORE %d +FLAGS.SILENT (\\Deleted)" % uid_of["bob 0"])
            bob.command("UID EXPUNGE %d" % uid_of["bob 0"])
            bob.command("UID STORE %d +FLAGS.SILENT (\\Seen)" % uid_of["bob 1"])
            bob.append(WORK, message("apart on a"))
            bob.command('CREATE "%s/read"' % WORK)
            bob.command('UID MOVE 2 "%s/read"' % WORK)  # which carol has seen
            carol.select(WORK)
            carol.command("UID STORE 1 +FLAGS.SILENT (\\Seen late)")
            carol.command('CREATE "%s/done"' % WORK)
            carol.command('UID MOVE %d "%s/done"' % (uid_of["carol 0"], WORK))
            carol.append(WORK, message("apart on b"))
            other.select(WORK)
            other.command("UID STORE %d +FLAGS.SILENT (\\Seen)" % uid_of["carol 1"])
            for sign in "-+":  # later than on a: message 1 stays seen
                other.command("UID STORE 1 %sFLAGS.SILENT (\\Seen)" % sign)
            other.command("UID STORE 2 +FLAGS.SILENT (\\Seen)")  # moved on a before
        self.nodes.heal()
        snapshot = self.nodes.wait_equal("alice")
        state = snapshot["work"][2]
        subjects = sorted(values[4] for values in state.values())
        self.assertEqual(len(subjects), len(set(subjects)), "duplicates")
        self.assertEqual(len(subjects), 21)
        self.assertIn("apart on a", subjects)
        self.assertIn("apart on b", subjects)
        self.assertNotIn("bob 0", subjects)
        self.assertEqual([m[4] for m in snapshot["work/done"][2].values()], ["carol 0"])
        uid_of = {values[4]: uid for uid, values in state.items()}
        # On each message each user's last act holds, and is his alone.
        self.wait_seen("bob", WORK, sorted([1, uid_of["bob 1"], uid_of["carol 1"]]))
        carols = sorted([1] + [uid_of["carol %d" % n] for n in range(1, 10)])
        self.wait_seen("carol", WORK, carols)
        moved = list(snapshot["work/done"][2])
        self.wait_seen("carol", WORK + "/done", moved)
        self.wait_seen("bob", WORK + "/done", [])
        # It follows the message, whoever moved it, and whether it was seen before or since.
        moved = list(snapshot["work/read"][2])
        self.assertEqual(len(moved), 1)
        self.wait_seen("carol", WORK + "/read", moved)
        self.wait_seen("bob", WORK + "/read", moved)
        self.wait_seen("alice", "work", [])

    def test_of_rights_set_on_both_sides_the_later_ones_hold(self):
        self.nodes.start("alice", "bob", "carol")
        self.share_work(("bob", "lr"))
        self.wait_listed(self.b, "bob", WORK)
        self.nodes.cut()
        for node, rights in ((self.b, ALL), (self.a, "lrs")):  # the later act is a's
            with node.imap("alice") as client:
                client.command("SETACL work bob %s" % rights)
        for node, user in ((self.a, "carol"), (self.b, "group:office")):
            with node.imap("alice") as client:
                client.command("SETACL work %s lr" % user)
        self.nodes.heal()
        self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            wait_until(
                lambda node=node: self.acl(node).get("bob") == "lrs"
                and {"carol", "group:office"} <= set(self.acl(node)),
                chapar.SYNC_SECONDS,
                "the entries on " + node.name,
            )
        with self.b.imap("bob") as bob:
            bob.select(WORK)
            self.assertEqual(bob.try_command("UID STORE 1 +FLAGS (\\Flagged)")[0], "NO")
            bob.command("UID STORE 1 +FLAGS (\\Seen)")

    def test_a_mailbox_deleted_there_is_left_here(self):
        self.nodes.start("alice", "bob")
        self.share_work(("bob", ALL))
        self.wait_listed(self.b, "bob", WORK)
        with self.a.imap("bob") as bob:
            bob.select(WORK)
            with self.b.imap("alice") as alice:
                alice.command("DELETE work")

            def is_gone():
                try:
                    bob.command("NOOP")
                except ConnectionError:
                    return True
                return any(line.startswith(b"* BYE") for line in bob.untagged)

            wait_until(is_gone, chapar.SYNC_SECONDS, "bob is told that it is gone")
        self.nodes.wait_equal("alice")
        for node in self.nodes.nodes:
            with node.imap("bob") as bob:
                self.assertNotIn(WORK, bob.mailboxes())
                self.assertEqual(bob.try_command('SELECT "%s"' % WORK)[0], "NO")

    def test_cursors_of_one_node_are_good_on_the_other(self):
        self.nodes.start("alice", "bob")
        self.share_work(("bob", ALL))
        self.wait_listed(self.b, "bob", WORK)
        with self.a.imap("bob") as bob:
            bob.select(WORK)
            bob.command("UID STORE 1 +FLAGS.SILENT (\\Seen)")
            state = bob.select(WORK)
        self.wait_seen("bob", WORK, [1])
        self.nodes.wait_equal("alice")
        cursor = "%d %d" % (state["uidvalidity"], state["highestmodseq"])
        with self.b.imap("bob") as bob:
            self.assertGreaterEqual(bob.select(WORK)["highestmodseq"], state["highestmodseq"])
            bob.command("ENABLE QRESYNC")
            bob.command('SELECT "%s" (QRESYNC (%s))' % (WORK, cursor))
            self.assertEqual([l for l in bob.untagged if re.search(rb"FETCH|VANISHED", l)], [])
        # What he does on b, and what becomes of the messages, a tells him from that same cursor.
        with self.b.imap("bob") as bob:
            bob.select(WORK)
            bob.command("UID STORE 2 +FLAGS.SILENT (\\Seen)")
            bob.command("UID STORE 1 -FLAGS.SILENT (\\Seen)")
        self.wait_seen("bob", WORK, [2])
        with self.a.imap("bob") as bob:
            bob.command("ENABLE QRESYNC")
            bob.command('SELECT "%s" (QRESYNC (%s))' % (WORK, cursor))
            told = chapar.fetched(bob.untagged)
            self.assertEqual({uid: "\\Seen" in told[uid]["FLAGS"] for uid in told}, {1: False, 2: True})
            later = bob.select(WORK)
            changed = bob.fetch("1:*", "FLAGS) (CHANGEDSINCE %d" % later["highestmodseq"])
            self.assertEqual(changed, {})

    def test_a_shared_account_is_for_those_whom_its_rights_name(self):
        self.nodes.start("alice", "bob")
        self.a.tool("account", "share", "team")
        wait_until(
            lambda: "team" in self.b.tool("account", "list")[1], chapar.SYNC_SECONDS, "team on b"
        )
        # A group that the configuration has; its name and members in any case.
        self.a.tool("acl", "team", "INBOX", "group:OFFICE", "lrswite")
        self.wait_listed(self.a, "bob", TEAM)
        self.wait_listed(self.b, "bob", TEAM)
        with self.b.imap("alice") as alice:
            self.assertNotIn(TEAM, alice.mailboxes())
            self.assertEqual(alice.try_command("STATUS %s (MESSAGES)" % TEAM)[0], "NO")
        # Mail is for whom `anyone` may post to.
        with self.b.lmtp() as lmtp:
            self.assertTrue(lmtp.deliver(["team"], message("no"))[0].startswith(b"550 5.7.1"))
        self.b.tool("acl", "team", "INBOX", "group:office", "lrswitep")
        with self.b.lmtp() as lmtp:
            self.assertTrue(lmtp.deliver(["team"], message("no"))[0].startswith(b"550 5.7.1"))
        self.b.tool("acl", "team", "INBOX", "anyone", "p")
        self.b.deliver("team", message("posted"))

        def bob_counts():
            with self.a.imap("bob") as bob:
                return bob.select(TEAM)["exists"] == 1

        wait_until(bob_counts, chapar.SYNC_SECONDS, "the posted message on a")
        self.assertIn("group:office", self.a.tool("acl", "team", "INBOX")[1])

    def test_administrators_see_all_accounts_but_the_servers_own(self):
        for node in self.nodes.nodes:
            node.extra += '\nadmin "boss" { }\nadmin "auditor" { read-only = true }'
        self.nodes.start("alice", "bob", "boss", "auditor")
        self.share_work(("bob", "lr"))
        self.a.tool("account", "share", "team")
        with self.a.imap("boss") as boss:
            boss.command('SETMETADATA "" (/shared/comment "makes the account of the server")')
            listed = boss.mailboxes()
            for name in (WORK, TEAM, "Other Users/bob"):
                self.assertIn(name, listed)
            self.assertEqual([name for name in listed if "#server" in name], [])
            self.assertEqual(boss.try_command('STATUS "Other Users/#server" (MESSAGES)')[0], "NO")
            self.assertEqual(boss.try_command('SELECT "%s"' % WORK)[0], "NO")  # he gives himself r
            boss.command('SETACL "%s" boss lrswite' % WORK)
            boss.command("SETACL %s bob lrs" % TEAM)
            boss.select(WORK)
            boss.command("UID STORE 1 +FLAGS (\\Flagged)")
        with self.a.imap("bob") as bob:
            self.assertIn(TEAM, bob.mailboxes())
        with self.a.imap("alice") as alice:
            alice.command("SETACL work auditor %s" % ALL)
        with self.a.imap("auditor") as auditor:
            listed = auditor.mailboxes()
            for name in (WORK, TEAM, "Other Users/bob"):
                self.assertIn(name, listed)
            auditor.select(WORK)
            for command in (
                "UID STORE 1 +FLAGS (\\Seen)",
                "UID STORE 1 -FLAGS (\\Flagged)",
                'SETACL "%s" auditor %s' % (WORK, ALL),
                "SETACL %s auditor %s" % (TEAM, ALL),
                'DELETE "%s"' % WORK,
                "CREATE %s/x" % TEAM,
                "EXPUNGE",
            ):
                self.assertEqual(auditor.try_command(command)[0], "NO", command)
            self.assertEqual(auditor.try_command('APPEND "%s"' % WORK, message("no"))[0], "NO")
            auditor.fetch("1", "BODY[]")
            self.assertEqual(auditor.fetch("1:*", "FLAGS")[1]["FLAGS"], ["\\Flagged"])

    def test_nobody_logs_in_to_a_shared_account(self):
        self.nodes.start("alice", "bob")
        self.nodes.cut()
        self.a.tool("account", "share", "team")
        self.b.add_account("team")  # the same name, a user's there
        self.b.imap("team").close()
        for words in (("account", "passwd", "team"), ("account", "add", "team")):
            status, text = self.a.tool(
                *words, "--password-file", "-", check=False, text_input="x\n"
            )
            self.assertNotEqual(status, 0, text)
        self.assertNotEqual(self.a.tool("account", "share", "alice", check=False)[0], 0)
        self.nodes.heal()

        def is_refused(node):
            with node.imap() as client:
                return client.try_command("LOGIN team %s" % chapar.PASSWORD)[0] == "NO"

        for node in self.nodes.nodes:
            wait_until(lambda node=node: is_refused(node), chapar.SYNC_SECONDS, "no login to team")
            status, _ = node.tool(
                "account", "passwd", "team", "--password-file", "-", check=False, text_input="x\n"
            )
            self.assertNotEqual(status, 0)


if __name__ == "__main__":
    chapar.main()
