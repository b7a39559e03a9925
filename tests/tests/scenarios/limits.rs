//! Limits: never exceeded, however many ask at once.

use aegis_tests::deployment::Deployment;
use aegis_tests::message;
use serde_json::json;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn of_64_requests_at_once_a_limit_of_10_releases_exactly_10() {
    for (limit, reason, status) in
        [("max_uses", "uses_exhausted", 403), ("per_minute", "uses_per_minute", 429), ("per_day", "uses_per_day", 429)]
    {
        let deployment = Arc::new(Deployment::new().await);
        let alice = deployment.alice().await;
        deployment.key(&alice, "own-key", "Ed25519").await;
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "limits": { limit: 10 } })).await;
        deployment.begin_a_minute();
        let asked: Vec<_> = (0..64)
            .map(|_| {
                let (deployment, token) = (Arc::clone(&deployment), token.clone());
                tokio::spawn(async move { deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await })
            })
            .collect();
        let mut released = 0;
        for answer in asked {
            let answer = answer.await.unwrap();
            match answer.status {
                200 => released += 1,
                _ => assert_eq!(answer.refused(status), reason),
            }
        }
        assert_eq!(released, 10, "{limit}");
    }
}

#[tokio::test]
async fn a_sub_agent_spends_its_parent_s_budget() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let grant = json!({ "delegate": true, "limits": { "max_uses": 3 } });
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", grant).await;
    let (_, one) = deployment.agent(&parent, "key:own-key:sign", json!({})).await;
    let (_, other) = deployment.agent(&parent, "key:own-key:sign", json!({})).await;
    for token in [&one, &other, &parent] {
        deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    }
    for token in [&one, &other, &parent] {
        let refusal = deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(refusal.refused(403), "uses_exhausted");
    }
}

#[tokio::test]
async fn a_sub_agent_beyond_its_own_limit_draws_nothing_from_its_parent() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let grant = json!({ "delegate": true, "limits": { "max_uses": 10 } });
    let (agent, parent) = deployment.agent(&alice, "key:own-key:sign", grant).await;
    let (_, below) = deployment.agent(&parent, "key:own-key:sign", json!({ "limits": { "max_uses": 1 } })).await;
    deployment.post(&below, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    for _ in 0..20 {
        deployment.post(&below, "/v1/keys/own-key/sign", message(b"x")).await.refused(403);
    }
    let scope = deployment.get(&alice, &format!("/v1/agents/{agent}/scope")).await.ok();
    assert_eq!(scope["used"]["max_uses"], 1);
}

#[tokio::test]
async fn a_use_that_fails_is_not_given_back_and_a_new_minute_brings_new_ones() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "limits": { "per_minute": 2 } })).await;
    deployment.post(&token, "/v1/keys/own-key/sign", json!({ "nonsense": true })).await.failed(400);
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(429), "uses_per_minute");
    let wait: i64 = refusal.headers["retry-after"].to_str().unwrap().parse().unwrap();
    deployment.pass(wait);
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn nobody_keeps_others_from_what_is_slow() {
    let deployment = Arc::new(Deployment::new().await);
    let (alice, bob) = (deployment.alice().await, deployment.log_in("bob@org", &["operator"]).await);
    let make = |token: &str, name: String| {
        let (deployment, token) = (Arc::clone(&deployment), token.to_string());
        let body = json!({ "name": name, "algorithm": "RSA-2048-PSS-SHA256" });
        async move { deployment.post(&token, "/v1/keys", body).await }
    };
    let asked: Vec<_> = (0..8).map(|i| tokio::spawn(make(&alice, format!("alices-{i}")))).collect();
    while asked.iter().filter(|asked| asked.is_finished()).count() < 6 {
        tokio::task::yield_now().await;
    }
    make(&bob, "bobs".into()).await.ok();
    let mut made = 0;
    for answer in asked {
        let answer = answer.await.unwrap();
        match answer.status {
            201 => made += 1,
            _ => {
                assert_eq!(answer.refused(429), "overloaded");
                assert_eq!(answer.headers["retry-after"], "1");
            }
        }
    }
    assert_eq!(made, 2);
    make(&alice, "alices-last".into()).await.ok();
}
