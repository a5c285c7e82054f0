"""Conditional STORE (RFC 7162, 3.1.3) with two copies: what a client of one copy never saw must fail a test-and-set on the
other, whatever the clocks and stamps say."""

import re

import chapar_test as chapar
from chapar_test import message

USER = "alice"


class Conditional(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.both = self.pair()
        self.both.start(USER)

    def highest(self, client):
        client.command("SELECT INBOX (CONDSTORE)")
        return int(re.search(rb"HIGHESTMODSEQ (\d+)", b"\n".join(client.untagged)).group(1))

    def conditional(self, client, since, item):
        return client.command("UID STORE 1 (UNCHANGEDSINCE %d) %s" % (since, item))

    def test_a_flag_that_a_merge_showed_later_than_its_stamp_counts_as_changed(self):
        a, b = self.both.a, self.both.b
        with a.imap(USER) as client:
            client.command('APPEND "INBOX"', message("one"))
            client.command('APPEND "INBOX"', message("two"))
        self.both.wait_equal(USER)
        self.both.cut()
        with a.imap(USER) as client:
            self.highest(client)
            client.command("UID STORE 1 +FLAGS ($MDNSent)")
        with b.imap(USER) as client:
            self.highest(client)
            client.command("UID STORE 2 +FLAGS (\\Flagged)")
            since = self.highest(client)  # above the stamp of $MDNSent, which is not here
        self.both.heal()
        self.both.wait_equal(USER)
        with a.imap(USER) as client:
            self.highest(client)
            self.assertIn("[MODIFIED 1]", self.conditional(client, since, "+FLAGS.SILENT ($MDNSent)"))
            # From the next change of the mailbox on only what is named counts.
            client.command("UID STORE 2 -FLAGS (\\Flagged)")
            since = self.highest(client)
            client.command("UID STORE 1 +FLAGS (\\Answered)")
            self.assertNotIn("MODIFIED", self.conditional(client, since, "-FLAGS.SILENT ($MDNSent)"))
            self.assertIn("[MODIFIED 1]", self.conditional(client, since, "+FLAGS.SILENT (\\Answered)"))

    def test_a_change_that_came_from_the_other_copy_counts_by_its_stamp(self):
        a, b = self.both.a, self.both.b
        with a.imap(USER) as client:
            client.command('APPEND "INBOX"', message("one"))
        self.both.wait_equal(USER)
        with a.imap(USER) as mine, b.imap(USER) as theirs:
            since = self.highest(mine)
            self.highest(theirs)
            theirs.command("UID STORE 1 +FLAGS (\\Answered)")
            self.both.wait_equal(USER)
            self.assertNotIn("MODIFIED", self.conditional(mine, since, "+FLAGS.SILENT (\\Flagged)"))
            self.assertIn("[MODIFIED 1]", self.conditional(mine, since, "-FLAGS.SILENT (\\Answered)"))


if __name__ == "__main__":
    chapar.main()
