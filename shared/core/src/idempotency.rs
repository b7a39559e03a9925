//! Idempotency keys: a repeated request that changes state is carried out once.

use crate::ambient::Timestamp;
use serde::{Deserialize, Serialize};

/// How long a key is remembered, in seconds: a day (DESIGN §7).
pub const REMEMBERED: i64 = 86_400;
/// Longest idempotency key, in bytes.
pub const MAX_KEY: usize = 64;

/// What a request with an idempotency key led to. Holds ids, never a response.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Replay {
    /// The credential's holder.
    pub actor: String,
    /// Operation and idempotency key.
    pub slot: String,
    /// Of the request it was used for.
    pub digest: String,
    /// The id of what was made or changed.
    pub resource: String,
    pub expires_at: Timestamp,
}
