"""The official conformance suite against the product, check by check, and against its HTTP stack with fixtures.

The suite wants tools and prompts of its own making. The product has none of them: what it fails for that is listed in
`product-VERSION.txt`; what it fails with them, in `fixtures-VERSION.txt`. Nothing else may fail, nor anything listed there
pass. With AEGIS_UPDATE_BASELINES set the lists are written anew.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "interop"))

from aegis_client import DEPLOYED, Aegis  # noqa: E402
from with_token import WithToken  # noqa: E402

SUITE = pathlib.Path(os.environ["AEGIS_NODE_FOLDER"]) / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
# What a folder of results ends with.
WHEN = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
REQUIREMENTS = ["2025-11-25", "2026-07-28"]
# It sends many messages of one agent's, and some of nobody's.
SETTINGS = "unverified_per_minute = 10000000\nrequests_per_minute = 10000000\n"
# Seconds of one run: it takes some ten.
TIMEOUT = 240


class Conformance(unittest.TestCase):
    """Each time one server with one agent, reached through a proxy: the suite sends no token."""

    def checks(self, binary, requirements):
        """Of each check the statuses it had; and what the suite printed."""
        os.environ["AEGIS_BIN"] = binary
        # A refused message is no trouble of the server's.
        os.environ["AEGIS_LOG"] = "error"
        server = Aegis(SETTINGS)
        server.start()
        try:
            server.create_key("own-key", "Ed25519")
            scope = "key:own-key:sign,verify"
            agent = server.call("POST", "/v1/agents", {"label": "of the suite", "scope": scope})["id"]
            token = server.call("POST", f"/v1/agents/{agent}/credentials", {})["token"]
            proxy = WithToken(server.base, token).start()
            with tempfile.TemporaryDirectory(prefix="aegis-conformance-") as folder:
                command = [os.environ["AEGIS_NODE"], str(SUITE), "server", "--url", proxy.url]
                command += ["--requirements", requirements, "--output-dir", folder]
                run = subprocess.run(
                    command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
                )
                found = collections.defaultdict(set)
                for results in pathlib.Path(folder).glob("*/checks.json"):
                    scenario = WHEN.sub("", results.parent.name.removeprefix("server-"))
                    for check in json.loads(results.read_text()):
                        found[f"{scenario} {check['id']}"].add(check["status"])
            proxy.stop()
        finally:
            server.stop()
        self.assertTrue(found, run.stdout + run.stderr)
        return found, run

    def compare(self, binary, name, least, all_of=()):
        """`all_of` are the versions whose every requirement is met, by the suite's own judgement."""
        for requirements in REQUIREMENTS:
            with self.subTest(requirements=requirements):
                found, run = self.checks(binary, requirements)
                failed = sorted(check for check, statuses in found.items() if statuses & {"FAILURE", "WARNING"})
                known = HERE / f"{name}-{requirements}.txt"
                if "AEGIS_UPDATE_BASELINES" in os.environ:
                    known.write_text("".join(f"{check}\n" for check in failed))
                self.assertEqual(failed, known.read_text().splitlines())
                passed = [check for check, statuses in found.items() if statuses == {"SUCCESS"}]
                print(f"{name}, {requirements}: {len(passed)} checks passed, {len(failed)} did not")
                self.assertGreaterEqual(len(passed), least[requirements])
                # 1: it found something amiss. What ends it otherwise is no judgement.
                self.assertEqual(run.returncode, 0 if requirements in all_of else 1, run.stdout + run.stderr)

    def test_the_product_fails_for_want_of_fixtures_alone(self):
        self.compare(PRODUCT, "product", {"2025-11-25": 36, "2026-07-28": 87})

    @unittest.skipIf(DEPLOYED, "only the product is deployed")
    def test_with_fixtures_it_passes(self):
        """But for what needs a session (requests of the server's to the client), and the extension for tasks."""
        self.compare(os.environ["AEGIS_FIXTURES_BIN"], "fixtures", {"2025-11-25": 63, "2026-07-28": 143}, ["2026-07-28"])

    def test_the_page_names_each_check_that_fails_for_want_of_a_session(self):
        page = re.sub(r"\s+", " ", (HERE.parents[1] / "docs/MCP.md").read_text())
        [named] = re.findall(r"2025-11-25 six scenarios do not pass \(`tests/mcp/fixtures-2025-11-25\.txt`\): ([^.]*)\.", page)
        listed = [check.split()[0] for check in (HERE / "fixtures-2025-11-25.txt").read_text().splitlines()]
        self.assertEqual(re.findall(r"`([a-z0-9-]+)`", named), listed)


PRODUCT = os.environ["AEGIS_BIN"]

if __name__ == "__main__":
    unittest.main()
