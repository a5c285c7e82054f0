"""TLS: STARTTLS and implicit, old versions refused, no passwords in the clear, new certificates."""

import os
import shutil
import signal
import socket
import ssl
import subprocess

import chapar_test as chapar
from chapar_test import wait_until


class Tls(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.server.certificate = self.certificate("first")
        self.server.settings["allow-plaintext-loopback"] = "false"
        self.server.write_config()
        self.server.add_account("alice")
        self.server.start()

    def certificate(self, name):
        return chapar.make_certificate(self.folder, name, self.server.address)

    def context(self):
        context = ssl.create_default_context(cafile=self.server.certificate[0])
        context.check_hostname = True
        return context

    def wrap(self, connection):
        return self.context().wrap_socket(connection, server_hostname=self.server.address)

    def implicit(self):
        return chapar.Imap(self.server.address, self.server.imaps_port, wrap=self.wrap)

    def test_a_client_logs_in_over_implicit_tls(self):
        with self.implicit() as client:
            client.login("alice")
            self.assertEqual(client.select()["exists"], 0)

    def test_a_client_logs_in_after_starttls(self):
        with self.server.imap() as client:
            client.command("CAPABILITY")
            before = b"\n".join(client.untagged)
            self.assertIn(b"STARTTLS", before)
            self.assertIn(b"LOGINDISABLED", before)
            client.command("STARTTLS")
            client.socket = self.wrap(client.socket)
            client.stream = client.socket.makefile("rb")
            client.command("CAPABILITY")
            after = b"\n".join(client.untagged)
            self.assertNotIn(b"STARTTLS", after)
            self.assertNotIn(b"LOGINDISABLED", after)
            client.login("alice")

    def test_commands_sent_along_with_starttls_in_the_clear_are_not_obeyed(self):
        with self.server.imap() as client:
            client.socket.sendall(b"x1 STARTTLS\r\nx2 CAPABILITY\r\n")
            line = client.response()
            self.assertTrue(line.startswith((b"x1 OK", b"x1 BAD")), line)
            if line.startswith(b"x1 OK"):
                client.socket.settimeout(3)
                try:
                    client.socket = self.wrap(client.socket)
                    answer = client.socket.recv(100)
                except OSError:
                    answer = b""  # the handshake failed, or there was no answer to x2
                self.assertEqual(answer, b"", "a command from before TLS was obeyed")

    def test_a_password_in_the_clear_is_refused_before_it_is_looked_at(self):
        with self.server.imap() as client:
            status, text = client.try_command("LOGIN alice secret")
            self.assertEqual(status, "NO", text)
            self.assertIn("PRIVACYREQUIRED", text)
            status, text = client.try_command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==")
            self.assertEqual(status, "NO", text)

    def test_a_wrong_password_is_refused(self):
        with self.implicit() as client:
            with self.assertRaises(chapar.ImapError):
                client.login("alice", "wrong")
            client.login("alice")

    def test_tls_below_1_2_is_refused(self):
        for version in ("tls1", "tls1_1"):
            done = subprocess.run(
                ["openssl", "s_client", "-" + version, "-cipher", "DEFAULT@SECLEVEL=0"]
                + ["-connect", "%s:%d" % (self.server.address, self.server.imaps_port)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=60, check=False,
            )
            self.assertNotEqual(done.returncode, 0, version)
            self.assertNotIn(b"* OK", done.stdout)

    def test_a_client_that_does_not_speak_tls_does_no_harm(self):
        with socket.create_connection((self.server.address, self.server.imaps_port), 10) as raw:
            raw.sendall(b"a LOGIN alice secret\r\n" * 20)
            raw.settimeout(20)
            try:
                while raw.recv(4096):
                    pass
            except OSError:
                pass
        self.test_a_client_logs_in_over_implicit_tls()

    def test_a_new_certificate_is_taken_on_sighup_without_losing_clients(self):
        with self.implicit() as old:
            old.login("alice")
            second = self.certificate("second")
            for new, current in zip(second, self.server.certificate):
                shutil.copyfile(new, current + ".new")
                os.replace(current + ".new", current)
            self.server.signal(signal.SIGHUP)
            with open(second[0], encoding="ascii") as file:
                wanted = ssl.PEM_cert_to_DER_cert(file.read())

            def served():
                with self.implicit() as client:
                    return client.socket.getpeercert(binary_form=True)

            def is_taken():
                try:
                    return served() == wanted
                except ssl.SSLError:
                    return False

            wait_until(is_taken, 20, "the new certificate is served")
            old.command("NOOP")


if __name__ == "__main__":
    chapar.main()
