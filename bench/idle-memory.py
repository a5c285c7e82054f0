#!/usr/bin/env python3
"""What an idle connection costs a server: memory for each, and CPU and time of a wake.

    idle-memory.py --build DIR [--count 10000] [--tls] [--wakes 50]
    idle-memory.py --imap HOST:PORT --pid PID [--tls] ...      any server, with users u0001... "secret"

Without --imap it starts a chapard of its own, in a temporary folder, with its default limits.
Opens COUNT connections that log in, SELECT INBOX and IDLE; memory is what the process tree's private
dirty pages (smaps_rollup) grew by, divided by COUNT.
"""
import argparse
import os
import resource
import socket
import ssl
import subprocess
import tempfile
import time

USERS = 200


class Connection:
    def __init__(self, where, tls):
        host, port = where.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=120)
        self.data = b""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.until(b"* OK")

    def until(self, start):
        """Reads up to the line that begins with `start`, and returns it."""
        while True:
            line, found, rest = self.data.partition(b"\r\n")
            if found:
                self.data = rest
                if line.startswith(start) or (start in line and start == b"EXISTS"):
                    return line
                continue
            more = self.socket.recv(65536)
            if not more:
                raise SystemExit("the server closed the connection: %r" % self.data)
            self.data += more

    def command(self, text):
        self.socket.sendall(b"a " + text + b"\r\n")
        line = self.until(b"a ")
        if not line.startswith(b"a OK"):
            raise SystemExit("%r: %r" % (text, line))

    def idle(self, user):
        self.command(b"LOGIN %s secret" % user)
        self.command(b"SELECT INBOX")
        self.socket.sendall(b"a IDLE\r\n")
        self.until(b"+ ")


def tree(pid):
    pids = [pid]
    for parent in pids:
        try:
            with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
                pids += [int(child) for child in children.read().split()]
        except FileNotFoundError:
            pass
    return pids


def memory_kib(pid):
    total = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as rollup:
                total += sum(int(line.split()[1]) for line in rollup
                             if line.startswith("Private_Dirty:"))
        except (FileNotFoundError, ProcessLookupError):
            pass  # a helper process that ended meanwhile
    return total


def cpu_s(pid):
    ticks = 0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def user(number):
    return b"u%04d" % (number % USERS + 1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def chapard_start(build, folder, tls):
    port = free_port()
    certificate = os.path.join(folder, "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                    "-keyout", certificate + ".key", "-out", certificate],
                   check=True, capture_output=True)
    config = os.path.join(folder, "chapard.conf")
    with open(config, "w", encoding="ascii") as out:
        out.write(f"""node = "bench"
store {{
	path = "store"
}}
tls {{
	certificate = "{certificate}"
	key = "{certificate}.key"
}}
listen {"imaps" if tls else "imap"} {{
	address = "127.0.0.1:{port}"
}}
allow-plaintext-loopback = true
log-level = "warning"
""")
    tool = os.path.join(build, "src/chapar/chapar")
    names = [user(number).decode() for number in range(USERS)]
    subprocess.run([tool, "-c", config, "account", "add", *names, "--password-file", "-"],
                   input=b"secret\n", check=True, capture_output=True)
    daemon = subprocess.Popen([os.path.join(build, "src/chapard/chapard"), "-c", config])
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    return daemon, f"127.0.0.1:{port}"


def measure(where, pid, arguments):
    warm = [Connection(where, arguments.tls) for _ in range(50)]
    for number, connection in enumerate(warm):
        connection.idle(user(number))
    before = memory_kib(pid)
    began = time.monotonic()
    connections = []
    for number in range(arguments.count):
        connection = Connection(where, arguments.tls)
        connection.idle(user(number))
        connections.append(connection)
    seconds = time.monotonic() - began
    time.sleep(3)
    after = memory_kib(pid)
    print(f"idle connections={arguments.count} tls={arguments.tls} opened/s="
          f"{arguments.count / seconds:.0f} private dirty {before} -> {after} KiB: "
          f"{(after - before) / arguments.count:.2f} KiB each", flush=True)
    wake(where, pid, connections, arguments)


def wake(where, pid, connections, arguments):
    """One user's connections are woken by each APPEND; all others are not."""
    appender = Connection(where, arguments.tls)
    appender.command(b"LOGIN u0001 secret")
    woken = connections[0::USERS]
    latencies = []
    cpu = cpu_s(pid)
    for _ in range(arguments.wakes):
        appender.command(b"APPEND INBOX {20+}\r\nSubject: x\r\n\r\nhello!")
        began = time.monotonic()
        woken[0].until(b"EXISTS")
        latencies.append(time.monotonic() - began)
        for connection in woken[1:]:
            connection.until(b"EXISTS")
    cpu = cpu_s(pid) - cpu
    latencies.sort()
    if latencies:
        print(f"wakes={arguments.wakes} of {len(woken)} connections each: first after the OK, median "
              f"{latencies[len(latencies) // 2] * 1000:.2f} ms, CPU "
              f"{cpu / arguments.wakes / len(woken) * 1e6:.0f} us a connection")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build")
    parser.add_argument("--imap")
    parser.add_argument("--pid", type=int)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--wakes", type=int, default=50)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The daemon inherits the soft limit as it is, and raises it itself.
    if arguments.imap:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        measure(arguments.imap, arguments.pid, arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        daemon, where = chapard_start(arguments.build, folder, arguments.tls)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        try:
            measure(where, daemon.pid, arguments)
        finally:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()
