//! `aegis demo`: stories, each played through the public REST API: against a fresh embedded server, or the flagship against a
//! deployment that is named.

mod burst;
mod caller;
mod history;
mod invoices;
mod mcp;
mod render;
mod scribe;
mod stage;
mod step_up;
mod story;

use crate::Failure;
use crate::api::{Api, text};
use crate::client::connection::Connection;
use crate::serve::Server;
use crate::serve::config::Settings;
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::encoding::hex;
use aegis_embedded::root::Passphrase;
use scribe::Fact;
use serde::Serialize;
use stage::ALICE;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  aegis demo                    play it with 49 invoices
  aegis demo --dir ./contracts  sign every file of a folder instead
  aegis demo burst              a stolen token, at 3 am
  aegis demo mcp                the same by MCP, with a poisoned document
  aegis demo step-up            a human is asked first
  aegis demo --json             for machines
  aegis demo --url URL          the first of them, on a deployment you are logged in to

On a deployment it makes two keys and two agents, and leaves them there.

Exits with 1 if any fact of the story did not hold."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    story: Option<Other>,
    /// Sign every file of this folder instead of the 49 invoices
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the data folder, and print where it is
    #[arg(long)]
    keep: bool,
}

/// The stories beside the flagship. Of two of them the server's clock is theirs.
#[derive(Clone, Copy, clap::Subcommand)]
enum Other {
    /// At 3 am a stolen token signs 80 times a second from a new address, and is stopped
    #[command(after_help = "Example:\n  aegis demo burst --json")]
    Burst,
    /// By MCP, as a tool of its host's, an agent signs invoices until a document leads it astray
    #[command(after_help = "Example:\n  aegis demo mcp --json")]
    Mcp,
    /// An agent asks for what needs approval; its human sees what would be done, and approves that and nothing else
    #[command(after_help = "Example:\n  aegis demo step-up")]
    StepUp,
}

pub(crate) fn run(arguments: &Arguments, connection: &Connection) -> Result<(), Failure> {
    let json = connection.json;
    if connection.is_named() && (arguments.story.is_some() || arguments.keep) {
        return Err(Failure::Usage(
            "on a deployment the first story is played, and no data folder is kept".to_string(),
        ));
    }
    match arguments.story {
        None if connection.is_named() => play_on(arguments, connection),
        None => play(arguments, json),
        Some(Other::Burst) => {
            let story = burst::play(&render::Live::new(!json, "80 signatures a second, at 3 am"))?;
            end(json, &story, &story.facts, &story.figures())
        }
        Some(Other::Mcp) => {
            let show = render::Live::new(!json, "an agent goes rogue, by MCP");
            let (story, _) = on_a_fresh_server(|url, code| mcp::play(url, code, &random_text(), &show))?;
            end(json, &story, &story.facts, &story.figures())
        }
        Some(Other::StepUp) => {
            let story = step_up::play(&render::Live::new(!json, "a human is asked first"))?;
            end(json, &story, &story.facts, &story.figures())
        }
    }
}

/// Shows what a story came to.
fn end(json: bool, story: &impl Serialize, facts: &[Fact], figures: &[(&str, String)]) -> Result<(), Failure> {
    match json {
        true => render::json(story, facts, None)?,
        false => {
            render::facts(facts);
            render::figures(figures);
            render::struck();
        }
    }
    all_held(facts)
}

fn all_held(facts: &[Fact]) -> Result<(), Failure> {
    match facts.iter().find(|fact| !fact.held) {
        None => Ok(()),
        Some(fact) => Err(Failure::Failed(format!("this did not hold: {}", fact.fact))),
    }
}

type Documents = Vec<(String, Vec<u8>)>;

fn documents(arguments: &Arguments) -> Result<Documents, Failure> {
    match &arguments.dir {
        Some(dir) => read_dir(dir),
        None => Ok(invoices::INVOICES.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect()),
    }
}

/// The flagship.
fn play(arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let documents = documents(arguments)?;
    let show = render::Live::new(!json, "an agent goes rogue");
    let (story, place) = on_a_fresh_server(|url, code| {
        let anyone = Api::new(url)?;
        let alice = anyone.with_token(&story::log_in(&anyone, code, &random_text())?);
        story::play(&alice, &story::Cast::new(ALICE, ""), &documents, &show)
    })?;
    let Place { folder, root_passphrase } = place;
    let kept = arguments.keep.then(|| folder.keep());
    match json {
        true => render::json(&story, &story.facts, kept.as_deref())?,
        false => render::text(&story, kept.as_deref(), &root_passphrase),
    }
    all_held(&story.facts)
}

/// The flagship, by the human who is logged in there, with keys of names that nobody has.
fn play_on(arguments: &Arguments, connection: &Connection) -> Result<(), Failure> {
    let documents = documents(arguments)?;
    let client = connection.client()?;
    let whoami = client.api.get("/v1/whoami")?.ok("ask who you are")?;
    let cast = story::Cast::new(&text(&whoami, "human")?, &format!("-{}", random_text().get(..8).unwrap_or_default()));
    let show = render::Live::new(!client.json, "an agent goes rogue");
    let story = story::play(&client.api, &cast, &documents, &show)?;
    let refused_after = format!(
        "{:.1} ms",
        std::time::Duration::from_micros(u64::try_from(story.misuse_to_refusal_us).unwrap_or(u64::MAX)).as_secs_f64()
            * 1_000.0
    );
    end(client.json, &story, &story.facts, &[("First misuse to refusal, as the agent saw it", refused_after)])
}

/// Where a story was played. The folder is removed when it is dropped.
struct Place {
    folder: tempfile::TempDir,
    root_passphrase: String,
}

/// Plays a story against a server of its own, which has the system's clock: `story` is given its URL and enrolment code.
fn on_a_fresh_server<T>(story: impl FnOnce(&str, &str) -> Result<T, Failure>) -> Result<(T, Place), Failure> {
    let folder = tempfile::Builder::new().prefix("aegis-demo-").tempdir();
    let folder = folder.map_err(|error| Failure::because("cannot make a data folder", &error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::because("no runtime", &error))?;
    let mut settings = Settings::for_folder(folder.path().to_path_buf());
    settings.listen.set_port(0);
    let root_passphrase = random_text();
    let server = runtime.block_on(Server::start(
        &settings,
        &Passphrase::new(root_passphrase.clone()),
        Clock::new(Timestamp::now),
    ))?;
    let code = server.enrolment_code.as_ref().map(|code| code.to_string()).unwrap_or_default();
    let played = story(&server.url(), &code);
    runtime.block_on(server.stop());
    Ok((played?, Place { folder, root_passphrase }))
}

/// The files of a folder, by name.
fn read_dir(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let failed = |error: std::io::Error| Failure::because(&format!("cannot read {}", dir.display()), &error);
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            let bytes = std::fs::read(entry.path()).map_err(failed)?;
            documents.push((entry.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    documents.sort();
    let largest = documents.iter().find(|(_, bytes)| bytes.len() > LARGEST);
    match (documents.is_empty(), largest) {
        (true, _) => Err(Failure::Usage(format!("{} has no files", dir.display()))),
        (_, Some((name, _))) => {
            Err(Failure::Usage(format!("{name} is larger than 700 KiB, too large for one request")))
        }
        _ => Ok(documents),
    }
}

/// A file of this size is a request of just under 1 MiB in base64.
const LARGEST: usize = 700 * 1024;

fn random_text() -> String {
    let mut bytes = [0_u8; 16];
    Entropy::system().fill(&mut bytes);
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_of_which_something_did_not_hold_fails_and_says_what() {
        let fact = |fact: &str, held| Fact { fact: fact.to_string(), held };
        assert!(all_held(&[fact("it was stopped", true)]).is_ok());
        let failure = all_held(&[fact("it was stopped", true), fact("its sibling was not", false)]).unwrap_err();
        assert_eq!((failure.code(), failure.to_string().as_str()), (1, "this did not hold: its sibling was not"));
    }
}
