//! Webhooks, against a receiver that fails in every way. The deployment's clock moves; nothing here waits for luck.

mod destinations;
mod failures;

use aegis_core::ambient::Timestamp;
use aegis_core::feed::Feed;
use aegis_core::record::AuditRecord;
use aegis_core::store::fault::{Fault, Operation};
use aegis_core::webhook::{self, Reach, outbox};
use aegis_events::published::render;
use aegis_functions::webhooks::{Courier, Poster, SlowReceivers};
use aegis_tests::deployment::Deployment;
use aegis_tests::process::Process;
use aegis_tests::receiver::{Manner, Post, Receiver};
use aegis_tests::roles::act_as;
use aegis_tests::{message, text};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the tests' courier waits for an answer that never comes.
const PATIENCE: Duration = Duration::from_millis(400);

fn courier(deployment: &Deployment, patience: Duration) -> Courier {
    let feed: Arc<dyn Feed> = deployment.store.clone();
    Courier::new(deployment.host.app.clone(), feed, Poster::new(None, Reach::OWN_MACHINE, patience), render)
}

/// A deployment with a key that alice uses, and who takes its events out.
struct World {
    deployment: Deployment,
    courier: Courier,
    alice: String,
}

impl World {
    async fn new() -> Self {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        deployment.key(&alice, "invoices", "Ed25519").await;
        Self { courier: courier(&deployment, PATIENCE), alice, deployment }
    }

    /// A webhook that is told of key use; its id and its secret.
    async fn webhook(&self, receiver: &Receiver) -> (String, String) {
        self.webhook_for(&receiver.url(), json!([{ "kind": "key_use" }])).await
    }

    async fn webhook_for(&self, url: &str, events: Value) -> (String, String) {
        let asked = json!({ "url": url, "events": events });
        let alice = self.deployment.alice().await;
        let made = self.deployment.post(&alice, "/v1/webhooks", asked).await.ok();
        (text(&made, "id"), text(&made, "secret"))
    }

    async fn sign(&self) {
        let alice = self.deployment.alice().await;
        self.deployment.post(&alice, "/v1/keys/invoices/sign", message(b"x")).await.ok();
    }

    /// Reads the journal, posts what is due, and waits for what comes of it.
    async fn turn(&self) {
        self.courier.turn().await.unwrap();
        self.courier.idle().await;
    }

    async fn deliveries(&self, webhook: &str, state: &str) -> Vec<Value> {
        let path = format!("/v1/webhooks/{webhook}/deliveries?state={state}");
        let alice = self.deployment.alice().await;
        self.deployment.get(&alice, &path).await.ok()["items"].as_array().unwrap().clone()
    }

    async fn shown(&self, webhook: &str) -> Value {
        let alice = self.deployment.alice().await;
        self.deployment.get(&alice, &format!("/v1/webhooks/{webhook}")).await.ok()
    }

    async fn ask(&self, method: Method, path: &str) -> aegis_tests::Answer {
        let alice = self.deployment.alice().await;
        self.deployment.call(method, &alice, path, None).await
    }
}

/// Whether a post bears this secret's signature, by a library of somebody else's.
fn bears(post: &Post, secret: &str) -> bool {
    let known = standardwebhooks::Webhook::new(secret).unwrap();
    let at = post.header("webhook-timestamp").parse().unwrap();
    let wanted = known.sign(&post.header("webhook-id"), at, &post.body).unwrap();
    post.header("webhook-signature").split(' ').any(|given| given == wanted)
}

#[tokio::test]
async fn what_is_on_record_arrives_signed_and_once() {
    let (world, receiver) = (World::new().await, Receiver::start());
    world.sign().await;
    let (webhook, secret) = world.webhook(&receiver).await;
    world.turn().await;
    assert!(receiver.posts().is_empty(), "what was before it is not its business");
    world.sign().await;
    world.turn().await;
    world.turn().await;
    let posts = receiver.posts();
    assert_eq!(posts.len(), 1);
    let event = posts[0].json();
    assert_eq!((event["type"].as_str(), event["data"]["class_uid"].as_u64()), (Some("aegis.activity"), Some(6003)));
    assert_eq!(event["data"]["api"]["operation"], "key.sign");
    assert_eq!(posts[0].header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(posts[0].header("webhook-timestamp"), world.deployment.now().to_string());
    assert!(bears(&posts[0], &secret));
    assert!(!bears(&posts[0], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let delivered = world.deliveries(&webhook, "delivered").await;
    assert_eq!(delivered[0]["id"], posts[0].header("webhook-id"));
    assert_eq!(world.shown(&webhook).await["pending"], 0);
    // Another process, which remembers nothing, adds none.
    let other = courier(&world.deployment, PATIENCE);
    other.turn().await.unwrap();
    other.idle().await;
    assert_eq!(receiver.posts().len(), 1);
}

/// As on AWS, where records come by a queue.
#[tokio::test]
async fn what_comes_by_a_queue_in_any_order_and_twice_arrives_once() {
    let (world, receiver) = (World::new().await, Receiver::start());
    world.sign().await;
    world.deployment.pass(1);
    let (webhook, secret) = world.webhook(&receiver).await;
    for _ in 0..130 {
        world.sign().await;
    }
    let app = &world.deployment.host.app;
    let mut records: Vec<AuditRecord> = Vec::new();
    while let Some(more) = Some(world.deployment.store.after(records.last().map(|last| &last.id), 100).await.unwrap())
        && !more.is_empty()
    {
        records.extend(more.iter().map(|record| AuditRecord::clone(record)));
    }
    let last = records.last().unwrap().id.clone();
    records.reverse();
    records.extend(records[..7].to_vec());
    let found = webhook::all(app.store.as_ref()).await.unwrap().remove(0);
    // A batch that was cut short comes again.
    world.deployment.store.fail_later(Operation::Write, 1, Fault::AfterWrite);
    let deliver = |records| act_as("webhooks", outbox::deliver(app, &found, records));
    deliver(&records).await.unwrap_err();
    assert!(deliver(&records).await.unwrap() < 130);
    assert_eq!(deliver(&records[..50]).await.unwrap(), 0);
    let post_due = |patience| {
        let poster = Poster::new(None, Reach::OWN_MACHINE, PATIENCE);
        let courier = Courier::without_feed(Arc::clone(app), poster, render, None);
        act_as("webhooks", courier.post_due(Duration::from_secs(patience)))
    };
    post_due(600).await.unwrap();
    let posts = receiver.posts();
    assert_eq!(posts.len(), 130, "and not what was before the webhook");
    assert!(posts.iter().all(|post| bears(post, &secret)));
    post_due(600).await.unwrap();
    assert_eq!((receiver.posts().len(), world.shown(&webhook).await["pending"].clone()), (130, json!(0)));
    // No post is begun once its time is over; what is left is posted by whoever is called next.
    world.sign().await;
    let newest = world.deployment.store.after(Some(&last), 100).await.unwrap();
    let newest: Vec<_> = newest.iter().map(|record| AuditRecord::clone(record)).collect();
    assert_eq!(deliver(&newest).await.unwrap(), 1);
    post_due(0).await.unwrap();
    post_due(600).await.unwrap();
    assert_eq!(receiver.posts().len(), 131);
}

/// As on AWS, where the records of all come by one queue: a batch waits for a slow receiver once, and then leaves it to the minute.
#[tokio::test]
async fn a_slow_receiver_holds_up_one_batch_and_is_posted_to_by_the_minute() {
    let (world, slow, quick) = (World::new().await, Receiver::start(), Receiver::start());
    let failing = Receiver::start();
    slow.always(Some(Manner::Hold));
    failing.always(Some(Manner::status(503)));
    for receiver in [&slow, &quick, &failing] {
        world.webhook(receiver).await;
    }
    let app = &world.deployment.host.app;
    // On a busy machine the quick one is none of the slow ones.
    let patience = 10 * PATIENCE;
    let seen = Arc::new(SlowReceivers::new(patience * 3 / 4));
    let post = async |passes_over: Option<&Arc<SlowReceivers>>| {
        let poster = Poster::new(None, Reach::OWN_MACHINE, patience);
        let courier = Courier::without_feed(Arc::clone(app), poster, render, passes_over.cloned());
        act_as("webhooks", courier.post_due(Duration::from_secs(600))).await.unwrap();
    };
    let mut last = None;
    let mut batch = async || {
        world.sign().await;
        let records = world.deployment.store.after(last.as_ref(), 100).await.unwrap();
        last = records.last().map(|record| record.id.clone());
        let records: Vec<_> = records.iter().map(|record| AuditRecord::clone(record)).collect();
        for found in webhook::all(app.store.as_ref()).await.unwrap() {
            act_as("webhooks", outbox::deliver(app, &found, &records)).await.unwrap();
        }
        post(Some(&seen)).await;
    };
    let tried = || [&slow, &quick, &failing].map(|receiver| receiver.posts().len());
    batch().await;
    assert_eq!(tried(), [1, 1, 1]);
    batch().await;
    assert_eq!(tried(), [1, 2, 2], "who fails at once holds up nobody");
    post(None).await;
    assert_eq!(tried(), [2, 2, 2], "what is due of the slow one");
    // A minute later it may have become quick.
    slow.always(None);
    world.deployment.pass(61);
    batch().await;
    let [slow, quick, _] = tried();
    assert!(slow > 2 && quick == 3, "{slow} {quick}");
}

#[tokio::test]
async fn a_misuse_is_told_as_a_finding_and_a_response_that_the_schemas_describe() {
    let (world, receiver, plain) = (World::new().await, Receiver::start(), Receiver::start());
    world.deployment.key(&world.alice, "treasury", "Ed25519").await;
    let events = json!([{ "kind": "recommendations", "min_severity": "medium" }, { "kind": "responses" }]);
    world.webhook_for(&receiver.url(), events.clone()).await;
    let asked = json!({ "url": plain.url(), "events": events, "format": "plain" });
    world.deployment.post(&world.alice, "/v1/webhooks", asked).await.ok();
    let (agent, token) = world.deployment.agent(&world.alice, "key:invoices:sign", json!({})).await;
    world.deployment.post(&token, "/v1/keys/invoices/sign", message(b"x")).await.ok();
    world.deployment.post(&token, "/v1/keys/treasury/sign", message(b"x")).await.refused(403);
    world.turn().await;
    for (receiver, schema) in [(&receiver, "cloud-event"), (&plain, "plain-event")] {
        let path = format!("{}/../events/schemas/{schema}.json", env!("CARGO_MANIFEST_DIR"));
        let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        let mut told: Vec<String> = receiver.posts().iter().map(|post| text(&post.json(), "type")).collect();
        told.sort();
        // The agent is revoked, and the rule orders an alert.
        assert_eq!(told, ["aegis.recommendation", "aegis.response", "aegis.response"]);
        for post in receiver.posts() {
            assert!(schema.is_valid(&post.json()), "{}", post.json());
            assert!(post.json().to_string().contains(&agent));
        }
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_written() {
    let world = World::new().await;
    world.sign().await;
    world.deployment.store.take_calls();
    world.turn().await;
    world.deployment.pass(3_600);
    world.turn().await;
    let calls = world.deployment.store.take_calls();
    assert_eq!((calls.writes, calls.adds, calls.reads), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_receiver_delays_no_other() {
    let (world, slow, quick) = (World::new().await, Receiver::start(), Receiver::start());
    let patient = courier(&world.deployment, Duration::from_secs(60));
    slow.always(Some(Manner::Hold));
    world.webhook(&slow).await;
    world.webhook(&quick).await;
    for round in 1..=2 {
        for _ in 0..6 {
            world.sign().await;
        }
        tokio::time::timeout(Duration::from_secs(30), patient.turn()).await.unwrap().unwrap();
        tokio::task::block_in_place(|| quick.wait_for(6 * round));
    }
    assert_eq!(tokio::task::block_in_place(|| slow.wait_for(4)).len(), 4, "and no more than four at once");
    slow.release();
    patient.idle().await;
}

#[tokio::test]
async fn a_crash_between_the_post_and_its_mark_posts_again_under_the_same_id() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let (world, receiver) = (World::new().await, Receiver::start());
        world.webhook(&receiver).await;
        world.sign().await;
        // The delivery is written; what came of it is not, or nobody knows.
        world.deployment.store.fail_later(Operation::Write, 1, fault);
        world.turn().await;
        world.turn().await;
        world.turn().await;
        let ids: Vec<String> = receiver.posts().iter().map(|post| post.header("webhook-id")).collect();
        let want = if fault == Fault::BeforeWrite { 2 } else { 1 };
        assert_eq!(ids.len(), want, "{fault:?}");
        assert!(ids.iter().all(|id| *id == ids[0]), "{fault:?}");
    }
}

#[tokio::test]
async fn a_drain_that_is_cut_short_loses_nothing_and_doubles_nothing() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let (world, receiver) = (World::new().await, Receiver::start());
        world.webhook(&receiver).await;
        world.sign().await;
        world.sign().await;
        world.deployment.store.fail_next(Operation::Write, fault);
        world.turn().await;
        assert!(receiver.posts().is_empty(), "{fault:?}");
        world.turn().await;
        world.turn().await;
        assert_eq!(receiver.posts().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_queue_is_bounded_and_the_journal_keeps_the_rest() {
    let (world, receiver) = (World::new().await, Receiver::start());
    receiver.always(Some(Manner::status(500)));
    let (webhook, _) = world.webhook(&receiver).await;
    let store = world.deployment.store.as_ref();
    for batch in 0..11 {
        let puts = (0..100).map(|n| aegis_core::journal::put(store, &a_record(batch * 100 + n)).unwrap());
        aegis_core::store::Store::transact(store, puts.collect()).await.unwrap();
    }
    world.turn().await;
    assert_eq!(world.shown(&webhook).await["pending"], 1_000);
    assert_eq!(receiver.posts().len(), 1_000);
    receiver.always(None);
    world.deployment.pass(10);
    assert_eq!(world.shown(&webhook).await["lag_seconds"], 10);
    world.turn().await;
    world.turn().await;
    assert_eq!(world.shown(&webhook).await["pending"], 0);
    let ids: std::collections::BTreeSet<String> =
        receiver.posts().iter().map(|post| post.header("webhook-id")).collect();
    assert_eq!((receiver.posts().len(), ids.len()), (2_100, 1_100));
}

#[tokio::test]
async fn for_a_day_after_a_rotation_both_secrets_sign() {
    let (world, receiver) = (World::new().await, Receiver::start());
    let (webhook, old) = world.webhook(&receiver).await;
    let rotated = world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/rotate-secret")).await.ok();
    let new = text(&rotated, "secret");
    assert_ne!(old, new);
    world.sign().await;
    world.turn().await;
    world.deployment.pass(86_400 - 1);
    world.sign().await;
    world.turn().await;
    world.deployment.pass(1);
    world.sign().await;
    world.turn().await;
    let by: Vec<(bool, bool)> = receiver.posts().iter().map(|post| (bears(post, &old), bears(post, &new))).collect();
    assert_eq!(by, [(true, true), (true, true), (false, true)]);
    // Of three secrets the oldest is done with at once.
    world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/rotate-secret")).await.ok();
    let third = world.ask(Method::POST, &format!("/v1/webhooks/{webhook}/rotate-secret")).await.ok();
    world.sign().await;
    world.turn().await;
    let last = receiver.posts().pop().unwrap();
    assert!(!bears(&last, &new) && bears(&last, &text(&third, "secret")));
    assert_eq!(last.header("webhook-signature").split(' ').count(), 2);
}

#[tokio::test]
async fn the_secret_is_shown_once_and_is_nowhere_else() {
    let (world, receiver) = (World::new().await, Receiver::start());
    let asked = json!({ "url": receiver.url(), "events": [{ "kind": "all" }] });
    let create = |key: &'static str| {
        http::Request::post("/v1/webhooks")
            .header("authorization", format!("Bearer {}", world.alice))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(asked.to_string().into_bytes().into())
            .unwrap()
    };
    let made = world.deployment.send(create("one")).await.ok();
    let (id, secret) = (text(&made, "id"), text(&made, "secret"));
    assert!(secret.starts_with("whsec_"));
    assert_eq!(world.deployment.send(create("one")).await.failed(409), "already-done");
    world.sign().await;
    world.turn().await;
    let shown = [
        world.shown(&id).await,
        world.ask(Method::GET, "/v1/webhooks").await.ok(),
        world.ask(Method::GET, "/v1/audit?limit=200").await.ok(),
        json!(world.deliveries(&id, "delivered").await),
    ];
    let bytes = secret.trim_start_matches("whsec_");
    assert!(shown.iter().all(|shown| !shown.to_string().contains(bytes)));
    assert!(receiver.posts().iter().all(|post| !String::from_utf8_lossy(&post.body).contains(bytes)));
    let key = aegis_core::store::ItemKey::state(format!("webhook/{id}"), "webhook");
    let stored = aegis_core::store::Store::get(world.deployment.store.as_ref(), &key).await.unwrap().unwrap();
    assert!(!stored.item.body.contains(bytes));
}

#[tokio::test]
async fn operators_and_admins_manage_webhooks_after_a_fresh_login_and_nobody_else() {
    let world = World::new().await;
    let asked = || json!({ "url": "https://hooks.example.org/", "events": [{ "kind": "all" }] });
    for (role, may) in [("admin", true), ("operator", true), ("auditor", false), ("user", false)] {
        let human = world.deployment.log_in(&format!("{role}@org"), &[role]).await;
        let made = world.deployment.post(&human, "/v1/webhooks", asked()).await;
        assert_eq!(made.status, if may { 201 } else { 403 }, "{role}");
        assert_eq!(world.deployment.get(&human, "/v1/webhooks").await.status, if may { 200 } else { 403 }, "{role}");
    }
    let (webhook, _) = world.webhook_for("https://hooks.example.org/", json!([{ "kind": "all" }])).await;
    let stale = world.deployment.alice().await;
    world.deployment.pass(301);
    let path = |verb: &str| format!("/v1/webhooks/{webhook}{verb}");
    let fresh = [
        (Method::POST, "/v1/webhooks".to_string()),
        (Method::POST, path("/rotate-secret")),
        (Method::DELETE, path("")),
    ];
    for (method, path) in fresh {
        let answer = world.deployment.call(method, &stale, &path, Some(asked())).await;
        assert_eq!(answer.failed(401), "fresh-login-needed", "{path}");
    }
    for (method, path) in [(Method::GET, path("")), (Method::POST, path("/test")), (Method::POST, path("/redrive"))] {
        assert_eq!(world.deployment.call(method, &stale, &path, Some(json!({}))).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_deleted_webhook_is_told_nothing_more_and_is_gone() {
    let (world, receiver) = (World::new().await, Receiver::start());
    receiver.always(Some(Manner::status(500)));
    let (webhook, _) = world.webhook(&receiver).await;
    world.sign().await;
    world.turn().await;
    let path = format!("/v1/webhooks/{webhook}");
    assert_eq!(world.ask(Method::DELETE, &path).await.status, 204);
    assert_eq!(world.ask(Method::DELETE, &path).await.failed(404), "not-found");
    assert_eq!(world.ask(Method::GET, &path).await.failed(404), "not-found");
    receiver.always(None);
    world.deployment.pass(600);
    for _ in 0..3 {
        world.turn().await;
    }
    assert_eq!(receiver.posts().len(), 1, "the one before it was deleted");
    world.deployment.store.take_calls();
    world.turn().await;
    assert_eq!(world.deployment.store.take_calls().writes, 0, "and nothing is left to do");
}

#[tokio::test]
async fn there_are_at_most_32_webhooks() {
    let world = World::new().await;
    let events = || json!([{ "kind": "responses" }]);
    for _ in 0..32 {
        world.webhook_for("https://hooks.example.org/", events()).await;
    }
    let asked = json!({ "url": "https://hooks.example.org/", "events": events() });
    assert_eq!(world.deployment.post(&world.alice, "/v1/webhooks", asked).await.failed(409), "state");
}

/// The real server, its real clock, and the receivers' own library with it.
#[test]
fn a_kill_before_the_receiver_answers_sends_the_event_again() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    receiver.then([Manner::Hold]);
    let first = Process::start(folder.path());
    first.enrol();
    let alice = first.log_in();
    let asked = json!({ "url": receiver.url(), "events": [{ "kind": "key_use" }], "format": "plain" });
    let secret = text(&first.post(&alice, "/v1/webhooks", asked).ok(), "secret");
    first.post(&alice, "/v1/keys", json!({ "name": "invoices", "algorithm": "Ed25519", "activate": true })).ok();
    first.post(&alice, "/v1/keys/invoices/sign", message(b"x")).ok();
    receiver.wait_for(1);
    first.kill();
    let second = Process::start(folder.path());
    let posts = receiver.wait_for(2);
    assert_eq!(posts[0].header("webhook-id"), posts[1].header("webhook-id"));
    assert_eq!(posts[0].body, posts[1].body);
    for post in &posts {
        let mut headers = http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, post.header(name).parse().unwrap());
        }
        standardwebhooks::Webhook::new(&secret).unwrap().verify(&post.body, &headers).unwrap();
        assert_eq!(post.json()["data"]["operation"], "key.sign");
    }
    receiver.release();
    assert!(second.terminate());
}

fn a_record(n: i64) -> AuditRecord {
    use aegis_core::id::{RecordId, RequestId};
    let at = Timestamp::from_second(aegis_tests::deployment::BEGINNING).unwrap();
    let at = Timestamp::from_millisecond(at.as_millisecond() + n % 7).unwrap();
    let entropy = aegis_core::ambient::Entropy::system();
    let (id, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
    let operation = aegis_core::operation::Operation::KeySign;
    AuditRecord::new(id, at, operation, aegis_core::record::Plane::Rest, request)
}
