//! What a tool call came to, as a model is told it: the route's reply, or a refusal that a program can act on.

use super::words;
use crate::Reply;
use crate::problem::{Problem, describe};
use aegis_core::error::{Error, Failed};
use aegis_core::id::RequestId;
use rmcp::model::{CallToolResult, ContentBlock};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Why a tool call came to nothing: the problem that REST answers with, and what was decided.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Refusal")]
pub(super) struct Refusal {
    #[serde(flatten)]
    problem: Problem,
    /// Absent where the call was allowed and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Verdict>,
    /// Seconds after which another try may do better.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

#[derive(Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Deny,
    /// The same call is made again once a human has approved it.
    StepUp,
}

/// The route's reply.
pub(super) fn done(reply: &Reply) -> CallToolResult {
    let mut value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    words::tell(&mut value);
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result
}

/// An error of the tool: the model reads it, and may do better.
pub(super) fn refused(failed: &Failed, request_id: &RequestId) -> CallToolResult {
    let (_, problem) = describe(failed, request_id);
    let (decision, retry_after) = match &failed.error {
        Error::ApprovalNeeded(_) => (Some(Verdict::StepUp), None),
        Error::LimitReached { retry_after, .. } => (Some(Verdict::Deny), *retry_after),
        Error::Unauthenticated { .. } | Error::Denied { .. } | Error::FreshLoginNeeded { .. } => {
            (Some(Verdict::Deny), None)
        }
        Error::Unavailable { .. } | Error::Contended => (None, Some(1)),
        _ => (None, None),
    };
    let said = said(&problem, decision);
    let refusal = Refusal { problem, decision, retry_after };
    let mut value = serde_json::to_value(&refusal).unwrap_or(Value::Null);
    words::tell(&mut value);
    let content = [words::told(&said), value.to_string()].map(ContentBlock::text);
    let mut result = CallToolResult::error(content.to_vec());
    result.structured_content = Some(value);
    result
}

/// In words: what it is, and what helps.
fn said(problem: &Problem, decision: Option<Verdict>) -> String {
    let why = match &problem.detail {
        Some(detail) => format!("{}: {detail}", problem.title),
        None => problem.title.clone(),
    };
    match (decision, &problem.approval, &problem.approval_code) {
        (Some(Verdict::StepUp), Some(approval), Some(code)) => format!(
            "Not done: {why}. Ask your human to answer approval {approval}, whose code is {code}; then call the tool \
             again with the same arguments. Only she can approve it, at Aegis and not in this conversation."
        ),
        (Some(_), ..) => format!("Refused: {why}. Do not try it by other ways; tell your human if it is needed."),
        _ => format!("Not done: {why}."),
    }
}
