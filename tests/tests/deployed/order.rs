//! What detection is told in another order, and twice, leads to what it would have in order and once.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use crate::approvals::asks_about_high_tier;
use crate::cli;
use aegis_core::ambient::Timestamp;
use aegis_tests::account::StateItem;
use aegis_tests::queue::{Paused, Queue};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for, wait_long_for};
use aegis_tests::{message, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Each message by itself: in one batch detection would put them in order.
#[test]
fn records_told_in_another_order_and_twice_lead_to_the_same() {
    let site = site();
    let nora = site.log_in("nora@org", &EVERYTHING);
    asks_about_high_tier(site, &nora);
    let since = Timestamp::now();
    let (agent, ids, queue, paused) = used_while_nobody_looks(site, &nora, since);
    let told = messages(&queue, &ids);
    let names = [format!("actor/{agent}"), "fleet/nora@org".to_string(), "template/nora@org/service".to_string()];
    let states = names.map(|name| StateItem::of(&format!("behaviour/{name}"), "state"));
    let before = states.each_ref().map(StateItem::read);
    drop(paused);

    told.iter().rev().flat_map(|body| [body, body]).for_each(|body| tell(&queue, body));
    let reversed = states.each_ref().map(learnt);
    assert!(before.iter().zip(&reversed).all(|(before, after)| before.as_ref().map(body) != Some(body(after))));
    let raised = consequences(site, &nora, &agent);
    let [[recommendation], responses, _] = raised.each_ref().map(Vec::as_slice) else { panic!("{raised:?}") };
    assert_eq!(recommendation["detector"], "approval_denied");
    assert!(!responses.is_empty(), "{raised:?}");

    states.iter().zip(&before).for_each(|(state, before)| state.put_back(before.as_ref()));
    told.iter().for_each(|body| tell(&queue, body));
    let in_order = states.each_ref().map(learnt);
    assert_eq!(reversed.each_ref().map(body), in_order.each_ref().map(body));
    assert_eq!(consequences(site, &nora, &agent), raised);
    nothing_is_missing(site, &nora, since);
}

/// An agent signs, humans are asked and one of them refuses: the agent, and what came to be on record.
fn used_while_nobody_looks(site: &Site, nora: &str, since: Timestamp) -> (String, Vec<String>, Queue, Paused) {
    let [own, asked] = ["reordered", "reordered-high"].map(|name| site.name(name));
    site.key(nora, &own, "Ed25519");
    let high = json!({ "name": asked, "algorithm": "Ed25519", "activate": true, "tier": "high" });
    site.post(nora, "/v1/keys", high).ok();
    let (agent, token) = site.agent(nora, &format!("key:{own}:sign key:{asked}:sign"), "service");
    let queue = Queue::of("anomaly");
    let paused = Paused::new("anomaly", &queue);
    let sign = |key: &str, text: &[u8]| site.post(&token, &format!("/v1/keys/{key}/sign"), message(text));
    for number in 0..3_u8 {
        sign(&own, &[number]).ok();
    }
    let refused = sign(&asked, b"pay 10 EUR");
    let approval = text(&refused.body, "approval");
    assert_eq!(refused.refused(403), "step_up");
    let login = site.log_in_to_approve("nora@org", &EVERYTHING);
    site.post(&login, &format!("/v1/approvals/{approval}/deny"), json!({})).ok();
    sign(&own, b"last").ok();
    let ids = wait_for("the records", || {
        let of_keys = site.get(nora, &format!("/v1/audit?op=key.sign&limit=200&agent={agent}")).ok();
        let denials = site.get(nora, &format!("/v1/audit?op=approval.deny&actor=nora@org&since={since}")).ok();
        let found = [of_keys, denials].map(|found| found["items"].as_array().unwrap().clone()).concat();
        (found.len() == 6).then(|| found.iter().map(|record| text(record, "id")).collect())
    });
    (agent, ids, queue, paused)
}

/// What waits in the queue, each record by itself, in the order of their ids.
fn messages(queue: &Queue, ids: &[String]) -> Vec<String> {
    let mut told = BTreeMap::new();
    wait_for("the messages", || {
        for (body, _) in queue.take() {
            let event: Value = serde_json::from_str(&body).unwrap();
            let records = match event["detail-type"].as_str().unwrap() {
                "AuditRecord" => vec![event["detail"].clone()],
                "AuditRecords" => event["detail"]["records"].as_array().unwrap().clone(),
                _ => Vec::new(),
            };
            for record in records {
                let (id, mut event) = (text(&record, "id"), event.clone());
                (event["detail-type"], event["detail"]) = (json!("AuditRecord"), record);
                told.insert(id, event.to_string());
            }
        }
        ids.iter().all(|id| told.contains_key(id)).then_some(())
    });
    told.into_values().collect()
}

fn tell(queue: &Queue, body: &str) {
    queue.send(body);
    queue.wait_until_empty();
}

fn learnt(state: &StateItem) -> Value {
    state.read().unwrap()
}

fn body(item: &Value) -> &Value {
    &item["body"]
}

/// What was raised about an agent, what was done about it, and how the agent stands.
fn consequences(site: &Site, human: &str, agent: &str) -> [Vec<Value>; 3] {
    let raised = site.get(human, "/v1/recommendations?limit=200").ok();
    let raised = raised["items"].as_array().unwrap().iter().filter(|found| found["agent"] == agent).cloned();
    let responses = site.get(human, &format!("/v1/responses?limit=200&agent={agent}")).ok();
    let stands = site.get(human, &format!("/v1/agents/{agent}")).ok();
    [raised.collect(), responses["items"].as_array().unwrap().clone(), vec![stands]]
}

/// A minute is compared three minutes after its end.
fn nothing_is_missing(site: &Site, human: &str, since: Timestamp) {
    let until = Timestamp::now();
    let [since, until] = [since, until].map(|moment| moment.to_string());
    wait_long_for("the minutes to be over", || {
        let verified = site.get(human, &format!("/v1/audit/verify?since={since}&until={until}")).ok();
        verified.get("open_since").is_none().then_some(())
    });
    let told = cli::aegis(site, human, &["audit", "verify", "--since", &since, "--until", &until]);
    assert!(
        told.status.success(),
        "{}{}",
        String::from_utf8_lossy(&told.stdout),
        String::from_utf8_lossy(&told.stderr)
    );
}
