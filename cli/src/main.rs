//! The `aegis` command.

mod api;
mod backup;
mod client;
mod core_dumps;
mod demo;
mod failure;
mod replay;
mod serve;

use crate::client::connection::Connection;
pub(crate) use crate::failure::Failure;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Keeps AI agents from abusing keys: every call bound to an agent and the human behind it, decided, recorded, and
/// answered within the same second.
#[derive(Parser)]
#[command(name = "aegis", version, after_help = failure::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Client(Box<client::Command>),
    /// Back up a data folder, check a backup, restore one
    #[command(subcommand)]
    Backup(backup::Command),
    /// Play the flagship story on a fresh embedded server: an agent goes rogue and is stopped before its second misuse
    Demo(demo::Arguments),
    /// Judge recorded events: what score and detectors would have said of them
    Replay(replay::Arguments),
    /// Serve the API from one data folder
    Serve(serve::Arguments),
}

fn main() -> ExitCode {
    let Cli { connection, command } = Cli::parse();
    run(&connection, command).unwrap_or_else(|failure| {
        client::advice::report(&failure, connection.json);
        ExitCode::from(failure.code())
    })
}

fn run(connection: &Connection, command: Command) -> Result<ExitCode, Failure> {
    // Before there is anything to keep: a client holds tokens and passphrases, too.
    match &command {
        Command::Client(command) if command.runs_another_program() => core_dumps::forbid_own()?,
        _ => core_dumps::forbid()?,
    }
    match command {
        Command::Client(command) => return client::run(connection, &command),
        Command::Backup(command) => backup::run(&command, connection.json),
        Command::Demo(arguments) => demo::run(&arguments, connection),
        Command::Replay(arguments) => replay::run(&arguments, connection.json),
        Command::Serve(arguments) => serve::run(&arguments),
    }
    .map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    /// Where `--help` wraps: what is longer is torn apart.
    const WIDTH: usize = 100;

    /// What stands in a runbook is typed in a hurry.
    #[test]
    fn the_commands_of_the_runbooks_are_ones() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/runbooks");
        let (mut seen, mut pages) = (0, 0);
        for page in std::fs::read_dir(folder).unwrap() {
            let (page, before) = (page.unwrap().path(), seen);
            let text = std::fs::read_to_string(&page).unwrap();
            for line in text.lines().map(str::trim).filter(|line| line.starts_with("aegis ")) {
                let parsed = super::Cli::try_parse_from(line.split(' '));
                assert!(parsed.is_ok(), "{}: {line}: {}", page.display(), parsed.err().unwrap());
                seen += 1;
            }
            pages += 1;
            assert!(seen > before || page.ends_with("README.md"), "{}", page.display());
        }
        assert_eq!(pages, 7);
    }

    /// What is recorded, and what has expired, the clock of the machine says.
    #[test]
    fn no_flag_and_no_variable_tells_any_command_what_time_it_is() {
        let told = ["clock", "date", "epoch", "leeway", "now", "offset", "skew", "time", "today"];
        let mut commands = vec![super::Cli::command()];
        let mut seen = Vec::new();
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                let long = argument.get_long_and_visible_aliases().unwrap_or_default();
                let hidden = argument.get_all_aliases().unwrap_or_default();
                let variable = argument.get_env().and_then(std::ffi::OsStr::to_str);
                let names = [argument.get_id().as_str()].into_iter().chain(long).chain(hidden).chain(variable);
                for name in names.map(str::to_ascii_lowercase) {
                    let word = name.split(['-', '_']).find(|word| told.contains(word));
                    assert_eq!(word, None, "{} has {name}", command.get_name());
                    seen.push(name);
                }
            }
            commands.extend(command.get_subcommands().cloned());
        }
        for known in ["enrol-admin", "aegis_data", "since", "ttl"] {
            assert!(seen.iter().any(|name| name == known), "{known} was not looked at");
        }
    }

    #[test]
    fn every_command_shows_an_example_that_fits() {
        let mut commands = vec![super::Cli::command()];
        while let Some(command) = commands.pop() {
            let name = command.get_name().to_string();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(name == "aegis" || help.contains("Example"), "{name} shows no example");
            let long = help.lines().find(|line| line.len() > WIDTH);
            assert_eq!(long, None, "{name}");
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
