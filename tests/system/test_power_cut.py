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

    def check_copy(self, number, wanted):
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
        node.stop()

    def test_acknowledged_mail_survives_a_power_cut(self):
        node = self.node()
        node.store = os.path.join(self.mount_point, "store")
        node.write_config()
        node.add_account("alice")
        node.start()
        acknowledged, stop = [], threading.Event()
        threads = [
            threading.Thread(target=self.deliver_for_ever, args=(node, name, acknowledged, stop))
            for name in ("x", "y", "z")
        ]
        for thread in threads:
            thread.start()
        wanted = []
        for number in range(CUTS):
            time.sleep(1.5)
            # What is in the list now was acknowledged before the copy begins.
            node.signal(signal.SIGSTOP)  # nothing more is written by the daemon
            time.sleep(0.1)
            wanted.append(list(acknowledged))
            run("cp", "--sparse=always", self.image, self.image + str(number))
            node.signal(signal.SIGCONT)
        stop.set()
        for thread in threads:
            thread.join(60)
        node.stop()
        for number in range(CUTS):
            self.assertTrue(wanted[number], "nothing was acknowledged before the cut")
            self.check_copy(number, wanted[number])
        print("%s messages acknowledged before the cuts" % [len(list) for list in wanted])


if __name__ == "__main__":
    chapar.main()
