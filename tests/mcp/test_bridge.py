"""`aegis mcp` as a program that hosts agents runs it: the Python SDK of MCP starts it, in each of its modes."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

from mcp import Client, StdioServerParameters
from mcp.types import Implementation

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))

from aegis_client import DEPLOYED, HUMAN, Aegis  # noqa: E402

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
HOST = Implementation(name="test-host", version="7.1")
INVOICE = {"key": "invoice-2026", "message": base64.b64encode(b"invoice 7").decode()}


class Bridge(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.server = Aegis()
        self.addCleanup(self.server.stop)
        self.server.start()
        for name in ("invoice-2026", "treasury-master"):
            self.server.create_key(name, "ECDSA-P256")
        # On a deployment there are those of the tests before.
        self.label = f"invoices-{time.time_ns():x}"
        issued = {"label": self.label, "scope": "key:invoice-2026:sign,verify"}
        self.agent = self.server.call("POST", "/v1/agents", issued)["id"]
        # The environment that the SDK gives its servers has no more than this.
        self.home = {"AEGIS_HOME": str(self.server.folder / "home"), "AEGIS_SESSIONS": "file"}

    def aegis(self, *arguments):
        command = [os.environ["AEGIS_BIN"], *arguments, "--url", self.server.base]
        subprocess.run(command, env={**os.environ, **self.home}, check=True, capture_output=True, timeout=60)

    def log_in(self):
        if DEPLOYED:
            self.home["AEGIS_TOKEN"] = self.server.token
            return
        self.aegis("login", "--human", HUMAN, "--passphrase-file", str(self.server.folder / "passphrase"))

    @contextlib.asynccontextmanager
    async def client(self, mode):
        arguments = ["mcp", "--agent", self.label, "--url", self.server.base]
        bridge = StdioServerParameters(command=os.environ["AEGIS_BIN"], args=arguments, env=self.home)
        async with Client(bridge, mode=mode, client_info=HOST, raise_exceptions=True) as client:
            yield client

    def records(self, operation):
        return self.server.call("GET", f"/v1/audit?op={operation}&limit=200")["items"]

    async def test_an_agent_signs_in_each_mode_and_its_tokens_end_with_it(self):
        self.log_in()
        for mode, version in MODES.items():
            with self.subTest(mode=mode):
                async with self.client(mode) as client:
                    self.assertEqual(client.protocol_version, version)
                    self.assertIn("sign", [tool.name for tool in (await client.list_tools()).tools])
                    self.assertFalse((await client.call_tool("sign", INVOICE)).is_error)
                newest = self.records("key.sign")[0]
                self.assertEqual((newest["plane"], newest["agents"]), ("mcp", [self.agent]))
                # An older host says who it is at the beginning alone; the bridge says it each time.
                self.assertEqual((newest["claims"]["client"], newest["claims"]["client_version"]), ("test-host", "7.1"))
                credential = newest["credential"]
                self.assertEqual(self.records("credential.revoke")[0]["object"], credential)

    @unittest.skipIf(DEPLOYED, "there the session is in the environment, from the beginning")
    async def test_without_a_session_it_says_so_and_goes_on_after_the_login(self):
        # Older hosts ask nothing before they list; the error is in the answer, not the end of the process.
        process = subprocess.Popen(
            [os.environ["AEGIS_BIN"], "mcp", "--agent", self.label, "--url", self.server.base],
            env={**os.environ, **self.home}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        self.addCleanup(process.kill)

        def ask(number):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/list"}) + "\n")
            return json.loads(process.stdout.readline())

        self.assertIn("aegis login", ask(1)["error"]["message"])
        self.log_in()
        self.assertIn("tools", ask(2)["result"])
        process.terminate()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(len(self.records("credential.revoke")), 1)
        process.stdin.close(), process.stdout.close()

    def drawn(self):
        return [record["id"] for record in self.records("credential.issue") if record["outcome"] == "ok"]

    async def test_who_stops_the_token_has_stopped_the_agent(self):
        self.log_in()
        before = self.drawn()
        async with self.client("2026-07-28") as client:
            self.assertFalse((await client.call_tool("sign", INVOICE)).is_error)
            credential = self.records("key.sign")[0]["credential"]
            self.server.call("POST", f"/v1/credentials/{credential}/revoke", {})
            for _ in range(2):
                with self.assertRaises(Exception):
                    await client.call_tool("sign", INVOICE)
        self.assertEqual(len(set(self.drawn()) - set(before)), 1)

    async def test_an_agent_that_is_led_astray_is_stopped(self):
        self.log_in()
        async with self.client("auto") as client:
            refusal = await client.call_tool("sign", {**INVOICE, "key": "treasury-master"})
            self.assertEqual(refusal.structured_content["reason"], "scope_violation")
            with self.assertRaises(Exception):
                await client.call_tool("sign", INVOICE)


if __name__ == "__main__":
    unittest.main()
