"""What follows from who has logged in: administrators, disabled users, limits, delays, and nodes with certificates and
with less than all rights."""

import hashlib
import ssl
import time

import chapar_test as chapar
from chapar_test import wait_until
from test_logins import Authority, LoginCase, plain

PASSWORD = chapar.PASSWORD


class Users(LoginCase):
    def begin_open(self, extra, *accounts):
        self.server.settings["allow-plaintext-loopback"] = "true"
        self.begin(extra, *accounts)

    def authenticate(self, client, user, act_as="", password=PASSWORD):
        return client.try_command("AUTHENTICATE PLAIN " + plain(user, password, act_as))

    def test_an_administrator_acts_as_another(self):
        self.begin_open('admin "boss" { }\nadmin "auditor" { read-only = true }', "anna", "bert", "boss", "auditor")
        with self.server.imap("anna") as client:
            client.append("INBOX", chapar.message("hello"))
        with self.server.imap() as client:
            status, text = self.authenticate(client, "bert", "anna")
            self.assertEqual(status, "NO", text)
            self.assertIn("AUTHORIZATIONFAILED", text)
        with self.server.imap() as client:
            self.assertEqual(self.authenticate(client, "boss", "anna")[0], "OK")
            self.assertEqual(client.select()["exists"], 1)
            client.command("CREATE Work")
        with self.server.imap() as client:
            self.assertEqual(self.authenticate(client, "auditor", "anna")[0], "OK")
            self.assertEqual(client.select()["exists"], 1)
            self.assertEqual(client.try_command("UID STORE 1 +FLAGS (\\Seen)")[0], "NO")
            for command in ("CREATE x", "DELETE Work", "UNSUBSCRIBE INBOX", "UID COPY 1 Work", "RENAME Work Play"):
                status, text = client.try_command(command)
                self.assertEqual(status, "NO", command)
            self.assertEqual(client.try_command("SYNC HELLO %(NODE 29bafbf27c20ba0c VERSION 1)")[0], "OK")
            self.assertEqual(client.try_command("SYNC PUT %(BODIES ())")[0], "NO")
            client.fetch("1", "BODY[]")
            self.assertNotIn(b"\\Seen", b" ".join(client.untagged))

    def test_a_disabled_user_is_thrown_out_and_kept_out_until_he_is_enabled(self):
        self.begin_open('admin "boss" { }', "anna", "bert", "boss")
        anna, again, bert = (self.server.imap(name) for name in ("anna", "anna", "bert"))
        again.command("SELECT INBOX")
        self.server.tool("account", "passwd", "anna", "--password-file", "-", text_input="new\n")
        anna.command("NOOP")  # a changed password closes nothing
        self.server.tool("account", "disable", "anna")
        for client in (anna, again):
            self.assertTrue(client.response().startswith(b"* BYE"))
            client.close()
        bert.command("NOOP")
        with self.server.imap() as client:
            status, text = client.try_command("LOGIN anna new")
            self.assertEqual((status, text[:21]), ("NO", "[AUTHORIZATIONFAILED]"))
            self.assertEqual(self.authenticate(client, "boss", "anna")[0], "OK")
            with self.server.lmtp() as lmtp:
                lmtp.deliver(["anna"], chapar.message("hello"))
            self.assertEqual(client.select()["exists"], 1)
            time.sleep(2)  # the delivery makes the daemon look again: who may be here stays
            client.command("NOOP")
        self.assertIn("login disabled", self.server.tool("account", "list")[1])
        self.server.tool("account", "enable", "anna")
        self.server.imap("anna", "new").close()
        bert.close()

    def test_a_user_has_no_more_sessions_than_are_allowed(self):
        self.server.settings["connections-per-user-max"] = "2"
        self.begin_open("", "anna", "bert")
        first, second = self.server.imap("anna"), self.server.imap("anna")
        with self.server.imap() as client:
            status, text = client.try_command("LOGIN anna " + PASSWORD)
            self.assertEqual((status, text[:7]), ("NO", "[LIMIT]"))
            client.login("bert")
        first.command("LOGOUT")
        first.close()
        wait_until(lambda: "logout" in self.server.log(), 5, "the end of the session")
        self.server.imap("anna").close()
        second.close()

    def test_guessing_one_users_password_is_slowed_but_not_for_whom_is_known(self):
        self.begin_open("", "anna", "bert")

        def attempt(user, password):
            begin = time.monotonic()
            with self.server.imap() as client:
                status = client.try_command("LOGIN %s %s" % (user, password))[0]
            return status, time.monotonic() - begin

        # Four are free; the next wait half a second, one, two and from then on four.
        for _ in range(7):
            self.assertEqual(attempt("anna", "wrong")[0], "NO")
        self.assertLess(attempt("bert", PASSWORD)[1], 3)
        status, seconds = attempt("anna", PASSWORD)  # slowed as well, since he might be anybody
        self.assertEqual(status, "OK")
        self.assertGreater(seconds, 3)
        self.assertLess(attempt("anna", PASSWORD)[1], 3)  # now he is known here


class Nodes(chapar.TestCase):
    """Nodes that log in with certificates, over TLS."""

    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder)
        self.a, self.b = self.node("a"), self.node("b")
        for node in (self.a, self.b):
            node.certificate = chapar.make_certificate(self.folder, "server-" + node.name, node.address)

    def peer(self, target, user, keys):
        return 'peer "%s" { address = "%s:%d" tls = "implicit" ca-file = "%s" user = "%s" %s }' % (
            target.name, target.address, target.imaps_port, target.certificate[0], user, keys
        )  # fmt: skip

    def begin(self):
        for node in (self.a, self.b):
            node.write_config()
        self.a.add_account("anna")
        self.a.start()
        self.b.start()

    def arrives(self, node, subject):
        def look():
            try:
                with node.imap("anna") as client:
                    client.select()
                    return client.search("SUBJECT", subject)
            except chapar.ImapError:
                return None

        wait_until(look, chapar.SYNC_SECONDS, subject)

    def append(self, node, subject):
        with node.imap("anna") as client:
            client.append("INBOX", chapar.message(subject))

    def test_they_log_in_with_pinned_and_with_named_certificates(self):
        pinned = chapar.make_certificate(self.folder, "node-b", "127.0.0.1")
        named = self.authority.issue("node-a", "/CN=x", "DNS:a.example.org")
        with open(pinned[0], encoding="ascii") as file:
            pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()
        keys = 'certificate = "%s" key = "%s"'
        self.a.extra = 'sync-user "b" { certificate = "%s" }\n' % pin
        self.a.extra += self.peer(self.b, "a", keys % named)
        self.b.extra = 'login { client-ca = "%s" }\nsync-user "a" { certificate = "A.example.org" }\n' % (
            self.authority.certificate
        )
        self.b.extra += self.peer(self.a, "b", keys % pinned)
        self.begin()
        self.append(self.a, "there")
        self.arrives(self.b, "there")
        self.append(self.b, "back")
        self.arrives(self.a, "back")
        for node in (self.a, self.b):
            self.assertIn("mechanism=EXTERNAL", node.log())
        self.a.tool("account", "disable", "anna")  # goes to the other node too

        def is_refused():
            with self.b.imap() as client:
                return client.try_command("LOGIN anna " + PASSWORD)[0] == "NO"

        wait_until(is_refused, chapar.SYNC_SECONDS, "the disabled login on the other node")

    def test_a_certificate_of_somebody_else_is_no_login(self):
        wrong = self.authority.issue("wrong", "/CN=a", "DNS:other.example.org")
        self.b.extra = 'login { client-ca = "%s" }\nsync-user "a" { certificate = "a.example.org" }' % (
            self.authority.certificate
        )
        self.a.extra = self.peer(self.b, "a", 'certificate = "%s" key = "%s"' % wrong)
        self.begin()
        wait_until(lambda: "AUTH=EXTERNAL" in self.a.log(), 20, "the refused login")
        self.assertNotIn("channel-up", self.a.log())

    def test_a_password_goes_by_scram_with_channel_binding(self):
        self.b.extra = 'sync-user "a" { password-file = "%s" }' % self.b.password_file()
        self.a.extra = self.peer(self.b, "a", 'password-file = "%s"' % self.a.password_file())
        self.begin()
        wait_until(lambda: "channel-up" in self.a.log(), 20, "the channel")
        self.assertIn("SCRAM-SHA-256-PLUS", self.b.log())

    def test_a_node_that_may_not_delete_is_told_so_and_one_that_sees_less_gets_less(self):
        self.b.extra = 'sync-user "a" { password-file = "%s" accounts = "anna" no-delete = true }' % (
            self.b.password_file()
        )
        self.a.extra = self.peer(self.b, "a", 'password-file = "%s"' % self.a.password_file())
        for node in (self.a, self.b):
            node.write_config()
        self.a.add_account("anna")
        self.a.add_account("bert")
        self.a.start()
        self.b.start()
        self.append(self.a, "kept")
        self.arrives(self.b, "kept")
        with self.a.imap("anna") as client:
            client.select()
            client.command("UID STORE 1:* +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        wait_until(lambda: "no-delete" in self.a.log(), chapar.SYNC_SECONDS, "the refusal")
        with self.b.imap("anna") as client:
            self.assertEqual(client.select()["exists"], 1)
        self.assertIn("this account is not for you", self.a.log() + self.a.tool("channel", "list")[1])
        self.assertNotIn("bert", self.b.tool("account", "list")[1])


if __name__ == "__main__":
    chapar.main()
