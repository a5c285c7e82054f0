"""Real mail, one message a file, from the folder that CHAPAR_TEST_MAIL names: every message comes
back byte for byte from both nodes, and what clients ask about it (SORT, THREAD, PREVIEW, BINARY) is
answered as Python's email package would."""

import email
import email.utils
import os
import re
import unittest

import chapar_test as chapar
from chapar_test import fetched

SORT_KEYS = ("ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO")
PREVIEW_LENGTH_MAX = 200
ITEMS = "UID ENVELOPE BODYSTRUCTURE RFC822.SIZE BODY.PEEK[]"


def messages(folder):
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            with open(os.path.join(path, name), "rb") as file:
                data = file.read()
            if re.match(rb"[!-9;-~]+:|From ", data):  # begins like a message
                yield os.path.join(path, name), re.sub(rb"\r?\n", b"\r\n", data)


def header(data, name):
    """The first header of this name, unfolded; empty without one."""
    value = email.message_from_bytes(data).get(name, "")
    return re.sub(r"\r?\n(?=[ \t])", "", str(value))


def leaves_of_structure(body, path=""):
    """(part number, body structure) of all parts that have no parts, messages in messages too."""
    if not isinstance(body[0], list):
        yield path or "1", body
        return
    for number, part in enumerate(body, 1):
        if not isinstance(part, list):
            break
        yield from leaves_of_structure(part, "%s.%d" % (path, number) if path else str(number))


def leaves_of_message(message, path=""):
    """The same of a message that Python has parsed."""
    if message.get_content_maintype() != "multipart" or not message.is_multipart():
        yield path or "1", message
        return
    for number, part in enumerate(message.get_payload(), 1):
        yield from leaves_of_message(part, "%s.%d" % (path, number) if path else str(number))


def members(thread):
    """All the UIDs of a thread."""
    for item in thread:
        if isinstance(item, list):
            yield from members(item)
        else:
            yield int(item)


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
                self.check_sort(client, sent, found)
                self.check_threads(client, sent)
                self.check_previews(client, sent)
                self.check_binary(client, sent, found)
            self.verify_clean(node)
        print("%d messages" % len(sent))

    def check_sort(self, client, sent, found):
        """Each key gives each message once, in the order that can be told without the server."""
        orders = {}
        for key in SORT_KEYS:
            client.command("UID SORT (%s) UTF-8 ALL" % key)
            line = next(line for line in client.untagged if line.startswith(b"* SORT"))
            orders[key] = [int(word) for word in line.split()[2:]]
            self.assertEqual(sorted(orders[key]), sorted(sent), key)
        self.assertEqual(orders["ARRIVAL"], sorted(sent))
        self.assertEqual(orders["SIZE"], sorted(sent, key=lambda uid: (len(sent[uid][1]), uid)))
        for key, field in (("FROM", 2), ("TO", 5), ("CC", 6)):  # of ENVELOPE
            names = {uid: self.first_mailbox(found[uid]["ENVELOPE"][field]) for uid in sent}
            self.assertEqual(orders[key], sorted(sent, key=lambda uid: (names[uid], uid)), key)
        dates = {uid: email.utils.parsedate_tz(header(data, "Date"))
                 for uid, (_, data) in sent.items()}
        dates = {uid: email.utils.mktime_tz(date) for uid, date in dates.items() if date}
        self.assertEqual([uid for uid in orders["DATE"] if uid in dates],
                         sorted(dates, key=lambda uid: (dates[uid], uid)), "DATE")

    @staticmethod
    def first_mailbox(addresses):
        """What FROM, TO and CC sort by."""
        if not isinstance(addresses, list) or not isinstance(addresses[0][2], bytes):
            return b""
        return addresses[0][2].upper()

    def check_threads(self, client, sent):
        """Each message is in one thread, together with those that it answers."""
        ids = {}
        for uid, (_, data) in sent.items():
            ids.setdefault(header(data, "Message-ID").strip(), set()).add(uid)
        for algorithm in ("ORDEREDSUBJECT", "REFERENCES", "REFS"):
            client.command("UID THREAD %s UTF-8 ALL" % algorithm)
            line = next(line for line in client.untagged if line.startswith(b"* THREAD"))
            threads = [list(members(thread)) for thread in chapar.parse(line[len(b"* THREAD"):])]
            self.assertEqual(sorted(sum(threads, [])), sorted(sent), algorithm)
            if algorithm == "ORDEREDSUBJECT":
                continue
            thread_of = {uid: set(thread) for thread in threads for uid in thread}
            for uid, (path, data) in sent.items():
                answered = re.findall(r"<[^<>\s]+>", header(data, "References"))[-1:]
                if answered and answered[0] in ids:
                    self.assertTrue(thread_of[uid] & ids[answered[0]], (algorithm, path))

    def check_previews(self, client, sent):
        """One line of text; of a plain message, what it says and no more."""
        client.command("UID FETCH 1:* (PREVIEW)")
        found = fetched(client.untagged)
        for uid, (path, data) in sent.items():
            preview = found[uid]["PREVIEW"].decode("utf-8")
            self.assertLessEqual(len(preview), PREVIEW_LENGTH_MAX, path)
            self.assertNotRegex(preview, r"[\x00-\x1f\x7f]", path)
            message = email.message_from_bytes(data)
            if message.get_content_type() != "text/plain":
                continue
            text = message.get_payload(decode=True).decode(
                message.get_content_charset("us-ascii"), "replace")
            self.assertEqual(preview == "", text.strip() == "", path)
            lines = [line for line in text.splitlines() if not line.startswith(">")]
            self.assertIn(preview, " ".join(" ".join(lines).split()), path)

    def check_binary(self, client, sent, found):
        """BINARY undoes transfer encodings as Python does, and BINARY.SIZE tells how long that is."""
        for uid, (path, data) in sent.items():
            parts = dict(leaves_of_message(email.message_from_bytes(data)))
            structure = dict(leaves_of_structure(found[uid]["BODYSTRUCTURE"]))
            self.assertEqual(set(structure), set(parts), path)
            items = " ".join("BINARY.PEEK[%s] BINARY.SIZE[%s]" % (part, part) for part in parts)
            values = client.fetch(str(uid), items)[uid]
            for part, message in parts.items():
                binary = values["BINARY[%s]" % part]
                self.assertEqual(int(values["BINARY.SIZE[%s]" % part]), len(binary), path)
                if not message.is_multipart():  # of message/rfc822 Python keeps no bytes
                    self.assertEqual(binary, message.get_payload(decode=True), (path, part))

    @staticmethod
    def encoded(sent):
        """Messages in which a word may stand in the bytes but not in the decoded text."""
        return {uid for uid, (_, data) in sent.items() if b"base64" in data or b"=" in data}


if __name__ == "__main__":
    chapar.main()
