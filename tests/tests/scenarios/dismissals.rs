//! What a dismissal changes: of one agent the same is not told again. Nothing else of it, and of nobody else.

use crate::detection::recommendations;
use crate::detectors::{end_day, two_weeks, with_agent};
use aegis_core::store::Store;
use aegis_tests::deployment::Deployment;
use aegis_tests::{base64, message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn what_was_dismissed_is_not_told_of_the_same_agent_again() {
    let without = Story::told(Dismissed::Never).await;
    assert_eq!(without.again_of_dismissed, ["usage_spike critical"], "nobody dismissed it");
    for when in [Dismissed::AtOnce, Dismissed::TheNextDay] {
        let with = Story::told(when).await;
        assert_eq!(with.first, without.first, "{when:?}");
        assert_eq!(with.again_of_dismissed, Vec::<String>::new(), "{when:?}");
        // The other agent does the same on the same days, and nobody dismissed what was said of it.
        assert_eq!(with.again_of_other, without.again_of_other, "{when:?}");
        assert_eq!(with.again_of_other, ["usage_spike critical"], "{when:?}");
        // Another thing of the same agent is as grave as ever.
        assert_eq!(with.something_else, without.something_else, "{when:?}");
        assert_eq!(with.something_else, ["new_operation medium"], "{when:?}");
    }
}

/// That it was meant so changes nothing of what the agent does.
#[tokio::test]
async fn a_fact_that_was_dismissed_teaches_nothing() {
    let (deployment, agent) = with_agent("Ed25519", "sign").await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "foreign-key", "Ed25519").await;
    let token = deployment.token(&alice, &agent).await;
    for path in ["/v1/keys/own-key/sign", "/v1/keys/foreign-key/sign"] {
        deployment.post(&token, path, message(b"x")).await;
        deployment.pass(300);
    }
    deployment.detect().await;
    let state = async || {
        let item = aegis_core::behaviour::item(&format!("actor/{agent}"));
        deployment.store.get(&item).await.unwrap().unwrap().item.body
    };
    let before = state().await;
    let found = recommendations(&deployment, &deployment.alice().await).await;
    assert_eq!(found.iter().map(|found| text(found, "detector")).collect::<Vec<_>>(), ["scope_violation"]);
    answer(&deployment, &agent, "dismiss").await;
    let found = recommendations(&deployment, &deployment.alice().await).await;
    assert!(found[0].get("dismissed").is_some(), "{found:?}");
    assert_eq!(state().await, before);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Dismissed {
    AtOnce,
    Never,
    TheNextDay,
}

/// Two agents, of two humans, that only encrypted for weeks, and a little: on two days both make many requests at once.
struct Story {
    /// What was said of both on the first day.
    first: Vec<String>,
    again_of_dismissed: Vec<String>,
    again_of_other: Vec<String>,
    /// What was said of the first agent once it began to decrypt.
    something_else: Vec<String>,
}

impl Story {
    async fn told(dismissed_when: Dismissed) -> Self {
        let (deployment, dismissed) = with_agent("AES-256-GCM", "encrypt,decrypt").await;
        let by_bob = json!({ "purpose": "service" });
        let (other, _) = deployment.agent(&bob(&deployment).await, "key:own-key:encrypt,decrypt", by_bob).await;
        two_weeks(&deployment, &dismissed, async |token| {
            encrypt(&deployment, token).await;
            encrypt(&deployment, &deployment.token(&bob(&deployment).await, &other).await).await;
        })
        .await;
        let agents = [&dismissed, &other];
        burst(&deployment, agents).await;
        let first = since(&deployment, 0, &agents).await;
        if dismissed_when == Dismissed::AtOnce {
            answer(&deployment, &dismissed, "dismiss").await;
        }
        go_on(&deployment, agents).await;
        if dismissed_when == Dismissed::TheNextDay {
            answer(&deployment, &dismissed, "dismiss").await;
        }
        let begun = deployment.now();
        burst(&deployment, agents).await;
        let again_of_dismissed = since(&deployment, begun, &[&dismissed]).await;
        let again_of_other = since(&deployment, begun, &[&other]).await;
        go_on(&deployment, agents).await;
        let begun = deployment.now();
        let token = deployment.token(&deployment.alice().await, &dismissed).await;
        let body = json!({ "ciphertext": encrypt(&deployment, &token).await });
        for _ in 0..3 {
            deployment.post(&token, "/v1/keys/own-key/decrypt", body.clone()).await.ok();
            deployment.pass(1);
        }
        deployment.detect().await;
        let something_else = since(&deployment, begun, &[&dismissed]).await;
        Self { first, again_of_dismissed, again_of_other, something_else }
    }
}

async fn bob(deployment: &Deployment) -> String {
    deployment.log_in("bob@org", &["operator", "user"]).await
}

async fn encrypt(deployment: &Deployment, token: &str) -> String {
    let body = json!({ "plaintext": base64(b"a row") });
    text(&deployment.post(token, "/v1/keys/own-key/encrypt", body).await.ok(), "ciphertext")
}

/// Many requests of each at once, and one some minutes later: what came in a minute is learnt once it is over.
async fn burst(deployment: &Deployment, [first, second]: [&String; 2]) {
    let tokens = [
        deployment.token(&deployment.alice().await, first).await,
        deployment.token(&bob(deployment).await, second).await,
    ];
    for token in &tokens {
        for _ in 0..200 {
            encrypt(deployment, token).await;
        }
    }
    deployment.detect().await;
    deployment.pass(300);
    for token in &tokens {
        // It may be stopped by now.
        deployment.post(token, "/v1/keys/own-key/encrypt", json!({ "plaintext": base64(b"a row") })).await;
    }
    deployment.detect().await;
}

/// The next day, freed of whatever was done about them.
async fn go_on(deployment: &Deployment, agents: [&String; 2]) {
    end_day(deployment).await;
    for agent in agents {
        answer(deployment, agent, "undo").await;
    }
}

/// Each finding about these agents since then, by its detector and severity, in the order of these.
async fn since(deployment: &Deployment, begun: i64, agents: &[&String]) -> Vec<String> {
    let begun = aegis_core::ambient::Timestamp::from_second(begun).unwrap();
    let at = |found: &Value| text(found, "at").parse::<aegis_core::ambient::Timestamp>().unwrap();
    let all = recommendations(deployment, &deployment.alice().await).await;
    let of =
        all.iter().filter(|found| at(found) >= begun && agents.iter().any(|agent| found["agent"] == agent.as_str()));
    let mut told: Vec<String> =
        of.map(|found| format!("{} {}", text(found, "detector"), text(found, "severity"))).collect();
    told.sort();
    told
}

async fn answer(deployment: &Deployment, agent: &str, how: &str) {
    let alice = deployment.alice().await;
    for found in recommendations(deployment, &alice).await {
        if found["agent"] == agent {
            let path = format!("/v1/recommendations/{}/{how}", text(&found, "id"));
            deployment.post(&alice, &path, json!({})).await;
        }
    }
    deployment.detect().await;
}
