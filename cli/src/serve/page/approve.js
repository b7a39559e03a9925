"use strict";
const byId = (id) => document.getElementById(id);
// The deployment's path, and the approval's id.
const [, root, named] = location.pathname.match(/^(.*?)(?:\/local)?\/approve\/([^/]*)$/);
let approval = named;
const path = () => "/v1/approvals/" + encodeURIComponent(approval);
// Of this one login; kept nowhere else, and gone with the page.
let token;

async function call(method, path, body, form) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = "Bearer " + token;
  if (form) headers["content-type"] = "application/x-www-form-urlencoded";
  else if (body) headers["content-type"] = "application/json";
  const sent = form ? new URLSearchParams(form) : body && JSON.stringify(body);
  const answer = await fetch(root + path, { method, headers, body: sent, credentials: "omit", redirect: "error" });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error([told.title || "HTTP " + answer.status, told.detail].filter(Boolean).join(": "));
  return told;
}

function say(text) {
  byId("status").textContent = text;
}

// While one request is under way no other is made.
async function during(form, what) {
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  try {
    await what();
  } catch (error) {
    say(error.message);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

// An ID token of a login that was just now: it answers once, and shows until then.
async function enter(idToken) {
  const session = await call("POST", "/v1/oauth/token", null, {
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token: idToken,
    subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
    scope: "approve",
  });
  token = session.access_token;
  show(await call("GET", path()));
}

byId("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.target, async () => {
    const code = byId("code").value.trim();
    if (!code) throw new Error("Type the code that the agent shows.");
    end(await call("POST", path() + "/approve", { code }));
  });
});

byId("deny").addEventListener("click", () => {
  during(byId("answer"), async () => end(await call("POST", path() + "/deny")));
});

// Everything that came with the request is text, never markup.
function show(approval) {
  const facts = [
    ["Operation", approval.operation],
    ["Key", known(approval.key, approval.key_aliases)],
    ["Tier", approval.tier],
    ["Agent", known(approval.agent, [approval.agent_label, approval.agent_purpose])],
    ["Its human", approval.sponsor],
    ["State", approval.state],
    ["Until", approval.expires_at],
    ["Approvals needed", String(approval.needs)],
    ["Digest", approval.request_digest],
  ];
  byId("facts").replaceChildren(
    ...facts.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
  byId("payload").textContent = visible(payload(approval.payload));
  const factors = (approval.risk && approval.risk.factors) || [];
  const reasons = factors.map((factor) => `${factor.factor}: ${factor.observed} (expected ${factor.expected})`);
  reasons.unshift(approval.cause === "hold" ? "A response holds this agent." : `Its risk is ${approval.risk.score}.`);
  byId("reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
  byId("login").hidden = true;
  byId("asked").hidden = false;
  const open = approval.state === "pending" && approval.payload;
  byId("answer").hidden = !open;
  say(open ? "This is what the agent asks for." : "You cannot answer this: it is " + approval.state + ", or not yours.");
  if (open) byId("code").focus();
}

// What people know it by, then its id.
function known(id, words) {
  const names = (words || []).filter(Boolean).join(", ");
  return names && id ? `${names} (${id})` : id;
}

function payload(shown) {
  if (!shown) return "Not shown to you.";
  switch (shown.kind) {
    case "json": {
      const parts = Object.entries(shown.decoded || {}).map(([name, value]) => name + ":\n" + decoded(value));
      return [...parts, "request:\n" + JSON.stringify(shown.body, null, 2)].join("\n\n");
    }
    case "text":
      return shown.text;
    case "deleted":
      return "Not kept any more.";
    default:
      return `${shown.length} bytes that cannot be shown; the digest above is theirs.`;
  }
}

// Characters that show nothing, or turn the direction of what stands beside them, are written out.
function visible(text) {
  const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  return text.replace(hidden, (found) => "\\u{" + found.codePointAt(0).toString(16) + "}");
}

function decoded(value) {
  if ("json" in value) return JSON.stringify(value.json, null, 2);
  if ("text" in value) return value.text;
  return `${value.bytes} bytes`;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function end(approval) {
  token = undefined;
  byId("answer").hidden = true;
  const waits = approval.state === "pending" ? "Noted. Somebody else must approve it, too." : "It is " + approval.state + ".";
  say(waits + " You can close this page.");
}
