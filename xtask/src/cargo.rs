//! Suites that are one cargo command.
//!
//! All but those that only check build the default members, whichever they want of them: cargo then chooses the same
//! features every time, and builds each dependency once.

use std::io::IsTerminal;

use crate::child::{self, Counts, NotPassed};
use crate::deploy::add;
use crate::workshop::Workshop;

pub(crate) fn fmt(workshop: &Workshop) -> Result<Counts, NotPassed> {
    child::run(workshop.cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own.
    child::run(workshop.cargo().args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

pub(crate) fn clippy(workshop: &Workshop) -> Result<Counts, NotPassed> {
    // With what only tests are built with: nothing of the rest is left out by it.
    let features = "aegis-aws/emulator,aegis-cli/aws-kms,aegis-cli/mcp-fixtures,aegis-functions/lambda,aegis-keystores/emulator,aegis-tests/deployed";
    let all = ["clippy", "--workspace", "--all-targets", "--features", features];
    child::run(workshop.cargo().args(all).args(["--", "-D", "warnings"]))
}

pub(crate) fn docs(workshop: &Workshop) -> Result<Counts, NotPassed> {
    child::run(workshop.cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

pub(crate) fn unit(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let mut command = workshop.cargo();
    command.args(["test", "--lib", "--bins", "--no-fail-fast"]).args(in_colour());
    child::run_cargo_tests(&mut command)
}

pub(crate) fn scenarios(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let aegis = workshop.aegis()?;
    let mut command = workshop.cargo();
    command.args(["test", "--test", "*", "--no-fail-fast"]).args(in_colour());
    child::run_cargo_tests(command.env("AEGIS_BIN", aegis))
}

/// The same stories where an edge decides and something else acts, as on AWS. What is told of requests there is otherwise:
/// an edge reads once more, and each permit that crosses has a record.
pub(crate) fn halves(workshop: &Workshop) -> Result<Counts, NotPassed> {
    const OTHERWISE: &[&str] = &[
        "audit::a_query_that_shows_more_than_the_one_on_record_is_on_record_too",
        "audit::reading_the_trail_is_on_record_once",
        "faults::a_signature_costs_two_reads_and_one_write",
    ];
    let aegis = workshop.aegis()?;
    let mut command = workshop.cargo();
    command.args(["test", "--workspace", "--test", "scenarios", "--no-fail-fast", "--"]);
    // What starts the program, or speaks to it over a socket, knows no halves.
    let whole = ["crash", "front", "recovery", "serve", "webhooks", "wire", "backup"];
    command.args(OTHERWISE.iter().copied().chain(whole).flat_map(|name| ["--skip", name]));
    // What the roles of functions are used for, and then whether that is all they allow.
    let used = workshop.tools().join("grants-used");
    let _ = std::fs::create_dir_all(workshop.tools()).and_then(|()| std::fs::remove_file(&used));
    command.env("AEGIS_BIN", aegis).env("AEGIS_TEST_HALVES", "1");
    let mut counts = child::run_cargo_tests(command.env("AEGIS_TEST_USED", &used))?;
    let mut judged = workshop.cargo();
    judged.args([
        "test",
        "--workspace",
        "--test",
        "scenarios",
        "--",
        "--exact",
        "halves::every_grant_of_writing_is_used",
    ]);
    add(&mut counts, &child::run_cargo_tests(judged.env("AEGIS_TEST_WAS_USED", used))?);
    Ok(counts)
}

/// 200 kills instead of 20, and 10^5 requests in the revocation race.
pub(crate) fn long(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let aegis = workshop.aegis()?;
    let mut command = workshop.cargo();
    command.args(["test", "--test", "scenarios", "--no-fail-fast", "--", "crash", "revocation"]);
    child::run_cargo_tests(command.env("AEGIS_BIN", aegis).env("AEGIS_FULL", "1"))
}

/// Builds what is measured as it is released, and measures it. No suite: figures are no pass or fail.
pub(crate) fn bench(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let build = ["build", "--release", "--package", "aegis-cli", "--package", "aegis-benches", "--bins"];
    child::run(workshop.cargo().args(build))?;
    let (aegis, load) = (workshop.released("aegis"), workshop.released("load"));
    child::run(workshop.command(load).env("AEGIS_BIN", aegis))
}

/// What detection reaches on generated fleets; the harness has arguments of its own.
pub(crate) fn bench_detect(workshop: &Workshop, arguments: &[String]) -> Result<Counts, NotPassed> {
    child::run(workshop.cargo().args(["build", "--release", "--bin", "detect"]))?;
    child::run(workshop.command(workshop.released("detect")).args(arguments))
}

/// Fails if detection reaches less on the test seeds than is claimed.
pub(crate) fn detect(workshop: &Workshop) -> Result<Counts, NotPassed> {
    bench_detect(workshop, &["--test".to_string(), "--check".to_string()])
}

/// The commands the README names, so that both build the same thing.
pub(crate) fn demo(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let mut counts = Counts::default();
    for story in [["demo"].as_slice(), &["demo", "burst"], &["demo", "mcp"], &["demo", "step-up"]] {
        let command = ["run", "--release", "--bin", "aegis", "--", "--json"];
        let passed = child::run(workshop.cargo().args(command).args(story))?.passed;
        counts.passed = counts.passed.saturating_add(passed);
    }
    Ok(counts)
}

/// Test binaries write to a pipe here, so they have to be told. Cargo itself still sees the terminal.
fn in_colour() -> &'static [&'static str] {
    match std::io::stdout().is_terminal() {
        true => &["--", "--color", "always"],
        false => &[],
    }
}
