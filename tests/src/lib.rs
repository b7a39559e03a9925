//! What the scenarios stand on: a deployment in this process with a clock of its own, and the real binary as a child.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a harness stops the test that something fails in")]

pub mod account;
pub mod bill;
pub mod deployed;
pub mod deployment;
pub mod issuer;
pub mod mcp;
pub mod process;
pub mod queue;
pub mod receiver;
pub mod roles;
pub mod site;
pub mod telling;
pub mod yielding;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// An answer: its status, its JSON, and what its headers say.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: http::HeaderMap,
}

impl Answer {
    pub fn of(response: &http::Response<bytes::Bytes>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, body: serde_json::from_slice(response.body()).unwrap_or(Value::Null), headers }
    }

    /// The body, of an answer that must be a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// The reason, of an answer that must be a refusal of this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        self.body.get("reason").and_then(Value::as_str).unwrap_or_default()
    }

    /// The code, of an answer that must be a failure of this status.
    #[track_caller]
    pub fn failed(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The body of a request to sign.
pub fn message(bytes: &[u8]) -> Value {
    json!({ "message": base64(bytes) })
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn from_base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// A field that must be text.
#[track_caller]
pub fn text(value: &Value, field: &str) -> String {
    match value.get(field).and_then(Value::as_str) {
        Some(text) => text.to_string(),
        None => panic!("no `{field}` in {value}"),
    }
}
