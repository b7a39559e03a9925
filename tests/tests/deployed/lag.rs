//! Detection lies behind: what nobody would notice is asked about first.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_core::ambient::Timestamp;
use aegis_core::heartbeat::Heartbeat;
use aegis_tests::account::StateItem;
use aegis_tests::queue::{Paused, Queue};
use aegis_tests::site::{EVERYTHING, site, wait_for};
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};

/// Detection takes nothing from its queue, and what it told last is set back: as more than five minutes of that would have it.
#[test]
fn while_detection_lies_behind_first_uses_and_destructions_are_asked_about() {
    let site = site();
    let lena = site.log_in("lena@org", &EVERYTHING);
    let [unseen, ended] = ["unseen", "ended"].map(|name| site.name(name));
    let ended_id = text(&site.key(&lena, &ended, "Ed25519"), "id");
    site.key(&lena, &unseen, "Ed25519");
    site.post(&lena, &format!("/v1/keys/{ended}/deactivate"), json!({})).ok();
    let (agent, token) = site.agent(&lena, &format!("key:{unseen}:sign"), "service");
    let sign = || site.post(&token, &format!("/v1/keys/{unseen}/sign"), message(b"first"));
    // Of a human no approval is asked, but that she proves again who she is.
    let earlier = site.log_in_of("lena@org", &EVERYTHING, 600);
    let destroy = |login: &str| site.post(login, &format!("/v1/keys/{ended}/destroy"), json!({}));
    assert_eq!(factors(&destroy(&earlier)), json!(null), "she is asked in any case, not for this reason");

    let queue = Queue::of("anomaly");
    let paused = Paused::new("anomaly", &queue);
    set_back(400);
    let refused = sign();
    assert_eq!(refused.refused(403), "step_up", "{}", refused.body);
    assert!(is_blind(&factors(&refused)), "{}", refused.body);
    let refused = destroy(&earlier);
    assert!(is_blind(&factors(&refused)), "{}", refused.body);
    assert_eq!(refused.failed(401), "fresh-login-needed");
    destroy(&lena).ok();
    let found = wait_for("the record", || {
        let found = site.get(&lena, &format!("/v1/audit?op=key.destroy&outcome=ok&key={ended_id}")).ok();
        found["items"].as_array().unwrap().first().cloned()
    });
    assert!(is_blind(&found["risk"]["factors"]), "{found}");
    wait_for("what waits", || (queue.holds()[0] > 1).then_some(()));

    // Records that waited are told, and nobody asks any more.
    drop(paused);
    wait_for("detection", || (sign().status == 200).then_some(()));
    wait_for("what was learnt", || StateItem::of(&format!("behaviour/actor/{agent}"), "state").read());
}

/// How far detection says that it has come, which it tells no more.
fn set_back(seconds: i64) {
    let item = StateItem::of("feed", "detection-heartbeat");
    let mut found = wait_for("a heartbeat", || item.read());
    let through = Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap();
    found["body"]["S"] = json!(serde_json::to_string(&Heartbeat { through }).unwrap());
    item.put_back(Some(&found));
}

fn factors(answer: &Answer) -> Value {
    answer.body["risk"]["factors"].clone()
}

fn is_blind(factors: &Value) -> bool {
    factors.as_array().is_some_and(|factors| factors.iter().any(|factor| factor["factor"] == "detection_blind"))
}
