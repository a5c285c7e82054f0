"""Claws Mail on a screen of its own receives mail over TLS, marks what is read and goes again."""

import os
import re
import subprocess

import chapar_test as chapar
from client_test import ClientCase

# `protocol` 1 is IMAP, `ssl_imap` 1 is TLS from the first byte on.
ACCOUNT = """[Account: 1]
config_version=4
account_name=chapar
is_default=1
name=Alice
address=alice@local.example
protocol=1
receive_server={address}
user_id=alice
set_imapport=1
imap_port={port}
ssl_imap=1
ssl_certs_auto_accept=1
receive_at_get_all=1
imap_subsonly=0
"""

FOLDERS = """<?xml version="1.0" encoding="UTF-8"?>
<folderlist>
  <folder type="mh" name="Mail" path="Mail">
    <folderitem type="inbox" name="inbox" path="inbox"/>
    <folderitem type="outbox" name="sent" path="sent"/>
    <folderitem type="queue" name="queue" path="queue"/>
    <folderitem type="draft" name="draft" path="draft"/>
    <folderitem type="trash" name="trash" path="trash"/>
  </folder>
  <folder type="imap" name="chapar" account_id="1">
    <folderitem type="inbox" name="INBOX" path="INBOX"/>
    <folderitem type="normal" name="Lists" path="Lists"/>
  </folder>
</folderlist>
"""

COMMON = """[Common]
config_version=4
check_on_startup=0
autochk_newmail=0
confirm_on_exit=0
warn_queued_on_exit=0
use_master_passphrase=0
show_recv_dialog=0
mark_as_read_delay=0
always_show_msg=1
"""


class ClawsMail(ClientCase):
    tools = ("claws-mail", "Xvfb")

    def setUp(self):
        super().setUp()
        self.claws = self.home + "/.claws-mail"
        for folder in ("inbox", "sent", "queue", "draft", "trash"):
            os.makedirs(os.path.join(self.home, "Mail", folder))
        os.mkdir(self.home + "/run", 0o700)
        self.write(".claws-mail/accountrc", ACCOUNT.format(
            address=self.server.address, port=self.server.imaps_port))
        self.write(".claws-mail/clawsrc", COMMON)
        self.write(".claws-mail/folderlist.xml", FOLDERS)
        # It takes a password that is not in braces as plain text: its first versions wrote it so.
        self.write(".claws-mail/passwordstorerc",
                   "[config_version:4]\n\n[account:1]\nrecv %s\n" % chapar.PASSWORD)
        self.display = None
        self.start_screen()

    def start_screen(self):
        """An X server on a display number that it finds itself and that is its child only."""
        number, told = os.pipe()
        screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(told), "-screen", "0", "1000x700x24", "-nolisten", "tcp"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(told,), preexec_fn=chapar.end_with_parent,
        )
        os.close(told)
        self.addCleanup(self.end_screen, screen)
        with os.fdopen(number) as pipe:
            self.display = ":" + pipe.readline().strip()
        self.assertRegex(self.display, r"^:\d+$")

    @staticmethod
    def end_screen(screen):
        screen.terminate()  # it removes its lock file in /tmp
        screen.wait(60)

    def environment(self):
        # No bus: nothing is started that would stay.
        return {**super().environment(), "DISPLAY": self.display, "NO_AT_BRIDGE": "1",
                "GDK_BACKEND": "x11", "GIO_USE_VFS": "local", "GSETTINGS_BACKEND": "memory",
                "XDG_RUNTIME_DIR": self.home + "/run",
                "DBUS_SESSION_BUS_ADDRESS": "unix:path=" + self.home + "/run/no-bus"}

    def open(self):
        """Starts it and waits for the socket on which it takes orders."""
        with open(self.home + "/debug", "ab") as debug:
            process = subprocess.Popen(
                ["claws-mail", "--debug"], stdin=subprocess.DEVNULL, stdout=debug, stderr=debug,
                env=self.environment(), cwd=self.home, preexec_fn=chapar.end_with_parent)
        self.addCleanup(self.end, process)
        orders = os.path.join(self.home, "run", "claws-mail")
        self.sees(lambda: os.path.isdir(orders) and os.listdir(orders), "it takes orders")
        return process

    def order(self, *arguments):
        return self.run_client("claws-mail", *arguments)

    def close(self, process):
        self.order("--exit")
        self.assertEqual(process.wait(60), 0)

    def sent(self):
        """The IMAP commands that it has sent, without their tags."""
        with open(self.home + "/debug", encoding="utf-8", errors="replace") as debug:
            return re.findall(r"(?m)IMAP> \d+ (.*?) *$", debug.read())

    def folders(self):
        """{mailbox: (unread, total)} as it counts them."""
        found = re.findall(r"(?m)^ *\d+ +(\d+) +(\d+) #imap/chapar/(.*)$",
                           self.order("--status-full"))
        return {name: (int(unread), int(total)) for unread, total, name in found}

    def receive(self, wanted):
        self.order("--receive-all")
        self.sees(lambda: self.folders() == wanted, "it has received %s" % wanted)

    def cached(self, mailbox, uid):
        """The message in its cache, None when it is not there."""
        try:
            with open(os.path.join(self.claws, "imapcache", self.server.address, "alice", mailbox,
                                   str(uid)), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def test_it_receives_mail_and_what_is_read_is_seen_on_the_server(self):
        self.deliver("one", "two")
        with self.server.imap("alice") as client:
            client.command("CREATE Lists")
            client.append("Lists", chapar.message("three"))
        claws = self.open()
        self.receive({"INBOX": (2, 2), "Lists": (1, 1)})
        self.assertRegex(self.server.log(), r"login [^\n]*account=alice [^\n]*tls=\"TLSv1\.[23] ")
        self.order("--select", "#imap/chapar/INBOX/1")
        self.sees(lambda: self.cached("INBOX", 1), "the message that is shown is fetched")
        self.sees(lambda: self.on_server() == {"one": {"\\seen"}, "two": set()}, "one is read")
        self.assertIn(b"Subject: one\n", self.cached("INBOX", 1).replace(b"\r\n", b"\n"))
        self.assertTrue(self.cached("INBOX", 1).rstrip().endswith(b"\nHello."))
        self.assertEqual(self.folders()["INBOX"], (1, 2))
        self.close(claws)

    def test_changes_of_others_reach_it_while_it_runs_and_after_a_restart(self):
        self.deliver("one", "two", "three")
        with self.server.imap("alice") as client:
            client.command("CREATE Lists")
        claws = self.open()
        self.receive({"INBOX": (3, 3), "Lists": (0, 0)})
        with self.server.imap("alice") as client:
            client.select()
            client.command("STORE 1 +FLAGS (\\Seen)")
            client.command("STORE 2 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
            client.append("Lists", chapar.message("four"))
        self.receive({"INBOX": (1, 2), "Lists": (1, 1)})
        self.close(claws)
        self.server.restart()
        self.deliver("five")
        claws = self.open()
        self.receive({"INBOX": (2, 3), "Lists": (1, 1)})
        self.close(claws)

    def test_what_it_finds_is_fetched(self):
        self.deliver("needle one", "other", "needle two")
        claws = self.open()
        self.order("--receive-all")
        self.sees(lambda: self.folders().get("INBOX") == (3, 3), "it has received")
        found = self.order("--search", "#imap/chapar/INBOX", "subject", "needle")
        self.assertEqual([os.path.basename(line) for line in found.split()], ["1", "3"])
        for uid, subject in ((1, b"needle one"), (3, b"needle two")):
            self.assertIn(b"Subject: " + subject, self.cached("INBOX", uid))
        self.assertIn("UID FETCH 3 BODY.PEEK[]", self.sent())
        self.close(claws)


if __name__ == "__main__":
    chapar.main()
