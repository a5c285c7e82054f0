"""A full disk: refused with the right words, nothing broken, and well again when there is room."""

import os
import subprocess
import unittest

import chapar_test as chapar
from chapar_test import message, wait_until

DISK_MIB = 96
BODY = ("f" * 72 + "\r\n") * 3500  # about 256 KB, which hardly compresses in hex


class DiskFull(chapar.TestCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount a file system")
        disk = os.path.join(self.folder, "disk")
        os.mkdir(disk)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=%dm" % DISK_MIB, "chapar-test", disk],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", check=False,
        )
        if done.returncode != 0:
            raise unittest.SkipTest("no tmpfs here: " + done.stderr.strip()[:100])
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        self.disk = disk
        self.filler = os.path.join(disk, "filler")

    def fill(self, free_mib):
        """Takes up all room of the disk but so much."""
        room = os.statvfs(self.disk)
        size = room.f_bavail * room.f_frsize - (free_mib << 20)
        with open(self.filler, "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, max(size, 1))

    def big_message(self, subject):
        return message(subject, "\r\n".join(os.urandom(36).hex() for _ in range(3500)) + "\r\n")

    def test_a_full_disk_refuses_mail_and_takes_it_again_later(self):
        node = self.node()
        node.store = os.path.join(self.disk, "store")
        node.write_config()
        node.add_account("alice")
        node.start()
        node.deliver("alice", message("before"))
        self.fill(free_mib=4)
        kept, refusals = ["before"], []
        with node.lmtp() as lmtp:
            for number in range(200):
                subject = "mail %d" % number
                reply = lmtp.deliver(["alice"], self.big_message(subject))[0]
                if reply.startswith(b"250"):
                    kept.append(subject)
                    continue
                refusals.append(reply)
                if len(refusals) == 3:
                    break
        self.assertEqual(len(refusals), 3, "the disk never filled")
        for reply in refusals:
            self.assertRegex(reply, rb"^4\d\d 4\.", "a full disk is a passing trouble")
        with node.imap("alice") as client:
            status, text = client.try_command('APPEND "INBOX"', self.big_message("by append"))
            self.assertEqual(status, "NO", text)
            self.assertRegex(text, r"^\[UNAVAILABLE\]")
        self.wait_for(node, kept)
        os.unlink(self.filler)
        node.deliver("alice", self.big_message("after"))
        kept.append("after")
        self.wait_for(node, kept)
        node.restart()
        self.assertEqual(self.subjects(node), sorted(kept), "after a restart")
        self.verify_clean(node)

    def wait_for(self, node, kept):
        """Other sessions see what was delivered some milliseconds later."""
        wait_until(lambda: self.subjects(node) == sorted(kept), 20, "all mail that was taken")

    def subjects(self, node):
        with node.imap("alice") as client:
            client.select()
            found = client.fetch("1:*", "UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
        fields = [next(v for k, v in items.items() if k.startswith("BODY[")) for items in found.values()]
        return sorted(field.strip().partition(b": ")[2].decode() for field in fields)


if __name__ == "__main__":
    chapar.main()
