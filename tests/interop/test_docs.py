"""Every example of docs/USAGE.md runs, in order, in one shell, against a fresh server."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from aegis_client import Aegis

USAGE = pathlib.Path(__file__).parents[2] / "docs" / "USAGE.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Usage(unittest.TestCase):
    def test_every_example_runs(self):
        script = ["set -euo pipefail", "export AEGIS"]
        for language, text in BLOCK.findall(USAGE.read_text()):
            if language == "python":
                text = f"export AGENT_TOKEN\npython3 - <<'EOF'\n{text}EOF"
            script.append(text)
        self.assertGreater(len(script), 8)
        aegis = Aegis()
        try:
            code = aegis.start_without_login()
            with tempfile.TemporaryDirectory() as scratch:
                environment = {**os.environ, "AEGIS": aegis.base, "CODE": code, "no_proxy": "127.0.0.1"}
                run = subprocess.run(
                    ["bash", "-c", "\n".join(script)], cwd=scratch, env=environment, capture_output=True, text=True
                )
            self.assertEqual(run.returncode, 0, f"{run.stdout[-2000:]}\n{run.stderr[-2000:]}")
        finally:
            aegis.stop()


if __name__ == "__main__":
    unittest.main()
