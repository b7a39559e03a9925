//! Keys of KMS behind a deployment: those that it has KMS make, and one that was there before. The emulator's encryption proves
//! nothing; that each function may do what it must, and that what it makes anybody can check, it does show.
#![expect(clippy::indexing_slicing, reason = "a missing field fails the test that names it")]

use aegis_tests::account::{call, output};
use aegis_tests::site::{EVERYTHING, Site, site, wait_for};
use aegis_tests::{base64, from_base64, message, text};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn kms_makes_and_rotates_a_key_that_agents_sign_with() {
    let site = site();
    let karl = site.log_in("karl@org", &EVERYTHING);
    let name = site.name("made-at-kms");
    let body = json!({ "name": name, "backend": "kms", "algorithm": "ECDSA-P256", "activate": true });
    let made = site.post(&karl, "/v1/keys", body).ok();
    let first = alias_of(&made);
    let tags = kms("list_resource_tags", json!({ "KeyId": key_id(&first) }));
    let deployment = json!({ "TagKey": "aegis:made-by", "TagValue": "aegis-test" });
    assert!(tags["Tags"].as_array().unwrap().contains(&deployment), "{tags}");

    let (_, token) = site.agent(&karl, &format!("key:{name}:sign,verify"), "service");
    let earlier = signed(site, &token, &name);
    check_at_kms(&first, &earlier, true);
    let rotated = site.post(&karl, &format!("/v1/keys/{name}/rotate"), json!({})).ok();
    assert_eq!((&rotated["version"], &rotated["state"]), (&json!(2), &json!("active")));
    let second = alias_of(&rotated);
    assert_ne!(first, second);
    let later = signed(site, &token, &name);
    check_at_kms(&second, &later, true);
    check_at_kms(&second, &earlier, false);
    for (signature, version, valid) in [(&earlier, 1, true), (&later, 2, true), (&earlier, 2, false)] {
        let mut body = message(b"invoice 7");
        (body["signature"], body["key_version"]) = (json!(base64(signature)), json!(version));
        let told = site.post(&token, &format!("/v1/keys/{name}/verify"), body).ok();
        assert_eq!(told["valid"], valid, "{version}");
    }
    let public = site.get(&karl, &format!("/v1/keys/{name}/public-key")).ok();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, from_base64(&public["public_key"]));
    public.verify(b"invoice 7", &later).unwrap();
    public.verify(b"invoice 7", &earlier).unwrap_err();

    site.post(&karl, &format!("/v1/keys/{name}/suspend"), json!({})).ok();
    let refused = site.post(&token, &format!("/v1/keys/{name}/sign"), message(b"invoice 7"));
    assert_eq!(refused.failed(409), "key-state");
    // `scheduled` has KMS refuse it, too, all versions of it, until it is resumed.
    let there = |alias: &str| text(&kms("describe_key", json!({ "KeyId": alias }))["KeyMetadata"], "KeyState");
    let both = |state: &str| [&first, &second].iter().all(|alias| there(alias) == state).then_some(());
    wait_for("KMS's refusal", || both("Disabled"));
    site.post(&karl, &format!("/v1/keys/{name}/resume"), json!({})).ok();
    wait_for("KMS's leave", || both("Enabled"));
    signed(site, &token, &name);
    // What was made at KMS is none of Terraform's: it stays when a deployment goes.
    for alias in [first, second] {
        kms("schedule_key_deletion", json!({ "KeyId": key_id(&alias), "PendingWindowInDays": 7 }));
    }
}

#[test]
fn a_key_that_was_there_before_is_shared_with_those_who_use_it_at_kms() {
    let site = site();
    let kim = site.log_in("kim@org", &EVERYTHING);
    let (name, arn) = (site.name("registered"), output("managed_key_arn").as_str().unwrap().to_string());
    let told = Command::new(std::env::var("AEGIS_BIN").unwrap())
        .env_clear()
        .env("HOME", tempfile::tempdir().unwrap().path())
        .env("AEGIS_TOKEN", &kim)
        .args(["--url", &site.url, "--json", "key", "register", &name])
        .args(["--aws-kms-key", &arn, "--algorithm", "AES-256-GCM", "--activate"])
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let key: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&key["at_backend"]["state"], &key["at_backend"]["shared"]), (&json!("enabled"), &json!(true)));

    let (_, token) = site.agent(&kim, &format!("key:{name}:encrypt,decrypt"), "service");
    let context = json!({ "tenant": "acme" });
    let asked = json!({ "plaintext": base64(b"later"), "context": context });
    let later = site.post(&token, &format!("/v1/keys/{name}/encrypt"), asked).ok();
    let asked = json!({ "KeyId": arn, "CiphertextBlob": later["ciphertext"], "EncryptionContext": context });
    assert_eq!(from_base64(&kms("decrypt", asked)["Plaintext"]), b"later");
    let asked = json!({ "KeyId": arn, "Plaintext": base64(b"earlier"), "EncryptionContext": context });
    let earlier = kms("encrypt", asked);
    let asked = json!({ "ciphertext": earlier["CiphertextBlob"], "context": context });
    let opened = site.post(&token, &format!("/v1/keys/{name}/decrypt"), asked).ok();
    assert_eq!(from_base64(&opened["plaintext"]), b"earlier");
}

/// The name at KMS of what was made for the present version.
fn alias_of(key: &Value) -> String {
    let aliases = key["at_backend"]["aliases"].as_array().unwrap();
    assert_eq!(aliases.len(), 1, "{key}");
    aliases[0].as_str().unwrap().to_string()
}

fn signed(site: &Site, token: &str, name: &str) -> Vec<u8> {
    let answer = site.post(token, &format!("/v1/keys/{name}/sign"), message(b"invoice 7")).ok();
    from_base64(&answer["signature"])
}

fn check_at_kms(alias: &str, signature: &[u8], valid: bool) {
    let told = kms(
        "verify",
        json!({
            "KeyId": alias, "Message": base64(b"invoice 7"), "Signature": base64(signature),
            "SigningAlgorithm": "ECDSA_SHA_256",
        }),
    );
    assert_eq!(told == json!({ "refused": "KMSInvalidSignatureException" }), !valid, "{told}");
}

fn key_id(alias: &str) -> String {
    text(&kms("describe_key", json!({ "KeyId": alias }))["KeyMetadata"], "KeyId")
}

/// KMS as anybody calls it who has leave to.
fn kms(operation: &str, parameters: Value) -> Value {
    call("kms", operation, &parameters)
}
