//! Agents whose frameworks do not speak MCP: the same tools in function-call shape, and what is answered to each call.

use aegis_tests::deployment::{APPROVAL_PAGE, Deployment};
use aegis_tests::mcp::{Client, MODERN};
use aegis_tests::{Answer, base64, text};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

const CALLS: &str = "/v1/agent-ai/calls";
const EVALUATE: &str = "/v1/agent-ai/risk/evaluate";
const TOOLS: &str = "/v1/agent-ai/tools";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A deployment with two keys, one of which is in the scope of an agent.
async fn laid_out() -> (Deployment, String, String, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "foreign-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign,verify", json!({})).await;
    (deployment, alice, agent, token)
}

fn sign(key: &str) -> Value {
    json!({ "name": "sign", "arguments": { "key": key, "message": base64(b"x") } })
}

/// The newest records, newest first.
async fn records(deployment: &Deployment, alice: &str, query: &str) -> Vec<Value> {
    deployment.get(alice, &format!("/v1/audit?{query}")).await.ok()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn each_format_has_the_tools_that_mcp_lists_in_the_shape_its_framework_takes() {
    let (deployment, alice, agent, token) = laid_out().await;
    let listed = Client::new(&deployment, &token, MODERN).result("tools/list", json!({})).await;
    let listed = listed["tools"].as_array().unwrap();
    assert!(listed.iter().any(|tool| tool["name"] == "sign") && listed.iter().all(|tool| tool["name"] != "encrypt"));
    let want = |of: fn(&Value) -> Value| Value::Array(listed.iter().map(of).collect());
    let whole = want(|tool| {
        json!({
            "name": tool["name"], "title": tool["title"], "description": tool["description"],
            "input_schema": tool["inputSchema"], "output_schema": tool["outputSchema"],
            "annotations": tool["annotations"],
        })
    });
    let openai = want(|tool| {
        let function = json!({
            "name": tool["name"], "description": tool["description"], "parameters": tool["inputSchema"],
        });
        json!({ "type": "function", "function": function })
    });
    let anthropic = want(
        |tool| json!({ "name": tool["name"], "description": tool["description"], "input_schema": tool["inputSchema"] }),
    );
    deployment.pass(1);
    for (query, want) in
        [("", &whole), ("?format=json-schema", &whole), ("?format=openai", &openai), ("?format=anthropic", &anthropic)]
    {
        assert_eq!(&deployment.get(&token, &format!("{TOOLS}{query}")).await.ok(), want, "{query}");
    }
    let told = &records(&deployment, &alice, "op=agent.scope&limit=1").await[0];
    assert_eq!((&told["plane"], &told["agents"][0]), (&json!("agent-ai"), &json!(agent)));
    for query in ["?format=gemini", "?format=", "?without_keys=true"] {
        assert_eq!(deployment.get(&token, &format!("{TOOLS}{query}")).await.failed(400), "invalid-request", "{query}");
    }
}

#[tokio::test]
async fn a_call_is_done_in_whatever_shape_a_model_wrote_it_and_its_claims_are_on_record() {
    let (deployment, alice, agent, token) = laid_out().await;
    let arguments = sign("own-key")["arguments"].clone();
    let said = arguments.to_string();
    let shapes = [
        json!({ "id": "c\n7", "name": "sign", "arguments": arguments }),
        json!({ "id": "c\n7", "type": "function", "function": { "name": "sign", "arguments": said } }),
        json!({ "call_id": "c\n7", "id": "fc_1", "type": "function_call", "name": "sign", "arguments": said }),
        json!({ "id": "c\n7", "type": "tool_use", "name": "sign", "input": arguments }),
    ];
    let claims = json!({ "model": "some-model", "session": "s-1", "client": "x".repeat(200), "client_version": "7.1" });
    for call in shapes {
        for batch in [false, true] {
            let mut body = if batch { json!({ "calls": [call] }) } else { call.clone() };
            body["claims"] = claims.clone();
            let request = http::Request::post(CALLS).header(AUTHORIZATION, format!("Bearer {token}"));
            let request = request.header(CONTENT_TYPE, "application/json").header("traceparent", TRACE);
            let answer = deployment.send(request.body(Bytes::from(body.to_string())).unwrap()).await.ok();
            let result = &answer["results"][0];
            assert_eq!((&result["id"], &result["decision"]), (&json!("c\n7"), &json!("allow")), "{answer}");
            let verify = json!({
                "name": "verify",
                "arguments": { "key": "own-key", "message": base64(b"x"), "signature": result["result"]["signature"] },
            });
            let verified = deployment.post(&token, CALLS, verify).await.ok();
            assert_eq!(verified["results"][0]["result"]["valid"], true, "{verified}");
            let told = &records(&deployment, &alice, "op=key.sign&limit=1").await[0];
            assert_eq!((&told["plane"], &told["agents"][0]), (&json!("agent-ai"), &json!(agent)));
            let kept = json!({
                "client": "x".repeat(128), "client_version": "7.1", "model": "some-model", "session": "s-1",
                "tool_call": "c7", "traceparent": TRACE,
            });
            assert_eq!(told["claims"], kept);
            deployment.pass(1);
        }
    }
    // What a tool without arguments gets from a model.
    let nothing = json!({ "id": "1", "type": "function", "function": { "name": "my_scope", "arguments": "" } });
    let told = deployment.post(&token, CALLS, nothing).await.ok();
    assert_eq!(told["results"][0]["result"]["agent"], agent.as_str());
}

#[tokio::test]
async fn a_batch_ends_where_a_call_leaves_the_scope() {
    let (deployment, alice, agent, token) = laid_out().await;
    let calls =
        json!([sign("own-key"), { "name": "no_such_tool" }, sign("foreign-key"), sign("own-key"), sign("own-key")]);
    let answer = deployment.post(&token, CALLS, json!({ "calls": calls })).await.ok();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    assert!(results[0]["result"]["signature"].is_string());
    // A call that is wrong is no reason not to try the next.
    assert_eq!((results[1].get("decision"), &results[1]["refusal"]["status"]), (None, &json!(400)), "{answer}");
    let refusal = &results[2]["refusal"];
    assert_eq!((&results[2]["decision"], &refusal["reason"]), (&json!("deny"), &json!("scope_violation")));
    assert!(text(refusal, "say").starts_with("Refused:") && text(refusal, "record").starts_with("rec_"), "{refusal}");
    for rest in &results[3..] {
        assert!(text(rest, "not_tried").starts_with("Not tried:"), "{rest}");
        assert_eq!((rest.get("result"), rest.get("refusal"), rest.get("decision")), (None, None, None));
    }
    let told = records(&deployment, &alice, &format!("agent={agent}&op=key.sign")).await;
    let mut outcomes: Vec<String> = told.iter().map(|record| text(record, "outcome")).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["denied", "ok"], "the rest is on no record, for nobody tried it");
    assert_eq!(deployment.post(&token, CALLS, sign("own-key")).await.refused(401), "agent_revoked");
    assert_eq!(deployment.get(&token, TOOLS).await.refused(401), "agent_revoked");
}

#[tokio::test]
async fn what_needs_a_human_says_so_and_is_done_once_she_has_approved_it() {
    let (deployment, _, agent, token) = laid_out().await;
    let deployment = deployment.with_approval_page();
    deployment.hold_for_step_up(&agent).await;
    let calls = json!({ "calls": [sign("own-key"), { "name": "my_scope" }] });
    let answer = deployment.post(&token, CALLS, calls).await.ok();
    let (result, refusal) = (&answer["results"][0], &answer["results"][0]["refusal"]);
    assert_eq!((&result["decision"], &refusal["reason"]), (&json!("step_up"), &json!("step_up")), "{answer}");
    let (approval, code, say) = (text(refusal, "approval"), text(refusal, "approval_code"), text(refusal, "say"));
    assert!(say.contains(&approval) && say.contains(&code), "{say}");
    assert!(refusal["expires_at"].is_string() && refusal["risk"]["score"].is_number(), "{refusal}");
    assert_eq!(answer["results"][1]["decision"], "allow", "what needs no human does not wait for one");
    let waits = &result["obligations"][0];
    assert_eq!((&waits["type"], &waits["properties"]["by"]), (&json!("step-up"), &json!("human_approval")), "{result}");
    let page = format!("{APPROVAL_PAGE}{approval}");
    for told in [&waits["properties"], refusal] {
        assert_eq!(
            ["approval", "approval_url", "expires_at"].map(|name| &told[name]),
            [&json!(approval), &json!(page), &refusal["expires_at"]]
        );
    }
    assert_eq!(answer["results"][1].get("obligations"), None);
    let foretold = deployment.post(&token, EVALUATE, json!({ "key": "own-key", "action": "sign" })).await.ok();
    assert_eq!(foretold["obligations"][0]["type"], "step-up", "{foretold}");
    assert_eq!(foretold["obligations"][0]["properties"].get("approval"), None, "nothing was opened by asking");
    let login = deployment.log_in_to_approve("alice@org", &["admin", "auditor", "operator", "user"]).await;
    deployment.post(&login, &format!("/v1/approvals/{approval}/approve"), json!({ "code": code })).await.ok();
    // By another shape, with the members in another order: the same request.
    let said = format!("{{\"message\": \"{}\", \"key\": \"own-key\"}}", base64(b"x"));
    let again = json!({ "type": "function", "function": { "name": "sign", "arguments": said } });
    let answer = deployment.post(&token, CALLS, again).await.ok();
    assert_eq!(answer["results"][0]["decision"], "allow", "{answer}");
}

#[tokio::test]
async fn who_is_no_agent_is_answered_by_http_and_nothing_is_tried() {
    let (deployment, alice, _, token) = laid_out().await;
    let cases =
        [("", 401, "missing_token"), ("nonsense", 401, "invalid_token"), (&alice, 403, "agent_credential_required")];
    let calls = json!({ "calls": [sign("own-key"), sign("own-key")] });
    for (token, status, reason) in cases {
        let malformed = deployment.post(token, CALLS, json!({ "calls": 1 })).await;
        let listed = deployment.get(token, TOOLS).await;
        let mut told = vec![deployment.post(token, CALLS, calls.clone()).await, malformed];
        // What an edge refuses, a gateway says, whose challenges are fixed.
        match deployment.is_split() {
            true => assert_eq!(listed.refused(status), reason),
            false => told.push(listed),
        }
        for answer in told {
            let challenge = answer.headers["www-authenticate"].to_str().unwrap().to_string();
            assert_eq!(answer.refused(status), reason);
            assert!(challenge.contains("resource_metadata=\"https://aegis.example.org/"), "{challenge}");
            assert_eq!(challenge.contains("insufficient_scope"), status == 403, "{challenge}");
        }
    }
    let told = records(&deployment, &alice, "op=key.sign").await;
    assert_eq!((told.len(), &told[0]["reason"]), (1, &json!("agent_credential_required")), "the first alone was tried");
    deployment.form(&alice, "/v1/oauth/revoke", &[("token", &token)]).await.ok();
    assert_eq!(deployment.post(&token, CALLS, calls).await.refused(401), "credential_revoked");
}

#[tokio::test]
async fn what_is_no_batch_is_refused_and_on_record() {
    let (deployment, alice, agent, token) = laid_out().await;
    let send = async |body: String, kind: &str, more: Option<(&str, &str)>| -> Answer {
        let mut request = http::Request::post(CALLS).header(AUTHORIZATION, format!("Bearer {token}"));
        for (name, value) in [("content-type", kind)].into_iter().chain(more) {
            request = request.header(name, value);
        }
        deployment.send(request.body(Bytes::from(body)).unwrap()).await
    };
    let call = sign("own-key");
    let with = |name: &str, value: Value| {
        let mut call = call.clone();
        call[name] = value;
        call.to_string()
    };
    let batch = |n: usize| json!({ "calls": vec![json!({ "name": "my_scope" }); n] }).to_string();
    let cases = [
        ("{".to_string(), "body"),
        ("[]".to_string(), "body"),
        ("{}".to_string(), "body"),
        (batch(0), "calls"),
        (batch(17), "calls"),
        (json!({ "calls": [call], "name": "sign" }).to_string(), "body"),
        (json!({ "calls": [{ "calls": [call] }] }).to_string(), "body"),
        (with("arguments", json!("{}")), "body"),
        (with("unknown", json!(1)), "body"),
        (with("type", json!("custom")), "body"),
        (with("claims", json!({ "human": "alice@org" })), "body"),
    ];
    for (body, field) in cases {
        let answer = send(body.clone(), "application/json", None).await;
        let title = text(&answer.body, "title");
        assert_eq!((answer.failed(400), title), ("invalid-request", format!("invalid `{field}`")), "{body}");
        let told = &records(&deployment, &alice, &format!("agent={agent}&limit=1")).await[0];
        assert_eq!((&told["operation"], &told["outcome"]), (&json!("whoami"), &json!("error")), "{body}: {told}");
        assert_eq!((&told["plane"], &told["agents"][0]), (&json!("agent-ai"), &json!(agent)));
        deployment.pass(1);
    }
    assert_eq!(send(call.to_string(), "text/plain", None).await.failed(400), "invalid-request");
    let keyed = send(call.to_string(), "application/json", Some(("idempotency-key", "k"))).await;
    assert_eq!(keyed.failed(400), "invalid-request");
    let full = send(batch(16), "application/json", None).await.ok();
    assert_eq!(full["results"].as_array().unwrap().len(), 16);
    assert!(records(&deployment, &alice, "op=key.sign").await.is_empty(), "nothing was signed");
}

#[tokio::test]
async fn a_call_whose_arguments_cannot_be_is_refused_by_itself() {
    let (deployment, alice, agent, token) = laid_out().await;
    let function = |name: &str, arguments: &str| json!({ "id": name, "type": "function", "function": { "name": name, "arguments": arguments } });
    // What a call asks of its route is refused by its route, and on record as its operation.
    let cases = [
        (function("sign", "{\"key\": \"own-key\""), "whoami"),
        (function("sign", "[]"), "whoami"),
        (function("no_such_tool", "{}"), "whoami"),
        (function("sign", "{\"key\": \"own-key\", \"message\": 7}"), "key.sign"),
        (function("sign", "{\"key\": \"own-key\", \"message\": \"\", \"x\": 1}"), "key.sign"),
        (function("sign", "{\"message\": \"\"}"), "key.sign"),
        (function("get_key", "{\"key\": \"own-key\", \"x\": 1}"), "key.get"),
    ];
    for (call, operation) in cases {
        let answer = deployment.post(&token, CALLS, call.clone()).await.ok();
        let (result, refusal) = (&answer["results"][0], &answer["results"][0]["refusal"]);
        assert_eq!((&refusal["code"], result.get("decision")), (&json!("invalid-request"), None), "{call}: {answer}");
        assert!(text(refusal, "say").starts_with("Not done: invalid"), "{refusal}");
        let told = &records(&deployment, &alice, &format!("agent={agent}&limit=1")).await[0];
        assert_eq!((&told["operation"], &told["outcome"]), (&json!(operation), &json!("error")), "{call}: {told}");
        assert_eq!((&told["plane"], &told["agents"][0]), (&json!("agent-ai"), &json!(agent)));
        deployment.pass(1);
    }
    // Nor is it a reason to stop the agent.
    assert_eq!(deployment.post(&token, CALLS, sign("own-key")).await.ok()["results"][0]["decision"], "allow");
}

#[tokio::test]
async fn what_a_refusal_quotes_reaches_a_model_as_data() {
    let (deployment, _, _, token) = laid_out().await;
    let call = json!({ "name": "sign", "arguments": { "key": "own-key", "message": "", "\u{202e}x": 1 } });
    let told = deployment.post(&token, CALLS, call).await.ok();
    let refusal = &told["results"][0]["refusal"];
    for member in ["detail", "say"] {
        assert!(text(refusal, member).contains("\\u{202e}x"), "{refusal}");
    }
}

#[tokio::test]
async fn a_use_is_evaluated_as_access_to_it_is_checked() {
    let (deployment, alice, agent, token) = laid_out().await;
    let uses = [("own-key", "sign"), ("own-key", "decrypt"), ("foreign-key", "sign"), ("no-such-key", "sign")];
    for held in [false, true] {
        if held {
            deployment.hold_for_step_up(&agent).await;
        }
        for (key, action) in uses {
            let path = format!("/v1/keys/{key}/check-access");
            let mut ends = Vec::new();
            for by_rest in [true, false] {
                deployment.pass(1);
                let body = json!({ "key": key, "action": action, "claims": { "model": "some-model" } });
                let told = match by_rest {
                    true => deployment.post(&token, &path, json!({ "action": action })).await.ok(),
                    false => deployment.post(&token, EVALUATE, body).await.ok(),
                };
                let mut record = records(&deployment, &alice, &format!("agent={agent}&limit=1")).await[0].clone();
                assert_eq!(record["plane"], if by_rest { "rest" } else { "agent-ai" });
                assert_eq!(record["claims"].get("model").is_some(), !by_rest, "{record}");
                let own = ["id", "at", "request_id", "latency_us", "plane", "claims", "request_digest"];
                record.as_object_mut().unwrap().retain(|name, _| !own.contains(&name.as_str()));
                ends.push((told, record));
            }
            let obliged = ends[1].0.as_object_mut().unwrap().remove("obligations").is_some();
            assert_eq!(ends[0], ends[1], "{key} {action} {held}");
            let told = &ends[0].0;
            assert_eq!(obliged, told["decision"] == "step_up");
            assert_eq!(told["risk"]["score"].is_number(), key == "own-key" && action == "sign", "{told}");
        }
    }
    for body in [json!({}), json!({ "key": "own-key" }), json!({ "key": "No Key!", "action": "sign" })] {
        assert_eq!(deployment.post(&token, EVALUATE, body).await.failed(400), "invalid-request");
    }
    let asked = json!({ "key": "own-key", "action": "sign" });
    assert_eq!(deployment.post(&alice, EVALUATE, asked.clone()).await.refused(403), "agent_credential_required");
    assert_eq!(deployment.post("nonsense", EVALUATE, asked).await.refused(401), "invalid_token");
}

#[tokio::test]
async fn what_is_too_large_for_its_route_is_refused_and_the_next_is_tried() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-aes", "AES-256-GCM").await;
    let (_, token) = deployment.agent(&alice, "key:own-aes:encrypt", json!({})).await;
    let encrypt = |size: usize| json!({ "name": "encrypt", "arguments": { "key": "own-aes", "plaintext": base64(&vec![0; size]) } });
    let calls = json!({ "calls": [encrypt(65_537), encrypt(65_536)] });
    let results = deployment.post(&token, CALLS, calls).await.ok()["results"].clone();
    assert_eq!((&results[0]["refusal"]["code"], &results[1]["decision"]), (&json!("invalid-request"), &json!("allow")));
}
