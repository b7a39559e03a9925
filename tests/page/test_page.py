"""The page on which a human answers an approval, in a real browser: Debian's Chromium, by mouse and by keyboard. Here she
logs in at the local issuer."""

import unittest

from in_browser import PHONE, InBrowser
from playwright.sync_api import expect

from aegis_client import HUMAN, PASSPHRASE, Aegis

PAYMENT = {"pay": "12500.00 EUR", "to": "<img src=x onerror=alert(1)>", "for": "rent\u202e0052"}


class Page(InBrowser):
    @classmethod
    def setUpClass(cls):
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start_cautious()
        cls.issue_agent()
        super().setUpClass()

    def log_in(self, url):
        self.page.goto(url)
        self.page.get_by_label("Your name").fill(HUMAN)
        self.page.get_by_label("Passphrase").fill(PASSPHRASE)
        self.page.get_by_role("button", name="Log in").click()

    def test_a_human_sees_what_would_be_done_and_approves_that(self):
        asked = self.asked(PAYMENT)
        self.assertTrue(asked["approval_url"].startswith(self.server.base))
        self.log_in(asked["approval_url"])
        shown = self.page.locator("#payload")
        expect(shown).to_contain_text('"pay": "12500.00 EUR"', timeout=30_000)
        # What the agent wrote is text, and hides nothing.
        expect(shown).to_contain_text("rent\\u{202e}0052")
        expect(shown).to_contain_text("<img src=x onerror=alert(1)>")
        self.assertEqual(self.page.locator("img").count(), 0)
        for fact in ["key.sign", "treasury-2026 (key_", f"payments, interactive ({self.agent})", HUMAN]:
            expect(self.page.locator("#facts")).to_contain_text(fact)
        self.page.get_by_label("The code that the agent shows").fill("0000-0000")
        self.page.get_by_role("button", name="Approve this request").click()
        self.says("the code")
        self.page.get_by_label("The code that the agent shows").fill(asked["approval_code"])
        self.page.get_by_role("button", name="Approve this request").click()
        self.says("It is approved")
        self.assertTrue(self.sign(PAYMENT)["signature"])
        # Once, and nothing else.
        self.assertIn("approval_url", self.asked({**PAYMENT, "pay": "92500.00 EUR"}))
        self.assertEqual(self.troubles, [])

    def test_by_keyboard_alone_a_human_denies(self):
        asked = self.asked({"pay": "1.00 EUR"})
        self.page.goto(asked["approval_url"])
        keys = self.page.keyboard
        self.reach(self.page.get_by_label("Your name"))
        keys.type(HUMAN)
        keys.press("Tab")
        keys.type(PASSPHRASE)
        keys.press("Enter")
        self.deny_by_keyboard({"pay": "1.00 EUR"})

    def test_who_is_not_known_sees_nothing(self):
        asked = self.asked({"pay": "2.00 EUR"})
        self.page.goto(asked["approval_url"])
        self.page.get_by_label("Your name").fill(HUMAN)
        self.page.get_by_label("Passphrase").fill("a guess")
        self.page.get_by_role("button", name="Log in").click()
        self.says("passphrase or the code is wrong")
        expect(self.page.locator("#asked")).to_be_hidden()

    def test_it_runs_nothing_but_itself_and_fits_a_phone(self):
        response = self.page.goto(f"{self.server.base}/local/approve/apr_unknown")
        policy = response.header_value("content-security-policy")
        for part in ["default-src 'none'", "frame-ancestors 'none'", "connect-src 'self'", "form-action 'none'"]:
            self.assertIn(part, policy)
        self.assertEqual(response.header_value("cache-control"), "no-store")
        blocked = self.page.evaluate(
            "() => { const made = document.createElement('script'); made.textContent = 'window.ran = 1';"
            " document.body.append(made); return window.ran !== 1; }"
        )
        self.assertTrue(blocked)
        wide = self.page.evaluate("() => document.documentElement.scrollWidth")
        self.assertLessEqual(wide, PHONE["width"])


if __name__ == "__main__":
    unittest.main()
