"""Clients that stop in the middle of a large FETCH: each costs a buffer, not a message; what comes
when they read on is the message, whatever became of its file; and damage never passes for mail."""

import base64
import os
import re
import socket
import time
import zlib

import chapar_test as chapar
from chapar_test import Imap, message, wait_until

MIB = 1 << 20
LARGE = 24 * MIB
CLIENTS = 12
CLIENT_BYTES = 6 * MIB  # that one may cost: the socket's buffer, ours, and zstd's window


def words(size):
    """Text that compresses a little, as mail does."""
    text = os.urandom(size // 2 - size // 80).hex().encode()
    return b"\r\n".join(text[at : at + 78] for at in range(0, len(text), 78)) + b"\r\n"


def noise(size):
    """Octets that do not compress, so that they are stored as they are."""
    return os.urandom(size).translate(None, b"\0\r\n")


def multipart(parts):
    data = b"Content-Type: multipart/mixed; boundary=limit\r\nSubject: parts\r\n\r\n"
    for part in parts:
        data += b"--limit\r\nContent-Type: text/plain\r\n\r\n" + part + b"\r\n"
    return data + b"--limit--\r\n"


def resident(node):
    with open("/proc/%d/status" % node.process.pid) as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


class Stalled(Imap):
    """Reads the first line of the answer, and no more until it is told to."""

    def __init__(self, node, user, command):
        super().__init__(node.address, node.imap_port)
        self.login(user)
        self.select()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.tag = self.send(command)
        self.first = self.stream.readline()

    def rest(self):
        size = int(re.search(rb"\{(\d+)\}\r\n$", self.first).group(1))
        return self.stream.read(size)


class StalledClients(chapar.TestCase):
    def setUp(self):
        super().setUp()
        # What was freed counts for free, with sanitizers too.
        options = os.environ.get("ASAN_OPTIONS", "")
        os.environ["ASAN_OPTIONS"] = (options + ":quarantine_size_mb=1").lstrip(":")
        self.alone = self.node()
        self.alone.settings["keep-expunged"] = "0"
        self.alone.write_config()
        self.alone.add_account("alice")
        self.alone.start()

    def append(self, *messages):
        with self.alone.imap("alice") as client:
            for data in messages:
                client.append("INBOX", data)

    def test_each_costs_a_buffer_and_gets_the_message_when_it_reads_on(self):
        text = message("large") + words(LARGE)
        self.append(text)
        with self.alone.imap("alice") as client:  # what is held once and for all
            client.select()
            self.assertEqual(client.fetch(1, "BODY.PEEK[]")[1]["BODY[]"], text)
        before = resident(self.alone)
        stalled = [
            Stalled(self.alone, "alice", "FETCH 1 BODY.PEEK[%s]" % ("", "TEXT")[i % 2])
            for i in range(CLIENTS)
        ]
        time.sleep(2)
        grown = resident(self.alone) - before
        print("%d stalled clients: %d KiB each" % (CLIENTS, grown / CLIENTS / 1024))
        self.assertLess(grown, CLIENTS * CLIENT_BYTES)
        wanted = (text, text.partition(b"\r\n\r\n")[2])
        for i, client in enumerate(stalled):
            if i < 3:
                self.assertTrue(client.rest() == wanted[i % 2], "other octets")
                self.assertEqual(client.stream.readline(), b")\r\n")
                self.assertEqual(client.finish(client.tag)[0], "OK")
            client.close()

    def test_what_is_decoded_for_a_client_waits_on_disk(self):
        plain = os.urandom(12 * MIB)
        encoded = base64.encodebytes(plain).replace(b"\n", b"\r\n")
        text = multipart([b"small"]).replace(
            b"--limit--\r\n",
            b"--limit\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + b"--limit--\r\n",
        )
        self.append(text)
        with self.alone.imap("alice") as client:  # with what is held once and for all
            client.select()
            answer = client.fetch(1, "BINARY.PEEK[2] BODY.PEEK[2] BINARY.PEEK[1]")[1]
            self.assertTrue(answer["BINARY[2]"] == plain, "other octets")
            self.assertTrue(answer["BODY[2]"] == encoded[:-2], "other octets")
            self.assertEqual(answer["BINARY[1]"], b"small")
            part = client.fetch(1, "BINARY.PEEK[2]<5.3000000>")[1]["BINARY[2]<5>"]
            self.assertTrue(part == plain[5:3000005], "other octets")
        before = resident(self.alone)
        stalled = [Stalled(self.alone, "alice", "FETCH 1 BINARY.PEEK[2]") for _ in range(CLIENTS)]
        time.sleep(2)
        # What decoding took for a moment may stay with the allocator: of two threads, not of each client.
        grown = resident(self.alone) - before
        print("%d stalled clients of BINARY: %d KiB each" % (CLIENTS, grown / CLIENTS / 1024))
        self.assertLess(grown, CLIENTS * CLIENT_BYTES)
        for client in stalled[:2]:
            self.assertTrue(client.rest() == plain, "other octets")
            self.assertEqual(client.stream.readline(), b")\r\n")
            self.assertEqual(client.finish(client.tag)[0], "OK")
        for client in stalled:
            client.close()

    def test_sections_and_partials_are_those_of_the_message(self):
        parts = [words(2 * MIB), noise(3 * MIB), words(1000)]
        texts = [message("small"), multipart(parts), message("as it is") + noise(5 * MIB)]
        self.append(*texts)
        with self.alone.imap("alice") as client:
            client.select()
            # Marks, and tells of it beside the sections.
            seen = client.fetch("1:3", "BODY[] UID BODY.PEEK[TEXT] RFC822.SIZE")
            for uid, text in enumerate(texts, 1):
                self.assertTrue(seen[uid]["BODY[]"] == text, "message %d" % uid)
                self.assertTrue(seen[uid]["BODY[TEXT]"] == text.partition(b"\r\n\r\n")[2])
                self.assertEqual(seen[uid]["RFC822.SIZE"], str(len(text)))
                self.assertIn("\\Seen", seen[uid]["FLAGS"])
            got = client.fetch(
                2, "BODY.PEEK[2] BODY.PEEK[1] BODY.PEEK[3] BODY.PEEK[] BODY.PEEK[HEADER]"
            )[2]
            for number, part in enumerate(parts, 1):
                self.assertTrue(got["BODY[%d]" % number] == part, "part %d" % number)
            self.assertTrue(got["BODY[]"] == texts[1])
            for uid in (2, 3):
                self.read_in_partials(client, uid, texts[uid - 1])

    def read_in_partials(self, client, uid, text):
        for size in (100000, 700000):
            data = b""
            while len(data) < len(text):
                item = "BODY.PEEK[]<%d.%d>" % (len(data), size)
                got = client.fetch(uid, item)[uid]["BODY[]<%d>" % len(data)]
                self.assertGreater(len(got), 0)
                data += got
            self.assertTrue(data == text, "partials of %d" % size)
        for offset in (len(text) - 10, 5, len(text), len(text) + 10):
            got = client.fetch(uid, "BODY.PEEK[]<%d.20>" % offset)[uid]["BODY[]<%d>" % offset]
            self.assertEqual(got, text[offset : offset + 20])

    def test_compressed_connections_get_the_same(self):
        text = message("large") + words(8 * MIB)
        self.append(text)
        client = self.alone.imap("alice")
        client.command("COMPRESS DEFLATE")
        deflater, inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
        lines = b"a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\n"
        client.socket.sendall(deflater.compress(lines) + deflater.flush(zlib.Z_SYNC_FLUSH))
        data = b""
        while b"\r\nb OK" not in data[-200:]:
            data += inflater.decompress(client.socket.recv(1 << 20))
        self.assertIn(b"{%d}\r\n%s)\r\nb OK" % (len(text), text), data)
        client.close()

    def test_expunged_and_compacted_meanwhile_it_still_comes_whole(self):
        text = message("large") + words(LARGE)
        self.append(text)
        stalled = Stalled(self.alone, "alice", "FETCH 1 BODY.PEEK[]")
        files = self.alone.segment_files()
        with self.alone.imap("alice") as client:
            client.select()
            client.command("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
            client.command("EXPUNGE")

        def is_gone():
            self.alone.tool("compact")
            return not os.path.exists(files[0])

        wait_until(is_gone, 60, "its file is removed")
        self.assertTrue(stalled.rest() == text, "other octets")
        stalled.close()

    def test_damage_ends_the_connection_or_is_told(self):
        for make in (words, noise):
            text = message("large " + make.__name__) + make(LARGE)
            self.append(text)
            with self.alone.imap("alice") as client:
                uid = client.select()["uidnext"] - 1
            stalled = Stalled(self.alone, "alice", "UID FETCH %d BODY.PEEK[]" % uid)
            path = self.alone.segment_files()[-1]
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) - 2 * MIB)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
            self.assertLess(len(stalled.rest()), len(text), "a literal that is whole")
            self.assertEqual(stalled.stream.read(), b"")
            stalled.close()
            wait_until(lambda: "imap_failure" in self.alone.log(), 10, "it is logged")
            with self.alone.imap("alice") as client:
                client.select()
                for items in ("BODY.PEEK[]", "BODY.PEEK[TEXT]<5.10>"):
                    status, told = client.try_command("UID FETCH %d %s" % (uid, items))
                    self.assertEqual((status, told[:12]), ("NO", "[CORRUPTION]"))


if __name__ == "__main__":
    chapar.main()
