//! AWS has no room, is slow, or loses answers, under a deployment: nothing is released that is not on record, nothing is done
//! twice, and it goes on by itself. Each fault is about what no other test uses.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_tests::account::{Fault, call, output};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for};
use aegis_tests::{message, text};
use serde_json::{Value, json};

/// More often than anybody tries.
const ALWAYS: u32 = 1_000;

#[test]
fn a_table_without_room_keeps_a_signature_back_and_no_other_key_waiting() {
    let site = site();
    let frank = site.log_in("frank@org", &EVERYTHING);
    let names = ["throttled", "beside-it"].map(|name| site.name(name));
    let [key, _] = names.each_ref().map(|name| text(&site.key(&frank, name, "Ed25519"), "id"));
    let (agent, token) =
        site.agent(&frank, &names.each_ref().map(|name| format!("key:{name}:sign")).join(" "), "service");
    let [sign, beside] = names.each_ref().map(|name| format!("/v1/keys/{name}/sign"));
    site.post(&token, &sign, message(b"before")).ok();

    // What acts may not write: the record.
    let fault = Fault::of("DynamoDB_20120810.PutItem", &key, "throttle", ALWAYS);
    let refused = site.post(&token, &sign, message(b"now"));
    assert_eq!(refused.failed(503), "unavailable");
    assert!(refused.body.get("signature").is_none(), "{}", refused.body);
    assert!(fault.happened() > 1, "it was tried again");
    site.post(&token, &beside, message(b"now")).ok();
    drop(fault);
    site.post(&token, &sign, message(b"after")).ok();

    // The edge may not read: who asks. What detection reads of the agent is something else.
    let fault = Fault::of("DynamoDB_20120810.BatchGetItem", &format!("i:agent/{agent}"), "throttle", ALWAYS);
    assert_eq!(site.post(&token, &sign, message(b"now")).failed(503), "unavailable");
    assert!(fault.happened() > 1, "it was tried again");
    drop(fault);
    site.post(&token, &sign, message(b"after")).ok();
    assert_eq!(settled(site, &frank, &key, "key.sign", 3).len(), 3);
}

#[test]
fn what_a_table_wrote_and_did_not_say_is_one_record_of_one_signature() {
    let site = site();
    let frank = site.log_in("frank@org", &EVERYTHING);
    let name = site.name("answer-lost");
    let key = text(&site.key(&frank, &name, "Ed25519"), "id");
    let (_, token) = site.agent(&frank, &format!("key:{name}:sign"), "service");
    let fault = Fault::of("DynamoDB_20120810.PutItem", &key, "lose-answer", 1);
    site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"once")).ok();
    assert_eq!(fault.happened(), 1);
    assert_eq!(settled(site, &frank, &key, "key.sign", 1).len(), 1);
}

#[test]
fn a_kms_without_room_is_named_and_keeps_no_other_key_waiting() {
    let site = site();
    let frank = site.log_in("frank@org", &EVERYTHING);
    let (there, here) = (site.name("at-busy-kms"), site.name("here"));
    let body = json!({ "name": there, "backend": "kms", "algorithm": "ECDSA-P256", "activate": true });
    let made = site.post(&frank, "/v1/keys", body).ok();
    site.key(&frank, &here, "Ed25519");
    let (_, token) = site.agent(&frank, &format!("key:{there}:sign key:{here}:sign"), "service");
    let [at_kms, own] = [&there, &here].map(|name| format!("/v1/keys/{name}/sign"));
    let alias = made["at_backend"]["aliases"][0].as_str().unwrap();
    let of_kms = text(&call("kms", "describe_key", &json!({ "KeyId": alias }))["KeyMetadata"], "KeyId");
    site.post(&token, &at_kms, message(b"before")).ok();

    let fault = Fault::of("TrentService.Sign", &of_kms, "throttle", ALWAYS);
    let refused = site.post(&token, &at_kms, message(b"now"));
    assert_eq!(refused.failed(503), "unavailable");
    assert_eq!(refused.body["title"], "the key store did not answer");
    assert!(fault.happened() > 1, "it was tried again");
    site.post(&token, &own, message(b"now")).ok();
    drop(fault);
    wait_for("KMS's signature", || (site.post(&token, &at_kms, message(b"after")).status == 200).then_some(()));

    let key = text(&made, "id");
    let signed = settled(site, &frank, &key, "key.sign", 2);
    assert_eq!(signed.len(), 2, "{signed:?}");
    let failed = site.get(&frank, &format!("/v1/audit?op=key.sign&outcome=error&key={key}")).ok();
    assert!(!failed["items"].as_array().unwrap().is_empty(), "what failed is on record, too: {failed}");
    call("kms", "schedule_key_deletion", &json!({ "KeyId": of_kms, "PendingWindowInDays": 7 }));
}

/// Of an operation that no other test asks the deployment for.
#[test]
fn a_function_that_is_out_of_time_releases_nothing() {
    let site = site();
    let frank = site.log_in("frank@org", &EVERYTHING);
    let name = site.name("out-of-time");
    let key = text(&site.key(&frank, &name, "AES-256-GCM"), "id");
    let (_, token) = site.agent(&frank, &format!("key:{name}:generate-data-key"), "service");
    let data_key = || site.post(&token, &format!("/v1/keys/{name}/generate-data-key"), json!({}));
    let hurried = Hurried::new("op-key-generate-data-key", 2);
    let fault = Fault::of("DynamoDB_20120810.PutItem", &key, "hold", ALWAYS);
    let failed = data_key();
    assert!(failed.status >= 500 && failed.body.get("plaintext").is_none(), "{failed:?}");
    assert_eq!(fault.happened(), 1);
    drop((fault, hurried));
    assert!(data_key().ok()["plaintext"].is_string());
    assert_eq!(settled(site, &frank, &key, "key.generate-data-key", 1).len(), 1);
}

/// A function that is given less time, until this is dropped.
struct Hurried {
    function: String,
    usual: Value,
}

impl Hurried {
    fn new(function: &str, seconds: u32) -> Self {
        let function = text(&output("function_names"), function);
        let found = call("lambda", "get_function_configuration", &json!({ "FunctionName": function }));
        let hurried = Self { function, usual: found["Timeout"].clone() };
        assert_eq!(hurried.set(&json!(seconds))["Timeout"], json!(seconds));
        hurried
    }

    fn set(&self, seconds: &Value) -> Value {
        let asked = json!({ "FunctionName": self.function, "Timeout": seconds });
        call("lambda", "update_function_configuration", &asked)
    }
}

impl Drop for Hurried {
    fn drop(&mut self) {
        self.set(&self.usual);
    }
}

/// The records of what a key did, once there are as many as are expected.
fn settled(site: &Site, human: &str, key: &str, operation: &str, expected: usize) -> Vec<Value> {
    wait_for("the records", || {
        let found = site.get(human, &format!("/v1/audit?op={operation}&outcome=ok&limit=200&key={key}")).ok();
        let items = found["items"].as_array().unwrap().clone();
        (items.len() >= expected).then_some(items)
    })
}
