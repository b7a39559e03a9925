//! The table is restored as `infra/README.md` says. What it holds knows nothing of what was revoked since: nothing that was
//! issued before works, and what the keys are is as it was.

use aegis_tests::account::{call, output};
use aegis_tests::site::{EVERYTHING, site, wait_for};
use aegis_tests::{message, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the second half needs of the first.
#[derive(Deserialize, Serialize)]
struct Before {
    session: String,
    key: String,
    agent: String,
    token: String,
    signature: Value,
}

/// Ends with the table restored beside the one in use.
#[test]
fn first_somebody_is_revoked_after_the_moment_of_the_restore() {
    let site = site();
    let session = site.log_in("rosa@org", &EVERYTHING);
    let key = site.name("restored");
    site.key(&session, &key, "Ed25519");
    let (agent, token) = site.agent(&session, &format!("key:{key}:sign,verify"), "service");
    let signed = site.post(&token, &format!("/v1/keys/{key}/sign"), message(b"before")).ok();
    let table = output("state_table");
    let target = format!("{}-2", table.as_str().unwrap());
    let asked = json!({ "SourceTableName": table, "TargetTableName": target, "UseLatestRestorableTime": true });
    call("dynamodb", "restore_table_to_point_in_time", &asked);
    wait_for("the table", || {
        let found = call("dynamodb", "describe_table", &json!({ "TableName": target }));
        (found["Table"]["TableStatus"] == "ACTIVE").then_some(())
    });
    site.post(&session, &format!("/v1/agents/{agent}/revoke"), json!({})).ok();
    let before = Before { session, key, agent, token, signature: signed["signature"].clone() };
    std::fs::write(kept(), serde_json::to_vec(&before).unwrap()).unwrap();
}

/// On the restored table, with the deployment's epoch raised.
#[test]
fn then_nothing_issued_before_works_and_the_keys_are_as_they_were() {
    let site = site();
    let before: Before = serde_json::from_slice(&std::fs::read(kept()).unwrap()).unwrap();
    let Before { session, key, agent, token, signature } = &before;
    let sign = format!("/v1/keys/{key}/sign");
    assert_eq!(site.post(token, &sign, message(b"again")).status, 401);
    assert_eq!(site.get(session, "/v1/keys").status, 401);

    let rosa = site.log_in("rosa@org", &EVERYTHING);
    // Of the revocation the table knows nothing; the trail does.
    assert_eq!(site.get(&rosa, &format!("/v1/agents/{agent}")).ok()["state"], "active");
    let trail = site.get(&rosa, "/v1/audit?op=agent.revoke&limit=200").ok();
    let revoked = |record: &Value| record["object"] == agent.as_str();
    assert!(trail["items"].as_array().unwrap().iter().any(revoked), "{trail}");
    let restored = site.get(&rosa, "/v1/audit?op=deployment.restore").ok();
    assert_eq!(restored["items"][0]["object"], "epoch 1 to 2");

    let issued = site.post(&rosa, &format!("/v1/agents/{agent}/credentials"), json!({})).ok();
    let token = text(&issued, "token");
    let mut check = message(b"before");
    check["signature"] = signature.clone();
    assert_eq!(site.post(&token, &format!("/v1/keys/{key}/verify"), check).ok()["valid"], true);
    assert_eq!(&site.post(&token, &sign, message(b"before")).ok()["signature"], signature);
    // Nobody needs the table that was in use before.
    call("dynamodb", "delete_table", &json!({ "TableName": output("state_table") }));
}

fn kept() -> PathBuf {
    PathBuf::from(std::env::var_os("AEGIS_DEPLOYMENT").unwrap()).with_file_name("before-restore.json")
}
