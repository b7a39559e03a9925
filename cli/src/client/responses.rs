//! `aegis responses`: what rules and humans did about misuse, and how it stands.

use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::Moment;
use crate::Failure;
use aegis_core::ambient::Timestamp;
use aegis_core::id::{AgentId, InvalidId};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  aegis responses list --since 1d
  aegis responses list --outcome failed --json")]
pub(crate) enum Command {
    /// Show what was done, newest first: all for operators, admins and auditors, else about your agents
    List(List),
}

#[derive(clap::Args)]
#[command(after_help = "\
Outcomes: done; pending, not done yet; failed, tried again unless it can never be done; undone,
which somebody took back.

Examples:
  aegis responses list --action freeze_agent --outcome done
  aegis responses list --agent agt_01a2089d933561f40ee93650afb9a27f")]
pub(crate) struct List {
    /// Only this action
    #[arg(long, value_name = "ACTION", value_parser = ACTIONS)]
    action: Option<String>,
    /// Only what was about this agent
    #[arg(long, value_name = "ID", value_parser = agent)]
    agent: Option<AgentId>,
    /// Only what stands so
    #[arg(long, value_parser = ["done", "failed", "pending", "undone"])]
    outcome: Option<String>,
    /// From this moment on: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Most that are shown
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
}

const ACTIONS: [&str; 12] = [
    "alert",
    "compromise_key",
    "deactivate_key",
    "deny",
    "freeze_agent",
    "revoke_agent",
    "revoke_credential",
    "revoke_fleet",
    "revoke_human",
    "rotate_key",
    "step_up",
    "suspend_key",
];

fn agent(text: &str) -> Result<AgentId, InvalidId> {
    AgentId::try_from(text.to_string())
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let Command::List(arguments) = command;
    list(&connection.client()?, arguments)
}

fn list(client: &Client, arguments: &List) -> Result<(), Failure> {
    let since = arguments.since.as_ref().map(|since| since.before(Timestamp::now()).to_string());
    let agent = arguments.agent.as_ref().map(ToString::to_string);
    let filters = [
        ("action", arguments.action.clone()),
        ("agent", agent),
        ("outcome", arguments.outcome.clone()),
        ("since", since),
    ];
    let filters: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let filters = serde_urlencoded::to_string(filters).map_err(|error| Failure::because("no query", &error))?;
    let wanted = usize::from(arguments.limit);
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.api.get(&format!("/v1/responses?limit=200&{filters}{cursor}"))?.ok("list responses")?;
        items.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
        match page.get("next_cursor").and_then(Value::as_str).filter(|_| items.len() < wanted) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    items.truncate(wanted);
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    client.show(&json!({ "items": items }), |_| match rows.is_empty() {
        true => "no responses".to_string(),
        false => output::table(&["AT", "OUTCOME", "ACTION", "ABOUT", "CAUSE", "ORDERED BY", "RECORD"], &rows),
    })
}

fn row(item: &Value) -> Vec<String> {
    let first = |pointers: &[&str]| {
        let found = pointers.iter().map(|pointer| field(item, pointer));
        found.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    };
    let rule = match (field(item, "/rule"), field(item, "/rules_version")) {
        (rule, _) if rule.is_empty() => rule,
        (rule, version) => format!("{rule} of rules {version}"),
    };
    let by = Some(field(item, "/ordered_by")).filter(|by| !by.is_empty());
    vec![
        output::moment(item, "/at"),
        field(item, "/outcome"),
        field(item, "/action"),
        first(&["/agent", "/credential", "/key", "/human"]),
        first(&["/detector", "/reason"]),
        by.unwrap_or(rule),
        field(item, "/record"),
    ]
}
