//! A key store, and a plain client of the same KMS beside it: what somebody else would use.

use crate::network::Network;
use aegis_core::algorithm::Algorithm;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{KeyId, RecordId};
use aegis_core::keystore::{KeyStore, KeyStoreError, Material, VersionRef};
use aegis_keystores::aws_kms::{AwsKmsKeyStore, Principals};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kms::types::{KeySpec, KeyUsageType};

pub(crate) struct Setup {
    pub(crate) store: AwsKmsKeyStore,
    pub(crate) network: Network,
    /// Past the network's faults.
    pub(crate) plain: Client,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::in_region("us-east-1")
    }

    pub(crate) fn in_region(region: &'static str) -> Self {
        let (network, way) = (Network::default(), Network::default());
        let store = AwsKmsKeyStore::new(&client(&network, region), Entropy::system());
        Self { store, network, plain: client(&way, region) }
    }

    pub(crate) fn with_principals(self, meant: Principals) -> Self {
        Self { store: self.store.with_principals(meant), ..self }
    }

    /// A key made by somebody else; its ARN.
    pub(crate) async fn key(&self, spec: KeySpec, usage: KeyUsageType) -> String {
        let made = self.plain.create_key().key_spec(spec).key_usage(usage).send().await.unwrap();
        made.key_metadata.unwrap().arn.unwrap()
    }

    /// Has an alias lead to another key.
    pub(crate) async fn move_alias(&self, alias: &str, arn: &str) {
        // The emulator finds nothing by an alias that was moved to an ARN.
        let id = arn.rsplit_once('/').unwrap().1;
        self.plain.update_alias().alias_name(alias).target_key_id(id).send().await.unwrap();
        let found = self.plain.describe_key().key_id(alias).send().await.unwrap();
        assert_eq!(found.key_metadata.unwrap().arn.unwrap(), arn);
    }

    pub(crate) async fn register(&self, algorithm: Algorithm, object: &str) -> Result<Material, KeyStoreError> {
        self.store.register(algorithm, &object.parse().unwrap()).await
    }

    /// What KMS has, deleted or not.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut pages = self.plain.list_keys().into_paginator().items().send();
        let mut keys = Vec::new();
        while let Some(key) = pages.next().await {
            keys.push(key.unwrap().key_arn.unwrap());
        }
        keys
    }
}

pub(crate) fn client(network: &Network, region: &'static str) -> Client {
    let endpoint = std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap();
    let config = Config::builder().behavior_version(BehaviorVersion::latest()).http_client(network.clone());
    let config = config.endpoint_url(endpoint).region(Region::from_static(region));
    Client::from_conf(config.credentials_provider(Credentials::new("test", "test", None, None, "test")).build())
}

pub(crate) fn key_id() -> KeyId {
    KeyId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

pub(crate) fn token() -> RecordId {
    RecordId::new(Timestamp::UNIX_EPOCH, &Entropy::system())
}

pub(crate) fn first(key: &KeyId, algorithm: Algorithm) -> VersionRef<'_> {
    VersionRef { key, version: 1, algorithm, calls: None }
}

#[track_caller]
pub(crate) fn invalid<T: std::fmt::Debug>(result: Result<T, KeyStoreError>, about: &str) {
    match result {
        Err(KeyStoreError::Invalid { what }) => assert!(what.contains(about), "{what}"),
        other => panic!("{about}: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, KeyStoreError>) {
    assert!(matches!(result, Err(KeyStoreError::Refused)), "{result:?}");
}

#[track_caller]
pub(crate) fn in_state<T: std::fmt::Debug>(result: Result<T, KeyStoreError>, wanted: &str) {
    match result {
        Err(KeyStoreError::State { state }) => assert_eq!(state, wanted),
        other => panic!("{wanted}: {other:?}"),
    }
}

/// The cause is for the log, and names what is the matter.
#[track_caller]
pub(crate) fn unavailable<T: std::fmt::Debug>(result: Result<T, KeyStoreError>, about: &str) {
    match result {
        Err(KeyStoreError::Unavailable { source }) => {
            let first: &dyn std::error::Error = source.as_ref();
            let causes = std::iter::successors(Some(first), |cause| cause.source());
            let told: Vec<_> = causes.map(ToString::to_string).collect();
            assert!(told.join(": ").contains(about), "{told:?}");
        }
        other => panic!("{about}: {other:?}"),
    }
}
