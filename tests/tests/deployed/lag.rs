//! Detection lies behind: what nobody would notice is asked about first.

use aegis_core::ambient::Timestamp;
use aegis_core::heartbeat::Heartbeat;
use aegis_tests::account::{Fault, call, output};
use aegis_tests::message;
use aegis_tests::site::{EVERYTHING, site, wait_for};
use serde_json::json;

/// Detection is kept from telling how far it has come, and what it told last is set back: as more than five minutes of silence
/// would have it.
#[test]
fn while_detection_lies_behind_first_uses_are_asked_about() {
    let site = site();
    let lena = site.log_in("lena@org", &EVERYTHING);
    let name = site.name("unseen");
    site.key(&lena, &name, "Ed25519");
    let (_, token) = site.agent(&lena, &format!("key:{name}:sign"), "service");
    let sign = format!("/v1/keys/{name}/sign");

    let silent = Fault::of("DynamoDB_20120810.PutItem", "detection-heartbeat", "throttle", 1_000);
    let through = Heartbeat { through: Timestamp::from_second(Timestamp::now().as_second() - 400).unwrap() };
    let back = json!({
        "TableName": output("state_table"), "Key": { "pk": { "S": "i:feed" }, "sk": { "S": ":detection-heartbeat" } },
        "UpdateExpression": "SET body = :body", "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeValues": { ":body": { "S": serde_json::to_string(&through).unwrap() } },
    });
    wait_for("a heartbeat", || (call("dynamodb", "update_item", &back) == json!({})).then_some(()));
    let refused = site.post(&token, &sign, message(b"first"));
    assert_eq!(refused.refused(403), "step_up", "{}", refused.body);
    drop(silent);
    // Records that waited are told, and nobody asks any more.
    wait_for("detection", || (site.post(&token, &sign, message(b"first")).status == 200).then_some(()));
}
