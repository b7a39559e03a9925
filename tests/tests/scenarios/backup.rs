//! Backups with the real binary: made while clients sign, checked, restored elsewhere.

use aegis_tests::process::{PASSPHRASE, Process, aegis, plain, post};
use aegis_tests::{base64, from_base64, message, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// Clients that sign while the backup is made.
const CLIENTS: usize = 4;

#[test]
fn a_backup_made_while_clients_sign_restores_all_they_were_answered_and_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file, restored) = (folder.path().join("data"), folder.path().join("b"), folder.path().join("restored"));
    let server = Process::start(&data);
    server.enrol();
    let alice = server.log_in();
    let key = |name: &str, algorithm: &str| {
        server.post(&alice, "/v1/keys", json!({ "name": name, "algorithm": algorithm, "activate": true })).ok();
    };
    key("own-key", "Ed25519");
    key("data-key", "AES-256-GCM");
    let sealed = server.post(&alice, "/v1/keys/data-key/encrypt", json!({ "plaintext": base64(b"a secret") })).ok();
    let (_, token) = agent(&server, &alice);
    let (stopped, stopped_token) = agent(&server, &alice);
    server.post(&alice, &format!("/v1/agents/{stopped}/revoke"), json!({})).ok();
    let first = server.post(&token, "/v1/keys/own-key/sign", message(b"x")).ok()["signature"].clone();

    let (signing, signed) = (AtomicBool::new(true), mpsc::channel());
    let (before, made, during) = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (url, sender) = (&server.url, signed.0.clone());
            let (token, signing) = (&token, &signing);
            scope.spawn(move || {
                let client = plain();
                while signing.load(Ordering::Relaxed) {
                    let answer = post(&client, url, token, "/v1/keys/own-key/sign", &message(b"x")).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    sender.send(answer.headers["x-request-id"].to_str().unwrap().to_string()).unwrap();
                }
            });
        }
        let mut before: BTreeSet<String> = signed.1.iter().take(40).collect();
        before.extend(signed.1.try_iter());
        let made = backup(&["create", "--output", path(&file), "--data", path(&data)]);
        let during = signed.1.try_iter().count();
        // Before anything is asserted: the clients would sign for ever.
        signing.store(false, Ordering::Relaxed);
        (before, made, during)
    });
    told(made);
    assert!(during > 0, "nobody waited for the backup");
    // The backup stopped nothing.
    server.post(&token, "/v1/keys/own-key/sign", message(b"x")).ok();
    server.kill();

    let summary = told(backup(&["verify", path(&file)]));
    assert_eq!((&summary["keys"], &summary["agents"], &summary["active_agents"]), (&json!(2), &json!(2), &json!(1)));
    assert_eq!(summary["epoch"], 1);
    assert_eq!(told(backup(&["restore", path(&file), "--data", path(&restored)]))["epoch"], 2);

    let server = Process::start(&restored);
    assert!(server.code.is_none(), "alice stays enrolled");
    for token in [&alice, &token] {
        let refused = server.post(token, "/v1/keys/own-key/sign", message(b"x"));
        assert_eq!(refused.refused(401), "credential_revoked");
    }
    server.post(&stopped_token, "/v1/keys/own-key/sign", message(b"x")).refused(401);
    let alice = server.log_in();
    let on_record = signatures(&server, &alice);
    let restored = server.get(&alice, "/v1/audit?op=deployment.restore").ok();
    let restored: Vec<&Value> = restored["items"].as_array().unwrap().iter().map(|record| &record["object"]).collect();
    assert_eq!(restored, ["epoch 1 to 2"]);
    assert!(before.is_subset(&on_record), "{} of {}", before.intersection(&on_record).count(), before.len());

    // The same keys: what was signed verifies, what was encrypted decrypts, and work goes on.
    let asked = json!({ "message": base64(b"x"), "signature": first });
    assert_eq!(server.post(&alice, "/v1/keys/own-key/verify", asked).ok()["valid"], true);
    let opened = server.post(&alice, "/v1/keys/data-key/decrypt", json!({ "ciphertext": sealed["ciphertext"] })).ok();
    assert_eq!(from_base64(&opened["plaintext"]), b"a secret");
    server.post(&alice, "/v1/keys/own-key/sign", message(b"x")).ok();
    let (_, fresh) = agent(&server, &alice);
    server.post(&fresh, "/v1/keys/own-key/sign", message(b"x")).ok();
    let reissue = server.post(&alice, &format!("/v1/agents/{stopped}/credentials"), json!({}));
    assert_eq!(reissue.failed(409), "state", "what was revoked before the backup stays revoked");
}

/// Also that no server need run, and that none need have ended well.
#[test]
fn an_older_backup_does_not_replace_a_root_of_a_later_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let create = |data: &str, file: &str| backup(&["create", "-o", path(&at(file)), "--data", path(&at(data))]);
    let restore = |file: &str, data: &str| backup(&["restore", path(&at(file)), "--data", path(&at(data))]);
    let server = Process::start(&at("data"));
    server.enrol();
    server.kill();
    assert_eq!(told(create("data", "first"))["epoch"], 1);
    assert_eq!(told(restore("first", "second-life"))["epoch"], 2);
    assert!(Process::start(&at("second-life")).terminate());
    assert_eq!(told(create("second-life", "second"))["epoch"], 2);
    assert_eq!(told(restore("second", "third-life"))["epoch"], 3);

    assert!(refusal(restore("first", "third-life")).contains("is not empty"));
    std::fs::remove_file(at("third-life").join("store.sqlite")).unwrap();
    assert!(refusal(restore("first", "third-life")).contains("root file of epoch 3"));
    assert_eq!(told(restore("second", "third-life"))["epoch"], 3);
    let server = Process::start(&at("third-life"));
    server.log_in();
    assert!(refusal(restore("second", "third-life")).contains("is not empty"));
}

#[test]
fn a_backup_that_is_not_good_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file, target) = (folder.path().join("data"), folder.path().join("b"), folder.path().join("target"));
    assert!(Process::start(&data).terminate());
    let create = || backup(&["create", "--output", path(&file), "--data", path(&data)]);
    told(create());
    assert!(refusal(create()).contains("exists already"));
    let whole = std::fs::read(&file).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    for (bytes, said) in [
        (altered.as_slice(), "altered or cut short"),
        (&whole[..whole.len() - 1], "altered or cut short"),
        (b"something else", "is no backup of aegis"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert!(refusal(backup(&["verify", path(&file)])).contains(said));
        assert!(refusal(backup(&["restore", path(&file), "--data", path(&target)])).contains(said));
    }
    std::fs::write(&file, &whole).unwrap();
    let mut command = Command::new(aegis());
    command.args(["backup", "verify"]).arg(&file).env("AEGIS_PASSPHRASE", "another passphrase");
    assert!(refusal(command.output().unwrap()).contains("the passphrase is wrong"));
    assert!(!target.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn what_is_told_to_people_names_what_they_must_review() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file, target) = (folder.path().join("data"), folder.path().join("b"), folder.path().join("target"));
    let server = Process::start(&data);
    server.enrol();
    let alice = server.log_in();
    server.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519", "activate": true })).ok();
    agent(&server, &alice);
    told(backup(&["create", "--output", path(&file), "--data", path(&data)]));
    let mut command = Command::new(aegis());
    command.args(["backup", "restore", path(&file), "--data", path(&target)]).env("AEGIS_PASSPHRASE", PASSPHRASE);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for line in ["epoch 2", "keys        1", "agents      1, of which 1 active", "records"] {
        assert!(out.contains(line), "{out}");
    }
    assert!(err.contains("Review the 1 active agents"), "{err}");
}

/// An agent that may sign with own-key: its id, and a token of it.
fn agent(server: &Process, alice: &str) -> (String, String) {
    let agent =
        text(&server.post(alice, "/v1/agents", json!({ "label": "an agent", "scope": "key:own-key:sign" })).ok(), "id");
    let issued = server.post(alice, &format!("/v1/agents/{agent}/credentials"), json!({})).ok();
    (agent, text(&issued, "token"))
}

/// The requests of every signature on record.
fn signatures(server: &Process, token: &str) -> BTreeSet<String> {
    let mut on_record = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(token, &format!("/v1/audit?op=key.sign&limit=200{cursor}")).ok();
        on_record.extend(page["items"].as_array().unwrap().iter().map(|record| text(record, "request_id")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return on_record,
        }
    }
}

fn backup(arguments: &[&str]) -> Output {
    let mut command = Command::new(aegis());
    command.args(["--json", "backup"]).args(arguments).env("AEGIS_PASSPHRASE", PASSPHRASE).output().unwrap()
}

/// What a command that must succeed printed.
#[track_caller]
fn told(output: Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one sentence of a command that must fail.
#[track_caller]
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    said
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
