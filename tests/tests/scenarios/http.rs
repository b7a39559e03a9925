//! What HTTP leaves to the server: bodies, methods, paths and headers of unusual form.

use aegis_tests::deployment::Deployment;
use http::Method;
use serde_json::json;

#[tokio::test]
async fn a_body_is_an_object_and_nothing_else() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "some-key", "ECDSA-P256").await;
    let (agent, _) = deployment.agent(&alice, "key:some-key:sign", json!({})).await;
    let agent = format!("/v1/agents/{agent}");
    let grant = |limits| json!({ "label": "an agent", "scope": "key:some-key:sign", "limits": limits });
    // Each is what serde takes for a struct by itself: its fields in their order, in an array.
    let table = [
        (Method::PATCH, "/v1/keys/some-key", json!([null, null])),
        (Method::PATCH, "/v1/keys/some-key", json!([])),
        (Method::PATCH, &agent, json!([])),
        (Method::PATCH, &agent, json!({ "limits": [5] })),
        (Method::POST, "/v1/agents", grant(json!([5]))),
        (Method::POST, "/v1/agents", grant(json!([]))),
        (Method::POST, "/v1/keys/some-key/sign", json!(["", "raw"])),
        (Method::POST, "/v1/keys/some-key/sign", json!(null)),
        (Method::POST, "/v1/keys/some-key/sign", json!("")),
    ];
    for (method, path, body) in table {
        let answer = deployment.call(method, &alice, path, Some(body.clone())).await;
        assert_eq!(answer.failed(400), "invalid-request", "{path} {body}");
    }
    deployment.call(Method::PATCH, &alice, &agent, Some(json!({ "limits": null }))).await.ok();
    deployment.post(&alice, "/v1/agents", grant(json!({ "max_uses": 5 }))).await.ok();
}
