#!/usr/bin/env python3
"""Two Chapar nodes on this machine, for trying out: what `make run` starts.

Keeps everything in one folder (default .run): A and B hold configuration, store and log. The two
replicate to each other over relays of this process, so that the link can be cut and healed. It runs
until Ctrl-C and then stops both nodes in good order.
"""

import argparse
import os
import signal
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import chapar_test as chapar  # noqa: E402  (after the path)

ADDRESS = "127.0.0.1"
USER = "alice"
SAMPLES = [
    ("Welcome to Chapar", "This message was delivered to node A and replicated to node B.\r\n"),
    ("Lunch on Thursday?", "The place by the river, at noon.\r\n"),
    ("Minutes of the meeting", "1. Everybody agreed.\r\n2. See 1.\r\n"),
]

GUIDE = r"""
Two nodes run, each with a copy of the account of {user}, and keep them the same.

  mail client     user {user}, password {password}
                  node A: {address} port {a.imap_port} (STARTTLS or none) or {a.imaps_port} (TLS)
                  node B: {address} port {b.imap_port} (STARTTLS or none) or {b.imaps_port} (TLS)
                  The certificate is self-signed: the client will ask once.
  read mail       curl -s --user {user}:{password} 'imap://{address}:{b.imap_port}/INBOX;MAILINDEX=1'
  deliver mail    (printf '%s\r\n' 'LHLO me' 'MAIL FROM:<me@example.org>' \
                    'RCPT TO:<{user}@localhost>' DATA 'Subject: hello' '' 'A message.' . QUIT; \
                    sleep 1) | curl -s telnet://{address}:{a.lmtp_port}
                  (LMTP; node B listens on port {b.lmtp_port})
  cut the link    make cut        heal it: make heal        (change both nodes in between)
  watch           {tool} -c {a_config} status
  logs            tail -f {folder}/A/log {folder}/B/log

Ctrl-C stops both nodes. The mail stays in {folder} for the next start.
"""


def pid_file(folder):
    return os.path.join(folder, "pid")


def send_signal(folder, number):
    try:
        with open(pid_file(folder), encoding="ascii") as stored:
            os.kill(int(stored.read()), number)
    except (OSError, ValueError):
        sys.exit("no `make run` is running in %s" % folder)


def make_pair(folder, base):
    pair = chapar.Pair(folder, ADDRESS, base, names=("A", "B"))
    for node in pair.nodes:
        node.certificate = chapar.make_certificate(node.folder, "cert", ADDRESS)
    return pair


def deliver_samples(node):
    for subject, body in SAMPLES:
        node.deliver(USER, chapar.message(subject, body))


def serve(options):
    folder = os.path.abspath(options.folder)
    os.makedirs(folder, exist_ok=True)
    fresh = not os.path.exists(os.path.join(folder, "A", "store"))
    pair = make_pair(folder, options.base)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    signal.signal(signal.SIGUSR1, lambda *_: (pair.cut(), print("The link is cut.", flush=True)))
    signal.signal(signal.SIGUSR2, lambda *_: (pair.heal(), print("The link is healed.", flush=True)))
    try:
        pair.start(*([USER] if fresh else []))
        if fresh:
            deliver_samples(pair.a)
        with open(pid_file(folder), "w", encoding="ascii") as out:
            out.write("%d\n" % os.getpid())
        print(GUIDE.format(
            user=USER, password=chapar.PASSWORD, address=ADDRESS, a=pair.a, b=pair.b,
            folder=os.path.relpath(folder), tool=os.path.relpath(chapar.CHAPAR),
            a_config=os.path.relpath(pair.a.config_file)), flush=True)
        while not done.wait(1):
            for node in pair.nodes:
                if node.process.poll() is not None:
                    sys.exit("node %s ended; its log: %s" % (node.name, node.log_file))
        print("\nStopping both nodes.", flush=True)
        pair.stop()
    finally:
        pair.kill()
        if os.path.exists(pid_file(folder)):
            os.unlink(pid_file(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--folder", default=os.path.join(ROOT, ".run"))
    parser.add_argument("--base", type=int, default=3000, help="port base of A; B has 1000 more")
    parser.add_argument("--seconds", type=int, help="stop by itself after so long")
    parser.add_argument("--cut", action="store_true")
    parser.add_argument("--heal", action="store_true")
    options = parser.parse_args()
    if options.cut or options.heal:
        send_signal(options.folder, signal.SIGUSR1 if options.cut else signal.SIGUSR2)
        return
    chapar.use_build(options.build)
    if options.seconds:
        threading.Timer(options.seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    serve(options)


if __name__ == "__main__":
    main()
