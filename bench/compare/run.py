#!/usr/bin/env python3
"""Chapar beside its peers, all steps in one run; prints a table in Markdown and writes plots.

What was measured is in OUT/results.json after each step, and what the tools printed in OUT/raw: a
step that fails costs only its own rows.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from compare import servers, steps, table  # noqa: E402


class Run:
    def __init__(self, options, folder):
        self.folder = folder
        self.build = os.path.abspath(options.build)
        self.mailload_program = os.path.join(self.build, "bench/mailload")
        self.out = os.path.abspath(options.out)
        self.messages = options.messages
        self.scale = options.scale
        self.repetitions = options.reps
        self.slow_repetitions = min(3, options.reps)
        self.seed = int(time.time()) % 100000 * 10
        self.maildir = None
        self.servers = {}
        self.values = {}
        self.seconds = {}
        self.raw = open(os.path.join(self.out, "raw"), "a", encoding="utf-8")

    def scaled(self, count):
        return max(int(count * self.scale / 100), 10)

    def put(self, row, name, value):
        if value is not None:
            self.values.setdefault(row, {}).setdefault(name, []).append(value)

    def rounds(self, count):
        """(repetition, name, server): the servers take turns, so that other load meets all alike."""
        for repetition in range(count):
            for name, server in self.servers.items():
                yield repetition, name, server

    def output(self, words, seconds=300, check=True, env=None):
        """Runs a program and returns what it printed."""
        words = [str(word) for word in words]
        self.raw.write("$ %s\n" % " ".join(words))
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds, check=False, env=env)
        except subprocess.TimeoutExpired as error:
            self.raw.write((error.stdout or b"").decode(errors="replace") + "TIME OUT\n")
            raise
        text = done.stdout.decode(errors="replace")
        self.raw.write(text)
        self.raw.flush()
        if check and done.returncode != 0:
            raise RuntimeError("%s: status %d: %s" % (words[:3], done.returncode, text[-400:]))
        return text

    def mailload(self, *words, **how):
        return self.output([self.mailload_program, *words], **how)

    def settle(self, seconds=30):
        """Waits until no server works any more on what was done before (3 % of a processor)."""
        deadline = time.monotonic() + seconds
        pids = [pid for server in self.servers.values() for pid in server.pids()]
        before = servers.cpu_seconds(pids)
        while time.monotonic() < deadline:
            time.sleep(0.5)
            now = servers.cpu_seconds(pids)
            if now - before <= 0.015:
                return
            before = now

    def save(self):
        meta = {"messages": self.messages, "scale": self.scale, "reps": self.repetitions,
                "slow_reps": self.slow_repetitions, "seconds": self.seconds, "machine": machine(),
                "servers": list(self.servers)}
        with open(os.path.join(self.out, "results.json"), "w", encoding="utf-8") as file:
            json.dump({"meta": meta, "values": self.values}, file, indent=1)


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "%s, %d cores, %d GB, Linux %s" % (model, os.cpu_count(), pages >> 30, os.uname().release)


def load():
    with open("/proc/loadavg", encoding="ascii") as file:
        return file.read().split()[0]


def measure(run, names, chosen):
    for name in names:
        settings = {"BUILD": run.build} if name == "chapar" else None
        run.servers[name] = servers.KINDS[name](run.folder, run.mailload_program, settings)
    began = time.monotonic()
    try:
        for name in list(run.servers):
            try:
                run.servers[name].start(steps.USERS)
            except (subprocess.SubprocessError, OSError, RuntimeError) as error:
                print("%s does not start: %s" % (name, error), file=sys.stderr)
                run.servers.pop(name).stop()
        for step in chosen:
            step_began = time.monotonic()
            print("%s %s (load %s)" % (time.strftime("%T"), step.__name__, load()), file=sys.stderr,
                  flush=True)
            try:
                step(run)
            except Exception:  # the other steps are worth their time, too
                print("step %s failed:" % step.__name__, file=sys.stderr)
                traceback.print_exc()
            run.seconds[step.__name__] = round(time.monotonic() - step_began)
            run.save()
    finally:
        for server in run.servers.values():
            server.stop()
    print("all in %d s" % (time.monotonic() - began), file=sys.stderr)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, prog="run.sh")
    parser.add_argument("--messages", type=int, default=50000, help="in the large mailbox (default 50000)")
    parser.add_argument("--scale", type=float, default=100, help="percent of all other counts")
    parser.add_argument("--reps", type=int, default=5, help="repetitions; 3 at most of what takes minutes")
    parser.add_argument("--peers", default=None, help="default: chapar, and cyrus and dovecot if installed")
    parser.add_argument("--steps", default=None, help="default: all but split")
    parser.add_argument("--build", default=os.path.join(servers.BENCH, "../build"))
    parser.add_argument("--out", default=None, help="folder for what was measured (default: a new one)")
    parser.add_argument("--large", default=None, help="results of large.py, to be told in the same table")
    parser.add_argument("--report", action="store_true", help="only print what is in OUT")
    parser.add_argument("--record", action="store_true", help="write table and plots into docs, too")
    return parser.parse_args()


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options.out = options.out or tempfile.mkdtemp(prefix="chapar-bench-out-")
    os.makedirs(options.out, exist_ok=True)
    all_steps = {step.__name__: step for step in steps.STEPS}
    default = [name for name in all_steps if name != "split"]
    chosen = [all_steps[name] for name in options.steps.split()] if options.steps else [
        all_steps[name] for name in default]
    names = options.peers.split() if options.peers else servers.installed()
    if not options.report:
        folder = tempfile.mkdtemp(prefix="chapar-bench-")
        os.chmod(folder, 0o711)  # the peers' own users pass through
        try:
            measure(Run(options, folder), names, chosen)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    table.report(options.out, options.large, options.record)
    print("measured values: %s" % options.out, file=sys.stderr)


if __name__ == "__main__":
    main()
