//! What happens by itself, on a deployment: nobody calls `scheduled` but its schedule. What would be due in days is made due now in
//! the table.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use crate::approvals::asks_about_high_tier;
use aegis_core::ambient::Timestamp;
use aegis_core::repository::due_sort;
use aegis_tests::account::{StateItem, call};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for, wait_long_for};
use aegis_tests::{message, text};
use serde_json::{Value, json};

#[test]
fn a_key_is_rotated_when_that_is_due() {
    let site = site();
    let rolf = site.log_in("rolf@org", &EVERYTHING);
    let name = site.name("rotates");
    let body = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "rotate_every_days": 1 });
    let key = text(&site.post(&rolf, "/v1/keys", body).ok(), "id");
    let (_, token) = site.agent(&rolf, &format!("key:{name}:sign,verify"), "service");
    let signed = || site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"x")).ok();
    let earlier = signed();
    assert_eq!(earlier["key_version"], 1);
    make_due(&item_of(&key), |record| record["key"]["rotated_at"] = json!(days_ago(2)));
    wait_for("the rotation", || (shown(site, &rolf, &key)["version"] == 2).then_some(()));
    assert_eq!(signed()["key_version"], 2);
    let mut check = message(b"x");
    (check["signature"], check["key_version"]) = (earlier["signature"].clone(), json!(1));
    assert_eq!(site.post(&token, &format!("/v1/keys/{name}/verify"), check).ok()["valid"], true);
    let [record] = done_by_itself(site, &rolf, &key, "key.rotate");
    assert_eq!((&record["human"], &record["key_version"]), (&json!("rolf@org"), &json!(2)));
}

#[test]
fn the_material_of_a_key_is_gone_when_its_destruction_is_due() {
    let site = site();
    let rolf = site.log_in("rolf@org", &EVERYTHING);
    let name = site.name("destroyed");
    let key = text(&site.key(&rolf, &name, "Ed25519"), "id");
    for step in ["deactivate", "destroy"] {
        site.post(&rolf, &format!("/v1/keys/{key}/{step}"), json!({})).ok();
    }
    let item = item_of(&key);
    assert!(record_of(&item)["material"].is_object(), "{}", record_of(&item));
    make_due(&item, |record| record["key"]["destroy_at"] = json!(days_ago(1)));
    wait_for("the destruction", || (shown(site, &rolf, &key)["state"] == "destroyed").then_some(()));
    done_by_itself(site, &rolf, &key, "key.destroy");
    let version = StateItem::of(&format!("key/{key}"), "version/000001");
    wait_for("the end of the material", || record_of(&version)["material"].is_null().then_some(()));
    assert!(record_of(&item)["material"].is_null());
}

#[test]
fn an_approval_that_nobody_gives_expires_with_what_was_asked() {
    let site = site();
    let rolf = site.log_in("rolf@org", &EVERYTHING);
    asks_about_high_tier(site, &rolf);
    let name = site.name("unanswered");
    let key = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "tier": "high" });
    site.post(&rolf, "/v1/keys", key).ok();
    let (_, token) = site.agent(&rolf, &format!("key:{name}:sign"), "service");
    let refused = site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"pay 10 EUR"));
    let approval = text(&refused.body, "approval");
    assert_eq!(refused.refused(403), "step_up");
    let item = StateItem::of(&format!("approval/{approval}"), "approval");
    assert!(record_of(&item)["payload"]["sealed"].is_object(), "{}", record_of(&item));
    make_due(&item, |record| record["approval"]["expires_at"] = json!(days_ago(1)));
    wait_for("the end of the approval", || (record_of(&item)["approval"]["state"] == "expired").then_some(()));
    assert_eq!(record_of(&item)["payload"], "deleted");
    let login = site.log_in_to_approve("rolf@org", &EVERYTHING);
    let answer = site.post(&login, &format!("/v1/approvals/{approval}/approve"), json!({}));
    assert!(answer.status >= 400, "{answer:?}");
}

/// An hour after KMS was asked last. Somebody has disabled the key there meanwhile.
#[test]
fn a_back_end_is_asked_each_hour_who_can_use_a_key() {
    let site = site();
    let rolf = site.log_in("rolf@org", &EVERYTHING);
    let name = site.name("surveyed");
    let body = json!({ "name": name, "backend": "kms", "algorithm": "ECDSA-P256", "activate": true });
    let made = site.post(&rolf, "/v1/keys", body).ok();
    let (key, alias) = (text(&made, "id"), made["at_backend"]["aliases"][0].clone());
    let there = text(&call("kms", "describe_key", &json!({ "KeyId": alias }))["KeyMetadata"], "KeyId");
    call("kms", "disable_key", &json!({ "KeyId": there }));
    assert_eq!(shown(site, &rolf, &key)["at_backend"]["state"], "enabled");
    let before = Timestamp::now();
    make_due(&item_of(&key), |record| record["key"]["at_backend"]["as_of"] = json!(days_ago(1)));
    let survey = wait_for("the survey", || {
        let survey = shown(site, &rolf, &key)["at_backend"].clone();
        let as_of: Timestamp = survey["as_of"].as_str().unwrap().parse().unwrap();
        (as_of >= before).then_some(survey)
    });
    assert_eq!(survey["state"], "disabled", "{survey}");
    done_by_itself(site, &rolf, &key, "key.survey");
    call("kms", "schedule_key_deletion", &json!({ "KeyId": there, "PendingWindowInDays": 7 }));
}

fn item_of(key: &str) -> StateItem {
    StateItem::of(&format!("key/{key}"), "key")
}

fn record_of(item: &StateItem) -> Value {
    serde_json::from_str(item.read().unwrap()["body"]["S"].as_str().unwrap()).unwrap()
}

fn shown(site: &Site, human: &str, key: &str) -> Value {
    site.get(human, &format!("/v1/keys/{key}")).ok()
}

fn days_ago(days: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - days * 86_400).unwrap()
}

/// Changes what a document says of its time, and where the index has it that is searched for what is due.
pub(crate) fn make_due(item: &StateItem, change: impl Fn(&mut Value)) {
    let mut found = item.read().unwrap();
    let mut record = record_of(item);
    change(&mut record);
    found["body"]["S"] = json!(record.to_string());
    let due = found["g4s"]["S"].as_str().unwrap();
    let sorted = due.split_once('/').unwrap().1.to_string();
    found["g4s"]["S"] = json!(format!("{}/{sorted}", due_sort(days_ago(1))));
    item.put_back(Some(&found));
}

/// The record of what was done to a key once by nobody's request.
fn done_by_itself(site: &Site, human: &str, key: &str, operation: &str) -> [Value; 1] {
    let found = wait_long_for("its record", || {
        let found = site.get(human, &format!("/v1/audit?op={operation}&key={key}&limit=200")).ok();
        let items = found["items"].as_array().unwrap().iter();
        let own: Vec<Value> = items.filter(|record| record["plane"] == "internal").cloned().collect();
        (!own.is_empty()).then_some(own)
    });
    found.try_into().unwrap()
}
