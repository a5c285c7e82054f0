"""Space of expunged mail comes back, and what is left is unharmed."""

import base64
import json
import os

import chapar_test as chapar
from chapar_test import message, wait_until

MESSAGES = 50
BODY_BYTES = 4 << 20  # more than one segment in all


def used_bytes(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # removed meanwhile
    return total


class Compaction(chapar.TestCase):
    def test_compact_gives_back_the_space_of_expunged_mail(self):
        node = self.node()
        node.settings["keep-expunged"] = "0"
        node.write_config()
        node.add_account("alice")
        node.start()
        with node.imap("alice") as client:
            for number in range(MESSAGES):
                noise = base64.encodebytes(os.urandom(BODY_BYTES * 3 // 4)).decode()
                body = noise.replace("\n", "\r\n")
                client.append("INBOX", message("mail %d" % number, body))
            full = used_bytes(node.store)
            client.select()
            client.command("UID STORE 1:%d +FLAGS.SILENT (\\Deleted)" % (MESSAGES - 5))
            client.command("EXPUNGE")
        before = chapar.snapshot(node, "alice")
        wait_until(
            lambda: json.loads(node.tool("status", "--json")[1])["deleted-messages-kept"] == 0,
            60, "what was expunged is not kept any more")
        node.tool("compact")
        node.restart()
        node.tool("compact")
        small = used_bytes(node.store)
        print("store: %d KiB full, %d KiB after compact" % (full >> 10, small >> 10))
        self.assertLess(small, full * 0.6, "the space did not come back")
        self.assertEqual(chapar.snapshot(node, "alice"), before)
        self.verify_clean(node)


if __name__ == "__main__":
    chapar.main()
