"""What tests of import and export share: a real Dovecot, varied mail, and all that a client can see
of an account, in a form that two servers can be compared by."""

import datetime
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading

import chapar_test as chapar
from chapar_test import wait_until

DOVECOT = shutil.which("dovecot") or "/usr/sbin/dovecot"
DOVECOT_IMAP = "/usr/lib/dovecot/imap"
NOBODY = 65534

DOVECOT_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {address}
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_mechanisms = plain
auth_master_user_separator = *
first_valid_uid = {uid}
first_valid_gid = {gid}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_uid = {uid}
mail_gid = {gid}
mail_location = {location}
mail_attribute_dict =
{extra}
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%n
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Sent {{
    special_use = \\Sent
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """A Dovecot with its configuration and mail in `folder`, whose users log in with PASSWORD."""

    def __init__(self, folder, location="maildir:~/Maildir", separator="/", certificate=None):
        if not os.path.exists(DOVECOT) or not os.path.exists(DOVECOT_IMAP):
            raise chapar.unittest.SkipTest("dovecot-imapd is not installed")
        self.folder = folder
        self.address = chapar.loopback_address()
        base = chapar.free_port_base(self.address)
        self.port, self.tls_port = base + 143, base + 993
        self.location, self.separator, self.certificate = location, separator, certificate
        self.extra = ""
        self.process = None
        for part in ("run", "state", "home"):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
        os.chmod(folder, 0o755)
        self.uid = os.getuid() or NOBODY
        self.gid = pwd.getpwuid(self.uid).pw_gid
        if os.getuid() == 0:
            os.chown(os.path.join(folder, "home"), self.uid, self.gid)
        with open(os.path.join(folder, "masters"), "w", encoding="ascii") as out:
            out.write("admin:{PLAIN}master-secret\n")

    def config(self):
        """Writes it, and returns its path."""
        path = os.path.join(self.folder, "dovecot.conf")
        is_root = os.getuid() == 0
        user = "dovecot" if is_root else pwd.getpwuid(self.uid).pw_name
        certificate = ""
        if self.certificate:
            certificate = "ssl_cert = <%s\nssl_key = <%s" % self.certificate
        with open(path, "w", encoding="utf-8") as out:
            out.write(
                DOVECOT_CONFIG.format(
                    folder=self.folder,
                    address=self.address,
                    port=self.port,
                    tls_port=self.tls_port if self.certificate else 0,
                    ssl="yes" if self.certificate else "no",
                    certificate=certificate,
                    uid=self.uid,
                    gid=self.gid,
                    user=user,
                    group="dovecot" if is_root else user,
                    location=self.location,
                    separator=self.separator,
                    password=chapar.PASSWORD,
                    extra=self.extra,
                )
            )
        return path

    def start(self):
        with open(os.path.join(self.folder, "out"), "ab") as log:
            self.process = subprocess.Popen(
                [DOVECOT, "-F", "-c", self.config()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "TZ": "UTC"},
                preexec_fn=chapar.end_with_parent,
            )
        wait_until(self._answers, chapar.START_SECONDS, "Dovecot answers")

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError("Dovecot ended:\n" + self.log())
        try:
            chapar.Imap(self.address, self.port).close()
            return True
        except OSError:
            return False

    def log(self):
        text = ""
        for name in ("out", "log"):
            try:
                with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as log:
                    text += log.read()
            except FileNotFoundError:
                pass
        return text[-4000:]

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def home(self, user):
        return os.path.join(self.folder, "home", user)

    def imap(self, user, password=chapar.PASSWORD):
        client = chapar.Imap(self.address, self.port)
        client.login(user, password)
        return client

    def give(self, path):
        """Makes what a test has put there the mail user's."""
        if os.getuid() == 0:
            for folder, names, files in os.walk(path):
                os.chown(folder, self.uid, self.gid)
                for name in names + files:
                    os.chown(os.path.join(folder, name), self.uid, self.gid, follow_symlinks=False)


# ---------------------------------------------------------------- what is seen


def seconds(date):
    """INTERNALDATE as seconds since 1970: servers tell it in time zones of their own."""
    text = date.decode() if isinstance(date, bytes) else date
    return int(datetime.datetime.strptime(text.strip(), "%d-%b-%Y %H:%M:%S %z").timestamp())


def listed(client, command):
    """{name: attributes} of LIST or LSUB, with '/' between levels."""
    client.command(command + ' "" "*"')
    found = {}
    for line in client.untagged:
        kind = b"* " + command.encode() + b" "
        if line.startswith(kind):
            attributes, separator, name = chapar.parse(line[len(kind) :])
            name = name if isinstance(name, str) else name.decode()
            separator = separator.decode() if isinstance(separator, bytes) else separator
            if separator not in ("/", "NIL"):
                name = name.replace(separator, "/")
            found[name] = {attribute.lower() for attribute in attributes}
    return found


def view(server, user, **login):
    """What a client sees: ({mailbox: (UIDVALIDITY, UIDNEXT, {uid: ...})}, subscriptions)."""
    result = {}
    prefix = getattr(server, "prefix", "").replace(".", "/")

    def bare(name):
        return name[len(prefix) :] if name.startswith(prefix) else name

    with server.imap(user, **login) as client:
        separator = "/"
        client.command('LIST "" ""')
        found = re.search(rb'LIST \([^)]*\) "(.)"', b"\n".join(client.untagged))
        if found:
            separator = found.group(1).decode()
        mailboxes = listed(client, "LIST")
        for name, attributes in mailboxes.items():
            if attributes & {"\\noselect", "\\nonexistent"}:
                continue
            state = client.select(name.replace("/", separator).replace('"', '\\"'), "EXAMINE")
            messages = {}
            if state["exists"]:
                for uid, values in client.fetch(
                    "1:*", "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]"
                ).items():
                    flags = sorted({flag.lower() for flag in values["FLAGS"]} - {"\\recent"})
                    body = values["BODY[]"]
                    if not isinstance(body, bytes):
                        body = b"" if body == "NIL" else body.encode()
                    messages[uid] = (
                        " ".join(flags),
                        seconds(values["INTERNALDATE"]),
                        int(values["RFC822.SIZE"]),
                        len(body),
                        hashlib.sha256(body).hexdigest(),
                    )
            result[bare(name)] = (state["uidvalidity"], state["uidnext"], messages)
        subscribed = {bare(name) for name in listed(client, "LSUB")}
    return result, subscribed


def differences(left, right):
    """Of two views, for a person; "" if there are none."""
    lines = []
    if left[1] != right[1]:
        lines.append("subscriptions: %s, %s" % (sorted(left[1]), sorted(right[1])))
    for name in sorted(set(left[0]) | set(right[0])):
        a, b = left[0].get(name), right[0].get(name)
        if a is None or b is None:
            lines.append("%s: %s, %s" % (name, a and a[:2], b and b[:2]))
            continue
        if a[:2] != b[:2]:
            lines.append("%s: UIDVALIDITY, UIDNEXT %s, %s" % (name, a[:2], b[:2]))
        for uid in sorted(set(a[2]) | set(b[2])):
            if a[2].get(uid) != b[2].get(uid):
                lines.append("%s %d: %s, %s" % (name, uid, a[2].get(uid), b[2].get(uid)))
    return "\n".join(lines[:60])


# ---------------------------------------------------------------- varied mail

MAILBOXES = (
    "Sent",
    "Entw&APw-rfe",
    "Archive/2024/Q1",
    "a &- b",
    "with blank",
    'we"ird',
    "&ZeVnLIqe-",
    "empty",
    "trash",
)
ODD = {
    "8bit": b"Subject: caf\xe9 \xff\xfe\r\n\r\n\x80\x81 raw bytes \xc3\xa9\r\n",
    "no header": b"\r\njust a body\r\n",
    "no body": b"Subject: only a header\r\n\r\n",
    "no blank line": b"Subject: ends here\r\n",
    "no end of line": b"Subject: x\r\n\r\nno end",
    "long line": b"Subject: long\r\n\r\n" + b"x" * 70000 + b"\r\n",
    "huge header": b"".join(b"X-Field-%d: %s\r\n" % (i, b"y" * 70) for i in range(4000)) + b"\r\nb\r\n",
    "from line": b"Subject: from\r\n\r\nFrom here on\r\n>From there\r\n>>From\r\n",
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n",
    "blank lines": b"Subject: blank\r\n\r\n\r\n\r\n\r\n",
    "lone CR": b"Subject: cr\r\n\r\na\rb\r\n",
}
FLAGS = ("", "\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Seen \\Answered \\Flagged")
KEYWORDS = ("$Forwarded", "Junk", "work-2024", "$MDNSent \\Seen")
DATES = ("01-Feb-1999 12:34:56 +0000", "29-Feb-2024 23:59:59 +0000", "07-Nov-2025 08:00:00 +0000")


def append(client, mailbox, data, flags="", date=DATES[0]):
    client.command('APPEND "%s" (%s) "%s"' % (mailbox.replace('"', '\\"'), flags, date), data)


def fill(client, separator="/", prefix="", without=()):
    """Mail of all kinds, by IMAP."""
    for name in MAILBOXES:
        if name in without:
            continue
        name = prefix + name.replace("/", separator)
        quoted = name.replace('"', '\\"')
        status, text = client.try_command('CREATE "%s"' % quoted)
        assert status == "OK" or name == "Sent", (name, text)
        if "a" in name or "&" in name:
            client.command('SUBSCRIBE "%s"' % quoted)
        for number, flags in enumerate(FLAGS):
            append(client, name, chapar.message("%s %d" % (name, number)), flags, DATES[number % 3])
    client.command("SUBSCRIBE INBOX")
    for number, data in enumerate(ODD.values()):
        append(client, "INBOX", data, KEYWORDS[number % 4], DATES[number % 3])
    for mailbox, uids in (("INBOX", "2"), (prefix + "empty", "1:*"), (prefix + "trash", "3,6:*")):
        if mailbox in without:
            continue
        client.select(mailbox)
        client.command("UID STORE %s +FLAGS.SILENT (\\Deleted)" % uids)
        client.command("EXPUNGE")
    client.command("CLOSE")


# ---------------------------------------------------------------- Cyrus

CYRUS_CONFIG = """
configdirectory: {folder}/conf
proc_path: {folder}/run/proc
mboxname_lockpath: {folder}/run/lock
defaultpartition: default
partition-default: {folder}/spool
sievedir: {folder}/sieve
servername: localhost
altnamespace: {alt}
unixhierarchysep: {unix}
virtdomains: off
admins: cyrus
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {folder}/mux/mux
conversations: 0
autocreate_users: anyone
autocreate_quota: 0
autocreate_post: 1
specialusealways: 1
"""


def cyrus_root():
    """Where Debian's cyrus-imapd is: installed, or unpacked by packaging/unpack-package.sh."""
    unpacked = os.environ.get("CHAPAR_CYRUS", os.path.join(chapar.ROOT, ".deps/cyrus"))
    for root in (unpacked, "/"):
        if os.path.exists(os.path.join(root, "usr/lib/cyrus/bin/imapd")):
            return root
    raise chapar.unittest.SkipTest("cyrus-imapd is neither installed nor unpacked")


class Saslauthd(threading.Thread):
    """Answers the question that Cyrus asks saslauthd: everybody has PASSWORD."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(16)
        self.start()

    def run(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            with link, link.makefile("rb") as stream:
                words = [stream.read(int.from_bytes(stream.read(2), "big")) for _ in range(4)]
                answer = b"OK" if words[1] == chapar.PASSWORD.encode() else b"NO"
                link.sendall(len(answer).to_bytes(2, "big") + answer)


class Cyrus:
    """A Cyrus IMAP server with its mail in `folder`; each login runs one imapd."""

    def __init__(self, folder, alt=True, unix=True):
        self.root = cyrus_root()
        self.folder = folder
        self.address = chapar.loopback_address()
        self.port = chapar.free_port_base(self.address) + 143
        self.process = self.saslauthd = None
        self.separator = "/" if unix else "."
        self.alt, self.unix = alt, unix
        self.prefix = "" if alt else "INBOX" + self.separator
        for part in ("conf", "conf/db", "conf/socket", "conf/log", "run/proc", "run/lock", "spool", "sieve", "mux"):
            os.makedirs(os.path.join(folder, part), exist_ok=True)
        os.chmod(folder, 0o755)

    def start(self):
        binaries = os.path.join(self.root, "usr/lib/cyrus/bin")
        config = os.path.join(self.folder, "imapd.conf")
        with open(config, "w", encoding="utf-8") as out:
            out.write(
                CYRUS_CONFIG.format(
                    folder=self.folder,
                    alt="yes" if self.alt else "no",
                    unix="yes" if self.unix else "no",
                )
            )
        master = os.path.join(self.folder, "cyrus.conf")
        with open(master, "w", encoding="utf-8") as out:
            out.write(
                "START {\n  recover cmd=\"%s/ctl_cyrusdb -C %s -r\"\n}\nSERVICES {\n"
                "  imap cmd=\"%s/imapd -C %s\" listen=\"%s:%d\" prefork=0\n}\nEVENTS {\n}\n"
                % (binaries, config, binaries, config, self.address, self.port)
            )
        libraries = [os.path.join(self.root, part) for part in ("usr/lib/x86_64-linux-gnu", "usr/lib", "lib/x86_64-linux-gnu")]
        environment = dict(os.environ)
        if self.root != "/":
            environment["LD_LIBRARY_PATH"] = ":".join(libraries)
        self.saslauthd = Saslauthd(os.path.join(self.folder, "mux/mux"))
        if os.getuid() == 0:
            environment["CYRUS_USER"] = "nobody"
            for folder, names, files in os.walk(self.folder):
                for path in [folder] + [os.path.join(folder, name) for name in names + files]:
                    os.chown(path, NOBODY, NOBODY)
        else:
            environment["CYRUS_USER"] = pwd.getpwuid(os.getuid()).pw_name
        program = os.path.join(self.root, "usr/sbin/cyrmaster")
        with open(os.path.join(self.folder, "out"), "ab") as log:
            self.process = subprocess.Popen(
                [program, "-C", config, "-M", master, "-p", os.path.join(self.folder, "pid"), "-D"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=chapar.end_with_parent,
            )
        wait_until(self._answers, chapar.START_SECONDS, "Cyrus answers")

    def _answers(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "out"), encoding="utf-8", errors="replace") as log:
                raise AssertionError("Cyrus ended:\n" + log.read())
        try:
            chapar.Imap(self.address, self.port, timeout=5).close()
            return True
        except (OSError, AssertionError):
            return False

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        if self.saslauthd is not None:
            self.saslauthd.listener.close()

    def imap(self, user, password=chapar.PASSWORD):
        client = chapar.Imap(self.address, self.port)
        client.login(user, password)
        return client


# ---------------------------------------------------------------- imports


class ImportTest(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.here = self.node("a")
        self.here.start()

    def dovecot(self, **options):
        server = Dovecot(os.path.join(self.folder, "d"), **options)
        self.addCleanup(server.stop)
        server.start()
        return server

    def filled(self, **options):
        server = self.dovecot(**options)
        with server.imap("anna") as client:
            fill(client, server.separator)
        return server

    def take(self, *arguments, check=True):
        """Imports; returns {mailbox: what was told}, or the text if it failed."""
        status, text = self.here.tool("import", "anna", *arguments, "--json", check=check)
        if status != 0:
            return status, text
        return {entry["mailbox"]: entry for entry in json.loads(text)}

    def set_password(self):
        self.here.tool(
            "account", "passwd", "anna", "--password-file", "-", text_input=chapar.PASSWORD + "\n"
        )

    def assert_same(self, server):
        self.assertEqual("", differences(view(server, "anna"), view(self.here, "anna")))
        self.verify_clean(self.here)

    def wait_equal(self, pair):
        chapar.wait_until(
            lambda: not differences(view(pair.a, "anna"), view(pair.b, "anna")),
            chapar.SYNC_SECONDS,
            "both nodes show the same",
        )

    def assert_nothing_new(self, told):
        for entry in told.values():
            for count in ("new", "flags-changed", "expunged", "left-out"):
                self.assertEqual(0, entry[count], entry)
