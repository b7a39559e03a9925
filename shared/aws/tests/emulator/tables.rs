//! Two fresh tables a store.

use crate::network::Network;
use aegis_aws::store::{DynamoStore, Tables, testing};
use aws_sdk_dynamodb::Client;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) async fn store(network: &Network) -> DynamoStore {
    named(network).await.0
}

pub(crate) async fn named(network: &Network) -> (DynamoStore, Tables) {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("test-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let tables = Tables { state: format!("{name}-state"), journal: format!("{name}-journal") };
    (testing::create(client(network).await, tables.clone()).await.unwrap(), tables)
}

pub(crate) async fn client(network: &Network) -> Client {
    // Where this fails, no emulator was started.
    let endpoint = std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap();
    let config = aegis_aws::config::from_environment().await;
    let config = aws_sdk_dynamodb::config::Builder::from(&config).endpoint_url(endpoint);
    Client::from_conf(config.http_client(network.clone()).build())
}
