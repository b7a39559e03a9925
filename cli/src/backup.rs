//! `aegis backup`: the data folder of `aegis serve` as one sealed file. Works on files alone and asks no server.

use crate::Failure;
use crate::client::output;
use crate::serve::passphrase;
use aegis_core::ambient::Timestamp;
use aegis_embedded::backup::{self, BackupError, Progress, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Subcommand)]
#[command(after_help = "\
A backup is sealed under the passphrase of the root key as it is when the backup is made. Keep that
passphrase: the backup is worth nothing without it.

Example:
  aegis backup verify aegis-2026-03-01.backup")]
pub(crate) enum Command {
    /// Back up a data folder, whether or not a server runs on it
    #[command(after_help = "\
Holds everything that was answered before it began. Replaces no file.

Example:
  aegis backup create --data ./aegis-data -o aegis.backup --passphrase-file ./passphrase")]
    Create {
        /// The data folder
        #[arg(long, env = "AEGIS_DATA", value_name = "DIR")]
        data: PathBuf,
        /// The backup to write
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFile,
    },
    /// Restore a backup into an empty folder; every token issued before is refused from then on
    #[command(after_help = "\
What was revoked, frozen or destroyed after the backup was made is as it was then: review it before
agents get new credentials. Never let the old folder and the restored one serve at the same time.

Example:
  aegis backup restore aegis-2026-03-01.backup --data ./restored")]
    Restore {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The folder; made if there is none
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFile,
    },
    /// Check a backup to its last byte, and show what it holds
    #[command(after_help = "\
Unpacks the store into the folder for temporary files (TMPDIR) for as long as it takes.

Example:
  aegis backup verify aegis-2026-03-01.backup")]
    Verify {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseFile,
    },
}

#[derive(clap::Args)]
pub(crate) struct PassphraseFile {
    /// The file that holds the passphrase of the root key [default: AEGIS_PASSPHRASE, else ask]
    #[arg(long = "passphrase-file", env = "AEGIS_PASSPHRASE_FILE", value_name = "FILE")]
    path: Option<PathBuf>,
}

pub(crate) fn run(command: &Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create { data, output, passphrase: PassphraseFile { path } } => {
            let secret = passphrase(path.as_deref())?;
            let bar = Bar::new();
            let made = backup::create(data, output, &secret, now(), &mut |progress| bar.show(progress));
            bar.clear();
            show(&made.map_err(|error| not("made", &error))?, output, json, &[])
        }
        Command::Restore { file, data, passphrase: PassphraseFile { path } } => {
            let secret = passphrase(path.as_deref())?;
            let bar = Bar::new();
            let restored = backup::restore(file, data, &secret, &mut |progress| bar.show(progress));
            bar.clear();
            let restored = restored.map_err(|error| not("restored", &error))?;
            show(&restored, file, json, &[("data", data)])?;
            advise(&restored);
            Ok(())
        }
        Command::Verify { file, passphrase: PassphraseFile { path } } => {
            let secret = passphrase(path.as_deref())?;
            let scratch = tempfile::Builder::new().prefix("aegis-backup-").tempdir();
            let scratch = scratch.map_err(|error| Failure::because("cannot make a temporary folder", &error))?;
            let bar = Bar::new();
            let verified = backup::verify(file, &secret, scratch.path(), &mut |progress| bar.show(progress));
            bar.clear();
            show(&verified.map_err(|error| not("good", &error))?, file, json, &[])
        }
    }
}

fn not(what: &str, error: &BackupError) -> Failure {
    Failure::because(&format!("the backup was not {what}"), error)
}

fn show(summary: &Summary, file: &Path, json: bool, more: &[(&str, &Path)]) -> Result<(), Failure> {
    let Summary { deployment, made_at, epoch, store_format, keys, agents, active_agents, records, newest_record } =
        summary;
    if json {
        let mut document = json!({
            "backup": file,
            "deployment": deployment,
            "made_at": made_at,
            "epoch": epoch,
            "store_format": store_format,
            "keys": keys,
            "agents": agents,
            "active_agents": active_agents,
            "records": records,
            "newest_record": newest_record,
        });
        for (name, path) in more {
            if let Some(fields) = document.as_object_mut() {
                fields.insert(name.to_string(), Value::from(path.to_string_lossy()));
            }
        }
        return output::json(&document);
    }
    let newest = newest_record.map(|at| format!(", the newest of {at:.3}")).unwrap_or_default();
    let mut fields = vec![
        ("backup", file.display().to_string()),
        ("made at", format!("{made_at:.3}")),
        ("deployment", format!("{deployment}, epoch {epoch}")),
        ("keys", keys.to_string()),
        ("agents", format!("{agents}, of which {active_agents} active")),
        ("records", format!("{records}{newest}")),
    ];
    fields.extend(more.iter().map(|(name, path)| (*name, path.display().to_string())));
    output::line(&output::details(&fields))
}

/// What a restore cannot know, its operator must.
fn advise(restored: &Summary) {
    let Summary { made_at, active_agents, .. } = restored;
    output::note("\nEvery token issued before is refused: people log in again, agents get new credentials.");
    output::note(&format!(
        "Agents, keys and humans are as they were at {made_at:.3}, whatever was revoked or destroyed since.\n\
         Review the {active_agents} active agents before you issue credentials to them: aegis agent list"
    ));
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// How far it is, on a terminal; nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::no_length(),
            false => ProgressBar::hidden(),
        };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let waiting = |what: &'static str| {
            self.0.set_style(style("{spinner} {msg} {elapsed}"));
            self.0.set_message(what);
        };
        match progress {
            Progress::Copying => waiting("copying the store"),
            Progress::Checking => waiting("checking the store"),
            Progress::Moved { done, total } => {
                if self.0.length() != Some(total) {
                    self.0.set_style(style("{bar:30} {bytes} of {total_bytes}, {eta} left"));
                    self.0.set_length(total);
                }
                self.0.set_position(done);
            }
        }
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
