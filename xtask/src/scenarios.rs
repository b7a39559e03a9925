//! The scenarios, told on a deployment: those that need nothing of one in their own process.

use std::collections::BTreeSet;
use std::fs;

use crate::child::{self, Counts, NotPassed};
use crate::deploy::Deployed;

/// Which of those on the list are told.
pub(crate) type Chosen = fn(&str) -> bool;

pub(crate) const ALL: Chosen = |_| true;

/// What of each kind is told where all would take too long.
pub(crate) const CORE: Chosen = |name| {
    let modules = ["agents", "keys", "limits", "tokens"];
    modules.iter().any(|module| name.strip_prefix(module).is_some_and(|rest| rest.starts_with("::")))
};

/// Of a deployment that is new: what each scenario will find.
pub(crate) fn keep(deployed: &Deployed<'_>) -> Result<(), NotPassed> {
    child::run(deployed.script(EMPTY).arg("keep")).map(|_| ())
}

/// One after the other, each on an empty deployment, which is good for nothing else afterwards. One that was not told there
/// fails, whatever it says of itself.
pub(crate) fn tell(deployed: &Deployed<'_>, chosen: Chosen) -> Result<Counts, NotPassed> {
    child::run(deployed.script(EMPTY).arg("hold"))?;
    let names: BTreeSet<&str> = listed().filter(|name| chosen(name)).collect();
    let mut arguments = vec!["--test-threads=1", "--exact"];
    arguments.extend(&names);
    let told = deployed.outputs.with_file_name("told");
    let _ = fs::remove_file(&told);
    let mut counts = child::run_cargo_tests(&mut deployed.command("scenarios", &arguments))?;
    let told = fs::read_to_string(&told).unwrap_or_default();
    let told: BTreeSet<&str> = told.lines().collect();
    for name in names.difference(&told) {
        println!("{name} was not told on the deployment");
        counts.failed = counts.failed.saturating_add(1);
    }
    println!("{} scenarios were told on the deployment, of {} that can be", told.len(), listed().count());
    Ok(counts)
}

/// The tests see to it that each is there, and that none is missing.
fn listed() -> impl Iterator<Item = &'static str> {
    const LIST: &str = include_str!("../../tests/tests/scenarios/listed.txt");
    LIST.lines().filter(|line| line.starts_with(char::is_alphabetic))
}

const EMPTY: &str = "tests/aws/empty.py";
