"""A browser, and an agent that must ask a human before it signs."""

import base64
import json
import os
import pathlib
import sys
import unittest

from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import Aegis, Refused  # noqa: E402

# A browser that asks nobody but the server.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PHONE = {"width": 390, "height": 844}


class InBrowser(unittest.TestCase):
    """`server` is a class's own; each test has a page of its own."""

    @classmethod
    def setUpClass(cls):
        playwright = cls.enterClassContext(sync_playwright())
        cls.browser = playwright.chromium.launch(executable_path=os.environ["AEGIS_CHROMIUM"], args=QUIET)
        cls.addClassCleanup(cls.browser.close)

    @classmethod
    def issue_agent(cls):
        """By the human who is logged in."""
        cls.server.create_key("treasury-2026", "ECDSA-P256")
        cls.agent, token = cls.server.issue_asking_agent("treasury-2026")
        cls.caller = Aegis()
        cls.caller.base, cls.caller.token = cls.server.base, token

    def setUp(self):
        self.page = self.browser.new_page(viewport=PHONE)
        self.addCleanup(self.page.close)
        self.troubles = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(dialog.message))

    def sign(self, payment):
        """A payment is signed as JSON, bytes as they are."""
        message = payment if isinstance(payment, bytes) else json.dumps(payment).encode()
        return self.caller.call("POST", "/v1/keys/treasury-2026/sign", {"message": base64.b64encode(message).decode()})

    def asked(self, payment):
        with self.assertRaises(Refused) as refused:
            self.sign(payment)
        return json.loads(refused.exception.problem)

    def reach(self, wanted):
        """By keyboard. Where the focus is at the beginning is the browser's to say: while it is busy it passes `autofocus` over."""
        expect(wanted).to_be_visible(timeout=30_000)
        for _ in range(20):
            if wanted.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        self.fail(f"no key leads to {wanted}")

    def deny_by_keyboard(self, payment):
        """From the answer's first field on; afterwards the agent is refused."""
        self.says("This is what the agent asks for")
        expect(self.page.get_by_label("The code that the agent shows")).to_be_focused()
        for name in ["approve", "deny"]:
            self.page.keyboard.press("Tab")
            expect(self.page.locator(f"#{name}")).to_be_focused()
        self.page.keyboard.press("Enter")
        self.says("It is denied")
        self.assertEqual(self.asked(payment)["reason"], "approval_denied")

    def says(self, text):
        expect(self.page.get_by_role("status")).to_contain_text(text, timeout=30_000)
