"""Backups that another node keeps: all that a folder can, and who adds to one cannot destroy it."""

import json
import os
import random
import signal
import subprocess
import time

import chapar_test as chapar
from chapar_test import message
from test_backup import Backup, BackupCase


class NodeCase(BackupCase):
    """Node k keeps the backups of node a."""

    def setUp(self):
        super().setUp()
        self.k = self.node("k")
        self.place = os.path.join(self.folder, "kept")
        self.k.extra = "".join(
            'sync-user "%s" { password-file = "%s" backup-folder = "%s" backup-prune = %s }\n'
            % (name, self.k.password_file(), self.place, may_prune)
            for name, may_prune in (("keep-a", "false"), ("prune-a", "true"))
        )
        self.k.start()
        self.target = self.url("keep-a")
        self.options = ("--target-no-tls", "--target-password-file", self.k.password_file())
        self.set_variable("XDG_CACHE_HOME", os.path.join(self.folder, "caches"))

    def url(self, user, port=None):
        return "imap://%s@%s:%d/" % (user, self.k.address, port or self.k.imap_port)

    def set_variable(self, name, value):
        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(
            lambda: os.environ.pop(name) if before is None else os.environ.update({name: before})
        )

    def care(self, command, *arguments, target=None, check=True):
        status, text = self.a.tool(
            "backup", command, target or self.target, *arguments, *self.options, check=check
        )
        return status, text

    def big(self, subject):
        return message(subject, os.urandom(60000).hex() + "\r\n")


class KeptByANode(NodeCase, Backup):
    """All that is shown with a folder."""

    def remote(self, *options):
        return super().remote(*self.options, *options)


class Keeper(NodeCase):
    def test_prune_needs_its_own_right_and_both_can_be_done_at_the_keeper(self):
        self.start_with("alice")
        for number in range(12):
            self.a.deliver("alice", self.big("mail %d" % number))
        self.backup()
        with self.a.imap("alice") as client:
            client.select()
            client.command("UID STORE 1:9 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.backup()
        self.a.deliver("alice", message("newest"))
        self.backup()
        before = self.files()
        status, text = self.care("prune", "--keep", "yearly:1", check=False)
        self.assertEqual(status, 77, text)
        self.assertIn("backup-prune", text)
        self.assertEqual(self.files(), before)
        _, text = self.care("prune", "--keep", "yearly:1", "--json", target=self.url("prune-a"))
        done = json.loads(text)
        self.assertEqual((done["removed-points"], done["rewritten-packs"]), (2, 1))
        self.assertIn("undamaged", self.care("verify")[1])
        # It is a backup in a folder, too.
        self.assertIn("undamaged", self.a.tool("backup", "verify", self.place)[1])
        node = self.fresh("n")
        self.restore(node, "--exact")
        self.assertEqual(self.digests(node), self.digests(self.a))
        self.verify_clean(node)
        self.assertEqual(self.backup()["changed"], 0)

    def files(self):
        return sorted(
            os.path.join(folder, name) for folder, _, names in os.walk(self.place) for name in names
        )

    def test_two_at_once_are_locked_out_and_a_killed_one_is_not_waited_for(self):
        self.start_with("alice")
        self.a.deliver("alice", message("one"))
        self.backup()
        with self.k.imap() as client:
            client.command("LOGIN keep-a %s" % chapar.SYNC_PASSWORD)
            self.sync(client, "HELLO %(NODE 00000000000000aa VERSION 1)")
            self.sync(client, 'OBJECTLOCK %(WHO "process 7 on elsewhere")')
            status, text = self.backup(check=False)
            self.assertEqual(status, 69, text)
            self.assertIn("is being written by process 7 on elsewhere", text)
            # Who only reads needs no lock.
            self.care("verify")
        self.backup()

    def sync(self, client, request):
        """The answer to a request, or the text of its refusal."""
        client.try_command("SYNC " + request)
        return next(line.decode() for line in client.untagged if line.startswith(b"* SYNC "))

    def test_a_backup_killed_on_either_side_at_any_moment_goes_on(self):
        self.start_with("alice")
        with self.a.imap("alice") as client:
            client.select()
            for number in range(40):
                client.append(
                    "INBOX", message("mail %d" % number, os.urandom(150000).hex() + "\r\n")
                )
        for delay in (0.1, 0.3, 0.6, 1.2):
            self.kill_after(delay, lambda process: process.send_signal(signal.SIGKILL))
            self.assert_points_whole()
        for delay in (0.3, 0.6, 1.2):
            self.kill_after(delay, lambda _: self.k.kill())
            self.k.start()
            self.assert_points_whole()
        self.backup()
        node = self.fresh("n")
        self.restore(node, "--exact")
        self.assertEqual(self.digests(node), self.digests(self.a))
        self.verify_clean(node)
        self.assertIn("undamaged", self.care("verify")[1])
        self.assertFalse([name for name in self.files() if name.endswith(".part")])

    def kill_after(self, delay, kill):
        with subprocess.Popen(
            [chapar.CHAPAR, "-c", self.a.config_file, "backup", self.target, *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(delay)
            kill(process)
            process.wait(60)

    def assert_points_whole(self):
        if os.path.isdir(self.place + "/points") and os.listdir(self.place + "/points"):
            self.assertIn("undamaged", self.care("verify")[1])

    def test_a_cut_line_ends_the_backup_with_its_reason_and_the_next_goes_on(self):
        self.start_with("alice")
        for number in range(6):
            self.a.deliver("alice", self.big("mail %d" % number))
        port = chapar.free_port_base(self.k.address) + 1
        wire = chapar.Wire(self.k.address, port, (self.k.address, self.k.imap_port))
        wire.heal()
        self.addCleanup(wire.cut)
        wire.cut_after(200000)
        self.target = self.url("keep-a", port)
        status, text = self.backup(check=False)
        self.assertIn(status, (69, 75), text)
        self.target = self.url("keep-a")
        self.assertEqual(self.backup()["messages"], 6)
        self.assertIn("undamaged", self.care("verify")[1])

    def test_damage_at_the_keeper_is_found_and_named(self):
        self.start_with("alice")
        for number in range(3):
            self.a.deliver("alice", self.big("mail %d" % number))
        self.backup()
        choose = random.Random(7)
        for path in [name for name in self.files() if not name.endswith("lock")]:
            text = self.read(path)
            for at in choose.sample(range(len(text)), 3):
                with open(path, "wb") as out:
                    out.write(text[:at] + bytes([text[at] ^ 0x55]) + text[at + 1:])
                status, told = self.care("verify", check=False)
                self.assertNotEqual(status, 0, (path, at))
                self.assertIn("damaged", told)
                self.assertIn(os.path.basename(path), told)
            with open(path, "wb") as out:
                out.write(text)
        self.assertIn("undamaged", self.care("verify")[1])

    def test_who_steals_the_password_destroys_nothing_and_sees_no_account(self):
        self.start_with("alice")
        self.k.add_account("bob")
        # Even if there is a user of the same name.
        self.k.add_account("keep-a", "another password")
        self.k.deliver("keep-a", message("of the user"))
        self.a.deliver("alice", self.big("one"))
        self.backup()
        before = {path: self.read(path) for path in self.files()}
        names = {
            os.path.relpath(path, self.place) for path in before if not path.endswith("lock")
        }
        pack = next(name for name in names if name.startswith("packs/"))
        with self.k.imap() as client:
            client.command("LOGIN keep-a %s" % chapar.SYNC_PASSWORD)
            self.assertIn("HELLO must come first", self.sync(client, "OBJECTLIST %(FOLDER packs)"))
            self.sync(client, "HELLO %(NODE 00000000000000aa VERSION 1)")
            self.assertIn("OBJECTLOCK must", self.put(client, "packs/" + "0" * 32, b"x"))
            self.assertIn("OBJECTLOCKED", self.sync(client, "OBJECTLOCK %(WHO thief)"))
            for name in names:
                self.assertIn("EXISTS", self.put(client, name, b"nothing"))
                self.assertIn("REFUSED", self.sync(client, "OBJECTREMOVE %%(NAME %s)" % name))
            # Where a pack's frames are is for who may prune to say.
            moved = "moved/" + pack.split("/")[1]
            self.assertIn("REFUSED", self.put(client, moved, b"nowhere"))
            # Pieces follow each other, or nothing comes of it.
            self.put(client, "packs/ab", b"one", last=False)
            self.assertIn("does not follow", self.put(client, "packs/ab", b"two", offset=4))
            # Accounts are none of his: neither by SYNC nor as a mail program.
            for request in ("POINTS %(CURSOR 0)", "CHANGES %(ACCOUNT bob SINCE 0)", "PUT %(BODIES ())",
                            "NOTIFY %(ALL 1)", "CHANGES %(ACCOUNT keep-a SINCE 0)", "NONSENSE %()"):
                self.assertIn("keeps a backup here, and nothing else", self.sync(client, request))
            status, _ = client.try_command("SELECT INBOX")
            self.assertNotEqual(status, "OK")
        for name in ("lock", "locks/1", "../x", "packs/../../x", "cache/x", "packs", "/etc/x",
                     "points/", "a" * 81, "packs/X", ""):
            self.assert_invalid(
                'OBJECTGET %%(NAME "%s" OFFSET 0 SIZE 1)' % name,
                'OBJECTREMOVE %%(NAME "%s")' % name,
                'OBJECTPUT %%(NAME "%s" OFFSET 0 LAST 1 DATA x)' % name,
            )
        self.assert_invalid(
            "OBJECTGET %(NAME chapar-backup OFFSET 0 SIZE 4194305)",
            "OBJECTGET %(NAME chapar-backup OFFSET 536870913 SIZE 1)",
            "OBJECTGET %(NAME chapar-backup OFFSET 0 SIZE 0)",
            "OBJECTGET %(NAME chapar-backup)",
        )
        self.assert_invalid(
            "OBJECTLIST %(FOLDER cache)", "OBJECTLIST %()", "OBJECTLOCK %()",
            "OBJECTPUT %(NAME packs/a OFFSET 0)", "OBJECTPUT %(NAME packs/a OFFSET 0 LAST 2 DATA x)",
        )
        self.backup()
        for path, text in before.items():
            if not path.endswith("lock"):
                self.assertEqual(self.read(path), text, path)
        self.assertEqual(set(self.files()), set(before))

    def assert_invalid(self, *requests):
        """Each is malformed; some such, and the server hangs up."""
        with self.k.imap() as client:
            client.command("LOGIN keep-a %s" % chapar.SYNC_PASSWORD)
            self.sync(client, "HELLO %(NODE 00000000000000aa VERSION 1)")
            for request in requests:
                self.assertIn("INVALID", self.sync(client, request), request)

    def read(self, path):
        with open(path, "rb") as found:
            return found.read()

    def put(self, client, name, data, offset=0, last=True):
        return self.sync(
            client,
            'OBJECTPUT %%(NAME "%s" OFFSET %d%s DATA "%s")'
            % (name, offset, " LAST 1" if last else "", data.decode()),
        )

    def test_what_is_wrong_with_the_login_is_said_and_no_password_is_in_the_url(self):
        self.start_with("alice")
        wrong = os.path.join(self.folder, "wrong")
        with open(wrong, "w", encoding="ascii") as out:
            out.write("not the password\n")
        os.chmod(wrong, 0o600)
        self.options = ("--target-no-tls", "--target-password-file", wrong)
        status, text = self.backup(check=False)
        self.assertEqual(status, 77, text)
        self.target = "imap://keep-a:%s@%s:%d/" % (
            chapar.SYNC_PASSWORD, self.k.address, self.k.imap_port)
        status, text = self.backup(check=False)
        self.assertEqual(status, 65, text)
        self.options = ("--target-no-tls",)
        self.set_variable("CHAPAR_TARGET_PASSWORD", chapar.SYNC_PASSWORD)
        self.target = self.url("keep-a")
        self.backup()

    def test_a_user_that_keeps_a_backup_has_no_rights_to_accounts(self):
        for keys in ("accounts = \"*\"", "read-only = true", "no-delete = true"):
            self.k.extra = 'sync-user "x" { password-file = "%s" backup-folder = "/x" %s }' % (
                self.k.password_file(), keys)
            self.k.write_config()
            done = subprocess.run(
                [chapar.CHAPARD, "-c", self.k.config_file, "--check"], capture_output=True,
                encoding="utf-8", timeout=60, check=False,
            )
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("nothing to do with accounts", done.stdout + done.stderr)


# These are the tests of another file.
del Backup, BackupCase, NodeCase

if __name__ == "__main__":
    chapar.main()
