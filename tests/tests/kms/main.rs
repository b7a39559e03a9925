//! A server in front of AWS KMS, as an emulator of KMS has it: `cargo xtask test --only aws-kms` starts one and says where it is.
#![cfg(feature = "kms")]
#![expect(clippy::unwrap_used, reason = "what is unwrapped is asserted by it")]
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_tests::process::{Process, plain};
use aegis_tests::{from_base64, message, text};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// KMS as anybody calls it who has leave to.
fn kms(operation: &str, body: Value) -> Value {
    let request = plain().post(std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap());
    // The emulator checks no signatures; it looks for the region.
    let credential =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
    let request =
        request.header("authorization", credential).header("x-amz-target", format!("TrentService.{operation}"));
    let mut answer = request.header("content-type", "application/x-amz-json-1.1").send(body.to_string()).unwrap();
    assert_eq!(answer.status(), 200, "{operation}");
    serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap_or(Value::Null)
}

fn made(spec: &str, usage: &str) -> String {
    text(&kms("CreateKey", json!({ "KeySpec": spec, "KeyUsage": usage }))["KeyMetadata"], "Arn")
}

fn server(data: &Path, more: &str) -> Process {
    let config = data.join("aegis.toml");
    let endpoint = std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap();
    let kms = format!("[backends.kms]\nkind = 'aws-kms'\nregion = 'us-east-1'\nendpoint = '{endpoint}'\n{more}");
    std::fs::write(&config, kms).unwrap();
    let server = Process::start_with(data, &config);
    server.enrol();
    server
}

/// For people.
fn plainly(server: &Process, token: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(aegis_tests::process::aegis());
    command.env_clear().env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path());
    command.env("AEGIS_TOKEN", token).args(["--url", &server.url]).args(arguments);
    command.output().unwrap()
}

fn aegis(server: &Process, token: &str, arguments: &[&str]) -> Output {
    plainly(server, token, &[&["--json"], arguments].concat())
}

fn agent(server: &Process, alice: &str, scope: &str) -> (String, String) {
    let agent = server.post(alice, "/v1/agents", json!({ "label": "an agent", "scope": scope })).ok();
    let id = text(&agent, "id");
    let token = server.post(alice, &format!("/v1/agents/{id}/credentials"), json!({})).ok();
    (id, text(&token, "token"))
}

/// What a record says of it, of the newest there is of this operation.
fn newest(server: &Process, alice: &str, operation: &str) -> Value {
    server.get(alice, &format!("/v1/audit?op={operation}&limit=1")).ok()["items"][0].clone()
}

#[test]
fn an_agent_signs_with_a_key_of_kms_and_is_on_record() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "");
    let alice = server.log_in();
    let arn = made("ECC_NIST_P256", "SIGN_VERIFY");
    let alias = format!("alias/payments-{}", arn.rsplit_once('/').unwrap().1);
    kms("CreateAlias", json!({ "AliasName": alias, "TargetKeyId": arn }));
    let register = ["key", "register", "payments", "--aws-kms-key", &alias, "--algorithm", "ECDSA-P256", "--activate"];
    let registered = aegis(&server, &alice, &register);
    assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stderr));
    let key: Value = serde_json::from_slice(&registered.stdout).unwrap();
    let told = ["origin", "backend", "object"].map(|field| text(&key, field));
    assert_eq!(told, ["registered", "kms", alias.as_str()]);
    // By whatever name, it is one key.
    let again = json!({ "name": "others", "backend": "kms", "object": arn, "algorithm": "ECDSA-P256" });
    let again = server.post(&alice, "/v1/keys/register", again);
    assert_eq!(again.failed(400), "invalid-request");
    assert!(text(&again.body, "detail").contains(&text(&key, "id")));

    let (id, token) = agent(&server, &alice, "key:payments:sign");
    let signed = server.post(&token, "/v1/keys/payments/sign", message(b"x")).ok();
    let public = from_base64(&kms("GetPublicKey", json!({ "KeyId": arn }))["PublicKey"]);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public).verify(b"x", &from_base64(&signed["signature"])).unwrap();
    let record = newest(&server, &alice, "key.sign");
    let facts = ["outcome", "human", "key"].map(|field| text(&record, field));
    assert_eq!(facts, ["ok", "alice@org", text(&key, "id").as_str()]);
    assert_eq!(record["agents"], json!([id]));
    let requests = |record: &Value| record["backend_requests"].as_array().map(Vec::len);
    assert_eq!(requests(&record), Some(1), "{record}");

    // What is wrong at KMS is told as such, and on record, too.
    kms("DisableKey", json!({ "KeyId": arn }));
    let answer = server.post(&token, "/v1/keys/payments/sign", message(b"x"));
    assert_eq!(answer.failed(503), "unavailable");
    let record = newest(&server, &alice, "key.sign");
    assert_eq!((text(&record, "outcome").as_str(), requests(&record)), ("error", Some(1)), "{record}");
    kms("EnableKey", json!({ "KeyId": arn }));
    server.post(&token, "/v1/keys/payments/sign", message(b"x")).ok();

    // Revoked, the agent has nothing of it, whatever KMS would do.
    server.post(&alice, &format!("/v1/agents/{id}/revoke"), json!({})).ok();
    assert_eq!(server.post(&token, "/v1/keys/payments/sign", message(b"x")).status, 401);
}

#[test]
fn ciphertexts_go_both_ways_between_aegis_and_kms() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "");
    let alice = server.log_in();
    let arn = made("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    let context = json!({ "tenant": "acme" });
    let body = json!({ "KeyId": arn, "Plaintext": STANDARD.encode("earlier"), "EncryptionContext": context });
    let earlier = text(&kms("Encrypt", body), "CiphertextBlob");
    let body = json!({
        "name": "ledger", "backend": "kms", "object": arn, "algorithm": "AES-256-GCM", "activate": true,
    });
    server.post(&alice, "/v1/keys/register", body).ok();
    let (_, token) = agent(&server, &alice, "key:ledger:encrypt,decrypt");
    let decrypt = |ciphertext: &str, context: &Value| {
        server.post(&token, "/v1/keys/ledger/decrypt", json!({ "ciphertext": ciphertext, "context": context }))
    };
    assert_eq!(from_base64(&decrypt(&earlier, &context).ok()["plaintext"]), b"earlier");
    let body = json!({ "plaintext": STANDARD.encode("later"), "context": context });
    let later = text(&server.post(&token, "/v1/keys/ledger/encrypt", body).ok(), "ciphertext");
    let opened = kms("Decrypt", json!({ "CiphertextBlob": later, "EncryptionContext": context }));
    assert_eq!(from_base64(&opened["Plaintext"]), b"later");
    let refused = decrypt(&later, &json!({ "tenant": "other" }));
    assert_eq!(refused.failed(422), "not-authentic");
    // KMS's limit, not Aegis's own.
    let body = json!({ "plaintext": STANDARD.encode([7; 4_097]), "context": context });
    assert_eq!(server.post(&token, "/v1/keys/ledger/encrypt", body).failed(400), "invalid-request");
}

#[test]
fn a_key_is_for_aegis_alone_under_the_policy_that_aegis_prints() {
    let data = tempfile::tempdir().unwrap();
    let role = |name: &str| format!("arn:aws:iam::000000000000:role/{name}");
    let principals =
        format!("aegis_principals = ['{}']\nbreak_glass_principals = ['{}']\n", role("aegis"), role("glass"));
    let server = server(data.path(), &principals);
    let alice = server.log_in();
    let arn = made("HMAC_256", "GENERATE_VERIFY_MAC");
    let register = ["key", "register", "codes", "--aws-kms-key", &arn, "--algorithm", "HMAC-SHA256", "--activate"];
    let key: Value = serde_json::from_slice(&aegis(&server, &alice, &register).stdout).unwrap();
    assert_eq!((&key["at_backend"]["shared"], &key["at_backend"]["state"]), (&json!(true), &json!("enabled")));
    let people = |arguments: &[&str]| {
        let output = plainly(&server, &alice, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (shown, _) = people(&["key", "get", "codes"]);
    let root = "arn:aws:iam::000000000000:root: whom policies of that account name (*)";
    assert!(shown.contains(root) && shown.contains("enabled, as of"), "{shown}");

    let (policy, told) = people(&["key", "lockdown", "codes"]);
    assert!(told.contains(&format!("Refused once it is applied: {root}")), "{told}");
    kms("PutKeyPolicy", json!({ "KeyId": arn, "PolicyName": "default", "Policy": policy }));
    let (terraform, told) = people(&["key", "lockdown", "codes", "--format", "terraform"]);
    assert_eq!(told, "", "nobody else is left");
    assert!(terraform.contains(policy.trim()), "{terraform}");
    assert!(terraform.contains(&format!("key_id = \"{arn}\"")), "{terraform}");
    // Aegis still uses it, and whoever registers it anew finds it alone.
    let (_, token) = agent(&server, &alice, "key:codes:mac");
    server.post(&token, "/v1/keys/codes/mac", message(b"x")).ok();
    let found = server.get(&alice, "/v1/keys/codes/lockdown").ok();
    assert_eq!((&found["leaves_out"], &found["remains"]), (&json!([]), &json!([])));
}

#[test]
fn kms_makes_keys_where_it_may() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "");
    let alice = server.log_in();
    let body = |algorithm: &str| json!({ "name": "made", "backend": "kms", "algorithm": algorithm, "activate": true });
    server.post(&alice, "/v1/keys", body("RSA-2048-PSS-SHA256")).ok();
    let first = server.get(&alice, "/v1/keys/made/public-key").ok();
    server.post(&alice, "/v1/keys/made/rotate", json!({})).ok();
    let second = server.get(&alice, "/v1/keys/made/public-key").ok();
    assert_ne!(first["public_key"], second["public_key"]);
    let unknown = json!({ "name": "other", "backend": "kms", "algorithm": "ML-DSA-65" });
    assert_eq!(server.post(&alice, "/v1/keys", unknown).failed(400), "invalid-request");
    drop(server);

    let data = tempfile::tempdir().unwrap();
    let server = self::server(data.path(), "makes_keys = false\n");
    let alice = server.log_in();
    let refused = server.post(&alice, "/v1/keys", body("ECDSA-P256"));
    assert_eq!(refused.failed(400), "invalid-request");
    assert!(text(&refused.body, "detail").contains("makes no keys in KMS"), "{}", refused.body);
}
