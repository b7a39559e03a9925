//! A tool's arguments as the path, the query and the body of the route it stands for.

use super::Tool;
use crate::inbound::{Inbound, Malformed};
use crate::route::{Body, Parameters};
use rmcp::model::JsonObject;
use serde_json::{Map, Value};

/// The argument that a route takes in the header of this name.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// What a tool call asks of its route.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) parameters: Parameters,
    pub(crate) query: String,
    pub(crate) body: Vec<u8>,
    pub(crate) idempotency_key: Option<String>,
    /// Why no such request can be: it is decided on and recorded all the same.
    pub(crate) malformed: Option<String>,
}

impl Asked {
    /// The body's members are sorted: who repeats a call may write them in another order, and asks the same.
    pub(crate) fn of(tool: &Tool, arguments: Option<JsonObject>) -> Self {
        let (mut asked, mut pairs, mut body) = (Self::default(), Vec::new(), Map::new());
        for (name, value) in arguments.unwrap_or_default() {
            if let Some(parameter) = tool.path_parameters().find(|parameter| *parameter == name) {
                asked.parameters.0.insert(parameter, text(&value));
            } else if name == IDEMPOTENCY_KEY && tool.route.takes_idempotency_key {
                asked.idempotency_key = Some(text(&value));
            } else if tool.takes(&name) && tool.route.query.is_some() {
                // As if it had not been given: models write null for what they leave out.
                if !value.is_null() {
                    pairs.push((name, text(&value)));
                }
            } else if tool.takes(&name) || tool.route.body.is_some() {
                // What the body does not have, its reader refuses.
                body.insert(name, value);
            } else {
                asked.malformed = Some("the tool has no such argument".to_string());
            }
        }
        asked.query = serde_urlencoded::to_string(&pairs).unwrap_or_default();
        asked.body = match &tool.route.body {
            Some(Body::OptionalJson(_)) if body.is_empty() => Vec::new(),
            Some(_) => serde_json::to_vec(&sorted(Value::Object(body))).unwrap_or_default(),
            None => Vec::new(),
        };
        asked
    }

    pub(crate) fn content_type(&self) -> Option<&'static str> {
        (!self.body.is_empty()).then_some("application/json")
    }

    /// An idempotency key, if it can be one.
    pub(crate) fn idempotency_key(&self) -> Option<Result<&str, &'static str>> {
        self.idempotency_key.as_deref().map(crate::fitting_idempotency_key)
    }
}

impl<'a> Inbound<'a> {
    pub(crate) fn asking(self, asked: &'a mut Asked) -> Self {
        let parameters = std::mem::take(&mut asked.parameters);
        let asked: &'a Asked = asked;
        Self {
            parameters,
            query: &asked.query,
            body: &asked.body,
            content_type: asked.content_type(),
            idempotency_key: asked.idempotency_key(),
            malformed: asked.malformed.as_deref().map(|why| Malformed { field: "arguments", why }),
            ..self
        }
    }
}

/// A value where the route has text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// The same value with the members of all objects in the order of their names.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut members: Vec<(String, Value)> = members.into_iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        other => other,
    }
}
