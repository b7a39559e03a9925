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

# So that a scope that names some sixty keys or labels must ask, whatever the key.
RULES = "[budget]\nper_hour = 5\n\n[thresholds]\nstandard = { step_up = 0.08, deny = 2.0 }\n"
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
        labels = [",".join(f"label-{number}=1" for number in half) for half in (range(31), range(31, 62))]
        issued = {"label": "payments", "scope": f"key:treasury-2026,{labels[0]}:sign key:{labels[1]}:sign"}
        cls.agent = cls.server.call("POST", "/v1/agents", issued)["id"]
        token = cls.server.call("POST", f"/v1/agents/{cls.agent}/credentials", {})["token"]
        cls.caller = Aegis()
        cls.caller.base, cls.caller.token = cls.server.base, token

    def setUp(self):
        self.page = self.browser.new_page(viewport=PHONE)
        self.addCleanup(self.page.close)
        self.troubles = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(dialog.message))

    def sign(self, payment):
        message = base64.b64encode(json.dumps(payment).encode()).decode()
        return self.caller.call("POST", "/v1/keys/treasury-2026/sign", {"message": message})

    def asked(self, payment):
        with self.assertRaises(Refused) as refused:
            self.sign(payment)
        return json.loads(refused.exception.problem)

    def says(self, text):
        expect(self.page.get_by_role("status")).to_contain_text(text, timeout=30_000)
