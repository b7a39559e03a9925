//! Keys: their states, their versions, and what they compute.

use aegis_core::repository;
use aegis_core::store::{Store, Stored};
use aegis_tests::deployment::Deployment;
use aegis_tests::{base64, from_base64, message, text};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn each_state_allows_what_the_standard_says() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let post = |path: &'static str, body: Value| deployment.post(&alice, path, body);
    post("/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519" })).await.ok();
    assert_eq!(post("/v1/keys/own-key/sign", message(b"x")).await.failed(409), "key-state");
    assert_eq!(post("/v1/keys/own-key/deactivate", json!({})).await.failed(409), "key-state");
    assert_eq!(post("/v1/keys/own-key/activate", json!({})).await.ok()["state"], "active");
    let signature = post("/v1/keys/own-key/sign", message(b"x")).await.ok()["signature"].clone();
    assert_eq!(post("/v1/keys/own-key/destroy", json!({})).await.failed(409), "key-state");

    post("/v1/keys/own-key/suspend", json!({})).await.ok();
    assert_eq!(post("/v1/keys/own-key/sign", message(b"x")).await.failed(409), "key-state");
    post("/v1/keys/own-key/resume", json!({})).await.ok();
    post("/v1/keys/own-key/deactivate", json!({})).await.ok();
    assert_eq!(post("/v1/keys/own-key/sign", message(b"x")).await.failed(409), "key-state");
    let asked = json!({ "message": base64(b"x"), "signature": signature });
    assert_eq!(post("/v1/keys/own-key/verify", asked).await.ok()["valid"], true);
    assert_eq!(post("/v1/keys/own-key/compromise", json!({})).await.ok()["state"], "compromised");
}

#[tokio::test]
async fn a_destroyed_key_is_gone_at_the_end_of_its_window_and_not_before() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "AES-256-GCM").await;
    let sealed = json!({ "plaintext": base64(b"secret") });
    let sealed = deployment.post(&alice, "/v1/keys/own-key/encrypt", sealed).await.ok();
    let open = json!({ "ciphertext": sealed["ciphertext"] });
    let key = deployment.post(&alice, "/v1/keys/own-key/rotate", json!({})).await.ok();
    assert_eq!(material_of(&deployment, &key).await.len(), 3, "of the key and of each version");
    deployment.post(&alice, "/v1/keys/own-key/deactivate", json!({})).await.ok();
    deployment.post(&alice, "/v1/keys/own-key/destroy", json!({ "pending_days": 6 })).await.failed(400);
    deployment.post(&alice, "/v1/keys/own-key/destroy", json!({})).await.ok();
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/decrypt", open.clone()).await.failed(409), "key-state");

    deployment.pass(7 * 86_400 - 1);
    let alice = deployment.alice().await;
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    deployment.post(&alice, "/v1/keys/own-key/cancel-destroy", json!({})).await.ok();
    deployment.post(&alice, "/v1/keys/own-key/decrypt", open.clone()).await.ok();
    deployment.post(&alice, "/v1/keys/own-key/destroy", json!({ "pending_days": 30 })).await.ok();

    deployment.pass(30 * 86_400);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    let alice = deployment.alice().await;
    let key = deployment.get(&alice, "/v1/keys/own-key").await.ok();
    assert_eq!(key["state"], "destroyed");
    assert_eq!(material_of(&deployment, &key).await, Vec::<Value>::new());
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/decrypt", open).await.failed(409), "key-state");
    let records = deployment.get(&alice, "/v1/audit?key=own-key&op=key.destroy&outcome=ok").await.ok();
    assert_eq!(records["items"][0]["plane"], "internal");
    assert_eq!(records["items"][0]["human"], "alice@org");
}

#[tokio::test]
async fn a_destruction_is_whole_or_not_at_all_and_keeps_no_other_key_waiting() {
    use aegis_core::store::fault::{Fault, Operation};
    for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
        for passing in 0..4 {
            let deployment = Deployment::new().await;
            let alice = deployment.alice().await;
            let post = |path: &'static str, body: Value| deployment.post(&alice, path, body);
            post("/v1/keys", json!({ "name": "own-key", "algorithm": "AES-256-GCM" })).await.ok();
            post("/v1/keys/own-key/destroy", json!({})).await.ok();
            assert_eq!(post("/v1/keys/own-key/activate", json!({})).await.failed(409), "key-state");
            let other =
                json!({ "name": "other-key", "algorithm": "Ed25519", "activate": true, "rotate_every_days": 8 });
            post("/v1/keys", other).await.ok();
            deployment.pass(8 * 86_400);
            deployment.store.fail_later(Operation::Write, passing, fault);
            let _ = deployment.run_due().await;
            let alice = deployment.alice().await;
            let kept = deployment.post(&alice, "/v1/keys/own-key/cancel-destroy", json!({})).await;
            assert_eq!(kept.failed(409), "key-state", "the window is over");
            deployment.run_due().await.unwrap();
            let key = deployment.get(&alice, "/v1/keys/own-key").await.ok();
            assert_eq!(key["state"], "destroyed");
            assert_eq!(material_of(&deployment, &key).await, Vec::<Value>::new(), "{fault:?} {passing}");
            assert_eq!(deployment.get(&alice, "/v1/keys/other-key").await.ok()["version"], 2, "{fault:?} {passing}");
            assert_eq!(deployment.run_due().await.unwrap(), 0);
        }
    }
}

/// What is left in the store of a key's material, its versions' included.
async fn material_of(deployment: &Deployment, key: &Value) -> Vec<Value> {
    let id = text(key, "id").try_into().unwrap();
    let versions = 1..=u32::try_from(key["version"].as_u64().unwrap()).unwrap();
    let items = versions.map(|version| repository::version_item(&id, version)).chain([repository::key_item(&id)]);
    let found = deployment.store.batch_get(&items.collect::<Vec<_>>()).await.unwrap();
    let read = |stored: &Stored| serde_json::from_str::<Value>(&stored.item.body).unwrap()["material"].clone();
    found.0.iter().map(|stored| read(stored)).filter(|material| !material.is_null()).collect()
}

#[tokio::test]
async fn rotation_keeps_what_was_made_before_and_happens_on_schedule() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let body = json!({ "name": "own-key", "algorithm": "AES-256-GCM", "activate": true, "rotate_every_days": 30 });
    deployment.post(&alice, "/v1/keys", body).await.ok();
    let sealed = json!({ "plaintext": base64(b"secret"), "context": { "tenant": "a" } });
    let first = deployment.post(&alice, "/v1/keys/own-key/encrypt", sealed.clone()).await.ok();
    deployment.pass(30 * 86_400);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    let alice = deployment.alice().await;
    let second = deployment.post(&alice, "/v1/keys/own-key/encrypt", sealed).await.ok();
    assert_eq!((&first["key_version"], &second["key_version"]), (&json!(1), &json!(2)));
    for sealed in [&first, &second] {
        let open = json!({ "ciphertext": sealed["ciphertext"], "context": { "tenant": "a" } });
        let opened = deployment.post(&alice, "/v1/keys/own-key/decrypt", open).await.ok();
        assert_eq!(from_base64(&opened["plaintext"]), b"secret");
        assert_eq!(opened["key_version"], sealed["key_version"]);
    }
    let again = json!({ "ciphertext": first["ciphertext"], "context": { "tenant": "a" } });
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/re-encrypt", again).await.ok()["key_version"], 2);
}

#[tokio::test]
async fn a_signature_verifies_for_its_message_and_version_only() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for algorithm in
        ["ECDSA-P256", "ECDSA-P521", "Ed25519", "ML-DSA-65", "RSA-2048-PSS-SHA256", "RSA-3072-PKCS1-SHA256"]
    {
        let name = format!("key-{}", algorithm.to_lowercase());
        deployment.key(&alice, &name, algorithm).await;
        let path = |action: &str| format!("/v1/keys/{name}/{action}");
        let signed = deployment.post(&alice, &path("sign"), message(b"pay 10")).await.ok();
        deployment.post(&alice, &path("rotate"), json!({})).await.ok();
        let table = [
            ("pay 10", Some(1), true),
            ("pay 99", Some(1), false),
            ("pay 10", None, false),
            ("pay 10", Some(2), false),
        ];
        for (text, version, want) in table {
            let mut asked = json!({ "message": base64(text.as_bytes()), "signature": signed["signature"] });
            if let Some(version) = version {
                asked["key_version"] = json!(version);
            }
            let answer = deployment.post(&alice, &path("verify"), asked).await.ok();
            assert_eq!(answer["valid"], want, "{algorithm} {text} {version:?}");
        }
        let asked = json!({ "message": base64(b"x"), "signature": base64(b"x"), "key_version": 3 });
        assert_eq!(deployment.post(&alice, &path("verify"), asked).await.failed(400), "invalid-request");
    }
}

#[tokio::test]
async fn a_mac_verifies_for_its_message_and_version_only() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "HMAC-SHA256").await;
    let made = deployment.post(&alice, "/v1/keys/own-key/mac", message(b"pay 10")).await.ok();
    assert_eq!((&made["algorithm"], &made["key_version"]), (&json!("HMAC-SHA256"), &json!(1)));
    assert_eq!(from_base64(&made["mac"]).len(), 32);
    deployment.post(&alice, "/v1/keys/own-key/rotate", json!({})).await.ok();
    let table = [("pay 10", json!(1), true), ("pay 99", json!(1), false), ("pay 10", Value::Null, false)];
    for (text, version, want) in table {
        let asked = json!({ "message": base64(text.as_bytes()), "mac": made["mac"], "key_version": version });
        let answer = deployment.post(&alice, "/v1/keys/own-key/verify-mac", asked).await.ok();
        assert_eq!(answer["valid"], want, "{text} {version}");
    }
    let asked = json!({ "message": base64(b"x"), "mac": base64(b"x"), "key_version": 3 });
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/verify-mac", asked).await.failed(400), "invalid-request");
    let (_, token) = deployment.agent(&alice, "key:own-key:mac", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/mac", message(b"pay 10")).await.ok();
    let asked = json!({ "message": base64(b"x"), "mac": base64(b"x") });
    assert_eq!(deployment.post(&token, "/v1/keys/own-key/verify-mac", asked).await.status, 403);
}

#[tokio::test]
async fn a_key_does_what_its_algorithm_is_for_and_nothing_else() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let sealed = || json!({ "plaintext": base64(b"x") });
    let table = [
        ("AES-128-GCM", "mac", message(b"x")),
        ("AES-192-GCM", "sign", message(b"x")),
        ("ECDSA-P384", "encrypt", sealed()),
        ("ECDSA-secp256k1", "mac", message(b"x")),
        ("HMAC-SHA384", "sign", message(b"x")),
        ("HMAC-SHA512", "encrypt", sealed()),
        ("ML-DSA-44", "encrypt", sealed()),
        ("ML-DSA-87", "mac", message(b"x")),
        ("RSA-2048-OAEP-SHA256", "sign", message(b"x")),
        ("RSA-2048-PKCS1-SHA256", "encrypt", sealed()),
        ("RSA-2048-PSS-SHA256", "generate-data-key", json!({})),
    ];
    for (algorithm, action, body) in table {
        let name = algorithm.to_lowercase();
        deployment.key(&alice, &name, algorithm).await;
        let answer = deployment.post(&alice, &format!("/v1/keys/{name}/{action}"), body).await;
        assert_eq!(answer.failed(400), "invalid-request", "{algorithm} {action}");
    }
}

#[tokio::test]
async fn an_rsa_key_opens_what_aegis_and_what_others_encrypted() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "RSA-2048-OAEP-SHA256").await;
    let post = |action: &str, body: Value| {
        let (deployment, alice, path) = (&deployment, &alice, format!("/v1/keys/own-key/{action}"));
        async move { deployment.post(alice, &path, body).await }
    };
    let public = deployment.get(&alice, "/v1/keys/own-key/public-key").await.ok();
    let public = PublicEncryptingKey::from_der(&from_base64(&public["public_key"])).unwrap();
    let mut outside = vec![0; 256];
    let public = OaepPublicEncryptingKey::new(public).unwrap();
    public.encrypt(&OAEP_SHA256_MGF1SHA256, b"outside", &mut outside, None).unwrap();
    let opened = post("decrypt", json!({ "ciphertext": base64(&outside) })).await.ok();
    assert_eq!((from_base64(&opened["plaintext"]), &opened["key_version"]), (b"outside".to_vec(), &json!(1)));

    let sealed = json!({ "plaintext": base64(&[7; 190]), "context": { "tenant": "a" } });
    let sealed = post("encrypt", sealed).await.ok()["ciphertext"].clone();
    let long = json!({ "plaintext": base64(&[7; 191]) });
    assert_eq!(post("encrypt", long).await.failed(400), "invalid-request");
    let wrapped = post("generate-data-key", json!({ "length": 64 })).await.ok();
    post("rotate", json!({})).await.ok();

    let open = json!({ "ciphertext": sealed, "context": { "tenant": "a" } });
    let opened = post("decrypt", open.clone()).await.ok();
    assert_eq!((from_base64(&opened["plaintext"]), &opened["key_version"]), (vec![7; 190], &json!(1)));
    let again = post("re-encrypt", open).await.ok();
    assert_eq!(again["key_version"], 2);
    let open = json!({ "ciphertext": again["ciphertext"], "context": { "tenant": "a" } });
    assert_eq!(post("decrypt", open).await.ok()["key_version"], 2);
    let other = json!({ "ciphertext": again["ciphertext"] });
    assert_eq!(post("decrypt", other).await.failed(422), "not-authentic");
    assert_eq!(post("decrypt", json!({ "ciphertext": base64(&outside) })).await.failed(422), "not-authentic");

    let open = json!({ "ciphertext": wrapped["wrapped_key"] });
    assert_eq!(post("decrypt", open).await.failed(422), "not-authentic");
    let unwrap = json!({ "wrapped_key": wrapped["wrapped_key"] });
    assert_eq!(post("unwrap", unwrap).await.ok()["key_material"], wrapped["plaintext"]);
}

#[tokio::test]
async fn a_ciphertext_opens_with_its_key_and_context_and_nothing_else() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "AES-256-GCM").await;
    }
    let sealed = json!({ "plaintext": base64(b"secret"), "context": { "tenant": "a" } });
    let sealed = deployment.post(&alice, "/v1/keys/own-key/encrypt", sealed).await.ok();
    let mut altered = from_base64(&sealed["ciphertext"]);
    *altered.last_mut().unwrap() ^= 1;
    let table = [
        ("own-key", sealed["ciphertext"].clone(), json!({ "tenant": "b" })),
        ("own-key", sealed["ciphertext"].clone(), json!({})),
        ("other-key", sealed["ciphertext"].clone(), json!({ "tenant": "a" })),
        ("own-key", json!(base64(&altered)), json!({ "tenant": "a" })),
        ("own-key", json!(base64(b"short")), json!({ "tenant": "a" })),
    ];
    for (key, ciphertext, context) in table {
        let open = json!({ "ciphertext": ciphertext, "context": context });
        let answer = deployment.post(&alice, &format!("/v1/keys/{key}/decrypt"), open).await;
        assert_eq!(answer.failed(422), "not-authentic", "{key} {context}");
    }
    let reserved = json!({ "plaintext": base64(b"x"), "context": { "aegis:purpose": "wrap" } });
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/encrypt", reserved).await.failed(400), "invalid-request");
}

#[tokio::test]
async fn who_may_decrypt_may_not_thereby_unwrap() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "AES-256-GCM").await;
    let made = deployment.post(&alice, "/v1/keys/own-key/generate-data-key", json!({ "length": 16 })).await.ok();
    assert_eq!(from_base64(&made["plaintext"]).len(), 16);
    let open = json!({ "ciphertext": made["wrapped_key"] });
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/decrypt", open).await.failed(422), "not-authentic");
    let unwrap = json!({ "wrapped_key": made["wrapped_key"] });
    let opened = deployment.post(&alice, "/v1/keys/own-key/unwrap", unwrap).await.ok();
    assert_eq!(opened["key_material"], made["plaintext"]);
    let wrapped = json!({ "key_material": made["plaintext"] });
    let wrapped = deployment.post(&alice, "/v1/keys/own-key/wrap", wrapped).await.ok();
    let unwrap = json!({ "wrapped_key": wrapped["wrapped_key"] });
    assert_eq!(
        deployment.post(&alice, "/v1/keys/own-key/unwrap", unwrap).await.ok()["key_material"],
        made["plaintext"]
    );
}

#[tokio::test]
async fn a_repeated_request_with_its_idempotency_key_is_carried_out_once() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let send = |path: &'static str, key: &'static str, body: Value| {
        let request = http::Request::post(path)
            .header("authorization", format!("Bearer {alice}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key);
        deployment.send(request.body(body.to_string().into()).unwrap())
    };
    let body = || json!({ "name": "own-key", "algorithm": "Ed25519", "activate": true });
    let first = send("/v1/keys", "one", body()).await.ok();
    assert_eq!(send("/v1/keys", "one", body()).await.ok()["id"], first["id"]);
    let other = json!({ "name": "other-key", "algorithm": "Ed25519" });
    assert_eq!(send("/v1/keys", "one", other.clone()).await.failed(422), "idempotency-mismatch");
    assert_eq!(send("/v1/keys", "two", body()).await.failed(409), "name-taken");
    for _ in 0..2 {
        assert_eq!(send("/v1/keys/own-key/rotate", "three", json!({})).await.ok()["version"], 2);
    }
    assert_eq!(send("/v1/keys/own-key/sign", "four", message(b"x")).await.failed(400), "invalid-request");
    deployment.pass(86_401);
    let alice = deployment.alice().await;
    let request = http::Request::post("/v1/keys")
        .header("authorization", format!("Bearer {alice}"))
        .header("content-type", "application/json")
        .header("idempotency-key", "one");
    deployment.send(request.body(other.to_string().into()).unwrap()).await.ok();
}

#[tokio::test]
async fn names_move_and_end_and_are_never_shared() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let one = text(&deployment.key(&alice, "key-one", "Ed25519").await, "id");
    let two = text(&deployment.key(&alice, "key-two", "Ed25519").await, "id");
    let put = |name: &str, key: &str| {
        let path = format!("/v1/aliases/{name}");
        let body = json!({ "key": key });
        let (deployment, alice) = (&deployment, &alice);
        async move { deployment.call(Method::PUT, alice, &path, Some(body)).await }
    };
    assert_eq!(put("current", &one).await.ok()["aliases"], json!(["current", "key-one"]));
    assert_eq!(put("current", "key-two").await.ok()["aliases"], json!(["current", "key-two"]));
    assert_eq!(deployment.get(&alice, "/v1/keys/current").await.ok()["id"], two.as_str());
    assert_eq!(deployment.get(&alice, "/v1/keys/key-one").await.ok()["aliases"], json!(["key-one"]));
    assert_eq!(put("current", "no-such-key").await.failed(404), "not-found");
    let gone = deployment.call(Method::DELETE, &alice, "/v1/aliases/current", None).await;
    assert_eq!(gone.status, 204);
    assert_eq!(deployment.get(&alice, "/v1/keys/current").await.failed(404), "not-found");
    put("current", &one).await.ok();
}

#[tokio::test]
async fn what_is_taken_and_given_at_once_is_bounded() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "AES-256-GCM").await;
    let most = json!({ "plaintext": base64(&vec![7; 65_536]) });
    deployment.post(&alice, "/v1/keys/own-key/encrypt", most).await.ok();
    let more = json!({ "plaintext": base64(&vec![7; 65_537]) });
    assert_eq!(deployment.post(&alice, "/v1/keys/own-key/encrypt", more).await.failed(400), "invalid-request");
    for path in ["/v1/keys", "/v1/agents", "/v1/audit"] {
        deployment.get(&alice, &format!("{path}?limit=200")).await.ok();
        for limit in [0, 201] {
            let answer = deployment.get(&alice, &format!("{path}?limit={limit}")).await;
            assert_eq!(answer.failed(400), "invalid-request", "{path} {limit}");
        }
    }
    let labels = |count: usize| json!({ "labels": (0..count).map(|i| format!("label-{i}=x")).collect::<Vec<_>>() });
    let relabel = |count| deployment.call(Method::PATCH, &alice, "/v1/keys/own-key", Some(labels(count)));
    relabel(32).await.ok();
    assert_eq!(relabel(33).await.failed(400), "invalid-request");
}

#[tokio::test]
async fn malformed_requests_are_told_what_is_wrong() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "ECDSA-P256").await;
    let table = [
        ("/v1/keys", json!({ "name": "Bad Name", "algorithm": "Ed25519" }), "body"),
        ("/v1/keys", json!({ "name": "good-name", "algorithm": "ROT13" }), "body"),
        ("/v1/keys", json!({ "name": "good-name", "algorithm": "Ed25519", "colour": 1 }), "body"),
        ("/v1/keys/own-key/sign", json!({ "message": "not base64!" }), "body"),
        ("/v1/keys/own-key/sign", json!({ "message": base64(b"short"), "message_type": "digest" }), "request"),
        ("/v1/keys/Bad%20Name/sign", message(b"x"), "key"),
        ("/v1/agents", json!({ "label": "x", "scope": "own-key:sign" }), "scope"),
        ("/v1/agents", json!({ "label": "x", "scope": "key:own-key:sign", "limits": { "per_day": 0 } }), "limits"),
    ];
    for (path, body, field) in table {
        let answer = deployment.post(&alice, path, body.clone()).await;
        assert_eq!(answer.failed(400), "invalid-request", "{path} {body}");
        assert_eq!(answer.body["title"], format!("invalid `{field}`"), "{path} {body}");
        assert!(answer.body["detail"].is_string());
    }
}
