//! Function calls as models write them and frameworks hand them on, and what is answered to each.

use super::claims::Claims;
use super::obligation::Obligation;
use crate::Reply;
use crate::tools::{Refusal, Verdict, words};
use aegis_core::error::Error;
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Calls in one request.
const MOST: usize = 16;

/// One call, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "it is one call, or `calls`; a call has `name` and `arguments`, or is as OpenAI or Anthropic write it"
)]
pub(crate) enum Calls {
    Batch(Batch),
    One(Handed),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// Done in this order.
    #[schemars(length(min = 1, max = MOST))]
    calls: Vec<Handed>,
    /// Of those that have none of their own.
    claims: Option<Claims>,
}

/// A call as whoever hands it in has it. Of what others write, members that say nothing here are passed over.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Handed {
    Plain(Plain),
    ChatCompletions(ChatCompletions),
    Responses(Responses),
    Messages(Messages),
}

/// Aegis's own shape.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {
    /// Chosen by the caller; told again in the result, and on record as a claim.
    id: Option<String>,
    /// The tool.
    name: String,
    arguments: Option<JsonObject>,
    claims: Option<Claims>,
}

/// A tool call of OpenAI's Chat Completions.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ChatCompletions {
    #[serde(rename = "type")]
    _type: FunctionType,
    id: Option<String>,
    function: CalledFunction,
    claims: Option<Claims>,
}

#[derive(Deserialize, JsonSchema)]
struct CalledFunction {
    name: String,
    /// JSON as text.
    arguments: String,
}

/// An output item of OpenAI's Responses.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Responses {
    #[serde(rename = "type")]
    _type: FunctionCallType,
    call_id: Option<String>,
    name: String,
    /// JSON as text.
    arguments: String,
    claims: Option<Claims>,
}

/// A content block of Anthropic's Messages.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Messages {
    #[serde(rename = "type")]
    _type: ToolUseType,
    id: Option<String>,
    name: String,
    input: JsonObject,
    claims: Option<Claims>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FunctionType {
    Function,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FunctionCallType {
    FunctionCall,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ToolUseType {
    ToolUse,
}

/// A call, whatever shape it had.
pub(crate) struct OneCall {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    /// Or why there are none.
    pub(crate) arguments: Result<Option<JsonObject>, String>,
    pub(crate) claims: Option<Claims>,
}

impl Calls {
    pub(crate) fn in_order(self) -> Result<Vec<OneCall>, Error> {
        let (calls, claims) = match self {
            Self::Batch(batch) => (batch.calls, batch.claims),
            Self::One(call) => (vec![call], None),
        };
        if !(1..=MOST).contains(&calls.len()) {
            return Err(Error::invalid("calls", format!("there are 1 to {MOST} of them")));
        }
        let with_claims = |call: OneCall| OneCall { claims: call.claims.or_else(|| claims.clone()), ..call };
        Ok(calls.into_iter().map(OneCall::from).map(with_claims).collect())
    }
}

impl From<Handed> for OneCall {
    fn from(handed: Handed) -> Self {
        match handed {
            Handed::Plain(Plain { id, name, arguments, claims }) => Self { id, name, arguments: Ok(arguments), claims },
            Handed::ChatCompletions(ChatCompletions { id, function, claims, .. }) => {
                Self { id, name: function.name, arguments: read(&function.arguments), claims }
            }
            Handed::Responses(Responses { call_id, name, arguments, claims, .. }) => {
                Self { id: call_id, name, arguments: read(&arguments), claims }
            }
            Handed::Messages(Messages { id, name, input, claims, .. }) => {
                Self { id, name, arguments: Ok(Some(input)), claims }
            }
        }
    }
}

/// Models write nothing at all where a tool takes no arguments.
fn read(arguments: &str) -> Result<Option<JsonObject>, String> {
    if arguments.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(arguments).map(Some).map_err(|error| format!("they are no JSON object: {error}"))
}

/// What came of each call, in the order of the calls.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Answered {
    pub(crate) results: Vec<CallResult>,
}

#[derive(JsonSchema, Serialize)]
pub(crate) struct CallResult {
    /// As the caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    /// Absent where the call was allowed and failed, or was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// What must be done before it is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    obligations: Vec<Obligation>,
    /// What the tool returns.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Explained>")]
    refusal: Option<Value>,
    /// Why the call was not tried, in words for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_tried: Option<&'static str>,
}

#[derive(Clone, Copy, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Allow,
    Deny,
    StepUp,
}

/// A refusal, and the same in words.
#[derive(JsonSchema, Serialize)]
struct Explained<'a> {
    #[serde(flatten)]
    refusal: &'a Refusal,
    /// For the model.
    say: String,
}

impl CallResult {
    fn of(call: OneCall) -> Self {
        Self {
            id: call.id,
            name: call.name,
            decision: None,
            obligations: Vec::new(),
            result: None,
            refusal: None,
            not_tried: None,
        }
    }

    pub(super) fn done(call: OneCall, reply: &Reply) -> Self {
        let mut value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        words::tell(&mut value);
        Self { decision: Some(Decision::Allow), result: Some(value), ..Self::of(call) }
    }

    pub(super) fn refused(call: OneCall, refusal: &Refusal) -> Self {
        let explained = Explained { refusal, say: words::told(&refusal.said()) };
        let mut value = serde_json::to_value(&explained).unwrap_or(Value::Null);
        words::tell(&mut value);
        let decision = refusal.decision.map(|verdict| match verdict {
            Verdict::Deny => Decision::Deny,
            Verdict::StepUp => Decision::StepUp,
        });
        Self { decision, obligations: Obligation::of(refusal), refusal: Some(value), ..Self::of(call) }
    }

    pub(super) fn not_tried(call: OneCall) -> Self {
        Self { not_tried: Some(NOT_TRIED), ..Self::of(call) }
    }

    pub(super) fn not_begun(call: OneCall) -> Self {
        Self { not_tried: Some(NOT_BEGUN), ..Self::of(call) }
    }
}

const NOT_TRIED: &str = "Not tried: a call before it left the scope, or ended the credential, or it is not known whether that \
    was done. Do not try it by other ways; tell your human.";
const NOT_BEGUN: &str = "Not tried: those before it took too long. Hand it in again.";

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_result_reaches_a_model_as_data() {
        let call = OneCall { id: None, name: "get_key".into(), arguments: Ok(None), claims: None };
        let reply = Reply { body: Bytes::from("{\"label\":\"a\u{202e}b\"}"), status: None };
        let result = serde_json::to_value(CallResult::done(call, &reply)).unwrap();
        assert_eq!(result["result"]["label"], "a\\u{202e}b");
    }
}
