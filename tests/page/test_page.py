"""The page on which a human answers an approval, in a real browser: Debian's Chromium, by mouse and by keyboard. Here she
logs in at the local issuer."""

import unittest

from in_browser import PHONE, InBrowser
from playwright.sync_api import expect

from aegis_client import HUMAN, PASSPHRASE, Aegis

PAYMENT = {"pay": "12500.00 EUR", "to": "<img src=x onerror=alert(1)>", "for": "rent\u202e0052"}

# Bytes.
SMALL = 64 * 1024


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
        approval = self.server.call("GET", f"/v1/approvals/{asked['approval']}")
        self.log_in(asked["approval_url"])
        shown = self.page.locator("#payload")
        expect(shown).to_contain_text('"pay": "12500.00 EUR"', timeout=30_000)
        # What the agent wrote is text, and hides nothing.
        expect(shown).to_contain_text("rent\\u{202e}0052")
        expect(shown).to_contain_text("<img src=x onerror=alert(1)>")
        self.assertEqual(self.page.locator("img").count(), 0)
        self.assertRegex(approval["request_digest"], "^[0-9a-f]{64}$")
        facts = ["key.sign", "treasury-2026 (key_", f"payments, interactive ({self.agent})", HUMAN, approval["request_digest"]]
        for fact in facts:
            expect(self.page.locator("#facts")).to_contain_text(fact)
        risk = asked["risk"]
        self.assertGreater(len(risk["factors"]), 0)
        told = "{factor}: {observed:g} (expected {expected:g})"
        reasons = [told.format_map(factor) for factor in risk["factors"]]
        shown_reasons = self.page.locator("#reasons li").all_inner_texts()
        self.assertEqual(shown_reasons, [f"Its risk is {risk['score']:g}.", *reasons])
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

    def test_what_is_no_json_is_shown_as_text_or_by_its_length(self):
        table = [
            # Text and bytes are shown beside the request that they came in.
            ("pay 10.00 EUR to größe\u202e".encode(), "message:\npay 10.00 EUR to größe\\u{202e}\n\nrequest:\n{"),
            (b"\xff\xfe\x00<b>", "message:\n6 bytes\n\nrequest:\n{"),
            # 64 KiB in base64, and what stands around them: of more than 64 KiB only the digest is kept.
            (bytes(48 * 1024), "65551 bytes that cannot be shown; the digest above is theirs."),
        ]
        for message, shown in table:
            with self.subTest(shown=shown):
                asked = self.asked(message)
                self.log_in(asked["approval_url"])
                self.says("This is what the agent asks for")
                self.assertEqual(self.page.locator("#payload").text_content()[: len(shown)], shown)
                digest = self.server.call("GET", f"/v1/approvals/{asked['approval']}")["request_digest"]
                expect(self.page.locator("#facts")).to_contain_text(digest)
                self.page.get_by_role("button", name="Deny").click()
                self.says("It is denied")

    def test_all_of_it_is_small_and_comes_from_its_server(self):
        sent = []
        self.page.on("requestfinished", lambda request: sent.append(request))
        self.page.on("requestfailed", lambda request: self.troubles.append(request.url))
        asked = self.asked({"pay": "3.00 EUR"})
        self.log_in(asked["approval_url"])
        self.says("This is what the agent asks for")
        with self.page.expect_request_finished(lambda request: request.url.endswith("/deny")):
            self.page.get_by_role("button", name="Deny").click()
        self.says("It is denied")
        paths = [request.url.removeprefix(self.server.base) for request in sent]
        approval = f"/v1/approvals/{asked['approval']}"
        # The page, a login, what is asked, and the answer.
        self.assertEqual(
            [path for path in paths if path != "/favicon.ico"],
            [f"/local/approve/{asked['approval']}", "/local/token", "/v1/oauth/token", approval, f"{approval}/deny"],
        )
        # Both ways, with headers: a second of a slow phone's connection.
        size = sum(sum(request.sizes().values()) for request in sent)
        self.assertLessEqual(size, SMALL)
        self.assertEqual(self.troubles, [])

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
