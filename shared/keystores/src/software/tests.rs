//! The software key store through its port. Every refusal is tried, not sampled.

mod ciphertext;
mod import;
mod mac;
mod oaep;
mod slow;

use super::vectors::rsa_keys;
use super::*;
use aegis_core::algorithm::Purpose;
use aegis_core::ambient::Timestamp;
use aws_lc_rs::digest::{SHA256, digest};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Poll, Waker};
use tokio::runtime::{Builder, Runtime};

#[test]
fn signatures_verify_and_only_for_their_message_and_key() {
    let (store, key) = (store(), key());
    for version in versions(&key, Purpose::SignVerify) {
        let (algorithm, material, other) = (version.algorithm, made(&store, version), another(&store, version));
        let hash = Scheme::of(algorithm).verification().unwrap().1;
        let kinds =
            if hash.is_some() { [MessageType::Raw, MessageType::Digest].as_slice() } else { &[MessageType::Raw] };
        for &kind in kinds {
            let digest_of = |message| digest(hash.unwrap_or(&SHA256), message);
            let (message, another) = (digest_of(b"one"), digest_of(b"two"));
            let signature = run(store.sign(version, &material, kind, message.as_ref())).unwrap();
            let check = |material, message: &[u8], signature: &[u8]| {
                now(store.verify(version, material, kind, message, signature)).unwrap()
            };
            assert!(check(&material, message.as_ref(), &signature), "{algorithm} {kind:?}");
            assert!(!check(&material, another.as_ref(), &signature), "{algorithm} {kind:?}");
            assert!(!check(&other, message.as_ref(), &signature), "{algorithm} {kind:?}");
            assert!(!check(&material, message.as_ref(), b"no signature"), "{algorithm} {kind:?}");
            assert!(!check(&material, message.as_ref(), &[]), "{algorithm} {kind:?}");
        }
    }
}

#[test]
fn a_signature_over_a_digest_is_one_over_its_message() {
    let (store, key) = (store(), key());
    for version in versions(&key, Purpose::SignVerify) {
        if let Some((_, Some(hash))) = Scheme::of(version.algorithm).verification() {
            let material = made(&store, version);
            let hash = digest(hash, b"message");
            let signature = run(store.sign(version, &material, MessageType::Digest, hash.as_ref())).unwrap();
            let valid = now(store.verify(version, &material, MessageType::Raw, b"message", &signature)).unwrap();
            assert!(valid, "{}", version.algorithm);
        }
    }
}

#[test]
fn a_signature_of_one_scheme_is_none_of_another() {
    let (store, key) = (store(), key());
    let version = |algorithm| VersionRef { key: &key, version: 1, algorithm, calls: None };
    let (pss, pkcs1) = (version(Algorithm::Rsa2048PssSha256), version(Algorithm::Rsa2048Pkcs1Sha256));
    let material = made(&store, pss);
    let signature = now(store.sign(pss, &material, MessageType::Raw, b"m")).unwrap();
    assert!(now(store.verify(pss, &material, MessageType::Raw, b"m", &signature)).unwrap());
    assert!(!now(store.verify(pkcs1, &material, MessageType::Raw, b"m", &signature)).unwrap());
}

#[test]
fn verification_needs_no_private_key() {
    let (store, key) = (store(), key());
    for version in versions(&key, Purpose::SignVerify) {
        let (algorithm, material) = (version.algorithm, made(&store, version));
        let signature = run(store.sign(version, &material, MessageType::Raw, b"m")).unwrap();
        let public = Material { sealed: Vec::new(), ..material };
        assert!(now(store.verify(version, &public, MessageType::Raw, b"m", &signature)).unwrap(), "{algorithm}");
        let none = Material { public_key: None, ..public };
        let result = now(store.verify(version, &none, MessageType::Raw, b"m", &signature));
        assert!(matches!(result, Err(KeyStoreError::Damaged)), "{algorithm}");
    }
}

#[test]
fn what_an_algorithm_cannot_do_is_invalid() {
    let (store, key) = (store(), key());
    let context = Context::new();
    for &algorithm in Algorithm::ALL {
        let version = VersionRef { key: &key, version: 1, algorithm, calls: None };
        let material = made(&store, version);
        let invalid = |result: Result<(), KeyStoreError>, what: &str| {
            assert!(matches!(result, Err(KeyStoreError::Invalid { .. })), "{algorithm} {what}: {result:?}");
        };
        let sign = |kind, message: &[u8]| run(store.sign(version, &material, kind, message)).map(drop);
        let verify = |kind, message: &[u8]| now(store.verify(version, &material, kind, message, &[])).map(drop);
        let encrypt = |length| run(store.encrypt(version, &material, &context, &vec![0; length])).map(drop);
        match Scheme::of(algorithm).verification() {
            None => {
                for kind in [MessageType::Raw, MessageType::Digest] {
                    invalid(sign(kind, &[0; 32]), "sign");
                    invalid(verify(kind, &[0; 32]), "verify");
                }
            }
            Some((_, hash)) => {
                let right = hash.map_or(0, |hash| hash.output_len());
                for length in [0, 20, 31, 32, 33, 48, 64, 65].into_iter().filter(|length| *length != right) {
                    invalid(sign(MessageType::Digest, &vec![0; length]), "sign a digest");
                    invalid(verify(MessageType::Digest, &vec![0; length]), "verify a digest");
                }
            }
        }
        match Scheme::of(algorithm) {
            Scheme::Aes(_) => {
                invalid(encrypt(65_537), "encrypt 65,537 bytes");
                encrypt(65_536).unwrap();
            }
            Scheme::Oaep(size) => {
                invalid(encrypt(size.len() - 65), "encrypt a byte too much");
                encrypt(size.len() - 66).unwrap();
            }
            _ => {
                invalid(encrypt(0), "encrypt");
                invalid(run(store.decrypt(version, &material, &context, b"")).map(drop), "decrypt");
            }
        }
        if algorithm.purpose() != Purpose::Mac {
            invalid(run(store.mac(version, &material, b"")).map(drop), "make a MAC");
            invalid(run(store.verify_mac(version, &material, b"", b"")).map(drop), "verify a MAC");
        }
    }
}

#[test]
fn material_opens_only_whole_and_under_its_own_names_and_key() {
    let (store, key, other) = (store(), key(), key());
    for &algorithm in Algorithm::ALL {
        let version = VersionRef { key: &key, version: 1, algorithm, calls: None };
        let material = made(&store, version);
        let sealed = &material.sealed;
        // An item of the store, which holds the material in base64, is at most 64 KiB.
        assert!(sealed.len() < 3_000, "{algorithm}: {}", sealed.len());
        assert!(store.safe.load(version, &material).is_ok());
        let damaged = |store: &SoftwareKeyStore, version, material: &Material, what: &str| {
            let result = store.safe.load(version, material).map(drop);
            assert!(matches!(result, Err(KeyStoreError::Damaged)), "{algorithm} {what}: {result:?}");
        };

        damaged(&store, VersionRef { key: &other, ..version }, &material, "another key");
        damaged(&store, VersionRef { version: 2, ..version }, &material, "another version");
        for wrong in Algorithm::ALL.iter().copied().filter(|wrong| *wrong != algorithm) {
            damaged(&store, VersionRef { algorithm: wrong, ..version }, &material, "another algorithm");
        }
        damaged(&kek("kek-2", 7), version, &material, "another KEK id");
        damaged(&kek("kek-1", 8), version, &material, "another KEK");

        let with = |sealed: Vec<u8>| Material { sealed, public_key: material.public_key.clone() };
        for bit in 0..sealed.len() * 8 {
            damaged(&store, version, &with(flipped(sealed, bit)), "a flipped bit");
        }
        for length in 0..sealed.len() {
            damaged(&store, version, &with(sealed[..length].to_vec()), "cut off");
        }
        let swapped = another(&store, version).public_key.or(Some(b"key".to_vec()));
        damaged(&store, version, &Material { public_key: swapped, ..material.clone() }, "another public key");
    }
}

/// One blob is sealed for one algorithm, and the key in it has that algorithm's size.
#[test]
fn a_key_of_another_size_is_damaged() {
    let (store, key) = (store(), key());
    for (algorithm, length) in [(Algorithm::Aes256Gcm, 16), (Algorithm::HmacSha256, 64)] {
        let version = VersionRef { key: &key, version: 1, algorithm, calls: None };
        let sealed = store.safe.kek.seal(version, &vec![0; length], &store.safe.entropy).unwrap();
        let result = store.safe.load(version, &Material { sealed, public_key: None });
        assert!(matches!(result.map(drop), Err(KeyStoreError::Damaged)), "{algorithm}");
    }
    for algorithm in [Algorithm::Rsa3072PssSha256, Algorithm::Rsa3072OaepSha256] {
        let version = VersionRef { key: &key, version: 1, algorithm, calls: None };
        let (sealed, public_key) = sealed_rsa(&store, version, &rsa_keys(2048)[0], Algorithm::Rsa2048PssSha256);
        let result = store.safe.load(version, &Material { sealed, public_key });
        assert!(matches!(result.map(drop), Err(KeyStoreError::Damaged)), "{algorithm}");
    }
}

#[test]
fn an_over_long_kek_id_seals_nothing() {
    let key = key();
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
    for (length, works) in [(255, true), (256, false)] {
        let store = kek(&"k".repeat(length), 7);
        let created = now(store.create(version, &token()));
        assert_eq!(created.is_ok(), works);
        assert!(created.is_err() || store.safe.load(version, &created.unwrap()).is_ok());
    }
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", store()), "SoftwareKeyStore(..)");
    let kek = KeyEncryptionKey::new("kek-1".to_string(), Zeroizing::new([7; 32]));
    assert_eq!(format!("{kek:?}"), "KeyEncryptionKey(..)");
}

fn store() -> SoftwareKeyStore {
    kek("kek-1", 7)
}

fn kek(id: &str, byte: u8) -> SoftwareKeyStore {
    SoftwareKeyStore::new(KeyEncryptionKey::new(id.to_string(), Zeroizing::new([byte; 32])), Entropy::system())
}

fn key() -> KeyId {
    KeyId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

fn token() -> RecordId {
    RecordId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

fn context(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Every algorithm of a purpose.
fn versions(key: &KeyId, purpose: Purpose) -> impl Iterator<Item = VersionRef<'_>> {
    let all = Algorithm::ALL.iter().filter(move |algorithm| algorithm.purpose() == purpose);
    all.map(|algorithm| VersionRef { key, version: 1, algorithm: *algorithm, calls: None })
}

/// Material as `create` makes it, except that nobody waits for primes.
fn made(store: &SoftwareKeyStore, version: VersionRef<'_>) -> Material {
    material(store, version, 0)
}

/// Other material of the same name.
fn another(store: &SoftwareKeyStore, version: VersionRef<'_>) -> Material {
    material(store, version, 1)
}

fn material(store: &SoftwareKeyStore, version: VersionRef<'_>, which: usize) -> Material {
    match Scheme::of(version.algorithm) {
        Scheme::Oaep(size) | Scheme::Rsa(size, _) => {
            let pkcs8 = &rsa_keys(size.len() * 8)[which];
            let (sealed, public_key) = sealed_rsa(store, version, pkcs8, version.algorithm);
            Material { sealed, public_key }
        }
        _ => now(store.create(version, &token())).unwrap(),
    }
}

fn sealed_rsa(
    store: &SoftwareKeyStore,
    version: VersionRef<'_>,
    pkcs8: &[u8],
    parsed_as: Algorithm,
) -> (Vec<u8>, Option<Vec<u8>>) {
    let sealed = store.safe.kek.seal(version, pkcs8, &store.safe.entropy).unwrap();
    let secret = SecretKey::parse(parsed_as, Zeroizing::new(pkcs8.to_vec())).unwrap();
    (sealed, secret.public_key().unwrap())
}

/// What is not slow never waits, so its futures need no runtime.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the software key store waited"),
    }
}

fn run<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    RUNTIME.block_on(future)
}
