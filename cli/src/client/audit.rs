//! `aegis audit`: who did what, with which key, and why it was allowed or refused.

mod tally;

use super::agent::AgentRef;
use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::{Moment, Unreadable};
use super::word;
use crate::Failure;
use aegis_core::ambient::Timestamp;
use aegis_core::id::{AgentId, RecordId};
use aegis_core::name::KeyRef;
use aegis_core::operation::Operation;
use aegis_core::operations::audit::AuditQuery;
use aegis_core::operations::listing::MAX_LIMIT;
use aegis_core::record::Outcome;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Newest first; with --follow newest last, until Ctrl-C. Each question is itself on record.

Examples:
  aegis audit --since 1h
  aegis audit --actor alice@org --outcome denied        hers, and those of all her agents
  aegis audit --key treasury --op key.sign --since 2026-03-01T00:00:00Z --limit 500
  aegis audit --follow --outcome denied
  aegis audit --include-risk --min-risk 0.5
  aegis audit get rec_0123456789abcdef0123456789abcdef
  aegis audit verify --since 7d                         whether all of it was taken in"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show one record, with everything it holds
    #[command(after_help = "Example:\n  aegis audit get rec_0123456789abcdef0123456789abcdef")]
    Get {
        #[arg(value_parser = |text: &str| RecordId::try_from(text.to_string()))]
        record: RecordId,
    },
    /// Have records told again to those who learn from them and pass them on
    #[command(after_help = "\
After an outage of the bus, or where `aegis audit verify` finds records missing. What a consumer has
taken in before changes nothing; a webhook's receiver may get an event twice, under one id, and
people may be alerted twice. Works in steps of a thousand records, each on record.

Example:
  aegis audit redrive --since 2h")]
    Redrive(tally::Redrive),
    /// Compare the audit trail with what was taken in by those who learn from it
    #[command(after_help = "\
By minute and shard of the journal: the number of records, and a digest of their ids. Ends with 1
where they differ; `aegis audit redrive` then tells the records again. The last three minutes are
not compared, since their records may still be on the way.

Examples:
  aegis audit verify
  aegis audit verify --since 7d --json")]
    Verify(tally::Verify),
}

#[derive(clap::Args)]
struct Filter {
    /// A human, with every agent she ever sponsored; or an agent's id
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// An agent's id or label
    #[arg(long, value_name = "AGENT")]
    agent: Option<AgentRef>,
    /// A key's id or name
    #[arg(long, value_name = "KEY")]
    key: Option<KeyRef>,
    /// An operation, such as key.sign or agent.revoke
    #[arg(long, value_name = "OPERATION")]
    op: Option<Operation>,
    #[arg(long, value_parser = word::<Outcome>(&["denied", "error", "ok"]))]
    outcome: Option<Outcome>,
    /// Only requests of at least this risk, 0 to 1
    #[arg(long, value_name = "RISK", value_parser = risk)]
    min_risk: Option<f64>,
    /// Show the risk of each request, and what it is made of
    #[arg(long)]
    include_risk: bool,
    /// From this moment on: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    /// Up to this moment: RFC 3339, or 1h, 7d for as long ago
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    until: Option<Moment>,
    /// Most records to show
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on with what happens from now on, newest last; with --json one record a line
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(connection: &Connection, arguments: &Audit) -> Result<(), Failure> {
    let client = connection.client()?;
    match &arguments.command {
        Some(Command::Get { record }) => {
            let found = client.api.get(&format!("/v1/audit/{record}"))?.ok("show the record")?;
            client.show(&found, render)
        }
        Some(Command::Redrive(asked)) => tally::redrive(&client, asked),
        Some(Command::Verify(asked)) => tally::verify(&client, asked),
        None if arguments.filter.follow => follow(&client, &arguments.filter),
        None => list(&client, &arguments.filter),
    }
}

fn list(client: &Client, filter: &Filter) -> Result<(), Failure> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let (items, next) = find(client, &filter.query(client)?, limit)?;
    let rows: Vec<Vec<String>> = items.iter().map(|record| row(record).to_vec()).collect();
    let page = match next {
        Some(next) => json!({ "items": items, "next_cursor": next }),
        None => json!({ "items": items }),
    };
    client.show(&page, |_| match filter.include_risk {
        false => output::table(&HEADINGS, &rows),
        true => {
            let with_risk = |(mut row, record): (Vec<String>, &Value)| {
                row.insert(1, risk_of(record));
                row
            };
            let rows: Vec<Vec<String>> = rows.into_iter().zip(&items).map(with_risk).collect();
            let mut headings = HEADINGS.to_vec();
            headings.insert(1, "RISK");
            output::table(&headings, &rows)
        }
    })
}

/// The score, and after it what it is made of, the weightiest first.
fn risk_of(record: &Value) -> String {
    let mut factors: Vec<&Value> =
        record.pointer("/risk/factors").and_then(Value::as_array).into_iter().flatten().collect();
    let weight = |factor: &Value| factor.get("weight").and_then(Value::as_f64).unwrap_or(0.0);
    factors.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let score = record.pointer("/risk/score").and_then(Value::as_f64).unwrap_or(0.0);
    let factors = factors.iter().map(|factor| format!(" {}", field(factor, "/factor")));
    format!("{score:.3}{}", factors.collect::<String>())
}

fn risk(text: &str) -> Result<f64, Unreadable> {
    let read = text.parse().ok().filter(|risk| (0.0..=1.0).contains(risk));
    read.ok_or(Unreadable("a risk lies between 0 and 1"))
}

/// Asks again and again. Index reads may lag, and a record's id tells when its request began, not when it was written:
/// each question goes back a little, and what was shown is not shown again.
fn follow(client: &Client, filter: &Filter) -> Result<(), Failure> {
    let me = client.api.get("/v1/whoami")?.ok("ask who you are")?;
    let mine = field(&me, "/credential");
    let mut query = filter.query(client)?;
    // The same each time: a question that shows more than the one on record is on record, too.
    query.limit = Some(MAX_LIMIT);
    let mut floor = query.since.unwrap_or(Timestamp::MIN);
    let mut most = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut shown: BTreeSet<RecordId> = BTreeSet::new();
    loop {
        let asked_at = Timestamp::now();
        let (found, _) = find(client, &query, most)?;
        let cut = found.len() == most;
        for record in found.iter().rev() {
            let Ok(id) = RecordId::try_from(field(record, "/id")) else { continue };
            // Its own questions would follow each other for ever.
            let own = field(record, "/credential") == mine && field(record, "/operation") == "audit.query";
            if cut && shown.is_empty() {
                // What the limit left out stays out.
                floor = floor.max(id.at());
            }
            if shown.insert(id) && (!own || filter.op == Some(Operation::AuditQuery)) {
                show_line(client, filter, record)?;
            }
        }
        most = usize::MAX;
        let since = floor.max(still_unsettled(shown.last().map(RecordId::at), asked_at));
        query.since = Some(since);
        shown = shown.split_off(&RecordId::floor(since));
        std::thread::sleep(POLL);
    }
}

/// From when on records may still appear.
fn still_unsettled(newest: Option<Timestamp>, asked_at: Timestamp) -> Timestamp {
    let back = |at: Timestamp, by| at.checked_sub(by).unwrap_or(Timestamp::MIN);
    newest.map_or(Timestamp::MIN, |newest| back(newest, LAG)).max(back(asked_at, LAG.saturating_add(SKEW)))
}

/// How much later than others a record may become visible: a permit lives for 30 s, the slowest operation waits ten and
/// takes three, and the rest is room for a store that is slow, too.
const LAG: SignedDuration = SignedDuration::from_secs(60);
/// How far this clock may be ahead of the deployment's (DESIGN §7).
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// How often --follow asks.
const POLL: Duration = Duration::from_secs(1);

/// At most `limit` records, newest first, from as many pages as it takes; and where to go on, unless the query says how
/// large its pages are: then the last one may have been cut.
fn find(client: &Client, query: &AuditQuery, limit: usize) -> Result<(Vec<Value>, Option<String>), Failure> {
    let (mut query, page) = (query.clone(), query.limit);
    let mut found = Vec::new();
    loop {
        query.limit = page.or_else(|| Some(limit.saturating_sub(found.len()).min(MAX_LIMIT)));
        let text = serde_urlencoded::to_string(&query).map_err(|error| Failure::because("the query", &error))?;
        let mut page = client.api.get(&format!("/v1/audit?{text}"))?.ok("read the audit trail")?;
        if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
            found.extend(items);
        }
        let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_string);
        match next.clone().and_then(|next| RecordId::try_from(next).ok()) {
            Some(cursor) if found.len() < limit => query.cursor = Some(cursor),
            _ => {
                found.truncate(limit);
                return Ok((found, next));
            }
        }
    }
}

impl Filter {
    fn query(&self, client: &Client) -> Result<AuditQuery, Failure> {
        let now = Timestamp::now();
        let agent = match &self.agent {
            Some(agent) => Some(agent.id(client)?),
            None => None,
        };
        Ok(AuditQuery {
            actor: self.actor.clone(),
            agent: agent.and_then(|id| AgentId::try_from(id).ok()),
            key: self.key.clone(),
            op: self.op,
            outcome: self.outcome,
            min_risk: self.min_risk,
            since: self.since.map(|moment| moment.before(now)),
            until: self.until.map(|moment| moment.before(now)),
            limit: None,
            cursor: None,
        })
    }
}

const HEADINGS: [&str; 7] = ["AT", "OUTCOME", "OPERATION", "ACTOR", "ON", "REASON", "RECORD"];

fn row(record: &Value) -> [String; 7] {
    let [outcome, operation, id] = ["/outcome", "/operation", "/id"].map(|pointer| field(record, pointer));
    let at = output::moment(record, "/at");
    let first = |pointers: &[&str]| {
        pointers.iter().map(|pointer| field(record, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let actor = first(&["/agents/0", "/human", "/source"]);
    let on = first(&["/key_requested", "/key", "/object"]);
    [at, outcome, operation, actor, on, first(&["/reason", "/error"]), id]
}

/// A line that does not wait for the next one: its columns have a fixed width.
fn show_line(client: &Client, filter: &Filter, record: &Value) -> Result<(), Failure> {
    if client.json {
        return output::json(record);
    }
    let [at, outcome, operation, actor, on, reason, id] = row(record).map(|cell| match cell.is_empty() {
        true => "-".to_string(),
        false => cell,
    });
    let risk = if filter.include_risk { format!("  {}", risk_of(record)) } else { String::new() };
    output::line(&format!("{at:<24}  {outcome:<7}  {operation:<20}  {actor:<36}  {on:<20}  {reason:<18}  {id}{risk}"))
}

fn render(record: &Value) -> String {
    let version = match field(record, "/key_version") {
        version if version.is_empty() => version,
        version => format!("version {version}"),
    };
    let responses = record.get("responses").and_then(Value::as_array).into_iter().flatten();
    let responses = responses.map(|done| {
        let on = ["/agent", "/key", "/credential"].map(|pointer| field(done, pointer));
        let on = on.into_iter().find(|on| !on.is_empty()).unwrap_or_default();
        format!("{} {on}", field(done, "/action")).trim_end().to_string()
    });
    let factors = record.pointer("/risk/factors").and_then(Value::as_array).into_iter().flatten();
    let factors = factors.map(|factor| format!(", {} {}", field(factor, "/factor"), field(factor, "/weight")));
    output::details(&[
        ("record", field(record, "/id")),
        ("at", field(record, "/at")),
        ("operation", field(record, "/operation")),
        ("outcome", field(record, "/outcome")),
        ("decision", field(record, "/decision")),
        (
            "only asked",
            if record.get("checked").is_some() { "it was asked about, not tried".into() } else { String::new() },
        ),
        ("reason", field(record, "/reason")),
        ("error", field(record, "/error")),
        ("human", field(record, "/human")),
        ("agents", field(record, "/agents")),
        ("credential", field(record, "/credential")),
        ("key", field(record, "/key")),
        ("key version", version),
        ("asked for", field(record, "/key_requested")),
        ("object", field(record, "/object")),
        ("approval", field(record, "/approval")),
        ("plane", field(record, "/plane")),
        ("source", field(record, "/source")),
        ("user agent", field(record, "/user_agent")),
        ("it claims", claims(record)),
        ("request", field(record, "/request_id")),
        ("digest", field(record, "/request_digest")),
        ("policy", format!("version {}", field(record, "/policy_version"))),
        ("risk", format!("{}{}", field(record, "/risk/score"), factors.collect::<String>())),
        ("took", format!("{} us", field(record, "/latency_us"))),
        ("detector", field(record, "/recommendation/detector")),
        ("severity", field(record, "/recommendation/severity")),
        ("responses", responses.collect::<Vec<_>>().join(", ")),
        ("requests", field(record, "/count")),
    ])
}

/// What the caller says of itself, as it says it.
fn claims(record: &Value) -> String {
    let names = ["client", "client_version", "model", "session", "tool_call", "traceparent"];
    let claimed = names.map(|name| (name.replace('_', " "), field(record, &format!("/claims/{name}"))));
    let claimed = claimed.iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name} {text}"));
    claimed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shows_what_its_caller_claims_and_that_it_was_only_asked_about() {
        let record = serde_json::json!({
            "id": "rec_1", "checked": true, "claims": { "client": "some-host", "client_version": "3", "model": "m" },
        });
        let shown = render(&record);
        assert!(shown.contains("client some-host, client version 3, model m"), "{shown}");
        assert!(shown.contains("asked about, not tried"), "{shown}");
        assert!(!render(&serde_json::json!({ "id": "rec_1" })).contains("claims"));
    }

    #[test]
    fn a_record_that_was_a_minute_in_the_making_is_still_asked_for() {
        let at = |second: i64| Timestamp::from_second(1_790_000_000 + second).unwrap();
        // Others were shown since it began; or none, and this clock is ahead of the deployment's.
        assert!(still_unsettled(Some(at(60)), at(60)) <= at(0));
        assert!(still_unsettled(None, at(90)) <= at(0));
        assert!(still_unsettled(Some(at(-3_600)), at(90)) <= at(0));
        assert!(still_unsettled(Some(at(90)), at(90)) >= at(0), "and no more than needed");
    }
}
