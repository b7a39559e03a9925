use super::*;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, KeyPair, UnparsedPublicKey};
use std::collections::HashMap;
use zeroize::Zeroizing;

const LEAST: KdfParams = KdfParams::LEAST;

fn passphrase(typed: &str) -> Passphrase {
    Passphrase::new(typed.to_owned())
}

fn right() -> Passphrase {
    passphrase("correct horse battery")
}

/// Everything in a root, to tell whether two are the same.
fn contents(root: &Root) -> Vec<u8> {
    serde_json::to_vec(&root.0).unwrap()
}

#[test]
fn a_root_opens_as_it_was_created() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data");
    let root = Root::create(&folder, &right(), LEAST).unwrap();
    assert_eq!(contents(&Root::open(&folder, &right()).unwrap()), contents(&root));
    assert_eq!(root.epoch(), 1);
    for (id, prefix) in [(root.deployment(), "dep_"), (root.kek_id(), "kek_")] {
        let digits = id.strip_prefix(prefix).unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    }
    for key in [root.expose_token_key(), root.expose_issuer_key()] {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key).unwrap();
        let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        public.verify(b"message", signature.as_ref()).unwrap();
    }
}

#[test]
fn no_two_secrets_are_alike() {
    let (a, b) = (Root::random().unwrap(), Root::random().unwrap());
    let secrets = |root: &Root| -> Vec<Vec<u8>> {
        let keys = [root.expose_kek().to_vec(), root.expose_digest_key().to_vec()];
        let signing = [root.expose_token_key().to_vec(), root.expose_issuer_key().to_vec()];
        let ids = [root.deployment(), root.kek_id()].map(|id| id.as_bytes().to_vec());
        [keys, signing, ids].concat()
    };
    let mut all = [secrets(&a), secrets(&b), vec![vec![0; 32]]].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 13);
}

#[test]
fn a_root_that_exists_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::create(dir.path(), &right(), LEAST).unwrap();
    assert!(matches!(Root::create(dir.path(), &right(), LEAST), Err(RootError::Exists)));
    assert_eq!(contents(&Root::open(dir.path(), &right()).unwrap()), contents(&root));
}

#[test]
fn of_many_creators_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let create = || Root::create(dir.path(), &right(), LEAST);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made: Vec<&Root> = results.iter().flatten().collect();
    assert!(results.iter().filter(|result| matches!(result, Err(RootError::Exists))).count() == 3, "{results:?}");
    assert_eq!(contents(&Root::open(dir.path(), &right()).unwrap()), contents(made[0]));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Root::open(dir.path(), &right()), Err(RootError::Missing)));
    assert!(matches!(Root::change_passphrase(dir.path(), &right(), &right(), LEAST), Err(RootError::Missing)));
    assert!(matches!(Root::create(dir.path(), &passphrase("éééééééééé1"), LEAST), Err(RootError::WeakPassphrase)));
    assert!(!dir.path().join(NAME).exists());
    std::fs::create_dir(dir.path().join(NAME)).unwrap();
    assert!(matches!(Root::open(dir.path(), &right()), Err(RootError::Io(_))));
    std::fs::remove_dir(dir.path().join(NAME)).unwrap();
    Root::create(dir.path(), &right(), LEAST).unwrap();
    for wrong in ["", "correct horse batterz", "correct horse battery "] {
        assert!(matches!(Root::open(dir.path(), &passphrase(wrong)), Err(RootError::WrongPassphrase)), "{wrong}");
    }
    let whole = String::from_utf8(read(dir.path()).unwrap()).unwrap();
    let check = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}: {whole}");
        std::fs::write(dir.path().join(NAME), whole.replace(from, to)).unwrap();
        Root::open(dir.path(), &right()).unwrap_err()
    };
    assert!(matches!(check("\"format\": 1", "\"format\": 2"), RootError::NewerFormat { found: 2, known: 1 }));
    assert!(matches!(check("\"format\": 1", "\"format\": 0"), RootError::Damaged));
    assert!(matches!(check("argon2id", "argon2d"), RootError::Damaged));
    assert!(matches!(check("\"nonce\"", "\"extra\": 1, \"nonce\""), RootError::Damaged));
    for (memory_kib, want) in [("19455", "refused"), ("1048577", "refused"), ("19457", "tried")] {
        let error = check("\"memory_kib\": 19456", &format!("\"memory_kib\": {memory_kib}"));
        assert_eq!(matches!(error, RootError::Params), want == "refused", "{memory_kib}: {error:?}");
    }
    for (passes, want) in [("1", "refused"), ("21", "refused"), ("3", "tried")] {
        let error = check("\"passes\": 2", &format!("\"passes\": {passes}"));
        assert_eq!(matches!(error, RootError::Params), want == "refused", "{passes}: {error:?}");
    }
    assert!(matches!(check("\"lanes\": 1", "\"lanes\": 17"), RootError::Params));
}

/// The stretched key is remembered per header, as stretching is most of the cost.
#[test]
fn no_altered_file_opens() {
    let sealed = file::seal(&Root::random().unwrap().0, &right(), LEAST).unwrap();
    let mut known = HashMap::new();
    let mut opens = |bytes: &[u8]| {
        let stretch = |params: KdfParams, salt: &[u8]| -> Result<Zeroizing<[u8; 32]>, RootError> {
            let header = (format!("{params:?}"), salt.to_vec());
            if let Some(key) = known.get(&header) {
                return Ok(Zeroizing::new(*key));
            }
            let key = right().stretch(params, salt)?;
            known.insert(header, *key);
            Ok(key)
        };
        file::open(bytes, stretch).is_ok()
    };
    assert!(opens(&sealed));
    // The last byte is a line feed, which a file may lack.
    for length in 0..sealed.len() - 1 {
        assert!(!opens(&sealed[..length]), "cut to {length}");
    }
    for at in 0..sealed.len() {
        let bit = at % 8;
        let mut altered = sealed.clone();
        altered[at] ^= 1 << bit;
        assert!(!opens(&altered), "byte {at}, bit {bit}: {}", String::from_utf8_lossy(&altered));
    }
}

#[test]
fn a_changed_passphrase_opens_the_same_root_and_the_old_one_none() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::create(dir.path(), &right(), LEAST).unwrap();
    let (new, wrong) = (passphrase("another dozen letters"), passphrase("something else altogether"));
    let change = |old: &Passphrase, new: &Passphrase| Root::change_passphrase(dir.path(), old, new, LEAST);
    assert!(matches!(change(&wrong, &new), Err(RootError::WrongPassphrase)));
    assert!(matches!(change(&right(), &passphrase("short")), Err(RootError::WeakPassphrase)));
    let before = read(dir.path()).unwrap();
    // Left by a process that was killed in between.
    std::fs::write(dir.path().join("root.sealed.new"), before.repeat(2)).unwrap();
    change(&right(), &new).unwrap();
    assert!(matches!(Root::open(dir.path(), &right()), Err(RootError::WrongPassphrase)));
    assert_eq!(contents(&Root::open(dir.path(), &new).unwrap()), contents(&root));
    let line = |bytes: &[u8], name: &str| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().find(|line| line.contains(name)).unwrap().to_owned()
    };
    let after = read(dir.path()).unwrap();
    for fresh in ["salt", "nonce"] {
        assert_ne!(line(&before, fresh), line(&after, fresh));
    }
}

#[test]
fn secrets_do_not_print() {
    let root = Root::random().unwrap();
    assert_eq!(format!("{root:?} {:?}", right()), "Root(..) Passphrase(..)");
}

#[cfg(unix)]
#[test]
fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    Root::create(dir.path(), &right(), LEAST).unwrap();
    assert_eq!(dir.path().join(NAME).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("root.sealed.new").exists());
}
