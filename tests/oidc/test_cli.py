"""`aegis login` at an identity provider that nobody here wrote: the real command, a real provider, a human's browser."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import Aegis  # noqa: E402
from identity_provider import Browser, IdentityProvider  # noqa: E402
from test_oidc import SETTINGS  # noqa: E402

SCOPES = 'scopes = ["openid", "groups"]\n'
# Seconds. The provider is asked every five.
LOGIN_TIME = 60


class Login(unittest.TestCase):
    """Each test has a home of its own."""

    @classmethod
    def setUpClass(cls):
        cls.provider = IdentityProvider()
        cls.addClassCleanup(cls.provider.stop)
        cls.provider.start()
        # As many do: what needs a fresh login works only if the command asks for one.
        cls.provider.rotate("RS256", named=False, untold=True)
        settings = SETTINGS.format(issuer=cls.provider.issuer).replace("\n\n[roles]", "\n" + SCOPES + "\n[roles]")
        cls.server = Aegis(settings)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start_without_login()

    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="aegis-home-")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)

    def begin(self, *arguments):
        """A login that waits for its human, and what it said to her."""
        child = self.spawn("--json", "login", *arguments)
        self.addCleanup(child.kill)
        line = child.stdout.readline()
        if not line:
            _, error = child.communicate(timeout=LOGIN_TIME)
            raise AssertionError(f"it did not begin: {error}")
        return child, json.loads(line)

    def spawn(self, *arguments):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
        environment |= {"AEGIS_HOME": str(self.home), "AEGIS_SESSIONS": "file", "AEGIS_URL": self.server.base}
        return subprocess.Popen([os.environ["AEGIS_BIN"], *arguments], env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ends(self, child):
        output, error = child.communicate(timeout=LOGIN_TIME)
        return child.returncode, output, error

    def assert_nothing_kept(self):
        self.assertFalse((self.home / "sessions.toml").exists())
        self.assertEqual(self.ends(self.spawn("whoami"))[0], 3)

    def test_a_human_logs_in_with_a_browser_and_her_session_is_a_fresh_one(self):
        child, asked = self.begin()
        self.assertIn(asked["user_code"], asked["verification_uri_complete"])
        Browser().approve(asked["verification_uri_complete"], {"login": "bob", "password": "any"})
        code, output, error = self.ends(child)
        self.assertEqual((code, error), (0, ""))
        me = json.loads(output)
        self.assertEqual((me["human"], me["roles"]), ("bob", ["operator", "user"]))
        code, output, _ = self.ends(self.spawn("whoami", "--json"))
        self.assertEqual((code, json.loads(output)["credential"]), (0, me["credential"]))
        # What needs a fresh login is done with it.
        self.ends(self.spawn("key", "create", "invoices", "--algorithm", "Ed25519", "--activate"))
        code, _, error = self.ends(self.spawn("agent", "issue", "--label", "signer", "--scopes", "key:invoices:sign"))
        self.assertEqual((code, error), (0, ""))
        self.assertEqual(self.ends(self.spawn("logout"))[0], 0)
        self.assertEqual(self.ends(self.spawn("whoami"))[0], 3)

    def test_people_are_shown_the_page_and_the_code(self):
        child = self.spawn("login")
        self.addCleanup(child.kill)
        shown = [child.stderr.readline().strip() for _ in range(2)]
        self.assertRegex(shown[0], r"^to log in, open  http://127\.0\.0\.1:\d+/device\?user_code=")
        self.assertRegex(shown[1], r"^and compare      [A-Z-]+$")
        address, code = shown[0].split()[-1], shown[1].split()[-1]
        self.assertTrue(address.endswith(code))
        Browser().approve(address, {"login": "alice", "password": "any"})
        code, output, _ = self.ends(child)
        self.assertEqual(code, 0)
        self.assertRegex(output, r"^logged in to http://127\.0\.0\.1:\d+ as alice \(admin, operator, user\) until ")

    def test_a_login_that_is_denied_says_so_and_keeps_nothing(self):
        child, asked = self.begin()
        Browser().deny(asked["verification_uri_complete"], {"login": "bob", "password": "any"})
        code, output, error = self.ends(child)
        self.assertEqual((code, output, error), (1, "", "aegis: the login was denied at the identity provider\n"))
        self.assert_nothing_kept()

    def test_ctrl_c_ends_the_wait_at_once_and_keeps_nothing(self):
        child, _ = self.begin()
        child.send_signal(signal.SIGINT)
        code, output, error = self.ends(child)
        self.assertEqual((code, output), (1, ""))
        self.assertEqual(error, "aegis: the login was cancelled; nothing was changed\n")
        self.assert_nothing_kept()

    def test_what_is_for_other_deployments_is_refused(self):
        code, output, error = self.ends(self.spawn("login", "--human", "alice@org"))
        self.assertEqual((code, output), (2, ""))
        self.assertIn(f"log in at {self.provider.issuer}", error)

    def test_the_deployment_names_its_provider(self):
        metadata = self.server.call("GET", "/.well-known/oauth-protected-resource")
        self.assertEqual(metadata["authorization_servers"], [self.provider.issuer])
        wanted = {"issuer": self.provider.issuer, "client_id": "aegis", "scopes": ["openid", "groups"]}
        self.assertEqual(metadata["aegis_device_login"], wanted)


class Late(Login):
    """With codes that expire before anybody could use them; none of the other tests."""

    def test_a_code_that_expires_says_so_and_keeps_nothing(self):
        self.provider.rotate("RS256", named=False, codes=2)
        child, _ = self.begin()
        code, output, error = self.ends(child)
        self.assertEqual((code, output), (1, ""))
        self.assertEqual(error, "aegis: the code expired before the login was finished; run it again: aegis login\n")
        self.assert_nothing_kept()

    def test_a_provider_that_is_gone_is_named(self):
        self.provider.stop()
        code, _, error = self.ends(self.spawn("login"))
        self.assertEqual(code, 6)
        self.assertIn(f"cannot log in at {self.provider.issuer}", error)


def load_tests(loader, _, __):
    """What `Late` inherits is run once, with `Login`."""
    suite = loader.loadTestsFromTestCase(Login)
    suite.addTests(Late(name) for name in loader.getTestCaseNames(Late) if name in vars(Late))
    return suite


if __name__ == "__main__":
    unittest.main()
