"""Backup and restore on real nodes: what was there at a time comes back, whatever became of it."""

import fcntl
import json
import os
import re
import signal
import subprocess
import tempfile
import time

import chapar_test as chapar
from chapar_test import message


class BackupCase(chapar.TestCase):
    options = ()

    def setUp(self):
        super().setUp()
        self.a = self.node("a")
        self.a.write_config()
        # What the commands name, and where its files are.
        self.target = self.place = os.path.join(self.folder, "backup")

    def backup(self, *options, node=None, check=True):
        """Backs up the node; returns what the tool says as JSON."""
        status, text = (node or self.a).tool(
            "backup", self.target, "--json", *self.options, *options, check=check
        )
        return json.loads(text) if check else (status, text)

    def restore(self, node, *arguments, check=True):
        return node.tool("restore", self.target, *arguments, *self.options, check=check)

    def listed(self, *arguments):
        return json.loads(
            self.a.tool("backup", "list", self.target, "--json", *arguments, *self.options)[1]
        )

    def times(self):
        """When the points were made, as --at takes it: to the second, so tests wait between them."""
        return [entry["made"] for entry in self.listed()]

    def next_second(self):
        time.sleep(1.1)

    def digests(self, node):
        _, text = node.tool("account", "list", "--json")
        return {entry["name"]: entry["digest"] for entry in json.loads(text)}

    def fresh(self, name):
        node = self.node(name)
        node.write_config()
        return node

    def start_with(self, *users):
        for user in users:
            self.a.add_account(user)
        self.a.start()

    def bodies(self, node, user):
        """(mailbox, flags, date, size, digest, subject) of all messages, without their UIDs."""
        state = chapar.snapshot(node, user)
        return sorted(
            (mailbox,) + entry
            for mailbox in state
            if mailbox
            for entry in state[mailbox][2].values()
        )


class Backup(BackupCase):
    def test_the_state_at_each_point_comes_back_on_a_fresh_node(self):
        self.start_with("alice", "bob")
        for number in range(5):
            self.a.deliver("alice", message("mail %d" % number, "x" * 300 * number + "\r\n"))
        self.a.deliver("bob", message("to bob"))
        with self.a.imap("alice") as client:
            client.command("CREATE Work")
            client.command("CREATE Old")
            client.select()
            client.command('UID STORE 1 +FLAGS (\\Seen $Later)')
            client.command("UID COPY 2 Old")
        first = self.backup()
        self.assertEqual((first["seen"], first["changed"], first["failed"]), (2, 2, 0))
        self.assertEqual(first["messages"], 6)
        states = [{user: chapar.snapshot(self.a, user) for user in ("alice", "bob")}]
        digests = [self.digests(self.a)]
        self.next_second()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 -FLAGS (\\Seen)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
            client.command("UID MOVE 3 Work")
            client.command("DELETE Old")
        self.a.deliver("alice", message("later"))
        second = self.backup()
        self.assertEqual((second["changed"], second["messages"]), (1, 1))
        states.append({user: chapar.snapshot(self.a, user) for user in ("alice", "bob")})
        digests.append(self.digests(self.a))
        self.next_second()
        self.a.tool("account", "delete", "alice")
        with self.a.imap("bob") as client:
            client.select()
            client.command("UID STORE 1 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.backup()
        times = self.times()
        self.assertEqual(len(times), 3)
        for at, state, digest in zip(times, states, digests):
            node = self.fresh("n" + str(times.index(at)))
            node.start()
            self.restore(node, "--at", at, "--exact")
            self.assertEqual(self.digests(node), digest)
            for user, expected in state.items():
                found = chapar.snapshot(node, user)
                self.assertEqual(found, expected, chapar.describe(found, expected))
            self.verify_clean(node)

    def test_nothing_new_makes_no_point_and_asks_once_for_all_accounts(self):
        self.a.start()
        with self.a.lmtp() as client:
            for begin in range(0, 1100, 100):
                users = ["u%d" % number for number in range(begin, begin + 100)]
                client.deliver(users, message("to all", "x" * 5000 + "\r\n"))
        first = self.backup()
        # Of each delivery one message is kept, however many have it.
        self.assertEqual((first["changed"], first["messages"]), (1100, 11))
        files = sorted(os.listdir(self.place + "/points"))
        again = self.backup()
        self.assertEqual((again["seen"], again["changed"], again["point"]), (1100, 0, ""))
        self.assertEqual(again["requests"], 1)
        self.assertEqual(sorted(os.listdir(self.place + "/points")), files)

    def test_what_is_missing_comes_back_into_the_account_that_lives(self):
        self.start_with("alice")
        for number in range(4):
            self.a.deliver("alice", message("mail %d" % number))
        with self.a.imap("alice") as client:
            client.command("CREATE Work/2026")
            client.command('SETMETADATA Work/2026 (/shared/comment "plans")')
            client.command("SETACL Work/2026 bob lr")
            client.select()
            client.command("UID STORE 1:2 +FLAGS (\\Flagged \\Seen)")
            client.command("UID MOVE 4 Work/2026")
        before = self.bodies(self.a, "alice")
        self.backup()
        at = self.times()[-1]
        self.next_second()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1,3 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
            client.command("UID STORE 2 -FLAGS (\\Seen)")
            client.command("DELETE Work/2026")
            client.command("DELETE Work")
        self.a.deliver("alice", message("new"))
        self.backup()
        lived = chapar.snapshot(self.a, "alice")["INBOX"]
        self.assertIn("3 messages", self.restore(self.a, "alice", "--at", at)[1])
        after = chapar.snapshot(self.a, "alice")
        self.assertEqual(after["INBOX"][0], lived[0])
        for uid, entry in lived[2].items():
            self.assertEqual(after["INBOX"][2][uid], entry)
        for uid in set(after["INBOX"][2]) - set(lived[2]):
            self.assertGreaterEqual(uid, lived[1])
        # What stayed is as it was left; what went is as it was.
        expected = [e for e in before if e[5] != "mail 1"]
        restored = [e for e in self.bodies(self.a, "alice") if e[5] not in ("mail 1", "new")]
        self.assertEqual(restored, expected)
        with self.a.imap("alice") as client:
            client.command("GETMETADATA Work/2026 /shared/comment")
            self.assertIn(b"plans", b"".join(client.untagged))
            client.command("GETACL Work/2026")
            self.assertIn(b"bob lr", b"".join(client.untagged))
        digests = self.digests(self.a)
        self.assertIn("0 messages", self.restore(self.a, "alice", "--at", at)[1])
        self.assertEqual(self.digests(self.a), digests)
        self.verify_clean(self.a)
        # Deleted once more, it comes once more.
        with self.a.imap("alice") as client:
            client.select()
            client.command("STORE 1:* +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.assertIn("3 messages", self.restore(self.a, "alice", "--at", at, "--mailbox", "INBOX")[1])
        self.assertEqual([e[5] for e in self.bodies(self.a, "alice") if e[0] == "INBOX"].count("mail 0"), 1)

    def test_a_mailbox_or_a_message_to_another_mailbox_account_or_node(self):
        self.start_with("alice")
        for number in range(3):
            self.a.deliver("alice", message("mail %d" % number))
        with self.a.imap("alice") as client:
            client.command("CREATE Work")
            client.select()
            client.command("UID MOVE 2 Work")
        self.backup()
        self.assertEqual(
            {e["mailbox"]: e["messages"] for e in self.listed("--account", "alice")},
            {"INBOX": 2, "Work": 1},
        )
        entry = self.listed("--account", "alice", "--mailbox", "Work")[0]
        self.a.tool("account", "add", "carol", "--password-file", "-", text_input="secret secret\n")
        self.restore(self.a, "alice", "--as", "carol", "--message", entry["id"], "--to", "Found/Here")
        self.assertEqual(
            [(e[0], e[5]) for e in self.bodies_of(self.a, "carol")],
            [("Found/Here", "mail 1")],
        )
        status, text = self.restore(self.a, "alice", "--mailbox", "Nowhere", check=False)
        self.assertIn("no mailbox Nowhere", text)
        self.assertNotEqual(status, 0)
        status, text = self.restore(self.a, "nobody", check=False)
        self.assertIn("no account nobody", text)

    def bodies_of(self, node, user):
        node.tool("account", "passwd", user, "--password-file", "-", text_input=chapar.PASSWORD + "\n")
        return self.bodies(node, user)

    def test_a_message_that_came_and_went_between_two_points_is_kept(self):
        self.start_with("alice")
        self.a.deliver("alice", message("stays"))
        self.backup()
        self.a.deliver("alice", message("brief"))
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.assertEqual(self.backup()["messages"], 1)
        self.restore(self.a, "alice", "--expunged")
        self.assertEqual(sorted(e[5] for e in self.bodies(self.a, "alice")), ["brief", "stays"])

    def tree(self, folder):
        """Every file below the folder, by its name, with its bytes; of what the next export of mbox
        files goes by, the names."""
        found = {}
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                with open(path, "rb") as file:
                    text = file.read()
                if name == "chapar-export":
                    text = b"".join(line.split(b" ")[-1] for line in text.splitlines(True))
                found[os.path.relpath(path, folder)] = text
        return found

    def exported(self, place, user="alice"):
        """What an export of the account that lives writes now."""
        out = tempfile.mkdtemp(dir=self.folder)
        self.a.tool("export", user, place % out)
        return self.tree(out)

    def fill(self):
        self.start_with("alice", "bob")
        for number in range(4):
            self.a.deliver("alice", message("mail %d" % number, "From here\r\n" * 40 * number))
        self.a.deliver("bob", message("to bob"))
        with self.a.imap("alice") as client:
            client.command("CREATE Work/2026")
            client.command("CREATE Empty")
            client.command("SUBSCRIBE Work/2026")
            client.select()
            client.command("UID STORE 1 +FLAGS (\\Seen $Later)")
            client.command("UID STORE 2 +FLAGS (\\Flagged \\Answered)")
            client.command("UID MOVE 3 Work/2026")

    def change(self):
        self.next_second()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 -FLAGS (\\Seen)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
            client.command("DELETE Work/2026")
        self.a.deliver("alice", message("later"))
        self.a.tool("account", "delete", "bob")
        self.backup()

    PLACES = ("maildir:%s", "maildir:%s:LAYOUT=fs", "mbox:%s")

    def test_restored_into_files_it_is_what_an_export_would_have_written_then(self):
        self.fill()
        self.backup()
        at = self.times()[-1]
        then = {place: self.exported(place) for place in self.PLACES}
        of_bob = self.exported("maildir:%s", "bob")
        self.assertEqual(then["maildir:%s"][".Work.2026/maildirfolder"], b"")
        self.change()
        for number, place in enumerate(self.PLACES):
            out = os.path.join(self.folder, "out%d" % number)
            _, text = self.restore(self.a, "alice", "--at", at, "--into", place % out, "--json")
            (told,) = json.loads(text)
            self.assertEqual(
                (told["account"], told["messages"], told["mailboxes"], told["error"], told["folder"]),
                ("alice", 4, len(self.listed("--account", "alice", "--at", at)), "", out),
            )
            self.assertEqual(self.tree(out), then[place])
        # All accounts, each below.
        out = os.path.join(self.folder, "all")
        _, text = self.restore(self.a, "--at", at, "--into", "maildir:" + out)
        self.assertIn("alice: 4 messages", text)
        self.assertIn("bob: 1 messages", text)
        self.assertEqual(sorted(os.listdir(out)), ["alice", "bob"])
        self.assertEqual(self.tree(out + "/alice"), then["maildir:%s"])
        self.assertEqual(self.tree(out + "/bob"), of_bob)
        # One that was deleted then is none, unless it is asked for.
        out = os.path.join(self.folder, "last")
        _, text = self.restore(self.a, "--into", "mbox:" + out)
        self.assertEqual(os.listdir(out), ["alice"])
        self.assertEqual(self.tree(out + "/alice"), self.exported("mbox:%s"))
        status, text = self.restore(
            self.a, "alice", "bob", "--into", "mbox:" + out + "2", "--json", check=False
        )
        self.assertEqual(status, 67, text)
        self.assertIn("was deleted then", text)
        self.assertEqual(os.listdir(out + "2"), ["alice"])
        self.assert_nothing_left()

    def assert_nothing_left(self):
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith(".chapar")], [])

    def test_one_mailbox_restored_into_files_is_as_it_was(self):
        self.fill()
        self.backup()
        at = self.times()[-1]
        then = self.exported("maildir:%s")
        self.change()
        out = os.path.join(self.folder, "out")
        self.restore(
            self.a, "alice", "--at", at, "--mailbox", "Work/2026", "--into", "maildir:" + out
        )
        found = self.tree(out)
        self.assertEqual(found.pop("chapar-export"), b".Work.2026\n")
        self.assertEqual(found.pop("subscriptions"), then["subscriptions"])
        self.assertEqual(found, {n: t for n, t in then.items() if n.startswith(".Work.2026/")})
        status, text = self.restore(
            self.a, "alice", "--mailbox", "Work/2026", "--into", "maildir:" + out + "2", check=False
        )
        self.assertEqual(status, 67, text)
        self.assertIn("no mailbox Work/2026", text)
        self.assertFalse(os.path.exists(out + "2"))
        self.assert_nothing_left()

    def test_one_message_restored_into_a_file(self):
        self.fill()
        self.backup()
        at = self.times()[-1]
        with self.a.imap("alice") as client:
            client.select()
            body = client.fetch("2", "UID BODY.PEEK[]")[2]["BODY[]"]
        entry = [e for e in self.listed("--account", "alice", "--mailbox", "INBOX") if e["uid"] == 2][0]
        self.change()
        out = os.path.join(self.folder, "out")
        options = ("alice", "--message", entry["id"], "--into")
        _, text = self.restore(self.a, *options, "eml:" + out, "--at", at)
        self.assertIn("1 messages and 1 mailboxes", text)
        self.assertEqual(self.tree(out), {"INBOX/2.eml": body})
        status, text = self.restore(self.a, *options, "eml:" + out + "2", check=False)
        self.assertEqual((status, "in no mailbox" in text), (67, True), text)
        self.assert_nothing_left()

    def test_what_cannot_be_restored_into_files_is_said(self):
        self.start_with("alice")
        self.a.deliver("alice", message("one"))
        self.backup()
        out = os.path.join(self.folder, "out")
        for options, status, text in (
            (("--to", "Elsewhere"), 65, "are for a node, not for files"),
            (("--as", "carol"), 65, "are for a node, not for files"),
            (("--expunged",), 65, "are for a node, not for files"),
            (("--exact",), 65, "are for a node, not for files"),
            (("--no-tls",), 65, "are for a node, not for files"),
            (("--into", "maildir:"), 65, "names no folder"),
            (("--into", "mbox:" + out + "/not/there"), 67, out),
        ):
            found = self.restore(
                self.a, "alice", "--into", "maildir:" + out, *options, check=False
            )
            self.assertEqual((found[0], text in found[1]), (status, True), (options, found))
            self.assertFalse(os.path.exists(out))
        os.makedirs(out + "/cur")
        status, text = self.restore(self.a, "alice", "--into", "maildir:" + out, check=False)
        self.assertEqual(status, 73, text)
        self.assertIn("not empty", text)
        self.assertEqual(self.tree(self.folder + "/out"), {})
        self.assert_nothing_left()

    def test_another_machine_takes_the_backup_as_a_sync_user_that_may_only_read(self):
        self.a.extra = 'sync-user "backup" { password-file = "%s" read-only = true }' % (
            self.a.password_file()
        )
        self.a.write_config()
        self.start_with("alice", "bob")
        self.a.deliver("alice", message("one"))
        url = "imap://backup@%s:%d/" % (self.a.address, self.a.imap_port)
        text = self.remote("--from", url)
        self.assertIn("2 of 2 accounts changed", text)
        self.assertIn("nothing new in 2 accounts", self.remote("--from", url))
        # Into a node elsewhere, too; not with a login that may only read.
        status, text = self.a.tool(
            "restore", self.target, "--into", url, "--no-tls", "--password-file",
            self.a.password_file(), check=False,
        )
        self.assertNotEqual(status, 0)
        b = self.fresh("b")
        b.extra = 'sync-user "restorer" { password-file = "%s" }' % b.password_file()
        b.write_config()
        b.start()
        b.tool(
            "restore", self.target, "--into", "imap://restorer@%s:%d/" % (b.address, b.imap_port),
            "--exact", "--no-tls", "--password-file", b.password_file(), *self.options,
        )
        self.assertEqual(self.digests(b), self.digests(self.a))

    def remote(self, *options):
        return subprocess.run(
            [chapar.CHAPAR, "backup", self.target, "--no-tls", "--password-file",
             self.a.password_file(), *options],
            capture_output=True, encoding="utf-8", check=True, timeout=60,
        ).stdout

    def test_while_the_daemon_is_stopped_and_from_another_node_that_holds_the_same(self):
        pair = chapar.Pair(self.folder)
        self.addCleanup(pair.stop)
        self.a = pair.a
        pair.start("alice")
        self.a.deliver("alice", message("one"))
        pair.wait_equal("alice")
        self.backup()
        again = self.backup(node=pair.b)
        self.assertEqual((again["changed"], again["messages"]), (0, 0))
        pair.b.deliver("alice", message("two"))
        self.assertEqual(self.backup(node=pair.b)["messages"], 1)
        pair.wait_equal("alice")
        pair.stop()
        self.assertEqual(self.backup(node=pair.a)["messages"], 0)


class Clients(BackupCase):
    """What those see who knew the account before it was lost."""

    def test_no_uid_comes_to_mean_another_message_and_what_went_back_is_told(self):
        self.start_with("alice")
        for number in range(3):
            self.a.deliver("alice", message("mail %d" % number))
        self.backup()
        for number in range(3, 6):
            self.a.deliver("alice", message("mail %d" % number))
        with self.a.imap("alice") as client:
            client.command("ENABLE QRESYNC")
            client.select()
            client.command("UID STORE 2 +FLAGS (\\Flagged)")
            client.command("UID STORE 3 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 3")
            text = b"\n".join(self.untagged(client, "STATUS INBOX (UIDVALIDITY HIGHESTMODSEQ)"))
            known = [int(re.search(name + rb" (\d+)", text)[1])
                     for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]
        self.a.kill()
        node = self.fresh("n")
        node.start()
        self.assertIn("it is as it was", self.restore(node)[1])
        node.deliver("alice", message("new"))
        with node.imap("alice") as client:
            client.command("ENABLE QRESYNC")
            lines = self.untagged(client, "SELECT INBOX (QRESYNC (%d %d))" % tuple(known))
        told = {
            int(re.search(rb"UID (\d+)", line)[1]): b"\\Flagged" in line
            for line in lines if b" FETCH " in line
        }
        # All that are there are told, with the flags that they have now; 3 is back.
        new = max(told)
        self.assertEqual({uid: told[uid] for uid in told if uid != new},
                         {1: False, 2: False, 3: False})
        self.assertGreater(new, 1000)
        (vanished,) = [line for line in lines if line.startswith(b"* VANISHED (EARLIER) ")]
        self.assertEqual(vanished.split()[-1], b"4:%d" % (new - 1))
        self.verify_clean(node)

    def untagged(self, client, command):
        client.command(command)
        return list(client.untagged)


class Killed(BackupCase):
    def test_a_backup_killed_at_any_moment_leaves_the_last_point_and_goes_on(self):
        self.start_with("alice")
        with self.a.imap("alice") as client:
            client.select()
            for number in range(40):
                client.append("INBOX", message("mail %d" % number, os.urandom(150000).hex() + "\r\n"))
        at = []
        for delay in (0.05, 0.2, 0.4, 0.8, 1.5):
            with subprocess.Popen(
                [chapar.CHAPAR, "-c", self.a.config_file, "backup", self.target],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ) as process:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
            at.append(len(os.listdir(self.target + "/points")) if os.path.isdir(self.target + "/points") else 0)
        self.backup()
        node = self.fresh("n")
        self.restore(node, "--exact")
        self.assertEqual(self.digests(node), self.digests(self.a))
        self.verify_clean(node)
        self.assertFalse([n for _, _, names in os.walk(self.target) for n in names if n.endswith(".part")])

    def test_a_restore_into_files_killed_at_any_moment_leaves_no_mail_but_where_it_goes(self):
        self.start_with("alice")
        with self.a.imap("alice") as client:
            client.select()
            for number in range(40):
                client.append("INBOX", message("mail %d" % number, os.urandom(150000).hex() + "\r\n"))
        self.backup()
        met = 0
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)):
            place = os.path.join(self.folder, "killed%d" % number)
            os.mkdir(place)
            with subprocess.Popen(
                [chapar.CHAPAR, "restore", self.target, "alice", "--into", "mbox:%s/out" % place],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ) as process:
                chapar.wait_until(lambda: self.private(place) or process.poll() is not None, 30, "it began")
                met += len(self.private(place))
                process.send_signal(how)
            chapar.wait_until(lambda: not self.private(place), 30, "the private folder is gone")
            self.assertLessEqual(set(os.listdir(place)), {"out"})
        self.assertGreater(met, 0)

    def private(self, place):
        return [name for name in os.listdir(place) if name != "out"]


class Locked(BackupCase):
    def test_two_backups_into_one_target_are_locked_out(self):
        self.start_with("alice")
        self.a.deliver("alice", message("one"))
        self.backup()
        with open(self.target + "/lock", "r+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            status, text = self.backup(check=False)
            self.assertEqual(status, 69, text)
            self.assertIn("is being written by process", text)
        self.backup()


class EncryptedBackup(Backup):
    def setUp(self):
        super().setUp()
        key = os.path.join(self.folder, "key")
        with open(key, "wb") as out:
            out.write(os.urandom(32))
        self.options = ("--key-file", key)

    def remote(self, *options):
        return super().remote(*self.options, *options)

    def test_another_machine_takes_the_backup_as_a_sync_user_that_may_only_read(self):
        self.start_with("alice")
        self.a.deliver("alice", message("sesame sesame sesame"))
        self.backup()
        for folder, _, names in os.walk(self.target):
            for name in names:
                with open(os.path.join(folder, name), "rb") as found:
                    text = found.read()
                if "cache" not in folder:
                    self.assertNotIn(b"alice", text)
                    self.assertNotIn(b"sesame", text)
        other = os.path.join(self.folder, "other")
        with open(other, "wb") as out:
            out.write(os.urandom(32))
        status, text = self.a.tool("backup", "list", self.target, "--key-file", other, check=False)
        self.assertIn("not the one", text)
        self.assertEqual(status, 77, text)


if __name__ == "__main__":
    chapar.main()
