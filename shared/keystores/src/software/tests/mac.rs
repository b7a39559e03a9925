//! Message authentication codes.

use super::*;

#[test]
fn a_mac_is_valid_only_whole_for_its_message_and_key() {
    let (store, key) = (store(), key());
    for version in versions(&key, Purpose::Mac) {
        let (algorithm, material, other) = (version.algorithm, made(&store, version), another(&store, version));
        let mac = now(store.mac(version, &material, b"message")).unwrap();
        assert_eq!(now(store.mac(version, &material, b"message")).unwrap(), mac, "{algorithm}");
        let valid =
            |material, message: &[u8], mac: &[u8]| now(store.verify_mac(version, material, message, mac)).unwrap();
        assert!(valid(&material, b"message", &mac), "{algorithm}");
        assert!(!valid(&other, b"message", &mac), "{algorithm}: another key");
        for message in [b"".as_slice(), b"massage", b"messag", b"message\0"] {
            assert!(!valid(&material, message, &mac), "{algorithm}: {message:?}");
        }
        for bit in 0..mac.len() * 8 {
            assert!(!valid(&material, b"message", &flipped(&mac, bit)), "{algorithm}: bit {bit}");
        }
        for length in 0..mac.len() {
            assert!(!valid(&material, b"message", &mac[..length]), "{algorithm}: {length} bytes");
        }
        assert!(!valid(&material, b"message", &[mac.as_slice(), &[0]].concat()), "{algorithm}: a byte appended");
    }
}

#[test]
fn every_version_has_its_own_key() {
    let (store, key) = (store(), key());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::HmacSha256, calls: None };
    let next = VersionRef { version: 2, ..version };
    let (old, new) = (made(&store, version), made(&store, next));
    let mac = now(store.mac(version, &old, b"message")).unwrap();
    assert!(!now(store.verify_mac(next, &new, b"message", &mac)).unwrap());
    let mixed = now(store.verify_mac(next, &old, b"message", &mac));
    assert!(matches!(mixed, Err(KeyStoreError::Damaged)));
}
