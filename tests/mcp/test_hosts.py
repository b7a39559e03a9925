"""What a human pastes into the configuration of a program that hosts agents: as `aegis mcp config` prints it, and as
docs/MCP.md shows it."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import unittest

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from with_bridge import DEPLOYED, HOST, INVOICE, WithBridge

# Under which name each wants its servers, and whether it wants to know that one is started.
HOSTS = {
    "claude-desktop": ("mcpServers", None),
    "claude-code": ("mcpServers", "stdio"),
    "cursor": ("mcpServers", None),
    "vscode": ("servers", "stdio"),
}
PAGE = (pathlib.Path(__file__).parents[2] / "docs/MCP.md").read_text()
# What the page calls them.
URL, AGENT = "http://127.0.0.1:8400", "claude-invoices"


class Hosts(WithBridge):
    def as_a_host_reads_it(self, snippet, servers, kind):
        """The command that a host starts; it knows no more of Aegis than the snippet says."""
        self.assertEqual(list(snippet), [servers])
        server = snippet[servers]["aegis"]
        self.assertEqual(server.pop("type", None), kind)
        self.assertEqual(set(server), {"command", "args", "env"})
        if DEPLOYED:
            # There the session is in no keychain and in no file.
            server["env"] = {**server["env"], "AEGIS_TOKEN": self.server.token}
        return StdioServerParameters(**server)

    async def signs(self, client):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        self.assertLessEqual({"my_scope", "sign", "verify"}, set(tools))
        self.assertNotIn("decrypt", tools)
        done = await client.call_tool("sign", INVOICE)
        self.assertFalse(done.is_error, done)
        record = self.records("key.sign")[0]
        self.assertEqual((record["plane"], record["agents"]), ("mcp", [self.agent]))

    async def test_each_host_starts_what_is_printed_for_it(self):
        self.log_in()
        for host, (servers, kind) in HOSTS.items():
            with self.subTest(host=host):
                printed = self.aegis("mcp", "config", "--host", host, "--agent", self.label)
                self.assertNotIn("eyJ", printed)
                async with self.client(bridge=self.as_a_host_reads_it(json.loads(printed), servers, kind)) as client:
                    await self.signs(client)

    # Each begins with its heading.
    def section(self, heading):
        return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]

    async def test_what_the_page_has_run_writes_what_it_says_the_host_then_starts(self):
        self.log_in()
        text = self.section("Connect a host").replace(AGENT, self.label)
        lines = re.findall(r"^    (aegis .*)$", text, re.MULTILINE)
        self.assertTrue(lines)
        folder = self.server.folder / "project"
        folder.mkdir()
        program = pathlib.Path(os.environ["AEGIS_BIN"])
        environment = {**os.environ, **self.home, "AEGIS_URL": self.url, "PATH": f"{program.parent}:{os.environ['PATH']}"}
        for line in lines:
            # By the name that the page has for it, whatever the file is called here.
            run = f"aegis() {{ {shlex.quote(str(program))} \"$@\"; }}; {line}"
            subprocess.run(["bash", "-euc", run], cwd=folder, env=environment, check=True, timeout=60)
        bridge = self.as_a_host_reads_it(json.loads((folder / ".mcp.json").read_text()), *HOSTS["claude-code"])
        started = re.search(r"The host then starts `aegis ([^`]*)`", text)[1].split()
        self.assertEqual(bridge.args, [*started, "--url", self.url])
        self.assertEqual(set(HOSTS), set(re.findall(r"`([a-z-]+)`", re.search(r"`--host` is ([^.]*)\.", text)[1])))
        async with self.client(bridge=bridge) as client:
            await self.signs(client)

    async def test_over_http_the_page_s_file_connects(self):
        section = self.section("Connect a host over HTTP")
        shown = json.loads(re.search(r"```json\n(.*?)```", section, re.DOTALL)[1])
        [asked], server = shown["inputs"], shown["servers"]["aegis"]
        self.assertEqual((server["type"], asked["type"], asked["password"]), ("http", "promptString", True))
        token = self.server.call("POST", f"/v1/agents/{self.agent}/credentials", {})["token"]
        self.assertTrue(server["url"].startswith(URL))
        url = server["url"].replace(URL, self.server.base)
        headers = {name: value.replace(f"${{input:{asked['id']}}}", token) for name, value in server["headers"].items()}
        self.assertEqual(headers, {"Authorization": f"Bearer {token}"})
        async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
            async with Client(streamable_http_client(url, http_client=http), client_info=HOST) as client:
                await self.signs(client)
        # The other host cannot be had here; its command says the same.
        [command] = re.findall(r"^    (claude .*)$", section, re.MULTILINE)
        said = shlex.split(command.replace("$AGENT_TOKEN", token))
        self.assertEqual(said, ["claude", "mcp", "add", "--transport", "http", "aegis", server["url"], "--header",
                                f"Authorization: Bearer {token}"])
        self.assertIn("not tested here", section)


if __name__ == "__main__":
    unittest.main()
