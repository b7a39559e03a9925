//! Keys of AWS KMS, which stay there and which others may use too. Every operation is KMS's own, and so is what it makes:
//! ciphertexts and signatures are those that any other caller of KMS gets of the same key, under the caller's context and
//! nothing else. A key is held by its ARN, whatever it was registered as: an alias that moves takes no key along.
//!
//! KMS has policies of its own. Who else they let use a key uses it past Aegis.

mod access;
mod failure;
mod guard;
mod making;
mod spec;
mod survey;
#[cfg(test)]
mod tests;

pub use access::{NotAPrincipal, Principals};
use aegis_core::algorithm::{Algorithm, MessageType, Purpose};
use aegis_core::ambient::Entropy;
use aegis_core::id::RecordId;
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use aegis_core::name::ObjectName;
use aegis_core::survey::{Lockdown, Survey};
use async_trait::async_trait;
use aws_lc_rs::digest::{self, digest};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyManagerType, KeyMetadata, KeyState, MessageType as KmsMessageType, MultiRegionKeyType};
use failure::{Failure, NOT_ENABLED};
use guard::{Breaker, Pace};
use spec::{Does, Encrypts, MOST, MOST_PROOF, Spec};
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Uses, and makes, keys in one region of AWS KMS.
pub struct AwsKmsKeyStore {
    kms: Client,
    entropy: Entropy,
    makes: bool,
    mark: Option<String>,
    meant: Principals,
    breaker: Breaker,
    pace: Pace,
}

impl AwsKmsKeyStore {
    /// Asks nothing yet. Region, credentials and endpoint are `client`'s; how often and how long is tried is not.
    pub fn new(client: &Client, entropy: Entropy) -> Self {
        let config = client.config().to_builder().retry_config(retries()).timeout_config(timeouts());
        // What others in this process have to try again is no measure for these keys.
        let config = config.retry_partition(RetryPartition::new("aegis-key-store"));
        Self {
            kms: Client::from_conf(config.build()),
            entropy,
            makes: true,
            mark: None,
            meant: Principals::default(),
            breaker: Breaker::default(),
            pace: Pace::new(PER_SECOND),
        }
    }

    /// One that makes no keys, for a deployment which may not.
    #[must_use]
    pub fn that_makes_none(mut self) -> Self {
        self.makes = false;
        self
    }

    /// One whose keys bear a tag that says whose they are: `aegis:made-by`, with the deployment's name.
    #[must_use]
    pub fn that_marks(mut self, deployment: String) -> Self {
        self.mark = Some(deployment);
        self
    }

    /// Whom the keys are meant for: everybody else who can use one shares it.
    #[must_use]
    pub fn with_principals(mut self, meant: Principals) -> Self {
        self.meant = meant;
        self
    }

    /// The most calls in a second: the deployment's share of a quota that is the whole account's.
    #[must_use]
    pub fn with_pace(mut self, per_second: u32) -> Self {
        self.pace = Pace::new(per_second);
        self
    }

    /// Every call of KMS goes this way.
    async fn ask<T: RequestId, E>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        self.pace.turn().await?;
        self.breaker.pass()?;
        let answer = call.await.map_err(Failure::new);
        self.breaker.tell(!answer.as_ref().is_err_and(Failure::is_outage));
        if let Ok(answer) = &answer {
            tracing::debug!(kms_request = answer.request_id(), "KMS answered");
        }
        answer
    }

    /// The same of a call that uses a key: KMS's name for it is noted, whatever came of it.
    async fn ask_for<T: RequestId, E>(
        &self,
        version: VersionRef<'_>,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let answer = self.ask(call).await;
        version.note(match &answer {
            Ok(answer) => answer.request_id().unwrap_or_default(),
            Err(failure) => failure.request(),
        });
        answer
    }

    /// What KMS says of a key.
    async fn describe(&self, object: &str) -> Result<KeyMetadata, Failure> {
        let described = self.ask(self.kms.describe_key().key_id(object).send()).await?;
        described.key_metadata.ok_or_else(|| Failure::unasked(NOTHING))
    }

    /// What stands for a key of KMS that is fit for `algorithm`.
    async fn material(&self, spec: &Spec, arn: &str) -> Result<Material, Failure> {
        let public_key = match spec.has_public_half() {
            false => None,
            true => {
                let public = self.ask(self.kms.get_public_key().key_id(arn).send()).await?.public_key;
                Some(public.ok_or_else(|| Failure::unasked(NOTHING))?.into_inner())
            }
        };
        Ok(Material { sealed: arn.as_bytes().to_vec(), public_key })
    }
}

/// The ARN of a key that is fit for use with `spec`.
fn check(spec: &Spec, key: &KeyMetadata) -> Result<String, KeyStoreError> {
    let invalid = |what| Err(KeyStoreError::Invalid { what });
    if key.key_manager != Some(KeyManagerType::Customer) {
        return invalid("AWS manages this key for a service of its own, and lets nobody else use it");
    }
    // One key would be known by several ARNs.
    let multi = key.multi_region_configuration.as_ref();
    if multi.and_then(|multi| multi.multi_region_key_type.as_ref()) == Some(&MultiRegionKeyType::Replica) {
        return invalid("this is a replica of a multi-region key: register its primary");
    }
    if key.key_spec.as_ref() != Some(&spec.key) {
        return invalid("the KMS key is of another key spec than the algorithm takes");
    }
    if key.key_usage.as_ref() != Some(&spec.usage()) {
        return invalid("the KMS key is of another key usage than the algorithm's");
    }
    match (&key.key_state, &key.arn) {
        (Some(KeyState::Enabled), Some(arn)) => Ok(arn.clone()),
        _ => Err(NOT_ENABLED),
    }
}

fn arn(material: &Material) -> Result<&str, KeyStoreError> {
    std::str::from_utf8(&material.sealed).map_err(|_| KeyStoreError::Damaged)
}

fn encrypts(algorithm: Algorithm, context: &Context) -> Result<Encrypts, KeyStoreError> {
    let Does::Encrypts(encrypts) = Spec::of(algorithm)?.does else {
        return Err(KeyStoreError::Invalid { what: "this key does not encrypt" });
    };
    match encrypts.asymmetric && !context.is_empty() {
        // Wrapping and data keys have a context of their own.
        true => Err(KeyStoreError::Invalid {
            what: "an RSA key of KMS encrypts without context, and no keys are wrapped with it",
        }),
        false => Ok(encrypts),
    }
}

/// A message as KMS takes it for signing. Longer ones, and empty ones, which KMS does not take, are hashed here.
fn message(
    hash: &'static digest::Algorithm,
    kind: MessageType,
    message: &[u8],
) -> Result<(KmsMessageType, Blob), KeyStoreError> {
    match kind {
        MessageType::Digest if message.len() == hash.output_len() => Ok((KmsMessageType::Digest, Blob::new(message))),
        MessageType::Digest => Err(KeyStoreError::Invalid { what: "the digest is not of the algorithm's own hash" }),
        MessageType::Raw if (1..=MOST).contains(&message.len()) => Ok((KmsMessageType::Raw, Blob::new(message))),
        MessageType::Raw => Ok((KmsMessageType::Digest, Blob::new(digest(hash, message).as_ref()))),
    }
}

fn check_length(message: &[u8], most: usize, what: &'static str) -> Result<(), KeyStoreError> {
    match (1..=most).contains(&message.len()) {
        true => Ok(()),
        false => Err(KeyStoreError::Invalid { what }),
    }
}

/// What KMS would say is no proof, without asking.
fn is_proof(bytes: &[u8]) -> bool {
    (1..=MOST_PROOF).contains(&bytes.len())
}

fn pairs(context: &Context) -> Option<HashMap<String, String>> {
    Some(context.clone().into_iter().collect()).filter(|pairs: &HashMap<_, _>| !pairs.is_empty())
}

fn bytes(blob: Option<Blob>) -> Result<Vec<u8>, KeyStoreError> {
    blob.map(Blob::into_inner).ok_or_else(|| KeyStoreError::Unavailable { source: NOTHING.into() })
}

#[async_trait]
impl KeyStore for AwsKmsKeyStore {
    fn check_create(&self, version: VersionRef<'_>) -> Result<(), KeyStoreError> {
        Spec::of(version.algorithm)?;
        if !self.makes {
            return Err(KeyStoreError::Invalid {
                what: "this deployment makes no keys in KMS: make one there, and register it",
            });
        }
        match version.version > 1 && version.algorithm.purpose() == Purpose::EncryptDecrypt {
            true => Err(KeyStoreError::Invalid {
                what: "ciphertexts of KMS do not tell a version of Aegis: let KMS rotate what it encrypts with, or make another key",
            }),
            false => Ok(()),
        }
    }

    async fn create(&self, version: VersionRef<'_>, token: &RecordId) -> Result<Material, KeyStoreError> {
        self.check_create(version)?;
        self.make(&Spec::of(version.algorithm)?, version, token).await
    }

    async fn undo(&self, token: &RecordId) -> Result<(), KeyStoreError> {
        self.unmake(token).await.map_err(Failure::on_use)
    }

    async fn import(
        &self,
        _: VersionRef<'_>,
        _: VersionRef<'_>,
        _: &Material,
        _: &[u8],
    ) -> Result<Material, KeyStoreError> {
        Err(KeyStoreError::Invalid { what: "import the key material at KMS, and register the key" })
    }

    async fn register(&self, algorithm: Algorithm, object: &ObjectName) -> Result<Material, KeyStoreError> {
        let spec = Spec::of(algorithm)?;
        let described = self.describe(object.as_str()).await.map_err(Failure::on_register)?;
        if making::is_made_here(&described) {
            return Err(KeyStoreError::Invalid { what: "this key was made by Aegis, for a key of its own" });
        }
        let arn = check(&spec, &described)?;
        self.material(&spec, &arn).await.map_err(Failure::on_register)
    }

    /// KMS keeps it for seven days more, in which its own administrators can have it back.
    async fn destroy(&self, _: VersionRef<'_>, material: &Material) -> Result<(), KeyStoreError> {
        self.schedule_deletion(arn(material)?).await.map_err(Failure::on_use)
    }

    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let Does::Signs(with, hash) = Spec::of(version.algorithm)?.does else { return Err(NOT_A_SIGNING_KEY) };
        let (kind, message) = self::message(hash, kind, message)?;
        let call = self.kms.sign().key_id(arn(material)?).signing_algorithm(with).message_type(kind).message(message);
        let signed = self.ask_for(version, call.send()).await.map_err(Failure::on_use)?;
        bytes(signed.signature)
    }

    async fn verify(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyStoreError> {
        let Does::Signs(with, hash) = Spec::of(version.algorithm)?.does else { return Err(NOT_A_SIGNING_KEY) };
        let (kind, message) = self::message(hash, kind, message)?;
        if !is_proof(signature) {
            return Ok(false);
        }
        let call = self.kms.verify().key_id(arn(material)?).signing_algorithm(with).message_type(kind).message(message);
        match self.ask_for(version, call.signature(Blob::new(signature)).send()).await {
            Ok(verified) => Ok(verified.signature_valid),
            Err(failure) if failure.is("KMSInvalidSignatureException") => Ok(false),
            Err(failure) => Err(failure.on_use()),
        }
    }

    async fn mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let Does::Codes(with) = Spec::of(version.algorithm)?.does else { return Err(NO_CODES) };
        check_length(message, MOST, MESSAGE_LENGTH)?;
        let call = self.kms.generate_mac().key_id(arn(material)?).mac_algorithm(with).message(Blob::new(message));
        let made = self.ask_for(version, call.send()).await.map_err(Failure::on_use)?;
        bytes(made.mac)
    }

    async fn verify_mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
        mac: &[u8],
    ) -> Result<bool, KeyStoreError> {
        let Does::Codes(with) = Spec::of(version.algorithm)?.does else { return Err(NO_CODES) };
        check_length(message, MOST, MESSAGE_LENGTH)?;
        if !is_proof(mac) {
            return Ok(false);
        }
        let call = self.kms.verify_mac().key_id(arn(material)?).mac_algorithm(with).message(Blob::new(message));
        match self.ask_for(version, call.mac(Blob::new(mac)).send()).await {
            Ok(verified) => Ok(verified.mac_valid),
            Err(failure) if failure.is("KMSInvalidMacException") => Ok(false),
            Err(failure) => Err(failure.on_use()),
        }
    }

    async fn encrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let Encrypts { with, most, .. } = encrypts(version.algorithm, context)?;
        check_length(plaintext, most, "KMS encrypts 1 to 4,096 bytes; with RSA at most 190, 318 or 446")?;
        let call = self.kms.encrypt().key_id(arn(material)?).encryption_algorithm(with);
        let call = call.set_encryption_context(pairs(context)).plaintext(Blob::new(plaintext));
        let encrypted = self.ask_for(version, call.send()).await.map_err(Failure::on_use)?;
        bytes(encrypted.ciphertext_blob)
    }

    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let Encrypts { with, .. } = encrypts(version.algorithm, context)?;
        if !is_proof(ciphertext) {
            return Err(KeyStoreError::Refused);
        }
        // Without the key's name KMS would take whichever key the ciphertext names.
        let call = self.kms.decrypt().key_id(arn(material)?).encryption_algorithm(with);
        let call = call.set_encryption_context(pairs(context)).ciphertext_blob(Blob::new(ciphertext));
        let decrypted = self.ask_for(version, call.send()).await.map_err(Failure::on_use)?;
        bytes(decrypted.plaintext).map(Zeroizing::new)
    }

    /// No other is ever made of a key that encrypts.
    fn version_of(&self, present: VersionRef<'_>, _: &[u8]) -> Result<u32, KeyStoreError> {
        Ok(present.version)
    }

    async fn set_enabled(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        enabled: bool,
    ) -> Result<(), KeyStoreError> {
        self.switch(version, arn(material)?, enabled).await.map_err(Failure::on_use)
    }

    async fn survey(&self, material: &Material) -> Result<Option<Survey>, KeyStoreError> {
        self.surveyed(arn(material)?).await.map(Some).map_err(Failure::on_use)
    }

    async fn lockdown(&self, version: VersionRef<'_>, material: &Material) -> Result<Lockdown, KeyStoreError> {
        self.locked_down(version, arn(material)?).await
    }

    fn random(&self, buffer: &mut [u8]) {
        self.entropy.fill(buffer);
    }
}

impl fmt::Debug for AwsKmsKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKmsKeyStore(..)")
    }
}

/// What is throttled, answered by a fault of KMS or not answered is tried again after a random pause, below a bound that
/// doubles. Nothing that makes a key is.
fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_PAUSE).with_max_backoff(LAST_PAUSE)
}

/// A caller of Aegis waits less than the 29 seconds of API Gateway.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(DEADLINE)
        .build()
}

/// Chosen: with the pauses between them they fit into the deadline unless KMS is slow, too.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// Far more than KMS takes; an HMAC takes it milliseconds, an RSA-4096 signature tens of them.
const ATTEMPT: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(8);
/// Half of the smallest of KMS's quotas for what is asked here, that of RSA and ECC keys in most regions.
const PER_SECOND: u32 = 250;
const NOTHING: &str = "KMS answered without what it was asked for";
const NOT_A_SIGNING_KEY: KeyStoreError = KeyStoreError::Invalid { what: "this key does not sign" };
const NO_CODES: KeyStoreError = KeyStoreError::Invalid { what: "this key makes no message authentication codes" };
const MESSAGE_LENGTH: &str = "KMS takes messages of 1 to 4,096 bytes";
