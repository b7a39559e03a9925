//! `aegis report`: what a human and her agents did, or one agent.

use super::agent::AgentRef;
use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::Moment;
use crate::Failure;
use aegis_core::ambient::Timestamp;
use aegis_core::name::HumanId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

#[derive(clap::Subcommand)]
#[command(after_help = "\
Operators, admins and auditors see all; others themselves and their own agents. Reading a report is
on record.

Examples:
  aegis report human alice@org --since 7d
  aegis report agent claude-invoices --since 2026-03-01T00:00:00Z --json")]
pub(crate) enum Command {
    /// What one agent did; its sub-agents have reports of their own
    #[command(after_help = "Example:\n  aegis report agent claude-invoices --since 24h")]
    Agent {
        agent: AgentRef,
        #[command(flatten)]
        time: Time,
    },
    /// What a human did, and every agent she ever sponsored
    #[command(after_help = "Example:\n  aegis report human alice@org --since 7d")]
    Human {
        human: HumanId,
        #[command(flatten)]
        time: Time,
    },
}

#[derive(clap::Args)]
pub(crate) struct Time {
    /// From this moment on: RFC 3339, or 1h, 7d for as long ago [default: 7d]
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::Agent { agent, time } => {
            let path = format!("/v1/agents/{}/report", agent.id(&client)?);
            report(&client, &path, time)
        }
        Command::Human { human, time } => {
            let name = utf8_percent_encode(human.as_str(), NON_ALPHANUMERIC);
            report(&client, &format!("/v1/humans/{name}/report"), time)
        }
    }
}

fn report(client: &Client, path: &str, time: &Time) -> Result<(), Failure> {
    let query = match time.since {
        Some(moment) => format!("?since={}", moment.before(Timestamp::now())),
        None => String::new(),
    };
    let report = client.api.get(&format!("{path}{query}"))?.ok("make the report")?;
    client.show(&report, render)
}

fn render(report: &Value) -> String {
    let bound = match field(report, "/complete_since") {
        at if at.is_empty() => at,
        at => format!("there is more than a report reads: this holds all from {at} on, and nothing before"),
    };
    let head = output::details(&[
        ("human", field(report, "/human")),
        ("since", field(report, "/since")),
        ("until", field(report, "/until")),
        ("records", field(report, "/records")),
        ("bound", bound),
    ]);
    let actors = lines(report, "/actors", |actor| render_actor(&field(report, "/human"), actor));
    let left_out = match field(report, "/more_actors").as_str() {
        "" | "0" => None,
        count => Some(format!("and {count} agents that did less")),
    };
    [head].into_iter().chain(actors).chain(left_out).collect::<Vec<_>>().join("\n\n")
}

fn render_actor(human: &str, actor: &Value) -> String {
    let who = match field(actor, "/agent") {
        agent if agent.is_empty() => format!("{human} herself"),
        agent => format!("{} ({}), {agent}", field(actor, "/label"), field(actor, "/state")),
    };
    let used = |line: &Value| {
        let [count, operation, key, name] =
            ["/count", "/operation", "/key", "/key_name"].map(|pointer| field(line, pointer));
        format!("{count} {operation} {}", if name.is_empty() { key } else { name })
    };
    let found = |line: &Value| ["/at", "/severity", "/detector", "/record"].map(|part| field(line, part)).join(" ");
    let done = |line: &Value| ["/at", "/action", "/agent", "/record"].map(|part| field(line, part)).join(" ");
    let counted = |pointer: &str, of: &str| {
        let line = |line: &Value| format!("{} {}", field(line, "/count"), field(line, of));
        lines(actor, pointer, line).join(", ")
    };
    let mut uses = lines(actor, "/uses", used);
    match field(actor, "/other_uses").as_str() {
        "" | "0" => {}
        count => uses.push(format!("{count} others")),
    }
    let mut rows = vec![
        ("requests", field(actor, "/requests")),
        ("first, last", format!("{}, {}", field(actor, "/first_at"), field(actor, "/last_at"))),
        (
            "busiest hour",
            format!("{} from {}", field(actor, "/busiest_hour/requests"), field(actor, "/busiest_hour/at")),
        ),
        ("risk", format!("at most {}, {} on average", score(actor, "/risk/max"), score(actor, "/risk/mean"))),
    ];
    rows.extend(named("uses", uses));
    rows.extend([
        ("operations", counted("/operations", "/operation")),
        ("refused", counted("/denials", "/reason")),
        ("errors", Some(field(actor, "/errors")).filter(|errors| errors != "0").unwrap_or_default()),
    ]);
    rows.extend(named("found", lines(actor, "/recommendations", found)));
    rows.extend(named("done about it", lines(actor, "/responses", done)));
    if actor.get("usage").is_some() {
        let [uses, recent, last] = ["/usage/uses", "/usage/uses_30d", "/usage/last_use"].map(|part| field(actor, part));
        let last = if last.is_empty() { last } else { format!(", the last {last}") };
        rows.push(("uses in its life", format!("{uses}, {recent} in 30 days{last}")));
    }
    format!("{who}\n{}", output::details(&rows))
}

/// Each item of a list, as `render` has it.
fn lines(value: &Value, pointer: &str, render: impl Fn(&Value) -> String) -> Vec<String> {
    value.pointer(pointer).and_then(Value::as_array).map(|items| items.iter().map(render).collect()).unwrap_or_default()
}

/// Several lines under one name.
fn named(name: &'static str, lines: Vec<String>) -> impl Iterator<Item = (&'static str, String)> {
    let names = [name].into_iter().chain(std::iter::repeat(""));
    names.zip(lines)
}

fn score(actor: &Value, pointer: &str) -> String {
    format!("{:.2}", actor.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0))
}
