//! Tokens shown rather than used: given up (RFC 7009), asked about (RFC 7662).

use aegis_core::ambient::Timestamp;
use aegis_tests::deployment::Deployment;
use aegis_tests::message;
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_is_revoked_by_its_holder_and_by_the_human_behind_it() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, first) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let second = deployment.token(&alice, &agent).await;
    for (by, token) in [(&first, &first), (&alice, &second), (&alice, &alice)] {
        deployment.get(token, "/v1/whoami").await.ok();
        assert_eq!(deployment.form(by, "/v1/oauth/revoke", &[("token", token)]).await.ok(), json!({}));
        assert_eq!(deployment.get(token, "/v1/whoami").await.refused(401), "credential_revoked");
    }
}

#[tokio::test]
async fn revoking_what_is_not_ones_own_is_answered_like_success_and_does_nothing() {
    let deployment = Deployment::new().await;
    let (alice, bob) = (deployment.alice().await, deployment.log_in("bob@org", &["user"]).await);
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let sibling = deployment.agent(&alice, "key:own-key:sign", json!({})).await.1;
    let id_token = deployment.id_token("alice@org", &["user"]);
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, alice.rsplit_once('.').unwrap().1);
    for by in [&bob, &sibling] {
        for shown in [&token, &alice, &id_token, &forged, "nonsense", ""] {
            let answer = deployment.form(by, "/v1/oauth/revoke", &[("token", shown), ("token_type_hint", "x")]).await;
            assert_eq!(answer.ok(), json!({}));
            let answer = deployment.form(by, "/v1/oauth/introspect", &[("token", shown)]).await;
            assert_eq!(answer.ok(), json!({ "active": false }));
        }
    }
    for token in [&token, &alice] {
        deployment.get(token, "/v1/whoami").await.ok();
    }
    // The reply is silent; the record is not.
    let root = deployment.log_in("root@org", &["auditor"]).await;
    let tried = deployment.get(&root, "/v1/audit?op=credential.revoke&actor=bob@org&outcome=denied").await.ok();
    assert_eq!(tried["items"].as_array().unwrap().len(), 2, "{tried}");
    assert!(tried["items"].as_array().unwrap().iter().all(|record| record["reason"] == "policy"));
    assert!(!tried.to_string().contains(&token));
}

#[tokio::test]
async fn introspection_tells_the_holder_her_human_and_those_who_watch() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let auditor = deployment.log_in("root@org", &["auditor"]).await;
    for by in [&token, &alice, &auditor] {
        let told = introspect(&deployment, by, &token).await;
        assert_eq!(told["active"], true, "{told}");
        assert_eq!(told["sub"], "alice@org");
        assert_eq!(told["act"]["sub"], agent.as_str());
        assert_eq!(told["exp"], deployment.now() + 3_600);
        assert_eq!(told["authorization_details"][0]["type"], "aegis_key_use");
        assert!(told["epoch"].is_null());
    }
    let own = introspect(&deployment, &alice, &alice).await;
    assert_eq!((&own["active"], &own["auth_time"]), (&json!(true), &json!(deployment.now())));
}

#[tokio::test]
async fn a_token_is_inactive_once_a_request_with_it_would_be_refused() {
    let deployment = Deployment::new().await;
    deployment.key(&deployment.alice().await, "own-key", "Ed25519").await;
    let short = json!({ "not_after": Timestamp::from_second(deployment.now() + 600).unwrap() });
    let ways =
        [("freeze", json!({}), 0), ("revoke", json!({}), 0), ("", short.clone(), 600), ("amend", json!({}), 1_200)];
    for (way, more, later) in ways {
        let alice = deployment.alice().await;
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", more).await;
        assert_eq!(introspect(&deployment, &alice, &token).await["active"], true, "{way}");
        if way == "amend" {
            // The grant ends before the token does.
            let end = Timestamp::from_second(deployment.now() + 600).unwrap();
            let path = format!("/v1/agents/{agent}");
            deployment.call(Method::PATCH, &alice, &path, Some(json!({ "not_after": end }))).await.ok();
        } else if !way.is_empty() {
            deployment.post(&alice, &format!("/v1/agents/{agent}/{way}"), json!({})).await.ok();
        }
        deployment.pass(later);
        assert_ne!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.status, 200, "{way}");
        assert_eq!(introspect(&deployment, &alice, &token).await, json!({ "active": false }), "{way}");
    }
}

async fn introspect(deployment: &Deployment, by: &str, token: &str) -> Value {
    deployment.form(by, "/v1/oauth/introspect", &[("token", token)]).await.ok()
}
