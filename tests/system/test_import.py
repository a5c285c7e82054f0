#!/usr/bin/env python3
"""`chapar import`: what a Dovecot holds is taken in, by its Maildir and by IMAP, and nothing that a
client can see differs; runs are incremental, can be interrupted anywhere, and copy nothing twice."""

import json
import os
import subprocess
import time

import chapar_test as chapar
import foreign_test as foreign
from foreign_test import ImportTest, differences, view


class Maildir(ImportTest):
    """The files, with and without a server that uses them."""

    def maildir(self, server):
        return os.path.join(server.home("anna"), "Maildir")

    def source(self, server):
        return "maildir:" + self.maildir(server)

    def test_all_that_a_client_sees_is_the_same(self):
        server = self.filled()
        told = self.take(self.source(server))
        self.set_password()
        self.assert_same(server)
        self.assertEqual(0, sum(entry["renumbered"] for entry in told.values()))
        self.assert_nothing_new(self.take(self.source(server)))
        self.assert_same(server)

    def drop(self, server, name, data, folder="new", modified=1700000000):
        """A file as a delivery agent leaves it."""
        path = os.path.join(self.maildir(server), folder, name)
        with open(path, "wb") as out:
            out.write(data)
        os.utime(path, (modified, modified))
        server.give(self.maildir(server))

    def test_line_ends_nul_and_names_are_as_the_server_has_them(self):
        server = self.filled()
        files = {
            "1.lf": b"Subject: lf\nX: y\n\nbody\nmore\n",
            "2.crlf": b"Subject: crlf\r\n\r\nbody\r\n",
            "3.mixed": b"Subject: mixed\r\nX: y\n\nbody\r\nbare\n\r\n\r\r\n",
            "4.nul": b"Subject: nul\n\na\0b\0\0\n\0",
            "6.no-end": b"Subject: x\n\nlast",
        }
        for name, data in files.items():
            self.drop(server, name, data)
        self.drop(server, "7.flags:2,FRS", b"Subject: flags\n\nbody\n", "cur")
        # Taken in before the server has numbered them, and again after.
        self.take(self.source(server))
        self.set_password()
        with server.imap("anna") as client:
            client.select("INBOX")
        self.assert_nothing_new(self.take(self.source(server)))
        self.assert_same(server)

    def test_later_runs_bring_what_changed_there(self):
        server = self.filled()
        self.take(self.source(server))
        self.set_password()
        with server.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("later"), "\\Flagged new-keyword")
            client.command("CREATE later/still")
            client.command("SUBSCRIBE later/still")
            client.command("UNSUBSCRIBE INBOX")
            foreign.append(client, "later/still", chapar.message("there"))
            client.command('DELETE "a &- b"')
            client.select("Sent")
            client.command("UID STORE 1 FLAGS (\\Answered changed)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
            client.command("UID MOVE 4 trash")
        told = self.take(self.source(server), "--dry-run")
        self.assertEqual(1, told["INBOX"]["new"])
        self.assertNotEqual("", differences(view(server, "anna"), view(self.here, "anna")))
        told = self.take(self.source(server))
        self.assertEqual((1, 0), (told["INBOX"]["new"], told["INBOX"]["expunged"]))
        self.assertEqual((1, 2), (told["Sent"]["flags-changed"], told["Sent"]["expunged"]))
        self.assertTrue(told["a & b"]["gone-there"])
        self.assert_same(server)
        self.assert_nothing_new(self.take(self.source(server)))

    def test_what_a_user_has_changed_here_stays(self):
        server = self.filled()
        self.take(self.source(server))
        self.set_password()
        with self.here.imap("anna") as client:
            client.select("Sent")
            client.command("UID STORE 1 +FLAGS (\\Flagged mine)")
            client.command("UID STORE 2 -FLAGS (\\Seen)")
            client.command("UID MOVE 3 INBOX")
            client.command("UID STORE 5 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 5")
            client.command("DELETE trash")
            client.command('RENAME "with blank" renamed')
            mine = client.append("INBOX", chapar.message("mine"))
            client.command("UNSUBSCRIBE INBOX")
        with server.imap("anna") as client:
            client.select("Sent")
            client.command("UID STORE 1:* FLAGS (\\Seen theirs)")
            client.command("UID STORE 4 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 4")
            foreign.append(client, "with blank", chapar.message("for the renamed one"))
            foreign.append(client, "INBOX", chapar.message("has the UID of mine"))
        told = self.take(self.source(server))
        self.assertTrue(told["trash"]["deleted-here"])
        self.assertEqual(1, told["INBOX"]["renumbered"])
        seen, subscribed = view(self.here, "anna")
        flags = {uid: message[0] for uid, message in seen["Sent"][2].items()}
        self.assertEqual("\\flagged \\seen mine theirs", flags[1])
        self.assertEqual("theirs", flags[2])
        self.assertEqual({1, 2, 6, 7}, set(flags))
        self.assertIn(mine, seen["INBOX"][2])
        self.assertEqual(8, len(seen["renamed"][2]))
        self.assertNotIn("with blank", seen)
        self.assertNotIn("INBOX", subscribed)
        self.assert_nothing_new(self.take(self.source(server)))
        self.verify_clean(self.here)

    def test_one_killed_anywhere_goes_on_with_the_next(self):
        server = self.dovecot()
        with server.imap("anna") as client:
            for name in ("one", "two", "three"):
                client.command("CREATE " + name)
                for number in range(150):
                    foreign.append(client, name, chapar.message("%s %d" % (name, number)))
        self.here.stop()
        for delay in (0.3, 0.5, 0.7, 0.9):
            process = subprocess.Popen(
                [chapar.CHAPAR, "-c", self.here.config_file, "import", "anna", self.source(server)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                preexec_fn=chapar.end_with_parent,
            )
            time.sleep(delay)
            process.kill()
            process.wait()
        self.take(self.source(server))
        self.here.start()
        self.set_password()
        self.assert_same(server)

    def test_quotas_bind_unless_the_operator_says_so(self):
        server = self.filled()
        self.here.add_account("anna")
        self.here.tool("quota", "--messages", "10", "anna")
        status, text = self.take(self.source(server), check=False)
        self.assertNotEqual(0, status)
        self.assertIn("quota", text)
        self.take(self.source(server), "--over-quota")
        self.assert_same(server)

    def test_it_replicates_and_another_node_may_go_on(self):
        self.here.stop()
        pair = self.pair()
        pair.start("anna")
        server = self.filled()
        self.here = pair.a
        self.take(self.source(server))
        self.wait_equal(pair)
        with server.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("later"))
        self.here = pair.b
        told = self.take(self.source(server))
        self.assertEqual(1, sum(entry["new"] for entry in told.values()))
        self.wait_equal(pair)
        self.assert_same(server)
        pair.cut()
        with server.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("both take it"))
        self.take(self.source(server))
        self.here = pair.a
        self.take(self.source(server))
        pair.heal()
        self.wait_equal(pair)
        self.assert_same(server)

    def test_folders_inside_folders(self):
        server = self.filled(location="maildir:~/Maildir:LAYOUT=fs")
        self.take(self.source(server))
        self.set_password()
        self.assert_same(server)

    def test_two_mailboxes_with_one_name_stay_two(self):
        folder = os.path.join(self.folder, "Maildir")
        for box in ("", ".a", "a"):
            for part in ("cur", "new"):
                os.makedirs(os.path.join(folder, box, part))
            with open(os.path.join(folder, box, "cur", "1.x:2,S"), "wb") as out:
                out.write(b"Subject: %s\n\nbody\n" % box.encode())
        for run in range(2):
            told = self.take("maildir:" + folder)
            self.assertEqual({"INBOX", "a", "a_"}, set(told))
            self.assertEqual([1 - run] * 3, [entry["new"] for entry in told.values()])
            self.assertEqual(0, sum(entry["expunged"] for entry in told.values()))

    def test_what_is_no_maildir_is_refused(self):
        for path in ("nowhere", "."):
            status, text = self.take("maildir:" + os.path.join(self.folder, path), check=False)
            self.assertNotEqual(0, status, text)
        self.assertEqual([], json.loads(self.here.tool("account", "list", "--json")[1]))

    def test_links_lead_nowhere(self):
        server = self.filled()
        maildir = self.maildir(server)
        secret = os.path.join(self.folder, "secret")
        os.makedirs(os.path.join(secret, "cur"))
        for path in (os.path.join(secret, "cur", "1.x:2,"), os.path.join(secret, "letter")):
            with open(path, "w", encoding="ascii") as out:
                out.write("Subject: secret\n\nsecret\n")
        os.symlink(secret, os.path.join(maildir, ".linked"))
        os.symlink(os.path.join(secret, "letter"), os.path.join(maildir, "cur", "9.link:2,S"))
        os.mkfifo(os.path.join(maildir, "cur", "8.fifo:2,S"))
        told = self.take(self.source(server))
        self.assertNotIn("linked", told)
        self.set_password()
        self.assertNotIn("linked", view(self.here, "anna")[0])
        self.assertEqual(
            [], [uid for uid, m in view(self.here, "anna")[0]["INBOX"][2].items() if m[2] == 25]
        )


class ServerTest(ImportTest):
    """By IMAP, as any client."""

    def source(self, server, user="anna"):
        return "imaps://%s@%s:%d/" % (user, server.address, server.tls_port)

    without = ()  # mailboxes that the server does not take

    def certified(self, **options):
        certificate = chapar.make_certificate(self.folder, "dovecot", "127.0.0.1")
        server = self.dovecot(certificate=certificate, **options)
        self.pinned = (
            "--pin",
            subprocess.run(
                "openssl x509 -in %s -outform der | sha256sum | cut -c 1-64" % certificate[0],
                shell=True,
                check=True,
                stdout=subprocess.PIPE,
                encoding="ascii",
            ).stdout.strip(),
        )
        return server

    def take(self, *arguments, check=True):
        path = os.path.join(self.folder, "password")
        with open(path, "w", encoding="ascii") as out:
            out.write((self.password or chapar.PASSWORD) + "\n")
        return super().take(*arguments, *self.pinned, "--password-file", path, check=check)

    password = None
    pinned = ()

    def assert_all_is_taken(self, server):
        with server.imap("anna") as client:
            foreign.fill(client, server.separator, getattr(server, "prefix", ""), self.without)
        told = self.take(self.source(server))
        self.set_password()
        self.assert_same(server)
        self.assertEqual(0, sum(entry["renumbered"] for entry in told.values()))
        self.assert_nothing_new(self.take(self.source(server)))
        self.assert_same(server)

    def change(self, server):
        prefix = getattr(server, "prefix", "")
        with server.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("later"), "\\Flagged new-keyword")
            client.command("CREATE %slater" % prefix)
            client.command("SUBSCRIBE %slater" % prefix)
            foreign.append(client, prefix + "later", chapar.message("there"))
            client.command('DELETE "%sa &- b"' % prefix)
            client.command('UNSUBSCRIBE "%sa &- b"' % prefix)
            client.select(prefix + "Sent")
            client.command("UID STORE 1 FLAGS (\\Answered changed)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
            client.command("UID STORE 3 -FLAGS (\\Flagged \\Answered \\Seen)")
            client.command("UID COPY 4 %strash" % prefix)

    def assert_changes_come(self, server):
        self.change(server)
        told = self.take(self.source(server))
        self.assertEqual((1, 0), (told["INBOX"]["new"], told["INBOX"]["expunged"]))
        self.assertEqual(1, told["Sent"]["expunged"])
        self.assertTrue(told["a & b"]["gone-there"])
        self.assert_same(server)
        self.assert_nothing_new(self.take(self.source(server)))


class FromServer(ServerTest):
    def test_all_that_a_client_sees_is_the_same_and_changes_come(self):
        server = self.certified()
        self.assert_all_is_taken(server)
        self.assert_changes_come(server)

    def poor(self, capability):
        """A server that offers little, and has dots between levels."""
        server = foreign.Dovecot(os.path.join(self.folder, "d"), separator=".")
        self.addCleanup(server.stop)
        server.extra = "imap_capability = %s" % capability
        server.start()
        self.pinned = ("--no-tls",)
        self.source = lambda s: "imap://anna@%s:%d/" % (s.address, s.port)
        return server

    def test_with_condstore_alone_uids_are_compared(self):
        server = self.poor("IMAP4rev1 LITERAL+ UIDPLUS MOVE CONDSTORE")
        self.assert_all_is_taken(server)
        self.assert_changes_come(server)

    def test_without_condstore_flags_and_uids_are_compared(self):
        server = self.poor("IMAP4rev1")
        self.assert_all_is_taken(server)
        self.assert_changes_come(server)

    def test_an_administrator_logs_in_for_a_user(self):
        server = self.certified()
        with server.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("one"))
        self.password = "master-secret"
        self.take(self.source(server), "--login", "admin")
        self.set_password()
        self.assert_same(server)

    def test_who_the_server_is_and_who_logs_in_is_checked(self):
        server = self.certified()
        self.password = "wrong"
        status, text = self.take(self.source(server), check=False)
        self.assertEqual(77, status, text)
        self.password = None
        for pinned in ((), ("--pin", "00" * 32)):
            self.pinned = pinned
            status, text = self.take(self.source(server), check=False)
            self.assertEqual(77, status, text)
        self.pinned = ()
        status, text = self.take("imaps://anna:secret@127.0.0.1/", check=False)
        self.assertEqual(65, status, text)
        status, text = self.take("imap://anna@mail.example.org/", "--no-tls", check=False)
        self.assertEqual(65, status, text)

    def test_a_connection_that_breaks_anywhere_and_the_next_run_goes_on(self):
        server = self.certified()
        with server.imap("anna") as client:
            foreign.fill(client)
            for number in range(300):
                foreign.append(client, "INBOX", chapar.message("more %d" % number, "x" * 2000))
        wire = chapar.Wire("127.0.0.1", server.tls_port + 1, (server.address, server.tls_port))
        wire.heal()
        self.addCleanup(wire.cut)
        source = "imaps://anna@127.0.0.1:%d/" % (server.tls_port + 1)
        breaks = 0
        for size in (3000, 20000, 60000, 150000, 300000, 500000):
            wire.cut()
            wire.heal()
            wire.bytes_until_cut = size
            status, _ = self.take(source, check=False)
            breaks += status != 0 if isinstance(status, int) else 0
        self.assertGreaterEqual(breaks, 4)
        wire.cut()
        wire.heal()
        wire.bytes_until_cut = None
        self.take(source)
        self.set_password()
        self.assert_same(server)
        self.assert_nothing_new(self.take(source))

    def test_what_came_by_files_is_not_taken_again(self):
        server = self.certified()
        with server.imap("anna") as client:
            foreign.fill(client)
        self.here.tool("import", "anna", "maildir:" + os.path.join(server.home("anna"), "Maildir"))
        self.assert_nothing_new(self.take(self.source(server)))
        self.change(server)
        told = self.take(self.source(server))
        self.assertEqual(3, sum(entry["new"] for entry in told.values()))


class FromCyrus(ServerTest):
    """The other server that people come from."""

    without = ('we"ird',)

    def check(self, **options):
        server = foreign.Cyrus(os.path.join(self.folder, "d"), **options)
        self.addCleanup(server.stop)
        server.start()
        self.pinned = ("--no-tls",)
        self.source = lambda s: "imap://anna@%s:%d/" % (s.address, s.port)
        self.assert_all_is_taken(server)
        self.assert_changes_come(server)
        told = self.take(self.source(server), "--login", "cyrus")
        self.assert_nothing_new(told)

    def test_all_that_a_client_sees_is_the_same_and_changes_come(self):
        self.check()

    def test_names_below_inbox_become_names_beside_it(self):
        self.check(alt=False, unix=False)


class Mbox(ImportTest):
    """Files of mail: what other programs wrote, and a Dovecot's."""

    def write(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)
        return path

    def taken(self, path):
        """{mailbox: [(flags, date, size, body)]}"""
        self.take("mbox:" + path)
        self.set_password()
        result = {}
        with self.here.imap("anna") as client:
            for name in client.mailboxes():
                client.select(name)
                found = client.fetch("1:*", "UID FLAGS INTERNALDATE BODY.PEEK[]") if name else {}
                result[name] = [
                    (
                        " ".join(sorted(f for f in m["FLAGS"] if f != "\\Recent")),
                        foreign.seconds(m["INTERNALDATE"]),
                        m["BODY[]"],
                    )
                    for _, m in sorted(found.items())
                ]
        return result

    def test_each_way_of_marking_where_a_message_ends(self):
        path = self.write(
            "mixed",
            b"From a@b.example Mon Feb  3 10:00:00 2025\n"
            b"Subject: quoted\nStatus: RO\nX-Status: AF\nX-Keywords: work $Label1\n\n"
            b">From me\n>>From you\n> From nobody\nFrom the middle\n\nFrom here on, not a line\n\n"
            b"From c@d.example Tue Feb  4 11:00:00 2025 +0100\n"
            b"Subject: counted\nContent-Length: 60\nX-Folded: a\n b\n\n"
            b"one\n\nFrom x@y.example Mon Feb  3 10:00:00 2025\n>From x\nlast\n"
            b"\n\nFrom e f Wed Feb  5 12:00 2025\nSubject: wrong count\nContent-Length: 5\n\n"
            b"a longer body\n\n"
            b"From MAILER-DAEMON Thu Feb  6 12:00:00 2025\r\nSubject: crlf\r\n\r\nbody\r\n\r\n"
            b"From - Thu Feb  6 12:00:01 2025\nSubject: twice\n\nsame\n\n"
            b"From - Thu Feb  6 12:00:01 2025\nSubject: twice\n\nsame\n\n"
            b"From - Thu Feb  6 12:00:02 2025\nSubject: at the end\n\nno line end",
        )
        seen = self.taken(path)["INBOX"]
        self.assertEqual(
            [
                (
                    "$Label1 \\Answered \\Flagged \\Seen work",
                    1738576800,
                    b"Subject: quoted\r\n\r\nFrom me\r\n>From you\r\n> From nobody\r\n"
                    b"From the middle\r\n\r\nFrom here on, not a line\r\n",
                ),
                (
                    "",
                    1738663200,
                    b"Subject: counted\r\nX-Folded: a\r\n b\r\n\r\none\r\n\r\n"
                    b"From x@y.example Mon Feb  3 10:00:00 2025\r\n>From x\r\nlast\r\n",
                ),
                ("", 1738756800, b"Subject: wrong count\r\n\r\na longer body\r\n"),
                ("", 1738843200, b"Subject: crlf\r\n\r\nbody\r\n"),
                ("", 1738843201, b"Subject: twice\r\n\r\nsame\r\n"),
                ("", 1738843201, b"Subject: twice\r\n\r\nsame\r\n"),
                ("", 1738843202, b"Subject: at the end\r\n\r\nno line end"),
            ],
            seen,
        )
        self.assert_nothing_new(self.take("mbox:" + path))
        with open(path, "rb") as file:
            data = file.read()
        begin = b"From - Thu Feb  6 12:00:01 2025\nSubject: twice\n\nsame\n\n"
        data = data.replace(b"Status: RO", b"Status: O").replace(begin, b"", 1)
        self.write("mixed", data + b"\n\nFrom - Thu Feb  6 12:00:03 2025\nSubject: new\n\nnew\n")
        told = self.take("mbox:" + path)["INBOX"]
        self.assertEqual((1, 1, 1), (told["new"], told["flags-changed"], told["expunged"]))

    def test_folders_of_files(self):
        for name in ("inbox", "Sent", "Lists.sbd/devel", "Old/2024.mbox"):
            self.write("mail/" + name, b"From - Thu Feb  6 12:00:01 2025\nSubject: x\n\n%s\n" % name.encode())
        self.write("mail/notes.txt", b"no mail\n")
        self.write("mail/Lists", b"")
        os.symlink("/etc", os.path.join(self.folder, "mail/link"))
        seen = self.taken(os.path.join(self.folder, "mail"))
        self.assertEqual(["INBOX", "Lists", "Lists/devel", "Old/2024", "Sent"], sorted(seen))
        self.assertEqual({"Lists": 0}, {k: len(v) for k, v in seen.items() if len(v) != 1})

    def test_a_dovecot_shows_the_same(self):
        server = self.dovecot(location="mbox:~/mail:INBOX=~/mail/INBOX")
        server.stop()
        server.extra = "mbox_lazy_writes = no"
        server.start()
        odd = {k: foreign.ODD.pop(k) for k in ("no header", "no blank line", "no end of line")}
        try:
            with server.imap("anna") as client:
                foreign.fill(client, without=("trash", "empty"))
        finally:
            foreign.ODD.update(odd)
        with server.imap("anna") as client:
            client.select("INBOX")
            client.command("UID STORE 2:3 +FLAGS (\\Answered other)")
            client.command("CLOSE")
        self.take("mbox:" + os.path.join(server.home("anna"), "mail"))
        self.set_password()
        there, here = view(server, "anna"), view(self.here, "anna")
        self.assertEqual("", differences((there[0], set()), (here[0], set())))


class Courier(ImportTest):
    """As Courier writes it; there is no Courier in it."""

    def test_uids_keywords_and_subscriptions(self):
        folder = os.path.join(self.folder, "Maildir")
        for box in ("", ".Sent", ".Lists.devel", ".Entw&APw-rfe"):
            for part in ("cur", "new", "tmp"):
                os.makedirs(os.path.join(folder, box, part))
        files = {"100.a.host": 3, "101.b.host": 7, "102.c.host": 8, "103.d.host": None}
        for name in files:
            with open(os.path.join(folder, "cur", name + ":2,S"), "wb") as out:
                out.write(b"Subject: %s\n\nbody\n" % name.encode())
        with open(os.path.join(folder, "courierimapuiddb"), "w", encoding="ascii") as out:
            out.write("1 1234567890 20\n")
            for name, uid in files.items():
                if uid:
                    out.write("%d %s\n" % (uid, name))
        keywords = os.path.join(folder, "courierimapkeywords")
        os.mkdir(keywords)
        with open(os.path.join(keywords, ":list"), "w", encoding="ascii") as out:
            out.write("$Label1\nwork\n\n100.a.host:0 1\n101.b.host:1\n")
        with open(os.path.join(keywords, "101.b.host"), "w", encoding="ascii") as out:
            out.write("$Label1\n")
        with open(os.path.join(folder, "courierimapsubscribed"), "w", encoding="ascii") as out:
            out.write("INBOX\nINBOX.Lists.devel\n")
        self.take("maildir:" + folder)
        self.set_password()
        seen, subscribed = view(self.here, "anna")
        self.assertEqual({"INBOX", "Sent", "Lists/devel", "Entw&APw-rfe"}, set(seen))
        self.assertEqual({"INBOX", "Lists/devel"}, subscribed)
        self.assertEqual((1234567890, 21), seen["INBOX"][:2])
        self.assertEqual(
            {3: "$label1 \\seen work", 7: "$label1 \\seen", 8: "\\seen", 20: "\\seen"},
            {uid: message[0] for uid, message in seen["INBOX"][2].items()},
        )


if __name__ == "__main__":
    chapar.main()
