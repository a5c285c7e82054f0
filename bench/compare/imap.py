"""As little IMAP as the steps need to look at a server themselves."""

import re
import socket
import time


class Imap:
    """One connection, logged in; without a user only greeted."""

    def __init__(self, where, user=None, password="secret", seconds=600):
        host, port = where.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 18)
        self.number = 0
        self.sent = self.received = 0
        self.file.readline()
        if user:
            self.must("LOGIN %s %s" % (user, password))

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, text):
        """Sends a command of which `text` (str or bytes) is all but the tag; returns the tag."""
        self.number += 1
        tag = b"a%d" % self.number
        data = tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n"
        self.sent += len(data)
        self.socket.sendall(data)
        return tag

    def read(self):
        """The next response, its literals included."""
        data = b""
        while True:
            line = self.file.readline()
            if not line:
                raise ConnectionError("the server closed the connection")
            data += line
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if literal is None:
                self.received += len(data)
                return data
            data += self.file.read(int(literal.group(1)))

    def wait(self, tag, keep=True):
        """(tagged answer, untagged ones) of a command that was sent."""
        untagged = []
        while True:
            data = self.read()
            if data.startswith(tag + b" "):
                return data, untagged
            if keep:
                untagged.append(data)

    def command(self, text, keep=True):
        return self.wait(self.send(text), keep)

    def must(self, text, keep=True):
        answer, untagged = self.command(text, keep)
        if b" OK" not in answer[:16]:
            raise RuntimeError("%s: %r" % (text[:80], answer))
        return untagged

    def status(self, mailbox, items="MESSAGES UIDNEXT"):
        """{item: number}, or None if the server says NO."""
        answer, untagged = self.command('STATUS "%s" (%s)' % (mailbox, items))
        if b" OK" not in answer[:16]:
            return None
        text = b" ".join(untagged).decode(errors="replace")
        return {item: int(number) for item, number in re.findall(r"([A-Z]+) (\d+)", text)}


def seconds_of(function):
    began = time.monotonic()
    function()
    return time.monotonic() - began
