"""Where sessions are kept: with a real Secret Service (gnome-keyring) on a bus of its own, and without one.

Run it inside `dbus-run-session`. Standard library only.
"""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import HUMAN, PASSPHRASE, Aegis  # noqa: E402

# Seconds.
COMMAND_TIME = 60
SECRETS = "org.freedesktop.secrets"


class WithKeychain(unittest.TestCase):
    """One server and one keychain for all tests of a class; each test has a home of its own."""

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory(prefix="aegis-keychain-")
        cls.addClassCleanup(scratch.cleanup)
        folder = pathlib.Path(scratch.name)
        # The keychain's own files: never those of whoever runs this.
        own = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_RUNTIME_DIR": str(folder)}
        command = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        cls.keychain = subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.end_keychain)
        # The password of a keychain that exists for these tests alone.
        cls.keychain.stdin.write(b"of a test")
        cls.keychain.stdin.close()
        subprocess.run(["gdbus", "wait", "--session", "--timeout", "30", SECRETS], check=True, timeout=COMMAND_TIME)
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()

    @classmethod
    def end_keychain(cls):
        cls.keychain.terminate()
        cls.keychain.wait(COMMAND_TIME)

    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="aegis-home-")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.passphrase = self.home / "passphrase"
        self.passphrase.write_text(PASSPHRASE)

    def aegis(self, *arguments, bus=True, sessions=None, told=""):
        """Exit code, output and what went to standard error; `told` is its standard input."""
        outside = ("AEGIS_", "DBUS_", "XDG_", "DISPLAY")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
        environment |= {"AEGIS_HOME": str(self.home), "AEGIS_URL": self.server.base, "HOME": str(self.home)}
        if bus:
            environment["DBUS_SESSION_BUS_ADDRESS"] = os.environ["DBUS_SESSION_BUS_ADDRESS"]
        if sessions:
            environment["AEGIS_SESSIONS"] = sessions
        done = subprocess.run([os.environ["AEGIS_BIN"], *arguments], env=environment, input=told, capture_output=True,
                              text=True, timeout=COMMAND_TIME)
        return done.returncode, done.stdout, done.stderr

    def log_in(self, **how):
        return self.aegis("login", "--human", HUMAN, "--passphrase-file", str(self.passphrase), **how)

    def file(self):
        """The sessions' file: its text, and what it says of the only session."""
        text = (self.home / "sessions.toml").read_text()
        return text, tomllib.loads(text)[self.server.base]

    def entries(self):
        """How many entries the keychain itself has for this deployment."""
        command = ["gdbus", "call", "--session", "--dest", SECRETS, "--object-path", "/org/freedesktop/secrets"]
        command += ["--method", "org.freedesktop.Secret.Service.SearchItems", f"{{'service': 'aegis {self.server.base}'}}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMMAND_TIME)
        return done.stdout.count("/org/freedesktop/secrets/collection/")


class Sessions(WithKeychain):
    def test_the_token_is_in_the_keychain_and_in_no_file_until_logout(self):
        before = self.entries()
        self.assertEqual(self.log_in()[0], 0)
        text, session = self.file()
        self.assertNotIn("token", session)
        self.assertNotIn("eyJ", text)
        self.assertEqual(self.entries(), before + 1)
        code, output, _ = self.aegis("whoami")
        self.assertEqual(code, 0)
        self.assertIn("token from  the system's keychain\n", output)
        # Another login takes the place of the first.
        self.assertEqual(self.log_in()[0], 0)
        self.assertEqual(self.entries(), before + 1)
        self.aegis("context", "add", "own", self.server.base)
        self.assertRegex(self.aegis("context", "list")[1], rf"own +{self.server.base} +yes +{HUMAN} +keychain\n")
        self.assertEqual(self.aegis("logout")[0], 0)
        self.assertEqual(self.entries(), before)
        self.assertEqual(self.aegis("whoami")[0], 3)

    def test_two_homes_have_sessions_of_their_own(self):
        self.assertEqual(self.log_in()[0], 0)
        first, second = self.home, tempfile.TemporaryDirectory(prefix="aegis-home-")
        self.addCleanup(second.cleanup)
        self.home = pathlib.Path(second.name)
        self.assertEqual(self.log_in()[0], 0)
        self.assertEqual(self.aegis("logout")[0], 0)
        self.home = first
        self.assertEqual(self.aegis("whoami")[0], 0)
        self.assertEqual(self.aegis("logout")[0], 0)

    def test_without_a_keychain_the_token_is_in_a_file_of_its_owners_alone(self):
        code, _, error = self.log_in(bus=False)
        self.assertEqual((code, error), (0, ""))
        self.assertTrue(self.file()[1]["token"].startswith("eyJ"))
        self.assertEqual(stat.S_IMODE((self.home / "sessions.toml").stat().st_mode), 0o600)
        code, output, _ = self.aegis("whoami", bus=False)
        self.assertEqual(code, 0)
        self.assertIn(f"token from  {self.home}/sessions.toml\n", output)
        self.aegis("context", "add", "own", self.server.base)
        self.assertRegex(self.aegis("context", "list", bus=False)[1], rf"{HUMAN} +file\n")

    def test_who_asks_for_a_file_gets_one_and_who_asks_for_a_keychain_gets_no_file(self):
        self.assertEqual(self.log_in(sessions="file")[0], 0)
        self.assertIn("token", self.file()[1])
        (self.home / "sessions.toml").unlink()
        code, _, error = self.log_in(bus=False, sessions="keychain")
        self.assertEqual(code, 1)
        self.assertIn("the system's keychain cannot be used", error)
        self.assertEqual(len(error.strip().splitlines()), 1, error)
        self.assertFalse((self.home / "sessions.toml").exists())
        code, _, error = self.log_in(sessions="pocket")
        self.assertEqual((code, error), (2, "aegis: AEGIS_SESSIONS is neither `keychain` nor `file`\n"))

    def test_a_keychain_that_does_not_answer_is_no_logout(self):
        self.assertEqual(self.log_in()[0], 0)
        code, _, error = self.aegis("whoami", bus=False)
        self.assertEqual(code, 1)
        self.assertIn("the system's keychain cannot be used", error)
        self.assertEqual(self.aegis("whoami")[0], 0)


class Bridge(WithKeychain):
    """`aegis mcp`, told one message as a program that hosts agents would tell it."""

    def setUp(self):
        super().setUp()
        self.label = f"invoices-{time.time_ns():x}"
        name = f"key-{self.label}"
        self.server.create_key(name, "Ed25519")
        issued = {"label": self.label, "scope": f"key:{name}:sign"}
        self.agent = self.server.call("POST", "/v1/agents", issued)["id"]
        arguments = {"key": name, "message": "aGVsbG8="}
        self.sign = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "sign", "arguments": arguments}}

    def answer(self, **how):
        code, output, _ = self.aegis("mcp", "--agent", self.label, told=json.dumps(self.sign) + "\n", **how)
        self.assertEqual(code, 0)
        return json.loads(output)

    def records(self, operation, actor):
        return self.server.call("GET", f"/v1/audit?op={operation}&actor={actor}&limit=200")["items"]

    def test_the_agents_tokens_are_drawn_from_the_session_in_the_keychain(self):
        self.assertIn("aegis login", self.answer()["error"]["message"])
        self.assertEqual(self.log_in()[0], 0)
        text, session = self.file()
        self.assertNotIn("eyJ", text)
        self.assertFalse(self.answer()["result"]["isError"])
        # Drawn by the session that the keychain has, used, and ended with the bridge.
        [signed] = self.records("key.sign", self.agent)
        [drawn] = [record for record in self.records("credential.issue", HUMAN) if record["object"] == signed["credential"]]
        self.assertEqual(drawn["credential"], session["credential"])
        [ended] = self.records("credential.revoke", self.agent)
        self.assertEqual(ended["object"], signed["credential"])
        # Neither went anywhere else.
        self.assertEqual(self.file()[0], text)
        kept = [path for path in self.home.rglob("*") if path.is_file() and b"eyJ" in path.read_bytes()]
        self.assertEqual(kept, [])
        self.assertIn("the system's keychain cannot be used", self.answer(bus=False)["error"]["message"])
        self.assertEqual(self.aegis("logout")[0], 0)
        self.assertIn("aegis login", self.answer()["error"]["message"])
        self.assertEqual(len(self.records("key.sign", self.agent)), 1)


class Locked(WithKeychain):
    """As over SSH: a keychain that only a person at its own screen could unlock."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        command = ["gdbus", "call", "--session", "--dest", SECRETS, "--object-path", "/org/freedesktop/secrets"]
        command += ["--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/collection/login']"]
        subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_TIME)

    def test_a_locked_keychain_is_as_good_as_none(self):
        code, _, error = self.log_in()
        self.assertEqual((code, error), (0, ""))
        self.assertTrue(self.file()[1]["token"].startswith("eyJ"))
        self.assertEqual(self.aegis("whoami")[0], 0)
        code, _, error = self.log_in(sessions="keychain")
        self.assertEqual(code, 1)
        self.assertRegex(error, r"^aegis: the system's keychain cannot be used: .*; unlock it, or log in again with")


if __name__ == "__main__":
    unittest.main()
