//! What lies below a deployment on the emulator, for tests that look at it, or do harm to it, as only its owner can.

use crate::process::plain;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// What Terraform put out.
pub fn output(name: &str) -> Value {
    let file = PathBuf::from(std::env::var_os("AEGIS_DEPLOYMENT").unwrap());
    let outputs: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    outputs.get(name).unwrap().get("value").unwrap().clone()
}

/// A call of AWS as the account's own.
pub fn call(service: &str, operation: &str, parameters: &Value) -> Value {
    let mut command = Command::new(std::env::var("AEGIS_TEST_PYTHON").unwrap());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/aws/call.py"));
    let output = command.args([service, operation, &parameters.to_string()]).output().unwrap();
    assert!(output.status.success(), "{operation}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Something that happens to what functions ask of AWS, as `xtask/src/faults.rs` has it, until it is dropped.
pub struct Fault {
    url: String,
}

impl Fault {
    /// Of requests with `target` in what they ask for, and `holds` in their bodies.
    pub fn of(target: &str, holds: &str, does: &str, times: u32) -> Self {
        let name: String =
            format!("{target}-{holds}-{does}").replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let url = format!("{}/_faults/{name}", std::env::var("AEGIS_TEST_FAULTS").unwrap());
        let request = plain().put(&url).header("target", target).header("holds", holds).header("does", does);
        let asked = request.header("times", times.to_string()).send_empty().unwrap();
        assert_eq!(asked.status(), 200, "{url}");
        Self { url }
    }

    /// How often it did.
    pub fn happened(&self) -> u32 {
        let mut told = plain().get(&self.url).call().unwrap();
        told.body_mut().read_to_string().unwrap().parse().unwrap()
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let _ = plain().delete(&self.url).call();
    }
}

/// What the role of a function may do, as Terraform made it.
#[derive(Clone)]
pub struct Role {
    name: Value,
    policy: Value,
}

impl Role {
    pub fn of(function: &str) -> Self {
        let name = output("role_names").get(function).unwrap().clone();
        let found = call("iam", "get_role_policy", &json!({ "RoleName": name, "PolicyName": "needs" }));
        Self { name, policy: found.get("PolicyDocument").unwrap().clone() }
    }

    /// From now on without these statements, until what is returned is dropped.
    pub fn without(&self, sids: &[&str]) -> Withheld {
        let mut policy = self.policy.clone();
        let statements = policy.get_mut("Statement").and_then(Value::as_array_mut).unwrap();
        let before = statements.len();
        statements.retain(|statement| !sids.iter().any(|sid| statement.get("Sid").is_some_and(|found| found == sid)));
        assert_eq!(statements.len() + sids.len(), before, "{sids:?}");
        self.put(&policy);
        Withheld { role: self.clone() }
    }

    fn put(&self, policy: &Value) {
        let asked = json!({ "RoleName": self.name, "PolicyName": "needs", "PolicyDocument": policy.to_string() });
        assert_eq!(call("iam", "put_role_policy", &asked), json!({}));
    }
}

/// A statement that a role is without.
pub struct Withheld {
    role: Role,
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.role.put(&self.role.policy);
    }
}

/// An item of the table of state.
pub struct StateItem {
    key: Value,
}

impl StateItem {
    /// By its partition and its sort key, in the words of the store.
    pub fn of(partition: &str, sort: &str) -> Self {
        Self { key: json!({ "pk": { "S": format!("i:{partition}") }, "sk": { "S": format!(":{sort}") } }) }
    }

    /// As it lies there, if it does.
    pub fn read(&self) -> Option<Value> {
        let asked = json!({ "TableName": output("state_table"), "Key": self.key, "ConsistentRead": true });
        call("dynamodb", "get_item", &asked).get("Item").cloned()
    }

    /// As it was read, or not there.
    pub fn put_back(&self, read: Option<&Value>) {
        let (operation, name, value) = match read {
            Some(item) => ("put_item", "Item", item),
            None => ("delete_item", "Key", &self.key),
        };
        let mut asked = json!({ "TableName": output("state_table") });
        asked.as_object_mut().unwrap().insert(name.to_string(), value.clone());
        assert_eq!(call("dynamodb", operation, &asked), json!({}));
    }
}
