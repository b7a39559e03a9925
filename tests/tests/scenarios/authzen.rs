//! Access evaluations as OpenID AuthZEN 1.0 has them: the answer of `check_access`, in the standard's shape.

use aegis_tests::deployment::Deployment;
use aegis_tests::{Answer, text};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

const ONE: &str = "/access/v1/evaluation";
const SEVERAL: &str = "/access/v1/evaluations";

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

fn asked(agent: &str, action: &str, key: &str) -> Value {
    json!({
        "subject": { "type": "agent", "id": agent }, "action": { "name": action },
        "resource": { "type": "key", "id": key },
    })
}

async fn newest(deployment: &Deployment, alice: &str, agent: &str) -> Value {
    deployment.get(alice, &format!("/v1/audit?agent={agent}&limit=1")).await.ok()["items"][0].clone()
}

#[tokio::test]
async fn an_evaluation_says_what_checking_access_says_and_is_recorded_as_that_is() {
    let (deployment, alice, agent, token) = laid_out().await;
    let uses = [("own-key", "sign"), ("own-key", "decrypt"), ("foreign-key", "sign"), ("no-such-key", "sign")];
    for held in [false, true] {
        if held {
            deployment.hold_for_step_up(&agent).await;
        }
        for (key, action) in uses {
            deployment.pass(1);
            let check = format!("/v1/keys/{key}/check-access");
            let told = deployment.post(&token, &check, json!({ "action": action })).await.ok();
            let by_rest = newest(&deployment, &alice, &agent).await;
            let several = json!({ "evaluations": [asked(&agent, action, key)] });
            for (path, body) in
                [(ONE, asked(&agent, action, key)), (SEVERAL, asked(&agent, action, key)), (SEVERAL, several)]
            {
                deployment.pass(1);
                let answer = deployment.post(&token, path, body.clone()).await.ok();
                let decided = answer.get("evaluations").map_or(&answer, |each| &each[0]);
                assert_eq!(decided["decision"], told["decision"] == "allow", "{answer}");
                for member in ["reason", "because", "risk"] {
                    assert_eq!(decided["context"].get(member), told.get(member), "{answer}");
                }
                let obliged = &decided["context"]["obligations"];
                match told["decision"] == "step_up" {
                    true => assert_eq!(
                        (&obliged[0]["type"], &obliged[0]["properties"]["by"]),
                        (&json!("step-up"), &json!("human_approval"))
                    ),
                    false => assert!(obliged.is_null(), "{answer}"),
                }
                let record = newest(&deployment, &alice, &agent).await;
                assert_eq!((&record["plane"], &record["checked"]), (&json!("agent-ai"), &by_rest["checked"]));
                let same = |mut record: Value| {
                    let own = ["id", "at", "request_id", "latency_us", "plane", "claims", "request_digest"];
                    record.as_object_mut().unwrap().retain(|name, _| !own.contains(&name.as_str()));
                    record
                };
                assert_eq!(same(record), same(by_rest.clone()), "{body}");
            }
            assert_eq!(told["decision"] == "step_up", held && key == "own-key" && action == "sign", "{told}");
        }
    }
    let asked = deployment.get(&alice, "/v1/approvals").await.ok();
    assert_eq!(asked["items"], json!([]), "nobody was asked");
}

#[tokio::test]
async fn who_is_no_agent_and_who_asks_about_another_is_told_nothing() {
    let (deployment, alice, agent, token) = laid_out().await;
    let (other, _) = deployment.agent(&alice, "key:foreign-key:sign", json!({})).await;
    let mut of_human = asked("alice@org", "sign", "own-key");
    of_human["subject"]["type"] = json!("user");
    let mut of_another_type = asked(&agent, "sign", "own-key");
    of_another_type["resource"]["type"] = json!("document");
    let cases = [
        (asked(&other, "sign", "foreign-key"), "subject"),
        (asked("agt_no_such", "sign", "own-key"), "subject"),
        (of_human, "subject"),
        (of_another_type, "resource"),
        (asked(&agent, "export", "own-key"), "action"),
    ];
    for (body, field) in cases {
        let answer = deployment.post(&token, ONE, body.clone()).await;
        assert_eq!(
            (answer.failed(400), text(&answer.body, "title")),
            ("invalid-request", format!("invalid `{field}`"))
        );
        let record = newest(&deployment, &alice, &agent).await;
        assert_eq!((&record["operation"], &record["outcome"]), (&json!("whoami"), &json!("error")), "{body}");
        deployment.pass(1);
        let among = json!({ "evaluations": [body, asked(&agent, "sign", "own-key")] });
        let answer = deployment.post(&token, SEVERAL, among).await.ok();
        let error = &answer["evaluations"][0]["context"]["error"];
        assert_eq!((&answer["evaluations"][0]["decision"], &error["status"]), (&json!(false), &json!(400)), "{answer}");
        assert!(text(error, "message").starts_with(&format!("invalid `{field}`: ")), "{answer}");
        assert_eq!(answer["evaluations"][1]["decision"], true, "the next is evaluated all the same");
        deployment.pass(1);
    }
    let own = asked(&agent, "sign", "own-key");
    let both = [(ONE, own.clone()), (SEVERAL, json!({ "evaluations": [own] }))];
    for (path, body) in both.clone() {
        assert_eq!(deployment.post("", path, body.clone()).await.refused(401), "missing_token");
        // Nor of her own agent: what it may do, `GET /v1/agents/{agent}/scope` tells her.
        let answer = deployment.post(&alice, path, body).await;
        assert_eq!(answer.refused(403), "agent_credential_required");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
    }
    deployment.post(&alice, &format!("/v1/agents/{agent}/revoke"), json!({})).await.ok();
    for (path, body) in both {
        assert_eq!(deployment.post(&token, path, body).await.refused(401), "agent_revoked");
    }
}

#[tokio::test]
async fn what_several_have_in_common_is_said_once_and_they_end_as_asked() {
    let (deployment, _, agent, token) = laid_out().await;
    let key = |id: &str| json!({ "resource": { "type": "key", "id": id } });
    let decided = async |semantic: Option<&str>, evaluations: Value| -> Vec<bool> {
        let mut body = asked(&agent, "sign", "foreign-key");
        body["evaluations"] = evaluations;
        body["context"] = json!({ "time": "2026-01-01T00:00:00Z" });
        if let Some(semantic) = semantic {
            body["options"] = json!({ "evaluations_semantic": semantic, "another_option": 1 });
        }
        deployment.pass(1);
        let answer = deployment.post(&token, SEVERAL, body).await.ok();
        answer["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect()
    };
    let four = json!([
        key("own-key"),
        { "action": { "name": "decrypt" }, "resource": { "type": "key", "id": "own-key" } },
        {},
        key("own-key"),
    ]);
    let table = [
        (None, vec![true, false, false, true]),
        (Some("execute_all"), vec![true, false, false, true]),
        (Some("deny_on_first_deny"), vec![true, false]),
        (Some("permit_on_first_permit"), vec![true]),
    ];
    for (semantic, want) in table {
        assert_eq!(decided(semantic, four.clone()).await, want, "{semantic:?}");
    }
    assert_eq!(decided(Some("permit_on_first_permit"), json!([{}, key("own-key")])).await, [false, true]);
    assert_eq!(decided(None, json!(vec![key("own-key"); 16])).await.len(), 16);
}

#[tokio::test]
async fn what_is_no_evaluation_is_refused_and_on_record() {
    let (deployment, alice, agent, token) = laid_out().await;
    let whole = asked(&agent, "sign", "own-key");
    let without = |name: &str| {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let each = |evaluations: Value| json!({ "evaluations": evaluations });
    let semantic = json!({ "evaluations": [whole], "options": { "evaluations_semantic": "any" } });
    let cases = [
        (ONE, json!({}), "body"),
        (ONE, without("subject"), "body"),
        (ONE, each(json!([whole])), "body"),
        (ONE, json!({ "subject": "me", "action": "sign", "resource": "own-key" }), "body"),
        (SEVERAL, json!({}), "subject"),
        (SEVERAL, without("resource"), "resource"),
        (SEVERAL, each(json!([])), "subject"),
        (SEVERAL, each(json!([whole, without("action")])), "action"),
        (SEVERAL, each(json!(vec![whole.clone(); 17])), "evaluations"),
        (SEVERAL, semantic, "body"),
    ];
    for (path, body, field) in cases {
        let answer = deployment.post(&token, path, body.clone()).await;
        assert_eq!(
            (answer.failed(400), text(&answer.body, "title")),
            ("invalid-request", format!("invalid `{field}`")),
            "{body}"
        );
        let record = newest(&deployment, &alice, &agent).await;
        assert_eq!((&record["operation"], &record["plane"]), (&json!("whoami"), &json!("agent-ai")), "{body}");
        deployment.pass(1);
    }
    // What the standard adds later is passed over.
    let mut more = whole.clone();
    more["subject"]["properties"] = json!({ "ip_address": "203.0.113.1" });
    more["evaluations"] = json!([]);
    for path in [ONE, SEVERAL] {
        assert_eq!(deployment.post(&token, path, more.clone()).await.ok()["decision"], true);
    }
}

#[tokio::test]
async fn where_to_ask_is_published_and_an_answer_bears_the_id_of_its_request() {
    let (deployment, _, agent, token) = laid_out().await;
    let found = deployment.get("", "/.well-known/authzen-configuration").await.ok();
    let want = json!({
        "policy_decision_point": "https://aegis.example.org",
        "access_evaluation_endpoint": "https://aegis.example.org/access/v1/evaluation",
        "access_evaluations_endpoint": "https://aegis.example.org/access/v1/evaluations",
    });
    assert_eq!(found, want);
    let send = async |path: &str, given: &str| -> Answer {
        let request = http::Request::post(path).header(AUTHORIZATION, format!("Bearer {token}"));
        let request = request.header(CONTENT_TYPE, "application/json").header("x-request-id", given);
        deployment.send(request.body(Bytes::from(asked(&agent, "sign", "own-key").to_string())).unwrap()).await
    };
    let long = "x".repeat(129);
    let table = [
        (ONE, "bfe9eb29-ab87", true),
        (SEVERAL, "a", true),
        (ONE, &long, false),
        (ONE, "a b", false),
        ("/v1/whoami", "a", false),
    ];
    for (path, given, returned) in table {
        let answer = send(path, given).await;
        assert_eq!(answer.headers["x-request-id"] == given, returned, "{path} {given}");
    }
}
