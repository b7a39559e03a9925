//! How well attacks are found, and how seldom the innocent are stopped: seeded organisations and attacks on them, judged
//! by the engine, by static rules and by half-space trees.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a measuring tool: what fails ends it, and its numbers are small"
)]

mod attack;
mod fleet;
mod label;
mod random;
mod seeds;
mod write;

use clap::Parser;
use std::path::PathBuf;

fn main() {
    let choice = Choice::parse();
    let seeds = if choice.test { &seeds::TEST } else { &seeds::TRAIN };
    if let Some(folder) = &choice.write {
        for (number, seed) in seeds.iter().enumerate() {
            write::write(folder, number, *seed).unwrap();
        }
    }
}

#[derive(Parser)]
struct Choice {
    /// Use the test seeds, not the train seeds. Thresholds are frozen before this is run.
    #[arg(long)]
    test: bool,
    /// Write the data there as well: per organisation `events.jsonl` and `labels.csv`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}
