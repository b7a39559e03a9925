//! A deployment in two halves: an edge decides without a body, and what acts believes it only as far as it must.
//! `AEGIS_TEST_HALVES=1` puts every other scenario through the same.

use aegis_core::store::fault::{Fault, Operation};
use aegis_functions::edge::AtEdge;
use aegis_functions::forward::{self, Forwarded};
use aegis_tests::deployment::{Deployment, passes};
use aegis_tests::{Answer, message, text};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

struct Story {
    deployment: Deployment,
    alice: String,
    agent: String,
    token: String,
}

impl Story {
    async fn new() -> Self {
        let mut deployment = Deployment::new().await;
        deployment.split();
        let alice = deployment.alice().await;
        for key in ["invoices", "receipts", "treasury"] {
            deployment.key(&alice, key, "Ed25519").await;
        }
        let scope = "key:invoices:sign,verify key:receipts:sign";
        let (agent, token) = deployment.agent(&alice, scope, json!({ "purpose": "service" })).await;
        Self { deployment, alice, agent, token }
    }

    fn signing(&self, key: &str, token: &str) -> Request<Bytes> {
        asking(&format!("/v1/keys/{key}/sign"), token)
    }

    /// What the edge signs for an ordinary signature.
    async fn permit(&self) -> String {
        passes(self.deployment.decide(&self.signing("invoices", &self.token)).await)
    }

    async fn record(&self, id: &str) -> Value {
        self.deployment.get(&self.alice, &format!("/v1/audit/{id}")).await.ok()
    }

    /// Refused on record, and nothing came of it.
    async fn refuses(&self, answer: &Answer, reason: &str, what: &str) {
        assert_eq!(answer.refused(403), reason, "{what}");
        assert!(answer.body.get("signature").is_none(), "{what}");
        let record = self.record(&text(&answer.body, "record")).await;
        assert_eq!((&record["outcome"], &record["reason"]), (&json!("denied"), &json!(reason)), "{what}");
        assert_eq!(record["agents"][0], json!(self.agent), "{what}");
    }
}

fn asking(path: &str, token: &str) -> Request<Bytes> {
    let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {token}"));
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(Bytes::from(message(b"invoice 7").to_string())).unwrap()
}

#[tokio::test]
async fn both_halves_record_the_trace_that_a_request_is_part_of() {
    let story = Story::new().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (key, outcome) in [("invoices", "ok"), ("treasury", "denied")] {
        let mut request = story.signing(key, &story.token);
        request.headers_mut().insert("traceparent", trace.parse().unwrap());
        story.deployment.send(request).await;
        let path = format!("/v1/audit?agent={}&limit=1", story.agent);
        let record = story.deployment.get(&story.alice, &path).await.ok()["items"][0].clone();
        assert_eq!((&record["outcome"], &record["claims"]["traceparent"]), (&json!(outcome), &json!(trace)));
        story.deployment.pass(1);
    }
}

#[tokio::test]
async fn a_permit_is_good_for_one_request_whose_record_bears_its_id() {
    let story = Story::new().await;
    let permit = story.permit().await;
    let answer = story.deployment.act(story.signing("invoices", &story.token), &permit).await.ok();
    assert!(answer.get("signature").is_some());
    let claims = aegis_core::encoding::from_base64url(permit.split('.').nth(1).unwrap()).unwrap();
    let id = text(&serde_json::from_slice(&claims).unwrap(), "jti");
    let record = story.record(&id).await;
    assert_eq!((&record["operation"], &record["outcome"]), (&json!("key.sign"), &json!("ok")));
    assert!(record["request_digest"].is_string(), "what acts has seen the body");

    let again = story.deployment.act(story.signing("invoices", &story.token), &permit).await;
    story.refuses(&again, "permit_replayed", "again").await;
    assert_ne!(again.body["record"], json!(id));
}

#[tokio::test]
async fn a_permit_for_what_failed_is_used_up_too() {
    let story = Story::new().await;
    let permit = story.permit().await;
    story.deployment.post(&story.alice, "/v1/keys/invoices/deactivate", json!({})).await.ok();
    let failed = story.deployment.act(story.signing("invoices", &story.token), &permit).await;
    assert_eq!(failed.failed(409), "key-state");
    let again = story.deployment.act(story.signing("invoices", &story.token), &permit).await;
    story.refuses(&again, "permit_replayed", "again").await;
}

#[tokio::test]
async fn what_only_reads_takes_a_permit_once_too() {
    let story = Story::new().await;
    let asking = || {
        let request = Request::get("/v1/audit").header(AUTHORIZATION, format!("Bearer {}", story.alice));
        request.body(Bytes::new()).unwrap()
    };
    let permit = passes(story.deployment.decide(&asking()).await);
    story.deployment.act(asking(), &permit).await.ok();
    assert_eq!(story.deployment.act(asking(), &permit).await.refused(403), "permit_replayed");
}

#[tokio::test]
async fn what_no_edge_signed_for_this_request_releases_nothing() {
    let story = Story::new().await;
    let deployment = &story.deployment;
    let other = story.deployment.token(&story.alice, &story.agent).await;
    let mut stranger = Deployment::new().await;
    stranger.split();
    // Made by another edge, whose key is not where only edges write.
    let foreign = {
        let alice = stranger.alice().await;
        stranger.key(&alice, "invoices", "Ed25519").await;
        let (_, token) = stranger.agent(&alice, "key:invoices:sign", json!({})).await;
        passes(stranger.decide(&story.signing("invoices", &token)).await)
    };
    let permit = story.permit().await;
    let (head, rest) = permit.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let mut asked: Value = serde_json::from_slice(&aegis_core::encoding::from_base64url(claims).unwrap()).unwrap();
    asked["exp"] = json!(asked["exp"].as_i64().unwrap() + 3_600);
    let longer = aegis_core::encoding::base64url(asked.to_string().as_bytes());
    let verifying = passes(deployment.decide(&asking("/v1/keys/invoices/verify", &story.token)).await);
    let table = [
        ("nothing", String::new(), "invoices", &story.token),
        ("no permit", "rec_1".to_string(), "invoices", &story.token),
        ("a token in its place", story.token.clone(), "invoices", &story.token),
        ("altered", format!("{head}.{longer}.{signature}"), "invoices", &story.token),
        ("without a signature", format!("{head}.{claims}."), "invoices", &story.token),
        ("too long", format!("{permit}{}", "A".repeat(9_000)), "invoices", &story.token),
        ("of another deployment's edge", foreign, "invoices", &story.token),
        ("for another key", permit.clone(), "receipts", &story.token),
        ("for another operation", verifying, "invoices", &story.token),
        ("for another credential", permit.clone(), "invoices", &other),
    ];
    for (what, permit, key, token) in table {
        let answer = deployment.act(story.signing(key, token), &permit).await;
        story.refuses(&answer, "permit_invalid", what).await;
    }
    // None of that used it up.
    deployment.act(story.signing("invoices", &story.token), &permit).await.ok();
}

#[tokio::test]
async fn a_permit_expires() {
    for (passed, good) in [(30, true), (31, false)] {
        let story = Story::new().await;
        let permit = story.permit().await;
        story.deployment.pass(passed);
        let answer = story.deployment.act(story.signing("invoices", &story.token), &permit).await;
        match good {
            true => drop(answer.ok()),
            false => story.refuses(&answer, "permit_invalid", "expired").await,
        }
    }
}

/// Between the edge and the operation anything may happen.
#[tokio::test]
async fn what_a_decision_rests_on_is_read_again() {
    let story = Story::new().await;
    let (agent, deployment) = (&story.agent, &story.deployment);
    let permit = story.permit().await;
    deployment.post(&story.alice, &format!("/v1/agents/{agent}/freeze"), json!({})).await.ok();
    let frozen = deployment.act(story.signing("invoices", &story.token), &permit).await;
    assert_eq!(frozen.refused(403), "agent_frozen");
    deployment.post(&story.alice, &format!("/v1/agents/{agent}/unfreeze"), json!({})).await.ok();

    let token = deployment.token(&story.alice, agent).await;
    let permit = passes(deployment.decide(&story.signing("invoices", &token)).await);
    deployment.hold_for_step_up(agent).await;
    let held = deployment.act(story.signing("invoices", &token), &permit).await;
    assert_eq!(held.refused(403), "step_up");

    let narrowed = story.permit().await;
    let grant = json!({ "scope": "key:receipts:sign" });
    deployment.call(Method::PATCH, &story.alice, &format!("/v1/agents/{agent}"), Some(grant)).await.ok();
    let outside = deployment.act(story.signing("invoices", &story.token), &narrowed).await;
    assert_eq!(outside.refused(403), "grant_narrowed");

    let permit = passes(deployment.decide(&story.signing("receipts", &token)).await);
    deployment.post(&story.alice, &format!("/v1/agents/{agent}/revoke"), json!({})).await.ok();
    let revoked = deployment.act(story.signing("receipts", &token), &permit).await;
    assert_eq!(revoked.refused(401), "agent_revoked");
}

/// What a gateway has no words for, the operation says in the edge's: on record once.
#[tokio::test]
async fn a_refusal_that_a_gateway_cannot_put_crosses_too() {
    let story = Story::new().await;
    let deployment = &story.deployment;
    let missing = asking("/v1/keys/nothing/sign", &story.alice);
    let said = passes(deployment.decide(&missing).await);
    let records = || async { deployment.get(&story.alice, "/v1/audit?op=key.sign").await.ok()["items"].clone() };
    let before = records().await.as_array().unwrap().len();
    assert_eq!(deployment.act(missing, &said).await.failed(404), "not-found");
    assert_eq!(records().await.as_array().unwrap().len(), before);
    // Said of one operation, it is no answer to another.
    let other = deployment.act(asking("/v1/keys/invoices/verify", &story.token), &said).await;
    story.refuses(&other, "permit_invalid", "an answer to another").await;

    let AtEdge::Refused(refusal) = deployment.decide(&story.signing("treasury", &story.token)).await else {
        panic!("a key out of scope")
    };
    let told = (refusal.status.as_u16(), refusal.code.as_str(), refusal.reason.as_str());
    assert_eq!(told, (403, "denied", "scope_violation"));
    let record = story.record(&refusal.record).await;
    assert_eq!((&record["reason"], record.get("request_digest")), (&json!("scope_violation"), None));
    let AtEdge::Refused(nobody) = deployment.decide(&asking("/v1/keys/invoices/sign", "x.y.z")).await else {
        panic!("no token")
    };
    assert_eq!((nobody.status.as_u16(), nobody.reason.as_str()), (401, "invalid_token"));
}

/// An edge that could not decide has failed, whoever says so in its place: alarms must hear of it. A refusal is no failure.
#[tokio::test]
async fn an_edge_without_a_store_has_failed() {
    let story = Story::new().await;
    let deployment = &story.deployment;
    let signing = story.signing("invoices", &story.token);
    let failed = |said: AtEdge| match said {
        AtEdge::Passes { failed, .. } => failed,
        AtEdge::Refused(refusal) => panic!("{refusal:?}"),
    };
    assert!(!failed(deployment.decide(&signing).await));
    assert!(!failed(deployment.decide(&asking("/v1/keys/nothing/sign", &story.alice)).await));
    deployment.store.fail_next(Operation::Read, Fault::BeforeWrite);
    assert!(failed(deployment.decide(&signing).await));
    assert!(!failed(deployment.decide(&signing).await));
}

/// Three signatures that a model asked for at once.
async fn called_for(story: &Story) -> Vec<Value> {
    let arguments = json!({ "key": "invoices", "message": aegis_tests::base64(b"x") });
    let call = json!({ "name": "sign", "arguments": arguments });
    let calls = json!({ "calls": [call, call, call] });
    let answered = story.deployment.post(&story.token, "/v1/agent-ai/calls", calls).await.ok();
    answered["results"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_no_function_answered_may_have_been_done_and_nothing_follows_it() {
    let story = Story::new().await;
    story.deployment.functions.are_silent.store(true, Ordering::SeqCst);
    let results = called_for(&story).await;
    let refusal = &results[0]["refusal"];
    assert_eq!((&refusal["code"], &refusal["unclear"]), (&json!("unavailable"), &json!(true)), "{refusal}");
    assert!(refusal.get("retry_after").is_none(), "{refusal}");
    assert!(text(refusal, "say").starts_with("It is not known whether it was done"), "{refusal}");
    assert!(results[1..].iter().all(|result| result["not_tried"].is_string()), "{results:?}");
    let path = format!("/v1/audit?agent={}&op=key.sign", story.agent);
    let signed = story.deployment.get(&story.alice, &path).await.ok();
    assert_eq!(signed["items"].as_array().unwrap().len(), 1, "it was, and once: {signed}");
}

#[tokio::test]
async fn what_there_was_no_room_for_is_told_as_not_done_and_may_be_tried_again() {
    let story = Story::new().await;
    story.deployment.functions.are_throttled.store(true, Ordering::SeqCst);
    let results = called_for(&story).await;
    for result in &results {
        let refusal = &result["refusal"];
        assert_eq!((&refusal["reason"], &refusal["retry_after"]), (&json!("overloaded"), &json!(1)), "{refusal}");
        assert_ne!(refusal["unclear"], true, "{refusal}");
    }
    let path = format!("/v1/audit?agent={}&op=key.sign", story.agent);
    assert_eq!(story.deployment.get(&story.alice, &path).await.ok()["items"], json!([]));
    story.deployment.functions.are_throttled.store(false, Ordering::SeqCst);
    assert!(called_for(&story).await.iter().all(|result| result["result"]["signature"].is_string()));
}

#[tokio::test]
async fn what_is_not_begun_in_time_is_told_so_beside_what_was_done() {
    let story = Story::new().await;
    story.deployment.functions.seconds.store(6, Ordering::SeqCst);
    let results = called_for(&story).await;
    assert!(results[..2].iter().all(|result| result["result"]["signature"].is_string()), "{results:?}");
    assert!(text(&results[2], "not_tried").contains("took too long"), "{results:?}");

    let own = json!({ "type": "agent", "id": story.agent });
    let asked =
        json!({ "subject": own, "action": { "name": "sign" }, "resource": { "type": "key", "id": "invoices" } });
    let asked = json!({ "evaluations": [asked, asked, asked] });
    let answered = story.deployment.post(&story.token, "/access/v1/evaluations", asked).await.ok();
    let decided: Vec<&Value> = answered["evaluations"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(decided, [&json!(true), &json!(true), &json!(false)], "{answered}");
    assert_eq!(answered["evaluations"][2]["context"]["error"]["status"], 503);
}

#[tokio::test]
async fn a_function_answers_what_is_forwarded_to_it_and_nothing_else() {
    let story = Story::new().await;
    let asked = json!({
        "id": "req_01a2089d93449189033dc3f3f19ed905", "method": "POST", "path": "/v1/keys/{key}/sign",
        "parameters": { "key": "invoices" }, "token": story.token, "plane": "mcp", "source": "127.0.0.1", "user_agent": null,
        "claims": null, "content_type": "application/json", "query": "",
        "body": aegis_core::encoding::base64url(message(b"x").to_string().as_bytes()), "idempotency_key": null,
        "malformed": null,
    });
    let answer = async |serves: &str, change: Value| {
        let mut asked = asked.clone();
        asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let asked = serde_json::from_value::<Forwarded>(asked).ok()?;
        forward::answer(&story.deployment.host, Some(serves), &asked).await.ok()
    };
    let told = serde_json::to_value(answer("key.sign", json!({})).await.unwrap()).unwrap();
    assert!(text(&told["done"], "body").contains("signature"), "{told}");
    for (serves, change) in [
        ("key.verify", json!({})),
        ("key.sign", json!({ "plane": "rest" })),
        ("key.sign", json!({ "plane": "internal" })),
        ("key.sign", json!({ "path": "/v1/keys/{key}/verify" })),
        ("key.sign", json!({ "body": "?" })),
        ("key.sign", json!({ "crossing": "x.y.z" })),
        ("whoami", json!({ "path": "/mcp" })),
        ("public", json!({ "path": "/v1/oauth/token" })),
    ] {
        assert!(answer(serves, change.clone()).await.is_none(), "{serves} {change}");
    }
}

/// What a function may write and never does, it should not be allowed. Judged once all scenarios were told: `halves` in
/// `xtask/src/cargo.rs` says by `AEGIS_TEST_WAS_USED` where they wrote it down.
#[test]
fn every_grant_of_writing_is_used() {
    let Some(used) = std::env::var_os("AEGIS_TEST_WAS_USED") else { return };
    assert_eq!(aegis_tests::roles::idle(&std::fs::read_to_string(used).unwrap()), Vec::<String>::new());
}
