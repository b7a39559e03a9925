//! The schemas of a tool, made of its route as the OpenAPI document is: arguments are the path's, the query's and the
//! body's members side by side, and nothing else.

use super::Refusal;
use super::arguments::IDEMPOTENCY_KEY;
use super::parameters_of;
use crate::openapi::bound_integers;
use crate::route::{Body, Route};
use aegis_core::name::KeyRef;
use rmcp::model::JsonObject;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

pub(super) struct Schemas {
    /// Names of what the query or the body has.
    pub(super) members: BTreeSet<String>,
    pub(super) input: JsonObject,
    pub(super) output: JsonObject,
}

pub(super) fn of(route: &'static Route, left_out: &[&str]) -> Schemas {
    let mut generator = generator();
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for parameter in parameters_of(route) {
        let mut schema = generator.subschema_for::<KeyRef>();
        schema.insert("description".into(), "The key's id, or a name that leads to it.".into());
        properties.insert(parameter.to_string(), schema.into());
        required.push(Value::from(parameter));
    }
    let query = route.query.map(|schema| schema(&mut generator));
    let body = route.body.as_ref().map(|body| match body {
        Body::Json(schema) | Body::OptionalJson(schema) | Body::Form(schema) => schema(&mut generator),
    });
    let mut members = BTreeSet::new();
    for schema in query.into_iter().chain(body) {
        let schema = resolved(schema, &generator);
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if !left_out.contains(&name.as_str()) {
                members.insert(name.clone());
                properties.insert(name.clone(), property.clone());
            }
        }
        required.extend(schema.get("required").and_then(Value::as_array).into_iter().flatten().cloned());
    }
    if route.takes_idempotency_key {
        let about =
            "Chosen by the caller, new for each thing to be done: a call that is repeated with it is done once.";
        let most = aegis_core::idempotency::MAX_KEY;
        let schema =
            json!({ "type": "string", "minLength": 1, "maxLength": most, "pattern": "^[!-~]+$", "description": about });
        properties.insert(IDEMPOTENCY_KEY.to_string(), schema);
    }
    let input = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let input = with_definitions(input, generator);
    Schemas { members, input, output: output(route) }
}

/// Either the reply or the refusal: some clients hold the results that are errors against it, too.
fn output(route: &Route) -> JsonObject {
    let mut generator = generator();
    let reply = route.reply.map(|reply| reply(&mut generator));
    let refusal = generator.subschema_for::<Refusal>();
    with_definitions(json!({ "type": "object", "anyOf": [reply.unwrap_or_default(), refusal] }), generator)
}

fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    settings.into_generator()
}

/// The schema itself where it only refers to one.
fn resolved(schema: Schema, generator: &SchemaGenerator) -> Value {
    let schema = Value::from(schema);
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(DEFINITIONS));
    name.and_then(|name| generator.definitions().get(name).cloned()).unwrap_or(schema)
}

/// Adds the definitions that the schema refers to, and those they refer to.
fn with_definitions(mut schema: Value, mut generator: SchemaGenerator) -> JsonObject {
    let all = generator.take_definitions(true);
    let (mut used, mut looked_at) = (BTreeSet::new(), vec![schema.clone()]);
    while let Some(next) = looked_at.pop() {
        for name in references(&next) {
            if used.insert(name.clone()) {
                looked_at.extend(all.get(&name).cloned());
            }
        }
    }
    let definitions: Map<String, Value> = all.into_iter().filter(|(name, _)| used.contains(name)).collect();
    if let (Some(schema), false) = (schema.as_object_mut(), definitions.is_empty()) {
        schema.insert("$defs".into(), Value::Object(definitions));
    }
    bound_integers(&mut schema);
    match schema {
        Value::Object(schema) => schema,
        _ => JsonObject::new(),
    }
}

fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix(DEFINITIONS));
            own.map(str::to_string).into_iter().chain(members.values().flat_map(references)).collect()
        }
        _ => Vec::new(),
    }
}

const DEFINITIONS: &str = "#/$defs/";
