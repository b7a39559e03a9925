//! How a message is written, and what is refused before anything is done.

use super::latest;
use super::refusals::initialize;
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, LEGACY, MODERN, VERSIONS};
use aegis_tests::{base64, text};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use serde_json::json;

#[tokio::test]
async fn two_versions_are_spoken_and_no_other() {
    let (deployment, token, _) = laid_out().await;
    let client = Client::new(&deployment, &token, LEGACY);
    for asked in ["2024-11-05", "2025-03-26", "2025-11-25", "2026-07-28", "2099-01-01"] {
        let params =
            json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
        assert_eq!(client.result("initialize", params).await["protocolVersion"], LEGACY, "{asked}");
    }
    let begun = client.result("initialize", initialize()).await;
    assert_eq!((&begun["serverInfo"]["name"], &begun["serverInfo"]["version"]), (&json!("Aegis"), &json!("0.1.0")));
    assert!(begun["capabilities"]["tools"].get("listChanged").is_none(), "{begun}");
    let found = Client::new(&deployment, &token, MODERN).result("server/discover", json!({})).await;
    assert_eq!(found["supportedVersions"], json!([LEGACY, MODERN]), "{found}");

    for version in ["2025-06-18", "2024-11-05", "nonsense"] {
        let (mut request, body) = client.request("tools/list", json!({}));
        request.headers_mut().unwrap().insert("mcp-protocol-version", version.parse().unwrap());
        let answer = client.send(request, &body).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32022)), "{version} {}", answer.body);
        assert_eq!(answer.body["id"], 1);
        assert_eq!(answer.body["error"]["data"]["supported"], json!([LEGACY, MODERN]));
    }
}

/// A client that speaks the older version sends none of the headers: what is decided must not rest on them.
#[tokio::test]
async fn headers_give_no_right_and_one_that_says_otherwise_is_refused() {
    let (deployment, token, alice) = laid_out().await;
    let before = latest(&deployment, &alice, "op=key.sign").await;
    let client = Client::new(&deployment, &token, MODERN);
    let sign = |key: &str| json!({ "name": "sign", "arguments": { "key": key, "message": base64(b"x") } });
    for (header, value) in [("mcp-method", "tools/list"), ("mcp-name", "verify"), ("mcp-method", ""), ("mcp-name", "")]
    {
        let (mut request, body) = client.request("tools/call", sign("own-key"));
        let headers = request.headers_mut().unwrap();
        match value {
            "" => headers.remove(header),
            _ => headers.insert(header, value.parse().unwrap()),
        };
        let answer = client.send(request, &body).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32020)), "{header}: {}", answer.body);
    }
    // A second one of the same name, whatever the first says.
    for (header, value) in [("mcp-method", "tools/list"), ("mcp-name", "verify")] {
        let (mut request, body) = client.request("tools/call", sign("own-key"));
        request.headers_mut().unwrap().append(header, value.parse().unwrap());
        let answer = client.send(request, &body).await;
        assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32020)), "{header}: {}", answer.body);
    }
    // No tool has an argument stand in a header: one that does is compared with nothing, so it is not taken.
    let (request, body) = client.request("tools/call", sign("other-key"));
    let answer = client.send(request.header("mcp-param-key", "own-key"), &body).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (400, &json!(-32020)), "{}", answer.body);
    assert_eq!(latest(&deployment, &alice, "op=key.sign").await["id"], before["id"], "nothing was done");
    // That such a message came is on record.
    let told = latest(&deployment, &alice, "op=whoami").await;
    assert_eq!((&told["plane"], &told["outcome"]), (&json!("mcp"), &json!("error")), "{told}");

    // With the older version, headers of the newer one mean nothing, and what is decided is what the body says.
    let legacy = Client::new(&deployment, &token, LEGACY);
    let (request, body) = legacy.request("tools/call", sign("other-key"));
    let request = request.header("mcp-method", "tools/call").header("mcp-name", "my_scope");
    let answer = legacy.send(request.header("mcp-param-key", "own-key"), &body).await;
    let result = &answer.body["result"];
    let refused = result["structuredContent"]["reason"] == "scope_violation" || answer.body["error"]["code"] == -32020;
    assert!(refused, "{} {}", answer.status, answer.body);
}

/// To speak the older version, or none, is no way round anything.
#[tokio::test]
async fn a_downgrade_changes_no_decision() {
    let (deployment, _, alice) = laid_out().await;
    for version in [Some(LEGACY), None] {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let client = Client::new(&deployment, &token, LEGACY);
        let params = json!({ "name": "sign", "arguments": { "key": "other-key", "message": base64(b"x") } });
        let (mut request, body) = client.request("tools/call", params);
        if version.is_none() {
            request.headers_mut().unwrap().remove("mcp-protocol-version");
        }
        let answer = client.send(request, &body).await;
        assert_eq!(answer.body["result"]["structuredContent"]["reason"], "scope_violation", "{}", answer.body);
        assert_eq!(client.ask("tools/list", json!({})).await.refused(401), "agent_revoked");
    }
}

#[tokio::test]
async fn what_another_page_or_a_rebound_name_sends_is_refused() {
    let (deployment, token, alice) = laid_out().await;
    let client = Client::new(&deployment, &token, MODERN);
    let params = json!({ "name": "sign", "arguments": { "key": "own-key", "message": base64(b"x") } });
    let table = [
        (HOST, "evil.example", 403),
        (HOST, "aegis.example.org.evil.example", 403),
        (HOST, "localhost:7433", 200),
        (HOST, "127.0.0.1", 200),
        (HOST, "[::1]:8080", 200),
        (ORIGIN, "https://evil.example", 403),
        (ORIGIN, "null", 403),
        (ORIGIN, "http://aegis.example.org", 403),
        (ORIGIN, "https://aegis.example.org:8443", 403),
        (ORIGIN, "https://aegis.example.org", 200),
        (ORIGIN, "http://localhost:6274", 200),
        (ORIGIN, "http://localhost.evil.example", 403),
    ];
    for (header, value, want) in table {
        let (mut request, body) = client.request("tools/call", params.clone());
        request.headers_mut().unwrap().insert(&header, value.parse().unwrap());
        let before = latest(&deployment, &alice, "op=key.sign").await["id"].clone();
        deployment.pass(1);
        let answer = client.send(request, &body).await;
        assert_eq!(answer.status, want, "{header}: {value}: {}", answer.body);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        let signed = latest(&deployment, &alice, "op=key.sign").await["id"] != before;
        assert_eq!(signed, want == 200, "{header}: {value}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_on_record() {
    let (deployment, token, alice) = laid_out().await;
    let post = |body: Vec<u8>, accept: &str, kind: &str| {
        let request = http::Request::post("/mcp").header(HOST, "aegis.example.org").header(ACCEPT, accept);
        let request = request.header(CONTENT_TYPE, kind).header(AUTHORIZATION, format!("Bearer {token}"));
        deployment.send(request.body(Bytes::from(body)).unwrap())
    };
    let both = "application/json, text/event-stream";
    let (json_type, call) =
        ("application/json", br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.to_vec());
    let batch = [b"[", call.as_slice(), b"]"].concat();
    let cases = [
        (b"{".to_vec(), both, json_type, 400),
        (batch, both, json_type, 400),
        (vec![b' '; 1_048_577], both, json_type, 413),
        (call.clone(), "application/json", json_type, 406),
        (call.clone(), both, "text/plain", 415),
        (br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec(), both, json_type, 400),
    ];
    for (n, (body, accept, kind, want)) in cases.into_iter().enumerate() {
        let answer = post(body, accept, kind).await;
        assert!(answer.status == want || (want == 400 && answer.status == 415), "{n}: {}", answer.status);
        let told = latest(&deployment, &alice, "op=whoami").await;
        assert_eq!((&told["outcome"], &told["plane"]), (&json!("error"), &json!("mcp")), "{n}: {told}");
        deployment.pass(1);
    }
    assert_eq!(post(call, both, json_type).await.status, 200);
    let notified = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec();
    assert_eq!(post(notified, both, json_type).await.status, 202);
    for version in VERSIONS {
        let client = Client::new(&deployment, &token, version);
        let answer = client.ask("tools/call", json!({ "name": "no_such_tool", "arguments": {} })).await;
        assert_eq!(answer.body["error"]["code"], -32602, "{version}");
    }
}

/// An error quotes what it was given: a model reads that as data.
#[tokio::test]
async fn text_that_reaches_a_model_is_bounded_and_has_no_hidden_characters() {
    let (deployment, token, _) = laid_out().await;
    let client = Client::new(&deployment, &token, MODERN);
    let name = "x\ny\u{202e}".repeat(900);
    let result = client.call("sign", json!({ "key": "own-key", "message": "", name: 1 })).await;
    let detail = text(&result["structuredContent"], "detail");
    assert!(detail.chars().count() <= 8 * 1_025 && detail.contains("x\\u{a}y\\u{202e}x"), "{detail}");
    let said = result["content"].to_string();
    assert!(!said.contains('\u{202e}') && said.len() < 20_000, "{said}");
}

async fn laid_out() -> (Deployment, String, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    deployment.key(&alice, "other-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    (deployment, token, alice)
}
