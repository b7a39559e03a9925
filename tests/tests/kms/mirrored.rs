//! What becomes of a key at KMS past Aegis, and what Aegis has become of it there, by a clock that a test moves.

use crate::{kms, made};
use aegis_core::ambient::Entropy;
use aegis_core::maintenance;
use aegis_keystores::aws_kms::AwsKmsKeyStore;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use serde_json::{Value, json};
use std::sync::Arc;

async fn in_front_of_kms() -> Deployment {
    let config = Config::builder().behavior_version(BehaviorVersion::latest()).region(Region::from_static("us-east-1"));
    let config = config.endpoint_url(std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap());
    let config = config.credentials_provider(Credentials::new("test", "test", None, None, "test")).build();
    let keystore = AwsKmsKeyStore::new(&Client::from_conf(config), Entropy::system());
    Deployment::new().await.with_backend("kms", Arc::new(keystore))
}

async fn run_due(deployment: &Deployment) -> usize {
    maintenance::run_due(&deployment.host.app).await.unwrap()
}

#[tokio::test]
async fn what_others_do_to_a_key_at_kms_is_told_at_once_and_shows_within_the_hour() {
    let deployment = in_front_of_kms().await;
    let alice = deployment.alice().await;
    let arn = made("ECC_NIST_P256", "SIGN_VERIFY");
    let body = json!({
        "name": "payments", "backend": "kms", "object": arn, "algorithm": "ECDSA-P256", "activate": true,
    });
    deployment.post(&alice, "/v1/keys/register", body).await.ok();
    for (does, state, told) in [
        ("EnableKey", "enabled", None),
        ("DisableKey", "disabled", Some("disabled")),
        ("ScheduleKeyDeletion", "pending-deletion", Some("pending deletion, or otherwise not usable")),
    ] {
        kms(does, json!({ "KeyId": arn }));
        let alice = deployment.alice().await;
        let (_, agent) = deployment.agent(&alice, "key:payments:sign", json!({})).await;
        let answer = deployment.post(&agent, "/v1/keys/payments/sign", message(b"x")).await;
        match told {
            None => drop(answer.ok()),
            Some(told) => {
                assert_eq!(answer.failed(409), "state");
                let title = format!("the key at its back end is {told}, which does not allow this");
                assert_eq!(text(&answer.body, "title"), title);
            }
        }
        deployment.pass(3_600);
        assert_eq!(run_due(&deployment).await, 1, "{does}");
        let alice = deployment.alice().await;
        let key = deployment.get(&alice, "/v1/keys/payments").await.ok();
        assert_eq!((&key["at_backend"]["state"], &key["state"]), (&json!(state), &json!("active")), "{does}");
        let records = deployment.get(&alice, "/v1/audit?op=key.survey").await.ok();
        let said: Vec<_> = records["items"].as_array().unwrap().iter().map(|record| text(record, "object")).collect();
        let words = format!("{}, shared with 1", state.replace('-', " "));
        assert_eq!(said.contains(&words), told.is_some(), "{does} {said:?}");
    }
}

#[tokio::test]
async fn what_aegis_suspends_and_destroys_kms_refuses_too_every_version_of_it() {
    let deployment = in_front_of_kms().await;
    let alice = deployment.alice().await;
    let body = json!({ "name": "made", "backend": "kms", "algorithm": "ECDSA-P256", "activate": true });
    let first = deployment.post(&alice, "/v1/keys", body).await.ok();
    let second = deployment.post(&alice, "/v1/keys/made/rotate", json!({})).await.ok();
    let keys = [first, second].map(|key| key["at_backend"]["aliases"][0].as_str().unwrap().to_string());
    assert_ne!(keys[0], keys[1]);
    let there = || keys.each_ref().map(|alias| describe(alias)["KeyState"].as_str().unwrap().to_string());
    for (steps, want) in [
        (&["suspend"][..], "Disabled"),
        (&["resume"], "Enabled"),
        (&["deactivate", "destroy"], "Disabled"),
        (&["cancel-destroy"], "Enabled"),
        (&["destroy"], "Disabled"),
    ] {
        for step in steps {
            deployment.post(&alice, &format!("/v1/keys/made/{step}"), json!({})).await.ok();
        }
        assert_eq!((run_due(&deployment).await, run_due(&deployment).await), (1, 0), "{steps:?}");
        assert_eq!(there(), [want; 2], "{steps:?}");
    }
    let records = deployment.get(&alice, "/v1/audit?op=key.survey").await.ok();
    let calls = |record: &Value| record["backend_requests"].as_array().map(Vec::len);
    assert!(records["items"].as_array().unwrap().iter().all(|record| calls(record) == Some(2)), "{records}");
    deployment.pass(7 * 86_400);
    assert_eq!(run_due(&deployment).await, 1);
    assert_eq!(there(), ["PendingDeletion"; 2]);
}

fn describe(key: &str) -> Value {
    kms("DescribeKey", json!({ "KeyId": key }))["KeyMetadata"].clone()
}
