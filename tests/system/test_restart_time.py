"""After a crash the log is replayed from the last commit of the index: a restart is short."""

import time

import chapar_test as chapar
from chapar_test import message

MESSAGES = 3000
RESTART_SECONDS = 20  # sanitized, on a busy machine; without, it is a fraction of a second


class RestartTime(chapar.TestCase):
    def test_a_node_serves_soon_after_kill_9(self):
        node = self.node()
        node.write_config()
        node.add_account("alice")
        node.start()
        with node.imap("alice") as client:
            tags = []
            for number in range(MESSAGES):
                tags.append(client.send('APPEND "INBOX"', message("mail %d" % number)))
                if len(tags) >= 50:
                    self.assertEqual(client.finish(tags.pop(0))[0], "OK")
            for tag in tags:
                self.assertEqual(client.finish(tag)[0], "OK")
        node.kill()
        began = time.monotonic()
        node.start()
        with node.imap("alice") as client:
            state = client.select()
        seconds = time.monotonic() - began
        print("restart with %d messages: %.2f s" % (MESSAGES, seconds))
        self.assertEqual(state["exists"], MESSAGES)
        self.assertLess(seconds, RESTART_SECONDS)


if __name__ == "__main__":
    chapar.main()
