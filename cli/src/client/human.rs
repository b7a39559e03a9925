//! `aegis human`: stopping a human with all her agents, and letting her back.

use super::agent;
use super::connection::{Client, Connection};
use super::output::{self, field};
use crate::Failure;
use aegis_core::name::HumanId;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  aegis human revoke --dry-run bob@org    what would be stopped; changes nothing
  aegis human revoke bob@org
  aegis human reinstate bob@org           her agents need new tokens all the same")]
pub(crate) enum Command {
    /// Refuse a human and every agent she sponsors, from the next request on
    #[command(after_help = "Example:\n  aegis human revoke --dry-run bob@org")]
    Revoke {
        human: HumanId,
        /// Show which agents would be stopped, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a revoked human log in again; nothing issued before lives again
    #[command(after_help = "Example:\n  aegis human reinstate bob@org")]
    Reinstate { human: HumanId },
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::Revoke { human, dry_run: true } => dry_run(&client, human),
        Command::Revoke { human, dry_run: false } => act(&client, human, "revoke"),
        Command::Reinstate { human } => act(&client, human, "reinstate"),
    }
}

/// Asks only for the list of agents: the API has no dry run of its own.
fn dry_run(client: &Client, human: &HumanId) -> Result<(), Failure> {
    let me = client.api.get("/v1/whoami")?.ok("ask who you are")?;
    let sees_all = field(&me, "/roles").split(", ").any(|role| matches!(role, "operator" | "auditor"));
    if !sees_all && field(&me, "/human") != human.as_str() {
        let why = "only operators and auditors see the agents of others, so this cannot say what would be stopped";
        return Err(Failure::Failed(why.to_string()));
    }
    let mut agents = client.all("/v1/agents", "list agents")?;
    agents.retain(|agent| field(agent, "/sponsor") == human.as_str() && field(agent, "/state") != "revoked");
    let rows = agent::rows(&agents);
    client.show(&json!({ "items": agents }), |_| match rows.len() {
        0 => format!("dry run, nothing is changed: {human} sponsors no agent that could be stopped"),
        count => format!(
            "dry run, nothing is changed: revoking {human} would end her sessions and stop {}\n\n{}",
            if count == 1 { "this agent".to_string() } else { format!("these {count} agents") },
            output::table(&agent::HEADINGS, &rows)
        ),
    })
}

fn act(client: &Client, human: &HumanId, verb: &str) -> Result<(), Failure> {
    let name = utf8_percent_encode(human.as_str(), NON_ALPHANUMERIC);
    let answer = client.api.post(&format!("/v1/humans/{name}/{verb}"), &json!({}))?;
    client.show(&answer.ok(&format!("{verb} the human"))?, render)
}

fn render(human: &Value) -> String {
    output::details(&[
        ("human", field(human, "/id")),
        ("revoked", field(human, "/revoked")),
        ("roles", field(human, "/roles")),
        ("epoch", field(human, "/epoch")),
        ("last login", field(human, "/last_login_at")),
    ])
}
