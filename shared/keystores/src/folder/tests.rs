//! A folder's keys through the port, and files that are not what they should be.

use super::*;
use aegis_core::ambient::Timestamp;
use aegis_core::id::KeyId;
use pem_rfc7468::LineEnding;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

#[test]
fn a_registered_file_signs_and_only_as_itself() {
    let (dir, store) = folder();
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP521, Algorithm::Ed25519, Algorithm::MlDsa65] {
        let pkcs8 = put(&dir, "own.pem", algorithm);
        let material = register(&store, algorithm, "own.pem").unwrap();
        let own = SecretKey::parse(algorithm, pkcs8).unwrap();
        assert_eq!(material.public_key, own.public_key().unwrap());
        let (id, kind) = (key(), MessageType::Raw);
        let version = VersionRef { key: &id, version: 1, algorithm, calls: None };
        let signature = run(store.sign(version, &material, kind, b"m")).unwrap();
        // Anyone with the public key agrees, and what another program signs is accepted.
        let public = material.public_key.as_ref().unwrap();
        assert!(secret::verify(algorithm, public, kind, b"m", &signature).unwrap(), "{algorithm}");
        let elsewhere = own.sign(kind, b"m").unwrap();
        assert!(run(store.verify(version, &material, kind, b"m", &elsewhere)).unwrap(), "{algorithm}");
        assert!(!run(store.verify(version, &material, kind, b"n", &elsewhere)).unwrap(), "{algorithm}");
        // The same name, another key.
        put(&dir, "own.pem", algorithm);
        let replaced = run(store.sign(version, &material, kind, b"m"));
        assert!(matches!(replaced, Err(KeyStoreError::Damaged)), "{algorithm}");
    }
}

#[test]
fn oaep_is_that_of_any_other_program() {
    let (_dir, store) = folder();
    let (id, algorithm, none) = (key(), Algorithm::Rsa2048OaepSha256, Context::new());
    let version = VersionRef { key: &id, version: 1, algorithm, calls: None };
    let material = run(store.create(version, &token())).unwrap();
    let ciphertext = run(store.encrypt(version, &material, &none, b"secret")).unwrap();
    assert_eq!(ciphertext.len(), 256, "nothing but RSAES-OAEP");
    assert_eq!(**run(store.decrypt(version, &material, &none, &ciphertext)).unwrap(), *b"secret");
    assert_eq!(store.version_of(version, &ciphertext).unwrap(), 1);
    for altered in [&ciphertext[1..], &[ciphertext.as_slice(), &[0]].concat(), &[0; 256]] {
        let result = run(store.decrypt(version, &material, &none, altered));
        assert!(matches!(result, Err(KeyStoreError::Refused)));
    }
    // A number with a leading zero is the same number without, and another ciphertext.
    let encrypt = || run(store.encrypt(version, &material, &none, b"secret")).unwrap();
    let zero = std::iter::repeat_with(encrypt).find(|ciphertext| ciphertext[0] == 0).unwrap();
    run(store.decrypt(version, &material, &none, &zero)).unwrap();
    assert!(matches!(run(store.decrypt(version, &material, &none, &zero[1..])), Err(KeyStoreError::Refused)));
    let context: Context = [("tenant".to_string(), "acme".to_string())].into();
    invalid(run(store.encrypt(version, &material, &context, b"secret")), "a context");
    invalid(run(store.decrypt(version, &material, &context, &ciphertext)), "a context");
    invalid(run(store.encrypt(version, &material, &none, &[0; 191])), "too long");
    invalid(run(store.sign(version, &material, MessageType::Raw, b"m")), "signing");
    invalid(run(store.create(VersionRef { version: 2, ..version }, &token())), "rotation");
}

#[test]
fn what_may_not_be_registered() {
    let (dir, store) = folder();
    put(&dir, "own.pem", Algorithm::EcdsaP256);
    put(&dir, ".own.pem", Algorithm::EcdsaP256);
    put(&dir, "own.pem~", Algorithm::EcdsaP256);
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    put(&dir, "sub/own.pem", Algorithm::EcdsaP256);
    for object in ["sub/../own.pem", "../own.pem", "/etc/passwd", ".own.pem", "sub/own.pem", "own.pem~", "no-such.pem"]
    {
        invalid(register(&store, Algorithm::EcdsaP256, object), object);
    }
    for algorithm in [Algorithm::EcdsaP384, Algorithm::Ed25519, Algorithm::Rsa2048PssSha256] {
        invalid(register(&store, algorithm, "own.pem"), algorithm.as_str());
    }
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::HmacSha256] {
        invalid(register(&store, algorithm, "own.pem"), algorithm.as_str());
        let id = key();
        let version = VersionRef { key: &id, version: 1, algorithm, calls: None };
        invalid(run(store.create(version, &token())), algorithm.as_str());
        let material = Material { sealed: b"own.pem".to_vec(), public_key: None };
        invalid(run(store.mac(version, &material, b"m")), algorithm.as_str());
        invalid(run(store.verify_mac(version, &material, b"m", b"m")), algorithm.as_str());
    }
    symlink(dir.path().join("own.pem"), dir.path().join("link.pem")).unwrap();
    std::fs::create_dir(dir.path().join("folder.pem")).unwrap();
    std::fs::set_permissions(dir.path().join("folder.pem"), PermissionsExt::from_mode(0o700)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe.pem"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for object in ["link.pem", "folder.pem", "pipe.pem"] {
        invalid(register(&store, Algorithm::EcdsaP256, object), object);
    }
    let pkcs8 = secret::generate(Algorithm::EcdsaP256, &Entropy::system()).unwrap();
    for label in ["EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE"] {
        write(&dir.path().join("other.pem"), pem_rfc7468::encode_string(label, LineEnding::LF, &pkcs8).unwrap());
        invalid(register(&store, Algorithm::EcdsaP256, "other.pem"), label);
    }
    let pem = std::fs::read_to_string(dir.path().join("own.pem")).unwrap();
    for (what, text) in [
        ("nothing", String::new()),
        ("cut", pem.chars().take(pem.len() / 2).collect()),
        ("two", format!("{pem}{pem}")),
        ("far too long", format!("{pem}{}", "\n".repeat(20_000))),
    ] {
        write(&dir.path().join("other.pem"), text);
        invalid(register(&store, Algorithm::EcdsaP256, "other.pem"), what);
    }
}

#[test]
fn a_file_that_others_may_read_is_not_used() {
    let (dir, store) = folder();
    put(&dir, "own.pem", Algorithm::Ed25519);
    let material = register(&store, Algorithm::Ed25519, "own.pem").unwrap();
    let id = key();
    let version = VersionRef { key: &id, version: 1, algorithm: Algorithm::Ed25519, calls: None };
    let sign = || run(store.sign(version, &material, MessageType::Raw, b"m"));
    for mode in [0o640, 0o604, 0o620, 0o601] {
        std::fs::set_permissions(dir.path().join("own.pem"), PermissionsExt::from_mode(mode)).unwrap();
        invalid(register(&store, Algorithm::Ed25519, "own.pem"), "registered");
        unavailable(sign(), "used");
    }
    std::fs::set_permissions(dir.path().join("own.pem"), PermissionsExt::from_mode(0o400)).unwrap();
    sign().unwrap();
    std::fs::rename(dir.path(), dir.path().with_extension("away")).unwrap();
    unavailable(sign(), "the folder is away");
    unavailable(register(&store, Algorithm::Ed25519, "own.pem"), "the folder is away");
    std::fs::rename(dir.path().with_extension("away"), dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("own.pem")).unwrap();
    unavailable(sign(), "the file is gone");
}

#[test]
fn one_token_makes_one_file_and_undoing_removes_it() {
    let (dir, store) = folder();
    let (id, token) = (key(), token());
    let version = VersionRef { key: &id, version: 2, algorithm: Algorithm::EcdsaP256, calls: None };
    // What an interrupted call left does not stand in the way.
    write(&dir.path().join(format!(".aegis-{token}.pem.unfinished")), "half a ke");
    let first = run(store.create(version, &token)).unwrap();
    let again = run(store.create(version, &token)).unwrap();
    assert_eq!(first.public_key, again.public_key);
    let names = files(&dir);
    assert_eq!(names, [format!("aegis-{token}.pem")]);
    let mode = std::fs::metadata(dir.path().join(&names[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    invalid(register(&store, Algorithm::EcdsaP256, &names[0]), "it may be removed again until it is on record");
    run(store.sign(version, &first, MessageType::Raw, b"m")).unwrap();
    let other = run(store.create(version, &self::token())).unwrap();
    assert_ne!(other.public_key, first.public_key);
    for _ in 0..2 {
        run(store.undo(&token)).unwrap();
        assert_eq!(files(&dir).len(), 1, "the other's stays");
    }
    for _ in 0..2 {
        run(store.destroy(version, &other)).unwrap();
        assert_eq!(files(&dir), [""; 0]);
    }
    write(&dir.path().join(format!(".aegis-{token}.pem.unfinished")), "half a ke");
    run(store.undo(&token)).unwrap();
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn what_was_put_in_a_files_place_is_not_removed() {
    let (dir, store) = folder();
    let id = key();
    let version = VersionRef { key: &id, version: 1, algorithm: Algorithm::Ed25519, calls: None };
    put(&dir, "own.pem", Algorithm::Ed25519);
    let material = register(&store, Algorithm::Ed25519, "own.pem").unwrap();
    put(&dir, "own.pem", Algorithm::Ed25519);
    run(store.destroy(version, &material)).unwrap();
    assert_eq!(files(&dir), ["own.pem"], "another key");
    let material = register(&store, Algorithm::Ed25519, "own.pem").unwrap();
    // Readable to others, or garbled, it is the key's file all the same.
    std::fs::set_permissions(dir.path().join("own.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    run(store.destroy(version, &material)).unwrap();
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn a_folder_without_its_mark_is_away() {
    let (dir, store) = folder();
    let (id, token) = (key(), token());
    let version = VersionRef { key: &id, version: 1, algorithm: Algorithm::Ed25519, calls: None };
    put(&dir, "own.pem", Algorithm::Ed25519);
    let material = register(&store, Algorithm::Ed25519, "own.pem").unwrap();
    // As a mount point is while nothing is mounted.
    for file in ["own.pem", ".aegis-keys"] {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    unavailable(run(store.sign(version, &material, MessageType::Raw, b"m")), "signing");
    unavailable(register(&store, Algorithm::Ed25519, "own.pem"), "registering");
    unavailable(run(store.create(version, &token)), "making");
    unavailable(run(store.undo(&token)), "undoing");
    unavailable(run(store.destroy(version, &material)), "destroying");
    assert_eq!(files(&dir), [""; 0]);
}

#[test]
fn a_folder_that_does_not_answer_keeps_nobody_waiting_for_ever() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (dir, store) = folder();
    put(&dir, "own.pem", Algorithm::Ed25519);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let late = runtime.block_on(async {
        let hanging = store.within(move || Ok(ended.recv()));
        let wait = async {
            tokio::task::yield_now().await;
            tokio::time::advance(DEADLINE).await;
        };
        tokio::join!(hanging, wait).0
    });
    drop(end);
    unavailable(late, "past the deadline");
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", folder().1), "FolderKeyStore(..)");
}

fn folder() -> (TempDir, FolderKeyStore) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".aegis-keys"), "").unwrap();
    let store = FolderKeyStore::new(dir.path().to_path_buf(), Entropy::system());
    (dir, store)
}

/// Puts a fresh key there, as `openssl genpkey` would.
fn put(dir: &TempDir, name: &str, algorithm: Algorithm) -> Zeroizing<Vec<u8>> {
    let pkcs8 = secret::generate(algorithm, &Entropy::system()).unwrap();
    write(&dir.path().join(name), pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, &pkcs8).unwrap());
    pkcs8
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".aegis-keys").collect()
}

fn register(store: &FolderKeyStore, algorithm: Algorithm, object: &str) -> Result<Material, KeyStoreError> {
    run(store.register(algorithm, &object.parse().unwrap()))
}

fn invalid<T>(result: Result<T, KeyStoreError>, what: &str) {
    assert!(matches!(result, Err(KeyStoreError::Invalid { .. })), "{what}");
}

fn unavailable<T>(result: Result<T, KeyStoreError>, what: &str) {
    assert!(matches!(result, Err(KeyStoreError::Unavailable { .. })), "{what}");
}

fn key() -> KeyId {
    KeyId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

fn token() -> RecordId {
    RecordId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

fn run<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());
    RUNTIME.block_on(future)
}
