"""Every way to log in, with clients that are not ours: SCRAM with channel binding, tokens, certificates, Kerberos,
saslauthd."""

import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import chapar_test as chapar
from chapar_test import wait_until

PASSWORD = chapar.PASSWORD


def b64(data):
    return base64.b64encode(data).decode()


def plain(user, password, act_as=""):
    return b64(("%s\0%s\0%s" % (act_as, user, password)).encode())


class LoginCase(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.server.certificate = chapar.make_certificate(self.folder, "server", self.server.address)
        self.server.settings["allow-plaintext-loopback"] = "false"

    def begin(self, extra, *accounts):
        self.server.extra = extra
        self.server.write_config()
        for account in accounts or ("anna",):
            self.server.add_account(account)
        self.server.start()

    def context(self, version=None, certificate=None):
        context = ssl.create_default_context(cafile=self.server.certificate[0])
        if version:
            context.minimum_version = context.maximum_version = version
        if certificate:
            context.load_cert_chain(*certificate)
        return context

    def connect(self, **options):
        context = self.context(**options)
        return chapar.Imap(
            self.server.address,
            self.server.imaps_port,
            wrap=lambda link: context.wrap_socket(link, server_hostname=self.server.address),
        )

    def mechanisms(self, client):
        client.command("CAPABILITY")
        words = b" ".join(client.untagged).split()
        return {word[5:].decode() for word in words if word.startswith(b"AUTH=")}


def dialogue(client, mechanism, first, answers):
    """AUTHENTICATE with an initial response; `answers` makes an answer of each challenge. The tagged status, text."""
    tag = b"a1"
    client.socket.sendall(b"a1 AUTHENTICATE %s %s\r\n" % (mechanism.encode(), b64(first).encode() if first else b"="))
    while True:
        line = client.response()
        if line.startswith(tag + b" "):
            status, text = line[3:].decode().split(" ", 1)
            return status, text
        if line.startswith(b"+"):
            answer = answers(base64.b64decode(line[2:].strip()))
            client.socket.sendall(b64(answer).encode() + b"\r\n")


class Scram:
    """RFC 5802, written here from the RFC alone."""

    def __init__(self, digest, user, password, header=b"n,,", binding=b""):
        self.digest, self.password, self.header, self.binding = digest, password, header, binding
        self.bare = b"n=%s,r=%s" % (user.encode(), b64(os.urandom(18)).encode())
        self.first = header + self.bare
        self.signature = None

    def hash(self, key, text):
        return hmac.new(key, text, self.digest).digest()

    def answer(self, challenge):
        if challenge.startswith(b"v="):
            assert base64.b64decode(challenge[2:]) == self.signature, "the server does not know the password"
            return b""
        given = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac(
            self.digest, self.password.encode(), base64.b64decode(given[b"s"]), int(given[b"i"])
        )
        key = self.hash(salted, b"Client Key")
        final = b"c=%s,r=%s" % (b64(self.header + self.binding).encode(), given[b"r"])
        message = b",".join((self.bare, challenge, final))
        proof = bytes(
            a ^ b for a, b in zip(key, self.hash(hashlib.new(self.digest, key).digest(), message))
        )
        self.signature = self.hash(self.hash(salted, b"Server Key"), message)
        return final + b",p=" + b64(proof).encode()


class Passwords(LoginCase):
    def test_scram_with_both_hashes_and_channel_binding(self):
        self.begin("login { scram-sha-1 = true }")
        for digest, name in (("sha256", "SCRAM-SHA-256"), ("sha1", "SCRAM-SHA-1")):
            with self.connect(version=ssl.TLSVersion.TLSv1_2) as client:
                self.assertIn(name + "-PLUS", self.mechanisms(client))
                scram = Scram(digest, "anna", PASSWORD)
                self.assertEqual(dialogue(client, name, scram.first, scram.answer)[0], "OK")
            for change, expected in ((b"", "OK"), (b"x", "NO")):
                with self.connect(version=ssl.TLSVersion.TLSv1_2) as client:
                    binding = client.socket.get_channel_binding("tls-unique") + change
                    scram = Scram(digest, "anna", PASSWORD, b"p=tls-unique,,", binding)
                    status, text = dialogue(client, name + "-PLUS", scram.first, scram.answer)
                    self.assertEqual(status, expected, text)

    def test_a_client_that_was_deceived_about_plus_is_refused(self):
        self.begin("")
        with self.connect() as client:
            scram = Scram("sha256", "anna", PASSWORD, b"y,,")
            self.assertEqual(dialogue(client, "SCRAM-SHA-256", scram.first, scram.answer)[0], "NO")

    def test_gsasl_logs_in_with_the_tls_exporter(self):
        chapar.need_tool("gsasl")
        self.begin("")
        for password, expected in ((PASSWORD, 0), ("wrong", 1)):
            run = subprocess.run(
                [
                    "gsasl", "--client", "--imap", "--mechanism", "SCRAM-SHA-256-PLUS",
                    "--connect", "%s:%d" % (self.server.address, self.server.imap_port),
                    "--x509-ca-file", self.server.certificate[0],
                    "--authentication-id", "anna", "--authorization-id", "", "--password", password,
                    "--no-client-first", "--quality-of-protection", "qop-auth",
                ],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
            )  # fmt: skip
            self.assertEqual(min(run.returncode, 1), expected, run.stdout)
        self.assertIn("SCRAM-SHA-256-PLUS", self.server.log())

    def test_only_the_mechanisms_that_are_wanted_are_offered(self):
        self.begin('login { mechanisms = "SCRAM-SHA-256 PLAIN" }')
        with self.connect() as client:
            self.assertEqual(self.mechanisms(client), {"SCRAM-SHA-256", "PLAIN"})
            self.assertEqual(client.try_command("AUTHENTICATE LOGIN")[0], "NO")


class Introspection(http.server.BaseHTTPRequestHandler):
    answers = {}
    asked = []
    headers_seen = []

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append(form["token"][0])
        self.headers_seen.append(self.headers.get("Authorization"))
        answer = self.answers.get(form["token"][0], {"active": False})
        if answer == "hang":
            time.sleep(8)
            answer = {"active": False}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Tokens(LoginCase):
    def setUp(self):
        super().setUp()
        Introspection.asked.clear()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Introspection)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.addCleanup(self.http.server_close)
        self.addCleanup(self.http.shutdown)
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w", encoding="ascii") as out:
            out.write("s:cret\n")
        os.chmod(secret, 0o600)
        self.begin(
            "login {\n"
            'token-introspection = "http://127.0.0.1:%d/introspect" token-client = "cha par"\n'
            'token-secret-file = "%s" token-scope = "mail imap" token-audience = "chapar"\n'
            "}" % (self.http.server_port, secret)
        )

    def attempt(self, token, mechanism="OAUTHBEARER", user="anna"):
        seen = []
        if mechanism == "OAUTHBEARER":
            first = "n,a=%s,\1host=h\1port=143\1auth=Bearer %s\1\1" % (user, token)
        else:
            first = "user=%s\1auth=Bearer %s\1\1" % (user, token)
        with self.connect() as client:
            self.assertTrue({"OAUTHBEARER", "XOAUTH2"} <= self.mechanisms(client))
            status, text = dialogue(
                client, mechanism, first.encode(), lambda challenge: seen.append(challenge) or b"\1"
            )
        return status, text, seen

    def test_a_good_token_lets_its_user_in_and_others_do_not(self):
        good = {"active": True, "username": "anna", "scope": "mail imap more", "aud": ["x", "chapar"]}
        Introspection.answers = {
            "good": good,
            "noscope": {**good, "scope": "mail"},
            "other": {**good, "aud": "elsewhere"},
            "old": {**good, "exp": int(time.time()) - 5},
            "early": {**good, "nbf": int(time.time()) + 500},
            "broken": b"{\"active\": true, \"username\": ",
            "huge": b" " * 100000,
            "nobody": {**good, "username": ""},
            "stranger": {**good, "username": "bertha"},
        }
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            self.assertEqual(self.attempt("good", mechanism)[0], "OK")
        # The second time it was not asked about: the answer is kept for a while.
        self.assertEqual(Introspection.asked.count("good"), 1)
        self.assertEqual(Introspection.headers_seen[0], "Basic " + b64(b"cha%20par:s%3Acret"))
        for token in ("noscope", "other", "old", "early", "nobody", "unknown"):
            status, text, seen = self.attempt(token)
            self.assertEqual(status, "NO", token)
            self.assertEqual(json.loads(seen[0])["status"], "invalid_token", token)
            self.server.restart()  # else the delays for failures would make this slow
        for token in ("broken", "huge"):
            status, text, seen = self.attempt(token)
            self.assertEqual((status, text[:13]), ("NO", "[UNAVAILABLE]"), token)
        self.assertEqual(self.attempt("stranger")[0], "NO")
        self.assertNotIn("s:cret", self.server.log())

    def test_an_authorization_server_that_hangs_holds_nobody_up_for_long(self):
        Introspection.answers = {"slow": "hang"}
        begin = time.monotonic()
        status, text, _ = self.attempt("slow")
        self.assertEqual(status, "NO", text)
        self.assertIn("UNAVAILABLE", text)
        self.assertLess(time.monotonic() - begin, 8)


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name = folder, name
        self.certificate = self.path(name, "pem")
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=Test " + name, "-keyout", self.path(name, "key"), "-out", self.certificate,
        )  # fmt: skip

    def path(self, name, kind):
        return os.path.join(self.folder, "%s.%s" % (name, kind))

    def issue(self, name, subject, alternative=None, usage="clientAuth"):
        """(certificate file, key file)"""
        extensions = self.path(name, "ext")
        with open(extensions, "w", encoding="ascii") as out:
            out.write("extendedKeyUsage = %s\n" % usage)
            if alternative:
                out.write("subjectAltName = %s\n" % alternative)
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
            "-keyout", self.path(name, "key"), "-out", self.path(name, "csr"),
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", self.path(name, "csr"), "-CA", self.certificate, "-CAkey",
            self.path(self.name, "key"), "-CAcreateserial", "-days", "2", "-extfile", extensions,
            "-out", self.path(name, "pem"),
        )  # fmt: skip
        return self.path(name, "pem"), self.path(name, "key")


class Certificates(LoginCase):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder)
        self.other = Authority(self.folder, "other")

    def attempt(self, certificate, act_as=b""):
        with self.connect(certificate=certificate) as client:
            if "EXTERNAL" not in self.mechanisms(client):
                return "not offered"
            return dialogue(client, "EXTERNAL", act_as, lambda challenge: b"")[0]

    def test_a_certificate_of_the_authority_names_the_user(self):
        self.begin('login { client-ca = "%s" }' % self.authority.certificate, "anna", "bert")
        issue = self.authority.issue
        anna = issue("anna", "/CN=bert", "email:Anna@example.org")
        self.assertEqual(self.attempt(None), "not offered")
        self.assertEqual(self.attempt(anna), "OK")
        self.assertEqual(self.attempt(anna, b"anna"), "OK")
        self.assertEqual(self.attempt(anna, b"bert"), "NO")
        self.assertEqual(self.attempt(issue("carl", "/CN=anna")), "not offered")  # no address
        self.assertEqual(self.attempt(issue("web", "/CN=x", "email:anna@example.org", "serverAuth")), "not offered")
        self.assertEqual(self.attempt(self.other.issue("eve", "/CN=x", "email:anna@example.org")), "not offered")

    def test_the_common_name_if_so_configured(self):
        self.begin(
            'login { client-ca = "%s" certificate-name = "common-name" }\n'
            'sync-user "peer" { password-file = "%s" }' % (self.authority.certificate, self.server.password_file())
        )
        self.assertEqual(self.attempt(self.authority.issue("anna", "/CN=anna")), "OK")
        # Nobody becomes a node by being called so.
        self.assertEqual(self.attempt(self.authority.issue("peer", "/CN=peer")), "not offered")


class Saslauthd(LoginCase):
    def setUp(self):
        super().setUp()
        self.saslauthd = shutil.which("saslauthd", path=os.environ["PATH"] + ":/usr/sbin")
        if not self.saslauthd:
            self.skipTest("saslauthd (sasl2-bin) is not installed")
        self.sockets = os.path.join(self.folder, "saslauthd")
        os.makedirs(self.sockets)
        self.saslauthd_log = open(os.path.join(self.folder, "saslauthd.log"), "w+b")
        self.addCleanup(self.saslauthd_log.close)
        # It asks an IMAP server, "rimap": another chapard.
        self.keeper = self.node("keeper")
        self.keeper.write_config()
        self.keeper.add_account("zoe", "from elsewhere")
        self.keeper.start()

    def start_saslauthd(self):
        process = subprocess.Popen(
            [self.saslauthd, "-d", "-n", "1", "-m", self.sockets, "-a", "rimap", "-O",
             "%s/%d" % (self.keeper.address, self.keeper.imap_port)],
            stdout=self.saslauthd_log, stderr=self.saslauthd_log, preexec_fn=chapar.end_with_parent,
            start_new_session=True,  # at its end it signals its whole group
        )  # fmt: skip
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        wait_until(lambda: os.path.exists(os.path.join(self.sockets, "mux")), 10, "saslauthd")
        return process

    def attempt(self, user, password):
        with self.connect() as client:
            return client.try_command("AUTHENTICATE PLAIN " + plain(user, password))

    def test_it_is_asked_about_those_who_have_no_password_here(self):
        self.begin(
            'login { saslauthd = "%s/mux" }\nsync-user "zoe2" { certificate = "%s" }'
            % (self.sockets, "ab" * 32)
        )  # fmt: skip
        self.server.settings["create-accounts-on-delivery"] = "true"
        with self.server.lmtp() as lmtp:
            lmtp.deliver(["zoe"], chapar.message("hello"))
        status, text = self.attempt("zoe", "from elsewhere")
        self.assertEqual((status, text[:13]), ("NO", "[UNAVAILABLE]"))  # it does not run yet
        self.start_saslauthd()
        status, text = self.attempt("zoe", "from elsewhere")
        self.saslauthd_log.seek(0)
        self.assertEqual(status, "OK", (text, self.saslauthd_log.read(), self.keeper.log()))
        self.assertEqual(self.attempt("zoe", "wrong")[0], "NO")
        self.assertEqual(self.attempt("anna", PASSWORD)[0], "OK")


KRB5_CONF = """[libdefaults]
 default_realm = TEST.EXAMPLE
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 TEST.EXAMPLE = {
  kdc = 127.0.0.1:%(port)d
 }
"""
KDC_CONF = """[kdcdefaults]
 kdc_listen = 127.0.0.1:%(port)d
 kdc_tcp_listen = 127.0.0.1:%(port)d
[realms]
 TEST.EXAMPLE = {
  database_name = %(folder)s/principal
  key_stash_file = %(folder)s/stash
  acl_file = %(folder)s/acl
 }
"""


class Kerberos(LoginCase):
    def setUp(self):
        super().setUp()
        self.programs = {}
        for name in ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "gsasl"):
            self.programs[name] = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
            if not self.programs[name]:
                self.skipTest("%s is not installed" % name)
        self.folder_kdc = os.path.join(self.folder, "kdc")
        os.makedirs(self.folder_kdc)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        values = {"port": port, "folder": self.folder_kdc}
        self.environment = dict(os.environ)
        for variable, name, text in (
            ("KRB5_CONFIG", "krb5.conf", KRB5_CONF), ("KRB5_KDC_PROFILE", "kdc.conf", KDC_CONF)
        ):  # fmt: skip
            self.environment[variable] = os.path.join(self.folder_kdc, name)
            with open(self.environment[variable], "w", encoding="ascii") as out:
                out.write(text % values)
        self.environment["KRB5CCNAME"] = "FILE:" + os.path.join(self.folder_kdc, "tickets")
        self.environment["KRB5RCACHEDIR"] = self.folder_kdc
        self.keytab = os.path.join(self.folder_kdc, "keytab")
        self.run_tool("kdb5_util", "create", "-s", "-P", "master")
        for command in ("addprinc -pw secret anna", "addprinc -pw secret anna/admin", "addprinc -randkey imap/mail.test",
                        "ktadd -k %s imap/mail.test" % self.keytab):  # fmt: skip
            self.run_tool("kadmin.local", "-q", command)
        kdc = subprocess.Popen(
            [self.programs["krb5kdc"], "-n"], env=self.environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=chapar.end_with_parent,
        )  # fmt: skip
        self.addCleanup(kdc.wait)
        self.addCleanup(kdc.terminate)

    def run_tool(self, name, *arguments, text=""):
        return subprocess.run(
            [self.programs[name], *arguments], env=self.environment, input=text, text=True, check=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip

    def attempt(self, principal):
        wait_until(lambda: self.ticket(principal), 10, "a ticket from the KDC")
        return subprocess.run(
            [self.programs["gsasl"], "--client", "--imap", "--mechanism", "GSSAPI", "--connect",
             "%s:%d" % (self.server.address, self.server.imap_port), "--x509-ca-file", self.server.certificate[0],
             "--authentication-id", "anna", "--authorization-id", "anna", "--service", "imap", "--hostname",
             "mail.test", "--no-client-first", "--quality-of-protection", "qop-auth"],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60,
        )  # fmt: skip

    def ticket(self, principal):
        try:
            self.run_tool("kinit", principal, text="secret\n")
            return True
        except subprocess.CalledProcessError:
            return False

    def test_a_ticket_lets_its_principal_in(self):
        os.environ["KRB5_CONFIG"] = self.environment["KRB5_CONFIG"]
        os.environ["KRB5RCACHEDIR"] = self.folder_kdc
        self.addCleanup(os.environ.pop, "KRB5_CONFIG")
        self.addCleanup(os.environ.pop, "KRB5RCACHEDIR")
        self.begin(
            'login { gssapi-keytab = "%s" gssapi-realm = "TEST.EXAMPLE" gssapi-host = "mail.test" }' % self.keytab
        )
        with self.connect() as client:
            self.assertIn("GSSAPI", self.mechanisms(client))
        run = self.attempt("anna")
        self.assertEqual(run.returncode, 0, run.stdout + self.server.log())
        self.assertIn("GSSAPI", self.server.log())
        run = self.attempt("anna/admin")  # a principal with an instance is nobody here
        self.assertNotEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    chapar.main()
