//! `aegis recommendations`: what detectors said of agents and humans, and answering it.

use super::connection::{Client, Connection};
use super::output::{self, field};
use crate::Failure;
use aegis_core::id::{InvalidId, RecommendationId};
use aegis_core::recommendation::Detector;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  aegis recommendations list --open
  aegis recommendations show rcm_01a2089d934430be069ffffc0a842b66
  aegis recommendations dismiss rcm_01a2089d934430be069ffffc0a842b66 --note \"the new region\"
  aegis recommendations follow")]
pub(crate) enum Command {
    /// Show what detectors said, newest first: of all agents, or of your own
    List(List),
    /// Show one, with its evidence
    #[command(after_help = "Example:\n  aegis recommendations show rcm_01a2089d934430be069ffffc0a842b66")]
    Show {
        #[arg(value_parser = id)]
        recommendation: RecommendationId,
    },
    /// Say that what was found is normal, which the actor's baseline learns
    #[command(after_help = "\
What was done about it stays done; see: aegis recommendations undo. Needs the role operator or
admin, and a login at most five minutes old.

Example:
  aegis recommendations dismiss rcm_01a2089d934430be069ffffc0a842b66 --note \"the new region\"")]
    Dismiss(Answer),
    /// Undo what was done about it, where that has meaning
    #[command(after_help = "\
An agent that it froze goes on, and holds end. What is revoked stays revoked: issue a new agent.
Needs the role operator or admin, and a login at most five minutes old.

Example:
  aegis recommendations undo rcm_01a2089d934430be069ffffc0a842b66")]
    Undo(Answer),
    /// Show each as it comes, until interrupted
    #[command(after_help = "Example:\n  aegis recommendations follow --json")]
    Follow,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  aegis recommendations list --open\n  aegis recommendations list --limit 200 --json"
)]
pub(crate) struct List {
    /// Only those that nobody has dismissed
    #[arg(long)]
    open: bool,
    /// Most that are shown
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
}

#[derive(clap::Args)]
pub(crate) struct Answer {
    #[arg(value_parser = id)]
    recommendation: RecommendationId,
    /// Why; kept with it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

fn id(text: &str) -> Result<RecommendationId, InvalidId> {
    RecommendationId::try_from(text.to_string())
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::List(arguments) => list(&client, arguments),
        Command::Show { recommendation } => {
            let found = client.api.get(&format!("/v1/recommendations/{recommendation}"))?;
            client.show(&found.ok("show the recommendation")?, render)
        }
        Command::Dismiss(answer) => act(&client, answer, "dismiss"),
        Command::Undo(answer) => act(&client, answer, "undo"),
        Command::Follow => follow(&client),
    }
}

fn list(client: &Client, arguments: &List) -> Result<(), Failure> {
    let wanted = usize::from(arguments.limit);
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.api.get(&format!("/v1/recommendations?limit=200{cursor}"))?.ok("list recommendations")?;
        let found = page.get("items").and_then(Value::as_array).into_iter().flatten();
        let open = |item: &&Value| !arguments.open || item.get("dismissed").is_none();
        items.extend(found.filter(open).cloned());
        match page.get("next_cursor").and_then(Value::as_str).filter(|_| items.len() < wanted) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    items.truncate(wanted);
    let rows: Vec<Vec<String>> = items.iter().map(|item| row(item).to_vec()).collect();
    client.show(&json!({ "items": items }), |_| match rows.is_empty() {
        true => "no recommendations".to_string(),
        false => output::table(&HEADINGS, &rows),
    })
}

/// Asks again and again for the newest, and shows what it has not shown.
fn follow(client: &Client) -> Result<(), Failure> {
    let mut shown: Option<BTreeSet<String>> = None;
    loop {
        let page = client.api.get("/v1/recommendations?limit=200")?.ok("list recommendations")?;
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let known = shown.get_or_insert_with(|| items.iter().map(|item| field(item, "/id")).collect());
        for item in items.iter().rev() {
            if known.insert(field(item, "/id")) {
                match client.json {
                    true => output::json(item)?,
                    false => {
                        output::line(&row(item).map(|cell| if cell.is_empty() { "-".into() } else { cell }).join("  "))?
                    }
                }
            }
        }
        std::thread::sleep(POLL);
    }
}

fn act(client: &Client, answer: &Answer, verb: &str) -> Result<(), Failure> {
    let body = answer.note.as_ref().map_or_else(|| json!({}), |note| json!({ "note": note }));
    let answered = client.api.post(&format!("/v1/recommendations/{}/{verb}", answer.recommendation), &body)?;
    client.show(&answered.ok(&format!("{verb} the recommendation"))?, render)
}

const HEADINGS: [&str; 7] = ["AT", "SEVERITY", "DETECTOR", "ACTOR", "RESPONSES", "ANSWER", "RECOMMENDATION"];

fn row(item: &Value) -> [String; 7] {
    // What is about a key, nobody alone did.
    let of_key = field(item, "/detector") == Detector::KeyUsageSpike.as_str();
    let about = if of_key { "/evidence/key" } else { "/agent" };
    let about = Some(field(item, about)).filter(|about| !about.is_empty());
    let answer = match (item.get("undone"), item.get("dismissed")) {
        (Some(_), _) => "undone",
        (None, Some(_)) => "dismissed",
        (None, None) => "",
    };
    [
        output::moment(item, "/at"),
        field(item, "/severity"),
        field(item, "/detector"),
        about.unwrap_or_else(|| field(item, "/sponsor")),
        actions(item),
        answer.to_string(),
        field(item, "/id"),
    ]
}

fn actions(item: &Value) -> String {
    let done = item.get("responses").and_then(Value::as_array).into_iter().flatten();
    done.map(|response| field(response, "/action")).collect::<Vec<_>>().join(", ")
}

fn render(item: &Value) -> String {
    let responses = item.get("responses").and_then(Value::as_array).into_iter().flatten();
    let responses = responses.map(|done| {
        let on = ["/agent", "/key", "/credential"].map(|pointer| field(done, pointer));
        let on = on.into_iter().find(|on| !on.is_empty()).unwrap_or_default();
        let until = output::moment(done, "/until");
        let until = if until.is_empty() { until } else { format!(" until {until}") };
        format!("{} {on}{until}", field(done, "/action"))
    });
    let factors = item.pointer("/evidence/factors").and_then(Value::as_array).into_iter().flatten();
    let factors = factors.map(|factor| {
        let [name, observed, expected] = ["/factor", "/observed", "/expected"].map(|pointer| field(factor, pointer));
        let within = output::within(factor);
        format!("{name}: {observed}{within}, where {expected} would be expected")
    });
    let answered = |what: &str| {
        let by = field(item, &format!("/{what}/by"));
        let note = field(item, &format!("/{what}/note"));
        let note = if note.is_empty() { note } else { format!(": {note}") };
        if by.is_empty() { by } else { format!("by {by}{note}") }
    };
    output::details(&[
        ("recommendation", field(item, "/id")),
        ("at", field(item, "/at")),
        ("detector", field(item, "/detector")),
        ("severity", field(item, "/severity")),
        ("agent", field(item, "/agent")),
        ("sponsor", field(item, "/sponsor")),
        ("operation", field(item, "/evidence/operation")),
        ("asked for", field(item, "/evidence/requested")),
        ("key", field(item, "/evidence/key")),
        ("credential", field(item, "/evidence/credential")),
        ("evidence", factors.collect::<Vec<_>>().join("; ")),
        ("records", field(item, "/evidence/records")),
        ("advice", field(item, "/suggested_actions")),
        ("responses", responses.map(|text| text.trim_end().to_string()).collect::<Vec<_>>().join(", ")),
        ("told in", field(item, "/record")),
        ("dismissed", answered("dismissed")),
        ("undone", answered("undone")),
    ])
}

/// How often `follow` asks.
const POLL: Duration = Duration::from_secs(1);
