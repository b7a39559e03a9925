// The TypeScript SDK of MCP plays the story: an agent signs, and is stopped when it is led astray. Prints what it got.
//
// Usage: story.mjs MODE http URL TOKEN | story.mjs MODE stdio PROGRAM ARGUMENT...

import { createRequire } from "node:module";

// The packages lie in the suite's own folder, not beside this file.
const load = createRequire(`${process.env.AEGIS_NODE_FOLDER}/`);
const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");

const [mode, way, target, ...rest] = process.argv.slice(2);
const transport =
  way === "http"
    ? new StreamableHTTPClientTransport(new URL(target), {
        requestInit: { headers: { Authorization: `Bearer ${rest[0]}` } },
      })
    : new StdioClientTransport({ command: target, args: rest, env: process.env });
const negotiation = mode.startsWith("20") ? { pin: mode } : mode;
const client = new Client({ name: "ts-host", version: "3.2" }, { versionNegotiation: { mode: negotiation } });
await client.connect(transport);
const sign = (key) => client.callTool({ name: "sign", arguments: { key, message: btoa("invoice 7") } });

const told = { tools: (await client.listTools()).tools.map((tool) => tool.name) };
const signed = await sign("invoice-2026");
told.signature = signed.structuredContent.signature;
const refusal = await sign("treasury-master");
told.refusal = { isError: refusal.isError, ...refusal.structuredContent };
told.after = await sign("invoice-2026").then(() => "signed", () => "failed");
await client.close();
console.log(JSON.stringify(told));
