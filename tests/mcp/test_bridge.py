"""`aegis mcp` as a program that hosts agents runs it: the Python SDK of MCP starts it, in each of its modes."""

import json
import os
import subprocess
import unittest

from with_bridge import DEPLOYED, INVOICE, WithBridge

MODES = {"auto": "2026-07-28", "legacy": "2025-11-25", "2026-07-28": "2026-07-28"}


class Bridge(WithBridge):
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
