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
