//! `aegis webhooks`: who is told of what is on record.

use super::connection::{Client, Connection};
use super::output::{self, field, moment};
use super::word;
use crate::Failure;
use crate::api::text;
use aegis_core::id::{DeliveryId, WebhookId};
use aegis_core::operations::webhooks::{CreateWebhook, Redrive};
use aegis_core::recommendation::Severity;
use aegis_core::record::Outcome;
use aegis_core::webhook::{Format, Selection};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
#[command(after_help = "\
Each event is signed as Standard Webhooks has it; libraries for receivers are at
https://www.standardwebhooks.com. An event may come twice, with the same `webhook-id`.

Examples:
  aegis webhooks create https://hooks.example.org/aegis --recommendations high --responses
  aegis webhooks list
  aegis webhooks redrive whk_0123456789abcdef0123456789abcdef")]
pub(crate) enum Command {
    /// Make a webhook, and show its secret once
    Create(Create),
    /// Delete a webhook: what still waits for it is never sent
    #[command(after_help = "\
Needs a login at most five minutes old.

Example:
  aegis webhooks delete whk_0123456789abcdef0123456789abcdef")]
    Delete {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
    },
    /// Show the deliveries of a webhook, the oldest record first
    #[command(after_help = "\
Delivered ones are kept for ten minutes, dead letters for 30 days.

Example:
  aegis webhooks deliveries whk_0123456789abcdef0123456789abcdef --state dead")]
    Deliveries {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
        /// Those in this state
        #[arg(long, default_value = "pending", value_parser = ["dead", "delivered", "pending"])]
        state: String,
    },
    /// Show all webhooks, and how far behind their deliveries are
    #[command(after_help = "Example:\n  aegis webhooks list --json")]
    List,
    /// Send dead letters again; a disabled webhook is active again
    #[command(after_help = "\
Examples:
  aegis webhooks redrive whk_0123456789abcdef0123456789abcdef
  aegis webhooks redrive whk_0123456789abcdef0123456789abcdef \\
      --delivery dlv_0123456789abcdef0123456789abcdef")]
    Redrive {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
        /// Only this one
        #[arg(long, value_name = "ID", value_parser = delivery)]
        delivery: Option<DeliveryId>,
    },
    /// Make a new secret, and show it once; the one before it signs for another day
    #[command(after_help = "\
Needs a login at most five minutes old. For a day each event has two signatures: a receiver that
knows either of the secrets accepts it.

Example:
  aegis webhooks rotate-secret whk_0123456789abcdef0123456789abcdef")]
    RotateSecret {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
        /// Print the secret and nothing else
        #[arg(short, long, conflicts_with = "json")]
        quiet: bool,
    },
    /// Show a webhook
    #[command(after_help = "Example:\n  aegis webhooks show whk_0123456789abcdef0123456789abcdef")]
    Show {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
    },
    /// Send an event that says nothing, to see whether the receiver hears
    #[command(after_help = "\
What came of it: aegis webhooks deliveries WEBHOOK --state delivered

Example:
  aegis webhooks test whk_0123456789abcdef0123456789abcdef")]
    Test {
        #[arg(value_parser = webhook)]
        webhook: WebhookId,
    },
}

#[derive(clap::Args)]
#[command(after_help = "\
Needs a login at most five minutes old. URL is https, or http on this machine. Names that lead
into a private network are refused when an event is sent, unless `webhooks_to_private` is set.

Examples:
  aegis webhooks create https://hooks.example.org/aegis --recommendations medium --responses
  aegis webhooks create https://siem.example.org/in --all
  aegis webhooks create http://127.0.0.1:9000/ --key-use denied,error --format plain")]
pub(crate) struct Create {
    url: String,
    /// What detectors find, at least this grave
    #[arg(long, value_name = "SEVERITY", value_parser = word::<Severity>(&["low", "medium", "high", "critical"]))]
    recommendations: Option<Severity>,
    /// What is done about it
    #[arg(long)]
    responses: bool,
    /// Uses of keys that ended so: ok, denied, error
    #[arg(long, value_name = "OUTCOMES", value_delimiter = ',')]
    key_use: Vec<Outcome>,
    /// Everything that is on record
    #[arg(long)]
    all: bool,
    /// CloudEvents with OCSF bodies, or the API's own JSON
    #[arg(long, value_parser = word::<Format>(&["ocsf", "plain"]), default_value = "ocsf")]
    format: Format,
    /// Print the secret and nothing else
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::Create(arguments) => create(&client, arguments),
        Command::Delete { webhook } => {
            client.api.delete(&format!("/v1/webhooks/{webhook}"))?.ok("delete the webhook")?;
            if client.json { Ok(()) } else { output::line(&format!("nothing more is sent to {webhook}")) }
        }
        Command::Deliveries { webhook, state } => deliveries(&client, webhook, state),
        Command::List => list(&client),
        Command::Redrive { webhook, delivery } => redrive(&client, webhook, delivery.as_ref()),
        Command::RotateSecret { webhook, quiet } => {
            let answer = client.api.post(&format!("/v1/webhooks/{webhook}/rotate-secret"), &json!({}))?;
            told_once(&client, &answer.ok("rotate the secret")?, *quiet)
        }
        Command::Show { webhook } => {
            let answer = client.api.get(&format!("/v1/webhooks/{webhook}"))?;
            client.show(&answer.ok("show the webhook")?, render)
        }
        Command::Test { webhook } => {
            let answer = client.api.post(&format!("/v1/webhooks/{webhook}/test"), &json!({}))?;
            client.show(&answer.ok("test the webhook")?, |delivery| {
                format!(
                    "on its way as {}; see: aegis webhooks deliveries {webhook} --state delivered",
                    field(delivery, "/id")
                )
            })
        }
    }
}

fn create(client: &Client, arguments: &Create) -> Result<(), Failure> {
    let recommendations =
        arguments.recommendations.map(|least| Selection::Recommendations { min_severity: Some(least) });
    let key_use = (!arguments.key_use.is_empty()).then(|| Selection::KeyUse { outcomes: arguments.key_use.clone() });
    let responses = arguments.responses.then_some(Selection::Responses {});
    let all = arguments.all.then_some(Selection::All {});
    let events: Vec<Selection> = [recommendations, responses, key_use, all].into_iter().flatten().collect();
    if events.is_empty() {
        let what = "say what it is told of: --recommendations SEVERITY, --responses, --key-use OUTCOMES or --all";
        return Err(Failure::Usage(what.to_string()));
    }
    let asked = CreateWebhook { url: arguments.url.clone(), events, format: arguments.format };
    let made = client.api.post("/v1/webhooks", &asked)?.ok("make the webhook")?;
    told_once(client, &made, arguments.quiet)
}

fn told_once(client: &Client, webhook: &Value, quiet: bool) -> Result<(), Failure> {
    let secret = text(webhook, "secret")?;
    if quiet {
        return output::line(&secret);
    }
    client.show(webhook, |webhook| format!("{}\n\nThe secret, shown once:\n{secret}", render(webhook)))
}

fn list(client: &Client) -> Result<(), Failure> {
    let answer = client.api.get("/v1/webhooks")?.ok("list webhooks")?;
    client.show(&answer, |answer| {
        let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let row = |item: &Value| {
            let lag = format!("{} s", field(item, "/lag_seconds"));
            [
                field(item, "/id"),
                field(item, "/url"),
                field(item, "/state"),
                field(item, "/pending"),
                lag,
                field(item, "/dead"),
            ]
            .to_vec()
        };
        match items.is_empty() {
            true => "no webhooks".to_string(),
            false => {
                let rows: Vec<_> = items.iter().map(row).collect();
                output::table(&["WEBHOOK", "URL", "STATE", "PENDING", "LAG", "DEAD"], &rows)
            }
        }
    })
}

fn deliveries(client: &Client, webhook: &WebhookId, state: &str) -> Result<(), Failure> {
    let path = format!("/v1/webhooks/{webhook}/deliveries?state={state}&limit=200");
    let answer = client.api.get(&path)?.ok("list deliveries")?;
    client.show(&answer, |answer| {
        let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let row = |item: &Value| {
            let next = moment(item, "/due");
            let said = field(item, "/error");
            [field(item, "/id"), field(item, "/event"), field(item, "/attempts"), field(item, "/status"), next, said]
                .to_vec()
        };
        match items.is_empty() {
            true => format!("no {state} deliveries"),
            false => {
                let rows: Vec<_> = items.iter().map(row).collect();
                let table = output::table(&["DELIVERY", "EVENT", "ATTEMPTS", "STATUS", "NEXT", "ERROR"], &rows);
                let more = answer.get("next_cursor").map_or("", |_| "\n\nThere are more; --json has the cursor.");
                format!("{table}{more}")
            }
        }
    })
}

/// Call by call: each sends as many as fit in a transaction.
fn redrive(client: &Client, webhook: &WebhookId, delivery: Option<&DeliveryId>) -> Result<(), Failure> {
    let asked = Redrive { delivery: delivery.cloned() };
    let mut redriven: u64 = 0;
    loop {
        let answer = client.api.post(&format!("/v1/webhooks/{webhook}/redrive"), &asked)?.ok("redrive")?;
        let some = answer.get("redriven").and_then(Value::as_u64).unwrap_or(0);
        redriven = redriven.saturating_add(some);
        let more = answer.get("more").and_then(Value::as_bool).unwrap_or(false);
        if !more || some == 0 {
            let all = json!({ "redriven": redriven, "more": more });
            return client.show(&all, |_| format!("{redriven} on their way again"));
        }
    }
}

fn render(webhook: &Value) -> String {
    let events = webhook.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let events: Vec<String> = events.iter().map(selection).collect();
    output::details(&[
        ("webhook", field(webhook, "/id")),
        ("url", field(webhook, "/url")),
        ("events", events.join("; ")),
        ("format", field(webhook, "/format")),
        ("state", field(webhook, "/state")),
        ("created", moment(webhook, "/created_at")),
        ("created by", field(webhook, "/created_by")),
        ("secret since", moment(webhook, "/secret_since")),
        ("former secret until", moment(webhook, "/former_secret_until")),
        ("pending", field(webhook, "/pending")),
        ("waiting since", moment(webhook, "/waiting_since")),
        ("dead", field(webhook, "/dead")),
    ])
}

fn selection(value: &Value) -> String {
    let kind = field(value, "/kind").replace('_', " ");
    let (least, outcomes) = (field(value, "/min_severity"), field(value, "/outcomes"));
    match (least.is_empty(), outcomes.is_empty()) {
        (false, _) => format!("{kind} from {least} on"),
        (_, false) => format!("{kind}: {outcomes}"),
        _ => kind,
    }
}

fn webhook(text: &str) -> Result<WebhookId, aegis_core::id::InvalidId> {
    WebhookId::try_from(text.to_string())
}

fn delivery(text: &str) -> Result<DeliveryId, aegis_core::id::InvalidId> {
    DeliveryId::try_from(text.to_string())
}
