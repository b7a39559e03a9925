//! Keys that come from elsewhere: imported by value, wrapped on the way.

use aegis_core::store::fault::{Fault, Operation};
use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, base64, from_base64, message, text};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

#[tokio::test]
async fn an_imported_key_signs_as_it_did_before() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let own = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let parameters = parameters(&deployment, &alice).await;
    assert_eq!(parameters["wrapping_algorithm"], "RSA-3072-OAEP-SHA256+AES-256-KWP");
    let key = import(&deployment, &alice, "legacy", &parameters, &pkcs8(&own)).await.ok();
    assert_eq!((key["origin"].as_str(), key["version"].as_u64()), (Some("imported"), Some(1)));
    let signed = deployment.post(&alice, "/v1/keys/legacy/sign", message(b"x")).await.ok();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, own.public_key());
    public.verify(b"x", &from_base64(&signed["signature"])).unwrap();
    let before = own.sign(&SystemRandom::new(), b"before").unwrap();
    let asked = json!({ "message": base64(b"before"), "signature": base64(before.as_ref()), "key_version": 1 });
    let verify = || deployment.post(&alice, "/v1/keys/legacy/verify", asked.clone());
    assert_eq!(verify().await.ok()["valid"], true);
    let rotated = deployment.post(&alice, "/v1/keys/legacy/rotate", json!({})).await.ok();
    assert_eq!((rotated["origin"].as_str(), rotated["version"].as_u64()), (Some("generated"), Some(2)));
    assert_eq!(verify().await.ok()["valid"], true);
}

#[tokio::test]
async fn a_wrapping_key_serves_its_human_once_for_a_day() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let own = pkcs8(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
    let hers = parameters(&deployment, &alice).await;
    let bob = deployment.log_in("bob@org", &["operator"]).await;
    assert_eq!(import(&deployment, &bob, "legacy", &hers, &own).await.failed(400), "invalid-request");
    // Tried and failed, it still serves.
    let garbled = json!({ "wrapping_key": hers["wrapping_key"], "wrapping_key_id": hers["wrapping_key_id"] });
    assert_eq!(import(&deployment, &alice, "legacy", &garbled, b"no key").await.failed(400), "invalid-request");
    let mut body = body_of("legacy", &hers, &own);
    body["wrapped_key"] = base64(&[7; 500]).into();
    assert_eq!(deployment.post(&alice, "/v1/keys/import", body).await.failed(400), "invalid-request");
    deployment.key(&alice, "taken", "Ed25519").await;
    assert_eq!(import(&deployment, &alice, "taken", &hers, &own).await.failed(409), "name-taken");
    import(&deployment, &alice, "legacy", &hers, &own).await.ok();
    let unknown = json!({ "wrapping_key": hers["wrapping_key"], "wrapping_key_id": format!("key_{:032x}", 1) });
    let late = parameters(&deployment, &alice).await;
    let answers = [
        import(&deployment, &alice, "again", &hers, &own).await,
        import(&deployment, &bob, "again", &hers, &own).await,
        import(&deployment, &alice, "again", &unknown, &own).await,
        {
            deployment.pass(86_400);
            let alice = deployment.alice().await;
            import(&deployment, &alice, "again", &late, &own).await
        },
    ];
    for answer in answers {
        assert_eq!(answer.failed(400), "invalid-request");
        assert!(text(&answer.body, "detail").contains("no wrapping key of yours"), "{}", answer.body);
    }
    let alice = deployment.alice().await;
    let wrapping = format!("/v1/keys/{}", text(&hers, "wrapping_key_id"));
    assert_eq!(deployment.get(&alice, &wrapping).await.failed(404), "not-found", "it is no key");
}

#[tokio::test]
async fn an_import_that_may_have_happened_is_repeated_safely_and_holds_no_key_bytes() {
    let own = pkcs8(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        let body = body_of("legacy", &parameters(&deployment, &alice).await, &own);
        let send = || {
            let request = http::Request::post("/v1/keys/import")
                .header("authorization", format!("Bearer {alice}"))
                .header("content-type", "application/json")
                .header("idempotency-key", "once");
            deployment.send(request.body(body.to_string().into()).unwrap())
        };
        deployment.store.fail_next(Operation::Write, fault);
        assert_eq!(send().await.failed(503), "unavailable");
        let first = send().await.ok();
        assert_eq!(send().await.ok()["id"], first["id"], "{fault:?}");
        deployment.post(&alice, "/v1/keys/legacy/sign", message(b"x")).await.ok();
        let records = deployment.get(&alice, "/v1/audit").await.ok();
        let hex: String = own.iter().map(|byte| format!("{byte:02x}")).collect();
        for secret in [body["wrapped_key"].as_str().unwrap(), &base64(&own), &hex] {
            assert!(!records.to_string().contains(secret));
        }
    }
}

async fn parameters(deployment: &Deployment, token: &str) -> Value {
    deployment.post(token, "/v1/keys/import-parameters", json!({})).await.ok()
}

async fn import(deployment: &Deployment, token: &str, name: &str, parameters: &Value, bytes: &[u8]) -> Answer {
    deployment.post(token, "/v1/keys/import", body_of(name, parameters, bytes)).await
}

fn body_of(name: &str, parameters: &Value, bytes: &[u8]) -> Value {
    json!({
        "name": name, "algorithm": "ECDSA-P256", "activate": true,
        "wrapping_key_id": parameters["wrapping_key_id"],
        "wrapped_key": base64(&wrap(&from_base64(&parameters["wrapping_key"]), bytes)),
    })
}

fn wrap(wrapping_key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = [9; 32];
    let public = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(wrapping_key).unwrap()).unwrap();
    let mut outer = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut outer, None).unwrap();
    let mut inner = vec![0; bytes.len() + 16];
    let inner = AesKek::new(&AES_256, &key).unwrap().wrap_with_padding(bytes, &mut inner).unwrap();
    [outer.as_slice(), inner].concat()
}

fn pkcs8(pair: &EcdsaKeyPair) -> Vec<u8> {
    pair.to_pkcs8v1().unwrap().as_ref().to_vec()
}

#[tokio::test]
async fn bringing_a_key_needs_a_fresh_login() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.pass(301);
    for path in ["/v1/keys/import-parameters", "/v1/keys/import", "/v1/keys/register"] {
        assert_eq!(deployment.post(&alice, path, json!({})).await.failed(401), "fresh-login-needed", "{path}");
    }
}
