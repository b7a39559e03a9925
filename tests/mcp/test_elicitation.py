"""The Python SDK of MCP as a host that leads its human to a page: where she must approve first, it is asked to. What it says
that she did counts for nothing."""

import base64
import contextlib
import pathlib
import re
import sys
import unittest
import urllib.parse

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult, InputRequiredResult

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import DEPLOYED, DIRECT, Aegis  # noqa: E402

CODE = re.compile(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}\b")


# Nothing that is usual needs an approval, so the rules would have to be stricter for a while. One admin can have that by
# `PUT /v1/response-rules`, but not take it back; and what these tests are given is one session, while each answer to an approval
# takes a login of its own.
NOT_THERE = (
    "rules that ask can be put in force there, but only a second human loosens them again, and an approval takes a login"
    " at the deployment's identity provider, which these tests cannot have"
)


@unittest.skipIf(DEPLOYED, NOT_THERE)
class Host(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start_cautious()
        cls.server.create_key("treasury-2026", "ECDSA-P256")

    def setUp(self):
        self.agent, self.token = self.server.issue_asking_agent("treasury-2026")
        self.shown = []

    @contextlib.asynccontextmanager
    async def client(self, leads, mode="2026-07-28"):
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
            transport = streamable_http_client(f"{self.server.base}/mcp", http_client=http)
            async with Client(transport, mode=mode, elicitation_callback=leads, raise_exceptions=True) as client:
                yield client

    async def opens_the_page(self, _, asked):
        """The host shows the message and opens the page, on which the human approves with the code that she was shown."""
        self.shown.append(asked)
        with DIRECT.open(asked.url) as page:
            self.assertIn("An agent asks for your approval", page.read().decode())
        self.approve(asked)
        return ElicitResult(action="accept")

    async def says_so(self, _, asked):
        """The host is the agent's, and nobody asked the human."""
        self.shown.append(asked)
        return ElicitResult(action="accept")

    def approve(self, asked):
        approval = urllib.parse.urlsplit(asked.url).path.rsplit("/", 1)[1]
        code = CODE.search(asked.message)[0]
        self.server.log_in_to_approve().call("POST", f"/v1/approvals/{approval}/approve", {"code": code})

    def signed(self):
        """How often this agent was let."""
        records = self.server.call("GET", f"/v1/audit?op=key.sign&actor={self.agent}&outcome=ok")["items"]
        return len(records)

    async def test_a_human_who_is_led_to_the_page_and_approves_has_the_call_go_on(self):
        for mode in ["auto", "2026-07-28"]:
            with self.subTest(mode=mode):
                async with self.client(self.opens_the_page, mode) as client:
                    done = await client.call_tool("sign", payment(mode))
                self.assertFalse(done.is_error, done)
                self.assertTrue(done.structured_content["signature"])
        self.assertEqual([asked.mode for asked in self.shown], ["url", "url"])
        self.assertEqual(self.signed(), 2)

    async def test_a_host_that_accepts_in_her_place_gets_nothing(self):
        async with self.client(self.says_so) as client:
            refusal = await client.call_tool("sign", payment("mallory"))
        self.assertTrue(refusal.is_error)
        told = refusal.structured_content
        self.assertEqual((told["decision"], told["approval_url"]), ("step_up", self.shown[0].url))
        self.assertEqual((len(self.shown), self.signed()), (1, 0))

    async def test_what_she_approved_is_what_she_saw(self):
        async with self.client(self.says_so) as client:
            asked = await client.session.call_tool("sign", payment("bob"), allow_input_required=True)
            self.assertIsInstance(asked, InputRequiredResult)
            [(name, request)] = asked.input_requests.items()
            self.approve(request.params)
            said = {name: ElicitResult(action="accept")}
            other = await client.session.call_tool("sign", payment("mallory"), input_responses=said)
            self.assertEqual((other.is_error, other.structured_content["decision"]), (True, "step_up"))
            self.assertNotEqual(other.structured_content["approval_url"], request.params.url)
            self.assertEqual(self.signed(), 0)
            done = await client.session.call_tool("sign", payment("bob"), input_responses=said)
            self.assertFalse(done.is_error, done)
        self.assertEqual(self.signed(), 1)

    async def test_hosts_that_do_not_say_that_they_can_get_the_error(self):
        """One without a callback, and one that said so at the beginning of a session that is not kept."""
        for leads, mode in [(None, "2026-07-28"), (self.opens_the_page, "legacy")]:
            with self.subTest(mode=mode):
                async with self.client(leads, mode) as client:
                    refusal = await client.call_tool("sign", payment(mode))
                self.assertEqual((refusal.is_error, refusal.structured_content["decision"]), (True, "step_up"))
                self.assertTrue(refusal.structured_content["approval_url"].startswith(self.server.base))
        self.assertEqual(self.shown, [])


def payment(to):
    return {"key": "treasury-2026", "message": base64.b64encode(f'{{"pay": "{to}"}}'.encode()).decode()}


if __name__ == "__main__":
    unittest.main()
