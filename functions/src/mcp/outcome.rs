//! What a tool call came to, as a model is told it over MCP: the route's reply, or an error of the tool. Where a human must
//! approve first, and her host can lead her to the page, the host is told instead.

use crate::Reply;
use crate::tools::{Refusal, words};
use rmcp::model::{
    CallToolResult, ContentBlock, ElicitRequest, ElicitRequestParams, InputRequest, InputRequests, InputRequiredResult,
};
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

/// What the host is asked to show its human, where she can approve the call on a page. There is no state to come back with:
/// whether she did is decided anew, from the store.
pub(super) fn led_to_page(refusal: &Refusal) -> Option<InputRequiredResult> {
    let page = refusal.page()?;
    let params = ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: format!(
            "A human must approve this first. Log in on the page, see what would be done, and approve it with the code \
             {} only if that is what you want.",
            page.code
        ),
        url: page.url.to_string(),
        // 2026-07-28 has none; the library writes one all the same.
        elicitation_id: page.approval.to_string(),
    };
    let asked = InputRequest::Elicitation(ElicitRequest::new(params));
    Some(InputRequiredResult::from_input_requests(InputRequests::from([(APPROVAL.to_string(), asked)])))
}

/// What the answer is called, which nobody looks at.
const APPROVAL: &str = "approval";
