//! What detection is told twice it learns once.

use aegis_tests::account::{Fault, StateItem};
use aegis_tests::message;
use aegis_tests::queue::Queue;
use aegis_tests::site::{EVERYTHING, site, wait_for, wait_long_for};
use serde_json::json;

/// The bus is told twice, and detection is killed when it has learnt and not said so: its queue has it learn the same again.
#[test]
fn what_is_told_twice_is_learnt_once() {
    let site = site();
    let tina = site.log_in("tina@org", &EVERYTHING);
    let names = ["told-twice", "not-granted"].map(|name| site.name(name));
    for name in &names {
        site.key(&tina, name, "Ed25519");
    }
    let [own, stray] = names.each_ref().map(|name| format!("/v1/keys/{name}/sign"));
    let (agent, token) = site.agent(&tina, &format!("key:{}:sign", names[0]), "service");
    let state = format!("behaviour/actor/{agent}");
    let told = Fault::of("AWSEvents.PutEvents", &agent, "lose-answer", 2);
    let learnt = Fault::of("DynamoDB_20120810.TransactWriteItems", &state, "kill-after", 1);
    site.post(&token, &own, message(b"usual")).ok();
    assert_eq!(site.post(&token, &stray, message(b"everything")).refused(403), "scope_violation");
    wait_for("the faults", || (told.happened() == 2 && learnt.happened() == 1).then_some(()));
    let item = StateItem::of(&state, "state");
    let learnt = || item.read().unwrap()["body"].clone();
    let queue = Queue::of("anomaly");
    // Whatever else was told was taken in: nothing waits but what was taken and not finished.
    let mut looks = 0;
    wait_long_for("what is left", || {
        let [waiting, taken] = queue.holds();
        looks = if waiting == 0 && taken > 0 { looks + 1 } else { 0 };
        (looks > 5).then_some(())
    });
    let once = learnt();
    assert!(once.is_object(), "{once}");

    // What nobody said was taken in is shown again after six minutes.
    queue.wait_long_until_empty();
    assert_eq!(Queue::of("anomaly-dead").holds(), [0, 0], "none of it was given up");
    assert_eq!(learnt(), once);
    let of_agent = |path: &str| {
        let found = site.get(&tina, path).ok();
        found["items"].as_array().unwrap().iter().filter(|item| item["agent"] == json!(agent)).count()
    };
    assert_eq!(of_agent("/v1/recommendations?limit=200"), 1);
}
