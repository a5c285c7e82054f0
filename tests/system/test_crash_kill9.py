"""kill -9 of nodes under load: what was acknowledged is there after each restart (P1 to P3).

Each worker owns an account and does one thing after the other, so that at the moment of the crash
at most one of its operations is in doubt: the account must be as before or as after that one, right
after the restart and again when the copies are equal (the other node may have done it).
CHAPAR_ROUNDS sets the number of crashes (default 6), CHAPAR_SEED the seed.
"""

import os
import random
import threading
import time

import chapar_test as chapar
from chapar_test import message

ROUNDS = int(os.environ.get("CHAPAR_ROUNDS", "6"))
SEED = int(os.environ.get("CHAPAR_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
WORKERS = 4
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "$Work"]
MAILBOXES = ["INBOX", "Archive"]


class Worker(threading.Thread):
    """Works on the account `user` of `node` until the node goes away."""

    def __init__(self, node, user, model, history, seed):
        super().__init__(daemon=True)
        self.node = node
        self.user = user
        self.model = model  # {subject: (mailbox, frozenset of flags)}, all acknowledged
        self.doubt = None  # (subject, new state or None) of the operation under way
        self.random = random.Random(seed)
        self.seed = seed
        self.history = history  # what was asked for and answered, for a failure's report
        self.count = 0
        self.acknowledged = 0
        self.error = None
        self.is_ended = threading.Event()

    def run(self):
        try:
            with self.node.imap(self.user) as client, self.node.lmtp() as lmtp:
                while not self.is_ended.is_set():
                    self.step(client, lmtp)
        except (OSError, ConnectionError):
            pass  # the crash
        except Exception as error:  # reported by the test's own thread
            self.error = error

    def step(self, client, lmtp):
        choices = ["deliver", "append"]
        if self.model:
            choices += ["flag", "flag", "move", "expunge"]
        getattr(self, self.random.choice(choices))(client, lmtp)
        self.acknowledged += 1

    def note(self, subject, what, *answers):
        self.history.append((subject, "%.3f %s: %s" % (time.time(), self.node.name, what), answers))

    def history_of(self, subject):
        return "\n".join(
            "%s %s" % (what, answers) for name, what, answers in self.history if name == subject
        )

    def begin(self, subject, state):
        self.doubt = (subject, state)
        self.note(subject, "to become %s" % (state,))

    def finish(self):
        subject, state = self.doubt
        self.note(subject, "is %s" % (state,))
        if state is None:
            self.model.pop(subject, None)
        else:
            self.model[subject] = state
        self.doubt = None

    def new_mail(self):
        self.count += 1
        subject = "%s-%x-%d." % (self.user, self.seed, self.count)
        size = self.random.choice([100, 2000, 30000])
        return subject, message(subject, ("y" * 72 + "\r\n") * (size // 74 + 1))

    def deliver(self, _, lmtp):
        subject, data = self.new_mail()
        self.begin(subject, ("INBOX", frozenset()))
        replies = lmtp.deliver([self.user], data)
        assert replies[0].startswith(b"250"), replies
        self.finish()

    def append(self, client, _):
        subject, data = self.new_mail()
        flags = self.random.sample(FLAGS, self.random.randrange(3))
        mailbox = self.random.choice(MAILBOXES)
        self.begin(subject, (mailbox, frozenset(flag.lower() for flag in flags)))
        uid = client.append(mailbox, data, " ".join(flags))
        self.note(subject, "APPEND", uid)
        self.finish()

    def chosen(self, client):
        """A message of the model, and its UID in its mailbox, which is then selected."""
        subject = self.random.choice(sorted(self.model))
        mailbox, flags = self.model[subject]
        client.select(mailbox)
        for _ in range(200):
            uids = client.search('SUBJECT "%s"' % subject)
            if uids:
                break
            time.sleep(0.01)  # delivered in another session: visible in this one a little later
            client.command("NOOP")
        assert len(uids) == 1, "%s is at UIDs %s of %s" % (subject, uids, mailbox)
        self.note(subject, "found in " + mailbox, uids)
        return subject, mailbox, flags, uids[0]

    def finish_if_told(self, client, uid, word, text=""):
        """If nothing was told as done, the UID must be gone: a merge gave it up meanwhile."""
        self.note(self.doubt[0], "answered", client.untagged, text)
        if word in b"\n".join(client.untagged) or word.decode() in text:
            self.finish()
            return True
        client.command("NOOP")
        assert not client.search("UID %d" % uid), "UID %d is there, but nothing was done" % uid
        self.doubt = None
        return False

    def flag(self, client, _):
        subject, mailbox, flags, uid = self.chosen(client)
        flag = self.random.choice(FLAGS)
        if flag.lower() in flags:
            sign, flags = "-", flags - {flag.lower()}
        else:
            sign, flags = "+", flags | {flag.lower()}
        self.begin(subject, (mailbox, flags))
        client.command("UID STORE %d %sFLAGS (%s)" % (uid, sign, flag))
        self.finish_if_told(client, uid, b"FETCH")

    def move(self, client, _):
        subject, mailbox, flags, uid = self.chosen(client)
        target = MAILBOXES[1 - MAILBOXES.index(mailbox)]
        self.begin(subject, (target, flags))
        text = client.command('UID MOVE %d "%s"' % (uid, target))
        self.finish_if_told(client, uid, b"COPYUID", text)

    def expunge(self, client, _):
        subject, mailbox, flags, uid = self.chosen(client)
        self.begin(subject, (mailbox, flags | {"\\deleted"}))
        client.command("UID STORE %d +FLAGS (\\Deleted)" % uid)
        if not self.finish_if_told(client, uid, b"FETCH"):
            return
        self.begin(subject, None)
        client.command("UID EXPUNGE %d" % uid)
        self.finish_if_told(client, uid, b"EXPUNGE")


class CrashKill9(chapar.TestCase):
    def setUp(self):
        super().setUp()
        print("seed %d" % SEED)
        self.random = random.Random(SEED)
        self.nodes = self.pair()
        self.users = ["u%d" % number for number in range(WORKERS)]
        self.models = {user: {} for user in self.users}
        self.histories = {user: [] for user in self.users}
        self.uids_seen = {}  # (node, user, mailbox, UIDVALIDITY, UID) -> subject

    def start(self):
        self.nodes.start(*self.users)
        for user in self.users:
            with self.nodes.a.imap(user) as client:
                client.command("CREATE Archive")
        for user in self.users:
            self.nodes.wait_equal(user)

    def observe(self, node, user):
        """{subject: [(mailbox, flags), ...]}, and P2 over all that was ever seen."""
        found = {}
        for mailbox, state in chapar.snapshot(node, user).items():
            if mailbox == "":
                continue
            for uid, entry in state[2].items():
                flags, subject = frozenset(entry[0].split()), entry[4]
                found.setdefault(subject, []).append((mailbox, flags))
                name = (node.name, user, mailbox, state[0], uid)
                self.assertEqual(self.uids_seen.setdefault(name, subject), subject, name)
        return found

    def check(self, node, worker):
        """The account must be the model, with or without the operation in doubt."""
        found = self.observe(node, worker.user)
        subject_in_doubt, state_in_doubt = worker.doubt or (None, None)
        for subject in sorted(set(worker.model) | set(found)):
            allowed = [worker.model.get(subject)]
            if subject == subject_in_doubt:
                allowed.append(state_in_doubt)
            places = found.get(subject, [])
            report = "%s\n%s" % (subject, worker.history_of(subject))
            self.assertLessEqual(len(places), 1, "%s is there twice" % report)
            self.assertIn(places[0] if places else None, allowed, report)
        return {subject: places[0] for subject, places in found.items()}

    def crash(self, round_number):
        """One round: load on one node, kill -9 of that or of both, restart, compare."""
        target = self.random.choice(self.nodes.nodes)
        victims = [target] if self.random.random() < 0.7 else list(self.nodes.nodes)
        workers = [
            Worker(
                target,
                user,
                self.models[user],
                self.histories[user],
                SEED * 1000 + round_number * 10 + index,
            )
            for index, user in enumerate(self.users)
        ]
        for worker in workers:
            worker.start()
        time.sleep(self.random.uniform(0.2, 3))
        for victim in victims:
            victim.kill()
        for worker in workers:
            worker.is_ended.set()
            worker.join(60)
            self.assertFalse(worker.is_alive())
            if worker.error is not None:
                raise worker.error
        for victim in victims:
            victim.start()
        for worker in workers:
            self.check(target, worker)
        for victim in victims:
            self.verify_clean(victim)
        for worker in workers:
            self.nodes.wait_equal(worker.user)
            self.models[worker.user] = self.check(target, worker)
        return sum(worker.acknowledged for worker in workers)

    def test_what_was_acknowledged_survives_kill_9(self):
        self.start()
        acknowledged = 0
        for round_number in range(ROUNDS):
            acknowledged += self.crash(round_number)
        print("%d crashes, %d acknowledged operations" % (ROUNDS, acknowledged))
        self.assertGreater(acknowledged, ROUNDS, "the load did hardly anything")


if __name__ == "__main__":
    chapar.main()
