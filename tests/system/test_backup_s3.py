"""Backups in a bucket of an S3 server: s3rver, behind a gate that checks the signatures of requests
(which s3rver does not), and can fail."""

import hashlib
import hmac
import http.client
import http.server
import os
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.parse

import chapar_test as chapar
from chapar_test import message
from test_backup import BackupCase

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "s3rver")


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, method, target, headers, signed, scope):
    """AWS Signature Version 4 of a request, as its specification says."""
    path, _, query = target.partition("?")
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [
            method,
            urllib.parse.quote(urllib.parse.unquote(path), safe="/-._~"),
            "&".join("%s=%s" % tuple(urllib.parse.quote(x, safe="-._~") for x in p) for p in pairs),
        ]
        + ["%s:%s" % (name, " ".join(headers[name].split())) for name in signed]
        + ["", ";".join(signed), headers["x-amz-content-sha256"]]
    )
    date, region, service, _ = scope.split("/")
    key = digest(digest(digest(digest(b"AWS4" + secret, date), region), service), "aws4_request")
    text = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope,
         hashlib.sha256(canonical.encode()).hexdigest()]
    )
    return digest(key, text).hex()


class Gate(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def refuse(self, status, code):
        text = ("<Error><Code>%s</Code></Error>" % code).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def is_signed(self, body):
        found = dict(
            part.strip().split("=", 1)
            for part in self.headers["Authorization"].split(" ", 1)[1].split(",")
        )
        headers = {name.lower(): value for name, value in self.headers.items()}
        key, _, scope = found["Credential"].partition("/")
        wanted = signature(
            b"S3RVER", self.command, self.path, headers, found["SignedHeaders"].split(";"), scope
        )
        return (
            key == "S3RVER"
            and {"host", "x-amz-date", "x-amz-content-sha256"} <= set(found["SignedHeaders"].split(";"))
            and headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
            and hmac.compare_digest(wanted, found["Signature"])
        )

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests += 1
        if self.server.failures > 0:
            self.server.failures -= 1
            self.refuse(503, "SlowDown")
            return
        if not self.is_signed(body):
            self.refuse(403, "SignatureDoesNotMatch")
            return
        link = http.client.HTTPConnection(*self.server.behind, timeout=30)
        link.request(self.command, self.path, body, dict(self.headers))
        answer = link.getresponse()
        text = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        link.close()

    do_GET = do_PUT = do_DELETE = relay


class S3Case(BackupCase):
    def setUp(self):
        chapar.need_tool("node")
        program = os.path.join(SERVER, "node_modules", "s3rver", "bin", "s3rver.js")
        if not os.path.exists(program):
            raise unittest.SkipTest("s3rver is not installed; `make test` does it")
        super().setUp()
        address = chapar.loopback_address()
        port = chapar.free_port_base(address) + 80
        self.bucket = os.path.join(self.folder, "s3")
        self.server = subprocess.Popen(
            ["node", program, "-d", self.bucket, "-a", address, "-p", str(port), "-s",
             "--configure-bucket", "mail-backup"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=chapar.end_with_parent,
        )
        self.addCleanup(self.end_server)
        self.behind = (address, port)
        self.gate = http.server.ThreadingHTTPServer((address, 0), Gate)
        self.gate.behind, self.gate.requests, self.gate.failures = self.behind, 0, 0
        threading.Thread(target=self.gate.serve_forever, daemon=True).start()
        self.addCleanup(self.gate.server_close)
        self.addCleanup(self.gate.shutdown)
        variables = {
            "AWS_ENDPOINT_URL": "http://%s:%d" % self.gate.server_address,
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_REGION": "us-east-1",
            "XDG_CACHE_HOME": os.path.join(self.folder, "caches"),
        }
        for name, value in variables.items():
            self.set_variable(name, value)
        self.target = "s3://mail-backup/of/node-a"
        chapar.wait_until(lambda: self.answers(address, port), 30, "the S3 server")

    def set_variable(self, name, value):
        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(
            lambda: os.environ.pop(name) if before is None else os.environ.update({name: before})
        )

    def answers(self, address, port):
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            return False

    def end_server(self):
        self.server.kill()
        self.server.wait()

    def verify(self):
        status, text = self.a.tool("backup", "verify", self.target, check=False)
        self.assertEqual(status, 0, text)
        self.assertIn("undamaged", text)


class S3(S3Case):
    def test_backup_restore_prune_and_verify(self):
        self.start_with("alice")
        for number in range(6):
            self.a.deliver("alice", message("mail %d" % number, os.urandom(30000).hex() + "\r\n"))
        before = chapar.snapshot(self.a, "alice")
        first = self.backup()
        self.assertEqual((first["changed"], first["messages"]), (1, 6))
        at = self.times()[-1]
        self.next_second()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1:5 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.assertEqual(self.backup()["messages"], 0)
        self.assertEqual(self.backup()["point"], "")
        self.verify()
        node = self.fresh("n")
        node.start()
        self.restore(node, "--at", at, "--exact")
        self.assertEqual(chapar.snapshot(node, "alice"), before)
        self.a.tool("backup", "prune", self.target, "--keep", "yearly:1")
        self.verify()
        again = self.fresh("m")
        self.restore(again, "--exact")
        self.assertEqual(self.digests(again), self.digests(self.a))
        # Another machine, which has no cache, goes on.
        self.set_variable("XDG_CACHE_HOME", os.path.join(self.folder, "other"))
        self.a.deliver("alice", message("new"))
        self.assertEqual(self.backup()["messages"], 1)

    def test_who_is_not_let_in_and_what_is_not_there_is_told(self):
        self.start_with("alice")
        self.set_variable("AWS_SECRET_ACCESS_KEY", "wrong")
        status, text = self.backup(check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("SignatureDoesNotMatch", text)
        self.set_variable("AWS_SECRET_ACCESS_KEY", "S3RVER")
        self.target = "s3://no-such-bucket/x"
        status, text = self.backup(check=False)
        self.assertEqual(status, 67, text)
        self.assertIn("NoSuchBucket", text)

    def test_a_lock_of_a_living_process_is_respected_and_a_stale_one_is_not(self):
        self.start_with("alice")
        self.a.deliver("alice", message("one"))
        self.backup()
        self.put_lock(int(time.time() * 1000))
        status, text = self.backup(check=False)
        self.assertEqual(status, 69, text)
        self.assertIn("is being written by process 1 on elsewhere", text)
        self.remove_locks()
        self.put_lock(int(time.time() * 1000) - 3600 * 1000)
        self.backup()

    def ask(self, method, name, body=None):
        """Without a signature, beside the gate."""
        link = http.client.HTTPConnection(*self.behind, timeout=30)
        link.request(method, "/mail-backup" + name, body)
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        self.assertLess(answer.status, 300, text)
        return text

    def put_lock(self, told_ms):
        self.locks = ["locks/%013d-00000001" % told_ms]
        self.ask("PUT", "/of/node-a/" + self.locks[0], b"process 1 on elsewhere")

    def remove_locks(self):
        self.ask("DELETE", "/of/node-a/" + self.locks[0])

    def test_a_killed_backup_goes_on(self):
        self.start_with("alice")
        for number in range(30):
            self.a.deliver("alice", message("mail %d" % number, os.urandom(300000).hex() + "\r\n"))
        with subprocess.Popen(
            [chapar.CHAPAR, "-c", self.a.config_file, "backup", self.target],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(1)
            process.send_signal(signal.SIGKILL)
        # Its lock stands until it is stale.
        status, text = self.backup(check=False)
        self.assertIn(status, (0, 69), text)
        for name in self.keys("locks/"):
            self.ask("DELETE", "/of/node-a/" + name)
        self.backup()
        self.verify()

    def keys(self, folder):
        text = self.ask("GET", "?list-type=2&prefix=" + urllib.parse.quote("of/node-a/" + folder, safe=""))
        return [part.split("</Key>")[0][len("of/node-a/"):] for part in text.split("<Key>")[1:]]

    def test_a_server_that_fails_for_a_while_is_asked_again(self):
        self.start_with("alice")
        self.a.deliver("alice", message("one"))
        self.gate.failures = 3
        self.backup()
        self.verify()


del BackupCase, S3Case

if __name__ == "__main__":
    chapar.main()
