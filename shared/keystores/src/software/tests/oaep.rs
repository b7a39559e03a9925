//! Ciphertexts of RSA-OAEP keys.

use super::super::vectors::bytes;
use super::*;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};

const NAME: usize = 25;

#[test]
fn what_is_encrypted_decrypts_up_to_the_limit() {
    let (store, key) = (store(), key());
    for (algorithm, modulus) in
        [(Algorithm::Rsa2048OaepSha256, 256), (Algorithm::Rsa3072OaepSha256, 384), (Algorithm::Rsa4096OaepSha256, 512)]
    {
        let version = VersionRef { key: &key, version: 258, algorithm, calls: None };
        let present = VersionRef { version: 300, ..version };
        let material = made(&store, version);
        for context in [context(&[]), context(&[("tenant", "acme")])] {
            for length in [0, 1, 32, modulus - 66] {
                let plaintext = vec![7; length];
                let ciphertext = run(store.encrypt(version, &material, &context, &plaintext)).unwrap();
                assert_eq!(ciphertext.len(), NAME + modulus, "{algorithm}");
                let again = run(store.encrypt(version, &material, &context, &plaintext)).unwrap();
                assert_ne!(ciphertext, again, "{algorithm}");
                assert_eq!(store.version_of(present, &ciphertext).unwrap(), 258);
                let opened = run(store.decrypt(version, &material, &context, &ciphertext)).unwrap();
                assert_eq!(*opened, plaintext, "{algorithm} {length}");
            }
        }
    }
}

#[test]
fn ciphertext_opens_only_whole_and_under_its_own_names_and_context() {
    let (store, key, other) = (store(), key(), key());
    let version = version(&key, 1);
    let material = made(&store, version);
    let right = context(&[("tenant", "acme"), ("use", "backup")]);
    let ciphertext = now(store.encrypt(version, &material, &right, b"secret")).unwrap();
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
    refused(version, &material, &right, &ciphertext[NAME..], "a context without the name");
    for wrong in [
        context(&[]),
        context(&[("tenant", "acme")]),
        context(&[("tenant", "acme"), ("use", "backup"), ("", "")]),
        context(&[("tenant", "acme"), ("use", "Backup")]),
        context(&[("tenant", "acmeu"), ("se", "backup")]),
        context(&[("tenant", "backup"), ("use", "acme")]),
        context(&[("tenant", "acmeusebackup")]),
    ] {
        refused(version, &material, &wrong, &ciphertext, &format!("{wrong:?}"));
    }

    let next = VersionRef { version: 2, ..version };
    let stranger = VersionRef { key: &other, ..version };
    refused(next, &another(&store, next), &right, &ciphertext, "another version");
    refused(next, &made(&store, next), &right, &ciphertext, "another version of the same bytes");
    refused(stranger, &made(&store, stranger), &right, &ciphertext, "another key of the same bytes");
    refused(version, &another(&store, version), &right, &ciphertext, "other material of the same name");
}

#[test]
fn who_holds_the_public_key_encrypts_outside() {
    let (store, key) = (store(), key());
    let (old, new) = (version(&key, 1), version(&key, 2));
    let (of_old, of_new) = (made(&store, old), another(&store, new));
    let (none, some) = (context(&[]), context(&[("tenant", "acme")]));
    let bare = outside(&of_old, b"from outside");
    assert_eq!(store.version_of(old, &bare).unwrap(), 1);
    assert_eq!(**now(store.decrypt(old, &of_old, &none, &bare)).unwrap(), *b"from outside");
    let refused = |version, material, context, ciphertext: &[u8]| {
        matches!(now(store.decrypt(version, material, context, ciphertext)), Err(KeyStoreError::Refused))
    };
    assert!(refused(old, &of_old, &some, &bare));

    // Once rotated it is taken for one of the new version, unless it is named.
    assert_eq!(store.version_of(new, &bare).unwrap(), 2);
    assert!(refused(new, &of_new, &none, &bare));
    let of_aegis = now(store.encrypt(old, &of_old, &none, b"from aegis")).unwrap();
    let named = [&of_aegis[..NAME], &bare].concat();
    assert_eq!(store.version_of(new, &named).unwrap(), 1);
    assert_eq!(**now(store.decrypt(old, &of_old, &none, &named)).unwrap(), *b"from outside");

    for other in [&bare[1..], &named[..NAME], &named[..NAME + 255], &[named.as_slice(), &[0]].concat()] {
        assert!(matches!(store.version_of(old, other), Err(KeyStoreError::Refused)), "{}", other.len());
    }
}

/// The public half lies in the store in the clear.
#[test]
fn nothing_is_encrypted_under_a_public_key_that_is_not_the_keys() {
    let (store, key) = (store(), key());
    let version = version(&key, 1);
    let swapped = Material { public_key: another(&store, version).public_key, ..made(&store, version) };
    let result = now(store.encrypt(version, &swapped, &context(&[]), b"secret"));
    assert!(matches!(result, Err(KeyStoreError::Damaged)));
}

/// The layout is for ever. Computed from its documentation by another implementation (pyca/cryptography).
#[test]
fn the_format_does_not_change() {
    let store = store();
    let key = KeyId::try_from("key_00112233445566778899aabbccddeeff".to_string()).unwrap();
    let version = version(&key, 258);
    let material = made(&store, version);
    let context = context(&[("tenant", "acme"), ("use", "backup")]);
    let opened = now(store.decrypt(version, &material, &context, &bytes(CIPHERTEXT))).unwrap();
    assert_eq!(**opened, *b"secret");
    let made_now = now(store.encrypt(version, &material, &context, b"secret")).unwrap();
    assert_eq!(made_now[..NAME], bytes(CIPHERTEXT)[..NAME]);
}

fn version(key: &KeyId, version: u32) -> VersionRef<'_> {
    VersionRef { key, version, algorithm: Algorithm::Rsa2048OaepSha256, calls: None }
}

fn outside(material: &Material, plaintext: &[u8]) -> Vec<u8> {
    let public = PublicEncryptingKey::from_der(material.public_key.as_ref().unwrap()).unwrap();
    let mut ciphertext = vec![0; public.key_size_bytes()];
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    public.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut ciphertext, None).unwrap();
    ciphertext
}

const CIPHERTEXT: &str = "414547430200112233445566778899aabbccddeeff00000102803bfee2789b479e917c35a781e0d131617de9d64e4c5c\
    c3ae93c2daa8aaa761894797feec76d558fe17bce2c2939560c003c410dd44971fb3041d4318c542ef2ee067c1a65fd8\
    0c3b6c6c0b047a3fdaab193cc9a976173369e2411a2e6eb92364cdb9f440e3165de3bcee425e4a12dca8c03a1d6dfbd6\
    4d759dec253ece11b37bb6215308b65dd5dd0e0e4d5417a13a20fd9d62f6d866a55862fbfcbb1926ea84c6a71dd93bb0\
    06c95bf005c658c5b4bd966a6e21727934ebefe4de8a6745a147055e8c62cd41057102541c9b2cc53b3b5c4ead40904d\
    21d30c78fe2e98044281db096b77f8ddd74f4afc9608bccb56d27ea2305fe1739f9be12ac6f8a4defe";
