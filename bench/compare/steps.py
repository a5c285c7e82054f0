"""The workloads. Each step gets the run (run.py) and puts what it measured: run.put(row, server, value)."""

import os
import re
import shutil
import subprocess
import time

from compare.imap import Imap, seconds_of
from compare.servers import BENCH, KINDS, disk_bytes, private_kib

LARGE_USER, LAG_USER, BOXES_USER = "u0201", "u0211", "u0219"
CATCHUP_USER_FIRST = 220
USERS = 230
MAILBOXES = 201


def number(text, pattern, index=0):
    found = re.findall(pattern, text, re.M)
    return float(found[index]) if len(found) > index else None


def latency(text, prefix, field):
    return number(text, r"^%s n=[1-9]\d* .*\b%s=([\d.]+)" % (re.escape(prefix), field))


# ---- the large mailbox: filled on A alone, then copied for the first time


def fill(run):
    run.maildir = os.path.join(run.folder, "maildir/cur")
    os.makedirs(run.maildir, exist_ok=True)
    text = run.mailload("gen", "--dir", run.maildir, "--count", run.messages, "--seed", 42)
    run.put("message_bytes", "all", number(text, r"avg=(\d+)"))
    for name, server in run.servers.items():
        server.cut()
        subprocess.run(["sync"], check=True)
        before = disk_bytes(os.path.join(run.folder, server.store_a))
        text = run.mailload("append", "--imap", server.env["A_IMAP"], "--user", LARGE_USER, "--count",
                            run.messages, "--multi", 50, "--seed", 42, seconds=1200)
        run.put("fill", name, number(text, r"^append conns=.* rate=([\d.]+)"))
        server.refresh()
        subprocess.run(["sync"], check=True)
        after = disk_bytes(os.path.join(run.folder, server.store_a))
        run.put("disk", name, (after - before) / run.messages)


def rsync_once(run):
    target = os.path.join(run.folder, "rsync-target")
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["sync"], check=True)

    def copy():
        subprocess.run(["rsync", "-a", run.maildir + "/", target + "/"], check=True)
        subprocess.run(["sync", "-f", target], check=True)

    run.put("first_sync", "rsync", seconds_of(copy))
    shutil.rmtree(target)


def wait_complete(run, where, user, messages, seconds=600):
    """Waits until that server shows the messages of the user's INBOX."""
    began = time.monotonic()
    client = state = None
    while True:
        try:
            client = client or Imap(where, user)
            state = client.status("INBOX", "MESSAGES")
        except (RuntimeError, OSError):  # the account is not there yet, or its session ended as it came
            client = None
        if client is not None and state is not None and state.get("MESSAGES", 0) >= messages:
            break
        if time.monotonic() - began > seconds:
            raise RuntimeError("%s has not all of %s after %d s: %s" % (where, user, seconds, state))
        time.sleep(0.01)
    client.close()


def first_sync(run):
    for _ in range(run.slow_repetitions):
        if run.maildir:
            rsync_once(run)
        if "chapar" in run.servers:
            server = run.servers["chapar"]
            server.cut()
            server.run("empty", "B")
            server.learn(server.run("env"))
            began = time.monotonic()
            server.heal()
            wait_complete(run, server.env["B_IMAP"], LARGE_USER, run.messages)
            run.put("first_sync", "chapar", time.monotonic() - began)
            run.settle()
    for name in ("cyrus", "dovecot"):
        if name in run.servers:
            server = run.servers[name]
            run.put("first_sync", name, seconds_of(lambda: server.run("sync", LARGE_USER, seconds=900)))
            wait_complete(run, server.env["B_IMAP"], LARGE_USER, run.messages, 5)
    for server in run.servers.values():
        server.heal()
    if run.maildir:
        shutil.rmtree(os.path.dirname(run.maildir), ignore_errors=True)
    run.settle()


# ---- reading and changing it

FETCHES = ["SELECT", "FLAGS", "ENVELOPE", "HEADER.FIELDS", "HEADER.FIELDS-uncached", "BODYSTRUCTURE",
           "SEARCH-SUBJECT", "SEARCH-FLAGGED", "SEARCH-TEXT", "BODY.PEEK[]", "CHANGEDSINCE-100",
           "SELECT-QRESYNC"]


def fetch(run):
    """One repetition more than asked: the first is kept apart."""
    if "chapar" in run.servers:
        run.servers["chapar"].refresh()
    run.settle()
    for repetition, name, server in run.rounds(run.repetitions + 1):
        text = run.mailload("fetch", "--imap", server.env["A_IMAP"], "--user", LARGE_USER, "--reps", 3,
                            "--few", 1, "--quickack", 1, seconds=600)
        for label in FETCHES:
            line = r"^fetch %s +.*?" % re.escape(label)
            if repetition == 0:
                run.put(label + ".first", name, number(text, line + r"first_ms=([\d.]+)"))
            else:
                run.put(label, name, number(text, line + r"median_ms=([\d.]+)"))
        run.put("download", name, number(text, r"^fetch BODY\.PEEK\[\] .*MBps=([\d.]+)"))


def store(run):
    for _, name, server in run.rounds(run.repetitions):
        run.settle()
        text = run.mailload("store", "--imap", server.env["A_IMAP"], "--user", LARGE_USER, "--count",
                            run.scaled(1000), "--reps", 1)
        run.put("store_one", name, number(text, r"^store one-by-one n=\d+ ops/s=([\d.]+)"))
        run.put("store_pipelined", name, number(text, r"^store pipelined .* ops/s=([\d.]+)"))
        run.put("store_all", name, number(text, r"^store single-command .* ms=([\d.]+)"))
    run.settle(120)


# ---- writing


def deliver(run):
    for connections in (8, 64):
        for repetition, name, server in run.rounds(run.repetitions):
            run.settle()
            text = run.mailload(
                "deliver", "--lmtp", server.env["A_LMTP"], "--users", 200, "--conns", connections,
                "--count", run.scaled(5000), "--seed", 1000 * connections + repetition + run.seed,
                "--pid", server.env["A_PID"], "--pid-b", server.env["B_PID"], "--imap-b",
                server.env["B_IMAP"], check=False, seconds=600)
            row = "deliver%d" % connections
            run.put(row, name, number(text, r"^deliver conns=.* rate=([\d.]+)"))
            run.put(row + ".p99", name, latency(text, "deliver", "p99_ms"))
            run.put(row + ".cpu_a", name, number(text, r"^deliver cost A: cpu_ms/op=([\d.]+)"))
            run.put(row + ".cpu_b", name, number(text, r"^deliver cost B: cpu_ms/op=([\d.]+)"))
            run.put(row + ".drain", name, number(text, r"^drain complete secs=([\d.]+)"))


def append(run):
    for repetition, name, server in run.rounds(run.repetitions):
        count, seed = run.scaled(1000), 100 * repetition + run.seed
        common = ["append", "--imap", server.env["A_IMAP"]]
        for row, words, factor in (
                ("append1", ["--user", "u0202", "--seed", 7000000 + seed], 1),
                ("append8", ["--first", 203, "--conns", 8, "--seed", 8000000 + seed], 2),
                ("append_multi", ["--user", "u0202", "--multi", 50, "--seed", 9000000 + seed], 2)):
            run.settle()
            text = run.mailload(*common, *words, "--count", factor * count)
            run.put(row, name, number(text, r"^append conns=.* rate=([\d.]+)"))


# ---- replication


def lag_once(run, name, server, suffix, words):
    # An expunge alone never reaches Dovecot's other side: it would be waited for in vain.
    only = "af" if name == "dovecot" else "afx"
    text = run.mailload("lag", "--imap-a", server.env["A_IMAP"], "--imap-b", server.env["B_IMAP"],
                        "--user", LAG_USER, "--only", only, *words, check=False, seconds=400)
    for what, prefix in (("append", "lag append (B by NOOP)"), ("flag", "lag flag"),
                         ("expunge", "lag expunge")):
        for field in ("p50", "p99"):
            run.put("lag_%s%s.%s" % (what, suffix, field), name, latency(text, prefix, field + "_ms"))


def lag(run):
    for name, server in run.servers.items():
        run.settle()
        lag_once(run, name, server, "", ["--count", run.scaled(200), "--jitter", 200, "--seconds", 60])


def lag_loaded(run):
    """While A takes mail as fast as it can from 8 connections."""
    for name, server in run.servers.items():
        run.settle()
        with open(os.path.join(run.folder, "load.txt"), "wb") as out:
            load = subprocess.Popen(
                [run.mailload_program, "deliver", "--lmtp", server.env["A_LMTP"], "--users", "200",
                 "--conns", "8", "--count", "10000000", "--seed", str(555000 + run.seed)],
                stdout=out, stderr=out)
        try:
            lag_once(run, name, server, "_loaded",
                     ["--count", run.scaled(100), "--jitter", 50, "--seconds", 25, "--max", 20])
        finally:
            load.terminate()
            load.wait()
        run.settle(180)


def catchup(run):
    for repetition, name, server in run.rounds(run.slow_repetitions):
        run.settle()
        user = "u%04d" % (CATCHUP_USER_FIRST + repetition)
        script = os.path.join(BENCH, server.script)
        heal = script + " heal"
        if name == "dovecot":  # it would try again only after minutes by itself
            heal += "; %s kick %s" % (script, user)
        text = run.mailload(
            "catchup", "--imap-a", server.env["A_IMAP"], "--imap-b", server.env["B_IMAP"], "--user", user,
            "--count", run.scaled(5000), "--flag", run.scaled(1000), "--cut", script + " cut", "--heal",
            heal, "--max", 120, check=False, seconds=900, env=server.settings)
        run.put("catchup", name, number(text, r"all_equal_s=([\d.]+)"))
    run.settle(60)


def unchanged(run):
    """An account of 201 mailboxes of which nothing is new, asked about by a connection of its own."""
    for name, server in run.servers.items():
        run.mailload("mkbox", "--imap", server.env["A_IMAP"], "--user", BOXES_USER, "--count",
                     MAILBOXES - 1, "--msgs", 2)
        run.settle(60)
        if name == "chapar":
            unchanged_chapar(run, server)
            continue
        if name == "cyrus":
            server.cut()
            server.run("sync", BOXES_USER)
            before = server.proxy_totals()
            run.put("unchanged.s", name, seconds_of(lambda: server.run("sync", BOXES_USER, seconds=40)))
            after = server.proxy_totals()
            server.heal()
        else:
            server.settings.update(STATE="", VIA=server.env["B_VIA"].rsplit(":", 1)[1])
            server.settings["STATE"] = server.run("sync", BOXES_USER, seconds=40).strip()
            before = server.proxy_totals()
            run.put("unchanged.s", name, seconds_of(lambda: server.run("sync", BOXES_USER, seconds=40)))
            after = server.proxy_totals()
            del server.settings["STATE"], server.settings["VIA"]
        if after == before:  # it was not done after all
            continue
        run.put("unchanged.bytes", name, after[0] - before[0])
        run.put("unchanged.trips", name, (after[1] - before[1]) / 2)


def unchanged_chapar(run, server):
    """The exchange by itself; a clone with its login; and the channel when its wire is healed."""
    client = Imap(server.env["B_IMAP"], "A", "replication-secret")
    client.must("SYNC HELLO %(NODE d659cce65af39af6 VERSION 1 SOFTWARE bench)")
    before = client.sent + client.received
    answer = client.must("SYNC POINTS %%(ACCOUNTS (%s))" % BOXES_USER)
    if b"DIGEST" not in answer[0]:
        raise RuntimeError("POINTS: %r" % answer)
    run.put("unchanged.exchange", "chapar", client.sent + client.received - before)
    client.close()

    tool = os.path.join(run.build, "src/chapar/chapar")
    clone = os.path.join(run.folder, "clone")
    password = os.path.join(run.folder, "clone-password")
    with open(password, "w", encoding="ascii") as out:
        out.write("secret\n")
    os.chmod(password, 0o600)
    port = int(server.env["B_IMAP"].rsplit(":", 1)[1]) + 3  # the proxy in front of B
    subprocess.run([tool, "clone", "imap://%s@127.0.0.1:%d/" % (BOXES_USER, port), clone, "--no-tls",
                    "--password-file", password], check=True, stdout=subprocess.DEVNULL)
    before = server.proxy_totals()
    run.put("unchanged.s", "chapar", seconds_of(lambda: subprocess.run(
        [tool, "sync", clone, "--password-file", password], check=True, stdout=subprocess.DEVNULL)))
    after = server.proxy_totals()
    run.put("unchanged.bytes", "chapar", after[0] - before[0])
    run.put("unchanged.trips", "chapar", (after[1] - before[1]) / 2)
    shutil.rmtree(clone)

    server.cut()
    with open(server.proxy_files()[0][1], "w", encoding="ascii"):
        pass
    server.heal()
    time.sleep(4)
    after = server.proxy_totals()
    run.put("reconnect.bytes", "chapar", after[0])
    run.put("reconnect.trips", "chapar", after[1] / 2)


# ---- memory and disk


def idle(run):
    for name, server in run.servers.items():
        if name == "chapar":
            count = run.scaled(10000)
            idle_once(run, name, ["--build", run.build], count, 30)
            idle_once(run, name, ["--build", run.build, "--tls"], count, 30)
            continue
        where = ["--imap", server.env["A_IMAP"], "--pid", server.env["A_PID"]]
        idle_once(run, name, where, run.scaled(200 if name == "cyrus" else 500), 0)
        # Few: Dovecot wakes no more than the 128 for whom it gets inotify instances.
        text = idle_run(run, where, 20, 10)
        run.put("idle.wake", name, number(text, r"median ([\d.]+) ms"))


def idle_run(run, where, count, wakes):
    script = os.path.join(BENCH, "idle-memory.py")
    return run.output(["python3", script, *where, "--count", str(count), "--wakes", str(wakes)], seconds=400)


def idle_once(run, name, where, count, wakes):
    text = idle_run(run, where, count, wakes)
    row = "idle_tls" if "--tls" in where else "idle"
    run.put(row, name, number(text, r": ([\d.]+) KiB each"))
    run.put(row + ".count", name, count)
    run.put(row + ".wake", name, number(text, r"median ([\d.]+) ms"))


LEVELS = (0, 1, 3, 9)


def levels(run):
    """Chapar's disk use and effort by level of compression, on servers of their own."""
    count = max(run.messages // 5, 100)
    for level in LEVELS:
        folder = os.path.join(run.folder, "level%d" % level)
        os.makedirs(folder)
        server = KINDS["chapar"](folder, run.mailload_program, {
            "BASE": "24000", "COMPRESSION": str(level), "BUILD": run.build})
        try:
            server.start(1)
            run.put("memory.empty", "chapar", private_kib(server.pids()[0]) / 1024)
            server.cut()
            store_folder = os.path.join(folder, server.store_a)
            before = disk_bytes(store_folder)
            text = run.mailload("append", "--imap", server.env["A_IMAP"], "--user", "u0001", "--count",
                                count, "--multi", 50, "--seed", 42, "--pid", server.env["A_PID"])
            server.run("stop")
            run.put("level%d.disk" % level, "chapar", (disk_bytes(store_folder) - before) / count)
            run.put("level%d.cpu" % level, "chapar", number(text, r"cost A: cpu_ms/op=([\d.]+)"))
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


def split(run):
    """What becomes of mail when both sides changed while the wire was cut (not in the table)."""
    for name, server in run.servers.items():
        script = os.path.join(BENCH, server.script)
        user = "u0218"
        heal = script + " heal" + ("; %s kick %s" % (script, user) if name == "dovecot" else "")
        text = run.mailload(
            "splitbrain", "--imap-a", server.env["A_IMAP"], "--imap-b", server.env["B_IMAP"], "--user",
            user, "--cut", script + " cut", "--heal", heal, "--quiet", 10, "--max", 60, check=False,
            seconds=300, env=server.settings)
        for field in ("lost_or_missing", "duplicated", "flag_changes_lost", "resurrected", "uid_reused",
                      "A_B_differences"):
            run.put("split." + field, name, number(text, r"^splitbrain summary: .*\b%s=(\d+)" % field))


STEPS = [fill, first_sync, fetch, store, append, deliver, lag, lag_loaded, catchup, unchanged, idle, levels,
         split]
