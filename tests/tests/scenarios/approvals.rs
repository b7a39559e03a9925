//! Approvals: what an agent must ask a human for is done once, as it was asked, and only with that human's leave.

use crate::detection::recommendations;
use aegis_core::agent::Agent;
use aegis_core::ambient::Timestamp;
use aegis_core::approval::{PayloadPart, approval_item};
use aegis_core::deployment::{Deployment as OfStore, RulesDocument};
use aegis_core::id::ApprovalId;
use aegis_core::repository::{self, Document, Loaded, agent_item};
use aegis_core::store::fault::{Fault, Operation};
use aegis_core::store::{Expect, ItemKey, Store};
use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message, text};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

const SIGN: &str = "/v1/keys/own-key/sign";
/// Each login brings a human's roles anew.
const ALICE: [&str; 4] = ["admin", "auditor", "operator", "user"];

/// A deployment in which an agent of alice's must ask before each use.
struct Story {
    deployment: Arc<Deployment>,
    alice: String,
    agent: String,
    token: String,
}

impl Story {
    async fn new() -> Self {
        Self::of_tier("standard").await
    }

    async fn of_tier(tier: &str) -> Self {
        let deployment = Arc::new(Deployment::new().await);
        let alice = deployment.alice().await;
        for name in ["own-key", "other-key"] {
            let body = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "tier": tier });
            deployment.post(&alice, "/v1/keys", body).await.ok();
        }
        deployment.key(&alice, "own-aes", "AES-256-GCM").await;
        let (agent, token) = held(&deployment, &alice).await;
        Self { deployment, alice, agent, token }
    }

    async fn sign(&self, words: &[u8]) -> Answer {
        self.deployment.post(&self.token, SIGN, message(words)).await
    }

    async fn ask(&self, words: &[u8]) -> (String, String) {
        asked(&self.sign(words).await)
    }

    /// What a human answers, with a login of her own.
    async fn answer(&self, human: &str, roles: &[&str], approval: &str, verb: &str, body: Value) -> Answer {
        let login = self.deployment.log_in_to_approve(human, roles).await;
        self.deployment.post(&login, &format!("/v1/approvals/{approval}/{verb}"), body).await
    }

    async fn approve(&self, (approval, code): &(String, String)) -> Value {
        self.answer("alice@org", &ALICE, approval, "approve", json!({ "code": code })).await.ok()
    }

    async fn approve_shape(&self, (approval, code): &(String, String), uses: u32, seconds: u32) -> Answer {
        let body = json!({ "code": code, "uses": uses, "for_seconds": seconds });
        self.answer("alice@org", &ALICE, approval, "approve", body).await
    }

    async fn deny(&self, approval: &str) -> Answer {
        self.answer("alice@org", &ALICE, approval, "deny", json!({})).await
    }

    async fn show(&self, approval: &str) -> Value {
        self.deployment.get(&self.alice, &format!("/v1/approvals/{approval}")).await.ok()
    }

    async fn list(&self, query: &str) -> Vec<Value> {
        let page = self.deployment.get(&self.alice, &format!("/v1/approvals{query}")).await.ok();
        page["items"].as_array().unwrap().clone()
    }

    /// The answers to as many equal requests at once.
    async fn at_once(&self, count: usize, words: impl Fn(usize) -> Vec<u8>) -> Vec<Answer> {
        let mut asking = Vec::new();
        for n in 0..count {
            let (deployment, token, body) = (Arc::clone(&self.deployment), self.token.clone(), message(&words(n)));
            asking.push(tokio::spawn(async move { deployment.post(&token, SIGN, body).await }));
        }
        let mut answers = Vec::new();
        for asking in asking {
            answers.push(asking.await.unwrap());
        }
        answers
    }
}

async fn held(deployment: &Deployment, alice: &str) -> (String, String) {
    let scope = "key:own-key,other-key:sign,verify key:own-aes:encrypt,wrap";
    let (agent, token) = deployment.agent(alice, scope, json!({ "delegate": true, "purpose": "service" })).await;
    deployment.hold_for_step_up(&agent).await;
    (agent, token)
}

/// The approval and its code, of an answer that says a human must approve.
#[track_caller]
fn asked(answer: &Answer) -> (String, String) {
    assert_eq!(answer.clone().refused(403), "step_up", "{}", answer.body);
    (text(&answer.body, "approval"), text(&answer.body, "approval_code"))
}

fn succeeded(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test]
async fn a_request_is_made_once_a_human_approved_it_and_no_second_time() {
    let story = Story::new().await;
    let answer = story.sign(b"pay 10 EUR").await;
    let approval = asked(&answer);
    assert!(answer.body["risk"]["factors"].is_array());
    assert_eq!(answer.body["expires_at"], "2026-09-21T14:28:20Z");
    let pending = story.list("?state=pending").await;
    assert_eq!((pending.len(), &pending[0]["id"], &pending[0]["cause"]), (1, &json!(approval.0), &json!("hold")));
    assert_eq!(story.approve(&approval).await["state"], "approved");
    let signed = story.sign(b"pay 10 EUR").await.ok();
    assert!(signed["signature"].is_string());
    // One that was under way at the same moment is told so; a later one asks a human again.
    assert_eq!(story.sign(b"pay 10 EUR").await.refused(403), "approval_used");
    story.deployment.pass(1);
    assert_ne!(story.ask(b"pay 10 EUR").await.0, approval.0);
    let shown = story.show(&approval.0).await;
    assert_eq!((&shown["state"], &shown["used"].as_array().unwrap().len()), (&json!("used"), &1));
    let record = format!("/v1/audit/{}", shown["used"][0]["record"].as_str().unwrap());
    let record = story.deployment.get(&story.alice, &record).await.ok();
    assert_eq!((&record["operation"], &record["approval"]), (&json!("key.sign"), &json!(approval.0)));
}

#[tokio::test]
async fn leave_is_for_the_request_as_it_was_asked_and_for_its_agent() {
    let story = Story::new().await;
    let approval = story.ask(b"pay 10 EUR").await;
    story.approve(&approval).await;
    let (_, another) = held(&story.deployment, &story.alice).await;
    let verify = json!({ "message": message(b"pay 10 EUR")["message"], "signature": "" });
    let table = [
        (&story.token, SIGN, message(b"pay 10 EUR.")),
        (&story.token, "/v1/keys/other-key/sign", message(b"pay 10 EUR")),
        (&story.token, "/v1/keys/own-key/verify", verify),
        (&another, SIGN, message(b"pay 10 EUR")),
    ];
    for (token, path, body) in table {
        let other = asked(&story.deployment.post(token, path, body).await);
        assert_ne!(other, approval, "{path}");
    }
    // The same key by its id, with another token of the same agent: the same request.
    let key = text(&story.deployment.get(&story.alice, "/v1/keys/own-key").await.ok(), "id");
    let renewed = story.deployment.token(&story.alice, &story.agent).await;
    story.deployment.post(&renewed, &format!("/v1/keys/{key}/sign"), message(b"pay 10 EUR")).await.ok();
}

#[tokio::test]
async fn what_nobody_answers_or_uses_in_time_is_over() {
    let story = Story::new().await;
    let late = story.ask(b"x").await;
    story.deployment.pass(900);
    let answer = story.answer("alice@org", &ALICE, &late.0, "approve", json!({ "code": late.1 })).await;
    assert_eq!(
        (answer.failed(409), &answer.body["title"]),
        ("state", &json!("the approval is expired, which does not allow this"))
    );
    assert_eq!(story.show(&late.0).await["state"], "expired");
    let again = story.ask(b"x").await;
    assert_ne!(again.0, late.0);
    story.approve(&again).await;
    story.deployment.pass(600);
    assert_ne!(story.ask(b"x").await.0, again.0, "approved, and not used in time");
}

#[tokio::test]
async fn what_was_denied_is_refused_until_it_could_be_asked_anew_and_the_denial_is_on_record() {
    let story = Story::new().await;
    let (approval, _) = story.ask(b"x").await;
    assert_eq!(story.deny(&approval).await.ok()["state"], "denied");
    assert_eq!(story.sign(b"x").await.refused(403), "approval_denied");
    let found = story.deployment.get(&story.alice, "/v1/audit?op=approval.deny").await.ok();
    let record = &found["items"][0];
    assert_eq!((&record["approval"], &record["object"]), (&json!(approval), &json!(story.agent)));
    assert_eq!(record["key"], story.show(&approval).await["key"]);
    assert_eq!(story.deny(&approval).await.failed(409), "state");
    story.deployment.pass(900);
    assert_ne!(story.ask(b"x").await.0, approval);
    // Leave can be taken back until it is used.
    let other = story.ask(b"y").await;
    story.approve(&other).await;
    story.deny(&other.0).await.ok();
    assert_eq!(story.sign(b"y").await.refused(403), "approval_denied");
}

/// Of an agent that nothing holds, so that what holds it afterwards is the denial.
#[tokio::test]
async fn a_denial_is_held_against_the_agent_that_asked_once() {
    let story = Story::new().await;
    let (approval, _) = story.ask(b"x").await;
    let item = agent_item(&story.agent.clone().try_into().unwrap());
    let held: Loaded<Agent> = repository::load(story.deployment.store.as_ref(), &item).await.unwrap().unwrap();
    let free = Loaded { value: Agent { holds: Vec::new(), ..held.value }, ..held };
    story.deployment.store.transact(vec![free.replace().unwrap()]).await.unwrap();
    story.sign(b"y").await.ok();

    let denied = story.deny(&approval).await;
    assert_eq!(denied.status, 200, "{}", denied.body);
    let record = story.deployment.get(&story.alice, "/v1/audit?op=approval.deny").await.ok()["items"][0]["id"].clone();
    for _ in 0..2 {
        story.deployment.detect().await;
        let all = recommendations(&story.deployment, &story.alice).await;
        let [found] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((&found["detector"], &found["severity"]), (&json!("approval_denied"), &json!("high")));
        assert_eq!((&found["agent"], &found["sponsor"]), (&json!(story.agent), &json!("alice@org")));
        assert_eq!(found["evidence"]["records"], json!([record]));
        assert_eq!(found["evidence"]["operation"], "key.sign");
        assert_eq!(found["responses"][0]["action"], "step_up", "{found}");
        // Told again, it is one all the same.
        story.deployment.pass(5);
        let since = Timestamp::from_second(story.deployment.now() - 60).unwrap();
        story.deployment.post(&story.alice, "/v1/audit/redrive", json!({ "since": since })).await.ok();
    }
    assert_eq!(story.sign(b"y").await.refused(403), "step_up");
}

/// As if she had denied it: the code that she had was another agent's, or she had none.
#[tokio::test]
async fn the_fifth_wrong_code_is_held_against_the_agent_that_asked_as_a_denial_is() {
    let story = Story::new().await;
    let (approval, _) = story.ask(b"x").await;
    let login = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
    let path = format!("/v1/approvals/{approval}/approve");
    let told = async || {
        story.deployment.detect().await;
        let mut all = recommendations(&story.deployment, &story.alice).await;
        all.retain(|found| found["detector"] == "approval_denied");
        all
    };
    for n in 0..5 {
        assert_eq!(told().await, Vec::<Value>::new(), "after {n}");
        let body = json!({ "code": format!("{n:08}") });
        assert_eq!(story.deployment.post(&login, &path, body).await.refused(403), "approval_code");
        story.deployment.pass(1);
    }
    let newest = story.deployment.get(&story.alice, "/v1/audit?op=approval.approve&limit=1").await.ok();
    let first = told().await;
    let [found] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((&found["agent"], &found["severity"]), (&json!(story.agent), &json!("high")));
    assert_eq!(found["evidence"]["records"], json!([newest["items"][0]["id"]]));
    let since = Timestamp::from_second(story.deployment.now() - 60).unwrap();
    story.deployment.post(&story.alice, "/v1/audit/redrive", json!({ "since": since })).await.ok();
    assert_eq!(told().await, first);
}

#[tokio::test]
async fn a_second_ask_joins_the_first_and_the_code_is_nowhere_but_in_the_answers() {
    let story = Story::new().await;
    let first = story.ask(b"x").await;
    assert_eq!(story.ask(b"x").await, first);
    assert_eq!(story.list("").await.len(), 1);
    for path in ["/v1/approvals".to_string(), format!("/v1/approvals/{}", first.0), "/v1/audit".to_string()] {
        for token in [&story.alice, &story.token] {
            let shown = story.deployment.get(token, &path).await.body.to_string();
            assert!(!shown.contains(&first.1) && !shown.contains(&first.1.replace('-', "")), "{path}");
        }
    }
    let item = approval_item(&ApprovalId::try_from(first.0.clone()).unwrap());
    let stored = story.deployment.store.get(&item).await.unwrap().unwrap().item.body;
    assert!(!stored.contains(&first.1) && !stored.contains(&first.1.replace('-', "")));
    let records = story.deployment.get(&story.alice, "/v1/audit?op=key.sign").await.ok();
    let told: Vec<_> = records["items"].as_array().unwrap().iter().map(|r| (&r["decision"], &r["approval"])).collect();
    assert_eq!(told, [(&json!("step-up"), &json!(first.0)); 2]);
}

#[tokio::test]
async fn who_asks_for_too_much_at_once_is_frozen() {
    let story = Story::new().await;
    for words in [b"1", b"2", b"3"] {
        story.ask(words).await;
    }
    story.ask(b"2").await;
    let refused = story.sign(b"4").await;
    assert_eq!(refused.clone().refused(403), "approvals_exhausted");
    assert_eq!(story.sign(b"1").await.refused(403), "agent_frozen");
    let agent = story.deployment.get(&story.alice, &format!("/v1/agents/{}", story.agent)).await.ok();
    assert_eq!((&agent["state"], &agent["stopped"]["by"]), (&json!("frozen"), &json!("aegis")));
    assert_eq!(agent["stopped"]["record"], refused.body["record"]);
    assert_eq!(story.list("").await.len(), 3);
}

#[tokio::test]
async fn of_any_number_of_asks_at_once_no_more_are_opened_than_may_be() {
    let story = Story::new().await;
    let answers = story.at_once(32, |n| n.to_string().into_bytes()).await;
    let opened = answers.iter().filter(|answer| answer.body["reason"] == "step_up").count();
    assert_eq!((opened, succeeded(&answers), story.list("").await.len()), (3, 0, 3));
    let joined = Story::new().await;
    let answers = joined.at_once(32, |_| b"x".to_vec()).await;
    let first = asked(&answers[0]);
    assert!(answers.iter().all(|answer| asked(answer) == first));
    assert_eq!(joined.list("").await.len(), 1);
}

#[tokio::test]
async fn the_agents_of_a_human_open_ten_approvals_a_day() {
    let story = Story::new().await;
    let mut agents = Vec::new();
    for _ in 0..5 {
        agents.push(held(&story.deployment, &story.alice).await.1);
    }
    for n in 0..10_u8 {
        asked(&story.deployment.post(&agents[usize::from(n / 3)], SIGN, message(&[n])).await);
    }
    let beyond = story.deployment.post(&agents[4], SIGN, message(b"x")).await;
    assert_eq!(beyond.refused(403), "approvals_exhausted");
    // By UTC.
    story.deployment.pass(86_400 - story.deployment.now() % 86_400);
    let alice = story.deployment.alice().await;
    let (_, fresh) = held(&story.deployment, &alice).await;
    asked(&story.deployment.post(&fresh, SIGN, message(b"x")).await);
}

#[tokio::test]
async fn of_64_requests_at_once_one_uses_the_approval() {
    let story = Story::new().await;
    let approval = story.ask(b"x").await;
    story.approve(&approval).await;
    let answers = story.at_once(64, |_| b"x".to_vec()).await;
    assert_eq!(succeeded(&answers), 1);
    assert!(answers.iter().filter(|answer| answer.status != 200).all(|answer| answer.body["signature"].is_null()));
    assert_eq!(story.show(&approval.0).await["used"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_use_of_a_tier_high_key_needs_several_humans_and_never_its_sponsor_alone() {
    let story = Story::of_tier("high").await;
    let approval = story.ask(b"x").await;
    assert_eq!(story.show(&approval.0).await["needs"], 2);
    assert_eq!(story.approve(&approval).await["state"], "pending");
    asked(&story.sign(b"x").await);
    let code = json!({ "code": approval.1 });
    let twice = story.answer("alice@org", &ALICE, &approval.0, "approve", code.clone()).await;
    assert_eq!(twice.failed(409), "state");
    let shape = json!({ "code": approval.1, "uses": 2, "for_seconds": 600 });
    let shape = story.answer("bob@org", &["operator"], &approval.0, "approve", shape).await;
    assert_eq!(shape.failed(400), "invalid-request");
    let second = story.answer("bob@org", &["operator"], &approval.0, "approve", code).await.ok();
    assert_eq!((&second["state"], second["answers"].as_array().unwrap().len()), (&json!("approved"), 2));
    story.sign(b"x").await.ok();
}

#[tokio::test]
async fn leave_of_a_human_who_was_revoked_since_is_none() {
    let story = Story::of_tier("high").await;
    let approval = story.ask(b"x").await;
    story.approve(&approval).await;
    let code = json!({ "code": approval.1 });
    let second = story.answer("bob@org", &["operator"], &approval.0, "approve", code).await.ok();
    assert_eq!(second["state"], "approved");
    for what in ["revoke", "reinstate"] {
        story.deployment.post(&story.alice, &format!("/v1/humans/bob@org/{what}"), json!({})).await.ok();
        assert_eq!(story.sign(b"x").await.refused(403), "approval_denied", "{what}");
    }
    // Nor does it once he is there again.
    story.deployment.log_in("bob@org", &["operator"]).await;
    assert_eq!(story.sign(b"x").await.refused(403), "approval_denied");
}

#[tokio::test]
async fn the_rules_say_who_approves_uses_of_tier_high_keys_and_for_how_long() {
    let story = Story::of_tier("high").await;
    let store = &story.deployment.store;
    let found: Option<Loaded<OfStore>> =
        repository::load(store.as_ref(), &repository::deployment_item()).await.unwrap();
    let mut found = found.unwrap();
    let toml = "[approvals]\nhigh_approvers = 1\napprovers = [\"alice@org\", \"bob@org\"]\ndecide_minutes = 1\n";
    let (version, created_by) = (1, "alice@org".to_string());
    let rules = RulesDocument { version, toml: toml.to_string(), created_at: Timestamp::UNIX_EPOCH, created_by };
    found.value.rules_version = version;
    store.transact(vec![rules.put(Expect::Absent).unwrap(), found.replace().unwrap()]).await.unwrap();
    let approval = story.ask(b"x").await;
    assert_eq!(story.show(&approval.0).await["expires_at"], "2026-09-21T14:14:20Z");
    let code = json!({ "code": approval.1 });
    let carol = story.answer("carol@org", &["admin", "operator"], &approval.0, "approve", code.clone()).await;
    assert_eq!(carol.refused(403), "policy");
    assert_eq!(story.approve(&approval).await["state"], "pending", "never the sponsor alone");
    let bob = story.answer("bob@org", &["operator"], &approval.0, "approve", code).await;
    assert_eq!(bob.ok()["state"], "approved");
    story.sign(b"x").await.ok();
}

#[tokio::test]
async fn a_login_answers_one_approval_and_does_nothing_else_and_no_other_session_answers() {
    let story = Story::new().await;
    let (first, second) = (story.ask(b"1").await, story.ask(b"2").await);
    let approve =
        |approval: &(String, String)| (format!("/v1/approvals/{}/approve", approval.0), json!({ "code": approval.1 }));
    let (path, body) = approve(&first);
    // Fresh, and of the sponsor: but kept somewhere, perhaps within the agent's reach.
    let kept = story.deployment.post(&story.alice, &path, body.clone()).await;
    assert_eq!(kept.clone().refused(403), "approval_login");
    assert!(kept.headers["www-authenticate"].to_str().unwrap().contains("scope=\"approve\""));
    assert_eq!(story.deployment.post(&story.token, &path, body.clone()).await.refused(403), "policy");
    let login = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
    for (method, path) in [(Method::POST, SIGN), (Method::POST, "/v1/agents"), (Method::GET, "/v1/keys")] {
        let answer = story.deployment.call(method, &login, path, Some(message(b"x"))).await;
        assert_eq!(answer.refused(403), "approval_login", "{path}");
    }
    story.deployment.get(&login, &format!("/v1/approvals/{}", first.0)).await.ok();
    story.deployment.post(&login, &path, body).await.ok();
    let (path, body) = approve(&second);
    assert_eq!(story.deployment.post(&login, &path, body.clone()).await.refused(401), "credential_revoked");
    let stale = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
    story.deployment.pass(301);
    assert_eq!(story.deployment.post(&stale, &path, body).await.status, 401);
    assert_eq!(story.show(&second.0).await["state"], "pending");
}

#[tokio::test]
async fn of_two_answers_at_once_with_one_login_one_counts() {
    let story = Story::new().await;
    let login = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
    let mut answering = Vec::new();
    for words in [b"1", b"2", b"3"] {
        let (approval, code) = story.ask(words).await;
        let (deployment, login) = (Arc::clone(&story.deployment), login.clone());
        answering.push(async move {
            deployment.post(&login, &format!("/v1/approvals/{approval}/approve"), json!({ "code": code })).await
        });
    }
    let mut answers = Vec::new();
    for answering in answering.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        answers.push(answering.await.unwrap());
    }
    assert_eq!(succeeded(&answers), 1, "{answers:?}");
    assert_eq!(story.list("?state=approved").await.len(), 1);
}

#[tokio::test]
async fn who_guesses_the_code_five_times_has_denied_it() {
    let story = Story::new().await;
    let approval = story.ask(b"x").await;
    let login = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
    let path = format!("/v1/approvals/{}/approve", approval.0);
    let mut guessing = Vec::new();
    for n in 0..12 {
        let (deployment, login, path) = (Arc::clone(&story.deployment), login.clone(), path.clone());
        let body = json!({ "code": format!("{n:08}") });
        guessing.push(tokio::spawn(async move { deployment.post(&login, &path, body).await }));
    }
    let mut told = Vec::new();
    for guessing in guessing {
        let answer = guessing.await.unwrap();
        told.push(answer.body["reason"].as_str().unwrap_or_default().to_string());
    }
    assert_eq!(told.iter().filter(|reason| *reason == "approval_code").count(), 5, "{told:?}");
    assert_eq!(story.deployment.post(&login, &path, json!({ "code": approval.1 })).await.failed(409), "state");
    assert_eq!(story.sign(b"x").await.refused(403), "approval_denied");
    assert_eq!(story.show(&approval.0).await["wrong_codes"], 5);
}

#[tokio::test]
async fn leave_for_a_shape_covers_so_many_uses_for_so_long() {
    let story = Story::new().await;
    let approval = story.ask(b"0").await;
    for (uses, seconds) in [(0, 60), (21, 60), (1, 59), (1, 3_601)] {
        assert_eq!(story.approve_shape(&approval, uses, seconds).await.failed(400), "invalid-request");
    }
    assert_eq!(story.approve_shape(&approval, 7, 3_600).await.ok()["any_body"], true);
    let answers = story.at_once(24, |n| n.to_string().into_bytes()).await;
    assert_eq!(succeeded(&answers), 7);
    let story = Story::new().await;
    let approval = story.ask(b"0").await;
    story.approve_shape(&approval, 20, 60).await.ok();
    story.sign(b"1").await.ok();
    asked(&story.deployment.post(&story.token, "/v1/keys/other-key/sign", message(b"1")).await);
    story.deployment.pass(60);
    asked(&story.sign(b"1").await);
}

#[tokio::test]
async fn what_is_asked_is_shown_to_who_may_answer_and_to_nobody_else() {
    let story = Story::new().await;
    let (approval, _) = story.ask(b"{\"total\":100}").await;
    let path = format!("/v1/approvals/{approval}");
    let shown = story.show(&approval).await;
    assert_eq!(shown["payload"]["decoded"]["message"], json!({ "json": { "total": 100 } }));
    assert_eq!(shown["payload"]["body"], message(b"{\"total\":100}"));
    let auditor = story.deployment.log_in("carol@org", &["auditor"]).await;
    let seen = story.deployment.get(&auditor, &path).await.ok();
    assert_eq!((&seen["id"], &seen["payload"]), (&json!(approval), &Value::Null));
    let own = story.deployment.get(&story.token, &path).await.ok();
    assert_eq!((&own["state"], &own["payload"]), (&json!("pending"), &Value::Null));
    // Another human, and another agent of the same human's: as if it were not there.
    let mallory = story.deployment.log_in("mallory@org", &["user"]).await;
    let (_, sibling) = held(&story.deployment, &story.alice).await;
    for token in [&mallory, &sibling] {
        for id in [approval.clone(), format!("apr_{:032x}", 1)] {
            let answer = story.deployment.get(token, &format!("/v1/approvals/{id}")).await;
            assert_eq!(answer.refused(403), "policy");
        }
    }
    assert_eq!(story.deployment.get(&mallory, "/v1/approvals").await.ok()["items"], json!([]));
    let missing = story.deployment.get(&story.alice, &format!("/v1/approvals/apr_{:032x}", 1)).await;
    assert_eq!(missing.failed(404), "not-found");
}

#[tokio::test]
async fn what_is_asked_is_sealed_in_the_store_and_gone_once_it_is_over() {
    let story = Story::new().await;
    let words = b"a very particular payment";
    let encoded = text(&message(words), "message");
    // As the whole body would lie there, were it not sealed.
    let body = aegis_tests::base64(message(words).to_string().as_bytes());
    let (used, denied, expired) = (story.ask(words).await, story.ask(b"to be denied").await, story.ask(b"late").await);
    let mut held = 0;
    for file in std::fs::read_dir(story.deployment.folder()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(path).unwrap() } else { continue };
        let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        held += usize::from(has(used.0.as_bytes()));
        assert!(!has(words) && !has(encoded.as_bytes()) && !has(body.trim_end_matches('=').as_bytes()));
    }
    assert!(held > 0, "the store was looked through");
    let sealed = async |approval: &str| {
        let item = ItemKey::state(format!("approval/{approval}"), "payload/0");
        let part: Option<Loaded<PayloadPart>> = repository::load(story.deployment.store.as_ref(), &item).await.unwrap();
        part.unwrap().value.sealed.is_some()
    };
    story.approve(&used).await;
    assert!(sealed(&used.0).await && sealed(&denied.0).await && sealed(&expired.0).await);
    story.sign(words).await.ok();
    story.deny(&denied.0).await.ok();
    story.deployment.pass(899);
    story.deployment.run_due().await.unwrap();
    assert!(!sealed(&used.0).await && !sealed(&denied.0).await && sealed(&expired.0).await);
    story.deployment.pass(1);
    assert_eq!(story.show(&expired.0).await["payload"]["kind"], "deleted");
    assert_eq!(story.deployment.run_due().await.unwrap(), 1);
    assert!(!sealed(&expired.0).await);
    assert_eq!(story.deployment.run_due().await.unwrap(), 0);
    for approval in [used, denied, expired] {
        assert_eq!(story.show(&approval.0).await["payload"]["kind"], "deleted");
    }
}

#[tokio::test]
async fn of_what_is_too_large_or_holds_a_key_only_the_digest_is_kept() {
    let story = Story::new().await;
    let (largest, too_large) = (vec![b'x'; 49_000], vec![b'x'; 49_200]);
    let kinds = [(&largest, "json"), (&too_large, "too-large")];
    for (words, kind) in kinds {
        let approval = story.ask(words).await;
        assert_eq!(story.show(&approval.0).await["payload"]["kind"], kind, "{}", words.len());
        if kind == "too-large" {
            story.approve(&approval).await;
            story.sign(words).await.ok();
        }
    }
    let wrap = json!({ "key_material": aegis_tests::base64(b"0123456789abcdef") });
    let (approval, _) = asked(&story.deployment.post(&story.token, "/v1/keys/own-aes/wrap", wrap).await);
    assert_eq!(story.show(&approval).await["payload"]["kind"], "withheld");
}

#[tokio::test]
async fn whatever_fails_an_approval_is_opened_once_and_used_at_most_once() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let story = Story::new().await;
        story.deployment.store.fail_next(Operation::Write, fault);
        assert_eq!(story.sign(b"x").await.failed(503), "unavailable");
        let approval = story.ask(b"x").await;
        assert_eq!(story.list("").await.len(), 1, "{fault:?}");
        let login = story.deployment.log_in_to_approve("alice@org", &ALICE).await;
        let path = format!("/v1/approvals/{}/approve", approval.0);
        story.deployment.store.fail_next(Operation::Write, fault);
        assert_eq!(
            story.deployment.post(&login, &path, json!({ "code": approval.1 })).await.failed(503),
            "unavailable"
        );
        let again = story.deployment.post(&login, &path, json!({ "code": approval.1 })).await;
        match fault {
            Fault::BeforeWrite => assert_eq!(again.ok()["state"], "approved"),
            Fault::AfterWrite => assert_eq!(again.refused(401), "credential_revoked"),
        }
        story.deployment.store.fail_next(Operation::Write, fault);
        let failed = story.sign(b"x").await;
        assert!(failed.body["signature"].is_null());
        assert_eq!(failed.failed(503), "unavailable");
        story.deployment.pass(1);
        let answers = story.at_once(8, |_| b"x".to_vec()).await;
        let want = if fault == Fault::BeforeWrite { 1 } else { 0 };
        assert_eq!(succeeded(&answers), want, "{fault:?}");
        assert_eq!(story.show(&approval.0).await["used"].as_array().unwrap().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_done_uses_no_approval() {
    let story = Story::new().await;
    let approval = story.ask(b"x").await;
    story.approve(&approval).await;
    let key = |verb: &str| format!("/v1/keys/own-key/{verb}");
    story.deployment.post(&story.alice, &key("suspend"), json!({})).await.ok();
    assert_eq!(story.sign(b"x").await.failed(409), "key-state");
    story.deployment.post(&story.alice, &key("resume"), json!({})).await.ok();
    story.sign(b"x").await.ok();
}

#[tokio::test]
async fn waiting_is_no_use_and_the_use_is_one() {
    let story = Story::new().await;
    let limits = json!({ "limits": { "max_uses": 1 } });
    let (agent, token) = story.deployment.agent(&story.alice, "key:own-key:sign", limits).await;
    story.deployment.hold_for_step_up(&agent).await;
    let sign = async || story.deployment.post(&token, SIGN, message(b"x")).await;
    asked(&sign().await);
    let approval = asked(&sign().await);
    story.approve(&approval).await;
    sign().await.ok();
    story.deployment.pass(1);
    let approval = asked(&sign().await);
    story.approve(&approval).await;
    assert_eq!(sign().await.refused(403), "uses_exhausted");
    assert_eq!(story.show(&approval.0).await["state"], "approved");
}

#[tokio::test]
async fn what_was_carried_out_is_told_again_without_another_approval() {
    let story = Story::new().await;
    let issue = |key: &str| {
        let body = json!({ "label": "below", "scope": "key:own-key:sign" }).to_string();
        let request = http::Request::post("/v1/agents").header("authorization", format!("Bearer {}", story.token));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        request.body(body.into()).unwrap()
    };
    let approval = asked(&story.deployment.send(issue("one")).await);
    story.approve(&approval).await;
    let made = story.deployment.send(issue("one")).await.ok();
    story.deployment.pass(1);
    assert_eq!(story.deployment.send(issue("one")).await.ok()["id"], made["id"]);
    asked(&story.deployment.send(issue("two")).await);
}

#[tokio::test]
async fn an_approval_of_before_a_restore_is_of_no_use() {
    let story = Story::new().await;
    let approval = story.ask(b"x").await;
    story.approve(&approval).await;
    let item = repository::deployment_item();
    let found: Option<Loaded<OfStore>> = repository::load(story.deployment.store.as_ref(), &item).await.unwrap();
    let mut found = found.unwrap();
    found.value.epoch += 1;
    story.deployment.store.transact(vec![found.replace().unwrap()]).await.unwrap();
    let alice = story.deployment.alice().await;
    let token = story.deployment.token(&alice, &story.agent).await;
    assert_ne!(asked(&story.deployment.post(&token, SIGN, message(b"x")).await).0, approval.0);
}

#[tokio::test]
async fn a_human_who_may_not_answer_is_refused() {
    let story = Story::new().await;
    let (approval, code) = story.ask(b"x").await;
    for (human, roles) in [("bob@org", ["user"]), ("carol@org", ["auditor"])] {
        for verb in ["approve", "deny"] {
            let body = if verb == "approve" { json!({ "code": code }) } else { json!({}) };
            assert_eq!(
                story.answer(human, &roles, &approval, verb, body).await.refused(403),
                "policy",
                "{human} {verb}"
            );
        }
    }
    let code = json!({ "code": code });
    assert_eq!(story.answer("bob@org", &["operator"], &approval, "approve", code).await.ok()["state"], "approved");
}
