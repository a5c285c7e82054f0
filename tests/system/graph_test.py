"""Several nodes in any shape, each pair of neighbours over two wires that can be cut; and a ledger of
what clients were told, with the workers that fill it.

All runs on one machine, so that the order of two acts by the test's clock is the order of their
stamps, if there is some time between them: of every register (where a message is placed, a flag, a
name, a setting) the ledger knows which values may stay. An act without an answer may have been done
or not.
"""

import itertools
import json
import random
import re
import socket
import threading
import time

import chapar_test as chapar
from chapar_test import Node, Wire, fetched, loopback_address, message, snapshot, wait_until

SHAPES = {
    "mesh": lambda n: list(itertools.combinations(range(n), 2)),
    "ring": lambda n: [(i, (i + 1) % n) for i in range(n)] if n > 2 else [(0, 1)],
    "star": lambda n: [(0, i) for i in range(1, n)],
    "chain": lambda n: [(i, i + 1) for i in range(n - 1)],
}


class Graph:
    """Nodes n0, n1, ... that replicate along the edges of a shape, in both directions."""

    def __init__(self, folder, shape, node_count):
        self.shape = shape
        self.edges = SHAPES[shape](node_count)
        self.nodes = []
        for index in range(node_count):
            address = loopback_address()
            name = "n%d" % index
            self.nodes.append(
                Node(name, "%s/%s" % (folder, name), address, chapar.free_port_base(address))
            )
        self.wires = {}  # (from, to) by index
        for one, other in self.edges:
            for source, target in ((one, other), (other, one)):
                self._connect(source, target)

    def _connect(self, source, target):
        near, far = self.nodes[source], self.nodes[target]
        port = _free_port(near.address, near.imap_port + 2000 + target)
        wire = Wire(near.address, port, (far.address, far.imap_port))
        near.peers[far.name] = wire.address
        self.wires[source, target] = wire

    def start(self, *users):
        """Starts all; the accounts are made on the first node and replicate."""
        self.heal()
        self.nodes[0].write_config()
        for user in users:
            self.nodes[0].add_account(user)
        for node in self.nodes:
            node.start()
        for node in self.nodes[1:]:
            wait_until(
                lambda node=node: all(self.has_account(node, user) for user in users),
                chapar.SYNC_SECONDS, "the accounts are on " + node.name)

    @staticmethod
    def has_account(node, user):
        try:
            with node.imap(user):
                return True
        except chapar.ImapError:
            return False

    def cut(self, one, other):
        self.wires[one, other].cut()
        self.wires[other, one].cut()

    def heal(self):
        for wire in self.wires.values():
            wire.cut_after(None)
            wire.heal()

    def kill(self):
        for node in self.nodes:
            node.kill()
        for wire in self.wires.values():
            wire.cut()

    def channels(self, node):
        return json.loads(node.tool("channel", "list", "--json")[1])

    def is_calm(self):
        """All channels are up and nothing waits to be sent."""
        return all(
            row["connected"] and row["pending"] == 0
            for node in self.nodes
            for row in self.channels(node)
        )

    def wait_calm(self, seconds=chapar.SYNC_SECONDS):
        deadline = time.monotonic() + seconds
        while not self.is_calm():
            if time.monotonic() > deadline:
                rows = "\n".join(
                    "%s: %s" % (node.name, row) for node in self.nodes for row in self.channels(node))
                raise AssertionError("not all that changed is sent:\n" + rows)
            time.sleep(0.2)

    def wait_equal(self, user, seconds=chapar.SYNC_SECONDS):
        """Waits until all copies of `user` are the same; returns that snapshot."""
        deadline = time.monotonic() + seconds
        while True:
            first = snapshot(self.nodes[0], user)
            different = [n for n in self.nodes[1:] if snapshot(n, user) != first]
            if not different:
                return first
            if time.monotonic() > deadline:
                raise AssertionError("copies of %s on n0 (a) and %s (b) differ:\n%s" % (
                    user, different[0].name,
                    chapar.describe(first, snapshot(different[0], user))))
            time.sleep(0.3)


def _free_port(address, first):
    for port in itertools.count(first, 16):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue


# ---------------------------------------------------------------- the ledger

ORDER_SECONDS = 0.02  # acts that are nearer to each other may be stamped in any order
GONE = "gone"


class Register:
    """Something that acts set, one after the other or at the same time on different nodes."""

    def __init__(self, *initial):
        self.acts = [(0.0, 0.0, value, True) for value in initial]

    def note(self, begin, end, value, is_certain):
        """An act in doubt was done before its end, or never."""
        self.acts.append((begin, end, value, is_certain))

    def allowed(self):
        """The values of all acts after which no other was certainly done."""
        latest = max((a[0] for a in self.acts if a[3]), default=0.0)
        return {a[2] for a in self.acts if a[1] + ORDER_SECONDS >= latest}

    def is_never(self, value):
        return all(act[2] != value for act in self.acts)


class LedgerMessage:
    def __init__(self):
        self.place = Register()  # a mailbox, or GONE
        self.flags = {}  # flag -> Register of True and False
        self.note = Register(None)  # its shared annotation
        self.is_certain = False  # it was told that it is there
        self.copies = [0, 0]  # made by COPY for sure, and perhaps


class Ledger:
    """All that was told to any client of one account; for use by several threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.messages = {}  # subject -> LedgerMessage
        self.settings = {}  # what -> Register
        self.uids = {}  # (node, mailbox, UIDVALIDITY, UID) -> subject
        self.states = {}  # (node, mailbox, UIDVALIDITY) -> (UIDNEXT, HIGHESTMODSEQ)
        self.faults = []
        self.act_count = 0

    def register(self, *what, initial=()):
        return self.settings.setdefault(what, Register(*initial))

    def see_uid(self, node, mailbox, uidvalidity, uid, subject):
        """P2."""
        with self.lock:
            known = self.uids.setdefault((node, mailbox, uidvalidity, uid), subject)
            if known != subject:
                self.faults.append("P2: UID %d of %s on %s was %s and is %s" % (
                    uid, mailbox, node, known, subject))

    def see_state(self, node, mailbox, state):
        """P3 and P4: what was announced never goes back."""
        key = (node, mailbox, state["uidvalidity"])
        now = (state["uidnext"], state["highestmodseq"])
        with self.lock:
            before = self.states.setdefault(key, now)
            if now[0] < before[0] or now[1] < before[1]:
                self.faults.append("P3, P4: %s: UIDNEXT, HIGHESTMODSEQ %s, before %s" % (
                    key, now, before))
            self.states[key] = now

    # ---- the end

    def check(self, found, settings):
        """`found`: subject -> [(mailbox, flags, annotation)]; `settings`: what -> value."""
        faults = list(self.faults)
        for subject in sorted(set(self.messages) | set(found)):
            faults += self._check_message(subject, found.get(subject, []))
        for what, register in sorted(self.settings.items()):
            if settings.get(what) not in register.allowed():
                faults.append("%s is %r, allowed: %r; acts %s" % (
                    what, settings.get(what), register.allowed(), register.acts[-6:]))
        return faults

    def _check_message(self, subject, places):
        known = self.messages.get(subject)
        if known is None:
            return ["%s was never sent: %s" % (subject, places)]
        certain, possible = known.copies
        allowed = known.place.allowed()
        if possible:
            least = certain + (GONE not in allowed) if known.is_certain else 0
            if not known.place.is_never(GONE):
                least = 0  # one of the instances was expunged
            if not least <= len(places) <= 1 + possible:
                return ["%s: %d instances, expected %d to %d" % (
                    subject, len(places), least, 1 + possible)]
            return []
        if len(places) > 1:
            return ["P1: %s is there %d times: %s" % (subject, len(places), places)]
        if not places:
            if known.is_certain and GONE not in allowed:
                return ["P1: %s is lost; acts %s" % (subject, known.place.acts)]
            return []
        mailbox, flags, note = places[0]
        if mailbox not in allowed:
            return ["P1: %s is in %s, allowed: %s; acts %s" % (
                subject, mailbox, allowed, known.place.acts)]
        faults = [
            "P7: %s has %s %s; acts %s" % (subject, flag, flag in flags, register.acts)
            for flag, register in known.flags.items()
            if (flag in flags) not in register.allowed()
        ]
        # Of a message that was expunged and lives on the annotations may be cleared.
        if known.place.is_never(GONE) and note not in known.note.allowed():
            faults.append("P7: %s is annotated %r; acts %s" % (subject, note, known.note.acts))
        return faults


# ---------------------------------------------------------------- workers

SHARED = ["INBOX", "Archive", "Work"]  # never renamed or deleted
RENAMED = ["R1", "R2"]  # renamed by all: what follows the hyphen changes
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Work", "$Later"]
RIGHTS = "lrswipkxte"
SUBJECT = "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"


def object_of(mailbox):
    """What the ledger calls a mailbox: the part of its name that no rename changes."""
    base = mailbox.partition("-")[0]
    return base if base in RENAMED or re.match(r"w\d+_", base) else mailbox


def quoted(text):
    return '"%s"' % text


class Worker(threading.Thread):
    """A client of one account on one node, again and again until it is told to end."""

    _numbers = itertools.count(1)

    def __init__(self, node, user, ledger, seed, pause=0.02):
        super().__init__(daemon=True)
        self.node, self.user, self.ledger, self.pause = node, user, ledger, pause
        self.random = random.Random(seed)
        self.name = "w%d" % next(Worker._numbers)
        self.count = 0
        self.own = {}  # mailboxes of this worker alone: object -> name
        self.subscribed = {}
        self.is_ended = threading.Event()
        self.error = None

    def run(self):
        while not self.is_ended.is_set() and self.error is None:
            try:
                with self.node.imap(self.user) as client, self.node.lmtp() as lmtp:
                    while not self.is_ended.is_set():
                        self.step(client, lmtp)
                        time.sleep(self.random.uniform(0, 2 * self.pause))
            except (OSError, ConnectionError):
                time.sleep(0.1)  # a crash
            except Exception as error:  # told by the test's own thread
                self.error = error

    def step(self, client, lmtp):
        acts = [
            (self.deliver, 12), (self.append, 14), (self.flag, 26), (self.move, 12),
            (self.expunge, 8), (self.copy, 3), (self.annotate, 5), (self.create, 3),
            (self.rename_own, 2), (self.delete_own, 2), (self.rename, 2), (self.subscribe, 3),
            (self.set_metadata, 4), (self.set_rights, 3), (self.create_same, 1),
        ]
        act = self.random.choices([a[0] for a in acts], [a[1] for a in acts])[0]
        act(client, lmtp)

    def act(self, notes, run):
        """Runs an act; `notes` are (register, value) that it sets. `run` returns true if it was
        told as done, false if nothing was done, None if that is not known."""
        begin, done = time.time(), None
        try:
            done = run()
        finally:
            with self.ledger.lock:
                if done or done is None:
                    for register, value in notes:
                        register.note(begin, time.time(), value, bool(done))
                self.ledger.act_count += bool(done)
        return done

    # ---- what a client sees

    def names(self, client, prefix):
        return [name for name in client.mailboxes() if name.startswith(prefix)]

    def some_mailbox(self, client):
        draw = self.random.random()
        if draw < 0.7:
            return self.random.choice(SHARED)
        if draw < 0.85 and self.own:
            return self.random.choice(sorted(self.own.values()))
        found = self.names(client, self.random.choice(RENAMED + ["w", "Same-"]))
        return self.random.choice(found) if found else "INBOX"

    def select(self, client, mailbox):
        status, _ = client.try_command("SELECT", quoted(mailbox))
        if status != "OK":
            return False  # gone or renamed meanwhile
        text = b"\n".join(client.untagged)
        numbers = {
            word.lower(): int(re.search(rb"\[" + word.encode() + rb" (\d+)", text).group(1))
            for word in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ")
        }
        self.uidvalidity = numbers["uidvalidity"]
        self.ledger.see_state(self.node.name, mailbox, numbers)
        return True

    def chosen(self, client):
        """A message: (mailbox, UID, subject, flags, modseq), with its mailbox selected; or None."""
        mailbox = self.some_mailbox(client)
        if not self.select(client, mailbox):
            return None
        uids = client.search("ALL")
        if not uids:
            return None
        uid = self.random.choice(uids)
        values = client.fetch(uid, "UID FLAGS MODSEQ " + SUBJECT).get(uid)
        if not values or "FLAGS" not in values or "MODSEQ" not in values:
            return None
        body = next(value for name, value in values.items() if name.startswith("BODY["))
        subject = body.decode().partition(":")[2].strip()
        self.ledger.see_uid(self.node.name, mailbox, self.uidvalidity, uid, subject)
        flags = {flag.lower() for flag in values["FLAGS"]}
        return mailbox, uid, subject, flags, int(values["MODSEQ"][0])

    def known(self, subject):
        with self.ledger.lock:
            return self.ledger.messages.setdefault(subject, LedgerMessage())

    # ---- messages

    def new_mail(self):
        self.count += 1
        subject = "%s-%d." % (self.name, self.count)
        size = self.random.choice([50, 50, 800, 9000])
        return subject, message(subject, ("y" * 70 + "\r\n") * (size // 72 + 1))

    def deliver(self, _, lmtp):
        subject, data = self.new_mail()
        known = self.known(subject)

        def run():
            known.is_certain = lmtp.deliver([self.user], data)[0].startswith(b"250")
            return known.is_certain

        self.act([(known.place, "INBOX")], run)

    def append(self, client, _):
        subject, data = self.new_mail()
        known = self.known(subject)
        mailbox = self.some_mailbox(client)
        if mailbox.startswith("w") and mailbox not in self.own.values():
            mailbox = "INBOX"  # of another worker, who may delete it
        flags = self.random.sample(FLAGS, self.random.randrange(3))
        for flag in flags:
            known.flags[flag.lower()] = Register(True)

        def run():
            status, _ = client.try_command(
                "APPEND %s (%s)" % (quoted(mailbox), " ".join(flags)), data)
            known.is_certain = status == "OK"
            return known.is_certain

        self.act([(known.place, object_of(mailbox))], run)

    def flag(self, client, _):
        chosen = self.chosen(client)
        if chosen is None:
            return
        _, uid, subject, flags, modseq = chosen
        flag = self.random.choice(FLAGS)
        is_set = flag.lower() not in flags
        register = self.known(subject).flags.setdefault(flag.lower(), Register(False))

        def run():
            status, text = client.try_command("UID STORE %d (UNCHANGEDSINCE %d) %sFLAGS (%s)" % (
                uid, modseq, "+" if is_set else "-", flag))
            if status != "OK":
                return False
            if "MODIFIED" in text:
                return False
            return uid in fetched(client.untagged) or None

        self.act([(register, is_set)], run)

    def move(self, client, _):
        chosen = self.chosen(client)
        if chosen is None:
            return
        mailbox, uid, subject, _, _ = chosen
        target = self.random.choice([name for name in SHARED if name != mailbox])
        self.act(
            [(self.known(subject).place, target)],
            lambda: self.told(client, "UID MOVE %d %s" % (uid, quoted(target)), "COPYUID"))

    def told(self, client, command, word):
        """Whether `command` told with `word` that it did something."""
        status, text = client.try_command(command)
        return status == "OK" and (
            word in text or any(word.encode() in line for line in client.untagged))

    def expunge(self, client, _):
        chosen = self.chosen(client)
        if chosen is None:
            return
        _, uid, subject, _, modseq = chosen
        known = self.known(subject)
        status, text = client.try_command(
            "UID STORE %d (UNCHANGEDSINCE %d) +FLAGS (\\Deleted)" % (uid, modseq))
        if status != "OK" or "MODIFIED" in text:
            return

        # That its UID is gone may be told of a merge that gave it another one, or moved it.
        def run():
            if client.try_command("UID EXPUNGE %d" % uid)[0] != "OK":
                return False
            is_first = known.place.is_never(GONE)
            return True if is_first and not self.is_anywhere(client, subject) else None

        self.act([(known.place, GONE)], run)

    def is_anywhere(self, client, subject):
        """Whether it may be: what is renamed or moved while one walks is met the second time, or not
        at all."""
        return any(self.may_be_met(client, subject) for _ in range(2))

    def may_be_met(self, client, subject):
        for mailbox in client.mailboxes():
            if client.try_command("EXAMINE", quoted(mailbox))[0] != "OK":
                return True
            if client.search('SUBJECT "%s"' % subject):
                return True
        return False

    def copy(self, client, _):
        chosen = self.chosen(client)
        if chosen is None:
            return
        _, uid, subject, _, _ = chosen
        known = self.known(subject)
        with self.ledger.lock:
            known.copies[1] += 1
        done = self.told(client, "UID COPY %d Archive" % uid, "COPYUID")
        with self.ledger.lock:
            known.copies[0] += done

    def annotate(self, client, _):
        chosen = self.chosen(client)
        if chosen is None:
            return
        _, uid, subject, _, _ = chosen
        self.count += 1
        value = "%s %d" % (self.name, self.count)

        def run():
            status, _ = client.try_command(
                'UID STORE %d ANNOTATION (/comment (value.shared "%s"))' % (uid, value))
            return status == "OK" and bool(client.search("UID %d" % uid)) or None

        self.act([(self.known(subject).note, value)], run)

    # ---- mailboxes and settings

    def is_done(self, client, command):
        return client.try_command(command)[0] == "OK"

    def create(self, client, _):
        self.count += 1
        what = name = "%s_%d" % (self.name, self.count)
        register = self.ledger.register("name", what, initial=[None])
        if self.act([(register, name)], lambda: self.is_done(client, "CREATE " + name)):
            self.own[what] = name

    def rename_own(self, client, _):
        if not self.own:
            return
        what, old = self.random.choice(sorted(self.own.items()))
        self.count += 1
        new = "%s-%d" % (what, self.count)
        register = self.ledger.register("name", what)
        del self.own[what]  # in doubt it is left alone
        is_done = self.act(
            [(register, new)], lambda: self.is_done(client, "RENAME %s %s" % (old, new)))
        self.own[what] = new if is_done else old

    def delete_own(self, client, _):
        if not self.own:
            return
        what, name = self.random.choice(sorted(self.own.items()))
        register = self.ledger.register("name", what)
        # Whether others have moved its messages before, is not known.
        with self.ledger.lock:
            perhaps = [
                m.place for m in self.ledger.messages.values() if not m.place.is_never(what)
            ]
        del self.own[what]
        begin = time.time()
        try:
            if not self.act([(register, None)], lambda: self.is_done(client, "DELETE " + name)):
                self.own[what] = name
        finally:
            with self.ledger.lock:
                for place in perhaps:
                    place.note(begin, time.time(), GONE, False)

    def create_same(self, client, _):
        name = "Same-%d" % self.random.randrange(6)
        register = self.ledger.register("name", name, initial=[None])
        self.act([(register, name)], lambda: self.is_done(client, "CREATE " + name) or None)

    def rename(self, client, _):
        base = self.random.choice(RENAMED)
        found = self.names(client, base + "-")
        self.count += 1
        new = "%s-%s_%d" % (base, self.name, self.count)
        if found:
            self.act(
                [(self.ledger.register("name", base), new)],
                lambda: self.is_done(client, "RENAME %s %s" % (found[0], new)))

    def subscribe(self, client, _):
        name = "%s-list%d" % (self.name, self.random.randrange(3))
        is_set = not self.subscribed.get(name, False)
        register = self.ledger.register("subscription", name, initial=[False])
        verb = "SUBSCRIBE" if is_set else "UNSUBSCRIBE"
        if self.act([(register, is_set)], lambda: self.is_done(client, "%s %s" % (verb, name))):
            self.subscribed[name] = is_set

    def set_metadata(self, client, _):
        mailbox = self.random.choice(SHARED + [""])
        entry = self.random.choice(["/shared/comment", "/private/comment"])
        self.count += 1
        value = "%s %d" % (self.name, self.count)
        self.act(
            [(self.ledger.register("metadata", mailbox, entry, initial=[None]), value)],
            lambda: self.is_done(
                client, 'SETMETADATA %s (%s "%s")' % (quoted(mailbox), entry, value)))

    def set_rights(self, client, _):
        mailbox, friend = self.random.choice(SHARED), "friend%d" % self.random.randrange(2)
        register = self.ledger.register("rights", mailbox, friend, initial=[None])
        with self.ledger.lock:  # every value once, so that none is there already
            used = {act[2] for act in register.acts}
            number = next(n for n in itertools.count(self.random.randrange(1, 1000)) if (
                rights_of(n) not in used))
        rights = rights_of(number)
        self.act(
            [(register, rights)],
            lambda: self.is_done(client, "SETACL %s %s %s" % (mailbox, friend, rights)))


def rights_of(number):
    number = number % 1023 + 1
    return "".join(right for bit, right in enumerate(RIGHTS) if number >> bit & 1)


def read_state(client, ledger):
    """What the end holds, in the ledger's words: messages by subject, and settings."""
    found, settings = {}, {}
    for what in ledger.settings:
        if what[0] == "subscription":
            settings[what] = False
    for mailbox in client.mailboxes():
        base = object_of(mailbox)
        settings["name", base] = mailbox
        client.select(mailbox, "EXAMINE")
        items = "UID FLAGS %s ANNOTATION (/comment value.shared)" % SUBJECT
        for values in client.fetch("1:*", items).values():
            body = next(value for name, value in values.items() if name.startswith("BODY["))
            subject = body.decode().partition(":")[2].strip()
            note = values["ANNOTATION"][1][1]
            found.setdefault(subject, []).append((
                base, {flag.lower() for flag in values["FLAGS"]},
                note.decode() if isinstance(note, bytes) else None))
    client.command('LSUB "" "*"')
    for line in client.untagged:
        settings["subscription", _text(chapar.parse(line)[-1])] = True
    for what in ledger.settings:
        if what[0] == "metadata":
            settings[what] = _metadata(client, what[1], what[2])
        elif what[0] == "rights":
            settings[what] = _rights(client, what[1], what[2])
    return found, settings


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _metadata(client, mailbox, entry):
    client.command("GETMETADATA %s %s" % (quoted(mailbox), entry))
    values = chapar.parse(client.untagged[0])[-1]
    return values[1].decode() if isinstance(values[1], bytes) else None


def _rights(client, mailbox, identifier):
    client.command("GETACL " + mailbox)
    words = [_text(word) for word in chapar.parse(client.untagged[0])]
    rights = dict(zip(words[3::2], words[4::2])).get(identifier)
    return rights and "".join(right for right in RIGHTS if right in rights)
