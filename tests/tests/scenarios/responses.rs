//! What was done about misuse: who sees it, and how it stands.

use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, Severity};
use aegis_core::response::{self, InForce};
use aegis_core::rules::RuleSet;
use aegis_core::store::fault::{Fault, Operation};
use aegis_tests::deployment::Deployment;
use aegis_tests::roles::act_as;
use aegis_tests::yielding::Gated;
use aegis_tests::{message, text};
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn what_a_rule_did_is_listed_with_its_cause_and_its_rule_and_is_undone_once_it_is_taken_back() {
    let (deployment, alice) = two_keys().await;
    let carol = deployment.log_in("carol@org", &["user"]).await;
    let (agent, token) = deployment.agent(&carol, "key:own-key:sign", json!({ "purpose": "service" })).await;
    let refusal = deployment.post(&token, "/v1/keys/other-key/sign", message(b"1")).await;
    refusal.clone().refused(403);
    let mut found = list(&deployment, &carol, "").await;
    assert_eq!(actions(&found), ["freeze_agent done", "alert done"]);
    let recommendation = text(&deployment.get(&carol, "/v1/recommendations").await.ok()["items"][0], "id");
    let freeze = found.remove(0);
    let want = json!({
        "at": freeze["at"], "record": refusal.body["record"], "action": "freeze_agent", "outcome": "done",
        "recommendation": recommendation, "detector": "scope_violation", "severity": "high", "agent": agent,
        "rule": "scope-unattended", "rules_version": 0,
    });
    assert_eq!(freeze, want);
    // Others see what is about their own agents, and operators everything.
    let dave = deployment.log_in("dave@org", &["user"]).await;
    assert_eq!(list(&deployment, &dave, "").await, Vec::<Value>::new());
    assert_eq!(list(&deployment, &alice, "").await.len(), 2);

    deployment.post(&alice, &format!("/v1/recommendations/{recommendation}/undo"), json!({})).await.ok();
    assert_eq!(actions(&list(&deployment, &carol, "").await), ["freeze_agent undone", "alert done"]);
}

#[tokio::test]
async fn what_humans_did_is_listed_and_whether_it_still_holds() {
    let (deployment, alice) = two_keys().await;
    let (frozen, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let (revoked, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let credential = text(&deployment.get(&token, "/v1/whoami").await.ok(), "credential");
    deployment.log_in("mallory@org", &["user"]).await;
    for path in [
        format!("agents/{frozen}/freeze"),
        format!("credentials/{credential}/revoke"),
        format!("agents/{revoked}/revoke"),
        "humans/mallory@org/revoke".to_string(),
        "keys/own-key/suspend".to_string(),
    ] {
        deployment.post(&alice, &format!("/v1/{path}"), json!({})).await.ok();
        deployment.pass(1);
    }
    let found = list(&deployment, &alice, "").await;
    let want =
        ["suspend_key done", "revoke_human done", "revoke_agent done", "revoke_credential done", "freeze_agent done"];
    assert_eq!(actions(&found), want);
    assert!(found.iter().all(|found| found["ordered_by"] == "alice@org" && found.get("rule").is_none()), "{found:?}");
    assert_eq!((&found[1]["human"], &found[2]["agent"]), (&json!("mallory@org"), &json!(revoked)));
    assert_eq!(found[3]["credential"], credential.as_str());
    for path in
        [format!("agents/{frozen}/unfreeze"), "humans/mallory@org/reinstate".into(), "keys/own-key/resume".into()]
    {
        deployment.post(&alice, &format!("/v1/{path}"), json!({})).await.ok();
    }
    let want = ["suspend_key undone", "revoke_human undone", "freeze_agent undone"];
    assert_eq!(actions(&list(&deployment, &alice, "?outcome=undone").await), want);
    // A freeze that was taken back stays so when the agent is frozen again, and the new one holds.
    deployment.pass(1);
    deployment.post(&alice, &format!("/v1/agents/{frozen}/freeze"), json!({})).await.ok();
    let found = list(&deployment, &alice, &format!("?agent={frozen}")).await;
    assert_eq!(actions(&found), ["freeze_agent done", "freeze_agent undone"]);
    // Who ends a session of her own responds to nothing.
    let other = deployment.alice().await;
    let form = [("token", other.as_str())];
    deployment.form(&other, "/v1/oauth/revoke", &form).await.ok();
    assert_eq!(list(&deployment, &alice, "?action=revoke_credential").await.len(), 1);
}

#[tokio::test]
async fn what_takes_longer_is_pending_until_it_is_done_and_failed_where_it_cannot_be() {
    let (deployment, alice) = two_keys().await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    raise(&deployment, &alice, &agent, "own-key", "\"rotate_key\", \"revoke_fleet\"").await;
    let found = list(&deployment, &alice, "").await;
    assert_eq!(actions(&found), ["revoke_fleet pending", "rotate_key pending"]);
    assert_eq!((&found[0]["human"], &found[0]["rule"]), (&json!("alice@org"), &json!("a-rule")));
    deployment.respond().await.unwrap();
    let mut done = actions(&list(&deployment, &alice, "").await);
    done.sort();
    assert_eq!(done, ["revoke_fleet done", "rotate_key done"]);

    // The root of a key at a back end that is away: tried again, and done once it is there.
    let key = json!({ "name": "on-a-stick", "algorithm": "ECDSA-P256", "backend": "stick", "activate": true });
    deployment.post(&alice, "/v1/keys", key).await.ok();
    let away = deployment.stick().with_extension("away");
    std::fs::rename(deployment.stick(), &away).unwrap();
    deployment.pass(60);
    raise(&deployment, &alice, &agent, "on-a-stick", "\"rotate_key\"").await;
    deployment.respond().await.unwrap();
    let failed = list(&deployment, &alice, "?outcome=failed").await;
    assert_eq!(actions(&failed), ["rotate_key failed"]);
    assert!(failed[0]["next_try"].is_string(), "{failed:?}");
    std::fs::rename(&away, deployment.stick()).unwrap();
    deployment.pass(60);
    deployment.respond().await.unwrap();
    assert_eq!(list(&deployment, &alice, "?outcome=failed").await, Vec::<Value>::new());
    assert_eq!(list(&deployment, &alice, "?action=rotate_key&outcome=done").await.len(), 2);
}

/// The key is changed while its back end makes the next version: what was claimed is soon free again, and done as the key is now.
#[tokio::test]
async fn a_rotation_that_a_change_of_the_key_came_before_is_done_soon_after() {
    let (deployment, gate) = gated().await;
    let (alice, _) = rotation(&deployment).await;
    gate.close();
    let change = async {
        gate.reached().await;
        for what in ["suspend", "resume"] {
            deployment.post(&alice, &format!("/v1/keys/on-a-stick/{what}"), json!({})).await.ok();
        }
        gate.open();
    };
    let (done, ()) = tokio::join!(deployment.respond(), change);
    assert_eq!(done.unwrap(), 0);
    assert_eq!(actions(&list(&deployment, &alice, "?action=rotate_key").await), ["rotate_key pending"]);
    deployment.pass(10);
    assert_eq!(deployment.respond().await.unwrap(), 1);
    assert_eq!(deployment.get(&alice, "/v1/keys/on-a-stick").await.ok()["version"], 2);
    assert_eq!(actions(&list(&deployment, &alice, "?action=rotate_key").await), ["rotate_key done"]);
}

/// A store that does not say whose key it is says nothing: who may not rotate at back ends does not try.
#[tokio::test]
async fn a_rotation_whose_key_cannot_be_read_is_left_as_it_is() {
    let deployment = Deployment::new().await;
    let (alice, _) = rotation(&deployment).await;
    // The response is read, the key is not.
    deployment.store.fail_later(Operation::Read, 1, Fault::BeforeWrite);
    deployment.respond_at_once().await.unwrap_err();
    assert_eq!(actions(&list(&deployment, &alice, "").await), ["rotate_key pending"]);
    assert_eq!(deployment.respond().await.unwrap(), 1);
}

/// Of two who look at once for what is left to do: one is about to have a back end make a key when the other comes.
#[tokio::test]
async fn of_two_at_once_one_has_a_key_rotated_and_the_other_does_not_undo_it() {
    let (deployment, gate) = gated().await;
    let (alice, token) = rotation(&deployment).await;
    // Who may not leaves it as it is: nothing failed.
    assert_eq!(deployment.respond_at_once().await.unwrap(), 0);
    assert_eq!(actions(&list(&deployment, &alice, "").await), ["rotate_key pending"]);

    gate.close();
    let others = async {
        gate.reached().await;
        let done = deployment.respond().await.unwrap();
        gate.open();
        done
    };
    let (one, other) = tokio::join!(deployment.respond(), others);
    assert_eq!((one.unwrap(), other), (1, 0));
    assert_eq!(deployment.get(&alice, "/v1/keys/on-a-stick").await.ok()["version"], 2);
    // What was begun and not recorded would be undone by now.
    deployment.pass(400);
    deployment.run_due().await.unwrap();
    let undone = deployment.get(&alice, "/v1/audit?op=intent.undo").await.ok();
    assert_eq!(undone["items"], json!([]));
    deployment.post(&token, "/v1/keys/on-a-stick/sign", message(b"x")).await.ok();
    assert_eq!(actions(&list(&deployment, &alice, "").await), ["rotate_key done"]);
}

/// The same of one that is due by its schedule: it begins nothing anew that another has on record.
#[tokio::test]
async fn of_two_at_once_one_rotates_a_key_that_is_due_and_the_other_does_not_undo_it() {
    let (deployment, gate) = gated().await;
    let alice = deployment.alice().await;
    let key = json!({ "name": "on-a-stick", "algorithm": "ECDSA-P256", "backend": "stick", "activate": true, "rotate_every_days": 1 });
    deployment.post(&alice, "/v1/keys", key).await.ok();
    deployment.pass(86_400);
    gate.close();
    let others = async {
        gate.reached().await;
        let done = deployment.run_due().await.unwrap();
        gate.open();
        done
    };
    let (one, other) = tokio::join!(deployment.run_due(), others);
    assert_eq!((one.unwrap(), other), (0, 1));
    deployment.pass(400);
    deployment.run_due().await.unwrap();
    let alice = deployment.alice().await;
    let undone = deployment.get(&alice, "/v1/audit?op=intent.undo").await.ok();
    assert_eq!(undone["items"], json!([]));
    let signed = deployment.post(&alice, "/v1/keys/on-a-stick/sign", message(b"x")).await.ok();
    assert_eq!(signed["key_version"], 2);
}

/// A key that is suspended is not rotated, and not forgotten; what is not done yet can be taken back.
#[tokio::test]
async fn a_rotation_waits_for_a_suspended_key_to_be_resumed_unless_it_is_taken_back() {
    for taken_back in [false, true] {
        let (deployment, alice) = two_keys().await;
        let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        raise(&deployment, &alice, &agent, "own-key", "\"rotate_key\"").await;
        deployment.post(&alice, "/v1/keys/own-key/suspend", json!({})).await.ok();
        for _ in 0..2 {
            assert_eq!(deployment.respond().await.unwrap(), 0);
            assert_eq!(actions(&list(&deployment, &alice, "?action=rotate_key").await), ["rotate_key pending"]);
            deployment.pass(60);
        }
        if taken_back {
            let found = text(&deployment.get(&alice, "/v1/recommendations").await.ok()["items"][0], "id");
            deployment.post(&alice, &format!("/v1/recommendations/{found}/undo"), json!({})).await.ok();
        }
        deployment.post(&alice, "/v1/keys/own-key/resume", json!({})).await.ok();
        let (done, version, stands) = if taken_back { (0, 1, "undone") } else { (1, 2, "done") };
        assert_eq!(deployment.respond().await.unwrap(), done, "{stands}");
        assert_eq!(deployment.get(&alice, "/v1/keys/own-key").await.ok()["version"], version, "{stands}");
        let listed = actions(&list(&deployment, &alice, "?action=rotate_key").await);
        assert_eq!(listed, [format!("rotate_key {stands}")]);
    }
}

/// Whoever claimed it died of it: it is done two minutes later, by the token of before.
#[tokio::test]
async fn what_was_claimed_and_not_done_is_done_by_the_next() {
    let (deployment, gate) = gated().await;
    rotation(&deployment).await;
    gate.close();
    tokio::select! {
        _ = deployment.respond() => panic!("it was to wait"),
        () = gate.reached() => {}
    }
    for (seconds, done) in [(119, 0), (1, 1), (400, 0)] {
        deployment.pass(seconds);
        assert_eq!(deployment.respond().await.unwrap(), done, "after {seconds}");
    }
}

/// Who writes down first what a back end is about to make waits at the gate.
async fn gated() -> (Deployment, Arc<Gated>) {
    let mut gate = None;
    let deployment = Deployment::new().await.with_store(|inner| {
        let gated = Arc::new(Gated::new(inner, "intent/"));
        gate = Some(Arc::clone(&gated));
        gated
    });
    (deployment, gate.unwrap())
}

/// A key at a back end that a rule wants rotated: a human, and an agent that uses it.
async fn rotation(deployment: &Deployment) -> (String, String) {
    let alice = deployment.alice().await;
    let key = json!({ "name": "on-a-stick", "algorithm": "ECDSA-P256", "backend": "stick", "activate": true });
    deployment.post(&alice, "/v1/keys", key).await.ok();
    let (agent, token) = deployment.agent(&alice, "key:on-a-stick:sign", json!({})).await;
    raise(deployment, &alice, &agent, "on-a-stick", "\"rotate_key\"").await;
    (alice, token)
}

#[tokio::test]
async fn an_agent_that_asked_for_too_many_approvals_is_listed_as_frozen_for_it() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.hold_for_step_up(&agent).await;
    for n in 0..4 {
        deployment.post(&token, "/v1/keys/own-key/sign", message(&[n])).await.refused(403);
    }
    let found = list(&deployment, &alice, "").await;
    assert_eq!(actions(&found), ["freeze_agent done"]);
    assert_eq!((&found[0]["reason"], &found[0]["agent"]), (&json!("approvals_exhausted"), &json!(agent)));
}

/// One record may tell of several responses: pages of one show each of them once.
#[tokio::test]
async fn pages_show_each_response_once_also_where_they_part_those_of_one_record() {
    let (deployment, alice) = two_keys().await;
    for n in 0..3 {
        let purpose = if n == 1 { "interactive" } else { "service" };
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": purpose })).await;
        deployment.post(&token, "/v1/keys/other-key/sign", message(b"1")).await.refused(403);
        deployment.pass(60);
    }
    let all = list(&deployment, &alice, "").await;
    assert_eq!(all.len(), 6);
    for limit in [1, 2, 4] {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = deployment.get(&alice, &format!("/v1/responses?limit={limit}{cursor}")).await.ok();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit, "{page}");
            paged.extend(items.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, all, "{limit}");
    }
    for bad in ["limit=0", "limit=201", "cursor=x", "cursor=rec_1.2", "outcome=lost", "colour=red"] {
        let answer = deployment.get(&alice, &format!("/v1/responses?{bad}")).await;
        assert_eq!(answer.failed(400), "invalid-request", "{bad}");
    }
}

async fn list(deployment: &Deployment, by: &str, query: &str) -> Vec<Value> {
    let page = deployment.get(by, &format!("/v1/responses{query}")).await.ok();
    page["items"].as_array().unwrap().clone()
}

fn actions(found: &[Value]) -> Vec<String> {
    found.iter().map(|found| format!("{} {}", text(found, "action"), text(found, "outcome"))).collect()
}

/// Has a detector say something of an agent's use of a key, and a rule order this.
async fn raise(deployment: &Deployment, alice: &str, agent: &str, key: &str, ordered: &str) {
    let key = text(&deployment.get(alice, &format!("/v1/keys/{key}")).await.ok(), "id");
    let at = deployment.host.app.clock.now();
    let recommendation = AgentRecommendation {
        id: aegis_core::id::RecommendationId::derived(at, &key),
        at,
        detector: Detector::UsageSpike,
        severity: Severity::High,
        agent: Some(serde_json::from_value(Value::from(agent)).unwrap()),
        sponsor: "alice@org".parse().unwrap(),
        evidence: Evidence {
            records: Vec::new(),
            operation: None,
            requested: None,
            key: Some(serde_json::from_value(Value::from(key)).unwrap()),
            credential: None,
            factors: Vec::new(),
        },
        suggested_actions: Vec::new(),
    };
    let rules = RuleSet::parse(&format!("[[rule]]\nname = \"a-rule\"\nactions = [{ordered}]")).unwrap();
    let in_force = InForce { rules: Arc::new(rules), version: 7 };
    act_as("anomaly", response::raise(&deployment.host.app, recommendation, &in_force)).await.unwrap();
}

async fn two_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "ECDSA-P256").await;
    }
    (deployment, alice)
}
