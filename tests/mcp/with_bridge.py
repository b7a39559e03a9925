"""A deployment with an agent, and `aegis mcp` as a program that hosts agents runs it: the Python SDK of MCP starts it."""

import base64
import contextlib
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

HOST = Implementation(name="test-host", version="7.1")
INVOICE = {"key": "invoice-2026", "message": base64.b64encode(b"invoice 7").decode()}


class WithBridge(unittest.IsolatedAsyncioTestCase):
    SCOPE = "key:invoice-2026:sign,verify"

    def setUp(self):
        self.server = Aegis()
        self.addCleanup(self.server.stop)
        self.server.start()
        for name in ("invoice-2026", "treasury-master"):
            self.server.create_key(name, "ECDSA-P256")
        # On a deployment there are those of the tests before.
        self.label = f"invoices-{time.time_ns():x}"
        self.agent = self.server.call("POST", "/v1/agents", self.issued())["id"]
        # Where the bridge looks for it.
        self.url = self.server.base
        # The environment that the SDK gives its servers has no more than this.
        self.home = {"AEGIS_HOME": str(self.server.folder / "home"), "AEGIS_SESSIONS": "file"}

    def issued(self):
        return {"label": self.label, "scope": self.SCOPE}

    def aegis(self, *arguments):
        """What it prints."""
        command = [os.environ["AEGIS_BIN"], *arguments, "--url", self.url]
        environment = {**os.environ, **self.home}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def log_in(self):
        if DEPLOYED:
            self.home["AEGIS_TOKEN"] = self.server.token
            return
        self.aegis("login", "--human", HUMAN, "--passphrase-file", str(self.server.folder / "passphrase"))

    @contextlib.asynccontextmanager
    async def client(self, mode="2026-07-28", bridge=None):
        arguments = ["mcp", "--agent", self.label, "--url", self.url]
        bridge = bridge or StdioServerParameters(command=os.environ["AEGIS_BIN"], args=arguments, env=self.home)
        async with Client(bridge, mode=mode, client_info=HOST, raise_exceptions=True) as client:
            yield client

    def records(self, operation):
        return self.server.call("GET", f"/v1/audit?op={operation}&limit=200")["items"]

    def drawn(self):
        return [record["id"] for record in self.records("credential.issue") if record["outcome"] == "ok"]
