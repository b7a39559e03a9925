//! The one prompt: explain a refusal to the human who works with the agent.

use crate::tools::words;
use aegis_core::id::RecordId;
use aegis_core::reason::Reason;
use rmcp::ErrorData;
use rmcp::model::{GetPromptRequestParams, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::Value;

pub(super) const NAME: &str = "explain_denial";

/// As it is listed.
pub(super) fn shown() -> Prompt {
    let argument = |name: &str, about: &str| PromptArgument::new(name).with_description(about).with_required(false);
    let arguments = vec![
        argument("record", "The audit record of the refusal, as the refusal named it; the latest refusal if absent."),
        argument("reason", "The reason the refusal gave, such as scope_violation."),
    ];
    let about = "Has the agent find out and tell its human why Aegis refused a call, and what would help.";
    Prompt::new(NAME, Some(about), Some(arguments)).with_title("Explain this denial")
}

/// What the human says by choosing it. Only what can be a record or a reason gets into it.
pub(super) fn filled_in(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    if request.name != NAME {
        return Err(ErrorData::invalid_params("no such prompt", None));
    }
    let given = request.arguments.as_ref();
    let invalid = |name: &str| ErrorData::invalid_params(format!("`{name}` is none that a refusal gave"), None);
    let record = text(given, "record").map(|text| RecordId::try_from(text.to_string()).map_err(|_| invalid("record")));
    let reason = text(given, "reason").map(|text| reason_of(text).ok_or_else(|| invalid("reason")));
    let (record, reason) = (record.transpose()?, reason.transpose()?);
    let which = match &record {
        Some(record) => format!("the one with the record {record}"),
        None => "the latest".to_string(),
    };
    let why = reason.map(|reason| format!(" The reason it gave, {reason}, means: {}.", reason.sentence()));
    let said = format!(
        "Aegis refused one of your calls: {which}.{} Find it with my_activity (outcome: denied), and look at my_scope. Then \
         tell me in plain words what you tried, why it was refused, and whether that is right. If the task needs it, tell \
         me what I would have to do: approve it, widen your grant, or wait. Do not try it again, and do not try another \
         way.",
        why.unwrap_or_default()
    );
    let message = PromptMessage::new_text(Role::User, words::told(&said));
    Ok(GetPromptResult::new(vec![message]).with_description("Explain a refusal"))
}

/// Empty is absent: hosts send what a form has.
fn text<'a>(arguments: Option<&'a JsonObject>, name: &str) -> Option<&'a str> {
    arguments?.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What is never told is no reason that a refusal gave.
fn reason_of(text: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == text && reason.told() == *reason)
}
