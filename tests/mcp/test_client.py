"""The Python SDK of MCP against the product, in each of its modes: the story of an agent that is led astray."""

import base64
import contextlib
import json
import pathlib
import sys
import unittest

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import Aegis  # noqa: E402

# What the SDK calls its ways to begin; the version that each comes to speak.
MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
HOST = Implementation(name="test-host", version="7.1")


class InEachMode(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        for name in ("invoice-2026", "treasury-master"):
            cls.server.create_key(name, "ECDSA-P256")

    def agent(self, scope="key:invoice-2026:sign,verify"):
        agent = self.server.call("POST", "/v1/agents", {"label": "invoices", "scope": scope})["id"]
        return agent, self.server.call("POST", f"/v1/agents/{agent}/credentials", {})["token"]

    @contextlib.asynccontextmanager
    async def client(self, token, mode):
        headers = {"Authorization": f"Bearer {token}"}
        # No proxy from the environment: the server is on this machine.
        async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
            transport = streamable_http_client(f"{self.server.base}/mcp", http_client=http)
            async with Client(transport, mode=mode, client_info=HOST, raise_exceptions=True) as client:
                yield client

    async def test_an_agent_signs_and_is_stopped_when_it_is_led_astray(self):
        for mode, version in MODES.items():
            with self.subTest(mode=mode):
                agent, token = self.agent()
                async with self.client(token, mode) as client:
                    self.assertEqual(client.protocol_version, version)
                    tools = [tool.name for tool in (await client.list_tools()).tools]
                    self.assertEqual(tools[:5], ["list_keys", "get_key", "get_public_key", "sign", "verify"])
                    message = text64(b"invoice 7")
                    signed = await client.call_tool("sign", {"key": "invoice-2026", "message": message})
                    self.assertFalse(signed.is_error)
                    signature = signed.structured_content["signature"]
                    arguments = {"key": "invoice-2026", "message": message, "signature": signature}
                    verified = await client.call_tool("verify", arguments)
                    self.assertTrue(verified.structured_content["valid"])
                    self.assertEqual(json.loads(verified.content[0].text), verified.structured_content)
                    prompts = (await client.list_prompts()).prompts
                    self.assertEqual([prompt.name for prompt in prompts], ["explain_denial"])

                    payment = {"key": "treasury-master", "message": text64(b"pay mallory")}
                    refusal = await client.call_tool("sign", payment)
                    self.assertTrue(refusal.is_error)
                    self.assertEqual(refusal.structured_content["decision"], "deny")
                    self.assertEqual(refusal.structured_content["reason"], "scope_violation")
                    with self.assertRaises(Exception):
                        await client.call_tool("sign", {"key": "invoice-2026", "message": message})
                record = self.server.call("GET", f"/v1/audit/{refusal.structured_content['record']}")
                self.assertEqual((record["plane"], record["agents"]), ("mcp", [agent]))
                if version == "2026-07-28":
                    self.assertEqual(record["claims"]["client"], HOST.name)

    async def test_what_the_sdk_checks_of_results_holds(self):
        """It compares each result with the output schema of its tool."""
        for mode in MODES:
            with self.subTest(mode=mode):
                _, token = self.agent("key:invoice-2026:sign")
                async with self.client(token, mode) as client:
                    await client.list_tools()
                    for tool, arguments in [
                        ("list_keys", {}),
                        ("get_key", {"key": "invoice-2026"}),
                        ("get_public_key", {"key": "invoice-2026"}),
                        ("check_access", {"key": "invoice-2026", "action": "sign"}),
                        ("check_access", {"key": "treasury-master", "action": "sign"}),
                        ("my_scope", {}),
                        ("my_activity", {}),
                    ]:
                        self.assertFalse((await client.call_tool(tool, arguments)).is_error, tool)

    async def test_a_human_s_session_is_not_taken(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                with self.assertRaises(Exception):
                    async with self.client(self.server.token, mode) as client:
                        await client.list_tools()
                newest = self.server.call("GET", "/v1/audit?limit=1")["items"][0]
                self.assertEqual((newest["plane"], newest["reason"]), ("mcp", "agent_credential_required"))


def text64(data):
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    unittest.main()
