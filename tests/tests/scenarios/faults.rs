//! The store fails: nothing is released without its record, and nothing is lost.

use aegis_core::store::fault::{Fault, Operation};
use aegis_tests::deployment::Deployment;
use aegis_tests::message;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_record_that_cannot_be_written_releases_nothing() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let (deployment, alice, token) = one_agent().await;
        deployment.store.fail_next(Operation::Write, fault);
        let answer = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(answer.failed(503), "unavailable", "{fault:?}");
        assert!(answer.body["signature"].is_null());
        assert!(answer.headers.contains_key("retry-after"));
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
        let found = deployment.get(&alice, "/v1/audit?op=key.sign").await.ok();
        let want = if fault == Fault::AfterWrite { 2 } else { 1 };
        assert_eq!(found["items"].as_array().unwrap().len(), want, "{fault:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_cannot_be_written_is_no_leave_and_the_next_one_stops_the_agent() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let (deployment, _, token) = one_agent().await;
        deployment.store.fail_next(Operation::Write, fault);
        let answer = deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await;
        assert_eq!(answer.failed(503), "unavailable");
        let again = deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await;
        match fault {
            Fault::BeforeWrite => assert_eq!(again.refused(403), "scope_violation"),
            Fault::AfterWrite => assert_eq!(again.refused(401), "agent_revoked"),
        }
        assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.refused(401), "agent_revoked");
    }
}

#[tokio::test]
async fn a_failing_read_or_count_refuses() {
    for operation in [Operation::Read, Operation::Add] {
        let (deployment, _, token) = one_agent().await;
        deployment.store.fail_next(operation, Fault::BeforeWrite);
        assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.failed(503), "unavailable");
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    }
}

#[tokio::test]
async fn a_key_store_without_room_is_named_and_recovers() {
    let deployment = Arc::new(Deployment::new().await);
    let make = |token: &str, name: String| {
        let (deployment, token) = (Arc::clone(&deployment), token.to_string());
        let body = json!({ "name": name, "algorithm": "RSA-3072-PSS-SHA256" });
        async move { deployment.post(&token, "/v1/keys", body).await }
    };
    // Each within her share, all together beyond what it takes in.
    let mut asked = Vec::new();
    for human in ["alice", "bob", "carol"] {
        let token = deployment.log_in(&format!("{human}@org"), &["operator", "auditor"]).await;
        asked.extend((0..2).map(|i| tokio::spawn(make(&token, format!("{human}-{i}")))));
    }
    let mut answers = Vec::new();
    for asked in asked {
        answers.push(asked.await.unwrap());
    }
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), refused.len()), (5, 1));
    assert_eq!(refused[0].failed(503), "unavailable");
    assert_eq!(refused[0].body["title"], "the key store did not answer");
    assert!(refused[0].headers.contains_key("retry-after"));
    let token = deployment.log_in("alice@org", &["operator", "auditor"]).await;
    let record = format!("/v1/audit/{}", aegis_tests::text(&refused[0].body, "record"));
    assert_eq!(deployment.get(&token, &record).await.ok()["error"], "the key store did not answer");
    make(&token, "alices-last".into()).await.ok();
}

#[tokio::test]
async fn a_creation_that_may_have_happened_is_repeated_safely() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        let send = || {
            let body = json!({ "name": "own-key", "algorithm": "Ed25519" });
            let request = http::Request::post("/v1/keys")
                .header("authorization", format!("Bearer {alice}"))
                .header("content-type", "application/json")
                .header("idempotency-key", "once");
            deployment.send(request.body(body.to_string().into()).unwrap())
        };
        deployment.store.fail_next(Operation::Write, fault);
        assert_eq!(send().await.failed(503), "unavailable");
        send().await.ok();
        let keys = deployment.get(&alice, "/v1/keys").await.ok();
        assert_eq!(keys["items"].as_array().unwrap().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_signature_costs_two_reads_and_one_write() {
    let (deployment, alice, _) = one_agent().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let id = deployment.get(&alice, "/v1/keys/own-key").await.ok()["id"].as_str().unwrap().to_string();
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    deployment.store.take_calls();
    deployment.post(&token, &format!("/v1/keys/{id}/sign"), message(b"x")).await.ok();
    let calls = deployment.store.take_calls();
    assert_eq!((calls.reads, calls.writes, calls.adds, calls.queries), (1, 1, 0, 0), "by id");
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let calls = deployment.store.take_calls();
    assert_eq!((calls.reads, calls.writes, calls.adds, calls.queries), (2, 1, 0, 0), "by name");
}

async fn one_agent() -> (Deployment, String, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let limits = json!({ "limits": { "per_day": 1_000 } });
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", limits).await;
    (deployment, alice, token)
}
