//! `aegis agent`: issuing agents, changing what they were granted, stopping them.

use super::connection::{Client, Connection};
use super::key::ENVIRONMENTS;
use super::output::{self, field};
use super::quantity::{Limit, Span, limits};
use super::word;
use crate::Failure;
use crate::api::{Answer, text};
use aegis_core::agent::Purpose;
use aegis_core::id::AgentId;
use aegis_core::key::Environment;
use aegis_core::name::{AgentLabel, HumanId, KeyRef};
use aegis_core::operations::agents::{AmendAgent, IssueAgent};
use aegis_core::operations::credentials::IssueCredential;
use aegis_core::scope::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
#[command(after_help = "\
AGENT is an agent's id, or its label where only one agent that is not revoked has it.

Examples:
  aegis agent issue --label claude-invoices --scopes \"key:invoice-2026:sign,verify\" --limit 200/day
  aegis agent list
  aegis agent scope claude-invoices
  aegis agent freeze claude-invoices")]
pub(crate) enum Command {
    /// Issue an agent, and a token for it
    Issue(Issue),
    /// Show the agents there are: all for operators and auditors, else your own
    List(List),
    /// Show an agent and its grant
    #[command(after_help = "Example:\n  aegis agent get claude-invoices")]
    Get { agent: AgentRef },
    /// Change what an agent may do
    Amend(Amend),
    /// What an agent may do now, and how much of it is left
    #[command(after_help = "Example:\n  aegis agent scope claude-invoices")]
    Scope {
        /// The agent [default: the one that asks]
        agent: Option<AgentRef>,
    },
    /// Issue a fresh token to an agent
    #[command(after_help = "\
Needs a login at most five minutes old, or --ttl 15m and less: what an older login issues ends with
its session. Earlier tokens stay valid until they expire or are revoked.

Examples:
  aegis agent token claude-invoices --ttl 8h
  AEGIS_TOKEN=$(aegis agent token claude-invoices --quiet) aegis whoami")]
    Token {
        agent: AgentRef,
        #[command(flatten)]
        ttl: Ttl,
        /// Print the token and nothing else
        #[arg(short, long, conflicts_with = "json")]
        quiet: bool,
    },
    /// Refuse an agent, and all below it, for ever
    #[command(after_help = "Example:\n  aegis agent revoke claude-invoices")]
    Revoke { agent: AgentRef },
    /// Refuse an agent, and all below it, until it is unfrozen
    #[command(after_help = "Example:\n  aegis agent freeze claude-invoices")]
    Freeze { agent: AgentRef },
    /// Let a frozen agent go on; needs a login at most five minutes old
    #[command(after_help = "Example:\n  aegis agent unfreeze claude-invoices")]
    Unfreeze { agent: AgentRef },
}

#[derive(clap::Args)]
pub(crate) struct Ttl {
    /// How long the token lives: 1m to 24h, cut to the end of the window [default: 1h]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Span>,
}

#[derive(clap::Args)]
#[command(after_help = "\
The scope grammar, the same in tokens and everywhere:
  scope    = entry *( SP entry )                                    at most 32
  entry    = \"key:\" selector *( \",\" selector ) \":\" action *( \",\" action )
  selector = a key's id / a key's name / label=value
  action   = sign / verify / mac / verify-mac / encrypt / decrypt / re-encrypt / rotate
           / wrap / unwrap / generate-data-key
An entry also lets the agent read the metadata and the public half of its keys. A name stands for
the key it leads to now; a label for every key that has it, now or later. Nothing else may be
done, and the first try to is a violation that stops the agent.

Needs a login at most five minutes old. The token is shown once.

Examples:
  aegis agent issue --label claude-invoices --scopes \"key:invoice-2026:sign,verify\"
  aegis agent issue --label vault-warden --scopes \"key:team=build:rotate\" --create-keys \\
      --limit 5/day
  aegis agent issue --label ci --purpose service --environment staging \\
      --scopes \"key:team=build:sign\" --window 90d
  aegis agent issue --label ingest --scopes \"key:backups:encrypt key:invoices,receipts:verify\" \\
      --limit 200/day --limit 10/minute --max-uses 5000")]
pub(crate) struct Issue {
    /// What to call it
    #[arg(long, value_name = "NAME")]
    label: AgentLabel,
    /// Which keys it may use, and how; the grammar is below
    #[arg(long, value_name = "SCOPE")]
    scopes: Scope<KeyRef>,
    #[command(flatten)]
    ttl: Ttl,
    /// How long the grant lasts, at most 400d [default: 30d]
    #[arg(long, value_name = "DURATION")]
    window: Option<Span>,
    #[command(flatten)]
    limits: LimitFlags,
    /// What kind of thing it is; decides how hard an automatic response is
    #[arg(long, value_parser = word::<Purpose>(&["appliance", "interactive", "service"]), default_value = "interactive")]
    purpose: Purpose,
    /// Let it create sub-agents within its own grant
    #[arg(long)]
    delegate: bool,
    /// Let it make keys; needs the role operator. Each counts as a use
    #[arg(long)]
    create_keys: bool,
    /// Let it read the records, recommendations and baselines that you may read, but for what is
    /// said of you and your own agents
    #[arg(long)]
    audit: bool,
    /// Which environment it is for: keys of another one count as risk [default: any]
    #[arg(long, value_parser = word::<Environment>(&ENVIRONMENTS))]
    environment: Option<Environment>,
}

#[derive(clap::Args)]
struct LimitFlags {
    /// Most uses in a time of the clock (UTC): 10/minute, 200/day; may be repeated
    #[arg(long = "limit", value_name = "LIMIT")]
    limits: Vec<Limit>,
    /// Most uses in the agent's life
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_uses: Option<u32>,
}

#[derive(clap::Args)]
#[command(after_help = "\
--stale and --broad show what agents used of what they were granted, and with which narrower scope
each could have done all it did; --json holds the scope it has, too. Uses are counted a moment after
they happen.

Examples:
  aegis agent list --sponsor alice@org --state active
  aegis agent list --stale            those that could act and used nothing for 30 days
  aegis agent list --stale 90
  aegis agent list --broad            those that used less than half of what they were granted")]
pub(crate) struct List {
    /// Only those of this human
    #[arg(long, value_name = "HUMAN")]
    sponsor: Option<HumanId>,
    /// Only those in this state
    #[arg(long, value_parser = ["active", "frozen", "revoked"])]
    state: Option<String>,
    /// Only those that could act and used nothing for so many days [default: 30]
    #[arg(long, value_name = "DAYS", num_args = 0..=1, default_missing_value = "30",
          value_parser = clap::value_parser!(u32).range(1..=3650))]
    stale: Option<u32>,
    /// Only those that could act, used something, and less than half of what they were granted
    #[arg(long)]
    broad: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Needs a login at most five minutes old. Holds from the next request on: a token keeps what both it
and the new grant allow, so widening needs a fresh token, too.

Examples:
  aegis agent amend claude-invoices --scopes \"key:invoice-2026:sign\"
  aegis agent amend claude-invoices --window 30d                      30 days from now
  aegis agent amend claude-invoices --limit 50/day                    replaces all limits")]
pub(crate) struct Amend {
    agent: AgentRef,
    /// A new name
    #[arg(long, value_name = "NAME")]
    label: Option<AgentLabel>,
    /// The whole scope from now on; the grammar is in `aegis agent issue --help`
    #[arg(long, value_name = "SCOPE")]
    scopes: Option<Scope<KeyRef>>,
    /// How long the grant lasts from now on
    #[arg(long, value_name = "DURATION")]
    window: Option<Span>,
    #[command(flatten)]
    limits: LimitFlags,
    /// Take all limits away
    #[arg(long, conflicts_with_all = ["limits", "max_uses"])]
    no_limits: bool,
    /// Whether it may create sub-agents
    #[arg(long, value_name = "BOOL")]
    delegate: Option<bool>,
    /// Whether it may make keys
    #[arg(long, value_name = "BOOL")]
    create_keys: Option<bool>,
    /// Whether it may read records, recommendations and baselines
    #[arg(long, value_name = "BOOL")]
    audit: Option<bool>,
    /// Which environment it is for from now on
    #[arg(long, value_parser = word::<Meant>(&["any", "development", "production", "staging"]))]
    environment: Option<Meant>,
}

/// The environment that an agent is for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Meant {
    Any,
    #[serde(untagged)]
    One(Environment),
}

impl From<Meant> for Option<Environment> {
    fn from(meant: Meant) -> Self {
        match meant {
            Meant::Any => None,
            Meant::One(environment) => Some(environment),
        }
    }
}

/// An agent as people name it.
#[derive(Clone, Debug)]
pub(crate) enum AgentRef {
    Id(AgentId),
    Label(AgentLabel),
}

impl std::str::FromStr for AgentRef {
    type Err = aegis_core::name::InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = AgentId::try_from(text.to_string()).map(Self::Id);
        id.or_else(|_| text.parse().map(Self::Label))
    }
}

impl std::fmt::Display for AgentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id.as_str()),
            Self::Label(label) => f.write_str(label.as_str()),
        }
    }
}

impl AgentRef {
    /// The agent's id: asks the deployment who has the label.
    pub(crate) fn id(&self, client: &Client) -> Result<String, Failure> {
        let label = match self {
            Self::Id(id) => return Ok(id.to_string()),
            Self::Label(label) => label.as_str(),
        };
        let agents = client.all("/v1/agents", "look for the agent")?;
        let named: Vec<&Value> = agents.iter().filter(|agent| field(agent, "/label") == label).collect();
        let live: Vec<&Value> = named.iter().copied().filter(|agent| field(agent, "/state") != "revoked").collect();
        let candidates = if live.is_empty() { named } else { live };
        match candidates.as_slice() {
            [one] => text(one, "id"),
            [] => Err(Failure::NotFound(format!("no agent is called `{label}`"))),
            many => {
                let ids: Vec<String> = many.iter().map(|agent| field(agent, "/id")).collect();
                Err(Failure::Usage(format!("{} agents are called `{label}`: {}", many.len(), ids.join(", "))))
            }
        }
    }
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    let client = &client;
    match command {
        Command::Issue(arguments) => issue(client, arguments),
        Command::List(arguments) => list(client, arguments),
        Command::Get { agent } => {
            let found = client.api.get(&format!("/v1/agents/{}", agent.id(client)?))?.ok("show the agent")?;
            client.show(&found, render)
        }
        Command::Amend(arguments) => amend(client, arguments),
        Command::Scope { agent } => scope(client, agent.as_ref()),
        Command::Token { agent, ttl, quiet } => {
            let issued = credential(client, &agent.id(client)?, ttl.ttl)?;
            match quiet {
                true => output::line(&text(&issued, "token")?),
                false => client.show(&issued, |issued| render_token(client, issued)),
            }
        }
        Command::Revoke { agent } => act(client, agent, "revoke"),
        Command::Freeze { agent } => act(client, agent, "freeze"),
        Command::Unfreeze { agent } => act(client, agent, "unfreeze"),
    }
}

fn issue(client: &Client, arguments: &Issue) -> Result<(), Failure> {
    let body = IssueAgent {
        label: arguments.label.clone(),
        purpose: arguments.purpose,
        scope: arguments.scopes.to_string(),
        not_before: None,
        not_after: arguments.window.map(Span::after_now),
        limits: limits(&arguments.limits.limits, arguments.limits.max_uses),
        delegate: arguments.delegate,
        create_keys: arguments.create_keys,
        audit: arguments.audit,
        environment: arguments.environment,
    };
    let agent = client.api.post("/v1/agents", &body)?.ok("issue the agent")?;
    let id = text(&agent, "id")?;
    let issued = credential(client, &id, arguments.ttl.ttl).inspect_err(|_| {
        output::note(&format!("the agent is issued, without a token; for one: aegis agent token {id}"));
    })?;
    client.show(&json!({ "agent": agent, "credential": issued }), |both| {
        let token = both.get("credential").map(|issued| render_token(client, issued)).unwrap_or_default();
        format!("{}\n\n{token}", both.get("agent").map(render).unwrap_or_default())
    })
}

/// Issues a token to an agent.
pub(super) fn credential(client: &Client, agent: &str, ttl: Option<Span>) -> Result<Value, Failure> {
    let body = IssueCredential { ttl: ttl.map(|Span(seconds)| seconds) };
    client.api.post(&format!("/v1/agents/{agent}/credentials"), &body)?.ok("issue a token")
}

fn list(client: &Client, arguments: &List) -> Result<(), Failure> {
    let by_use = arguments.broad || arguments.stale.is_some();
    let path = match (by_use, arguments.stale) {
        (false, _) => "/v1/agents".to_string(),
        (true, None) => format!("/v1/agents/usage?broad={}", arguments.broad),
        (true, Some(days)) => {
            format!("/v1/agents/usage?broad={}&stale_for={}", arguments.broad, days.saturating_mul(86_400))
        }
    };
    let mut agents = client.all(&path, "list agents")?;
    let fits = |wanted: Option<&str>, agent: &Value, pointer: &str| wanted.is_none_or(|w| field(agent, pointer) == w);
    agents.retain(|agent| {
        fits(arguments.sponsor.as_ref().map(HumanId::as_str), agent, "/sponsor")
            && fits(arguments.state.as_deref(), agent, "/state")
    });
    let (headings, rows) = match by_use {
        true => (USE_HEADINGS.as_slice(), agents.iter().map(use_row).collect()),
        false => (HEADINGS.as_slice(), rows(&agents)),
    };
    client.show(&json!({ "items": agents }), |_| output::table(headings, &rows))
}

const USE_HEADINGS: [&str; 8] =
    ["LABEL", "SPONSOR", "LAST USE", "USES IN 30 DAYS", "KEYS USED", "ACTIONS USED", "WOULD HAVE SUFFICED", "ID"];

fn use_row(agent: &Value) -> Vec<String> {
    let [label, sponsor, recent, sufficient, id] =
        ["/label", "/sponsor", "/uses_30d", "/sufficient_scope", "/agent"].map(|pointer| field(agent, pointer));
    let of = |what: &str| {
        let more = |of: &str| if field(agent, &format!("/{of}/more")) == "yes" { "+" } else { "" };
        let count = |of: &str| field(agent, &format!("/{of}/{what}"));
        format!("{}{} of {}{}", count("used"), more("used"), count("granted"), more("granted"))
    };
    vec![label, sponsor, output::moment(agent, "/last_use"), recent, of("keys"), of("actions"), sufficient, id]
}

pub(super) const HEADINGS: [&str; 6] = ["LABEL", "STATE", "SPONSOR", "UNTIL", "SCOPE", "ID"];

pub(super) fn rows(agents: &[Value]) -> Vec<Vec<String>> {
    let row = |agent: &Value| {
        let [label, state, sponsor, id] = ["/label", "/state", "/sponsor", "/id"].map(|pointer| field(agent, pointer));
        vec![label, state, sponsor, output::moment(agent, "/grant/not_after"), scope_text(agent), id]
    };
    agents.iter().map(row).collect()
}

fn amend(client: &Client, arguments: &Amend) -> Result<(), Failure> {
    let flags = &arguments.limits;
    let given = arguments.no_limits || !flags.limits.is_empty() || flags.max_uses.is_some();
    let body = AmendAgent {
        label: arguments.label.clone(),
        scope: arguments.scopes.as_ref().map(ToString::to_string),
        not_after: arguments.window.map(Span::after_now),
        limits: given.then(|| limits(&flags.limits, flags.max_uses)),
        delegate: arguments.delegate,
        create_keys: arguments.create_keys,
        audit: arguments.audit,
        environment: arguments.environment.map(Into::into),
        access_request: None,
    };
    let agent = arguments.agent.id(client)?;
    let agent = client.api.patch(&format!("/v1/agents/{agent}"), &body)?.ok("change the agent")?;
    client.show(&agent, render)
}

fn scope(client: &Client, agent: Option<&AgentRef>) -> Result<(), Failure> {
    let id = match agent {
        Some(agent) => agent.id(client)?,
        None => {
            let me = client.api.get("/v1/whoami")?.ok("ask who you are")?;
            let own = field(&me, "/agents/0");
            let human = || Failure::Usage("you are no agent; name one: aegis agent scope AGENT".to_string());
            Some(own).filter(|own| !own.is_empty()).ok_or_else(human)?
        }
    };
    let scope = client.api.get(&format!("/v1/agents/{id}/scope"))?.ok("show the scope")?;
    client.show(&scope, |scope| {
        output::details(&[
            ("agent", field(scope, "/agent")),
            ("state", field(scope, "/state")),
            ("scope", field(scope, "/scope_text")),
            ("window", window(scope, "")),
            ("uses", used(scope, "max_uses", "in its life")),
            ("this minute", used(scope, "per_minute", "a minute")),
            ("today", used(scope, "per_day", "a day")),
            ("delegates", field(scope, "/delegate")),
            ("makes keys", field(scope, "/create_keys")),
            ("reads records", field(scope, "/audit")),
            ("environment", field(scope, "/environment")),
        ])
    })
}

fn act(client: &Client, agent: &AgentRef, verb: &str) -> Result<(), Failure> {
    let answer = client.api.post(&format!("/v1/agents/{}/{verb}", agent.id(client)?), &json!({}))?;
    client.show(&Answer::ok(answer, &format!("{verb} the agent"))?, render)
}

pub(super) fn render(agent: &Value) -> String {
    let stopped = match output::moment(agent, "/stopped/at") {
        at if at.is_empty() => at,
        at => format!("{at} by {}, record {}", field(agent, "/stopped/by"), field(agent, "/stopped/record")),
    };
    output::details(&[
        ("agent", field(agent, "/id")),
        ("label", field(agent, "/label")),
        ("state", field(agent, "/state")),
        ("stopped", stopped),
        ("sponsor", field(agent, "/sponsor")),
        ("below", field(agent, "/ancestors")),
        ("purpose", field(agent, "/purpose")),
        ("scope", scope_text(agent)),
        ("window", window(agent, "/grant")),
        ("limits", limits_text(agent)),
        ("delegates", field(agent, "/grant/delegate")),
        ("makes keys", field(agent, "/grant/create_keys")),
        ("reads records", field(agent, "/grant/audit")),
        ("environment", field(agent, "/grant/environment")),
        ("grant", format!("version {}", field(agent, "/grant/version"))),
        ("created", field(agent, "/created_at")),
    ])
}

fn render_token(client: &Client, issued: &Value) -> String {
    let (url, token) = (&client.url, field(issued, "/token"));
    let told = output::details(&[("credential", field(issued, "/id")), ("expires", field(issued, "/expires_at"))]);
    format!(
        "{told}\n\nThe token is shown this once. Whoever has it acts as the agent:\n\n{token}\n\n\
         To use it:  export AEGIS_URL={url} AEGIS_TOKEN=...\nTo stop it: aegis credential revoke {}",
        field(issued, "/id")
    )
}

fn window(value: &Value, under: &str) -> String {
    let edge = |name: &str| field(value, &format!("{under}/{name}"));
    format!("{} to {}", edge("not_before"), edge("not_after"))
}

fn used(scope: &Value, limit: &str, time: &str) -> String {
    match field(scope, &format!("/limits/{limit}")) {
        most if most.is_empty() => most,
        most => {
            let used = field(scope, &format!("/used/{limit}"));
            format!("{} of {most} {time}", if used.is_empty() { "0" } else { &used })
        }
    }
}

fn limits_text(agent: &Value) -> String {
    let known = [("max_uses", "in its life"), ("per_day", "a day"), ("per_minute", "a minute")];
    let limit = |(name, time)| match field(agent, &format!("/grant/limits/{name}")) {
        count if count.is_empty() => None,
        count => Some(format!("{count} {time}")),
    };
    known.into_iter().filter_map(limit).collect::<Vec<_>>().join(", ")
}

/// The grant's scope in the grammar.
fn scope_text(agent: &Value) -> String {
    let scope = agent.pointer("/grant/scope").cloned().unwrap_or_default();
    serde_json::from_value::<Scope<KeyRef>>(scope).map(|scope| scope.to_string()).unwrap_or_default()
}
