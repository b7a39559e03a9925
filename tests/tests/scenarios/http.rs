//! What HTTP leaves to the server: bodies, methods, paths and headers of unusual form.

use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, message};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
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

/// Whatever a caller says it is, what is recorded and what is over follow the server's clock.
#[tokio::test]
async fn no_header_says_what_time_it_is() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "some-key", "Ed25519").await;
    let at = |second| aegis_core::ambient::Timestamp::from_second(second).unwrap();
    let begun = deployment.now();
    let (agent, token) = deployment.agent(&alice, "key:some-key:sign", json!({})).await;
    let sign = "/v1/keys/some-key/sign";
    let claiming = async |method: Method, path: &str, token: &str, second: i64| {
        let mut answers = Vec::new();
        for claim in claims(second) {
            let mut request = Request::builder().method(method.clone()).uri(path);
            for name in TELL_TIME {
                request = request.header(name, &claim);
            }
            request = request.header(AUTHORIZATION, format!("Bearer {token}")).header(CONTENT_TYPE, "application/json");
            let body = if method == Method::PATCH { json!({ "delegate": true }) } else { message(b"x") };
            answers.push((deployment.send(request.body(Bytes::from(body.to_string())).unwrap()).await, claim));
        }
        answers
    };
    for second in [begun - 400 * 86_400, begun + 400 * 86_400] {
        for (answer, claim) in claiming(Method::POST, sign, &token, second).await {
            assert_eq!(answer.status, 200, "{claim}: {}", answer.body);
        }
    }
    let records = deployment.get(&alice, "/v1/audit?op=key.sign").await.ok();
    let recorded: Vec<&serde_json::Value> =
        records["items"].as_array().unwrap().iter().map(|record| &record["at"]).collect();
    assert_eq!(recorded, [&json!(at(begun)); 8]);
    deployment.pass(3_600 + 31);
    for (answer, claim) in claiming(Method::POST, sign, &token, begun).await {
        assert_eq!(answer.refused(401), "credential_expired", "{claim}");
    }
    for (answer, claim) in claiming(Method::PATCH, &format!("/v1/agents/{agent}"), &alice, begun).await {
        assert_eq!(answer.failed(401), "fresh-login-needed", "{claim}");
    }
}

/// A moment as headers write it.
fn claims(second: i64) -> [String; 4] {
    let at = aegis_core::ambient::Timestamp::from_second(second).unwrap();
    let http_date = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    [http_date, at.to_string(), second.to_string(), at.strftime("%Y%m%dT%H%M%SZ").to_string()]
}

/// Names under which programs, gateways and tests tell each other the time.
const TELL_TIME: [&str; 14] = [
    "date",
    "if-modified-since",
    "timestamp",
    "x-aegis-clock",
    "x-aegis-date",
    "x-aegis-now",
    "x-aegis-time",
    "x-amz-date",
    "x-amzn-request-time",
    "x-date",
    "x-fake-time",
    "x-ms-date",
    "x-request-start",
    "x-timestamp",
];

#[tokio::test]
async fn json_that_readers_differ_on_is_refused() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "some-key", "Ed25519").await;
    deployment.key(&alice, "an-aes", "AES-256-GCM").await;
    let deep = format!("{{\"message\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let table = [
        // Of two members of one name the first, the last or both could count.
        ("some-key/sign", r#"{"message":"YQ==","message":"Yg=="}"#),
        ("some-key/sign", r#"{"message":"YQ==","m\u0065ssage":"Yg=="}"#),
        ("an-aes/encrypt", r#"{"plaintext":"YQ==","context":{"tenant":"a","tenant":"b"}}"#),
        ("an-aes/encrypt", r#"{"plaintext":"YQ==","context":{"tenant":"a","tenan\u0074":"a"}}"#),
        ("an-aes/encrypt", r#"{"plaintext":"YQ==","context":{},"context":{}}"#),
        ("an-aes/re-encrypt", r#"{"ciphertext":"YQ==","new_context":{"a":"a","a":"b"}}"#),
        ("some-key/sign", &deep),
        ("some-key/sign", "\u{feff}{\"message\":\"YQ==\"}"),
        ("some-key/sign", r#"{"message":"YQ=="} {}"#),
        ("some-key/sign", r#"{"message":"YQ==",}"#),
        ("some-key/sign", r#"{"message":"YQ==","message_type":"\ud800"}"#),
        ("an-aes/encrypt", r#"{"plaintext":"YQ==","context":{"\udc00":"a"}}"#),
        ("an-aes/generate-data-key", r#"{"bytes":1e999}"#),
        ("an-aes/generate-data-key", r#"{"bytes":18446744073709551648}"#),
        ("an-aes/generate-data-key", r#"{"bytes":-32}"#),
        ("an-aes/generate-data-key", r#"{"bytes":32.0}"#),
        ("an-aes/generate-data-key", r#"{"bytes":"32"}"#),
    ];
    for (path, body) in table {
        let answer = post(&deployment, &alice, path, "application/json", body).await;
        assert_eq!(answer.failed(400), "invalid-request", "{path} {body:.80}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let twice = json!({ "plaintext": "YQ==", "context": { "tenant": "a", "tenant ": "b" } });
    deployment.post(&alice, "/v1/keys/an-aes/encrypt", twice).await.ok();
}

#[tokio::test]
async fn a_body_counts_only_under_its_type() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "some-key", "Ed25519").await;
    let table = [
        ("application/json", 200),
        ("Application/JSON", 200),
        ("application/json; charset=utf-8", 200),
        ("application/json ;charset=utf-8", 200),
        ("", 400),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        ("application/json, text/plain", 400),
        ("application/jsonx", 400),
        ("text/plain; application/json", 400),
    ];
    for (kind, want) in table {
        let answer = post(&deployment, &alice, "some-key/sign", kind, &message(b"x").to_string()).await;
        assert_eq!(answer.status, want, "{kind}: {}", answer.body);
    }
}

#[tokio::test]
async fn however_a_path_is_written_it_leads_nowhere_else() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    let table = [
        ("/v1/keys/own-key/sign", 200),
        ("/v1/keys/%6fwn-key/sign", 200),
        ("/v1/keys/own%2dkey/sign?", 200),
        // It says what it says once it is decoded, and that is no name.
        ("/v1/keys/own-key%2Fsign%3F/sign", 400),
        ("/v1/keys/own-key%00/sign", 400),
        ("/v1/keys/own%252dkey/sign", 400),
        ("/v1/keys/own-key%ff/sign", 400),
        ("/v1/keys/own%c0%adkey/sign", 400),
        ("/v1/keys/%2e%2e/sign", 400),
        ("/v1/keys/own-key%2F..%2Fother-key/sign", 400),
        ("/v1/keys/OWN-KEY/sign", 400),
        ("/v1/keys/own-key/../other-key/sign", 404),
        ("/v1/keys/./own-key/sign", 404),
        ("/v1/keys//sign", 404),
        ("/v1//keys/own-key/sign", 404),
        ("//v1/keys/own-key/sign", 404),
        ("/v1/keys/own-key/sign/", 404),
        ("/v1/keys/own-key/sign%2f", 404),
        ("/v1/keys/own-key;x=y/sign", 400),
        ("/V1/keys/own-key/sign", 404),
        ("/%76%31/keys/own-key/sign", 404),
    ];
    for (path, want) in table {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        for token in [&alice, &token] {
            let answer = deployment.post(token, path, message(b"x")).await;
            assert_eq!(answer.status, want, "{path}: {}", answer.body);
            if answer.status == 200 {
                assert_eq!(
                    answer.body["key_id"],
                    deployment.get(&alice, "/v1/keys/own-key").await.ok()["id"],
                    "{path}"
                );
            } else {
                assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_has_not_is_told_which_it_has() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for method in ["HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "PUT", "X-WHATEVER"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = deployment.call(method.clone(), &alice, "/v1/whoami", None).await;
        assert_eq!(answer.failed(405), "method-not-allowed", "{method}");
        assert_eq!(answer.headers["allow"], "GET", "{method}");
    }
}

#[tokio::test]
async fn one_credential_counts_and_two_are_none() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let ask = async |lines: &[String]| {
        let request = lines.iter().fold(Request::get("/v1/whoami"), |asked, line| asked.header(AUTHORIZATION, line));
        deployment.send(request.body(Bytes::new()).unwrap()).await
    };
    for good in ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {} "] {
        ask(&[good.replace("{}", &alice)]).await.ok();
    }
    let bad = [
        "{}",
        "Bearer",
        "Bearer ",
        "Bearer\t{}",
        "Basic {}",
        "Bearer {} x",
        "Bearer {},",
        "Bearer {}, Bearer {}",
        "Bearer \"{}\"",
    ];
    for bad in bad {
        assert_eq!(ask(&[bad.replace("{}", &alice)]).await.status, 401, "{bad}");
    }
    let good = format!("Bearer {alice}");
    for two in [[good.clone(), good.clone()], [good.clone(), "Bearer x".into()], ["Basic x".into(), good]] {
        assert_eq!(ask(&two).await.refused(401), "missing_token", "{two:.20?}");
    }
}

#[tokio::test]
async fn a_parameter_that_comes_twice_is_refused() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for query in ["limit=1&limit=2", "actor=alice@org&actor=bob@org", "op=whoami&o%70=whoami", "Limit=1", "limit=%ff"] {
        let answer = deployment.get(&alice, &format!("/v1/audit?{query}")).await;
        assert_eq!(answer.failed(400), "invalid-request", "{query}");
    }
    let form = [("token", alice.as_str()), ("token", "x")];
    assert_eq!(deployment.form(&alice, "/v1/oauth/introspect", &form).await.failed(400), "invalid-request");
}

/// An empty `kind` is none.
async fn post(deployment: &Deployment, token: &str, path: &str, kind: &str, body: &str) -> Answer {
    let mut request = Request::post(format!("/v1/keys/{path}")).header(AUTHORIZATION, format!("Bearer {token}"));
    if !kind.is_empty() {
        request = request.header(CONTENT_TYPE, kind);
    }
    deployment.send(request.body(Bytes::from(body.to_string())).unwrap()).await
}
