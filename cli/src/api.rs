//! A client of the REST API: what the commands and the demo speak through. It knows the public surface and nothing else.

use crate::Failure;
use serde_json::Value;
use std::time::Duration;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A deployment, and a token for it or none.
#[derive(Clone)]
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

/// An answer: its status and its JSON.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) fn new(base: &str) -> Self {
        // Statuses are answers: the caller tells a refusal from a failure.
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .proxy(None)
            .user_agent(concat!("aegis/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), base: base.trim_end_matches('/').to_string(), token: None }
    }

    /// The same deployment, as the holder of `token`.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_string()), ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(request.call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.read(request.send_json(body))
    }

    pub(crate) fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.read(self.agent.post(format!("{}{path}", self.base)).send_form(form.iter().copied()))
    }

    fn read(&self, result: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Failure> {
        let unreachable = |error| Failure::because(&format!("{} did not answer", self.base), &error);
        let mut response = result.map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }
}

impl Answer {
    /// The body of a success; of anything else what the server said.
    pub(crate) fn ok(self, what: &str) -> Result<Value, Failure> {
        match self.status {
            200..=299 => Ok(self.body),
            status => {
                let said = self.field("title").unwrap_or("no reason given");
                let detail = self.field("detail").map(|detail| format!(" ({detail})")).unwrap_or_default();
                Err(Failure::Failed(format!("{what}: {said}{detail} [{status}]")))
            }
        }
    }

    pub(crate) fn reason(&self) -> &str {
        self.field("reason").unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// A text field of an answer that must be there.
pub(crate) fn text(value: &Value, field: &str) -> Result<String, Failure> {
    let found = value.get(field).and_then(Value::as_str).map(str::to_string);
    found.ok_or_else(|| Failure::Failed(format!("the answer has no `{field}`")))
}
