
// The login at the identity provider, as a public client: authorization code with PKCE (RFC 7636).
const provider = JSON.parse(byId("provider").textContent);
// What this tab keeps while its human is at the provider.
const KEPT = "aegis-login";

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.target, async () => {
    if (!window.isSecureContext) throw new Error("Open this page over https.");
    token = undefined;
    const kept = { approval, state: random(), nonce: random(), verifier: random() };
    const challenge = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(kept.verifier));
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
    const asked = {
      response_type: "code",
      client_id: provider.client_id,
      redirect_uri: provider.redirect_uri,
      scope: provider.scope,
      state: kept.state,
      nonce: kept.nonce,
      code_challenge: base64url(new Uint8Array(challenge)),
      code_challenge_method: "S256",
      // A login of its own, whoever is logged in there already.
      prompt: "login",
      max_age: "0",
    };
    const address = new URL(provider.authorization_endpoint);
    Object.entries(asked).forEach(([name, value]) => address.searchParams.set(name, value));
    location.assign(address);
  });
});

// Where it came to nothing, she is where she begins again.
if (named === "login") during(byId("login"), comeBack).then(() => token || byId("login").querySelector("button").focus());

async function comeBack() {
  const told = new URLSearchParams(location.search);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  // Whatever comes of it, it serves once, and its code is not left in the history.
  sessionStorage.removeItem(KEPT);
  approval = kept ? kept.approval : "";
  history.replaceState(null, "", root + "/approve/" + (approval || "login"));
  byId("login").hidden = !kept;
  if (!kept) throw new Error("No login was begun in this tab. Open the address that your agent shows.");
  if (told.get("state") !== kept.state) throw new Error("That was the end of another login. Log in again.");
  if (told.has("iss") && told.get("iss") !== provider.issuer) throw new Error("Another provider answered. Log in again.");
  if (!told.get("code")) throw new Error("The login was not finished: " + refusal(Object.fromEntries(told)));
  say("Logging in…");
  const idToken = await exchange(told.get("code"), kept.verifier);
  if (claims(idToken).nonce !== kept.nonce) throw new Error("The provider answered another login. Log in again.");
  await enter(idToken);
}

async function exchange(code, verifier) {
  const form = { grant_type: "authorization_code", code, code_verifier: verifier };
  const { client_id, redirect_uri } = provider;
  const body = new URLSearchParams({ ...form, client_id, redirect_uri });
  const headers = { accept: "application/json" };
  const sent = { method: "POST", headers, body, credentials: "omit", redirect: "error" };
  const answer = await fetch(provider.token_endpoint, sent).catch(() => {
    throw new Error("The provider did not answer this page; perhaps it does not let " + location.origin + " ask.");
  });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok || !told.id_token) throw new Error("The provider refused the login: " + refusal(told));
  return told.id_token;
}

function refusal(told) {
  return visible([told.error, told.error_description].filter(Boolean).join(": ") || "it does not say why");
}

// Not verified: it is the answer of the token endpoint itself, and Aegis verifies it.
function claims(idToken) {
  const base64 = idToken.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))));
}

function random() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}
