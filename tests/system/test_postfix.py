"""Postfix, with configuration and queue of its own on loopback, delivers over LMTP to both nodes."""

import glob
import grp
import os
import pwd
import shutil
import smtplib
import subprocess
import unittest

import chapar_test as chapar
from chapar_test import wait_until

UNPACKED = os.path.join(chapar.ROOT, ".deps", "postfix")

MAIN_CF = """
compatibility_level = 3.6
import_environment = MAIL_CONFIG LANG=C LD_LIBRARY_PATH POSTLOG_SERVICE POSTLOG_HOSTNAME
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
meta_directory = {folder}/config
shlib_directory = {root}/usr/lib/postfix
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = mx.local.example
mydestination =
local_recipient_maps =
local_transport = error:none
virtual_mailbox_domains = on-a.example, on-b.example
transport_maps = texthash:{folder}/config/transport
alias_maps =
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
smtpd_recipient_restrictions = permit_mynetworks, reject
lmtp_tls_security_level = none
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""

MASTER_CF = """
{address}:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix(chapar.TestCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            raise unittest.SkipTest("Postfix's master needs root")
        if not os.path.exists(os.path.join(UNPACKED, "usr/sbin/postfix")):
            raise unittest.SkipTest("Postfix is not unpacked; `make test` does it")
        self.nodes = self.pair()
        self.address = self.nodes.a.address
        self.smtp_port = self.nodes.port_base + 1025
        self.nodes.start()
        self.start_postfix()

    def start_postfix(self):
        # An unprivileged user and a group that nothing else uses serve as Postfix's own.
        owner, group = "uucp", "voice"
        self.mta = os.path.join(self.folder, "mta")
        config = os.path.join(self.mta, "config")
        for name in ("config", "queue", "data"):
            os.makedirs(os.path.join(self.mta, name))
        os.chmod(self.mta, 0o755)
        os.chown(os.path.join(self.mta, "data"), pwd.getpwnam(owner).pw_uid, 0)
        values = {
            "folder": self.mta, "root": UNPACKED, "owner": owner, "group": group,
            "address": self.address, "port": self.smtp_port,
        }
        for name, text in (("main.cf", MAIN_CF), ("master.cf", MASTER_CF)):
            with open(os.path.join(config, name), "w", encoding="ascii") as out:
                out.write(text.format(**values))
        with open(os.path.join(config, "transport"), "w", encoding="ascii") as out:
            for node in self.nodes.nodes:
                out.write("on-%s.example lmtp:inet:[%s]:%d\n"
                          % (node.name, node.address, node.lmtp_port))
        for path in glob.glob(os.path.join(UNPACKED, "etc/postfix/*")):
            if os.path.isfile(path) and not path.endswith((".cf", ".proto")):
                shutil.copy(path, config)
        grp.getgrnam(group)
        self.make_queue(owner)
        self.environment = {
            **os.environ,
            "LD_LIBRARY_PATH": os.path.join(UNPACKED, "usr/lib/postfix"),
            "MAIL_CONFIG": config,
        }
        self.master = subprocess.Popen(
            [os.path.join(UNPACKED, "usr/lib/postfix/sbin/master"), "-c", config, "-d"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment, preexec_fn=chapar.end_with_parent,
        )
        self.addCleanup(self.stop_postfix)
        wait_until(self.is_listening, 30, "Postfix answers")

    def make_queue(self, owner):
        """The folders that `postfix check` would make."""
        queue = os.path.join(self.mta, "queue")
        user = pwd.getpwnam(owner)
        private = ["active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                   "private", "saved", "trace"]
        for name in private + ["public", "maildrop", "pid"]:
            path = os.path.join(queue, name)
            os.mkdir(path, 0o755 if name in ("pid", "public") else 0o700)
            if name != "pid":
                os.chown(path, user.pw_uid, 0)

    def is_listening(self):
        if self.master.poll() is not None:
            raise AssertionError("Postfix ended: %s%s" % (self.master.stdout.read(), self.mail_log()))
        try:
            with smtplib.SMTP(self.address, self.smtp_port, timeout=10):
                return True
        except OSError:
            return False

    def mail_log(self):
        try:
            with open(os.path.join(self.mta, "mail.log"), encoding="utf-8") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def stop_postfix(self):
        self.master.terminate()
        try:
            self.master.wait(20)
        except subprocess.TimeoutExpired:
            self.master.kill()
            self.master.wait()
        self.master.stdout.close()

    def inbox(self, node, user):
        try:
            return sorted(e[4] for e in chapar.snapshot(node, user)["INBOX"][2].values())
        except (chapar.ImapError, KeyError):
            return []

    def send(self, recipients, subject):
        with smtplib.SMTP(self.address, self.smtp_port, timeout=60) as smtp:
            smtp.sendmail("anna@sender.example", recipients, chapar.message(subject).decode())

    def test_postfix_delivers_to_both_nodes(self):
        for node in self.nodes.nodes:
            node.add_account("alice-" + node.name)
        for number in range(20):
            self.send(["alice-a@on-a.example", "alice-b@on-b.example"], "mail %d" % number)
        wanted = sorted("mail %d" % number for number in range(20))
        try:
            for node in self.nodes.nodes:
                user = "alice-" + node.name
                wait_until(lambda: self.inbox(node, user) == wanted, 60, "all mail for " + user)
        except AssertionError:
            print(self.mail_log()[-4000:])
            raise
        for user in ("alice-a", "alice-b"):
            wait_until(lambda: self.inbox(self.nodes.a, user) and self.inbox(self.nodes.b, user),
                       60, "both accounts on both nodes")
            self.nodes.wait_equal(user)

    def test_postfix_keeps_mail_while_the_node_is_down(self):
        self.nodes.a.add_account("alice-a")
        self.nodes.a.kill()
        self.send(["alice-a@on-a.example"], "while down")
        wait_until(lambda: "status=deferred" in self.mail_log(), 60, "Postfix defers")
        self.nodes.a.start()
        wait_until(lambda: self.inbox(self.nodes.a, "alice-a") == ["while down"], 90, "delivered")


if __name__ == "__main__":
    chapar.main()
