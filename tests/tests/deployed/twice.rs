//! What detection is told twice it learns once.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_tests::account::{Fault, call, output};
use aegis_tests::message;
use aegis_tests::site::{EVERYTHING, site, wait_for, wait_long_for};
use serde_json::{Value, json};

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
    let key = json!({ "pk": { "S": format!("i:{state}") }, "sk": { "S": ":state" } });
    let item = json!({ "TableName": output("state_table"), "Key": key });
    let learnt = || call("dynamodb", "get_item", &item)["Item"]["body"].clone();
    // Whatever else was told was taken in: nothing waits but what was taken and not finished.
    let mut looks = 0;
    wait_long_for("what is left", || {
        let [waiting, taken] = waiting("aegis-test-anomaly");
        looks = if waiting == "0" && taken != "0" { looks + 1 } else { 0 };
        (looks > 5).then_some(())
    });
    let once = learnt();
    assert!(once.is_object(), "{once}");

    // What nobody said was taken in is shown again after six minutes.
    wait_long_for("an empty queue", || (waiting("aegis-test-anomaly") == ["0", "0"]).then_some(()));
    assert_eq!(waiting("aegis-test-anomaly-dead"), ["0", "0"], "none of it was given up");
    assert_eq!(learnt(), once);
    let of_agent = |path: &str| {
        let found = site.get(&tina, path).ok();
        found["items"].as_array().unwrap().iter().filter(|item| item["agent"] == json!(agent)).count()
    };
    assert_eq!(of_agent("/v1/recommendations?limit=200"), 1);
}

/// What waits in a queue, and what somebody has taken and not finished.
fn waiting(queue: &str) -> [Value; 2] {
    let url = call("sqs", "get_queue_url", &json!({ "QueueName": queue }))["QueueUrl"].clone();
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let told = call("sqs", "get_queue_attributes", &json!({ "QueueUrl": url, "AttributeNames": names }));
    names.map(|name| told["Attributes"][name].clone())
}
