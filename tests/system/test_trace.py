"""`chapar trace`: what passes between nodes can be read, and nothing of what the mail says."""

import os
import re
import signal
import subprocess
import threading
import time

import chapar_test as chapar
from chapar_test import message

SECRETS = ["hush-subject", "hush-body", "hush-name", "hush-mailbox", "hush-keyword", "hush-value",
           "hush-password", chapar.PASSWORD, chapar.SYNC_PASSWORD]


class Reader:
    """A running `chapar trace`."""

    def __init__(self, node, *arguments):
        self.lines = []
        self.process = subprocess.Popen(
            [chapar.CHAPAR, "-c", node.config_file, "trace", *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8")
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self, pattern, what):
        chapar.wait_until(lambda: any(re.search(pattern, line) for line in list(self.lines)),
                          chapar.SYNC_SECONDS, what)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


class Trace(chapar.TestCase):
    def reader(self, node, *arguments):
        reader = Reader(node, *arguments)
        self.addCleanup(reader.end)
        # It is there once it tells something.
        time.sleep(1)
        return reader

    def test_a_session_is_read_without_what_the_mail_says(self):
        nodes = self.pair()
        nodes.start("anna", "bert")
        nodes.wait_equal("anna")
        here, there = self.reader(nodes.a), self.reader(nodes.b, "anna")
        with nodes.a.imap("anna") as client:
            client.command("CREATE hush-mailbox")
            client.append("hush-mailbox", message("hush-subject", "hush-body\r\n"), "hush-keyword")
            client.command('SETMETADATA hush-mailbox (/private/comment "hush-value")')
        nodes.a.tool("account", "passwd", "anna", "--password-file", "-",
                     text_input="hush-password\n")
        nodes.a.deliver("bert", message("hush-subject", "hush-body\r\n"))
        # The channel's side and the side that is logged in to: both directions.
        here.wait(r" b 127\.\S+:\d+ > APPLY ACCOUNT=anna EXPECT=\d+ .*MESSAGES=\(1\)<=\d+ .*\d+ bytes",
                  "the request that goes out")
        here.wait(r" b \S+ < APPLIED SEQUENCE=\d+ \d+ bytes \d+\.\d+ ms", "its answer")
        here.wait(r"APPLY ACCOUNT=bert", "the other account")
        there.wait(r" a 127\.\S+:\d+ < APPLY ACCOUNT=anna EXPECT=\d+ ", "the request that comes in")
        there.wait(r" a \S+ > APPLIED SEQUENCE=\d+ \d+ bytes \d+\.\d+ ms", "the answer to it")
        self.assertNotIn("bert", "\n".join(there.lines))
        for line in here.lines + there.lines:
            self.assertRegex(line, r"^\d\d:\d\d:\d\d\.\d{3} \S+ \S+ [<>] [A-Z]+ ")
            for secret in SECRETS:
                self.assertNotIn(secret, line)

    def test_a_reader_that_stops_holds_nobody_up(self):
        node = self.node()
        node.start()
        node.add_account("anna")
        reader = self.reader(node, "anna")
        with node.imap("anna") as client:
            client.command("SYNC HELLO %(NODE 00000000000000aa VERSION 1)")
            reader.wait("< HELLO .*NODE=00000000000000aa", "the first line")
            os.kill(reader.process.pid, signal.SIGSTOP)
            count = 20000
            begin = time.monotonic()
            for number in range(0, count, 500):
                tags = [client.send("SYNC POINTS %(ACCOUNTS (anna))") for _ in range(500)]
                for tag in tags:
                    self.assertEqual(client.finish(tag)[0], "OK", number)
            seconds = time.monotonic() - begin
            os.kill(reader.process.pid, signal.SIGCONT)
            reader.wait(r"^\d+ lines are lost: this reader is too slow$", "what was lost")
            self.assertLess(seconds, 200)
        self.assertLess(len(reader.lines), 2 * count)

    def test_there_is_nothing_to_read_without_a_daemon(self):
        node = self.node()
        node.write_config()
        status, text = node.tool("trace", check=False)
        self.assertNotEqual(status, 0)
        self.assertIn("no daemon runs", text)


if __name__ == "__main__":
    chapar.main()
