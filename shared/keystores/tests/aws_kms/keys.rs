//! What registered keys do, through Aegis and beside it.

use crate::setup::{Setup, first, in_state, invalid, key_id, refused, token};
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::keystore::{Calls, Context, KeyStore};
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    EncryptionAlgorithmSpec, KeySpec, KeyUsageType, MacAlgorithmSpec, MessageType as KmsMessageType,
    SigningAlgorithmSpec,
};
use std::collections::{BTreeMap, BTreeSet};

fn context(value: &str) -> Context {
    [("tenant".to_string(), value.to_string()), ("empty".to_string(), String::new())].into()
}

#[tokio::test]
async fn ciphertexts_are_those_of_kms_both_ways() {
    let setup = Setup::new();
    let (store, plain) = (&setup.store, &setup.plain);
    let arn = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let acme = context("acme");
    // Older than Aegis.
    let earlier = plain.encrypt().key_id(&arn).plaintext(Blob::new("earlier"));
    let earlier = earlier.set_encryption_context(Some(acme.clone().into_iter().collect())).send().await.unwrap();
    let material = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    assert_eq!((material.sealed.as_slice(), &material.public_key), (arn.as_bytes(), &None));
    let id = key_id();
    let version = first(&id, Algorithm::Aes256Gcm);
    let earlier = earlier.ciphertext_blob.unwrap().into_inner();
    assert_eq!(store.version_of(version, &earlier).unwrap(), 1);
    assert_eq!(**store.decrypt(version, &material, &acme, &earlier).await.unwrap(), *b"earlier");
    // What Aegis encrypts, whoever may use KMS decrypts, with the caller's context and nothing else.
    for acme in [acme.clone(), Context::new()] {
        let ciphertext = store.encrypt(version, &material, &acme, b"secret").await.unwrap();
        let call = plain.decrypt().ciphertext_blob(Blob::new(ciphertext.clone()));
        let opened = call.set_encryption_context(Some(acme.clone().into_iter().collect())).send().await.unwrap();
        assert_eq!(opened.plaintext.unwrap().as_ref(), b"secret");
        assert_eq!(**store.decrypt(version, &material, &acme, &ciphertext).await.unwrap(), *b"secret");
    }
    // Nothing else opens it.
    let ciphertext = store.encrypt(version, &material, &acme, b"secret").await.unwrap();
    refused(store.decrypt(version, &material, &context("other"), &ciphertext).await);
    refused(store.decrypt(version, &material, &Context::new(), &ciphertext).await);
    for place in [0, 30, 40, 50, ciphertext.len() - 1] {
        let mut altered = ciphertext.clone();
        altered[place] ^= 1;
        refused(store.decrypt(version, &material, &acme, &altered).await);
    }
    for altered in [&ciphertext[1..], &ciphertext[..ciphertext.len() - 1], &[], &[1], &[0; 6_145]] {
        refused(store.decrypt(version, &material, &acme, altered).await);
    }
    let other = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let other = setup.register(Algorithm::Aes256Gcm, &other).await.unwrap();
    refused(store.decrypt(version, &other, &acme, &ciphertext).await);
    // Its limits.
    let longest = store.encrypt(version, &material, &acme, &[7; 4_096]).await.unwrap();
    assert_eq!(**store.decrypt(version, &material, &acme, &longest).await.unwrap(), [7; 4_096]);
    invalid(store.encrypt(version, &material, &acme, &[7; 4_097]).await, "4,096");
    invalid(store.encrypt(version, &material, &acme, b"").await, "1 to");
    // It does nothing else.
    invalid(store.sign(version, &material, MessageType::Raw, b"m").await, "does not sign");
    invalid(store.verify(version, &material, MessageType::Raw, b"m", b"s").await, "does not sign");
    invalid(store.mac(version, &material, b"m").await, "no message authentication codes");
    invalid(store.verify_mac(version, &material, b"m", b"c").await, "no message authentication codes");
}

#[tokio::test]
async fn rsa_encrypts_as_kms_does() {
    let setup = Setup::new();
    let (store, plain, none) = (&setup.store, &setup.plain, Context::new());
    let arn = setup.key(KeySpec::Rsa2048, KeyUsageType::EncryptDecrypt).await;
    let material = setup.register(Algorithm::Rsa2048OaepSha256, &arn).await.unwrap();
    let id = key_id();
    let version = first(&id, Algorithm::Rsa2048OaepSha256);
    let oaep = EncryptionAlgorithmSpec::RsaesOaepSha256;
    let ciphertext = store.encrypt(version, &material, &none, &[7; 190]).await.unwrap();
    let call = plain.decrypt().key_id(&arn).encryption_algorithm(oaep.clone());
    let opened = call.ciphertext_blob(Blob::new(ciphertext.clone())).send().await.unwrap();
    assert_eq!(opened.plaintext.unwrap().as_ref(), [7; 190]);
    let call = plain.encrypt().key_id(&arn).encryption_algorithm(oaep).plaintext(Blob::new("elsewhere"));
    let elsewhere = call.send().await.unwrap().ciphertext_blob.unwrap().into_inner();
    assert_eq!(**store.decrypt(version, &material, &none, &elsewhere).await.unwrap(), *b"elsewhere");
    // The emulator's own ciphertexts of RSA keys are no RSA: they show whom is asked what, and nothing of the cipher. Those
    // that others make with the public half it opens as KMS does.
    let mut altered = elsewhere.clone();
    *altered.last_mut().unwrap() ^= 1;
    for altered in [altered.as_slice(), &[elsewhere.as_slice(), &[0]].concat(), &[]] {
        refused(store.decrypt(version, &material, &none, altered).await);
    }
    let public = PublicEncryptingKey::from_der(material.public_key.as_ref().unwrap()).unwrap();
    let mut offline = vec![0; 256];
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    public.encrypt(&OAEP_SHA256_MGF1SHA256, b"offline", &mut offline, None).unwrap();
    assert_eq!(**store.decrypt(version, &material, &none, &offline).await.unwrap(), *b"offline");
    setup.network.asked();
    invalid(store.encrypt(version, &material, &none, &[7; 191]).await, "190");
    invalid(store.encrypt(version, &material, &context("acme"), b"secret").await, "without context");
    invalid(store.decrypt(version, &material, &context("acme"), &elsewhere).await, "without context");
    assert_eq!(setup.network.asked(), [""; 0], "what is refused for its length or kind is not asked");
}

#[tokio::test]
async fn signatures_are_those_of_kms_both_ways() {
    use {Algorithm as A, SigningAlgorithmSpec as S};
    type Outside = &'static dyn VerificationAlgorithm;
    let (p256, p384, p521): (Outside, Outside, Outside) =
        (&ECDSA_P256_SHA256_ASN1, &ECDSA_P384_SHA384_ASN1, &ECDSA_P521_SHA512_ASN1);
    let (pss, pkcs1): (Outside, Outside) = (&RSA_PSS_2048_8192_SHA256, &RSA_PKCS1_2048_8192_SHA256);
    let setup = Setup::new();
    let (store, plain) = (&setup.store, &setup.plain);
    let table = [
        (A::EcdsaP256, KeySpec::EccNistP256, S::EcdsaSha256, p256),
        (A::EcdsaP384, KeySpec::EccNistP384, S::EcdsaSha384, p384),
        (A::EcdsaP521, KeySpec::EccNistP521, S::EcdsaSha512, p521),
        (A::Rsa2048PssSha256, KeySpec::Rsa2048, S::RsassaPssSha256, pss),
        (A::Rsa2048Pkcs1Sha256, KeySpec::Rsa2048, S::RsassaPkcs1V15Sha256, pkcs1),
        (A::Rsa3072PssSha256, KeySpec::Rsa3072, S::RsassaPssSha256, pss),
    ];
    for (algorithm, spec, with, outside) in table {
        let arn = setup.key(spec, KeyUsageType::SignVerify).await;
        let material = setup.register(algorithm, &arn).await.unwrap();
        let id = key_id();
        let version = first(&id, algorithm);
        let public = UnparsedPublicKey::new(outside, material.public_key.clone().unwrap());
        let hash = match algorithm {
            A::EcdsaP384 => &SHA384,
            A::EcdsaP521 => &SHA512,
            _ => &SHA256,
        };
        // Longer than KMS takes, and shorter.
        for message in [b"m".as_slice(), &[7; 4_096], &[7; 4_097], b""] {
            let signature = store.sign(version, &material, MessageType::Raw, message).await.unwrap();
            public.verify(message, &signature).unwrap();
            let digest = digest(hash, message);
            let other = store.sign(version, &material, MessageType::Digest, digest.as_ref()).await.unwrap();
            public.verify(message, &other).unwrap();
            for signature in [&signature, &other] {
                for (kind, message) in [(MessageType::Raw, message), (MessageType::Digest, digest.as_ref())] {
                    assert!(store.verify(version, &material, kind, message, signature).await.unwrap(), "{algorithm}");
                }
                assert!(!store.verify(version, &material, MessageType::Raw, b"n", signature).await.unwrap());
            }
        }
        let call = plain.sign().key_id(&arn).signing_algorithm(with.clone()).message(Blob::new("elsewhere"));
        let elsewhere = call.send().await.unwrap().signature.unwrap().into_inner();
        assert!(store.verify(version, &material, MessageType::Raw, b"elsewhere", &elsewhere).await.unwrap());
        let ours = store.sign(version, &material, MessageType::Raw, b"ours").await.unwrap();
        let call = plain.verify().key_id(&arn).signing_algorithm(with).message(Blob::new("ours"));
        let call = call.message_type(KmsMessageType::Raw).signature(Blob::new(ours.clone()));
        assert!(call.send().await.unwrap().signature_valid);
        let mut altered = ours.clone();
        *altered.last_mut().unwrap() ^= 1;
        for malformed in [&altered, &ours[1..], b"xx".as_slice(), b"", &[0; 6_145]] {
            let verified = store.verify(version, &material, MessageType::Raw, b"ours", malformed).await;
            assert!(!verified.unwrap(), "{algorithm}");
        }
        for digest in [[0; 20].as_slice(), &[0; 31], b""] {
            invalid(store.sign(version, &material, MessageType::Digest, digest).await, "digest");
            invalid(store.verify(version, &material, MessageType::Digest, digest, &ours).await, "digest");
        }
        invalid(store.encrypt(version, &material, &Context::new(), b"m").await, "does not encrypt");
        invalid(store.decrypt(version, &material, &Context::new(), b"m").await, "does not encrypt");
    }
}

#[tokio::test]
async fn codes_are_those_of_kms_both_ways() {
    let setup = Setup::new();
    let (store, plain) = (&setup.store, &setup.plain);
    let table = [
        (Algorithm::HmacSha256, KeySpec::Hmac256, MacAlgorithmSpec::HmacSha256, 32),
        (Algorithm::HmacSha384, KeySpec::Hmac384, MacAlgorithmSpec::HmacSha384, 48),
        (Algorithm::HmacSha512, KeySpec::Hmac512, MacAlgorithmSpec::HmacSha512, 64),
    ];
    for (algorithm, spec, with, length) in table {
        let arn = setup.key(spec, KeyUsageType::GenerateVerifyMac).await;
        let material = setup.register(algorithm, &arn).await.unwrap();
        let id = key_id();
        let version = first(&id, algorithm);
        let call = plain.generate_mac().key_id(&arn).mac_algorithm(with).message(Blob::new("m"));
        let elsewhere = call.send().await.unwrap().mac.unwrap().into_inner();
        let code = store.mac(version, &material, b"m").await.unwrap();
        assert_eq!((&code, code.len()), (&elsewhere, length));
        assert!(store.verify_mac(version, &material, b"m", &elsewhere).await.unwrap());
        let mut altered = code.clone();
        altered[3] ^= 1;
        for (message, code) in
            [(b"n", code.as_slice()), (b"m", &altered), (b"m", &code[1..]), (b"m", b""), (b"m", &[0; 6_145])]
        {
            assert!(!store.verify_mac(version, &material, message, code).await.unwrap(), "{algorithm}");
        }
        for message in [b"".as_slice(), &[7; 4_097]] {
            invalid(store.mac(version, &material, message).await, "4,096");
            invalid(store.verify_mac(version, &material, message, &code).await, "4,096");
        }
    }
}

#[tokio::test]
async fn a_key_is_registered_by_any_of_its_names_and_kept_by_its_arn() {
    let setup = Setup::new();
    let arn = setup.key(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let other = setup.key(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let alias = format!("alias/payments/{}", key_id());
    setup.plain.create_alias().alias_name(&alias).target_key_id(&arn).send().await.unwrap();
    let own = setup.register(Algorithm::EcdsaP256, &arn).await.unwrap();
    let alias_arn = format!("{}:{alias}", arn.rsplit_once(':').unwrap().0);
    for name in [arn.rsplit_once('/').unwrap().1, &alias, &alias_arn] {
        assert!(setup.register(Algorithm::EcdsaP256, name).await.unwrap() == own, "{name}");
    }
    // An alias that moves takes nothing along.
    setup.move_alias(&alias, &other).await;
    assert!(setup.register(Algorithm::EcdsaP256, &alias).await.unwrap() != own);
    let id = key_id();
    let signed = setup.store.sign(first(&id, Algorithm::EcdsaP256), &own, MessageType::Raw, b"m").await.unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, own.public_key.unwrap());
    public.verify(b"m", &signed).unwrap();
}

#[tokio::test]
async fn what_may_not_be_registered() {
    let setup = Setup::new();
    let symmetric = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let rsa = setup.key(KeySpec::Rsa2048, KeyUsageType::SignVerify).await;
    let secp224 = setup.key(KeySpec::Hmac224, KeyUsageType::GenerateVerifyMac).await;
    for (algorithm, object, about) in [
        (Algorithm::EcdsaP256, &symmetric, "key spec"),
        (Algorithm::Rsa3072PssSha256, &rsa, "key spec"),
        (Algorithm::Rsa2048OaepSha256, &rsa, "key usage"),
        (Algorithm::HmacSha256, &secp224, "key spec"),
        (Algorithm::Aes128Gcm, &symmetric, "AES-256"),
        (Algorithm::Ed25519, &symmetric, "not supported"),
        (Algorithm::MlDsa65, &symmetric, "not supported"),
        (Algorithm::Aes256Gcm, &"alias/no-such".to_string(), "no such key"),
        (Algorithm::Aes256Gcm, &symmetric.replace("us-east-1", "eu-west-1"), "no such key"),
    ] {
        invalid(setup.register(algorithm, object).await, about);
    }
    setup.plain.disable_key().key_id(&symmetric).send().await.unwrap();
    invalid(setup.register(Algorithm::Aes256Gcm, &symmetric).await, "not enabled");
    setup.plain.schedule_key_deletion().key_id(&rsa).send().await.unwrap();
    invalid(setup.register(Algorithm::Rsa2048PssSha256, &rsa).await, "not enabled");
}

#[tokio::test]
async fn a_multi_region_key_is_registered_where_its_primary_is() {
    let setup = Setup::new();
    let made = setup.plain.create_key().multi_region(true).send().await.unwrap().key_metadata.unwrap();
    setup.register(Algorithm::Aes256Gcm, made.arn().unwrap()).await.unwrap();
    let replicate = setup.plain.replicate_key().key_id(made.key_id()).replica_region("eu-west-1");
    let replica = replicate.send().await.unwrap().replica_key_metadata.unwrap();
    let elsewhere = Setup::in_region("eu-west-1");
    invalid(elsewhere.register(Algorithm::Aes256Gcm, replica.arn().unwrap()).await, "replica");
}

#[tokio::test]
async fn a_key_that_kms_does_not_let_be_used_is_said_to_be_so() {
    let setup = Setup::new();
    let (store, plain) = (&setup.store, &setup.plain);
    let arn = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let material = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    let (id, none) = (key_id(), Context::new());
    let version = first(&id, Algorithm::Aes256Gcm);
    let ciphertext = store.encrypt(version, &material, &none, b"m").await.unwrap();
    for state in ["disabled", "pending deletion, or otherwise not usable"] {
        match state {
            "disabled" => drop(plain.disable_key().key_id(&arn).send().await.unwrap()),
            _ => drop(plain.schedule_key_deletion().key_id(&arn).send().await.unwrap()),
        }
        setup.network.asked();
        in_state(store.encrypt(version, &material, &none, b"m").await, state);
        in_state(store.decrypt(version, &material, &none, &ciphertext).await, state);
        assert_eq!(setup.network.asked(), ["Encrypt", "Decrypt"], "once each: it would change nothing");
    }
    plain.cancel_key_deletion().key_id(&arn).send().await.unwrap();
    plain.enable_key().key_id(&arn).send().await.unwrap();
    assert_eq!(**store.decrypt(version, &material, &none, &ciphertext).await.unwrap(), *b"m");
    let gone = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    let sealed = String::from_utf8(gone.sealed.clone()).unwrap();
    let gone = aegis_core::keystore::Material {
        sealed: format!("{}/00000000-0000-0000-0000-000000000000", sealed.rsplit_once('/').unwrap().0).into_bytes(),
        ..gone
    };
    in_state(store.encrypt(version, &gone, &none, b"m").await, "gone");
}

#[tokio::test]
async fn a_use_notes_what_kms_calls_it_whatever_comes_of_it() {
    let setup = Setup::new();
    let (store, id) = (&setup.store, key_id());
    let arn = setup.key(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let material = setup.register(Algorithm::EcdsaP256, &arn).await.unwrap();
    setup.network.answered();
    let calls = Calls::default();
    let version = first(&id, Algorithm::EcdsaP256).noting(&calls);
    let signature = store.sign(version, &material, MessageType::Raw, b"m").await.unwrap();
    assert!(store.verify(version, &material, MessageType::Raw, b"m", &signature).await.unwrap());
    assert!(!store.verify(version, &material, MessageType::Raw, b"n", &signature).await.unwrap());
    setup.plain.disable_key().key_id(&arn).send().await.unwrap();
    store.sign(version, &material, MessageType::Raw, b"m").await.unwrap_err();
    let noted = calls.noted();
    assert_eq!((noted.len(), &noted), (4, &setup.network.answered()));
}

/// What the roles on AWS allow is what is asked.
#[tokio::test]
async fn each_operation_asks_kms_for_what_its_role_may() {
    let allowed = allowed("with_registered");
    let setup = Setup::new();
    let (store, id, none) = (&setup.store, key_id(), Context::new());
    let asked = |operations: &[&str]| {
        let mut asked: Vec<_> = setup.network.asked().iter().map(|name| format!("kms:{name}")).collect();
        asked.sort_unstable();
        asked.dedup();
        operations.iter().for_each(|operation| assert_eq!(asked, allowed[*operation], "{operation}"));
    };
    let arn = setup.key(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let signs = setup.register(Algorithm::EcdsaP256, &arn).await.unwrap();
    store.survey(&signs).await.unwrap();
    asked(&["key.register"]);
    store.survey(&signs).await.unwrap();
    asked(&["key.lockdown"]);
    let version = first(&id, Algorithm::EcdsaP256);
    let signature = store.sign(version, &signs, MessageType::Raw, b"m").await.unwrap();
    asked(&["key.sign"]);
    store.verify(version, &signs, MessageType::Raw, b"m", &signature).await.unwrap();
    asked(&["key.verify"]);
    let arn = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let encrypts = setup.register(Algorithm::Aes256Gcm, &arn).await.unwrap();
    setup.network.asked();
    let version = first(&id, Algorithm::Aes256Gcm);
    let ciphertext = store.encrypt(version, &encrypts, &none, b"m").await.unwrap();
    asked(&["key.encrypt", "key.wrap", "key.generate-data-key"]);
    store.decrypt(version, &encrypts, &none, &ciphertext).await.unwrap();
    asked(&["key.decrypt", "key.unwrap"]);
    store.decrypt(version, &encrypts, &none, &ciphertext).await.unwrap();
    store.encrypt(version, &encrypts, &none, b"m").await.unwrap();
    asked(&["key.re-encrypt"]);
    let arn = setup.key(KeySpec::Hmac256, KeyUsageType::GenerateVerifyMac).await;
    let codes = setup.register(Algorithm::HmacSha256, &arn).await.unwrap();
    setup.network.asked();
    let version = first(&id, Algorithm::HmacSha256);
    let code = store.mac(version, &codes, b"m").await.unwrap();
    asked(&["key.mac"]);
    store.verify_mac(version, &codes, b"m", &code).await.unwrap();
    asked(&["key.verify-mac"]);
    store.destroy(version, &codes).await.unwrap();
    setup.network.asked();
    // Repeated, it looks whether the first was heard; what it looks at is looked at by a survey, too.
    store.destroy(version, &codes).await.unwrap();
    let repeated = setup.network.asked();
    store.survey(&codes).await.unwrap();
    let both: BTreeSet<_> = setup.network.asked().into_iter().chain(repeated).collect();
    let asked: Vec<_> = both.iter().map(|name| format!("kms:{name}")).collect();
    assert_eq!(asked, allowed["scheduled"]);
    assert_eq!(allowed.len(), 13, "no others may do anything");
}

#[tokio::test]
async fn who_makes_keys_asks_kms_for_what_its_role_may() {
    let allowed = allowed("to_make");
    let setup = Setup::new();
    let (store, id, token) = (&setup.store, key_id(), token());
    let asked = |tagged: &[&str]| {
        let asked = setup.network.asked();
        // What is made with tags is tagged.
        let names = asked.iter().map(String::as_str).chain(tagged.iter().copied()).collect::<BTreeSet<_>>();
        names.iter().map(|name| format!("kms:{name}")).collect::<Vec<_>>()
    };
    let made = store.create(first(&id, Algorithm::EcdsaP256), &token).await.unwrap();
    store.survey(&made).await.unwrap();
    let by_operations = asked(&["TagResource"]);
    for maker in ["key.create", "key.rotate"] {
        assert_eq!(by_operations, allowed[maker], "{maker}");
    }
    for enabled in [false, true] {
        store.set_enabled(first(&id, Algorithm::EcdsaP256), &made, enabled).await.unwrap();
    }
    store.undo(&token).await.unwrap();
    let by_itself = asked(&[]);
    let all: BTreeSet<_> = by_operations.into_iter().chain(by_itself).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), allowed["scheduled"]);
    assert_eq!(allowed.len(), 3, "no others make any");
}

/// What the roles of functions may do at KMS, by what they do it for.
fn allowed(which: &str) -> BTreeMap<String, Vec<String>> {
    let all = include_str!("../../../../infra/kms_actions.json");
    let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = serde_json::from_str(all).unwrap();
    all.remove(which).unwrap()
}
