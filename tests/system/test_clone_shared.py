"""What others let a user see is in his copy, too: in the same places, with his rights and his own
\\Seen, and it goes from there when he may see it no more."""

import json
import os
import random
import subprocess
import time

import chapar_test as chapar
from chapar_test import message, wait_until
from test_clone import Copy

TEAM = "Shared/team"
WORK = "Other Users/bob/work"
PRIVATE = "Other Users/bob/private"


class SharedClone(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.origin = self.node("a")
        self.origin.certificate = chapar.make_certificate(
            self.folder, "origin", self.origin.address
        )
        self.origin.extra = 'group "Office" { members = "alice carol" }'
        self.origin.write_config()
        for user in ("alice", "bob", "carol"):
            self.origin.add_account(user)
        self.origin.start()
        self.copies = []
        with self.origin.imap("bob") as bob:
            bob.command("CREATE work")
            bob.command("CREATE private")
            bob.append("work", message("one"), "\\Seen")
            bob.append("work", message("two"), "\\Flagged")
            bob.append("work", message("three"))
            bob.append("private", message("secret"))

    def tearDown(self):
        for copy in self.copies:
            if copy.server is not None:
                copy.server.kill()
                copy.server.wait()
                copy.server.stdout.close()
        self.verify_clean(self.origin)
        super().tearDown()

    def grant(self, rights, mailbox="work", user="alice", owner="bob"):
        with self.origin.imap(owner) as client:
            client.command('SETACL "%s" %s "%s"' % (mailbox, user, rights))

    def cloned(self):
        copy = Copy(self.origin, os.path.join(self.folder, "copy"))
        self.copies.append(copy)
        copy.clone("--ca-file", self.origin.certificate[0])
        return copy

    def served(self, copy):
        port, _ = copy.serve()
        client = chapar.Imap("127.0.0.1", port)
        client.login("alice")
        return client

    def look(self, client, mailbox=WORK):
        """{UID: (subject, flags)} as that client sees it."""
        found = {}
        if client.select(mailbox, "EXAMINE")["exists"] == 0:
            return found
        for uid, items in client.fetch("1:*", "UID FLAGS ENVELOPE").items():
            flags = sorted(flag for flag in items["FLAGS"] if flag != "\\Recent")
            found[uid] = (items["ENVELOPE"][1].decode(), flags)
        return found

    def assert_same(self, copy, mailbox=WORK):
        with self.origin.imap("alice") as there, self.served(copy) as here:
            self.assertEqual(self.look(here, mailbox), self.look(there, mailbox))
            self.assertEqual(
                [box for box in here.mailboxes() if box != "INBOX"],
                [box for box in there.mailboxes() if box != "INBOX"],
            )
        copy.end()
        self.assertEqual(copy.run("-C", copy.folder, "verify", "--bodies")[0], 0)

    def test_shared_mailboxes_are_in_the_copy_where_they_are_at_the_origin(self):
        self.origin.tool("account", "share", "team")
        self.origin.tool("acl", "team", "INBOX", "alice", "lrs")
        self.grant("lrs", user="group:Office")
        copy = self.cloned()
        self.assert_same(copy)
        self.assert_same(copy, TEAM)
        with self.served(copy) as here:
            self.assertEqual(here.mailboxes(), ["INBOX", WORK, TEAM])
            # What she has no right to is not there, nor can she do what she may not, or not off line.
            here.select(WORK)
            for line in ("UID STORE 1 +FLAGS (\\Flagged)", "UID EXPUNGE 1", 'CREATE "%s/x"' % WORK):
                self.assertEqual(here.try_command(line)[0], "NO", line)
        copy.end()
        # Nothing of the rest came.
        found = subprocess.run(["grep", "-rahoE", "work|private", copy.folder + "/store"],
                               stdout=subprocess.PIPE, encoding="utf-8", check=False).stdout
        self.assertEqual(set(found.split()), {"work"})

    def acl(self, client, mailbox=WORK):
        """{identifier: letters}, as GETACL tells it."""
        client.command('GETACL "%s"' % mailbox)
        line = next(line for line in client.untagged if line.startswith(b"* ACL "))
        words = line.decode().partition('"%s" ' % mailbox if " " in mailbox else mailbox + " ")[2]
        words = words.split()
        return dict(zip(words[::2], words[1::2]))

    def assert_same_acl(self, copy, mailbox=WORK):
        with self.origin.imap("alice") as there, self.served(copy) as here:
            self.assertEqual(self.acl(here, mailbox), self.acl(there, mailbox))
        copy.end()

    def test_who_may_do_what_is_shown_and_changed_off_line(self):
        self.grant("lrswipkxtea")
        self.grant("lrs", user="group:Office")
        self.grant("lr", user="anyone", mailbox="private")
        self.grant("lr", mailbox="private")
        copy = self.cloned()
        self.assert_same_acl(copy)
        with self.served(copy) as here:
            # Of what she may not administer she is told nothing.
            self.assertEqual(here.try_command('GETACL "%s"' % PRIVATE)[0], "NO")
            self.assertEqual(here.try_command('SETACL "%s" carol lr' % PRIVATE)[0], "NO")
            here.command('SETACL "%s" carol lrsw' % WORK)
            here.command('SETACL "%s" carol -s' % WORK)
            here.command('SETACL "%s" dora lr' % WORK)
            here.command('SETACL "%s" erik lr' % WORK)
            here.command('DELETEACL "%s" erik' % WORK)
            here.command('DELETEACL "%s" group:Office' % WORK)
            shown = self.acl(here)
            self.assertEqual(shown["carol"], "lrw")
            self.assertEqual(set(shown), {"bob", "alice", "carol", "dora"})
        copy.end()
        # One of them is changed at its server, later: that stays.
        with self.origin.imap("bob") as bob:
            bob.command("SETACL work dora lrs")
            bob.command("SETACL work frida l")
        copy.sync("pull")
        with self.served(copy) as here:
            shown["frida"] = "l"
            self.assertEqual(self.acl(here), shown)
            here.command('CREATE "%s/new"' % WORK)
            self.assertEqual(self.acl(here, WORK + "/new"), shown)
            here.command('SETACL "%s/new" carol lrswi' % WORK)
            here.command('CREATE "%s/brief"' % WORK)
            here.command('SETACL "%s/brief" carol lr' % WORK)
            here.command('DELETE "%s/brief"' % WORK)
        copy.end()
        copy.sync()
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.acl(bob, "work"), dict(shown, dora="lrs"))
            self.assertEqual(self.acl(bob, "work/new")["carol"], "lrswi")
        self.assert_same_acl(copy)
        self.assert_same_acl(copy, WORK + "/new")
        self.assertIn("nothing new", copy.sync()[1])
        self.assertEqual(self.theirs(), ["INBOX", "private", "work", "work/new"])
        # It goes on: what is taken away there is not there any more.
        with self.origin.imap("bob") as bob:
            bob.command("DELETEACL work frida")
        copy.sync()
        self.assert_same_acl(copy)

    def test_more_entries_than_one_answer_holds_are_all_shown(self):
        entries = {"user%0100d" % number: "lr" for number in range(90)}
        with self.origin.imap("bob") as bob:
            for user in entries:
                bob.command("SETACL work %s lr" % user)
            bob.command("SETACL work alice lra")
            for number in range(40):  # with the rights of the one above
                bob.command("CREATE work/%d" % number)
        copy = self.cloned()
        with self.served(copy) as here:
            for number in range(40):
                shown = self.acl(here, WORK + "/%d" % number)
                self.assertEqual({user: shown.get(user) for user in entries}, entries)
        copy.end()

    def test_what_she_changes_of_her_own_rights_counts_at_once(self):
        self.grant("lrsa")
        copy = self.cloned()
        with self.served(copy) as here:
            here.select(WORK)
            self.assertEqual(here.try_command("UID STORE 1 +FLAGS (\\Flagged)")[0], "NO")
            here.command('SETACL "%s" alice +w' % WORK)
            here.command("UID STORE 1 +FLAGS (\\Flagged)")
            here.command('SETACL "%s" alice -a' % WORK)
            self.assertEqual(here.try_command('SETACL "%s" alice +a' % WORK)[0], "NO")
        copy.end()
        copy.sync()
        self.assert_same(copy)
        self.assertEqual(self.owners()[1], ("one", ["\\Flagged", "\\Seen"]))
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.acl(bob, "work")["alice"], "lrsw")
        with self.served(copy) as here:
            self.assertEqual(here.try_command('GETACL "%s"' % WORK)[0], "NO")
        copy.end()
        self.assertIn("nothing new", copy.sync()[1])

    def test_rights_that_she_may_give_no_more_are_as_they_were_and_told(self):
        self.grant("lrsa")
        copy = self.cloned()
        with self.served(copy) as here:
            here.command('SETACL "%s" carol lr' % WORK)
            here.command('SETACL "%s" alice lrswipkxtea' % WORK)
            here.append(WORK, message("too much"))
        copy.end()
        self.grant("lrs")
        status, text = copy.sync(check=False)
        self.assertNotEqual(status, 0)
        self.assertRegex(text, 'mailbox "work": what "carol" may do is not changed there: .*rights')
        self.assertIn('kept in your own mailbox "Kept/bob/work"', text)
        copy.sync()
        with self.origin.imap("bob") as bob:
            self.assertNotIn("carol", self.acl(bob, "work"))
            self.assertEqual(self.acl(bob, "work")["alice"], "lrs")
        self.assert_same(copy)
        journal = copy.run("-C", copy.folder, "conflicts", "alice")[1]
        self.assertIn("did not take a change", journal)
        self.assertIn("bob/work", journal)
        # Given again, she is shown what it is now.
        self.grant("lrsa")
        copy.sync()
        self.assert_same_acl(copy)
        self.assertIn("nothing new", copy.sync()[1])

    def theirs(self):
        with self.origin.imap("bob") as bob:
            return bob.mailboxes()

    def test_mailboxes_made_renamed_and_deleted_off_line(self):
        with self.origin.imap("bob") as bob:
            bob.command("CREATE work/old")
            bob.command("CREATE work/more")
            bob.append("work/old", message("gone"))
            bob.append("work/more", message("kept"))
        for mailbox in ("work", "work/old", "work/more"):
            self.grant("lrswikxte", mailbox)
            self.grant("lrs", mailbox, "carol")
        copy = self.cloned()
        with self.served(copy) as here:
            here.command('CREATE "%s/new/deep"' % WORK)
            here.append(WORK + "/new/deep", message("first"), "\\Flagged")
            here.command('DELETE "%s/old"' % WORK)
            here.command('RENAME "%s/more" "%s/most"' % (WORK, WORK))
            here.command('RENAME "%s/new" "%s/next"' % (WORK, WORK))
            here.command('CREATE "%s/brief"' % WORK)
            here.command('DELETE "%s/brief"' % WORK)
            here.append(WORK + "/most", message("more"))
        copy.end()
        # Nothing of it is lost or undone by a pull.
        copy.sync("pull")
        with self.served(copy) as here:
            names = [name for name in here.mailboxes() if name.startswith(WORK)]
            self.assertEqual(names, [WORK, WORK + "/most", WORK + "/next", WORK + "/next/deep"])
        copy.end()
        copy.sync()
        copy.sync()
        self.assertEqual(self.theirs(), ["INBOX", "private", "work", "work/most", "work/next",
                                         "work/next/deep"])
        self.assertEqual(self.subjects(self.owners("work/most")), ["kept", "more"])
        self.assertEqual(self.owners("work/next/deep"), {1: ("first", ["\\Flagged"])})
        for mailbox in ("", "/most", "/next", "/next/deep"):
            self.assert_same(copy, WORK + mailbox)
        # Others see it with the rights to what it is below.
        with self.origin.imap("carol") as carol:
            self.assertIn(WORK + "/next/deep", carol.mailboxes())
        self.assertIn("nothing new", copy.sync()[1])

    def pending(self, copy):
        status = json.loads(copy.run("-C", copy.folder, "status", "--json")[1])
        return status["origin"]["pending-changes"]

    def test_status_counts_what_waits_of_mailboxes_and_rights(self):
        for mailbox in ("work", "private"):
            self.grant("lrswipkxtea", mailbox)
        copy = self.cloned()
        self.assertEqual(self.pending(copy), 0)
        for command, count in (
            ('CREATE "%s/new"' % WORK, 1),
            ('SETACL "%s" carol lr' % WORK, 2),
            ('RENAME "%s/new" "%s/next"' % (WORK, WORK), 2),  # one mailbox
            ('SETACL "%s" carol lrs' % WORK, 2),  # one entry
            ('RENAME "%s" "%s/last"' % (PRIVATE, WORK), 3),
            ('SETACL "%s/last" dora lr' % WORK, 4),
            ('DELETE "%s/next"' % WORK, 4),
        ):
            with self.served(copy) as here:
                here.command(command)
            copy.end()
            self.assertEqual(self.pending(copy), count, command)
        copy.sync("pull")
        self.assertEqual(self.pending(copy), 4, "a pull tells nothing")
        copy.sync()
        self.assertEqual(self.pending(copy), 0)
        self.assertEqual(self.theirs(), ["INBOX", "work", "work/last"])
        self.assertIn("nothing new", copy.sync()[1])

    def test_what_she_may_not_arrange_any_more_is_as_it_was_and_told(self):
        with self.origin.imap("bob") as bob:
            bob.command("CREATE work/old")
            bob.command("CREATE work/taken")
            bob.append("work/old", message("stays"))
        for mailbox in ("work", "work/old", "work/taken"):
            self.grant("lrswikxte", mailbox)
        copy = self.cloned()
        with self.served(copy) as here, self.origin.imap("bob") as bob:
            here.command('DELETE "%s/old"' % WORK)
            here.command('RENAME "%s/taken" "%s/mine"' % (WORK, WORK))
            here.command('CREATE "%s/both"' % WORK)
            here.append(WORK + "/both", message("of both"))
            here.command('CREATE "%s/no"' % WORK)
            here.append(WORK + "/no", message("to nowhere"))
            bob.append("work/old", message("came meanwhile"))
            bob.command("CREATE work/both")
            bob.append("work/both", message("his"))
        copy.end()
        for mailbox in ("work/both", "work/old"):
            self.grant("lrswikxte", mailbox)
        for mailbox in ("work", "work/taken"):
            self.grant("lrswite", mailbox)
        status, text = copy.sync(check=False)
        self.assertNotEqual(status, 0)
        for words in ('"work/old": it is not deleted there: .*came there',
                      '"work/mine": it is not made', '"work/no": it is not made',
                      'kept in your own mailbox "Kept/bob/work/no"'):
            self.assertRegex(text, words)
        copy.sync()
        self.assertEqual(self.theirs(), ["INBOX", "private", "work", "work/both", "work/old",
                                         "work/taken"])
        self.assertEqual(self.subjects(self.owners("work/both")), ["his", "of both"])
        for mailbox in ("", "/both", "/old", "/taken"):
            self.assert_same(copy, WORK + mailbox)
        with self.origin.imap("alice") as there:
            self.assertEqual(self.subjects(self.look(there, "Kept/bob/work/no")), ["to nowhere"])
        self.assertIn("nothing new", copy.sync()[1])

    def owners(self, mailbox="work"):
        with self.origin.imap("bob") as bob:
            return self.look(bob, mailbox)

    def subjects(self, look):
        return sorted(subject for subject, _ in look.values())

    def test_what_is_appended_off_line_has_its_uid_there_if_nobody_else_came(self):
        self.grant("lrswi")
        copy = self.cloned()
        with self.served(copy) as here:
            here.append("INBOX", message("mine"))
            here.select()
            here.append(WORK, message("four"), "\\Flagged \\Seen \\Deleted word")
            here.command('UID COPY 1 "%s"' % WORK)
            before = self.look(here)
            validity = here.select(WORK)["uidvalidity"]
        copy.end()
        self.assertEqual(before[4], ("four", ["\\Flagged", "\\Seen", "word"]))
        self.assertIn("sent", copy.sync()[1])
        self.assert_same(copy)
        with self.served(copy) as here:
            self.assertEqual(self.look(here), before)
            self.assertEqual(here.select(WORK)["uidvalidity"], validity, "nothing was renumbered")
        copy.end()
        self.assertEqual(self.owners(), {
            1: ("one", ["\\Seen"]), 2: ("two", ["\\Flagged"]), 3: ("three", []),
            4: ("four", ["\\Flagged", "word"]), 5: ("mine", []),
        })
        copy.sync()  # her \\Seen there
        self.assertIn("nothing new", copy.sync()[1])

    def test_the_owners_uids_lead_where_both_sides_gave_the_same(self):
        self.grant("lrswite")
        self.grant("lrswite", user="carol")
        copy = self.cloned()
        with self.served(copy) as here, self.origin.imap("bob") as bob, \
                self.origin.imap("carol") as carol:
            here.append(WORK, message("hers"))
            here.append(WORK, message("hers too"))
            bob.append("work", message("his"))
            carol.append(WORK, message("carol's"))
            here.select(WORK)
            validity = here.select(WORK)["uidvalidity"]
            here.command("UID STORE 5 +FLAGS (late)")
            here.append(WORK, message("no more"))
            here.command("UID STORE 6 +FLAGS (\\Deleted)")
            here.command("UID EXPUNGE 6")
        copy.end()
        # Off line she has all of it, whatever was pulled meanwhile.
        copy.sync("pull")
        with self.served(copy) as here:
            found = self.look(here)
            self.assertEqual(self.subjects(found), sorted(
                ["one", "two", "three", "his", "carol's", "hers", "hers too"]))
            self.assertEqual([found[uid][0] for uid in range(1, 6)],
                             ["one", "two", "three", "his", "carol's"])
            self.assertGreater(here.select(WORK)["uidvalidity"], validity)
        copy.end()
        copy.sync()
        self.assert_same(copy)
        self.assertEqual({uid: subject for uid, (subject, _) in self.owners().items()}, {
            1: "one", 2: "two", 3: "three", 4: "his", 5: "carol's", 6: "hers", 7: "hers too"})
        self.assertEqual(self.owners()[7][1], ["late"])
        self.assertIn("nothing new", copy.sync()[1])
        # And on it goes, both ways.
        with self.served(copy) as here, self.origin.imap("bob") as bob:
            bob.append("work", message("eight"))
            here.append(WORK, message("nine"))
        copy.end()
        copy.sync()
        self.assert_same(copy)
        self.assertEqual(self.owners()[9], ("nine", []))

    def test_moves_off_line_between_accounts_are_a_copy_and_an_expunge(self):
        self.grant("lrswite")
        self.grant("lrsi", "private")
        copy = self.cloned()
        with self.served(copy) as here:
            here.append("INBOX", message("mine"))
            here.select()
            here.command('UID STORE 1 ANNOTATION (/comment (value.shared "x"))')  # stays behind
            here.command('UID MOVE 1 "%s"' % WORK)
            here.select(WORK)
            here.command("UID MOVE 2 INBOX")
            here.command('UID MOVE 3 "%s"' % PRIVATE)
        copy.end()
        copy.sync()
        self.assert_same(copy)
        self.assert_same(copy, PRIVATE)
        self.assertEqual(self.subjects(self.owners()), ["mine", "one"])
        self.assertEqual(self.subjects(self.owners("private")), ["secret", "three"])
        with self.origin.imap("alice") as there:
            self.assertEqual(self.subjects(self.look(there, "INBOX")), ["two"])

    def test_what_can_no_more_be_put_there_is_kept_for_her_and_told(self):
        self.grant("lrswi")
        copy = self.cloned()
        with self.served(copy) as here:
            here.append(WORK, message("mine"), "\\Flagged \\Seen")
        copy.end()
        self.grant("lrs")
        text = copy.sync()[1]
        self.assertIn('bob: a message that was appended to work here is kept in your own mailbox '
                      '"Kept/bob/work": ', text)
        self.assertIn("your rights do not let you", text)
        self.assert_same(copy)
        with self.origin.imap("alice") as there:
            self.assertEqual(list(self.look(there, "Kept/bob/work").values()),
                             [("mine", ["\\Flagged", "\\Seen"])])
        self.assertEqual(len(self.owners()), 3)
        self.assertIn("kept in this one", copy.run("-C", copy.folder, "conflicts", "alice")[1])
        # The mailbox goes, or all of the rights do.
        self.grant("lrswi")
        self.grant("lrswi", "private")
        copy.sync()
        with self.served(copy) as here:
            here.append(WORK, message("again"))
            here.append(PRIVATE, message("never"))
        copy.end()
        with self.origin.imap("bob") as bob:
            bob.command("DELETE work")
        self.grant("", "private")
        copy.sync("pull")
        copy.sync()
        with self.origin.imap("alice") as there:
            self.assertEqual(self.subjects(self.look(there, "Kept/bob/work")), ["again", "mine"])
            self.assertEqual(self.subjects(self.look(there, "Kept/bob/private")), ["never"])
            self.assertEqual(there.mailboxes(), [
                "INBOX", "Kept", "Kept/bob", "Kept/bob/private", "Kept/bob/work"])

    def test_pushes_that_are_torn_end_with_one_copy_of_each(self):
        """Killed at any moment, on either side, while others append: each message is there once,
        and the owner's UIDs stay."""
        self.grant("lrswite")
        copy = self.cloned()
        chance = random.Random(7)
        expected = ["one", "two", "three"]
        known = {}
        for step in range(6):
            with self.served(copy) as here, self.origin.imap("bob") as bob:
                for number in range(3):
                    expected.append("hers %d.%d" % (step, number))
                    here.append(WORK, message(expected[-1]))
                expected.append("his %d" % step)
                bob.append("work", message(expected[-1]))
            copy.end()
            running = subprocess.Popen(
                [chapar.CHAPAR, "sync", copy.folder], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=copy.environment)
            time.sleep(chance.uniform(0.1, 0.9))
            if step % 2 == 0:
                running.kill()
            else:
                self.origin.kill()
                self.origin.start()
            running.wait()
            now = {uid: subject for uid, (subject, _) in self.owners().items()}
            self.assertEqual({uid: now.get(uid) for uid in known}, known, "renumbered")
            known = now
        copy.sync()
        copy.sync()
        self.assert_same(copy)
        self.assertEqual(self.subjects(self.owners()), sorted(expected))

    def cut_at(self, copy, wire, count):
        """A sync, killed when it has sent so much: that is done there, and it never hears of it.
        Returns whether it came to its end before."""
        seen = []

        def watch(_):
            seen.append(None)
            if len(seen) == count:
                running.kill()
                running.wait()

        wire.watch = watch
        running = subprocess.Popen(
            [chapar.CHAPAR, "sync", copy.folder], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=copy.environment)
        running.wait()
        wire.watch = None
        return len(seen) < count

    def test_acts_that_are_torn_at_each_step_are_done_once(self):
        with self.origin.imap("bob") as bob:
            for mailbox in ("work/old", "work/more"):
                bob.command("CREATE " + mailbox)
            bob.append("work/old", message("gone"))
            bob.append("work/more", message("kept"))
        for mailbox in ("work", "work/old", "work/more"):
            self.grant("lrswikxtea", mailbox)
        wire = chapar.Wire(self.origin.address, self.origin.imaps_port + 1, (self.origin.address, self.origin.imaps_port))
        wire.heal()
        self.addCleanup(wire.cut)
        copy = Copy(self.origin, os.path.join(self.folder, "copy"))
        self.copies.append(copy)
        copy.clone("--ca-file", self.origin.certificate[0], port=self.origin.imaps_port + 1)
        with self.served(copy) as here:
            here.command('CREATE "%s/new"' % WORK)
            here.command('SETACL "%s/new" carol lr' % WORK)
            here.append(WORK + "/new", message("first"))
            here.command('SETACL "%s" carol lrsi' % WORK)
            here.command('DELETE "%s/old"' % WORK)
            here.command('RENAME "%s/more" "%s/most"' % (WORK, WORK))
            here.command('DELETEACL "%s/most" alice' % WORK)
        copy.end()
        count = 1
        while not self.cut_at(copy, wire, count):
            count += 1
            if count % 4 == 0:
                self.origin.kill()
                self.origin.start()
        self.assertGreater(count, 8, "it has that many steps")
        copy.sync()
        self.assertEqual(self.theirs(), ["INBOX", "private", "work", "work/most", "work/new"])
        self.assertEqual(self.owners("work/new"), {1: ("first", [])})
        self.assertEqual(self.subjects(self.owners("work/most")), ["kept"])
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.acl(bob, "work")["carol"], "lrsi")
            self.assertEqual(self.acl(bob, "work/new")["carol"], "lr")
            self.assertEqual(set(self.acl(bob, "work/most")), {"bob"})
        self.assert_same(copy)
        self.assert_same(copy, WORK + "/new")
        self.assert_same_acl(copy)
        self.assert_same_acl(copy, WORK + "/new")
        self.assertNotIn("did not take", copy.run("-C", copy.folder, "conflicts", "alice")[1])
        self.assertIn("nothing new", copy.sync()[1])

    def test_over_quota_it_waits(self):
        self.grant("lrswi")
        copy = self.cloned()
        self.origin.tool("quota", "bob", "--messages", "4")
        with self.served(copy) as here:
            here.append(WORK, message("mine"))
        copy.end()
        status, text = copy.sync(check=False)
        self.assertNotEqual(status, 0)
        self.assertIn("waits", text)
        with self.served(copy) as here:
            self.assertIn("mine", self.subjects(self.look(here)))
        copy.end()
        self.origin.tool("quota", "bob", "--messages", "100")
        copy.sync()
        self.assert_same(copy)
        self.assertIn("mine", self.subjects(self.owners()))

    def test_pulls_bring_what_changed_and_nothing_else(self):
        self.grant("lrs")
        copy = self.cloned()
        self.assertIn("nothing new", copy.sync("pull")[1])
        with self.origin.imap("bob") as bob:
            bob.select("work")
            bob.command("UID STORE 1 +FLAGS (\\Answered later)")
            bob.command("UID STORE 3 +FLAGS (\\Seen)")
            bob.command("UID STORE 2 +FLAGS (\\Deleted)")
            bob.command("UID EXPUNGE 2")
            bob.append("work", message("four"))
        text = copy.sync("pull")[1]
        self.assertIn("bob: received", text)
        self.assert_same(copy)
        # What is moved away, to where she does not look, is gone here.
        with self.origin.imap("bob") as bob:
            bob.select("work")
            bob.command("UID MOVE 3 private")
        copy.sync("pull")
        self.assert_same(copy)
        # And it comes back.
        with self.origin.imap("bob") as bob:
            bob.select("private")
            bob.command("UID MOVE 2 work")
        copy.sync("pull")
        self.assert_same(copy)
        # What happens where she does not look is no news.
        with self.origin.imap("bob") as bob:
            bob.append("private", message("secret too"))
        self.assertIn("bob: received 0 changes", copy.sync("pull")[1])
        self.assertIn("nothing new", copy.sync("pull")[1])

    def test_her_own_seen_goes_both_ways(self):
        self.grant("lrs")
        copy = self.cloned()
        with self.served(copy) as here, self.origin.imap("alice") as there:
            self.assertEqual(self.look(here)[1], ("one", []), "the owner's \\Seen is his")
            here.select(WORK)
            here.command("UID STORE 1 +FLAGS (\\Seen)")
            there.select(WORK)
            there.command("UID STORE 2 +FLAGS (\\Seen)")
        copy.end()
        copy.sync()
        copy.sync()
        self.assert_same(copy)
        with self.origin.imap("alice") as there:
            self.assertEqual(self.look(there)[1], ("one", ["\\Seen"]))
            self.assertEqual(self.look(there)[2], ("two", ["\\Flagged", "\\Seen"]))
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.look(bob, "work")[2], ("two", ["\\Flagged"]))

    def test_what_her_rights_let_her_change_off_line_goes_back(self):
        self.grant("lrswte")
        copy = self.cloned()
        with self.served(copy) as here, self.origin.imap("bob") as bob:
            here.select(WORK)
            here.command("UID STORE 1 +FLAGS (\\Answered hers)")
            here.command("UID STORE 2 -FLAGS (\\Flagged)")
            here.command("UID STORE 3 +FLAGS (\\Deleted \\Seen)")
            here.command("UID EXPUNGE 3")
            here.command('SETMETADATA "%s" (/shared/comment "of both")' % WORK)
            bob.select("work")
            bob.command("UID STORE 1 +FLAGS (\\Flagged his)")
            bob.append("work", message("four"))
        copy.end()
        status = copy.run("-C", copy.folder, "status", "--json")[1]
        self.assertNotIn('"pending-changes":0', status)
        self.assertIn("sent", copy.sync()[1])
        self.assert_same(copy)
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.look(bob, "work"), {
                1: ("one", ["\\Answered", "\\Flagged", "\\Seen", "hers", "his"]),
                2: ("two", []),
                4: ("four", []),
            })
            bob.command("GETMETADATA work /shared/comment")
            self.assertIn(b"of both", b" ".join(bob.untagged))
        self.assertIn("nothing new", copy.sync()[1])
        self.assertIn('"pending-changes":0', copy.run("-C", copy.folder, "status", "--json")[1])
        # She moves one to her own mailbox.
        with self.served(copy) as here:
            here.select(WORK)
            here.command("UID MOVE 2 INBOX")
        copy.end()
        copy.sync()
        with self.origin.imap("alice") as there, self.origin.imap("bob") as bob:
            self.assertEqual([subject for subject, _ in self.look(there, "INBOX").values()], ["two"])
            self.assertEqual(sorted(self.look(bob, "work")), [1, 4])
        self.assert_same(copy)

    def test_changes_that_meet_others_out_of_sight_are_brought_together(self):
        """Where the origin cannot tell what became of a message, all is listed, and nothing lost."""
        self.grant("lrswte")
        copy = self.cloned()
        with self.served(copy) as here, self.origin.imap("bob") as bob:
            here.select(WORK)
            here.command("UID STORE 1 +FLAGS (hers)")
            here.command("UID STORE 2 +FLAGS (hers)")
            bob.command("CREATE elsewhere")
            bob.select("work")
            bob.command("UID MOVE 2 private")
            bob.select("private")
            bob.command("UID MOVE 2 elsewhere")
        copy.end()
        copy.sync()
        self.assert_same(copy)
        with self.origin.imap("bob") as bob:
            self.assertEqual(self.look(bob, "work")[1], ("one", ["\\Seen", "hers"]))
            self.assertEqual(self.look(bob, "elsewhere")[1], ("two", ["\\Flagged"]))

    def test_what_she_may_change_no_more_is_given_up_and_told(self):
        self.grant("lrswte")
        copy = self.cloned()
        with self.served(copy) as here:
            here.select(WORK)
            here.command("UID STORE 1 +FLAGS (hers \\Seen)")
        copy.end()
        self.grant("lrs")
        status, text = copy.sync(check=False)
        self.assertNotEqual(status, 0, text)
        self.assertIn("given up: the peer says: your rights do not let you", text)
        copy.sync()
        self.assert_same(copy)
        with self.origin.imap("alice") as there:
            self.assertEqual(self.look(there)[1], ("one", ["\\Seen"]))

    def test_what_she_may_see_no_more_goes_and_is_not_deleted_there(self):
        self.grant("lrs")
        self.grant("lrs", "private")
        copy = self.cloned()
        self.assert_same(copy, PRIVATE)
        self.grant("", "private")
        copy.sync()
        self.assert_same(copy)
        with self.served(copy) as here:
            self.assertEqual(here.mailboxes(), ["INBOX", WORK])
        copy.end()
        with self.origin.imap("bob") as bob:
            self.assertEqual(len(self.look(bob, "private")), 1)
        # Given again, it comes again, under the same UIDs.
        self.grant("lr", "private")
        copy.sync()
        self.assert_same(copy, PRIVATE)
        # Renamed there, deleted there, and all of it taken away.
        with self.origin.imap("bob") as bob:
            bob.command("RENAME work job")
            bob.command("DELETE private")
        copy.sync()
        self.assert_same(copy, "Other Users/bob/job")
        self.grant("", "job")
        copy.sync()
        with self.served(copy) as here:
            self.assertEqual(here.mailboxes(), ["INBOX"])
        copy.end()
        with self.origin.imap("bob") as bob:
            self.assertEqual(len(self.look(bob, "job")), 3)

    def test_an_inbox_is_shared_too(self):
        self.origin.deliver("bob", message("to bob"))
        self.grant("lr", "INBOX")
        copy = self.cloned()
        self.assert_same(copy, "Other Users/bob")
        self.grant("", "INBOX")
        copy.sync()
        self.grant("lr", "INBOX")
        self.origin.deliver("bob", message("to bob again"))
        copy.sync()
        self.assert_same(copy, "Other Users/bob")

    def test_watching_hears_of_changes_and_of_what_is_shared_from_now_on(self):
        copy = self.cloned()
        port, password = copy.serve("--local-password")
        watcher = subprocess.Popen(
            [chapar.CHAPAR, "sync", copy.folder, "--watch"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=copy.environment,
            preexec_fn=chapar.end_with_parent,
        )
        self.addCleanup(watcher.wait)
        self.addCleanup(watcher.kill)

        def here():
            with chapar.Imap("127.0.0.1", port) as client:
                client.login("alice", password)
                if WORK not in client.mailboxes():
                    return None
                try:
                    return sorted(subject for subject, _ in self.look(client).values())
                except (chapar.ImapError, ConnectionError):  # it went meanwhile
                    return None

        # Within less than the minute after which it would ask anyway.
        self.grant("lr")
        wait_until(lambda: here() == ["one", "three", "two"], 30, "what was granted is here")
        with self.origin.imap("bob") as bob:
            bob.append("work", message("four"))
        wait_until(lambda: here() == ["four", "one", "three", "two"], 30, "what came is here")
        self.grant("")
        wait_until(lambda: here() is None, 30, "what was taken away is gone")


if __name__ == "__main__":
    chapar.main()
