"""Mail programs while the other node of a pair renames, deletes or unites the mailbox that they have
selected, or gives it another UIDVALIDITY. Those that run once are caught in the middle of it: a command
of theirs is held on its way until the change is here. Nothing may be lost on either side, and in the
end they have what the server holds, as far as they go on by themselves; where a program wants a
person to look (of a UIDVALIDITY that changed), it must say so and leave everything as it is.
"""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
import unittest

import chapar_test as chapar
from chapar_test import message

FLOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imapflow")


class Gate:
    """The wire from a program to node A. Holds the first thing it says that has `pattern`."""

    def __init__(self, test, node):
        port = node.imap_port + 2002  # see free_port_base()
        self.wire = chapar.Wire(node.address, port, (node.address, node.imap_port))
        self.address, self.port = node.address, port
        self.pattern = None
        self.held, self.open = threading.Event(), threading.Event()
        self.wire.watch = self.watch
        self.wire.heal()
        test.addCleanup(self.wire.cut)
        test.addCleanup(self.open.set)

    def watch(self, data):
        if self.pattern is not None and re.search(self.pattern, data):
            self.pattern = None
            self.held.set()
            self.open.wait(chapar.SYNC_SECONDS)

    def hold(self, pattern):
        self.held.clear()
        self.open.clear()
        self.pattern = pattern


class ElsewhereCase(chapar.TestCase):
    """Node A, where the program works, through the gate; and node B, where things happen."""

    def setUp(self):
        super().setUp()
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.nodes.start("alice")
        self.nodes.wait_equal("alice")
        self.gate = Gate(self, self.a)
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home)
        
    def make(self, node, mailbox, *subjects):
        with node.imap("alice") as client:
            client.try_command("CREATE %s" % mailbox)
            for subject in subjects:
                client.append(mailbox, message(subject))

    def on_b(self, *commands):
        with self.b.imap("alice") as client:
            for command in commands:
                client.command(command)
        self.nodes.wait_equal("alice")

    # ---- what happens to Work, or INBOX, which has "one" and "two" ----

    def rename(self):
        self.on_b("RENAME Work Job")

    def delete(self):
        self.on_b("DELETE Work")

    def heal(self):
        self.nodes.heal()
        self.nodes.wait_equal("alice")

    def prepare(self):
        self.make(self.a, "Work", "one", "two")
        self.nodes.wait_equal("alice")

    def prepare_two_of_one_name(self):
        """B makes its own later, which so has the greater UIDVALIDITY and stays."""
        self.nodes.cut()
        self.make(self.a, "Work", "one", "two")
        time.sleep(1.1)
        self.make(self.b, "Work", "on b")

    def prepare_two_of_one_uidvalidity(self):
        """Two mailboxes that were made in one second have the same; once they meet, neither has."""
        self.nodes.cut()
        clients = [node.imap("alice") for node in self.nodes.nodes]
        names = ("Work", "Play")
        while True:
            time.sleep(1.05 - time.time() % 1)  # the beginning of a second
            for client, name in zip(clients, names):
                client.command("CREATE " + name)
            if len({client.select(name)["uidvalidity"] for client, name in zip(clients, names)}) == 1:
                break
            for client, name in zip(clients, names):
                client.command("UNSELECT")
                client.command("DELETE " + name)
        for client in clients:
            client.close()
        self.make(self.a, "Work", "one", "two")

    # ---- what there is then ----

    def on_server(self):
        """{mailbox: sorted subjects}"""
        state = self.nodes.wait_equal("alice")
        state.pop("")
        return {name: sorted(entry[4] for entry in box[2].values()) for name, box in state.items()}

    def start_program(self, *command):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": self.home, "LC_ALL": "C.UTF-8"}, cwd=self.home,
            encoding="utf-8", errors="replace", preexec_fn=chapar.end_with_parent)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        process.stdout.close()


def maildirs(folder):
    """{mailbox: sorted subjects} of a folder of Maildirs."""
    found = {}
    for box in os.listdir(folder):
        subjects = []
        for part in ("cur", "new"):
            for name in os.listdir(os.path.join(folder, box, part)):
                with open(os.path.join(folder, box, part, name), encoding="utf-8") as file:
                    subjects.append(re.search(r"(?m)^Subject: (.*)", file.read()).group(1))
        found[box] = sorted(subjects)
    return found


class MaildirPrograms(ElsewhereCase):
    """What mbsync and OfflineIMAP, which run once, have in common."""

    def setUp(self):
        super().setUp()
        self.maildir = os.path.join(self.home, "mail")
        os.mkdir(self.maildir)

    def command(self):
        raise NotImplementedError

    def sync(self):
        """Returns the exit status and what was said."""
        process = self.start_program(*self.command())
        text, _ = process.communicate(timeout=120)
        return process.returncode, text

    def caught(self, held, change):
        """Synced once, then changed on both sides; `change` happens while the next run is held at
        this command."""
        status, text = self.sync()
        self.assertEqual(status, 0, text)
        self.assertEqual(maildirs(self.maildir)["Work"], ["one", "two"])
        with open(os.path.join(self.maildir, "Work", "cur", "1.1_1.here:2,F"), "wb") as out:
            out.write(message("from here").replace(b"\r\n", b"\n"))
        self.make(self.a, "Work", "three")
        self.gate.hold(held)
        process = self.start_program(*self.command())
        self.assertTrue(self.gate.held.wait(60), "it never said %s" % held)
        change()
        self.gate.open.set()
        text, _ = process.communicate(timeout=120)
        return process.returncode, text

    def keeps_what_it_had(self):
        self.assertTrue({"from here", "one", "two"} <= set(maildirs(self.maildir)["Work"]))

    def has_everything_again(self):
        """After what their manuals advise if a UIDVALIDITY changed: to forget what was synced."""
        shutil.rmtree(self.home)
        os.makedirs(self.maildir)
        status, text = self.sync()
        self.assertEqual(status, 0, text)
        self.assertEqual(maildirs(self.maildir), self.on_server())


class Mbsync(MaildirPrograms):
    config = (
        "IMAPAccount chapar\nHost {address}\nPort {port}\nUser alice\nPass {password}\n"
        "SSLType None\nAuthMechs LOGIN\n"
        "DisableExtension COMPRESS=DEFLATE\n\n"  # the gate must see what it says
        "IMAPStore far\nAccount chapar\n\n"
        "MaildirStore near\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n"
        "Channel both\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
        "SyncState *\nSync All\n")

    def setUp(self):
        super().setUp()
        chapar.need_tool("mbsync")

    def command(self):
        path = os.path.join(self.home, "mbsyncrc")
        with open(path, "w", encoding="ascii") as out:
            out.write(self.config.format(
                address=self.gate.address, port=self.gate.port, 
                password=chapar.PASSWORD, maildir=self.maildir))
        return ["mbsync", "--config", path, "--all"]

    def test_renamed_at_an_upload(self):
        self.prepare()
        status, text = self.caught(rb"APPEND", self.rename)
        # The session goes on in the mailbox, but there is no such name to upload to.
        self.assertEqual(status, 0, text)
        self.assertIn("TRYCREATE", text)
        self.sync()
        self.assertEqual(self.on_server(), {"INBOX": [], "Job": ["one", "three", "two"]})
        self.assertEqual(maildirs(self.maildir)["Job"], ["one", "three", "two"])
        self.keeps_what_it_had()

    def deleted_at(self, held):
        self.prepare()
        status, text = self.caught(held, self.delete)
        self.assertEqual(status, 1, text)
        self.assertIn("unexpected BYE", text)
        status, text = self.sync()
        self.assertIn("far side box Work cannot be opened", text)
        self.assertEqual(self.on_server(), {"INBOX": []})
        self.keeps_what_it_had()

    def test_deleted_at_a_fetch(self):
        self.deleted_at(rb"UID FETCH")

    def test_deleted_at_an_upload(self):
        self.deleted_at(rb"APPEND")

    def another_at(self, held, everything):
        """It notices the UIDVALIDITY, and waits for a person."""
        _, text = self.caught(held, self.heal)
        self.assertIn("unexpected BYE", text)
        for _ in range(2):
            status, text = self.sync()
            self.assertEqual(status, 1, text)
            self.assertIn("UIDVALIDITY", text)
            self.assertEqual(self.on_server()["Work"], everything)
            self.keeps_what_it_had()
        self.has_everything_again()

    def test_united_at_a_fetch(self):
        self.prepare_two_of_one_name()
        self.another_at(rb"UID FETCH", ["on b", "one", "three", "two"])

    def test_united_at_an_upload_which_arrives_once(self):
        self.prepare_two_of_one_name()
        self.another_at(rb"APPEND", ["from here", "on b", "one", "three", "two"])

    def test_another_uidvalidity_with_the_same_uids_is_found_out(self):
        self.prepare_two_of_one_uidvalidity()
        _, text = self.caught(rb"UID FETCH", self.heal)
        self.assertIn("unexpected BYE", text)
        status, text = self.sync()
        self.assertEqual(status, 0, text)
        self.assertIn("Recovered from change of UIDVALIDITY", text)
        self.assertEqual(self.on_server()["Work"], ["from here", "one", "three", "two"])
        self.assertEqual(maildirs(self.maildir), self.on_server())


BODY = rb"UID FETCH [0-9,:]+ .*BODY.PEEK\[\]"


class OfflineImap(MaildirPrograms):
    config = """
[general]
accounts = chapar
metadata = {home}/metadata
maxsyncaccounts = 1
ui = basic
socktimeout = 60
[Account chapar]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {home}/mail
[Repository far]
type = IMAP
remotehost = {address}
remoteport = {port}
remoteuser = alice
remotepass = {password}
ssl = no
starttls = no
auth_mechanisms = LOGIN
usecompression = no
maxconnections = 1
"""

    def setUp(self):
        super().setUp()
        chapar.need_tool("offlineimap")

    def command(self):
        path = os.path.join(self.home, "offlineimaprc")
        with open(path, "w", encoding="ascii") as out:
            out.write(self.config.format(
                home=self.home, address=self.gate.address, port=self.gate.port, 
                password=chapar.PASSWORD))
        return ["offlineimap", "-o", "-c", path]

    def check(self, held, change, mailbox, everything):
        """However a run of it ends, and the next: there is nothing lost, and nothing twice on the
        server. When it says that it skips a folder for its UIDVALIDITY it does not, but goes on with
        the UIDs that it knew; so what it makes of its own copy is not looked at."""
        self.caught(held, change)
        for _ in range(2):
            self.sync()
            self.assertEqual(self.on_server()[mailbox], everything)
            self.keeps_what_it_had()
        self.has_everything_again()

    def test_renamed_at_an_upload(self):
        self.prepare()
        self.check(rb"APPEND", self.rename, "Job", ["one", "three", "two"])
        self.assertIn("from here", self.on_server()["Work"])  # which it has made for it

    def test_deleted_at_a_fetch(self):
        self.prepare()
        self.check(BODY, self.delete, "INBOX", [])

    def test_deleted_at_an_upload(self):
        self.prepare()
        self.check(rb"APPEND", self.delete, "INBOX", [])

    def test_united_at_a_fetch(self):
        self.prepare_two_of_one_name()
        self.check(BODY, self.heal, "Work", ["from here", "on b", "one", "three", "two"])

    def test_united_at_an_upload_which_arrives_once(self):
        self.prepare_two_of_one_name()
        self.check(rb"APPEND", self.heal, "Work", ["from here", "on b", "one", "three", "two"])

    def test_another_uidvalidity_at_a_fetch(self):
        self.prepare_two_of_one_uidvalidity()
        self.check(BODY, self.heal, "Work", ["from here", "one", "three", "two"])


class StayingPrograms(ElsewhereCase):
    """Those that stay, in IDLE: for each of them `sees(mailbox, subjects)` waits for what it shows."""

    def open(self):
        """In Work, where it sees what is there."""
        raise NotImplementedError

    def sees(self, mailbox, *subjects):
        raise NotImplementedError

    def go_to(self, mailbox):
        """What a person does who is told that a mailbox is closed."""

    def test_renamed_it_stays(self):
        self.prepare()
        self.open()
        self.sees("Work", "one", "two")
        self.rename()
        self.make(self.b, "Job", "three")
        self.sees("Work", "one", "three", "two")
        self.assertEqual(self.on_server(), {"INBOX": [], "Job": ["one", "three", "two"]})

    def test_deleted_it_finds_what_is_left(self):
        self.prepare()
        self.make(self.a, "INBOX", "left")
        self.nodes.wait_equal("alice")
        self.open()
        self.sees("Work", "one", "two")
        self.delete()
        self.go_to("INBOX")
        self.sees("INBOX", "left")
        self.make(self.b, "INBOX", "new")
        self.sees("INBOX", "left", "new")

    def test_united_it_sees_both(self):
        self.prepare_two_of_one_name()
        self.open()
        self.sees("Work", "one", "two")
        self.heal()
        self.go_to("Work")
        self.sees("Work", "on b", "one", "two")

    def test_with_another_uidvalidity_it_sees_the_same(self):
        self.prepare_two_of_one_uidvalidity()
        self.open()
        self.sees("Work", "one", "two")
        self.heal()
        self.go_to("Work")
        self.sees("Work", "one", "two")
        self.make(self.b, "Work", "three")
        self.sees("Work", "one", "three", "two")


class ImapFlow(StayingPrograms):
    """Which connects anew by itself, as programs made with it do."""

    def setUp(self):
        chapar.need_tool("node")
        if not os.path.isdir(os.path.join(FLOW, "node_modules", "imapflow")):
            raise unittest.SkipTest("imapflow is not installed; `make test` does it")
        super().setUp()

    def open(self):
        self.process = self.start_program(
            "node", os.path.join(FLOW, "client.js"), "follow", self.gate.address,
            str(self.gate.port), "alice", chapar.PASSWORD, "Work")
        self.seen = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        try:
            for line in self.process.stdout:
                self.seen.append(line)
        except ValueError:  # closed at the end of the test
            pass

    def sees(self, mailbox, *subjects):
        def seen():
            lines = [json.loads(line) for line in self.seen if line.startswith("{")]
            return lines and lines[-1]["path"] == mailbox and lines[-1]["subjects"] == list(subjects)

        try:
            chapar.wait_until(seen, 60, "%s in %s" % (subjects, mailbox))
        except AssertionError as error:
            raise AssertionError("%s\n%s" % (error, "".join(self.seen))) from None


class Mutt(StayingPrograms):
    """On a terminal. It says that the mailbox is closed; the person opens one."""

    program = "mutt"
    config = """
set imap_user = "alice"
set imap_pass = "{password}"
set folder = "imap://{address}:{port}/"
set spoolfile = "+Work"
set ssl_starttls = no
set ssl_force_tls = no
set imap_idle = yes
set timeout = 1
set mail_check = 1
set sleep_time = 0
set header_cache = ""
set record = ""
set quit = yes
set wait_key = no
set beep = no
set mark_old = no
set delete = yes
set index_format = "<%s>"
"""

    def setUp(self):
        super().setUp()
        chapar.need_tool(self.program)
        self.screen = b""

    def open(self):
        path = os.path.join(self.home, "rc")
        with open(path, "w", encoding="ascii") as out:
            out.write(self.config.format(
                password=chapar.PASSWORD, address=self.gate.address, port=self.gate.port))
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.environ.update(HOME=self.home, TERM="vt100", LC_ALL="C.UTF-8", LINES="24",
                              COLUMNS="80")
            os.chdir(self.home)
            chapar.end_with_parent()
            os.execvp(self.program, [self.program, "-n", "-F", path])
        self.addCleanup(self.close, pid)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def close(self, pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(self.terminal)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def look(self, seconds):
        """What it writes within this time."""
        text, end = b"", time.monotonic() + seconds
        while select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
            text += os.read(self.terminal, 65536)
        return text

    def go_to(self, mailbox):
        """It asks for a name with the last one filled in; Ctrl-A and Ctrl-K take that away."""
        self.look(2)
        self.type("c\x01\x0b=%s\r" % mailbox)

    def sees(self, mailbox, *subjects):
        for _ in range(30):
            self.type("\x0c")  # draws everything again
            screen = self.look(1)
            shown = sorted(set(re.findall(rb"<([^<>\x1b]+)>", screen)))
            if shown == [subject.encode() for subject in subjects]:
                return
        self.fail("%s shows %s: %s" % (self.program, shown, screen))

    def test_renamed_what_it_flags_is_flagged(self):
        self.prepare()
        self.open()
        self.sees("Work", "one", "two")
        self.rename()
        self.type("=F$")  # to the first message; flags it; writes
        self.look(2)
        self.assertEqual(self.on_server(), {"INBOX": [], "Job": ["one", "two"]})
        flags = {entry[0] for entry in self.nodes.wait_equal("alice")["Job"][2].values()}
        self.assertIn("\\flagged", flags)


class NeoMutt(Mutt):
    program = "neomutt"


if __name__ == "__main__":
    chapar.main()
