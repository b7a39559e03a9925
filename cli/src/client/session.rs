//! `aegis login`, `logout` and `whoami`.

use super::approvals::OwnLogin;
use super::connection::{Client, Connection, set};
use super::device;
use super::home::{Home, Session};
use super::output;
use super::passphrase::Sources;
use crate::Failure;
use crate::api::{Answer, Api, text};
use aegis_core::name::HumanId;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(after_help = "\
The session lasts eight hours. Its token is kept in the system's keychain; where there is none, in
sessions.toml, readable to you alone, in $AEGIS_HOME, else $XDG_CONFIG_HOME/aegis, else
~/.config/aegis. AEGIS_SESSIONS=file or AEGIS_SESSIONS=keychain decides it; aegis whoami says where
it is. Issuing agents and destroying keys needs a login at most five minutes old.

Examples:
  aegis login                                    shows where to log in and waits; without an
                                                 identity provider asks for name and passphrase
  aegis login --human alice@org --enrol          the first time; asks for the code that
                                                 `aegis serve` printed
  aegis login --human alice@org --passphrase-file ./passphrase")]
pub(crate) struct Login {
    /// Your name [env: AEGIS_HUMAN] [default: as at the last login, else ask]
    #[arg(long, value_name = "NAME")]
    human: Option<HumanId>,
    /// Make your account first, with the one-time code [default: AEGIS_ENROLMENT_CODE, else ask]
    #[arg(long)]
    enrol: bool,
    /// The file whose first line is your passphrase [default: AEGIS_PASSPHRASE_HUMAN, else ask]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(crate) fn login(connection: &Connection, arguments: &Login) -> Result<(), Failure> {
    let client = connection.anonymous()?;
    let me = match device::provider(&client)? {
        Some(provider) => at_provider(&client, &provider, arguments)?,
        None => at_deployment(&client, arguments)?,
    };
    if set("AEGIS_TOKEN").is_some() {
        output::note("note: AEGIS_TOKEN is set, and goes before this session");
    }
    client.show(&me, |me| format!("logged in to {} as {}", client.url, identity(me)))
}

fn at_provider(client: &Client, provider: &device::Provider, arguments: &Login) -> Result<Value, Failure> {
    if arguments.enrol || arguments.human.is_some() || arguments.passphrase_file.is_some() {
        return Err(Failure::Usage(format!(
            "humans of {} log in at {}: --human, --enrol and --passphrase-file are for deployments without a provider",
            client.url, provider.issuer
        )));
    }
    start_session(client, &device::id_token(client, provider, device::FRESH)?)
}

fn at_deployment(client: &Client, arguments: &Login) -> Result<Value, Failure> {
    let human = match &arguments.human {
        Some(human) => human.clone(),
        None => known_human(&client.url)?,
    };
    let sources = Sources {
        file: arguments.passphrase_file.as_deref(),
        variable: "AEGIS_PASSPHRASE_HUMAN",
        prompt: &format!("Passphrase of {human}: "),
        twice: arguments.enrol,
    };
    let passphrase = sources.read()?;
    if arguments.enrol {
        // Not on the command line, where every process of this machine can read it while it still works.
        let (variable, prompt) = ("AEGIS_ENROLMENT_CODE", "Enrolment code: ");
        let code = Sources { file: None, variable, prompt, twice: false }.read()?;
        enrol(&client.api, &human, &code, &passphrase)?;
    }
    log_in(client, &human, &passphrase)
}

/// Makes the first human's account.
pub(crate) fn enrol(api: &Api, human: &HumanId, code: &str, passphrase: &str) -> Result<(), Failure> {
    let answer = api.post("/local/enroll", &json!({ "code": code, "human": human, "passphrase": passphrase }))?;
    if answer.reason() == "login_refused" {
        return Err(Failure::Failed("the enrolment code is wrong, or was used; `aegis serve` prints it".to_string()));
    }
    answer.ok("enrol").map(|_| ())
}

/// Proves who the human is, exchanges that for a session, and keeps the session. Returns what `whoami` says.
pub(crate) fn log_in(client: &Client, human: &HumanId, passphrase: &str) -> Result<Value, Failure> {
    start_session(client, &local_id_token(client, human, passphrase)?)
}

fn local_id_token(client: &Client, human: &HumanId, passphrase: &str) -> Result<Zeroizing<String>, Failure> {
    let answer = client.api.post("/local/token", &json!({ "human": human, "passphrase": passphrase }))?;
    if answer.reason() == "login_refused" {
        return Err(Failure::Failed("the name or the passphrase is wrong".to_string()));
    }
    text(&answer.ok("log in")?, "id_token").map(Zeroizing::new)
}

/// A login for one answer to an approval. Its token is kept nowhere, and good for nothing else.
pub(crate) fn to_approve(connection: &Connection, login: &OwnLogin) -> Result<Client, Failure> {
    let client = connection.anonymous()?;
    let id_token = match device::provider(&client)? {
        // She proves herself anew: nobody answers with the login that she has at the provider already.
        Some(provider) => device::id_token(&client, &provider, 0)?,
        None => {
            let human = login.human.clone().map_or_else(|| known_human(&client.url), Ok)?;
            let sources = Sources {
                file: login.passphrase_file.as_deref(),
                variable: "AEGIS_PASSPHRASE_HUMAN",
                prompt: &format!("Passphrase of {human}: "),
                twice: false,
            };
            local_id_token(&client, &human, &sources.read()?)?
        }
    };
    let token = Zeroizing::new(exchange(&client, &id_token, &[("scope", "approve")])?);
    Ok(Client { api: client.api.with_token(&token), ..client })
}

/// The token that the deployment gives for an ID token.
fn exchange(client: &Client, id_token: &str, more: &[(&str, &str)]) -> Result<String, Failure> {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", id_token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    let form = [form.as_slice(), more].concat();
    let session = client.api.post_form("/v1/oauth/token", &form).and_then(|answer| Answer::ok(answer, "log in"))?;
    text(&session, "access_token")
}

fn start_session(client: &Client, id_token: &str) -> Result<Value, Failure> {
    let token = exchange(client, id_token, &[])?;
    let me = client.api.with_token(&token).get("/v1/whoami")?.ok("log in")?;
    let session = Session { human: text(&me, "human")?, credential: text(&me, "credential")?, token };
    Home::find()?.save_session(&client.url, session)?;
    Ok(me)
}

/// `aegis logout`: the session is refused from now on, and forgotten here.
pub(crate) fn logout(connection: &Connection) -> Result<(), Failure> {
    let (home, client) = (Home::find()?, connection.anonymous()?);
    let Some(session) = home.session(&client.url)? else {
        return Err(Failure::NotLoggedIn { url: client.url });
    };
    let api = client.api.with_token(&session.token);
    let revoked = api.post(&format!("/v1/credentials/{}/revoke", session.credential), &json!({}));
    // Forgotten even if the server cannot be told, so that nobody here can use it.
    home.forget_session(&client.url)?;
    let answer = revoked?;
    match answer.status {
        // Expired or revoked: there is nothing left to refuse.
        401 => output::line(&format!("logged out of {}", client.url)),
        _ => {
            let credential = answer.ok("revoke the session")?;
            client.show(&credential, |_| format!("logged out of {}; the session is revoked", client.url))
        }
    }
}

pub(crate) fn whoami(connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let mut me = client.api.get("/v1/whoami")?.ok("ask who you are")?;
    let (home, of_environment) = (Home::find()?, set("AEGIS_TOKEN").is_some());
    let place = if of_environment { None } else { home.kept(&client.url)?.map(|kept| kept.place()) };
    if let Some(me) = me.as_object_mut() {
        me.insert("token_from".to_string(), Value::from(place.unwrap_or("environment")));
    }
    let shown = match place {
        Some("file") => home.sessions_file().display().to_string(),
        Some(_) => "the system's keychain".to_string(),
        None => "AEGIS_TOKEN".to_string(),
    };
    client.show(&me, |me| {
        output::details(&[
            ("human", output::field(me, "/human")),
            ("roles", output::field(me, "/roles")),
            ("agents", output::field(me, "/agents")),
            ("credential", output::field(me, "/credential")),
            ("expires", moment(me)),
            ("token from", shown),
            ("deployment", client.url.clone()),
        ])
    })
}

fn identity(me: &Value) -> String {
    let (human, roles) = (output::field(me, "/human"), output::field(me, "/roles"));
    format!("{human} ({roles}) until {}", moment(me))
}

fn moment(me: &Value) -> String {
    let seconds = me.get("expires_at").and_then(Value::as_i64);
    let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment.map(|moment| moment.to_string()).unwrap_or_default()
}

/// As the environment, the last login or a person says.
fn known_human(url: &str) -> Result<HumanId, Failure> {
    let last = Home::find()?.kept(url)?.map(|kept| kept.human);
    let name = match set("AEGIS_HUMAN").or(last) {
        Some(name) => name,
        None if std::io::stdin().is_terminal() => ask_name()?,
        None => return Err(Failure::Usage("no name: give --human NAME, or set AEGIS_HUMAN".to_string())),
    };
    name.parse().map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

fn ask_name() -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::because("cannot read your name", &error);
    let mut error = std::io::stderr();
    error.write_all(b"Your name: ").and_then(|()| error.flush()).map_err(failed)?;
    let mut name = String::new();
    std::io::stdin().lock().read_line(&mut name).map_err(failed)?;
    Ok(name.trim().to_string())
}
