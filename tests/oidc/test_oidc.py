"""Aegis with an identity provider that nobody here wrote: logins, roles, rotation, outage."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import Aegis, Refused, base64_text  # noqa: E402
from identity_provider import IdentityProvider, wait_until  # noqa: E402

SETTINGS = """
[oidc]
issuer = "{issuer}"
client_id = "aegis"
approval_page = true

[roles]
admin = ["group:security"]
operator = ["group:crypto"]
user = ["group:crypto"]
"""
# Seconds within which a new key of the provider's is found: one fetch in 30, and the time it takes.
KEY_FOUND = 45
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
}


class WithProvider(unittest.TestCase):
    """One provider and one server for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.provider = IdentityProvider()
        cls.addClassCleanup(cls.provider.stop)
        cls.provider.start()
        cls.server = Aegis(SETTINGS.format(issuer=cls.provider.issuer))
        cls.addClassCleanup(cls.server.stop)
        cls.enrolment_code = cls.server.start_without_login()

    def exchange(self, id_token):
        return self.call(None, "POST", "/v1/oauth/token", form=EXCHANGE | {"subject_token": id_token})["access_token"]

    def log_in(self, human):
        return self.exchange(self.provider.log_in(human)["id_token"])

    def call(self, token, method, path, body=None, form=None):
        self.server.token = token
        return self.server.call(method, path, body, form)

    def refused(self, status, *call, **named):
        """The refusal's body."""
        with self.assertRaises(Refused) as caught:
            self.call(*call, **named)
        self.assertEqual(caught.exception.status, status, caught.exception)
        return caught.exception.problem

    def refuses(self, id_token, status=400):
        form = EXCHANGE | {"subject_token": id_token}
        return self.refused(status, None, "POST", "/v1/oauth/token", form=form)

    def roles(self, token):
        return self.call(token, "GET", "/v1/whoami")["roles"]


class Logins(WithProvider):
    def test_groups_make_roles_and_roles_decide(self):
        alice, bob, carol = (self.log_in(human) for human in ["alice", "bob", "carol"])
        self.assertEqual(self.roles(alice), ["admin", "operator", "user"])
        self.assertEqual(self.roles(bob), ["operator", "user"])
        self.assertEqual(self.roles(carol), [])
        key = {"name": "invoices", "algorithm": "ECDSA-P256", "activate": True}
        self.refused(403, carol, "POST", "/v1/keys", key)
        self.call(bob, "POST", "/v1/keys", key)
        # The login was just now, which the provider says: an agent may be issued.
        agent = self.call(bob, "POST", "/v1/agents", {"label": "signer", "scope": "key:invoices:sign"})
        self.assertEqual(agent["sponsor"], "bob")
        issued = self.call(bob, "POST", f"/v1/agents/{agent['id']}/credentials", {})
        message = {"message": base64_text(b"x")}
        self.assertTrue(self.call(issued["token"], "POST", "/v1/keys/invoices/sign", message)["signature"])

    def test_there_is_no_local_issuer(self):
        self.assertIsNone(self.enrolment_code)
        login = {"human": "alice", "passphrase": "correct horse battery staple"}
        self.refused(404, None, "POST", "/local/token", login)
        self.refused(404, None, "POST", "/local/enroll", login | {"code": "0" * 32})

    def test_an_id_token_is_exchanged_once_and_opens_nothing_itself(self):
        id_token = self.provider.log_in("bob")["id_token"]
        self.refused(401, id_token, "GET", "/v1/whoami")
        self.exchange(id_token)
        self.refuses(id_token)

    def test_nothing_but_our_own_id_token_is_exchanged(self):
        self.refuses(self.provider.log_in("alice", client="another")["id_token"])
        self.refuses(self.provider.log_in("alice")["access_token"])
        head, body, signature = self.provider.log_in("alice")["id_token"].split(".")
        other = self.provider.log_in("bob")["id_token"].split(".")
        self.refuses(".".join([head, other[1], signature]))
        self.refuses(".".join([head, body, ""]))

    def test_a_session_that_is_revoked_ends(self):
        first, second = self.log_in("bob"), self.log_in("bob")
        credential = self.call(first, "GET", "/v1/whoami")["credential"]
        self.call(second, "POST", f"/v1/credentials/{credential}/revoke", {})
        self.refused(401, first, "GET", "/v1/whoami")
        self.assertIs(self.call(second, "POST", "/v1/oauth/introspect", form={"token": second})["active"], True)
        self.assertEqual(self.call(second, "POST", "/v1/oauth/introspect", form={"token": first}), {"active": False})
        self.call(second, "POST", "/v1/oauth/revoke", form={"token": second})
        self.refused(401, second, "GET", "/v1/whoami")

    def test_a_human_who_is_revoked_is_out_whatever_the_provider_says(self):
        admin, dora = self.log_in("alice"), self.log_in("dora")
        self.call(admin, "POST", "/v1/humans/dora/revoke", {})
        self.refused(401, dora, "GET", "/v1/whoami")
        self.refuses(self.provider.log_in("dora")["id_token"])
        self.call(admin, "POST", "/v1/humans/dora/reinstate", {})
        self.refused(401, dora, "GET", "/v1/whoami")
        self.assertEqual(self.roles(self.log_in("dora")), ["admin"])


class Rotation(WithProvider):
    def test_new_keys_are_found_and_withdrawn_ones_refused(self):
        session = self.log_in("bob")
        before = self.provider.log_in("bob")["id_token"]
        # From RS256 with keys that do not name it to ES256 with keys that do.
        self.provider.rotate("ES256", named=True)
        after = self.provider.log_in("bob")["id_token"]
        found = []
        wait_until("the new key is found", lambda: self.taken(after, found), KEY_FOUND)
        self.assertEqual(self.roles(found[0]), ["operator", "user"])
        self.refuses(before)
        self.call(session, "GET", "/v1/whoami")

    def taken(self, id_token, found):
        try:
            found.append(self.exchange(id_token))
        except Refused as refused:
            self.assertEqual(refused.status, 400)
        return bool(found)


class Outage(WithProvider):
    def test_sessions_outlive_the_provider_and_logins_say_whom_they_miss(self):
        session, later = self.log_in("bob"), self.provider.log_in("bob")["id_token"]
        self.provider.stop()
        # Its keys are known for some minutes more; a server that starts now knows none.
        self.assertIsNone(self.server.restart())
        self.assertEqual(self.roles(session), ["operator", "user"])
        for _ in range(2):
            self.assertIn("the identity provider did not answer", self.refuses(later, 503))
            self.assertIn("the identity provider did not answer", self.refused(503, None, "GET", "/approve/apr_1"))
        self.assertEqual(self.roles(session), ["operator", "user"])


if __name__ == "__main__":
    unittest.main()
