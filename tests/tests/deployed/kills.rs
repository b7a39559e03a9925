//! A function is killed while it has KMS make a key: between what it wrote down it would do, the doing, and the record. What it
//! was asked for can be asked for again at once, and what nobody recorded is undone.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_core::ambient::Timestamp;
use aegis_tests::account::{Fault, call};
use aegis_tests::site::{EVERYTHING, Site, site, wait_long_for};
use aegis_tests::{message, text};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn a_key_is_made_once_whenever_its_function_is_killed() {
    let site = site();
    let kurt = site.log_in("kurt@org", &EVERYTHING);
    let since = Timestamp::now();
    let before = enabled();
    let record = "DynamoDB_20120810.TransactWriteItems";
    // What it is killed at; whether that it would is all that is written down then; and whether KMS made it all the same.
    let table = [
        ("TrentService.CreateKey", "kill-before", true, false),
        ("TrentService.CreateAlias", "kill-after", true, true),
        (record, "kill-before", true, true),
        (record, "kill-after", false, false),
    ];
    let (mut undone, mut left) = (0, 0);
    for (number, (target, does, is_begun, is_made)) in table.into_iter().enumerate() {
        let (name, what) = (site.name(&format!("killed-{number}")), format!("{target} {does}"));
        let holds = if target == record { name.as_str() } else { "aegis" };
        let fault = Fault::of(target, holds, does, 1);
        let killed = create(site, &kurt, &name);
        assert!(killed.status >= 500 && killed.body.get("id").is_none(), "{what}: {killed:?}");
        assert_eq!(fault.happened(), 1, "{what}");
        drop(fault);
        assert_eq!(create(site, &kurt, &name).ok()["state"], "active", "{what}");
        (undone, left) = (undone + usize::from(is_begun), left + usize::from(is_made));
        let (_, token) = site.agent(&kurt, &format!("key:{name}:sign"), "service");
        site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"x")).ok();
    }
    let made = || enabled().difference(&before).cloned().collect::<BTreeSet<_>>();
    assert_eq!(made().len(), table.len() + left, "what nobody recorded is there until nobody can record it any more");

    // Until then somebody could still record it.
    let undoings = wait_long_for("the undoing", || {
        let found = site.get(&kurt, &format!("/v1/audit?op=intent.undo&since={since}")).ok();
        let items = found["items"].as_array().unwrap().clone();
        (items.len() >= undone).then_some(items)
    });
    assert_eq!(undoings.len(), undone, "{undoings:?}");
    assert_eq!(made().len(), table.len());
    for number in 0..table.len() {
        let name = site.name(&format!("killed-{number}"));
        let key = site.get(&kurt, &format!("/v1/keys/{name}")).ok();
        let alias = key["at_backend"]["aliases"][0].as_str().unwrap();
        let of_kms = text(&call("kms", "describe_key", &json!({ "KeyId": alias }))["KeyMetadata"], "KeyId");
        assert!(made().contains(&of_kms), "{name}");
        call("kms", "schedule_key_deletion", &json!({ "KeyId": of_kms, "PendingWindowInDays": 7 }));
    }
}

/// As a client asks that does not know what came of it.
fn create(site: &Site, human: &str, name: &str) -> aegis_tests::Answer {
    let body = json!({ "name": name, "backend": "kms", "algorithm": "ECDSA-P256", "activate": true });
    site.post_once(human, "/v1/keys", name, body)
}

/// The keys of KMS that can be used.
fn enabled() -> BTreeSet<String> {
    let listed = call("kms", "list_keys", &json!({ "Limit": 1000 }));
    let ids = listed["Keys"].as_array().unwrap().iter().map(|key| text(key, "KeyId"));
    let state = |id: &String| call("kms", "describe_key", &json!({ "KeyId": id }))["KeyMetadata"]["KeyState"].clone();
    ids.filter(|id| state(id) == json!("Enabled")).collect::<BTreeSet<_>>()
}
