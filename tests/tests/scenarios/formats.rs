//! Data folders of every format there ever was start with the program of today, and backups of every format restore.
//!
//! `tests/fixtures/format-N` is a folder that the program of format N made. With `AEGIS_BLESS` set the one of today's
//! format is made, unless it is there: fixtures are never made again.

use aegis_tests::process::{PASSPHRASE, Process, aegis};
use aegis_tests::{base64, from_base64, message, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_folder_and_a_backup_of_every_format_keep_their_keys_and_records() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let present = present_format();
    let mut found = Vec::new();
    for format in 1..=present {
        let fixture = fixtures.join(format!("format-{format}"));
        if format == present && !fixture.exists() && std::env::var_os("AEGIS_BLESS").is_some() {
            make(&fixture);
        }
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        copy(&fixture.join("data"), &data);
        let expected: Value = serde_json::from_slice(&fs::read(fixture.join("expected.json")).unwrap()).unwrap();
        holds(&data, &expected);
        let set_aside = data.join(format!("store.sqlite.v{format}.bak"));
        assert_eq!(set_aside.exists(), format < present, "a copy is set aside of what is brought forward: {format}");

        let restored = scratch.path().join("restored");
        backup("restore", &[&fixture.join("backup"), Path::new("--data"), &restored]);
        holds(&restored, &expected);
        found.push(format);
    }
    assert_eq!(found.len(), fs::read_dir(fixtures).unwrap().count(), "no fixture is left out");
}

/// The server starts on the folder, and all that is expected is there.
fn holds(data: &Path, expected: &Value) {
    let server = Process::start(data);
    assert!(server.code.is_none(), "alice is enrolled");
    let alice = server.log_in();
    let key = server.get(&alice, "/v1/keys/signing-key").ok();
    assert_eq!((&key["id"], &key["version"], &key["state"]), (&expected["key"], &json!(2), &json!("active")));
    // Signed and encrypted with the first versions.
    let asked = json!({ "message": base64(b"a message"), "signature": expected["signature"], "key_version": 1 });
    assert_eq!(server.post(&alice, "/v1/keys/signing-key/verify", asked).ok()["valid"], true);
    let asked = json!({ "ciphertext": expected["ciphertext"], "context": { "tenant": "a" } });
    let opened = server.post(&alice, "/v1/keys/data-key/decrypt", asked).ok();
    assert_eq!(from_base64(&opened["plaintext"]), b"a secret");
    server.post(&alice, "/v1/keys/signing-key/sign", message(b"another message")).ok();

    let agent = server.get(&alice, &format!("/v1/agents/{}", text(expected, "agent"))).ok();
    assert_eq!(agent["state"], "revoked");
    let record = server.get(&alice, &format!("/v1/audit/{}", text(expected, "record"))).ok();
    assert_eq!((&record["operation"], &record["key"]), (&json!("key.sign"), &expected["key"]));
    let listed = server.get(&alice, &format!("/v1/audit?agent={}&op=key.sign", text(expected, "agent"))).ok();
    assert_eq!(listed["items"][0]["id"], expected["record"]);
}

/// A folder with a bit of everything, its backup, and what is in them.
fn make(fixture: &Path) {
    let data = fixture.join("data");
    let server = Process::start(&data);
    server.enrol();
    let alice = server.log_in();
    let post = |path: &str, body: Value| server.post(&alice, path, body).ok();
    let key = post("/v1/keys", json!({ "name": "signing-key", "algorithm": "ECDSA-P256", "activate": true }));
    post("/v1/keys", json!({ "name": "data-key", "algorithm": "AES-256-GCM", "activate": true }));
    let agent = text(&post("/v1/agents", json!({ "label": "an agent", "scope": "key:signing-key:sign" })), "id");
    let token = text(&post(&format!("/v1/agents/{agent}/credentials"), json!({})), "token");
    let signed = server.post(&token, "/v1/keys/signing-key/sign", message(b"a message")).ok();
    let asked = json!({ "plaintext": base64(b"a secret"), "context": { "tenant": "a" } });
    let sealed = post("/v1/keys/data-key/encrypt", asked);
    for name in ["signing-key", "data-key"] {
        post(&format!("/v1/keys/{name}/rotate"), json!({}));
    }
    post(&format!("/v1/agents/{agent}/revoke"), json!({}));
    let records = server.get(&alice, &format!("/v1/audit?agent={agent}&op=key.sign")).ok();
    assert!(server.terminate());
    backup("create", &[Path::new("--data"), &data, Path::new("-o"), &fixture.join("backup")]);
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if !["root.sealed", "store.sqlite"].iter().any(|kept| path.ends_with(kept)) {
            fs::remove_file(path).unwrap();
        }
    }
    let expected = json!({
        "key": key["id"],
        "agent": agent,
        "record": records["items"][0]["id"],
        "signature": signed["signature"],
        "ciphertext": sealed["ciphertext"],
    });
    fs::write(fixture.join("expected.json"), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
}

/// What this program writes.
fn present_format() -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup"));
    assert!(Process::start(&data).terminate());
    backup("create", &[Path::new("--data"), &data, Path::new("-o"), &file])["store_format"].as_i64().unwrap()
}

fn backup(command: &str, arguments: &[&Path]) -> Value {
    let mut aegis = Command::new(aegis());
    aegis.args(["--json", "backup", command]).args(arguments).env("AEGIS_PASSPHRASE", PASSPHRASE);
    let output = aegis.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
