//! The root of a deployment on AWS: its secrets lie in the store, sealed by a KMS key that only those may use who need them.

use aegis_core::ambient::Entropy;
use aegis_core::encoding::{base64_bytes, hex};
use aegis_core::error::Error;
use aegis_core::repository::{self, Document, Loaded};
use aegis_core::store::{Expect, ItemKey, Store, StoreError};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use jsonwebtoken::jwk::Jwk;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What everybody may read of the root.
#[derive(Clone, Deserialize, Serialize)]
pub struct SealedRoot {
    /// `dep_` and 32 hex digits.
    pub deployment: String,
    /// Who signs tokens; no secret.
    pub token_key: Jwk,
    /// The ARN of the KMS key that signs tokens.
    pub token_key_id: String,
    #[serde(with = "base64_bytes")]
    sealed: Vec<u8>,
}

impl std::fmt::Debug for SealedRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRoot").field("deployment", &self.deployment).finish_non_exhaustive()
    }
}

impl Document for SealedRoot {
    fn item_key(&self) -> ItemKey {
        item()
    }
}

fn item() -> ItemKey {
    ItemKey::state("root", "sealed")
}

/// What is sealed.
#[derive(Deserialize, Serialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Secrets {
    kek_id: String,
    #[serde(with = "base64_bytes")]
    kek: Vec<u8>,
    #[serde(with = "base64_bytes")]
    digest_key: Vec<u8>,
}

/// The root, opened.
pub struct Root {
    pub kek_id: String,
    pub kek: Zeroizing<[u8; 32]>,
    pub digest_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root(..)")
    }
}

impl SealedRoot {
    /// The deployment's root; `None` before it is set up.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Damaged`].
    pub async fn read(store: &dyn Store) -> Result<Option<Self>, Error> {
        let found: Option<Loaded<Self>> = repository::load(store, &item()).await?;
        Ok(found.map(|found| found.value))
    }

    /// The root as it is, or a new one: made once, whoever else tries at the same time. `token_key` is the public half of the
    /// KMS key `token_key_id`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if another key signed tokens until now; [`Error::Unavailable`]; [`Error::Damaged`].
    pub async fn read_or_make(
        store: &dyn Store,
        kms: &Client,
        root_key_id: &str,
        token: (&str, &Jwk),
        entropy: &Entropy,
    ) -> Result<Self, Error> {
        let (token_key_id, token_key) = token;
        let found = match Self::read(store).await? {
            Some(found) => found,
            None => {
                let made = Self::make(kms, root_key_id, token, entropy).await?;
                let put = made.put(Expect::Absent)?;
                match store.put_if(put.item, put.expect).await {
                    Ok(_) => made,
                    Err(StoreError::Conflict { .. }) => Self::read(store).await?.ok_or(Error::Contended)?,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        match found.token_key.common.key_id == token_key.common.key_id {
            true => Ok(found),
            false => Err(Error::invalid(
                "token key",
                format!("{token_key_id} is not the key that this deployment signs tokens with: {}", found.token_key_id),
            )),
        }
    }

    async fn make(
        kms: &Client,
        root_key_id: &str,
        (token_key_id, token_key): (&str, &Jwk),
        entropy: &Entropy,
    ) -> Result<Self, Error> {
        let id = |prefix: &str| {
            let mut random = [0_u8; 16];
            entropy.fill(&mut random);
            format!("{prefix}_{}", hex(&random))
        };
        let mut secrets = Secrets { kek_id: id("kek"), kek: vec![0; 32], digest_key: vec![0; 32] };
        entropy.fill(&mut secrets.kek);
        entropy.fill(&mut secrets.digest_key);
        let deployment = id("dep");
        let plain = Zeroizing::new(serde_json::to_vec(&secrets).map_err(|error| damaged(error.into()))?);
        let sealing = kms.encrypt().key_id(root_key_id).plaintext(Blob::new(plain.as_slice()));
        let sealed = sealing.encryption_context(CONTEXT, &deployment).send().await;
        let sealed = sealed.map_err(|error| unavailable(error.into()))?.ciphertext_blob;
        let sealed = sealed.ok_or_else(|| damaged("KMS returned no ciphertext".into()))?.into_inner();
        Ok(Self { deployment, token_key: token_key.clone(), token_key_id: token_key_id.to_string(), sealed })
    }

    /// # Errors
    /// [`Error::Unavailable`], also if KMS does not let this function; [`Error::Damaged`].
    pub async fn open(&self, kms: &Client, root_key_id: &str) -> Result<Root, Error> {
        let opening = kms.decrypt().key_id(root_key_id).ciphertext_blob(Blob::new(self.sealed.clone()));
        let opened = opening.encryption_context(CONTEXT, &self.deployment).send().await;
        let opened = opened.map_err(|error| unavailable(error.into()))?.plaintext;
        let opened = Zeroizing::new(opened.ok_or_else(|| damaged("KMS returned no plaintext".into()))?.into_inner());
        let secrets: Secrets = serde_json::from_slice(&opened).map_err(|error| damaged(error.into()))?;
        let key = |bytes: &[u8]| -> Result<Zeroizing<[u8; 32]>, Error> {
            Ok(Zeroizing::new(bytes.try_into().map_err(|_| damaged("a key has not 32 bytes".into()))?))
        };
        Ok(Root { kek_id: secrets.kek_id.clone(), kek: key(&secrets.kek)?, digest_key: key(&secrets.digest_key)? })
    }
}

/// The encryption context binds what is sealed to its deployment.
const CONTEXT: &str = "aegis:deployment";

fn unavailable(source: aegis_core::error::Cause) -> Error {
    crate::unavailable("the KMS")(source)
}

fn damaged(source: aegis_core::error::Cause) -> Error {
    Error::Damaged { what: "root", source }
}
