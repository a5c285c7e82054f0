#!/usr/bin/env python3
"""`chapar export`: a Dovecot that is started on what was written shows what Chapar shows; later runs
write what changed; what was exported comes back by an import."""

import json
import os

import chapar_test as chapar
import foreign_test as foreign
from foreign_test import differences, view


class ExportTest(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.here = self.node("a")
        self.here.add_account("anna")
        self.here.start()
        with self.here.imap("anna") as client:
            foreign.fill(client)

    def server(self, location="maildir:~/Maildir"):
        server = foreign.Dovecot(os.path.join(self.folder, "d"), location=location)
        self.addCleanup(server.stop)
        os.makedirs(server.home("anna"))
        return server

    def write(self, target, check=True):
        status, text = self.here.tool("export", "anna", target, "--json", check=check)
        if status != 0:
            return status, text
        return {entry["mailbox"]: entry for entry in json.loads(text)}

    def assert_nothing_new(self, told):
        for entry in told.values():
            for count in ("new", "flags-changed", "removed"):
                self.assertEqual(0, entry[count], entry)

    def change(self):
        with self.here.imap("anna") as client:
            foreign.append(client, "INBOX", chapar.message("later"), "\\Flagged new-keyword")
            client.command("CREATE later/still")
            client.command("SUBSCRIBE later/still")
            foreign.append(client, "later/still", chapar.message("there"))
            client.command('DELETE "a &- b"')
            client.command('RENAME "with blank" renamed')
            client.select("Sent")
            client.command("UID STORE 1 FLAGS (\\Answered changed)")
            client.command("UID STORE 2 +FLAGS (\\Deleted)")
            client.command("UID EXPUNGE 2")
            client.command("UID MOVE 4 trash")


class ToMaildir(ExportTest):
    def assert_dovecot_shows_it(self, server):
        server.give(server.home("anna"))
        server.start()
        here, there = view(self.here, "anna"), view(server, "anna")
        # A level without a mailbox of its own is none there.
        for name in ("Archive", "Archive/2024", "later"):
            if name in here[0] and not here[0][name][2]:
                there[0].setdefault(name, here[0][name])
        self.assertEqual("", differences(here, there))
        server.stop()

    def check(self, layout):
        server = self.server("maildir:~/Maildir" + layout)
        target = "maildir:" + os.path.join(server.home("anna"), "Maildir") + layout
        told = self.write(target)
        self.assertEqual(0, sum(entry["keywords-left-out"] for entry in told.values()))
        self.assert_dovecot_shows_it(server)
        self.assert_nothing_new(self.write(target))
        self.change()
        told = self.write(target)
        self.assertEqual((1, 0), (told["INBOX"]["new"], told["INBOX"]["removed"]))
        self.assertEqual((0, 1, 2), tuple(told["Sent"][k] for k in ("new", "flags-changed", "removed")))
        self.assert_dovecot_shows_it(server)
        self.assert_nothing_new(self.write(target))

    def test_dovecot_shows_the_same(self):
        self.check("")

    def test_dovecot_shows_the_same_of_folders_in_folders(self):
        self.check(":LAYOUT=fs")

    def test_an_import_of_it_gives_the_same(self):
        target = "maildir:" + os.path.join(self.folder, "out")
        self.write(target)
        self.here.tool("import", "bert", target)
        self.here.tool(
            "account", "passwd", "bert", "--password-file", "-", text_input=chapar.PASSWORD + "\n"
        )
        self.assertEqual("", differences(view(self.here, "anna"), view(self.here, "bert")))

    def test_what_a_crash_left_short_is_written_again(self):
        out = os.path.join(self.folder, "out")
        self.write("maildir:" + out)
        names = sorted(os.listdir(os.path.join(out, "cur")))
        for name in names[:3]:
            os.truncate(os.path.join(out, "cur", name), 1)
        told = self.write("maildir:" + out)
        self.assertEqual(3, told["INBOX"]["new"])
        self.assertEqual(names, sorted(os.listdir(os.path.join(out, "cur"))))
        self.assert_nothing_new(self.write("maildir:" + out))

    def test_a_maildir_of_another_is_left_alone(self):
        out = os.path.join(self.folder, "out")
        os.makedirs(os.path.join(out, "cur"))
        status, _ = self.write("maildir:" + out, check=False)
        self.assertEqual(73, status)

    def test_more_keywords_than_there_are_letters_are_told(self):
        with self.here.imap("anna") as client:
            client.select("INBOX")
            client.command("UID STORE 1 +FLAGS (%s)" % " ".join("k%d" % n for n in range(30)))
        told = self.write("maildir:" + os.path.join(self.folder, "out"))
        self.assertGreater(told["INBOX"]["keywords-left-out"], 0)


class ToMbox(ExportTest):
    """What mbox can express: all but the ends of two odd messages, and empty mailboxes' numbers."""

    ODD_ENDS = ("no blank line", "no end of line")

    def setUp(self):
        left_out = {name: foreign.ODD.pop(name) for name in self.ODD_ENDS}
        try:
            super().setUp()
        finally:
            foreign.ODD.update(left_out)

    def assert_import_gives_the_same(self, account, target):
        self.here.tool("import", account, target)
        self.here.tool(
            "account", "passwd", account, "--password-file", "-", text_input=chapar.PASSWORD + "\n"
        )
        left, right = view(self.here, "anna"), view(self.here, account)
        for name, (_, _, messages) in left[0].items():
            if not messages:
                right[0][name] = left[0][name]
        self.assertEqual("", differences(left, right))

    def test_an_import_of_it_gives_the_same(self):
        target = "mbox:" + os.path.join(self.folder, "out")
        self.write(target)
        self.assert_import_gives_the_same("bert", target)
        self.assert_nothing_new(self.write(target))
        self.change()
        told = self.write(target)
        self.assertEqual(0, told["Entwürfe"]["new"])
        self.assertGreater(told["INBOX"]["new"], 1)
        self.assert_import_gives_the_same("carl", target)

    def test_a_folder_of_another_is_left_alone(self):
        out = os.path.join(self.folder, "out")
        os.makedirs(out)
        with open(os.path.join(out, "Sent"), "w", encoding="ascii") as file:
            file.write("mine\n")
        status, _ = self.write("mbox:" + out, check=False)
        self.assertEqual(73, status)


class ToFiles(ExportTest):
    """Each message is a file; the bytes are those that a client fetches."""

    def files(self, folder):
        """{path: (bytes, time)}"""
        found = {}
        for top, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(top, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = (file.read(), int(os.stat(path).st_mtime))
        return found

    def messages(self, names=None):
        expected = {}
        with self.here.imap("anna") as client:
            for name in names or client.mailboxes():
                client.select(name, "EXAMINE")
                for uid, message in client.fetch("1:*", "UID INTERNALDATE BODY.PEEK[]").items():
                    path = "%s/%d.eml" % (name.replace("\\", ""), uid)
                    expected[path] = (message["BODY[]"], foreign.seconds(message["INTERNALDATE"]))
        return expected

    def test_each_message_is_a_file_and_mailboxes_are_folders(self):
        out = os.path.join(self.folder, "out")
        with self.here.imap("anna") as client:
            client.command("CREATE Sent/1.eml")
            foreign.append(client, "Sent/1.eml", chapar.message("below"))
        self.write("eml:" + out, check=True)
        found = self.files(out)
        expected = self.messages(["Sent", "INBOX", "trash"])
        for path, message in expected.items():
            self.assertEqual(message, found[path], path)
        self.assertIn("Sent/1.eml_/1.eml", found)
        with self.here.imap("anna") as client:
            names = [name.replace('"', '\\"') for name in client.mailboxes()]
            count = sum(client.select(name, "EXAMINE")["exists"] for name in names)
        self.assertEqual(count, len(found))
        self.assertEqual(73, self.write("eml:" + out, check=False)[0])

    def test_one_mailbox_alone(self):
        out = os.path.join(self.folder, "out")
        self.here.tool("export", "anna", "eml:" + out, "--mailbox", "Sent")
        self.assertEqual(self.messages(["Sent"]), self.files(out))


if __name__ == "__main__":
    chapar.main()
