"""OfflineIMAP keeps a Maildir tree in two-way sync over TLS."""

import os

import chapar_test as chapar
from client_test import DRAFTS, DRAFTS_WIRE, ClientCase

CONFIG = """
[general]
accounts = chapar
metadata = {home}/metadata
maxsyncaccounts = 1
ui = basic
socktimeout = 60

[Account chapar]
localrepository = near
remoterepository = far
utf8foldernames = yes

[Repository near]
type = Maildir
localfolders = {home}/mail
sync_deletes = yes

[Repository far]
type = IMAP
remotehost = {address}
remoteport = {port}
remoteuser = alice
remotepass = {password}
ssl = yes
sslcacertfile = {certificate}
maxconnections = 1
"""


class OfflineImap(ClientCase):
    tools = ("offlineimap",)

    def setUp(self):
        super().setUp()
        os.mkdir(self.home + "/mail")
        # Its certificate is made out for "localhost" too, which OfflineIMAP's check wants.
        self.config = self.write("offlineimaprc", CONFIG.format(
            home=self.home, address=self.server.address, port=self.server.imaps_port,
            password=chapar.PASSWORD, certificate=self.server.certificate[0]))

    def sync(self):
        return self.run_client("offlineimap", "-o", "-c", self.config)

    def local(self, mailbox="INBOX"):
        return self.maildir(os.path.join(self.home, "mail", mailbox))

    def flag(self, subject, flags, mailbox="INBOX"):
        """What a program that reads the Maildir does."""
        path, _ = self.local(mailbox)[subject]
        base = os.path.basename(path).partition(":2,")[0]
        new = os.path.join(self.home, "mail", mailbox, "cur", base + ":2," + flags)
        os.rename(path, new)

    def test_flags_new_mail_and_expunges_go_both_ways(self):
        self.deliver("one", "two", "three")
        self.sync()
        self.assertEqual(set(self.local()), {"one", "two", "three"})
        self.flag("one", "FS")
        os.unlink(self.local()["two"][0])
        with self.server.imap("alice") as client:
            client.select()
            uid = client.search("SUBJECT three")[0]
            client.command("UID STORE %d +FLAGS (\\Answered)" % uid)
            client.append("INBOX", chapar.message("four"), "\\Seen")
        self.sync()
        server = self.on_server()
        self.assertEqual(set(server), {"one", "three", "four"})
        self.assertEqual(server["one"], {"\\flagged", "\\seen"})
        self.assertEqual(set(self.local()), {"one", "three", "four"})
        self.assertEqual(self.local()["three"][1], "R")
        self.assertEqual(self.local()["four"][1], "S")
        with self.server.imap("alice") as client:
            client.select()
            client.command("STORE 1:* +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.sync()
        self.assertEqual(self.local(), {})

    def test_folders_with_umlauts_go_both_ways(self):
        with self.server.imap("alice") as client:
            client.command('CREATE "%s"' % DRAFTS_WIRE)
            client.append(DRAFTS_WIRE, chapar.message("from the server"))
        self.sync()
        self.assertEqual(set(self.local(DRAFTS)), {"from the server"})
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.home, "mail", "Ärger", part))
        with open(self.home + "/mail/Ärger/new/1.host", "wb") as out:
            out.write(chapar.message("from here").replace(b"\r\n", b"\n"))
        self.sync()
        self.assertEqual(set(self.on_server("&AMQ-rger")), {"from here"})

    def test_a_second_sync_changes_nothing(self):
        self.deliver(*["mail %d" % number for number in range(20)])
        self.sync()
        before = chapar.snapshot(self.server, "alice"), self.local()
        self.sync()
        self.assertEqual((chapar.snapshot(self.server, "alice"), self.local()), before)

    def test_it_goes_on_after_the_server_was_restarted(self):
        self.deliver("before")
        self.sync()
        self.server.restart()
        self.deliver("after")
        self.sync()
        self.assertEqual(set(self.local()), {"before", "after"})


if __name__ == "__main__":
    chapar.main()
