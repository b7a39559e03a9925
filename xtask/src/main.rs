//! The project's own tasks: `cargo xtask test`, `cargo xtask ci` and `cargo xtask bench`.
//!
//! Each suite is a child process with its output streamed. A suite that cannot run on this machine is reported as
//! skipped, with the reason; the last line counts what passed, failed and was skipped.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool reports on its terminal")]

mod aws;
mod cargo;
mod child;
mod deny;
mod deploy;
mod drift;
mod faults;
mod fuzz;
mod interop;
mod keychain;
mod lambda;
mod mcp;
mod oidc;
mod page;
mod relay;
mod report;
mod scenarios;
mod suites;
mod terraform;
mod tools;
mod workshop;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};

use crate::child::NotPassed;
use crate::suites::{Suite, Tier};
use crate::workshop::Workshop;

fn main() -> ExitCode {
    match run(&Xtask::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing failed.
fn run(xtask: &Xtask) -> Result<bool, String> {
    let (chosen, choice, earlier) = match &xtask.task {
        Task::Bench { what } => {
            let workshop = Workshop::find()?;
            let measured = match what {
                Some(Bench::Detect { arguments }) => cargo::bench_detect(&workshop, arguments),
                None => cargo::bench(&workshop),
            };
            return measured.map(|_| true).map_err(|_| "the measurement did not run to its end".to_string());
        }
        Task::Zips => {
            let workshop = Workshop::find()?;
            return match lambda::zips(&workshop, "lambda") {
                Ok(folder) => {
                    println!("{}", folder.display());
                    Ok(true)
                }
                Err(NotPassed::Failed(why) | NotPassed::Skipped(why)) => Err(why),
            };
        }
        Task::Test { quick, full, choice } => (suites::for_test(tier(*quick, *full)), choice, Duration::ZERO),
        Task::Ci { full, choice, started } => (suites::for_ci(tier(false, *full)), choice, since(*started)),
    };
    let chosen = choice.apply(chosen)?;
    report::plan(&chosen);
    if choice.list {
        return Ok(true);
    }
    let workshop = Workshop::find()?;
    let results = report::run_all(&chosen, &workshop);
    Ok(report::close(&results, earlier))
}

fn tier(quick: bool, full: bool) -> Tier {
    match (quick, full) {
        (true, _) => Tier::Quick,
        (_, true) => Tier::Full,
        _ => Tier::Standard,
    }
}

/// What passed since `started`, in Unix seconds.
fn since(started: Option<u64>) -> Duration {
    started
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .and_then(|then| SystemTime::now().duration_since(then).ok())
        .unwrap_or_default()
}

/// The project's own tasks.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure a signature with every check and a durable record beside a server that only signs.
    Bench {
        #[command(subcommand)]
        what: Option<Bench>,
    },
    /// Build the functions of a deployment on AWS, each a zip, and say where they are.
    Zips,
    /// Run the test suites, installing what they need.
    Test {
        /// Only what needs nothing installed: the newcomer's path.
        #[arg(long, conflicts_with = "full")]
        quick: bool,
        /// Add the long runs.
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        choice: Choice,
    },
    /// Check format, lints, dependencies and docs, then run the test suites.
    Ci {
        /// Add the long runs.
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        choice: Choice,
        /// When the caller began, in Unix seconds, so that the total includes it.
        #[arg(long, hide = true)]
        started: Option<u64>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Measure how well attacks are found, and how often the innocent are stopped, on generated fleets.
    Detect {
        /// Handed on: `--test`, `--json`, `--check`, `--write DIR`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
}

#[derive(Args)]
struct Choice {
    /// Run this suite, of any length; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Print the plan and stop.
    #[arg(long)]
    list: bool,
}

impl Choice {
    fn apply(&self, chosen: Vec<&'static Suite>) -> Result<Vec<&'static Suite>, String> {
        if self.only.is_empty() {
            return Ok(chosen);
        }
        self.only.iter().map(|name| suites::named(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Xtask::command().debug_assert();
    }

    #[test]
    fn only_takes_known_names() {
        let choice = |name: &str| Choice { only: vec![name.to_owned()], list: false };
        assert_eq!(choice("demo").apply(Vec::new()).unwrap()[0].name, "demo");
        assert!(choice("dmeo").apply(Vec::new()).is_err_and(|problem| problem.contains("demo")));
    }
}
