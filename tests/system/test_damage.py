"""Damaged files: verify names what is hurt, rebuild makes a lost index anew; one damaged message
keeps nothing else from being replicated."""

import json
import os
import re

import chapar_test as chapar
from chapar_test import message
from graph_test import Graph


class Damage(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.alone = self.node()
        self.alone.write_config()
        self.alone.add_account("alice")
        self.alone.start()
        with self.alone.imap("alice") as client:
            client.command("CREATE Archive")
            for number in range(20):
                body = os.urandom(1500).hex() + "\r\n"
                client.append("INBOX", message("mail %d" % number, body), "\\Flagged")
            client.select()
            client.command("UID MOVE 3:5 Archive")
            client.command("UID STORE 7 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 7")
        self.before = chapar.snapshot(self.alone, "alice")
        self.alone.stop()

    def index_files(self):
        segments = set(self.alone.segment_files())
        found = []
        for folder, _, names in os.walk(self.alone.store):
            found += [os.path.join(folder, name) for name in names if name.endswith(".mdb")]
        return [path for path in found if path not in segments]

    def flip(self, path, offset, length=16):
        with open(path, "r+b") as file:
            file.seek(offset)
            data = file.read(length)
            file.seek(offset)
            file.write(bytes(byte ^ 0x5A for byte in data))

    def test_verify_finds_a_sound_store_sound(self):
        self.verify_clean(self.alone)

    def test_verify_finds_every_damage_and_names_the_messages_hurt(self):
        path = self.alone.segment_files()[0]
        with open(path, "rb") as file:
            sound = file.read()
        reports = []
        for step in range(1, 13):
            self.flip(path, len(sound) * step // 14)
            status, text = self.alone.tool("verify", "--bodies", check=False)
            self.assertNotEqual(status, 0, "damage at %d of %d" % (step, len(sound)) + text)
            reports.append(text)
            with open(path, "wb") as file:
                file.write(sound)
        self.assertRegex("\n".join(reports), r"alice: mailbox (INBOX|Archive): UID \d+: body")
        self.verify_clean(self.alone)

    def test_rebuild_restores_all_from_the_log_when_the_index_is_lost(self):
        for path in self.index_files():
            os.unlink(path)
        status, text = self.alone.tool("verify", check=False)
        self.assertNotEqual(status, 0, text)
        self.assertIn("chapar rebuild", text, "the operator is told what to do")
        status, text = self.alone.tool("rebuild", check=False)
        self.assertEqual(status, 0, text)
        self.verify_clean(self.alone)
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)

    def test_a_damaged_index_is_noticed_and_rebuild_restores_it(self):
        for path in self.index_files():
            size = os.path.getsize(path)
            for offset in range(0, min(size, 1 << 20), 4096):
                self.flip(path, offset, 64)
        status, text = self.alone.tool("verify", check=False)
        self.assertNotEqual(status, 0, "verify overlooked a destroyed index: " + text)
        status, text = self.alone.tool("rebuild", check=False)
        self.assertEqual(status, 0, text)
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)

    def test_a_torn_tail_of_the_log_is_cut_off(self):
        with open(self.alone.segment_files()[-1], "ab") as segment:
            segment.write(os.urandom(300))
        self.alone.start()
        self.assertEqual(chapar.snapshot(self.alone, "alice"), self.before)
        self.alone.deliver("alice", message("later"))
        self.alone.restart()
        self.assertEqual(len(chapar.snapshot(self.alone, "alice")["INBOX"][2]), 17)
        self.verify_clean(self.alone)


class Mend(chapar.TestCase):
    @staticmethod
    def flip_some(path):
        with open(path, "r+b") as file:
            size = len(file.read().rstrip(b"\0"))
            for part in (5, 7, 9, 11):
                file.seek(size * part // 14)
                data = file.read(200)
                file.seek(size * part // 14)
                file.write(bytes(byte ^ 0x5A for byte in data))

    def test_messages_damaged_here_are_taken_from_a_peer(self):
        pair = self.pair()
        pair.start("alice")
        with pair.a.imap("alice") as client:
            for number in range(20):
                client.append("INBOX", message("mail %d" % number, os.urandom(1500).hex() + "\r\n"))
        pair.wait_equal("alice")
        chapar.wait_until(
            lambda: pair.a.tool("verify", "--peer", "b", check=False)[0] == 0, 60, "the channel"
        )
        before = chapar.snapshot(pair.a, "alice")
        path = pair.a.segment_files()[0]
        self.flip_some(path)
        status, text = pair.a.tool("verify", "--peer", "b", "--bodies", check=False)
        self.assertEqual(status, 1, text)
        hurt = text.count("its bytes are damaged")
        self.assertGreater(hurt, 0, text)
        status, text = pair.a.tool("verify", "--peer", "b", "--bodies", "--repair", check=False)
        self.assertEqual(status, 1, text)
        self.assertEqual(text.count("repaired: taken from there"), hurt)
        self.assertEqual(pair.a.tool("verify", "--peer", "b", "--bodies")[0], 0)
        self.assertEqual(chapar.snapshot(pair.a, "alice"), before)

    def test_what_a_new_node_cannot_get_holds_up_nothing_else(self):
        graph = Graph(self.folder, "mesh", 3)
        self._nodes += graph.nodes
        self._wires += graph.wires.values()
        hurt_node, other, new = graph.nodes
        graph.heal()
        hurt_node.write_config()
        hurt_node.add_account("alice")
        hurt_node.start()
        bodies = [os.urandom(1500).hex() + "\r\n" for _ in range(20)]
        with hurt_node.imap("alice") as client:
            for number, body in enumerate(bodies):
                client.append("INBOX", message("mail %d" % number, body))
        other.start()
        chapar.wait_until(lambda: self.count(other) == 20, chapar.SYNC_SECONDS, "the other copy")
        other.stop()
        hurt_node.stop()
        path = hurt_node.segment_files()[0]
        self.flip_some(path)
        hurt_node.start()
        text = hurt_node.tool("verify", "--bodies", check=False)[1]
        hurt = len(re.findall(r"UID \d+: .*body", text))
        self.assertGreater(hurt, 0, text)
        new.start()
        chapar.wait_until(
            lambda: self.count(new) == 20 - hurt, chapar.SYNC_SECONDS, "all others")
        rows = json.loads(hurt_node.tool("status", "--json")[1])["damaged"]
        self.assertEqual([row["account"] for row in rows], ["alice"] * hurt)
        self.assertIn("verify --peer NODE --bodies --repair", hurt_node.tool("status")[1])
        self.assertNotEqual(hurt_node.tool("status", "--check", check=False)[0], 0)
        # Nothing is set aside: what changes goes by, in both directions.
        hurt_node.deliver("alice", message("later"))
        chapar.wait_until(
            lambda: self.count(new) == 21 - hurt, chapar.SYNC_SECONDS, "what came later")
        new.deliver("alice", message("from there"))
        chapar.wait_until(
            lambda: self.count(hurt_node) == 22, chapar.SYNC_SECONDS, "what came there")
        # The node that has them all mends it; they follow by themselves.
        other.start()
        chapar.wait_until(
            lambda: hurt_node.tool("verify", "--peer", other.name, check=False)[0] == 0,
            chapar.SYNC_SECONDS, "the other node is up to date")
        hurt_node.tool("verify", "--peer", other.name, "--bodies", "--repair", check=False)
        graph.wait_equal("alice")
        self.assertEqual(self.count(new), 22)
        self.assertEqual(json.loads(hurt_node.tool("status", "--json")[1])["damaged"], [])
        self.verify_clean(new)

    @staticmethod
    def count(node):
        try:
            with node.imap("alice") as client:
                return client.select()["exists"]
        except chapar.ImapError:
            return -1


if __name__ == "__main__":
    chapar.main()
