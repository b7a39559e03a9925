//! What is new to whoever asks, and comes at an hour of its own: which detector says so, and what a request for it needs.

use crate::detection::recommendations;
use crate::detectors::{ELSEWHERE, end_day, found, names, sign, token_of, two_weeks, with_agent};
use aegis_core::record::AuditRecord;
use aegis_events::stream;
use aegis_functions::handle;
use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message};
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// From where a day of work begins until the night.
const NIGHT: i64 = 15 * 3_600;

#[tokio::test]
async fn a_human_who_signs_at_night_as_she_never_did_is_told_of() {
    let deployment = by_day(0).await;
    deployment.pass(NIGHT);
    let alice = deployment.alice().await;
    sign(&deployment, &alice).await;
    deployment.detect().await;
    let found = found(&deployment, "off_hours").await;
    assert_eq!((found.get("agent"), &found["sponsor"]), (None, &json!("alice@org")), "{found}");
    assert_eq!(names(&found)[0], "hour_of_day", "{found}");
    let all = recommendations(&deployment, &alice).await;
    assert!(all.iter().all(|found| found["detector"] == "off_hours"), "{all:?}");
}

#[tokio::test]
async fn an_agent_that_comes_from_two_networks_where_it_never_was_is_told_of() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    for source in [ELSEWHERE, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7))] {
        from(&deployment, source, &token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    }
    deployment.detect().await;
    let found = found(&deployment, "new_source").await;
    assert_eq!((&found["agent"], names(&found)[0].as_str()), (&json!(agent), "new_source"), "{found}");
    let all = recommendations(&deployment, &deployment.alice().await).await;
    assert!(all.iter().all(|found| found["detector"] == "new_source"), "{all:?}");
}

/// A queue that could not deliver brings a batch back after some minutes.
#[tokio::test]
async fn what_is_brought_back_minutes_late_is_told_of_once() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    for source in [ELSEWHERE, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7))] {
        from(&deployment, source, &token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    }
    deployment.pass(360);
    sign(&deployment, &token).await;
    let newest = deployment.get(&deployment.alice().await, "/v1/audit?op=key.sign&limit=3").await.ok();
    let record = |record: &Value| Arc::new(serde_json::from_value::<AuditRecord>(record.clone()).unwrap());
    let records: Vec<Arc<AuditRecord>> = newest["items"].as_array().unwrap().iter().map(record).collect();
    let (in_time, late) = records.split_first().unwrap();
    let app = &deployment.host.app;
    stream::observe(app, vec![Arc::clone(in_time)]).await.unwrap();
    assert!(recommendations(&deployment, &deployment.alice().await).await.is_empty());
    for _ in 0..2 {
        stream::observe(app, late.to_vec()).await.unwrap();
        let found = recommendations(&deployment, &deployment.alice().await).await;
        let told: Vec<(&str, &str)> =
            found.iter().map(|found| (found["detector"].as_str().unwrap(), found["agent"].as_str().unwrap())).collect();
        assert_eq!(told, [("new_source", agent.as_str())]);
    }
}

/// To look over what one may use is no use of it: nobody is told of, nor asked about, for it, and nothing is learnt of it.
/// An agent that looks for what it may not use searches.
#[tokio::test]
async fn keys_that_an_agent_only_looks_at_say_nothing_of_it_but_where_it_may_not() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    for n in 0..8 {
        let key = json!({ "name": format!("key-{n}"), "algorithm": "Ed25519", "environment": "development", "activate": true });
        deployment.post(&deployment.alice().await, "/v1/keys", key).await.ok();
    }
    let wide =
        json!({ "scope": format!("key:own-key{}:sign", (0..8).map(|n| format!(",key-{n}")).collect::<String>()) });
    let path = format!("/v1/agents/{agent}");
    deployment.call(http::Method::PATCH, &deployment.alice().await, &path, Some(wide)).await.ok();
    two_weeks(&deployment, &agent, async |token| sign(&deployment, token).await).await;
    let token = token_of(&deployment, &agent).await;
    for n in 0..8 {
        deployment.get(&token, &format!("/v1/keys/key-{n}")).await.ok();
        deployment.get(&token, &format!("/v1/keys/key-{n}/public-key")).await.ok();
        deployment.pass(5);
    }
    deployment.pass(180);
    deployment.detect().await;
    let alice = deployment.alice().await;
    assert!(recommendations(&deployment, &alice).await.is_empty());
    // It knows them by sight, and to sign with them is new all the same.
    for n in 0..8 {
        deployment.post(&token, &format!("/v1/keys/key-{n}/sign"), message(b"x")).await;
        deployment.pass(5);
    }
    deployment.detect().await;
    let found = found(&deployment, "key_set").await;
    assert_eq!((&found["agent"], &found["evidence"]["operation"]), (&json!(agent), &json!("key.sign")), "{found}");
    assert_eq!(names(&found)[0], "new_key", "{found}");

    let (searching, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    deployment.get(&token, "/v1/keys/key-1").await.refused(403);
    let record = deployment.get(&alice, &format!("/v1/audit?op=key.get&agent={searching}&limit=1")).await.ok();
    let record: AuditRecord = serde_json::from_value(record["items"][0].clone()).unwrap();
    assert!(record.is_sighted(), "{record:?}");
}

/// Who is called at night, from elsewhere, to keys she never had may suspend them, whatever the risk, and her session goes on. What cannot
/// be taken back is refused.
#[tokio::test]
async fn a_human_who_is_called_to_an_incident_can_suspend_and_not_do_what_nobody_can_undo() {
    let deployment = by_day(0).await;
    let bob = deployment.log_in("bob@org", &["operator", "user"]).await;
    for n in 0..5 {
        let key = json!({ "name": format!("exposed-{n}"), "algorithm": "Ed25519", "activate": true });
        deployment.post(&bob, "/v1/keys", key).await.ok();
    }
    deployment.pass(NIGHT);
    let alice = deployment.alice().await;
    let ask = async |n: u32, what: &str| {
        from(&deployment, ELSEWHERE, &alice, &format!("/v1/keys/exposed-{n}/{what}"), json!({})).await
    };
    for n in 0..5 {
        ask(n, "suspend").await.ok();
    }
    deployment.detect().await;
    let told = recommendations(&deployment, &alice).await;
    assert!(told.is_empty(), "{told:?}");
    deployment.pass(400);
    let refused = ask(0, "compromise").await;
    assert_eq!(refused.refused(403), "risk_too_high");
    assert!(refused.body["risk"]["score"].as_f64().unwrap() > 0.9, "{}", refused.body);
}

/// Keys that a human makes, and changes, belong to others: that they are many, and new, says nothing of her, and she does not know them
/// any better when she comes to use them.
#[tokio::test]
async fn a_human_who_governs_many_keys_is_at_work_and_they_are_not_hers() {
    let deployment = by_day(0).await;
    let alice = deployment.alice().await;
    for n in 0..6 {
        let key = json!({ "name": format!("made-{n}"), "algorithm": "Ed25519", "environment": "development" });
        deployment.post(&alice, "/v1/keys", key).await.ok();
    }
    for what in ["activate", "rotate"] {
        for n in 0..6 {
            deployment.post(&alice, &format!("/v1/keys/made-{n}/{what}"), json!({})).await.ok();
        }
    }
    deployment.pass(180);
    deployment.detect().await;
    let told = recommendations(&deployment, &alice).await;
    assert!(told.is_empty(), "{told:?}");
    for n in 0..6 {
        deployment.post(&alice, &format!("/v1/keys/made-{n}/sign"), message(b"x")).await;
        deployment.pass(5);
    }
    deployment.detect().await;
    let found = found(&deployment, "key_set").await;
    assert_eq!(names(&found)[0], "new_key", "{found}");
}

/// What takes a key out of use needs less risk to be asked about than what uses or changes it.
#[tokio::test]
async fn a_human_who_deactivates_a_key_from_elsewhere_at_night_logs_in_afresh_and_one_who_rotates_it_need_not() {
    let deployment = by_day(4).await;
    deployment.pass(NIGHT);
    let alice = deployment.alice().await;
    deployment.pass(400);
    deployment.detect().await;
    let ask = async |what: &str| {
        let answer = from(&deployment, ELSEWHERE, &alice, &format!("/v1/keys/own-key/{what}"), json!({})).await;
        let newest = deployment.get(&alice, &format!("/v1/audit?op=key.{what}&limit=1")).await.ok();
        let risk = newest["items"][0]["risk"].clone();
        let score = risk["score"].as_f64().unwrap();
        assert!((0.5..0.7).contains(&score), "{risk}");
        (answer, risk)
    };
    let (deactivated, risk) = ask("deactivate").await;
    assert_eq!(deactivated.failed(401), "fresh-login-needed");
    assert_eq!(deactivated.body["risk"], risk, "{}", deactivated.body);
    ask("rotate").await.0.ok();
    let alice = deployment.alice().await;
    from(&deployment, ELSEWHERE, &alice, "/v1/keys/own-key/deactivate", json!({})).await.ok();
}

/// Two weeks of a human at work herself, who takes a key into use and out of it each day; of so many nights she is on call.
async fn by_day(nights: u32) -> Deployment {
    let (deployment, _) = with_agent("Ed25519", "sign").await;
    for day in 0..14 {
        for _ in 0..4 {
            let alice = deployment.alice().await;
            sign(&deployment, &alice).await;
            deployment.pass(3_600);
        }
        let alice = deployment.alice().await;
        let key = json!({ "name": format!("key-{day}"), "algorithm": "Ed25519", "environment": "development" });
        deployment.post(&alice, "/v1/keys", key).await.ok();
        for what in ["activate", "rotate", "deactivate"] {
            deployment.post(&alice, &format!("/v1/keys/key-{day}/{what}"), json!({})).await.ok();
        }
        if day < nights {
            deployment.pass(NIGHT - 4 * 3_600);
            sign(&deployment, &deployment.alice().await).await;
        }
        end_day(&deployment).await;
    }
    deployment
}

async fn from(deployment: &Deployment, source: IpAddr, token: &str, path: &str, body: Value) -> Answer {
    let request = Request::post(path)
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_string()));
    Answer::of(&handle(&deployment.host, request.unwrap(), source).await)
}
