//! The list of those that are told on a deployment, too.

use aegis_tests::deployed::listed;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn what_is_on_the_list_is_a_scenario_and_there_once() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--list", "--format", "terse"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let scenarios: BTreeSet<&str> = said.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let mut seen = BTreeSet::new();
    for (name, reason) in listed() {
        assert!(scenarios.contains(name), "there is no {name}");
        assert!(seen.insert(name), "{name} is there twice");
        assert_ne!(reason, Some(""), "{name} is left out without a reason");
    }
    assert!(listed().any(|(_, reason)| reason.is_none()));
}
