//! `aegis demo`: stories, each played against a fresh embedded server through its public REST API.

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
use crate::serve::Server;
use crate::serve::config::Settings;
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::encoding::hex;
use aegis_embedded::root::Passphrase;
use scribe::Fact;
use serde::Serialize;
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

pub(crate) fn run(arguments: &Arguments, json: bool) -> Result<(), Failure> {
    match arguments.story {
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

/// The flagship.
fn play(arguments: &Arguments, json: bool) -> Result<(), Failure> {
    let documents = match &arguments.dir {
        Some(dir) => read_dir(dir)?,
        None => invoices::INVOICES.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect(),
    };
    let show = render::Live::new(!json, "an agent goes rogue");
    let (story, place) = on_a_fresh_server(|url, code| story::play(url, code, &random_text(), &documents, &show))?;
    let Place { folder, root_passphrase } = place;
    let kept = arguments.keep.then(|| folder.keep());
    match json {
        true => render::json(&story, &story.facts, kept.as_deref())?,
        false => render::text(&story, kept.as_deref(), &root_passphrase),
    }
    all_held(&story.facts)
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
