//! What the fuzz targets stand on: a deployment in memory that begins each run alike, and tokens of its own making.
//!
//! A target panics where a promise does not hold; that is what libFuzzer looks for.

pub mod deployment;
pub mod signer;

use std::path::PathBuf;

/// Where a value that only this crate can make is written for the corpus, while `AEGIS_FUZZ_SEEDS` names a folder.
pub fn seed(name: &str, bytes: &[u8]) {
    if let Some(folder) = std::env::var_os("AEGIS_FUZZ_SEEDS") {
        std::fs::write(PathBuf::from(folder).join(name), bytes).unwrap();
    }
}

/// `bytes`, changed as `recipe` says: how many bytes to keep, then pairs of a place and a byte that is added there with
/// exclusive or. An empty recipe changes nothing.
pub fn altered(bytes: &[u8], recipe: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let number = |pair: &[u8]| usize::from(pair[0]) << 8 | usize::from(pair[1]);
    let Some((kept, edits)) = recipe.split_at_checked(2) else { return bytes };
    match number(kept) {
        0 => {}
        kept => bytes.truncate(bytes.len().saturating_sub(kept)),
    }
    for edit in edits.chunks_exact(3) {
        let length = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(number(edit) % length) {
            *byte ^= edit[2];
        }
    }
    bytes
}
