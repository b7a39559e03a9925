"""`aegis mcp` outlives its tokens: they are as short as the agent's grant is at the time, which is then extended."""

import asyncio
import datetime
import json
import time
import unittest

from with_bridge import DEPLOYED, INVOICE, Aegis, WithBridge
from with_token import Proxy

from aegis_client import Refused

# Seconds. What must come comes sooner, unless it never does.
PATIENCE = 60


def after(seconds):
    """Whole seconds, as tokens have them."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")


class Shortened(WithBridge):
    SCOPE = "key:invoice-2026:sign,verify key:treasury-master:verify"
    # Seconds.
    WINDOW = None

    def issued(self):
        return {**super().issued(), "not_after": after(self.WINDOW)}

    def amend(self, **what):
        self.server.call("PATCH", f"/v1/agents/{self.agent}", what)

    async def keys(self, client):
        """What the agent may use now; and the token that it asked with."""
        listed = await client.call_tool("list_keys", {})
        self.assertFalse(listed.is_error, listed)
        keys = {name for key in listed.structured_content["items"] for name in key["aliases"]}
        return keys, self.records("key.list")[0]["credential"]

    def expired(self):
        """Messages of the agent's that came with a token that was over."""
        refused = self.server.call("GET", "/v1/audit?outcome=denied&limit=200")["items"]
        return [record for record in refused if record["reason"] == "credential_expired"]


@unittest.skipIf(DEPLOYED, "one answer takes as long there as these tokens live")
class Renewal(Shortened):
    WINDOW = 15

    async def test_before_a_token_ends_another_is_drawn_under_the_grant_as_it_is_then(self):
        self.log_in()
        async with self.client() as client:
            both, first = await self.keys(client)
            self.assertEqual(both, {"invoice-2026", "treasury-master"})
            # What is taken from the grant is taken from the token that there is, too.
            self.amend(scope="key:invoice-2026:verify", not_after=after(3600))
            self.assertEqual(await self.keys(client), ({"invoice-2026"}, first))
            self.assertNotIn("sign", [tool.name for tool in (await client.list_tools()).tools])
            second, until = first, time.monotonic() + PATIENCE
            while second == first and time.monotonic() < until:
                await asyncio.sleep(0.2)
                _, second = await self.keys(client)
            self.assertNotEqual(second, first)
            self.assertEqual(self.expired(), [])
            # The new one holds no more than the grant did when it was drawn, though that is wider again.
            self.amend(scope=self.SCOPE)
            self.assertEqual(await self.keys(client), ({"invoice-2026"}, second))
            self.assertNotIn("sign", [tool.name for tool in (await client.list_tools()).tools])
        self.assertEqual(len(self.drawn()), 2)


@unittest.skipIf(DEPLOYED, "one answer takes as long there as these tokens live")
class Overslept(Shortened):
    WINDOW = 4

    def setUp(self):
        super().setUp()
        self.tokens = []
        proxy = Proxy(self.server.base, alter=self.tell_longer).start()
        self.addCleanup(proxy.stop)
        self.url = proxy.base

    def tell_longer(self, path, answer):
        """As to a machine that slept: what it takes for the rest of a token's life is more than there is."""
        issued = json.loads(answer) if path.endswith("/credentials") else {}
        if "token" not in issued:
            return answer
        self.tokens.append(issued["token"])
        return json.dumps({**issued, "expires_at": after(900)}).encode()

    async def until_it_is_over(self):
        """The server says itself when its token is."""
        caller, until = Aegis(), time.monotonic() + PATIENCE
        caller.base, caller.token = self.server.base, self.tokens[-1]
        while time.monotonic() < until:
            try:
                caller.call("GET", "/v1/whoami")
            except Refused as refused:
                self.assertEqual(json.loads(refused.problem)["reason"], "credential_expired")
                return
            await asyncio.sleep(0.2)
        self.fail("the token does not end")

    async def test_a_call_with_a_token_that_is_over_goes_on_with_another(self):
        self.log_in()
        async with self.client() as client:
            self.assertFalse((await client.call_tool("sign", INVOICE)).is_error)
            first = self.records("key.sign")[0]["credential"]
            self.amend(not_after=after(3600))
            await self.until_it_is_over()
            before = len(self.expired())
            self.assertFalse((await client.call_tool("sign", INVOICE)).is_error)
            self.assertNotEqual(self.records("key.sign")[0]["credential"], first)
            # The bridge did not know it before.
            self.assertEqual(len(self.expired()), before + 1)
        self.assertEqual(len(self.tokens), 2)

    async def test_with_a_grant_that_is_over_no_other_is_drawn_and_the_host_is_told(self):
        self.log_in()
        async with self.client() as client:
            self.assertFalse((await client.call_tool("sign", INVOICE)).is_error)
            await self.until_it_is_over()
            with self.assertRaisesRegex(Exception, "outside its window"):
                await client.call_tool("sign", INVOICE)
        self.assertEqual(len(self.tokens), 1)


if __name__ == "__main__":
    unittest.main()
