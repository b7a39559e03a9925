//! What holds a response back: the budget, a cooldown, observing. And that a dry run says of the past what was done and held back.

use aegis_core::id::RecommendationId;
use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, RecommendationRecord, Severity};
use aegis_core::response;
use aegis_core::rules::BUILT_IN;
use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message, text};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn beyond_the_budget_a_stop_is_an_alert_that_says_so_and_the_agent_goes_on() {
    let deployment = with_key().await;
    let stops = "actions = [\"freeze_agent\", { step_up = { minutes = 60 } }, \"alert\"]";
    apply(
        &deployment,
        &BUILT_IN.replace("per_hour = 5", "per_hour = 1").replace(stops, "actions = [\"freeze_agent\"]"),
    )
    .await;
    let [first, second] = [agent(&deployment).await, agent(&deployment).await];
    assert_eq!(done(&find(&deployment, Detector::UsageSpike, &first).await), ["freeze_agent"]);
    assert_eq!(sign(&deployment, &first).await.refused(403), "agent_frozen");
    let found = find(&deployment, Detector::UsageSpike, &second).await;
    assert_eq!((done(&found), held_back(&found)), (vec!["alert"], json!([["freeze_agent", "budget"]])));
    // So it is told, too.
    let path = format!("/v1/recommendations/{}", found.recommendation.id);
    let told = deployment.get(&deployment.alice().await, &path).await.ok();
    assert_eq!(told["suppressed"], json!([{ "action": "freeze_agent", "because": "budget" }]), "{told}");
    sign(&deployment, &second).await.ok();
    // What states a fact has no budget.
    let third = agent(&deployment).await;
    deployment.post(&third.1, "/v1/keys/no-such-key/sign", message(b"x")).await.refused(403);
    assert_eq!(sign(&deployment, &third).await.refused(403), "agent_frozen");
    deployment.pass(3_600);
    assert_eq!(done(&find(&deployment, Detector::NewSource, &second).await), ["freeze_agent"]);
}

#[tokio::test]
async fn within_its_cooldown_a_rule_does_nothing_further_about_the_same_agent() {
    let deployment = with_key().await;
    let denies = "[[rule]]\nname = \"all\"\nactions = [{ deny = { minutes = 1 } }, \"alert\"]\ncooldown_minutes = 15";
    apply(&deployment, denies).await;
    let [first, second] = [agent(&deployment).await, agent(&deployment).await];
    assert_eq!(done(&find(&deployment, Detector::UsageSpike, &first).await), ["deny", "alert"]);
    assert_eq!(sign(&deployment, &first).await.refused(403), "held");
    deployment.pass(61);
    let found = find(&deployment, Detector::KeySet, &first).await;
    let withheld = json!([["deny for 1 minutes", "cooldown"], ["alert", "cooldown"]]);
    assert_eq!((done(&found), held_back(&found)), (Vec::new(), withheld));
    sign(&deployment, &first).await.ok();
    // Of another agent it is the first time; and of this one it is again, once the rule has cooled down.
    assert_eq!(done(&find(&deployment, Detector::UsageSpike, &second).await), ["deny", "alert"]);
    deployment.pass(14 * 60);
    assert_eq!(done(&find(&deployment, Detector::NewSource, &first).await), ["deny", "alert"]);
    assert_eq!(sign(&deployment, &first).await.refused(403), "held");
}

#[tokio::test]
async fn rules_that_observe_let_an_agent_go_on_and_say_what_would_have_been() {
    for observing in [
        BUILT_IN.replace("mode = \"enforce\"", "mode = \"observe\""),
        BUILT_IN.replace("\n[[rule]]", "\n[[rule]]\nobserve = true"),
    ] {
        let deployment = with_key().await;
        apply(&deployment, &observing).await;
        let agent = agent(&deployment).await;
        let found = find(&deployment, Detector::UsageSpike, &agent).await;
        let withheld = json!([["freeze_agent", "observe"], ["step_up for 60 minutes", "observe"]]);
        assert_eq!((done(&found), held_back(&found)), (vec!["alert"], withheld));
        sign(&deployment, &agent).await.ok();
        // What is inline, too: the request is refused, and the agent goes on.
        let refused = deployment.post(&agent.1, "/v1/keys/no-such-key/sign", message(b"x")).await;
        assert_eq!(refused.refused(403), "scope_violation");
        let alice = deployment.alice().await;
        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refused.body, "record"))).await.ok();
        assert_eq!(record["suppressed"], json!([{ "action": "freeze_agent", "because": "observe" }]), "{record}");
        assert_eq!(record["responses"][0]["action"], "alert", "{record}");
        sign(&deployment, &agent).await.ok();
    }
}

pub(crate) const RULES: &str = r#"
[budget]
per_hour = 4
[[rule]]
name = "scope"
detectors = ["scope_violation", "scope_probe", "canary_key"]
purposes = ["interactive", "service", "appliance"]
actions = ["freeze_agent", "alert"]
inline = true
[[rule]]
name = "all-of-them"
detectors = ["credential_shared"]
actions = ["revoke_agent", "revoke_fleet"]
[[rule]]
name = "denies"
purposes = ["interactive", "service", "appliance"]
actions = [{ deny = { minutes = 1 } }, "alert"]
cooldown_minutes = 30
[[rule]]
name = "fleet"
actions = ["revoke_fleet"]
"#;

/// Some hundreds of findings, streamed ones as the stream raises them: what the budget and cooldowns held back then they hold
/// back in a dry run, from whichever moment on it is.
#[tokio::test]
async fn a_dry_run_of_the_rules_in_force_says_what_was_done_and_what_was_held_back() {
    let deployment = with_key().await;
    apply(&deployment, RULES).await;
    let mut agents = Vec::new();
    for _ in 0..12 {
        agents.push(agent(&deployment).await);
    }
    // Two hours: the ids of streamed findings tell of their hours alone.
    deployment.pass(3_600 - deployment.now() % 3_600);
    let begun = deployment.now();
    for n in 0..400 {
        let detector = [Detector::UsageSpike, Detector::KeySet, Detector::NewSource][n % 3];
        find(&deployment, detector, &agents[n * 7 % 12]).await;
        deployment.pass(16);
        if n % 50 == 0 {
            let (_, token) = agent(&deployment).await;
            deployment.post(&token, "/v1/keys/no-such-key/sign", message(b"x")).await.refused(403);
        }
    }
    // All agents of a human: where she is what it is about, and where one of them is.
    deployment.pass(3_600);
    for name in ["bob@org", "carol@org"] {
        let by = deployment.log_in(name, &["operator", "user"]).await;
        let mut own = Vec::new();
        for _ in 0..2 {
            own.push(deployment.agent(&by, "key:own-key:sign", json!({})).await);
        }
        let (detector, agent) = match name {
            "bob@org" => (Detector::HumanMachineRate, None),
            _ => (Detector::CredentialShared, Some(own[0].0.as_str())),
        };
        raise(&deployment, detector, agent, name).await;
        deployment.respond().await.unwrap();
        for (_, token) in own {
            let answer = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
            assert_eq!(answer.refused(401), "agent_revoked");
        }
    }
    // The last begins later than what bears on it: an hour before.
    for (since, least) in [(begun, 400), (begun + 1_500, 200), (begun + 5_000, 60)] {
        let since = aegis_core::ambient::Timestamp::from_second(since).unwrap();
        let path = "/v1/response-rules/dry-run";
        let found = deployment.post(&deployment.alice().await, path, json!({ "since": since })).await.ok();
        let items = found["items"].as_array().unwrap();
        assert!(items.len() > least && found["complete"] == true && found["since"] == json!(since), "{}", items.len());
        let mut because = std::collections::BTreeSet::new();
        for item in items {
            assert_eq!(item["differs"], false, "{item}");
            let path = format!("/v1/recommendations/{}", text(item, "recommendation"));
            let told = deployment.get(&deployment.alice().await, &path).await.ok();
            let none = json!([]);
            assert_eq!(item["suppressed"], *told.get("suppressed").unwrap_or(&none), "{item}");
            because.extend(item["suppressed"].as_array().unwrap().iter().map(|held| text(held, "because")));
        }
        assert_eq!(because.into_iter().collect::<Vec<_>>(), ["budget", "cooldown"]);
        let fleets = items.iter().filter(|item| item["would"].as_array().unwrap().contains(&json!("revoke_fleet")));
        assert_eq!(fleets.count(), 2);
    }
}

pub(crate) type Known = (String, String);

pub(crate) async fn with_key() -> Deployment {
    let deployment = Deployment::new().await;
    let key = json!({ "name": "own-key", "algorithm": "Ed25519", "environment": "development", "activate": true });
    deployment.post(&deployment.alice().await, "/v1/keys", key).await.ok();
    deployment
}

pub(crate) async fn agent(deployment: &Deployment) -> Known {
    deployment.agent(&deployment.alice().await, "key:own-key:sign", json!({ "purpose": "service" })).await
}

async fn sign(deployment: &Deployment, agent: &Known) -> Answer {
    deployment.post(&agent.1, "/v1/keys/own-key/sign", message(b"x")).await
}

/// Puts rules in force, with a second human where they need one.
pub(crate) async fn apply(deployment: &Deployment, toml: &str) {
    let alice = deployment.alice().await;
    let body = json!({ "toml": toml, "expected_version": 0 });
    let change = deployment.call(Method::PUT, &alice, "/v1/response-rules", Some(body)).await.ok();
    if change["outcome"] == "proposed" {
        let erin = deployment.log_in("erin@org", &["operator"]).await;
        let path = format!("/v1/response-rules/{}/confirm", change["version"]);
        deployment.post(&erin, &path, json!({})).await.ok();
    }
}

/// A finding about an agent of alice's, critical, answered by the rules in force.
pub(crate) async fn find(deployment: &Deployment, detector: Detector, agent: &Known) -> RecommendationRecord {
    raise(deployment, detector, Some(&agent.0), "alice@org").await
}

async fn raise(
    deployment: &Deployment,
    detector: Detector,
    agent: Option<&str>,
    sponsor: &str,
) -> RecommendationRecord {
    answer(deployment, finding(deployment, detector, agent, sponsor)).await
}

/// As the stream's: the id dates from the beginning of the hour.
pub(crate) fn finding(
    deployment: &Deployment,
    detector: Detector,
    agent: Option<&str>,
    sponsor: &str,
) -> AgentRecommendation {
    let at = deployment.host.app.clock.now();
    let hour = aegis_core::ambient::Timestamp::from_second(at.as_second() / 3_600 * 3_600).unwrap();
    let words = format!("{}/{}/{at}", detector.as_str(), agent.unwrap_or(sponsor));
    AgentRecommendation {
        id: RecommendationId::derived(hour, &words),
        at,
        detector,
        severity: Severity::Critical,
        agent: agent.map(|agent| agent.to_string().try_into().unwrap()),
        sponsor: sponsor.parse().unwrap(),
        evidence: Evidence {
            records: Vec::new(),
            operation: None,
            requested: None,
            key: None,
            credential: None,
            factors: Vec::new(),
        },
        suggested_actions: Vec::new(),
    }
}

pub(crate) async fn answer(deployment: &Deployment, finding: AgentRecommendation) -> RecommendationRecord {
    let app = &deployment.host.app;
    let in_force = response::in_force(app).await.unwrap();
    response::raise(app, finding, &in_force).await.unwrap().unwrap()
}

pub(crate) fn done(found: &RecommendationRecord) -> Vec<&str> {
    found.responses.iter().map(|done| done.action.as_str()).collect()
}

fn held_back(found: &RecommendationRecord) -> Value {
    let all = found.suppressed.iter().map(|held| json!([held.action.to_string(), held.because.as_str()]));
    all.collect()
}
