"""Deleting messages, mailboxes and accounts on a pair of nodes, and bringing them back; the ids of copied stores."""

import json
import shutil
import threading

import chapar_test as chapar
from chapar_test import message, wait_until


class Undelete(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.both = self.pair()
        self.both.start("anna")
        self.a, self.b = self.both.nodes

    def test_messages_and_mailboxes_come_back_on_either_node(self):
        with self.a.imap("anna") as client:
            client.command("CREATE Work")
            client.append("Work", message("one"), "\\Flagged")
            client.append("INBOX", message("two"))
        self.both.wait_equal("anna")
        with self.b.imap("anna") as client:
            client.command("DELETE Work")
            client.select("INBOX")
            client.command("STORE 1 +FLAGS (\\Deleted)")
            client.command("EXPUNGE")
        self.both.wait_equal("anna")
        listed = json.loads(self.a.tool("undelete", "anna", "--list", "--json")[1])
        self.assertEqual(sorted(entry["mailbox"] for entry in listed), ["INBOX", "Work"])
        identity = [entry["id"] for entry in listed if entry["mailbox"] == "INBOX"][0]
        self.a.tool("undelete", "anna", identity, "--to", "Found")
        self.a.tool("undelete", "anna", "--mailbox", "Work", "--since", "1h")
        self.both.wait_equal("anna")
        with self.b.imap("anna") as client:
            self.assertEqual(client.mailboxes(), ["Found", "INBOX", "Work"])
            self.assertEqual(client.select("Found")["exists"], 1)
            self.assertEqual(client.select("Work")["exists"], 1)
            flags = client.fetch("1:*", "FLAGS")
            self.assertTrue(all("\\Flagged" in entry["FLAGS"] for entry in flags.values()), flags)
        for node in self.both.nodes:
            self.verify_clean(node)

    def test_a_deleted_account_ends_its_sessions_and_comes_back(self):
        with self.a.imap("anna") as client:
            client.append("INBOX", message("one"))
        self.both.wait_equal("anna")
        idle = self.b.imap("anna")
        idle.select("INBOX")
        self.a.tool("account", "delete", "anna")

        def is_refused():
            with self.b.imap() as client:
                return client.try_command("LOGIN anna %s" % chapar.PASSWORD)[0] == "NO"

        wait_until(is_refused, chapar.SYNC_SECONDS, "logins are refused on the other node")
        with self.assertRaises((ConnectionError, chapar.ImapError)):
            idle.command("NOOP")
            idle.command("NOOP")
        idle.close()
        self.b.tool("undelete", "anna")

        def is_taken():
            with self.a.imap() as client:
                return client.try_command("LOGIN anna %s" % chapar.PASSWORD)[0] == "OK"

        wait_until(is_taken, chapar.SYNC_SECONDS, "logins are taken on the other node")
        self.both.wait_equal("anna")
        with self.a.imap("anna") as client:
            self.assertEqual(client.select("INBOX")["exists"], 1)

    def test_a_deletion_that_was_killed_goes_on_and_is_undone_as_one(self):
        count = 3000
        self.b.stop()
        with self.a.imap("anna") as client:
            client.command("CREATE Work")
            text = message("one")
            for _ in range(count // 200):
                client.command("APPEND Work", *[text] * 200)

        def held():
            rows = json.loads(self.a.tool("account", "list", "--json")[1])
            return [row["messages"] for row in rows if row["name"] == "anna"][0]

        self.assertEqual(held(), count)
        deleting = threading.Thread(target=self.a.tool, args=("account", "delete", "anna"), kwargs={"check": False})
        deleting.start()
        while held() == count:
            pass
        self.a.kill()
        deleting.join()
        self.a.start()
        left = held()
        self.a.tool("account", "delete", "anna", check=left > 0)
        self.assertEqual(held(), 0)
        self.verify_clean(self.a)
        self.a.tool("undelete", "anna")
        self.b.start()
        self.both.wait_equal("anna")
        with self.b.imap("anna") as client:
            self.assertEqual(client.select("Work")["exists"], count)

    def test_scripts_replicate(self):
        self.a.tool("script", "put", "anna", "main", text_input="keep;\r\n")
        self.a.tool("script", "activate", "anna", "main")
        self.both.wait_equal("anna")

        def scripts():
            return json.loads(self.b.tool("script", "list", "anna", "--json")[1])

        wait_until(scripts, chapar.SYNC_SECONDS, "the script arrives")
        self.assertEqual(scripts(), [{"name": "main", "size": 7, "active": True}])
        self.assertIn("keep;", self.b.tool("script", "get", "anna", "main")[1])

    def test_a_copied_store_is_refused_until_it_has_an_id_of_its_own(self):
        self.both.stop()
        shutil.rmtree(self.b.store)
        shutil.copytree(self.a.store, self.b.store)
        self.both.start()
        wait_until(
            lambda: "both stores have the node id" in self.a.log() + self.b.log(),
            chapar.SYNC_SECONDS, "the nodes refuse each other")
        self.both.stop()
        self.assertIn("the node id is", self.b.tool("renew-id")[1])
        self.both.start()
        self.a.deliver("anna", message("after"))
        self.both.wait_equal("anna")


if __name__ == "__main__":
    chapar.main()
