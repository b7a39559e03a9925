//! The `aegis` command.

mod api;
mod demo;
mod serve;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Keeps AI agents from abusing keys: every call bound to an agent and the human behind it, decided, recorded, and
/// answered within the same second.
#[derive(Parser)]
#[command(name = "aegis", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play the flagship story on a fresh embedded server: an agent goes rogue and is stopped before its second misuse
    Demo(demo::Arguments),
    /// Serve the API from one data folder
    Serve(serve::Arguments),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done; the reason is on standard error
  2  the command line or the configuration is wrong";

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            anstream::eprintln!("aegis: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// Why a command failed: one sentence for its user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }

    /// A failure, and the chain of its causes.
    pub(crate) fn because(what: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self::Failed(text)
    }
}
