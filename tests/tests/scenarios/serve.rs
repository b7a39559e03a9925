//! `aegis serve` as its operator meets it.

use aegis_tests::process::{PASSPHRASE, Process, aegis, plain};
use aegis_tests::{base64, message, text};
use serde_json::json;
use std::process::Command;

#[test]
fn a_restart_resumes_with_keys_tokens_and_revocations() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.enrol();
    let alice = server.log_in();
    server.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "ECDSA-P256", "activate": true })).ok();
    let agents: Vec<(String, String)> = (0..2)
        .map(|_| {
            let asked = json!({ "label": "an agent", "scope": "key:own-key:sign" });
            let agent = text(&server.post(&alice, "/v1/agents", asked).ok(), "id");
            let issued = server.post(&alice, &format!("/v1/agents/{agent}/credentials"), json!({})).ok();
            (agent, text(&issued, "token"))
        })
        .collect();
    server.post(&alice, &format!("/v1/agents/{}/revoke", agents[1].0), json!({})).ok();
    assert!(server.terminate());

    let server = Process::start(folder.path());
    assert_eq!(server.code, None);
    server.post(&agents[0].1, "/v1/keys/own-key/sign", message(b"x")).ok();
    let refusal = server.post(&agents[1].1, "/v1/keys/own-key/sign", message(b"x"));
    assert_eq!(refusal.refused(401), "agent_revoked");
    assert_eq!(server.get(&alice, "/v1/whoami").ok()["human"], "alice@org");
}

#[test]
fn what_keeps_a_server_from_starting_is_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |data: &std::path::Path, passphrase: &str| {
        let output = Process::try_start(data, passphrase).err().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        said
    };
    let weak = folder.path().join("weak");
    assert!(refused(&weak, "too short").contains("at least 12 characters"));

    let server = Process::start(folder.path());
    assert!(refused(folder.path(), PASSPHRASE).contains("in use by another aegis"));
    let address = server.url.strip_prefix("http://").unwrap().to_string();
    let taken = Command::new(aegis())
        .args(["serve", "--listen", &address, "--data"])
        .arg(folder.path().join("other"))
        .env("AEGIS_PASSPHRASE", PASSPHRASE)
        .output()
        .unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&format!("cannot listen on {address}")));
    assert!(server.terminate());
    assert!(refused(folder.path(), "another passphrase").contains("passphrase is wrong"));
}

#[test]
fn settings_are_checked_without_starting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("aegis.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(aegis()).args(["serve", "--check", "--config"]).arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("data = 'here'\n[roles]\nadmin = ['group:security']\n").0, Some(0));
    for (text, said) in [
        ("data = 'here'\nlisten = '0.0.0.0:80'\n", "no loopback address"),
        ("data = 'here'\ncolour = 'red'\n", "unknown field"),
        ("listen = '127.0.0.1:80'\n", "no data folder"),
    ] {
        let (code, stderr) = check(text);
        assert_eq!(code, Some(2), "{text}");
        assert!(stderr.contains(said), "{stderr}");
    }
    assert!(!folder.path().join("here").exists());
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aegis.toml");
    std::fs::write(&config, "metrics_listen = '127.0.0.1:0'\n").unwrap();
    let server = Process::start_with(folder.path(), &config);
    assert_eq!(server.get("", "/v1/whoami").status, 401);
    assert_eq!(server.get("", "/metrics").failed(404), "no-such-route");
    let text = plain().get(server.metrics.as_ref().unwrap()).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(text.contains("aegis_requests_total{operation=\"whoami\",status=\"401\"} 1"), "{text}");
    assert!(text.contains("aegis_refusals_total{reason=\"missing_token\"} 1"), "{text}");
}

/// With all that can be logged.
#[test]
fn the_log_holds_no_payload_token_passphrase_or_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Process::start_telling(&folder.path().join("data"), std::fs::File::create(&path).unwrap());
    server.enrol();
    let alice = server.log_in();
    let code = server.code.clone().unwrap();
    server.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "AES-256-GCM", "activate": true })).ok();
    let secret = base64(b"a secret nobody may find in a log");
    let sealed = json!({ "plaintext": secret, "context": { "tenant": "very-private-context" } });
    server.post(&alice, "/v1/keys/own-key/encrypt", sealed).ok();
    let agent = json!({ "label": "an agent", "scope": "key:own-key:encrypt" });
    let agent = text(&server.post(&alice, "/v1/agents", agent).ok(), "id");
    let token = text(&server.post(&alice, &format!("/v1/agents/{agent}/credentials"), json!({})).ok(), "token");
    server.post(&token, "/v1/keys/own-key/encrypt", json!({ "plaintext": "no base64: hunter2" })).failed(400);
    server.post(&token, "/v1/keys/own-key/decrypt", json!({ "ciphertext": "AAAA" })).refused(403);
    let data_key = server.post(&alice, "/v1/keys/own-key/generate-data-key", json!({})).ok();
    let wrong = json!({ "human": "alice@org", "passphrase": "not her passphrase" });
    server.post("", "/local/token", wrong).refused(401);
    assert!(server.terminate());
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(log.contains("agent left its scope") && log.contains("INFO"), "{log}");
    let forbidden =
        [&secret, "very-private-context", "hunter2", &alice, &token, PASSPHRASE, "not her passphrase", &code];
    let signatures = [&alice, &token].map(|token| token.rsplit('.').next().unwrap());
    let material = text(&data_key, "plaintext");
    for text in forbidden.into_iter().chain(signatures).chain([material.as_str()]) {
        assert!(!log.contains(text), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_crashes_leaves_no_core_dump() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start_dumpable(folder.path());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split(' ').collect();
    assert_eq!(core.iter().filter(|word| **word == "0").count(), 2, "{limits}");
    let status = server.abort();
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("core")), "{left:?}");
}

#[test]
fn what_was_turned_away_is_summed_up_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aegis.toml");
    std::fs::write(&config, "requests_per_minute = 20\n").unwrap();
    let server = Process::start_with(folder.path(), &config);
    server.enrol();
    for token in ["", "", "nonsense"] {
        server.get(token, "/v1/whoami").refused(401);
    }
    let alice = server.log_in();
    let throttled = (0..60).filter(|_| server.get(&alice, "/v1/whoami").status == 429).count();
    assert!(server.terminate());

    let server = Process::start(folder.path());
    let found = server.get(&server.log_in(), "/v1/audit?op=unidentified").ok();
    let found = found["items"].as_array().unwrap();
    let count = |of: &dyn Fn(&serde_json::Value) -> bool| {
        found.iter().filter(|record| of(record)).map(|record| record["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert!(found.iter().all(|record| record["outcome"] == "denied"), "{found:?}");
    // A minute may have begun in between: then there are two records of each.
    assert_eq!(count(&|record| record["source"] == "127.0.0.1"), 3);
    let alices = |record: &serde_json::Value| record["human"] == "alice@org" && record["reason"] == "rate_limited";
    assert_eq!(count(&alices), u64::try_from(throttled).unwrap());
    assert!(throttled >= 20);
}

#[test]
fn an_enrolment_code_works_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let enrol = |code: &str, human: &str| {
        server.post("", "/local/enroll", json!({ "code": code, "human": human, "passphrase": PASSPHRASE }))
    };
    let code = server.code.clone().unwrap();
    assert_eq!(enrol("00000000000000000000000000000000", "mallory@org").refused(401), "login_refused");
    enrol(&code, "alice@org").ok();
    assert_eq!(enrol(&code, "mallory@org").refused(401), "login_refused");
    let wrong = json!({ "human": "alice@org", "passphrase": "not her passphrase" });
    assert_eq!(server.post("", "/local/token", wrong).refused(401), "login_refused");
    let record = server.get(&server.log_in(), "/v1/audit?op=human.enrol").ok();
    assert_eq!(record["items"][0]["human"], "alice@org");
    // Its fields in their order are no request.
    assert_eq!(server.post("", "/local/token", json!(["alice@org", PASSPHRASE])).failed(400), "invalid-request");
    let nobody = json!({ "human": "nobody@org", "passphrase": PASSPHRASE });
    assert_eq!(server.post("", "/local/token", nobody).refused(401), "login_refused");
}

#[test]
fn a_body_that_is_too_large_is_told_as_any_other_problem() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    for path in ["/v1/keys", "/v1/agent-ai/calls"] {
        let answer = server.post("", path, json!("x".repeat(1024 * 1024)));
        assert_eq!(answer.failed(413), "too-large", "{path}");
        assert_eq!(answer.headers["x-request-id"], text(&answer.body, "request_id"));
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

#[test]
fn guessing_a_passphrase_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    server.enrol();
    let guess = || server.post("", "/local/token", json!({ "human": "alice@org", "passphrase": "not it at all" }));
    let statuses: Vec<u16> = (0..25).map(|_| guess().status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 401).count() <= 20, "ten in each minute begun: {statuses:?}");
}

#[test]
fn the_demo_holds_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(aegis()).args(["demo", "--json"]).env("TMPDIR", scratch.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["held"], true);
    assert_eq!(told["story"]["signatures"], 49);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}
