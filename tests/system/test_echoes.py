"""Changes do not echo: in nodes of any shape, each change is taken by each of the other nodes once, and
crosses no link more than once in a direction, whoever made it."""

import chapar_test as chapar
from chapar_test import message, snapshot, wait_until
from graph_test import Graph

CHANGES = 10
RECORDS = 2 * CHANGES  # a delivery changes two records: the message and its mailbox
# On a busy machine the node that gives the UIDs may not answer in time: then two nodes give them, and what merges that is a
# change of its own.
SPARE = 2


class Echoes(chapar.TestCase):
    def counts(self, graph):
        """(records taken by peers, records sent at all), by (node, peer)."""
        return {
            (node.name, row["name"]): (row["records-sent"], row["records-offered"])
            for node in graph.nodes
            for row in graph.channels(node)
        }

    def change(self, graph):
        """Changes made one after the other, each on another node, when all know the one before."""
        for number in range(CHANGES):
            node = graph.nodes[number % len(graph.nodes)]
            subject = "change %d" % number
            node.deliver("alice", message(subject))
            wait_until(
                lambda: all(self.has(n, number + 1) for n in graph.nodes),
                chapar.SYNC_SECONDS, subject + " is everywhere")
        graph.wait_calm()

    @staticmethod
    def has(node, count):
        return len(snapshot(node, "alice")["INBOX"][2]) == count

    def check(self, shape, node_count):
        graph = Graph("%s/%s%d" % (self.folder, shape, node_count), shape, node_count)
        self._nodes += graph.nodes
        self._wires += graph.wires.values()
        graph.start("alice")
        graph.wait_equal("alice")
        graph.wait_calm()
        before = self.counts(graph)
        self.change(graph)
        after = self.counts(graph)
        sent = {link: after[link][0] - before[link][0] for link in after}
        offered = {link: after[link][1] - before[link][1] for link in after}
        print("%s of %d: %d changes, %d records taken, %d sent" % (
            shape, node_count, CHANGES, sum(sent.values()), sum(offered.values())))
        self.assertLessEqual(sum(sent.values()), (RECORDS + SPARE) * (node_count - 1))
        self.assertGreater(sum(sent.values()), 0)
        for (node, peer), count in offered.items():
            self.assertLessEqual(count, RECORDS + SPARE, "from %s to %s" % (node, peer))
            self.assertLessEqual(
                sent[node, peer] + sent[peer, node], RECORDS + SPARE, "%s and %s" % (node, peer))
        graph.kill()

    def test_a_pair(self):
        self.check("chain", 2)

    def test_a_chain(self):
        self.check("chain", 4)

    def test_a_star(self):
        self.check("star", 4)

    def test_a_ring(self):
        self.check("ring", 4)

    def test_a_full_mesh_of_five(self):
        self.check("mesh", 5)


if __name__ == "__main__":
    chapar.main()
