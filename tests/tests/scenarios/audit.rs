//! The audit trail: complete, readable by those who may, and free of secrets.

use aegis_core::ambient::Entropy;
use aegis_core::id::{RecordId, RequestId};
use aegis_core::journal;
use aegis_core::operation;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::store::Store;
use aegis_core::store::fault::{Fault, Operation};
use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, VERSIONS};
use aegis_tests::{Answer, base64, message, text};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

#[tokio::test]
async fn a_human_s_trail_holds_all_her_agents_did_and_no_one_else_s() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let bob = deployment.log_in("bob@org", &["user"]).await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"1")).await.ok();
    deployment.post(&bob, "/v1/keys/own-key/sign", message(b"2")).await.ok();
    deployment.pass(1);

    let signed = |who: &str, query: &str| {
        let (path, who) = (format!("/v1/audit?op=key.sign{query}"), who.to_string());
        let deployment = &deployment;
        async move { deployment.get(&who, &path).await.ok()["items"].as_array().unwrap().clone() }
    };
    let hers = signed(&alice, "&actor=alice@org").await;
    assert_eq!(hers.len(), 1);
    assert_eq!((&hers[0]["human"], &hers[0]["agents"]), (&json!("alice@org"), &json!([agent])));
    assert_eq!(signed(&alice, "").await.len(), 2);
    assert_eq!(signed(&alice, "&key=own-key").await.len(), 2);
    assert_eq!(signed(&alice, &format!("&agent={agent}")).await.len(), 1);
    assert_eq!(signed(&alice, "&outcome=denied").await.len(), 0);
    assert_eq!(signed(&alice, "&key=no-such-key").await.len(), 0);
    // Bob may read his own and no others.
    let his = signed(&bob, "").await;
    assert!(his.len() == 1 && his[0]["human"] == "bob@org");
    assert_eq!(deployment.get(&bob, "/v1/audit?actor=alice@org").await.refused(403), "policy");
    assert_eq!(deployment.get(&token, "/v1/audit").await.refused(403), "right_not_granted");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let deployment = Deployment::new().await;
    let mut alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    for i in 0..60_u8 {
        deployment.post(&alice, "/v1/keys/own-key/sign", message(&[i])).await.ok();
        // Some in the same millisecond, some a day apart.
        deployment.pass(if i % 20 == 19 { 86_400 } else { i64::from(i % 2) });
        if i % 20 == 19 {
            alice = deployment.alice().await;
        }
    }
    // With a filter of its own; then by the index alone, which reads no more than a page.
    for (query, want) in [("op=key.sign&limit=7", 60), ("limit=2", 61)] {
        let mut seen: Vec<String> = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = deployment.get(&alice, &format!("/v1/audit?key=own-key&{query}{cursor}")).await.ok();
            seen.extend(page["items"].as_array().unwrap().iter().map(|record| text(record, "id")));
            assert!(seen.len() <= want, "{query}: some come twice");
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.dedup();
        sorted.reverse();
        assert_eq!(seen.len(), want, "{query}");
        assert_eq!(seen, sorted, "{query}: newest first, none twice");
    }
}

#[tokio::test]
async fn since_and_until_bound_what_is_found() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let at = |deployment: &Deployment| jiff::Timestamp::from_second(deployment.now()).unwrap();
    let mut times = Vec::new();
    for i in 0..3_u8 {
        times.push(at(&deployment));
        deployment.post(&alice, "/v1/keys/own-key/sign", message(&[i])).await.ok();
        deployment.pass(100);
    }
    let table = [(None, None, 3), (Some(1), None, 2), (None, Some(1), 1), (Some(1), Some(2), 1), (Some(2), Some(1), 0)];
    for (since, until, want) in table {
        let mut path = "/v1/audit?op=key.sign".to_string();
        if let Some(since) = since {
            path.push_str(&format!("&since={}", times[since]));
        }
        if let Some(until) = until {
            path.push_str(&format!("&until={}", times[until]));
        }
        let found = deployment.get(&alice, &path).await.ok();
        assert_eq!(found["items"].as_array().unwrap().len(), want, "{since:?} {until:?}");
    }
}

#[tokio::test]
async fn a_far_bound_or_an_empty_trail_costs_a_bounded_number_of_queries() {
    let deployment = Deployment::new().await;
    deployment.pass(300 * 86_400);
    let alice = deployment.alice().await;
    let far = [
        "until=9999-12-30T00:00:00Z",
        "cursor=rec_e6000000000000000000000000000000",
        "agent=agt_00000000000000000000000000000000",
    ];
    for query in far {
        deployment.store.take_calls();
        let mut path = format!("/v1/audit?{query}");
        let mut pages = 0;
        loop {
            let page = deployment.get(&alice, &path).await.ok();
            assert!(deployment.store.take_calls().queries <= 64 * 4 + 4, "{query}");
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => path = format!("/v1/audit?{}&cursor={next}", query.split("cursor=").next().unwrap()),
                None => break,
            }
        }
        assert!(pages >= 4, "300 days, 64 a page: {pages}");
    }
}

#[tokio::test]
async fn what_a_human_without_a_role_finds_of_others_is_nothing_not_even_a_cursor() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let key = text(&deployment.key(&alice, "own-key", "Ed25519").await, "id");
    // More than one page looks at, so that a page of them all would end with a cursor.
    let (now, entropy) = (deployment.host.app.clock.now(), Entropy::system());
    for _ in 0..11 {
        let record = || AuditRecord {
            key: Some(key.clone().try_into().unwrap()),
            human: Some("alice@org".parse().unwrap()),
            ..AuditRecord::new(
                RecordId::new(now, &entropy),
                now,
                operation::Operation::KeySign,
                Plane::Rest,
                RequestId::new(now, &entropy),
            )
        };
        let records = (0..100).map(|_| journal::put(deployment.store.as_ref(), &record()).unwrap()).collect();
        deployment.store.transact(records).await.unwrap();
    }
    assert!(deployment.get(&alice, "/v1/audit?key=own-key&actor=bob@org").await.ok()["next_cursor"].is_string());
    let mallory = deployment.log_in("mallory@org", &[]).await;
    deployment.pass(1);
    for query in ["key=own-key&limit=1", "key=no-such-key&limit=1", "op=key.sign&limit=1"] {
        let page = deployment.get(&mallory, &format!("/v1/audit?{query}")).await.ok();
        assert_eq!(page, json!({ "items": [] }), "{query}");
    }
}

#[tokio::test]
async fn every_denial_has_its_reason_on_record() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let wider = json!({ "label": "x", "scope": "key:own-key:verify" });
    deployment.post(&parent, "/v1/agents", wider).await.refused(403);
    let bob = deployment.log_in("bob@org", &["user"]).await;
    deployment.get(&bob, "/v1/audit?actor=alice@org").await.refused(403);
    deployment.pass(301);
    deployment.post(&alice, "/v1/keys/own-key/destroy", json!({})).await.failed(401);
    let found = deployment.get(&alice, "/v1/audit?outcome=denied").await.ok();
    let mut reasons: Vec<&str> =
        found["items"].as_array().unwrap().iter().map(|record| record["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["grant_widening", "policy", "stale_login"]);
}

/// Refused or failed, before the permit or after it.
#[tokio::test]
async fn an_answer_that_is_no_success_names_its_record() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let limits = json!({ "limits": { "max_uses": 1 } });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", limits).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let named = async |answer: Answer, status: u16, outcome: &str| {
        assert_eq!(answer.status, status, "{}", answer.body);
        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&answer.body, "record"))).await.ok();
        assert_eq!((&record["request_id"], &record["outcome"]), (&answer.body["request_id"], &json!(outcome)));
    };
    let sign = "/v1/keys/own-key/sign";
    named(deployment.post(&token, sign, message(b"x")).await, 403, "denied").await;
    named(deployment.post(&token, "/v1/agents", json!({})).await, 403, "denied").await;
    named(deployment.post(&alice, sign, json!({})).await, 400, "error").await;
    named(deployment.post(&alice, "/v1/keys/no-such-key/sign", message(b"x")).await, 404, "error").await;
    named(deployment.post(&alice, "/v1/keys/own-key/activate", json!({})).await, 409, "error").await;
    deployment.post(&alice, &format!("/v1/agents/{agent}/revoke"), json!({})).await.ok();
    named(deployment.post(&token, sign, message(b"x")).await, 401, "denied").await;
    deployment.pass(301);
    named(deployment.post(&alice, "/v1/keys/own-key/destroy", json!({})).await, 401, "denied").await;
    assert!(deployment.get("nonsense", "/v1/whoami").await.body["record"].is_null(), "of nobody there is none");
}

#[tokio::test]
async fn records_hold_no_payload_token_or_key() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "AES-256-GCM").await;
    let secret = b"a secret nobody may find in a log";
    let sealed = json!({ "plaintext": base64(secret), "context": { "tenant": "very-private-context" } });
    deployment.post(&alice, "/v1/keys/own-key/encrypt", sealed).await.ok();
    let (_, token) = deployment.agent(&alice, "key:own-key:encrypt", json!({})).await;
    deployment
        .post(&token, "/v1/keys/own-key/encrypt", json!({ "plaintext": "not base64: hunter2" }))
        .await
        .failed(400);
    let trail = deployment.get(&alice, "/v1/audit?limit=200").await.ok().to_string();
    let forbidden = [base64(secret), "very-private-context".into(), "hunter2".into(), alice.clone(), token.clone()];
    for text in forbidden {
        assert!(!trail.contains(&text), "{text}");
    }
    assert!(!trail.contains(alice.rsplit('.').next().unwrap()));
}

#[tokio::test]
async fn reading_the_trail_is_on_record_once() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let next = text(&deployment.get(&alice, "/v1/audit?limit=1").await.ok()["items"][0], "id");
    // Its pages, and whoever follows the trail, ask again and again.
    deployment.get(&alice, &format!("/v1/audit?limit=1&cursor={next}")).await.ok();
    deployment.get(&alice, "/v1/audit?limit=1&since=2020-01-01T00:00:00Z").await.ok();
    let reads = async || {
        let found = deployment.get(&alice, "/v1/audit?op=audit.query&until=2030-01-01T00:00:00Z").await.ok();
        found["items"].as_array().unwrap().len()
    };
    deployment.pass(1);
    assert_eq!(reads().await, 1);
    // Another query, another reader, another minute.
    deployment.get(&alice, "/v1/audit?op=key.sign").await.ok();
    deployment.get(&deployment.alice().await, "/v1/audit").await.ok();
    deployment.pass(60);
    deployment.get(&alice, "/v1/audit").await.ok();
    deployment.pass(1);
    assert_eq!(reads().await, 5, "and the one that counted");
    // What could not be recorded was not read.
    deployment.store.fail_next(Operation::Write, Fault::BeforeWrite);
    let again = || deployment.get(&alice, "/v1/audit?op=key.create");
    again().await.failed(503);
    again().await.ok();
    deployment.pass(1);
    assert_eq!(reads().await, 7, "and the one that counted, in its new minute");
}

#[tokio::test]
async fn a_query_that_shows_more_than_the_one_on_record_is_on_record_too() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let auditor = deployment.log_in("root@org", &["auditor"]).await;
    let at = |seconds: i64| jiff::Timestamp::from_second(deployment.now() + seconds).unwrap();
    // Whether each is recorded, after those before it; as --follow asks at first, then wider and wider.
    let table = [
        (format!("since={}&limit=50", at(-10)), 1),
        (format!("since={}&limit=50", at(-9)), 0),
        (format!("since={}&limit=10", at(-10)), 0),
        (format!("since={}&limit=50", at(-11)), 1),
        (format!("since={}", at(-10)), 0),
        (format!("since={}&limit=51", at(-11)), 1),
        ("limit=51".to_string(), 1),
        (format!("since={}&limit=51", at(-3_600)), 0),
        ("limit=51&outcome=ok".to_string(), 1),
        ("limit=51&outcome=ok&op=key.sign".to_string(), 1),
        (format!("limit=51&until={}", at(60)), 1),
        (format!("limit=51&until={}", at(61)), 1),
        // A page that shows nothing, and then all there is.
        (format!("op=key.create&cursor=rec_{:032x}", 1), 1),
        (format!("op=key.create&cursor=rec_{:032x}", 2), 1),
        (format!("op=key.create&cursor=rec_{:032x}", 1), 0),
        ("op=key.create".to_string(), 1),
        (format!("op=key.create&cursor=rec_{:032x}", 3), 0),
    ];
    let reads = async || {
        let found = deployment.get(&auditor, "/v1/audit?op=audit.query&actor=alice@org&limit=200").await.ok();
        found["items"].as_array().unwrap().len()
    };
    let mut before = 0;
    for (query, recorded) in table {
        deployment.get(&alice, &format!("/v1/audit?{query}")).await.ok();
        let after = reads().await;
        assert_eq!(after - before, recorded, "{query}");
        before = after;
    }
    // However far the moment moves on.
    for seconds in 1..=200 {
        deployment.pass(i64::from(seconds == 100));
        deployment.get(&alice, &format!("/v1/audit?since={}&op=whoami", at(seconds))).await.ok();
    }
    assert_eq!(reads().await - before, 1);
}

#[tokio::test]
async fn what_fails_after_it_was_allowed_is_on_record_too() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/keys", json!({ "name": "own-key", "algorithm": "Ed25519" })).await.ok();
    deployment.post(&alice, "/v1/keys/own-key/sign", message(b"x")).await.failed(409);
    deployment.post(&alice, "/v1/keys/no-such-key/sign", message(b"x")).await.failed(404);
    let found = deployment.get(&alice, "/v1/audit?op=key.sign&outcome=error").await.ok();
    let found: Vec<&Value> = found["items"].as_array().unwrap().iter().map(|record| &record["key_requested"]).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.contains(&&json!("own-key")) && found.contains(&&json!("no-such-key")));
}

#[tokio::test]
async fn the_trace_that_a_request_is_part_of_is_on_record_whatever_it_came_by() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let traced = async || {
        let page = deployment.get(&alice, &format!("/v1/audit?agent={agent}&limit=1")).await.ok();
        deployment.pass(1);
        page["items"][0]["claims"].get("traceparent").cloned().unwrap_or_default()
    };
    let trace = |n: u8| format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333{n}-01");
    let (malformed, two) = (trace(1).to_uppercase(), vec![trace(1), trace(2)]);
    // What is in the headers, and what of it is followed.
    let headers = [(vec![trace(1)], Some(trace(1))), (vec![malformed.clone()], None), (two, None), (Vec::new(), None)];
    let subject = json!({ "type": "agent", "id": agent });
    let evaluation =
        json!({ "subject": subject, "action": { "name": "sign" }, "resource": { "type": "key", "id": "own-key" } });
    let requests = [
        ("/v1/keys/own-key/sign", message(b"x")),
        ("/v1/keys/own-key/sign", json!({})),
        ("/v1/agent-ai/calls", json!({ "name": "my_scope" })),
        ("/v1/agent-ai/risk/evaluate", json!({ "key": "own-key", "action": "sign" })),
        ("/access/v1/evaluation", evaluation.clone()),
        ("/access/v1/evaluations", json!({ "evaluations": [evaluation] })),
    ];
    for (given, followed) in &headers {
        for (path, body) in &requests {
            let mut request = http::Request::post(*path).header(AUTHORIZATION, format!("Bearer {token}"));
            for value in given {
                request = request.header("traceparent", value);
            }
            let request = request.header(CONTENT_TYPE, "application/json").body(Bytes::from(body.to_string()));
            deployment.send(request.unwrap()).await;
            assert_eq!(traced().await, json!(followed), "{path} {given:?}");
        }
        // Over MCP the message's own comes first, if it is one.
        for version in VERSIONS {
            let metas =
                [(json!(trace(3)), Some(trace(3))), (json!(malformed), followed.clone()), (json!(1), followed.clone())];
            for (meta, want) in metas {
                let mut client = Client::new(&deployment, &token, version);
                client.meta = json!({ "traceparent": meta });
                let (mut request, body) = client.request("tools/call", json!({ "name": "my_scope" }));
                for value in given {
                    request = request.header("traceparent", value);
                }
                assert_eq!(client.send(request, &body).await.status, 200);
                assert_eq!(traced().await, json!(want), "{version} {given:?} {meta}");
            }
        }
    }
}
