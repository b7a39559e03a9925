//! The bus refuses what is told to it. Nothing of that keeps anybody from working, and what it lost is found, told again, and
//! then is where it should be.

use aegis_core::ambient::Timestamp;
use aegis_tests::site::{EVERYTHING, Site, site, wait_for};
use aegis_tests::{message, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

/// On AWS the stream brings a batch that `publish` names as failed again and again, for half a day; the emulator passes over it
/// at once, which is what is lost here.
#[test]
fn what_the_bus_lost_is_found_told_again_and_then_agrees() {
    let site = site();
    let oscar = site.log_in("oscar@org", &EVERYTHING);
    let key = site.name("outage");
    site.key(&oscar, &key, "Ed25519");
    let (_, token) = site.agent(&oscar, &format!("key:{key}:sign"), "service");
    let (sign, since) = (format!("/v1/keys/{key}/sign"), Timestamp::now());
    site.post(&token, &sign, message(b"before")).ok();
    std::thread::sleep(READ);

    bus("refuse");
    for number in 0..4_u8 {
        site.post(&token, &sign, message(&[number])).ok();
    }
    std::thread::sleep(READ);
    bus("accept");
    site.post(&token, &sign, message(b"after")).ok();
    let until = Timestamp::now();

    let found = "/v1/audit?op=key.sign&limit=5&key=".to_owned() + &key;
    let signed = wait_for("the records", || {
        let items = site.get(&oscar, &found).ok()["items"].as_array().unwrap().clone();
        (items.len() == 5).then_some(items)
    });
    let ids: Vec<String> = signed.iter().map(|record| text(record, "id")).collect();
    let [after, lost @ ..] = ids.as_slice() else { panic!("{signed:?}") };
    let lost: BTreeSet<&str> = lost.iter().map(String::as_str).collect();
    let raised = site.get(&oscar, "/v1/recommendations?limit=200").ok();

    // A minute is compared three minutes after its end.
    std::thread::sleep(Duration::from_secs(180));
    let path = format!("/v1/audit/verify?since={since}&until={until}");
    let verified = wait_for("the minutes to be over", || {
        let verified = site.get(&oscar, &path).ok();
        verified.get("open_since").is_none().then_some(verified)
    });
    let missing: Vec<Value> = verified["differences"].as_array().unwrap().iter().flat_map(named).collect();
    let missing: BTreeSet<&str> = missing.iter().filter_map(Value::as_str).collect();
    assert!(missing.is_superset(&lost), "{lost:?}: {verified}");
    assert!(!missing.contains(after.as_str()), "{verified}");
    let span = ["--since", &since.to_string(), "--until", &until.to_string()].map(str::to_string);
    let told = aegis(site, &oscar, "verify", &span);
    let error = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.code() == Some(1) && error.contains("aegis audit redrive --since"), "{error}");

    // Twice: what comes again changes nothing.
    for _ in 0..2 {
        let told = aegis(site, &oscar, "redrive", &span);
        let said: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert!(said["records"].as_u64().unwrap() >= 6, "{said}");
        let agrees = wait_for("the consumers", || {
            let verified = site.get(&oscar, &path).ok();
            (verified["differences"] == json!([])).then_some(verified)
        });
        assert_eq!(agrees["journal"], agrees["consumers"], "{agrees}");
    }
    let told = aegis(site, &oscar, "verify", &span);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(site.get(&oscar, "/v1/recommendations?limit=200").ok(), raised);
}

/// Until the stream was read. Nothing tells when it was, of what went nowhere.
const READ: Duration = Duration::from_secs(10);

fn named(difference: &Value) -> Vec<Value> {
    difference["missing_records"].as_array().unwrap().clone()
}

fn aegis(site: &Site, token: &str, what: &str, more: &[String]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::var("AEGIS_BIN").unwrap());
    command.env_clear().env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).env("AEGIS_TOKEN", token);
    command.args(["--url", &site.url, "--json", "audit", what]).args(more).output().unwrap()
}

/// From now on `publish` may tell the bus nothing; or may again.
fn bus(does: &str) {
    let mut command = Command::new(std::env::var("AEGIS_TEST_PYTHON").unwrap());
    let output = command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/aws/bus.py"), does]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
