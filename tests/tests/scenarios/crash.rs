//! The server is killed at any moment: every signature a client has is on record, every acknowledged change is there.

use aegis_tests::process::{Process, plain, post};
use aegis_tests::{base64, text};
use serde_json::json;
use std::collections::BTreeSet;
use std::process::Command;

/// Clients that work while the server is killed.
const CLIENTS: usize = 4;

#[test]
fn a_kill_loses_no_record_of_a_released_result_and_no_acknowledged_change() {
    let kills = if std::env::var_os("AEGIS_FULL").is_some() { 200 } else { 20 };
    let folder = tempfile::tempdir().unwrap();
    let first = Process::start(folder.path());
    first.enrol();
    let alice = first.log_in();
    first.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519", "activate": true })).ok();
    assert!(first.terminate());

    let (mut signed, mut created) = (BTreeSet::new(), BTreeSet::new());
    for kill in 0..kills {
        let server = Process::start(folder.path());
        assert!(server.code.is_none(), "alice stays enrolled");
        // Her session outlives the server.
        let token = alice.clone();
        let workers: Vec<_> = (0..CLIENTS)
            .map(|worker| {
                let (url, token) = (server.url.clone(), token.clone());
                std::thread::spawn(move || work(&url, &token, &format!("{kill}-{worker}")))
            })
            .collect();
        // The moment of the kill moves through the work: after the first answers, and later each time.
        let client = plain();
        for _ in 0..=kill % 10 {
            post(&client, &server.url, &token, "/v1/keys/own-key/sign", &json!({ "message": base64(b"tick") }));
        }
        server.kill();
        for worker in workers {
            let (own_signed, own_created) = worker.join().unwrap();
            signed.extend(own_signed);
            created.extend(own_created);
        }
    }
    let server = Process::start(folder.path());
    assert!(signed.len() >= usize::try_from(kills).unwrap(), "too little happened: {}", signed.len());
    nothing_is_lost(&server, &alice, &signed, &created);
}

/// At a power cut a disk may forget what was not synced: here it does, all of it.
#[cfg(target_os = "linux")]
#[test]
fn what_was_answered_is_on_a_disk_that_forgets_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("synced.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/durability/synced.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(compiler).args(["-shared", "-fPIC", "-O1", source, "-o"]).arg(&library).status();
    assert!(built.unwrap().success());
    let (data, synced) = (folder.path().join("data"), folder.path().join("synced"));
    std::fs::create_dir(&synced).unwrap();
    let server =
        Process::start_among(&data, &[("LD_PRELOAD", library.as_os_str()), ("AEGIS_SYNCED", synced.as_os_str())]);
    server.enrol();
    let alice = server.log_in();
    server.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519", "activate": true })).ok();
    let workers: Vec<_> = (0..CLIENTS)
        .map(|worker| {
            let (url, token) = (server.url.clone(), alice.clone());
            std::thread::spawn(move || work(&url, &token, &worker.to_string()))
        })
        .collect();
    let client = plain();
    for _ in 0..100 {
        post(&client, &server.url, &alice, "/v1/keys/own-key/sign", &json!({ "message": base64(b"tick") })).unwrap();
    }
    server.kill();
    let (mut signed, mut created) = (BTreeSet::new(), BTreeSet::new());
    for worker in workers {
        let (own_signed, own_created) = worker.join().unwrap();
        signed.extend(own_signed);
        created.extend(own_created);
    }
    assert!(signed.len() >= 100, "too little happened: {}", signed.len());

    let after = folder.path().join("after");
    std::fs::create_dir(&after).unwrap();
    for name in ["store.sqlite", "store.sqlite-wal"] {
        std::fs::copy(synced.join(name), after.join(name)).unwrap();
    }
    // Synced under another name, and then given this one.
    std::fs::copy(data.join("root.sealed"), after.join("root.sealed")).unwrap();
    nothing_is_lost(&Process::start(&after), &alice, &signed, &created);
}

/// Every signature that arrived is on record, and every key that was acknowledged is there.
fn nothing_is_lost(server: &Process, token: &str, signed: &BTreeSet<String>, created: &BTreeSet<String>) {
    let mut on_record = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(token, &format!("/v1/audit?op=key.sign&limit=200{cursor}")).ok();
        on_record.extend(page["items"].as_array().unwrap().iter().map(|record| text(record, "request_id")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let lost: Vec<&String> = signed.difference(&on_record).collect();
    assert!(lost.is_empty(), "{} of {} signatures are not on record", lost.len(), signed.len());
    for name in created {
        assert_eq!(server.get(token, &format!("/v1/keys/{name}")).status, 200, "{name} was acknowledged");
    }
}

/// Signs and creates until the server is gone. Returns the requests whose signature arrived, and the keys acknowledged.
fn work(url: &str, token: &str, name: &str) -> (Vec<String>, Vec<String>) {
    let client = plain();
    let (mut signed, mut created) = (Vec::new(), Vec::new());
    for round in 0.. {
        let asked = json!({ "message": base64(name.as_bytes()) });
        let Some(answer) = post(&client, url, token, "/v1/keys/own-key/sign", &asked) else { break };
        if answer.body["signature"].is_string() {
            signed.push(answer.headers["x-request-id"].to_str().unwrap().to_string());
        }
        if round % 5 == 0 {
            let key = format!("key-{name}-{round}");
            let asked = json!({ "name": key, "algorithm": "Ed25519" });
            let Some(answer) = post(&client, url, token, "/v1/keys", &asked) else { break };
            if answer.status == 201 {
                created.push(key);
            }
        }
    }
    (signed, created)
}
