//! What a tool call came to, as a model is told it over MCP: the route's reply, or an error of the tool.

use crate::Reply;
use crate::tools::{Refusal, words};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

/// The route's reply.
pub(super) fn done(reply: &Reply) -> CallToolResult {
    let mut value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    words::tell(&mut value);
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// An error of the tool: the model reads it, and may do better.
pub(super) fn refused(refusal: &Refusal) -> CallToolResult {
    let mut value = serde_json::to_value(refusal).unwrap_or(Value::Null);
    words::tell(&mut value);
    let content = [words::told(&refusal.said()), value.to_string()].map(ContentBlock::text);
    let mut result = CallToolResult::error(content.to_vec());
    result.structured_content = Some(value);
    result
}
