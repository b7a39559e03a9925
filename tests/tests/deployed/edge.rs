//! The edge cannot decide: its table has no room, a grant of its role is gone, or it crashes. Then nobody is let in, no operation
//! is carried out, alarms can tell, and it goes on by itself. Run by xtask after the others: where a grant is gone, nobody gets in.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_core::ambient::Timestamp;
use aegis_tests::account::{Fault, Role, call, output};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for};
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// The edge is one test's at a time.
static EDGE: Mutex<()> = Mutex::new(());

#[test]
fn an_edge_whose_table_has_no_room_lets_nobody_in() {
    let _alone = EDGE.lock().unwrap_or_else(PoisonError::into_inner);
    let signer = Signer::new(site(), "edda@org");
    signer.sign().ok();
    // It counts requests, and reads who asks.
    for (target, holds) in [("UpdateItem", format!("n:live/{}", signer.agent)), ("BatchGetItem", signer.asks())] {
        let since = Timestamp::now();
        let fault = Fault::of(&format!("DynamoDB_20120810.{target}"), &holds, "throttle", ALWAYS);
        let refused = signer.sign();
        assert_eq!(refused.failed(503), "unavailable", "{target}");
        assert!(fault.happened() > 1, "{target} was tried again");
        signer.released_nothing(&refused);
        wait_for("a metric", || (failures(since) == 1).then_some(()));
        drop(fault);
        signer.sign().ok();
    }
    signer.is_on_record(3);
}

#[test]
fn an_edge_without_a_grant_lets_nobody_in() {
    let _alone = EDGE.lock().unwrap_or_else(PoisonError::into_inner);
    let signer = Signer::new(site(), "egon@org");
    let role = Role::of("authorizer");
    for sid in ["Count", "ReadState"] {
        let since = Timestamp::now();
        let withheld = role.without(&[sid]);
        let refused = signer.sign();
        assert!(refused.status >= 500, "{sid}: {refused:?}");
        signer.released_nothing(&refused);
        wait_for("a metric", || (failures(since) >= 1).then_some(()));
        drop(withheld);
        signer.sign().ok();
    }
    // What it refuses it puts on record first.
    let withheld = role.without(&["WriteJournal"]);
    let refused = signer.ask("verify");
    assert!(refused.status >= 500, "{refused:?}");
    drop(withheld);
    assert_eq!(signer.ask("verify").refused(403), "scope_violation");
    signer.is_on_record(2);
}

/// Each new edge publishes a key of its own before anything it says counts.
#[test]
fn an_edge_that_cannot_publish_its_key_lets_nobody_in() {
    let _alone = EDGE.lock().unwrap_or_else(PoisonError::into_inner);
    let signer = Signer::new(site(), "elke@org");
    let role = Role::of("authorizer");
    signer.crashes();
    let since = Timestamp::now();
    let withheld = role.without(&["PermitKeys"]);
    let refused = signer.sign();
    signer.is_the_gateways_own(&refused);
    wait_for("a metric", || (failures(since) >= 1).then_some(()));
    drop(withheld);
    signer.sign().ok();
    signer.is_on_record(1);
}

#[test]
fn an_edge_that_crashes_lets_nobody_in_and_begins_anew() {
    let _alone = EDGE.lock().unwrap_or_else(PoisonError::into_inner);
    let signer = Signer::new(site(), "emil@org");
    let since = Timestamp::now();
    signer.sign().ok();
    for does in ["kill-before", "kill-after"] {
        let fault = Fault::of("DynamoDB_20120810.BatchGetItem", &signer.asks(), does, 1);
        let refused = signer.sign();
        assert_eq!(fault.happened(), 1, "{does}");
        signer.is_the_gateways_own(&refused);
        signer.sign().ok();
    }
    signer.is_on_record(3);
    // Told after it, so that what came before would be there.
    let fault = Fault::of("DynamoDB_20120810.BatchGetItem", &signer.asks(), "throttle", ALWAYS);
    assert_eq!(signer.sign().failed(503), "unavailable");
    drop(fault);
    wait_for("what is told", || (failures(since) > 0).then_some(()));
    assert_eq!(failures(since), 1, "who is killed tells nothing: the gateway's failures do");
}

/// More often than anybody tries.
const ALWAYS: u32 = 1_000;

/// An agent with a key.
struct Signer {
    site: &'static Site,
    human: String,
    key: String,
    agent: String,
    token: String,
}

impl Signer {
    fn new(site: &'static Site, human: &str) -> Self {
        let name = site.name(&format!("edge-of-{}", human.split('@').next().unwrap()));
        let human = site.log_in(human, &EVERYTHING);
        let key = text(&site.key(&human, &name, "Ed25519"), "id");
        let (agent, token) = site.agent(&human, &format!("key:{key}:sign"), "service");
        Self { site, human, key, agent, token }
    }

    /// What is read to decide on it. Detection, which learns of the agent meanwhile, reads something else of it.
    fn asks(&self) -> String {
        format!("i:agent/{}", self.agent)
    }

    fn sign(&self) -> Answer {
        self.ask("sign")
    }

    fn ask(&self, operation: &str) -> Answer {
        self.site.post(&self.token, &format!("/v1/keys/{}/{operation}", self.key), message(b"x"))
    }

    fn crashes(&self) {
        let fault = Fault::of("DynamoDB_20120810.BatchGetItem", &self.asks(), "kill-before", 1);
        assert!(self.sign().status >= 500 && fault.happened() == 1);
    }

    fn released_nothing(&self, answer: &Answer) {
        assert!(answer.body.get("signature").is_none(), "{answer:?}");
    }

    /// What `infra/api.tf` has it say where an authorizer fails.
    fn is_the_gateways_own(&self, answer: &Answer) {
        assert_eq!(answer.failed(503), "unavailable");
        assert_eq!(answer.body["title"], "the authorizer did not answer");
        self.released_nothing(answer);
    }

    /// So many signatures and no more: of what failed no operation heard.
    fn is_on_record(&self, signatures: usize) {
        let of_key = format!("/v1/audit?op=key.sign&limit=200&key={}", self.key);
        let found = wait_for("the records", || {
            let found = self.site.get(&self.human, &of_key).ok();
            let items = found["items"].as_array().unwrap().clone();
            let signed = items.iter().filter(|record| record["outcome"] == "ok").count();
            (signed >= signatures).then_some(items)
        });
        assert_eq!(found.len(), signatures, "{found:?}");
    }
}

/// How often the authorizer told since then, as CloudWatch reads it from its log, that it failed.
fn failures(since: Timestamp) -> usize {
    let group = format!("/aws/lambda/{}", output("function_names")["authorizer"].as_str().unwrap());
    let asked = json!({ "logGroupName": group, "startTime": since.as_millisecond() });
    let told = call("logs", "filter_log_events", &asked);
    let lines = told["events"].as_array().unwrap().iter().filter_map(|event| event["message"].as_str());
    let metrics = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    metrics.filter(|line| line["AuthorizerErrors"] == 1 && line["_aws"].is_object()).count()
}
