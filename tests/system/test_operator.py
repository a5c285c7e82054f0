"""The operator's tool, with the daemon running and stopped, and how the daemon starts and stops."""

import json
import os
import pwd
import shutil
import signal
import threading
import time

import chapar_test as chapar
from chapar_test import message


class Operator(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.alone = self.node()

    def tool_json(self, *arguments):
        return json.loads(self.alone.tool(*arguments, "--json")[1])

    def names(self):
        return [account["name"] for account in self.tool_json("account", "list")]

    def both_ways(self, function):
        """Runs it with the daemon stopped, then running."""
        self.alone.write_config()
        function("stopped")
        self.alone.start()
        function("running")

    def test_accounts_are_made_with_the_daemon_stopped_and_running(self):
        def check(word):
            self.alone.add_account("anna-" + word)
            self.assertIn("anna-" + word, self.names())

        self.both_ways(check)
        for word in ("stopped", "running"):
            self.alone.imap("anna-" + word).close()

    def test_accounts_come_from_lines_up_to_the_first_bad_one(self):
        def check(word):
            lines = "".join("%s-%d:secret:%d\n" % (word, i, i) for i in range(12))
            status, text = self.alone.tool(
                "account", "add", "--from-file", "-", check=False, text_input=lines + "bad\n")
            self.assertEqual(status, 65, text)
            self.assertEqual(len([name for name in self.names() if name.startswith(word)]), 12)

        self.both_ways(check)
        self.alone.imap("stopped-7", "secret:7").close()
        self.alone.imap("running-11", "secret:11").close()

    def test_a_changed_password_counts_at_once(self):
        self.alone.start()
        self.alone.add_account("anna")
        self.alone.imap("anna").close()
        self.alone.tool("account", "passwd", "anna", "--password-file", "-", text_input="new\n")
        with self.alone.imap() as client:
            self.assertEqual(client.try_command("LOGIN anna secret")[0], "NO")
            client.login("anna", "new")

    def test_errors_have_their_exit_codes(self):
        def check(_):
            rows = [
                (["account", "passwd", "nobody", "--password-file", "-"], 67),
                (["verify", "--account", "nobody"], 67),
                (["account", "add", "a/b", "--password-file", "-"], 65),
                (["account", "add", "a", "--password-file", "/nonexistent"], 67),
                (["account", "drop"], 64),
                (["status", "--bodies"], 64),
            ]
            for arguments, wanted in rows:
                status, text = self.alone.tool(*arguments, check=False, text_input="secret\n")
                self.assertEqual(status, wanted, "%s: %s" % (arguments, text))

        self.both_ways(check)
        self.alone.add_account("anna")
        status, _ = self.alone.tool(
            "account", "add", "Anna", "--password-file", "-", check=False, text_input="x\n")
        self.assertEqual(status, 73)
        self.assertEqual(self.alone.tool("rebuild", check=False)[0], 69)

    def test_status_tells_what_there_is(self):
        self.alone.start()
        self.alone.add_account("anna")
        self.alone.deliver("anna", message("one"))
        with self.alone.imap("anna"):
            status = self.tool_json("status")
        self.assertTrue(status["running"])
        self.assertEqual((status["accounts"], status["messages"]), (1, 1))
        self.assertGreaterEqual(status["daemon"]["connections"], 2)
        self.assertEqual(status["store"]["failure"], "")
        self.alone.stop()
        status = self.tool_json("status")
        self.assertFalse(status["running"])
        self.assertEqual((status["accounts"], status["messages"]), (1, 1))

    def test_one_message_for_a_recipient_named_with_several_details(self):
        self.alone.start()
        with self.alone.lmtp() as lmtp:
            replies = lmtp.deliver(["anna+one", "ANNA+two", "bert"], message("hello"))
        self.assertTrue(all(reply.startswith(b"250") for reply in replies), replies)
        self.assertEqual(
            [(a["name"], a["messages"]) for a in self.tool_json("account", "list")],
            [("anna", 1), ("bert", 1)])

    def test_mail_for_unknown_accounts_is_refused_if_they_are_not_to_be_made(self):
        self.alone.settings["create-accounts-on-delivery"] = "false"
        self.alone.start()
        self.alone.add_account("anna")
        with self.alone.lmtp() as lmtp:
            replies = lmtp.deliver(["anna", "bert"], message("hello"))
        self.assertTrue(replies[0].startswith(b"250"), replies)
        self.assertTrue(replies[1].startswith(b"550"), replies)
        self.assertEqual(self.names(), ["anna"])

    def test_accounts_may_be_named_by_whole_addresses(self):
        self.alone.settings["account-names"] = '"address"'
        self.alone.start()
        self.alone.deliver("Anna+detail", message("hello"))
        self.assertEqual(self.names(), ["anna@local.example"])

    def test_stopping_tells_clients_goodbye_and_removes_the_pid_file(self):
        pid_file = os.path.join(self.alone.folder, "pid")
        self.alone.settings["pid-file"] = '"%s"' % pid_file
        self.alone.start()
        self.alone.add_account("anna")
        with open(pid_file, encoding="ascii") as stored:
            self.assertEqual(int(stored.read()), self.alone.process.pid)
        with self.alone.imap("anna") as idle, self.alone.imap() as fresh:
            idle.select()
            idle.send("IDLE")
            self.assertTrue(idle.response().startswith(b"+"))
            began = time.monotonic()
            self.alone.stop()
            self.assertLess(time.monotonic() - began, 8)
            self.assertTrue(idle.response().startswith(b"* BYE"))
            self.assertTrue(fresh.response().startswith(b"* BYE"))
        self.assertFalse(os.path.exists(pid_file))

    def test_two_daemons_do_not_share_a_store(self):
        self.alone.start()
        other = self.node("other")
        other.store = self.alone.store
        with self.assertRaisesRegex(AssertionError, "in use"):
            other.start()

    def test_an_address_in_use_is_told(self):
        self.alone.start()
        other = self.node("other")
        other.address, other.imap_port = self.alone.address, self.alone.imap_port
        other.start(wait=False)
        self.assertEqual(other.process.wait(chapar.START_SECONDS), 73)
        self.assertIn("listen imap", other.log())

    @chapar.unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_root_becomes_the_configured_user(self):
        self.alone.settings["user"] = '"nobody"'
        shutil.chown(self.alone.folder, "nobody")
        self.alone.add_account("anna")
        self.alone.start()
        self.alone.add_account("bert")
        wanted = pwd.getpwnam("nobody").pw_uid
        with open("/proc/%d/status" % self.alone.process.pid, encoding="ascii") as status:
            uids = next(line for line in status if line.startswith("Uid:")).split()[1:]
        self.assertEqual(set(uids), {str(wanted)})
        for folder, _, files in os.walk(self.alone.store):
            for name in files:
                self.assertEqual(os.lstat(os.path.join(folder, name)).st_uid, wanted, name)

    def test_a_hangup_without_tls_changes_nothing(self):
        self.alone.start()
        self.alone.signal(signal.SIGHUP)
        time.sleep(0.2)
        self.alone.deliver("anna", message("hello"))


class OperatorOfTwo(chapar.TestCase):
    def test_channels_and_conflicts_are_told(self):
        nodes = self.pair()
        nodes.start("anna")
        nodes.wait_equal("anna")
        nodes.cut()
        nodes.a.deliver("anna", message("one"))
        nodes.b.deliver("anna", message("two"))
        nodes.heal()
        nodes.wait_equal("anna")
        conflicts, channels = [], []
        for node in nodes.nodes:
            conflicts += json.loads(node.tool("conflict", "list", "--json")[1])
            channels += json.loads(node.tool("channel", "list", "--json")[1])
        self.assertTrue(conflicts)
        # The account was made on both nodes, so its password was, too.
        told = {
            (entry["account"], entry["mailbox"], entry["uid"])
            for entry in conflicts
            if entry.get("name") != "credentials"
        }
        self.assertEqual(told, {("anna", "INBOX", 1)})
        self.assertEqual([channel["name"] for channel in channels], ["b", "a"])
        for node in nodes.nodes:
            self.verify_clean(node)

    def test_passwords_made_on_both_nodes_are_told_once(self):
        nodes = self.pair()
        nodes.start("anna")
        until = time.monotonic() + 3

        def deliver(node):
            while time.monotonic() < until:
                node.deliver("anna", message("while both are busy"))

        threads = [threading.Thread(target=deliver, args=(node,)) for node in nodes.nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        nodes.wait_equal("anna")
        counts = []
        for node in nodes.nodes:
            told = json.loads(node.tool("conflict", "list", "--json")[1])
            counts.append(sum(entry["name"] == "credentials" for entry in told))
        self.assertLessEqual(max(counts), 1)
        self.assertGreaterEqual(sum(counts), 1)

    def test_a_password_changed_on_one_node_counts_on_the_other(self):
        nodes = self.pair()
        nodes.start("anna")
        nodes.b.tool("account", "passwd", "anna", "--password-file", "-", text_input="new\n")

        def is_taken():
            with nodes.a.imap() as client:
                return client.try_command("LOGIN anna new")[0] == "OK"

        chapar.wait_until(is_taken, chapar.SYNC_SECONDS, "the new password has come")


if __name__ == "__main__":
    chapar.main()
