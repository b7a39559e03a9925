//! The other ports: counters, keys of permits, the root, the token-signing key. The emulator's ciphertexts prove nothing of
//! encryption; its signatures are sound.

use crate::network::Network;
use crate::tables;
use aegis_aws::live::LiveTable;
use aegis_aws::permits::PermitKeyTable;
use aegis_aws::root::SealedRoot;
use aegis_aws::token::KmsTokenSigner;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::error::Error;
use aegis_core::pipeline::{InMemory, PermitKeys, PermitSigner, SharedCounters};
use aegis_core::token::{Claims, TokenKeys};
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use serde_json::json;
use std::sync::Arc;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

#[tokio::test]
async fn counters_in_the_table_say_what_counters_in_memory_say() {
    let network = Network::default();
    let (_, names) = tables::named(&network).await;
    let table = LiveTable::new(tables::client(&network).await, names.state);
    let (memory, actors) = (InMemory::default(), ["agt_1", "fleet/alice@org"]);
    for second in [0, 0, 0, 1, 9, 10, 11, 39, 40, 41, 59, 60, 60, 75, 99, 100, 101, 160, 161] {
        let now = at(second);
        let looked = table.look(actors, now).await.unwrap();
        assert_eq!(looked, actors.map(|actor| memory.look(actor, now)), "looked at {second}");
        let counted = table.count(actors, now).await.unwrap();
        assert_eq!(counted, actors.map(|actor| memory.count(actor, now)), "counted at {second}");
    }
    for second in [160, 161, 161] {
        table.take_back(actors, at(second)).await.unwrap();
        actors.iter().for_each(|actor| memory.take_back(actor, at(second)));
        let looked = table.look(actors, at(161)).await.unwrap();
        assert_eq!(looked, actors.map(|actor| memory.look(actor, at(161))), "taken back at {second}");
    }
    let other = table.look(["agt_2", "agt_3"], at(161)).await.unwrap();
    assert_eq!(other.map(|live| live.minute), [1, 1]);
}

#[tokio::test]
async fn the_key_of_an_edge_is_found_once_it_is_published() {
    let table = PermitKeyTable::new(tables::client(&Network::default()).await, permit_keys("permit-keys").await);
    let signer = PermitSigner::generate(at(0)).unwrap();
    assert_eq!(table.find(&signer.key().kid).await.unwrap(), None);
    table.publish(signer.key()).await.unwrap();
    assert_eq!(table.find(&signer.key().kid).await.unwrap().as_ref(), Some(signer.key()));
}

/// A fresh table for them.
pub(crate) async fn permit_keys(name: &str) -> String {
    let client = tables::client(&Network::default()).await;
    let name = format!("test-{}-{name}", std::process::id());
    let id = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S).build();
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build();
    let making = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    making.attribute_definitions(id.unwrap()).key_schema(key.unwrap()).send().await.unwrap();
    name
}

pub(crate) async fn kms() -> aws_sdk_kms::Client {
    let endpoint = std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap();
    let config = aegis_aws::config::from_environment().await;
    let config = aws_sdk_kms::config::Builder::from(&config).endpoint_url(endpoint);
    aws_sdk_kms::Client::from_conf(config.build())
}

pub(crate) async fn key(kms: &aws_sdk_kms::Client, spec: KeySpec, usage: KeyUsageType) -> String {
    let made = kms.create_key().key_spec(spec).key_usage(usage).send().await.unwrap();
    made.key_metadata.unwrap().key_id
}

#[tokio::test]
async fn what_kms_signs_is_a_token_like_any_other() {
    let kms = kms().await;
    let signer = KmsTokenSigner::new(kms.clone(), key(&kms, KeySpec::EccNistP256, KeyUsageType::SignVerify).await);
    let jwk = signer.public_key().await.unwrap();
    let keys = TokenKeys::with_signer("urn:aegis:test".into(), "aegis".into(), Arc::new(signer), jwk).unwrap();
    let claims = claims();
    for _ in 0..20 {
        let token = keys.sign(&claims).await.unwrap();
        assert_eq!(keys.verify(&token, at(0)).unwrap().jti, claims.jti);
    }
    let rsa = KmsTokenSigner::new(kms.clone(), key(&kms, KeySpec::Rsa2048, KeyUsageType::SignVerify).await);
    assert!(matches!(rsa.public_key().await, Err(Error::Damaged { .. })));
}

pub(crate) fn claims() -> Claims {
    serde_json::from_value(json!({
        "iss": "urn:aegis:test", "sub": "alice@org", "aud": "aegis", "client_id": "aegis", "iat": 0, "nbf": 0,
        "exp": at(60).as_second(), "jti": format!("crd_{:032x}", 7), "epoch": { "deployment": 1, "human": 1 },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_root_is_made_once_and_opens_to_what_was_sealed() {
    let kms = kms().await;
    let root_key = key(&kms, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let token_key = key(&kms, KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let jwk = KmsTokenSigner::new(kms.clone(), token_key.clone()).public_key().await.unwrap();
    let store = tables::store(&Network::default()).await;
    assert!(SealedRoot::read(&store).await.unwrap().is_none());
    let entropy = Entropy::system();
    let made = || SealedRoot::read_or_make(&store, &kms, &root_key, (&token_key, &jwk), &entropy);
    let (one, other) = tokio::join!(made(), made());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.deployment, other.deployment);
    let opened = one.open(&kms, &root_key).await.unwrap();
    let again = SealedRoot::read(&store).await.unwrap().unwrap().open(&kms, &root_key).await.unwrap();
    assert_eq!((&opened.kek, &opened.digest_key, &opened.kek_id), (&again.kek, &again.digest_key, &again.kek_id));
    assert_ne!(*opened.kek, *opened.digest_key);

    let other_key = key(&kms, KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let other_jwk = KmsTokenSigner::new(kms.clone(), other_key.clone()).public_key().await.unwrap();
    let changed = SealedRoot::read_or_make(&store, &kms, &root_key, (&other_key, &other_jwk), &entropy);
    assert!(matches!(changed.await, Err(Error::Invalid { .. })), "tokens that were issued would be refused");
}
