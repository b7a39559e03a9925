//! The story that Aegis is for, on a deployment: an agent that leaves its scope is refused at the edge and stopped there,
//! it is on record, people are told, and no copy of its credential works any more.

use aegis_tests::site::{EVERYTHING, site, wait_for};
use aegis_tests::{message, text};
use serde_json::{Value, json};
use std::net::IpAddr;

#[test]
fn an_agent_that_leaves_its_scope_is_stopped_and_people_are_told() {
    let site = site();
    let alice = site.log_in("alice@org", &EVERYTHING);
    let (invoices, treasury) = (site.name("invoices"), site.name("treasury"));
    let signing = text(&site.key(&alice, &invoices, "ECDSA-P256"), "id");
    site.key(&alice, &treasury, "ECDSA-P256");
    let (agent, token) = site.agent(&alice, &format!("key:{invoices}:sign,verify"), "interactive");
    let (sign, verify) = (format!("/v1/keys/{invoices}/sign"), format!("/v1/keys/{invoices}/verify"));
    let stray = format!("/v1/keys/{treasury}/sign");

    let signed = site.post(&token, &sign, message(b"invoice 7")).ok();
    let mut check = message(b"invoice 7");
    check["signature"] = signed["signature"].clone();
    assert_eq!(site.post(&token, &verify, check).ok()["valid"], true);

    let refused = site.post(&token, &stray, message(b"everything to me"));
    assert_eq!(refused.refused(403), "scope_violation");
    let record = text(&refused.body, "record");
    for path in [&sign, &stray] {
        assert_eq!(site.post(&token, path, message(b"again")).refused(401), "agent_revoked");
    }

    let kept = site.get(&alice, &format!("/v1/audit/{record}")).ok();
    assert_eq!((&kept["outcome"], &kept["reason"]), (&json!("denied"), &json!("scope_violation")));
    assert_eq!(kept["agents"], json!([agent]));
    let source: IpAddr = text(&kept, "source").parse().unwrap();
    assert_eq!(source.is_loopback(), site.url.contains("127.0.0.1"), "{source}");
    assert!(kept.get("request_digest").is_none(), "the edge saw no body");
    let trail = wait_for("the agent's trail", || {
        let page = site.get(&alice, &format!("/v1/audit?agent={agent}")).ok();
        let items = page["items"].as_array().unwrap().clone();
        (items.len() >= 5).then_some(items)
    });
    let used = trail.iter().find(|record| record["operation"] == "key.sign" && record["outcome"] == "ok").unwrap();
    assert_eq!((&used["key"], used["request_digest"].is_string()), (&json!(signing), true));

    let recommendation = wait_for("a recommendation", || {
        let page = site.get(&alice, "/v1/recommendations?limit=200").ok();
        page["items"].as_array().unwrap().iter().find(|found| found["agent"] == json!(agent)).cloned()
    });
    assert_eq!(recommendation["detector"], "scope_violation");
    let alert = wait_for("the alert", || alerts().into_iter().find(|alert| alert["record"] == json!(record)));
    assert_eq!(alert["recommendation"]["agent"], json!(agent));
    let actions: Vec<&str> =
        alert["responses"].as_array().unwrap().iter().filter_map(|r| r["action"].as_str()).collect();
    assert!(actions.contains(&"revoke_agent") && actions.contains(&"alert"), "{actions:?}");
}

/// What came to the queue that subscribes to the alerts; none of it is taken from it.
pub(crate) fn alerts() -> Vec<Value> {
    let mut command = std::process::Command::new(std::env::var("AEGIS_TEST_PYTHON").unwrap());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/aws/alerts.py"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
