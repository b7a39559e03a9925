//! `aegis risk`: why a request was scored as it was.

use super::connection::Connection;
use super::output::{self, field};
use crate::Failure;
use aegis_core::id::{InvalidId, RecordId};
use serde_json::Value;

#[derive(clap::Subcommand)]
#[command(after_help = "Example:\n  aegis risk explain rec_0123456789abcdef0123456789abcdef")]
pub(crate) enum Command {
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
    let Command::Explain { record } = command;
    let client = connection.client()?;
    let found = client.api.get(&format!("/v1/audit/{record}"))?.ok("show the record")?;
    let risk = found.get("risk").cloned().unwrap_or_default();
    match client.json {
        true => output::json(&risk),
        false => output::line(&explain(&found)),
    }
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
        vec![field(factor, "/factor"), observed, expected, format!("{:+.3}", number(factor, "weight"))]
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
