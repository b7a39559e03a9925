//! What a dry run tells apart: what changed nothing, since whom or what it is about was stopped for good already.

use crate::ledger::{Known, RULES, agent, answer, apply, done, find, finding, with_key};
use aegis_core::ambient::Timestamp;
use aegis_core::recommendation::Detector;
use aegis_core::rules::BUILT_IN;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn a_dry_run_tells_apart_what_would_have_stopped_what_was_stopped_already() {
    let deployment = with_key().await;
    let [by_rule, by_human] = [agent(&deployment).await, agent(&deployment).await];
    apply(&deployment, &revoking()).await;
    // What comes before the stop changes something.
    find(&deployment, Detector::NewSource, &by_human).await;
    deployment.pass(10);
    leave_scope(&deployment, &by_rule).await;
    revoke(&deployment, &by_human).await;
    deployment.pass(10);
    for (known, detector) in [(&by_rule, Detector::UsageSpike), (&by_human, Detector::KeySet)] {
        find(&deployment, detector, known).await;
        // Beyond the cooldown.
        deployment.pass(3_600);
    }
    let streamed = json!(["freeze_agent", { "step_up": { "minutes": 60 } }, "alert"]);
    let want =
        [(streamed, json!([])), (json!(["revoke_agent", "alert"]), json!([])), stopped_already(), stopped_already()];
    assert_eq!(would(&dry_run(&deployment, 0, None).await), want);
    // Under rules that only freeze the second finding would have changed something.
    let items = dry_run(&deployment, 0, Some(BUILT_IN)).await;
    let differs: Vec<bool> = items.iter().map(|item| item["differs"] == true).collect();
    assert_eq!((differs, &items[2]["unneeded"]), (vec![false, true, true, false], &json!([])));
}

/// By a rule, or by a human.
#[tokio::test]
async fn a_dry_run_tells_apart_what_was_stopped_before_all_that_it_reads() {
    let deployment = with_key().await;
    let [by_rule, by_human] = [agent(&deployment).await, agent(&deployment).await];
    apply(&deployment, &revoking()).await;
    leave_scope(&deployment, &by_rule).await;
    revoke(&deployment, &by_human).await;
    deployment.pass(4 * 86_400);
    let begun = deployment.now();
    for known in [&by_rule, &by_human] {
        assert_eq!(done(&find(&deployment, Detector::KeySet, known).await), ["alert"]);
    }
    assert_eq!(would(&dry_run(&deployment, begun, None).await), [stopped_already(), stopped_already()]);
}

#[tokio::test]
async fn a_dry_run_tells_apart_a_second_stop_of_one_credential_and_of_one_key() {
    let deployment = with_key().await;
    let rules = "[[rule]]\nname = \"hard\"\nactions = [\"revoke_credential\", \"deactivate_key\", \"rotate_key\"]";
    apply(&deployment, rules).await;
    let agent = agent(&deployment).await;
    let credential = text(&deployment.get(&agent.1, "/v1/whoami").await.ok(), "credential");
    let key = text(&deployment.get(&deployment.alice().await, "/v1/keys/own-key").await.ok(), "id");
    for detector in [Detector::UsageSpike, Detector::KeySet] {
        let mut finding = finding(&deployment, detector, Some(&agent.0), "alice@org");
        finding.evidence.credential = Some(credential.clone().try_into().unwrap());
        finding.evidence.key = Some(key.clone().try_into().unwrap());
        answer(&deployment, finding).await;
        deployment.respond().await.unwrap();
        deployment.pass(10);
    }
    let first = (json!(["revoke_credential", "deactivate_key"]), json!(["rotate_key"]));
    let second = (json!([]), json!(["revoke_credential", "deactivate_key", "rotate_key"]));
    assert_eq!(would(&dry_run(&deployment, 0, None).await), [first, second]);
}

#[tokio::test]
async fn a_dry_run_tells_apart_what_would_have_stopped_an_agent_of_a_fleet_that_was_stopped() {
    let deployment = with_key().await;
    apply(&deployment, RULES).await;
    let [first, second] = [agent(&deployment).await, agent(&deployment).await];
    for (detector, of) in [(Detector::CredentialShared, &first), (Detector::KeySet, &second)] {
        find(&deployment, detector, of).await;
        deployment.respond().await.unwrap();
        deployment.pass(10);
    }
    // One that was made after it is met like any other.
    let third = agent(&deployment).await;
    assert_eq!(done(&find(&deployment, Detector::KeySet, &third).await), ["deny", "alert"]);
    deployment.pass(10);
    find(&deployment, Detector::CredentialShared, &second).await;
    deployment.respond().await.unwrap();
    let denies = json!({ "deny": { "minutes": 1 } });
    let want = [
        (json!(["revoke_agent", "revoke_fleet"]), json!([])),
        (json!(["alert"]), json!([denies])),
        (json!([denies, "alert"]), json!([])),
    ];
    let found = dry_run(&deployment, 0, None).await;
    assert_eq!(would(&found[..3]), want);
    assert_eq!(found[3]["unneeded"], json!(["revoke_agent"]));
    assert_eq!(found[3]["would"], json!(["revoke_fleet"]), "there is one who was made after it");
    assert_eq!(found[3]["differs"], false);
}

/// Which of them it was is not known beforehand.
#[tokio::test(flavor = "multi_thread")]
async fn of_requests_that_stop_one_agent_at_once_a_dry_run_names_the_one_that_did() {
    let deployment = with_key().await;
    apply(&deployment, &revoking()).await;
    for _ in 0..8 {
        let agent = agent(&deployment).await;
        let leave = || leave_scope(&deployment, &agent);
        tokio::join!(leave(), leave(), leave(), leave());
    }
    let found = would(&dry_run(&deployment, 0, None).await);
    let stopped = found.iter().filter(|(would, _)| would[0] == "revoke_agent").count();
    assert!((stopped, found.len() > 8) == (8, true), "{found:?}");
}

#[tokio::test]
async fn a_dry_run_of_other_rules_is_what_they_then_do_to_agents_that_are_stopped_more_than_once() {
    let deployment = with_key().await;
    let misuse = async || {
        deployment.pass(3_600);
        let begun = deployment.now();
        for detector in [Detector::UsageSpike, Detector::KeySet] {
            let agent = agent(&deployment).await;
            leave_scope(&deployment, &agent).await;
            deployment.pass(10);
            find(&deployment, detector, &agent).await;
            deployment.pass(10);
        }
        begun
    };
    let begun = misuse().await;
    let would = dry_run(&deployment, begun, Some(&revoking())).await;
    let would: Vec<Value> = would.iter().map(|item| names(&item["would"])).collect();
    apply(&deployment, &revoking()).await;
    let begun = misuse().await;
    let did = dry_run(&deployment, begun, None).await;
    let did: Vec<Value> = did.iter().map(|item| actions(&item["did"])).collect();
    assert_eq!(did, would);
    assert_eq!(did[1], json!(["alert"]));
}

/// The built-in rules, but that whoever leaves its scope is revoked.
fn revoking() -> String {
    BUILT_IN.replace("[\"freeze_agent\", \"alert\"]", "[\"revoke_agent\", \"alert\"]")
}

/// What the built-in rules order of a critical finding about an agent that is revoked.
fn stopped_already() -> (Value, Value) {
    (json!(["alert"]), json!(["freeze_agent", { "step_up": { "minutes": 60 } }]))
}

async fn revoke(deployment: &Deployment, agent: &Known) {
    let path = format!("/v1/agents/{}/revoke", agent.0);
    deployment.post(&deployment.alice().await, &path, json!({})).await.ok();
}

async fn leave_scope(deployment: &Deployment, agent: &Known) {
    let answer = deployment.post(&agent.1, "/v1/keys/no-such-key/sign", message(b"x")).await;
    assert!([401, 403].contains(&answer.status), "{answer:?}");
}

async fn dry_run(deployment: &Deployment, since: i64, toml: Option<&str>) -> Vec<Value> {
    let since = Timestamp::from_second(since).unwrap();
    let body = toml.map_or(json!({ "since": since }), |toml| json!({ "since": since, "toml": toml }));
    let found = deployment.post(&deployment.alice().await, "/v1/response-rules/dry-run", body).await.ok();
    let mut items = found["items"].as_array().unwrap().clone();
    // Streamed findings are listed where their hour begins.
    items.sort_by_key(|item| text(item, "at").parse::<Timestamp>().unwrap());
    items
}

/// What would have been done, and what would have changed nothing, of items that are none of them different.
fn would(items: &[Value]) -> Vec<(Value, Value)> {
    items.iter().for_each(|item| assert_eq!(item["differs"], false, "{item}"));
    items.iter().map(|item| (item["would"].clone(), item["unneeded"].clone())).collect()
}

/// Actions by their names alone.
fn names(actions: &Value) -> Value {
    let name = |action: &Value| action.as_object().map_or(action.clone(), |with| json!(with.keys().next()));
    actions.as_array().unwrap().iter().map(name).collect()
}

fn actions(did: &Value) -> Value {
    did.as_array().unwrap().iter().map(|done| done["action"].clone()).collect()
}
