//! How well attacks are found, and how seldom the innocent are stopped: seeded organisations and attacks on them, judged
//! by the engine, by static rules and by half-space trees.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a measuring tool: what fails ends it, and its numbers are small"
)]

mod attack;
mod bar;
mod fleet;
mod judges;
mod label;
mod random;
mod report;
mod seeds;
mod statistics;
mod tally;
mod write;

use aegis_events::replay::Engine;
use clap::Parser;
use judges::rules::Rules;
use judges::trees::Trees;
use report::{OfJudge, Report};
use std::path::PathBuf;
use std::process::ExitCode;
use tally::{Case, Tally};

fn main() -> ExitCode {
    let choice = Choice::parse();
    let seeds = if choice.test { &seeds::TEST } else { &seeds::TRAIN };
    if let Some(folder) = &choice.write {
        for (number, seed) in seeds.iter().enumerate() {
            write::write(folder, number, *seed).unwrap();
        }
        return ExitCode::SUCCESS;
    }
    let report = measure(seeds);
    match choice.json {
        true => println!("{}", serde_json::to_string_pretty(&report).unwrap()),
        false => report.print(),
    }
    let missed: Vec<_> = report.judges[0].bar.iter().filter(|row| !row.meets(row.claimed)).collect();
    for row in &missed {
        eprintln!("{}: {:.3}, and {} is claimed", row.what, row.reached, row.claimed);
    }
    if choice.check && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Puts every story before every judge; the engine is the first.
fn measure(seeds: &[u64]) -> Report {
    let (mut engine, mut rules, mut trees) = (Tally::default(), Tally::default(), Tally::default());
    for story in seeds.iter().flat_map(|seed| seeds::stories(*seed)) {
        let case = Case::new(&story);
        case.put_before(&mut Engine::default(), &mut engine);
        case.put_before(&mut Rules::default(), &mut rules);
        case.put_before(&mut Trees::default(), &mut trees);
    }
    let named = [("engine", engine), ("static rules", rules), ("half-space trees", trees)];
    Report { seeds: seeds.to_vec(), judges: named.map(|(name, tally)| OfJudge::new(name, tally)).into() }
}

#[derive(Parser)]
struct Choice {
    /// Use the test seeds, not the train seeds. Thresholds are frozen before this is run.
    #[arg(long)]
    test: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Fail if less is reached than is claimed.
    #[arg(long)]
    check: bool,
    /// Only write the data there: per organisation `events.jsonl` and `labels.csv`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}
