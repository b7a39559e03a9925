//! What only an emulator can answer; started by `cargo xtask test --only aws`, which says where it is.
#![expect(clippy::unwrap_used, reason = "tests")]

#[tokio::test]
async fn the_emulator_answers() {
    let config = aegis_aws::config::from_environment().await;
    assert!(aws_sdk_dynamodb::Client::new(&config).list_tables().send().await.unwrap().table_names().is_empty());
}
