//! `aegis approvals`: what agents ask humans for, and the answers. Each answer has a login of its own, whose token stays in
//! this process.

use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::Span;
use super::session;
use crate::Failure;
use aegis_core::encoding::escaped;
use aegis_core::id::ApprovalId;
use aegis_core::name::HumanId;
use aegis_core::operations::approvals::Approve as Leave;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
#[command(after_help = "\
An agent whose request a human must approve is told the approval and a code. Compare both with
what the agent shows; after the answer the agent repeats its request unchanged.

Examples:
  aegis approvals list --state pending
  aegis approvals show apr_0123456789abcdef0123456789abcdef
  aegis approvals approve apr_0123456789abcdef0123456789abcdef")]
pub(crate) enum Command {
    /// Show what was asked, newest first: all for operators, admins and auditors, else by your own agents
    #[command(after_help = "Example:\n  aegis approvals list --state pending")]
    List {
        /// Only those in this state
        #[arg(long, value_parser = ["approved", "denied", "expired", "pending", "used"])]
        state: Option<String>,
    },
    /// Show what would be done, and why you are asked
    #[command(after_help = "Example:\n  aegis approvals show apr_0123456789abcdef0123456789abcdef")]
    Show {
        #[arg(value_parser = approval_id)]
        approval: ApprovalId,
    },
    /// Let the agent make its request, once; asks you to log in
    Approve(Approve),
    /// Refuse the agent's request; asks you to log in
    #[command(after_help = "\
Needs no code, and takes back leave that is not used yet.

Example:
  aegis approvals deny apr_0123456789abcdef0123456789abcdef")]
    Deny {
        #[arg(value_parser = approval_id)]
        approval: ApprovalId,
        #[command(flatten)]
        login: OwnLogin,
    },
}

#[derive(clap::Args)]
#[command(after_help = "\
Shows what would be done, then asks for the code that the agent was shown. After five wrong codes
the approval is denied. A use of a tier-high key needs several humans, and never its agent's human
alone.

With --uses and --for the leave covers every request of this operation on this key, whatever it
says, but not of tier-high keys.

Examples:
  aegis approvals approve apr_0123456789abcdef0123456789abcdef
  aegis approvals approve apr_0123456789abcdef0123456789abcdef --code 4K7M-Q2XD --uses 20 --for 1h")]
pub(crate) struct Approve {
    #[arg(value_parser = approval_id)]
    approval: ApprovalId,
    /// The code that the agent was shown [default: ask]
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Cover so many uses, at most 20, whatever they say
    #[arg(long, value_name = "N", requires = "lasts", value_parser = clap::value_parser!(u32).range(1..=20))]
    uses: Option<u32>,
    /// For how long they are covered: 1m to 1h
    #[arg(long = "for", value_name = "DURATION", requires = "uses")]
    lasts: Option<Span>,
    #[command(flatten)]
    login: OwnLogin,
}

#[derive(clap::Args)]
pub(crate) struct OwnLogin {
    /// Your name [env: AEGIS_HUMAN] [default: as at the last login, else ask]
    #[arg(long, value_name = "NAME")]
    pub(super) human: Option<HumanId>,
    /// The file whose first line is your passphrase [default: AEGIS_PASSPHRASE_HUMAN, else ask]
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { state } => list(&connection.client()?, state.as_deref()),
        Command::Show { approval } => {
            let client = connection.client()?;
            client.show(&load(&client, approval)?, render)
        }
        Command::Approve(arguments) => approve(connection, arguments),
        Command::Deny { approval, login } => {
            let client = session::to_approve(connection, login)?;
            let answer = client.api.post(&format!("/v1/approvals/{approval}/deny"), &json!({}))?;
            client.show(&answer.ok("deny it")?, render)
        }
    }
}

fn list(client: &Client, state: Option<&str>) -> Result<(), Failure> {
    let mut approvals = client.all("/v1/approvals", "list approvals")?;
    approvals.retain(|approval| state.is_none_or(|state| field(approval, "/state") == state));
    let row = |approval: &Value| {
        let fields = ["/state", "/agent", "/operation", "/key"].map(|pointer| field(approval, pointer));
        let times = ["/created_at", "/expires_at"].map(|pointer| output::moment(approval, pointer));
        let [asked, until] = times;
        [vec![asked], fields.to_vec(), vec![until, field(approval, "/id")]].concat()
    };
    let rows: Vec<Vec<String>> = approvals.iter().map(row).collect();
    let headings = ["ASKED", "STATE", "AGENT", "OPERATION", "KEY", "UNTIL", "ID"];
    client.show(&json!({ "items": approvals }), |_| output::table(&headings, &rows))
}

fn approve(connection: &Connection, arguments: &Approve) -> Result<(), Failure> {
    if arguments.code.is_none() && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("no code: give --code CODE, or run it on a terminal".to_string()));
    }
    let client = session::to_approve(connection, &arguments.login)?;
    let code = match &arguments.code {
        Some(code) => code.clone(),
        None => {
            output::note(&render(&load(&client, &arguments.approval)?));
            ask_code()?
        }
    };
    let leave = Leave { code, uses: arguments.uses, for_seconds: arguments.lasts.map(|span| span.0) };
    let answer = client.api.post(&format!("/v1/approvals/{}/approve", arguments.approval), &leave)?;
    client.show(&answer.ok("approve it")?, render)
}

fn load(client: &Client, approval: &ApprovalId) -> Result<Value, Failure> {
    client.api.get(&format!("/v1/approvals/{approval}"))?.ok("show the approval")
}

fn ask_code() -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot read the code", &error);
    let mut error = std::io::stderr();
    error.write_all(b"\nCode that the agent was shown: ").and_then(|()| error.flush()).map_err(failed)?;
    let mut code = String::new();
    std::io::stdin().lock().read_line(&mut code).map_err(failed)?;
    Ok(code.trim().to_string())
}

fn approval_id(text: &str) -> Result<ApprovalId, String> {
    ApprovalId::try_from(text.to_string()).map_err(|error| error.to_string())
}

fn render(approval: &Value) -> String {
    let count = |pointer: &str| approval.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
    let answers = approval.get("answers").and_then(Value::as_array).into_iter().flatten();
    let answers = answers.map(|answer| {
        let word = if field(answer, "/approves") == "yes" { "approved" } else { "denied" };
        format!("{word} by {} at {}", field(answer, "/human"), output::moment(answer, "/at"))
    });
    let uses = format!("{} of {}", count("/used"), field(approval, "/uses"));
    let covers = match field(approval, "/any_body").as_str() {
        "yes" => "every request of this operation on this key",
        _ => "this request alone",
    };
    // An id, and what people know it by.
    let named = |id: &str, words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let about = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        format!("{}{about}", field(approval, id))
    };
    let mut fields: Vec<(&str, String)> = vec![
        ("approval", field(approval, "/id")),
        ("state", field(approval, "/state")),
        ("agent", named("/agent", &[field(approval, "/agent_label"), field(approval, "/agent_purpose")])),
        ("sponsor", field(approval, "/sponsor")),
        ("operation", field(approval, "/operation")),
        ("key", named("/key", &[field(approval, "/key_aliases")])),
        ("tier", field(approval, "/tier")),
        ("cause", field(approval, "/cause")),
        ("risk", field(approval, "/risk/score")),
        ("asked", output::moment(approval, "/created_at")),
        ("until", output::moment(approval, "/expires_at")),
        ("needs", field(approval, "/needs")),
        ("answers", answers.collect::<Vec<_>>().join(", ")),
        ("covers", covers.to_string()),
        ("used", uses),
        ("digest", field(approval, "/request_digest")),
    ];
    let shown = payload(approval);
    fields.extend(shown.iter().map(|(name, value)| (name.as_str(), value.clone())));
    output::details(&fields)
}

/// What would be done, in words that change nothing but what they say.
fn payload(approval: &Value) -> Vec<(String, String)> {
    let length = || field(approval, "/payload/length");
    let body = match field(approval, "/payload/kind").as_str() {
        "json" => approval.pointer("/payload/body").map(|body| escaped(&body.to_string())).unwrap_or_default(),
        "text" => escaped(&field(approval, "/payload/text")),
        "bytes" => format!("{} bytes that are no text", length()),
        "deleted" => "not kept any more".to_string(),
        "too-large" => format!("{} bytes: too large to be kept, so only the digest says which", length()),
        "withheld" => format!("{} bytes that hold a key: only the digest says which", length()),
        _ => return Vec::new(),
    };
    let decoded = approval.pointer("/payload/decoded").and_then(Value::as_object).into_iter().flatten();
    let decoded = decoded.map(|(name, value)| {
        let text = match (value.get("text").and_then(Value::as_str), value.get("json"), value.get("bytes")) {
            (Some(text), _, _) => escaped(text),
            (_, Some(json), _) => escaped(&json.to_string()),
            (_, _, bytes) => format!("{} bytes", bytes.map(ToString::to_string).unwrap_or_default()),
        };
        (name.clone(), text)
    });
    [("body".to_string(), body)].into_iter().chain(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_cannot_move_the_cursor_or_turn_the_text_around() {
        let table = [
            ("pay 10 EUR für Zoë", "pay 10 EUR für Zoë"),
            ("pay 10\u{1b}[2K\rpay 1", "pay 10\\u{1b}[2K\\u{d}pay 1"),
            ("a\u{202e}b\nc", "a\\u{202e}b\\u{a}c"),
        ];
        for (text, want) in table {
            assert_eq!(escaped(text), want);
        }
    }

    #[test]
    fn what_would_be_done_is_shown() {
        let approval = json!({ "payload": {
            "kind": "json", "body": { "message": "e30=" }, "decoded": { "message": { "json": { "total": 100 } } },
        }});
        let want = [("body", "{\"message\":\"e30=\"}"), ("message", "{\"total\":100}")];
        assert_eq!(payload(&approval), want.map(|(name, value)| (name.to_string(), value.to_string())));
        let large = json!({ "payload": { "kind": "too-large", "length": 70_000 } });
        assert!(payload(&large)[0].1.starts_with("70000 bytes: too large"));
        assert!(payload(&json!({})).is_empty());
    }
}
