//! The route table, walked: who is nobody gets 401 everywhere, who is a stranger gets 403.

use aegis_core::operation::Operation;
use aegis_functions::{Access, Route, TargetKind, routes};
use aegis_tests::Answer;
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN};
use serde_json::json;

/// What anybody who is known may ask about herself.
const OWN: [&str; 10] = [
    "/v1/access-requests",
    "/v1/agents",
    "/v1/agents/usage",
    "/v1/approvals",
    "/v1/audit",
    "/v1/oauth/introspect",
    "/v1/oauth/revoke",
    "/v1/recommendations",
    "/v1/responses",
    "/v1/whoami",
];

#[tokio::test]
async fn without_a_credential_every_route_but_the_closed_list_is_401() {
    let deployment = Deployment::new().await;
    let paths = Paths::new(&deployment).await;
    for route in routes::table() {
        for token in ["", "nonsense"] {
            let answer = deployment.call(route.method.clone(), token, &paths.of(route), Some(json!({}))).await;
            match route.access {
                Access::Public => assert_ne!(answer.status, 401, "{} {}", route.method, route.path),
                Access::Bearer(_) => {
                    assert_eq!(answer.status, 401, "{} {} {}", route.method, route.path, answer.body);
                    assert!(answer.headers.contains_key("www-authenticate"));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_stranger_is_refused_on_every_route_whether_or_not_the_thing_exists() {
    let deployment = Deployment::new().await;
    let paths = Paths::new(&deployment).await;
    let stranger = deployment.log_in("mallory@org", &[]).await;
    for route in routes::table().iter().filter(|route| route.access != Access::Public) {
        let asks = route.access == Access::Bearer(Operation::AccessRequestCreate);
        let own = route.kind == TargetKind::Own && OWN.contains(&route.path) && !asks;
        let existing = call(&deployment, route, &stranger, &paths.of(route)).await;
        let missing = call(&deployment, route, &stranger, &Paths::missing(route)).await;
        let want = if own { 200 } else { 403 };
        assert_eq!(existing.status, want, "{} {} {}", route.method, route.path, existing.body);
        assert_eq!(missing.status, want, "missing: {} {} {}", route.method, route.path, missing.body);
        if !own {
            assert_eq!(existing.refused(403), missing.refused(403), "{}", route.path);
        }
    }
}

#[tokio::test]
async fn an_agent_with_nothing_to_do_with_it_is_refused_on_every_route() {
    let deployment = Deployment::new().await;
    let paths = Paths::new(&deployment).await;
    let alice = deployment.alice().await;
    for route in routes::table().iter().filter(|route| route.access != Access::Public) {
        // A fresh one for each route: leaving its scope stops it.
        let (_, agent) = deployment.agent(&alice, &format!("key:{}:sign", paths.own_key), json!({})).await;
        let answer = call(&deployment, route, &agent, &paths.of(route)).await;
        let reads = ["/v1/activity", "/v1/keys", "/v1/scope", "/v1/whoami"].contains(&route.path)
            && route.method == http::Method::GET;
        // What it asks for is asked of another route.
        let harmless = reads
            || is_about_tokens(route)
            || route.access == Access::Bearer(Operation::AccessRequestCreate)
            || ["/mcp", CHECK].contains(&route.path)
            || ["/access/v1/", "/v1/agent-ai/"].iter().any(|plane| route.path.starts_with(plane))
                && route.kind == TargetKind::Own;
        let harmless = harmless && route.access != Access::Bearer(Operation::RecommendationList);
        let want = if harmless { 200 } else { 403 };
        assert_eq!(answer.status, want, "{} {} {}", route.method, route.path, answer.body);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_say_nothing_of_what_exists() {
    let deployment = Deployment::new().await;
    assert_eq!(deployment.get("", "/v1/nothing").await.failed(404), "no-such-route");
    assert_eq!(deployment.get("", "/v1/keys/").await.failed(404), "no-such-route");
    let answer = deployment.call(http::Method::DELETE, "", "/v1/keys/some-key", None).await;
    assert_eq!(answer.failed(405), "method-not-allowed");
    assert!(answer.headers.contains_key("allow"));
}

/// Says of any key what the agent that asks may do with it.
const CHECK: &str = "/v1/keys/{key}/check-access";

/// With the least body that the route takes.
async fn call(deployment: &Deployment, route: &Route, token: &str, path: &str) -> Answer {
    match path {
        "/mcp" => Client::new(deployment, token, MODERN).ask("server/discover", json!({})).await,
        "/v1/agent-ai/calls" => deployment.post(token, path, json!({ "name": "my_scope" })).await,
        "/v1/agent-ai/risk/evaluate" => {
            deployment.post(token, path, json!({ "key": "some-key", "action": "sign" })).await
        }
        _ if path.starts_with("/access/v1/") => {
            let me = deployment.get(token, "/v1/whoami").await.ok();
            let subject = json!({ "type": "agent", "id": me["agents"].get(0) });
            let subject =
                if me["agents"].get(0).is_some() { subject } else { json!({ "type": "user", "id": me["human"] }) };
            let body = json!({
                "subject": subject, "action": { "name": "sign" }, "resource": { "type": "key", "id": "some-key" },
            });
            deployment.post(token, path, body).await
        }
        "/v1/access-requests" if route.method == http::Method::POST => {
            deployment.post(token, path, json!({ "scope": "key:some-key:sign", "reason": "x" })).await
        }
        _ if route.path == CHECK => deployment.post(token, path, json!({ "action": "sign" })).await,
        _ if is_about_tokens(route) => deployment.form(token, path, &[("token", "nonsense")]).await,
        _ => deployment.call(route.method.clone(), token, path, Some(json!({}))).await,
    }
}

/// Everyone may ask; what comes of it depends on the token in the body. See `tokens`.
fn is_about_tokens(route: &Route) -> bool {
    ["/v1/oauth/introspect", "/v1/oauth/revoke"].contains(&route.path)
}

/// Names of things that exist, and belong to alice.
struct Paths {
    own_key: String,
    agent: String,
    access_request: String,
    approval: String,
    credential: String,
    record: String,
    recommendation: String,
    webhook: String,
}

impl Paths {
    async fn new(deployment: &Deployment) -> Self {
        let alice = deployment.alice().await;
        for name in ["some-key", "own-key"] {
            deployment.key(&alice, name, "ECDSA-P256").await;
        }
        let (agent, token) = deployment.agent(&alice, "key:some-key:sign", json!({})).await;
        deployment.hold_for_step_up(&agent).await;
        let asked = deployment.post(&token, "/v1/keys/some-key/sign", aegis_tests::message(b"x")).await;
        let wish = json!({ "scope": "key:own-key:sign", "reason": "x" });
        let wished = deployment.post(&token, "/v1/access-requests", wish).await.ok();
        let path = format!("/v1/agents/{agent}/credentials");
        let issued = deployment.post(&alice, &path, json!({})).await.ok();
        let (_, rogue) = deployment.agent(&alice, "key:some-key:sign", json!({})).await;
        deployment.get(&rogue, "/v1/keys/own-key").await.refused(403);
        let recommendations = deployment.get(&alice, "/v1/recommendations").await.ok();
        let hook = json!({ "url": "https://hooks.example.org/", "events": [{ "kind": "responses" }] });
        let webhook = aegis_tests::text(&deployment.post(&alice, "/v1/webhooks", hook).await.ok(), "id");
        let record = deployment.get(&alice, "/v1/audit").await.ok()["items"][0]["id"].clone();
        Self {
            own_key: "own-key".into(),
            agent,
            access_request: aegis_tests::text(&wished, "id"),
            approval: aegis_tests::text(&asked.body, "approval"),
            credential: aegis_tests::text(&issued, "id"),
            record: record.as_str().unwrap().to_string(),
            recommendation: aegis_tests::text(&recommendations["items"][0], "id"),
            webhook,
        }
    }

    fn of(&self, route: &Route) -> String {
        let path = route.path.replace("{key}", "some-key").replace("{agent}", &self.agent);
        let path = path.replace("{credential}", &self.credential).replace("{record}", &self.record);
        let path = path.replace("{recommendation}", &self.recommendation);
        let path = path.replace("{approval}", &self.approval).replace("{access_request}", &self.access_request);
        let path = path.replace("{webhook}", &self.webhook);
        path.replace("{human}", "alice@org")
            .replace("{actor}", &self.agent)
            .replace("{alias}", "some-key")
            .replace("{version}", "0")
    }

    fn missing(route: &Route) -> String {
        let path = route.path.replace("{key}", "no-such-key").replace("{agent}", &format!("agt_{:032x}", 1));
        let path = path.replace("{credential}", &format!("crd_{:032x}", 1));
        let path = path.replace("{record}", &format!("rec_{:032x}", 1));
        let path = path.replace("{recommendation}", &format!("rcm_{:032x}", 1));
        let path = path.replace("{approval}", &format!("apr_{:032x}", 1));
        let path = path.replace("{access_request}", &format!("acr_{:032x}", 1));
        let path = path.replace("{webhook}", &format!("whk_{:032x}", 1));
        path.replace("{human}", "nobody@org")
            .replace("{actor}", "nobody@org")
            .replace("{alias}", "no-such-key")
            .replace("{version}", "999")
    }
}
