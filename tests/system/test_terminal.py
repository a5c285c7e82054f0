"""The tool at a terminal, and elsewhere: progress, colours, help and completion."""

import json
import os
import pty
import re
import select
import subprocess
import time

import chapar_test as chapar
from chapar_test import message


class Terminal(chapar.TestCase):
    def setUp(self):
        super().setUp()
        self.a = self.node("a")
        self.a.write_config()

    def at_terminal(self, *arguments, **variables):
        """What a run shows on a terminal, where both its outputs are."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [chapar.CHAPAR, "-c", self.a.config_file, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"},
                 "TERM": "xterm", **variables},
        )
        os.close(theirs)
        shown, until = b"", time.monotonic() + 60
        while time.monotonic() < until:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(ours)
        process.wait(60)
        return shown.decode("utf-8", "replace")

    def password(self):
        path = os.path.join(self.folder, "password")
        with open(path, "w", encoding="ascii") as out:
            out.write(chapar.PASSWORD + "\n")
        os.chmod(path, 0o600)
        return path

    def test_long_work_tells_how_far_it_is_on_a_terminal_and_nowhere_else(self):
        self.a.start()
        self.a.add_account("alice")
        for number in range(30):
            self.a.deliver("alice", message("mail %d" % number, "x" * 70000 + "\r\n"))
        target = os.path.join(self.folder, "backup")
        bundle = os.path.join(self.folder, "bundle")
        files = os.path.join(self.folder, "files")
        box = os.path.join(self.folder, "box")
        copy = os.path.join(self.folder, "copy")
        origin = "imap://alice@%s:%d/" % (self.a.address, self.a.imap_port)
        for arguments, unit in (
            (("backup", target), "iB"),
            (("backup", "verify", target), "iB"),
            (("backup", "prune", target, "--keep", "1d"), "packs"),
            (("bundle", "create", bundle), "bundle"),
            (("clone", origin, copy, "--no-tls", "--password-file", self.password()), "alice"),
            (("export", "alice", "maildir:" + files), "INBOX"),
            (("import", "alice", "maildir:" + files), "INBOX"),
            (("verify", "--bodies"), "iB"),
            (("restore", target, "--into", "mbox:" + box), "iB"),
        ):
            shown = self.at_terminal(*arguments)
            self.assertRegex(shown, r"\r\x1b\[K[^\r\n]*" + unit, arguments)
            # It is gone at the end.
            self.assertNotRegex(shown.split("\r\x1b[K")[-1], r"\[[#.]+\]")
        _, text = self.a.tool("verify", "--bodies")
        self.assertNotIn("\x1b", text)
        self.assertNotIn("\r", text)
        self.assertEqual(json.loads(self.a.tool("verify", "--bodies", "--json")[1]), [])

    def test_errors_are_in_colour_where_somebody_wants_it(self):
        self.assertIn("\x1b[1;31mchapar:\x1b[0m ", self.at_terminal("nonsense"))
        self.assertIn("\x1b[1;31mchapar:\x1b[0m ", self.at_terminal("account", "delete", "nobody"))
        for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            shown = self.at_terminal("nonsense", **variables)
            self.assertIn("chapar: ", shown)
            self.assertNotIn("\x1b", shown)
        self.assertNotIn("\x1b", self.a.tool("nonsense", check=False)[1])

    def usages(self):
        """{command: its options}, as help tells them."""
        text = subprocess.run(
            [chapar.CHAPAR, "help"], capture_output=True, encoding="utf-8", check=True, timeout=60
        ).stdout
        found = {}
        for line in re.findall(r"(?m)^  (?! )(.*)$", text):
            words = re.match(r"[a-z-]+( [a-z-]+(?![a-z:|/]*[:|]))?", line)[0].split()
            found[tuple(words)] = re.findall(r"\[(--[a-z0-9-]+)", line)
        return found

    def test_help_and_the_manual_name_each_option_of_each_command_once(self):
        usages = self.usages()
        self.assertGreater(len(usages), 40)
        page = os.path.join(
            os.path.dirname(os.path.abspath(__file__)), "..", "..", "packaging", "man", "chapar.1"
        )
        with open(page, encoding="utf-8") as file:
            manual = file.read().replace("\\-", "-")
        for words, options in usages.items():
            self.assertEqual(len(options), len(set(options)), words)
            for option in options:
                self.assertIn(option, manual, words)
            told = subprocess.run(
                [chapar.CHAPAR, "help", *words], capture_output=True, encoding="utf-8",
                check=True, timeout=60,
            ).stdout
            for option in options:
                self.assertRegex(told, r"(?m)^  %s\b" % option, words)

    def completed(self, script, *words):
        """What bash offers for the last of the words."""
        lines = [script]
        for at in words:
            quoted = " ".join("'%s'" % word for word in at)
            lines.append(
                "COMP_WORDS=(chapar %s); COMP_CWORD=%d; COMPREPLY=(); _chapar; "
                'echo "${COMPREPLY[@]}"' % (quoted, len(at))
            )
        text = subprocess.run(
            ["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, encoding="utf-8",
            check=True, timeout=120,
        ).stdout
        return [line.split() for line in text.splitlines()]

    def test_completion_knows_every_command_and_every_option(self):
        chapar.need_tool("bash")
        script = subprocess.run(
            [chapar.CHAPAR, "completion", "bash"], capture_output=True, encoding="utf-8",
            check=True, timeout=60,
        ).stdout
        usages = self.usages()
        (first,) = self.completed(script, [""])
        self.assertEqual(sorted(first), sorted({words[0] for words in usages}))
        for words, found in zip(
            usages, self.completed(script, *[list(words) + ["--"] for words in usages])
        ):
            self.assertEqual(sorted(found), sorted(usages[words]), words)
        for name in {words[0] for words in usages if len(words) == 2}:
            (found,) = self.completed(script, [name, ""])
            self.assertEqual(
                set(found),
                {words[1] for words in usages if words[0] == name and len(words) == 2},
            )

    def test_every_listing_has_a_form_for_programs(self):
        self.a.start()
        self.a.add_account("alice")
        self.a.tool("acl", "alice", "INBOX", "bob", "lr")
        target = os.path.join(self.folder, "backup")
        self.a.tool("backup", target)
        for arguments in (
            ("account", "list"), ("acl", "alice", "INBOX"), ("backup", "list", target),
            ("backup", "list", target, "--account", "alice"), ("channel", "list"),
            ("conflict", "list"), ("quota",), ("script", "list", "alice"), ("status",),
            ("undelete", "alice", "--list"), ("verify",),
        ):
            status, text = self.a.tool(*arguments, "--json")
            self.assertEqual(status, 0)
            json.loads(text)
        self.assertEqual(
            json.loads(self.a.tool("acl", "alice", "INBOX", "--json")[1])[-1],
            {"identifier": "bob", "rights": "lr"},
        )


if __name__ == "__main__":
    chapar.main()
