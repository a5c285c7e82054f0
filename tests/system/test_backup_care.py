"""A backup in the long run: prune, verify, damage, and a node that is lost."""

import json
import os
import random

import chapar_test as chapar
from chapar_test import message
from test_backup import BackupCase


class Care(BackupCase):
    def verify(self, check=True):
        status, text = self.a.tool("backup", "verify", self.target, "--json", check=False)
        # On damage the error goes to the same place, behind the JSON.
        report = json.loads(text[: text.rindex("}") + 1])
        if check:
            self.assertEqual((status, report["damage"]), (0, []))
        return status, report

    def prune(self, *options):
        return json.loads(self.a.tool("backup", "prune", self.target, "--json", *options)[1])

    def objects(self):
        return sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(self.target)
            for name in names
            if "/cache" not in folder and name != "lock"
        )

    def size(self):
        return sum(os.path.getsize(path) for path in self.objects())

    def big(self, subject):
        return message(subject, os.urandom(60000).hex() + "\r\n")


class Prune(Care):
    def test_what_no_kept_point_shows_goes_and_all_else_stays_as_it_was(self):
        self.start_with("alice", "bob")
        for number in range(12):
            self.a.deliver("alice", self.big("mail %d" % number))
        self.a.deliver("bob", self.big("to bob"))
        self.backup()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1:9 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.a.deliver("alice", message("kept"))
        self.backup()
        self.a.deliver("alice", message("newest"))
        self.backup()
        before = self.size()
        dry = self.prune("--keep", "yearly:1", "--dry-run")
        self.assertEqual((dry["points"], dry["removed-points"]), (3, 2))
        self.assertEqual((self.size(), len(self.times())), (before, 3))
        self.verify()
        done = self.prune("--keep", "1h")
        self.assertEqual((done["removed-points"], done["rewritten-packs"]), (0, 0))
        done = self.prune("--keep", "yearly:1")
        self.assertEqual((done["removed-points"], done["rewritten-packs"]), (2, 1))
        self.assertLess(self.size(), before / 2)
        self.verify()
        node = self.fresh("n")
        self.restore(node, "--exact")
        self.assertEqual(self.digests(node), self.digests(self.a))
        self.verify_clean(node)
        # It goes on from there: what was moved is found, also when it is moved again.
        self.assertEqual(self.backup()["changed"], 0)
        with self.a.imap("alice") as client:
            client.select()
            client.command("STORE 1:2 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.backup("--whole")
        self.prune("--keep", "yearly:1")
        self.verify()
        again = self.fresh("m")
        self.restore(again, "--exact")
        self.assertEqual(self.digests(again), self.digests(self.a))

    def test_a_source_that_lost_everything_takes_nothing_out(self):
        self.start_with("alice")
        for number in range(3):
            self.a.deliver("alice", message("mail %d" % number))
        before = chapar.snapshot(self.a, "alice")
        self.backup()
        at = self.times()[-1]
        self.next_second()
        self.a.tool("account", "delete", "alice")
        self.backup()
        # A new store under the same name: it knows no account at all.
        self.a.stop()
        os.rename(self.a.store, self.a.store + ".lost")
        self.a.start()
        self.assertEqual(self.backup()["absent"], 1)
        self.restore(self.a, "--at", at, "--exact")
        self.assertEqual(chapar.snapshot(self.a, "alice"), before)
        self.verify()


class Damage(Care):
    def test_a_byte_changed_anywhere_is_named(self):
        self.start_with("alice")
        for number in range(3):
            self.a.deliver("alice", message("mail %d" % number, "y" * 400 + "\r\n"))
        self.backup()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 +FLAGS (\\Seen)")
        self.backup()
        self.verify()
        chance = random.Random(7)
        for path in self.objects():
            with open(path, "rb") as whole:
                text = whole.read()
            places = {0, 9, len(text) - 1} | {chance.randrange(len(text)) for _ in range(3)}
            for at in sorted(places):
                with self.subTest(path=path, at=at):
                    self.write(path, text[:at] + bytes([text[at] ^ 0x41]) + text[at + 1 :])
                    self.assert_named(path)
            self.write(path, text[:-7])
            self.assert_named(path)
            os.remove(path)
            if "points/" not in path:
                self.assert_named(path)
            self.write(path, text)
        self.verify()

    def write(self, path, text):
        with open(path, "wb") as out:
            out.write(text)

    def assert_named(self, path):
        status, text = self.a.tool("backup", "verify", self.target, check=False)
        self.assertNotEqual(status, 0, text)
        name = os.path.relpath(path, self.target)
        if name != "chapar-backup":
            self.assertIn(name, text)

    def test_a_restore_leaves_out_what_is_damaged_and_says_so(self):
        self.start_with("alice")
        for number in range(4):
            self.a.deliver("alice", message("mail %d" % number, os.urandom(500).hex() + "\r\n"))
        self.backup()
        (pack,) = [path for path in self.objects() if "packs/" in path]
        with open(pack, "r+b") as out:
            out.seek(200)
            byte = out.read(1)
            out.seek(200)
            out.write(bytes([byte[0] ^ 1]))
        node = self.fresh("n")
        node.start()
        status, text = self.restore(node, check=False)
        self.assertEqual(status, 1, text)
        self.assertIn("3 messages", text)
        self.assertIn("1 messages left out", text)
        expected = [e for e in self.bodies(self.a, "alice") if e[5] != "mail 0"]
        self.assertEqual(self.bodies(node, "alice"), expected)
        out = os.path.join(self.folder, "out")
        status, text = self.restore(node, "--into", "maildir:" + out, check=False)
        self.assertEqual(status, 1, text)
        self.assertIn("3 messages", text)
        self.assertIn("1 messages left out", text)
        self.assertEqual(len(os.listdir(out + "/alice/cur") + os.listdir(out + "/alice/new")), 3)

    def test_a_message_damaged_at_the_node_keeps_no_other_from_being_backed_up(self):
        self.start_with("alice")
        for number in range(12):
            self.a.deliver("alice", message("mail %d" % number, os.urandom(1500).hex() + "\r\n"))
        path = self.a.segment_files()[0]
        with open(path, "r+b") as file:
            used = len(file.read().rstrip(b"\0"))
            # So much that one body at least is hit, and others are not.
            file.seek(used // 2)
            data = file.read(2000)
            file.seek(used // 2)
            file.write(bytes(byte ^ 0x5A for byte in data))
        status, text = self.backup(check=False)
        self.assertEqual(status, 1, text)
        self.assertRegex(text, "does not give [12] messages")
        report = self.verify()[1]
        self.assertEqual(report["messages"] + report["missing-messages"], 12)
        node = self.fresh("n")
        status, text = self.restore(node, check=False)
        self.assertIn("%d messages" % report["messages"], text)


class Drill(Care):
    """A node is destroyed, and rebuilt in three ways."""

    def test_from_the_backup_from_bundles_and_from_its_peer_it_is_the_same(self):
        pair = chapar.Pair(self.folder)
        self.addCleanup(pair.stop)
        self.a = pair.a
        pair.start("alice", "bob")
        for number in range(10):
            self.a.deliver("alice", message("mail %d" % number))
        self.bundle("one")
        self.backup()
        with pair.b.imap("alice") as client:
            client.command("CREATE Work")
            client.select()
            client.command("UID MOVE 1:3 Work")
            client.command("UID STORE 4 +FLAGS (\\Flagged)")
            client.command("UID STORE 5 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        pair.b.deliver("bob", message("to bob"))
        for user in ("alice", "bob"):
            pair.wait_equal(user)
        self.bundle("two", "--since", os.path.join(self.folder, "one"))
        self.backup()
        digests = self.digests(self.a)
        states = {user: chapar.snapshot(self.a, user) for user in ("alice", "bob")}
        pair.a.kill()
        os.rename(pair.a.store, pair.a.store + ".lost")

        of_backup = self.fresh("c")
        of_backup.start()
        self.restore(of_backup, "--exact")
        of_bundles = self.fresh("d")
        of_bundles.start()
        for name in ("one", "two"):
            of_bundles.tool("bundle", "apply", os.path.join(self.folder, name))
        pair.a.start()
        for user in ("alice", "bob"):
            pair.wait_equal(user)
        for node in (of_backup, of_bundles, pair.a):
            self.assertEqual(self.digests(node), digests)
            for user, expected in states.items():
                found = chapar.snapshot(node, user)
                self.assertEqual(found, expected, chapar.describe(found, expected))
            self.verify_clean(node)

    def bundle(self, name, *options):
        self.a.tool("bundle", "create", os.path.join(self.folder, name), *options)


# These are the tests of another file.
del BackupCase

if __name__ == "__main__":
    chapar.main()
