//! A request, from its head to its answer, against the whole pipeline: no panic, no 5xx, and nothing for who may not.
//!
//! An input reads like HTTP: `METHOD target`, header lines, an empty line, the body. Words as `$alice` (a human who may
//! do everything a human may), `$bot` (an agent's token), `$agent`, `$ownkey`, `$record` stand for what they name.
#![no_main]

use aegis_functions::routes::{self, PUBLIC};
use aegis_fuzz::deployment::Deployment;
use aegis_fuzz::seed;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::sync::LazyLock;

static DEPLOYMENT: LazyLock<Deployment> = LazyLock::new(|| {
    for (n, route) in routes::table().iter().enumerate() {
        let path = [("{key}", "own-key"), ("{agent}", "$agent"), ("{credential}", "$credential")]
            .into_iter()
            .chain([("{record}", "$record"), ("{human}", "alice%40org"), ("{alias}", "new-name")])
            .fold(route.path.to_string(), |path, (name, value)| path.replace(name, value));
        for who in ["alice", "bot"] {
            let head = format!("{} {path}\nauthorization: Bearer ${who}\n", route.method);
            seed(&format!("route-{n:02}-{who}"), format!("{head}content-type: application/json\n\n{{}}").as_bytes());
        }
    }
    let calls = [
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "sign", "arguments": { "key": "own-key", "message": "aGVsbG8=" } })),
        ("tools/call", json!({ "name": "check_access", "arguments": { "key": "other-key", "action": "sign" } })),
        ("tools/call", json!({ "name": "my_activity", "arguments": { "limit": 3 } })),
        ("prompts/get", json!({ "name": "explain_denial", "arguments": { "reason": "held" } })),
    ];
    for (n, (method, params)) in calls.into_iter().enumerate() {
        for who in ["alice", "bot"] {
            let head = format!("POST /mcp\nauthorization: Bearer ${who}\nhost: localhost\n");
            let head = head + "content-type: application/json\naccept: application/json, text/event-stream\n";
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            let legacy = format!("{head}mcp-protocol-version: 2025-11-25\n\n{message}");
            seed(&format!("mcp-{n:02}-{who}-legacy"), legacy.as_bytes());
            let mut modern = message;
            modern["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            let name = params["name"].as_str().map(|name| format!("mcp-name: {name}\n")).unwrap_or_default();
            let head = format!("{head}mcp-protocol-version: 2026-07-28\nmcp-method: {method}\n{name}");
            seed(&format!("mcp-{n:02}-{who}-modern"), format!("{head}\n{modern}").as_bytes());
        }
    }
    let (sign, own) =
        (json!({ "key": "own-key", "message": "aGVsbG8=" }), json!({ "key": "other-key", "action": "sign" }));
    let said = sign.to_string();
    let bodies = [
        json!({ "id": "1", "name": "sign", "arguments": sign, "claims": { "model": "some-model" } }),
        json!({ "id": "1", "type": "function", "function": { "name": "sign", "arguments": said } }),
        json!({ "call_id": "1", "type": "function_call", "name": "sign", "arguments": said }),
        json!({ "calls": [{ "id": "1", "type": "tool_use", "name": "check_access", "input": own }, { "name": "my_scope" }] }),
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        for who in ["alice", "bot"] {
            let head =
                format!("POST /v1/agent-ai/calls\nauthorization: Bearer ${who}\ncontent-type: application/json\n");
            seed(&format!("calls-{n:02}-{who}"), format!("{head}\n{body}").as_bytes());
        }
    }
    Deployment::new()
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let deployment = &*DEPLOYMENT;
    let Some(request) = read(deployment, input) else { return Corpus::Reject };
    // RSA keys take seconds to make.
    if request.body().windows(3).any(|word| word == b"RSA") {
        return Corpus::Reject;
    }
    deployment.reset(Vec::new());
    let (method, path, headers) =
        (request.method().clone(), request.uri().path().to_string(), request.headers().clone());
    let message = request.body().clone();
    let response = deployment.answer(request);
    let (status, body) = (response.status(), String::from_utf8_lossy(response.body()));
    assert!(!status.is_server_error(), "{status} {body}");
    if status.is_success() {
        may(deployment, &method, &path, &headers);
        if path == "/mcp" {
            may_call(deployment, &message, response.body());
        }
        if path == "/v1/agent-ai/calls" {
            may_have_called(deployment, &message, response.body());
        }
        return Corpus::Keep;
    }
    // What the transport refuses, it refuses in words of its own.
    if path == "/mcp" && response.headers().get("content-type").is_none_or(|kind| kind != "application/problem+json") {
        return Corpus::Keep;
    }
    let problem: Value = serde_json::from_slice(response.body()).expect("a problem is JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{problem}");
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind == "application/problem+json" || path == "/v1/oauth/token" && kind == "application/json", "{kind}");
    Corpus::Keep
});

/// That whoever asked may have what she got.
fn may(deployment: &Deployment, method: &Method, path: &str, headers: &HeaderMap) {
    if PUBLIC.contains(&path) {
        return;
    }
    let mut given = headers.get_all("authorization").iter();
    let credential = given.next().expect("a success without a credential");
    assert!(given.next().is_none(), "a success with two credentials");
    let token = credential.to_str().unwrap().split_once(' ').unwrap().1.trim();
    if token == deployment.word("$alice") && path != "/mcp" && !path.starts_with("/v1/agent-ai/") {
        return;
    }
    assert_eq!(token, deployment.word("$bot"), "a success with a token that nobody has");
    let decoded: Vec<_> =
        path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let own_key = |key: &str| key == "own-key" || key == deployment.word("$ownkey");
    let own_aes = |key: &str| key == "own-aes" || key == deployment.word("$ownaes");
    let fits = match (method.as_str(), parts.as_slice()) {
        ("GET", ["", "v1", "whoami" | "keys" | "scope" | "activity"]) | ("POST", ["", "mcp"]) => true,
        ("POST", ["", "v1", "keys", _, "check-access"]) => true,
        ("GET", ["", "v1", "agent-ai", "tools"]) => true,
        ("POST", ["", "v1", "agent-ai", "calls"] | ["", "v1", "agent-ai", "risk", "evaluate"]) => true,
        ("POST", ["", "v1", "oauth", "introspect" | "revoke"]) => true,
        ("GET", ["", "v1", "keys", key] | ["", "v1", "keys", key, "public-key"]) => own_key(key) || own_aes(key),
        ("POST", ["", "v1", "keys", key, "sign" | "verify"]) => own_key(key),
        ("POST", ["", "v1", "keys", key, "encrypt" | "decrypt" | "wrap" | "unwrap"]) => own_aes(key),
        ("POST", ["", "v1", "keys", key, "re-encrypt" | "generate-data-key"]) => own_aes(key),
        ("POST", ["", "v1", "credentials", credential, "revoke"]) => *credential == deployment.word("$credential"),
        ("GET", ["", "v1", "agents", agent] | ["", "v1", "agents", agent, "scope"]) => {
            *agent == deployment.word("$agent")
        }
        _ => false,
    };
    assert!(fits, "an agent may not {method} {path}");
}

/// That an agent's tool call did what the agent may have done.
fn may_call(deployment: &Deployment, message: &[u8], answer: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else { return };
    let result = &answer["result"];
    if !result["structuredContent"].is_object() || result["isError"] == true {
        return;
    }
    let message: Value = serde_json::from_slice(message).expect("a message that was answered is JSON");
    may_use(deployment, &message["params"]["name"], &message["params"]["arguments"]["key"]);
}

/// The same of each call of a batch.
fn may_have_called(deployment: &Deployment, message: &[u8], answer: &[u8]) {
    let message: Value = serde_json::from_slice(message).expect("calls that were answered are JSON");
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    let one = [message.clone()];
    let batch = message["calls"].as_array().filter(|_| message["type"].is_null());
    let calls = batch.map_or(one.as_slice(), Vec::as_slice);
    let results = answer["results"].as_array().expect("an answer has results");
    assert_eq!(calls.len(), results.len(), "a result for each call");
    for (call, result) in calls.iter().zip(results).filter(|(_, result)| result["result"].is_object()) {
        let said = |text: &Value| text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let arguments: Value = match call["type"].as_str() {
            Some("function") => said(&call["function"]["arguments"]),
            Some("function_call") => said(&call["arguments"]),
            Some(_) => call["input"].clone(),
            None => call["arguments"].clone(),
        };
        may_use(deployment, &result["name"], &arguments["key"]);
    }
}

fn may_use(deployment: &Deployment, tool: &Value, key: &Value) {
    let among = |names: [&str; 2]| key.as_str().is_some_and(|key| names.contains(&key));
    let own_key = || among(["own-key", deployment.word("$ownkey")]);
    let own_aes = || among(["own-aes", deployment.word("$ownaes")]);
    let fits = match tool.as_str().unwrap_or_default() {
        "list_keys" | "check_access" | "my_scope" | "my_activity" => true,
        "get_key" | "get_public_key" => own_key() || own_aes(),
        "sign" | "verify" => own_key(),
        "encrypt" | "decrypt" | "generate_data_key" => own_aes(),
        _ => false,
    };
    assert!(fits, "an agent may not call {tool} on {key}");
}

fn read(deployment: &Deployment, input: &[u8]) -> Option<Request<Bytes>> {
    let at = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match at {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, [].as_slice()),
    };
    let head = words(deployment, head);
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::builder().method(&first[..space]).uri(&first[space + 1..]);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Bytes::from(words(deployment, body))).ok()
}

/// With each word replaced by what it stands for.
fn words(deployment: &Deployment, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        match deployment.words.iter().find(|(word, _)| from.starts_with(word.as_bytes())) {
            Some((word, meaning)) => {
                out.extend_from_slice(meaning.as_bytes());
                rest = &from[word.len()..];
            }
            None => {
                out.push(b'$');
                rest = &from[1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}
