"""A person's own copy of an account: cloned over TLS with his own password, used off line, changed
on both sides, brought together again."""

import imaplib
import json
import os
import re
import signal
import subprocess
import time

import chapar_test as chapar
from chapar_test import message, wait_until


class Copy:
    """A clone in a folder, and the tool that works on it."""

    def __init__(self, node, folder, user="alice", password=chapar.PASSWORD):
        self.node = node
        self.folder = folder
        self.user = user
        self.environment = dict(os.environ, CHAPAR_PASSWORD=password)
        self.server = None

    def run(self, *arguments, check=True, environment=None):
        done = subprocess.run(
            [chapar.CHAPAR, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=environment or self.environment,
            timeout=300,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError("%s: %d\n%s" % (arguments, done.returncode, done.stdout))
        return done.returncode, done.stdout

    def url(self, port=None):
        return "imaps://%s@%s:%d/" % (self.user, self.node.address, port or self.node.imaps_port)

    def clone(self, *options, check=True, port=None):
        return self.run("clone", self.url(port), self.folder, *options, check=check)

    def sync(self, command="sync", *options, check=True):
        return self.run(command, self.folder, *options, check=check)

    def digests(self, *where):
        """{account: digest}, of the copy."""
        _, text = self.run("-C", self.folder, "account", "list", "--json")
        return {entry["name"]: entry["digest"] for entry in json.loads(text)}

    def serve(self, *options):
        self.server = subprocess.Popen(
            [chapar.CHAPAR, "serve", self.folder, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=chapar.end_with_parent,
        )
        line = self.server.stdout.readline()
        found = re.match(r"serving imap://\w+@127\.0\.0\.1:(\d+)/, password: (.*); end", line)
        assert found, line
        return int(found.group(1)), found.group(2)

    def end(self):
        if self.server is None:
            return 0
        self.server.send_signal(signal.SIGINT)
        status = self.server.wait(60)
        self.server.stdout.close()
        self.server = None
        return status


class Clone(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.origin = self.node("a")
        self.origin.certificate = chapar.make_certificate(
            self.folder, "origin", self.origin.address
        )
        self.origin.write_config()
        self.origin.add_account("alice")
        self.origin.add_account("bob")
        self.origin.start()
        self.copies = []

    def tearDown(self):
        for copy in self.copies:
            if copy.server is not None:
                copy.server.kill()
                copy.server.wait()
                copy.server.stdout.close()
        super().tearDown()

    def copy(self, name="copy", **options):
        copy = Copy(self.origin, os.path.join(self.folder, name), **options)
        self.copies.append(copy)
        return copy

    def cloned(self, name="copy"):
        copy = self.copy(name)
        copy.clone("--ca-file", self.origin.certificate[0])
        return copy

    def origin_digest(self, user="alice"):
        _, text = self.origin.tool("account", "list", "--json")
        return {entry["name"]: entry["digest"] for entry in json.loads(text)}[user]

    def assert_equal(self, copy):
        self.assertEqual(copy.digests(), {"alice": self.origin_digest()})

    def test_a_clone_is_equal_and_holds_nothing_of_others(self):
        for number in range(30):
            self.origin.deliver("alice", message("mail %d" % number))
        self.origin.deliver("bob", message("for bob"))
        copy = self.cloned()
        self.assert_equal(copy)
        self.assertEqual(copy.run("verify", copy.folder)[0], 0)
        self.assertEqual(os.stat(copy.folder).st_mode & 0o77, 0, "others may not read it")


    def test_what_was_changed_off_line_on_both_sides_is_brought_together(self):
        for number in range(6):
            self.origin.deliver("alice", message("mail %d" % number))
        copy = self.cloned()
        port, password = copy.serve()
        self.assertEqual(password, "as at the origin")
        with chapar.Imap("127.0.0.1", port) as mine, self.origin.imap("alice") as theirs:
            mine.login("alice")
            for client, flag, name in ((mine, "\\Seen", "Mine"), (theirs, "\\Flagged", "Theirs")):
                client.select()
                client.command("UID STORE 1 +FLAGS (%s)" % flag)
                client.command('CREATE "%s"' % name)
                client.append(name, message("in " + name))
            mine.command('UID MOVE 2 "Mine"')
            theirs.command("UID STORE 3 +FLAGS (\\Deleted)")
            theirs.command("UID EXPUNGE 3")
        self.assertEqual(copy.end(), 0)
        copy.sync()
        self.assert_equal(copy)
        state = chapar.snapshot(self.origin, "alice")
        self.assertEqual(
            sorted(entry[4] for entry in state["INBOX"][2].values()),
            ["mail 0", "mail 3", "mail 4", "mail 5"],
        )
        self.assertEqual(
            sorted(entry[4] for entry in state["Mine"][2].values()), ["in Mine", "mail 1"]
        )
        self.assertEqual([entry[4] for entry in state["Theirs"][2].values()], ["in Theirs"])
        self.assertEqual(state["INBOX"][2][1][0], "\\flagged \\seen")
        self.verify_clean(self.origin)

    def test_pull_sends_nothing_and_push_brings_it(self):
        self.origin.deliver("alice", message("one"))
        copy = self.cloned()
        before = self.origin_digest()
        port, _ = copy.serve()
        with chapar.Imap("127.0.0.1", port) as mine:
            mine.login("alice")
            mine.select()
            mine.append("INBOX", message("written off line"))
            # While it is served, the serving process does the work.
            copy.sync("pull")
            self.assertEqual(self.origin_digest(), before)
            copy.sync("push")
            self.assert_equal(copy)
        self.assertEqual(copy.end(), 0)
        self.assertIn("nothing new", copy.sync("push")[1])

    def test_nothing_new_costs_one_round_trip_and_few_bytes(self):
        for number in range(200):
            self.origin.deliver("alice", message("mail %d" % number, "x" * 70 + "\r\n"))
        wire = chapar.Wire(
            self.origin.address,
            self.origin.imaps_port + 1,
            (self.origin.address, self.origin.imaps_port),
        )
        self._wires.append(wire)
        wire.heal()
        copy = self.copy()
        copy.clone("--ca-file", self.origin.certificate[0], port=self.origin.imaps_port + 1)
        for command in ("pull", "sync"):
            # What the login, TLS and HELLO cost is the same with an account that is new.
            bytes_before, commands_before = wire.byte_count, self.commands()
            self.assertIn("nothing new", copy.sync(command)[1])
            self.assertLess(wire.byte_count - bytes_before, 8000)
            # CAPABILITY, AUTHENTICATE and what follows it, HELLO, and one question.
            self.assertLessEqual(self.commands() - commands_before, 7)
        # One new message costs that, not what is there.
        self.origin.deliver("alice", message("new"))
        bytes_before = wire.byte_count
        self.assertIn("1 messages", copy.sync("pull")[1])
        self.assertLess(wire.byte_count - bytes_before, 12000)
        self.assert_equal(copy)

    def commands(self):
        _, text = self.origin.tool("status", "--json")
        return json.loads(text)["daemon"]["commands"] - json.loads(text)["daemon"]["accepted"]

    def test_a_clone_interrupted_anywhere_goes_on(self):
        body = ("y" * 70 + "\r\n") * 2000
        for number in range(60):
            self.origin.deliver("alice", message("large %d" % number, body + str(number)))
        wire = chapar.Wire(
            self.origin.address,
            self.origin.imaps_port + 1,
            (self.origin.address, self.origin.imaps_port),
        )
        self._wires.append(wire)
        wire.heal()
        wire.cut_after(3_000_000)
        copy = self.copy()
        status, text = copy.clone(
            "--ca-file", self.origin.certificate[0], port=self.origin.imaps_port + 1, check=False
        )
        self.assertNotEqual(status, 0, text)
        self.assertIn("chapar pull", text)
        wire.bytes_until_cut = None
        wire.heal()
        for pause in (0.2, 0.4, 0.6):
            tool = subprocess.Popen(
                [chapar.CHAPAR, "pull", copy.folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=copy.environment,
            )
            time.sleep(pause)
            tool.kill()
            tool.wait()
        copy.sync("pull")
        self.assert_equal(copy)
        self.assertEqual(copy.run("-C", copy.folder, "verify", "--bodies")[0], 0)

    def test_wrong_passwords_and_certificates_are_refused_and_leave_nothing(self):
        other = chapar.make_certificate(self.folder, "other", self.origin.address)
        copy = self.copy(password="wrong")
        status, text = copy.clone("--ca-file", self.origin.certificate[0], check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("login failed", text)
        self.assertFalse(os.path.exists(copy.folder))
        copy = self.copy()
        for options in ((), ("--ca-file", other[0]), ("--pin", "00" * 32)):
            status, text = copy.clone(*options, check=False)
            self.assertEqual(status, 77, text)
            self.assertFalse(os.path.exists(copy.folder), options)
        status, text = copy.run("clone", "imaps://alice:secret@localhost/", check=False)
        self.assertEqual(status, 65, text)
        self.assertIn("no password in it", text)
        status, text = copy.run("clone", "imap://alice@mail.example.org/", copy.folder, "--no-tls", check=False)
        self.assertNotEqual(status, 0)
        self.assertIn("this machine only", text)

    def test_a_password_comes_from_a_file_or_the_environment(self):
        fingerprint = subprocess.run(
            ["openssl", "x509", "-in", self.origin.certificate[0], "-noout", "-fingerprint", "-sha256"],
            stdout=subprocess.PIPE,
            encoding="ascii",
            check=True,
        ).stdout
        pin = fingerprint.strip().split("=")[1]
        copy = self.copy()
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w", encoding="ascii") as out:
            out.write(chapar.PASSWORD + "\n")
        os.chmod(secret, 0o600)
        copy.environment = dict(os.environ)
        copy.clone("--pin", pin, "--password-file", secret)
        # It is remembered where the password is, not what it is.
        self.origin.deliver("alice", message("one"))
        copy.sync()
        self.assert_equal(copy)
        with open(os.path.join(copy.folder, "clone.conf"), encoding="utf-8") as conf:
            self.assertNotIn('"%s"' % chapar.PASSWORD, conf.read())
        os.chmod(secret, 0o644)
        status, text = copy.sync(check=False)
        self.assertEqual(status, 77, text)
        os.remove(secret)
        self.assertEqual(copy.sync(check=False)[0], 67)

    def test_watching_keeps_both_sides_current(self):
        copy = self.cloned()
        port, password = copy.serve("--local-password")
        self.assertNotEqual(password, "as at the origin")
        watcher = subprocess.Popen(
            [chapar.CHAPAR, "sync", copy.folder, "--watch"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=copy.environment,
            preexec_fn=chapar.end_with_parent,
        )
        self.addCleanup(watcher.wait)
        self.addCleanup(watcher.kill)
        mail = imaplib.IMAP4("127.0.0.1", port)
        mail.login("alice", password)
        mail.append("INBOX", None, None, message("from here"))
        wait_until(lambda: self.subjects() == ["from here"], 60, "it is at the origin")
        self.origin.deliver("alice", message("from there"))

        def is_here():
            mail.select("INBOX")
            _, found = mail.search(None, "SUBJECT", '"from there"')
            return found[0]

        # Told by the origin: nobody asks again within a minute.
        wait_until(is_here, 30, "it is in the copy")
        # The origin goes away and comes back.
        self.origin.restart()
        mail.append("INBOX", None, None, message("later"))
        wait_until(lambda: "later" in self.subjects(), 60, "it came after the restart")
        mail.logout()
        self.assertEqual(copy.end(), 0)

    def subjects(self):
        state = chapar.snapshot(self.origin, "alice")
        return sorted(entry[4] for entry in state["INBOX"][2].values())

    def test_a_folder_of_another_user_or_none_is_no_clone(self):
        status, text = self.copy().sync(check=False)
        self.assertEqual(status, 67)
        self.assertIn("is no clone", text)
        copy = self.cloned()
        status, text = copy.clone(check=False)
        self.assertEqual(status, 73)
        self.assertIn("not empty", text)
        self.assert_equal(copy)

    def test_status_tells_what_is_still_to_be_pushed_and_why_a_sync_failed(self):
        self.origin.deliver("alice", message("one"))
        copy = self.cloned()
        port, _ = copy.serve()
        with chapar.Imap("127.0.0.1", port) as mine:
            mine.login("alice")
            mine.append("INBOX", message("two"))
        copy.end()
        status = json.loads(copy.run("status", copy.folder, "--json")[1])["origin"]
        self.assertGreater(status["pending-changes"], 0)
        self.assertEqual(status["last-error"], "")
        self.assertEqual(copy.run("status", copy.folder, "--check")[0], 0)
        self.origin.stop()
        self.assertNotEqual(copy.sync(check=False)[0], 0)
        code, text = copy.run("status", copy.folder, "--check", check=False)
        self.assertEqual(code, 75, text)
        self.assertIn("last error", text)
        self.origin.start()
        copy.sync()
        status = json.loads(copy.run("status", copy.folder, "--json")[1])["origin"]
        self.assertEqual(status["pending-changes"], 0)
        self.assertEqual(copy.run("status", copy.folder, "--check")[0], 0)


class Tool(chapar.TestCase):
    def tool(self, *arguments):
        done = subprocess.run(
            [chapar.CHAPAR, *arguments], stdout=subprocess.PIPE, encoding="utf-8", check=True
        )
        return done.stdout

    def test_every_command_has_help_and_is_completed(self):
        commands = re.findall(r"(?m)^  ([a-z-]+(?: [a-z-]+)?)(?= |$)", self.tool("help"))
        self.assertGreater(len(commands), 30)
        script = self.tool("completion", "bash")
        for command in commands:
            self.assertIn("usage: chapar " + command, self.tool("help", *command.split()))
            line = ["chapar", *command.split()[:-1], command.split()[-1][:-1]]
            words = " ".join("'%s'" % word for word in line)
            done = subprocess.run(
                ["bash", "-c", script + "COMP_WORDS=(%s); COMP_CWORD=%d; _chapar; "
                 "echo \"${COMPREPLY[@]}\"" % (words, len(line) - 1)],
                stdout=subprocess.PIPE,
                encoding="utf-8",
                check=True,
            )
            self.assertIn(command.split()[-1], done.stdout.split(), command)


class Peers(chapar.TestCase):
    def lag(self, node):
        return json.loads(node.tool("status", "--json")[1])["channels"][0]["lag-changes"]

    def test_a_pair_is_compared_in_one_request_and_a_monitor_hears_of_a_cut(self):
        pair = self.pair()
        pair.start("alice", "bob")
        for node in pair.nodes:
            node.deliver("alice", message("on " + node.name))
        pair.wait_equal("alice")
        # The copies may be equal by the other channel before this one is up.
        wait_until(
            lambda: pair.a.tool("status", "--check", check=False)[0] == 0, 60, "both channels are up"
        )
        _, text = pair.a.tool("verify", "--peer", "b")
        self.assertRegex(text, r"[2-9] accounts are equal on b; \d+ requests")
        self.assertEqual(pair.a.tool("verify", "--peer", "b", "--json")[1].strip(), "[]")
        self.assertEqual(pair.a.tool("verify", "--peer", "c", check=False)[0], 67)
        wait_until(lambda: self.lag(pair.a) == 0, 60, "nothing waits")
        pair.cut()
        wait_until(
            lambda: pair.a.tool("status", "--check", check=False)[0] == 75, 60, "a cut is told"
        )
        for number in range(3):
            pair.a.deliver("alice", message("while it is cut %d" % number))
        channel = json.loads(pair.a.tool("status", "--json")[1])["channels"][0]
        self.assertFalse(channel["connected"])
        self.assertIn("lag-seconds", channel)
        self.assertEqual(channel["lag-changes"], 3)
        self.assertIn(" and 3 changes, ", pair.a.tool("status")[1])
        pair.heal()
        pair.wait_equal("alice")
        wait_until(lambda: self.lag(pair.a) == 0, 60, "nothing waits")
        pair.cut()
        wait_until(
            lambda: pair.a.tool("verify", "--peer", "b", check=False)[0] != 0, 60, "it is cut"
        )
        pair.a.stop()
        self.assertEqual(pair.a.tool("status", "--check", check=False)[0], 69)


if __name__ == "__main__":
    chapar.main()
