//! Reports: what a human and her agents did.

use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{RecordId, RequestId};
use aegis_core::journal;
use aegis_core::operation::Operation;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::store::Store;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn a_report_of_a_human_tells_what_she_and_each_of_her_agents_did() {
    let (deployment, alice) = two_keys().await;
    let grant = json!({ "label": "honest", "limits": { "per_day": 3 } });
    let (honest, good) = deployment.agent(&alice, "key:own-key:sign,verify", grant).await;
    let (rogue, bad) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    for _ in 0..3 {
        deployment.post(&good, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    }
    deployment.post(&good, "/v1/keys/own-key/sign", message(b"x")).await.refused(429);
    let refusal = deployment.post(&bad, "/v1/keys/other-key/sign", message(b"x")).await;
    deployment.count_uses().await;
    let report = deployment.get(&alice, "/v1/humans/alice%40org/report").await.ok();

    assert_eq!((&report["human"], &report["more_actors"]), (&json!("alice@org"), &json!(0)));
    assert_eq!(report.get("complete_since"), None);
    let actors: Vec<Option<&str>> =
        report["actors"].as_array().unwrap().iter().map(|actor| actor["agent"].as_str()).collect();
    assert_eq!(actors, [None, Some(honest.as_str()), Some(rogue.as_str())]);

    let herself = &report["actors"][0];
    assert!(herself["operations"].as_array().unwrap().contains(&json!({ "operation": "key.create", "count": 2 })));
    assert_eq!(herself.get("usage"), None);

    let good = &report["actors"][1];
    let key = deployment.get(&alice, "/v1/keys/own-key").await.ok()["id"].clone();
    assert_eq!(good["label"], "honest");
    assert_eq!(good["uses"], json!([{ "operation": "key.sign", "key": key, "key_name": "own-key", "count": 3 }]));
    assert_eq!(good["denials"], json!([{ "reason": "uses_per_day", "count": 1 }]));
    assert_eq!((&good["requests"], &good["busiest_hour"]["requests"]), (&json!(4), &json!(4)));
    assert_eq!((&good["usage"]["uses"], &good["usage"]["denied"]), (&json!(3), &json!(1)));
    assert_eq!(good["responses"], json!([]));

    let bad = &report["actors"][2];
    let record = text(&refusal.body, "record");
    assert_eq!((&bad["state"], &bad["uses"]), (&json!("revoked"), &json!([])));
    assert_eq!(bad["denials"], json!([{ "reason": "scope_violation", "count": 1 }]));
    let (found, response) = (&bad["recommendations"][0], &bad["responses"][0]);
    assert_eq!((&found["detector"], &found["record"]), (&json!("scope_violation"), &json!(record)));
    assert_eq!((&response["action"], &response["agent"]), (&json!("revoke_agent"), &json!(rogue)));

    let alone = deployment.get(&alice, &format!("/v1/agents/{honest}/report")).await.ok();
    assert_eq!(alone["actors"], json!([good]));
    assert_eq!(alone["human"], "alice@org");
}

#[tokio::test]
async fn a_report_reaches_back_a_week_or_as_far_as_it_is_told_to() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    deployment.pass(8 * 86_400);
    let alice = deployment.alice().await;
    let path = format!("/v1/agents/{agent}/report");
    assert_eq!(deployment.get(&alice, &path).await.ok()["actors"], json!([]));
    let since = Timestamp::from_second(deployment.now() - 9 * 86_400).unwrap();
    let report = deployment.get(&alice, &format!("{path}?since={since}")).await.ok();
    assert_eq!(report["actors"][0]["uses"][0]["count"], 1);
    assert_eq!(deployment.get(&alice, &format!("{path}?since=yesterday")).await.failed(400), "invalid-request");
}

#[tokio::test]
async fn a_report_reads_so_many_records_and_says_from_when_on_it_holds_all() {
    let (deployment, alice) = two_keys().await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let entropy = Entropy::system();
    let mut puts = Vec::new();
    for second in 0..16_010 {
        let at = Timestamp::from_second(deployment.now() + second).unwrap();
        let (id, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
        let record = AuditRecord::new(id, at, Operation::KeyList, Plane::Rest, request);
        let record = AuditRecord { agents: vec![agent.clone().try_into().unwrap()], ..record };
        puts.push(journal::put(deployment.store.as_ref(), &record).unwrap());
    }
    for some in puts.chunks(100) {
        deployment.store.transact(some.to_vec()).await.unwrap();
    }
    let oldest = Timestamp::from_second(deployment.now() + 10).unwrap().to_string();
    deployment.pass(16_010);
    let report = deployment.get(&alice, &format!("/v1/agents/{agent}/report")).await.ok();
    assert_eq!(report["records"], 16_000);
    assert_eq!((&report["complete_since"], &report["actors"][0]["first_at"]), (&json!(oldest), &json!(oldest)));
    assert_eq!(report["actors"][0]["operations"], json!([{ "operation": "key.list", "count": 16_000 }]));
}

#[tokio::test]
async fn a_report_is_for_who_may_read_the_trail_and_is_itself_on_record() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{agent}/report");
    assert_eq!(deployment.get(&token, &path).await.refused(403), "policy");
    for (name, roles, hers, her_agent) in [
        ("alice@org", vec![], 200, 200),
        ("bob@org", vec!["user"], 403, 403),
        ("carol@org", vec!["auditor"], 200, 200),
        ("dave@org", vec!["operator"], 200, 200),
        ("erin@org", vec!["admin"], 200, 200),
    ] {
        let who = deployment.log_in(name, &roles).await;
        assert_eq!(deployment.get(&who, "/v1/humans/alice%40org/report").await.status, hers, "{name}");
        assert_eq!(deployment.get(&who, &path).await.status, her_agent, "{name}");
        assert_eq!(deployment.get(&who, &format!("/v1/humans/{name}/report")).await.status, 200, "{name} of herself");
    }
    let auditor = deployment.log_in("carol@org", &["auditor"]).await;
    for (operation, object) in [("human.report", "alice@org"), ("agent.report", agent.as_str())] {
        let found = deployment.get(&auditor, &format!("/v1/audit?op={operation}&outcome=ok")).await.ok();
        let objects: Vec<&Value> = found["items"].as_array().unwrap().iter().map(|record| &record["object"]).collect();
        assert!(objects.contains(&&json!(object)), "{operation} {objects:?}");
    }
}

async fn two_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    (deployment, alice)
}
