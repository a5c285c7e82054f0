"""What the tests of mail programs share: a node with a certificate and the user alice, the running
of a program in a home folder of its own, and what the server has in the end."""

import os
import re
import subprocess

import chapar_test as chapar

# A mailbox with a name that is not ASCII, as people and as IMAP write it.
DRAFTS = "Entwürfe"
DRAFTS_WIRE = "Entw&APw-rfe"


class ClientCase(chapar.TestCase):
    tools = ()  # the programs without which the tests are skipped

    def setUp(self):
        super().setUp()
        for tool in self.tools:
            chapar.need_tool(tool)
        self.server = self.node()
        self.server.certificate = chapar.make_certificate(
            self.folder, "localhost", self.server.address)
        self.server.write_config()
        self.server.add_account("alice")
        self.server.start()
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home, 0o700)

    def write(self, name, text, mode=0o600):
        """A file in the home folder; returns its path."""
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def environment(self):
        return {**os.environ, "HOME": self.home, "LC_ALL": "C.UTF-8", "TERM": "vt100",
                "XDG_CONFIG_HOME": self.home + "/.config", "TMPDIR": self.home,
                "SSL_CERT_FILE": self.server.certificate[0]}

    def run_client(self, *command, statuses=(0,)):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment(), cwd=self.home, timeout=180, check=False,
            encoding="utf-8", errors="replace",
        )
        self.assertIn(done.returncode, statuses, done.stdout[-4000:])
        return done.stdout

    def start_client(self, *command):
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=self.environment(), cwd=self.home,
            preexec_fn=chapar.end_with_parent,
        )
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()

    def on_server(self, mailbox="INBOX"):
        """{subject: flags} as the server has them."""
        state = chapar.snapshot(self.server, "alice")
        return {entry[4]: set(entry[0].split()) for entry in state[mailbox][2].values()}

    def deliver(self, *subjects):
        for subject in subjects:
            self.server.deliver("alice", chapar.message(subject))

    def sees(self, condition, what, seconds=60):
        chapar.wait_until(condition, seconds, what)

    def maildir(self, path):
        """{subject: (file, Maildir flags)} of a Maildir on this machine."""
        found = {}
        for part in ("cur", "new"):
            folder = os.path.join(path, part)
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                file_name = os.path.join(folder, name)
                with open(file_name, encoding="utf-8", errors="replace") as file:
                    subject = re.search(r"(?m)^Subject: (.*)$", file.read()).group(1).strip()
                found[subject] = (file_name, name.partition(":2,")[2])
        return found
