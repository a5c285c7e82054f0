"""A user who speaks SYNC himself about mailboxes that others share with him (P9): he gets what his
rights let him see, and changes what they let him change, and nothing else."""

import hashlib
import re
import time

import chapar_test as chapar
from chapar_test import message
from test_hostile_sync import DAYS, NODE, Record, Sync, guid

ME, VICTIM = "anna", "bert"


class HostileGuest(chapar.TestCase):
    """Anna has rights to Bert's mailbox Shared, and none to his INBOX and Private."""

    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.server.extra = 'sync-user "peer" { password-file = "%s" }\n' % (
            self.server.password_file())
        self.server.add_account(ME)
        self.server.add_account(VICTIM)
        self.server.start()
        with self.server.imap(VICTIM) as client:
            client.command("CREATE Shared")
            client.command("CREATE Private")
            client.append("INBOX", message("for bert only"))
            for subject in ("one", "two", "three", "gone"):
                client.append("Shared", message(subject), "\\Seen")
            client.append("Private", message("private"))
            client.command('SETMETADATA Shared (/private/comment "his" /shared/comment "ours")')
            client.select("Shared")
            client.command("STORE 4 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.peer = Sync(self.server, "peer", chapar.SYNC_PASSWORD)
        self.addCleanup(self.peer.client.close)
        self.me = Sync(self.server, ME)
        self.addCleanup(self.me.client.close)
        records = Record.all(self.peer.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % VICTIM)[1])
        self.boxes = {record["NAME"]: record for record in records if "NAME" in record}
        self.messages = [record for record in records if "INSTANCE" in record]
        self.grant("lr")

    def grant(self, rights, mailbox="Shared"):
        with self.server.imap(VICTIM) as client:
            client.command("SETACL %s %s %s" % (mailbox, ME, rights or '""'))

    def shown_in(self, name):
        return [record for record in self.messages if record.get("MAILBOX") == self.boxes[name]["ID"]]

    def state(self):
        return [self.peer.point(user) for user in (ME, VICTIM)]

    def changes(self):
        verb, text = self.me.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % VICTIM)
        self.assertEqual(verb, "CHANGES", text)
        return text

    def push(self, records, highest=1, result="0" * 32):
        sequence = int(re.search(r"SEQUENCE (\d+)", self.changes()).group(1))
        return self.me.ask(
            "APPLY %%(ACCOUNT %s EXPECT %d SINCE %d COMMON %d SEQUENCE 1 HIGHEST %d RESULT %s %s)" % (
                VICTIM, sequence, sequence, sequence, highest, result, records))

    def refused(self, name, answer, codes="REFUSED", words="rights|not for you"):
        verb, text = answer
        with self.subTest(name):
            self.assertEqual(verb, "ERROR", text)
            self.assertRegex(text, r"CODE (%s) " % codes)
            self.assertRegex(text.lower(), words)
            self.assertEqual(self.state(), self.before, "something changed")

    def taken(self, name, records):
        """It would be done: only the result is not what he says."""
        verb, text = self.push(records)
        with self.subTest(name):
            self.assertEqual(verb, "DIFFERS", text)
            self.assertEqual(self.state(), self.before)

    def test_he_reads_what_he_may_and_nothing_else(self):
        self.before = self.state()
        text = self.changes()
        records = Record.all(text)
        self.assertEqual([record["NAME"] for record in records if "NAME" in record], ["Shared"])
        shown = [record for record in records if "UID" in record]
        self.assertEqual(sorted(record["UID"] for record in shown), ["1", "2", "3"])
        for secret in ("Seen", "/private", "his", "KIND ACL", "credentials", "Private",
                       self.boxes["INBOX"]["ID"], self.boxes["Private"]["ID"]):
            self.assertNotIn(secret, text.replace("s/comment", ""), secret)
        for box in ("INBOX", "Private"):
            secret = self.shown_in(box)[0]
            for key in ("INSTANCE", "GUID"):
                self.assertNotIn(secret[key], text)
            self.assertEqual(
                self.me.ask("GET %%(ACCOUNT %s INSTANCES (%s))" % (VICTIM, secret["INSTANCE"]))[1],
                "BODIES %(BODIES ())")
            verb, told = self.me.ask("LACKS %%(ACCOUNT %s GUIDS (%s))" % (VICTIM, secret["GUID"]))
            self.assertIn(secret["GUID"], told)
        # Even of what he sees: whether a body is here is told of what he brought only.
        one = self.shown_in("Shared")[0]
        self.assertIn(one["GUID"], self.me.ask(
            "LACKS %%(ACCOUNT %s GUIDS (%s))" % (VICTIM, one["GUID"]))[1])
        gone = next(record for record in self.messages if "UID" not in record)
        self.assertEqual(
            self.me.ask("GET %%(ACCOUNT %s INSTANCES (%s))" % (VICTIM, gone["INSTANCE"]))[1],
            "BODIES %(BODIES ())")
        for request in ("RANGE %%(ACCOUNT %s)", "RECORDS %%(ACCOUNT %s SINCE 0 REGISTERS 1)",
                        "RANGE %%(ACCOUNT %s MAILBOX " + self.boxes["Shared"]["ID"] + " RANGES (1 9))",
                        "INTEGRATE %%(ACCOUNT %s SINCE 0 SEQUENCE 1 HIGHEST 1)"):
            self.refused(request, self.me.ask(request % VICTIM), words="not for you|peer")
        # No view of his own making shows more.
        with Sync(self.server, ME) as other:
            other.ask("HELLO %%(NODE %s VERSION 1 VIEW Private)" % NODE)
            self.assertNotIn("Private", other.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % VICTIM)[1])
        # Nor does a mailbox that only can be looked up.
        self.grant("l", "Private")
        self.before = self.state()
        self.assertNotIn("Private", self.changes())
        self.grant("", "Shared")
        self.before = self.state()
        for request in ("POINTS %%(ACCOUNTS (%s))", "CHANGES %%(ACCOUNT %s SINCE 0)",
                        "GET %%(ACCOUNT %s INSTANCES (" + one["INSTANCE"] + "))",
                        "NOTIFY %%(ACCOUNTS (%s))"):
            self.refused(request, self.me.ask(request % VICTIM), words="not for you")

    def test_each_change_takes_its_right(self):
        one = self.shown_in("Shared")[0]
        now = int(time.time() * 1000) * 1024
        stamp = "%d.%s" % (now, NODE)
        flag = lambda name: "MESSAGES (%s)" % one(FLAGS="(%s + %s)" % (name, stamp), MODSEQ=now)
        gone = "MESSAGES (%s)" % one(MAILBOX=None, UID=None, PLACED=stamp, PLACEDIN="0" * 32, FLAGS=None)
        marked = "MESSAGES (%s)" % one(MAILBOX=None, UID=None, PLACED=stamp, PLACEDIN="0" * 32,
                                       FLAGS="(\\Deleted + %s)" % stamp)
        note = "REGISTERS (%%(KIND ANNOTATION MAILBOX %s KEY s/comment STAMP %s MODSEQ %d VALUE new))" % (
            self.boxes["Shared"]["ID"], stamp, now)
        changes = {"w": [flag("\\Flagged"), flag("word"), note], "t": [flag("\\Deleted")],
                   "te": [gone, marked]}
        everything = "lrswipkxtean"
        for rights, allowed in changes.items():
            without = "".join(right for right in everything if right not in rights)
            self.grant(without)
            self.before = self.state()
            for change in allowed:
                self.refused("without %s: %s" % (rights, change), self.push(change))
            self.grant("lr" + rights)
            self.before = self.state()
            for change in allowed:
                self.taken("with %s: %s" % (rights, change), change)
        # "e" alone expunges what others marked.
        self.grant("lre")
        self.before = self.state()
        self.refused("e, not marked", self.push(gone))
        with self.server.imap(VICTIM) as client:
            client.select("Shared")
            client.command("STORE 1 +FLAGS (\\Deleted)")
        self.before = self.state()
        self.taken("e, marked by another", gone)
        # \Seen is looked at by nobody: his own is elsewhere.
        self.grant("lr")
        self.before = self.state()
        self.assertNotIn("Seen", self.changes())
        self.taken("seen", flag("\\Seen"))

    def test_what_no_right_lets_him_do_over_sync(self):
        """Places, names, UIDs, settings and the clock of another's account are not his."""
        self.grant("lrswipkxtean")
        self.before = self.state()
        box, private = self.boxes["Shared"], self.boxes["Private"]
        one, secret = self.shown_in("Shared")[0], self.shown_in("Private")[0]
        gone = next(record for record in self.messages if "UID" not in record)
        now = int(time.time() * 1000) * 1024
        up, stamp = now, "%d.%s" % (now, NODE)
        body = message("mine")
        self.me.put(body)
        new = dict(INSTANCE=stamp, GUID=guid(body), SIZE=len(body), UID=5, MODSEQ=up, PLACED=None,
                   FLAGS=None)
        of = lambda record, **changes: "MESSAGES (%s)" % record(**changes)
        at = lambda record, **changes: "MAILBOXES (%s)" % record(**changes)
        setting = lambda kind, more, value="VALUE x": (
            "REGISTERS (%%(KIND %s %s STAMP %s MODSEQ %d %s))" % (kind, more, stamp, up, value))
        for name, change in (
            ("a message appended", of(one, **new)),
            ("... to a mailbox that he does not see", of(one, **{**new, "MAILBOX": private["ID"]})),
            ("moved out", of(one, MAILBOX=private["ID"], PLACED=stamp, MODSEQ=up, FLAGS=None)),
            ("moved to where nobody looks", of(one, MAILBOX=None, UID=None, PLACED=stamp,
                                               PLACEDIN="7" * 32, FLAGS=None)),
            ("moved in", of(secret, MAILBOX=box["ID"], UID=9, PLACED=stamp, MODSEQ=up, FLAGS=None)),
            ("changed out of sight", of(secret, FLAGS="(\\Flagged + %s)" % stamp, MODSEQ=up)),
            ("renumbered", of(one, UID=9, MODSEQ=up, FLAGS=None)),
            ("brought back", of(gone, MAILBOX=box["ID"], UID=9, PLACED=stamp, PLACEDIN=None,
                                MODSEQ=up, FLAGS=None)),
            ("a mailbox made", at(box, ID="7" * 32, NAME="New", NAMED=stamp, MODSEQ=up)),
            ("renamed", at(box, NAME="Mine", NAMED=stamp, MODSEQ=up)),
            ("deleted", at(box, DELETED=stamp, MODSEQ=up)),
            ("UIDVALIDITY up", at(box, UIDVALIDITY=4000000000, MODSEQ=up)),
            ("UIDNEXT up", at(box, UIDNEXT=4000000000, MODSEQ=up)),
            ("special use", at(box, USE="\\Sent", USED=stamp, MODSEQ=up)),
            ("one that he does not see", at(private, MODSEQ=up)),
            ("rights", setting("ACL", "MAILBOX %s KEY %s" % (box["ID"], ME), "VALUE lrswipkxtean")),
            ("rights elsewhere", setting("ACL", "MAILBOX %s KEY %s" % (private["ID"], ME), "VALUE lr")),
            ("private metadata", setting("ANNOTATION", "MAILBOX %s KEY p/comment" % box["ID"])),
            ("metadata elsewhere", setting("ANNOTATION", "MAILBOX %s KEY s/comment" % private["ID"])),
            ("metadata of the account", setting("ANNOTATION", "KEY s/comment")),
            ("a subscription", setting("SUBSCRIPTION", "KEY Shared")),
            ("a script", setting("SCRIPT", "KEY s")),
            ("a password", setting("ACCOUNT", "KEY credentials")),
            ("deletion", setting("ACCOUNT", "KEY deleted")),
            ("what merges note", setting("ACCOUNT", "KEY merged")),
            ("\\Seen of another", setting("SEEN", "MAILBOX %s KEY x" % box["ID"])),
        ):
            self.refused(name, self.push(change))
        self.refused("another content", self.push(of(one, GUID=guid(body), SIZE=len(body), MODSEQ=up)),
                     "ILLEGAL", "two contents")
        # What he cannot see may be named: nothing is told of it, and nothing happens.
        self.taken("gone out of sight", of(secret, MAILBOX=None, UID=None, PLACED=stamp,
                                           PLACEDIN="0" * 32, FLAGS=None))
        # The end of time is no time to come: neither the account's clock nor a stamp goes there.
        far = 9007199254740990
        flags = of(one, FLAGS="(far + %d.%s)" % (far, NODE), MODSEQ=far)
        verb, text = self.push(flags, highest=far)
        self.assertEqual(verb, "DIFFERS", text)
        digest = self.result_of(lambda client: client.command("STORE 1 +FLAGS (far)"))
        self.before = self.state()
        verb, text = self.push(flags, highest=far, result=digest)
        self.assertEqual(verb, "APPLIED", text)
        point = self.peer.point(VICTIM)
        self.assertLess(point[1], int((time.time() + 60) * 1000) * 1024)
        self.assertNotIn("far + %d" % far, self.changes())
        with self.server.imap(VICTIM) as client:
            client.select("Shared")
            self.assertIn("far", client.fetch("1", "FLAGS")[1]["FLAGS"])
        self.verify_clean(self.server)

    def writer(self, user=ME, node=NODE):
        """By what a user's instances in others' accounts are known (src/sync/foreign.h)."""
        name = b"chapar guest\0" + user.encode() + b"\0" + bytes.fromhex(node)
        return hashlib.sha256(name).hexdigest()[:16]

    def append(self, body, raw=None, account=VICTIM, more="", **changes):
        """SYNC APPEND, as his copy would tell it, but for the changes."""
        now = int(time.time() * 1000) * 1024
        record = Record("%()")
        record.update({"INSTANCE": "%d.%s" % (now, self.writer()), "UID": "1", "MODSEQ": str(now),
                       "MAILBOX": self.boxes["Shared"]["ID"], "GUID": guid(body),
                       "SIZE": str(len(body)), "INTERNALDATE": "1700000000",
                       "SAVEDATE": "1700000000000"})
        raw = body if raw is None else raw
        return self.me.ask(("APPEND %%(ACCOUNT %s %s MESSAGE %s BODY {%d+}\r\n" % (
            account, more, record(**changes), len(raw))).encode() + raw + b")")

    def test_he_appends_with_the_right_to_and_only_as_himself(self):
        everything = "lrswipkxtean"
        body, other = message("mine"), message("another")
        now = int(time.time() * 1000) * 1024
        shared, private = self.boxes["Shared"]["ID"], self.boxes["Private"]["ID"]
        self.grant(everything.replace("i", ""))
        self.before = self.state()
        self.refused("without the right", self.append(body))
        self.grant(everything)
        self.before = self.state()
        his = self.shown_in("Shared")[0]
        secret = self.shown_in("Private")[0]
        for name, changes in (
            ("to a mailbox that he does not see", dict(MAILBOX=private)),
            ("to one that is not there", dict(MAILBOX="7" * 32)),
            ("to another's INBOX", dict(MAILBOX=self.boxes["INBOX"]["ID"])),
        ):
            self.refused(name, self.append(body, **changes))
        mine = "%d.%s" % (now, self.writer())
        for name, changes in (
            ("an instance that exists, in his sight", dict(INSTANCE=his["INSTANCE"])),
            ("... with its contents", dict(INSTANCE=his["INSTANCE"], GUID=his["GUID"],
                                           SIZE=his["SIZE"])),
            ("an instance that exists, out of it", dict(INSTANCE=secret["INSTANCE"])),
            ("one of his node's", dict(INSTANCE="%d.%s" % (now, NODE))),
            ("one of the server's", dict(INSTANCE="%d.%s" % (
                now, his["INSTANCE"].partition(".")[2]))),
            ("one of another user's", dict(INSTANCE="%d.%s" % (now, self.writer("carl")))),
            ("far in the future", dict(INSTANCE="%d.%s" % (now + DAYS, self.writer()))),
            ("at the end of time", dict(INSTANCE="9007199254740991.%s" % self.writer())),
            ("a modseq far in the future", dict(MODSEQ=now + DAYS)),
            ("a flag of the future", dict(FLAGS="(word + %d.%s)" % (now + DAYS, self.writer()))),
            ("placed in the future", dict(PLACED="%d.%s" % (now + DAYS, self.writer()))),
        ):
            self.refused(name, self.append(body, **changes), "ILLEGAL", "instance|future")
        for name, answer, codes in (
            ("oversize", self.append(body, SIZE=2 ** 40), "INVALID"),
            ("another GUID", self.append(body, GUID=guid(other)), "ILLEGAL"),
            ("another body", self.append(body, raw=other), "ILLEGAL"),
            ("a smaller size", self.append(body, SIZE=len(body) - 1), "ILLEGAL"),
            ("a larger size", self.append(body, SIZE=len(body) + 1), "ILLEGAL"),
            ("an expunged one", self.append(body, UID=None, MAILBOX=None), "INVALID"),
            ("placed elsewhere", self.append(body, PLACEDIN=private), "INVALID"),
            ("no body", self.me.ask("APPEND %%(ACCOUNT %s MESSAGE %s)" % (VICTIM, his())), "INVALID"),
            ("no message", self.me.ask("APPEND %%(ACCOUNT %s BODY x)" % VICTIM), "INVALID"),
            ("to his own account", self.append(body, account=ME), "REFUSED"),
            ("to nobody's", self.append(body, account="nobody"), "REFUSED"),
            ("to another's", self.append(body, account="peer"), "REFUSED"),
        ):
            self.refused(name, answer, codes, ".")
        # It is there once, at the UID that the server gives, whatever he says and how often.
        verb, text = self.append(body, INSTANCE=mine, UID=4000000000, MODSEQ=1, THREAD="7" * 32,
                                 FLAGS="(\\Flagged + = \\Seen + = word + =)")
        self.assertRegex(text, r"^APPENDED %\(UIDVALIDITY \d+ UID 5\)")
        self.before = self.state()
        self.assertEqual(self.append(body, INSTANCE=mine)[1], text)
        self.assertEqual(self.append(body, INSTANCE=mine, MAILBOX=private)[1], text)
        self.assertEqual(self.state(), self.before)
        self.refused("the same with other contents", self.append(other, INSTANCE=mine),
                     "ILLEGAL", "two contents")
        with self.server.imap(VICTIM) as client:
            self.assertEqual(client.select("Shared")["uidnext"], 6)
            self.assertEqual(set(client.fetch("5", "FLAGS")[5]["FLAGS"]) - {"\\Recent"},
                             {"\\Flagged", "word"})
            # What becomes of it where he does not look is as if it was gone.
            client.command("UID MOVE 5 Private")
        self.before = self.state()
        self.assertEqual(self.append(body, INSTANCE=mine)[1], "APPENDED %()")
        self.assertEqual(self.state(), self.before)
        # A clock that is ahead moves neither the account's, nor what the owner does later.
        ahead = "%d.%s" % (now + DAYS // 4, self.writer())
        verb, text = self.append(other, INSTANCE=ahead, FLAGS="(word + =)")
        self.assertEqual(verb, "APPENDED", text)
        self.assertLess(self.peer.point(VICTIM)[1], int((time.time() + 60) * 1000) * 1024)
        with self.server.imap(VICTIM) as client:
            client.select("Shared")
            client.command("UID STORE 6 -FLAGS (word)")
            client.command("UID STORE 6 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 6")
            self.assertEqual(client.search("UID", "6"), [])
        # Flags take their rights, as with APPEND.
        self.grant("lri")
        verb, text = self.append(message("plain"), FLAGS="(\\Flagged + = \\Deleted + =)")
        self.assertEqual(verb, "APPENDED", text)
        with self.server.imap(VICTIM) as client:
            client.select("Shared")
            self.assertEqual(set(client.fetch("7", "FLAGS")[7]["FLAGS"]) - {"\\Recent"}, set())
        # The owner's quota holds, and a login that may only read appends nothing.
        self.server.tool("quota", VICTIM, "--messages", "1")
        self.before = self.state()
        self.refused("over quota", self.append(message("too much")), "OVERQUOTA", ".")
        self.server.tool("quota", VICTIM, "--messages", "100")
        self.grant("")
        self.before = self.state()
        self.refused("no rights at all", self.append(message("gone"), INSTANCE=mine))
        self.verify_clean(self.server)

    def arrange(self, mailbox, more, account=VICTIM):
        return self.me.ask("ARRANGE %%(ACCOUNT %s MAILBOX %s %s)" % (account, mailbox, more))

    def called(self, mailbox, name, named=None):
        return self.arrange(mailbox, "NAME %s NAMED %d.%s" % (
            name, int(time.time() * 1000) * 1024 if named is None else named, self.writer()))

    def names(self):
        with self.server.imap(VICTIM) as client:
            return client.mailboxes()

    def test_he_arranges_folders_with_the_rights_to_and_no_others(self):
        everything = "lrswipkxtean"
        shared, private = self.boxes["Shared"]["ID"], self.boxes["Private"]["ID"]
        inbox, new, other = self.boxes["INBOX"]["ID"], "7" * 32, "8" * 32
        far = 9007199254740990
        self.grant(everything.replace("k", ""))
        self.before = self.state()
        self.refused("made without k", self.called(new, "Shared/new"))
        self.refused("renamed without k above", self.called(shared, "Shared2"))
        self.grant(everything.replace("x", ""))
        self.before = self.state()
        self.refused("deleted without x", self.arrange(shared, "COMMON %d" % far))
        self.refused("renamed without x", self.called(shared, "Shared2"))
        self.grant(everything)
        self.before = self.state()
        for name, answer, codes in (
            ("at the top", self.called(new, "Top"), "REFUSED"),
            ("below what he does not see", self.called(new, "Private/new"), "REFUSED"),
            ("below what is not there", self.called(new, "Nothing/new"), "REFUSED"),
            ("below INBOX", self.called(new, "INBOX/new"), "REFUSED"),
            ("the name of one that he does not see", self.called(new, "Private"), "REFUSED"),
            ("INBOX", self.called(new, "INBOX"), "REFUSED"),
            ("renamed to the top", self.called(shared, "Top"), "REFUSED"),
            ("renamed onto what he does not see", self.called(shared, "Private"), "REFUSED"),
            ("renamed below itself", self.called(shared, "Shared/below"), "INVALID"),
            ("another's, by id", self.called(private, "Private2"), "REFUSED"),
            ("INBOX renamed", self.called(inbox, "Mine"), "REFUSED"),
            ("with messages that he did not see", self.arrange(shared, "COMMON 0"), "EXISTS"),
            ("no name", self.called(new, '""'), "INVALID"),
            ("a bad name", self.called(new, "Shared//x"), "INVALID"),
            ("a control character", self.called(new, '"Shared/\x07"'), "INVALID"),
            ("a name too long", self.called(new, "Shared/" + "x" * 400), "INVALID"),
            ("no stamp", self.arrange(new, "NAME Shared/x"), "INVALID"),
            ("a bad id", self.called("7" * 31, "Shared/x"), "INVALID"),
            ("no id", self.called("0" * 32, "Shared/x"), "INVALID"),
            ("in his own account", self.arrange(new, "COMMON 0", ME), "REFUSED"),
            ("in nobody's", self.arrange(new, "COMMON 0", "nobody"), "REFUSED"),
        ):
            self.refused(name, answer, codes, ".")
        # What is not there for him is gone already, whether it is there or not.
        for mailbox in (private, inbox, new):
            self.assertEqual(self.arrange(mailbox, "COMMON %d" % far)[0], "ARRANGED")
        # An older name than the present one is none.
        self.assertEqual(self.called(shared, "Shared/old", 5)[0], "ARRANGED")
        self.assertEqual(self.state(), self.before)
        # An id that is another's, in or out of his sight, stays that one's.
        text = self.called(private, "Shared/new")[1]
        made = re.search(r"MAILBOX ([0-9a-f]{32})", text).group(1)
        self.assertNotIn(made, (private, shared))
        self.assertEqual(self.names(), ["INBOX", "Private", "Shared", "Shared/new"])
        self.before = self.state()
        self.assertEqual(self.called(private, "Shared/new")[1], text)
        self.assertEqual(self.called(new, "Shared/new")[1], text)
        self.assertEqual(self.state(), self.before)
        # One that is free is kept; the rights are those of the mailbox above; the stamp is ours.
        self.assertIn("MAILBOX " + other, self.called(other, "Shared/other", far)[1])
        self.assertLess(self.peer.point(VICTIM)[1], int((time.time() + 60) * 1000) * 1024)
        self.assertNotIn(str(far), self.peer.ask("CHANGES %%(ACCOUNT %s SINCE 0)" % VICTIM)[1])
        with self.server.imap(VICTIM) as client:
            client.command("GETACL Shared/other")
            self.assertIn(ME.encode(), b" ".join(client.untagged))
        # With its name and id he may do what is his, once.
        self.assertEqual(self.called(other, "Shared/another")[0], "ARRANGED")
        self.assertEqual(self.names()[-2:], ["Shared/another", "Shared/new"])
        self.before = self.state()
        self.refused("onto one that is there", self.called(other, "Shared/new"), "EXISTS", ".")
        self.server.tool("quota", VICTIM, "--mailboxes", "1")
        self.before = self.state()
        self.refused("over quota", self.called("9" * 32, "Shared/much"), "OVERQUOTA", ".")
        for _ in range(2):
            self.assertEqual(self.arrange(other, "COMMON %d" % far)[0], "ARRANGED")
        self.before = self.state()
        self.refused("one that was deleted", self.called(other, "Shared/back"), "NOTFOUND", ".")
        self.assertEqual(self.names(), ["INBOX", "Private", "Shared", "Shared/new"])
        self.verify_clean(self.server)

    def entry(self, mailbox=None, identifier="carl", rights="lr", stamp=None, account=VICTIM):
        return self.me.ask("SETACL %%(ACCOUNT %s MAILBOX %s IDENTIFIER %s RIGHTS %s STAMP %s)" % (
            account, mailbox or self.boxes["Shared"]["ID"], identifier, rights,
            stamp or "%d.%s" % (int(time.time() * 1000) * 1024, self.writer())))

    def entries(self, mailbox="Shared"):
        with self.server.imap(VICTIM) as client:
            client.command("GETACL " + mailbox)
            line = next(line for line in client.untagged if line.startswith(b"* ACL "))
        words = line.decode().split()[3:]
        return dict(zip(words[::2], words[1::2]))

    def test_who_may_do_what_he_hears_and_says_with_the_right_to(self):
        everything = "lrswipkxtean"
        shared, private = self.boxes["Shared"]["ID"], self.boxes["Private"]["ID"]
        far = "9007199254740990.%s" % self.writer()
        with self.server.imap(VICTIM) as client:
            client.command("SETACL Private secret lr")
            client.command("SETACL Shared carl l")
        ask = lambda more="SINCE 0", account=VICTIM: self.me.ask(
            "GETACL %%(ACCOUNT %s %s)" % (account, more))
        self.grant(everything.replace("a", ""))
        self.before = self.state()
        self.refused("without a", self.entry())
        self.refused("his own entry without a", self.entry(identifier=ME, rights=everything))
        self.assertRegex(ask()[1], r"^ACL %\(SEQUENCE \d+ LIST \(\)\)$")
        self.grant(everything)
        self.before = self.state()
        text = ask()[1]
        self.assertRegex(text, r"LIST \(%s \(anna %s carl l\)\)\)$" % (shared, everything))
        sequence = re.search(r"SEQUENCE (\d+)", text).group(1)
        self.assertIn("LIST ()", ask("SINCE %s" % sequence)[1])
        self.assertIn("LIST ()", ask("SINCE 0 AFTER %s" % ("f" * 32))[1])
        for name, answer, codes in (
            ("no SINCE", ask(""), "INVALID"),
            ("a bad AFTER", ask("SINCE 0 AFTER x"), "INVALID"),
            ("of his own account", ask(account=ME), "REFUSED"),
            ("of nobody's", ask(account="nobody"), "REFUSED"),
            ("a mailbox that he does not see", self.entry(private), "REFUSED"),
            ("another's INBOX", self.entry(self.boxes["INBOX"]["ID"]), "REFUSED"),
            ("one that is not there", self.entry("7" * 32), "REFUSED"),
            ("no mailbox", self.entry("0" * 32), "REFUSED"),
            ("a bad id", self.entry("7" * 31), "INVALID"),
            ("in his own account", self.entry(account=ME), "REFUSED"),
            ("in nobody's", self.entry(account="nobody"), "REFUSED"),
            ("nobody", self.entry(identifier='""'), "INVALID"),
            ("a slash", self.entry(identifier="/carl"), "INVALID"),
            ("a control character", self.entry(identifier='"ca\x07rl"'), "INVALID"),
            ("a minus only", self.entry(identifier="-"), "INVALID"),
            ("an identifier too long", self.entry(identifier="x" * 300), "INVALID"),
            ("one of a megabyte", self.entry(
                identifier="{1000000+}\r\n" + "x" * 1000000), "INVALID"),
            ("unknown rights", self.entry(rights="lrz"), "INVALID"),
            ("signed rights", self.entry(rights="+w"), "INVALID"),
            ("a list of rights", self.entry(rights="(l r)"), "INVALID"),
            ("no stamp", self.entry(stamp="x"), "INVALID"),
        ):
            self.refused(name, answer, codes, ".")
        # One that was changed here later stays; told again, nothing more happens.
        self.assertEqual(self.entry(stamp="5.%s" % self.writer())[1], "ACLSET %()")
        self.assertEqual(self.state(), self.before)
        now = "%d.%s" % (int(time.time() * 1000) * 1024, self.writer())
        self.assertEqual(self.entry(rights="lrw", identifier="CARL", stamp=now)[1], "ACLSET %()")
        self.assertEqual(self.entries()["carl"], "lrw")
        self.before = self.state()
        self.assertEqual(self.entry(rights="lrw", stamp=now)[0], "ACLSET")
        self.assertEqual(self.state(), self.before)
        with self.server.imap(VICTIM) as client:
            client.command("SETACL Shared carl lrs")
        self.assertEqual(self.entry(rights="lrw", stamp=now)[0], "ACLSET")
        self.assertEqual(self.entries()["carl"], "lrs")
        # The end of time is now, and moves no clock.
        self.assertEqual(self.entry(rights="l", stamp=far)[0], "ACLSET")
        self.assertEqual(self.entries()["carl"], "l")
        self.assertLess(self.peer.point(VICTIM)[1], int((time.time() + 60) * 1000) * 1024)
        with self.server.imap(VICTIM) as client:
            client.command("DELETEACL Shared carl")
        self.assertNotIn("carl", self.entries())
        self.assertIn("(anna", ask("SINCE %s" % sequence)[1])
        self.assertNotIn("carl", ask("SINCE %s" % sequence)[1])
        # The owner keeps what an owner always has; nothing gets further than this mailbox.
        self.assertEqual(self.entry(identifier=VICTIM, rights="l")[0], "ACLSET")
        self.assertEqual(self.entries()[VICTIM], "la")
        self.assertEqual(self.entry(identifier=VICTIM, rights='""')[0], "ACLSET")
        self.assertEqual(self.entries("Private"), {VICTIM: "lrswipkxteancd", "secret": "lr"})
        # A mailbox has room for so many, as over IMAP.
        for number in range(999):
            self.assertEqual(self.entry(identifier="user%d" % number)[0], "ACLSET")
        self.before = self.state()
        self.refused("one too many", self.entry(identifier="more"), "TOOLARGE", ".")
        self.assertEqual(self.entry(identifier="user7", rights='""')[0], "ACLSET")
        self.assertEqual(self.entry(identifier="more", rights="l")[0], "ACLSET")
        self.assertIn("user998 lr", ask()[1])
        # He gives his own right away, and has it no more.
        self.assertEqual(self.entry(identifier=ME, rights="lr")[0], "ACLSET")
        self.before = self.state()
        self.refused("after that", self.entry(identifier=ME, rights=everything))
        self.refused("after that, another's", self.entry())
        self.assertIn("LIST ()", ask()[1])
        self.verify_clean(self.server)

    def result_of(self, act):
        """The digest of what he sees after an act of the owner's, which is undone."""
        with self.server.imap(VICTIM) as client:
            client.select("Shared")
            act(client)
            digest = re.search(r"DIGEST ([0-9a-f]{32})", self.changes()).group(1)
            client.command("STORE 1 -FLAGS (far)")
        time.sleep(0.05)
        return digest


if __name__ == "__main__":
    chapar.main()
