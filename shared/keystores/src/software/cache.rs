//! Parsed keys, the most recently used 1,024. Grants nothing: only who presents a sealed blob is given the key that was
//! parsed from that very blob, so material replaced in the store is never served stale.

use super::secret::SecretKey;
use aegis_core::algorithm::Algorithm;
use aegis_core::id::KeyId;
use aegis_core::keystore::{KeyStoreError, Material, VersionRef};
use lru::LruCache;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parsed keys are kept because parsing costs over half of what signing does: one thread makes 51,000 P-256 signatures
/// a second with a parsed key, 31,000 when it parses the PKCS#8 each time.
pub(super) struct Cache(Mutex<LruCache<Slot, Arc<SecretKey>>>);

impl Cache {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LruCache::new(CAPACITY)))
    }

    /// The key of `material`; calls `parse` unless this very material was parsed before for this version.
    pub(super) fn get_or_parse(
        &self,
        version: VersionRef<'_>,
        material: &Material,
        parse: impl FnOnce() -> Result<SecretKey, KeyStoreError>,
    ) -> Result<Arc<SecretKey>, KeyStoreError> {
        let slot = Slot::new(version, material);
        if let Some(key) = self.slot(&slot) {
            return Ok(key);
        }
        // Parsed without the lock: two callers may both parse, and neither keeps the others waiting.
        let key = Arc::new(parse()?);
        self.lock().put(slot, Arc::clone(&key));
        Ok(key)
    }

    /// The key of `material`, if this very material was parsed before for this version.
    pub(super) fn get(&self, version: VersionRef<'_>, material: &Material) -> Option<Arc<SecretKey>> {
        self.slot(&Slot::new(version, material))
    }

    fn slot(&self, slot: &Slot) -> Option<Arc<SecretKey>> {
        self.lock().get(slot).map(Arc::clone)
    }

    pub(super) fn forget(&self, key: &KeyId) {
        self.lock().retain(|slot, _| slot.key != *key);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Slot, Arc<SecretKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Equal where all is: the sealed blob, too, and the public half, which is checked against it when parsed. Neither is
/// secret. Kept whole: comparing 1.5 KB of an RSA key costs a tenth of digesting it.
#[derive(Eq, PartialEq)]
struct Slot {
    key: KeyId,
    version: u32,
    algorithm: Algorithm,
    material: Material,
}

impl Slot {
    fn new(version: VersionRef<'_>, material: &Material) -> Self {
        let (key, material) = (version.key.clone(), material.clone());
        Self { key, version: version.version, algorithm: version.algorithm, material }
    }
}

impl Hash for Slot {
    /// Who it is says it: two materials of one version are rare.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.key, self.version).hash(state);
    }
}

const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::ambient::{Entropy, Timestamp};
    use zeroize::Zeroizing;

    /// How often `lookups` of (key, version, sealed) parsed anything.
    fn parses(cache: &Cache, lookups: &[(&KeyId, u32, &[u8])]) -> usize {
        let mut count = 0;
        for (key, version, sealed) in lookups {
            let version = VersionRef { key, version: *version, algorithm: Algorithm::Aes256Gcm, calls: None };
            let material = Material { sealed: sealed.to_vec(), public_key: None };
            let parse = || {
                count += 1;
                Ok(SecretKey::Aes(Zeroizing::new(vec![0; 32])))
            };
            cache.get_or_parse(version, &material, parse).unwrap();
        }
        count
    }

    fn key() -> KeyId {
        KeyId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
    }

    #[test]
    fn one_material_of_one_version_is_parsed_once() {
        let (cache, a, b) = (Cache::new(), key(), key());
        assert_eq!(parses(&cache, &[(&a, 1, b"x"), (&a, 1, b"x"), (&a, 1, b"x")]), 1);
        assert_eq!(parses(&cache, &[(&a, 1, b"y"), (&a, 2, b"x"), (&b, 1, b"x"), (&a, 1, b"x")]), 3);
    }

    #[test]
    fn a_forgotten_key_is_parsed_again_and_no_other() {
        let (cache, a, b) = (Cache::new(), key(), key());
        assert_eq!(parses(&cache, &[(&a, 1, b"x"), (&a, 2, b"x"), (&b, 1, b"x")]), 3);
        cache.forget(&a);
        assert_eq!(parses(&cache, &[(&b, 1, b"x")]), 0);
        assert_eq!(parses(&cache, &[(&a, 1, b"x"), (&a, 2, b"x")]), 2);
    }

    #[test]
    fn the_cache_is_bounded_and_drops_the_least_recently_used() {
        let (cache, key) = (Cache::new(), key());
        for version in 1..=1_024 {
            parses(&cache, &[(&key, version, b"x")]);
        }
        assert_eq!(parses(&cache, &[(&key, 1, b"x"), (&key, 1_025, b"x")]), 1);
        assert_eq!(cache.lock().len(), 1_024);
        assert_eq!(parses(&cache, &[(&key, 1, b"x")]), 0);
        assert_eq!(parses(&cache, &[(&key, 2, b"x")]), 1);
    }
}
