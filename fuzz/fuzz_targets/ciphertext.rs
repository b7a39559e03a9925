//! Nothing but a genuine ciphertext opens, and only under its key and context.
//!
//! An input is the number of a key, the number of a context, and `=` with a ciphertext, or any other byte, which is the
//! number of a genuine ciphertext, with a recipe of what to change in it.
#![no_main]

use aegis_core::algorithm::Algorithm;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{KeyId, RecordId};
use aegis_core::keystore::{Context, KeyStore, Material, VersionRef};
use aegis_fuzz::{altered, seed};
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

struct Key {
    id: KeyId,
    algorithm: Algorithm,
    /// From version 1.
    versions: Vec<Material>,
}

impl Key {
    fn version(&self, version: u32) -> VersionRef<'_> {
        VersionRef { key: &self.id, version, algorithm: self.algorithm, calls: None }
    }
}

struct Genuine {
    key: usize,
    context: usize,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
}

struct Vault {
    runtime: Runtime,
    store: SoftwareKeyStore,
    keys: Vec<Key>,
    contexts: [Context; 3],
    genuine: Vec<Genuine>,
}

static VAULT: LazyLock<Vault> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let counter = AtomicU64::new(1);
    let entropy = Entropy::new(move |buffer| {
        for chunk in buffer.chunks_mut(8) {
            let next = counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            chunk.copy_from_slice(&next[8 - chunk.len()..]);
        }
    });
    let store = SoftwareKeyStore::new(KeyEncryptionKey::new("kek-1".into(), Zeroizing::new([7; 32])), entropy);
    let contexts = [vec![], vec![("tenant", "a")], vec![("tenant", "b"), ("x", "")]]
        .map(|pairs: Vec<(&str, &str)>| pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
    let mut vault = Vault { runtime, store, keys: Vec::new(), contexts, genuine: Vec::new() };
    let token = RecordId::floor(Timestamp::UNIX_EPOCH);
    // OAEP's key is another one in each process: its ciphertexts are reached by their number alone.
    for (n, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let mut key = Key { id: KeyId::try_from(format!("key_{n:032x}")).unwrap(), algorithm, versions: Vec::new() };
        for version in 1..=VERSIONS {
            let material = vault.runtime.block_on(vault.store.create(key.version(version), &token)).unwrap();
            key.versions.push(material);
        }
        vault.keys.push(key);
    }
    for (n, key) in vault.keys.iter().enumerate() {
        for (context, version) in [(0, 1), (1, 2), (2, 2)] {
            let (material, plaintext) = (&key.versions[version - 1], format!("{n} {context}").into_bytes());
            let version = key.version(u32::try_from(version).unwrap());
            let encrypted = vault.store.encrypt(version, material, &vault.contexts[context], &plaintext);
            let ciphertext = vault.runtime.block_on(encrypted).unwrap();
            let numbers = [n, context].map(|number| u8::try_from(number).unwrap());
            seed(&format!("genuine-{n}-{context}"), &[&numbers, b"=".as_slice(), &ciphertext].concat());
            seed(
                &format!("number-{n}-{context}"),
                &[numbers[0], numbers[1], u8::try_from(vault.genuine.len()).unwrap()],
            );
            vault.genuine.push(Genuine { key: n, context, plaintext, ciphertext });
        }
    }
    vault
});

fuzz_target!(init: LazyLock::force(&VAULT), |input: &[u8]| -> () {
    let [key, context, kind, rest @ ..] = input else { return };
    let vault = &*VAULT;
    let (key, context) = (usize::from(*key) % vault.keys.len(), usize::from(*context) % vault.contexts.len());
    let ciphertext = match kind {
        b'=' => rest.to_vec(),
        number => altered(&vault.genuine[usize::from(*number) % vault.genuine.len()].ciphertext, rest),
    };
    let own = &vault.keys[key];
    let Ok(version) = vault.store.version_of(own.version(VERSIONS), &ciphertext) else { return };
    // As an operation does it: a version that there is not is refused.
    let Some(material) = usize::try_from(version).unwrap().checked_sub(1).and_then(|at| own.versions.get(at)) else {
        return;
    };
    let opened = vault.store.decrypt(own.version(version), material, &vault.contexts[context], &ciphertext);
    let opened = vault.runtime.block_on(opened);
    let genuine = vault.genuine.iter().find(|genuine| {
        let same_body = genuine.ciphertext == ciphertext
            // Without the name it is what anyone makes with the exported key: of the present version, no context.
            || own.algorithm == Algorithm::Rsa2048OaepSha256 && genuine.ciphertext.get(25..) == Some(&ciphertext);
        (genuine.key, genuine.context) == (key, context) && same_body
    });
    match (opened, genuine) {
        (Ok(plaintext), Some(genuine)) => assert_eq!(*plaintext, genuine.plaintext),
        (Ok(_), None) => panic!("what nobody encrypted has opened"),
        (Err(_), Some(genuine)) if genuine.ciphertext == ciphertext => panic!("a genuine ciphertext does not open"),
        (Err(_), _) => {}
    }
});

/// Present is the last.
const VERSIONS: u32 = 2;
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Aes128Gcm, Algorithm::Aes192Gcm, Algorithm::Aes256Gcm, Algorithm::Rsa2048OaepSha256];
