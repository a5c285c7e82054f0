"""Programs that fetch mail from a server: fetchmail and getmail."""

import os
import shutil

import chapar_test as chapar
from client_test import DRAFTS, DRAFTS_WIRE, ClientCase

SAVE = """#!/bin/sh
exec cat >"$(mktemp {folder}/mail.XXXXXX)"
"""

FETCHMAIL = """
set no syslog
poll chapar via {address} protocol IMAP port {port} timeout 60
  user alice password {password} ssl sslproto tls1.2+ sslcertck sslcertfile {certificate}
  sslcommonname localhost {options} mda {save}
"""

GETMAIL = """
[retriever]
type = SimpleIMAPSSLRetriever
server = {address}
port = {port}
username = alice
password = {password}
mailboxes = {mailboxes}
ca_certs = {certificate}
[destination]
type = Maildir
path = {maildir}/
{user}
[options]
read_all = false
delete = {delete}
verbose = 0
"""


class Fetchmail(ClientCase):
    tools = ("fetchmail",)

    def configure(self, options):
        self.box = os.path.join(self.home, "box")
        os.makedirs(self.box, exist_ok=True)
        save = self.write("save.sh", SAVE.format(folder=self.box), 0o700)
        return self.write("fetchmailrc", FETCHMAIL.format(
            address=self.server.address, port=self.server.imaps_port, password=chapar.PASSWORD,
            certificate=self.server.certificate[0], options=options, save=save))

    def fetchmail(self, config, *options, statuses=(0,)):
        return self.run_client("fetchmail", "-f", config, "--pidfile", self.home + "/pid",
                               "--nosyslog", "--nodetach", *options, statuses=statuses)

    def fetched(self):
        texts = []
        for name in os.listdir(self.box):
            with open(os.path.join(self.box, name), encoding="utf-8") as file:
                texts.append(file.read())
        return texts

    def test_mail_is_fetched_over_tls_and_taken_from_the_server(self):
        self.deliver("one", "two", "three")
        config = self.configure("nokeep")
        self.fetchmail(config)
        self.assertEqual(len(self.fetched()), 3)
        self.assertEqual(self.on_server(), {})
        self.fetchmail(config, statuses=(1,))  # 1: there is no mail
        self.deliver("four")
        self.fetchmail(config)
        self.assertEqual(len(self.fetched()), 4)
        self.assertTrue(any("Subject: four" in text for text in self.fetched()))

    def test_kept_mail_is_seen_and_not_fetched_again(self):
        self.deliver("one", "two")
        config = self.configure("keep")
        self.fetchmail(config)
        self.assertEqual(self.on_server(), {"one": {"\\seen"}, "two": {"\\seen"}})
        self.fetchmail(config, statuses=(1,))
        self.deliver("three")
        self.fetchmail(config)
        self.assertEqual(len(self.fetched()), 3)

    def test_a_folder_with_umlauts_is_fetched(self):
        with self.server.imap("alice") as client:
            client.command('CREATE "%s"' % DRAFTS_WIRE)
            client.append(DRAFTS_WIRE, chapar.message("draft"))
        self.fetchmail(self.configure('nokeep folder "%s"' % DRAFTS_WIRE))
        self.assertEqual(len(self.fetched()), 1)
        self.assertEqual(self.on_server(DRAFTS_WIRE), {})

    def test_idling_it_fetches_what_arrives_also_after_a_restart(self):
        config = self.configure("keep idle")
        self.deliver("before")
        self.start_client("fetchmail", "-f", config, "--pidfile", self.home + "/pid",
                          "--nosyslog", "--nodetach", "--daemon", "2")
        self.sees(lambda: len(self.fetched()) == 1, "the first mail is fetched")
        self.deliver("while it idles")
        self.sees(lambda: len(self.fetched()) == 2, "mail that arrives is fetched")
        self.server.restart()
        self.deliver("after a restart")
        self.sees(lambda: len(self.fetched()) == 3, "it has connected again")


class Getmail(ClientCase):
    tools = ("getmail",)

    def configure(self, delete="false", mailboxes='("INBOX",)'):
        self.box = os.path.join(self.home, "box")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.box, part), exist_ok=True)
        user = ""
        if os.getuid() == 0:  # it does not deliver as root
            user = "user = nobody"
            os.chmod(self.home, 0o711)
            for path in (self.box, *(os.path.join(self.box, part) for part in ("cur", "new", "tmp"))):
                shutil.chown(path, "nobody", "nogroup")
        self.write("getmail/getmailrc", GETMAIL.format(
            address=self.server.address, port=self.server.imaps_port, password=chapar.PASSWORD,
            certificate=self.server.certificate[0], maildir=self.box, delete=delete,
            mailboxes=mailboxes, user=user))

    def getmail(self):
        return self.run_client("getmail", "--getmaildir", self.home + "/getmail")

    def test_new_mail_is_fetched_once_by_its_uid(self):
        self.deliver("one", "two")
        self.configure()
        self.getmail()
        self.getmail()
        self.assertEqual(set(self.maildir(self.box)), {"one", "two"})
        self.assertEqual(len(os.listdir(self.box + "/new")), 2)
        self.assertEqual(set(self.on_server()), {"one", "two"})
        self.deliver("three")
        self.getmail()
        self.assertEqual(len(os.listdir(self.box + "/new")), 3)

    def test_mail_of_several_folders_is_moved_here(self):
        self.deliver("one")
        with self.server.imap("alice") as client:
            client.command('CREATE "%s"' % DRAFTS_WIRE)
            client.append(DRAFTS_WIRE, chapar.message("draft"))
        self.configure("true", '("INBOX", "%s")' % DRAFTS)
        self.getmail()
        self.assertEqual(set(self.maildir(self.box)), {"one", "draft"})
        self.assertEqual(self.on_server(), {})
        self.assertEqual(self.on_server(DRAFTS_WIRE), {})


if __name__ == "__main__":
    chapar.main()
