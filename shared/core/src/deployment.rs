//! What a deployment is made of once: its id, its epoch, the policy it runs.

use crate::ambient::{DateTime, Timestamp};
use crate::id::KeyId;
use crate::name::HumanId;
use crate::seal::SealingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Read with every request, so that a change holds from the next request on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Deployment {
    /// `dep_` and 32 hex digits; the same as in the sealed root.
    pub id: String,
    /// Grows with each restore from a backup; a credential is valid only while its copy is equal.
    pub epoch: u32,
    pub created_at: Timestamp,
    pub policy_version: u32,
    /// The response rules in force; 0 for those that Aegis ships with.
    #[serde(default)]
    pub rules_version: u32,
    /// Where the humans come from: a name is one human only among the names of one provider. Absent until the first start
    /// that knew of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub humans_from: Option<String>,
}

/// One version of the policies, as text. Never changed, only followed by another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyDocument {
    pub version: u32,
    pub cedar: String,
    pub created_at: Timestamp,
    /// Who wrote it; `aegis` for those it ships with.
    pub created_by: String,
    /// Which of the policies that Aegis ships with; absent where somebody wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<u32>,
}

/// One version of the response rules, as text. Never changed, only followed by another.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RulesDocument {
    pub version: u32,
    pub toml: String,
    pub created_at: Timestamp,
    pub created_by: String,
}

/// What is known of the versions of the response rules, beside their texts.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RulesHistory {
    /// The greatest version that was ever written.
    pub latest: u32,
    /// Absent while nobody put any in force.
    pub in_force: Option<RulesApplied>,
    /// What waits for a second human, and what waited in vain until there was another proposal.
    pub proposals: Vec<RulesProposal>,
}

/// Who put rules in force.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RulesApplied {
    pub version: u32,
    /// The version that was in force until then.
    pub before: u32,
    pub by: HumanId,
    /// The second human, where they protect less than those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<HumanId>,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
}

/// A version that a human wants in force, and that protects less than the one that is.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RulesProposal {
    pub version: u32,
    /// The version that was in force then; where that is no longer so, the proposal is void.
    pub base: u32,
    pub by: HumanId,
    #[schemars(with = "DateTime")]
    pub at: Timestamp,
    #[schemars(with = "DateTime")]
    pub expires_at: Timestamp,
}

impl PolicyDocument {
    /// The number of the built-in policies it is. The first were stored without one.
    pub fn built_in(&self) -> Option<u32> {
        self.built_in.or((self.created_by == "aegis").then_some(1))
    }
}

/// Bytes under which requests are digested: a digest tells nobody without it what was signed or encrypted.
#[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct DigestKey([u8; 32]);

impl DigestKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA-256 over the parts, each after its length, in hex.
    pub fn digest(&self, parts: &[&[u8]]) -> String {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.0);
        let mut context = aws_lc_rs::hmac::Context::with_key(&key);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        crate::encoding::hex(context.sign().as_ref())
    }

    /// A key for one purpose, which says nothing of this one or of those for other purposes (HKDF-SHA-256, RFC 5869).
    /// What precedes the last part of `purpose` must be told apart by its length: give constants there.
    pub fn derive(&self, purpose: &[&[u8]]) -> zeroize::Zeroizing<[u8; 32]> {
        use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
        let extracted = Salt::new(HKDF_SHA256, b"aegis").extract(&self.0);
        let mut key = zeroize::Zeroizing::new([0; 32]);
        #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes, of which these are 32")]
        extracted.expand(purpose, HKDF_SHA256).and_then(|okm| okm.fill(key.as_mut())).expect("32 bytes");
        key
    }

    /// A key of its own for what is sealed for one purpose (HKDF-SHA-256, RFC 5869): it tells nothing of this one.
    pub fn sealing_key(&self, purpose: &'static str) -> SealingKey {
        SealingKey::derive(&self.0, purpose)
    }

    /// The digest of a request on a key.
    pub fn request(&self, operation: &str, key: Option<&KeyId>, body: &[u8]) -> String {
        self.digest(&[operation.as_bytes(), key.map_or(&[], |key| key.as_str().as_bytes()), body])
    }
}

impl std::fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestKey(..)")
    }
}
