//! Envelopes: more than a key store takes, sealed and opened for an agent as it could by itself with a data key.

use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, base64, from_base64, text};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Value, json};

const SCOPE: &str = "key:own-aes:generate-data-key,unwrap,wrap";

struct Story {
    deployment: Deployment,
    alice: String,
    agent: String,
    token: String,
}

impl Story {
    async fn new() -> Self {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        for name in ["own-aes", "other-aes"] {
            deployment.key(&alice, name, "AES-256-GCM").await;
        }
        let (agent, token) = deployment.agent(&alice, SCOPE, json!({})).await;
        Self { deployment, alice, agent, token }
    }

    async fn call(&self, token: &str, key: &str, verb: &str, body: Value) -> Answer {
        self.deployment.post(token, &format!("/v1/agent-ai/keys/{key}/{verb}"), body).await
    }

    async fn seal(&self, plaintext: &[u8]) -> String {
        let body = json!({ "plaintext": base64(plaintext), "context": { "tenant": "a" } });
        text(&self.call(&self.token, "own-aes", "seal", body).await.ok(), "sealed")
    }

    async fn open(&self, sealed: &str, tenant: &str) -> Answer {
        let body = json!({ "sealed": sealed, "context": { "tenant": tenant } });
        self.call(&self.token, "own-aes", "open", body).await
    }

    async fn newest(&self) -> Value {
        let path = format!("/v1/audit?agent={}&limit=1", self.agent);
        let found = self.deployment.get(&self.alice, &path).await.ok()["items"][0].clone();
        self.deployment.pass(1);
        found
    }
}

#[tokio::test]
async fn what_is_larger_than_a_key_store_takes_is_sealed_and_opened_and_on_record_as_the_use_of_a_data_key() {
    let story = Story::new().await;
    for size in [0, 1, 65_537, 512 * 1024] {
        let plaintext: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let sealed = story.seal(&plaintext).await;
        let record = story.newest().await;
        assert_eq!((&record["operation"], &record["plane"]), (&json!("key.generate-data-key"), &json!("agent-ai")));
        let opened = story.open(&sealed, "a").await.ok();
        assert_eq!((text(&opened, "plaintext"), &opened["key_version"]), (base64(&plaintext), &json!(1)), "{size}");
        let record = story.newest().await;
        assert_eq!((&record["operation"], &record["plane"]), (&json!("key.unwrap"), &json!("agent-ai")));
        assert!(record["key_requested"] == "own-aes" && record["key_version"] == 1, "{record}");
    }
    let too_much = json!({ "plaintext": base64(&vec![0; 512 * 1024 + 1]) });
    assert_eq!(story.call(&story.token, "own-aes", "seal", too_much).await.failed(400), "invalid-request");
    // By the version that sealed it.
    let sealed = story.seal(b"before").await;
    story.deployment.post(&story.deployment.alice().await, "/v1/keys/own-aes/rotate", json!({})).await.ok();
    assert_eq!(text(&story.open(&sealed, "a").await.ok(), "plaintext"), base64(b"before"));
}

/// Without Aegis but for the data key.
#[tokio::test]
async fn an_envelope_is_what_its_description_says() {
    let story = Story::new().await;
    let envelope = from_base64(&json!(story.seal(b"a secret").await));
    assert_eq!(envelope[..5], *b"AEGS\x01");
    let length = usize::from(envelope[5]) * 256 + usize::from(envelope[6]);
    let (head, rest) = envelope.split_at(7 + length);
    let asked = json!({ "wrapped_key": base64(&head[7..]), "context": { "tenant": "a" } });
    let unwrapped = story.deployment.post(&story.token, "/v1/keys/own-aes/unwrap", asked).await.ok();
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &from_base64(&unwrapped["key_material"])).unwrap());
    let (nonce, sealed) = rest.split_at(12);
    let mut opened = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    assert_eq!(cipher.open_in_place(nonce, Aad::from(head), &mut opened).unwrap(), b"a secret");
}

#[tokio::test]
async fn what_is_not_this_envelope_of_this_key_and_context_does_not_open() {
    let story = Story::new().await;
    let sealed = story.seal(b"a secret").await;
    let envelope = from_base64(&json!(sealed));
    assert_eq!(story.open(&sealed, "b").await.failed(422), "not-authentic");
    for at in [0, 4, 5, 6, 9, envelope.len() - 30, envelope.len() - 1] {
        let mut altered = envelope.clone();
        altered[at] ^= 1;
        assert_eq!(story.open(&base64(&altered), "a").await.failed(422), "not-authentic", "{at}");
        assert_eq!(story.open(&base64(&envelope[..at]), "a").await.failed(422), "not-authentic", "{at}");
    }
    // Key bytes that were wrapped for something else seal nothing.
    let wrap = json!({ "key_material": base64(&[1; 16]), "context": { "tenant": "a" } });
    let wrapped = story.deployment.post(&story.token, "/v1/keys/own-aes/wrap", wrap).await.ok();
    let wrapped = from_base64(&wrapped["wrapped_key"]);
    let length = u16::try_from(wrapped.len()).unwrap().to_be_bytes();
    let forged = [&b"AEGS\x01"[..], &length, &wrapped, &[0; 12], &[0; 16]].concat();
    assert_eq!(story.open(&base64(&forged), "a").await.failed(422), "not-authentic");
    let (_, other) = story.deployment.agent(&story.alice, "key:other-aes:unwrap", json!({})).await;
    let body = json!({ "sealed": sealed, "context": { "tenant": "a" } });
    assert_eq!(story.call(&other, "other-aes", "open", body).await.failed(422), "not-authentic");
}

#[tokio::test]
async fn who_may_not_use_a_data_key_seals_and_opens_nothing() {
    let story = Story::new().await;
    let sealed = story.seal(b"x").await;
    let bodies = [("seal", json!({ "plaintext": base64(b"x") })), ("open", json!({ "sealed": sealed }))];
    let scopes =
        [("key:own-aes:encrypt,decrypt,unwrap", "seal"), ("key:own-aes:encrypt,decrypt,generate-data-key", "open")];
    for (verb, body) in &bodies {
        assert_eq!(story.call("", "own-aes", verb, body.clone()).await.refused(401), "missing_token");
        let answer = story.call(&story.alice, "own-aes", verb, body.clone()).await;
        assert_eq!(answer.refused(403), "agent_credential_required");
        for (scope, forbidden) in scopes.iter().filter(|(_, forbidden)| forbidden == verb) {
            let (_, token) = story.deployment.agent(&story.alice, scope, json!({})).await;
            let answer = story.call(&token, "own-aes", verb, body.clone()).await;
            assert_eq!(answer.refused(403), "scope_violation", "{scope} {forbidden}");
            // As any who leaves its scope it is stopped.
            assert_eq!(story.call(&token, "own-aes", verb, body.clone()).await.refused(401), "agent_revoked");
        }
    }
    for key in ["other-aes", "no-such-key"] {
        let (_, token) = story.deployment.agent(&story.alice, SCOPE, json!({})).await;
        let answer = story.call(&token, key, "seal", bodies[0].1.clone()).await;
        assert_eq!(answer.refused(403), "scope_violation", "{key}");
    }
}

#[tokio::test]
async fn sealing_is_counted_and_approved_as_a_use() {
    let story = Story::new().await;
    let once = json!({ "limits": { "max_uses": 1 } });
    let (_, token) = story.deployment.agent(&story.alice, SCOPE, once).await;
    let body = json!({ "plaintext": base64(b"x") });
    story.call(&token, "own-aes", "seal", body.clone()).await.ok();
    assert_eq!(story.call(&token, "own-aes", "seal", body.clone()).await.refused(403), "uses_exhausted");

    story.deployment.hold_for_step_up(&story.agent).await;
    let asked = story.call(&story.token, "own-aes", "seal", body.clone()).await;
    assert_eq!(asked.refused(403), "step_up");
    let (approval, code) = (text(&asked.body, "approval"), text(&asked.body, "approval_code"));
    let login = story.deployment.log_in_to_approve("alice@org", &["admin", "auditor", "operator", "user"]).await;
    let path = format!("/v1/approvals/{approval}");
    assert_eq!(story.deployment.get(&login, &path).await.ok()["payload"]["decoded"]["plaintext"]["text"], "x");
    story.deployment.post(&login, &format!("{path}/approve"), json!({ "code": code })).await.ok();
    let other = json!({ "plaintext": base64(b"y") });
    assert_eq!(story.call(&story.token, "own-aes", "seal", other).await.refused(403), "step_up");
    story.call(&story.token, "own-aes", "seal", body.clone()).await.ok();
    story.deployment.pass(1);
    assert_eq!(story.call(&story.token, "own-aes", "seal", body).await.refused(403), "step_up", "leave is used once");
}
