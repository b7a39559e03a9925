//! Who is not let in, and what HTTP says of it.

use super::latest;
use aegis_core::ambient::Timestamp;
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN, VERSIONS};
use aegis_tests::{Answer, base64};
use http::Method;
use serde_json::{Value, json};

const METADATA: &str = "resource_metadata=\"https://aegis.example.org/.well-known/oauth-protected-resource/mcp\"";

/// A deployment with one key, and what a call to sign with it says.
async fn laid_out() -> (Deployment, String, Value) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let sign = json!({ "name": "sign", "arguments": { "key": "own-key", "message": base64(b"x") } });
    (deployment, alice, sign)
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn whoever_proves_nothing_gets_401_and_is_told_where_tokens_come_from() {
    let (deployment, alice, sign) = laid_out().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let app = &deployment.host.app;
    let mut claims = (*app.tokens.verify(&token, app.clock.now()).unwrap()).clone();
    claims.aud = "another".into();
    let elsewhere = app.tokens.sign(&claims).await.unwrap();
    let cases = [("", "missing_token"), ("nonsense", "invalid_token"), (&elsewhere, "invalid_token")];
    for version in VERSIONS {
        for (token, reason) in cases {
            for (method, params) in [("tools/call", &sign), ("tools/list", &json!({})), ("initialize", &json!({}))] {
                let answer = Client::new(&deployment, token, version).ask(method, params.clone()).await;
                assert_eq!(answer.refused(401), reason, "{version} {method}");
                assert!(challenge(&answer).contains(METADATA), "{}", challenge(&answer));
                assert_eq!(challenge(&answer).contains("error=\"invalid_token\""), !token.is_empty());
            }
        }
        // Between two calls: of a credential, and of its agent.
        let mut client = Client::new(&deployment, &token, version);
        client.token = deployment.token(&alice, &agent).await;
        client.result("tools/call", sign.clone()).await;
        deployment.form(&alice, "/v1/oauth/revoke", &[("token", &client.token)]).await.ok();
        for (method, params) in [("tools/call", &sign), ("tools/list", &json!({})), ("prompts/list", &json!({}))] {
            let answer = client.ask(method, params.clone()).await;
            assert_eq!(answer.refused(401), "credential_revoked", "{version} {method}");
            assert!(challenge(&answer).contains(METADATA));
        }
    }
    // Where that leads, the document is of the URL that was asked (RFC 9728 §3.3).
    for own in ["", "/mcp"] {
        let told = deployment.get("", &format!("/.well-known/oauth-protected-resource{own}")).await.ok();
        assert_eq!(told["resource"], format!("https://aegis.example.org{own}"));
        assert_eq!(told["bearer_methods_supported"], json!(["header"]));
        assert_eq!(told["scopes_supported"], json!(["aegis_key_use"]));
    }
    deployment.pass(3_601);
    let answer = Client::new(&deployment, &token, MODERN).ask("tools/call", sign).await;
    assert_eq!(answer.refused(401), "credential_expired");
}

#[tokio::test]
async fn a_human_s_session_is_refused_whatever_she_may_do_elsewhere() {
    let (deployment, alice, sign) = laid_out().await;
    let before = latest(&deployment, &alice, "op=key.sign").await;
    for version in VERSIONS {
        let client = Client::new(&deployment, &alice, version);
        for (method, params) in [
            ("tools/call", sign.clone()),
            ("tools/list", json!({})),
            ("prompts/list", json!({})),
            ("initialize", initialize()),
            ("nonsense", json!({})),
        ] {
            let answer = client.ask(method, params).await;
            assert_eq!(answer.refused(403), "agent_credential_required", "{version} {method}");
            let said = challenge(&answer);
            assert!(said.contains("error=\"insufficient_scope\"") && said.contains(METADATA), "{said}");
            assert!(said.contains("scope=\"aegis_key_use\""), "{said}");
        }
    }
    let told = latest(&deployment, &alice, "op=key.sign").await;
    assert_ne!(told["id"], before["id"], "it is on record");
    assert_eq!((&told["outcome"], &told["reason"]), (&json!("denied"), &json!("agent_credential_required")));
}

#[tokio::test]
async fn other_refusals_are_results_of_the_tool() {
    let (deployment, _, _) = laid_out().await;
    let table = [
        (json!({ "limits": { "max_uses": 1 } }), "uses_exhausted", 403),
        (json!({ "limits": { "per_minute": 1 } }), "uses_per_minute", 429),
        (json!({}), "outside_window", 403),
        (json!({}), "agent_frozen", 403),
    ];
    for version in VERSIONS {
        for (more, reason, status) in table.clone() {
            let alice = deployment.alice().await;
            let (agent, token) = deployment.agent(&alice, "key:own-key:sign", more).await;
            let (client, path) = (Client::new(&deployment, &token, version), format!("/v1/agents/{agent}"));
            let sign = json!({ "key": "own-key", "message": base64(b"x") });
            client.done("sign", sign.clone()).await;
            if reason == "outside_window" {
                let end = json!({ "not_after": Timestamp::from_second(deployment.now() + 60).unwrap() });
                deployment.call(Method::PATCH, &alice, &path, Some(end)).await.ok();
                deployment.pass(60);
            } else if reason == "agent_frozen" {
                deployment.post(&alice, &format!("{path}/freeze"), json!({})).await.ok();
            }
            let refusal = client.refused("sign", sign).await;
            assert_eq!((&refusal["reason"], &refusal["status"]), (&json!(reason), &json!(status)), "{refusal}");
            assert_eq!(refusal["decision"], "deny");
            assert_eq!(refusal["retry_after"].is_number(), reason == "uses_per_minute", "{refusal}");
        }
    }
}

/// Before a message is read: nobody makes the server parse what she likes.
#[tokio::test]
async fn who_proves_nothing_and_who_asks_too_often_are_told_to_come_back() {
    let deployment = Deployment::with(3, 12).await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let nobody = Client::new(&deployment, "", MODERN);
    let statuses = async |client: &Client<'_>, times: usize| {
        let mut statuses = Vec::new();
        for _ in 0..times {
            statuses.push(client.ask("nonsense", json!({})).await.status);
        }
        statuses
    };
    assert_eq!(statuses(&nobody, 5).await, [401, 401, 401, 429, 429]);
    // An agent's messages count, whatever they are, and its calls say so as the tool's result.
    let client = Client::new(&deployment, &token, MODERN);
    assert!(statuses(&client, 12).await.iter().all(|status| *status == 404));
    let sign = json!({ "key": "own-key", "message": base64(b"x") });
    let refusal = client.refused("sign", sign).await;
    assert_eq!((&refusal["reason"], &refusal["code"]), (&json!("rate_limited"), &json!("limit-reached")), "{refusal}");
    assert_eq!(client.ask("nonsense", json!({})).await.refused(429), "rate_limited");
}

#[tokio::test]
async fn only_post_is_spoken() {
    let (deployment, alice, _) = laid_out().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let answer = deployment.call(method.clone(), &token, "/mcp", None).await;
        assert_eq!(answer.failed(405), "method-not-allowed", "{method}");
        assert_eq!(answer.headers["allow"], "POST");
    }
}

pub(super) fn initialize() -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "some-host", "version": "3" } })
}
