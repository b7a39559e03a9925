//! An MCP client, as small as it can be: one message a request, in either version of the specification.

#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use crate::Answer;
use crate::deployment::Deployment;
use aegis_core::store::Store;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Builder;
use serde_json::{Map, Value, json};

pub const LEGACY: &str = "2025-11-25";
pub const MODERN: &str = "2026-07-28";

/// The protocol versions that are spoken.
pub const VERSIONS: [&str; 2] = [LEGACY, MODERN];

/// A host that speaks one version, with the token of an agent.
pub struct Client<'a, S = aegis_embedded::store::SqliteStore> {
    pub deployment: &'a Deployment<S>,
    pub token: String,
    pub version: &'static str,
    /// Added to each message's `_meta`.
    pub meta: Value,
}

impl<'a, S: Store + 'static> Client<'a, S> {
    pub fn new(deployment: &'a Deployment<S>, token: &str, version: &'static str) -> Self {
        Self { deployment, token: token.to_string(), version, meta: json!({}) }
    }

    /// The HTTP request of a message, to be altered or sent.
    pub fn request(&self, method: &str, params: Value) -> (Builder, Value) {
        let mut params = params;
        let mut request = http::Request::post("/mcp")
            .header(HOST, "aegis.example.org")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let mut meta: Map<String, Value> = self.meta.as_object().cloned().unwrap_or_default();
        if self.version == MODERN {
            request = request.header("mcp-protocol-version", MODERN).header("mcp-method", method);
            if let Some(name) = params.get("name").and_then(Value::as_str) {
                request = request.header("mcp-name", name);
            }
            meta.insert("io.modelcontextprotocol/protocolVersion".into(), MODERN.into());
            meta.entry("io.modelcontextprotocol/clientCapabilities").or_insert(json!({}));
            let client = json!({ "name": "test-host", "version": "7.1" });
            meta.insert("io.modelcontextprotocol/clientInfo".into(), client);
        } else if method != "initialize" {
            request = request.header("mcp-protocol-version", self.version);
        }
        if !meta.is_empty() {
            params["_meta"] = Value::Object(meta);
        }
        (request, json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
    }

    pub async fn send(&self, request: Builder, body: &Value) -> Answer {
        self.deployment.send(request.body(Bytes::from(body.to_string())).unwrap()).await
    }

    /// The whole answer over HTTP.
    pub async fn ask(&self, method: &str, params: Value) -> Answer {
        let (request, body) = self.request(method, params);
        self.send(request, &body).await
    }

    /// The result of a message that must have one.
    #[track_caller]
    pub fn result(&self, method: &str, params: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        let asked = self.request(method, params);
        async move {
            let answer = self.send(asked.0, &asked.1).await;
            match answer.body.get("result") {
                Some(result) if answer.status == 200 => result.clone(),
                _ => panic!("{place}: {} {}", answer.status, answer.body),
            }
        }
    }

    /// The result of a tool call, whatever it says.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// What a tool call returned, which must be a success.
    pub async fn done(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].clone()
    }

    /// The refusal of a tool call, which must be one.
    pub async fn refused(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        result["structuredContent"].clone()
    }

    /// The names of the tools that are shown.
    pub async fn tools(&self) -> Vec<String> {
        let listed = self.result("tools/list", json!({})).await;
        listed["tools"].as_array().unwrap().iter().map(|tool| crate::text(tool, "name")).collect()
    }
}
