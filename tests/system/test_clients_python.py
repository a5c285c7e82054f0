"""Python's imaplib, with which people write their own tools: over TLS, as it is documented."""

import imaplib
import ssl

import chapar_test as chapar
from client_test import DRAFTS_WIRE, ClientCase


class ImapLib(ClientCase):
    def connect(self, starttls=False):
        context = ssl.create_default_context(cafile=self.server.certificate[0])
        if starttls:
            client = imaplib.IMAP4(self.server.address, self.server.imap_port, timeout=60)
            self.assertEqual(client.starttls(context)[0], "OK")
        else:
            client = imaplib.IMAP4_SSL(
                self.server.address, self.server.imaps_port, ssl_context=context, timeout=60)
        self.addCleanup(self.leave, client)
        self.ok(client.login("alice", chapar.PASSWORD))
        return client

    @staticmethod
    def leave(client):
        try:
            client.logout()
        except (imaplib.IMAP4.abort, OSError):
            client.shutdown()  # the connection was lost before

    def ok(self, answer):
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    def test_a_session_with_everything_it_offers(self):
        client = self.connect()
        self.ok(client.create(DRAFTS_WIRE))
        self.ok(client.subscribe(DRAFTS_WIRE))
        self.ok(client.append("INBOX", "(\\Seen work)", '"03-Feb-2025 10:00:00 +0100"',
                              chapar.message("appended")))
        self.deliver("delivered")
        self.assertEqual(self.ok(client.select("INBOX")), [b"2"])
        self.assertEqual(self.ok(client.search("UTF-8", "SUBJECT", '"appended"')), [b"1"])
        data = self.ok(client.fetch("1", "(FLAGS INTERNALDATE RFC822)"))
        self.assertIn(b'"03-Feb-2025 10:00:00 +0100"', data[0][0] + data[-1])
        self.assertEqual(data[0][1], chapar.message("appended"))
        self.ok(client.store("1", "+FLAGS", "(\\Flagged)"))
        self.ok(client.copy("1", DRAFTS_WIRE))
        self.ok(client.uid("MOVE", "2", DRAFTS_WIRE))
        self.ok(client.store("1", "+FLAGS", "(\\Deleted)"))
        # With the one that MOVE took away: imaplib keeps what it heard and was not asked for.
        self.assertEqual(self.ok(client.expunge()), [b"2", b"1"])
        self.assertIn(b"MESSAGES 2", self.ok(client.status(DRAFTS_WIRE, "(MESSAGES)"))[0])
        self.ok(client.rename(DRAFTS_WIRE, "Kept"))
        self.ok(client.unselect())
        self.assertEqual(self.on_server(), {})
        self.assertEqual(self.on_server("Kept"), {
            "appended": {"\\seen", "\\flagged", "work"}, "delivered": set()})

    def test_starttls_and_a_connection_lost(self):
        client = self.connect(starttls=True)
        self.ok(client.select("INBOX"))
        self.server.restart()
        with self.assertRaises((imaplib.IMAP4.abort, OSError)):
            client.noop()
            client.noop()
        again = self.connect(starttls=True)
        self.deliver("after")
        self.assertEqual(self.ok(again.select("INBOX")), [b"1"])

    def test_a_wrong_password_and_a_wrong_certificate_are_refused(self):
        context = ssl.create_default_context(cafile=self.server.certificate[0])
        client = imaplib.IMAP4_SSL(
            self.server.address, self.server.imaps_port, ssl_context=context, timeout=60)
        self.addCleanup(client.shutdown)
        with self.assertRaises(imaplib.IMAP4.error):
            client.login("alice", "wrong")
        with self.assertRaises(ssl.SSLCertVerificationError):
            imaplib.IMAP4_SSL(self.server.address, self.server.imaps_port, timeout=60,
                              ssl_context=ssl.create_default_context())


if __name__ == "__main__":
    chapar.main()
