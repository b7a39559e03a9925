//! `aegis key`: making keys, and moving them through their states.

mod import;
mod lockdown;

use self::import::{Import, Parameters, Register};
use self::lockdown::{PolicyFormat, lockdown, named};
use super::connection::{Client, Connection};
use super::output::{self, field};
use super::quantity::Span;
use super::word;
use crate::Failure;
use crate::api::{Answer, text};
use aegis_core::algorithm::Algorithm;
use aegis_core::key::{Environment, Tier};
use aegis_core::name::{BackendName, KeyName, KeyRef, Label};
use aegis_core::operations::key_lifecycle::{CreateKey, DestroyKey, UpdateKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ArgGroup;
use clap::builder::TypedValueParser;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Subcommand)]
#[command(after_help = "\
KEY is a key's id or one of its names.

Examples:
  aegis key create invoice-2026 --algorithm ECDSA-P256 --activate --label team=billing
  aegis key import legacy-signing --algorithm RSA-2048-PSS-SHA256 legacy.pem
  aegis key list
  aegis key rotate invoice-2026
  aegis key public-key invoice-2026 --pem -o invoice-2026.pem")]
pub(crate) enum Command {
    /// Make a key
    Create(Create),
    /// Bring a key's bytes into Aegis
    Import(Import),
    /// Ask for a wrapping key, to wrap a key's bytes elsewhere
    ImportParameters(Parameters),
    /// Put a key under Aegis that a back end has already, and that stays there
    Register(Register),
    /// Show the keys there are; to an agent those in its scope
    List(List),
    /// Show one key; never its material
    #[command(after_help = "Example:\n  aegis key get invoice-2026")]
    Get { key: KeyRef },
    /// How often a key was used, by how many agents, and when last
    #[command(after_help = "Example:\n  aegis key usage invoice-2026")]
    Usage { key: KeyRef },
    /// Print the policy under which nobody but Aegis can use the key at its back end
    ///
    /// Changes nothing: apply the policy as an administrator of the back end. Who is refused from then on, and what no policy takes
    /// from others, is told on standard error.
    #[command(after_help = "\
Examples:
  aegis key lockdown ledger --format terraform > ledger.tf
  aegis key lockdown ledger --format json > policy.json
  aws kms put-key-policy --key-id ARN --policy file://policy.json")]
    Lockdown {
        key: KeyRef,
        /// How the policy is printed
        #[arg(long, value_enum, default_value_t = PolicyFormat::Json)]
        format: PolicyFormat,
    },
    /// Change what describes a key
    Update(Update),
    /// Let a pre-active key sign and encrypt
    #[command(after_help = "Example:\n  aegis key activate invoice-2026")]
    Activate { key: KeyRef },
    /// From now on the key only verifies and decrypts
    #[command(after_help = "Example:\n  aegis key deactivate invoice-2026")]
    Deactivate { key: KeyRef },
    /// Make the key unusable until resumed
    #[command(after_help = "Example:\n  aegis key suspend invoice-2026")]
    Suspend { key: KeyRef },
    /// End a suspension
    #[command(after_help = "Example:\n  aegis key resume invoice-2026")]
    Resume { key: KeyRef },
    /// Make a fresh version the one that signs and encrypts; earlier ones still verify and decrypt
    #[command(after_help = "Example:\n  aegis key rotate invoice-2026")]
    Rotate { key: KeyRef },
    /// Record that the key may be known to others; it only verifies and decrypts from now on
    #[command(after_help = "Example:\n  aegis key compromise invoice-2026")]
    Compromise { key: KeyRef },
    /// Begin the pending window at whose end the material is gone
    #[command(after_help = "\
Needs a login at most five minutes old. The key must be pre-active, deactivated or compromised.

Examples:
  aegis key destroy invoice-2025
  aegis key destroy invoice-2025 --pending-days 30
  aegis key cancel-destroy invoice-2025")]
    Destroy {
        key: KeyRef,
        /// Days in which it can be cancelled, 7 to 30 [default: 7]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(7..=30))]
        pending_days: Option<u16>,
    },
    /// Keep a key whose destruction is pending
    #[command(after_help = "Example:\n  aegis key cancel-destroy invoice-2026")]
    CancelDestroy { key: KeyRef },
    /// Export the public half, for anyone to verify with
    PublicKey(PublicKey),
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aegis key list --json
  aegis key list --unused-for 60d    those that nobody used for so long, and are not destroyed")]
pub(crate) struct List {
    /// Only those that nobody used for so long; what was never used counts from when it was made
    #[arg(long, value_name = "DURATION")]
    unused_for: Option<Span>,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aegis key create invoice-2026 --algorithm ECDSA-P256 --activate
  aegis key create treasury --algorithm Ed25519 --tier high --label team=finance
  aegis key create backups --algorithm AES-256-GCM --activate --rotate-every-days 90
  aegis key create payroll-master --algorithm Ed25519 --activate --canary")]
pub(crate) struct Create {
    #[command(flatten)]
    described: Described,
    /// The back end that shall make and hold it [default: Aegis itself]
    #[arg(long, value_name = "NAME")]
    backend: Option<BackendName>,
}

/// What is said of every key to be.
#[derive(clap::Args)]
pub(super) struct Described {
    /// The key's first name: 3 to 64 of a-z, 0-9 and -, beginning with a letter
    pub(super) name: KeyName,
    /// What the key is for, for ever
    #[arg(long, value_parser = algorithm(), ignore_case = true)]
    pub(super) algorithm: Algorithm,
    /// Let it sign and encrypt at once
    #[arg(long)]
    pub(super) activate: bool,
    /// How much a misuse would cost
    #[arg(long, value_parser = word::<Tier>(&TIERS), default_value = "standard")]
    pub(super) tier: Tier,
    #[arg(long, value_parser = word::<Environment>(&ENVIRONMENTS), default_value = "production")]
    pub(super) environment: Environment,
    /// Lay it out as a trap: an agent that touches it is revoked at once, and cannot tell it from another key
    #[arg(long)]
    pub(super) canary: bool,
    /// What scopes can select it by; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(super) labels: Vec<Label>,
    /// Rotate it by itself, 1 to 3650
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(super) rotate_every_days: Option<u16>,
}

#[derive(clap::Args)]
#[command(group = ArgGroup::new("change").args(CHANGES).required(true).multiple(true), after_help = "\
Needs a login at most five minutes old: scopes select keys by their labels.

Examples:
  aegis key update treasury --tier high
  aegis key update backups --label team=storage --label site=eu    replaces all labels
  aegis key update backups --rotate-every-days 0                   ends scheduled rotation
  aegis key update old-payroll --canary true                       revokes any agent that touches it")]
pub(crate) struct Update {
    key: KeyRef,
    /// How much a misuse would cost
    #[arg(long, value_parser = word::<Tier>(&TIERS))]
    tier: Option<Tier>,
    #[arg(long, value_parser = word::<Environment>(&ENVIRONMENTS))]
    environment: Option<Environment>,
    /// Whether an agent that touches it is revoked at once
    #[arg(long, value_name = "BOOL")]
    canary: Option<bool>,
    /// All its labels from now on; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", conflicts_with = "no_labels")]
    labels: Vec<Label>,
    /// Take all its labels away
    #[arg(long)]
    no_labels: bool,
    /// Rotate it by itself, 1 to 3650; 0 ends that
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=3650))]
    rotate_every_days: Option<u16>,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aegis key public-key invoice-2026 > invoice-2026.pem
  aegis key public-key invoice-2026 --der -o invoice-2026.der
  openssl dgst -sha256 -verify invoice-2026.pem -signature invoice.sig invoice.json")]
pub(crate) struct PublicKey {
    key: KeyRef,
    /// As PEM, which is the default
    #[arg(long, conflicts_with = "der")]
    pem: bool,
    /// As DER (SubjectPublicKeyInfo, RFC 5280)
    #[arg(long)]
    der: bool,
    /// Write it here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn algorithm() -> impl TypedValueParser<Value = Algorithm> {
    word(&Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>())
}

const CHANGES: [&str; 6] = ["tier", "environment", "canary", "labels", "no_labels", "rotate_every_days"];
const TIERS: [&str; 2] = ["high", "standard"];
pub(super) const ENVIRONMENTS: [&str; 3] = ["development", "production", "staging"];

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    let client = &client;
    match command {
        Command::Create(arguments) => create(client, arguments),
        Command::Import(arguments) => import::import(client, arguments),
        Command::ImportParameters(arguments) => import::parameters(client, arguments),
        Command::Register(arguments) => import::register(client, arguments),
        Command::List(arguments) => list(client, arguments),
        Command::Get { key } => {
            let found = client.api.get(&format!("/v1/keys/{key}"))?.ok("show the key")?;
            client.show(&found, render)
        }
        Command::Usage { key } => {
            let found = client.api.get(&format!("/v1/keys/{key}/usage"))?.ok("show the key's use")?;
            client.show(&found, render_usage)
        }
        Command::Lockdown { key, format } => lockdown(client, key, *format),
        Command::Update(arguments) => update(client, arguments),
        Command::Activate { key } => act(client, key, "activate"),
        Command::Deactivate { key } => act(client, key, "deactivate"),
        Command::Suspend { key } => act(client, key, "suspend"),
        Command::Resume { key } => act(client, key, "resume"),
        Command::Rotate { key } => act(client, key, "rotate"),
        Command::Compromise { key } => act(client, key, "compromise"),
        Command::Destroy { key, pending_days } => {
            let body = DestroyKey { pending_days: *pending_days };
            let found = client.api.post(&format!("/v1/keys/{key}/destroy"), &body)?.ok("destroy the key")?;
            client.show(&found, |key| format!("{}\n\nto keep it: aegis key cancel-destroy {}", render(key), name(key)))
        }
        Command::CancelDestroy { key } => act(client, key, "cancel-destroy"),
        Command::PublicKey(arguments) => public_key(client, arguments),
    }
}

fn create(client: &Client, arguments: &Create) -> Result<(), Failure> {
    let described = &arguments.described;
    let body = CreateKey {
        name: described.name.clone(),
        algorithm: described.algorithm,
        tier: described.tier,
        environment: described.environment,
        canary: described.canary,
        labels: described.labels.iter().cloned().collect(),
        activate: described.activate,
        rotate_every_days: described.rotate_every_days,
        backend: arguments.backend.clone(),
    };
    made(client, &client.api.post("/v1/keys", &body)?.ok("make the key")?)
}

/// Shows a new key, and what it still needs.
fn made(client: &Client, key: &Value) -> Result<(), Failure> {
    client.show(key, |key| match field(key, "/state") == "active" {
        true => render(key),
        false => format!("{}\n\nnot usable yet: aegis key activate {}", render(key), name(key)),
    })
}

fn list(client: &Client, arguments: &List) -> Result<(), Failure> {
    let path = match arguments.unused_for {
        Some(Span(seconds)) => format!("/v1/keys?unused_for={seconds}"),
        None => "/v1/keys".to_string(),
    };
    let keys = client.all(&path, "list keys")?;
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    client.show(&json!({ "items": keys }), |_| {
        output::table(&["NAMES", "ALGORITHM", "STATE", "VERSION", "TIER", "ENVIRONMENT", "LABELS", "ID"], &rows)
    })
}

fn update(client: &Client, arguments: &Update) -> Result<(), Failure> {
    let labels = (arguments.no_labels || !arguments.labels.is_empty()).then(|| arguments.labels.iter().cloned());
    let body = UpdateKey {
        tier: arguments.tier,
        environment: arguments.environment,
        canary: arguments.canary,
        labels: labels.map(Iterator::collect),
        rotate_every_days: arguments.rotate_every_days,
    };
    let key = client.api.patch(&format!("/v1/keys/{}", arguments.key), &body)?.ok("change the key")?;
    client.show(&key, render)
}

fn act(client: &Client, key: &KeyRef, verb: &str) -> Result<(), Failure> {
    let answer = client.api.post(&format!("/v1/keys/{key}/{verb}"), &json!({}))?;
    let what = format!("{} the key", verb.replace('-', " "));
    client.show(&Answer::ok(answer, &what)?, render)
}

fn public_key(client: &Client, arguments: &PublicKey) -> Result<(), Failure> {
    let found = client.api.get(&format!("/v1/keys/{}/public-key", arguments.key))?.ok("export the public key")?;
    let bytes = match (client.json, arguments.der) {
        (true, _) => format!("{found}\n").into_bytes(),
        (false, true) => {
            STANDARD.decode(text(&found, "public_key")?).map_err(|error| Failure::because("the public key", &error))?
        }
        (false, false) => text(&found, "pem")?.into_bytes(),
    };
    output::deliver(&bytes, arguments.output.as_deref(), false)
}

pub(super) fn render(key: &Value) -> String {
    output::details(&[
        ("id", field(key, "/id")),
        ("names", field(key, "/aliases")),
        ("algorithm", field(key, "/algorithm")),
        ("origin", field(key, "/origin")),
        ("back end", field(key, "/backend")),
        ("object", field(key, "/object")),
        ("state", state(key)),
        ("tier", tier(key)),
        ("environment", field(key, "/environment")),
        ("labels", field(key, "/labels")),
        ("version", field(key, "/version")),
        ("created", format!("{} by {}", field(key, "/created_at"), field(key, "/created_by"))),
        ("rotated", field(key, "/rotated_at")),
        ("rotates", every(key)),
        ("destroyed at", field(key, "/destroy_at")),
        ("there", there(key)),
        ("shared with", others(key)),
    ])
}

/// What the back end says of the key.
fn there(key: &Value) -> String {
    match field(key, "/at_backend/state") {
        state if state.is_empty() => state,
        state => {
            let by = Some(field(key, "/at_backend/disabled_by")).filter(|by| !by.is_empty() && state != "enabled");
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!("{state}{by}, as of {}", field(key, "/at_backend/as_of"))
        }
    }
}

fn others(key: &Value) -> String {
    let others = key.pointer("/at_backend/used_by").and_then(Value::as_array).into_iter().flatten().map(named);
    let more = Some(field(key, "/at_backend/more")).filter(|more| !more.is_empty()).map(|more| format!("{more} more"));
    others.chain(more).collect::<Vec<_>>().join("; ")
}

fn render_usage(usage: &Value) -> String {
    let at_least = if field(usage, "/more_agents") == "yes" { "at least " } else { "" };
    output::details(&[
        ("key", field(usage, "/key")),
        ("last use", field(usage, "/last_use")),
        ("uses", format!("{}, {} in 30 days", field(usage, "/uses"), field(usage, "/uses_30d"))),
        ("agents", format!("{at_least}{} in 30 days", field(usage, "/agents_30d"))),
        ("refused", field(usage, "/denied")),
        ("counted until", field(usage, "/counted_until")),
    ])
}

fn row(key: &Value) -> Vec<String> {
    let plain = ["/aliases", "/algorithm"].map(|pointer| field(key, pointer));
    let rest = ["/environment", "/labels", "/id"].map(|pointer| field(key, pointer));
    plain.into_iter().chain([state(key), field(key, "/version"), tier(key)]).chain(rest).collect()
}

fn tier(key: &Value) -> String {
    let canary = if field(key, "/canary") == "yes" { ", canary" } else { "" };
    format!("{}{canary}", field(key, "/tier"))
}

fn state(key: &Value) -> String {
    let suspended = if field(key, "/suspended") == "yes" { ", suspended" } else { "" };
    let pending = if field(key, "/destroy_at").is_empty() { "" } else { ", pending destruction" };
    format!("{}{suspended}{pending}", field(key, "/state"))
}

fn every(key: &Value) -> String {
    match field(key, "/rotate_every_days") {
        days if days.is_empty() => days,
        days => format!("every {days} days"),
    }
}

fn name(key: &Value) -> String {
    let name = field(key, "/aliases/0");
    if name.is_empty() { field(key, "/id") } else { name }
}
