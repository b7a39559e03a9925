//! What a route is made of.

use crate::Reply;
use crate::agent_ai::authzen::Endpoint;
use crate::call::Call;
use aegis_core::error::Error;
use aegis_core::id::AgentId;
use aegis_core::operation::Operation;
use aegis_core::pipeline::{Done, Permit, Target};
use aegis_core::record::Plane;
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use std::pin::Pin;

/// One line of the route table. The router, the OpenAPI document and the unauthorized test read it.
pub struct Route {
    pub method: Method,
    /// Parameters in braces.
    pub path: &'static str,
    pub summary: &'static str,
    pub access: Access,
    pub kind: TargetKind,
    /// The status of success.
    pub status: StatusCode,
    /// The status of what is accepted and still waits for somebody, with the same reply.
    pub(crate) may_wait: Option<StatusCode>,
    pub takes_idempotency_key: bool,
    /// Whether a call counts against its source's share of requests without a verified principal.
    pub counts_as_unverified: bool,
    /// The way its requests come in.
    pub plane: Plane,
    /// Whether errors have the members of RFC 6749 §5.2, in plain JSON.
    pub(crate) answers_as_oauth: bool,
    pub(crate) handler: Handler,
    pub(crate) body: Option<Body>,
    pub(crate) query: Option<SchemaOf>,
    pub(crate) reply: Option<SchemaOf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Needs a bearer token, and policy's leave for the operation.
    Bearer(Operation),
    /// A closed list: [`crate::routes::PUBLIC`].
    Public,
}

/// Which path parameter names what is acted upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// An agent or a human.
    Actor,
    Agent,
    Approval,
    Credential,
    Deployment,
    Human,
    Key,
    Own,
    Record,
}

pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

pub(crate) enum Body {
    Form(SchemaOf),
    Json(SchemaOf),
    /// JSON, or nothing at all.
    OptionalJson(SchemaOf),
}

pub(crate) enum Handler {
    /// Evaluations of AuthZEN, each of which is a request of the route that checks access.
    AuthZen(Endpoint),
    /// Function calls, each of which is a request of another route.
    Calls,
    /// A use that is asked about: a request of the route that checks access to the key in the body.
    Evaluate,
    /// Messages of MCP, each of which may stand for a request of another route.
    Mcp,
    Permitted(for<'a> fn(&'a Call<'a>, &'a Permit, Option<String>) -> Answer<'a, Done<Reply>>),
    Public(for<'a> fn(&'a Call<'a>) -> Answer<'a, Reply>),
}

pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

impl Route {
    pub(crate) fn new(method: Method, path: &'static str, access: Access, kind: TargetKind, handler: Handler) -> Self {
        Self {
            method,
            path,
            summary: "",
            access,
            kind,
            status: StatusCode::OK,
            may_wait: None,
            takes_idempotency_key: false,
            counts_as_unverified: false,
            plane: Plane::Rest,
            answers_as_oauth: false,
            handler,
            body: None,
            query: None,
            reply: None,
        }
    }

    /// What its requests are counted as.
    pub(crate) fn operation(&self) -> &'static str {
        match &self.access {
            Access::Bearer(operation) => operation.as_str(),
            Access::Public => self.path,
        }
    }

    /// What a caller must be permitted.
    ///
    /// # Errors
    /// [`Error::NotFound`] of a route that needs no credential.
    pub(crate) fn asked_operation(&self) -> Result<Operation, Error> {
        match self.access {
            Access::Bearer(operation) => Ok(operation),
            Access::Public => Err(Error::NotFound { kind: "operation" }),
        }
    }

    /// Whether its requests are messages, which say in their bodies what they ask for.
    pub(crate) fn takes_messages(&self) -> bool {
        match self.handler {
            Handler::AuthZen(_) | Handler::Calls | Handler::Evaluate | Handler::Mcp => true,
            Handler::Permitted(_) | Handler::Public(_) => false,
        }
    }

    pub(crate) fn summary(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    pub(crate) fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body::Json(SchemaGenerator::subschema_for::<T>)), ..self }
    }

    pub(crate) fn optional_body<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body::OptionalJson(SchemaGenerator::subschema_for::<T>)), ..self }
    }

    pub(crate) fn form<T: JsonSchema>(self) -> Self {
        Self { body: Some(Body::Form(SchemaGenerator::subschema_for::<T>)), ..self }
    }

    pub(crate) fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(SchemaGenerator::root_schema_of::<T>), ..self }
    }

    pub(crate) fn reply<T: JsonSchema>(self) -> Self {
        Self { reply: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn may_wait(self) -> Self {
        Self { may_wait: Some(StatusCode::ACCEPTED), ..self }
    }

    pub(crate) fn idempotent(self) -> Self {
        Self { takes_idempotency_key: true, ..self }
    }

    pub(crate) fn unverified(self) -> Self {
        Self { counts_as_unverified: true, ..self }
    }

    pub(crate) fn by(self, plane: Plane) -> Self {
        Self { plane, ..self }
    }

    pub(crate) fn oauth_errors(self) -> Self {
        Self { answers_as_oauth: true, ..self }
    }

    /// What the path names; a name that nothing can have becomes a target of its own, so that it is refused on record.
    pub(crate) fn target(&self, parameters: &Parameters) -> Target {
        let read = |field: &'static str| parameters.0.get(field).cloned().unwrap_or_default();
        fn named<T, E: std::fmt::Display>(
            field: &'static str,
            parsed: Result<T, E>,
            target: impl Fn(T) -> Target,
        ) -> Target {
            parsed.map_or_else(|error| Target::Unreadable { field, why: error.to_string() }, target)
        }
        match self.kind {
            TargetKind::Actor => {
                let actor = read("actor");
                match AgentId::try_from(actor.clone()) {
                    Ok(agent) => Target::Agent(agent),
                    Err(_) => named("actor", actor.try_into(), Target::Human),
                }
            }
            TargetKind::Agent => named("agent", read("agent").try_into(), Target::Agent),
            TargetKind::Approval => named("approval", read("approval").try_into(), Target::Approval),
            TargetKind::Credential => named("credential", read("credential").try_into(), Target::Credential),
            TargetKind::Deployment => Target::Deployment,
            TargetKind::Human => named("human", read("human").try_into(), Target::Human),
            TargetKind::Key => named("key", read("key").try_into(), Target::Key),
            TargetKind::Own => Target::Own,
            TargetKind::Record => named("record", read("record").try_into(), Target::Record),
        }
    }
}

/// The path's parameters, decoded.
#[derive(Debug, Default)]
pub(crate) struct Parameters(pub(crate) std::collections::HashMap<&'static str, String>);

trait RootSchema {
    fn root_schema_of<T: JsonSchema>(&mut self) -> Schema;
}

impl RootSchema for SchemaGenerator {
    /// The schema itself rather than a reference to it: query parameters are listed one by one.
    fn root_schema_of<T: JsonSchema>(&mut self) -> Schema {
        T::json_schema(self)
    }
}
