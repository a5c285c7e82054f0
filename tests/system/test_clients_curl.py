"""curl as a client: reads, appends and deletes over TLS."""

import os
import subprocess

import chapar_test as chapar
from chapar_test import message


class Curl(chapar.TestCase):
    def setUp(self):
        super().setUp()
        chapar.need_tool("curl")
        self.server = self.node()
        self.server.certificate = chapar.make_certificate(
            self.folder, "curl", self.server.address)
        self.server.write_config()
        self.server.add_account("alice")
        self.server.start()

    def curl(self, path, *options, scheme="imaps"):
        port = self.server.imaps_port if scheme == "imaps" else self.server.imap_port
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", self.server.certificate[0]]
            + ["--user", "alice:" + chapar.PASSWORD, "--ssl-reqd", *options]
            + ["%s://%s:%d/%s" % (scheme, self.server.address, port, path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=60, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_curl_reads_a_delivered_message_byte_for_byte(self):
        data = message("for curl", "line\r\n" * 500)
        self.server.deliver("alice", data)
        got = self.curl("INBOX;MAILINDEX=1")
        self.assertTrue(got.endswith(data), got[:300])

    def test_curl_reads_over_starttls_too(self):
        data = message("by starttls")
        self.server.deliver("alice", data)
        self.assertIn(b"by starttls", self.curl("INBOX;MAILINDEX=1", scheme="imap"))

    def test_curl_lists_appends_searches_and_expunges(self):
        mail = os.path.join(self.folder, "mail")
        with open(mail, "wb") as out:
            out.write(message("appended by curl"))
        self.curl("", "--request", 'CREATE "Sent"')
        self.curl("Sent", "--upload-file", mail)
        self.assertIn(b"Sent", self.curl(""))
        self.assertIn(b"SEARCH 1", self.curl("Sent?SUBJECT%20appended"))
        self.assertIn(b"appended by curl", self.curl("Sent;UID=1"))
        self.curl("Sent", "--request", "STORE 1 +FLAGS (\\Deleted)")
        self.curl("Sent", "--request", "EXPUNGE")
        with self.server.imap("alice") as client:
            self.assertEqual(client.select("Sent")["exists"], 0)


if __name__ == "__main__":
    chapar.main()
