#!/usr/bin/env python3
"""`chapar import` beyond messages: rights, metadata, quotas and Sieve scripts of real servers come along, once, and
what users change here stays; Maildirs that a server compressed are read."""

import os
import re

import chapar_test as chapar
import foreign_test as foreign
from foreign_test import ImportTest, differences, view

EXTENSIONS = """
mail_plugins = acl quota
protocol imap {{
  mail_plugins = acl imap_acl quota imap_quota
  imap_metadata = yes
}}
plugin {{
  acl = vfile
  acl_anyone = allow
  quota = maildir:User quota
  quota_rule = *:storage=100M
}}
mail_attribute_dict = file:{home}/anna/attributes
"""
RIGHTS = (("bert", "lrs"), ("carl", "lrswipkxtea"), ("anyone", "l"))


class ExtrasTest(ImportTest):
    def rights(self, client, name):
        """{identifier: set of letters}, without those of the owner and RFC 2086's."""
        client.command('GETACL "%s"' % name)
        words = chapar.parse(b"\n".join(client.untagged).split(b" ", 2)[2])[1:]
        words = [word if isinstance(word, str) else word.decode() for word in words]
        entries = dict(zip(words[::2], words[1::2]))
        return {who: set(has) - set("cd") for who, has in entries.items() if who not in ("anna", "owner")}

    def metadata(self, client, name, entry):
        client.command('GETMETADATA "%s" %s' % (name, entry))
        found = re.search(rb"\(\S+ (?:\"(.*)\"|\{\d+\}\r\n(.*))\)", b"\n".join(client.untagged), re.S)
        return found and (found.group(2) or found.group(1).replace(b"\\\\", b"\\"))

    def check_extras(self, server, *arguments):
        source = "imap://anna@%s:%d/" % (server.address, server.port)
        options = ("--no-tls", "--password-file", self.password, *arguments)
        with server.imap("anna") as client:
            for who, letters in RIGHTS:
                client.command("SETACL Sent %s %s" % (who, letters))
            client.command('SETMETADATA Sent (/private/comment "mine" /shared/comment "our\\\\s")')
        told = self.take(source, *options)
        self.assertEqual(len(RIGHTS) + 2, told["Sent"]["rights-metadata-changed"], told["Sent"])
        self.set_password()
        with self.here.imap("anna") as here, server.imap("anna") as there:
            self.assertEqual(self.rights(there, "Sent"), self.rights(here, "Sent"))
            for entry in ("/private/comment", "/shared/comment"):
                self.assertEqual(self.metadata(there, "Sent", entry), self.metadata(here, "Sent", entry))
            self.assertEqual(b"mine", self.metadata(here, "Sent", "/private/comment"))
            # What a user changes here stays, and what changes there comes.
            here.command("SETACL Sent bert lr")
            there.command("SETACL Sent bert lrw")
            there.command("SETACL Sent carl l")
            there.command("DELETEACL Sent anyone")
            there.command("SETMETADATA Sent (/private/comment NIL)")
            self.assertEqual(3, self.take(source, *options)["Sent"]["rights-metadata-changed"])
            self.assertEqual({"bert": set("lr"), "carl": set("l")}, self.rights(here, "Sent"))
            self.assertIsNone(self.metadata(here, "Sent", "/private/comment"))
            self.assertEqual(0, self.take(source, *options)["Sent"]["rights-metadata-changed"])
        self.verify_clean(self.here)

    def limit(self):
        with self.here.imap("anna") as client:
            client.command("GETQUOTAROOT INBOX")
            return [int(n) for n in re.findall(rb"STORAGE \d+ (\d+)", b"\n".join(client.untagged))]

    def setUp(self):
        super().setUp()
        self.password = os.path.join(self.folder, "password")
        with open(self.password, "w", encoding="ascii") as out:
            out.write(chapar.PASSWORD + "\n")


class FromDovecot(ExtrasTest):
    def begin(self, extra=EXTENSIONS, **options):
        server = foreign.Dovecot(os.path.join(self.folder, "d"), **options)
        self.addCleanup(server.stop)
        server.extra = extra.format(home=os.path.join(server.folder, "home"))
        server.start()
        with server.imap("anna") as client:
            foreign.fill(client, server.separator)
        return server

    def test_rights_metadata_and_the_quota_come_by_imap(self):
        self.check_extras(self.begin())
        self.assertEqual([100 * 1024], self.limit())
        self.here.tool("quota", "anna", "--storage", "7M")
        self.take("imap://anna@127.0.0.1:1/", "--no-tls", "--password-file", self.password, check=False)
        self.assertEqual([7 * 1024], self.limit())

    def test_rights_come_from_files(self):
        server = self.begin()
        source = "maildir:" + os.path.join(server.home("anna"), "Maildir")
        with server.imap("anna") as client:
            for who, letters in RIGHTS:
                client.command("SETACL Sent %s %s" % (who, letters))
        told = self.take(source)
        self.assertEqual(len(RIGHTS), told["Sent"]["rights-metadata-changed"])
        self.set_password()
        with self.here.imap("anna") as here, server.imap("anna") as there:
            self.assertEqual(self.rights(there, "Sent"), self.rights(here, "Sent"))
            there.command("DELETEACL Sent carl")
            self.assertEqual(1, self.take(source)["Sent"]["rights-metadata-changed"])
            self.assertEqual(self.rights(there, "Sent"), self.rights(here, "Sent"))
        self.assertEqual(0, self.take(source)["Sent"]["rights-metadata-changed"])

    def check_compressed(self, form, magic):
        server = self.begin("mail_plugins = zlib\nplugin {{\n  zlib_save = %s\n}}\n" % form)
        folder = os.path.join(server.home("anna"), "Maildir")
        with open(os.path.join(folder, "cur", os.listdir(os.path.join(folder, "cur"))[0]), "rb") as file:
            self.assertTrue(file.read(4).startswith(magic))
        return folder, server, self.take("maildir:" + folder)

    def test_a_maildir_compressed_with_gzip_is_read(self):
        folder, server, _ = self.check_compressed("gz", b"\x1f\x8b")
        self.set_password()
        self.assert_same(server)
        self.assert_nothing_new(self.take("maildir:" + folder))

    def test_a_maildir_compressed_with_zstd_is_read_and_damage_is_told(self):
        folder, server, _ = self.check_compressed("zstd", b"\x28\xb5\x2f\xfd")
        self.set_password()
        self.assertEqual("", differences(view(server, "anna"), view(self.here, "anna")))
        with open(os.path.join(folder, "cur", "1.cut:2,"), "wb") as out:
            out.write(b"\x28\xb5\x2f\xfd\x04")
        self.assertEqual(1, self.take("maildir:" + folder)["INBOX"]["left-out"])

    def test_other_compression_is_told_and_nothing_of_it_taken(self):
        _, _, told = self.check_compressed("bz2", b"BZh")
        self.assertEqual(0, sum(entry["new"] for entry in told.values()))
        self.assertEqual(len(foreign.ODD) - 1, told["INBOX"]["left-out"])


class FromCyrus(ExtrasTest):
    def test_rights_metadata_and_the_quota_come(self):
        server = foreign.Cyrus(os.path.join(self.folder, "d"))
        self.addCleanup(server.stop)
        server.start()
        with server.imap("anna") as client:
            foreign.fill(client, without=('we"ird',))
        with server.imap("cyrus") as client:
            client.command("SETQUOTA user/anna (STORAGE 2048)")
        self.check_extras(server, "--login", "cyrus")
        self.assertEqual([2048], self.limit())


class Sieve(ImportTest):
    def scripts(self):
        return self.here.tool("script", "list", "anna")[1]

    def write(self, name, text):
        path = os.path.join(self.folder, "home", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    def take_scripts(self):
        return self.here.tool("import", "anna", "sieve:" + os.path.join(self.folder, "home"))[1]

    def test_scripts_of_a_dovecot_come_and_what_was_edited_here_stays(self):
        self.write("sieve/main.sieve", "keep;\n")
        self.write("sieve/holiday.sieve", "discard;\n")
        self.write("sieve/notes.txt", "no script\n")
        os.symlink("/etc/passwd", os.path.join(self.folder, "home", "sieve", "link.sieve"))
        os.symlink("sieve/main.sieve", os.path.join(self.folder, "home", ".dovecot.sieve"))
        self.assertIn("3 scripts or limits changed", self.take_scripts())
        self.assertEqual(["holiday", "main"], sorted(re.findall(r"holiday|main|link", self.scripts())))
        self.assertRegex(self.scripts(), r"main.*\*|\*.*main")
        self.assertEqual("keep;\n", self.here.tool("script", "get", "anna", "main")[1])
        self.assertNotIn("changed,", self.take_scripts().replace("flags of 0 changed,", ""))
        self.here.tool("script", "put", "anna", "main", text_input="stop;\n")
        self.write("sieve/main.sieve", "redirect 'x@y.example';\n")
        os.remove(os.path.join(self.folder, "home", "sieve", "holiday.sieve"))
        self.assertIn("1 scripts or limits changed", self.take_scripts())
        self.assertEqual("stop;\n", self.here.tool("script", "get", "anna", "main")[1])
        self.assertNotIn("holiday", self.scripts())

    def test_scripts_of_a_cyrus_come(self):
        self.write("vacation.script", "keep;\n")
        os.symlink("vacation.bc", os.path.join(self.folder, "home", "defaultbc"))
        self.take_scripts()
        self.assertRegex(self.scripts(), r"vacation.*\*|\*.*vacation")

    def test_a_single_script_is_the_active_one(self):
        self.write(".dovecot.sieve", "keep;\n")
        self.take_scripts()
        self.assertRegex(self.scripts(), r"dovecot.*\*|\*.*dovecot")


if __name__ == "__main__":
    chapar.main()
