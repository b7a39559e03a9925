//! The fuzz targets: built with coverage by a stable compiler, run on their corpus, then on what libFuzzer makes of it.
//!
//! What cargo-fuzz does beyond this needs a nightly compiler. The flags are its own, without a sanitizer: the crates have no
//! `unsafe` of their own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{self, Counts, NotPassed};
use crate::tools;
use crate::workshop::Workshop;

/// Enough to notice that a promise was broken; a new weakness is for the long run.
pub(crate) fn short(workshop: &Workshop) -> Result<Counts, NotPassed> {
    run(workshop, 20)
}

pub(crate) fn long(workshop: &Workshop) -> Result<Counts, NotPassed> {
    run(workshop, 120)
}

/// Counts targets.
fn run(workshop: &Workshop, seconds: u32) -> Result<Counts, NotPassed> {
    if !cfg!(unix) {
        return Err(NotPassed::Skipped("libFuzzer is built here for Unix alone".to_owned()));
    }
    tools::need(workshop, "c++", "g++").map_err(NotPassed::Skipped)?;
    let targets = targets(&workshop.root).map_err(NotPassed::Failed)?;
    let programs = build(workshop)?;
    let mut counts = Counts::default();
    for target in &targets {
        println!("\n--- {target}");
        match fuzz(workshop, &programs.join(target), target, seconds) {
            Ok(_) => counts.passed = counts.passed.saturating_add(1),
            Err(NotPassed::Failed(why) | NotPassed::Skipped(why)) => {
                println!("{why}");
                counts.failed = counts.failed.saturating_add(1);
            }
        }
    }
    Ok(counts)
}

/// One for each folder of the corpus.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let corpus = root.join(CORPUS);
    let folders = fs::read_dir(&corpus).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let folders = folders.map_err(|error| format!("{} cannot be read: {error}", corpus.display()))?;
    let mut names: Vec<String> = folders.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// In a folder of their own: other flags would have everything else built anew. The flags are for the target, so that
/// build scripts are left alone. Returns where the programs lie.
fn build(workshop: &Workshop) -> Result<PathBuf, NotPassed> {
    let triple = triple(workshop).map_err(NotPassed::Failed)?;
    let folder = workshop.fuzzing();
    let mut command = workshop.cargo();
    command.args(["build", "--locked", "--release", "--bins", "--manifest-path", MANIFEST, "--target", &triple]);
    command.arg("--target-dir").arg(&folder).env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    child::run(&mut command)?;
    Ok(folder.join(triple).join("release"))
}

/// Every file of the corpus, whatever it is worth; then what can be made of it.
fn fuzz(workshop: &Workshop, program: &Path, target: &str, seconds: u32) -> Result<Counts, NotPassed> {
    let (corpus, found) = (workshop.root.join(CORPUS).join(target), workshop.fuzzing().join("found"));
    // Anew each time: what is worth keeping is in the corpus.
    let fresh = workshop.fuzzing().join("fresh").join(target);
    let prepared = fs::remove_dir_all(&fresh).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    // A target's own files go there, too: it ends without cleaning up.
    let (scratch, learnt) = (fresh.join("scratch"), fresh.join("corpus"));
    prepared
        .and_then(|()| fs::create_dir_all(&scratch))
        .and_then(|()| fs::create_dir_all(&learnt))
        .and_then(|()| fs::create_dir_all(&found))
        .map_err(|error| NotPassed::Failed(format!("{} cannot be made: {error}", fresh.display())))?;
    let artifacts = format!("-artifact_prefix={}/{target}-", found.display());
    let run = || {
        let mut command = workshop.command(program);
        command.env("TMPDIR", &scratch);
        command
    };
    child::run(run().args(["-runs=0", "-verbosity=0", &artifacts]).arg(&corpus))?;
    let time = format!("-max_total_time={seconds}");
    let options = ["-max_len=8192", "-print_final_stats=1", "-print_funcs=0", "-verbosity=0", &time, &artifacts];
    child::run(run().args(options).args([&learnt, &corpus]))
}

/// The machine's, as the compiler names it.
fn triple(workshop: &Workshop) -> Result<String, String> {
    let output = workshop.command("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc names no host".to_owned())
}

const MANIFEST: &str = "fuzz/Cargo.toml";
const CORPUS: &str = "fuzz/corpus";
/// As cargo-fuzz 0.13 has them, and warnings are errors.
const FLAGS: [&str; 7] = [
    "-Dwarnings",
    "-Cpasses=sancov-module",
    "-Ccodegen-units=1",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_target_has_a_corpus() {
        let root = Path::new("..");
        let manifest = fs::read_to_string(root.join(MANIFEST)).unwrap();
        let built = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
        let built: Vec<&str> = built.filter_map(|file| file.strip_suffix(".rs\"")).collect();
        assert_eq!(targets(root).unwrap(), built);
    }

    /// What is fuzzed is what is shipped.
    #[test]
    fn the_fuzz_targets_have_the_dependencies_of_the_workspace() {
        let packages = |lock: &str| -> BTreeSet<(String, String)> {
            let text = fs::read_to_string(Path::new("..").join(lock)).unwrap();
            let field = |package: &str, name: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
                line.map(|value| value.trim_matches('"').to_string()).unwrap_or_default()
            };
            text.split("[[package]]").skip(1).map(|one| (field(one, "name"), field(one, "version"))).collect()
        };
        let (own, shipped) = (packages("fuzz/Cargo.lock"), packages("Cargo.lock"));
        let names: BTreeSet<&str> = shipped.iter().map(|(name, _)| name.as_str()).collect();
        let other: Vec<_> = own.difference(&shipped).filter(|(name, _)| names.contains(name.as_str())).collect();
        assert!(other.is_empty(), "{other:?}: cargo update --manifest-path fuzz/Cargo.toml -p NAME --precise VERSION");
    }
}
