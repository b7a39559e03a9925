//! The secret that a receiver and Aegis share, and what is signed with it (Standard Webhooks, symmetric signatures).

use crate::ambient::{Entropy, Timestamp, after_seconds};
use crate::error::Error;
use crate::id::WebhookId;
use crate::pipeline::App;
use crate::seal::Sealed;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Bytes that sign. Wiped on drop; no `Clone`, no `Serialize`.
pub struct Secret(Zeroizing<Vec<u8>>);

/// A secret as it lies in the store.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SealedSecret {
    sealed: Sealed,
    /// From when on it signs no more; absent for the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Seconds for which the secret before the present one still signs: a day, for receivers to follow.
const OVERLAP: i64 = 86_400;
/// Between 24 and 64, says the specification.
const LENGTH: usize = 32;
const PURPOSE: &str = "webhook secrets";

impl Secret {
    pub fn new(entropy: &Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; LENGTH]);
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// As its receiver keeps it: `whsec_` and base64. Said once, in the answer to whoever made it.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", Zeroizing::new(STANDARD.encode(self.0.as_slice())).as_str()))
    }

    /// The signature of one message: `v1,` and base64.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
    }

    pub(crate) fn seal(&self, app: &App, webhook: &WebhookId) -> Result<SealedSecret, Error> {
        let key = app.digest_key.sealing_key(PURPOSE);
        Ok(SealedSecret { sealed: key.seal(webhook.as_str(), &self.0, &app.entropy)?, until: None })
    }
}

impl SealedSecret {
    pub(crate) fn open(&self, app: &App, webhook: &WebhookId) -> Result<Secret, Error> {
        app.digest_key.sealing_key(PURPOSE).open(webhook.as_str(), &self.sealed).map(Secret)
    }

    /// It signs until the overlap is over.
    pub(crate) fn retire(self, now: Timestamp) -> Self {
        Self { until: Some(after_seconds(now, OVERLAP)), ..self }
    }

    pub(crate) fn signs_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference libraries of Standard Webhooks.
    #[test]
    fn a_signature_is_the_one_of_the_reference_libraries() {
        let secret = Secret(Zeroizing::new(STANDARD.decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()));
        assert_eq!(secret.expose().as_str(), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = secret.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
