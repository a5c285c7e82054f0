"""A power cut, as far as one machine can show it: the store lies on a file system of its own whose
image is copied while the daemon is stopped in its tracks. What the kernel had not been told to
write is not in the copy (the journal commits by itself only after five minutes), so an
acknowledgement without fsync shows as a lost message.
"""

import os
import signal
import subprocess
import threading
import time
import unittest

import chapar_test as chapar
from chapar_test import message

IMAGE_MIB = 400
CUTS = 3
PIPELINED = 40  # messages whose flags are set by commands sent all at once


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class PowerCut(chapar.TestCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a file system")
        self.image = os.path.join(self.folder, "image")
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_MIB << 20)
        run("mkfs.ext4", "-q", "-F", self.image)
        self.mount_point = self.mount(self.image, "disk")

    def mount(self, image, name):
        point = os.path.join(self.folder, name)
        os.mkdir(point)
        done = subprocess.run(
            ["mount", "-o", "loop,commit=300", image, point],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", check=False,
        )
        if done.returncode != 0:
            raise unittest.SkipTest("no loop device here: " + done.stderr.strip()[:100])
        self.addCleanup(subprocess.run, ["umount", "-l", point], check=False)
        return point

    def deliver_for_ever(self, node, name, acknowledged, stop):
        count = 0
        try:
            with node.lmtp() as lmtp:
                while not stop.is_set():
                    count += 1
                    subject = "%s-%d" % (name, count)
                    data = message(subject, ("z" * 70 + "\r\n") * 40)
                    if lmtp.deliver(["alice"], data)[0].startswith(b"250"):
                        acknowledged.append(subject)
        except OSError:
            pass

    def count_for_ever(self, node, acknowledged, stop):
        """Counts in the flags of each message, in binary, with pipelined commands."""
        rounds = 0
        try:
            with node.imap("bob") as client:
                client.select()
                while not stop.is_set():
                    rounds += 1
                    flags = " ".join("b%d" % bit for bit in range(16) if rounds >> bit & 1)
                    first = client.tag_count + 1
                    client.tag_count += PIPELINED
                    client.socket.sendall(b"".join(
                        b"t%d STORE %d FLAGS.SILENT (%s)\r\n" % (first + i, i + 1, flags.encode())
                        for i in range(PIPELINED)
                    ))
                    for i in range(PIPELINED):
                        assert client.finish("t%d" % (first + i))[0] == "OK", client.untagged
                        acknowledged[i] = rounds
        except OSError:
            pass

    def check_counts(self, node, wanted):
        with node.imap("bob") as client:
            client.select()
            found = client.fetch("1:*", "FLAGS")
        for i, uid in enumerate(sorted(found)):
            flags = [flag for flag in found[uid]["FLAGS"] if flag.startswith("b")]
            count = sum(1 << int(flag[1:]) for flag in flags)
            self.assertGreaterEqual(count, wanted[i], "a change was acknowledged, but lost")

    def check_copy(self, number, wanted, counts):
        """The copied image must hold every message that was acknowledged before the cut."""
        copy = os.path.join(self.folder, "image%d" % number)
        node = self.node("copy%d" % number)
        point = self.mount(copy, "mounted%d" % number)
        node.store = os.path.join(point, "store")
        node.name = "a"
        node.write_config()
        self.verify_clean(node)
        node.start()
        state = chapar.snapshot(node, "alice")
        found = [entry[4] for entry in state["INBOX"][2].values()]
        self.assertEqual(sorted(set(wanted) - set(found)), [], "acknowledged, but lost")
        self.assertEqual(len(found), len(set(found)), "a message is there twice")
        self.check_counts(node, counts)
        node.stop()

    def test_acknowledged_mail_survives_a_power_cut(self):
        node = self.node()
        node.store = os.path.join(self.mount_point, "store")
        node.write_config()
        node.add_account("alice")
        node.add_account("bob")
        node.start()
        for i in range(PIPELINED):
            node.deliver("bob", message("counter %d" % i))
        acknowledged, counts, stop = [], [0] * PIPELINED, threading.Event()
        threads = [
            threading.Thread(target=self.deliver_for_ever, args=(node, name, acknowledged, stop))
            for name in ("x", "y", "z")
        ]
        threads.append(threading.Thread(target=self.count_for_ever, args=(node, counts, stop)))
        for thread in threads:
            thread.start()
        wanted, wanted_counts = [], []
        for number in range(CUTS):
            time.sleep(1.5)
            # What is in the list now was acknowledged before the copy begins.
            node.signal(signal.SIGSTOP)  # nothing more is written by the daemon
            time.sleep(0.1)
            wanted.append(list(acknowledged))
            wanted_counts.append(list(counts))
            run("cp", "--sparse=always", self.image, self.image + str(number))
            node.signal(signal.SIGCONT)
        stop.set()
        for thread in threads:
            thread.join(60)
        node.stop()
        for number in range(CUTS):
            self.assertTrue(wanted[number], "nothing was acknowledged before the cut")
            self.assertTrue(all(wanted_counts[number]), "no change was acknowledged before it")
            self.check_copy(number, wanted[number], wanted_counts[number])
        print("%s messages and %s rounds of changes acknowledged before the cuts" % (
            [len(list) for list in wanted], [min(list) for list in wanted_counts]))


if __name__ == "__main__":
    chapar.main()
