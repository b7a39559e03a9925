//! A use that humans must approve, asked for over MCP: what waits is told, and done once they have approved it.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_core::rules::BUILT_IN;
use aegis_tests::site::{EVERYTHING, Site, site};
use aegis_tests::{base64, text};
use http::Method;
use serde_json::{Value, json};
use std::sync::Mutex;

/// Of keys of the high tier, with which no other test works at the same time.
#[test]
fn a_call_that_needs_humans_is_done_once_two_of_them_have_approved_it() {
    let site = site();
    let heidi = site.log_in("heidi@org", &EVERYTHING);
    asks_about_high_tier(site, &heidi);
    let name = site.name("of-high-tier");
    let key = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "tier": "high" });
    site.post(&heidi, "/v1/keys", key).ok();
    let (agent, token) = site.agent(&heidi, &format!("key:{name}:sign"), "service");
    let refusal = sign(site, &token, &name, b"pay 10 EUR");
    assert_eq!((&refusal["decision"], &refusal["evaluation_id"]), (&json!("step_up"), &refusal["record"]), "{refusal}");
    let (approval, code) = (text(&refusal, "approval"), refusal["approval_code"].clone());
    assert_eq!(text(&refusal, "approval_url"), format!("https://aegis.example.org/approve/{approval}"));

    // Not its own human alone.
    for (human, state) in [("heidi@org", "pending"), ("ivan@org", "approved")] {
        let login = site.log_in_to_approve(human, &EVERYTHING);
        let path = format!("/v1/approvals/{approval}/approve");
        assert_eq!(site.post(&login, &path, json!({ "code": code })).ok()["state"], state, "{human}");
    }
    assert_eq!(sign(site, &token, &name, b"pay 99 EUR")["decision"], "step_up", "leave is for what was asked");
    assert!(sign(site, &token, &name, b"pay 10 EUR")["signature"].is_string());
    assert_eq!(sign(site, &token, &name, b"pay 10 EUR")["decision"], "step_up", "and is used once");
    let found = site.get(&heidi, &format!("/v1/audit?agent={agent}&op=key.sign&outcome=ok")).ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!((&found["items"][0]["approval"], &found["items"][0]["plane"]), (&json!(approval), &json!("mcp")));
}

/// From now on humans are asked about every use of a key of the high tier.
pub(crate) fn asks_about_high_tier(site: &Site, human: &str) {
    // Of several who ask for it at once one does it.
    static RULES: Mutex<()> = Mutex::new(());
    let _alone = RULES.lock().unwrap();
    let rules = site.get(human, "/v1/response-rules").ok();
    let of_high = "[thresholds.high]\nstep_up = 0.5";
    assert!(BUILT_IN.contains(of_high));
    let asked = BUILT_IN.replace(of_high, "[thresholds.high]\nstep_up = 0.000001");
    if rules["toml"] != asked.as_str() {
        let body = json!({ "toml": asked, "expected_version": rules["version"] });
        site.call(&Method::PUT, human, "/v1/response-rules", Some(body)).ok();
    }
}

/// What the tool said, done or not.
fn sign(site: &Site, token: &str, key: &str, message: &[u8]) -> Value {
    let arguments = json!({ "key": key, "message": base64(message) });
    site.call_tool(token, "sign", &arguments).ok().pointer("/result/structuredContent").cloned().unwrap()
}
