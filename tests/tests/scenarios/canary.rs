//! Canary keys: nobody has reason to use one, so an agent that touches one is stopped for good, and learns nothing.

use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn an_agent_that_touches_a_canary_is_revoked_before_its_next_request_whatever_it_was_allowed() {
    let (deployment, alice) = laid_out().await;
    let (inside, outside) = ("key:own-key,trap-key:sign", "key:own-key:sign");
    let spent = json!({ "limits": { "max_uses": 1 } });
    let table = [
        ("POST", "/v1/keys/trap-key/sign", inside, json!({})),
        ("POST", "/v1/keys/trap-key/sign", outside, json!({ "purpose": "service" })),
        ("POST", "/v1/keys/trap-key/decrypt", inside, json!({ "purpose": "appliance" })),
        ("POST", "/v1/keys/trap-key/destroy", inside, json!({})),
        ("GET", "/v1/keys/trap-key", inside, json!({ "purpose": "service" })),
        ("GET", "/v1/keys/trap-key", outside, json!({})),
        ("GET", "/v1/keys/trap-key/public-key", inside, json!({})),
        ("POST", "/v1/keys/trap-key/sign", inside, spent),
    ];
    for (method, path, scope, more) in table {
        let case = format!("{method} {path} {scope} {more}");
        let (agent, token) = deployment.agent(&alice, scope, more).await;
        if case.contains("max_uses") {
            deployment.post(&token, "/v1/keys/own-key/sign", message(b"its only one")).await.ok();
        }
        let refusal = deployment.call(method.parse().unwrap(), &token, path, Some(message(b"x"))).await;
        assert_eq!(refusal.refused(403), "scope_violation", "{case}");
        assert_eq!(deployment.get(&token, "/v1/whoami").await.refused(401), "agent_revoked", "{case}");

        let record = record_of(&deployment, &alice, &refusal).await;
        assert_eq!((&record["reason"], &record["outcome"]), (&json!("canary_key"), &json!("denied")), "{case}");
        let found = &record["recommendation"];
        assert_eq!((&found["detector"], &found["severity"]), (&json!("canary_key"), &json!("critical")), "{case}");
        assert_eq!(found["evidence"]["key"], record["key"]);
        assert_eq!(found["evidence"]["records"], json!([record["id"]]));
        assert_eq!(stopped(&record), [("revoke_agent".to_string(), agent)], "{case}");
    }
}

#[tokio::test]
async fn the_touch_of_a_canary_is_answered_as_a_scope_violation_is() {
    let (deployment, alice) = laid_out().await;
    for (method, verb) in [("GET", ""), ("GET", "/public-key"), ("POST", "/sign"), ("POST", "/rotate")] {
        let mut answers = Vec::new();
        for (key, scope) in [
            ("trap-key", "key:own-key:sign"),
            ("trap-key", "key:own-key,trap-key:sign"),
            ("other-key", "key:own-key:sign"),
            ("no-such-key", "key:own-key:sign"),
        ] {
            let (_, token) = deployment.agent(&alice, scope, json!({})).await;
            let path = format!("/v1/keys/{key}{verb}");
            let mut answer = deployment.call(method.parse().unwrap(), &token, &path, Some(message(b"x"))).await;
            for field in ["record", "request_id"] {
                answer.body[field] = Value::Null;
            }
            let next = deployment.get(&token, "/v1/keys/own-key").await;
            let headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            answers.push((answer.status, answer.body, headers, next.refused(401).to_string()));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{verb}: {answers:?}");
    }
}

/// Otherwise the topmost would spend agents in pairs, and go on.
#[tokio::test]
async fn a_sub_agent_that_touches_a_canary_freezes_all_above_it() {
    let (deployment, alice) = laid_out().await;
    let scope = "key:own-key,trap-key:sign";
    let delegates = || json!({ "delegate": true });
    let orchestrator = json!({ "delegate": true, "purpose": "service" });
    let (topmost, first) = deployment.agent(&alice, scope, orchestrator).await;
    let (parent, second) = deployment.agent(&first, scope, delegates()).await;
    let (id, below) = deployment.agent(&second, scope, json!({})).await;
    let (_, sibling) = deployment.agent(&alice, scope, delegates()).await;
    let refusal = deployment.post(&below, "/v1/keys/trap-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
    let record = record_of(&deployment, &alice, &refusal).await;
    let frozen = |agent| ("freeze_agent".to_string(), agent);
    assert_eq!(stopped(&record), [("revoke_agent".to_string(), id), frozen(parent), frozen(topmost)]);
    for token in [&first, &second] {
        assert_eq!(deployment.get(token, "/v1/whoami").await.refused(403), "agent_frozen");
    }
    deployment.get(&sibling, "/v1/whoami").await.ok();
}

/// An orchestrator may revoke its own agents.
#[tokio::test]
async fn who_revokes_the_one_that_leaves_its_scope_at_that_moment_is_frozen_all_the_same() {
    let (deployment, alice) = laid_out().await;
    let (_, first) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let (id, below) = deployment.agent(&first, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{id}/revoke");
    // Both are let in before the first is answered.
    let (revoked, violation) =
        tokio::join!(deployment.post(&first, &path, json!({})), deployment.get(&below, "/v1/keys/other-key"));
    assert_eq!((revoked.ok()["state"].as_str(), violation.refused(403)), (Some("revoked"), "scope_violation"));
    assert_eq!(deployment.get(&first, "/v1/whoami").await.refused(403), "agent_frozen");
}

#[tokio::test]
async fn who_is_frozen_for_less_at_the_same_moment_is_revoked_all_the_same() {
    let (deployment, alice) = laid_out().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    // Both are let in before the first is answered.
    let (violation, touch) =
        tokio::join!(deployment.get(&token, "/v1/keys/other-key"), deployment.get(&token, "/v1/keys/trap-key"),);
    assert_eq!(touch.refused(403), "scope_violation");
    let record = record_of(&deployment, &alice, &violation).await;
    assert_eq!(stopped(&record), [("freeze_agent".to_string(), agent.clone())]);
    assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "revoked");
}

#[tokio::test]
async fn an_agent_sees_no_difference_between_a_canary_and_another_key() {
    let (deployment, alice) = laid_out().await;
    let (_, token) = deployment.agent(&alice, "key:other-key,trap-key:sign", json!({})).await;
    let listed = deployment.get(&token, "/v1/keys").await.ok();
    let mut seen: Vec<String> = Vec::new();
    for key in listed["items"].as_array().unwrap() {
        let (id, name) = (text(key, "id"), key["aliases"][0].as_str().unwrap().to_string());
        seen.push(key.to_string().replace(&id, "ID").replace(&name, "NAME"));
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    // Listing touches nothing.
    deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn humans_see_use_and_change_canaries_and_nothing_happens_to_them() {
    let (deployment, alice) = laid_out().await;
    for role in ["admin", "auditor", "operator", "user"] {
        let token = deployment.log_in(&format!("{role}@org"), &[role]).await;
        assert_eq!(deployment.get(&token, "/v1/keys/trap-key").await.ok()["canary"], true, "{role}");
        let listed = deployment.get(&token, "/v1/keys").await.ok();
        let canaries = listed["items"].as_array().unwrap().iter().filter(|key| key["canary"] == true);
        assert_eq!(canaries.count(), 1, "{role}");
    }
    let signed = deployment.post(&alice, "/v1/keys/trap-key/sign", message(b"it is a real key")).await.ok();
    let body = json!({ "message": message(b"it is a real key")["message"], "signature": signed["signature"] });
    assert_eq!(deployment.post(&alice, "/v1/keys/trap-key/verify", body).await.ok()["valid"], true);

    let (_, honest) = deployment.agent(&alice, "key:other-key,trap-key:sign", json!({})).await;
    let patch = |name: &str, canary| {
        let (path, body) = (format!("/v1/keys/{name}"), Some(json!({ "canary": canary })));
        let (deployment, alice) = (&deployment, &alice);
        async move { deployment.call(http::Method::PATCH, alice, &path, body).await }
    };
    let freed = patch("trap-key", false).await.ok();
    assert_eq!(freed.get("canary"), None, "the JSON of every other key stays as it was");
    deployment.post(&honest, "/v1/keys/trap-key/sign", message(b"x")).await.ok();
    assert_eq!(patch("other-key", true).await.ok()["canary"], true);
    let refusal = deployment.post(&honest, "/v1/keys/other-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
    // What turns a key into a trap, or a trap into a key, needs a fresh login.
    deployment.pass(301);
    assert_eq!(patch("other-key", false).await.failed(401), "fresh-login-needed");
}

/// A deployment with three keys of a kind, one of them a canary.
async fn laid_out() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for (name, canary) in [("own-key", false), ("other-key", false), ("trap-key", true)] {
        let body = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "canary": canary });
        deployment.post(&alice, "/v1/keys", body).await.ok();
    }
    (deployment, alice)
}

async fn record_of(deployment: &Deployment, by: &str, answer: &Answer) -> Value {
    deployment.get(by, &format!("/v1/audit/{}", text(&answer.body, "record"))).await.ok()
}

/// Which responses there were, and whom they stopped.
fn stopped(record: &Value) -> Vec<(String, String)> {
    let responses = record["responses"].as_array().unwrap();
    let stops = responses.iter().filter(|response| response["action"] != "alert");
    stops.map(|response| (text(response, "action"), text(response, "agent"))).collect()
}
