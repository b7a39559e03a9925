"""The TypeScript SDK of MCP, over HTTP and over `aegis mcp`, and the MCP Inspector's command line, in each era."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "interop"))

from aegis_client import DEPLOYED, HUMAN, Aegis  # noqa: E402

MODES = ["legacy", "auto", "2026-07-28"]
# The Inspector's words for the same.
ERAS = ["legacy", "auto", "modern"]
INSPECTOR = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"
TIMEOUT = 120


class TypeScript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        for name in ("invoice-2026", "treasury-master"):
            cls.server.create_key(name, "ECDSA-P256")
        cls.home = {"AEGIS_HOME": str(cls.server.folder / "home"), "AEGIS_SESSIONS": "file", "NO_PROXY": "127.0.0.1"}
        if DEPLOYED:
            cls.home["AEGIS_TOKEN"] = cls.server.token
            return
        passphrase = str(cls.server.folder / "passphrase")
        login = ["login", "--human", HUMAN, "--passphrase-file", passphrase, "--url", cls.server.base]
        cls.run_it([os.environ["AEGIS_BIN"], *login])

    @classmethod
    def run_it(cls, command):
        run = subprocess.run(
            command, env={**os.environ, **cls.home}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT,
        )
        if run.returncode:
            raise AssertionError(f"{command[1]}: {run.stdout}\n{run.stderr}")
        return run.stdout

    def agent(self, label):
        return self.server.call("POST", "/v1/agents", {"label": label, "scope": "key:invoice-2026:sign"})["id"]

    def token(self, agent):
        return self.server.call("POST", f"/v1/agents/{agent}/credentials", {})["token"]

    def story(self, mode, *way):
        return json.loads(self.run_it([os.environ["AEGIS_NODE"], str(HERE / "story.mjs"), mode, *way]))

    def check(self, told, agent):
        self.assertIn("sign", told["tools"])
        self.assertTrue(told["signature"])
        self.assertEqual((told["refusal"]["isError"], told["refusal"]["reason"]), (True, "scope_violation"))
        self.assertEqual(told["after"], "failed")
        self.assertEqual(self.server.call("GET", f"/v1/agents/{agent}")["state"], "revoked")
        records = self.server.call("GET", f"/v1/audit?agent={agent}&op=key.sign")["items"]
        self.assertEqual({record["plane"] for record in records}, {"mcp"})
        return records

    def test_the_sdk_over_http(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                agent = self.agent(f"http-{mode}")
                told = self.story(mode, "http", f"{self.server.base}/mcp", self.token(agent))
                self.check(told, agent)

    def test_the_sdk_over_the_bridge(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                label = f"stdio-{mode}"
                agent = self.agent(label)
                bridge = [os.environ["AEGIS_BIN"], "mcp", "--agent", label, "--url", self.server.base]
                records = self.check(self.story(mode, "stdio", *bridge), agent)
                self.assertEqual({record["claims"]["client"] for record in records}, {"ts-host"})

    def test_the_inspector(self):
        agent = self.agent("inspected")
        header = f"Authorization: Bearer {self.token(agent)}"
        inspector = [os.environ["AEGIS_NODE"], os.path.join(os.environ["AEGIS_NODE_FOLDER"], INSPECTOR), "--cli"]
        server = ["--server-url", f"{self.server.base}/mcp", "--transport", "http", "--header", header]
        server += ["--format", "json", "--quiet"]
        for era in ERAS:
            with self.subTest(era=era):
                command = [*inspector, *server, "--protocol-era", era]
                # Strict: any schema that other clients would not take fails it.
                listed = json.loads(self.run_it([*command, "--method", "tools/list", "--strict"]))
                self.assertIn("sign", [tool["name"] for tool in found(listed, "tools")])
                call = ["--method", "tools/call", "--tool-name", "sign", "--tool-args-json"]
                arguments = json.dumps({"key": "invoice-2026", "message": "aW52b2ljZQ=="})
                signed = json.loads(self.run_it([*command, *call, arguments]))
                self.assertTrue(found(signed, "structuredContent")["signature"])


def found(answer, member):
    """The Inspector wraps results in one more object."""
    return answer[member] if member in answer else answer["result"][member]


if __name__ == "__main__":
    unittest.main()
