//! The command line works against a deployment as against a server on the desk.

use aegis_tests::site::{EVERYTHING, Site, site};
use serde_json::Value;
use std::process::{Command, Output};

pub(crate) fn aegis(site: &Site, token: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::var("AEGIS_BIN").unwrap());
    command.env_clear().env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
    command.env("AEGIS_TOKEN", token).args(["--url", &site.url, "--json"]).args(arguments);
    command.output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn keys_and_agents_are_listed_and_what_is_none_is_said_to_be_none() {
    let site = site();
    let carol = site.log_in("carol@org", &EVERYTHING);
    let key = site.key(&carol, &site.name("listed"), "Ed25519");
    assert_eq!(said(&aegis(site, &carol, &["whoami"]))["human"], "carol@org");
    let shown = said(&aegis(site, &carol, &["key", "get", key["id"].as_str().unwrap()]));
    assert_eq!(shown["id"], key["id"]);
    let missing = aegis(site, &carol, &["key", "get", "no-such-key"]);
    assert_eq!(missing.status.code(), Some(4), "{}", String::from_utf8_lossy(&missing.stderr));
    let nobody = aegis(site, "x.y.z", &["whoami"]);
    assert_eq!(nobody.status.code(), Some(3), "{}", String::from_utf8_lossy(&nobody.stderr));
}

/// `aegis demo --url URL`: every fact of the story holds there.
#[test]
fn the_demo_is_played_on_it() {
    let site = site();
    let dora = site.log_in("dora@org", &EVERYTHING);
    let story = said(&aegis(site, &dora, &["demo"]));
    assert_eq!(story["held"], true, "{story}");
    assert_eq!(story["story"]["signatures"], 49);
}

/// As docs/USAGE.md has it, in a folder of its own. A context without a session knows nobody.
#[test]
fn a_deployment_is_spoken_to_by_its_name() {
    let site = site();
    let cora = site.log_in("cora@org", &EVERYTHING);
    let home = tempfile::tempdir().unwrap();
    let run = |token: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(std::env::var("AEGIS_BIN").unwrap());
        command.env_clear().env("HOME", home.path()).env("AEGIS_HOME", home.path()).args(["--json"]).args(arguments);
        command.envs(token.map(|token| ("AEGIS_TOKEN", token))).output().unwrap()
    };
    for (name, url) in [("desk", "http://127.0.0.1:1"), ("prod", &site.url)] {
        let added = run(None, &["context", "add", name, url]);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
    let prod = ["--context", "prod"];
    assert_eq!(said(&run(Some(&cora), &[&prod[..], &["whoami"]].concat()))["human"], "cora@org");
    // The first one is the current one.
    assert!(!run(Some(&cora), &["whoami"]).status.success());
    assert!(run(None, &["context", "use", "prod"]).status.success());
    let name = site.name("of-the-context");
    let key = said(&run(Some(&cora), &["key", "create", &name, "--algorithm", "Ed25519", "--activate"]));
    assert_eq!(said(&run(Some(&cora), &["key", "get", &name]))["id"], key["id"]);
    assert_eq!(said(&run(None, &["context", "list"]))["current"], "prod");
    assert_eq!(run(None, &["whoami"]).status.code(), Some(3), "nobody is logged in there");
    assert_eq!(run(Some(&cora), &["--context", "none", "whoami"]).status.code(), Some(2));
}
