"""The example of docs/examples: OpenAI's Agents SDK uses keys in function-call shape, driven by a script in place of a model."""

import asyncio
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/interop"), str(ROOT / "docs/examples")]

import agent_with_keys as example  # noqa: E402
from aegis_client import DEPLOYED, Aegis  # noqa: E402


class OfAFramework(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Aegis()
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        for name in ("invoice-2026", "treasury-master"):
            cls.server.create_key(name, "ECDSA-P256")
        cls.server.create_key("customer-data", "AES-256-GCM")

    def agent(self, scope="key:invoice-2026:sign,verify", **more):
        agent = self.server.call("POST", "/v1/agents", {"label": "invoices", "scope": scope, **more})["id"]
        return agent, self.server.call("POST", f"/v1/agents/{agent}/credentials", {})["token"]

    def run_script(self, token, steps):
        model = example.Scripted(steps)
        try:
            return model, asyncio.run(example.run(self.server.base, token, "Sign invoice 7.", model, "some-model"))
        except Exception as error:
            return model, error

    def other(self):
        """Somebody else whom the deployment knows."""
        if DEPLOYED:
            return os.environ["AEGIS_TEST_OTHER"]
        self.server.enrol_second("bob@org")
        self.server.log_in("bob@org")
        self.server.log_in()
        return "bob@org"

    def records(self, agent, query):
        return self.server.call("GET", f"/v1/audit?agent={agent}&{query}")["items"]

    def test_the_framework_signs_and_the_record_says_who_claims_to_have_asked(self):
        agent, token = self.agent()
        steps = [*example.signing("invoice-2026", "invoice 7"), lambda told: str(told["valid"])]
        _, said = self.run_script(token, steps)
        self.assertEqual(said, "True")
        record = self.records(agent, "op=key.sign")[0]
        self.assertEqual(record["plane"], "agent-ai")
        claims = {"client": "agent-with-keys", "client_version": "1", "model": "some-model", "tool_call": "call_0"}
        self.assertEqual(record["claims"], claims)

    def test_led_astray_it_is_refused_in_words_and_stopped(self):
        agent, token = self.agent()
        astray = example.signing("treasury-master", "pay 12,500 to mallory")[0]
        again = example.signing("invoice-2026", "invoice 8")[0]
        model, error = self.run_script(token, [astray, again, lambda _: "done"])
        refusal = model.seen[0]
        self.assertEqual((refusal["decision"], refusal["reason"]), ("deny", "scope_violation"))
        self.assertTrue(refusal["say"].startswith("Refused:"), refusal)
        self.assertIn("agent_revoked", str(error))
        self.assertEqual([record["outcome"] for record in self.records(agent, "op=key.sign&outcome=ok")], [])

    def test_the_page_s_examples_run(self):
        agent, token = self.agent("key:invoice-2026:sign,verify key:customer-data:generate-data-key,unwrap")
        blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/AGENT-AI.md").read_text(), re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), 6)
        other, (_, watcher) = self.other(), self.agent(audit=True)
        environment = {**os.environ, "AEGIS": self.server.base, "AGENT": agent, "AGENT_TOKEN": token}
        environment |= {"OTHER": other, "WATCHER_TOKEN": watcher}
        script = "\n".join(["set -euo pipefail", *blocks])
        with tempfile.TemporaryDirectory() as scratch:
            said = subprocess.run(
                ["bash", "-c", script],
                cwd=scratch,
                env={**environment, "no_proxy": "127.0.0.1"},
                capture_output=True,
                text=True,
                timeout=120,
            )
        self.assertEqual(said.returncode, 0, f"{said.stdout}\n{said.stderr}")

    def test_the_example_runs_as_it_says(self):
        _, token = self.agent()
        command = [sys.executable, "-B", str(ROOT / "docs/examples/agent_with_keys.py")]
        environment = {**os.environ, "AEGIS": self.server.base, "AGENT_TOKEN": token}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual((said.returncode, said.stdout), (0, "signed; verified: True\n"), said.stderr)
