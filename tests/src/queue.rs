//! Queues between the bus and the functions that take from them, for tests that look into one, or come between.

use crate::account::{call, output};
use crate::site::{wait_for, wait_long_for};
use serde_json::{Value, json};

pub struct Queue {
    url: Value,
}

impl Queue {
    /// Of a function, or, with `-dead`, of what it gave up.
    pub fn of(name: &str) -> Self {
        let name = format!("{}-{name}", output("bus_name").as_str().unwrap());
        Self { url: call("sqs", "get_queue_url", &json!({ "QueueName": name })).get("QueueUrl").unwrap().clone() }
    }

    /// How many messages wait, and how many somebody has taken and not finished.
    pub fn holds(&self) -> [u32; 2] {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": names });
        let told = call("sqs", "get_queue_attributes", &asked);
        let attributes = told.get("Attributes").unwrap();
        names.map(|name| attributes.get(name).unwrap().as_str().unwrap().parse().unwrap())
    }

    /// Until all of it is taken in.
    pub fn wait_until_empty(&self) {
        wait_for("an empty queue", || (self.holds() == [0, 0]).then_some(()));
    }

    /// The same, where some of it comes again first.
    pub fn wait_long_until_empty(&self) {
        wait_long_for("an empty queue", || (self.holds() == [0, 0]).then_some(()));
    }

    pub fn send(&self, body: &str) {
        let sent = call("sqs", "send_message", &json!({ "QueueUrl": self.url, "MessageBody": body }));
        assert!(sent.get("MessageId").is_some(), "{sent}");
    }

    /// Takes all that waits out of it: bodies, and how often somebody had taken them before.
    pub fn take(&self) -> Vec<(String, u32)> {
        let asked = json!({
            "QueueUrl": self.url, "MaxNumberOfMessages": 10, "AttributeNames": ["ApproximateReceiveCount"],
        });
        let mut taken = Vec::new();
        loop {
            let told = call("sqs", "receive_message", &asked);
            let Some(messages) = told.get("Messages").and_then(Value::as_array) else { return taken };
            for message in messages {
                let text = |place: &str| message.pointer(place).and_then(Value::as_str).unwrap().to_string();
                let count: u32 = text("/Attributes/ApproximateReceiveCount").parse().unwrap();
                let finished = json!({ "QueueUrl": self.url, "ReceiptHandle": text("/ReceiptHandle") });
                assert_eq!(call("sqs", "delete_message", &finished), json!({}));
                taken.push((text("/Body"), count - 1));
            }
        }
    }

    /// What is taken and not finished waits again after so many seconds, until what is returned is dropped.
    pub fn comes_again_after(&self, seconds: u32) -> ComesAgain<'_> {
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": ["VisibilityTimeout"] });
        let told = call("sqs", "get_queue_attributes", &asked);
        let usual = told.pointer("/Attributes/VisibilityTimeout").unwrap().clone();
        self.set_visibility(&json!(seconds.to_string()));
        ComesAgain { queue: self, usual }
    }

    fn set_visibility(&self, seconds: &Value) {
        let asked = json!({ "QueueUrl": self.url, "Attributes": { "VisibilityTimeout": seconds } });
        assert_eq!(call("sqs", "set_queue_attributes", &asked), json!({}));
    }
}

/// A queue whose messages come again sooner.
pub struct ComesAgain<'a> {
    queue: &'a Queue,
    usual: Value,
}

impl Drop for ComesAgain<'_> {
    fn drop(&mut self) {
        self.queue.set_visibility(&self.usual);
    }
}

/// A function that takes nothing from its queue, until this is dropped.
pub struct Paused {
    mapping: Value,
}

impl Paused {
    /// From now on; what it took before is finished.
    pub fn new(function: &str, queue: &Queue) -> Self {
        let name = output("function_names").get(function).unwrap().clone();
        let found = call("lambda", "list_event_source_mappings", &json!({ "FunctionName": name }));
        let paused = Self { mapping: found.pointer("/EventSourceMappings/0/UUID").unwrap().clone() };
        paused.set(false);
        wait_for("what was taken before", || (queue.holds()[1] == 0).then_some(()));
        paused
    }

    fn set(&self, enabled: bool) {
        let told = call("lambda", "update_event_source_mapping", &json!({ "UUID": self.mapping, "Enabled": enabled }));
        let state = if enabled { "Enabled" } else { "Disabled" };
        assert_eq!(told.get("State"), Some(&json!(state)), "{told}");
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.set(true);
    }
}
