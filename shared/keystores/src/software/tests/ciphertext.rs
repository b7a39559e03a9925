//! Ciphertexts of AES keys.

use super::super::header::{Header, Name};
use super::super::message::Derived;
use super::super::vectors::bytes;
use super::*;
use aegis_core::encoding::hex;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU8, Ordering};

const HEADER: usize = 89;

#[test]
fn ciphertext_opens_only_whole_and_under_its_own_names_and_context() {
    for algorithm in [Algorithm::Aes128Gcm, Algorithm::Aes192Gcm, Algorithm::Aes256Gcm] {
        opens_only_whole(algorithm);
    }
}

fn opens_only_whole(algorithm: Algorithm) {
    let (store, key, other) = (store(), key(), key());
    let version = VersionRef { key: &key, version: 258, algorithm, calls: None };
    let material = now(store.create(version, &token())).unwrap();
    let right = context(&[("tenant", "acme"), ("use", "backup")]);
    let ciphertext = now(store.encrypt(version, &material, &right, b"secret")).unwrap();
    assert_eq!(ciphertext.len(), HEADER + 6 + 16);
    assert_eq!(store.version_of(version, &ciphertext).unwrap(), 258);
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
    let sibling = now(store.create(version, &token())).unwrap();
    refused(next, &now(store.create(next, &token())).unwrap(), &right, &ciphertext, "another version");
    refused(stranger, &now(store.create(stranger, &token())).unwrap(), &right, &ciphertext, "another key");
    refused(version, &sibling, &right, &ciphertext, "other material of the same name");
}

/// GCM alone lets who knows two keys make one ciphertext that opens under both.
#[test]
fn an_authentic_ciphertext_with_another_commitment_is_refused() {
    let (key, secret, salt, context) = (key(), [3; 32], [4; 32], Context::new());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
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
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
    let ciphertext = message::encrypt(&[3; 32], version, &context, [4; 32], b"secret").unwrap();
    assert!(message::decrypt(&[3; 32], version, &context, &ciphertext).is_some());
    assert!(message::decrypt(&[3; 32], VersionRef { version: 2, ..version }, &context, &ciphertext).is_none());
}

/// Each pair would be authenticated with the same bytes if one of the two lengths were left out.
#[test]
fn contexts_made_to_look_alike_are_told_apart() {
    let key = key();
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
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
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
    let material = now(store.create(version, &token())).unwrap();
    let ciphertext = now(store.encrypt(version, &material, &Context::new(), b"secret")).unwrap();
    fn present(key: &KeyId) -> VersionRef<'_> {
        VersionRef { key, version: 7, algorithm: Algorithm::Aes256Gcm, calls: None }
    }
    assert_eq!(store.version_of(present(&key), &ciphertext).unwrap(), 1);
    let refused = |key: &KeyId, ciphertext: &[u8], what: &str| {
        assert!(matches!(store.version_of(present(key), ciphertext), Err(KeyStoreError::Refused)), "{what}");
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
        let algorithm = [Algorithm::Aes128Gcm, Algorithm::Aes192Gcm, Algorithm::Aes256Gcm][plaintext.len() % 3];
        let version = VersionRef { key: &key, version, algorithm, calls: None };
        let material = now(store.create(version, &token())).unwrap();
        let ciphertext = now(store.encrypt(version, &material, &context, &plaintext)).unwrap();
        let again = now(store.encrypt(version, &material, &context, &plaintext)).unwrap();
        prop_assert_ne!(&ciphertext, &again);
        prop_assert_eq!(store.version_of(version, &ciphertext).unwrap(), version.version);
        prop_assert_eq!(&*now(store.decrypt(version, &material, &context, &ciphertext)).unwrap(), &plaintext);
    }

    #[test]
    fn no_input_is_taken_for_a_ciphertext_or_for_material(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let (store, key) = (store(), key());
        let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
        let material = now(store.create(version, &token())).unwrap();
        prop_assert!(store.version_of(version, &input).is_err());
        prop_assert!(now(store.decrypt(version, &material, &Context::new(), &input)).is_err());
        let material = Material { sealed: input, public_key: None };
        prop_assert!(store.safe.load(version, &material).is_err());
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
    let version = VersionRef { key: &key, version: 258, algorithm: Algorithm::Aes256Gcm, calls: None };
    let context = context(&[("tenant", "acme"), ("use", "backup")]);

    let material = now(store.create(version, &token())).unwrap();
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

/// Computed from the documented layout by another implementation (pyca/cryptography).
#[test]
fn the_message_key_is_as_long_as_the_key() {
    let key = KeyId::try_from("key_00112233445566778899aabbccddeeff".to_string()).unwrap();
    let context = context(&[("tenant", "acme")]);
    let table = [
        (
            Algorithm::Aes128Gcm,
            16,
            "414547430100112233445566778899aabbccddeeff0000010204040404040404040404040404040404040404\
             0404040404040404040404040438febe268949e4612353183bf838520ffa8347df7330a514beb0870a9fe91f\
             72027d3eedf049133f8f15abf28ab4b4e008e31efb9cab",
        ),
        (
            Algorithm::Aes192Gcm,
            24,
            "414547430100112233445566778899aabbccddeeff0000010204040404040404040404040404040404040404\
             04040404040404040404040404a92373901ad68d907dade89845c15ff1e544f5e43a625edb628814c77e9b53\
             f3b26b646390f2e9b30ab814c84f50e54bff7667c255dc",
        ),
    ];
    for (algorithm, length, ciphertext) in table {
        let version = VersionRef { key: &key, version: 258, algorithm, calls: None };
        let secret = vec![3; length];
        let made = message::encrypt(&secret, version, &context, [4; 32], b"secret").unwrap();
        assert_eq!(hex(&made), ciphertext, "{algorithm}");
    }
}

#[test]
fn replaced_material_is_never_served_stale() {
    let (store, key, context) = (store(), key(), Context::new());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Aes256Gcm, calls: None };
    let (old, new) = (now(store.create(version, &token())).unwrap(), now(store.create(version, &token())).unwrap());
    let of_old = now(store.encrypt(version, &old, &context, b"secret")).unwrap();
    let of_new = now(store.encrypt(version, &new, &context, b"secret")).unwrap();
    assert!(now(store.decrypt(version, &new, &context, &of_old)).is_err());
    assert!(now(store.decrypt(version, &new, &context, &of_new)).is_ok());
}
