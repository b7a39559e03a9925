//! `aegis rules`: what Aegis does by itself, as one document. Files are checked and compared here; what counts is what the
//! deployment says of them.

mod changes;
mod difference;

use super::connection::{Client, Connection};
use super::output::{self, field};
use super::payload;
use super::quantity::Moment;
use crate::Failure;
use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aegis_core::operations::rules::{ApplyRules, RollBackRules};
use aegis_core::operations::rules_dry_run::DryRunRules;
use aegis_core::rules::{Mode, RuleSet, weakenings};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
#[command(after_help = "\
What protects less than before needs a second human with the role admin or operator, within a day.

Examples:
  aegis rules show > rules.toml           the document in force, to be edited
  aegis rules validate rules.toml         without a deployment
  aegis rules diff rules.toml
  aegis rules dry-run rules.toml --since 7d
  aegis rules apply rules.toml
  aegis rules confirm 3                   as the second human
  aegis rules rollback")]
pub(crate) enum Command {
    /// Print the document in force, or another version
    #[command(after_help = "\
Who put it in force, and what waits for a second human, goes to standard error.

Examples:
  aegis rules show > rules.toml
  aegis rules show --version 0            those that Aegis ships with")]
    Show {
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// Check a document, without a deployment
    #[command(after_help = "Example:\n  aegis rules validate rules.toml")]
    Validate { file: PathBuf },
    /// Put a document in force, or propose it to a second human where it protects less
    #[command(after_help = "Examples:\n  aegis rules apply rules.toml\n  aegis rules apply rules.toml --dry-run")]
    Apply {
        file: PathBuf,
        /// Only say what would come of it
        #[arg(long)]
        dry_run: bool,
        /// The version it was written against, if not the one in force now
        #[arg(long, value_name = "N")]
        expected_version: Option<u32>,
    },
    /// Compare a document, or another version, with the one in force
    #[command(after_help = "Examples:\n  aegis rules diff rules.toml\n  aegis rules diff --version 3")]
    Diff {
        #[arg(required_unless_present = "version", conflicts_with = "version")]
        file: Option<PathBuf>,
        #[arg(long, value_name = "N")]
        version: Option<u32>,
    },
    /// Put an earlier version in force again: the one before, or the one named
    #[command(after_help = "Examples:\n  aegis rules rollback\n  aegis rules rollback 2")]
    Rollback { version: Option<u32> },
    /// Show what rules would have done about the recorded past, beside what was done
    #[command(after_help = "\
Of the rules in force, if no file is named. An agent's purpose and a key's tier are those of today.

Example:
  aegis rules dry-run rules.toml --since 7d")]
    DryRun {
        file: Option<PathBuf>,
        /// From this moment on: RFC 3339, or 1h, 7d for as long ago
        #[arg(long, value_name = "WHEN", default_value = "7d")]
        since: Moment,
    },
    /// Put in force what another human proposed
    #[command(after_help = "Read it first.\n\nExample:\n  aegis rules diff --version 3 && aegis rules confirm 3")]
    Confirm { version: u32 },
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    if let Command::Validate { file } = command {
        return validate(connection, file);
    }
    let client = connection.client()?;
    match command {
        Command::Show { version } => show(&client, *version),
        Command::Validate { .. } => Ok(()),
        Command::Apply { file, dry_run, expected_version } => {
            let (toml, _) = read(file)?;
            let expected_version = expected_version.map_or_else(|| in_force(&client), Ok)?;
            let body = ApplyRules { toml, expected_version, dry_run: *dry_run };
            let answer = client.api.put(PATH, &body)?.ok("apply the rules")?;
            client.show(&answer, changes::told)
        }
        Command::Diff { file, version } => diff(&client, file.as_deref(), *version),
        Command::Rollback { version } => {
            let body = RollBackRules { version: *version, expected_version: in_force(&client)? };
            let answer = client.api.post(&format!("{PATH}/rollback"), &body)?.ok("roll the rules back")?;
            client.show(&answer, changes::told)
        }
        Command::DryRun { file, since } => {
            let toml = file.as_deref().map(|file| Ok::<_, Failure>(read(file)?.0)).transpose()?;
            let body = DryRunRules { toml, since: since.before(Timestamp::now()) };
            let answer = client.api.post(&format!("{PATH}/dry-run"), &body)?.ok("try the rules")?;
            client.show(&answer, changes::tried)
        }
        Command::Confirm { version } => {
            let answer = client.api.post(&format!("{PATH}/{version}/confirm"), &json!({}))?;
            client.show(&answer.ok("confirm the rules")?, changes::told)
        }
    }
}

const PATH: &str = "/v1/response-rules";

fn show(client: &Client, version: Option<u32>) -> Result<(), Failure> {
    let shown = find(client, version)?;
    if client.json {
        return output::json(&shown);
    }
    output::note(&changes::about(&shown));
    output::print(field(&shown, "/toml").as_bytes())
}

fn validate(connection: &Connection, file: &Path) -> Result<(), Failure> {
    let (_, rules) = read(file)?;
    let mode = if rules.mode == Mode::Observe { "observe" } else { "enforce" };
    let (count, per_hour) = (rules.rules.len(), rules.budget.per_hour);
    if connection.json {
        let weakens = weakenings(&RuleSet::default(), &rules);
        return output::json(&json!({ "rules": count, "mode": mode, "per_hour": per_hour, "weakens": weakens }));
    }
    let weakens = weakenings(&RuleSet::default(), &rules);
    output::line(&format!(
        "{} is valid: {count} rules, mode {mode}, at most {per_hour} automatic stops an hour of what is merely unlikely",
        file.display()
    ))?;
    match weakens.is_empty() {
        true => Ok(()),
        false => output::line(&format!("\nprotects less than the built-in rules:\n{}", changes::bullets(&weakens))),
    }
}

fn diff(client: &Client, file: Option<&Path>, version: Option<u32>) -> Result<(), Failure> {
    let old = find(client, None)?;
    let new = match file {
        Some(file) => read(file)?.0,
        None => field(&find(client, version)?, "/toml"),
    };
    let (from, old) = (field(&old, "/version"), field(&old, "/toml"));
    let weakens = weakenings(&parse("the version in force", &old)?, &parse("the other version", &new)?);
    let lines = difference::between(&old, &new);
    if client.json {
        return output::json(&json!({ "from": from, "lines": lines, "weakens": weakens }));
    }
    if lines.is_empty() {
        return output::line(&format!("no difference to version {from}, which is in force"));
    }
    output::line(&format!("against version {from}, which is in force:\n{}", lines.join("\n")))?;
    output::line(&changes::weakened(&weakens))
}

fn find(client: &Client, version: Option<u32>) -> Result<Value, Failure> {
    let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
    client.api.get(&format!("{PATH}{query}"))?.ok("show the rules")
}

fn in_force(client: &Client) -> Result<u32, Failure> {
    let version = field(&find(client, None)?, "/version");
    version.parse().map_err(|error| Failure::because("the version in force", &error))
}

pub(crate) fn read(file: &Path) -> Result<(String, RuleSet), Failure> {
    let name = file.display().to_string();
    let bytes = payload::read(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| Failure::because(&name, &error))?;
    Ok((text.to_string(), parse(&name, text)?))
}

fn parse(name: &str, text: &str) -> Result<RuleSet, Failure> {
    RuleSet::parse(text).map_err(|error| match error {
        Error::Invalid { source, .. } => Failure::Usage(format!("{name}: {source}")),
        other => Failure::because(name, &other),
    })
}
