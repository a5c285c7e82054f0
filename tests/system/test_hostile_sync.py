"""A user who speaks SYNC himself and tries what he may not (P9), and what nobody may (P5).

Every attempt is refused with an error that says what is wrong, changes nothing in any account, and
costs the daemon neither its life nor much memory.
"""

import hashlib
import re
import socket
import time

import chapar_test as chapar
from chapar_test import message

MEMORY_MAX = 400 * 1024 * 1024  # bytes over what was there before
ME, VICTIM = "anna", "bert"
NODE = "00000000000000aa"  # what the user says he is
FAR = 9007199254740991  # the greatest modseq there is
DAYS = 3 * 24 * 3600 * 1000 * 1024
NOBODY = "%(INSTANCE 5.00000000000000aa MODSEQ 5 GUID " + "0" * 64 + " SIZE 1 INTERNALDATE 0 SAVEDATE 0)"


def guid(body):
    return hashlib.sha256(body).hexdigest()


class Sync:
    """A SYNC session over a plain IMAP connection."""

    def __init__(self, node, user, password=chapar.PASSWORD):
        self.client = node.imap(user, password)
        self.client.socket.settimeout(120)
        verb, text = self.ask("HELLO %%(NODE %s VERSION 1)" % NODE)
        assert verb == "HELLO", text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def ask(self, request):
        """Returns the answer's verb and all of it. A request goes as one literal."""
        if isinstance(request, str):
            request = request.encode("utf-8", "surrogateescape")
        self.status, self.text = self.client.try_command("SYNC", request)
        lines = [line for line in self.client.untagged if line.startswith(b"* SYNC ")]
        assert len(lines) == 1, self.client.untagged
        line = lines[0][7:].decode("utf-8", "replace")
        return line.split(" ", 1)[0], line

    def point(self, account):
        verb, text = self.ask("POINTS %%(ACCOUNTS (%s))" % account)
        assert verb == "POINTS", text
        found = re.search(r"SEQUENCE (\d+) HIGHEST (\d+) DIGEST ([0-9a-f]{32})", text)
        return int(found.group(1)), int(found.group(2)), found.group(3)

    def put(self, body):
        verb, text = self.ask(b"PUT %%(BODIES (%s {%d+}\r\n%s))" % (
            guid(body).encode(), len(body), body))
        assert verb == "PUT", text

    def apply(self, account, changes, expect=None, highest=None, result="0" * 32, more=""):
        sequence, mine, _ = self.point(ME)
        if account != ME:
            sequence = 1
        expect = sequence if expect is None else expect
        return self.ask("APPLY %%(ACCOUNT %s EXPECT %d SINCE %d COMMON %d SEQUENCE 1 HIGHEST %d "
                        "RESULT %s %s %s)" % (account, expect, expect, expect,
                                              mine if highest is None else highest, result, more,
                                              changes))


class Record(dict):
    """A record as the server tells it, to be changed and told back."""

    def __init__(self, text):
        super().__init__()
        rest = text[2:-1]
        while rest:
            key, _, rest = rest.partition(" ")
            value = re.match(r'\([^)]*\)|"[^"]*"|\S+', rest).group(0)
            self[key] = value
            rest = rest[len(value):].lstrip()

    @classmethod
    def all(cls, text):
        """The mailboxes and messages of an answer."""
        found = re.findall(r"%\((?:ID|INSTANCE) (?:[^()]|\([^()]*\))*\)", text)
        return [cls(record) for record in found]

    def __call__(self, **changes):
        merged = {**self, **{key: str(value) for key, value in changes.items()}}
        return "%%(%s)" % " ".join("%s %s" % item for item in merged.items() if item[1] != "None")


class Hostile(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        password_file = self.server.password_file()
        self.server.extra = "".join(
            'sync-user "%s" { password-file = "%s" %s }\n' % (name, password_file, keys)
            for name, keys in (("peer", ""), ("reader", "read-only = true"),
                               ("keeper", "no-delete = true"), ("part", 'accounts = "x*"')))
        self.server.add_account(ME)
        self.server.add_account(VICTIM)
        self.server.start()
        for user in (ME, VICTIM):
            with self.server.imap(user) as client:
                client.command("CREATE Work")
                client.append("INBOX", message("one of " + user))
                client.append("INBOX", message("two of " + user))
                client.append("Work", message("three of " + user))
                client.select()
                client.command("STORE 2 +FLAGS (\\Deleted)")
                client.command("EXPUNGE")
        self.peer = Sync(self.server, "peer", chapar.SYNC_PASSWORD)
        self.addCleanup(self.peer.client.close)
        self.me = Sync(self.server, ME)
        self.addCleanup(self.me.client.close)
        _, text = self.me.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % ME)
        records = Record.all(text)
        boxes = {record["NAME"]: record for record in records if "NAME" in record}
        self.inbox, self.work = boxes["INBOX"], boxes["Work"]
        messages = [record for record in records if "INSTANCE" in record]
        self.shown = next(record for record in messages if record.get("UID") == "1"
                          and record["MAILBOX"] == self.inbox["ID"])
        self.gone = next(record for record in messages if "UID" not in record)
        _, text = self.peer.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % VICTIM)
        records = Record.all(text)
        self.foreign_box = next(record for record in records if record.get("NAME") == "Work")
        self.foreign = next(record for record in records if "INSTANCE" in record
                            and "UID" in record)
        self.highest = self.me.point(ME)[1]

    def state(self):
        return [self.peer.point(user) for user in (ME, VICTIM)]

    def refused(self, name, answer, codes, words):
        verb, text = answer
        with self.subTest(name):
            self.assertEqual(verb, "ERROR", text)
            self.assertRegex(text, r"CODE (%s) " % codes)
            self.assertRegex(text.lower(), words)
            self.assertEqual(self.state(), self.before, "something changed")

    def memory(self):
        with open("/proc/%d/status" % self.server.process.pid, encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024

    def check_alive(self):
        self.assertIsNone(self.server.process.poll())
        self.verify_clean(self.server)
        with self.server.imap(ME) as client:
            self.assertEqual(client.select()["exists"], 1)

    # ---- illegal for anyone ----

    def test_illegal_changes_of_his_own_account(self):
        self.before = self.state()
        other = message("something else")
        self.me.put(other)
        self.me.put(message("one of " + ME))
        up = self.highest + 1
        stamp = "%d.%s" % (up, NODE)
        soon = int(time.time() * 1000) * 1024
        far = "%d.%s" % (soon + DAYS, NODE)
        message_of = lambda **changes: "MESSAGES (%s)" % self.shown(**changes)
        mailbox_of = lambda box, **changes: "MAILBOXES (%s)" % box(**changes)
        for name, changes, codes, words in (
            ("modseq down", message_of(MODSEQ=5, FLAGS="(\\Seen + %s)" % stamp), "ILLEGAL",
             "message .*modseq decreases"),
            ("modseq in three days", message_of(MODSEQ=soon + DAYS), "ILLEGAL", "future"),
            ("modseq at the end of time", message_of(MODSEQ=FAR), "ILLEGAL", "future"),
            ("modseq over 53 bits", message_of(MODSEQ=FAR + 1), "INVALID", "modseq"),
            ("a flag's stamp in three days",
             message_of(MODSEQ=up, FLAGS="(\\Seen + %s)" % far), "ILLEGAL", "flag.*future"),
            ("an instance in three days",
             "MESSAGES (%s)" % self.shown(INSTANCE=far, MODSEQ=up, UID=9), "ILLEGAL", "future"),
            ("never placed", message_of(PLACED="0.0000000000000000", MODSEQ=up),
             "INVALID", "placed"),
            ("another GUID", message_of(GUID=guid(other), SIZE=len(other), MODSEQ=up), "ILLEGAL",
             "message .*two contents"),
            ("another size", message_of(SIZE=5, MODSEQ=up), "ILLEGAL", "size|two contents"),
            ("UIDVALIDITY down", mailbox_of(self.work, UIDVALIDITY=1, MODSEQ=up), "ILLEGAL",
             "mailbox .*uidvalidity"),
            ("UIDNEXT down", mailbox_of(self.work, UIDNEXT=1, MODSEQ=up), "ILLEGAL",
             "mailbox .*uidnext"),
            ("UIDVALIDITY 0", mailbox_of(self.work, UIDVALIDITY=0), "INVALID", "uidvalidity"),
            ("a mailbox's name goes back",
             mailbox_of(self.work, NAME="Old", NAMED="5." + NODE, MODSEQ=up), "ILLEGAL", "earlier"),
            ("INBOX deleted", mailbox_of(self.inbox, DELETED=stamp, MODSEQ=up), "ILLEGAL", "inbox"),
            ("a mailbox with control characters",
             mailbox_of(self.work, ID="7" * 32, NAME='"a\x01b"', NAMED=stamp, MODSEQ=up),
             "ILLEGAL", "name|character"),
            ("the UID of a message in the far end",
             message_of(UID=4294967295, MODSEQ=up), "ILLEGAL|INVALID", "uid"),
            ("no body", "MESSAGES (%s)" % NOBODY.replace("MODSEQ 5", "UID 9 MODSEQ 5"), "INVALID",
             "mailbox|uid"),
            ("a flag twice", message_of(MODSEQ=up, FLAGS="(a + {0} a - {0})".format(stamp)),
             "INVALID", "flag"),
            ("a flag's name with a space", message_of(MODSEQ=up, FLAGS='("a b" + %s)' % stamp),
             "ILLEGAL|INVALID", "flag"),
            ("a flag's name of 1000 bytes",
             message_of(MODSEQ=up, FLAGS="(%s + %s)" % ("x" * 1000, stamp)), "ILLEGAL|INVALID|TOOLARGE",
             "flag"),
            ("a register of no kind",
             "REGISTERS (%%(KIND MESSAGE KEY x STAMP %s MODSEQ %d VALUE x))" % (stamp, up),
             "INVALID", "kind"),
            ("a register's value of 100 KB",
             "REGISTERS (%%(KIND ANNOTATION KEY x STAMP %s MODSEQ %d VALUE %s))" % (
                 stamp, up, "v" * 100000), "ILLEGAL|TOOLARGE|INVALID", "value|long"),
            ("not a list", "MESSAGES x", "INVALID", "messages"),
            ("a number with a sign", "MESSAGES (%s)" % self.shown(UID="-1"), "INVALID", "uid"),
            ("a nest of lists", "MESSAGES " + "(" * 50 + ")" * 50, "TOOLARGE|INVALID", "deep"),
        ):
            self.refused(name, self.me.apply(ME, changes), codes, words)
        self.refused("its clock in three days",
                     self.me.apply(ME, "", highest=soon + DAYS), "ILLEGAL", "future")
        self.check_alive()

    def test_what_is_gone_does_not_return(self):
        """Neither at its old UID nor by an old record; the answer tells what the truth is."""
        self.before = self.state()
        body = message("two of " + ME)
        self.me.put(body)
        back = {"UID": "2", "MAILBOX": self.inbox["ID"], "MODSEQ": str(self.highest + 5),
                "PLACED": "None"}
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % self.gone(**back))
        self.assertIn(verb, ("ERROR", "CHANGED"), text)
        self.assertEqual(self.state(), self.before)
        new = "%d.%s" % (self.highest + 6, NODE)
        other = message("a new one at an old UID")
        self.me.put(other)
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % self.gone(
            INSTANCE=new, GUID=guid(other), SIZE=len(other), UID=2, MAILBOX=self.inbox["ID"],
            MODSEQ=self.highest + 6, PLACED=None))
        self.assertEqual(verb, "CHANGED", text)
        self.assertIn("ILLEGAL", text)
        self.assertEqual(self.state(), self.before)
        self.check_alive()

    def test_bodies_and_digests_that_are_wrong(self):
        self.before = self.state()
        body = message("new")
        up = self.highest + 7
        new = self.shown(INSTANCE="%d.%s" % (up, NODE), GUID=guid(body), SIZE=len(body), UID=3,
                         MODSEQ=up, PLACED=None)
        self.refused("wrong GUID", self.me.ask(
            b"PUT %%(BODIES (%s {%d+}\r\n%s))" % (b"0" * 64, len(body), body)), "ILLEGAL", "guid")
        self.refused("an empty body", self.me.ask(
            b"PUT %%(BODIES (%s {0+}\r\n))" % guid(b"").encode()), "TOOLARGE", "empty")
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % new)
        self.assertEqual(verb, "MISSING", text)
        self.me.put(body)
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % new, result="1" * 32)
        self.assertEqual(verb, "DIFFERS", text)
        self.assertEqual(self.state(), self.before)
        self.refused("wrong size", self.me.apply(
            ME, "MESSAGES (%s)" % Record(new)(SIZE=len(body) + 1)), "ILLEGAL", "size")
        self.refused("a body in pieces", self.me.ask("PUT %(BODIES (xyz abc))"),
                     "INVALID", "guid|body")
        # Somebody else's body is not shown to whom has not brought it.
        verb, text = self.me.ask("LACKS %%(ACCOUNT %s GUIDS (%s))" % (ME, self.foreign["GUID"]))
        self.assertIn(self.foreign["GUID"], text)
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % self.foreign(
            INSTANCE="%d.%s" % (up, NODE), MAILBOX=self.inbox["ID"], UID=4, MODSEQ=up, PLACED=None))
        self.assertEqual(verb, "MISSING", text)
        self.assertEqual(self.state(), self.before)
        self.check_alive()

    def test_a_request_that_comes_again_changes_nothing(self):
        up = int(time.time() * 1000) * 1024
        stamp = "%d.%s" % (up, NODE)
        request = "REGISTERS (%%(KIND SUBSCRIPTION KEY again STAMP %s MODSEQ %d VALUE x))" % (stamp, up)
        sequence = self.me.point(ME)[0]
        _, text = self.me.apply(ME, request, highest=up)
        digest = re.search(r"DIGEST ([0-9a-f]{32})", text)
        self.assertIsNotNone(digest, text)  # DIFFERS tells what the result is not
        self.before = self.state()
        for _ in range(3):
            verb, text = self.me.apply(ME, request, expect=sequence + 77, highest=up)
            self.assertEqual(verb, "CHANGED", text)
            self.assertEqual(self.state(), self.before)

    # ---- not for him ----

    def test_accounts_and_mailboxes_of_others(self):
        self.before = self.state()
        up = self.highest + 1
        stamp = "%d.%s" % (up, NODE)
        one = self.foreign["INSTANCE"]
        for request in (
            "POINTS %%(ACCOUNTS (%s))", "POINTS %%(ACCOUNTS (anna %s))",
            "CHANGES %%(ACCOUNT %s SINCE 0)", "RANGE %%(ACCOUNT %s)",
            "LACKS %%(ACCOUNT %s GUIDS (" + "0" * 64 + "))",
            "GET %%(ACCOUNT %s INSTANCES (" + one + "))",
            "RECORDS %%(ACCOUNT %s SINCE 0 REGISTERS 1)",
            "RECORDS %%(ACCOUNT %s SINCE 0 INSTANCES (" + one + "))",
            "RANGE %%(ACCOUNT %s MAILBOX " + self.foreign_box["ID"] + " RANGES (1 100))",
            "APPLY %%(ACCOUNT %s EXPECT 1 SINCE 1 SEQUENCE 1 HIGHEST 1 RESULT " + "0" * 32 + ")",
            "NOTIFY %%(ACCOUNTS (%s))", "NOTIFY %%(ACCOUNTS (%%(ACCOUNT %s SINCE 0)))",
        ):
            for name in (VICTIM, VICTIM.upper(), '"#server"', "nobody"):
                self.refused(request, self.me.ask(request.replace("%%", "%").replace("%s", name)),
                             "REFUSED", "not for you")
        for request in ("INTEGRATE %%(ACCOUNT %s SINCE 0 SEQUENCE 1 HIGHEST 1)" % ME,
                        "APPEND %%(ACCOUNT %s HOPS 0 MESSAGE %s BODY x)" % (ME, NOBODY)):
            self.refused(request, self.me.ask(request), "REFUSED", "peer")
        # By the id of a mailbox or message, under his own account's name.
        verb, text = self.me.ask("GET %%(ACCOUNT %s INSTANCES (%s))" % (ME, one))
        self.assertEqual((verb, text), ("BODIES", "BODIES %(BODIES ())"))
        verb, text = self.me.ask("RANGE %%(ACCOUNT %s MAILBOX %s RANGES (1 100))" % (
            ME, self.foreign_box["ID"]))
        self.assertNotIn("1 1", text[:5])
        self.assertRegex(text, r"^ERROR|POINTS \(0{32} 0\)")
        verb, text = self.me.apply(ME, "MESSAGES (%s)" % self.shown(
            MAILBOX=self.foreign_box["ID"], PLACED=stamp, UID=1, MODSEQ=up))
        self.assertIn(verb, ("ERROR", "CHANGED", "DIFFERS"), text)
        self.assertEqual(self.state(), self.before)
        self.check_alive()

    def test_what_is_the_operators(self):
        """Quota, password, deletion, roles: settings of his account that a user may not change."""
        self.before = self.state()
        now = int(time.time() * 1000) * 1024
        for key in ("quota.message", "quota.storage", "credentials", "deleted", "master", "shared",
                    "disabled", "login", "anything"):
            self.refused(key, self.me.apply(
                ME, "REGISTERS (%%(KIND ACCOUNT KEY %s STAMP %d.%s MODSEQ %d VALUE x))" % (
                    key, now, NODE, now), highest=now), "REFUSED", "operator.*setting")

    def test_peers_with_less_than_all_rights(self):
        self.before = self.state()
        now = int(time.time() * 1000) * 1024
        stamp = "%d.%s" % (now, NODE)
        expunged = self.shown(UID=None, MAILBOX=None, PLACED=stamp, PLACEDIN="0" * 32, MODSEQ=now)
        with Sync(self.server, "reader", chapar.SYNC_PASSWORD) as reader:
            for request in ("PUT %(BODIES ())", "STAGE %(PART 1)",
                            "APPLY %%(ACCOUNT %s EXPECT 1)" % ME,
                            "INTEGRATE %%(ACCOUNT %s)" % ME, "APPEND %%(ACCOUNT %s)" % ME):
                self.refused(request, reader.ask(request), "REFUSED", "may not change")
        with Sync(self.server, "part", chapar.SYNC_PASSWORD) as part:
            for request in ("CHANGES %%(ACCOUNT %s SINCE 0)", "NOTIFY %%(ACCOUNTS (%s))",
                            "INTEGRATE %%(ACCOUNT %s SINCE 0 SEQUENCE 1 HIGHEST 1)"):
                self.refused(request, part.ask(request % ME), "REFUSED", "not for you")
            self.assertNotIn(ME, part.ask("POINTS %(CURSOR 0)")[1])
        with Sync(self.server, "keeper", chapar.SYNC_PASSWORD) as keeper:
            sequence = keeper.point(ME)[0]
            for verb in ("APPLY", "INTEGRATE"):
                for changes in (
                    "MESSAGES (%s)" % expunged,
                    "MAILBOXES (%s)" % self.work(DELETED=stamp, MODSEQ=now),
                    "REGISTERS (%%(KIND ACCOUNT KEY deleted STAMP %s MODSEQ %d VALUE 1))" % (
                        stamp, now),
                ):
                    self.refused(verb + " " + changes, keeper.ask(
                        "%s %%(ACCOUNT %s EXPECT %d SINCE %d COMMON %d SEQUENCE 9 HIGHEST %d RESULT "
                        "%s %s)" % (verb, ME, sequence, sequence, sequence, now, "0" * 32, changes)),
                        "REFUSED", "may not (expunge|delete)")
        self.check_alive()

    # ---- too much ----

    def test_too_much_of_anything(self):
        self.before = self.state()
        before = self.memory()
        many = "0" * 64 + " "
        self.refused("10,001 GUIDs", self.me.ask(
            "LACKS %%(ACCOUNT %s GUIDS (%s))" % (ME, many * 10001)), "TOOLARGE", "too many guids")
        self.refused("10,001 instances", self.me.ask(
            "GET %%(ACCOUNT %s INSTANCES (%s))" % (ME, "1.1 " * 10001)), "TOOLARGE|INVALID",
            "too many instances")
        self.refused("501 accounts", self.me.ask(
            "NOTIFY %%(ACCOUNTS (%s))" % ("anna " * 501)), "TOOLARGE", "too many accounts")
        self.refused("5,000 ranges", self.me.ask(
            "RANGE %%(ACCOUNT %s MAILBOX %s RANGES (%s))" % (ME, self.inbox["ID"], "1 2 " * 5000)),
            "TOOLARGE|INVALID", "range")
        self.refused("3 million words", self.me.ask(b"POINTS %(ACCOUNTS (" + b"a " * 3000000 + b"))"),
                     "TOOLARGE", "too many values")
        # Records that are staged and never used: bounded for a session.
        stage = "MESSAGES (%s)" % " ".join([self.shown()] * 20000)
        for part in range(1, 40):
            verb, text = self.me.ask("STAGE %%(PART %d %s)" % (part, stage))
            if verb == "ERROR":
                break
        self.assertEqual(verb, "ERROR", "staged without end")
        self.assertRegex(text, "TOOLARGE.*too many records")
        # A literal that no message may have: refused before it is read.
        with self.server.imap(ME) as client:
            client.socket.sendall(b"x SYNC {4000000000}\r\n")
            self.assertRegex(client.response(), rb"^x (NO|BAD) ")
        self.assertLess(self.memory() - before, MEMORY_MAX)
        self.assertEqual(self.state(), self.before)
        self.check_alive()

    def test_news_that_nobody_reads(self):
        """The reader is told nothing more, then that something changed; the daemon keeps nothing."""
        deaf = Sync(self.server, ME)
        deaf.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.addCleanup(deaf.client.close)
        verb, text = deaf.ask("NOTIFY %(ALL 1 RECORDS 10 BODIES 65536)")
        self.assertEqual(verb, "NOTIFY", text)
        large = message("large", "x" * 78 + "\r\n" + ("y" * 78 + "\r\n") * 700)
        with self.server.imap(ME) as client:
            client.append("Work", large)
            before = self.memory()
            for _ in range(100):
                client.append("Work", large)
            self.assertLess(self.memory() - before, MEMORY_MAX)
        # Now he reads: records at first, in the end a mark or the last of them.
        wanted = self.peer.point(ME)
        kinds = []
        while True:
            line = deaf.client.response().decode("utf-8", "replace")
            if not line.startswith("* SYNC NEWS"):
                continue
            kinds.append(" SINCE " in line.split(" SEQUENCE ", 1)[0])
            found = re.search(r"SEQUENCE (\d+) HIGHEST (\d+) DIGEST ([0-9a-f]{32})", line)
            if (int(found.group(1)), int(found.group(2)), found.group(3)) == wanted:
                break
        self.assertTrue(kinds[0])
        self.assertLess(len(kinds), 95, "what was not read was kept")
        self.assertIn(False, kinds, "no mark")


if __name__ == "__main__":
    chapar.main()
