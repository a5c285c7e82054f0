"""\\Recent and a restart: the first session that is told of a message, on this node, sees it recent, whatever happened between."""

import chapar_test as chapar
from chapar_test import message


class Recent(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.server.write_config()
        self.server.add_account("alice")
        self.server.start()

    def recent(self, command):
        with self.server.imap("alice") as client:
            client.command(command)
            return [line.decode() for line in client.untagged if b"RECENT" in line]

    def append(self, subject):
        with self.server.imap("alice") as client:
            client.command('APPEND "INBOX"', message(subject))

    def test_what_nobody_was_told_of_before_a_restart_is_recent_after_it(self):
        self.append("first")
        self.recent("SELECT INBOX")
        self.append("second")
        self.assertEqual(self.recent("STATUS INBOX (RECENT)"), ["* STATUS INBOX (RECENT 1)"])
        self.server.stop()
        self.server.start()
        self.append("third")
        self.assertEqual(self.recent("EXAMINE INBOX"), ["* 2 RECENT"])
        self.assertEqual(self.recent("SELECT INBOX"), ["* 2 RECENT"])
        self.assertEqual(self.recent("SELECT INBOX"), ["* 0 RECENT"])
        self.server.stop()
        self.server.start()
        self.assertEqual(self.recent("SELECT INBOX"), ["* 0 RECENT"])

    def test_what_a_crash_forgets_is_recent_once_more(self):
        self.recent("SELECT INBOX")
        self.server.stop()
        self.server.start()
        self.append("first")
        self.assertEqual(self.recent("SELECT INBOX"), ["* 1 RECENT"])
        self.server.kill()
        self.server.start()
        self.assertEqual(self.recent("SELECT INBOX"), ["* 1 RECENT"])

    def test_a_file_that_is_damaged_is_as_good_as_none(self):
        self.append("first")
        self.recent("SELECT INBOX")
        self.append("second")
        self.server.stop()
        path = self.server.store + "/recent"
        with open(path, "r+b") as file:
            file.seek(14)
            file.write(b"\xff\xff")
        self.server.start()
        self.assertEqual(self.recent("SELECT INBOX"), ["* 0 RECENT"])
        self.server.stop()
        self.assertIn("recent-unread", self.server.log())
        with open(path, "rb") as file:
            self.assertEqual(file.read(8), b"CHRECENT")


if __name__ == "__main__":
    chapar.main()
