//! What lies below a deployment on the emulator, for tests that look at it, or do harm to it, as only its owner can.

use crate::process::plain;
use serde_json::Value;
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
