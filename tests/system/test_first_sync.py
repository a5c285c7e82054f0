"""The first copy of a large account: in parts that no interruption sends again, while what changes in
other accounts goes by; nobody is served before it is whole. And a node whose store is older than it was
takes in its peer's copy before it serves the accounts concerned."""

import json
import os
import shutil

import chapar_test as chapar
from chapar_test import message, wait_until

MESSAGE_COUNT = 8192  # some parts
PART = 2000  # records (src/sync/sync_limits.h)


def account(node, user):
    """What `account list` tells of it, or None."""
    for row in json.loads(node.tool("account", "list", "--json")[1]):
        if row["name"] == user:
            return row
    return None


def held(node, user):
    row = account(node, user)
    return row["held"] if row else None


def fill(node, user, count):
    """Copies of one message, so that there are many records and few bytes."""
    with node.imap(user) as client:
        client.append("INBOX", message("many"))
        client.select()
        there = 1
        while there < count:
            client.command("UID COPY 1:* INBOX")
            there *= 2


class FirstSync(chapar.TestCase):
    def start_source(self):
        """Node a with the accounts; b is empty, and will be sent them, slowly if they are large."""
        pair = self.pair()
        pair.heal()
        pair.a.peer_settings = "backlog-rate-max = 250000"
        pair.a.write_config()
        for user in ("big", "live"):
            pair.a.add_account(user)
        pair.a.start()
        fill(pair.a, "big", MESSAGE_COUNT)
        return pair

    def assert_not_served(self, node):
        client = node.imap()
        self.assertIn("[UNAVAILABLE]", client.try_command("LOGIN big " + chapar.PASSWORD)[1])
        client.close()
        with node.lmtp() as lmtp:
            replies = lmtp.deliver(["big"], message("too early"))
        self.assertRegex(replies[0], rb"^451")

    def wait_part(self, node, more_than):
        """Waits until more messages of the account are there, and it is not whole."""
        def look():
            row = account(node, "big")
            if row is None or row["messages"] == 0:
                return False
            self.assertEqual(row["held"], "filling", "it was too quick")
            return row["messages"] > more_than and row["messages"]

        return wait_until(look, chapar.SYNC_SECONDS, "a part comes")

    def test_it_goes_on_where_it_was_after_either_side_was_killed(self):
        pair = self.start_source()
        pair.b.start()
        first = self.wait_part(pair.b, 0)
        self.assert_not_served(pair.b)

        # What changes in another account comes although the large one is under way.
        pair.a.deliver("live", message("between"))
        wait_until(lambda: (account(pair.b, "live") or {"messages": 0})["messages"] == 1,
                   chapar.SYNC_SECONDS, "the other account's mail is there")
        self.assertEqual(held(pair.b, "big"), "filling")

        pair.b.kill()
        pair.b.start()
        self.assertGreaterEqual(account(pair.b, "big")["messages"], first)
        self.assertEqual(held(pair.b, "big"), "filling")
        second = self.wait_part(pair.b, first)
        pair.a.kill()
        # Meanwhile nothing is lost, and nothing served.
        self.assertGreaterEqual(account(pair.b, "big")["messages"], second)
        self.assert_not_served(pair.b)
        sent_before = pair.wire_ab.byte_count
        pair.a.start()
        # What the source's clients do meanwhile comes at the end.
        with pair.a.imap("big") as client:
            client.select()
            client.command("UID STORE 5 +FLAGS (\\Flagged)")
            client.command("UID STORE 7 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 7")
            client.append("INBOX", message("late"))
        wait_until(lambda: held(pair.b, "big") == "", chapar.SYNC_SECONDS, "it is whole")
        pair.wait_equal("big")
        # Only the part that was under way came again.
        left = MESSAGE_COUNT - second + PART + 100
        self.assertLess(pair.wire_ab.byte_count - sent_before, left * 500 + 200000)
        with pair.b.imap("big") as client:
            self.assertEqual(client.select()["exists"], MESSAGE_COUNT)
        for node in pair.nodes:
            self.verify_clean(node)

    def test_what_an_operator_gives_up_waiting_for_is_served(self):
        pair = self.start_source()
        pair.b.start()
        self.wait_part(pair.b, 0)
        pair.cut()
        pair.a.kill()
        self.assertIn("first copy is not whole", pair.b.tool("account", "list")[1])
        self.assertIn("big is served", pair.b.tool("account", "serve", "big")[1])
        # The password may come with a later part.
        pair.b.tool("account", "passwd", "big", "--password-file", "-",
                    text_input=chapar.PASSWORD + "\n")
        with pair.b.imap("big") as client:
            client.append("INBOX", message("only here"))
        status, text = pair.b.tool("account", "serve", "big", check=False)
        self.assertNotEqual(status, 0, text)
        # The source comes back after all.
        pair.a.start()
        pair.heal()
        pair.wait_equal("big")
        self.assertEqual(account(pair.a, "big")["messages"], MESSAGE_COUNT + 1)


class Restored(chapar.TestCase):
    def restore(self, pair, renews_id):
        """Node b as it was, while a knows what b took since."""
        pair.start("user")
        pair.a.deliver("user", message("before"))
        pair.wait_equal("user")
        pair.b.stop()
        backup = os.path.join(self.folder, "backup")
        shutil.copytree(pair.b.store, backup)
        pair.b.start()
        pair.b.deliver("user", message("after"))
        pair.wait_equal("user")
        pair.b.kill()
        shutil.rmtree(pair.b.store)
        shutil.copytree(backup, pair.b.store)
        if renews_id:
            pair.b.tool("renew-id")

    def test_it_serves_nobody_before_a_peers_copy_is_there(self):
        pair = self.pair()
        self.restore(pair, True)
        pair.cut()
        pair.b.start()
        self.assertIn("store-returned", pair.b.log())
        self.assertEqual(held(pair.b, "user"), "returning")
        client = pair.b.imap()
        self.assertIn("[UNAVAILABLE]", client.try_command("LOGIN user " + chapar.PASSWORD)[1])
        client.close()
        with pair.b.lmtp() as lmtp:
            self.assertRegex(lmtp.deliver(["user"], message("too early"))[0], rb"^451")
        pair.heal()
        wait_until(lambda: held(pair.b, "user") == "", chapar.SYNC_SECONDS, "it is served")
        pair.wait_equal("user")
        self.assertEqual(account(pair.b, "user")["messages"], 2)
        pair.b.deliver("user", message("new"))
        pair.wait_equal("user")
        for node in pair.nodes:
            self.verify_clean(node)

    def test_an_older_store_under_its_old_id_is_noticed(self):
        pair = self.pair()
        self.restore(pair, False)
        pair.b.start()
        # The next change of either side tells.
        pair.a.deliver("user", message("next"))
        pair.wait_equal("user")
        self.assertEqual(account(pair.b, "user")["messages"], 3)
        self.assertEqual(held(pair.b, "user"), "")
        for node in pair.nodes:
            self.verify_clean(node)


if __name__ == "__main__":
    chapar.main()
