//! The OpenAPI 3.1 document, made of the route table: it cannot say what the table does not do.

use crate::problem::Problem;
use crate::route::{Access, Body, Route};
use crate::routes;
use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The document.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes::table() {
        let entry = paths.entry(route.path).or_insert_with(|| Value::Object(Map::new()));
        if let Some(methods) = entry.as_object_mut() {
            methods.insert(route.method.as_str().to_lowercase(), operation(route, &mut generator));
        }
    }
    let problem = generator.subschema_for::<Problem>();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Aegis",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The control plane that keeps AI agents from abusing keys.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": { "application/problem+json": { "schema": problem } },
                },
                "TokenProblem": {
                    "description": "What went wrong (RFC 6749 §5.2)",
                    "content": { "application/json": { "schema": problem } },
                },
            },
        },
    });
    bound_integers(&mut document);
    document
});

/// Says how large an integer may be, where only its format does: that is an annotation, which no validator minds.
pub(crate) fn bound_integers(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(bound_integers),
        Value::Object(members) => {
            let largest = match members.get("format").and_then(Value::as_str) {
                Some("uint32") => Some(u64::from(u32::MAX)),
                Some("uint64") => Some(u64::MAX),
                _ => None,
            };
            if let Some(largest) = largest {
                members.entry("maximum").or_insert_with(|| largest.into());
            }
            members.values_mut().for_each(bound_integers);
        }
        _ => {}
    }
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = Map::new();
    operation.insert("summary".into(), route.summary.into());
    operation.insert("parameters".into(), Value::Array(parameters(route, generator)));
    let body = match &route.body {
        None => None,
        Some(Body::Form(schema)) => Some(("application/x-www-form-urlencoded", schema(generator), true)),
        Some(Body::Json(schema)) => Some(("application/json", schema(generator), true)),
        Some(Body::OptionalJson(schema)) => Some(("application/json", schema(generator), false)),
    };
    if let Some((media, schema, required)) = body {
        let content = json!({ media: { "schema": schema } });
        operation.insert("requestBody".into(), json!({ "required": required, "content": content }));
    }
    let mut responses = Map::new();
    for status in [Some(route.status), route.may_wait].into_iter().flatten() {
        responses.insert(status.as_str().into(), success(route, status, generator));
    }
    for status in failures(route) {
        // Before a request is known to be for it, it is answered as any other.
        let as_oauth = route.answers_as_oauth && !HOST.contains(&status);
        let name = if as_oauth { "TokenProblem" } else { "Problem" };
        responses.insert(status.as_str().into(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    operation.insert("responses".into(), Value::Object(responses));
    match route.access {
        Access::Public => operation.insert("security".into(), json!([])),
        Access::Bearer(name) => {
            operation.insert("x-aegis-operation".into(), name.as_str().into());
            operation.insert("security".into(), json!([{ "bearer": [] }]))
        }
    };
    Value::Object(operation)
}

fn success(route: &Route, status: StatusCode, generator: &mut SchemaGenerator) -> Value {
    let description = status.canonical_reason().unwrap_or_default();
    match (status, &route.reply) {
        (StatusCode::NO_CONTENT, _) => json!({ "description": description }),
        (_, Some(schema)) => json!({
            "description": description,
            "content": { "application/json": { "schema": schema(generator) } },
        }),
        (_, None) => json!({
            "description": description,
            "content": { "application/json": { "schema": { "type": "object" } } },
        }),
    }
}

/// Of the host, before it is known what is asked.
const HOST: [StatusCode; 4] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// What a caller must be ready for.
fn failures(route: &Route) -> Vec<StatusCode> {
    let any = HOST;
    let exchange =
        [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
    let permitted = [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY];
    match (route.access, &route.body) {
        (Access::Bearer(_), _) => [any.as_slice(), &exchange, &permitted].concat(),
        (Access::Public, Some(_)) => [any.as_slice(), &exchange].concat(),
        (Access::Public, None) => any.to_vec(),
    }
}

fn parameters(route: &Route, generator: &mut SchemaGenerator) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": parameter(name, generator) }));
    let mut parameters: Vec<Value> = in_path.collect();
    if let Some(query) = route.query {
        let schema = query(generator);
        let required: Vec<&Value> = schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let needed = required.iter().any(|required| required.as_str() == Some(name));
            parameters.push(json!({ "name": name, "in": "query", "required": needed, "schema": not_null(property) }));
        }
    }
    if route.takes_idempotency_key {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]+$" });
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "required": false, "schema": schema }));
    }
    parameters
}

/// A query parameter is there or not; it is never null.
fn not_null(property: &Value) -> Value {
    let mut property = property.clone();
    if let Some(kinds) = property.get_mut("type").filter(|kind| kind.is_array()) {
        let kind = kinds.as_array().and_then(|kinds| kinds.iter().find(|kind| *kind != "null")).cloned();
        *kinds = kind.unwrap_or_default();
    }
    let options = property.get("anyOf").and_then(Value::as_array);
    let other = options.and_then(|options| options.iter().find(|option| option["type"] != "null")).cloned();
    match other {
        Some(mut other) => {
            let description = property.get("description").cloned();
            if let (Some(object), Some(description)) = (other.as_object_mut(), description) {
                object.insert("description".into(), description);
            }
            other
        }
        None => property,
    }
}

fn parameter(name: &str, generator: &mut SchemaGenerator) -> Schema {
    match name {
        "actor" => {
            let agent = generator.subschema_for::<aegis_core::id::AgentId>();
            let human = generator.subschema_for::<aegis_core::name::HumanId>();
            schemars::json_schema!({ "anyOf": [agent, human] })
        }
        "agent" => generator.subschema_for::<aegis_core::id::AgentId>(),
        "alias" => generator.subschema_for::<aegis_core::name::KeyName>(),
        "access_request" => generator.subschema_for::<aegis_core::id::AccessRequestId>(),
        "approval" => generator.subschema_for::<aegis_core::id::ApprovalId>(),
        "credential" => generator.subschema_for::<aegis_core::id::CredentialId>(),
        "recommendation" => generator.subschema_for::<aegis_core::id::RecommendationId>(),
        "human" => generator.subschema_for::<aegis_core::name::HumanId>(),
        "key" => generator.subschema_for::<aegis_core::name::KeyRef>(),
        "version" => generator.subschema_for::<u32>(),
        "webhook" => generator.subschema_for::<aegis_core::id::WebhookId>(),
        _ => generator.subschema_for::<aegis_core::id::RecordId>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_has_a_largest_value() {
        fn unbounded(schema: &Value) -> bool {
            match schema {
                Value::Array(items) => items.iter().any(unbounded),
                Value::Object(members) => {
                    let is_sized = members.get("format").is_some_and(|format| format == "uint32");
                    is_sized && !members.contains_key("maximum") || members.values().any(unbounded)
                }
                _ => false,
            }
        }
        assert!(!unbounded(document()));
        assert_eq!(
            document().pointer("/components/schemas/VerifyMacRequest/properties/key_version/maximum"),
            Some(&json!(4_294_967_295_u32))
        );
    }

    #[test]
    fn the_document_has_every_route_and_every_reference_resolves() {
        let document = document();
        for route in routes::table() {
            let method = route.method.as_str().to_lowercase();
            assert!(document["paths"][route.path][&method].is_object(), "{method} {}", route.path);
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
