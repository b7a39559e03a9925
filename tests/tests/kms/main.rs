//! A server in front of AWS KMS, as an emulator of KMS has it: `cargo xtask test --only aws-kms` starts one and says where it is.
#![cfg(feature = "kms")]
#![expect(clippy::unwrap_used, reason = "what is unwrapped is asserted by it")]
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

mod mirrored;

use aegis_tests::process::{Process, plain};
use aegis_tests::{base64, from_base64, message, text};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// KMS as anybody calls it who has leave to.
fn kms(operation: &str, body: Value) -> Value {
    let (status, answer) = kms_answer(operation, &body);
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

/// Why it does not.
fn kms_refuses(operation: &str, body: Value) -> String {
    let (status, answer) = kms_answer(operation, &body);
    assert_eq!(status, 400, "{operation}: {answer}");
    text(&answer, "__type")
}

fn kms_answer(operation: &str, body: &Value) -> (u16, Value) {
    let request = plain().post(std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap());
    // The emulator checks no signatures; it looks for the region.
    let credential =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0";
    let request =
        request.header("authorization", credential).header("x-amz-target", format!("TrentService.{operation}"));
    let mut answer = request.header("content-type", "application/x-amz-json-1.1").send(body.to_string()).unwrap();
    let body = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::Null))
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
    assert_eq!(answer.failed(409), "state");
    assert_eq!(text(&answer.body, "title"), "the key at its back end is disabled, which does not allow this");
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
    let body = json!({ "KeyId": arn, "Plaintext": base64(b"earlier"), "EncryptionContext": context });
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
    let body = json!({ "plaintext": base64(b"later"), "context": context });
    let later = text(&server.post(&token, "/v1/keys/ledger/encrypt", body).ok(), "ciphertext");
    let opened = kms("Decrypt", json!({ "CiphertextBlob": later, "EncryptionContext": context }));
    assert_eq!(from_base64(&opened["Plaintext"]), b"later");
    let refused = decrypt(&later, &json!({ "tenant": "other" }));
    assert_eq!(refused.failed(422), "not-authentic");
    // KMS's limit, not Aegis's own.
    let body = json!({ "plaintext": base64(&[7; 4_097]), "context": context });
    assert_eq!(server.post(&token, "/v1/keys/ledger/encrypt", body).failed(400), "invalid-request");
}

/// Of a key that was there before, and of one that KMS makes for Aegis.
fn data_keys_of(server: &Process, alice: &str) -> [(String, String); 2] {
    let arn = made("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    let body = json!({
        "name": "there", "backend": "kms", "object": arn, "algorithm": "AES-256-GCM", "activate": true,
    });
    server.post(alice, "/v1/keys/register", body).ok();
    let body = json!({ "name": "made", "backend": "kms", "algorithm": "AES-256-GCM", "activate": true });
    let key = server.post(alice, "/v1/keys", body).ok();
    let alias = key["at_backend"]["aliases"][0].as_str().unwrap().to_string();
    [("there".to_string(), arn), ("made".to_string(), alias)]
}

/// The middle byte of what KMS made is another.
fn tampered(made: &Value) -> String {
    let mut bytes = from_base64(made);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    base64(&bytes)
}

/// [ADR 8](../../../docs/adr/0008-data-keys-of-kms-by-encrypt-and-decrypt.md).
#[test]
fn data_keys_and_wrapped_keys_are_kms_ciphertexts_under_a_context_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "");
    let alice = server.log_in();
    let (context, other) = (json!({ "tenant": "acme" }), json!({ "tenant": "other" }));
    let at_kms = json!({ "tenant": "acme", "aegis:purpose": "wrap" });
    for (name, object) in data_keys_of(&server, &alice) {
        let (_, token) = agent(&server, &alice, &format!("key:{name}:generate-data-key,wrap,unwrap,decrypt,encrypt"));
        let post = |operation: &str, body: Value| server.post(&token, &format!("/v1/keys/{name}/{operation}"), body);
        let unwrap =
            |wrapped: &Value, context: &Value| post("unwrap", json!({ "wrapped_key": wrapped, "context": context }));
        let made = post("generate-data-key", json!({ "length": 64, "context": context })).ok();
        let data_key = from_base64(&made["plaintext"]);
        assert_eq!(data_key.len(), 64);
        let hidden = post("generate-data-key", json!({ "context": context, "without_plaintext": true })).ok();
        assert!(hidden.get("plaintext").is_none(), "{hidden}");
        assert_eq!(from_base64(&unwrap(&hidden["wrapped_key"], &context).ok()["key_material"]).len(), 32);
        let wrapped = post("wrap", json!({ "key_material": base64(b"a key"), "context": context })).ok();
        for (wrapped, plain) in [(&made["wrapped_key"], data_key.as_slice()), (&wrapped["wrapped_key"], b"a key")] {
            assert_eq!(from_base64(&unwrap(wrapped, &context).ok()["key_material"]), plain, "{name}");
            // KMS's own Decrypt opens it under the pair that Aegis adds, and not without.
            let asked =
                |context: &Value| json!({ "KeyId": object, "CiphertextBlob": wrapped, "EncryptionContext": context });
            assert_eq!(from_base64(&kms("Decrypt", asked(&at_kms))["Plaintext"]), plain, "{name}");
            assert_eq!(kms_refuses("Decrypt", asked(&context)), "InvalidCiphertextException", "{name}");
            // Who may decrypt does not thereby unwrap, and nothing else opens it.
            let decrypted = post("decrypt", json!({ "ciphertext": wrapped, "context": context }));
            assert_eq!(decrypted.failed(422), "not-authentic");
            assert_eq!(unwrap(wrapped, &other).failed(422), "not-authentic");
            assert_eq!(unwrap(wrapped, &json!({})).failed(422), "not-authentic");
            assert_eq!(unwrap(&json!(tampered(wrapped)), &context).failed(422), "not-authentic");
        }
        let encrypted = post("encrypt", json!({ "plaintext": base64(b"a key"), "context": context })).ok();
        assert_eq!(unwrap(&encrypted["ciphertext"], &context).failed(422), "not-authentic");
        // Nobody asks for the pair by itself.
        let asked = json!({ "ciphertext": made["wrapped_key"], "context": at_kms });
        assert_eq!(post("decrypt", asked).failed(400), "invalid-request");
        // What KMS itself makes under the pair is a data key of Aegis's, too.
        let by_kms = kms(
            "GenerateDataKey",
            json!({
                "KeyId": object, "NumberOfBytes": 32, "EncryptionContext": at_kms,
            }),
        );
        let opened = unwrap(&by_kms["CiphertextBlob"], &context).ok();
        assert_eq!(opened["key_material"], by_kms["Plaintext"]);
        let record = newest(&server, &alice, "key.generate-data-key");
        assert_eq!(record["backend_requests"].as_array().map(Vec::len), Some(1), "{record}");
        let too_long = post("wrap", json!({ "key_material": base64(&[7; 4_097]) }));
        assert_eq!(too_long.failed(400), "invalid-request");
    }
}

#[test]
fn what_is_encrypted_again_leaves_its_former_context_and_no_plaintext() {
    let data = tempfile::tempdir().unwrap();
    let server = server(data.path(), "");
    let alice = server.log_in();
    let (context, new) = (json!({ "tenant": "acme" }), json!({ "tenant": "acme", "year": "2027" }));
    for (name, object) in data_keys_of(&server, &alice) {
        let (_, token) = agent(&server, &alice, &format!("key:{name}:encrypt,decrypt,re-encrypt"));
        let post = |operation: &str, body: Value| server.post(&token, &format!("/v1/keys/{name}/{operation}"), body);
        let body = json!({ "plaintext": base64(b"ledger"), "context": context });
        let first = post("encrypt", body).ok()["ciphertext"].clone();
        let again = |ciphertext: &Value, context: &Value| {
            post("re-encrypt", json!({ "ciphertext": ciphertext, "context": context, "new_context": new }))
        };
        let second = again(&first, &context).ok();
        assert!(second.get("plaintext").is_none(), "{second}");
        let record = newest(&server, &alice, "key.re-encrypt");
        assert_eq!(record["backend_requests"].as_array().map(Vec::len), Some(2), "{record}");
        let second = &second["ciphertext"];
        let opened = post("decrypt", json!({ "ciphertext": second, "context": new })).ok();
        assert_eq!(from_base64(&opened["plaintext"]), b"ledger", "{name}");
        let asked = json!({ "KeyId": object, "CiphertextBlob": second, "EncryptionContext": new });
        assert_eq!(from_base64(&kms("Decrypt", asked)["Plaintext"]), b"ledger", "{name}");
        let former = post("decrypt", json!({ "ciphertext": second, "context": context }));
        assert_eq!(former.failed(422), "not-authentic");
        assert_eq!(again(&first, &new).failed(422), "not-authentic");
        assert_eq!(again(&json!(tampered(&first)), &context).failed(422), "not-authentic");
        let same = post("re-encrypt", json!({ "ciphertext": first, "context": context })).ok();
        assert_ne!(same["ciphertext"], first);
        let opened = post("decrypt", json!({ "ciphertext": same["ciphertext"], "context": context })).ok();
        assert_eq!(from_base64(&opened["plaintext"]), b"ledger", "{name}");
    }
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
    assert!(!told.contains("Refused") && !told.contains("Stays"), "nobody else is left: {told}");
    assert!(told.contains("Only who stands under BreakGlass can apply it"), "{told}");
    assert!(terraform.starts_with("# Only who stands under BreakGlass can apply it"), "{terraform}");
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
