//! Agents ask their humans for a wider grant: it grants nothing, tells nothing of keys, and is followed by changing the grant.

use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN};
use aegis_tests::{Answer, message, text};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const REQUESTS: &str = "/v1/access-requests";

/// A deployment with two keys, one of which is in the scope of an agent.
struct Story {
    deployment: Deployment,
    alice: String,
    agent: String,
    token: String,
}

impl Story {
    async fn new() -> Self {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        for name in ["own-key", "foreign-key"] {
            deployment.key(&alice, name, "Ed25519").await;
        }
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        Self { deployment, alice, agent, token }
    }

    async fn ask(&self, token: &str, scope: &str) -> Answer {
        self.deployment.post(token, REQUESTS, json!({ "scope": scope, "reason": "for the invoices" })).await
    }

    /// What the agent asked for.
    async fn asked(&self, scope: &str) -> String {
        text(&self.ask(&self.token, scope).await.ok(), "id")
    }

    async fn follow(&self, by: &str, more: Value) -> Answer {
        self.deployment.call(Method::PATCH, by, &format!("/v1/agents/{}", self.agent), Some(more)).await
    }

    async fn show(&self, by: &str, id: &str) -> Answer {
        self.deployment.get(by, &format!("/v1/agents/{}/access-requests/{id}", self.agent)).await
    }

    async fn deny(&self, by: &str, id: &str) -> Answer {
        self.deployment.post(by, &format!("/v1/agents/{}/access-requests/{id}/deny", self.agent), json!({})).await
    }

    async fn list(&self, by: &str) -> Vec<Value> {
        self.deployment.get(by, REQUESTS).await.ok()["items"].as_array().unwrap().clone()
    }

    async fn sign(&self, token: &str, key: &str) -> Answer {
        self.deployment.post(token, &format!("/v1/keys/{key}/sign"), message(b"x")).await
    }
}

#[tokio::test]
async fn what_is_asked_grants_nothing_until_its_human_changes_the_grant() {
    let story = Story::new().await;
    let before = story.deployment.get(&story.alice, &format!("/v1/agents/{}", story.agent)).await.ok();
    let id = story.asked("key:foreign-key:sign key:team=a:verify").await;
    let after = story.deployment.get(&story.alice, &format!("/v1/agents/{}", story.agent)).await.ok();
    assert_eq!(before, after);
    let check = json!({ "action": "sign" });
    let told = story.deployment.post(&story.token, "/v1/keys/foreign-key/check-access", check).await.ok();
    assert_eq!(told["decision"], "deny");

    let listed = &story.list(&story.alice).await[0];
    let want = json!({ "scope": "key:foreign-key:sign key:team=a:verify", "reason": "for the invoices" });
    assert_eq!((&listed["id"], &listed["asked"], &listed["state"]), (&json!(id), &want, &json!("pending")));
    assert_eq!((&listed["agent"], &listed["sponsor"]), (&json!(story.agent), &json!("alice@org")));
    assert_eq!(story.show(&story.token, &id).await.ok(), *listed, "the agent sees how it stands");

    let changed = story.follow(&story.alice, json!({ "access_request": id })).await.ok();
    let [own, foreign, labelled] = changed["grant"]["scope"].as_array().unwrap().as_slice() else {
        panic!("{changed}")
    };
    let key = text(&story.deployment.get(&story.alice, "/v1/keys/foreign-key").await.ok(), "id");
    assert_eq!((&foreign["keys"], &foreign["actions"]), (&json!([key]), &json!(["sign"])));
    assert_eq!((&labelled["keys"], &before["grant"]["scope"][0]), (&json!(["team=a"]), own));
    let ended = story.show(&story.alice, &id).await.ok();
    assert_eq!((&ended["state"], &ended["answer"]["human"]), (&json!("granted"), &json!("alice@org")));
    let record =
        story.deployment.get(&story.alice, &format!("/v1/audit/{}", text(&ended["answer"], "record"))).await.ok();
    assert_eq!((&record["operation"], &record["human"]), (&json!("agent.amend"), &json!("alice@org")));
    let record = &story.deployment.get(&story.alice, "/v1/audit?op=access-request.create").await.ok()["items"][0];
    assert_eq!((&record["object"], &record["agents"][0]), (&json!(id), &json!(story.agent)));

    // A token keeps what it was issued with.
    let fresh = story.deployment.token(&story.alice, &story.agent).await;
    story.sign(&fresh, "foreign-key").await.ok();
    story.sign(&story.token, "own-key").await.ok();
    let again = story.follow(&story.alice, json!({ "access_request": id })).await;
    assert_eq!(again.failed(409), "state");
}

#[tokio::test]
async fn it_is_followed_by_whoever_may_change_the_grant_with_all_that_this_needs() {
    let story = Story::new().await;
    let id = story.asked("key:foreign-key:sign").await;
    let bob = story.deployment.log_in("bob@org", &["user"]).await;
    let operator = story.deployment.log_in("olga@org", &["operator"]).await;
    let (_, other) = story.deployment.agent(&story.alice, "key:own-key:sign", json!({ "delegate": true })).await;
    for by in [&bob, &operator, &story.token, &other] {
        assert_eq!(story.follow(by, json!({ "access_request": id })).await.refused(403), "policy");
    }
    for by in [&bob, &story.token, &other] {
        assert_eq!(story.deny(by, &id).await.refused(403), "policy");
    }
    for by in [&bob, &other] {
        assert_eq!(story.show(by, &id).await.refused(403), "policy");
    }
    assert_eq!(story.list(&bob).await, Vec::<Value>::new());
    assert_eq!(story.list(&operator).await.len(), 1, "operators see all");
    assert_eq!(story.deployment.get(&story.token, REQUESTS).await.refused(403), "policy");
    // No human asks.
    assert_eq!(story.ask(&story.alice, "key:own-key:sign").await.refused(403), "policy");

    story.deployment.pass(301);
    let stale = story.follow(&story.alice, json!({ "access_request": id })).await;
    assert_eq!(stale.failed(401), "fresh-login-needed");
    assert_eq!(story.show(&story.token, &id).await.ok()["state"], "pending");
    let alice = story.deployment.alice().await;
    // Another agent's request is none of this one's.
    let (elsewhere, _) = story.deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{elsewhere}");
    let body = json!({ "access_request": id });
    assert_eq!(story.deployment.call(Method::PATCH, &alice, &path, Some(body)).await.failed(404), "not-found");
    assert_eq!(story.deployment.get(&alice, &format!("{path}/access-requests/{id}")).await.failed(404), "not-found");
    // What she may not do herself she does not grant.
    story.deployment.post(&alice, "/v1/keys/foreign-key/compromise", json!({})).await.ok();
    let missing = story.asked("key:no-such-key:sign").await;
    assert_eq!(story.follow(&alice, json!({ "access_request": missing })).await.failed(400), "invalid-request");
    assert_eq!(story.show(&alice, &missing).await.ok()["state"], "pending");
    story.deny(&story.deployment.log_in("olga@org", &["operator"]).await, &missing).await.ok();
}

#[tokio::test]
async fn its_human_may_grant_something_else_or_more_than_keys() {
    let story = Story::new().await;
    let id = story.asked("key:foreign-key:sign,verify").await;
    let narrower = json!({ "access_request": id, "scope": "key:own-key:sign key:foreign-key:verify" });
    let changed = story.follow(&story.alice, narrower).await.ok();
    assert_eq!(changed["grant"]["scope"][1]["actions"], json!(["verify"]));
    assert_eq!(story.show(&story.alice, &id).await.ok()["state"], "granted");

    let until = "2027-01-01T00:00:00Z";
    let wish = json!({ "not_after": until, "limits": { "per_day": 5 }, "reason": "a longer task" });
    let id = text(&story.deployment.post(&story.token, REQUESTS, wish).await.ok(), "id");
    let followed = story.follow(&story.alice, json!({ "access_request": id })).await.ok();
    let grant = &followed["grant"];
    assert_eq!((&grant["not_after"], &grant["limits"]), (&json!(until), &json!({ "per_day": 5 })));
    assert_eq!(grant["scope"], changed["grant"]["scope"]);
}

/// What is shown to its human is all that changes: an agent that asks for one limit loses no other, and asks for none.
#[tokio::test]
async fn the_limits_that_a_request_does_not_name_stay() {
    let story = Story::new().await;
    let limits = json!({ "max_uses": 100, "per_minute": 10, "per_day": 50 });
    story.follow(&story.alice, json!({ "limits": limits })).await.ok();
    for none in [json!({}), json!({ "per_minute": null })] {
        let wish = json!({ "scope": "key:foreign-key:verify", "limits": none, "reason": "x" });
        assert_eq!(story.deployment.post(&story.token, REQUESTS, wish).await.failed(400), "invalid-request", "{none}");
    }
    let wish = json!({ "limits": { "per_minute": 20 }, "reason": "more at once" });
    let id = text(&story.deployment.post(&story.token, REQUESTS, wish).await.ok(), "id");
    let followed = story.follow(&story.alice, json!({ "access_request": id })).await.ok();
    assert_eq!(followed["grant"]["limits"], json!({ "max_uses": 100, "per_minute": 20, "per_day": 50 }));
    // She may take them away herself.
    let followed = story.follow(&story.alice, json!({ "limits": {} })).await.ok();
    assert_eq!(followed["grant"].get("limits").cloned().unwrap_or(json!({})), json!({}));
}

#[tokio::test]
async fn the_same_rights_in_another_order_are_asked_once() {
    let story = Story::new().await;
    let first = story.asked("key:foreign-key,own-key:sign,verify").await;
    assert_eq!(story.asked("key:own-key:verify,sign  key:foreign-key:sign,verify").await, first);
    assert_ne!(story.asked("key:foreign-key,own-key:sign").await, first);
}

#[tokio::test]
async fn asking_tells_nothing_of_keys_and_stops_nobody() {
    let story = Story::new().await;
    let trap = json!({ "name": "trap-key", "algorithm": "Ed25519", "activate": true, "canary": true });
    story.deployment.post(&story.alice, "/v1/keys", trap).await.ok();
    let mut ends = Vec::new();
    for key in ["foreign-key", "no-such-key", "trap-key"] {
        let mut told = story.ask(&story.token, &format!("key:{key}:sign")).await.ok();
        let path = format!("/v1/audit?agent={}&limit=1", story.agent);
        let mut record = story.deployment.get(&story.alice, &path).await.ok()["items"][0].clone();
        assert!(told.to_string().contains(key));
        for own in ["id", "asked", "created_at", "expires_at"] {
            told[own] = Value::Null;
        }
        for own in ["id", "at", "request_id", "latency_us", "object", "request_digest"] {
            record[own] = Value::Null;
        }
        ends.push((told, record));
        story.deployment.pass(1);
    }
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    story.sign(&story.token, "own-key").await.ok();
}

#[tokio::test]
async fn the_same_is_asked_once_and_a_denial_holds_for_its_time() {
    let story = Story::new().await;
    let id = story.asked("key:foreign-key:sign").await;
    let reworded = json!({ "scope": "key:foreign-key:sign", "reason": "URGENT" });
    let again = story.deployment.post(&story.token, REQUESTS, reworded.clone()).await.ok();
    assert_eq!((text(&again, "id"), text(&again["asked"], "reason")), (id.clone(), "for the invoices".to_string()));
    assert_eq!(story.deny(&story.alice, &id).await.ok()["state"], "denied");
    assert_eq!(story.deny(&story.alice, &id).await.failed(409), "state");
    assert_eq!(story.follow(&story.alice, json!({ "access_request": id })).await.failed(409), "state");
    let denied = story.deployment.post(&story.token, REQUESTS, reworded.clone()).await.ok();
    assert_eq!((text(&denied, "id"), text(&denied, "state")), (id.clone(), "denied".to_string()));
    // A week later it may be asked anew.
    story.deployment.pass(7 * 86_400);
    let alice = story.deployment.alice().await;
    let token = story.deployment.token(&alice, &story.agent).await;
    let anew = story.deployment.post(&token, REQUESTS, reworded).await.ok();
    assert_ne!(text(&anew, "id"), id);
    story.deployment.pass(7 * 86_400);
    let alice = story.deployment.alice().await;
    assert_eq!(story.show(&alice, &text(&anew, "id")).await.ok()["state"], "expired");
    let late = story.follow(&alice, json!({ "access_request": anew["id"] })).await;
    assert_eq!(late.failed(409), "state");
}

#[tokio::test]
async fn no_more_wait_than_approvals_may_and_who_asks_for_more_is_refused_and_goes_on() {
    let story = Arc::new(Story::new().await);
    let mut asking = Vec::new();
    for n in 0..16 {
        let story = Arc::clone(&story);
        asking.push(tokio::spawn(async move { story.ask(&story.token, &format!("key:key-number-{n}:sign")).await }));
    }
    let mut answers = Vec::new();
    for asking in asking {
        answers.push(asking.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 3);
    for beyond in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(beyond.refused(403), "access_requests_exhausted");
    }
    assert_eq!(story.list(&story.alice).await.len(), 3);
    story.sign(&story.token, "own-key").await.ok();
    // Of all her agents ten in a day.
    for n in 0..8 {
        let (_, token) = story.deployment.agent(&story.alice, "key:own-key:sign", json!({})).await;
        let answer = story.ask(&token, "key:foreign-key:sign").await;
        match n {
            0..7 => drop(answer.ok()),
            _ => assert_eq!(answer.refused(403), "access_requests_exhausted"),
        }
    }
    story.deployment.pass(86_400 - story.deployment.now() % 86_400);
    let alice = story.deployment.alice().await;
    let (_, token) = story.deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    story.ask(&token, "key:foreign-key:sign").await.ok();
}

#[tokio::test]
async fn what_an_agent_says_reaches_its_human_as_data() {
    let story = Story::new().await;
    let said = "please\n\u{1b}[2J\u{202e}grant all";
    let client = Client::new(&story.deployment, &story.token, MODERN);
    let wish = json!({ "scope": "key:foreign-key:sign", "reason": said });
    let asked = client.done("request_access", wish).await;
    let want = "please\\u{a}\\u{1b}[2J\\u{202e}grant all";
    assert_eq!((&asked["asked"]["reason"], &asked["state"]), (&json!(want), &json!("pending")));
    assert_eq!(story.list(&story.alice).await[0]["asked"]["reason"], want);
    let cases = [
        json!({ "scope": "key:foreign-key:sign" }),
        json!({ "scope": "key:foreign-key:sign", "reason": "" }),
        json!({ "scope": "key:foreign-key:sign", "reason": "x".repeat(501) }),
        json!({ "scope": "key:foreign-key:export", "reason": "x" }),
        json!({ "reason": "x" }),
        json!({ "limits": { "max_uses": 0 }, "reason": "x" }),
        json!({ "scope": "key:foreign-key:sign", "reason": "x", "approve": true }),
    ];
    for wish in cases {
        assert_eq!(client.refused("request_access", wish.clone()).await["code"], "invalid-request", "{wish}");
    }
    assert_eq!(story.list(&story.alice).await.len(), 1);
}
