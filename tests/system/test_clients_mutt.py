"""Mutt and NeoMutt over TLS, pressed key by key: folders, tags, searches on the server, drafts."""

import chapar_test as chapar
from client_test import DRAFTS, DRAFTS_WIRE, ClientCase

SETTINGS = """
set charset = "utf-8"
set imap_user = "alice"
set imap_pass = "{password}"
set folder = "imaps://{address}:{port}/"
set spoolfile = "+INBOX"
set postponed = "+{drafts}"
set ssl_ca_certificates_file = "{certificate}"
set ssl_use_sslv3 = no
set imap_idle = yes
set header_cache = "{home}/cache"
set record = ""
set sleep_time = 0
set delete = yes
set move = no
set confirmappend = no
set confirmcreate = no
set quit = yes
set mark_old = no
set beep = no
set wait_key = no
set recall = no
set editor = "{editor}"
set realname = "Alice"
set from = "alice@local.example"
set use_domain = no
set auto_tag = no
set abort_nosubject = no
set abort_unmodified = no
set edit_headers = yes
push "{keys}"
"""

EDITOR = """#!/bin/sh
printf 'From: alice@local.example\\nTo: bob@local.example\\nSubject: a draft\\n\\nto do\\n' >"$1"
"""


class Mutt(ClientCase):
    tools = ("mutt", "script")
    program = "mutt"

    def press(self, keys):
        """Runs the program on a terminal of its own and presses these keys."""
        editor = self.write("editor", EDITOR, 0o700)
        config = self.write("rc", SETTINGS.format(
            password=chapar.PASSWORD, address=self.server.address, port=self.server.imaps_port,
            certificate=self.server.certificate[0], drafts=DRAFTS, home=self.home, editor=editor,
            keys=keys))
        return self.run_client("script", "-qec", "%s -n -F %s" % (self.program, config),
                               "/dev/null")

    def test_tagged_messages_are_moved_to_a_folder_with_umlauts(self):
        self.deliver("bill one", "letter", "bill two")
        with self.server.imap("alice") as client:
            client.command('CREATE "%s"' % DRAFTS_WIRE)
        self.press("<tag-pattern>~s bill<enter><tag-prefix><save-message><kill-line>=%s<enter>"
                   "<sync-mailbox><quit>" % DRAFTS)
        self.assertEqual(set(self.on_server()), {"letter"})
        self.assertEqual(set(self.on_server(DRAFTS_WIRE)), {"bill one", "bill two"})

    def test_the_server_searches_bodies_and_flags_are_kept_apart(self):
        for subject, body in (("one", "needle\r\n"), ("two", "hay\r\n"), ("three", "needle\r\n")):
            self.server.deliver("alice", chapar.message(subject, body))
        self.press("<tag-pattern>=b needle<enter><tag-prefix><set-flag>!"
                   "<first-entry><next-entry><set-flag>r<sync-mailbox><quit>")
        flags = self.on_server()
        self.assertIn("\\flagged", flags["one"])
        self.assertIn("\\flagged", flags["three"])
        self.assertNotIn("\\flagged", flags["two"])
        self.assertIn("\\answered", flags["two"])

    def test_a_draft_is_kept_on_the_server(self):
        with self.server.imap("alice") as client:
            client.command('CREATE "%s"' % DRAFTS_WIRE)
        self.press("<mail>bob@local.example<enter>a draft<enter><postpone-message><quit>")
        self.assertEqual(set(self.on_server(DRAFTS_WIRE)), {"a draft"})

    def test_folders_are_made_renamed_and_left_and_mail_seen_again_after_a_restart(self):
        self.deliver("first")
        self.press("<change-folder><kill-line>=INBOX<enter><copy-message><kill-line>=Kept<enter>"
                   "<display-message><exit><quit>")
        self.assertEqual(set(self.on_server("Kept")), {"first"})
        self.server.restart()
        self.deliver("second")
        self.press("<last-entry><delete-message><sync-mailbox><quit>")
        self.assertEqual(set(self.on_server()), {"first"})


class NeoMutt(Mutt):
    tools = ("neomutt", "script")
    program = "neomutt"


if __name__ == "__main__":
    chapar.main()
