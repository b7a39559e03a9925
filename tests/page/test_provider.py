"""The page on which a human answers an approval, where she logs in at an identity provider: one that nobody here wrote."""

import pathlib
import sys
import unittest
import urllib.parse

from in_browser import PHONE, InBrowser
from playwright.sync_api import expect

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oidc"))

from aegis_client import CAUTIOUS, Aegis  # noqa: E402
from identity_provider import IdentityProvider  # noqa: E402

SETTINGS = """
[oidc]
issuer = "{issuer}"
client_id = "aegis"
scopes = ["openid", "groups"]
approval_page = true

[roles]
admin = ["group:security"]
operator = ["group:crypto"]
user = ["group:crypto"]
"""
# Each test leaves an approval waiting.
PATIENT = CAUTIOUS + "\n[approvals]\npending_per_agent = 10\n"
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
}


class AtProvider(InBrowser):
    @classmethod
    def setUpClass(cls):
        cls.provider = IdentityProvider()
        cls.addClassCleanup(cls.provider.stop)
        cls.provider.start()
        cls.server = Aegis(SETTINGS.format(issuer=cls.provider.issuer))
        cls.addClassCleanup(cls.server.stop)
        cls.server.start_without_login()
        cls.server.restart_with_rules(PATIENT)
        cls.back = f"{cls.server.base}/approve/login"
        # It tells the time of a login only to who asks for its age.
        cls.provider.rotate("RS256", named=False, untold=True, back=cls.back)
        cls.server.token = cls.session(max_age="300")
        cls.issue_agent()
        super().setUpClass()

    @classmethod
    def session(cls, **asked):
        id_token = cls.provider.log_in("alice", **asked)["id_token"]
        cls.server.token = None
        return cls.server.call("POST", "/v1/oauth/token", form=EXCHANGE | {"subject_token": id_token})["access_token"]

    def log_in(self, human="alice"):
        """At the provider, where the browser is already."""
        self.page.locator("[name=login]").fill(human)
        self.page.locator("[name=password]").fill("any")
        self.page.locator("button[type=submit]").click()
        self.page.get_by_role("button", name="Continue").click()

    def begin(self, url):
        """The address that the provider is asked at."""
        self.page.goto(url)
        self.page.get_by_role("button", name="Log in").click()
        self.page.locator("[name=login]").wait_for()

    def kept(self):
        return self.page.evaluate("() => Object.keys(sessionStorage).concat(Object.keys(localStorage))")

    def refuses(self, text):
        self.says(text)
        expect(self.page.locator("#asked")).to_be_hidden()
        self.assertEqual(self.kept(), [])
        self.assertNotIn("code=", self.page.url)

    def test_a_human_logs_in_at_the_provider_and_approves(self):
        payment = {"pay": "12500.00 EUR"}
        asked, sent = self.asked(payment), []
        self.assertTrue(asked["approval_url"].startswith(f"{self.server.base}/approve/apr_"))
        self.page.on("request", lambda request: sent.append(request.url))
        self.begin(asked["approval_url"])
        self.log_in()
        self.says("This is what the agent asks for")
        self.assertEqual((self.page.url, self.kept()), (asked["approval_url"], []))
        [authorize] = [url for url in sent if url.startswith(f"{self.provider.issuer}/auth?")]
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(authorize).query))
        wanted = {"response_type": "code", "client_id": "aegis", "redirect_uri": self.back, "scope": "openid groups",
                  "code_challenge_method": "S256", "prompt": "login", "max_age": "0"}
        self.assertEqual(wanted | query, query)
        self.assertEqual([len(query[name]) for name in ("state", "nonce", "code_challenge")], [43, 43, 43])
        expect(self.page.locator("#payload")).to_contain_text('"pay": "12500.00 EUR"')
        self.page.get_by_label("The code that the agent shows").fill("0000-0000")
        self.page.get_by_role("button", name="Approve this request").click()
        self.says("the code")
        self.page.get_by_label("The code that the agent shows").fill(asked["approval_code"])
        self.page.get_by_role("button", name="Approve this request").click()
        self.says("It is approved")
        self.assertTrue(self.sign(payment)["signature"])
        self.assertEqual(self.troubles, [])
        # Whoever is logged in at the provider already logs in again.
        again = self.asked({"pay": "12501.00 EUR"})
        self.begin(again["approval_url"])
        expect(self.page.locator("[name=password]")).to_be_visible()
        # The code that came back is in no page that she can go back to, and serves nobody twice.
        [back] = [url for url in sent if url.startswith(self.back)]
        self.page.goto(back)
        self.refuses("That was the end of another login")
        self.page.goto(back)
        self.refuses("No login was begun in this tab")

    def test_by_keyboard_alone_a_human_denies(self):
        asked = self.asked({"pay": "1.00 EUR"})
        self.page.goto(asked["approval_url"])
        keys = self.page.keyboard
        self.reach(self.page.get_by_role("button", name="Log in"))
        keys.press("Enter")
        self.reach(self.page.locator("[name=login]"))
        keys.type("alice")
        keys.press("Tab")
        keys.type("any")
        keys.press("Enter")
        self.reach(self.page.get_by_role("button", name="Continue"))
        keys.press("Enter")
        self.deny_by_keyboard({"pay": "1.00 EUR"})

    def test_what_another_browser_began_is_not_finished_here(self):
        asked = self.asked({"pay": "2.00 EUR"})
        # Mallory logs in, and has the human's browser finish it.
        other = self.browser.new_context()
        self.addCleanup(other.close)
        own, self.page = self.page, other.new_page()
        self.page.route(f"{self.provider.issuer}/token", lambda route: route.abort())
        self.begin(asked["approval_url"])
        with self.page.expect_request(f"{self.back}?*") as ended:
            self.log_in("bob")
        self.page = own
        self.page.goto(ended.value.url)
        self.refuses("No login was begun in this tab")
        self.begin(asked["approval_url"])
        self.page.goto(ended.value.url)
        self.refuses("That was the end of another login")

    def test_an_id_token_of_another_login_is_refused(self):
        asked, exchanged = self.asked({"pay": "3.00 EUR"}), []

        def other_nonce(route):
            address = urllib.parse.urlsplit(route.request.url)
            query = dict(urllib.parse.parse_qsl(address.query)) | {"nonce": "n" * 43}
            route.continue_(url=address._replace(query=urllib.parse.urlencode(query)).geturl())

        self.page.route(f"{self.provider.issuer}/auth?*", other_nonce)
        self.page.on("request", lambda request: exchanged.append(request.url))
        self.begin(asked["approval_url"])
        self.log_in()
        self.refuses("The provider answered another login")
        expect(self.page.get_by_role("button", name="Log in")).to_be_focused()
        self.assertIn(f"{self.provider.issuer}/token", exchanged)
        self.assertNotIn(f"{self.server.base}/v1/oauth/token", exchanged)

    def test_a_login_that_is_not_finished_says_so_and_is_begun_again(self):
        payment = {"pay": "4.00 EUR"}
        asked = self.asked(payment)
        self.begin(asked["approval_url"])
        self.page.get_by_role("link", name="Cancel").click()
        self.refuses("The login was not finished: access_denied")
        expect(self.page.get_by_role("button", name="Log in")).to_be_focused()
        self.page.get_by_role("button", name="Log in").click()
        self.log_in()
        self.says("This is what the agent asks for")

    def test_it_asks_nobody_but_its_server_and_the_token_endpoint_and_fits_a_phone(self):
        response = self.page.goto(f"{self.server.base}/approve/apr_unknown")
        policy = response.header_value("content-security-policy")
        wanted = ["default-src 'none'", "frame-ancestors 'none'", "form-action 'none'",
                  f"connect-src 'self' {self.provider.issuer}"]
        self.assertLessEqual(set(wanted), set(policy.split("; ")))
        self.assertEqual(response.header_value("cache-control"), "no-store")
        wide = self.page.evaluate("() => document.documentElement.scrollWidth")
        self.assertLessEqual(wide, PHONE["width"])


if __name__ == "__main__":
    unittest.main()
