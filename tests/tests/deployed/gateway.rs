//! The gateway in front of the functions: what it lets through, and what it answers by itself.

use aegis_functions::deployed;
use aegis_tests::process::plain;
use aegis_tests::site::{EVERYTHING, site, wait_for};
use aegis_tests::{message, text};
use serde_json::Value;
use std::net::IpAddr;

/// A request, and its status, kind and body.
fn ask(method: &str, path: &str, token: Option<&str>) -> (u16, String, Value) {
    let url = std::env::var("AEGIS_URL").unwrap() + path;
    let mut request = http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = plain().run(request.body(()).unwrap()).unwrap();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_string());
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), kind.unwrap_or_default(), serde_json::from_str(&body).unwrap_or_default())
}

/// A path that fits a route, whatever it names.
fn named(path: &str) -> String {
    path.replace('{', "no-such-").replace('}', "")
}

#[test]
fn no_route_is_open_without_a_credential() {
    // What says where evaluations are asked for is for everybody.
    let needs_one = |route: &&deployed::Deployed| {
        route.operation.is_some() || (route.function == "mcp" && !route.path.starts_with("/.well-known/"))
    };
    for route in deployed::table().iter().filter(needs_one) {
        for token in [None, Some("no.such.token")] {
            let (status, kind, body) = ask(&route.method, &named(route.path), token);
            let what = format!("{} {} with {token:?}: {body}", route.method, route.path);
            assert_eq!((status, kind.as_str()), (401, "application/problem+json"), "{what}");
            assert_eq!(body["code"], "unauthenticated", "{what}");
            assert_eq!(body["status"], 401, "{what}");
            assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{what}");
        }
    }
}

/// Both records: of a use, which the operation writes, and of a refusal, which the authorizer writes.
#[test]
fn where_a_request_comes_from_is_not_what_it_says() {
    let site = site();
    let alice = site.log_in("alice@org", &EVERYTHING);
    let name = site.name("from");
    let signing = text(&site.key(&alice, &name, "ECDSA-P256"), "id");
    let (agent, token) = site.agent(&alice, &format!("key:{name}:sign"), "interactive");
    let sent = |operation: &str| {
        site.post_for(&token, &format!("/v1/keys/{signing}/{operation}"), "203.0.113.9", message(b"x"))
    };
    sent("sign").ok();
    sent("encrypt").refused(403);
    let trail = wait_for("both records", || {
        let page = site.get(&alice, &format!("/v1/audit?agent={agent}")).ok();
        let items = page["items"].as_array().unwrap().iter();
        let of_keys: Vec<_> = items.filter(|record| text(record, "operation").starts_with("key.")).cloned().collect();
        (of_keys.len() >= 2).then_some(of_keys)
    });
    for record in trail {
        let source: IpAddr = text(&record, "source").parse().unwrap();
        assert_ne!(source, IpAddr::from([203, 0, 113, 9]), "{record}");
        assert_eq!(source.is_loopback(), site.url.contains("127.0.0.1"), "{record}");
    }
}

#[test]
fn a_path_that_is_none_has_the_same_shape_as_any_problem() {
    for (method, path) in [("GET", "/v1/nothing"), ("GET", "/v1/keys/some-key/nothing"), ("GET", "/")] {
        let (status, kind, body) = ask(method, path, None);
        assert_eq!((status, kind.as_str()), (404, "application/problem+json"), "{method} {path}: {body}");
        assert_eq!(body["code"], "no-such-route", "{method} {path}");
    }
}

/// The page itself, as browsers get it; that it works, the suite `page` shows of the same page.
#[test]
fn a_human_answers_an_approval_on_a_page_that_runs_nothing_else() {
    let site = site();
    let mut page = plain().get(format!("{}/approve/apr_unknown", site.url)).call().unwrap();
    assert_eq!(page.status(), 200);
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_string();
    assert_eq!(
        (header("content-type").as_str(), header("cache-control").as_str()),
        ("text/html; charset=utf-8", "no-store")
    );
    let policy = header("content-security-policy");
    let issuer = std::env::var("AEGIS_TEST_ISSUER").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains(&format!("connect-src 'self' {issuer};")),
        "{policy}"
    );
    let text = page.body_mut().read_to_string().unwrap();
    assert!(text.contains("https://aegis.example.org/approve/login"), "{text}");
    for path in ["/approve/", "/approve/apr_unknown/approve"] {
        let (status, _, _) = ask("GET", path, None);
        assert_eq!(status, 404, "{path}");
    }
}

#[test]
fn who_proves_nothing_is_told_where_tokens_come_from() {
    for (method, path) in [("GET", "/v1/keys"), ("POST", "/mcp")] {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", site().url)).body(()).unwrap();
        let answer = plain().run(request).unwrap();
        let challenge = answer
            .headers()
            .get("www-authenticate")
            .or_else(|| answer.headers().get("x-amzn-remapped-www-authenticate"));
        let challenge = challenge.unwrap().to_str().unwrap();
        let own = if path == "/mcp" { "/mcp" } else { "" };
        let told = format!("resource_metadata=\"https://aegis.example.org/.well-known/oauth-protected-resource{own}\"");
        assert!(challenge.contains(&told), "{method} {path}: {challenge}");
    }
}

#[test]
fn a_method_that_is_none_names_those_that_are() {
    for (method, path) in [("PUT", "/v1/keys"), ("GET", "/mcp"), ("DELETE", "/mcp")] {
        let (status, _, body) = ask(method, path, None);
        assert_eq!((status, body["code"].as_str()), (405, Some("method-not-allowed")), "{method} {path}: {body}");
    }
}
