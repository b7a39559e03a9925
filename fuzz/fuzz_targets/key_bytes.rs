//! Key bytes of others: whatever a file of a folder of keys, or a wrapped key, has in it, a key that is taken signs what its
//! public half verifies, and nothing unwraps that was not wrapped.
//!
//! An input is what kind it is, the number of an algorithm, and: `=` a wrapped key; `~` what to change in a genuine one;
//! `p` the text of a file; any other byte the PKCS#8 in one.
#![no_main]

use aegis_core::algorithm::{Algorithm, MessageType, Purpose};
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{KeyId, RecordId};
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material, VersionRef};
use aegis_fuzz::{altered, seed};
use aegis_keystores::folder::FolderKeyStore;
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use libfuzzer_sys::fuzz_target;
use pem_rfc7468::LineEnding;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::LazyLock;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

struct Elsewhere {
    runtime: Runtime,
    own: SoftwareKeyStore,
    id: KeyId,
    wrapping: Material,
    /// An AES-256 key, wrapped.
    genuine: Vec<u8>,
    folder: FolderKeyStore,
    path: PathBuf,
}

impl Elsewhere {
    fn version(&self, algorithm: Algorithm) -> VersionRef<'_> {
        VersionRef { key: &self.id, version: 1, algorithm, calls: None }
    }
}

static ELSEWHERE: LazyLock<Elsewhere> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let entropy = Entropy::system();
    let own = SoftwareKeyStore::new(KeyEncryptionKey::new("kek-1".into(), Zeroizing::new([7; 32])), entropy.clone());
    let (id, token) = (KeyId::none(), RecordId::floor(Timestamp::UNIX_EPOCH));
    let version = VersionRef { key: &id, version: 1, algorithm: WRAPPING, calls: None };
    let wrapping = runtime.block_on(own.create(version, &token)).unwrap();
    // Kept: what ends this process lets nothing clean up.
    let path = tempfile::tempdir().unwrap().keep();
    std::fs::write(path.join(".aegis-keys"), "").unwrap();
    let folder = FolderKeyStore::new(path.clone(), entropy);
    let genuine = wrapped(wrapping.public_key.as_ref().unwrap(), &[3; 32]);
    for (n, algorithm) in Algorithm::ALL.iter().enumerate() {
        let token = RecordId::floor(Timestamp::from_second(i64::try_from(n).unwrap()).unwrap());
        let made = runtime
            .block_on(folder.create(VersionRef { key: &id, version: 1, algorithm: *algorithm, calls: None }, &token));
        let Ok(material) = made else { continue };
        let text = std::fs::read(path.join(String::from_utf8(material.sealed).unwrap())).unwrap();
        let (_, pkcs8) = pem_rfc7468::decode_vec(&text).unwrap();
        let number = u8::try_from(n).unwrap();
        seed(&format!("text-{n}"), &[&[b'p', number], text.as_slice()].concat());
        seed(&format!("pkcs8-{n}"), &[&[0, number], pkcs8.as_slice()].concat());
    }
    Elsewhere { runtime, own, id, wrapping, genuine, folder, path }
});

fuzz_target!(init: LazyLock::force(&ELSEWHERE), |input: &[u8]| -> () {
    let [kind, algorithm, rest @ ..] = input else { return };
    let algorithm = Algorithm::ALL[usize::from(*algorithm) % Algorithm::ALL.len()];
    let elsewhere = &*ELSEWHERE;
    match kind {
        b'=' => import(elsewhere, rest),
        b'~' => import(elsewhere, &altered(&elsewhere.genuine, rest)),
        b'p' => register(elsewhere, algorithm, rest),
        _ => match pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, rest) {
            Ok(text) => register(elsewhere, algorithm, text.as_bytes()),
            Err(_) => {}
        },
    }
});

fn import(elsewhere: &Elsewhere, wrapped: &[u8]) {
    let (target, from) = (elsewhere.version(Algorithm::Aes256Gcm), elsewhere.version(WRAPPING));
    let imported = elsewhere.runtime.block_on(elsewhere.own.import(target, from, &elsewhere.wrapping, wrapped));
    match (imported, wrapped == elsewhere.genuine) {
        (Ok(_), true) | (Err(KeyStoreError::Refused), false) => {}
        (Ok(_), false) => panic!("what nobody wrapped was unwrapped"),
        (Err(error), _) => panic!("{error}"),
    }
}

fn register(elsewhere: &Elsewhere, algorithm: Algorithm, text: &[u8]) {
    let mut file = std::fs::OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600).open(elsewhere.path.join("fuzzed.pem"));
    std::io::Write::write_all(&mut file.unwrap(), text).unwrap();
    let (folder, version) = (&elsewhere.folder, elsewhere.version(algorithm));
    let registered = elsewhere.runtime.block_on(folder.register(algorithm, &"fuzzed.pem".parse().unwrap()));
    let material = match registered {
        Ok(material) => material,
        Err(KeyStoreError::Invalid { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let run = &elsewhere.runtime;
    match algorithm.purpose() {
        Purpose::EncryptDecrypt => {
            let sealed = run.block_on(folder.encrypt(version, &material, &Context::new(), b"m")).unwrap();
            let opened = run.block_on(folder.decrypt(version, &material, &Context::new(), &sealed)).unwrap();
            assert_eq!(*opened, b"m");
        }
        Purpose::SignVerify => {
            let signature = run.block_on(folder.sign(version, &material, MessageType::Raw, b"m")).unwrap();
            let valid = folder.verify(version, &material, MessageType::Raw, b"m", &signature);
            assert!(run.block_on(valid).unwrap(), "the halves of a key do not fit");
        }
        Purpose::Mac => panic!("a folder has no such keys"),
    }
}

fn wrapped(wrapping_key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(wrapping_key).unwrap()).unwrap();
    let mut outer = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, &[9; 32], &mut outer, None).unwrap();
    let mut inner = vec![0; bytes.len() + 16];
    let inner = AesKek::new(&AES_256, &[9; 32]).unwrap().wrap_with_padding(bytes, &mut inner).unwrap();
    [outer.as_slice(), inner].concat()
}

const WRAPPING: Algorithm = Algorithm::Rsa3072OaepSha256;
