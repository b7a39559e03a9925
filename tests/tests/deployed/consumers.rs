//! What takes from queues gives back what it cannot take in, and takes in the rest. What came back five times lies in another
//! queue, and is taken in once it is sent back from there.
//!
//! The emulator knows no `start-message-move-task`: what it does, receiving and sending, the test does. Messages come again sooner
//! than they would.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use crate::flagship::alerts;
use aegis_tests::account::{Fault, Role, StateItem};
use aegis_tests::queue::{Paused, Queue};
use aegis_tests::receiver::{Post, Receiver};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for, wait_long_for};
use aegis_tests::{message, text};
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The queues are one test's at a time.
static QUEUES: Mutex<()> = Mutex::new(());

#[test]
fn what_nobody_can_read_is_given_up_after_five_times_and_the_rest_is_taken_in() {
    let _alone = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let consumers = CONSUMERS.map(Consumer::of);
    let _sooner = consumers.each_ref().map(|consumer| consumer.queue.comes_again_after(SOONER));
    let watched = Watched::new(site(), "conny@org");
    let paused = consumers.each_ref().map(|consumer| Paused::new(consumer.name, &consumer.queue));
    let unreadable = ["no JSON".to_string(), json!({ "detail-type": "SomethingNew", "detail": {} }).to_string()];
    for consumer in &consumers {
        unreadable.iter().for_each(|body| consumer.queue.send(body));
    }
    watched.leaves_its_scope();
    // All of it is in the first batch.
    for consumer in &consumers {
        wait_for(consumer.name, || (consumer.queue.holds()[0] > 2).then_some(()));
    }
    drop(paused);
    watched.is_noticed();
    for consumer in &consumers {
        wait_long_for(consumer.name, || (consumer.dead.holds()[0] == 2).then_some(()));
        let given_up: BTreeSet<_> = consumer.dead.take().into_iter().collect();
        assert_eq!(given_up, unreadable.iter().map(|body| (body.clone(), 5)).collect(), "{}", consumer.name);
        consumer.queue.wait_until_empty();
    }
    watched.is_noticed_once();
}

/// What is told waits in the queue, and the other consumers go on.
#[test]
fn what_the_role_of_a_consumer_is_not_granted_waits() {
    let _alone = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let table = [
        ("anomaly", "ReadState"),
        ("anomaly", "WriteState"),
        ("respond", "ReadState"),
        ("respond", "Alert"),
        ("webhooks", "ReadState"),
        ("webhooks", "WriteState"),
    ];
    for (number, (function, sid)) in table.into_iter().enumerate() {
        let what = format!("{function} without {sid}");
        let consumer = Consumer::of(function);
        let _sooner = consumer.queue.comes_again_after(LATER);
        let watched = Watched::new(site(), &format!("gudrun{number}@org"));
        let withheld = Role::of(function).without(&[sid]);
        watched.leaves_its_scope();
        for other in ["anomaly", "respond", "webhooks"].into_iter().filter(|other| *other != function) {
            watched.is_noticed_by(other);
        }
        wait_for(&what, || (consumer.queue.holds() != [0, 0]).then_some(()));
        assert!(!watched.was_noticed_by(function), "{what}");
        drop(withheld);
        watched.is_noticed();
        consumer.queue.wait_until_empty();
        watched.is_noticed_once();
        assert_eq!(consumer.dead.holds(), [0, 0], "{what}");
    }
}

#[test]
fn what_was_given_up_is_taken_in_once_it_is_sent_back() {
    let _alone = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let consumers = CONSUMERS.map(Consumer::of);
    let _sooner = consumers.each_ref().map(|consumer| consumer.queue.comes_again_after(SOONER));
    let watched = Watched::new(site(), "cosima@org");
    let faults = [
        ("TransactWriteItems", format!("behaviour/actor/{}", watched.agent)),
        ("GetItem", "i:recommendation/".to_string()),
        ("BatchGetItem", watched.webhook.clone()),
    ];
    let faults =
        faults.map(|(does, holds)| Fault::of(&format!("DynamoDB_20120810.{does}"), &holds, "throttle", ALWAYS));
    watched.leaves_its_scope();
    for (consumer, fault) in consumers.iter().zip(&faults) {
        wait_long_for(consumer.name, || (fault.happened() >= 5 && consumer.dead.holds()[0] > 0).then_some(()));
        consumer.queue.wait_long_until_empty();
    }
    drop(faults);
    assert!(CONSUMERS.iter().all(|consumer| !watched.was_noticed_by(consumer)));
    for consumer in &consumers {
        consumer.dead.take().iter().for_each(|(body, _)| consumer.queue.send(body));
    }
    watched.is_noticed();
    for consumer in &consumers {
        consumer.queue.wait_until_empty();
        assert_eq!(consumer.dead.holds(), [0, 0], "{}", consumer.name);
    }
    watched.is_noticed_once();
}

const CONSUMERS: [&str; 3] = ["anomaly", "respond", "webhooks"];
/// Seconds after which what is not finished comes again: longer than a function takes on a busy machine.
const SOONER: u32 = 10;
/// The same, where it takes a while until what is missing is given back.
const LATER: u32 = 30;
/// More often than anybody tries.
const ALWAYS: u32 = 1_000;

struct Consumer {
    name: &'static str,
    queue: Queue,
    dead: Queue,
}

impl Consumer {
    fn of(name: &'static str) -> Self {
        Self { name, queue: Queue::of(name), dead: Queue::of(&format!("{name}-dead")) }
    }
}

/// An agent that somebody is told of.
struct Watched {
    site: &'static Site,
    human: String,
    agent: String,
    token: String,
    keys: [String; 2],
    receiver: Receiver,
    webhook: String,
}

impl Watched {
    fn new(site: &'static Site, human: &str) -> Self {
        let name = human.split('@').next().unwrap();
        let human = site.log_in(human, &EVERYTHING);
        let keys = [format!("own-of-{name}"), format!("not-of-{name}")].map(|name| site.name(&name));
        keys.iter().for_each(|key| drop(site.key(&human, key, "Ed25519")));
        let (agent, token) = site.agent(&human, &format!("key:{}:sign", keys[0]), "service");
        let receiver = Receiver::start();
        let asked = json!({ "url": receiver.url(), "events": [{ "kind": "key_use" }], "format": "plain" });
        let webhook = text(&site.post(&human, "/v1/webhooks", asked).ok(), "id");
        Self { site, human, agent, token, keys, receiver, webhook }
    }

    fn leaves_its_scope(&self) {
        let [own, stray] = self.keys.each_ref().map(|key| format!("/v1/keys/{key}/sign"));
        self.site.post(&self.token, &own, message(b"usual")).ok();
        assert_eq!(self.site.post(&self.token, &stray, message(b"everything")).refused(403), "scope_violation");
    }

    fn learnt(&self) -> Option<Value> {
        StateItem::of(&format!("behaviour/actor/{}", self.agent), "state").read()
    }

    fn alerts(&self) -> Vec<Value> {
        alerts().into_iter().filter(|alert| alert["recommendation"]["agent"] == json!(self.agent)).collect()
    }

    /// The records that were posted.
    fn posted(&self) -> BTreeSet<String> {
        let of_agent = |post: &Post| post.json()["data"]["agents"] == json!([self.agent]);
        let posts = self.receiver.posts();
        posts.iter().filter(|post| of_agent(post)).map(|post| text(&post.json()["data"], "id")).collect()
    }

    /// Detection has learnt, people are alerted, or a receiver of webhooks has got both uses.
    fn was_noticed_by(&self, consumer: &str) -> bool {
        match consumer {
            "anomaly" => self.learnt().is_some(),
            "respond" => !self.alerts().is_empty(),
            _ => self.posted().len() == 2,
        }
    }

    fn is_noticed_by(&self, consumer: &str) {
        wait_for(consumer, || self.was_noticed_by(consumer).then_some(()));
    }

    fn is_noticed(&self) {
        CONSUMERS.iter().for_each(|consumer| self.is_noticed_by(consumer));
    }

    fn is_noticed_once(&self) {
        // What was looked at a moment ago is not shown.
        let alerts = wait_for("the alerts", || Some(self.alerts()).filter(|alerts| !alerts.is_empty()));
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        let of_agent = |post: &&Post| post.json()["data"]["agents"] == json!([self.agent]);
        assert_eq!(self.receiver.posts().iter().filter(of_agent).count(), 2);
        let raised = self.site.get(&self.human, "/v1/recommendations?limit=200").ok();
        let raised = raised["items"].as_array().unwrap().iter().filter(|found| found["agent"] == json!(self.agent));
        assert_eq!(raised.count(), 1);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.site.call(&Method::DELETE, &self.human, &format!("/v1/webhooks/{}", self.webhook), None);
    }
}
