//! Agents: what they may do, what happens when they leave it, and what they may pass on.

use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn an_agent_that_leaves_its_scope_is_stopped_before_its_second_misuse() {
    for (purpose, after, reason) in [("interactive", 401, "agent_revoked"), ("service", 403, "agent_frozen")] {
        let (deployment, alice) = two_keys().await;
        let grant = json!({ "purpose": purpose, "delegate": true });
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", grant).await;
        let (_, below) = deployment.agent(&token, "key:own-key:sign", json!({})).await;
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"1")).await.ok();
        let refusal = deployment.post(&token, "/v1/keys/other-key/sign", message(b"2")).await;
        assert_eq!(refusal.refused(403), "scope_violation");
        assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"3")).await.refused(after), reason);
        assert_eq!(deployment.post(&below, "/v1/keys/own-key/sign", message(b"4")).await.refused(after), reason);

        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
        assert_eq!(record["recommendation"]["detector"], "scope_violation");
        assert_eq!(record["recommendation"]["agent"], agent.as_str());
        assert_eq!(record["recommendation"]["evidence"]["records"], json!([record["id"]]));
        assert_eq!(record["responses"][0]["agent"], agent.as_str());
        assert_eq!(record["outcome"], "denied");
    }
}

#[tokio::test]
async fn a_key_that_does_not_exist_looks_like_one_outside_the_scope() {
    let (deployment, alice) = two_keys().await;
    let mut answers = Vec::new();
    for path in ["/v1/keys/other-key", "/v1/keys/no-such-key"] {
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let mut refusal = deployment.get(&token, path).await;
        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
        let next = deployment.get(&token, "/v1/keys/own-key").await;
        assert_eq!(next.refused(401), "agent_revoked");
        for field in ["record", "request_id"] {
            refusal.body[field] = Value::Null;
        }
        assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "revoked");
        answers.push((refusal.status, refusal.body, record["reason"].clone()));
    }
    // The caller sees no difference; the record does.
    assert_eq!((answers[0].0, &answers[0].1), (answers[1].0, &answers[1].1));
    assert_eq!((&answers[0].2, &answers[1].2), (&json!("scope_violation"), &json!("scope_probe")));
}

#[tokio::test]
async fn an_agent_uses_what_it_was_granted_and_reads_what_it_uses() {
    let (deployment, alice) = two_keys().await;
    let table = [
        ("POST", "/v1/keys/own-key/sign", 200),
        ("GET", "/v1/keys/own-key", 200),
        ("GET", "/v1/keys/own-key/public-key", 200),
        ("POST", "/v1/keys/own-key/verify", 403),
        ("POST", "/v1/keys/own-key/rotate", 403),
        ("POST", "/v1/keys/own-key/destroy", 403),
        ("GET", "/v1/keys/other-key/public-key", 403),
    ];
    for (method, path, want) in table {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let answer = deployment.call(method.parse().unwrap(), &token, path, Some(message(b"x"))).await;
        assert_eq!(answer.status, want, "{method} {path} {}", answer.body);
    }
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let listed = deployment.get(&token, "/v1/keys").await.ok();
    let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|key| &key["aliases"][0]).collect();
    assert_eq!(names, ["own-key"]);
}

#[tokio::test]
async fn moving_a_name_widens_no_grant() {
    let (deployment, alice) = two_keys().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let other = deployment.get(&alice, "/v1/keys/other-key").await.ok();
    let body = json!({ "key": other["id"] });
    deployment.call(http::Method::PUT, &alice, "/v1/aliases/own-key", Some(body)).await.ok();
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
}

#[tokio::test]
async fn a_label_grants_the_keys_that_bear_it_and_no_others() {
    let (deployment, alice) = two_keys().await;
    let labels = json!({ "labels": ["team=billing"] });
    deployment.call(http::Method::PATCH, &alice, "/v1/keys/own-key", Some(labels)).await.ok();
    let (_, token) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    assert_eq!(deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await.refused(403), "scope_violation");
}

#[tokio::test]
async fn the_window_opens_and_closes() {
    let (deployment, alice) = two_keys().await;
    let at = |seconds: i64| jiff::Timestamp::from_second(deployment.now() + seconds).unwrap().to_string();
    let window = json!({ "not_before": at(100), "not_after": at(4_000) });
    let (agent, early) = deployment.agent(&alice, "key:own-key:sign", window).await;
    // Not valid yet: neither the token, nor, once clocks agree, the grant.
    assert_eq!(deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.refused(401), "invalid_token");
    deployment.pass(71);
    assert_eq!(deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.refused(403), "outside_window");
    deployment.pass(29);
    deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let late = deployment.token(&alice, &agent).await;
    deployment.pass(3_900);
    let refusal = deployment.post(&late, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(401), "credential_expired");
}

#[tokio::test]
async fn a_sub_agent_never_gets_more_than_its_parent_has() {
    let (deployment, alice) = two_keys().await;
    let grant = json!({ "delegate": true, "limits": { "per_day": 5 } });
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", grant).await;
    let table = [
        ("key:own-key:sign,verify", "grant_widening"),
        ("key:other-key:sign", "grant_widening"),
        ("key:no-such-key:sign", "grant_widening"),
        ("key:team=billing:sign", "grant_widening"),
    ];
    for (scope, reason) in table {
        let asked = json!({ "label": "below", "scope": scope });
        assert_eq!(deployment.post(&parent, "/v1/agents", asked).await.refused(403), reason, "{scope}");
    }
    let asked = json!({ "label": "below", "scope": "key:own-key:sign", "limits": { "per_day": 50 } });
    let below = deployment.post(&parent, "/v1/agents", asked).await.ok();
    assert_eq!(below["grant"]["limits"]["per_day"], 5);
    assert_eq!(below["sponsor"], "alice@org");

    let (_, without) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let asked = json!({ "label": "below", "scope": "key:own-key:sign" });
    assert_eq!(deployment.post(&without, "/v1/agents", asked).await.refused(403), "delegation_not_granted");
}

#[tokio::test]
async fn the_third_level_is_the_last() {
    let (deployment, alice) = two_keys().await;
    let grant = || json!({ "delegate": true });
    let mut token = deployment.agent(&alice, "key:own-key:sign", grant()).await.1;
    for _ in 0..2 {
        token = deployment.agent(&token, "key:own-key:sign", grant()).await.1;
    }
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let asked = json!({ "label": "below", "scope": "key:own-key:sign" });
    assert_eq!(deployment.post(&token, "/v1/agents", asked).await.failed(409), "state");
}

#[tokio::test]
async fn narrowing_a_grant_narrows_the_credentials_that_are_out() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign,verify", json!({})).await;
    let narrower = json!({ "scope": "key:own-key:verify" });
    let amended = deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(narrower)).await;
    assert_eq!(amended.ok()["grant"]["version"], 2);
    assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.refused(403), "scope_violation");
}

#[tokio::test]
async fn widening_a_grant_does_not_widen_the_credentials_that_are_out() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let wider = json!({ "scope": "key:own-key:sign key:other-key:sign" });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(wider)).await.ok();
    let fresh = deployment.token(&alice, &agent).await;
    deployment.post(&fresh, "/v1/keys/other-key/sign", message(b"x")).await.ok();
    assert_eq!(deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await.refused(403), "scope_violation");
}

#[tokio::test]
async fn a_human_who_loses_her_role_takes_it_from_her_agents() {
    let (deployment, alice) = two_keys().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.log_in("alice@org", &["auditor"]).await;
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "sponsor_not_permitted");
}

#[tokio::test]
async fn an_agent_s_scope_shows_what_is_left() {
    let (deployment, alice) = two_keys().await;
    let limits = json!({ "limits": { "per_day": 5, "max_uses": 100 } });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", limits).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let scope = deployment.get(&token, &format!("/v1/agents/{agent}/scope")).await.ok();
    assert_eq!(scope["used"], json!({ "max_uses": 1, "per_day": 1 }));
    assert_eq!(scope["limits"], json!({ "max_uses": 100, "per_day": 5 }));
}

async fn two_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "ECDSA-P256").await;
    }
    (deployment, alice)
}
