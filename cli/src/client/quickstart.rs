//! `aegis quickstart`: from nothing to the first signature of an agent, with each step shown as the command it is.

use super::connection::{Client, DEFAULT_URL, set};
use super::home::Home;
use super::output::{self, field};
use super::passphrase::Sources;
use super::{agent, payload, session, signing};
use crate::Failure;
use crate::api::{Api, text};
use crate::serve::config::Settings;
use crate::serve::{Server, stop_signal};
use aegis_core::ambient::{Clock, Timestamp};
use aegis_core::name::{HumanId, KeyName, KeyRef};
use aegis_embedded::root::Passphrase;
use anstyle::Style;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(after_help = "\
It serves a data folder, makes your account, logs you in, makes a key and an agent that may use
it, and lets the agent sign. Each step is shown as the command that does it. Then it serves until
Ctrl-C. Run again, it goes on with what is there.

Examples:
  aegis quickstart
  aegis quickstart --data ./trial --human alice@org --passphrase-file ./passphrases")]
pub(crate) struct Quickstart {
    /// The data folder; made if there is none
    #[arg(long, value_name = "DIR", default_value = "./aegis-data")]
    data: PathBuf,
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8400")]
    listen: SocketAddr,
    /// Your name [env: AEGIS_HUMAN] [default: your user name]
    #[arg(long, value_name = "NAME")]
    human: Option<HumanId>,
    /// A file with the root key's passphrase on its first line, and yours on its second
    /// [default: AEGIS_PASSPHRASE and AEGIS_PASSPHRASE_HUMAN, else ask]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// The name of the key, and of the agent.
const NAME: &str = "quickstart";
const MESSAGE: &str = "hello from an agent";

pub(crate) fn run(arguments: &Quickstart) -> Result<(), Failure> {
    if !arguments.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!("{} is no loopback address", arguments.listen)));
    }
    let human = human(arguments)?;
    let fresh = !arguments.data.exists();
    let (root, own) = passphrases(arguments, &human, fresh)?;
    let mut settings = Settings::for_folder(arguments.data.clone());
    settings.listen = arguments.listen;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::because("no runtime", &error))?;
    let root = Passphrase::new(root.to_string());
    let server = runtime.block_on(Server::start(&settings, &root, Clock::new(Timestamp::now)))?;
    drop(root);
    let done = walk(arguments, &server, &human, &own);
    let served = done.and_then(|()| {
        runtime.block_on(async {
            let stop = stop_signal()?;
            output::line(&format!("\nServing {} until Ctrl-C.", server.url()))?;
            stop.await;
            Ok(())
        })
    });
    runtime.block_on(server.stop());
    served
}

fn walk(arguments: &Quickstart, server: &Server, human: &HumanId, passphrase: &str) -> Result<(), Failure> {
    let url = server.url();
    step("1. Serve the API from one folder; the root key is sealed under a passphrase")?;
    command(&format!("aegis serve --data {} --listen {}", arguments.data.display(), arguments.listen))?;
    output::line(&format!("listening on {url}"))?;
    if url != DEFAULT_URL {
        command(&format!("export AEGIS_URL={url}"))?;
    }

    step("2. Log in; the first time, the code makes your account")?;
    let anyone = Client { api: Api::new(&url)?, url: url.clone(), json: false };
    match &server.enrolment_code {
        Some(code) => {
            command(&format!("AEGIS_ENROLMENT_CODE={} aegis login --human {human} --enrol", code.as_str()))?;
            session::enrol(&anyone.api, human, code, passphrase)?;
        }
        None => command(&format!("aegis login --human {human}"))?,
    }
    let me = session::log_in(&anyone, human, passphrase)?;
    output::line(&format!("you are {}, with the roles {}", field(&me, "/human"), field(&me, "/roles")))?;
    let session = Home::find()?.session(&url)?.ok_or_else(|| Failure::NotLoggedIn { url: url.clone() })?;
    let me = Client { api: anyone.api.with_token(&session.token), ..anyone };

    step("3. Make a key")?;
    command(&format!("aegis key create {NAME} --algorithm ECDSA-P256 --activate"))?;
    let body = json!({ "name": NAME, "algorithm": "ECDSA-P256", "activate": true });
    let answer = me.api.post("/v1/keys", &body)?;
    match answer.body.get("code").and_then(Value::as_str) {
        Some("name-taken") => output::line("it is there already")?,
        _ => output::line(&format!("key {}", text(&answer.ok("make the key")?, "id")?))?,
    }

    step("4. Issue an agent that may sign and verify with that key, and do nothing else")?;
    let agent = issue(&me)?;
    let issued = agent::credential(&me, &agent, None)?;
    output::line(&format!(
        "its token, for an hour: {}...",
        text(&issued, "token")?.chars().take(20).collect::<String>()
    ))?;

    step("5. The agent signs")?;
    command(&format!("aegis exec --agent {agent} -- sh -c \"echo {MESSAGE} | aegis sign {NAME} --base64\""))?;
    let signer = Client { api: me.api.with_token(&text(&issued, "token")?), url, json: false };
    let key: KeyName = NAME.parse().map_err(|error| Failure::because("the key's name", &error))?;
    let signed = signing::sign_bytes(&signer, &KeyRef::Name(key), format!("{MESSAGE}\n").as_bytes(), false)?;
    output::line(&text(&signed, "signature")?)?;

    step("6. It is on record: who did it, for whom, and why it was allowed")?;
    command(&format!("aegis audit --agent {agent}"))?;
    step("Next: let it ask for something else, and see it stopped")?;
    command("aegis key create treasury --algorithm Ed25519 --activate")?;
    command(&format!("aegis exec --agent {agent} -- sh -c \"echo {MESSAGE} | aegis sign treasury\""))?;
    command(&format!("aegis agent get {agent}"))
}

/// The agent of this walk: the one there is, or a fresh one.
fn issue(me: &Client) -> Result<String, Failure> {
    let agents = me.all("/v1/agents", "list agents")?;
    let own = agents.iter().find(|agent| field(agent, "/label") == NAME && field(agent, "/state") == "active");
    if let Some(agent) = own {
        let id = text(agent, "id")?;
        command(&format!("aegis agent token {id}"))?;
        return Ok(id);
    }
    let scope = format!("key:{NAME}:sign,verify");
    command(&format!("aegis agent issue --label {NAME} --scopes \"{scope}\""))?;
    let agent = me.api.post("/v1/agents", &json!({ "label": NAME, "scope": scope }))?.ok("issue the agent")?;
    let id = text(&agent, "id")?;
    output::line(&format!("agent {id}, sponsored by {}", field(&agent, "/sponsor")))?;
    Ok(id)
}

fn passphrases(
    arguments: &Quickstart,
    human: &HumanId,
    twice: bool,
) -> Result<(Zeroizing<String>, Zeroizing<String>), Failure> {
    if let Some(path) = &arguments.passphrase_file {
        let bytes = payload::read(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Failure::because("the passphrases", &error))?;
        let mut lines = text.lines().map(|line| Zeroizing::new(line.to_string()));
        return match (lines.next(), lines.next()) {
            (Some(root), Some(own)) => Ok((root, own)),
            _ => Err(Failure::Usage(format!("{} needs two lines: the root key's, and yours", path.display()))),
        };
    }
    let ask = |variable, prompt: &str| Sources { file: None, variable, prompt, twice }.read();
    let root = ask("AEGIS_PASSPHRASE", "Passphrase of the root key (unlocks the server): ")?;
    let own = ask("AEGIS_PASSPHRASE_HUMAN", &format!("Passphrase of {human} (at least 12 characters): "))?;
    Ok((root, own))
}

fn human(arguments: &Quickstart) -> Result<HumanId, Failure> {
    if let Some(human) = &arguments.human {
        return Ok(human.clone());
    }
    let name =
        set("AEGIS_HUMAN").or_else(|| set("USER")).or_else(|| set("USERNAME")).unwrap_or_else(|| "me".to_string());
    name.parse().map_err(|error| Failure::Usage(format!("{name}: {error}; give --human NAME")))
}

fn step(what: &str) -> Result<(), Failure> {
    output::styled(&format!("\n{BOLD}{what}{BOLD:#}"))
}

fn command(line: &str) -> Result<(), Failure> {
    output::styled(&format!("{DIM}${DIM:#} {line}"))
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
