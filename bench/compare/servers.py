"""The servers that are compared: pairs A and B, started and cut by the scripts beside this folder."""

import os
import subprocess
import time

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAMES = {"chapar": "Chapar", "cyrus": "Cyrus 3.6", "dovecot": "Dovecot 2.3"}
TICKS = os.sysconf("SC_CLK_TCK")


def installed():
    """Chapar, and the peers that can be started here (bench/peers/setup.sh installs them)."""
    found = ["chapar"]
    if os.geteuid() == 0:
        if os.access("/usr/lib/cyrus/bin/master", os.X_OK):
            found.append("cyrus")
        if os.access("/usr/sbin/dovecot", os.X_OK) and os.access("/usr/lib/dovecot/imap", os.X_OK):
            found.append("dovecot")
    return found


def tree(pids):
    """These processes and all that descend from them."""
    pids = list(pids)
    for parent in pids:
        try:
            with open("/proc/%d/task/%d/children" % (parent, parent), encoding="ascii") as children:
                pids += [int(child) for child in children.read().split()]
        except OSError:
            pass
    return pids


def cpu_seconds(pids):
    ticks = 0
    for pid in tree(pids):
        try:
            with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def private_kib(pid):
    """Private memory of one process besides pages of files: what it costs the machine."""
    with open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_Dirty:"))


def disk_bytes(folder):
    """What the files of a folder take, in blocks."""
    out = subprocess.run(["du", "-s", "--block-size=1", folder], check=True, capture_output=True)
    return int(out.stdout.split()[0])


class Server:
    """One kind of server. `env` has A_IMAP, A_LMTP, A_PID, B_... while it runs."""

    script = None
    store_a = None  # the folder with what A keeps, below BENCH_TMP

    def __init__(self, folder, mailload, settings=None):
        self.folder = folder
        self.mailload = mailload
        self.settings = dict(os.environ, BENCH_TMP=folder, MAILLOAD=mailload, **(settings or {}))
        self.env = {}
        self.proxy = None

    def run(self, *words, seconds=300, check=True):
        """Runs the script; returns what it printed."""
        log = os.path.join(self.folder, "scripts.log")
        with open(log, "ab") as errors:
            done = subprocess.run(
                [os.path.join(BENCH, self.script), *map(str, words)], env=self.settings,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, timeout=seconds,
                check=False)
        if check and done.returncode != 0:
            with open(log, encoding="utf-8", errors="replace") as errors:
                raise RuntimeError("%s %s: status %d: %s" % (
                    self.script, words, done.returncode, errors.read()[-600:]))
        return done.stdout.decode(errors="replace")

    def learn(self, text):
        self.env.update(line.split("=", 1) for line in text.split() if "=" in line)

    def start(self, users):
        self.settings["USERS"] = str(users)
        self.learn(self.run("start"))
        self.run("adduser", users)

    def stop(self):
        self.run("stop", check=False)

    def cut(self):
        self.run("cut")

    def heal(self):
        self.run("heal")

    def refresh(self):
        """Begins anew with what is on disk; nothing to do where each connection has a process."""

    def pids(self):
        return [int(self.env[side + "_PID"]) for side in "AB"]

    def proxy_totals(self):
        """(bytes, turns) of all links so far between A and B, open ones too."""
        total = [0, 0]
        for pid_file, log in self.proxy_files():
            with open(pid_file, encoding="ascii") as file:
                os.kill(int(file.read()), 10)  # SIGUSR1
            time.sleep(0.3)
            with open(log, encoding="ascii") as file:
                line = [line for line in file if line.startswith("proxy totals")][-1]
            fields = dict(word.split("=") for word in line.split() if "=" in word)
            total[0] += int(fields["to_server"]) + int(fields["to_client"])
            total[1] += int(fields["turns"])
        return total


class Chapar(Server):
    script = "chapar.sh"
    store_a = "chapar/A/store"

    def start(self, users):
        self.settings["USERS"] = str(users)
        self.learn(self.run("start"))

    def refresh(self):
        self.run("restart", "A")
        self.learn(self.run("env"))

    def proxy_files(self):
        """(file with the process id, log) of each relay; here of that from A to B alone."""
        return [(os.path.join(self.folder, "chapar/proxy-AB.pid"),
                 os.path.join(self.folder, "chapar/proxy-AB.log"))]


class Cyrus(Server):
    script = "peers/cyrus.sh"
    store_a = "cyrus/A"

    def start(self, users):
        """The wire goes through a proxy here, as it does with the others by their scripts."""
        base = int(self.settings.setdefault("BASE", "21000"))
        self.settings.update(INTERVAL="0", PROXY=str(base + 3))
        pid_file, log = self.proxy_files()[0]
        os.makedirs(os.path.dirname(log), exist_ok=True)
        os.chmod(os.path.dirname(log), 0o711)
        with open(log, "ab") as out:
            self.proxy = subprocess.Popen(
                [self.mailload, "proxy", "--listen", str(base + 3), "--to",
                 "127.0.0.1:%d" % (base + 12)], stdout=out, stderr=out)
        with open(pid_file, "w", encoding="ascii") as file:
            file.write("%d\n" % self.proxy.pid)
        super().start(users)

    def stop(self):
        super().stop()
        if self.proxy:
            self.proxy.terminate()
            self.proxy.wait()
            self.proxy = None

    def proxy_files(self):
        return [(os.path.join(self.folder, "cyrus/proxy.pid"),
                 os.path.join(self.folder, "cyrus/proxy.log"))]


class Dovecot(Server):
    script = "peers/dovecot.sh"
    store_a = "dovecot/A/home"

    def start(self, users):
        self.settings["PROXY"] = "1"
        super().start(users)

    def proxy_files(self):
        return [(os.path.join(self.folder, "dovecot/proxy%s.pid" % way),
                 os.path.join(self.folder, "dovecot/proxy%s.log" % way)) for way in ("AB", "BA")]


KINDS = {"chapar": Chapar, "cyrus": Cyrus, "dovecot": Dovecot}
