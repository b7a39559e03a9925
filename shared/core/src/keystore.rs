//! The key-store port: what makes keys and computes with them, in this process or at a back end. Who may ask is decided
//! before; state and records are kept elsewhere.

use crate::algorithm::{Algorithm, MessageType};
use crate::error::Error;
use crate::id::{KeyId, RecordId};
use crate::key::Key;
use crate::name::{BackendName, ObjectName};
use crate::survey::{Lockdown, Survey};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Makes key material and computes with it.
///
/// Every call names the key and version it is for. A store that keeps wrapped material binds it to both: material
/// presented under another name is refused. No call returns private or secret key bytes.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Refuses what `create` would always refuse, before anything is begun.
    fn check_create(&self, version: VersionRef<'_>) -> Result<(), KeyStoreError>;

    /// Fresh material for one version of a key. What a back end makes for it is found again by `token`: a repeated call
    /// with the same token makes no second object, and `undo` removes the first.
    async fn create(&self, version: VersionRef<'_>, token: &RecordId) -> Result<Material, KeyStoreError>;

    /// Removes what `create` made for `token`. Safe to repeat, and where nothing was made.
    async fn undo(&self, token: &RecordId) -> Result<(), KeyStoreError>;

    /// Material from key bytes that the caller wrapped for `wrapping`, a version of an RSA-3072-OAEP-SHA256 key of this
    /// store: an AES-256 key encrypted by RSAES-OAEP, then the key bytes wrapped under it by AES-KWP (RFC 5649;
    /// `CKM_RSA_AES_KEY_WRAP` of PKCS#11). Key bytes are raw for AES and HMAC, otherwise PKCS#8 (RFC 5958).
    /// [`KeyStoreError::Refused`] for what does not unwrap; [`KeyStoreError::Invalid`] for what is no such key.
    async fn import(
        &self,
        version: VersionRef<'_>,
        wrapping: VersionRef<'_>,
        wrapping_material: &Material,
        wrapped: &[u8],
    ) -> Result<Material, KeyStoreError>;

    /// Material that stands for an object which is there already, and stays there until `destroy`. [`KeyStoreError::Invalid`] if there
    /// is none of that name, or it is no key for `algorithm`.
    async fn register(&self, algorithm: Algorithm, object: &ObjectName) -> Result<Material, KeyStoreError>;

    /// Ends one version of a key for ever, beside what the caller stores of it. Safe to repeat.
    async fn destroy(&self, version: VersionRef<'_>, material: &Material) -> Result<(), KeyStoreError>;

    /// The signature: DER for ECDSA, of fixed length for all others.
    async fn sign(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// Whether `signature` is the key's over `message`. A malformed signature is `false`.
    async fn verify(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        kind: MessageType,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyStoreError>;

    /// The message authentication code, of the full length of the algorithm's hash.
    async fn mac(&self, version: VersionRef<'_>, material: &Material, message: &[u8])
    -> Result<Vec<u8>, KeyStoreError>;

    /// Whether `mac` is the key's over `message`. One of another length is `false`. Takes the same time wherever the
    /// bytes differ.
    async fn verify_mac(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        message: &[u8],
        mac: &[u8],
    ) -> Result<bool, KeyStoreError>;

    /// A ciphertext that only `decrypt` with the same key, version and context opens. It carries its version.
    async fn encrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// The plaintext, or [`KeyStoreError::Refused`] for anything altered, of another key or of another context.
    async fn decrypt(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        context: &Context,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError>;

    /// The key version a ciphertext says it was made with; `present` where it is of a kind that says none. Proves
    /// nothing: `decrypt` does.
    fn version_of(&self, present: VersionRef<'_>, ciphertext: &[u8]) -> Result<u32, KeyStoreError>;

    /// Has the back end refuse all use of what `create` made, or no longer. Nothing happens to what was registered, and to what
    /// nobody but this store can use. Safe to repeat, and where the object is gone.
    async fn set_enabled(&self, _: VersionRef<'_>, _: &Material, _enabled: bool) -> Result<(), KeyStoreError> {
        Ok(())
    }

    /// What the back end says of an object; `None` where nobody but this store keeps it.
    async fn survey(&self, _: &Material) -> Result<Option<Survey>, KeyStoreError> {
        Ok(None)
    }

    /// How an object is kept from everybody but Aegis at its back end. [`KeyStoreError::Invalid`] where nothing there says who may.
    async fn lockdown(&self, _: VersionRef<'_>, _: &Material) -> Result<Lockdown, KeyStoreError> {
        Err(KeyStoreError::Invalid { what: "nothing where this key is says who may use it" })
    }

    /// Fills `buffer` with random bytes fit for a data key.
    fn random(&self, buffer: &mut [u8]);
}

/// The key stores of a deployment: its own, whose material lies wrapped in the deployment's store, and the back ends that
/// Aegis stands in front of.
pub struct KeyStores {
    own: Arc<dyn KeyStore>,
    backends: BTreeMap<BackendName, Arc<dyn KeyStore>>,
}

impl KeyStores {
    pub fn new(own: Arc<dyn KeyStore>, backends: BTreeMap<BackendName, Arc<dyn KeyStore>>) -> Self {
        Self { own, backends }
    }

    pub fn own(&self) -> &dyn KeyStore {
        self.own.as_ref()
    }

    /// A back end by its name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the deployment has none of that name.
    pub fn backend(&self, name: &BackendName) -> Result<&dyn KeyStore, Error> {
        let names = || self.backends.keys().map(BackendName::as_str).collect::<Vec<_>>().join(", ");
        self.backends.get(name).map(AsRef::as_ref).ok_or_else(|| match self.backends.is_empty() {
            true => Error::invalid("backend", "this deployment has no back ends"),
            false => Error::invalid("backend", format!("this deployment has {}", names())),
        })
    }

    /// Where a key's material is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if its back end is not one of the deployment's any more.
    pub fn of(&self, key: &Key) -> Result<&dyn KeyStore, Error> {
        match &key.backend {
            None => Ok(self.own()),
            Some(name) => self.backend(name).map_err(|error| Error::Unavailable {
                dependency: "the key store",
                source: format!("back end `{name}` is not configured: {error}").into(),
            }),
        }
    }
}

/// Says which version of which key material belongs to.
#[derive(Clone, Copy, Debug)]
pub struct VersionRef<'a> {
    pub key: &'a KeyId,
    /// From 1.
    pub version: u32,
    pub algorithm: Algorithm,
    /// Where a back end notes what it is asked on the way.
    pub calls: Option<&'a Calls>,
}

impl<'a> VersionRef<'a> {
    #[must_use]
    pub fn noting(self, calls: &'a Calls) -> Self {
        Self { calls: Some(calls), ..self }
    }

    /// Notes a call by the name that the back end has for it.
    pub fn note(&self, call: &str) {
        self.calls.into_iter().for_each(|calls| calls.note(call));
    }
}

/// The calls that were made of a back end for one request, each by the name that the back end has for it, in their order.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Vec<String>>);

impl Calls {
    fn note(&self, call: &str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A request makes a few; a name is an id, and none of the back ends has long ones.
        if calls.len() < MOST_CALLS && !call.is_empty() {
            calls.push(call.chars().filter(char::is_ascii_graphic).take(MAX_CALL).collect());
        }
    }

    /// All so far.
    pub fn noted(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const MOST_CALLS: usize = 8;
const MAX_CALL: usize = 64;

/// What a store keeps of one key version: the wrapped blob (standalone) or the handle (layered), and the public half.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Material {
    /// Wrapped key bytes or an opaque handle. Never plaintext.
    #[serde(with = "crate::encoding::base64_bytes")]
    pub sealed: Vec<u8>,
    /// DER `SubjectPublicKeyInfo` of an asymmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::encoding::optional_base64_bytes")]
    pub public_key: Option<Vec<u8>>,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material(..)")
    }
}

/// Additional authenticated data, as the caller gave it: name and value pairs, order of no importance.
pub type Context = BTreeMap<String, String>;

#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The input cannot be processed with this key, now or later: wrong length, wrong kind.
    #[error("{what}")]
    Invalid { what: &'static str },
    /// Authentication failed: altered bytes, another key, another context. Says no more on purpose.
    #[error("the ciphertext is not authentic for this key and context")]
    Refused,
    /// The stored material does not open: damaged, or sealed under another root key.
    #[error("the stored key material cannot be opened")]
    Damaged,
    /// The back end has the object and lets nobody use it now, as its state there says; or has it no more.
    #[error("the key is {state} at its back end")]
    State { state: &'static str },
    /// The key store did not answer; the effect may have happened.
    #[error("the key store did not answer")]
    Unavailable { source: Box<dyn std::error::Error + Send + Sync> },
}
