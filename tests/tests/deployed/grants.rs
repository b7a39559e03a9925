//! Without a grant that its work needs a function releases nothing: those of one role, each taken away by itself. That roles can do
//! nothing else is tried by `tests/aws/suite/test_direct.py`.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_tests::account::{Fault, call, output};
use aegis_tests::site::{EVERYTHING, site};
use aegis_tests::{message, text};
use serde_json::{Value, json};

/// Of an operation that no other test asks the deployment for: checking a MAC.
#[test]
fn what_a_role_is_not_granted_its_function_does_not_do() {
    let site = site();
    let gina = site.log_in("gina@org", &EVERYTHING);
    let name = site.name("of-grants");
    let key = text(&site.key(&gina, &name, "HMAC-SHA256"), "id");
    let (_, token) = site.agent(&gina, &format!("key:{name}:mac,verify-mac"), "service");
    let mut check = message(b"x");
    check["mac"] = site.post(&token, &format!("/v1/keys/{name}/mac"), message(b"x")).ok()["mac"].clone();
    let verify = || site.post(&token, &format!("/v1/keys/{name}/verify-mac"), check.clone());
    assert_eq!(verify().ok()["valid"], true);
    // What the function has read already it would not ask for again: it is killed, and begins anew.
    let begin_anew = || {
        let killed = Fault::of("DynamoDB_20120810.PutItem", &key, "kill-before", 1);
        assert!(verify().status >= 500 && killed.happened() == 1);
    };
    let role = Role::of("op-key-verify-mac");
    // `RootKey` the policy of that key grants, too.
    for sid in ["ReadState", "WriteJournal", "PermitKeys"] {
        begin_anew();
        role.without(sid);
        let answer = verify();
        role.put(&role.policy);
        assert!(answer.status >= 500 && answer.body.get("valid").is_none(), "{sid}: {answer:?}");
        assert_eq!(verify().ok()["valid"], true, "{sid} given back");
    }
}

struct Role {
    name: Value,
    policy: Value,
}

impl Role {
    fn of(function: &str) -> Self {
        let name = output("role_names")[function].clone();
        let found = call("iam", "get_role_policy", &json!({ "RoleName": name, "PolicyName": "needs" }));
        Self { name, policy: found["PolicyDocument"].clone() }
    }

    fn without(&self, sid: &str) {
        let mut policy = self.policy.clone();
        let statements = policy["Statement"].as_array_mut().unwrap();
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != sid);
        assert_eq!(statements.len() + 1, before, "{sid}");
        self.put(&policy);
    }

    fn put(&self, policy: &Value) {
        let asked = json!({ "RoleName": self.name, "PolicyName": "needs", "PolicyDocument": policy.to_string() });
        assert_eq!(call("iam", "put_role_policy", &asked), json!({}));
    }
}
