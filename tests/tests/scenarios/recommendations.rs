//! What detectors said: who sees it, and what answering it does.

use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, ResponseAction, Severity};
use aegis_core::response::{self, InForce};
use aegis_core::rules::RuleSet;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn what_stopped_an_agent_is_listed_and_undone_and_its_sponsor_alone_cannot() {
    let (deployment, operator) = two_keys().await;
    let carol = deployment.log_in("carol@org", &["user"]).await;
    let (agent, token) = deployment.agent(&carol, "key:own-key:sign", json!({ "purpose": "service" })).await;
    let refusal = deployment.post(&token, "/v1/keys/other-key/sign", message(b"1")).await;
    assert_eq!(refusal.refused(403), "scope_violation");

    let listed = deployment.get(&carol, "/v1/recommendations").await.ok();
    let found = &listed["items"][0];
    assert_eq!((&found["agent"], &found["detector"]), (&json!(agent), &json!("scope_violation")));
    assert_eq!(found["record"], refusal.body["record"]);
    assert_eq!(found["responses"][0]["action"], "freeze_agent");
    let path = format!("/v1/recommendations/{}", text(found, "id"));
    assert_eq!(deployment.get(&carol, &path).await.ok(), *found);
    assert_eq!(deployment.post(&carol, &format!("{path}/undo"), json!({})).await.refused(403), "policy");
    assert_eq!(deployment.post(&carol, &format!("{path}/dismiss"), json!({})).await.refused(403), "policy");
    let dave = deployment.log_in("dave@org", &["user"]).await;
    assert_eq!(deployment.get(&dave, &path).await.refused(403), "policy");
    assert_eq!(deployment.get(&dave, "/v1/recommendations").await.ok()["items"], json!([]));

    let undone = deployment.post(&operator, &format!("{path}/undo"), json!({ "note": "a mistake" })).await.ok();
    assert_eq!((&undone["undone"]["by"], &undone["undone"]["note"]), (&json!("alice@org"), &json!("a mistake")));
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"2")).await.ok();
    // Once more changes nothing, and says the same; what is no note is none then, too.
    assert_eq!(deployment.post(&operator, &format!("{path}/undo"), json!({})).await.ok(), undone);
    let long = json!({ "note": "x".repeat(501) });
    assert_eq!(deployment.post(&operator, &format!("{path}/undo"), long).await.failed(400), "invalid-request");
}

#[tokio::test]
async fn undoing_frees_an_agent_of_nothing_that_somebody_else_did() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    deployment.get(&token, "/v1/keys/other-key").await.refused(403);
    let id = text(&deployment.get(&alice, "/v1/recommendations").await.ok()["items"][0], "id");
    deployment.post(&alice, &format!("/v1/agents/{agent}/unfreeze"), json!({})).await.ok();
    deployment.post(&alice, &format!("/v1/agents/{agent}/freeze"), json!({})).await.ok();
    let answer = deployment.post(&alice, &format!("/v1/recommendations/{id}/undo"), json!({})).await;
    assert_eq!(answer.failed(409), "state");
    assert_eq!(deployment.get(&token, "/v1/keys/own-key").await.refused(403), "agent_frozen");
}

#[tokio::test]
async fn an_agent_that_two_recommendations_froze_goes_on_once_both_are_undone() {
    let (deployment, alice) = two_keys().await;
    let mut case = Case::new(&deployment, &alice).await;
    let mut raised = Vec::new();
    for minute in 0..2 {
        case.minute = minute;
        raised.push(case.raise(&deployment, &[ResponseAction::FreezeAgent]).await.unwrap().recommendation.id);
    }
    for (id, state) in raised.iter().zip(["frozen", "active"]) {
        deployment.post(&alice, &format!("/v1/recommendations/{id}/undo"), json!({})).await.ok();
        assert_eq!(deployment.get(&alice, &format!("/v1/agents/{}", case.agent)).await.ok()["state"], state);
    }
}

#[tokio::test]
async fn answers_are_bounded_and_what_is_not_there_is_not_found() {
    let (deployment, alice) = two_keys().await;
    let missing = format!("/v1/recommendations/rcm_{:032x}", 1);
    assert_eq!(deployment.get(&alice, &missing).await.failed(404), "not-found");
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.get(&token, "/v1/keys/other-key").await.refused(403);
    let id = text(&deployment.get(&alice, "/v1/recommendations").await.ok()["items"][0], "id");
    let note = json!({ "note": "x".repeat(501) });
    let answer = deployment.post(&alice, &format!("/v1/recommendations/{id}/dismiss"), note).await;
    assert_eq!(answer.failed(400), "invalid-request");
    // A revoked agent stays revoked.
    let answer = deployment.post(&alice, &format!("/v1/recommendations/{id}/undo"), json!({})).await;
    assert_eq!(answer.failed(409), "state");
}

/// Each action, by what the agent's next request is told.
#[tokio::test]
async fn every_action_holds_from_the_next_request_on() {
    use ResponseAction::{Alert, Deny, FreezeAgent, RevokeAgent, RevokeCredential, StepUp};
    let table = [
        (Alert, None),
        (Deny, Some((403, "held"))),
        (FreezeAgent, Some((403, "agent_frozen"))),
        (RevokeAgent, Some((401, "agent_revoked"))),
        (RevokeCredential, Some((401, "credential_revoked"))),
        (StepUp, Some((403, "step_up"))),
    ];
    for (action, want) in table {
        let (deployment, alice) = two_keys().await;
        let case = Case::new(&deployment, &alice).await;
        let raised = case.raise(&deployment, &[action]).await.unwrap();
        assert_eq!(raised.responses.len(), 1, "{action:?}");
        let answer = deployment.post(&case.token, "/v1/keys/own-key/sign", message(b"x")).await;
        match want {
            Some((status, reason)) => assert_eq!(answer.refused(status), reason, "{action:?}"),
            None => drop(answer.ok()),
        }
        let record = deployment.get(&alice, &format!("/v1/audit/{}", raised.record)).await.ok();
        assert_eq!(record["responses"][0]["action"], action.as_str());
        assert_eq!(record["responses"][0]["rule"], "a-rule");
        assert_eq!(record["responses"][0]["rules_version"], 7);
        // The same finding again is no second one.
        assert!(case.raise(&deployment, &[RevokeAgent]).await.is_none(), "{action:?}");
    }
}

#[tokio::test]
async fn a_hold_ends_by_itself_and_binds_sub_agents() {
    let (deployment, alice) = two_keys().await;
    let case = Case::new(&deployment, &alice).await;
    let (id, below) = deployment.agent(&case.token, "key:own-key:sign", json!({})).await;
    case.raise(&deployment, &[ResponseAction::Deny]).await.unwrap();
    let sign = async |token: &str| deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(sign(&below).await.refused(403), "held");
    deployment.pass(59 * 60);
    assert_eq!(sign(&below).await.refused(403), "held");
    deployment.pass(61);
    let token = deployment.token(&deployment.alice().await, &id).await;
    sign(&token).await.ok();
}

#[tokio::test]
async fn undoing_ends_a_hold() {
    let (deployment, alice) = two_keys().await;
    let case = Case::new(&deployment, &alice).await;
    let raised = case.raise(&deployment, &[ResponseAction::Deny, ResponseAction::StepUp]).await.unwrap();
    let path = format!("/v1/recommendations/{}/undo", raised.recommendation.id);
    deployment.post(&alice, &path, json!({})).await.ok();
    deployment.post(&case.token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn what_takes_longer_is_done_next_once_and_on_record() {
    use ResponseAction::{DeactivateKey, RevokeFleet, RotateKey};
    let (deployment, alice) = two_keys().await;
    let case = Case::new(&deployment, &alice).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(deployment.agent(&alice, "key:own-key:sign", json!({})).await.1);
    }
    case.raise(&deployment, &[RotateKey, RevokeFleet]).await.unwrap();
    assert_eq!(deployment.respond().await.unwrap(), 2);
    assert_eq!(deployment.respond().await.unwrap(), 0);
    assert_eq!(deployment.get(&alice, "/v1/keys/own-key").await.ok()["version"], 2);
    for token in others.iter().chain([&case.token]) {
        assert_eq!(deployment.get(token, "/v1/keys/own-key").await.refused(401), "agent_revoked");
    }
    let rotated = deployment.get(&alice, "/v1/audit?op=key.rotate").await.ok();
    assert_eq!(rotated["items"][0]["responses"][0]["action"], "rotate_key");
    assert_eq!(deployment.get(&alice, "/v1/audit?op=agent.revoke").await.ok()["items"].as_array().unwrap().len(), 4);

    let case = Case { minute: 1, ..case };
    case.raise(&deployment, &[DeactivateKey]).await.unwrap();
    assert_eq!(deployment.respond().await.unwrap(), 1);
    assert_eq!(deployment.get(&alice, "/v1/keys/own-key").await.ok()["state"], "deactivated");
}

/// An agent, and a finding about it.
struct Case {
    agent: String,
    token: String,
    key: String,
    credential: String,
    minute: i64,
}

impl Case {
    async fn new(deployment: &Deployment, alice: &str) -> Self {
        let (agent, token) = deployment.agent(alice, "key:own-key:sign", json!({ "delegate": true })).await;
        let credential = text(&deployment.get(&token, "/v1/whoami").await.ok(), "credential");
        let key = text(&deployment.get(alice, "/v1/keys/own-key").await.ok(), "id");
        Self { agent, token, key, credential, minute: 0 }
    }

    async fn raise(
        &self,
        deployment: &Deployment,
        actions: &[ResponseAction],
    ) -> Option<aegis_core::recommendation::RecommendationRecord> {
        let read = |value: &str| Value::from(value);
        let at = deployment.host.app.clock.now();
        let recommendation = AgentRecommendation {
            id: aegis_core::id::RecommendationId::derived(at, &format!("usage_spike/{}/{}", self.agent, self.minute)),
            at,
            detector: Detector::UsageSpike,
            severity: Severity::High,
            agent: Some(serde_json::from_value(read(&self.agent)).unwrap()),
            sponsor: "alice@org".parse().unwrap(),
            evidence: Evidence {
                records: Vec::new(),
                operation: None,
                requested: None,
                key: Some(serde_json::from_value(read(&self.key)).unwrap()),
                credential: Some(serde_json::from_value(read(&self.credential)).unwrap()),
                factors: Vec::new(),
            },
            suggested_actions: actions.to_vec(),
        };
        let actions = actions.iter().map(|action| match action {
            ResponseAction::Deny | ResponseAction::StepUp => format!("{{ {} = {{ minutes = 60 }} }}", action.as_str()),
            other => format!("\"{}\"", other.as_str()),
        });
        let actions = actions.collect::<Vec<_>>().join(", ");
        let rules = RuleSet::parse(&format!("[[rule]]\nname = \"a-rule\"\nactions = [{actions}]")).unwrap();
        let orders = InForce { rules: Arc::new(rules), version: 7 };
        response::raise(&deployment.host.app, recommendation, &orders).await.unwrap()
    }
}

async fn two_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "ECDSA-P256").await;
    }
    (deployment, alice)
}
