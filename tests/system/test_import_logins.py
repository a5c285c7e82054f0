#!/usr/bin/env python3
"""Whom `chapar import` logs in as: an administrator for a list of users, each user himself, with SCRAM where the server
takes no plain password, and with tokens."""

import http.server
import json
import os
import threading

import chapar_test as chapar
import foreign_test as foreign
from foreign_test import ImportTest, differences, view
from test_logins import Introspection

USERS = ("anna", "bert", "carl@elsewhere.example")


class ListTest(ImportTest):
    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def take_list(self, source, lines, *options, check=True):
        """({account: its entry}, exit status)"""
        status, text = self.here.tool(
            "import", source, "--from-file", self.write("users", lines), "--json", *options, check=check
        )
        begin, end = text.index('[{"account"'), text.rindex("]")
        return {entry["account"]: entry for entry in json.loads(text[begin : end + 1])}, status

    def assert_has_all(self, server, account, user):
        self.here.tool(
            "account", "passwd", account, "--password-file", "-", text_input=chapar.PASSWORD + "\n"
        )
        self.assertEqual("", differences(view(server, user), view(self.here, account)))


class Administrator(ListTest):
    def check(self, server, login, password, users=USERS):
        for number, user in enumerate(users):
            with server.imap(user) as client:
                client.command("CREATE box%d" % number)
                foreign.append(client, "box%d" % number, chapar.message("of %s" % user), "\\Seen")
        source = "imap://%%u@%s:%d/" % (server.address, server.port)
        options = ("--login", login, "--password-file", self.write("password", password + "\n"), "--no-tls")
        lines = "# who comes\n\n" + "".join("%s %s\n" % (user.split("@")[0], user) for user in users)
        told, status = self.take_list(source, lines, *options)
        self.assertEqual(0, status)
        for number, user in enumerate(users):
            new = {entry["mailbox"]: entry["new"] for entry in told[user.split("@")[0]]["mailboxes"]}
            self.assertEqual(1, new["box%d" % number], told)
            self.assert_has_all(server, user.split("@")[0], user)
        return source, options

    def test_a_master_user_of_dovecot_brings_all_of_a_list(self):
        server = self.dovecot()
        source, options = self.check(server, "admin", "master-secret")
        # One whose account cannot be does not keep the others.
        told, status = self.take_list(source, "bad\x01name x\nanna\n", *options, check=False)
        self.assertNotEqual(0, status)
        self.assertNotEqual("", told["bad\x01name"]["error"])
        self.assertEqual("", told["anna"]["error"])

    def test_an_administrator_of_cyrus_brings_all_of_a_list(self):
        server = foreign.Cyrus(os.path.join(self.folder, "d"))
        self.addCleanup(server.stop)
        server.start()
        self.check(server, "cyrus", chapar.PASSWORD, USERS[:2])

    def test_maildirs_of_a_list(self):
        server = self.dovecot()
        for user in ("anna", "bert"):
            with server.imap(user) as client:
                foreign.append(client, "INBOX", chapar.message("of " + user))
        told, _ = self.take_list(
            "maildir:" + os.path.join(server.folder, "home/%u/Maildir"), "anna\nbert\nnobody\n", check=False
        )
        self.assertNotEqual("", told["nobody"]["error"])
        for user in ("anna", "bert"):
            self.assertEqual("", told[user]["error"])
            self.assert_has_all(server, user, user)


class Own(ListTest):
    """From another Chapar, of which it is known what it takes."""

    def begin(self, extra):
        there = self.node("b")
        there.extra = extra
        for user in ("anna", "bert"):
            there.add_account(user, "secret of " + user)
        there.start()
        for user in ("anna", "bert"):
            there.deliver(user, chapar.message("of " + user))
        return there, "imap://%%u@%s:%d/" % (there.address, there.imap_port)

    def check_scram(self, extra):
        _, source = self.begin(extra)
        lines = "anna anna secret of anna\nbert bert wrong\n"
        told, status = self.take_list(source, lines, "--no-tls", check=False)
        self.assertNotEqual(0, status)
        self.assertEqual(1, told["anna"]["mailboxes"][0]["new"])
        self.assertEqual([], told["bert"]["mailboxes"])
        self.assertIn("login of bert", told["bert"]["error"])
        self.assertNotIn("wrong", told["bert"]["error"])

    def test_passwords_of_a_list_by_scram_sha_256(self):
        self.check_scram('login { mechanisms = "SCRAM-SHA-256" }')

    def test_passwords_of_a_list_by_scram_sha_1(self):
        self.check_scram('login { mechanisms = "SCRAM-SHA-1" scram-sha-1 = true }')

    def check_tokens(self, mechanism):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Introspection)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        long_token = "x" * 3000
        Introspection.answers = {long_token: {"active": True, "username": "anna"}}
        _, source = self.begin(
            'login { token-introspection = "http://127.0.0.1:%d/introspect" mechanisms = "%s" }'
            % (server.server_port, mechanism)
        )
        token = self.write("token", long_token + "\n")
        told = self.take(source.replace("%u", "anna"), "--no-tls", "--token-file", token)
        self.assertEqual(1, told["INBOX"]["new"])
        other = self.write("other", "another token\n")
        status, text = self.take(
            source.replace("%u", "anna"), "--no-tls", "--token-file", other, check=False
        )
        self.assertNotEqual(0, status)
        self.assertNotIn("another token", text)

    def test_a_token_by_oauthbearer(self):
        self.check_tokens("OAUTHBEARER")

    def test_a_token_by_xoauth2(self):
        self.check_tokens("XOAUTH2")


if __name__ == "__main__":
    chapar.main()
