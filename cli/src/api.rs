//! A client of the REST API: what the commands and the demo speak through. It knows the public surface and nothing else.

use crate::Failure;
use crate::failure::chain;
use aegis_functions::oidc::tls;
use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A deployment, and a token for it or none.
#[derive(Clone)]
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<Arc<Zeroizing<String>>>,
}

/// An answer: its status and its JSON.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    path: String,
    retry_after: Option<u64>,
}

impl Api {
    /// Over TLS it trusts the authorities of the file that `AEGIS_CA_FILE` names, or the system's.
    pub(crate) fn new(base: &str) -> Result<Self, Failure> {
        // Statuses are answers: the caller tells a refusal from a failure.
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")));
        if base.starts_with("https:") {
            let ca_file = std::env::var_os("AEGIS_CA_FILE").map(std::path::PathBuf::from);
            config = config.tls_config(tls(ca_file.as_deref())?);
        } else {
            // Plain HTTP goes to this machine alone, and never by way of another.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().into(), base: base.trim_end_matches('/').to_string(), token: None })
    }

    /// The same deployment, as the holder of `token`.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(Arc::new(Zeroizing::new(token.to_string()))), ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, None)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::DELETE, path, None)
    }

    pub(crate) fn patch(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        self.send(Method::PATCH, path, Some(json(body)?))
    }

    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        self.send(Method::POST, path, Some(json(body)?))
    }

    pub(crate) fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        self.send(Method::PUT, path, Some(json(body)?))
    }

    pub(crate) fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.read(path, self.agent.post(format!("{}{path}", self.base)).send_form(form.iter().copied()))
    }

    /// Posts a message of another protocol over HTTP.
    pub(crate) fn post_raw(&self, path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Answer, Failure> {
        let mut request = http::Request::post(format!("{}{path}", self.base))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.as_str()));
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|error| Failure::Usage(chain("this cannot be sent", &error)))?;
        self.read(path, self.agent.run(request))
    }

    fn send(&self, method: Method, path: &str, body: Option<Zeroizing<Vec<u8>>>) -> Result<Answer, Failure> {
        // A server that refuses it may hang up before it is sent, and then nothing is heard of why.
        if body.as_ref().is_some_and(|body| body.len() > aegis_functions::MAX_BODY) {
            let body = json!({ "title": "a body is at most 1 MiB", "status": 413, "code": "too-large" });
            return Ok(Answer::new(413, body, path));
        }
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.as_str()));
        }
        let unsendable = |error| Failure::Usage(chain("this cannot be sent", &error));
        let result = match &body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.as_slice()).map_err(unsendable)?)
            }
            None => self.agent.run(request.body(()).map_err(unsendable)?),
        };
        self.read(path, result)
    }

    fn read(&self, path: &str, result: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Failure> {
        let unreachable =
            |error: ureq::Error| Failure::Unreachable(chain(&format!("{} did not answer", self.base), &error));
        let mut response = result.map_err(unreachable)?;
        let status = response.status().as_u16();
        let retry_after = seconds(response.headers());
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, path: path.to_string(), retry_after })
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: Value, path: &str) -> Self {
        Self { status, body, path: path.to_string(), retry_after: None }
    }

    /// The body of a success; of anything else what the server said.
    pub(crate) fn ok(self, what: &str) -> Result<Value, Failure> {
        match self.status {
            200..=299 => Ok(self.body),
            status => {
                let refusal = Refusal { path: self.path, ..Refusal::new(what, status, self.retry_after, self.body) };
                Err(Failure::Refused(Box::new(refusal)))
            }
        }
    }

    pub(crate) fn reason(&self) -> &str {
        self.body.get("reason").and_then(Value::as_str).unwrap_or_default()
    }
}

/// An answer that is no success: problem+json, as far as the server sent it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What was asked for.
    pub(crate) what: String,
    pub(crate) status: u16,
    /// Seconds.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
    /// The path that was asked: it names the key or agent.
    pub(crate) path: String,
}

impl Refusal {
    pub(crate) fn new(what: &str, status: u16, retry_after: Option<u64>, body: Value) -> Self {
        Self { what: what.to_string(), status, retry_after, body, path: String::new() }
    }

    pub(crate) fn title(&self) -> &str {
        self.text("title").unwrap_or("no reason given")
    }

    pub(crate) fn code(&self) -> &str {
        self.text("code").unwrap_or_default()
    }

    pub(crate) fn reason(&self) -> &str {
        self.text("reason").unwrap_or_default()
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field).and_then(Value::as_str)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.title())?;
        match self.text("detail") {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// A text field of an answer that must be there.
pub(crate) fn text(value: &Value, field: &str) -> Result<String, Failure> {
    let found = value.get(field).and_then(Value::as_str).map(str::to_string);
    found.ok_or_else(|| Failure::Failed(format!("the answer has no `{field}`")))
}

fn json(body: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let bytes = serde_json::to_vec(body).map(Zeroizing::new);
    bytes.map_err(|error| Failure::because("this request has no JSON", &error))
}

fn seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
