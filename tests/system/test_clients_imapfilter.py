"""IMAPFilter sorts mail by rules, over TLS, and waits for more in IDLE."""

import chapar_test as chapar
from client_test import DRAFTS, DRAFTS_WIRE, ClientCase

START = """
options.timeout = 60
options.subscribe = true
options.create = true
options.expunge = true
options.charset = 'UTF-8'
me = IMAP {{ server = '{address}', port = {port}, username = 'alice', password = '{password}',
            ssl = 'auto' }}
"""

SORT = START + """
lists = me.INBOX:contain_subject('[list]')
lists:move_messages(me['Lists/all'])
me.INBOX:contain_subject('grün'):copy_messages(me['{drafts}'])
me.INBOX:contain_from('anna'):mark_flagged()
me.INBOX:match_body('secret'):add_flags({{ 'work' }})
me.INBOX:is_larger(3000):delete_messages()
me:create_mailbox('Empty')
me:rename_mailbox('Empty', 'Renamed')
"""

WAIT = START + """
me.INBOX:is_unseen():mark_seen()
me.INBOX:enter_idle()
me.INBOX:is_unseen():mark_flagged()
"""


class ImapFilter(ClientCase):
    tools = ("imapfilter",)

    def script(self, text):
        return self.write("config.lua", text.format(
            address=self.server.address, port=self.server.imaps_port, password=chapar.PASSWORD,
            drafts=DRAFTS))

    def test_rules_move_copy_flag_and_delete(self):
        self.deliver("[list] news", "plain", "=?utf-8?q?gr=C3=BCn?=")
        self.server.deliver("alice", chapar.message("large", "x" * 70 + "\r\n" * 4000))
        self.server.deliver("alice", chapar.message("told", "a secret\r\n"))
        self.run_client("imapfilter", "-t", self.server.certificate[0], "-c", self.script(SORT))
        inbox = self.on_server()
        self.assertEqual(set(inbox), {"plain", "=?utf-8?q?gr=C3=BCn?=", "told"})
        self.assertIn("\\flagged", inbox["plain"])
        self.assertIn("work", inbox["told"])
        self.assertNotIn("work", inbox["plain"])
        self.assertEqual(set(self.on_server("Lists/all")), {"[list] news"})
        self.assertEqual(set(self.on_server(DRAFTS_WIRE)), {"=?utf-8?q?gr=C3=BCn?="})
        with self.server.imap("alice") as client:
            self.assertIn("Renamed", client.mailboxes())
            self.assertNotIn("Empty", client.mailboxes())

    def test_it_waits_in_idle_and_handles_what_comes(self):
        self.deliver("before")
        process = self.start_client("imapfilter", "-t", self.server.certificate[0], "-c", self.script(WAIT))
        self.sees(lambda: self.on_server()["before"] == {"\\seen"}, "it has begun")
        # It may not be in IDLE yet; what arrives before is told when it is.
        self.deliver("while it waits")
        self.sees(lambda: process.poll() is not None, "it has ended")
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.on_server()["while it waits"], {"\\flagged"})


if __name__ == "__main__":
    chapar.main()
