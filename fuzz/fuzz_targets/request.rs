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
use serde_json::Value;
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
    let response = deployment.answer(request);
    let (status, body) = (response.status(), String::from_utf8_lossy(response.body()));
    assert!(!status.is_server_error(), "{status} {body}");
    if status.is_success() {
        may(deployment, &method, &path, &headers);
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
    if token == deployment.word("$alice") {
        return;
    }
    assert_eq!(token, deployment.word("$bot"), "a success with a token that nobody has");
    let decoded: Vec<_> =
        path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let own_key = |key: &str| key == "own-key" || key == deployment.word("$ownkey");
    let own_aes = |key: &str| key == "own-aes" || key == deployment.word("$ownaes");
    let fits = match (method.as_str(), parts.as_slice()) {
        ("GET", ["", "v1", "whoami" | "keys"]) => true,
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
