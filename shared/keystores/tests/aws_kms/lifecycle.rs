//! Keys that KMS makes for Aegis: made once for a token, found again, and gone when they are undone or destroyed.

use crate::network::Fault;
use crate::setup::{Setup, first, invalid, key_id, token, unavailable};
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::id::RecordId;
use aegis_core::keystore::{KeyStore, Material, VersionRef};
use aegis_keystores::aws_kms::AwsKmsKeyStore;
use aws_sdk_kms::types::{KeySpec, KeyState, KeyUsageType};

/// The state of a key, and what else KMS says of it.
async fn state(setup: &Setup, material: &Material) -> KeyState {
    let arn = String::from_utf8(material.sealed.clone()).unwrap();
    setup.plain.describe_key().key_id(arn).send().await.unwrap().key_metadata.unwrap().key_state.unwrap()
}

/// The living keys that were made for a token.
async fn alive(setup: &Setup, token: &RecordId) -> usize {
    let mut alive = 0;
    for arn in setup.keys().await {
        let key = setup.plain.describe_key().key_id(&arn).send().await.unwrap().key_metadata.unwrap();
        let tags = setup.plain.list_resource_tags().key_id(&arn).send().await.unwrap().tags.unwrap_or_default();
        let ours = tags.iter().any(|tag| tag.tag_key() == "aegis:token" && tag.tag_value() == token.to_string());
        alive += usize::from(ours && key.key_state == Some(KeyState::Enabled));
    }
    alive
}

#[tokio::test]
async fn one_token_makes_one_key_and_undoing_removes_it() {
    let setup = Setup::new();
    let (store, id, token) = (&setup.store, key_id(), token());
    let version = VersionRef { key: &id, version: 2, algorithm: Algorithm::EcdsaP256, calls: None };
    let made = store.create(version, &token).await.unwrap();
    assert!(store.create(version, &token).await.unwrap() == made);
    assert_eq!(alive(&setup, &token).await, 1);
    let signature = store.sign(version, &made, MessageType::Raw, b"m").await.unwrap();
    assert!(store.verify(version, &made, MessageType::Raw, b"m", &signature).await.unwrap());
    let own = String::from_utf8(made.sealed.clone()).unwrap();
    invalid(setup.register(Algorithm::EcdsaP256, &own).await, "made by Aegis");
    let other = self::token();
    let others = store.create(version, &other).await.unwrap();
    assert!(others != made);
    for _ in 0..2 {
        store.undo(&token).await.unwrap();
        assert_eq!(state(&setup, &made).await, KeyState::PendingDeletion);
        assert_eq!(state(&setup, &others).await, KeyState::Enabled, "the other's stays");
    }
    // Begun anew.
    let again = store.create(version, &token).await.unwrap();
    assert!(again != made);
    for _ in 0..2 {
        store.destroy(version, &again).await.unwrap();
        assert_eq!(state(&setup, &again).await, KeyState::PendingDeletion);
    }
    let arn = String::from_utf8(again.sealed.clone()).unwrap();
    let gone = Material { sealed: format!("{}0", arn.get(..arn.len() - 1).unwrap()).into_bytes(), ..again };
    store.destroy(version, &gone).await.unwrap();
    store.undo(&self::token()).await.unwrap();
}

/// Policies of IAM let a deployment do what it does with its own keys alone, by this tag (`infra/iam.tf`).
#[tokio::test]
async fn what_is_made_says_whose_it_is_where_that_matters() {
    let (setup, id) = (Setup::new(), key_id());
    let tags = async |store: &AwsKmsKeyStore| {
        let token = token();
        let made = store.create(first(&id, Algorithm::HmacSha256), &token).await.unwrap();
        let arn = String::from_utf8(made.sealed).unwrap();
        let tags = setup.plain.list_resource_tags().key_id(arn).send().await.unwrap().tags.unwrap();
        let (of_token, others): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| tag.tag_key() == "aegis:token");
        assert_eq!(of_token.iter().map(|tag| tag.tag_value()).collect::<Vec<_>>(), [token.as_str()]);
        others.iter().map(|tag| format!("{}={}", tag.tag_key(), tag.tag_value())).collect::<Vec<_>>()
    };
    assert_eq!(tags(&setup.store).await, [""; 0]);
    let marks = Setup::new().store.that_marks("prod".to_string());
    assert_eq!(tags(&marks).await, ["aegis:made-by=prod"]);
}

#[tokio::test]
async fn what_was_made_is_disabled_and_enabled_and_nothing_else() {
    let (setup, id) = (Setup::new(), key_id());
    let (store, version) = (&setup.store, first(&id, Algorithm::HmacSha256));
    let made = store.create(version, &token()).await.unwrap();
    for (enabled, there) in [(false, KeyState::Disabled), (true, KeyState::Enabled)] {
        for again in [false, true] {
            setup.network.asked();
            store.set_enabled(version, &made, enabled).await.unwrap();
            let asked = setup.network.asked();
            assert_eq!(asked.len(), if again { 1 } else { 2 }, "{asked:?}");
            assert_eq!(state(&setup, &made).await, there);
        }
    }
    // Of a key that is being deleted, and of one that was there before, it is not Aegis's affair.
    store.destroy(version, &made).await.unwrap();
    let theirs = setup.key(KeySpec::Hmac256, KeyUsageType::GenerateVerifyMac).await;
    let theirs = setup.register(Algorithm::HmacSha256, &theirs).await.unwrap();
    for enabled in [false, true] {
        store.set_enabled(version, &made, enabled).await.unwrap();
        store.set_enabled(version, &theirs, enabled).await.unwrap();
        assert_eq!(state(&setup, &made).await, KeyState::PendingDeletion);
        assert_eq!(state(&setup, &theirs).await, KeyState::Enabled);
    }
    let arn = String::from_utf8(made.sealed.clone()).unwrap();
    let gone = Material { sealed: format!("{}0", arn.get(..arn.len() - 1).unwrap()).into_bytes(), ..made };
    store.set_enabled(version, &gone, true).await.unwrap();
}

#[tokio::test]
async fn kms_makes_keys_of_every_kind() {
    let setup = Setup::new();
    let id = key_id();
    for algorithm in Algorithm::ALL.iter().copied() {
        let version = first(&id, algorithm);
        match setup.store.check_create(version) {
            Ok(()) => {
                let made = setup.store.create(version, &token()).await.unwrap();
                let public = made.public_key.is_some();
                let symmetric = matches!(
                    algorithm,
                    Algorithm::Aes256Gcm | Algorithm::HmacSha256 | Algorithm::HmacSha384 | Algorithm::HmacSha512
                );
                assert_eq!(public, !symmetric, "{algorithm}");
            }
            refused => {
                invalid(refused, "KMS");
                invalid(setup.store.create(version, &token()).await, "KMS");
            }
        }
    }
    for algorithm in [Algorithm::Aes256Gcm, Algorithm::Rsa2048OaepSha256] {
        let second = VersionRef { version: 2, ..first(&id, algorithm) };
        invalid(setup.store.create(second, &token()).await, "do not tell a version");
    }
}

#[tokio::test]
async fn two_who_make_for_one_token_make_one_key() {
    let setup = Setup::new();
    let (id, token) = (key_id(), token());
    let version = first(&id, Algorithm::HmacSha256);
    let makers = (0..4).map(|_| setup.store.create(version, &token));
    let made: Vec<_> = futures_join(makers).await;
    let alive = alive(&setup, &token).await;
    assert_eq!(alive, 1, "the others' are deleted again");
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

/// All of them at once.
async fn futures_join<F: Future<Output = Result<Material, aegis_core::keystore::KeyStoreError>>>(
    futures: impl Iterator<Item = F>,
) -> Vec<Material> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<Material>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(made) = future.as_mut().poll(context) {
                *done = Some(made.unwrap());
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_making_that_is_cut_short_leaves_nothing_that_undoing_does_not_remove() {
    // Each call that a making consists of: lost before it was carried out, and after.
    let calls = ["DescribeKey", "CreateKey", "CreateAlias", "GetPublicKey"];
    for call in calls {
        for fault in [Fault::LostRequest, Fault::LostAnswer] {
            let setup = Setup::new();
            let (id, token) = (key_id(), token());
            let version = first(&id, Algorithm::EcdsaP256);
            setup.network.plan(call, [fault.clone()]);
            let made = setup.store.create(version, &token).await;
            let repeated = matches!(call, "DescribeKey" | "GetPublicKey");
            assert_eq!(made.is_ok(), repeated, "{call} {fault:?}");
            assert_eq!(setup.network.asked().iter().filter(|asked| *asked == "CreateKey").count(), 1);
            // Of a key that was made and not answered for nobody knows the name; its tag tells.
            let unknown = usize::from(call == "CreateKey" && fault == Fault::LostAnswer);
            setup.store.undo(&token).await.unwrap();
            assert_eq!(alive(&setup, &token).await, unknown, "{call} {fault:?}");
            // The next making for it is as the first.
            setup.store.create(version, &token).await.unwrap();
            assert_eq!(alive(&setup, &token).await, 1 + unknown, "{call} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_undoing_that_is_cut_short_goes_on() {
    for call in ["DescribeKey", "ScheduleKeyDeletion", "DeleteAlias"] {
        for fault in [Fault::LostRequest, Fault::LostAnswer] {
            let setup = Setup::new();
            let (id, token) = (key_id(), token());
            setup.store.create(first(&id, Algorithm::Aes256Gcm), &token).await.unwrap();
            // More often than it is tried.
            setup.network.plan(call, vec![fault; 4]);
            unavailable(setup.store.undo(&token).await, "cut");
            setup.store.undo(&token).await.unwrap();
            assert_eq!(alive(&setup, &token).await, 0, "{call}");
        }
    }
}

#[tokio::test]
async fn an_alias_that_was_moved_leads_to_no_removal() {
    let setup = Setup::new();
    let (id, token) = (key_id(), token());
    setup.store.create(first(&id, Algorithm::Aes256Gcm), &token).await.unwrap();
    let theirs = setup.key(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    setup.move_alias(&format!("alias/aegis/{token}"), &theirs).await;
    setup.store.undo(&token).await.unwrap();
    let theirs = Material { sealed: theirs.into_bytes(), public_key: None };
    assert_eq!(state(&setup, &theirs).await, KeyState::Enabled);
}

#[tokio::test]
async fn what_was_half_undone_is_made_anew() {
    let setup = Setup::new();
    let (id, token) = (key_id(), token());
    let version = first(&id, Algorithm::Aes256Gcm);
    let made = setup.store.create(version, &token).await.unwrap();
    setup.network.plan("DeleteAlias", vec![Fault::LostRequest; 4]);
    unavailable(setup.store.undo(&token).await, "cut");
    let again = setup.store.create(version, &token).await.unwrap();
    assert!(again != made);
    assert_eq!(state(&setup, &again).await, KeyState::Enabled);
    setup.store.undo(&token).await.unwrap();
    assert_eq!(alive(&setup, &token).await, 0);
}
