"""The configuration file: what is wrong is refused with its line, before anything is touched."""

import os
import subprocess

import chapar_test as chapar


class Config(chapar.TestCase):
    def check(self, text):
        """Runs the daemon on this configuration; returns (exit status, output)."""
        path = os.path.join(self.folder, "chapard.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        done = subprocess.run(
            [chapar.CHAPARD, "-c", path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", timeout=60, check=False,
        )
        return done.returncode, done.stdout

    def refuses(self, text, *words):
        status, output = self.check(text)
        self.assertNotEqual(status, 0, output)
        self.assertNotIn("Sanitizer", output)
        for word in words:
            self.assertIn(word, output)

    GOOD = (
        'node = "a"\nstore { path = "store" }\n'
        'listen imap { address = "127.0.0.1:1143" }\n'
    )

    def test_an_unknown_key_is_refused_with_its_line(self):
        self.refuses(self.GOOD + "colour = 3\n", "chapard.conf:4", "colour")

    def test_a_value_out_of_bounds_is_refused_with_its_line(self):
        self.refuses(self.GOOD + "workers = 0\n", "chapard.conf:4", "workers")

    def test_a_missing_store_is_told(self):
        self.refuses('node = "a"\nlisten imap { address = "127.0.0.1:1143" }\n', "store")

    def test_a_certificate_that_cannot_be_read_is_told(self):
        text = self.GOOD + 'tls { certificate = "nowhere.pem" key = "nowhere.pem" }\n'
        self.refuses(text, "nowhere.pem")

    def test_a_password_file_that_others_may_read_is_refused(self):
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w", encoding="ascii") as out:
            out.write("x\n")
        os.chmod(secret, 0o644)
        self.refuses(self.GOOD + 'sync-user "b" { password-file = "secret" }\n', "secret")

    def test_a_configuration_that_does_not_exist_is_told(self):
        done = subprocess.run(
            [chapar.CHAPARD, "-c", "/nonexistent/chapard.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", timeout=60, check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/nonexistent/chapard.conf", done.stdout)


if __name__ == "__main__":
    chapar.main()
