//! Response rules: putting them in force, the second human that weaker ones need, and trying them on the past.

use aegis_core::ambient::Timestamp;
use aegis_core::rules::BUILT_IN;
use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message, text};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const RULES: &str = "/v1/response-rules";

#[tokio::test]
async fn rules_that_protect_more_are_in_force_at_once_and_on_record() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let shown = deployment.get(&alice, RULES).await.ok();
    assert_eq!((&shown["version"], &shown["in_force"], &shown["toml"]), (&json!(0), &json!(true), &json!(BUILT_IN)));
    assert_eq!((&shown["written_by"], &shown["applied"]), (&json!("aegis"), &Value::Null));

    let change = put(&deployment, &alice, &stricter(), 0).await;
    assert_eq!((change.status, outcome(&change)), (200, "applied"));
    assert_eq!((&change.body["version"], &change.body["in_force"]), (&json!(1), &json!(1)));
    let shown = deployment.get(&alice, RULES).await.ok();
    assert_eq!((&shown["version"], &shown["toml"]), (&json!(1), &json!(stricter())));
    assert_eq!((&shown["applied"]["by"], &shown["applied"]["before"]), (&json!("alice@org"), &json!(0)));
    assert_eq!(deployment.get(&alice, &format!("{RULES}?version=0")).await.ok()["in_force"], false);
    assert_eq!(objects(&deployment, &alice, "rules.apply").await, ["version 1"]);

    // An answer that got lost is asked for again: nothing changes, whatever was expected.
    let again = put(&deployment, &alice, &stricter(), 0).await;
    assert_eq!((outcome(&again), &again.body["in_force"]), ("unchanged", &json!(1)));
    // Who did not see what is in force replaces nothing.
    assert_eq!(put(&deployment, &alice, BUILT_IN, 0).await.failed(409), "state");
    assert_eq!(deployment.get(&alice, &format!("{RULES}?version=2")).await.failed(404), "not-found");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_where_and_why() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let answer = put(&deployment, &alice, "[[rule]]\nname = \"all\"\nactions = [\"reboot\"]\n", 0).await;
    assert_eq!(answer.failed(400), "invalid-request");
    let detail = text(&answer.body, "detail");
    assert!(detail.contains("line 3") && detail.contains("revoke_agent"), "{detail}");
    assert_eq!(deployment.get(&alice, RULES).await.ok()["version"], 0);
}

#[tokio::test]
async fn rules_that_protect_less_need_another_human() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let proposed = put(&deployment, &alice, &weaker(), 0).await;
    assert_eq!((proposed.status, outcome(&proposed)), (202, "proposed"));
    assert_eq!((&proposed.body["version"], &proposed.body["in_force"]), (&json!(1), &json!(0)));
    assert_eq!(proposed.body["weakens"], json!(["budget: per_hour falls from 5 to 1"]));
    assert_eq!(proposed.body["confirmers"], json!([]));
    // Asked for again it is the same proposal.
    assert_eq!(put(&deployment, &alice, &weaker(), 0).await.body["version"], 1);

    // Alone she cannot: first because there is nobody else, then because it must be somebody else.
    assert_eq!(confirm(&deployment, &alice, 1).await.refused(403), "no_second_human");
    let bob = deployment.log_in("bob@org", &["operator"]).await;
    assert_eq!(confirm(&deployment, &alice, 1).await.refused(403), "second_human_needed");
    let carol = deployment.log_in("carol@org", &["auditor", "user"]).await;
    assert_eq!(confirm(&deployment, &carol, 1).await.refused(403), "policy");
    let shown = deployment.get(&carol, RULES).await.ok();
    assert_eq!(shown["proposals"][0]["by"], "alice@org");
    assert_eq!(shown["proposals"][0]["weakens"], proposed.body["weakens"]);
    assert_eq!(put(&deployment, &alice, &weaker(), 0).await.body["confirmers"], json!(["bob@org"]));

    assert_eq!(confirm(&deployment, &bob, 2).await.failed(404), "not-found");
    let confirmed = confirm(&deployment, &bob, 1).await;
    assert_eq!((outcome(&confirmed), &confirmed.body["in_force"]), ("applied", &json!(1)));
    assert_eq!(outcome(&confirm(&deployment, &bob, 1).await), "unchanged");
    let shown = deployment.get(&alice, RULES).await.ok();
    assert_eq!((&shown["applied"]["by"], &shown["applied"]["confirmed_by"]), (&json!("alice@org"), &json!("bob@org")));
    assert_eq!(shown["proposals"], json!([]));
    assert_eq!(objects(&deployment, &alice, "rules.apply").await, ["version 1, proposed"]);
    assert!(objects(&deployment, &alice, "rules.confirm").await.contains(&"version 1".to_string()));
}

#[tokio::test]
async fn a_proposal_holds_for_a_day_for_the_rules_it_was_made_for_and_while_its_human_is_trusted() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, &alice, &weaker(), 0).await.ok();
    deployment.pass(86_400);
    let (alice, bob) = (deployment.alice().await, deployment.log_in("bob@org", &["operator"]).await);
    assert_eq!(title(&confirm(&deployment, &bob, 1).await), "the proposal is expired, which does not allow this");

    put(&deployment, &alice, &weaker(), 0).await.ok();
    put(&deployment, &alice, &stricter(), 0).await.ok();
    assert_eq!(confirm(&deployment, &bob, 2).await.failed(404), "not-found");

    put(&deployment, &alice, &weaker(), 3).await.ok();
    deployment.post(&bob, "/v1/humans/alice@org/revoke", json!({})).await.ok();
    let title = title(&confirm(&deployment, &bob, 4).await);
    assert_eq!(title, "the proposal is by a human who is revoked, which does not allow this");
}

#[tokio::test]
async fn rolling_back_is_a_change_like_any_other() {
    let deployment = Deployment::new().await;
    let (alice, bob) = (deployment.alice().await, deployment.log_in("bob@org", &["admin"]).await);
    let back = |version: Option<u32>, expected_version: u32| {
        let body = match version {
            Some(version) => json!({ "version": version, "expected_version": expected_version }),
            None => json!({ "expected_version": expected_version }),
        };
        let (deployment, alice) = (&deployment, &alice);
        async move { deployment.post(alice, &format!("{RULES}/rollback"), body).await }
    };
    assert_eq!(back(None, 0).await.failed(409), "state");
    put(&deployment, &alice, &stricter(), 0).await.ok();
    assert_eq!(back(Some(7), 1).await.failed(404), "not-found");
    assert_eq!(back(None, 0).await.failed(409), "state");
    // What was put in force protects more: going back takes that away.
    let proposed = back(None, 1).await;
    assert_eq!((proposed.status, &proposed.body["version"], &proposed.body["in_force"]), (202, &json!(0), &json!(1)));
    assert_eq!(confirm(&deployment, &alice, 0).await.refused(403), "second_human_needed");
    assert_eq!(confirm(&deployment, &bob, 0).await.ok()["in_force"], 0);
    // And forth again needs nobody.
    assert_eq!(outcome(&back(None, 0).await), "applied");
    assert_eq!(deployment.get(&alice, RULES).await.ok()["version"], 1);
    // All within one millisecond, whose records are in no order.
    assert!(objects(&deployment, &alice, "rules.rollback").await.contains(&"version 1".to_string()));
}

#[tokio::test]
async fn changing_rules_needs_a_fresh_login_and_a_dry_run_changes_nothing() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let dry = |toml: String| {
        let body = json!({ "toml": toml, "expected_version": 0, "dry_run": true });
        let (deployment, alice) = (&deployment, &alice);
        async move { deployment.call(Method::PUT, alice, RULES, Some(body)).await }
    };
    assert_eq!(outcome(&dry(stricter()).await), "would-apply");
    let would = dry(weaker()).await;
    assert_eq!((would.status, outcome(&would)), (200, "would-propose"));
    assert_eq!(deployment.get(&alice, RULES).await.ok()["proposals"], json!([]));
    deployment.pass(301);
    assert_eq!(put(&deployment, &alice, &stricter(), 0).await.failed(401), "fresh-login-needed");
    assert_eq!(confirm(&deployment, &alice, 1).await.failed(401), "fresh-login-needed");
    assert_eq!(deployment.get(&alice, RULES).await.ok()["version"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_changes_at_once_one_is_in_force_and_the_others_are_told() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let texts: Vec<String> = (6..14).map(|budget| built_in("per_hour = 5", &format!("per_hour = {budget}"))).collect();
    let deployment = Arc::new(deployment);
    let changes: Vec<_> = texts
        .into_iter()
        .map(|text| {
            let (deployment, alice) = (Arc::clone(&deployment), alice.clone());
            tokio::spawn(async move { put(&deployment, &alice, &text, 0).await })
        })
        .collect();
    let mut answers = Vec::new();
    for change in changes {
        answers.push(change.await.unwrap());
    }
    let applied = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((applied, answers.len()), (1, 8));
    assert_eq!(deployment.get(&alice, RULES).await.ok()["version"], 1);
}

#[tokio::test]
async fn a_dry_run_of_the_rules_in_force_is_what_happened() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    misuse(&deployment).await;
    let since = "2026-09-21T00:00:00Z";
    let dry_run = |toml: Option<String>| {
        let body = toml.map_or(json!({ "since": since }), |toml| json!({ "since": since, "toml": toml }));
        let (deployment, alice) = (&deployment, &alice);
        async move { deployment.post(alice, &format!("{RULES}/dry-run"), body).await.ok() }
    };
    let found = dry_run(None).await;
    let items = found["items"].as_array().unwrap();
    assert_eq!((items.len(), &found["complete"]), (4, &json!(true)));
    let rules: Vec<&str> = items.iter().map(|item| item["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["scope-interactive", "scope-unattended", "scope-unattended", "scope-interactive"]);
    for item in items {
        assert_eq!(item["differs"], false, "{item}");
        assert_eq!(item["did"][0]["action"], item["would"][0], "{item}");
    }

    // Under others some of it would have been otherwise.
    let found = dry_run(Some(built_in("[\"freeze_agent\", \"alert\"]", "[\"revoke_agent\", \"alert\"]"))).await;
    let differ: Vec<bool> = found["items"].as_array().unwrap().iter().map(|item| item["differs"] == true).collect();
    assert_eq!(differ, [false, true, true, false]);
    let found = dry_run(Some("mode = \"observe\"\n".to_string() + &stricter().replace("mode = \"enforce\"", ""))).await;
    assert!(found["items"].as_array().unwrap().iter().all(|item| item["would"] == json!(["alert"])));
    assert_eq!(found["items"][0]["suppressed"], json!([{ "action": "revoke_agent", "because": "observe" }]));
    // What others would have done is what they then do.
    let others = built_in("[\"freeze_agent\", \"alert\"]", "[\"revoke_agent\", \"alert\"]");
    let would = told(&dry_run(Some(others.clone())).await);
    put(&deployment, &alice, &others, 0).await.ok();
    deployment.pass(3_600);
    let begun = Timestamp::from_second(deployment.now()).unwrap();
    misuse(&deployment).await;
    let alice = deployment.alice().await;
    let happened = deployment.post(&alice, &format!("{RULES}/dry-run"), json!({ "since": begun })).await.ok();
    let did: Vec<Value> = happened["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let did = item["did"].as_array().unwrap().iter().map(|done| done["action"].clone());
            json!([item["rule"], did.collect::<Vec<_>>()])
        })
        .collect();
    assert_eq!(did, would);
    let since_now = json!({ "since": "2027-01-01T00:00:00Z" });
    let found = deployment.post(&alice, &format!("{RULES}/dry-run"), since_now).await.ok();
    assert_eq!(found["items"], json!([]));
}

#[tokio::test]
async fn the_rules_of_a_version_hold_from_the_next_request_on() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{agent}/credentials");
    let token = text(&deployment.post(&alice, &path, json!({ "ttl": 86_400 })).await.ok(), "token");
    // A token that is not fresh is some risk. Let whatever has any be refused.
    let strict = built_in("step_up = 0.7\ndeny = 0.95", "step_up = 0.0000001\ndeny = 0.0000002");
    deployment.pass(7_200);
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"1")).await.ok();
    put(&deployment, &deployment.alice().await, &strict, 0).await.ok();
    let refused = deployment.post(&token, "/v1/keys/own-key/sign", message(b"1")).await;
    assert_eq!(refused.refused(403), "risk_too_high");
    // What it is made of is told to whoever is refused for it, as it is on record.
    let alice = deployment.alice().await;
    let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refused.body, "record"))).await.ok();
    let risk = &refused.body["risk"];
    assert_eq!(*risk, record["risk"]);
    let weights = risk["factors"].as_array().unwrap().iter().map(|factor| factor["weight"].as_f64().unwrap());
    assert!((weights.sum::<f64>() - risk["score"].as_f64().unwrap()).abs() < 1e-9, "{risk}");
    // A refusal for another reason says nothing of it.
    let other = deployment.post(&token, "/v1/keys/no-such-key/sign", message(b"1")).await;
    assert_eq!((other.refused(403), other.body.get("risk")), ("scope_violation", None));
}

/// The same request, of two keys that differ in their tier alone: of the dearer one less is too much.
#[tokio::test]
async fn a_key_of_tier_high_is_held_to_the_thresholds_of_its_tier() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for tier in ["standard", "high"] {
        let key = json!({ "name": tier, "algorithm": "Ed25519", "tier": tier, "environment": "production", "activate": true });
        deployment.post(&alice, "/v1/keys", key).await.ok();
    }
    let strict =
        built_in("[thresholds.high]\nstep_up = 0.5\ndeny = 0.9", "[thresholds.high]\nstep_up = 0.01\ndeny = 0.02");
    put(&deployment, &alice, &strict, 0).await.ok();
    let (_, token) = deployment.agent(&alice, "key:standard,high:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/standard/sign", message(b"1")).await.ok();
    let refused = deployment.post(&token, "/v1/keys/high/sign", message(b"1")).await;
    assert_eq!(refused.refused(403), "risk_too_high");
}

/// Four agents leave their scope, each in its own way.
async fn misuse(deployment: &Deployment) {
    let alice = deployment.alice().await;
    for (purpose, key) in [
        ("interactive", "other-key"),
        ("service", "other-key"),
        ("appliance", "no-such-key"),
        ("interactive", "no-key"),
    ] {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": purpose })).await;
        deployment.post(&token, &format!("/v1/keys/{key}/sign"), message(b"1")).await.refused(403);
        deployment.pass(10);
    }
}

/// Of each finding of a dry run the rule and what it would have done.
fn told(found: &Value) -> Vec<Value> {
    let items = found["items"].as_array().unwrap();
    items.iter().map(|item| json!([item["rule"], item["would"]])).collect()
}

/// The built-in rules with one thing replaced.
fn built_in(from: &str, to: &str) -> String {
    assert!(BUILT_IN.contains(from), "{from}");
    BUILT_IN.replacen(from, to, 1)
}

fn stricter() -> String {
    built_in("per_hour = 5", "per_hour = 9")
}

fn weaker() -> String {
    built_in("per_hour = 5", "per_hour = 1")
}

async fn put(deployment: &Deployment, token: &str, toml: &str, expected_version: u32) -> Answer {
    let body = json!({ "toml": toml, "expected_version": expected_version });
    deployment.call(Method::PUT, token, RULES, Some(body)).await
}

async fn confirm(deployment: &Deployment, token: &str, version: u32) -> Answer {
    deployment.post(token, &format!("{RULES}/{version}/confirm"), json!({})).await
}

fn outcome(answer: &Answer) -> &str {
    answer.body["outcome"].as_str().unwrap_or("a failure")
}

fn title(answer: &Answer) -> String {
    text(&answer.body, "title")
}

/// What records of an operation say it was done to, the newest first; refusals have none.
async fn objects(deployment: &Deployment, token: &str, operation: &str) -> Vec<String> {
    let found = deployment.get(token, &format!("/v1/audit?op={operation}")).await.ok();
    let objects = found["items"].as_array().unwrap().iter().filter_map(|record| record["object"].as_str());
    objects.map(str::to_string).collect()
}
