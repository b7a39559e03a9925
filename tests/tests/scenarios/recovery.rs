//! What an operator meets when something is lost or changed: the root, the only admin, the identity provider.

use aegis_tests::message;
use aegis_tests::process::{PASSPHRASE, Process};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

#[test]
fn a_store_whose_root_is_gone_is_left_as_it_is() {
    // Stopped, with its log folded in; and killed, with all that was written still in the log.
    for killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let server = Process::start(folder.path());
        server.enrol();
        let alice = server.log_in();
        server.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519", "activate": true })).ok();
        if killed {
            server.kill()
        } else {
            assert!(server.terminate())
        }
        let root = std::fs::read(folder.path().join("root.sealed")).unwrap();
        std::fs::remove_file(folder.path().join("root.sealed")).unwrap();
        let before = bytes(folder.path());
        let said = refused(Process::try_start(folder.path(), PASSPHRASE), 1);
        assert!(said.contains("restore the root from a backup"), "{said}");
        assert_eq!(bytes(folder.path()), before, "killed: {killed}");

        std::fs::write(folder.path().join("root.sealed"), root).unwrap();
        let server = Process::start(folder.path());
        server.post(&alice, "/v1/keys/own-key/sign", message(b"x")).ok();
    }
}

#[test]
fn a_first_start_that_failed_is_followed_by_a_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    refused(Process::try_start(&data, "too short"), 1);
    assert!(Process::start(&data).code.is_some());
}

#[test]
fn the_only_admin_who_revoked_herself_comes_back_by_the_operators_hand() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.enrol();
    let alice = server.log_in();
    server.post(&alice, "/v1/humans/alice@org/revoke", json!({})).ok();
    let code = server.code.clone().unwrap();
    assert!(server.terminate());

    // A code that nobody used ends with the server that printed it.
    let unused = again(folder.path());
    let stale = unused.code.clone().unwrap();
    assert!(unused.terminate());
    let enrol = |server: &Process, code: &str| {
        let asked = json!({ "code": code, "human": "alice@org", "passphrase": "another passphrase" });
        server.post("", "/local/enroll", asked)
    };
    let server = Process::start(folder.path());
    assert_eq!(server.code, None);
    for old in [&code, &stale] {
        assert_eq!(enrol(&server, old).refused(401), "login_refused");
    }
    assert!(server.terminate());

    let server = again(folder.path());
    let fresh = server.code.clone().unwrap();
    enrol(&server, &fresh).ok();
    assert_eq!(enrol(&server, &fresh).refused(401), "login_refused");
    assert_eq!(server.get(&alice, "/v1/whoami").refused(401), "human_revoked", "what was issued before stays dead");
    let login =
        |passphrase: &str| server.post("", "/local/token", json!({ "human": "alice@org", "passphrase": passphrase }));
    assert_eq!(login(PASSPHRASE).refused(401), "login_refused");
    let session = server.exchange(&login("another passphrase").ok());
    let told = server.get(&session, "/v1/audit?op=human.enrol").ok();
    assert_eq!(told["items"].as_array().unwrap().len(), 2, "both enrolments are on record");
    assert!(server.terminate());
    assert_eq!(Process::start(folder.path()).code, None);
}

#[test]
fn the_humans_of_a_data_folder_come_from_one_provider_until_the_operator_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("aegis.toml"));
    let by = |issuer: &str, more: &str| {
        let text = format!("[oidc]\nissuer = '{issuer}'\nclient_id = 'aegis'\n{more}\n[roles]\nadmin = ['group:x']\n");
        std::fs::write(&config, text).unwrap();
    };
    let arguments = ["--config", config.to_str().unwrap(), "--rebind-issuer"];
    let start = |rebind: bool| Process::try_start_with(&data, if rebind { &arguments } else { &arguments[..2] });
    let (one, other) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    drop(Process::start(&data));
    by(one, "");
    let said = refused(start(false), 2);
    assert!(said.contains("come from the local issuer, and the settings take them from http://127.0.0.1:1,"), "{said}");
    assert!(said.contains("--rebind-issuer"), "{said}");
    // Told once, it stays so.
    drop(start(true).unwrap());
    drop(start(false).unwrap());
    assert!(refused(Process::try_start(&data, PASSPHRASE), 2).contains(&format!("come from {one}")));
    by(other, "");
    assert!(refused(start(false), 2).contains(&format!("come from {one}")));
    by(one, "human_claim = 'email'");
    assert!(refused(start(false), 2).contains(&format!("take them from {one} by email")));
    by(one, "");
    drop(start(false).unwrap());
}

fn again(data: &Path) -> Process {
    Process::try_start_with(data, &["--enrol-admin"]).unwrap()
}

/// The one sentence it said.
#[track_caller]
fn refused(started: Result<Process, Output>, code: i32) -> String {
    let output = started.err().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    said
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}
