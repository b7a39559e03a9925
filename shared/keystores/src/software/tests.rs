//! The software key store through its port. Every refusal is tried, not sampled.

use super::header::{Header, Name};
use super::message::Derived;
use super::vectors::bytes;
use super::*;
use aegis_core::algorithm::Algorithm;
use aegis_core::ambient::Timestamp;
use aegis_core::encoding::hex;
use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, Waker};

const HEADER: usize = 89;

#[test]
fn signatures_verify_and_only_for_their_message_and_key() {
    let (store, key) = (store(), key());
    for (algorithm, kinds) in [
        (Algorithm::EcdsaP256, [MessageType::Raw, MessageType::Digest].as_slice()),
        (Algorithm::Ed25519, &[MessageType::Raw]),
    ] {
        let version = VersionRef { key: &key, version: 1, algorithm };
        let material = now(store.create(version)).unwrap();
        let other = now(store.create(version)).unwrap();
        for &kind in kinds {
            let (message, another) = (digest(&SHA256, b"one"), digest(&SHA256, b"two"));
            let signature = now(store.sign(version, &material, kind, message.as_ref())).unwrap();
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
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::EcdsaP256 };
    let material = now(store.create(version)).unwrap();
    let hash = digest(&SHA256, b"message");
    let signature = now(store.sign(version, &material, MessageType::Digest, hash.as_ref())).unwrap();
    assert!(now(store.verify(version, &material, MessageType::Raw, b"message", &signature)).unwrap());
}

#[test]
fn verification_needs_no_private_key() {
    let (store, key) = (store(), key());
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let version = VersionRef { key: &key, version: 1, algorithm };
        let material = now(store.create(version)).unwrap();
        let signature = now(store.sign(version, &material, MessageType::Raw, b"m")).unwrap();
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
    let invalid = |result: Result<(), KeyStoreError>, what: &str| {
        assert!(matches!(result, Err(KeyStoreError::Invalid { .. })), "{what}: {result:?}");
    };
    let context = Context::new();
    for algorithm in Algorithm::ALL {
        let version = VersionRef { key: &key, version: 1, algorithm };
        let material = now(store.create(version)).unwrap();
        let sign = |kind, message: &[u8]| now(store.sign(version, &material, kind, message)).map(drop);
        let verify = |kind, message: &[u8]| now(store.verify(version, &material, kind, message, &[])).map(drop);
        match algorithm {
            Algorithm::Aes256Gcm => {
                for kind in [MessageType::Raw, MessageType::Digest] {
                    invalid(sign(kind, &[0; 32]), "sign with AES");
                    invalid(verify(kind, &[0; 32]), "verify with AES");
                }
                let long = vec![0; 65_537];
                invalid(now(store.encrypt(version, &material, &context, &long)).map(drop), "65,537 bytes");
                now(store.encrypt(version, &material, &context, &long[1..])).unwrap();
            }
            Algorithm::EcdsaP256 => {
                for length in [0, 31, 33, 48] {
                    invalid(sign(MessageType::Digest, &vec![0; length]), "digest length");
                    invalid(verify(MessageType::Digest, &vec![0; length]), "digest length");
                }
            }
            Algorithm::Ed25519 => {
                invalid(sign(MessageType::Digest, &[0; 32]), "Ed25519 digest");
                invalid(verify(MessageType::Digest, &[0; 32]), "Ed25519 digest");
            }
        }
        if algorithm.is_asymmetric() {
            invalid(now(store.encrypt(version, &material, &context, b"")).map(drop), "encrypt");
            invalid(now(store.decrypt(version, &material, &context, b"")).map(drop), "decrypt");
        }
    }
}

#[test]
fn material_opens_only_whole_and_under_its_own_names_and_key() {
    let (store, key, other) = (store(), key(), key());
    for algorithm in Algorithm::ALL {
        let version = VersionRef { key: &key, version: 1, algorithm };
        let material = now(store.create(version)).unwrap();
        let sealed = &material.sealed;
        assert!(sealed.len() < 300, "{algorithm}: {}", sealed.len());
        assert!(store.load(version, &material).is_ok());
        let damaged = |store: &SoftwareKeyStore, version, material: &Material, what: &str| {
            let result = store.load(version, material).map(drop);
            assert!(matches!(result, Err(KeyStoreError::Damaged)), "{algorithm} {what}: {result:?}");
        };

        damaged(&store, VersionRef { key: &other, ..version }, &material, "another key");
        damaged(&store, VersionRef { version: 2, ..version }, &material, "another version");
        for wrong in Algorithm::ALL.into_iter().filter(|wrong| *wrong != algorithm) {
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
        let swapped = now(store.create(version)).unwrap().public_key.or(Some(b"key".to_vec()));
        damaged(&store, version, &Material { public_key: swapped, ..material.clone() }, "another public key");
    }
}

#[test]
fn ciphertext_opens_only_whole_and_under_its_own_names_and_context() {
    let (store, key, other) = (store(), key(), key());
    let version = VersionRef { key: &key, version: 258, algorithm: Algorithm::Aes256Gcm };
    let material = now(store.create(version)).unwrap();
    let right = context(&[("tenant", "acme"), ("use", "backup")]);
    let ciphertext = now(store.encrypt(version, &material, &right, b"secret")).unwrap();
    assert_eq!(ciphertext.len(), HEADER + 6 + 16);
    assert_eq!(store.version_of(&key, &ciphertext).unwrap(), 258);
    assert_eq!(**now(store.decrypt(version, &material, &right, &ciphertext)).unwrap(), *b"secret");
    let refused = |version, material: &Material, context: &Context, ciphertext: &[u8], what: &str| {
        let result = now(store.decrypt(version, material, context, ciphertext));
        assert!(matches!(result, Err(KeyStoreError::Refused)), "{what}");
    };

    for bit in 0..ciphertext.len() * 8 {
        refused(version, &material, &right, &flipped(&ciphertext, bit), &format!("bit {bit}"));
    }
    for length in 0..ciphertext.len() {
        refused(version, &material, &right, &ciphertext[..length], &format!("{length} bytes"));
    }
    refused(version, &material, &right, &[ciphertext.as_slice(), &[0]].concat(), "a byte appended");
    for wrong in [
        context(&[]),
        context(&[("tenant", "acme")]),
        context(&[("tenant", "acme"), ("use", "backup"), ("", "")]),
        context(&[("tenant", "acme"), ("use", "Backup")]),
        context(&[("tenant", "acme"), ("user", "backup")]),
        context(&[("tenant", "acmeu"), ("se", "backup")]),
        context(&[("tenanta", "cme"), ("use", "backup")]),
        context(&[("tenant", "backup"), ("use", "acme")]),
        context(&[("tenant", "acmeusebackup")]),
    ] {
        refused(version, &material, &wrong, &ciphertext, &format!("{wrong:?}"));
    }

    let next = VersionRef { version: 259, ..version };
    let stranger = VersionRef { key: &other, ..version };
    let sibling = now(store.create(version)).unwrap();
    refused(next, &now(store.create(next)).unwrap(), &right, &ciphertext, "another version");
    refused(stranger, &now(store.create(stranger)).unwrap(), &right, &ciphertext, "another key");
    refused(version, &sibling, &right, &ciphertext, "other material of the same name");
}

/// GCM alone lets who knows two keys make one ciphertext that opens under both.
#[test]
fn an_authentic_ciphertext_with_another_commitment_is_refused() {
    let (key, secret, salt, context) = (key(), [3; 32], [4; 32], Context::new());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    let name = Name::of(version).unwrap();
    let derived = Derived::new(&secret, name, &salt).unwrap();
    let mut altered = derived.commitment;
    altered[31] ^= 1;
    for (commitment, opens) in [(derived.commitment, true), (altered, false)] {
        let header = Header { name, salt, commitment };
        let body = aead::seal(&derived.key, derived.nonce, &header.aad(&context), b"secret").unwrap();
        let ciphertext = [header.to_bytes(), body].concat();
        assert_eq!(message::decrypt(&secret, version, &context, &ciphertext).is_some(), opens);
    }
}

#[test]
fn the_bytes_of_a_key_open_nothing_of_another_version() {
    let (key, context) = (key(), Context::new());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    let ciphertext = message::encrypt(&[3; 32], version, &context, [4; 32], b"secret").unwrap();
    assert!(message::decrypt(&[3; 32], version, &context, &ciphertext).is_some());
    assert!(message::decrypt(&[3; 32], VersionRef { version: 2, ..version }, &context, &ciphertext).is_none());
}

/// Each pair would be authenticated with the same bytes if one of the two lengths were left out.
#[test]
fn contexts_made_to_look_alike_are_told_apart() {
    let key = key();
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    let header = Header { name: Name::of(version).unwrap(), salt: [1; 32], commitment: [2; 32] };
    let (one, ten) = ("\0\0\0\0\0\0\0\x01", "\0\0\0\0\0\0\0\x0a");
    let join = |parts: &[&str]| parts.concat();
    for (what, a, b) in [
        (
            "the length of the value",
            context(&[("a", "x"), ("b", &join(&["y", one, "cz"]))]),
            context(&[("a", &join(&["x", one, "by"])), ("c", "z")]),
        ),
        (
            "the length of the name",
            context(&[("a", &join(&["x", one, "y"]))]),
            context(&[(&join(&["a", ten, "x"]), "y")]),
        ),
    ] {
        assert_ne!(header.aad(&a), header.aad(&b), "{what}");
    }
}

#[test]
fn the_version_is_told_only_for_the_keys_own_ciphertexts() {
    let (store, key, other) = (store(), key(), key());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    let material = now(store.create(version)).unwrap();
    let ciphertext = now(store.encrypt(version, &material, &Context::new(), b"secret")).unwrap();
    assert_eq!(store.version_of(&key, &ciphertext).unwrap(), 1);
    let refused = |key: &KeyId, ciphertext: &[u8], what: &str| {
        assert!(matches!(store.version_of(key, ciphertext), Err(KeyStoreError::Refused)), "{what}");
    };
    refused(&other, &ciphertext, "another key");
    for bit in 0..21 * 8 {
        refused(&key, &flipped(&ciphertext, bit), &format!("bit {bit}"));
    }
    for length in 0..HEADER {
        refused(&key, &ciphertext[..length], &format!("{length} bytes"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_encrypted_decrypts(
        plaintext in prop::collection::vec(any::<u8>(), 0..2_000),
        context in prop::collection::btree_map(".{0,20}", ".{0,20}", 0..5),
        version in 1_u32..,
    ) {
        let (store, key) = (store(), key());
        let version = VersionRef { key: &key, version, algorithm: Algorithm::Aes256Gcm };
        let material = now(store.create(version)).unwrap();
        let ciphertext = now(store.encrypt(version, &material, &context, &plaintext)).unwrap();
        let again = now(store.encrypt(version, &material, &context, &plaintext)).unwrap();
        prop_assert_ne!(&ciphertext, &again);
        prop_assert_eq!(store.version_of(&key, &ciphertext).unwrap(), version.version);
        prop_assert_eq!(&*now(store.decrypt(version, &material, &context, &ciphertext)).unwrap(), &plaintext);
    }

    #[test]
    fn no_input_is_taken_for_a_ciphertext_or_for_material(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let (store, key) = (store(), key());
        let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
        let material = now(store.create(version)).unwrap();
        prop_assert!(store.version_of(&key, &input).is_err());
        prop_assert!(now(store.decrypt(version, &material, &Context::new(), &input)).is_err());
        let material = Material { sealed: input, public_key: None };
        prop_assert!(store.load(version, &material).is_err());
    }
}

/// The layout is for ever: what was sealed and encrypted when this was written still opens, and comes out the same.
#[test]
fn the_formats_do_not_change() {
    let counter = AtomicU8::new(0);
    let entropy = Entropy::new(move |buffer| {
        buffer.fill_with(|| counter.fetch_add(1, Ordering::Relaxed));
    });
    let kek = KeyEncryptionKey::new("kek-1".to_string(), Zeroizing::new([7; 32]));
    let store = SoftwareKeyStore::new(kek, entropy);
    let key = KeyId::try_from("key_00112233445566778899aabbccddeeff".to_string()).unwrap();
    let version = VersionRef { key: &key, version: 258, algorithm: Algorithm::Aes256Gcm };
    let context = context(&[("tenant", "acme"), ("use", "backup")]);

    let material = now(store.create(version)).unwrap();
    assert_eq!(hex(&material.sealed), SEALED);
    let ciphertext = now(store.encrypt(version, &material, &context, b"secret")).unwrap();
    assert_eq!(hex(&ciphertext), CIPHERTEXT);
    let stored = Material { sealed: bytes(SEALED), public_key: None };
    assert_eq!(**now(store.decrypt(version, &stored, &context, &bytes(CIPHERTEXT))).unwrap(), *b"secret");
}

// Computed from the documented layouts by another implementation (pyca/cryptography).
const SEALED: &str = "4145474b01056b656b2d31202122232425262728292a2b6c701abfeeeb3cdceaed457a35cb946b5eaec6050a0a52b8c1\
    dff74c2f1691e5b99b25f424566a52e0471c7634180813";
const CIPHERTEXT: &str = "414547430100112233445566778899aabbccddeeff000001022c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b1f35362c5e63f304ee110ca5c37eb5a69941d8fda60e21fcfe4dc350b11414a2a3\
    246c8a2e70902025fae09afdc146bb8fc9b4cb364e";

#[test]
fn replaced_material_is_never_served_stale() {
    let (store, key, context) = (store(), key(), Context::new());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    let (old, new) = (now(store.create(version)).unwrap(), now(store.create(version)).unwrap());
    let of_old = now(store.encrypt(version, &old, &context, b"secret")).unwrap();
    let of_new = now(store.encrypt(version, &new, &context, b"secret")).unwrap();
    assert!(now(store.decrypt(version, &new, &context, &of_old)).is_err());
    assert!(now(store.decrypt(version, &new, &context, &of_new)).is_ok());
}

#[test]
fn an_over_long_kek_id_seals_nothing() {
    let key = key();
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm };
    for (length, works) in [(255, true), (256, false)] {
        let store = kek(&"k".repeat(length), 7);
        let created = now(store.create(version));
        assert_eq!(created.is_ok(), works);
        assert!(created.is_err() || store.load(version, &created.unwrap()).is_ok());
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

fn context(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// The software store never waits, so its futures need no runtime.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the software key store waited"),
    }
}
