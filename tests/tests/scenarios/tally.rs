//! The journal beside what its consumers took in: what a consumer missed is found, told again, and then agrees; what comes twice
//! or in another order changes nothing.

use aegis_core::ambient::Entropy;
use aegis_core::behaviour;
use aegis_core::feed::{Feed, Place};
use aegis_core::id::{RecordId, RequestId};
use aegis_core::journal;
use aegis_core::operation::Operation;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::store::fault::{Fault, Operation as Call};
use aegis_core::store::{Order, Query, Store, Table};
use aegis_events::stream;
use aegis_tests::deployment::Deployment;
use aegis_tests::yielding::Yielding;
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Until the minutes of what was done are over.
const OVER: i64 = 600;

struct Story {
    deployment: Deployment,
    alice: String,
    agent: String,
    token: String,
}

impl Story {
    async fn new() -> Self {
        Self::of(Deployment::new().await).await
    }

    async fn of(deployment: Deployment) -> Self {
        let alice = deployment.alice().await;
        deployment.key(&alice, "invoices", "Ed25519").await;
        let (agent, token) = deployment.agent(&alice, "key:invoices:sign", json!({ "purpose": "service" })).await;
        Self { deployment, alice, agent, token }
    }

    /// Signatures, some seconds apart.
    async fn sign(&self, times: i64) {
        for _ in 0..times {
            self.deployment.post(&self.token, "/v1/keys/invoices/sign", message(b"x")).await.ok();
            self.deployment.pass(7);
        }
    }

    async fn records(&self) -> Vec<Arc<AuditRecord>> {
        self.deployment.store.after(None, 10_000).await.unwrap()
    }

    /// Detection goes on behind what is on record now, and never saw it.
    async fn miss(&self) -> Vec<RecordId> {
        let (mut place, expect) = Place::of(self.deployment.store.inner(), "detection").await.unwrap();
        let missed = self.deployment.store.after(place.last.as_ref(), 1_000).await.unwrap();
        if let Some(last) = missed.last() {
            place.last = Some(last.id.clone());
            place.put_away(self.deployment.store.inner(), expect).await.unwrap();
        }
        missed.iter().map(|record| record.id.clone()).collect()
    }

    async fn verify(&self) -> Value {
        self.deployment.get(&self.alice, "/v1/audit/verify").await.ok()
    }

    async fn redrive(&self, body: Value) -> Value {
        self.deployment.post(&self.alice, "/v1/audit/redrive", body).await.ok()
    }

    /// A moment, that many seconds from now.
    fn at(&self, seconds: i64) -> String {
        let at = aegis_core::ambient::Timestamp::from_second(self.deployment.now() + seconds).unwrap();
        at.to_string()
    }

    /// What detection knows of the agent and what is on the tally.
    async fn learnt(&self) -> (Option<String>, Vec<String>) {
        let store = &self.deployment.store;
        let state = store.get(&behaviour::item(&format!("actor/{}", self.agent))).await.unwrap();
        let mut receipts = Vec::new();
        let hour = self.deployment.now() / 3_600;
        for hour in hour - 1..=hour {
            let query = Query {
                table: Table::State,
                index: None,
                partition: format!("tally/{hour}"),
                from: None,
                below: None,
                order: Order::Ascending,
                limit: 1_000,
                after: None,
            };
            let page = store.query(&query).await.unwrap();
            receipts.extend(page.items.into_iter().map(|stored| stored.item.body));
        }
        (state.map(|stored| stored.item.body), receipts)
    }
}

fn missing(verified: &Value) -> BTreeSet<String> {
    let differences = verified["differences"].as_array().unwrap().iter();
    differences
        .flat_map(|found| found["missing_records"].as_array().unwrap().clone())
        .map(|id| id.as_str().unwrap().into())
        .collect()
}

#[tokio::test]
async fn after_ordinary_traffic_the_journal_and_its_consumers_agree() {
    let story = Story::new().await;
    story.sign(40).await;
    story.deployment.post(&story.token, "/v1/keys/invoices/verify", message(b"x")).await.refused(403);
    story.deployment.detect().await;
    let fresh = story.verify().await;
    // What is not over is not compared, and said not to be.
    assert!(text(&fresh, "open_since") >= text(&fresh, "until"), "{fresh}");
    assert!(fresh["journal"].as_u64().unwrap() < 40, "{fresh}");

    story.deployment.detect().await;
    story.deployment.pass(OVER);
    let on_record = story.records().await.len();
    let verified = story.verify().await;
    assert_eq!(verified["differences"], json!([]), "{verified}");
    assert_eq!((&verified["journal"], &verified["consumers"]), (&json!(on_record), &json!(on_record)), "{verified}");
    assert!(verified["detection_through"].is_string() && verified.get("next_since").is_none(), "{verified}");
    // Of a span, its own.
    let path = format!("/v1/audit/verify?since={}&until={}", story.at(-OVER - 140), story.at(-OVER - 80));
    let some = story.deployment.get(&story.alice, &path).await.ok();
    let journal = some["journal"].as_u64().unwrap();
    assert!((7..=19).contains(&journal) && some.get("open_since").is_none(), "{some}");
}

#[tokio::test]
async fn what_a_consumer_missed_is_found_told_again_and_then_agrees() {
    let story = Story::new().await;
    story.sign(5).await;
    story.deployment.detect().await;
    story.sign(3).await;
    let missed = story.miss().await;
    story.sign(5).await;
    story.deployment.detect().await;
    story.deployment.pass(OVER);
    let verified = story.verify().await;
    let want: BTreeSet<String> = missed.iter().map(ToString::to_string).collect();
    assert_eq!((missing(&verified), missed.len()), (want, 3), "{verified}");
    assert_eq!(verified["journal"].as_u64().unwrap() - verified["consumers"].as_u64().unwrap(), 3, "{verified}");
    for found in verified["differences"].as_array().unwrap() {
        assert_ne!(found["journal"]["digest"], found["consumers"]["digest"], "{found}");
        assert_eq!(found["unknown"], 0, "{found}");
    }

    let told = story.redrive(json!({ "since": verified["differences"][0]["minute"] })).await;
    assert!(told["records"].as_u64().unwrap() >= 8 && told.get("next_cursor").is_none(), "{told}");
    assert_eq!(missing(&story.verify().await).len(), 3, "not before it is taken in");
    story.deployment.detect().await;
    assert_eq!(story.verify().await["differences"], json!([]));
    let record = story.deployment.get(&story.alice, "/v1/audit?op=audit.redrive").await.ok()["items"][0].clone();
    assert_eq!(record["object"].as_str().unwrap().split("..").count(), 2, "{record}");

    // Told once more, nothing is learnt, raised or counted again.
    let before = story.learnt().await;
    let raised = story.deployment.get(&story.alice, "/v1/recommendations").await.ok();
    story.redrive(json!({ "since": story.at(-3_600) })).await;
    story.deployment.detect().await;
    let (state, receipts) = story.learnt().await;
    assert_eq!(state, before.0);
    // But for what was done since: the questions and the calls themselves.
    assert!(before.1.iter().all(|receipt| receipts.contains(receipt)));
    assert_eq!(story.deployment.get(&story.alice, "/v1/recommendations").await.ok(), raised);
    assert_eq!(story.verify().await["differences"], json!([]));
}

#[tokio::test]
async fn what_comes_twice_and_in_another_order_changes_nothing() {
    let story = Story::new().await;
    story.sign(30).await;
    let app = &story.deployment.host.app;
    let records = story.records().await;
    // As a queue delivers: in parts, within a minute in any order, and some again.
    let mut parts: Vec<_> = records.chunks(4).map(<[_]>::to_vec).collect();
    for pair in parts.chunks_mut(2) {
        pair.reverse();
    }
    for part in &parts {
        stream::observe(app, part.iter().rev().cloned().collect()).await.unwrap();
    }
    let once = story.learnt().await;
    for part in parts.iter().rev() {
        stream::observe(app, part.clone()).await.unwrap();
    }
    assert_eq!(story.learnt().await, once);
    stream::observe(app, records.clone()).await.unwrap();
    assert_eq!(story.learnt().await.0, once.0);
    story.deployment.pass(OVER);
    let verified = story.verify().await;
    assert_eq!(verified["differences"], json!([]), "{verified}");
    assert_eq!(verified["consumers"], json!(records.len()), "{verified}");
}

/// Two processes take in the same minutes at once, each its part and some of the other's. Whoever writes second reads again.
#[tokio::test]
async fn what_two_consumers_take_in_at_once_is_what_one_would() {
    let mut store = None;
    let raced = Deployment::new().await.with_store(|inner| {
        let yielding = Arc::new(Yielding::new(inner));
        store = Some(Arc::clone(&yielding));
        yielding
    });
    let raced = Story::of(raced).await;
    raced.sign(60).await;
    let records = raced.records().await;
    let part = |n: usize| {
        let of = |(place, record): (usize, &Arc<AuditRecord>)| {
            (place % 2 == n || place % 5 == 0).then(|| Arc::clone(record))
        };
        records.iter().enumerate().filter_map(of).collect::<Vec<_>>()
    };
    let app = &raced.deployment.host.app;
    for (one, other) in part(0).chunks(5).zip(part(1).chunks(5)) {
        let (one, other) = tokio::join!(stream::observe(app, one.to_vec()), stream::observe(app, other.to_vec()));
        one.unwrap();
        other.unwrap();
    }
    assert!(store.unwrap().conflicts.load(Ordering::SeqCst) > 0, "nobody came second");

    let alone = Story::new().await;
    for record in &records {
        stream::observe(&alone.deployment.host.app, vec![Arc::clone(record)]).await.unwrap();
    }
    let states = async |of: &Story| {
        let paths = [format!("actor/{}", raced.agent), "fleet/alice@org".into(), "template/alice@org/service".into()];
        let mut states = Vec::new();
        for path in paths.into_iter().chain(["organisation".to_string()]) {
            let stored = of.deployment.store.get(&behaviour::item(&path)).await.unwrap().unwrap();
            states.push((path, stored.item.body));
        }
        states
    };
    assert_eq!(states(&raced).await, states(&alone).await);
}

/// Whichever write of a batch fails, before or after it was made: no record is on the tally that was not taken in, and the
/// batch that comes again puts all of it there.
#[tokio::test]
async fn nothing_is_on_the_tally_that_was_not_taken_in() {
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let mut writes = 0;
        loop {
            let story = Story::new().await;
            story.sign(3).await;
            let records = story.records().await;
            story.deployment.store.fail_later(Call::Write, writes, fault);
            let app = &story.deployment.host.app;
            let taken = stream::observe(app, records.clone()).await;
            story.deployment.pass(OVER);
            // The fault that was planned is met, or none was.
            let _ = story.deployment.get(&story.alice, "/v1/audit/verify").await;
            if taken.is_ok() {
                assert_eq!(story.verify().await["differences"], json!([]));
                break;
            }
            let verified = story.verify().await;
            let first = writes == 0 && fault == Fault::BeforeWrite;
            assert!(!first || verified["consumers"] == 0, "nothing was taken in: {verified}");
            stream::observe(app, records).await.unwrap();
            assert_eq!(story.verify().await["differences"], json!([]), "{fault:?} {writes}");
            writes += 1;
        }
        assert!(writes >= 2, "{fault:?}: the states and the tally, each");
    }
}

#[tokio::test]
async fn a_long_span_is_told_again_in_steps() {
    let story = Story::new().await;
    story.deployment.detect().await;
    story.deployment.pass(1);
    let store = &story.deployment.store;
    let begin = story.at(0);
    let mut puts = Vec::new();
    for _ in 0..2_300 {
        let at = story.deployment.host.app.clock.now();
        let (id, request) = (RecordId::new(at, &Entropy::system()), RequestId::new(at, &Entropy::system()));
        let record = AuditRecord::new(id, at, Operation::KeySign, Plane::Rest, request);
        puts.push(journal::put(store.as_ref(), &record).unwrap());
        story.deployment.pass(i64::from(puts.len() % 100 == 0));
    }
    for some in puts.chunks(100) {
        store.transact(some.to_vec()).await.unwrap();
    }
    while !story.miss().await.is_empty() {}
    story.deployment.pass(OVER);
    let until = story.at(-OVER + 1);
    assert_eq!(story.verify().await["consumers"], story.records().await.len() - 2_301);

    let mut body = json!({ "since": begin, "until": until });
    let mut steps = Vec::new();
    loop {
        let told = story.redrive(body.clone()).await;
        steps.push(told["records"].as_u64().unwrap());
        let Some(next) = told.get("next_cursor") else { break };
        body["cursor"] = next.clone();
    }
    assert_eq!(steps, [1_000, 1_000, 300]);
    story.deployment.detect().await;
    assert_eq!(story.verify().await["differences"], json!([]));
    // Of nothing there is nothing to tell.
    let told = story.redrive(json!({ "since": story.at(-60), "until": story.at(-59) })).await;
    assert_eq!(told, json!({ "records": 0 }));
}

#[tokio::test]
async fn who_may_not_and_what_cannot_be_asked_is_refused() {
    let story = Story::new().await;
    let Story { deployment, alice, token, .. } = &story;
    let again = json!({ "since": "2026-09-20T00:00:00Z" });
    let table = [("user", 403, 403), ("auditor", 200, 403), ("operator", 200, 200), ("admin", 200, 200)];
    for (role, verifies, redrives) in table {
        let session = deployment.log_in(&format!("{role}@org"), &[role]).await;
        let verified = deployment.get(&session, "/v1/audit/verify").await;
        let redriven = deployment.post(&session, "/v1/audit/redrive", again.clone()).await;
        assert_eq!((verified.status, redriven.status), (verifies, redrives), "{role}");
        for answer in [verified, redriven].iter().filter(|answer| answer.status != 200) {
            assert_eq!(answer.refused(403), "policy", "{role}");
        }
    }
    assert_eq!(deployment.get(token, "/v1/audit/verify").await.refused(403), "policy");

    let invalid = |answer: Answer, what: &str| assert_eq!(answer.failed(400), "invalid-request", "{what}");
    for query in ["since=yesterday", "until=2020-01-01T00:00:00Z", "since=9999-01-01T00:00:00Z", "cursor=x"] {
        invalid(deployment.get(alice, &format!("/v1/audit/verify?{query}")).await, query);
    }
    let bodies = [
        json!({}),
        json!({ "since": "yesterday" }),
        json!({ "since": "2026-09-20T00:00:00Z", "until": "2026-09-20T00:00:00Z" }),
        json!({ "since": "2026-09-20T00:00:00Z", "cursor": "rec_1" }),
        json!({ "since": "9999-01-01T00:00:00Z" }),
        json!({ "since": "2026-09-20T00:00:00Z", "more": 1 }),
    ];
    for body in bodies {
        invalid(deployment.post(alice, "/v1/audit/redrive", body.clone()).await, &body.to_string());
    }
}
