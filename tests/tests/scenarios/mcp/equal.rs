//! Not a second way to decide: the same request by REST, by MCP and by Agent-AI has the same answer, and the same record but
//! for how it came.

use aegis_core::agent::HoldKind;
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, LEGACY, MODERN};
use aegis_tests::{Answer, base64, text};
use http::Method;
use serde_json::{Map, Value, json};

#[tokio::test]
async fn the_same_request_has_the_same_decision_and_record_on_every_plane() {
    let deployment = laid_out().await;
    let mut dice = Dice(7);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for n in 0..200 {
        // She is asked only so much in a day.
        deployment.pass(3_600);
        let alice = deployment.alice().await;
        let request = Asked::any(&mut dice);
        let (scope, more) = (dice.of(&SCOPES), dice.of(&MORE));
        let more: Value = serde_json::from_str(more).unwrap();
        let shape = dice.of(&SHAPES);
        let before = dice.of(&["", "", "", "freeze", "revoke", "hold", "deny", "revoke its credential"]);
        let mut ends = Vec::new();
        for (way, plane) in WAYS {
            // A fresh one for each: leaving its scope stops it.
            let (agent, token) = deployment.agent(&alice, scope, more.clone()).await;
            match before {
                "" => {}
                "hold" => deployment.hold_for_step_up(&agent).await,
                "deny" => deployment.hold(&agent, HoldKind::Deny).await,
                "revoke its credential" => {
                    let credential = text(&deployment.get(&token, "/v1/whoami").await.ok(), "credential");
                    deployment.post(&alice, &format!("/v1/credentials/{credential}/revoke"), json!({})).await.ok();
                    // Of two records of one second neither is known to be the newest.
                    deployment.pass(1);
                }
                how => drop(deployment.post(&alice, &format!("/v1/agents/{agent}/{how}"), json!({})).await.ok()),
            }
            // A name is taken once.
            let request = request.clone().naming(&format!("made-{n}-{}", ends.len()));
            let answer = match way {
                "rest" => request.by_rest(&deployment, &token).await,
                LEGACY | MODERN => request.by_mcp(&Client::new(&deployment, &token, way)).await,
                _ => request.by_agent_ai(&deployment, &token, shape).await,
            };
            let found = deployment.get(&alice, &format!("/v1/audit?agent={agent}&limit=1")).await.ok();
            let next = deployment.get(&token, "/v1/whoami").await.status;
            let mut record = record(&found["items"][0], &agent, plane);
            request.forget_what_it_made(record.as_object_mut().unwrap());
            // An edge sees no body, and digests none of what it refuses.
            if deployment.is_split() && record["decision"] == "deny" {
                record.as_object_mut().unwrap().remove("request_digest");
            }
            ends.push((request.told(answer, &agent), record, next));
        }
        for (end, (way, _)) in ends.iter().zip(WAYS) {
            assert_eq!(&ends[0], end, "{n} {way}: {request:?} {scope} {more} {before} {shape}");
        }
        let outcome = &ends[0].1;
        *seen.entry(format!("{} {}", outcome["outcome"], outcome["reason"])).or_default() += 1;
    }
    // All of these came up: what is compared is not always the same.
    for want in [
        "\"ok\" null",
        "\"error\" null",
        "right_not_granted",
        "scope_violation",
        "scope_probe",
        "canary_key",
        "step_up",
        "agent_frozen",
        "agent_revoked",
        "credential_revoked",
        "held",
    ] {
        assert!(seen.keys().any(|seen| seen.contains(want)), "{want}: {seen:?}");
    }
}

/// Each way to ask, and the plane that is on record for it.
const WAYS: [(&str, &str); 4] = [("rest", "rest"), (LEGACY, "mcp"), (MODERN, "mcp"), ("agent-ai", "agent-ai")];
/// In which a call is handed in.
const SHAPES: [&str; 4] = ["plain", "chat-completions", "responses", "messages"];
const SCOPES: [&str; 5] = [
    "key:own-key:sign,verify key:own-aes:encrypt,decrypt,generate-data-key",
    "key:own-key:sign",
    "key:own-key,trap-key,old-key:sign,verify key:own-aes:encrypt",
    "key:team=a:sign,encrypt,verify",
    "key:own-key,old-key:sign,rotate key:own-aes:encrypt,rotate",
];
const WISHES: [&str; 3] = ["key:foreign-key:sign", "key:no-such-key:sign", "no scope"];
const MORE: [&str; 6] = [
    "{}",
    r#"{"purpose":"service"}"#,
    r#"{"limits":{"max_uses":1}}"#,
    r#"{"delegate":true}"#,
    r#"{"create_keys":true}"#,
    r#"{"audit":true,"create_keys":true,"limits":{"max_uses":1}}"#,
];
const KEYS: [&str; 8] =
    ["own-key", "own-key", "own-aes", "foreign-key", "no-such-key", "trap-key", "old-key", "No Key!"];

async fn laid_out() -> Deployment {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for (name, algorithm) in
        [("own-key", "Ed25519"), ("foreign-key", "Ed25519"), ("own-aes", "AES-256-GCM"), ("old-key", "Ed25519")]
    {
        deployment.key(&alice, name, algorithm).await;
    }
    let trap = json!({ "name": "trap-key", "algorithm": "Ed25519", "activate": true, "canary": true });
    deployment.post(&alice, "/v1/keys", trap).await.ok();
    deployment.post(&alice, "/v1/keys/old-key/deactivate", json!({})).await.ok();
    let label = json!({ "labels": ["team=a"] });
    deployment.call(Method::PATCH, &alice, "/v1/keys/own-key", Some(label)).await.ok();
    deployment
}

/// One request, in both its forms.
#[derive(Clone, Debug)]
struct Asked {
    tool: &'static str,
    key: Option<&'static str>,
    method: Method,
    path: &'static str,
    /// Of the query for a GET, else of the body. Members in the order of their names.
    members: Value,
}

impl Asked {
    fn any(dice: &mut Dice) -> Self {
        let (key, n) = (dice.of(&KEYS), dice.next(14));
        let bytes = base64(b"x");
        let post = |tool, path, members| Self { tool, key: Some(key), method: Method::POST, path, members };
        let get = |tool, key, path, members| Self { tool, key, method: Method::GET, path, members };
        match n {
            0..=2 => post("sign", "/v1/keys/{key}/sign", json!({ "message": bytes })),
            3 => post("sign", "/v1/keys/{key}/sign", json!({ "message": bytes, "message_type": "raw" })),
            4 => post("sign", "/v1/keys/{key}/sign", json!({ "message": "no base64!" })),
            5 => post("sign", "/v1/keys/{key}/sign", json!({ "message": bytes, "unknown": 1 })),
            6 => post("verify", "/v1/keys/{key}/verify", json!({ "message": bytes, "signature": bytes })),
            7 => post("encrypt", "/v1/keys/{key}/encrypt", json!({ "context": { "a": "1" }, "plaintext": bytes })),
            8 => post("decrypt", "/v1/keys/{key}/decrypt", json!({ "ciphertext": bytes })),
            9 => post("generate_data_key", "/v1/keys/{key}/generate-data-key", json!({ "length": 16 })),
            10 => post("rotate_key", "/v1/keys/{key}/rotate", json!({})),
            11 => get("get_key", Some(key), "/v1/keys/{key}", json!({})),
            12 => match dice.next(5) {
                2 => get("my_scope", None, "/v1/scope", json!({})),
                3 => get("my_activity", None, "/v1/activity", json!({ "limit": 3 })),
                0 => get("get_public_key", Some(key), "/v1/keys/{key}/public-key", json!({})),
                1 => get("audit_query", None, "/v1/audit", json!({ "limit": 3 })),
                _ => get("list_keys", None, "/v1/keys", json!({ "limit": 300 })),
            },
            _ => match dice.next(3) {
                0 => {
                    let members = json!({ "algorithm": "Ed25519", "name": "made" });
                    Self { tool: "create_key", key: None, method: Method::POST, path: "/v1/keys", members }
                }
                1 => {
                    let members = json!({ "reason": "for a task", "scope": dice.of(&WISHES) });
                    Self {
                        tool: "request_access",
                        key: None,
                        method: Method::POST,
                        path: "/v1/access-requests",
                        members,
                    }
                }
                _ => post("check_access", "/v1/keys/{key}/check-access", json!({ "action": "sign" })),
            },
        }
    }

    fn empty(&self) -> bool {
        self.members.as_object().is_none_or(Map::is_empty)
    }

    async fn by_rest(&self, deployment: &Deployment, token: &str) -> Answer {
        let path = self.path.replace("{key}", &self.key.unwrap_or_default().replace(' ', "%20"));
        match self.method == Method::GET {
            true => {
                deployment.get(token, &format!("{path}?{}", serde_urlencoded::to_string(&self.members).unwrap())).await
            }
            false => deployment.call(Method::POST, token, &path, (!self.empty()).then(|| self.members.clone())).await,
        }
    }

    async fn by_mcp(&self, client: &Client<'_>) -> Answer {
        let mut arguments = self.members.clone();
        if let Some(key) = self.key {
            arguments["key"] = json!(key);
        }
        let answer = client.ask("tools/call", json!({ "name": self.tool, "arguments": arguments })).await;
        let Some(result) = answer.body.get("result") else { return answer };
        let body = result["structuredContent"].clone();
        let ok = if self.tool == "create_key" { 201 } else { 200 };
        let status =
            body["status"].as_u64().filter(|_| result["isError"] == true).map_or(ok, |s| u16::try_from(s).unwrap());
        Answer { status, body, headers: answer.headers }
    }

    async fn by_agent_ai(&self, deployment: &Deployment, token: &str, shape: &str) -> Answer {
        let mut arguments = self.members.clone();
        if let Some(key) = self.key {
            arguments["key"] = json!(key);
        }
        let answer = deployment.post(token, "/v1/agent-ai/calls", shaped(shape, self.tool, &arguments)).await;
        let Some(result) = answer.body["results"].get(0) else { return answer };
        assert_eq!((&result["id"], &result["name"]), (&json!("1"), &json!(self.tool)), "{result}");
        let ok = if self.tool == "create_key" { 201 } else { 200 };
        let (done, refusal) = (result.get("result"), result.get("refusal"));
        assert_ne!(done.is_some(), refusal.is_some(), "one of them: {result}");
        let body = done.or(refusal).unwrap();
        let status = refusal.map_or(ok, |refusal| u16::try_from(refusal["status"].as_u64().unwrap()).unwrap());
        let allow = json!("allow");
        assert_eq!(result.get("decision"), if status == ok { Some(&allow) } else { body.get("decision") });
        Answer { status, body: body.clone(), headers: answer.headers }
    }
}

/// A call as whoever hands it in has it from its model.
fn shaped(shape: &str, tool: &str, arguments: &Value) -> Value {
    let text = arguments.to_string();
    match shape {
        "plain" => json!({ "id": "1", "name": tool, "arguments": arguments }),
        "chat-completions" => {
            json!({ "id": "1", "type": "function", "function": { "name": tool, "arguments": text }, "index": 0 })
        }
        "responses" => json!({ "call_id": "1", "type": "function_call", "name": tool, "arguments": text, "id": "f" }),
        _ => json!({ "id": "1", "type": "tool_use", "name": tool, "input": arguments }),
    }
}

impl Asked {
    fn naming(mut self, name: &str) -> Self {
        if self.tool == "create_key" {
            self.members["name"] = json!(name);
        }
        self
    }

    /// What is another thing each time it is made.
    fn forget_what_it_made(&self, told: &mut Map<String, Value>) {
        let made: &[&str] = match self.tool {
            "audit_query" => &["items", "next_cursor"],
            "create_key" => &["aliases", "id", "key", "object", "request_digest"],
            "rotate_key" => &["key_version", "version"],
            _ => &[],
        };
        told.retain(|name, _| !made.contains(&name.as_str()));
    }

    /// An answer without what differs between any two requests.
    fn told(&self, answer: Answer, agent: &str) -> (u16, String) {
        let mut body = answer.body;
        if let Some(members) = body.as_object_mut() {
            self.forget_what_it_made(members);
        }
        told(body, answer.status, agent)
    }
}

fn told(mut body: Value, status: u16, agent: &str) -> (u16, String) {
    let own = [
        "request_id",
        "record",
        "evaluation_id",
        "recommendation",
        "approval",
        "approval_code",
        "decision",
        "say",
        "retry_after",
        "ciphertext",
        "plaintext",
        "wrapped_key",
    ];
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, value| !own.contains(&name.as_str()) && !is_of_a_request(value));
    }
    for needed in body.get_mut("needs_approval").and_then(Value::as_array_mut).into_iter().flatten() {
        needed.as_object_mut().unwrap().remove("recommendation");
    }
    (status, body.to_string().replace(agent, "the agent"))
}

/// Whether it is the id of a request for access.
fn is_of_a_request(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("acr_"))
}

/// A record without what differs between any two requests, and without how it came.
fn record(found: &Value, agent: &str, plane: &str) -> Value {
    assert_eq!(found["plane"], plane, "{found}");
    let mut found = found.clone();
    let own = ["id", "at", "request_id", "latency_us", "credential", "plane", "claims", "approval"];
    found.as_object_mut().unwrap().retain(|name, value| !own.contains(&name.as_str()) && !is_of_a_request(value));
    if let Some(recommendation) = found.get_mut("recommendation").and_then(Value::as_object_mut) {
        recommendation.retain(|name, _| ["detector", "severity", "suggested_actions"].contains(&name.as_str()));
    }
    for response in found["responses"].as_array_mut().into_iter().flatten() {
        *response = json!({ "action": text(response, "action") });
    }
    serde_json::from_str(&found.to_string().replace(agent, "the agent")).unwrap()
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.next(u64::try_from(all.len()).unwrap())).unwrap()]
    }
}
