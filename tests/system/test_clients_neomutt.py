"""NeoMutt as a client, driven by a script: reads, flags, saves, deletes."""

import os
import subprocess

import chapar_test as chapar
from chapar_test import message

SETTINGS = """
set imap_user = "alice"
set imap_pass = "{password}"
set folder = "imap://{address}:{port}/"
set spoolfile = "+INBOX"
set ssl_starttls = no
set ssl_force_tls = no
set header_cache = ""
set message_cachedir = ""
set record = ""
set sleep_time = 0
set delete = yes
set confirmappend = no
set confirmcreate = no
set quit = yes
set mark_old = no
set abort_nosubject = no
set beep = no
set wait_key = no
set read_inc = 0
set imap_check_subscribed = no
set mail_check = 0
push "{keys}"
"""


class NeoMutt(chapar.TestCase):
    def setUp(self):
        super().setUp()
        chapar.need_tool("neomutt")
        chapar.need_tool("script")
        self.server = self.node()
        self.server.write_config()
        self.server.add_account("alice")
        self.server.start()

    def neomutt(self, keys):
        """Runs NeoMutt on a terminal of its own and presses these keys."""
        config = os.path.join(self.folder, "neomuttrc")
        with open(config, "w", encoding="ascii") as out:
            out.write(SETTINGS.format(
                password=chapar.PASSWORD, address=self.server.address,
                port=self.server.imap_port, keys=keys))
        environment = {**os.environ, "HOME": self.folder, "TERM": "vt100", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["script", "-qec", "neomutt -n -F %s" % config, "/dev/null"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, timeout=90, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout[-2000:])
        return done.stdout

    def test_neomutt_flags_copies_and_deletes(self):
        for number in range(3):
            self.server.deliver("alice", message("mutt %d" % number))
        with self.server.imap("alice") as client:
            client.command("CREATE Kept")
        self.neomutt(
            "<first-entry><flag-message>"
            "<first-entry><next-entry><copy-message><kill-line>=Kept<enter>"
            "<last-entry><delete-message>"
            "<sync-mailbox><quit>")
        state = chapar.snapshot(self.server, "alice")
        inbox = {entry[4]: set(entry[0].split()) for entry in state["INBOX"][2].values()}
        self.assertEqual(set(inbox), {"mutt 0", "mutt 1"})
        self.assertIn("\\flagged", inbox["mutt 0"])
        self.assertEqual([entry[4] for entry in state["Kept"][2].values()], ["mutt 1"])

    def test_neomutt_sees_mail_that_arrives(self):
        self.server.deliver("alice", message("displayed subject"))
        screen = self.neomutt("<display-message><exit><quit>")
        self.assertIn(b"displayed subject", screen)
        state = chapar.snapshot(self.server, "alice")
        self.assertEqual([entry[0] for entry in state["INBOX"][2].values()], ["\\seen"])


if __name__ == "__main__":
    chapar.main()
