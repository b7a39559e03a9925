//! What a message claims of the host that sends it. Recorded as claims: anybody writes what she likes.

use aegis_core::record::Claimed;
use aegis_core::trace;
use http::request::Parts;
use rmcp::model::{Implementation, JsonObject};

/// Members of `_meta` that are kept, the first that is there. Nothing standard has these yet.
const MODEL: [&str; 2] = ["aegis/model", "openai/model"];
const SESSION: [&str; 2] = ["aegis/session", "openai/session"];
const TOOL_CALL: [&str; 2] = ["aegis/tool-call", "claudecode/toolUseId"];

/// The trace is the message's own, else that of its HTTP request.
pub(super) fn claimed(client: Option<&Implementation>, meta: &JsonObject, parts: &Parts) -> Option<Claimed> {
    let text = |names: &[&str]| {
        let found = names.iter().find_map(|name| meta.get(*name)?.as_str());
        found.and_then(Claimed::kept)
    };
    let own = || trace::traceparent(meta.get("traceparent")?.as_str()?);
    let claimed = Claimed {
        client: client.and_then(|client| Claimed::kept(&client.name)),
        client_version: client.and_then(|client| Claimed::kept(&client.version)),
        model: text(&MODEL),
        session: text(&SESSION),
        tool_call: text(&TOOL_CALL),
        traceparent: own().or_else(|| crate::traceparent(&parts.headers)),
    };
    claimed.or_none()
}
