"""Damaged files: verify names what is hurt, rebuild makes a lost index anew."""

import os
import re

import chapar_test as chapar
from chapar_test import message


class Damage(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.alone = self.node()
        self.alone.write_config()
        self.alone.add_account("alice")
        self.alone.start()
        with self.alone.imap("alice") as client:
            client.command("CREATE Archive")
            for number in range(20):
                body = os.urandom(1500).hex() + "\r\n"
                client.append("INBOX", message("mail %d" % number, body), "\\Flagged")
            client.select()
            client.command("UID MOVE 3:5 Archive")
            client.command("UID STORE 7 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 7")
        self.before = chapar.snapshot(self.alone, "alice")
        self.alone.stop()

    def index_files(self):
        segments = set(self.alone.segment_files())
        found = []
        for folder, _, names in os.walk(self.alone.store):
            found += [os.path.join(folder, name) for name in names if name.endswith(".mdb")]
        return [path for path in found if path not in segments]

    def flip(self, path, offset, length=16):
        with open(path, "r+b") as file:
            file.seek(offset)
            data = file.read(length)
            file.seek(offset)
            file.write(bytes(byte ^ 0x5A for byte in data))

    def body_offset(self):
        """(segment, offset) of bytes within a stored message."""
        for path in self.alone.segment_files():
            with open(path, "rb") as file:
                data = file.read()
            if len(data.rstrip(b"\0")) > 30000:
                return path, len(data.rstrip(b"\0")) // 2
        self.fail("no segment holds mail: %s" % self.alone.segment_files())

    def test_verify_finds_a_sound_store_sound(self):
        self.verify_clean(self.alone)

    def test_verify_names_the_message_whose_body_is_damaged(self):
        path, offset = self.body_offset()
        self.flip(path, offset)
        status, text = self.alone.tool("verify", "--bodies", check=False)
        self.assertNotEqual(status, 0, text)
        self.assertRegex(text, r"alice", "whose mail is it")
        self.assertRegex(text, r"(INBOX|Archive)", "where is it")

    def test_rebuild_restores_all_from_the_log_when_the_index_is_lost(self):
        for path in self.index_files():
            os.unlink(path)
        status, text = self.alone.tool("rebuild", check=False)
        self.assertEqual(status, 0, text)
        self.verify_clean(self.alone)
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)

    def test_a_damaged_index_is_noticed_and_rebuild_restores_it(self):
        for path in self.index_files():
            size = os.path.getsize(path)
            for offset in range(0, min(size, 1 << 20), 4096):
                self.flip(path, offset, 64)
        status, text = self.alone.tool("verify", check=False)
        self.assertNotEqual(status, 0, "verify overlooked a destroyed index: " + text)
        status, text = self.alone.tool("rebuild", check=False)
        self.assertEqual(status, 0, text)
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)

    def test_a_torn_tail_of_the_log_is_cut_off(self):
        with open(self.alone.segment_files()[-1], "ab") as segment:
            segment.write(os.urandom(300))
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)
        self.alone.deliver("alice", message("later"))
        self.alone.restart()
        self.assertEqual(len(chapar.snapshot(self.alone, "alice")["INBOX"][2]), 17)
        self.verify_clean(self.alone)

    def test_the_verdict_of_verify_is_for_people(self):
        _, text = self.alone.tool("verify")
        self.assertTrue(re.search(r"\w", text), "verify says nothing")


if __name__ == "__main__":
    chapar.main()
