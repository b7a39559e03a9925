//! `aegis access`: what agents ask to be granted, and what their human does about it. Following a request is changing the
//! agent's grant, with all that this needs.

use super::agent;
use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::{Limit, Span, limits};
use crate::Failure;
use crate::api::text;
use aegis_core::access_request::{AskAccess, Words};
use aegis_core::id::AccessRequestId;
use aegis_core::name::KeyRef;
use aegis_core::operations::agents::AmendAgent;
use aegis_core::scope::Scope;
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
#[command(after_help = "\
An agent that lacks a right may ask its human for it. That grants nothing: whoever follows the
request changes the grant, as with `aegis agent amend`.

Examples:
  aegis access list --state pending
  aegis access show acr_0123456789abcdef0123456789abcdef
  aegis access approve acr_0123456789abcdef0123456789abcdef")]
pub(crate) enum Command {
    /// Change the agent's grant as it asks; needs a login at most five minutes old
    #[command(after_help = "\
What the agent asks for is added to its scope; its window becomes what it asks for, and so do
the limits that it names.
You grant no more than you may do yourself. The agent has it with its next token.

Examples:
  aegis access approve acr_0123456789abcdef0123456789abcdef
  aegis access approve acr_0123456789abcdef0123456789abcdef --scopes \"key:invoice-2026:sign\"")]
    Approve {
        #[arg(value_parser = request_id)]
        request: AccessRequestId,
        /// The whole scope from now on, instead of what was asked
        #[arg(long, value_name = "SCOPE")]
        scopes: Option<Scope<KeyRef>>,
    },
    /// Refuse what the agent asks for; it cannot ask the same again for a week from when it did
    #[command(after_help = "Example:\n  aegis access deny acr_0123456789abcdef0123456789abcdef")]
    Deny {
        #[arg(value_parser = request_id)]
        request: AccessRequestId,
    },
    /// Show what agents ask for, newest first: all for operators, admins and auditors, else your own agents
    #[command(after_help = "Example:\n  aegis access list --state pending")]
    List {
        /// Only those in this state
        #[arg(long, value_parser = ["denied", "expired", "granted", "pending"])]
        state: Option<String>,
    },
    /// Ask your human for a wider grant, as an agent
    #[command(after_help = "\
Example:
  aegis access request --scopes \"key:invoice-2026:sign\" --reason \"to sign the March invoices\"")]
    Request {
        /// What to add to the scope; the grammar is in `aegis agent issue --help`
        #[arg(long, value_name = "SCOPE")]
        scopes: Option<Scope<KeyRef>>,
        /// How long the grant shall last from now on
        #[arg(long, value_name = "DURATION")]
        window: Option<Span>,
        /// Most uses in a time of the clock (UTC): 10/minute, 200/day; may be repeated
        #[arg(long = "limit", value_name = "LIMIT")]
        limits: Vec<Limit>,
        /// Most uses in the agent's life
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        max_uses: Option<u32>,
        /// For what, in words for your human
        #[arg(long, value_name = "TEXT", value_parser = words)]
        reason: Words,
    },
    /// Show one request
    #[command(after_help = "Example:\n  aegis access show acr_0123456789abcdef0123456789abcdef")]
    Show {
        #[arg(value_parser = request_id)]
        request: AccessRequestId,
    },
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::Approve { request, scopes } => {
            let found = find(&client, request)?;
            output::note(&render(&found));
            let follow = AmendAgent {
                label: None,
                scope: scopes.as_ref().map(ToString::to_string),
                not_after: None,
                limits: None,
                delegate: None,
                create_keys: None,
                audit: None,
                environment: None,
                access_request: Some(request.clone()),
            };
            let changed = client.api.patch(&format!("/v1/agents/{}", text(&found, "agent")?), &follow)?;
            client.show(&changed.ok("change the agent's grant")?, agent::render)
        }
        Command::Deny { request } => {
            let found = find(&client, request)?;
            let path = format!("/v1/agents/{}/access-requests/{request}/deny", text(&found, "agent")?);
            client.show(&client.api.post(&path, &json!({}))?.ok("deny it")?, render)
        }
        Command::List { state } => list(&client, state.as_deref()),
        Command::Request { scopes, window, limits: most, max_uses, reason } => {
            let given = !most.is_empty() || max_uses.is_some();
            let asked = AskAccess {
                scope: scopes.as_ref().map(ToString::to_string),
                not_after: window.map(Span::after_now),
                limits: given.then(|| limits(most, *max_uses)),
                reason: reason.clone(),
            };
            client.show(&client.api.post("/v1/access-requests", &asked)?.ok("ask for access")?, render)
        }
        Command::Show { request } => client.show(&find(&client, request)?, render),
    }
}

/// The request of this id, among those that the caller may list: only whose agent it is says where it lies.
fn find(client: &Client, id: &AccessRequestId) -> Result<Value, Failure> {
    let requests = client.all("/v1/access-requests", "look for the request")?;
    let found = requests.into_iter().find(|request| field(request, "/id") == id.as_str());
    found.ok_or_else(|| Failure::NotFound(format!("no agent of yours made the request {id}, or it is long over")))
}

fn list(client: &Client, state: Option<&str>) -> Result<(), Failure> {
    let mut requests = client.all("/v1/access-requests", "list what agents ask for")?;
    requests.retain(|request| state.is_none_or(|state| field(request, "/state") == state));
    let row = |request: &Value| {
        let [state, agent, id] = ["/state", "/agent", "/id"].map(|pointer| field(request, pointer));
        vec![output::moment(request, "/created_at"), state, agent, wanted(request), id]
    };
    let rows: Vec<Vec<String>> = requests.iter().map(row).collect();
    client.show(&json!({ "items": requests }), |_| output::table(&["ASKED", "STATE", "AGENT", "FOR", "ID"], &rows))
}

/// In one line.
fn wanted(request: &Value) -> String {
    let limits = |name: &str| field(request, &format!("/asked/limits/{name}"));
    let parts = [
        ("", field(request, "/asked/scope")),
        ("until ", output::moment(request, "/asked/not_after")),
        ("uses in its life: ", limits("max_uses")),
        ("uses a minute: ", limits("per_minute")),
        ("uses a day: ", limits("per_day")),
    ];
    let said = parts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}{text}"));
    said.collect::<Vec<_>>().join(", ")
}

fn render(request: &Value) -> String {
    let answered = match field(request, "/answer/human") {
        human if human.is_empty() => human,
        human => format!("{human} at {}", output::moment(request, "/answer/at")),
    };
    output::details(&[
        ("request", field(request, "/id")),
        ("state", field(request, "/state")),
        ("agent", field(request, "/agent")),
        ("sponsor", field(request, "/sponsor")),
        ("asks for", wanted(request)),
        ("says", field(request, "/asked/reason")),
        ("asked", output::moment(request, "/created_at")),
        ("until", output::moment(request, "/expires_at")),
        ("answered", answered),
    ])
}

fn request_id(text: &str) -> Result<AccessRequestId, String> {
    AccessRequestId::try_from(text.to_string()).map_err(|error| error.to_string())
}

fn words(text: &str) -> Result<Words, String> {
    Words::try_from(text.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_shown_in_a_line() {
        let table = [
            (json!({ "scope": "key:a-key:sign" }), "key:a-key:sign"),
            (json!({ "limits": { "max_uses": 5, "per_day": 7 } }), "uses in its life: 5, uses a day: 7"),
            (
                json!({ "scope": "key:a-key:sign", "not_after": "2026-03-01T00:00:00Z" }),
                "key:a-key:sign, until 2026-03-01T00:00:00.000Z",
            ),
        ];
        for (asked, want) in table {
            assert_eq!(wanted(&json!({ "asked": asked })), want);
        }
    }
}
