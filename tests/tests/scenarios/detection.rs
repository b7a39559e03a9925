//! Detection on the stream: from committed records to recommendations and responses, and the risk of the next request.

use aegis_core::ambient::Timestamp;
use aegis_core::store::Store;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};

const DAY: i64 = 86_400;

#[tokio::test]
async fn a_burst_after_quiet_weeks_is_found_scored_and_answered_once() {
    let (deployment, agent) = quiet_weeks().await;
    let token = deployment.token(&deployment.alice().await, &agent).await;
    let before = risk_of(&deployment, &sign(&deployment, &token).await).await;
    for _ in 0..200 {
        sign(&deployment, &token).await;
    }
    let alice = deployment.alice().await;
    assert_eq!(recommendations(&deployment, &alice).await.len(), 0, "nothing is found before the stream is read");
    deployment.detect().await;
    let found = recommendations(&deployment, &alice).await;
    let spike = found.iter().find(|found| found["detector"] == "usage_spike").unwrap();
    assert_eq!(spike["agent"], agent.as_str());
    assert!(!spike["evidence"]["records"].as_array().unwrap().is_empty());
    assert!(spike["evidence"]["factors"].as_array().unwrap().iter().any(|factor| factor["factor"] == "burst"));
    assert!(!spike["responses"].as_array().unwrap().is_empty(), "{spike}");

    // The agent is frozen, or must ask: its next request does nothing, and its risk is on record with the reasons.
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.status, 403, "{}", refusal.body);
    if refusal.body["reason"] == "step_up" {
        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
        let risk = record["risk"]["score"].as_f64().unwrap();
        assert!(risk > before + 0.3, "{before} to {risk}");
    }
    // Read again from the beginning, nothing more is found nor done.
    let told = recommendations(&deployment, &alice).await;
    deployment.detect().await;
    assert_eq!(recommendations(&deployment, &alice).await, told);
}

#[tokio::test]
async fn what_is_usual_is_found_by_no_detector_and_scored_low() {
    let (deployment, agent) = quiet_weeks().await;
    for _ in 0..3 {
        work_day(&deployment, &agent).await;
    }
    let alice = deployment.alice().await;
    assert_eq!(recommendations(&deployment, &alice).await, Vec::<Value>::new());
    let risky = deployment.get(&alice, "/v1/audit?op=key.sign&min_risk=0.3").await.ok();
    assert_eq!(risky["items"], json!([]));
}

#[tokio::test]
async fn dismissing_teaches_what_is_normal() {
    let (deployment, agent) = quiet_weeks().await;
    let alice = deployment.alice().await;
    let token = deployment.token(&alice, &agent).await;
    let before = deployment.store.get(&state_of(&agent)).await.unwrap().unwrap();
    for _ in 0..200 {
        sign(&deployment, &token).await;
    }
    deployment.detect().await;
    let found = recommendations(&deployment, &alice).await;
    // What came in a minute is learnt once the minute is over, and a dismissal bears on what was learnt.
    deployment.pass(300);
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.refused(403);
    deployment.detect().await;
    let alice = deployment.alice().await;
    let taken_in = deployment.store.get(&state_of(&agent)).await.unwrap().unwrap();
    assert_ne!(taken_in.item.body, before.item.body);
    let path = format!("/v1/recommendations/{}/dismiss", text(&found[0], "id"));
    deployment.post(&alice, &path, json!({ "note": "month end" })).await.ok();
    deployment.detect().await;
    let taught = deployment.store.get(&state_of(&agent)).await.unwrap().unwrap();
    assert_ne!(taught.item.body, taken_in.item.body);
    // What came after it was not what she spoke of: told again, it teaches nothing more.
    deployment.post(&alice, &format!("/v1/agents/{agent}/unfreeze"), json!({})).await.ok();
    for _ in 0..100 {
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"y")).await;
    }
    deployment.pass(300);
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    deployment.detect().await;
    let later = deployment.store.get(&state_of(&agent)).await.unwrap().unwrap();
    assert_ne!(later.item.body, taught.item.body);
    let since = Timestamp::from_second(deployment.now() - 3_600).unwrap();
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/audit/redrive", json!({ "since": since })).await.ok();
    deployment.detect().await;
    assert_eq!(deployment.store.get(&state_of(&agent)).await.unwrap().unwrap().item.body, later.item.body);
}

#[tokio::test]
async fn what_is_found_more_than_a_day_late_only_teaches() {
    let (deployment, agent) = quiet_weeks().await;
    let token = token_for_a_day(&deployment, &agent).await;
    for _ in 0..200 {
        sign(&deployment, &token).await;
    }
    deployment.pass(2 * DAY);
    let before = deployment.store.get(&state_of(&agent)).await.unwrap().unwrap();
    deployment.detect().await;
    assert_ne!(deployment.store.get(&state_of(&agent)).await.unwrap().unwrap().item.body, before.item.body);
    assert_eq!(recommendations(&deployment, &deployment.alice().await).await, Vec::<Value>::new());
}

#[tokio::test]
async fn for_its_first_week_a_deployment_learns_and_decides_nothing_on_what_is_usual() {
    let (deployment, agent) = begun().await;
    for _ in 0..5 {
        work_day(&deployment, &agent).await;
    }
    let token = token_for_a_day(&deployment, &agent).await;
    for _ in 0..200 {
        sign(&deployment, &token).await;
    }
    deployment.detect().await;
    sign(&deployment, &token).await;
    let alice = deployment.alice().await;
    let responses = recommendations(&deployment, &alice).await;
    assert!(responses.iter().all(|found| found["severity"] != "critical"), "{responses:?}");
    let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
    assert!(newest["items"][0]["risk"]["score"].as_f64().unwrap() < 0.2, "{newest}");
}

#[tokio::test]
async fn a_human_is_not_held_against_what_her_agents_do() {
    let (deployment, _) = quiet_weeks().await;
    let alice = deployment.alice().await;
    for n in 0..5 {
        deployment.pass(600);
        let key = format!("her-key-{n}");
        let alice = deployment.alice().await;
        deployment.key(&alice, &key, "AES-256-GCM").await;
        deployment.post(&alice, &format!("/v1/keys/{key}/encrypt"), json!({ "plaintext": "" })).await.ok();
    }
    let newest = deployment.get(&alice, "/v1/audit?op=key.encrypt&limit=5").await.ok();
    let risks = newest["items"].as_array().unwrap().iter().map(|record| record["risk"]["score"].as_f64().unwrap());
    assert_eq!(risks.len(), 5);
    assert!(risks.clone().all(|risk| risk < 0.2), "{:?}", risks.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_young_agent_is_held_against_those_of_its_purpose_alone() {
    let (deployment, _) = quiet_weeks().await;
    for (purpose, held) in [("service", true), ("interactive", false)] {
        let alice = deployment.alice().await;
        let key = format!("{purpose}-key");
        deployment.key(&alice, &key, "Ed25519").await;
        let scope = format!("key:{key}:sign");
        let (_, token) = deployment.agent(&alice, &scope, json!({ "purpose": purpose })).await;
        deployment.post(&token, &format!("/v1/keys/{key}/sign"), message(b"x")).await.ok();
        let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
        let record = &newest["items"][0];
        assert_eq!(record["purpose"], purpose);
        let factors = record["risk"]["factors"].as_array().unwrap();
        assert_eq!(factors.iter().any(|factor| factor["factor"] == "new_key"), held, "{purpose}: {record}");
        // Of two records of one second neither is known to be the newest.
        deployment.pass(1);
    }
}

/// Who has taken over an agent that uses one key makes another for the rest, or one of that.
#[tokio::test]
async fn an_agent_made_by_another_is_held_against_what_that_one_does() {
    let mut told = Vec::new();
    for below in 0..3 {
        let (deployment, agent) = of_several_keys().await;
        let mut token = deployment.token(&deployment.alice().await, &agent).await;
        for n in 0..below {
            let scope = "key:other-0,other-1,other-2:sign";
            token = deployment.agent(&token, scope, json!({ "delegate": n == 0 })).await.1;
        }
        let sign = async |n: u32| {
            deployment.post(&token, &format!("/v1/keys/other-{n}/sign"), message(b"x")).await;
            let newest = deployment.get(&deployment.alice().await, "/v1/audit?op=key.sign&limit=1").await.ok();
            deployment.pass(5);
            newest["items"][0]["risk"].clone()
        };
        let risk = sign(0).await;
        for n in 1..3 {
            sign(n).await;
        }
        deployment.detect().await;
        let found = recommendations(&deployment, &deployment.alice().await).await;
        let mut found: Vec<String> =
            found.iter().map(|found| format!("{} {}", text(found, "detector"), text(found, "severity"))).collect();
        found.sort();
        told.push((risk, found));
    }
    let new_key = |risk: &Value| {
        let factors = risk["factors"].as_array().unwrap();
        let found = factors.iter().find(|factor| factor["factor"] == "new_key");
        found.map(|found| (found["observed"].clone(), found["expected"].clone()))
    };
    let [(by_itself, found), below @ ..] = told.as_slice() else { panic!("{told:?}") };
    assert!(new_key(by_itself).is_some() && found.iter().any(|found| found.starts_with("key_set")), "{told:?}");
    for (risk, of_other) in below {
        assert_eq!((new_key(risk), of_other), (new_key(by_itself), found));
    }
}

/// An agent that signs with one of its keys for two weeks.
async fn of_several_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-0", "other-1", "other-2"] {
        let key = json!({ "name": name, "algorithm": "Ed25519", "environment": "development", "activate": true });
        deployment.post(&alice, "/v1/keys", key).await.ok();
    }
    let more = json!({ "purpose": "service", "delegate": true });
    let (agent, _) = deployment.agent(&alice, "key:own-key,other-0,other-1,other-2:sign", more).await;
    for _ in 0..14 {
        work_day(&deployment, &agent).await;
    }
    (deployment, agent)
}

/// What the agent is for, its own grant says, or one above it; a grant that says nothing, as those of before, adds nothing.
#[tokio::test]
async fn a_key_of_another_environment_than_the_agent_is_for_is_a_factor_of_risk() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for environment in ["production", "staging"] {
        let key = json!({ "name": environment, "algorithm": "Ed25519", "environment": environment, "activate": true });
        deployment.post(&alice, "/v1/keys", key).await.ok();
    }
    let scope = "key:production,staging:sign";
    let (agent, for_staging) =
        deployment.agent(&alice, scope, json!({ "environment": "staging", "delegate": true })).await;
    assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["grant"]["environment"], "staging");
    let (_, below) = deployment.agent(&for_staging, scope, json!({})).await;
    let (_, below_production) = deployment.agent(&for_staging, scope, json!({ "environment": "production" })).await;
    let development = json!({ "environment": "development", "delegate": true });
    let (_, for_development) = deployment.agent(&alice, scope, development).await;
    let (_, below_development) = deployment.agent(&for_development, scope, json!({ "environment": "staging" })).await;
    let (_, for_any) = deployment.agent(&alice, scope, json!({})).await;
    let mismatch = |observed: f64, expected: f64| {
        let weight = (observed - expected).abs() / 10.0;
        json!({ "factor": "environment_mismatch", "observed": observed, "expected": expected, "weight": weight })
    };
    let table = [
        (&for_staging, "production", Some(mismatch(2.0, 1.0)), 0.12),
        (&for_staging, "staging", None, 0.01),
        (&below, "production", Some(mismatch(2.0, 1.0)), 0.12),
        (&below_production, "production", Some(mismatch(2.0, 1.0)), 0.12),
        (&below_production, "staging", Some(mismatch(1.0, 2.0)), 0.11),
        // What is nearer to the key takes nothing away.
        (&below_development, "production", Some(mismatch(2.0, 0.0)), 0.22),
        (&for_any, "production", None, 0.02),
    ];
    for (token, key, want, score) in table {
        deployment.post(token, &format!("/v1/keys/{key}/sign"), message(b"x")).await.ok();
        let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
        let risk = &newest["items"][0]["risk"];
        let factors = risk["factors"].as_array().unwrap();
        let found = factors.iter().find(|factor| factor["factor"] == "environment_mismatch");
        assert_eq!(found, want.as_ref(), "{key}: {risk}");
        assert_eq!(risk["score"], score, "{key}: {risk}");
        deployment.pass(1);
    }
    // It holds from the next request on.
    let production = json!({ "environment": "production" });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(production)).await.ok();
    for token in [&for_staging, &below] {
        deployment.post(token, "/v1/keys/production/sign", message(b"x")).await.ok();
        let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
        assert_eq!(newest["items"][0]["risk"]["score"], 0.02);
        deployment.pass(1);
    }
    deployment
        .post(&alice, "/v1/agents", json!({ "label": "x", "scope": scope, "environment": "test" }))
        .await
        .refused(400);
    taken_away(&deployment, &agent, &for_staging).await;
}

/// By the human behind the agent, freshly logged in; not by the agent, and not by a change that says nothing of it.
async fn taken_away(deployment: &Deployment, agent: &str, token: &str) {
    let path = format!("/v1/agents/{agent}");
    let amend = async |by: &str, body: Value| deployment.call(http::Method::PATCH, by, &path, Some(body)).await;
    let meant = async || deployment.get(token, &format!("{path}/scope")).await.ok().get("environment").cloned();
    let alice = deployment.alice().await;
    amend(&alice, json!({ "environment": "staging" })).await.ok();
    assert_eq!(amend(token, json!({ "environment": null })).await.refused(403), "policy");
    amend(&alice, json!({ "label": "renamed" })).await.ok();
    assert_eq!(meant().await, Some(json!("staging")));
    deployment.pass(301);
    assert_eq!(amend(&alice, json!({ "environment": null })).await.failed(401), "fresh-login-needed");
    let alice = deployment.alice().await;
    let grant = amend(&alice, json!({ "environment": null })).await.ok()["grant"].clone();
    assert_eq!((grant.get("environment"), meant().await), (None, None), "{grant}");
    deployment.post(token, "/v1/keys/production/sign", message(b"x")).await.ok();
    let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
    assert_eq!(newest["items"][0]["risk"]["score"], 0.02);
}

fn state_of(agent: &str) -> aegis_core::store::ItemKey {
    aegis_core::behaviour::item(&format!("actor/{agent}"))
}

/// An agent that signs a few times each working hour, for long enough that statistics are believed.
#[tokio::test]
async fn while_detection_lies_behind_what_is_new_is_asked_about() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["one", "two"] {
        let key = json!({ "name": name, "algorithm": "Ed25519", "environment": "development", "activate": true });
        deployment.post(&alice, "/v1/keys", key).await.ok();
    }
    let (agent, token) = deployment.agent(&alice, "key:one:sign key:two:sign", json!({ "purpose": "service" })).await;
    let sign = async |name: &str| deployment.post(&token, &format!("/v1/keys/{name}/sign"), message(b"x")).await;
    sign("one").await.ok();
    // What it did is part of what is known of it three minutes later; what it only looked at it never used.
    deployment.get(&token, "/v1/keys/two").await.ok();
    deployment.pass(180);
    deployment.detect().await;
    sign("one").await.ok();
    deployment.pass(180);
    deployment.detect().await;

    // 300 seconds are not too much, and nothing is asked about.
    deployment.pass(300);
    sign("one").await.ok();
    deployment.pass(1);
    sign("one").await.ok();
    let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
    let record = &newest["items"][0];
    let blind = json!({ "factor": "detection_blind", "observed": 301.0, "expected": 300.0, "weight": 0.1 });
    assert!(record["risk"]["factors"].as_array().unwrap().contains(&blind), "{record}");
    let foretold = deployment.post(&token, "/v1/keys/two/check-access", json!({ "action": "sign" })).await.ok();
    assert_eq!(foretold["decision"], "step_up", "whoever acts on it: {foretold}");
    let refusal = sign("two").await;
    assert_eq!((refusal.status, text(&refusal.body, "reason").as_str()), (403, "step_up"), "{}", refusal.body);
    // To look is open to whoever may.
    deployment.get(&token, "/v1/keys/two").await.ok();
    let stale = deployment.post(&alice, "/v1/keys/one/deactivate", json!({})).await;
    assert_eq!(stale.failed(401), "fresh-login-needed");

    deployment.detect().await;
    sign("two").await.ok();
    assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "active");
}

async fn quiet_weeks() -> (Deployment, String) {
    let (deployment, agent) = begun().await;
    for _ in 0..14 {
        work_day(&deployment, &agent).await;
    }
    (deployment, agent)
}

async fn begun() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    // So little hangs on it that the burst is found by the stream, and not asked about before.
    let key = json!({ "name": "own-key", "algorithm": "Ed25519", "environment": "development", "activate": true });
    deployment.post(&alice, "/v1/keys", key).await.ok();
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    (deployment, agent)
}

async fn work_day(deployment: &Deployment, agent: &str) {
    let token = token_for_a_day(deployment, agent).await;
    for _ in 0..8 {
        for _ in 0..2 {
            sign(deployment, &token).await;
            deployment.pass(300);
        }
        deployment.pass(3_000);
    }
    deployment.detect().await;
    deployment.pass(DAY - 8 * 3_600);
    deployment.detect().await;
}

async fn token_for_a_day(deployment: &Deployment, agent: &str) -> String {
    let alice = deployment.alice().await;
    let path = format!("/v1/agents/{agent}/credentials");
    text(&deployment.post(&alice, &path, json!({ "ttl": DAY })).await.ok(), "token")
}

async fn sign(deployment: &Deployment, token: &str) -> Value {
    deployment.post(token, "/v1/keys/own-key/sign", message(b"invoice")).await.ok()
}

async fn risk_of(deployment: &Deployment, _: &Value) -> f64 {
    let alice = deployment.alice().await;
    let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
    newest["items"][0]["risk"]["score"].as_f64().unwrap()
}

pub(crate) async fn recommendations(deployment: &Deployment, by: &str) -> Vec<Value> {
    let page = deployment.get(by, "/v1/recommendations?limit=200").await.ok();
    page["items"].as_array().unwrap().clone()
}
