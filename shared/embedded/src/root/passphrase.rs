//! The passphrase and how it is stretched into a key (Argon2id, RFC 9106).

use super::RootError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// As it was typed. Wiped on drop; no `Clone`, no `Serialize`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(String);

/// How much work stretching costs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KdfParams {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl Passphrase {
    /// Characters, not bytes.
    pub const SHORTEST: usize = 12;

    pub fn new(typed: String) -> Self {
        Self(typed)
    }

    pub(super) fn refuse_weak(&self) -> Result<(), RootError> {
        match self.0.chars().count() >= Self::SHORTEST {
            true => Ok(()),
            false => Err(RootError::WeakPassphrase),
        }
    }

    /// The key of a seal. Refuses what is too weak to protect or so costly that a file could stall the program.
    pub(super) fn stretch(&self, params: KdfParams, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, RootError> {
        let KdfParams { memory_kib, passes, lanes } = params;
        if !MEMORY_KIB.contains(&memory_kib) || !PASSES.contains(&passes) || !LANES.contains(&lanes) {
            return Err(RootError::Params);
        }
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| RootError::Params)?;
        // Our own memory, because the crate does not wipe what it allocates.
        let mut memory = Zeroizing::new(Vec::<Block>::new());
        memory.try_reserve_exact(params.block_count()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        memory.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0_u8; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(self.0.as_bytes(), salt, key.as_mut_slice(), memory.as_mut_slice())
            .map_err(|_| RootError::Damaged)?;
        Ok(key)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl KdfParams {
    /// The least that a file may ask for: 19 MiB, two passes (OWASP Password Storage Cheat Sheet). Of use to tests.
    pub const LEAST: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
}

impl Default for KdfParams {
    /// RFC 9106 §4, second recommendation, in one lane: four would cost us as much, and an attacker with four cores
    /// less time.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 }
    }
}

const MEMORY_KIB: std::ops::RangeInclusive<u32> = 19 * 1024..=1024 * 1024;
const PASSES: std::ops::RangeInclusive<u32> = 2..=20;
const LANES: std::ops::RangeInclusive<u32> = 1..=16;
