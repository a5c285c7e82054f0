"""A long walk of random operations by IMAP on two live nodes. After each step a client of either
node must see the same: everything that LIST, STATUS, EXAMINE, FETCH, SEARCH and the commands about
rights, quota, metadata and annotations tell, as far as the server announces them.

CHAPAR_SEED=N repeats a walk, CHAPAR_WALK_SECONDS=N makes it longer (20 without).
"""

import os
import random
import re
import time

import chapar_test as chapar
from chapar_test import parse

USER = "alice"
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "work"]
NAMES = ["Work", "Work/2024", "Entw&APw-rfe", "&ZeVnLIqe-", "a b", "x/y/z", "Trash", "(odd)\"\\"]
SPECIAL = ["\\Sent", "\\Drafts", "\\Junk", "\\Archive", "\\Trash"]

# What may differ: \Recent belongs to a session; HIGHESTMODSEQ counts what this copy announced, also
# of messages that have gone, and is only promised to grow (P4).
FETCH_ITEMS = {
    "": "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[]",
    "CONDSTORE": "MODSEQ",
    "OBJECTID": "EMAILID THREADID",
    "SAVEDATE": "SAVEDATE",
    "PREVIEW": "PREVIEW",
    "BINARY": "BINARY.SIZE[1] BINARY.PEEK[1]",
    "ANNOTATE-EXPERIMENT-1": "ANNOTATION (/* (value size))",
}
STATUS_ITEMS = {
    "": "MESSAGES UIDNEXT UIDVALIDITY UNSEEN",
    "STATUS=SIZE": "SIZE",
    "OBJECTID": "MAILBOXID",
    "IMAP4REV2": "DELETED",
    "QUOTA=RES-STORAGE": "DELETED-STORAGE",
}
RETURN_ITEMS = {"LIST-EXTENDED": "SUBSCRIBED CHILDREN", "SPECIAL-USE": "SPECIAL-USE",
                "LIST-MYRIGHTS": "MYRIGHTS"}

MESSAGES = [
    b"From: a@example.org\r\nSubject: plain %d\r\n\r\ntext\r\n",
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: g: a@b, c@d;\r\nSubject: =?iso-8859-1?"
    b"Q?gr=FC=DFe?= %d\r\nMessage-ID: <root@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: "
    b"text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"sch=F6n\r\n",
    b"Subject: Re: plain %d\r\nReferences: <root@example.org>\r\nDate: Mon, 3 Feb 2025 10:00:00 "
    b"+0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
    b"one\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntwo\r\n--b--\r\n",
    b"no header at all %d\nand \xe4\xf6 bytes\n",
]


def chosen(table, capabilities):
    return " ".join(items for name, items in table.items() if not name or name in capabilities)


def astring(name):
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')


class Eyes:
    """A client that looks at everything."""

    def __init__(self, node):
        self.node = node
        self.connect()

    def connect(self):
        self.client = self.node.imap(USER)
        self.client.command("CAPABILITY")
        self.capabilities = set(self.client.untagged[0].decode().upper().split())

    def ask(self, command):
        """The untagged answers, without their order; or what kind of refusal."""
        status, text = self.client.try_command(command)
        if status != "OK":
            return [status, re.sub(r"^(\[[A-Z]+\])?.*", r"\1", text)]
        return sorted(self.client.untagged)

    def names(self):
        return [parse(line[7:])[2] for line in self.list_lines() if b"\\NonExistent" not in line]

    def list_lines(self):
        self.client.command('LIST "" "*"')
        return [line for line in self.client.untagged if line.startswith(b"* LIST ")]

    def everything_there(self):
        """None if the mailbox that is looked at is deleted meanwhile from the other node: that ends in a BYE."""
        try:
            return self.everything()
        except ConnectionError:
            if not any(line.startswith(b"* BYE") and b"selected" in line for line in self.client.untagged):
                raise
            self.client.close()
            self.connect()
            return None

    def everything(self):
        has = self.capabilities.__contains__
        options = [chosen(RETURN_ITEMS, self.capabilities).strip()]
        if has("LIST-STATUS"):
            options.append("STATUS (%s)" % chosen(STATUS_ITEMS, self.capabilities))
        seen = {
            "LIST": self.ask('LIST "" "*"'),
            "LIST %": self.ask('LIST "" "%"'),
            "LIST RETURN": self.ask('LIST "" "*" RETURN (%s)' % " ".join(options)),
            "LSUB": self.ask('LSUB "" "*"'),
            "SUBSCRIBED": self.ask('LIST (SUBSCRIBED RECURSIVEMATCH) "" "%" RETURN (CHILDREN)'),
        }
        if has("NAMESPACE"):
            seen["NAMESPACE"] = self.ask("NAMESPACE")
        if has("METADATA"):
            seen["METADATA"] = self.ask('GETMETADATA (DEPTH infinity) "" (/private /shared)')
        for name in self.names():
            self.mailbox(seen, name.decode() if isinstance(name, bytes) else name)
        return seen

    def mailbox(self, seen, name):
        has = self.capabilities.__contains__
        quoted = astring(name)
        seen[name, "STATUS"] = self.ask(
            "STATUS %s (%s)" % (quoted, chosen(STATUS_ITEMS, self.capabilities)))
        seen[name, "EXAMINE"] = [
            line for line in self.ask("EXAMINE " + quoted)
            if not re.search(rb"RECENT$|HIGHESTMODSEQ|\[CLOSED\]", str_bytes(line))]
        seen[name, "FETCH"] = [
            sorted_flags(line) for line in self.ask(
                "UID FETCH 1:* (%s)" % chosen(FETCH_ITEMS, self.capabilities))]
        for keys in ("UNSEEN", "UNKEYWORD work", 'OR SUBJECT "gr\u00fc" TEXT "inner"',
                     "NOT DELETED SINCE 1-Jan-2000"):
            seen[name, keys] = self.ask("SEARCH CHARSET UTF-8 " + keys)
        if has("SORT"):
            seen[name, "SORT"] = self.ask("SORT (SUBJECT REVERSE DATE) UTF-8 ALL")
        for algorithm in ("REFERENCES", "ORDEREDSUBJECT"):
            if has("THREAD=" + algorithm):
                seen[name, algorithm] = self.ask("THREAD %s UTF-8 ALL" % algorithm)
        if has("ACL"):
            seen[name, "GETACL"] = self.ask("GETACL " + quoted)
            seen[name, "MYRIGHTS"] = self.ask("MYRIGHTS " + quoted)
        if has("QUOTA"):
            seen[name, "QUOTA"] = self.ask("GETQUOTAROOT " + quoted)
        if has("METADATA"):
            seen[name, "METADATA"] = self.ask(
                "GETMETADATA (DEPTH infinity) %s (/private /shared)" % quoted)


def str_bytes(line):
    return line if isinstance(line, bytes) else line.encode()


def sorted_flags(line):
    """FLAGS is a set."""
    def in_order(found):
        words = {word for word in found.group(1).split() if word.lower() != b"\\recent"}
        return b"FLAGS (" + b" ".join(sorted(words)) + b")"
    return re.sub(rb"FLAGS \(([^)]*)\)", in_order, str_bytes(line))


class Walker:
    """Makes one operation after the other; what is refused must be refused for a reason."""

    def __init__(self, nodes, seed):
        self.random = random.Random(seed)
        self.clients = [node.imap(USER) for node in nodes]
        self.clients[0].command("CAPABILITY")
        self.capabilities = set(self.clients[0].untagged[0].decode().upper().split())
        self.names = ["INBOX"]
        self.count = 0
        self.operations = [
            (8, self.append), (8, self.store), (3, self.copy), (4, self.move), (3, self.expunge),
            (4, self.create), (2, self.rename), (1, self.delete), (2, self.subscribe)]
        optional = {"ACL": (2, self.set_acl), "METADATA": (2, self.set_metadata),
                    "ANNOTATE-EXPERIMENT-1": (2, self.annotate), "QUOTA": (1, self.set_quota),
                    "REPLACE": (2, self.replace)}
        self.operations += [entry for name, entry in optional.items() if name in self.capabilities]

    def step(self):
        """Performs one operation on one node, sometimes one more on the other at the same time.
        Returns what was done."""
        weights = [weight for weight, _ in self.operations]
        done = []
        for index in self.random.sample((0, 1), 2 if self.random.random() < 0.2 else 1):
            operation = self.random.choices(self.operations, weights)[0][1]
            client = self.clients[index]
            status, text = operation(client)
            done.append("%s on %s: %s %s" % (operation.__name__, "ab"[index], status, text))
            assert status != "BAD", done
        return "; ".join(done)

    def name(self):
        return self.random.choice(self.names)

    def uids(self, client):
        """Selects a mailbox and chooses some of its messages."""
        name = self.name()
        status, _ = client.try_command("SELECT " + astring(name))
        if status != "OK":  # the other client has just deleted or renamed it
            client.select()
        found = client.search("ALL")
        some = self.random.sample(found, min(len(found), self.random.randint(1, 3)))
        return name, ",".join(str(uid) for uid in sorted(some)) or "1"

    def flags(self):
        return " ".join(self.random.sample(FLAGS, self.random.randint(1, 2)))

    def message(self):
        self.count += 1
        data = self.random.choice(MESSAGES)
        return data.replace(b"%d", b"%d" % self.count)

    def append(self, client):
        return client.try_command(
            "APPEND %s (%s)" % (astring(self.name()), self.flags()), self.message())

    def replace(self, client):
        _, uids = self.uids(client)
        return client.try_command(
            "UID REPLACE %s %s (\\Draft)" % (uids.split(",")[0], astring(self.name())),
            self.message())

    def store(self, client):
        _, uids = self.uids(client)
        sign = self.random.choice(["+", "-", ""])
        return client.try_command("UID STORE %s %sFLAGS (%s)" % (uids, sign, self.flags()))

    def copy(self, client):
        _, uids = self.uids(client)
        return client.try_command("UID COPY %s %s" % (uids, astring(self.name())))

    def move(self, client):
        _, uids = self.uids(client)
        return client.try_command("UID MOVE %s %s" % (uids, astring(self.name())))

    def expunge(self, client):
        _, uids = self.uids(client)
        client.try_command("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uids)
        return client.try_command("EXPUNGE")

    def create(self, client):
        name = self.random.choice(NAMES)
        use = ""
        if "CREATE-SPECIAL-USE" in self.capabilities and self.random.random() < 0.3:
            use = " (USE (%s))" % self.random.choice(SPECIAL)
        return client.try_command("CREATE %s%s" % (astring(name), use))

    def rename(self, client):
        new = self.random.choice(NAMES) + self.random.choice(["", " (2)", "/sub"])
        return client.try_command("RENAME %s %s" % (astring(self.name()), astring(new)))

    def delete(self, client):
        return client.try_command("DELETE " + astring(self.name()))

    def subscribe(self, client):
        verb = self.random.choice(["SUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"])
        return client.try_command("%s %s" % (verb, astring(self.name())))

    def set_acl(self, client):
        who = self.random.choice(["bob", "anyone", "-bob"])
        rights = self.random.choice(["lr", "lrswi", "lrswipkxtea", ""])
        return client.try_command('SETACL %s %s "%s"' % (astring(self.name()), who, rights))

    def set_metadata(self, client):
        entry = self.random.choice(["/private/comment", "/shared/comment", "/private/vendor/x/y"])
        value = self.random.choice(['"one"', '"two"', "NIL"])
        name = self.random.choice(["", self.name()])
        return client.try_command("SETMETADATA %s (%s %s)" % (astring(name), entry, value))

    def annotate(self, client):
        _, uids = self.uids(client)
        part = self.random.choice(["value.priv", "value.shared"])
        value = self.random.choice(['"note"', '"other"', "NIL"])
        return client.try_command(
            "UID STORE %s ANNOTATION (/comment (%s %s))" % (uids, part, value))

    def set_quota(self, client):
        return client.try_command(
            'SETQUOTA "" (STORAGE %d)' % self.random.choice([100000, 200000]))


def differences(a, b):
    return "\n".join("%s:\n  a %s\n  b %s" % (key, a.get(key), b.get(key))
                     for key in sorted(set(a) | set(b), key=str) if a.get(key) != b.get(key))


class PairViews(chapar.TestCase):
    def test_clients_of_both_nodes_see_the_same_after_each_step(self):
        seed = int(os.environ.get("CHAPAR_SEED", "1"))
        end = time.monotonic() + float(os.environ.get("CHAPAR_WALK_SECONDS", "20"))
        pair = self.pair()
        pair.start(USER, "bob")
        pair.wait_equal(USER)
        eyes = [Eyes(node) for node in pair.nodes]
        walker = Walker(pair.nodes, seed)
        for client in walker.clients:
            self.addCleanup(client.close)
        for each in eyes:
            self.addCleanup(lambda each=each: each.client.close())
        steps = accepted = 0
        while time.monotonic() < end or steps < 10:
            done = walker.step()
            seen = self.wait_same(eyes, "CHAPAR_SEED=%d, step %d: %s" % (seed, steps, done))
            walker.names = sorted(key[0] for key in seen if isinstance(key, tuple) and key[1] == "STATUS")
            steps += 1
            accepted += ": OK" in done
        print("seed %d: %d steps, %d with something accepted" % (seed, steps, accepted))
        self.assertGreater(accepted, steps // 3)
        for node in pair.nodes:
            self.verify_clean(node)

    def wait_same(self, eyes, what):
        deadline = time.monotonic() + chapar.SYNC_SECONDS
        while True:
            a, b = (each.everything_there() for each in eyes)
            if a is not None and a == b:
                return a
            if time.monotonic() > deadline:
                raise AssertionError("%s\n%s" % (what, differences(a or {}, b or {})[:6000]))
            time.sleep(0.02)


if __name__ == "__main__":
    chapar.main()
