//! Alerts to people: an SNS topic, to which mail, chat and pagers subscribe.

use aegis_core::error::Error;
use aws_sdk_sns::Client;

/// The topic of a deployment.
#[derive(Clone, Debug)]
pub struct Alerts {
    client: Client,
    topic: String,
}

impl Alerts {
    pub fn new(client: Client, topic: String) -> Self {
        Self { client, topic }
    }

    /// Tells it to all who subscribed; twice where an answer was lost. `subject` is one line of at most 100 characters of ASCII.
    ///
    /// # Errors
    /// [`Error::Unavailable`], after which they may have been told or not.
    pub async fn tell(&self, subject: &str, body: &str) -> Result<(), Error> {
        let subject: String = subject.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(100).collect();
        let told = self.client.publish().topic_arn(&self.topic).subject(subject).message(body).send().await;
        told.map(|_| ()).map_err(|error| crate::unavailable("the alerts topic")(error.into()))
    }
}
