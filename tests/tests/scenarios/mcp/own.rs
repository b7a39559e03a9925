//! What agents ask about themselves: what would be decided, what they may do, what they did. Over MCP as over REST.

use super::latest;
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN};
use aegis_tests::{base64, message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn what_would_be_decided_is_told_without_doing_it() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let key = text(&deployment.key(&alice, "own-key", "Ed25519").await, "id");
    let once = json!({ "limits": { "max_uses": 1 } });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", once).await;
    let client = Client::new(&deployment, &token, MODERN);
    let check = async || client.done("check_access", json!({ "key": "own-key", "action": "sign" })).await;
    for _ in 0..3 {
        let told = check().await;
        assert_eq!((&told["decision"], &told["key"]), (&json!("allow"), &json!("own-key")), "{told}");
        assert!(told["risk"]["score"].is_number());
    }
    assert_eq!(latest(&deployment, &alice, "op=key.sign").await, Value::Null, "nothing was signed");
    let told = latest(&deployment, &alice, "op=access.check").await;
    assert_eq!((&told["key"], &told["object"], &told["outcome"]), (&json!(key), &json!("sign"), &json!("ok")));

    deployment.hold_for_step_up(&agent).await;
    let told = check().await;
    assert_eq!((&told["decision"], &told["reason"]), (&json!("step_up"), &json!("step_up")));
    let asked = deployment.get(&alice, "/v1/approvals").await.ok();
    assert_eq!(asked["items"], json!([]), "nobody was asked");
    deployment.post(&alice, "/v1/keys/own-key/deactivate", json!({})).await.ok();
    let told = check().await;
    assert_eq!((&told["decision"], told.get("reason")), (&json!("deny"), None), "{told}");
    assert!(text(&told, "because").contains("deactivated"), "{told}");
    deployment.key(&alice, "another", "Ed25519").await;
}

#[tokio::test]
async fn a_limit_that_is_spent_is_foreseen() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "limits": { "max_uses": 1 } })).await;
    let check = async || deployment.post(&token, CHECK, json!({ "action": "sign" })).await.ok();
    assert_eq!(check().await["decision"], "allow");
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"its only one")).await.ok();
    let told = check().await;
    assert_eq!((&told["decision"], &told["reason"]), (&json!("deny"), &json!("uses_exhausted")));
}

/// Asking is not trying: it stops nobody at once. It tells nothing, and it is seen.
#[tokio::test]
async fn asking_about_keys_beyond_the_scope_tells_nothing_and_is_on_record_as_refused_uses() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "foreign-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let trap = json!({ "name": "trap-key", "algorithm": "Ed25519", "activate": true, "canary": true });
    deployment.post(&alice, "/v1/keys", trap).await.ok();
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let client = Client::new(&deployment, &token, MODERN);
    let mut answers = Vec::new();
    for (key, reason) in
        [("foreign-key", "scope_violation"), ("no-such-key", "scope_probe"), ("trap-key", "scope_violation")]
    {
        let mut told = client.done("check_access", json!({ "key": key, "action": "sign" })).await;
        let record = latest(&deployment, &alice, "op=key.sign&outcome=denied").await;
        assert_eq!((&record["reason"], &record["checked"]), (&json!(reason), &json!(true)), "{key}: {record}");
        assert_eq!((&record["key_requested"], &record["decision"]), (&json!(key), &json!("deny")));
        assert!(record["responses"].is_null(), "{record}");
        assert_eq!(told["key"], key);
        told["key"] = Value::Null;
        answers.push(told);
        deployment.pass(1);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0]["reason"], "scope_violation");
    client.done("sign", json!({ "key": "own-key", "message": base64(b"x") })).await;
    // A canary in scope looks like any key that is.
    let (_, token) = deployment.agent(&alice, "key:own-key,trap-key:sign", json!({})).await;
    let client = Client::new(&deployment, &token, MODERN);
    let told = client.done("check_access", json!({ "key": "trap-key", "action": "sign" })).await;
    assert_eq!(told["decision"], "allow");
}

#[tokio::test]
async fn who_asks_about_key_after_key_is_found_as_who_tries_them() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for n in 0..8 {
        deployment.key(&alice, &format!("key-{n}"), "Ed25519").await;
    }
    let (agent, _) = deployment.agent(&alice, "key:key-0:sign", json!({ "purpose": "service" })).await;
    // For long enough that statistics are believed.
    for _ in 0..14 {
        let alice = deployment.alice().await;
        let path = format!("/v1/agents/{agent}/credentials");
        let token = text(&deployment.post(&alice, &path, json!({ "ttl": 86_400 })).await.ok(), "token");
        for _ in 0..16 {
            deployment.post(&token, "/v1/keys/key-0/sign", message(b"work")).await.ok();
            deployment.pass(1_800);
        }
        deployment.detect().await;
        deployment.pass(86_400 - 16 * 1_800);
    }
    let token = deployment.token(&deployment.alice().await, &agent).await;
    deployment.detect().await;
    let alice = deployment.alice().await;
    let found = async || deployment.get(&alice, "/v1/recommendations").await.ok()["items"].as_array().unwrap().clone();
    assert_eq!(found().await, Vec::<Value>::new());
    let client = Client::new(&deployment, &token, MODERN);
    for n in 1..8 {
        client.call("check_access", json!({ "key": format!("key-{n}"), "action": "sign" })).await;
        deployment.pass(2);
    }
    deployment.detect().await;
    let found = found().await;
    assert!(!found.is_empty() && found.iter().all(|found| found["agent"] == agent.as_str()), "{found:?}");
}

/// It needs no history of the agent: what is out of its scope is known. Who is not sure of one or two is left alone, and nobody is
/// stopped for questions.
#[tokio::test]
async fn a_new_agent_that_asks_about_key_after_key_is_found_as_well() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for n in 0..8 {
        deployment.key(&alice, &format!("key-{n}"), "Ed25519").await;
    }
    let (agent, token) = deployment.agent(&alice, "key:key-0:sign", json!({ "purpose": "service" })).await;
    deployment.detect().await;
    let client = Client::new(&deployment, &token, MODERN);
    let found = async || deployment.get(&alice, "/v1/recommendations").await.ok()["items"].as_array().unwrap().clone();
    for key in ["key-1", "key-2", "key-2"] {
        client.call("check_access", json!({ "key": key, "action": "sign" })).await;
        deployment.pass(2);
    }
    deployment.detect().await;
    assert_eq!(found().await, Vec::<Value>::new());
    for n in 3..8 {
        client.call("check_access", json!({ "key": format!("key-{n}"), "action": "sign" })).await;
        deployment.pass(2);
    }
    deployment.detect().await;
    let found = found().await;
    assert!(!found.is_empty() && found.iter().all(|found| found["agent"] == agent.as_str()), "{found:?}");
    assert!(found.iter().all(|found| found["detector"] == "key_set" && found["severity"] != "critical"), "{found:?}");
    // A human is asked before it goes on; it is not frozen.
    let next = deployment.post(&token, "/v1/keys/key-0/sign", message(b"work")).await;
    assert_eq!(next.refused(403), "step_up");
    assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "active");
}

#[tokio::test]
async fn an_agent_sees_what_it_may_do_now() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key", "foreign-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let limits = json!({ "limits": { "per_day": 10 }, "delegate": true });
    let (above, parent) = deployment.agent(&alice, "key:own-key,other-key:sign,verify", limits).await;
    let (agent, token) = deployment.agent(&parent, "key:own-key:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let client = Client::new(&deployment, &token, MODERN);
    let told = client.done("my_scope", json!({})).await;
    assert_eq!((&told["agent"], &told["actions"]), (&json!(agent), &json!(["sign"])));
    let keys = told["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["aliases"], &keys[0]["actions"]), (1, &json!(["own-key"]), &json!(["sign"])));
    assert_eq!(told["operations"], json!(["key.list"]), "{told}");
    let of_parent = told["limits"].as_array().unwrap().iter().find(|limit| limit["agent"] == above.as_str()).unwrap();
    assert_eq!((&of_parent["limits"]["per_day"], &of_parent["used"]["per_day"]), (&json!(10), &json!(1)));
    assert!(told.get("approval_until").is_none());
    let needs = told["needs_approval"].as_array().unwrap();
    assert_eq!((needs.len(), &needs[0]["uses"]), (1, &json!("risky")));
    assert_eq!(keys[0]["approvers"], 1);
    // What binds the parent binds the child: a hold, and a grant that is narrowed.
    deployment.hold_for_step_up(&above).await;
    let narrower = json!({ "scope": "key:other-key:sign" });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{above}"), Some(narrower)).await.ok();
    let told = client.done("my_scope", json!({})).await;
    assert_eq!(told["keys"], json!([]));
    assert!(told["approval_until"].is_string(), "{told}");
    let each = &told["needs_approval"][0];
    assert_eq!((&each["uses"], &each["until"]), (&json!("each"), &told["approval_until"]));
    assert!(text(each, "recommendation").starts_with("rcm_") && !text(each, "because").is_empty(), "{each}");
    let without = client.done("my_scope", json!({ "without_keys": true })).await;
    assert_eq!(without["keys"], json!([]));
}

#[tokio::test]
async fn an_agent_sees_its_own_past_as_it_was_told_and_no_more() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "foreign-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let delegate = json!({ "delegate": true });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", delegate).await;
    let (_, child) = deployment.agent(&token, "key:own-key:sign", json!({})).await;
    deployment.post(&child, "/v1/keys/own-key/sign", message(b"the child's")).await.ok();
    let client = Client::new(&deployment, &token, MODERN);
    client.done("sign", json!({ "key": "own-key", "message": base64(b"x") })).await;
    deployment.pass(1);
    for key in ["foreign-key", "no-such-key"] {
        client.done("check_access", json!({ "key": key, "action": "sign" })).await;
        deployment.pass(1);
    }
    let page = client.done("my_activity", json!({ "op": "key.sign" })).await;
    let mut items = page["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 3, "its own, and not its child's: {page}");
    assert!(items[2]["key"].is_string());
    for (item, key) in items.iter_mut().zip(["no-such-key", "foreign-key"]) {
        assert_eq!((&item["reason"], &item["key_requested"]), (&json!("scope_violation"), &json!(key)));
        for own in ["id", "at", "request_id", "key_requested"] {
            item[own] = Value::Null;
        }
    }
    assert_eq!(items[0], items[1], "which of them exists is not told");
    // Others find nothing there.
    let stranger = deployment.agent(&alice, "key:own-key:verify", json!({})).await.1;
    let own = deployment.get(&stranger, "/v1/activity?op=key.sign").await.ok();
    assert_eq!(own["items"], json!([]));
    assert_eq!(deployment.get(&alice, "/v1/activity").await.refused(403), "policy");
    assert_eq!(deployment.get(&alice, "/v1/scope").await.refused(403), "policy");
    assert!(!agent.is_empty());
}

const CHECK: &str = "/v1/keys/own-key/check-access";
