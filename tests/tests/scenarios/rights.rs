//! What a grant may hold beside keys: making them, and reading what is on record.

use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN};
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};

const BASELINES: &str = "/v1/agent-ai/baselines";
const RECOMMENDATIONS: &str = "/v1/agent-ai/recommendations";

#[tokio::test]
async fn an_agent_makes_keys_if_its_grant_says_so_and_its_human_may() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let more = |create_keys: bool| json!({ "create_keys": create_keys, "delegate": true, "limits": { "max_uses": 2 } });
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let wish = json!({ "label": "makes keys", "scope": "key:own-key:sign", "create_keys": true });
    assert_eq!(deployment.post(&uma, "/v1/agents", wish).await.refused(403), "policy", "she may not herself");
    let (hers, _) = deployment.agent(&uma, "key:own-key:sign", json!({})).await;
    let amended = json!({ "create_keys": true });
    let amended = deployment.call(http::Method::PATCH, &uma, &format!("/v1/agents/{hers}"), Some(amended)).await;
    assert_eq!(amended.refused(403), "policy");

    let (agent, token) = deployment.agent(&alice, "key:team=bots:sign", more(true)).await;
    let (_, without) = deployment.agent(&alice, "key:team=bots:sign", more(false)).await;
    assert_eq!(make(&deployment, &without, "bot-one", &[]).await.refused(403), "right_not_granted");
    assert!(
        is_listed(&deployment, &token, "create_key").await && !is_listed(&deployment, &without, "create_key").await
    );
    // Once without and once with the label that its scope names: it may use the second.
    make(&deployment, &token, "bot-one", &[]).await.ok();
    deployment.pass(1);
    let tool = json!({ "name": "create_key", "arguments": {
        "name": "bot-two", "algorithm": "Ed25519", "activate": true, "labels": ["team=bots"],
    } });
    let made = Client::new(&deployment, &token, MODERN).result("tools/call", tool).await;
    assert_eq!(made["isError"], json!(false), "{made}");
    let record =
        deployment.get(&alice, &format!("/v1/audit?agent={agent}&op=key.create")).await.ok()["items"][0].clone();
    assert_eq!(
        (&record["agents"], &record["plane"], &record["outcome"]),
        (&json!([agent]), &json!("mcp"), &json!("ok"))
    );
    // Each counts against its limits.
    assert_eq!(make(&deployment, &token, "bot-three", &[]).await.refused(403), "uses_exhausted");
    let (_, signs) = deployment.agent(&alice, "key:team=bots:sign", json!({})).await;
    deployment.post(&signs, "/v1/keys/bot-two/sign", message(b"x")).await.ok();
    assert_eq!(deployment.post(&signs, "/v1/keys/bot-one/sign", message(b"x")).await.refused(403), "scope_violation");

    // Below one that may not, nobody may; and no longer once its human is no operator.
    let (_, below) = deployment.agent(&without, "key:team=bots:sign", json!({ "create_keys": true })).await;
    assert_eq!(make(&deployment, &below, "bot-four", &[]).await.refused(403), "right_not_granted");
    let (_, token) = deployment.agent(&alice, "key:team=bots:sign", more(true)).await;
    deployment.log_in("alice@org", &["user"]).await;
    assert_eq!(make(&deployment, &token, "bot-four", &[]).await.refused(403), "policy");
}

#[tokio::test]
async fn a_grant_that_is_widened_needs_a_fresh_token_and_labels_lie_within_the_scope() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let (amended, stale) = deployment.agent(&alice, "key:team=bots:sign", json!({})).await;
    let wider = Some(json!({ "create_keys": true }));
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{amended}"), wider).await.ok();
    assert_eq!(make(&deployment, &stale, "bot-zero", &[]).await.refused(403), "right_not_granted");
    let fresh = deployment.token(&alice, &amended).await;
    make(&deployment, &fresh, "bot-zero", &[]).await.ok();
    // A label that its scope does not name would bring the key into the scopes of others.
    let foreign = json!({ "name": "bot-three", "algorithm": "Ed25519", "labels": ["team=finance"] });
    let (_, fresh) = deployment.agent(&alice, "key:team=bots:sign", json!({ "create_keys": true })).await;
    assert_eq!(deployment.post(&fresh, "/v1/keys", foreign).await.refused(403), "grant_widening");
}

/// Whoever lays out a canary knows which key is none.
#[tokio::test]
async fn no_tool_makes_a_canary() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "create_keys": true })).await;
    let tool = json!({ "name": "create_key", "arguments": { "name": "trap", "algorithm": "Ed25519", "canary": true } });
    let refused = Client::new(&deployment, &token, MODERN).result("tools/call", tool).await;
    assert_eq!(refused["isError"], json!(true), "{refused}");
    assert_eq!(deployment.get(&alice, "/v1/keys/trap").await.failed(404), "not-found");
}

#[tokio::test]
async fn an_agent_with_audit_reads_what_its_human_may_read() {
    let deployment = Deployment::new().await;
    let (alice, uma) = two_humans(&deployment).await;
    let audit = json!({ "audit": true });
    let (_, of_auditor) = deployment.agent(&alice, "key:own-key:sign", audit.clone()).await;
    let (_, of_user) = deployment.agent(&uma, "key:own-key:sign", audit).await;
    let (agent, without) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.post(&without, "/v1/keys/own-key/sign", message(b"x")).await.ok();

    assert_eq!(deployment.get(&without, "/v1/audit").await.refused(403), "right_not_granted");
    let found = async |token: &str| {
        let query = format!("/v1/audit?agent={agent}&op=key.sign");
        deployment.get(token, &query).await.ok()["items"].as_array().unwrap().len()
    };
    assert_eq!((found(&of_auditor).await, found(&of_user).await), (1, 0), "hers are her own human's");
    assert_eq!(deployment.get(&of_user, "/v1/audit?actor=alice@org").await.refused(403), "policy");
    assert!(!deployment.get(&of_user, "/v1/audit").await.ok()["items"].as_array().unwrap().is_empty());
    let record = text(&deployment.get(&of_auditor, "/v1/audit?op=key.sign&outcome=ok").await.ok()["items"][0], "id");
    deployment.get(&of_auditor, &format!("/v1/audit/{record}")).await.ok();
    assert_eq!(deployment.get(&of_user, &format!("/v1/audit/{record}")).await.refused(403), "policy");
    assert!(is_listed(&deployment, &of_user, "audit_query").await);
    assert!(!is_listed(&deployment, &without, "audit_query").await);
    // Reading is all it may.
    let raised = text(&deployment.get(&alice, "/v1/recommendations").await.ok()["items"][0], "id");
    let path = format!("/v1/recommendations/{raised}/dismiss");
    assert_eq!(deployment.post(&of_auditor, &path, json!({})).await.refused(403), "policy");
}

#[tokio::test]
async fn an_agent_is_told_nothing_of_what_is_said_of_its_own_human_and_her_agents() {
    let deployment = Deployment::new().await;
    let (alice, uma) = two_humans(&deployment).await;
    let audit = json!({ "audit": true, "purpose": "service" });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", audit.clone()).await;
    let (_, without) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let (_, of_user) = deployment.agent(&uma, "key:own-key:sign", audit).await;
    let (sibling, rogue) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.get(&rogue, "/v1/keys/other-key").await.refused(403);

    for path in [RECOMMENDATIONS, "/v1/recommendations"] {
        let told = deployment.get(&token, path).await.ok();
        let sponsors: Vec<&Value> = told["items"].as_array().unwrap().iter().map(|found| &found["sponsor"]).collect();
        assert_eq!(sponsors, ["uma@org"], "{path}");
        assert_eq!(deployment.get(&of_user, path).await.refused(403), "policy");
        assert_eq!(deployment.get(&without, path).await.refused(403), "right_not_granted");
    }
    assert_eq!(deployment.get(&alice, RECOMMENDATIONS).await.refused(403), "agent_credential_required");
    let all = deployment.get(&alice, "/v1/recommendations").await.ok();
    for found in all["items"].as_array().unwrap() {
        let answer = deployment.get(&token, &format!("/v1/recommendations/{}", text(found, "id"))).await;
        let want = if found["sponsor"] == "uma@org" { 200 } else { 403 };
        assert_eq!(answer.status, want, "{found}");
    }
    let hers =
        text(all["items"].as_array().unwrap().iter().find(|found| found["sponsor"] == "uma@org").unwrap(), "agent");
    for (actor, want) in [(hers.as_str(), 200), ("uma@org", 200), (&agent, 403), (&sibling, 403), ("alice@org", 403)] {
        let answer = deployment.get(&token, &format!("{BASELINES}/{actor}")).await;
        assert_eq!(answer.status, want, "{actor} {}", answer.body);
        assert_eq!(deployment.get(&of_user, &format!("{BASELINES}/{actor}")).await.refused(403), "policy");
        assert_eq!(deployment.get(&without, &format!("{BASELINES}/{actor}")).await.status, 403);
    }
    let record = deployment.get(&alice, "/v1/audit?op=baseline.get&limit=200").await.ok();
    let read = record["items"].as_array().unwrap().iter().filter(|record| record["outcome"] == "ok").count();
    assert_eq!(read, 2, "reading one is on record");
}

/// Through records, what no agent is told could be read all the same.
#[tokio::test]
async fn records_tell_an_agent_neither_what_detection_made_of_it_nor_which_keys_are_traps() {
    let deployment = Deployment::new().await;
    let (alice, uma) = two_humans(&deployment).await;
    let trap = json!({ "name": "trap-key", "algorithm": "Ed25519", "activate": true, "canary": true });
    deployment.post(&alice, "/v1/keys", trap).await.ok();
    let mut refused = Vec::new();
    for key in ["other-key", "trap-key", "no-such-key"] {
        let (_, rogue) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let refusal = deployment.post(&rogue, &format!("/v1/keys/{key}/sign"), message(b"x")).await;
        assert_eq!(refusal.refused(403), "scope_violation");
        refused.push((key, text(&refusal.body, "record")));
    }
    let audit = json!({ "audit": true, "purpose": "service" });
    let (_, of_auditor) = deployment.agent(&alice, "key:own-key:sign", audit.clone()).await;
    let (_, of_user) = deployment.agent(&uma, "key:own-key:sign", audit).await;
    for (key, record) in &refused {
        let whole = deployment.get(&alice, &format!("/v1/audit/{record}")).await.ok();
        assert!(whole["recommendation"].is_object() && !whole["responses"].as_array().unwrap().is_empty());
        let told = deployment.get(&of_auditor, &format!("/v1/audit/{record}")).await.ok();
        assert_eq!((&told["reason"], &told["outcome"]), (&json!("scope_violation"), &json!("denied")), "{key}");
        assert_eq!(["recommendation", "key"].map(|member| told.get(member)), [None, None], "{key} {told}");
        assert_eq!(told["risk"]["score"], 0.0, "the tier of the key is in it: {key} {told}");
        for list in [told.get("responses"), told.get("suppressed"), told["risk"].get("factors")] {
            assert!(list.is_none_or(|list| *list == json!([])), "{key} {told}");
        }
        // Nor by asking for those of the key.
        let found = deployment.get(&of_auditor, &format!("/v1/audit?key={key}&outcome=denied")).await.ok();
        assert_eq!(found["items"], json!([]), "{key}");
        // Nor by where a page ends.
        let search = async |least: &str| {
            let path = format!("/v1/audit?outcome=denied&limit=1&min_risk={least}");
            let found = deployment.get(&of_auditor, &path).await.ok();
            (found["items"].clone(), found.get("next_cursor").cloned())
        };
        assert_eq!(search("0.001").await, search("0.9").await, "{key}");
    }
    for token in [&of_auditor, &of_user] {
        let found = deployment.get(token, "/v1/audit?limit=200").await.ok();
        for record in found["items"].as_array().unwrap() {
            assert!(record.get("recommendation").is_none() && record["reason"] != "canary_key", "{record}");
            assert!(!text(record, "operation").starts_with("recommendation."), "{record}");
        }
        assert!(!found["items"].as_array().unwrap().is_empty());
    }
    // What is said of others hides the trap, too.
    let (_, of_uma) = deployment.agent(&uma, "key:own-key:sign", json!({})).await;
    deployment.get(&of_uma, "/v1/keys/trap-key").await.refused(403);
    let (_, of_uma) = deployment.agent(&uma, "key:own-key:sign", json!({})).await;
    deployment.get(&of_uma, "/v1/keys/no-such-key").await.refused(403);
    let told = deployment.get(&of_auditor, RECOMMENDATIONS).await.ok();
    let detectors: Vec<&Value> = told["items"].as_array().unwrap().iter().map(|found| &found["detector"]).collect();
    assert_eq!(detectors, ["scope_violation", "scope_violation"], "of two that were refused; not of the trap: {told}");
}

#[tokio::test]
async fn a_baseline_says_what_was_done_to_those_who_may_know() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let (agent, _) = deployment.agent(&uma, "key:own-key:sign", json!({ "purpose": "service" })).await;
    for _ in 0..4 {
        let uma = deployment.log_in("uma@org", &["user"]).await;
        let token = deployment.token(&uma, &agent).await;
        for _ in 0..6 {
            deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
            deployment.pass(120);
        }
        deployment.pass(86_400 - 720);
        deployment.detect().await;
    }
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let told = deployment.get(&uma, &format!("/v1/baselines/{agent}")).await.ok();
    assert_eq!((&told["actor"], &told["keys"]), (&json!(agent), &json!(1)));
    assert_eq!(told["operations"][0]["operation"], "key.sign");
    assert!((2.0..=4.0).contains(&told["active_days"].as_f64().unwrap()), "{told}");
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, &format!("/v1/baselines/{agent}")).await.ok(), told, "as it is to an auditor");
    let nothing = deployment.get(&uma, "/v1/baselines/uma@org").await.ok();
    assert!(nothing.get("since").is_none(), "{nothing}");
    let dave = deployment.log_in("dave@org", &["user"]).await;
    assert_eq!(deployment.get(&dave, &format!("/v1/baselines/{agent}")).await.refused(403), "policy");
    assert_eq!(deployment.get(&dave, "/v1/baselines/uma@org").await.refused(403), "policy");
    assert_eq!(deployment.get(&alice, "/v1/baselines/nobody@org").await.failed(404), "not-found");
    assert_eq!(deployment.get(&alice, "/v1/baselines/no%20name").await.failed(400), "invalid-request");
}

/// An auditor and a user, of each of whom an agent was stopped for leaving its scope.
async fn two_humans(deployment: &Deployment) -> (String, String) {
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let (_, rogue) = deployment.agent(&uma, "key:own-key:sign", json!({})).await;
    deployment.get(&rogue, "/v1/keys/other-key").await.refused(403);
    (alice, uma)
}

async fn make(deployment: &Deployment, token: &str, name: &str, labels: &[&str]) -> Answer {
    let key = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "labels": labels });
    deployment.post(token, "/v1/keys", key).await
}

async fn is_listed(deployment: &Deployment, token: &str, name: &str) -> bool {
    let listed = Client::new(deployment, token, MODERN).result("tools/list", json!({})).await;
    listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == name)
}
