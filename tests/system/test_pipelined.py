"""Commands that a client sends without waiting for answers: they share syncs, and nobody notices.

An OK means that it is done for good, the session sees its own changes at once and others when the
OK is told, and answers come in order.
"""

import random
import threading

import chapar_test as chapar
from chapar_test import message, snapshot

MESSAGES = 50
ROUNDS = 4


def pipeline(client, commands):
    """Sends all at once; returns [(status, untagged responses before it)]."""
    first = client.tag_count + 1
    client.tag_count += len(commands)
    client.socket.sendall(
        b"".join(b"t%d %s\r\n" % (first + i, c.encode()) for i, c in enumerate(commands))
    )
    answers = []
    for i in range(len(commands)):
        status, _ = client.finish("t%d" % (first + i))
        answers.append((status, client.untagged))
    return answers


class Pipelined(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.server = self.node()
        self.server.add_account("alice")
        self.server.start()
        for i in range(MESSAGES):
            self.server.deliver("alice", message("m%d" % i))

    def test_each_answer_tells_what_its_command_did(self):
        with self.server.imap("alice") as client, self.server.imap("alice") as other:
            client.select()
            other.select()
            answers = pipeline(client, [
                "STORE 1 +FLAGS (\\Flagged)",
                "FETCH 1 (FLAGS)",
                "STORE 1 -FLAGS (\\Flagged)",
                "STORE 1 +FLAGS (\\Seen)",
                "STORE 77 +FLAGS (\\Seen)",
                "UID STORE 2 +FLAGS.SILENT (\\Answered)",
                "SEARCH ANSWERED",
                "STORE 1:* +FLAGS.SILENT (k)",
                "STORE 3 +FLAGS (\\Deleted)",
                "EXPUNGE",
                "STORE 3 +FLAGS (\\Draft)",
                "NOOP",
            ])
            self.assertEqual([status for status, _ in answers],
                             ["OK"] * 4 + ["BAD"] + ["OK"] * 7)
            text = [b"\n".join(lines) for _, lines in answers]
            self.assertIn(b"\\Flagged", text[0])
            self.assertIn(b"\\Flagged", text[1])
            self.assertIn(b"* 1 FETCH", text[2])
            self.assertNotIn(b"\\Flagged", text[2])
            self.assertIn(b"\\Seen", text[3])
            self.assertIn(b"* SEARCH 2", text[6])
            self.assertIn(b"* 3 EXPUNGE", text[9])
            self.assertIn(b"\\Draft", text[10])
            other.command("NOOP")
            seen = b"\n".join(other.untagged)
            self.assertIn(b"* 3 EXPUNGE", seen)
            self.assertIn(b"\\Answered", seen)
            client.command("STORE 1:* -FLAGS.SILENT (k)")

    def test_appends_are_told_in_order_and_seen_at_once(self):
        with self.server.imap("alice") as client, self.server.imap("alice") as other:
            client.select()
            other.select()
            first = MESSAGES + 1
            commands = []
            for i in range(20):
                raw = message("p%d" % i).decode()
                commands.append("APPEND INBOX (k%d) {%d+}\r\n%s" % (i, len(raw), raw))
            commands[10:10] = [
                "UID SEARCH UID %d:*" % first,
                "APPEND nowhere {1+}\r\nx",
                "STORE %d +FLAGS.SILENT (\\Seen)" % (first + 9),
            ]
            answers = pipeline(client, commands)
            self.assertEqual([status for status, _ in answers],
                             ["OK"] * 11 + ["NO"] + ["OK"] * 11)
            self.assertIn(
                b"* SEARCH " + b" ".join(b"%d" % (first + i) for i in range(10)),
                b"\n".join(answers[10][1]))
            other.command("NOOP")
            self.assertIn(b"* %d EXISTS" % (MESSAGES + 20), b"\n".join(other.untagged))
            found = other.fetch("%d:*" % first, "FLAGS")
            for i in range(20):
                self.assertIn("k%d" % i, found[first + i]["FLAGS"])
            self.assertIn("\\Seen", found[first + 9]["FLAGS"])
        self.verify_clean(self.server)

    def test_appends_that_were_answered_survive_kill_9(self):
        done = []

        def work():
            try:
                with self.server.imap("alice") as client:
                    while True:
                        subjects = ["s%d" % (len(done) + i) for i in range(20)]
                        first = client.tag_count + 1
                        client.tag_count += len(subjects)
                        client.socket.sendall(b"".join(
                            b"t%d APPEND INBOX {%d+}\r\n%s\r\n"
                            % (first + i, len(message(subject)), message(subject))
                            for i, subject in enumerate(subjects)
                        ))
                        for i, subject in enumerate(subjects):
                            assert client.finish("t%d" % (first + i))[0] == "OK"
                            done.append(subject)
            except OSError:
                pass  # the crash

        for _ in range(2):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join(random.uniform(0.2, 0.8))
            self.server.kill()
            thread.join(60)
            self.server.start()
            found = {entry[4] for entry in snapshot(self.server, "alice")["INBOX"][2].values()}
            self.assertEqual(set(done) - found, set())
        self.verify_clean(self.server)

    def test_sessions_that_pipeline_beside_each_other(self):
        errors = []

        def work(number):
            try:
                with self.server.imap("alice") as client:
                    client.select()
                    for _ in range(5):
                        answers = pipeline(client, [
                            "STORE %d +FLAGS.SILENT (w%d)" % (i + 1, number)
                            for i in range(MESSAGES)
                        ])
                        assert all(status == "OK" for status, _ in answers), answers
                        self.server.deliver("alice", message("more"))
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertEqual(errors, [])
        with self.server.imap("alice") as client:
            client.select()
            found = client.fetch("1:%d" % MESSAGES, "FLAGS")
            for uid in found:
                self.assertEqual(
                    sorted(flag for flag in found[uid]["FLAGS"] if flag.startswith("w")),
                    ["w0", "w1", "w2", "w3"])
            self.assertEqual(len(client.search("ALL")), MESSAGES + 20)

    def test_what_was_answered_survives_kill_9(self):
        for round_number in range(ROUNDS):
            done = []

            def work(keyword="r%d" % round_number, done=done):
                try:
                    with self.server.imap("alice") as client:
                        client.select()
                        while True:
                            first = client.tag_count + 1
                            client.tag_count += MESSAGES
                            sign = "+" if len(done) % (2 * MESSAGES) < MESSAGES else "-"
                            client.socket.sendall(b"".join(
                                b"t%d STORE %d %sFLAGS.SILENT (%s)\r\n"
                                % (first + i, i + 1, sign.encode(), keyword.encode())
                                for i in range(MESSAGES)
                            ))
                            for i in range(MESSAGES):
                                assert client.finish("t%d" % (first + i))[0] == "OK"
                                done.append((i + 1, sign))
                except OSError:
                    pass  # the crash

            thread = threading.Thread(target=work)
            thread.start()
            thread.join(random.uniform(0.2, 0.8))
            self.server.kill()
            thread.join(60)
            self.server.start()
            state = {i: sign for i, sign in done[-MESSAGES:]}
            # The next round may have begun: its first changes are there without an answer, in order.
            with self.server.imap("alice") as client:
                client.select()
                found = client.fetch("1:*", "FLAGS")
            keyword = "r%d" % round_number
            signs = ["+" if keyword in found[uid]["FLAGS"] else "-" for uid in sorted(found)]
            unanswered = len(done) % MESSAGES
            sign = "+" if len(done) % (2 * MESSAGES) < MESSAGES else "-"
            for i in range(MESSAGES):
                if i >= unanswered and signs[i] == sign:
                    continue  # done, but not answered
                self.assertEqual(signs[i], state.get(i + 1, "-"), "message %d" % (i + 1))
        self.verify_clean(self.server)


if __name__ == "__main__":
    chapar.main()
