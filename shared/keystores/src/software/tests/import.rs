//! Key bytes of others: wrapped by the book, unwrapped, and refused where they are not what they should be.

use super::*;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};

#[test]
fn a_key_of_every_algorithm_is_itself_after_import() {
    let importer = Importer::new();
    for algorithm in Algorithm::ALL {
        let bytes = bytes_of(*algorithm, 0);
        let material = importer.import(*algorithm, &importer.wrap(&bytes)).unwrap();
        let secret = SecretKey::parse(*algorithm, bytes.clone()).unwrap();
        assert_eq!(material.public_key, secret.public_key().unwrap(), "{algorithm}");
        let loaded = run(importer.store.load(importer.target(*algorithm), &material)).unwrap();
        match (&*loaded, &secret) {
            (SecretKey::Aes(loaded), _) => assert_eq!(**loaded, *bytes, "{algorithm}"),
            (SecretKey::Hmac(loaded), SecretKey::Hmac(own)) => {
                assert_eq!(hmac::sign(loaded, b"m").as_ref(), hmac::sign(own, b"m").as_ref(), "{algorithm}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_wrapping_key_that_was_used_is_not_kept_in_memory() {
    let importer = Importer::new();
    importer.import(Algorithm::Aes256Gcm, &importer.wrap(&bytes_of(Algorithm::Aes256Gcm, 0))).unwrap();
    assert!(importer.store.safe.cache.get(importer.from(), &importer.wrapping).is_none());
}

#[test]
fn what_was_altered_on_the_way_does_not_unwrap() {
    let importer = Importer::new();
    let wrapped = importer.wrap(&bytes_of(Algorithm::Aes256Gcm, 0));
    for at in 0..wrapped.len() {
        refused(&importer, &flipped(&wrapped, at * 8), &format!("byte {at}"));
    }
    for length in [0, 1, 383, 384, 392, wrapped.len() - 8, wrapped.len() - 1] {
        refused(&importer, &wrapped[..length], &format!("{length} bytes"));
    }
    refused(&importer, &[wrapped.as_slice(), &[0; 8]].concat(), "eight more bytes");
    refused(&importer, &[wrapped.as_slice(), &vec![0; 20_000]].concat(), "far too much");
    let other = Importer::new();
    let result = run(importer.store.import(
        importer.target(Algorithm::Aes256Gcm),
        VersionRef { key: &other.id, ..importer.from() },
        &importer.wrapping,
        &wrapped,
    ));
    assert!(matches!(result, Err(KeyStoreError::Damaged)), "a wrapping key of another name");
}

fn refused(importer: &Importer, wrapped: &[u8], what: &str) {
    let result = importer.import(Algorithm::Aes256Gcm, wrapped);
    assert!(matches!(result, Err(KeyStoreError::Refused)), "{what}");
}

#[test]
fn what_is_no_key_of_the_algorithm_is_not_taken() {
    let importer = Importer::new();
    let table = [
        (Algorithm::Aes256Gcm, vec![7; 31]),
        (Algorithm::Aes256Gcm, vec![7; 33]),
        (Algorithm::HmacSha256, vec![7; 48]),
        (Algorithm::Ed25519, vec![7; 32]),
        (Algorithm::Ed25519, bytes_of(Algorithm::EcdsaP256, 0).to_vec()),
        (Algorithm::EcdsaP384, bytes_of(Algorithm::EcdsaP256, 0).to_vec()),
        (Algorithm::EcdsaP256, bytes_of(Algorithm::EcdsaSecp256k1, 0).to_vec()),
        (Algorithm::Rsa3072PssSha256, bytes_of(Algorithm::Rsa2048PssSha256, 0).to_vec()),
        (Algorithm::Rsa2048OaepSha256, bytes_of(Algorithm::Rsa3072OaepSha256, 0).to_vec()),
        (Algorithm::MlDsa44, bytes_of(Algorithm::MlDsa65, 0).to_vec()),
        (Algorithm::EcdsaP256, b"-----BEGIN PRIVATE KEY-----".to_vec()),
    ];
    for (algorithm, bytes) in table {
        let result = importer.import(algorithm, &importer.wrap(&bytes));
        assert!(matches!(result, Err(KeyStoreError::Invalid { .. })), "{algorithm}, {} bytes", bytes.len());
    }
}

/// Whatever a caller's file has in it, its two halves are one key's.
#[test]
fn no_key_is_taken_whose_halves_do_not_fit() {
    let importer = Importer::new();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519, Algorithm::MlDsa44, Algorithm::Rsa2048PssSha256] {
        let bytes = bytes_of(algorithm, 0);
        for at in (0..bytes.len()).step_by(if bytes.len() > 200 { 7 } else { 1 }) {
            let altered = Zeroizing::new(flipped(&bytes, at * 8));
            let Ok(material) = importer.import(algorithm, &importer.wrap(&altered)) else { continue };
            let version = importer.target(algorithm);
            let signature = run(importer.store.sign(version, &material, MessageType::Raw, b"m")).unwrap();
            let valid = now(importer.store.verify(version, &material, MessageType::Raw, b"m", &signature)).unwrap();
            assert!(valid, "{algorithm}, byte {at}");
        }
    }
    let (mine, yours) = (bytes_of(Algorithm::EcdsaP256, 0), bytes_of(Algorithm::EcdsaP256, 1));
    let point = mine.len() - 65;
    let mixed = [&mine[..point], &yours[point..]].concat();
    let result = importer.import(Algorithm::EcdsaP256, &importer.wrap(&mixed));
    assert!(matches!(result, Err(KeyStoreError::Invalid { .. })), "another key's public half");
}

struct Importer {
    store: SoftwareKeyStore,
    id: KeyId,
    wrapping: Material,
    imported: KeyId,
}

impl Importer {
    fn new() -> Self {
        let (store, id) = (store(), key());
        let version = VersionRef { key: &id, version: 1, algorithm: Algorithm::Rsa3072OaepSha256, calls: None };
        let wrapping = made(&store, version);
        Self { store, id, wrapping, imported: key() }
    }

    fn from(&self) -> VersionRef<'_> {
        VersionRef { key: &self.id, version: 1, algorithm: Algorithm::Rsa3072OaepSha256, calls: None }
    }

    fn target(&self, algorithm: Algorithm) -> VersionRef<'_> {
        VersionRef { key: &self.imported, version: 1, algorithm, calls: None }
    }

    fn import(&self, algorithm: Algorithm, wrapped: &[u8]) -> Result<Material, KeyStoreError> {
        run(self.store.import(self.target(algorithm), self.from(), &self.wrapping, wrapped))
    }

    /// As a caller does it.
    fn wrap(&self, bytes: &[u8]) -> Vec<u8> {
        let key = [9; 32];
        let public = PublicEncryptingKey::from_der(self.wrapping.public_key.as_ref().unwrap()).unwrap();
        let public = OaepPublicEncryptingKey::new(public).unwrap();
        let mut outer = vec![0; public.ciphertext_size()];
        public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut outer, None).unwrap();
        let mut inner = vec![0; bytes.len() + 16];
        let inner = AesKek::new(&AES_256, &key).unwrap().wrap_with_padding(bytes, &mut inner).unwrap();
        [outer.as_slice(), inner].concat()
    }
}

/// As an import takes them; nobody waits for primes.
fn bytes_of(algorithm: Algorithm, which: usize) -> Zeroizing<Vec<u8>> {
    match Scheme::of(algorithm) {
        Scheme::Oaep(size) | Scheme::Rsa(size, _) => Zeroizing::new(rsa_keys(size.len() * 8)[which].to_vec()),
        // Ed25519 as OpenSSL writes it: the seed alone.
        _ => secret::generate(algorithm, &Entropy::system()).unwrap(),
    }
}
