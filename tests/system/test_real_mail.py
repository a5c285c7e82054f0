"""Real mail, one message a file, from the folder that CHAPAR_TEST_MAIL names: every message comes
back byte for byte from both nodes, and what clients ask about it is answered."""

import os
import re
import unittest

import chapar_test as chapar
from chapar_test import fetched

ITEMS = "UID ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[]"


def messages(folder):
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            with open(os.path.join(path, name), "rb") as file:
                data = file.read()
            if re.match(rb"[!-9;-~]+:|From ", data):  # begins like a message
                yield os.path.join(path, name), re.sub(rb"\r?\n", b"\r\n", data)


class RealMail(chapar.TestCase):
    def test_real_mail_comes_back_byte_for_byte_from_both_nodes(self):
        folder = os.environ.get("CHAPAR_TEST_MAIL")
        if not folder:
            raise unittest.SkipTest("CHAPAR_TEST_MAIL names no folder of mail")
        pair = self.pair()
        pair.start("alice")
        sent = {}
        with pair.a.imap("alice") as client:
            for path, data in messages(folder):
                sent[client.append("INBOX", data)] = (path, data)
        self.assertTrue(sent, "no mail in " + folder)
        pair.wait_equal("alice")
        for node in pair.nodes:
            with node.imap("alice") as client:
                client.select()
                client.command("UID FETCH 1:* (%s)" % ITEMS)
                found = fetched(client.untagged)
                for uid, (path, data) in sent.items():
                    self.assertEqual(found[uid]["BODY[]"], data, path)
                    self.assertEqual(int(found[uid]["RFC822.SIZE"]), len(data), path)
                    self.assertEqual(len(found[uid]["ENVELOPE"]), 10, path)
                    self.assertIsInstance(found[uid]["BODYSTRUCTURE"], list, path)
                text = client.search('TEXT "patch"')
                wanted = [uid for uid, (_, data) in sent.items() if b"patch" in data.lower()]
                self.assertLessEqual(set(wanted) - set(text), self.encoded(sent), "SEARCH TEXT")
            self.verify_clean(node)
        print("%d messages" % len(sent))

    @staticmethod
    def encoded(sent):
        """Messages in which a word may stand in the bytes but not in the decoded text."""
        return {uid for uid, (_, data) in sent.items() if b"base64" in data or b"=" in data}


if __name__ == "__main__":
    chapar.main()
