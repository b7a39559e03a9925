//! `aegis audit verify` and `aegis audit redrive`: whether what is on record reached those who learn from it, and telling it to
//! them again.

use crate::Failure;
use crate::client::connection::Client;
use crate::client::output::{self, field, moment};
use crate::client::quantity::Moment;
use aegis_core::ambient::Timestamp;
use aegis_core::id::RecordId;
use aegis_core::operations::audit_tally::{RedriveAudit, VerifyAudit};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(super) struct Verify {
    /// From this moment on: RFC 3339, or 1h, 7d for as long ago; at most 35 days
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    since: Moment,
    /// Up to this moment: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
}

#[derive(clap::Args)]
pub(super) struct Redrive {
    /// From this moment on: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN")]
    since: Moment,
    /// Up to this moment: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN")]
    until: Option<Moment>,
    /// Go on where a call ended that was cut short
    #[arg(long, value_name = "RECORD", value_parser = |text: &str| RecordId::try_from(text.to_string()))]
    cursor: Option<RecordId>,
}

/// Call by call: each compares as many minutes as it has time for.
pub(super) fn verify(client: &Client, asked: &Verify) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut query =
        VerifyAudit { since: Some(asked.since.before(now)), until: asked.until.map(|moment| moment.before(now)) };
    let (mut all, mut differences, mut counted) = (Value::Null, Vec::new(), [0_u64; 2]);
    loop {
        let text = serde_urlencoded::to_string(&query).map_err(|error| Failure::because("the query", &error))?;
        let mut some = client.api.get(&format!("/v1/audit/verify?{text}"))?.ok("compare the audit trail")?;
        for (sum, name) in counted.iter_mut().zip(COUNTED) {
            *sum = sum.saturating_add(some.get(name).and_then(Value::as_u64).unwrap_or(0));
        }
        if let Some(Value::Array(found)) = some.get_mut("differences").map(Value::take) {
            differences.extend(found);
        }
        let next = some.get("next_since").and_then(Value::as_str).and_then(|next| next.parse::<Timestamp>().ok());
        let since = all.get("since").cloned();
        all = some;
        if let (Some(since), Some(all)) = (since, all.as_object_mut()) {
            all.insert("since".to_string(), since);
        }
        match next {
            Some(next) => query.since = Some(next),
            None => break,
        }
    }
    if let Some(all) = all.as_object_mut() {
        all.insert("differences".to_string(), differences.clone().into());
        all.extend(COUNTED.iter().zip(counted).map(|(name, sum)| ((*name).to_string(), sum.into())));
    }
    client.show(&all, render)?;
    match differs(&differences) {
        None => Ok(()),
        Some(what) => Err(Failure::Failed(what)),
    }
}

const COUNTED: [&str; 2] = ["journal", "consumers"];

/// What is wrong, and what to do about it.
fn differs(differences: &[Value]) -> Option<String> {
    let sum = |name: &str| -> u64 {
        differences.iter().filter_map(|found| found.get(name).and_then(Value::as_u64)).fold(0, u64::saturating_add)
    };
    let (missing, unknown) = (sum("missing"), sum("unknown"));
    let since = differences.iter().find(|found| found.get("missing") != Some(&json!(0))).or(differences.first())?;
    let since = field(since, "/minute");
    let missing = (missing > 0).then(|| {
        format!(
            "{missing} records are in the journal and were not taken in: if they are not merely late, \
             `aegis audit redrive --since {since}` tells them again"
        )
    });
    let unknown = (unknown > 0).then(|| {
        format!(
            "{unknown} records were taken in and are not in the journal: what was on record has been removed or \
             replaced, see docs/runbooks/bus-outage.md"
        )
    });
    Some(missing.into_iter().chain(unknown).collect::<Vec<_>>().join("\n"))
}

fn render(all: &Value) -> String {
    let span = format!("{} to {}", moment(all, "/since"), moment(all, "/until"));
    let open = match all.get("open_since") {
        Some(_) => format!("since {}: not over yet, and not compared", moment(all, "/open_since")),
        None => String::new(),
    };
    let through = match all.get("detection_through") {
        Some(_) => format!("through {}", moment(all, "/detection_through")),
        None => "has not run here".to_string(),
    };
    let head = output::details(&[
        ("compared", span),
        ("journal", format!("{} records", field(all, "/journal"))),
        ("consumers", format!("{} records", field(all, "/consumers"))),
        ("open", open),
        ("detection", through),
    ]);
    let rows = all.get("differences").and_then(Value::as_array).into_iter().flatten().map(|found| {
        let count = |side: &str| field(found, &format!("/{side}/records"));
        let [missing, unknown] = ["/missing", "/unknown"].map(|pointer| field(found, pointer));
        let first = field(found, "/missing_records/0");
        let shard = field(found, "/shard");
        vec![moment(found, "/minute"), shard, count("journal"), count("consumers"), missing, unknown, first]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let said = match rows.is_empty() {
        true if all.get("since") == all.get("until") => "Nothing is over yet that could be compared.".to_string(),
        true => "The journal and its consumers agree.".to_string(),
        false => output::table(&HEADINGS, &rows),
    };
    format!("{head}\n\n{said}")
}

const HEADINGS: [&str; 7] = ["MINUTE", "SHARD", "JOURNAL", "CONSUMERS", "MISSING", "UNKNOWN", "FIRST MISSING"];

/// Call by call, and says how far it has come: who stops it can go on from there.
pub(super) fn redrive(client: &Client, asked: &Redrive) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut body = RedriveAudit {
        since: asked.since.before(now),
        until: asked.until.map(|moment| moment.before(now)),
        cursor: asked.cursor.clone(),
    };
    let mut told: u64 = 0;
    loop {
        let answer = client.api.post("/v1/audit/redrive", &body)?.ok("tell records again")?;
        told = told.saturating_add(answer.get("records").and_then(Value::as_u64).unwrap_or(0));
        let next = answer.get("next_cursor").and_then(Value::as_str).map(str::to_string);
        let Some(next) = next.and_then(|next| RecordId::try_from(next).ok()) else {
            let done = |_: &Value| format!("{told} records are told again; `aegis audit verify` says once they are in");
            return client.show(&json!({ "records": told }), done);
        };
        output::note(&format!(
            "{told} records, through {}; --cursor {next} goes on from here",
            moment(&answer, "/through")
        ));
        body.cursor = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_says_what_to_do() {
        let found = |minute: &str, missing: u64, unknown: u64| json!({ "minute": minute, "missing": missing, "unknown": unknown });
        assert_eq!(differs(&[]), None);
        let late = differs(&[found("a", 0, 1), found("b", 2, 0), found("c", 3, 0)]).unwrap();
        assert!(late.contains("5 records are in the journal") && late.contains("redrive --since b"), "{late}");
        assert!(late.contains("1 records were taken in"), "{late}");
        let gone = differs(&[found("a", 0, 1)]).unwrap();
        assert!(!gone.contains("redrive --since") && gone.contains("removed or replaced"), "{gone}");
    }

    #[test]
    fn agreement_and_difference_are_shown() {
        let agrees = json!({
            "since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z", "journal": 7, "consumers": 7,
            "differences": [], "open_since": "2026-11-02T00:00:00Z",
        });
        let shown = render(&agrees);
        assert!(shown.contains("7 records") && shown.contains("agree") && shown.contains("not over yet"), "{shown}");
        let mut nothing = agrees.clone();
        nothing["until"] = nothing["since"].clone();
        assert!(render(&nothing).contains("Nothing is over yet"), "{nothing}");
        let mut differs = agrees;
        differs["differences"] = json!([{
            "minute": "2026-11-01T10:00:00Z", "shard": 2, "missing": 1, "missing_records": ["rec_1"], "unknown": 0,
            "journal": { "records": 4, "digest": "" }, "consumers": { "records": 3, "digest": "" },
        }]);
        let shown = render(&differs);
        assert!(shown.contains("rec_1") && !shown.contains("agree"), "{shown}");
    }
}
