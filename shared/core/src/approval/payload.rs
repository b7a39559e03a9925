//! The body of a request that waits: sealed in the store, shown to those who may approve it, gone once it is decided.
//!
//! Sealed by AES-256-GCM under a key of its own for each approval, derived from the deployment's root. It lies in parts,
//! since an item of the store holds at most 64 KiB.

use super::ledger::{ApprovalRecord, Kept};
use crate::ambient::{Entropy, Timestamp};
use crate::deployment::DigestKey;
use crate::encoding::optional_base64_bytes;
use crate::error::Error;
use crate::id::ApprovalId;
use crate::repository::Document;
use crate::store::{Expect, ItemKey, Put, Revision};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Longest body that is kept, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Bytes of a body in one part: sealed and in base64 it fits an item.
const PART: usize = 32 * 1024;
const NONCE: usize = 12;
const TAG: usize = 16;

/// What a request says, as who approves it sees it.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Payload {
    /// Neither JSON nor text.
    Bytes {
        length: u32,
    },
    /// The approval is decided, used or expired: what was asked is not kept.
    Deleted,
    /// The body, and what the bytes in it say.
    Json {
        body: Value,
        decoded: BTreeMap<String, Decoded>,
    },
    Text {
        text: String,
    },
    /// More than 64 KiB: only its digest is kept.
    TooLarge {
        length: u32,
    },
    /// It holds key bytes in the clear: only its digest is kept.
    Withheld {
        length: u32,
    },
}

/// What the bytes behind base64 say.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoded {
    /// How many there are.
    Bytes(u32),
    Json(Value),
    Text(String),
}

/// One part of a sealed body. Emptied, not removed, once it has served.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PayloadPart {
    pub approval: ApprovalId,
    pub part: u8,
    /// Nonce, ciphertext, tag.
    #[serde(with = "optional_base64_bytes", default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Vec<u8>>,
    pub expires_at: Timestamp,
}

impl Document for PayloadPart {
    fn item_key(&self) -> ItemKey {
        part_item(&self.approval, self.part)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

fn part_item(approval: &ApprovalId, part: u8) -> ItemKey {
    ItemKey::state(format!("approval/{approval}"), format!("payload/{part}"))
}

/// The items of a body in `parts` parts.
pub(super) fn parts_items(approval: &ApprovalId, parts: u8) -> Vec<ItemKey> {
    (0..parts).map(|part| part_item(approval, part)).collect()
}

/// Seals a body, which has at most [`MAX_PAYLOAD`] bytes. The items may go at `expires_at`, whatever else happens.
///
/// # Errors
/// [`Error::Damaged`] if it cannot be sealed, which is a mistake here.
pub fn seal(
    key: &DigestKey,
    entropy: &Entropy,
    approval: &ApprovalId,
    body: &[u8],
    expires_at: Timestamp,
) -> Result<Vec<PayloadPart>, Error> {
    let cipher = cipher(key, approval)?;
    let chunks: Vec<&[u8]> = if body.is_empty() { vec![body] } else { body.chunks(PART).collect() };
    let count = u8::try_from(chunks.len()).unwrap_or(u8::MAX);
    let seal = |(part, chunk): (u8, &[u8])| {
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        // Room for the tag from the start: a vector that grows leaves a copy of the plaintext behind.
        let mut in_out = Vec::with_capacity(chunk.len().saturating_add(TAG));
        in_out.extend_from_slice(chunk);
        let aad = Aad::from(aad(approval, part, count));
        let sealed = cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut in_out);
        sealed.map_err(|_| damaged("not sealed"))?;
        let sealed = Some([nonce.as_slice(), &in_out].concat());
        Ok(PayloadPart { approval: approval.clone(), part, sealed, expires_at })
    };
    (0..count).zip(chunks).map(seal).collect()
}

/// What opens to the body again.
///
/// # Errors
/// [`Error::Damaged`] for a part that is missing, or was altered or moved.
pub(super) fn open(key: &DigestKey, approval: &ApprovalId, parts: &[PayloadPart]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let cipher = cipher(key, approval)?;
    let count = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let mut body = Zeroizing::new(Vec::with_capacity(parts.len().saturating_mul(PART)));
    for (part, stored) in (0..count).zip(parts) {
        let sealed = stored.sealed.as_deref().filter(|_| stored.part == part);
        let (nonce, sealed) = sealed.and_then(|sealed| sealed.split_first_chunk()).ok_or_else(|| damaged("missing"))?;
        let mut in_out = Zeroizing::new(sealed.to_vec());
        let aad = Aad::from(aad(approval, part, count));
        let opened = cipher.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut in_out);
        body.extend_from_slice(opened.map_err(|_| damaged("altered"))?);
    }
    Ok(body)
}

/// The writes that empty what was sealed. A part is written twice, so its revision is known.
///
/// # Errors
/// As [`Document::put`].
pub(super) fn erase(record: &mut ApprovalRecord) -> Result<Vec<Put>, Error> {
    let Kept::Sealed { parts } = std::mem::replace(&mut record.payload, Kept::Deleted) else { return Ok(Vec::new()) };
    let emptied = |part| PayloadPart {
        approval: record.approval.id.clone(),
        part,
        sealed: None,
        expires_at: record.approval.expires_at,
    };
    (0..parts).map(|part| emptied(part).put(Expect::Current(Revision(1)))).collect()
}

/// What a body says.
pub fn show(body: &[u8]) -> Payload {
    match (serde_json::from_slice::<Value>(body), std::str::from_utf8(body)) {
        (Ok(body), _) => Payload::Json { decoded: decoded(&body), body },
        (Err(_), Ok(text)) => Payload::Text { text: text.to_string() },
        (Err(_), Err(_)) => Payload::Bytes { length: length(body) },
    }
}

/// How long a body is, as it is shown.
pub(crate) fn length(body: &[u8]) -> u32 {
    u32::try_from(body.len()).unwrap_or(u32::MAX)
}

/// The members that hold bytes, decoded.
fn decoded(body: &Value) -> BTreeMap<String, Decoded> {
    let member = |name: &&str| {
        let bytes = STANDARD.decode(body.get(name)?.as_str()?).ok()?;
        let shown = match (serde_json::from_slice::<Value>(&bytes), std::str::from_utf8(&bytes)) {
            (Ok(value @ (Value::Object(_) | Value::Array(_))), _) => Decoded::Json(value),
            (_, Ok(text)) => Decoded::Text(text.to_string()),
            (_, Err(_)) => Decoded::Bytes(length(&bytes)),
        };
        Some((name.to_string(), shown))
    };
    BYTES.iter().filter_map(member).collect()
}

/// The members of requests that hold bytes.
const BYTES: [&str; 6] = ["ciphertext", "mac", "message", "plaintext", "signature", "wrapped_key"];

fn cipher(key: &DigestKey, approval: &ApprovalId) -> Result<LessSafeKey, Error> {
    let derived = key.derive(&[b"approval-payload", approval.as_str().as_bytes()]);
    let key = UnboundKey::new(&AES_256_GCM, derived.as_slice()).map_err(|_| damaged("no key"))?;
    Ok(LessSafeKey::new(key))
}

/// No part stands for another one, or for one of another approval.
fn aad(approval: &ApprovalId, part: u8, count: u8) -> Vec<u8> {
    [approval.as_str().as_bytes(), &[part, count]].concat()
}

fn damaged(why: &'static str) -> Error {
    Error::Damaged { what: "pending payload", source: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_opens_whole_under_its_own_approval_and_key_alone() {
        let (key, other_key) = (DigestKey::new([1; 32]), DigestKey::new([2; 32]));
        let id = || ApprovalId::new(Timestamp::UNIX_EPOCH, &Entropy::system());
        let (one, other) = (id(), id());
        for length in [0, 1, PART, PART + 1, MAX_PAYLOAD] {
            let body: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let parts = seal(&key, &Entropy::system(), &one, &body, Timestamp::MAX).unwrap();
            for part in &parts {
                assert!(part.put(Expect::Absent).unwrap().item.body.len() <= crate::store::MAX_ITEM);
            }
            assert_eq!(*open(&key, &one, &parts).unwrap(), body, "{length}");
            open(&key, &other, &parts).unwrap_err();
            open(&other_key, &one, &parts).unwrap_err();
            let mut altered = parts.clone();
            *altered[0].sealed.as_mut().unwrap().last_mut().unwrap() ^= 1;
            open(&key, &one, &altered).unwrap_err();
            if parts.len() > 1 {
                open(&key, &one, &parts[..1]).unwrap_err();
                let moved: Vec<_> = parts.iter().rev().cloned().collect();
                open(&key, &one, &moved).unwrap_err();
            }
        }
    }

    #[test]
    fn what_an_approver_sees_of_a_body() {
        let encoded = |text: &[u8]| STANDARD.encode(text);
        let body = json!({
            "message": encoded(b"{\"total\":100}"), "plaintext": encoded("für dich".as_bytes()),
            "signature": encoded(&[0xff, 0xfe]), "message_type": "raw", "mac": "no base64",
        });
        let Payload::Json { body: shown, decoded } = show(body.to_string().as_bytes()) else { panic!("no JSON") };
        assert_eq!(shown, body);
        let want = [
            ("message", Decoded::Json(json!({ "total": 100 }))),
            ("plaintext", Decoded::Text("für dich".to_string())),
            ("signature", Decoded::Bytes(2)),
        ];
        assert_eq!(decoded, want.map(|(name, value)| (name.to_string(), value)).into());
        assert!(matches!(show(b"pay 10 EUR"), Payload::Text { text } if text == "pay 10 EUR"));
        assert!(matches!(show(&[0xff, 0xfe, 0]), Payload::Bytes { length: 3 }));
    }
}
