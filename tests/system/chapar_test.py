"""What the system tests share: nodes with generated configurations, IMAP and LMTP by hand, a wire
that can be cut. Everything of a test lives in one temporary folder and on one loopback address of
its own, so tests run in parallel; processes and the folder are gone when the test ends.
"""

import ctypes
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHAPARD = CHAPAR = MAILLOAD = None  # see use_build()

PASSWORD = "secret"
SYNC_PASSWORD = "replication-secret"
START_SECONDS = 60  # sanitized daemons on a busy machine
SYNC_SECONDS = 90  # the longest that copies may take to become equal

_address_count = 0


def use_build(folder):
    """Takes the programs from this build folder."""
    global CHAPARD, CHAPAR, MAILLOAD
    CHAPARD = os.path.join(folder, "src/chapard/chapard")
    CHAPAR = os.path.join(folder, "src/chapar/chapar")
    MAILLOAD = os.path.join(folder, "bench/mailload")


use_build(os.environ.get("CHAPAR_BUILD", os.path.join(ROOT, "build")))


def loopback_address():
    """An address of 127/8 that no other test of this machine uses now."""
    global _address_count
    _address_count += 1
    pid = os.getpid()
    return "127.%d.%d.%d" % (64 + (pid >> 16) % 64, pid >> 8 & 255, (pid * 8 + _address_count) & 255)


def free_port_base(address):
    """A port base whose ports nothing on this machine listens on, not even on all addresses."""
    offsets = (24, 143, 993, 1024, 1025, 1143, 1993, 2143, 2144, 2145)  # of nodes and wires, Postfix
    for base in range(3000, 30000, 1000):
        try:
            for offset in offsets:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, base + offset))
        except OSError:
            continue
        return base
    raise unittest.SkipTest("no free ports on " + address)


def end_with_parent():
    """Runs in a child before exec: SIGKILL for it when the test itself is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def wait_until(condition, seconds, what):
    """Calls `condition` until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %d s: %s" % (seconds, what))
        time.sleep(0.05)


def message(subject, body="Hello.\r\n", message_id=None):
    """A small message; every subject gives its own Message-ID."""
    message_id = message_id or hashlib.sha256(subject.encode()).hexdigest()[:24]
    return (
        "From: Anna <anna@sender.example>\r\nTo: bert@local.example\r\nSubject: %s\r\n"
        "Date: Mon, 3 Feb 2025 10:00:00 +0000\r\nMessage-ID: <%s@sender.example>\r\n\r\n%s"
        % (subject, message_id, body)
    ).encode()


# ---------------------------------------------------------------- nodes


class Node:
    """One chapard with its store, configuration and log in `folder`."""

    def __init__(self, name, folder, address, port_base):
        self.name = name
        self.folder = folder
        self.address = address
        self.imap_port = port_base + 143
        self.imaps_port = port_base + 993
        self.lmtp_port = port_base + 24
        self.store = os.path.join(folder, "store")
        self.config_file = os.path.join(folder, "chapard.conf")
        self.log_file = os.path.join(folder, "log")
        self.settings = {
            "allow-plaintext-loopback": "true",
            "create-accounts-on-delivery": "true",
            "log-level": '"info"',
        }
        self.certificate = None  # (certificate file, key file)
        self.peers = {}  # name -> (address, port)
        self.peer_settings = ""  # further keys of each peer section
        self.extra = ""
        self.wrapper = []  # a command to run chapard under
        self.process = None
        os.makedirs(folder, exist_ok=True)

    def write_config(self):
        lines = ['node = "%s"' % self.name]
        lines += ["%s = %s" % item for item in self.settings.items()]
        lines.append('store { path = "%s" }' % self.store)
        lines.append('listen imap { address = "%s:%d" }' % (self.address, self.imap_port))
        lines.append(
            'listen lmtp { address = "%s:%d" protocol = "lmtp" }' % (self.address, self.lmtp_port)
        )
        if self.certificate:
            lines.append(
                'listen imaps { address = "%s:%d" tls = "implicit" }'
                % (self.address, self.imaps_port)
            )
            lines.append('tls { certificate = "%s" key = "%s" }' % self.certificate)
        password_file = self.password_file()
        for peer, (address, port) in self.peers.items():
            lines.append('sync-user "%s" { password-file = "%s" }' % (peer, password_file))
            lines.append(
                'peer "%s" { address = "%s:%d" user = "%s" password-file = "%s" tls = "none" %s }'
                % (peer, address, port, self.name, password_file, self.peer_settings)
            )
        lines.append(self.extra)
        with open(self.config_file, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")

    def password_file(self):
        """The file with what nodes log in to each other with."""
        path = os.path.join(self.folder, "sync-password")
        with open(path, "w", encoding="ascii") as out:
            out.write(SYNC_PASSWORD + "\n")
        os.chmod(path, 0o600)
        return path

    def start(self, wait=True):
        assert self.process is None, "node %s runs already" % self.name
        self.write_config()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [CHAPARD, "-c", self.config_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        if wait:
            wait_until(self._answers, START_SECONDS, "node %s answers" % self.name)

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(
                "node %s ended with %s:\n%s" % (self.name, self.process.returncode, self.log()[-4000:])
            )
        try:
            with socket.create_connection((self.address, self.imap_port), 5) as probe:
                probe.settimeout(START_SECONDS)
                return probe.recv(1) == b"*"
        except OSError:
            return False

    def stop(self):
        """Ends the daemon in good order; its exit status must be 0."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            status = self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("node %s did not end after SIGTERM" % self.name) from None
        self.process = None
        if status != 0:
            raise AssertionError(
                "node %s ended with status %d:\n%s" % (self.name, status, self.log()[-4000:])
            )

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.stop()
        self.start()

    def signal(self, number):
        self.process.send_signal(number)

    def log(self):
        try:
            with open(self.log_file, "r", encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def tool(self, *arguments, check=True, text_input=None):
        """Runs `chapar -c CONFIG arguments...`; returns (exit status, what it printed)."""
        if not os.path.exists(self.config_file):
            self.write_config()
        done = subprocess.run(
            [CHAPAR, "-c", self.config_file, *arguments],
            input=text_input or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=300,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                "chapar %s: status %d\n%s" % (" ".join(arguments), done.returncode, done.stdout)
            )
        return done.returncode, done.stdout

    def add_account(self, name, password=PASSWORD):
        self.tool("account", "add", name, "--password-file", "-", text_input=password + "\n")

    def imap(self, user=None, password=PASSWORD, port=None):
        client = Imap(self.address, port or self.imap_port)
        if user:
            client.login(user, password)
        return client

    def lmtp(self):
        return Lmtp(self.address, self.lmtp_port)

    def deliver(self, user, data):
        with self.lmtp() as lmtp:
            replies = lmtp.deliver([user], data)
        assert replies[0].startswith(b"250"), replies

    def segment_files(self):
        """The files of the store that hold the log, oldest first."""
        found = []
        for folder, _, names in os.walk(self.store):
            found += [os.path.join(folder, name) for name in names if name.endswith(".segment")]
        return sorted(found)


class Pair:
    """Nodes a and b that replicate to each other over two wires that can be cut."""

    def __init__(self, folder, address=None, base=None, names=("a", "b")):
        address = address or loopback_address()
        base = base or free_port_base(address)
        self.port_base = base
        self.a, self.b = self.nodes = [
            Node(name, os.path.join(folder, name), address, base + 1000 * index)
            for index, name in enumerate(names)
        ]
        self.wire_ab = Wire(address, base + 2143, (address, self.b.imap_port))
        self.wire_ba = Wire(address, base + 2144, (address, self.a.imap_port))
        self.a.peers[self.b.name] = self.wire_ab.address
        self.b.peers[self.a.name] = self.wire_ba.address

    def start(self, *users):
        self.heal()
        for node in self.nodes:
            node.write_config()
            for user in users:
                node.add_account(user)
            node.start()

    def stop(self):
        for node in self.nodes:
            node.stop()
        self.cut()

    def kill(self):
        for node in self.nodes:
            node.kill()
        self.cut()

    def cut(self):
        self.wire_ab.cut()
        self.wire_ba.cut()

    def heal(self):
        self.wire_ab.heal()
        self.wire_ba.heal()

    def wait_equal(self, user, seconds=SYNC_SECONDS):
        """Waits until both copies of `user` are the same; returns that snapshot."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                a, b = snapshot(self.a, user), snapshot(self.b, user)
            except (ImapError, ConnectionError):  # a mailbox went while it was looked at
                a, b = {}, None
            if a == b:
                return a
            if time.monotonic() > deadline:
                raise AssertionError("copies of %s differ:\n%s" % (user, describe(a, b or {})))
            time.sleep(0.2)


class Wire:
    """A TCP relay from `address`:`port` to `target`: cut() breaks what flows and refuses more.
    `watch(data)` is called with what comes from the near end before it goes on, and may wait;
    `watch_answers(data)` with what comes from the far end."""

    def __init__(self, address, port, target):
        self.address = (address, port)
        self.target = target
        self.listener = None
        self.links = set()
        self.lock = threading.Lock()
        self.bytes_until_cut = None  # when set, the wire breaks after so many more bytes
        self.watch = None
        self.watch_answers = None
        self.byte_count = 0  # that went over it, both ways

    def heal(self):
        if self.listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self):
        with self.lock:
            listener, self.listener = self.listener, None
            links, self.links = self.links, set()
        if listener is not None:
            # shutdown() wakes the thread that blocks in accept(); close() alone does not.
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        for link in links:
            _hang_up(link)

    def cut_after(self, byte_count):
        with self.lock:
            self.bytes_until_cut = byte_count

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, 10)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self.lock:
                if self.listener is not listener:
                    near.close()
                    far.close()
                    return
                self.links.update((near, far))
            for ends in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._relay, args=ends, daemon=True).start()

    def _relay(self, source, sink, is_from_near):
        try:
            sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                data = source.recv(65536)
                if not data:
                    break
                watch = self.watch if is_from_near else self.watch_answers
                if watch is not None:
                    watch(data)
                with self.lock:
                    self.byte_count += len(data)
                    breaks = self.bytes_until_cut is not None and self.bytes_until_cut < len(data)
                    if breaks:
                        data = data[: self.bytes_until_cut]
                        self.bytes_until_cut = None
                    elif self.bytes_until_cut is not None:
                        self.bytes_until_cut -= len(data)
                sink.sendall(data)
                if breaks:
                    self.cut()
                    return
        except OSError:
            pass
        for link in (source, sink):
            _hang_up(link)
            with self.lock:
                self.links.discard(link)


def _hang_up(link):
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    link.close()


# ---------------------------------------------------------------- protocols


class Lmtp:
    def __init__(self, address, port, timeout=120):
        self.socket = socket.create_connection((address, port), timeout)
        self.stream = self.socket.makefile("rb")
        greeting = self.reply()
        assert greeting.startswith(b"220"), greeting
        assert self.command("LHLO client.example").startswith(b"250")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def reply(self):
        """The last line of one reply."""
        while True:
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("LMTP connection ended")
            if line[3:4] != b"-":
                return line.rstrip(b"\r\n")

    def command(self, line):
        self.socket.sendall(line.encode() + b"\r\n")
        return self.reply()

    def deliver(self, users, data):
        """One reply for each recipient: that of RCPT when it was refused, else the last one."""
        reply = self.command("MAIL FROM:<anna@sender.example>")
        assert reply.startswith(b"250"), reply
        replies = [self.command("RCPT TO:<%s@local.example>" % user) for user in users]
        accepted = [index for index, reply in enumerate(replies) if reply.startswith(b"250")]
        if not accepted:
            self.command("RSET")
            return replies
        reply = self.command("DATA")
        if not reply.startswith(b"354"):
            return [reply] * len(users)
        stuffed = re.sub(rb"(?m)^\.", b"..", data)
        self.socket.sendall(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        for index in accepted:
            replies[index] = self.reply()
        return replies


class ImapError(AssertionError):
    """A command was answered NO or BAD."""


class Imap:
    """One IMAP connection. Untagged responses stay as bytes, their literals inline."""

    def __init__(self, address, port, timeout=120, wrap=None):
        self.socket = socket.create_connection((address, port), timeout)
        if wrap:
            self.socket = wrap(self.socket)
        self.stream = self.socket.makefile("rb")
        self.tag_count = 0
        self.untagged = []
        self.greeting = self.response()
        assert self.greeting.startswith((b"* OK", b"* PREAUTH")), self.greeting

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self.stream.close()
            self.socket.close()
        except OSError:
            pass

    def response(self):
        """One response with its literals, without the last CRLF."""
        data = b""
        while True:
            line = self.stream.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("IMAP connection ended")
            data += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                return data.rstrip(b"\r\n")
            size = int(literal.group(1))
            body = self.stream.read(size)
            if len(body) != size:
                raise ConnectionError("IMAP connection ended in a literal")
            data += body

    def send(self, *parts):
        """Sends a tagged command; bytes among the parts go as non-synchronizing literals."""
        self.tag_count += 1
        tag = "t%d" % self.tag_count
        data = tag.encode()
        for part in parts:
            if isinstance(part, bytes):
                data += b" {%d+}\r\n%s" % (len(part), part)
            else:
                data += b" " + part.encode()
        self.socket.sendall(data + b"\r\n")
        return tag

    def finish(self, tag):
        """Waits for the tagged answer; returns (OK, NO or BAD; its text)."""
        start = tag.encode() + b" "
        self.untagged = []
        while True:
            line = self.response()
            if line.startswith(start):
                status, _, text = line[len(start) :].partition(b" ")
                return status.decode(), text.decode("utf-8", "replace")
            self.untagged.append(line)

    def try_command(self, *parts):
        return self.finish(self.send(*parts))

    def command(self, *parts):
        status, text = self.try_command(*parts)
        if status != "OK":
            raise ImapError("%s: %s %s" % (parts[0], status, text))
        return text

    def login(self, user, password=PASSWORD):
        self.command("LOGIN %s %s" % (user, password))

    def select(self, mailbox="INBOX", verb="SELECT"):
        """Returns EXISTS, UIDVALIDITY, UIDNEXT and HIGHESTMODSEQ."""
        self.command('%s "%s"' % (verb, mailbox))
        text = b"\n".join(self.untagged)

        def number(pattern):
            found = re.search(pattern, text, re.I)
            return int(found.group(1)) if found else None

        return {
            "exists": number(rb"\* (\d+) EXISTS"),
            "uidvalidity": number(rb"\[UIDVALIDITY (\d+)"),
            "uidnext": number(rb"\[UIDNEXT (\d+)"),
            "highestmodseq": number(rb"\[HIGHESTMODSEQ (\d+)"),
        }

    def append(self, mailbox, data, flags=""):
        """Returns the UID that the message got."""
        text = self.command('APPEND "%s"%s' % (mailbox, flags and " (%s)" % flags), data)
        return int(re.search(r"\[APPENDUID \d+ (\d+)\]", text).group(1))

    def fetch(self, uids, items):
        """UID FETCH; returns {uid: {ITEM: value}}."""
        self.command("UID FETCH %s (%s)" % (uids, items))
        return fetched(self.untagged)

    def search(self, *criteria):
        self.command("UID SEARCH", *criteria)
        for line in self.untagged:
            if line.upper().startswith(b"* SEARCH"):
                return [int(word) for word in line.split()[2:]]
        return []

    def mailboxes(self):
        self.command('LIST "" "*"')
        names = []
        for line in self.untagged:
            if line.startswith(b"* LIST "):
                attributes, _, name = parse(line[7:])
                if not any(a.lower() in ("\\noselect", "\\nonexistent") for a in attributes):
                    names.append(name.decode() if isinstance(name, bytes) else name)
        return sorted(names)


def parse(data):
    """The values of a response: atoms as str, strings and literals as bytes, lists as lists."""
    stack = [[]]
    at = 0
    while at < len(data):
        byte = data[at : at + 1]
        if byte == b" ":
            at += 1
        elif byte == b"(":
            stack.append([])
            at += 1
        elif byte == b")":
            done = stack.pop()
            stack[-1].append(done)
            at += 1
        elif byte == b'"':
            found = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.S).match(data, at)
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found.group(1)))
            at = found.end()
        elif byte == b"{" or data[at : at + 2] == b"~{":
            found = re.compile(rb"~?\{(\d+)\}\r\n").match(data, at)
            end = found.end() + int(found.group(1))
            stack[-1].append(data[found.end() : end])
            at = end
        else:
            found = re.compile(rb"(?:[^ ()\[\"{]|\[[^\]]*\](?:<\d+>)?)+").match(data, at)
            stack[-1].append(found.group(0).decode("utf-8", "replace"))
            at = found.end()
    assert len(stack) == 1, data
    return stack[0]


def fetched(lines):
    result = {}
    for line in lines:
        found = re.match(rb"\* \d+ FETCH ", line)
        if not found:
            continue
        values = parse(line[found.end() :])[0]
        items = {values[i].upper(): values[i + 1] for i in range(0, len(values), 2)}
        if "UID" in items:
            result.setdefault(int(items["UID"]), {}).update(items)
    return result


def snapshot(node, user):
    """All that a client can see of an account: {mailbox: (UIDVALIDITY, UIDNEXT, {uid: message})}."""
    with node.imap(user) as client:
        result = {}
        client.command('LSUB "" "*"')
        result[""] = sorted(line for line in client.untagged if line.startswith(b"* LSUB"))
        for mailbox in client.mailboxes():
            state = client.select(mailbox, "EXAMINE")
            messages = {}
            if state["exists"]:
                items = "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]"
                for uid, values in client.fetch("1:*", items).items():
                    flags = {flag.lower() for flag in values["FLAGS"]} - {"\\recent"}
                    body = values["BODY[]"]
                    messages[uid] = (
                        " ".join(sorted(flags)),
                        values["INTERNALDATE"],
                        int(values["RFC822.SIZE"]),
                        hashlib.sha256(body).hexdigest(),
                        _subject(body),
                    )
            result[mailbox] = (state["uidvalidity"], state["uidnext"], messages)
        return result


def _subject(body):
    found = re.search(rb"(?mi)^Subject: ([^\r\n]*)", body)
    return found.group(1).decode("utf-8", "replace") if found else ""


def describe(a, b):
    """The differences of two snapshots, for a person."""
    lines = []
    for mailbox in sorted(set(a) | set(b)):
        left, right = a.get(mailbox), b.get(mailbox)
        if left == right:
            continue
        if left is None or right is None or mailbox == "":
            lines.append("%r: a %s, b %s" % (mailbox, left, right))
            continue
        lines.append("%s: uidvalidity, uidnext a %s b %s" % (mailbox, left[:2], right[:2]))
        for uid in sorted(set(left[2]) | set(right[2])):
            if left[2].get(uid) != right[2].get(uid):
                lines.append("  %d: a %s, b %s" % (uid, left[2].get(uid), right[2].get(uid)))
    return "\n".join(lines[:60])


def make_certificate(folder, name, address):
    """A self-signed certificate for `address`, as a name too since not all clients know the other
    kind; returns (certificate file, key file)."""
    certificate = os.path.join(folder, name + "-cert.pem")
    key = os.path.join(folder, name + "-key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "30", "-keyout", key, "-out", certificate, "-subj", "/CN=" + name]
        + ["-addext", "subjectAltName=IP:%s,DNS:localhost,DNS:%s" % (address, address)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    return certificate, key


# ---------------------------------------------------------------- running


class TestCase(unittest.TestCase):
    """Gives a test its temporary folder and ends the nodes that it made."""

    maxDiff = 4000

    def setUp(self):
        # A short path: the UNIX sockets of a store must fit into 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="chapar-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        self.addCleanup(self._remove_folder)
        self._nodes = []
        self._wires = []
        self.addCleanup(self._end_nodes)

    def node(self, name="a"):
        address = loopback_address()
        node = Node(name, os.path.join(self.folder, name), address, free_port_base(address))
        self._nodes.append(node)
        return node

    def pair(self):
        pair = Pair(self.folder)
        self._nodes += pair.nodes
        self._wires += [pair.wire_ab, pair.wire_ba]
        return pair

    def _has_failed(self):
        result = self._outcome.result
        return any(test is self for test, _ in result.failures + result.errors)

    def _remove_folder(self):
        if self._has_failed() and os.environ.get("CHAPAR_KEEP"):
            print("stores, configurations and logs are kept in " + self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end_nodes(self):
        failed = self._has_failed()
        for wire in self._wires:
            wire.cut()
        for node in self._nodes:
            node.kill()
            if failed:
                print("---- log of node %s\n%s" % (node.name, node.log()[-6000:]))
            else:
                log = node.log()
                at = [log.find(sign) for sign in ("Sanitizer", "runtime error") if sign in log]
                if at:
                    raise AssertionError(
                        "a sanitizer reports:\n" + log[max(0, min(at) - 500) : min(at) + 8000]
                    )

    def verify_clean(self, node):
        status, text = node.tool("verify", check=False)
        self.assertEqual(status, 0, "chapar verify on %s:\n%s" % (node.name, text))


def need_tool(name):
    if shutil.which(name) is None:
        raise unittest.SkipTest("%s is not installed" % name)


def main():
    """Runs the tests of the calling file; exit status 77 tells Meson that all were skipped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.reconfigure(line_buffering=True)
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    for test, reason in result.skipped:
        print("SKIPPED %s: %s" % (test, reason))
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) == result.testsRun else 0)
