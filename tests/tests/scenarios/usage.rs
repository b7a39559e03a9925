//! Facts about use: what was used, by how many, when last, and what of a grant was never needed.

use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_key_says_how_often_it_was_used_by_how_many_agents_and_when_last() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let fresh = deployment.get(&alice, "/v1/keys/own-key/usage").await.ok();
    assert_eq!((&fresh["uses"], &fresh["agents_30d"], fresh.get("last_use")), (&json!(0), &json!(0), None));
    for _ in 0..2 {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
        // Reading it is no use of it; what is refused, or fails, is none either.
        deployment.get(&token, "/v1/keys/own-key").await.ok();
        deployment.post(&token, "/v1/keys/own-key/sign", json!({ "message": "not base64" })).await.failed(400);
        deployment.post(&token, "/v1/keys/own-key/verify", message(b"x")).await.refused(403);
    }
    deployment.post(&alice, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let usage = used(&deployment, &alice, "own-key").await;
    let numbers = ["uses", "uses_30d", "denied", "agents_30d", "more_agents"].map(|field| usage[field].clone());
    assert_eq!(numbers, [json!(3), json!(3), json!(2), json!(2), json!(false)], "{usage}");

    deployment.pass(31 * DAY);
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let usage = used(&deployment, &alice, "own-key").await;
    let numbers = ["uses", "uses_30d", "agents_30d"].map(|field| usage[field].clone());
    assert_eq!(numbers, [json!(4), json!(1), json!(0)], "{usage}");
    // Counting again counts nothing twice.
    assert_eq!(used(&deployment, &alice, "own-key").await["uses"], 4);
}

#[tokio::test]
async fn unused_keys_are_found_page_by_page_and_not_by_agents() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    // Lists are in the order of the moments in which things were made.
    for name in ["never-used", "once-used", "in-use", "of-old"] {
        deployment.key(&alice, name, "Ed25519").await;
        deployment.pass(1);
    }
    for name in ["once-used", "in-use"] {
        deployment.post(&alice, &format!("/v1/keys/{name}/sign"), message(b"x")).await.ok();
    }
    deployment.pass(59 * DAY);
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/keys/in-use/sign", message(b"x")).await.ok();
    deployment.key(&alice, "just-made", "Ed25519").await;
    deployment.count_uses().await;
    let path = format!("/v1/keys?unused_for={}", 60 * DAY);
    assert!(names(&deployment.get(&alice, &path).await.ok()).is_empty(), "a day too early");

    deployment.pass(DAY);
    let alice = deployment.alice().await;
    let all = deployment.get(&alice, &path).await.ok();
    assert_eq!(names(&all), ["never-used", "once-used", "of-old"]);
    let first = deployment.get(&alice, &format!("{path}&limit=2")).await.ok();
    assert_eq!(names(&first), ["never-used", "once-used"]);
    let next = format!("{path}&limit=2&cursor={}", text(&first, "next_cursor"));
    let next = deployment.get(&alice, &next).await.ok();
    assert_eq!((names(&next).as_slice(), next.get("next_cursor")), (["of-old"].as_slice(), None));

    let (_, token) = deployment.agent(&alice, "key:in-use:sign", json!({})).await;
    assert_eq!(deployment.get(&token, &path).await.refused(403), "policy");
    // It asked for too much, and left no scope.
    deployment.post(&token, "/v1/keys/in-use/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn a_stale_agent_could_act_and_did_nothing() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let long = json!({ "not_after": "2027-06-01T00:00:00Z" });
    let (idle, _) = deployment.agent(&alice, "key:own-key:sign", long.clone()).await;
    let (revoked, _) = deployment.agent(&alice, "key:own-key:sign", long.clone()).await;
    deployment.post(&alice, &format!("/v1/agents/{revoked}/revoke"), json!({})).await.ok();
    deployment.agent(&alice, "key:own-key:sign", json!({ "not_after": "2026-10-01T00:00:00Z" })).await;
    let (busy, _) = deployment.agent(&alice, "key:own-key:sign", long).await;
    deployment.pass(30 * DAY);
    let alice = deployment.alice().await;
    let token = deployment.token(&alice, &busy).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    deployment.count_uses().await;
    let stale = deployment.get(&alice, &format!("/v1/agents/usage?stale_for={}", 30 * DAY)).await.ok();
    assert_eq!(agents(&stale), [idle.as_str()]);
    let early = deployment.get(&alice, &format!("/v1/agents/usage?stale_for={}", 30 * DAY + 1)).await.ok();
    assert!(agents(&early).is_empty());
}

#[tokio::test]
async fn a_broad_agent_is_shown_with_the_narrower_scope_that_would_have_sufficed() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["one", "two", "three"].map(|name| format!("key-{name}")) {
        let body = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "labels": ["team=billing"] });
        deployment.post(&alice, "/v1/keys", body).await.ok();
    }
    let (broad, token) = deployment.agent(&alice, "key:team=billing:sign,verify", json!({})).await;
    let (_, exact) = deployment.agent(&alice, "key:key-one:sign", json!({})).await;
    let (unused, _) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    for token in [&token, &exact] {
        deployment.post(token, "/v1/keys/key-one/sign", message(b"x")).await.ok();
    }
    deployment.post(&token, "/v1/keys/key-two/sign", message(b"x")).await.ok();
    deployment.count_uses().await;
    let found = deployment.get(&alice, "/v1/agents/usage?broad=true").await.ok();
    assert_eq!(agents(&found), [broad.as_str()], "not {unused}: it is stale sooner or later, and fits no scope");
    let shown = &found["items"][0];
    assert_eq!(shown["granted"], json!({ "keys": 3, "actions": 2, "rights": 6, "more": false }));
    assert_eq!(shown["used"], json!({ "keys": 2, "actions": 1, "rights": 2, "more": false }));
    assert_eq!(shown["scope"], "key:team=billing:sign,verify");
    assert_eq!(shown["sufficient_scope"], "key:key-one,key-two:sign");
    // It does suffice: the grant can be narrowed to it, and then is not broad.
    let body = json!({ "scope": shown["sufficient_scope"] });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{broad}"), Some(body)).await.ok();
    for key in ["key-one", "key-two"] {
        deployment.post(&token, &format!("/v1/keys/{key}/sign"), message(b"x")).await.ok();
    }
    let found = deployment.get(&alice, "/v1/agents/usage?broad=true").await.ok();
    assert!(agents(&found).is_empty());
}

#[tokio::test]
async fn a_human_sees_the_use_of_her_own_agents_and_who_may_see_all_of_all() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let bob = deployment.log_in("bob@org", &["user"]).await;
    let (hers, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.pass(1);
    let (his, _) = deployment.agent(&bob, "key:own-key:sign", json!({})).await;
    let carol = deployment.log_in("carol@org", &["auditor"]).await;
    for (who, want) in [(&alice, vec![&hers, &his]), (&bob, vec![&his]), (&carol, vec![&hers, &his])] {
        let mut walked = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = deployment.get(who, &format!("/v1/agents/usage?limit=1{cursor}")).await.ok();
            walked.extend(agents(&page).iter().map(ToString::to_string));
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(walked.iter().collect::<Vec<_>>(), want);
    }
    assert_eq!(deployment.get(&token, "/v1/agents/usage").await.refused(403), "policy");
}

/// Facts about a key, once all is counted.
async fn used(deployment: &Deployment, by: &str, key: &str) -> Value {
    deployment.count_uses().await;
    deployment.get(by, &format!("/v1/keys/{key}/usage")).await.ok()
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|key| key["aliases"][0].as_str().unwrap()).collect()
}

fn agents(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|shown| shown["agent"].as_str().unwrap()).collect()
}
