//! Each detector of the stream from requests through the server, and who is told of what.

use crate::detection::recommendations;
use aegis_core::store::Store;
use aegis_functions::handle;
use aegis_tests::deployment::{BEGINNING, Deployment};
use aegis_tests::{base64, message, text};
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const DAY: i64 = 86_400;
pub(crate) const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

#[tokio::test]
async fn sixty_an_hour_after_two_are_low_and_slow_though_no_minute_is_unusual() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    for _ in 0..5 {
        let token = token_of(&deployment, &agent).await;
        for _ in 0..59 {
            sign(&deployment, &token).await;
            deployment.pass(61);
        }
        deployment.detect().await;
    }
    let found = found(&deployment, "low_and_slow").await;
    assert_eq!((&found["agent"], &found["sponsor"]), (&json!(agent), &json!("alice@org")));
    assert!(names(&found).contains(&"sustained_excess".to_string()), "{found}");
    let all = recommendations(&deployment, &deployment.alice().await).await;
    assert!(all.iter().all(|found| found["detector"] == "low_and_slow"), "{all:?}");
}

/// It has decrypted before, so that the operation is no news; so much of it is.
#[tokio::test]
async fn of_who_encrypts_all_day_it_is_said_how_much_it_begins_to_decrypt() {
    let (deployment, agent) = with_agent("AES-256-GCM", "encrypt,decrypt").await;
    let plain = json!({ "plaintext": base64(b"a card number") });
    let encrypt = async |token: &str| deployment.post(token, "/v1/keys/own-key/encrypt", plain.clone()).await.ok();
    let decrypt = async |token: &str| {
        let sealed = json!({ "ciphertext": encrypt(token).await["ciphertext"] });
        deployment.post(token, "/v1/keys/own-key/decrypt", sealed).await.ok();
    };
    let uses = std::cell::Cell::new(0);
    two_weeks(&deployment, &agent, async |token| {
        uses.set(uses.get() + 1);
        deployment.detect().await;
        if uses.get() % 16 == 0 { decrypt(token).await } else { drop(encrypt(token).await) }
    })
    .await;
    let token = token_of(&deployment, &agent).await;
    let risk_of_the_last = async || {
        deployment.detect().await;
        let path = "/v1/audit?op=key.decrypt&limit=1";
        deployment.get(&deployment.alice().await, path).await.ok()["items"][0]["risk"].clone()
    };
    let mix = |risk: &Value| {
        let factors = risk["factors"].as_array().unwrap().clone();
        factors.into_iter().find(|factor| factor["factor"] == "operation_mix")
    };
    decrypt(&token).await;
    assert_eq!(mix(&risk_of_the_last().await), None);
    for _ in 0..30 {
        deployment.pass(60);
        deployment.detect().await;
        decrypt(&token).await;
    }
    let risk = risk_of_the_last().await;
    let factor = mix(&risk).unwrap_or_else(|| panic!("no operation_mix in {risk}"));
    assert!(factor["observed"].as_f64().unwrap() >= 29.0 && factor["expected"].as_f64().unwrap() < 2.0, "{factor}");
    assert!(factor["weight"].as_f64().unwrap() > 0.02, "{factor}");
}

#[tokio::test]
async fn one_credential_from_two_places_by_turns_is_shared_and_its_agent_must_ask() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    sign(&deployment, &token).await;
    for _ in 0..2 {
        deployment.pass(5);
        assert_eq!(sign_from(&deployment, &token, ELSEWHERE).await, 200);
        deployment.pass(5);
        sign(&deployment, &token).await;
    }
    deployment.detect().await;
    let found = found(&deployment, "credential_shared").await;
    assert_eq!((&found["agent"], &found["severity"]), (&json!(agent), &json!("high")));
    assert!(names(&found).contains(&"two_places".to_string()), "{found}");
    assert_eq!(found["responses"][0]["action"], "step_up", "{found}");
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "step_up");
}

/// Who moves leaves the old place for good.
#[tokio::test]
async fn a_credential_that_moves_for_good_is_not_shared() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    sign(&deployment, &token).await;
    for _ in 0..4 {
        deployment.pass(5);
        assert_eq!(sign_from(&deployment, &token, ELSEWHERE).await, 200);
    }
    deployment.detect().await;
    let all = recommendations(&deployment, &deployment.alice().await).await;
    assert!(all.iter().all(|found| found["detector"] != "credential_shared"), "{all:?}");
}

#[tokio::test]
async fn a_human_credential_at_the_rate_of_a_machine_is_found_and_revoked() {
    let (deployment, _) = with_agent("Ed25519", "sign").await;
    for _ in 0..14 {
        for _ in 0..4 {
            let alice = deployment.alice().await;
            sign(&deployment, &alice).await;
            deployment.pass(3_600);
        }
        end_day(&deployment).await;
    }
    let alice = deployment.alice().await;
    for _ in 0..200 {
        sign(&deployment, &alice).await;
    }
    deployment.detect().await;
    let found = found(&deployment, "human_machine_rate").await;
    assert_eq!((&found["agent"], &found["sponsor"]), (&Value::Null, &json!("alice@org")));
    assert!(names(&found).contains(&"burst".to_string()), "{found}");
    assert_eq!(found["responses"][0]["action"], "revoke_credential", "{found}");
    let refusal = deployment.post(&alice, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(401), "credential_revoked");
}

#[tokio::test]
async fn an_agent_that_only_encrypted_and_begins_to_decrypt_is_found() {
    let (deployment, agent) = with_agent("AES-256-GCM", "encrypt,decrypt").await;
    let encrypt = async |token: &str| {
        let body = json!({ "plaintext": base64(b"a row") });
        text(&deployment.post(token, "/v1/keys/own-key/encrypt", body).await.ok(), "ciphertext")
    };
    two_weeks(&deployment, &agent, async |token| drop(encrypt(token).await)).await;
    let token = token_of(&deployment, &agent).await;
    let ciphertext = encrypt(&token).await;
    for _ in 0..3 {
        let body = json!({ "ciphertext": ciphertext });
        deployment.post(&token, "/v1/keys/own-key/decrypt", body).await.ok();
        deployment.pass(1);
    }
    deployment.detect().await;
    let found = found(&deployment, "new_operation").await;
    assert_eq!((&found["agent"], &found["evidence"]["operation"]), (&json!(agent), &json!("key.decrypt")));
    assert_eq!(names(&found)[0], "new_operation", "{found}");
}

/// Four a day are many for who had one for weeks; who is told is the human they belong to.
#[tokio::test]
async fn agents_made_faster_than_ever_are_held_against_their_human() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    for n in 0..5 {
        let alice = deployment.alice().await;
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
        sign(&deployment, &token).await;
        deployment.pass(600);
        deployment.detect().await;
        let all = recommendations(&deployment, &alice).await;
        let told = all.iter().any(|found| found["detector"] == "agent_spawn_rate");
        assert_eq!(told, n >= 3, "after {} new agents: {all:?}", n + 1);
    }
    let found = found(&deployment, "agent_spawn_rate").await;
    assert_eq!((&found["agent"], &found["sponsor"]), (&Value::Null, &json!("alice@org")));
    assert!(!found["evidence"]["records"].as_array().unwrap().is_empty(), "{found}");
    // To dismiss it says nothing of how fast they may be.
    let fleet = async || {
        let item = aegis_core::behaviour::item("fleet/alice@org");
        deployment.store.get(&item).await.unwrap().unwrap().item.body
    };
    let before = fleet().await;
    let path = format!("/v1/recommendations/{}/dismiss", text(&found, "id"));
    deployment.post(&deployment.alice().await, &path, json!({})).await.ok();
    deployment.detect().await;
    assert_eq!(fleet().await, before);
}

/// Alone one agent is found; the same requests of eight sub-agents are found as what all of them do together, and they
/// become as risky.
#[tokio::test]
async fn a_burst_that_is_split_over_sub_agents_is_as_risky_and_is_found_too() {
    let alone = Burst::of(1).await;
    let split = Burst::of(8).await;
    assert!(alone.found.contains(&("usage_spike".to_string(), Some(alone.agent.clone()))), "{:?}", alone.found);
    assert!(split.found.contains(&("agents_in_concert".to_string(), None)), "{:?}", split.found);
    assert!(alone.risk > 0.5, "{}", alone.risk);
    assert!(split.risk >= alone.risk - 0.01, "{} alone, {} split", alone.risk, split.risk);
}

/// What 160 signatures in a second lead to, by so many sub-agents, or by the agent that makes them.
struct Burst {
    agent: String,
    found: Vec<(String, Option<String>)>,
    /// The highest of all.
    risk: f64,
}

impl Burst {
    async fn of(agents: usize) -> Self {
        let (deployment, agent) = with_agent("Ed25519", "sign").await;
        two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
        let parent = token_of(&deployment, &agent).await;
        let mut tokens = vec![parent.clone()];
        if agents > 1 {
            tokens.clear();
            for _ in 0..agents {
                tokens.push(deployment.agent(&parent, "key:own-key:sign", json!({})).await.1);
            }
        }
        for token in tokens.iter().cycle().take(160) {
            sign(&deployment, token).await;
        }
        let alice = deployment.alice().await;
        let newest = deployment.get(&alice, "/v1/audit?op=key.sign&limit=160").await.ok();
        let risks = newest["items"].as_array().unwrap().iter().map(|record| record["risk"]["score"].as_f64().unwrap());
        let risk = risks.fold(0.0, f64::max);
        deployment.detect().await;
        let all = recommendations(&deployment, &alice).await;
        let agent_of = |found: &Value| found["agent"].as_str().map(String::from);
        let found = all.iter().map(|found| (text(found, "detector"), agent_of(found))).collect();
        Self { agent, found, risk }
    }
}

/// A key in development, so that nothing but behaviour is held against who uses it, and an agent that may use it.
pub(crate) async fn with_agent(algorithm: &str, may: &str) -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let key = json!({ "name": "own-key", "algorithm": algorithm, "environment": "development", "activate": true });
    deployment.post(&alice, "/v1/keys", key).await.ok();
    let scope: Vec<String> = may.split(',').map(|verb| format!("key:own-key:{verb}")).collect();
    let more = json!({ "purpose": "service", "delegate": true });
    let (agent, _) = deployment.agent(&alice, &scope.join(" "), more).await;
    (deployment, agent)
}

/// Two uses an hour for eight hours of each day.
pub(crate) async fn two_weeks(deployment: &Deployment, agent: &str, work: impl AsyncFn(&str)) {
    for _ in 0..14 {
        for _ in 0..8 {
            let token = token_of(deployment, agent).await;
            for pause in [300, 3_300] {
                work(&token).await;
                deployment.pass(pause);
            }
        }
        end_day(deployment).await;
    }
}

/// Up to where the next one begins.
pub(crate) async fn end_day(deployment: &Deployment) {
    deployment.detect().await;
    deployment.pass(DAY - (deployment.now() - BEGINNING) % DAY);
    deployment.detect().await;
}

pub(crate) async fn token_of(deployment: &Deployment, agent: &str) -> String {
    deployment.token(&deployment.alice().await, agent).await
}

pub(crate) async fn sign(deployment: &Deployment, token: &str) {
    deployment.post(token, "/v1/keys/own-key/sign", message(b"invoice")).await.ok();
}

async fn sign_from(deployment: &Deployment, token: &str, source: IpAddr) -> u16 {
    let request = Request::post("/v1/keys/own-key/sign")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Bytes::from(message(b"invoice").to_string()));
    handle(&deployment.host, request.unwrap(), source).await.status().as_u16()
}

/// The newest recommendation of a detector.
pub(crate) async fn found(deployment: &Deployment, detector: &str) -> Value {
    let all = recommendations(deployment, &deployment.alice().await).await;
    let found = all.iter().find(|found| found["detector"] == detector);
    assert!(found.is_some(), "no {detector} in {all:#?}");
    found.unwrap().clone()
}

/// The factors, the weightiest first.
pub(crate) fn names(found: &Value) -> Vec<String> {
    let mut factors = found["evidence"]["factors"].as_array().unwrap().clone();
    factors.sort_by(|a, b| b["weight"].as_f64().unwrap().total_cmp(&a["weight"].as_f64().unwrap()));
    factors.iter().map(|factor| text(factor, "factor")).collect()
}

/// A token that holds no more is no doing of its human's: whoever floods with it stops none of her other agents, and keeps
/// her from nothing.
#[tokio::test]
async fn what_comes_with_a_revoked_token_is_held_against_nobody_else() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    let alice = deployment.alice().await;
    let body = json!({ "name": "high-key", "algorithm": "Ed25519", "tier": "high", "environment": "production", "activate": true });
    deployment.post(&alice, "/v1/keys", body).await.ok();
    let (_, young) = deployment.agent(&alice, "key:high-key:sign", json!({ "purpose": "service" })).await;
    deployment.post(&alice, &format!("/v1/agents/{agent}/revoke"), json!({})).await.ok();
    let refused = async |times: u32| {
        for _ in 0..times {
            let answer = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
            assert!([401, 429].contains(&answer.status), "{}", answer.body);
        }
    };
    deployment.begin_a_minute();
    refused(599).await;
    assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.refused(401), "agent_revoked");
    // What comes beyond that is counted, and told of in one record.
    assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.refused(429), "rate_limited");
    let signed = deployment.post(&young, "/v1/keys/high-key/sign", message(b"x")).await;
    assert_eq!(signed.status, 200, "{}", signed.body);
}

/// Twenty agents of two humans use a key once a day each; one day each uses it eight times within the hour. None of them is
/// told of for that: the key is, once, and nobody is stopped.
#[tokio::test]
async fn a_key_that_many_use_a_little_more_is_told_of_and_none_of_them_is_stopped() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let key = json!({ "name": "shared-key", "algorithm": "Ed25519", "environment": "development", "activate": true });
    let key = text(&deployment.post(&alice, "/v1/keys", key).await.ok(), "id");
    let bob = deployment.log_in("bob@org", &["operator", "user"]).await;
    let mut agents = Vec::new();
    for n in 0..20 {
        let by = if n % 2 == 0 { &alice } else { &bob };
        let (agent, _) = deployment.agent(by, "key:shared-key:sign", json!({ "purpose": "service" })).await;
        agents.push(agent);
    }
    let round = async |times: usize, pause: i64| {
        deployment.detect().await;
        let (alice, bob) = (deployment.alice().await, deployment.log_in("bob@org", &["operator", "user"]).await);
        let mut tokens = Vec::new();
        for (n, agent) in agents.iter().enumerate() {
            tokens.push(deployment.token(if n % 2 == 0 { &alice } else { &bob }, agent).await);
        }
        for _ in 0..times {
            for token in &tokens {
                deployment.post(token, "/v1/keys/shared-key/sign", message(b"x")).await.ok();
                deployment.pass(pause);
                deployment.detect().await;
            }
        }
        deployment.count_uses().await;
    };
    for _ in 0..12 {
        round(1, 60).await;
        deployment.pass(DAY - 20 * 60);
    }
    let calm = recommendations(&deployment, &deployment.alice().await).await;
    assert_eq!(calm, Vec::<Value>::new());
    round(8, 20).await;
    let found = recommendations(&deployment, &deployment.alice().await).await;
    let told: Vec<&Value> = found.iter().filter(|found| found["detector"] == "key_usage_spike").collect();
    let [spike] = told.as_slice() else { panic!("{found:?}") };
    assert_eq!((&spike["evidence"]["key"], spike.get("agent")), (&json!(key), None), "{spike}");
    assert_eq!((&spike["severity"], &spike["sponsor"]), (&json!("medium"), &json!("alice@org")), "{spike}");
    assert_eq!(spike["evidence"]["records"].as_array().unwrap().len(), 16);
    let factor = &spike["evidence"]["factors"][0];
    assert_eq!(factor["factor"], "volume", "{factor}");
    assert!(factor["observed"].as_f64().unwrap() >= 160.0, "{factor}");
    // An hour of the clock saw fewer of them.
    assert_eq!(factor["within_seconds"], 86_400, "{factor}");
    let done: Vec<&Value> = spike["responses"].as_array().unwrap().iter().map(|done| &done["action"]).collect();
    assert_eq!(done, [&json!("alert")], "{spike}");
    assert!(found.iter().all(|found| found.get("agent").is_none()), "each by itself is inconspicuous: {found:?}");
    // It goes on, and is not told again that day.
    round(2, 20).await;
    let again = recommendations(&deployment, &deployment.alice().await).await;
    assert_eq!(again.iter().filter(|found| found["detector"] == "key_usage_spike").count(), 1);
    // No agent is told, whoever made the key: it may be one of those who used it.
    let carol = deployment.log_in("carol@org", &["auditor", "user"]).await;
    let (_, reader) = deployment.agent(&carol, "key:shared-key:sign", json!({ "audit": true })).await;
    let listed = recommendations(&deployment, &reader).await;
    assert!(listed.iter().all(|found| found["detector"] != "key_usage_spike"), "{listed:?}");
    let path = format!("/v1/recommendations/{}", text(spike, "id"));
    assert_eq!(deployment.get(&reader, &path).await.refused(403), "policy");
    assert_eq!(deployment.get(&carol, &path).await.ok()["detector"], "key_usage_spike");
}
