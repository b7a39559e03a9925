//! Agents that use keys as tools, over MCP: the same four checks, the same record.

use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, VERSIONS};
use aegis_tests::{base64, text};
use serde_json::json;

#[tokio::test]
async fn an_agent_signs_by_a_tool_call_in_each_version() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let key = text(&deployment.key(&alice, "invoice-2026", "ECDSA-P256").await, "id");
    let (agent, token) = deployment.agent(&alice, "key:invoice-2026:sign,verify", json!({})).await;
    for version in VERSIONS {
        let mut client = Client::new(&deployment, &token, version);
        client.meta = json!({ "aegis/model": "some-model", "aegis/session": "s-1", "aegis/tool-call": "call\n7" });
        assert!(client.tools().await.contains(&"sign".to_string()));
        let message = base64(b"invoice 7");
        let signed = client.done("sign", json!({ "key": "invoice-2026", "message": message })).await;
        let verify = json!({ "key": key, "message": message, "signature": signed["signature"] });
        assert_eq!(client.done("verify", verify).await["valid"], true);
        let found = deployment.get(&alice, "/v1/audit?op=key.sign&limit=1").await.ok();
        let record = &found["items"][0];
        assert_eq!((text(record, "plane"), record["agents"][0].as_str()), ("mcp".into(), Some(agent.as_str())), "{record}");
        let claims = &record["claims"];
        assert_eq!((text(claims, "model"), text(claims, "tool_call")), ("some-model".into(), "call7".into()));
    }
}
