//! `aegis risk`: why a request was scored as it was, and what is usual for somebody.

use super::agent::AgentRef;
use super::connection::{Client, Connection};
use super::output::{self, field};
use crate::Failure;
use aegis_core::id::{InvalidId, RecordId};
use aegis_core::name::HumanId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  aegis risk explain rec_0123456789abcdef0123456789abcdef
  aegis risk baseline claude-invoices")]
pub(crate) enum Command {
    /// Show what is usual for an agent or a human: what requests are weighed against
    #[command(after_help = "\
Hours and days are of UTC, and what lies back counts less. Keys, networks and clients are counted:
a baseline holds their hashes alone. Operators, admins and auditors see all; others themselves and
their own agents. Who has no baseline is weighed by what others like it do.

Examples:
  aegis risk baseline claude-invoices
  aegis risk baseline --human alice@org --json")]
    Baseline {
        /// An agent's id or label
        #[arg(required_unless_present = "human")]
        agent: Option<AgentRef>,
        /// A human instead
        #[arg(long, value_name = "HUMAN", conflicts_with = "agent")]
        human: Option<HumanId>,
    },
    /// Show what the risk of a request was made of
    #[command(after_help = "\
The score is the sum of the weights, at most 1. Each factor shows what was observed beside what
would have added nothing. Reading a record needs the role admin, auditor or operator.

Example:
  aegis risk explain rec_0123456789abcdef0123456789abcdef")]
    Explain {
        #[arg(value_parser = id)]
        record: RecordId,
    },
}

fn id(text: &str) -> Result<RecordId, InvalidId> {
    RecordId::try_from(text.to_string())
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    let record = match command {
        Command::Explain { record } => record,
        Command::Baseline { agent, human } => return baseline(&client, agent.as_ref(), human.as_ref()),
    };
    let found = client.api.get(&format!("/v1/audit/{record}"))?.ok("show the record")?;
    let risk = found.get("risk").cloned().unwrap_or_default();
    match client.json {
        true => output::json(&risk),
        false => output::line(&explain(&found)),
    }
}

fn baseline(client: &Client, agent: Option<&AgentRef>, human: Option<&HumanId>) -> Result<(), Failure> {
    let actor = match (agent, human) {
        (Some(agent), _) => agent.id(client)?,
        (None, human) => human.map(ToString::to_string).unwrap_or_default(),
    };
    let path = format!("/v1/baselines/{}", utf8_percent_encode(&actor, NON_ALPHANUMERIC));
    client.show(&client.api.get(&path)?.ok("show the baseline")?, usual)
}

fn usual(found: &Value) -> String {
    let since = output::moment(found, "/since");
    if since.is_empty() {
        return format!("nothing is known of {} yet: it is weighed by what others like it do", field(found, "/actor"));
    }
    let day = |name: &str| {
        let at = |pointer: &str| found.pointer(&format!("/{name}/{pointer}"));
        let hours = at("hours").and_then(Value::as_array).into_iter().flatten().enumerate();
        // An hour that is active on one such day in ten is no accident.
        let active = hours.filter(|(_, share)| share.as_f64().is_some_and(|share| share >= 0.1));
        let active: Vec<String> = active.map(|(hour, _)| format!("{hour:02}")).collect();
        let requests = at("requests").and_then(Value::as_f64).unwrap_or(0.0);
        let hours = if active.is_empty() { "no hour".to_string() } else { active.join(" ") };
        format!("{requests:.0} requests; active at {hours} h UTC")
    };
    let peak = |name: &str| found.pointer(&format!("/peaks/{name}")).and_then(Value::as_f64).unwrap_or(0.0);
    let operations = found.get("operations").and_then(Value::as_array).into_iter().flatten();
    let operations: Vec<String> = operations.map(|used| field(used, "/operation")).collect();
    output::details(&[
        ("actor", field(found, "/actor")),
        ("since", since),
        ("through", output::moment(found, "/through")),
        ("active days", field(found, "/active_days")),
        ("operations", operations.join(", ")),
        ("keys", field(found, "/keys")),
        ("networks", field(found, "/networks")),
        ("clients", field(found, "/clients")),
        ("a weekday", day("weekdays")),
        ("a weekend", day("weekends")),
        (
            "at most",
            format!(
                "{:.0} a second, {:.0} a minute, {:.0} an hour, {:.0} a day",
                peak("per_second"),
                peak("per_minute"),
                peak("per_hour"),
                peak("per_day")
            ),
        ),
    ])
}

fn explain(record: &Value) -> String {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let factors: Vec<&Value> =
        record.pointer("/risk/factors").and_then(Value::as_array).into_iter().flatten().collect();
    let score = record.pointer("/risk/score").and_then(Value::as_f64).unwrap_or(0.0);
    let actor = Some(field(record, "/agents/0")).filter(|agent| !agent.is_empty());
    let actor = actor.unwrap_or_else(|| field(record, "/human"));
    let [operation, decision, reason] = ["/operation", "/decision", "/reason"].map(|pointer| field(record, pointer));
    let why = if reason.is_empty() { reason } else { format!(", {reason}") };
    let head = format!("{operation} by {actor} at {}: {decision}{why}", output::moment(record, "/at"));
    if factors.is_empty() {
        return format!("{head}\n\nnothing of it adds risk: {score:.3}");
    }
    let row = |factor: &&Value| {
        let [observed, expected] = ["observed", "expected"].map(|name| format!("{:.3}", number(factor, name)));
        vec![
            field(factor, "/factor") + &output::within(factor),
            observed,
            expected,
            format!("{:+.3}", number(factor, "weight")),
        ]
    };
    let rows: Vec<Vec<String>> = factors.iter().map(row).collect();
    let sum: f64 = factors.iter().map(|factor| number(factor, "weight")).sum();
    let capped = if sum > 1.0 { ", at most 1" } else { "" };
    let table = output::table(&["FACTOR", "OBSERVED", "EXPECTED", "WEIGHT"], &rows);
    format!("{head}\n\n{table}\n\nsum {sum:.3}{capped}: the risk is {score:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(factors: &Value, score: f64, end: &str) {
        let risk = json!({ "score": score, "factors": factors });
        let record = json!({ "operation": "key.sign", "decision": "allow", "human": "alice@org", "risk": risk });
        assert!(explain(&record).ends_with(end), "{}", explain(&record));
    }

    #[test]
    fn what_is_shown_adds_up() {
        let factor = |weight: f64| json!({ "factor": "burst", "observed": 9.0, "expected": 1.0, "weight": weight });
        check(&json!([]), 0.0, "nothing of it adds risk: 0.000");
        check(&json!([factor(0.25), factor(0.125)]), 0.375, "sum 0.375: the risk is 0.375");
        check(&json!([factor(0.75), factor(0.5)]), 1.0, "sum 1.250, at most 1: the risk is 1.000");
    }
}
