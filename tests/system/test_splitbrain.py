"""Both copies of an account are changed in every way while the wire is cut: all of it is kept."""

import os
import signal
import re
import subprocess
import sys

import chapar_test as chapar

SEED = os.environ.get("CHAPAR_SEED", "3")


class SplitBrain(chapar.TestCase):
    def test_a_split_brain_heals_without_loss(self):
        pair = self.pair()
        pair.start("u0001")
        # The load driver cuts and heals by a command: a signal to this process.
        signal.signal(signal.SIGUSR1, lambda *_: pair.cut())
        signal.signal(signal.SIGUSR2, lambda *_: pair.heal())
        driver = subprocess.Popen(
            [chapar.MAILLOAD, "splitbrain", "--user", "u0001", "--seed", SEED]
            + ["--imap-a", "%s:%d" % (pair.a.address, pair.a.imap_port)]
            + ["--imap-b", "%s:%d" % (pair.b.address, pair.b.imap_port)]
            + ["--cut", "kill -USR1 %d; sleep 1" % os.getpid()]
            + ["--heal", "kill -USR2 %d; sleep 0.2" % os.getpid()]
            + ["--quiet", "6", "--max", "90"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", preexec_fn=chapar.end_with_parent,
        )
        output, _ = driver.communicate(timeout=400)
        sys.stdout.write(output)
        self.assertEqual(driver.returncode, 0)
        summary = re.search(r"splitbrain summary: (.*)", output).group(1)
        counts = dict(re.findall(r"(\w+)=(\d+)", summary))
        # UIDVALIDITY may change where two mailboxes of one name are united.
        counts.pop("uidvalidity_changed")
        self.assertEqual({name: int(value) for name, value in counts.items() if value != "0"}, {})
        self.assertTrue(summary.endswith(" EQUAL") and "NOT EQUAL" not in summary, summary)
        for node in pair.nodes:
            self.verify_clean(node)


if __name__ == "__main__":
    chapar.main()
