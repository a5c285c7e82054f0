"""Three to five live nodes in any shape under mixed load, with links cut and nodes killed at random:
when all is well again the copies are identical, and hold what clients were told, once each.

CHAPAR_SECONDS sets how long the load goes on (default 15), CHAPAR_SEED the seed, CHAPAR_NODES and
CHAPAR_SHAPE what else the seed would choose.
"""

import os
import random
import time

import chapar_test as chapar
from graph_test import RENAMED, SHAPES, SHARED, Graph, Ledger, Worker, read_state

SECONDS = float(os.environ.get("CHAPAR_SECONDS", "15"))
SEED = int(os.environ.get("CHAPAR_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
USERS = ["alice", "bob"]


class Chaos:
    """Cuts and heals links, kills and starts nodes."""

    def __init__(self, graph, seed):
        self.graph = graph
        self.random = random.Random(seed)
        self.dead = {}  # node -> when to start it
        self.counts = {"cuts": 0, "kills": 0}

    def run(self, seconds, watch):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            watch()
            self.step()
            time.sleep(self.random.uniform(0.2, 1.2))
        for node in list(self.dead):
            self.raise_up(node)
        self.graph.heal()

    def step(self):
        now = time.monotonic()
        for node in [node for node, when in self.dead.items() if when <= now]:
            self.raise_up(node)
        draw = self.random.random()
        if draw < 0.45:
            self.graph.cut(*self.random.choice(self.graph.edges))
            self.counts["cuts"] += 1
        elif draw < 0.6:
            # In the midst of something that is being sent.
            wire = self.random.choice(sorted(self.graph.wires))
            self.graph.wires[wire].cut_after(self.random.randrange(1, 20000))
            self.counts["cuts"] += 1
        elif draw < 0.8:
            self.graph.heal()
        elif draw < 0.95 and len(self.dead) < 2:
            self.kill(self.random.choice([n for n in self.graph.nodes if n not in self.dead]))

    def kill(self, node):
        node.kill()
        self.dead[node] = time.monotonic() + self.random.uniform(0, 3)
        self.counts["kills"] += 1

    def raise_up(self, node):
        del self.dead[node]
        node.start()


class FiveNodes(chapar.TestCase):
    def setUp(self):
        super().setUp()
        draw = random.Random(SEED)
        count = int(os.environ.get("CHAPAR_NODES", "0")) or draw.randrange(3, 6)
        shape = os.environ.get("CHAPAR_SHAPE") or draw.choice(sorted(SHAPES))
        print("seed %d: %d nodes, %s" % (SEED, count, shape))
        self.graph = Graph(self.folder, shape, count)
        self._nodes += self.graph.nodes
        self._wires += self.graph.wires.values()
        self.ledgers = {user: Ledger() for user in USERS}

    def prepare(self):
        self.graph.start(*USERS)
        for user in USERS:
            with self.graph.nodes[0].imap(user) as client:
                for name in SHARED[1:] + [base + "-0" for base in RENAMED]:
                    client.command("CREATE " + name)
            for base in RENAMED:
                self.ledgers[user].register("name", base, initial=[base + "-0"])
            self.graph.wait_equal(user)

    def load(self):
        workers = [
            Worker(node, user, self.ledgers[user], SEED * 1000 + 10 * index + number)
            for index, node in enumerate(self.graph.nodes)
            for number, user in enumerate(USERS)
        ]

        def watch():
            for worker in workers:
                if worker.error is not None:
                    raise worker.error
            for ledger in self.ledgers.values():
                self.assertEqual(ledger.faults, [])

        chaos = Chaos(self.graph, SEED)
        for worker in workers:
            worker.start()
        try:
            chaos.run(SECONDS, watch)
        finally:
            for worker in workers:
                worker.is_ended.set()
            for worker in workers:
                worker.join(60)
        watch()
        return chaos.counts

    def test_what_was_acknowledged_is_everywhere_and_once(self):
        self.prepare()
        counts = self.load()
        self.graph.wait_calm()
        faults = []
        for user in USERS:
            self.graph.wait_equal(user)
            ledger = self.ledgers[user]
            with self.graph.nodes[0].imap(user) as client:
                faults += ["%s: %s" % (user, f) for f in ledger.check(*read_state(client, ledger))]
        for node in self.graph.nodes:
            self.verify_clean(node)
        acts = sum(ledger.act_count for ledger in self.ledgers.values())
        print("%d acts acknowledged, %s" % (acts, counts))
        self.assertEqual(faults, [])
        self.assertGreater(acts, SECONDS, "the load did hardly anything")


if __name__ == "__main__":
    chapar.main()
