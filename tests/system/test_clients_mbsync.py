"""mbsync keeps a Maildir in two-way sync with node A while ImapFlow works on node B."""

import json
import os
import re
import subprocess
import unittest

import chapar_test as chapar
from chapar_test import message, wait_until

FLOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imapflow")


class Flow:
    """Runs tasks of imapflow/client.js as user alice of a node."""

    def __init__(self, node):
        self.command = ["node", os.path.join(FLOW, "client.js")]
        self.where = [node.address, str(node.imap_port), "alice", chapar.PASSWORD]

    def start(self, task):
        return subprocess.Popen(
            self.command + [task] + self.where,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", preexec_fn=chapar.end_with_parent,
        )

    def run(self, task):
        return self.result(self.start(task))

    @staticmethod
    def result(process):
        output, errors = process.communicate(timeout=120)
        if process.returncode != 0:
            raise AssertionError("imapflow: %s" % errors)
        return json.loads(output)


class ClientsOnTwoNodes(chapar.TestCase):
    def setUp(self):
        super().setUp()
        chapar.need_tool("mbsync")
        chapar.need_tool("node")
        if not os.path.isdir(os.path.join(FLOW, "node_modules", "imapflow")):
            raise unittest.SkipTest("imapflow is not installed; `make test` does it")
        self.nodes = self.pair()
        self.a, self.b = self.nodes.a, self.nodes.b
        self.nodes.start("alice")
        self.maildir = os.path.join(self.folder, "mail")
        os.mkdir(self.maildir)
        self.config = os.path.join(self.folder, "mbsyncrc")
        with open(self.config, "w", encoding="ascii") as out:
            out.write(
                "IMAPAccount chapar\nHost %s\nPort %d\nUser alice\nPass %s\nSSLType None\n"
                "AuthMechs LOGIN\n\n"
                "IMAPStore far\nAccount chapar\n\n"
                "MaildirStore near\nPath %s/\nInbox %s/INBOX\nSubFolders Verbatim\n\n"
                "Channel both\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
                "SyncState *\nSync All\n"
                % (self.a.address, self.a.imap_port, chapar.PASSWORD, self.maildir, self.maildir)
            )

    def mbsync(self):
        done = subprocess.run(
            ["mbsync", "--config", self.config, "--all"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": self.folder}, encoding="utf-8", errors="replace",
            timeout=180, check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def local(self, mailbox):
        """{subject: (path, Maildir flags)} of the Maildir."""
        found = {}
        for part in ("cur", "new"):
            folder = os.path.join(self.maildir, mailbox, part)
            for name in os.listdir(folder) if os.path.isdir(folder) else []:
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    subject = re.search(r"(?mi)^Subject: (.*)", file.read()).group(1).strip()
                self.assertNotIn(subject, found, "the Maildir has it twice")
                found[subject] = (path, name.partition(":2,")[2])
        return found

    def remote(self, mailbox="INBOX"):
        state = self.nodes.wait_equal("alice")
        return {entry[4]: set(entry[0].split()) for entry in state[mailbox][2].values()}

    def change_locally(self):
        """Reads one message, deletes one, adds one, as a mail reader on the Maildir does."""
        local = self.local("INBOX")
        path = local["plain 0"][0]
        target = os.path.join(self.maildir, "INBOX", "cur", os.path.basename(path).split(":")[0])
        os.rename(path, target + ":2,S")
        path = local["plain 1"][0]
        target = os.path.join(self.maildir, "INBOX", "cur", os.path.basename(path).split(":")[0])
        os.rename(path, target + ":2,T")
        name = os.path.join(self.maildir, "INBOX", "cur", "1700000000.1_1.test:2,F")
        with open(name, "wb") as out:
            out.write(message("from the maildir").replace(b"\r\n", b"\n"))

    def test_mbsync_on_a_and_imapflow_on_b_end_up_with_the_same_mail(self):
        for number in range(4):
            self.a.deliver("alice", message("plain %d" % number))
            self.b.deliver("alice", message("flow %d" % number))
        self.nodes.wait_equal("alice")
        self.mbsync()
        self.assertEqual(len(self.local("INBOX")), 8)
        self.change_locally()
        flow = Flow(self.b)
        worker = flow.start("work")
        self.mbsync()
        flow.result(worker)
        self.nodes.wait_equal("alice")
        self.mbsync()
        inbox = self.remote()
        self.assertEqual(
            set(inbox), {"plain 0", "plain 2", "plain 3", "flow 2", "flow 3", "from the maildir"})
        self.assertIn("\\seen", inbox["plain 0"])
        self.assertIn("\\flagged", inbox["from the maildir"])
        self.assertEqual(inbox["flow 2"], {"\\flagged", "$flow"})
        self.assertEqual(set(self.remote("Flow")), {"flow 0", "appended by imapflow"})
        self.assertEqual(set(self.local("INBOX")), set(inbox))
        self.assertEqual(set(self.local("Flow")), {"flow 0", "appended by imapflow"})
        self.assertIn("F", self.local("INBOX")["flow 3"][1])

    def test_a_second_mbsync_finds_nothing_to_do(self):
        for number in range(30):
            self.a.deliver("alice", message("mail %d" % number))
        self.mbsync()
        before = chapar.snapshot(self.a, "alice")
        self.mbsync()
        self.assertEqual(chapar.snapshot(self.a, "alice"), before)
        self.assertEqual(len(self.local("INBOX")), 30)

    def test_imapflow_idling_on_b_hears_of_mail_delivered_to_a(self):
        self.a.deliver("alice", message("first"))
        self.nodes.wait_equal("alice")
        flow = Flow(self.b)
        waiting = flow.start("idle")
        self.assertEqual(waiting.stderr.readline(), "idling\n")
        wait_until(lambda: True, 1, "the client is in IDLE")
        self.a.deliver("alice", message("second"))
        self.assertEqual(flow.result(waiting), {"count": 2})
        listed = flow.run("list")
        self.assertEqual([mail["subject"] for mail in listed], ["first", "second"])
        self.assertEqual(listed[0]["type"], "text/plain")


if __name__ == "__main__":
    chapar.main()
