//! A host that can lead its human to a page is asked to, where she must approve first. What it says of her counts for
//! nothing.

use aegis_tests::deployment::{APPROVAL_PAGE, Deployment};
use aegis_tests::mcp::{Client, LEGACY, MODERN};
use aegis_tests::{base64, text};
use serde_json::{Value, json};

#[tokio::test]
async fn a_host_is_asked_to_lead_its_human_to_the_page_and_only_her_approval_there_counts() {
    let deployment = Deployment::new().await.with_approval_page();
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.hold_for_step_up(&agent).await;
    let client = able(&deployment, &token, MODERN, json!({ "elicitation": { "form": {}, "url": {} } }));
    let payment = json!({ "key": "own-key", "message": base64(b"a") });
    let asked = client.call("sign", payment.clone()).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!((&asked["requestState"], asked["inputRequests"].as_object().unwrap().len()), (&Value::Null, 1));
    let request = &asked["inputRequests"]["approval"];
    assert_eq!((&request["method"], &request["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    let url = text(&request["params"], "url");
    let approval = url.strip_prefix(APPROVAL_PAGE).unwrap();

    // The host says what it likes, and may write a state that nobody gave it.
    for action in ["accept", "decline", "cancel"] {
        let told = answer(&client, &payment, action).await;
        assert_eq!((&told["isError"], &told["structuredContent"]["decision"]), (&json!(true), &json!("step_up")));
        let refusal = &told["structuredContent"];
        assert_eq!((&refusal["approval"], &refusal["approval_url"]), (&json!(approval), &json!(url)), "asked once");
        let code = text(refusal, "approval_code");
        assert!(text(&request["params"], "message").contains(&code), "{request}");
    }

    let code = text(&answer(&client, &payment, "accept").await["structuredContent"], "approval_code");
    let login = deployment.log_in_to_approve("alice@org", &["admin", "auditor", "operator", "user"]).await;
    deployment.post(&login, &format!("/v1/approvals/{approval}/approve"), json!({ "code": code })).await.ok();
    let other = answer(&client, &json!({ "key": "own-key", "message": base64(b"b") }), "accept").await;
    assert_eq!(other["structuredContent"]["decision"], "step_up", "leave is for what was asked");
    assert_ne!(other["structuredContent"]["approval"], approval);
    let done = answer(&client, &payment, "accept").await;
    assert_eq!((&done["isError"], done["structuredContent"]["signature"].is_string()), (&json!(false), true), "{done}");
    deployment.pass(1);
    let again = answer(&client, &payment, "accept").await;
    assert_eq!(again["structuredContent"]["decision"], "step_up", "and is used once");
}

#[tokio::test]
async fn who_does_not_say_that_it_can_gets_the_error_that_its_model_reads() {
    let deployment = Deployment::new().await.with_approval_page();
    let table = [
        (MODERN, json!({})),
        (MODERN, json!({ "elicitation": {} })),
        (MODERN, json!({ "elicitation": { "form": {} } })),
        // What an older host says there, it never promised.
        (LEGACY, json!({ "elicitation": { "url": {} } })),
    ];
    for (version, capabilities) in table {
        let refusal = refusal(&deployment, version, capabilities.clone()).await;
        assert_eq!(refusal["decision"], "step_up", "{version} {capabilities}");
        assert!(text(&refusal, "approval_url").starts_with(APPROVAL_PAGE));
    }
    let without_page = Deployment::new().await;
    let refusal = refusal(&without_page, MODERN, json!({ "elicitation": { "url": {} } })).await;
    assert_eq!((&refusal["decision"], refusal.get("approval_url")), (&json!("step_up"), None));
}

#[tokio::test]
async fn what_no_human_can_approve_is_refused_as_ever() {
    let deployment = Deployment::new().await.with_approval_page();
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    deployment.key(&alice, "treasury-master", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let client = able(&deployment, &token, MODERN, json!({ "elicitation": { "url": {} } }));
    let refusal = client.refused("sign", json!({ "key": "treasury-master", "message": base64(b"a") })).await;
    assert_eq!((&refusal["decision"], &refusal["reason"]), (&json!("deny"), &json!("scope_violation")));
}

/// Of an agent that must ask.
async fn refusal(deployment: &Deployment, version: &'static str, capabilities: Value) -> Value {
    let alice = deployment.alice().await;
    let name = format!("key-{}", deployment.now());
    deployment.pass(1);
    deployment.key(&alice, &name, "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, &format!("key:{name}:sign"), json!({})).await;
    deployment.hold_for_step_up(&agent).await;
    let client = able(deployment, &token, version, capabilities);
    client.refused("sign", json!({ "key": name, "message": base64(b"a") })).await
}

fn able<'a>(deployment: &'a Deployment, token: &str, version: &'static str, capabilities: Value) -> Client<'a> {
    let mut client = Client::new(deployment, token, version);
    client.meta = json!({ "io.modelcontextprotocol/clientCapabilities": capabilities });
    client
}

/// The same call, with what the host says that its human did.
async fn answer(client: &Client<'_>, arguments: &Value, action: &str) -> Value {
    let said = json!({ "approval": { "action": action } });
    let params = json!({ "name": "sign", "arguments": arguments, "inputResponses": said, "requestState": "approved" });
    client.result("tools/call", params).await
}
