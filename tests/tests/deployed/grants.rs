//! Without a grant that its work needs a function does none of it, and what it was to do is not lost: each statement taken away by
//! itself, and given back. That roles can do nothing else is tried by `tests/aws/suite/test_direct.py`; what the edge does without a
//! grant, by `edge`, what takes from queues, by `consumers`, and what the bus misses, by `outage`. Run by xtask after the others.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use crate::scheduled::make_due;
use aegis_core::ambient::Timestamp;
use aegis_tests::account::{Fault, Role, StateItem, call, output};
use aegis_tests::site::{EVERYTHING, Site, site};
use aegis_tests::{Answer, message, text};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one takes away another would need: one at a time.
static ROLES: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ROLES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `RootKey` and `TokenKey` the policies of those keys grant, too.
#[test]
fn what_the_role_of_an_operation_is_not_granted_it_does_not_do() {
    let _alone = alone();
    let used = Used::new(site());
    for operation in ["sign", "verify-mac"] {
        let role = Role::of(&format!("op-key-{operation}"));
        for sid in ["ReadState", "WriteJournal", "PermitKeys"] {
            used.begins_anew(operation);
            let withheld = role.without(&[sid]);
            let answer = used.ask(operation);
            drop(withheld);
            let released = ["signature", "valid"].iter().any(|field| answer.body.get(field).is_some());
            assert!(answer.status >= 500 && !released, "{operation} without {sid}: {answer:?}");
            used.ask(operation).ok();
        }
    }
}

#[test]
fn what_cannot_be_written_is_not_made() {
    let _alone = alone();
    let site = site();
    let gina = site.log_in("gina@org", &EVERYTHING);
    let [key, agent] = ["not-written", "not-issued"].map(|name| site.name(name));
    let table = [
        ("op-key-create", "/v1/keys", json!({ "name": key, "algorithm": "Ed25519", "activate": true })),
        (
            "op-agent-issue",
            "/v1/agents",
            json!({ "label": agent, "scope": format!("key:{key}:sign"), "purpose": "service" }),
        ),
    ];
    for (function, path, body) in table {
        let role = Role::of(function);
        for sid in ["WriteState", "WriteJournal"] {
            let withheld = role.without(&[sid]);
            let answer = site.post(&gina, path, body.clone());
            drop(withheld);
            assert!(answer.status >= 500 && answer.body.get("id").is_none(), "{function} without {sid}: {answer:?}");
            let found = site.get(&gina, &format!("{path}?limit=200")).ok().to_string();
            assert!(!found.contains(&key) && !found.contains(&agent), "{function} without {sid}: {found}");
        }
        site.post(&gina, path, body).ok();
    }
}

/// Called out of its turn: what it cannot do now it does the next time.
#[test]
fn what_the_role_of_the_schedule_is_not_granted_is_done_later() {
    let _alone = alone();
    let site = site();
    let gina = site.log_in("gina@org", &EVERYTHING);
    let name = site.name("rotates-later");
    let body = json!({ "name": name, "algorithm": "Ed25519", "activate": true, "rotate_every_days": 1 });
    let key = text(&site.post(&gina, "/v1/keys", body).ok(), "id");
    let item = StateItem::of(&format!("key/{key}"), "key");
    let version = || site.get(&gina, &format!("/v1/keys/{key}")).ok()["version"].clone();
    let scheduled = output("function_names")["scheduled"].clone();
    let role = Role::of("scheduled");
    // An emulator does not tell the partitions of the journal apart: what lets it write heartbeats lets it write records there.
    let table: [(&[&str], u32); 3] = [(&["ReadState"], 2), (&["WriteState"], 3), (&["WriteJournal", "Heartbeat"], 4)];
    for (sids, next) in table {
        let withheld = role.without(sids);
        let since = Timestamp::from_second(Timestamp::now().as_second() - 2 * 86_400).unwrap();
        make_due(&item, |record| record["key"]["rotated_at"] = json!(since));
        call("lambda", "invoke", &json!({ "FunctionName": scheduled }));
        assert_eq!(version(), next - 1, "without {sids:?}");
        drop(withheld);
        call("lambda", "invoke", &json!({ "FunctionName": scheduled }));
        assert_eq!(version(), next, "{sids:?} given back");
    }
}

/// A key that signs and one that makes MACs, and who may use them.
struct Used {
    site: &'static Site,
    token: String,
    names: [String; 2],
    keys: [String; 2],
    mac: Value,
}

impl Used {
    fn new(site: &'static Site) -> Self {
        let gina = site.log_in("gina@org", &EVERYTHING);
        let names = ["of-grants", "of-grants-mac"].map(|name| site.name(name));
        let algorithms = ["Ed25519", "HMAC-SHA256"];
        let keys = [0, 1].map(|place| text(&site.key(&gina, &names[place], algorithms[place]), "id"));
        let scope = format!("key:{}:sign key:{}:mac,verify-mac", names[0], names[1]);
        let (_, token) = site.agent(&gina, &scope, "service");
        let mac = site.post(&token, &format!("/v1/keys/{}/mac", names[1]), message(b"x")).ok()["mac"].clone();
        Self { site, token, names, keys, mac }
    }

    fn ask(&self, operation: &str) -> Answer {
        let mut body = message(b"x");
        let place = usize::from(operation == "verify-mac");
        if operation == "verify-mac" {
            body["mac"] = self.mac.clone();
        }
        self.site.post(&self.token, &format!("/v1/keys/{}/{operation}", self.names[place]), body)
    }

    /// What the function has read already it would not ask for again: it is killed.
    fn begins_anew(&self, operation: &str) {
        let key = &self.keys[usize::from(operation == "verify-mac")];
        let killed = Fault::of("DynamoDB_20120810.PutItem", key, "kill-before", 1);
        let answer = self.ask(operation);
        assert_eq!(killed.happened(), 1, "{operation}: {answer:?}");
        assert!(answer.status >= 500, "{operation}: {answer:?}");
    }
}
