//! A deployment that is there already, spoken to over HTTP. `AEGIS_URL` says where its API is, `AEGIS_TEST_ISSUER` where it
//! looks for its identity provider, which is the test's own.

use crate::Answer;
use crate::issuer::Issuer;
use crate::mcp::LEGACY;
use crate::process::plain;
use aegis_core::ambient::Timestamp;
use http::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

pub struct Site {
    pub url: String,
    issuer: Issuer,
    /// Milliseconds since 1970.
    began: i64,
}

/// The one of this process.
pub fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| Site {
        url: std::env::var("AEGIS_URL").unwrap(),
        issuer: Issuer::at(&std::env::var("AEGIS_TEST_ISSUER").unwrap(), &beside_outputs("issuer-key")),
        began: Timestamp::now().as_millisecond(),
    })
}

/// Roles of who may do everything that a human may.
pub const EVERYTHING: [&str; 4] = ["admin", "auditor", "operator", "user"];

pub(crate) fn beside_outputs(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("AEGIS_DEPLOYMENT").unwrap()).with_file_name(name)
}

impl Site {
    /// Of its identity provider.
    pub fn issuer(&self) -> &str {
        self.issuer.url()
    }

    /// A token of the provider's with these claims.
    pub fn provider_signs(&self, claims: &Value) -> String {
        self.issuer.signs(claims)
    }

    /// A name that no earlier run took.
    pub fn name(&self, what: &str) -> String {
        format!("{what}-{:x}", self.began)
    }

    /// A human's session.
    pub fn log_in(&self, human: &str, roles: &[&str]) -> String {
        self.exchange(&self.issuer.id_token(human, roles), &[])
    }

    /// The session of a human who proved who she is so many seconds ago.
    pub fn log_in_of(&self, human: &str, roles: &[&str], ago: u64) -> String {
        self.exchange(&self.issuer.id_token_of(human, roles, ago), &[])
    }

    /// A login that answers one approval.
    pub fn log_in_to_approve(&self, human: &str, roles: &[&str]) -> String {
        self.exchange(&self.issuer.id_token(human, roles), &[("scope", "approve")])
    }

    fn exchange(&self, id_token: &str, more: &[(&str, &str)]) -> String {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", id_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        form.extend(more);
        let sent = plain().post(format!("{}/v1/oauth/token", self.url)).send_form(form);
        crate::text(&answer(sent).ok(), "access_token")
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.call(&Method::GET, token, path, None)
    }

    pub fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(&Method::POST, token, path, Some(body))
    }

    /// What is done once, however often it is asked for.
    pub fn post_once(&self, token: &str, path: &str, key: &str, body: Value) -> Answer {
        let request = self.request(&Method::POST, token, path).header("idempotency-key", key);
        let request = request.header("content-type", "application/json");
        answer(plain().run(request.body(body.to_string()).unwrap()))
    }

    /// The same of somebody who says that it is handed on for another.
    pub fn post_for(&self, token: &str, path: &str, forwarded_for: &str, body: Value) -> Answer {
        let request = self.request(&Method::POST, token, path).header("x-forwarded-for", forwarded_for);
        let request = request.header("content-type", "application/json");
        answer(plain().run(request.body(body.to_string()).unwrap()))
    }

    pub fn call(&self, method: &Method, token: &str, path: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, token, path);
        let Some(body) = body else { return answer(plain().run(request.body(()).unwrap())) };
        let request = request.header("content-type", "application/json");
        answer(plain().run(request.body(body.to_string()).unwrap()))
    }

    fn request(&self, method: &Method, token: &str, path: &str) -> http::request::Builder {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        match token {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        }
    }

    /// A tool call of MCP, in the older version.
    pub fn call_tool(&self, token: &str, name: &str, arguments: &Value) -> Answer {
        let params = json!({ "name": name, "arguments": arguments });
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        let sent = plain()
            .post(format!("{}/mcp", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", LEGACY)
            .send(message.to_string());
        answer(sent)
    }

    /// An active key of a name that no other test takes.
    pub fn key(&self, token: &str, name: &str, algorithm: &str) -> Value {
        self.post(token, "/v1/keys", json!({ "name": name, "algorithm": algorithm, "activate": true })).ok()
    }

    /// An agent, and a token for it.
    pub fn agent(&self, token: &str, scope: &str, purpose: &str) -> (String, String) {
        let body = json!({ "label": "an agent", "scope": scope, "purpose": purpose });
        let agent = crate::text(&self.post(token, "/v1/agents", body).ok(), "id");
        let issued = self.post(token, &format!("/v1/agents/{agent}/credentials"), json!({})).ok();
        (agent, crate::text(&issued, "token"))
    }
}

fn answer(sent: Result<http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = sent.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.body_mut().read_to_string().unwrap();
    Answer { status, body: serde_json::from_str(&body).unwrap_or(Value::String(body)), headers }
}

/// Looks again and again until there is something, for as long as a stream, or a second try, may take.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait(what, Duration::from_millis(200), look)
}

/// The same, now and then, for what happens by itself after minutes.
pub fn wait_long_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait(what, Duration::from_secs(2), look)
}

fn wait<T>(what: &str, pause: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(pause);
    }
    panic!("{what} did not come")
}
