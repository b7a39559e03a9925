//! Agents: what they may do, what happens when they leave it, and what they may pass on.

use aegis_tests::deployment::Deployment;
use aegis_tests::mcp::{Client, MODERN};
use aegis_tests::{message, text};
use serde_json::{Value, json};

#[tokio::test]
async fn an_agent_that_leaves_its_scope_is_stopped_before_its_second_misuse() {
    for (purpose, after, reason) in [("interactive", 401, "agent_revoked"), ("service", 403, "agent_frozen")] {
        let (deployment, alice) = two_keys().await;
        let grant = json!({ "purpose": purpose, "delegate": true });
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", grant).await;
        let (_, below) = deployment.agent(&token, "key:own-key:sign", json!({})).await;
        deployment.post(&token, "/v1/keys/own-key/sign", message(b"1")).await.ok();
        let refusal = deployment.post(&token, "/v1/keys/other-key/sign", message(b"2")).await;
        assert_eq!(refusal.refused(403), "scope_violation");
        assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"3")).await.refused(after), reason);
        assert_eq!(deployment.post(&below, "/v1/keys/own-key/sign", message(b"4")).await.refused(after), reason);

        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
        assert_eq!(record["recommendation"]["detector"], "scope_violation");
        assert_eq!(record["recommendation"]["agent"], agent.as_str());
        assert_eq!(record["recommendation"]["evidence"]["records"], json!([record["id"]]));
        assert_eq!(record["responses"][0]["agent"], agent.as_str());
        assert_eq!(record["outcome"], "denied");
    }
}

/// Whoever stands behind a service needs no operator to let it go on.
#[tokio::test]
async fn its_human_unfreezes_a_service_in_one_step_and_nobody_else_s() {
    let (deployment, _) = two_keys().await;
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let (agent, token) = deployment.agent(&uma, "key:own-key:sign", json!({ "purpose": "service" })).await;
    deployment.post(&token, "/v1/keys/other-key/sign", message(b"1")).await.refused(403);
    assert_eq!(deployment.post(&token, "/v1/keys/own-key/sign", message(b"2")).await.refused(403), "agent_frozen");
    let path = format!("/v1/agents/{agent}/unfreeze");
    let other = deployment.log_in("vera@org", &["user"]).await;
    assert_eq!(deployment.post(&other, &path, json!({})).await.refused(403), "policy");
    assert_eq!(deployment.post(&uma, &path, json!({})).await.ok()["state"], "active");
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"3")).await.ok();
}

#[tokio::test]
async fn a_key_that_does_not_exist_looks_like_one_outside_the_scope() {
    let (deployment, alice) = two_keys().await;
    let mut answers = Vec::new();
    for path in ["/v1/keys/other-key", "/v1/keys/no-such-key"] {
        let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let mut refusal = deployment.get(&token, path).await;
        let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
        let next = deployment.get(&token, "/v1/keys/own-key").await;
        assert_eq!(next.refused(401), "agent_revoked");
        for field in ["record", "request_id"] {
            refusal.body[field] = Value::Null;
        }
        assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "revoked");
        answers.push((refusal.status, refusal.body, record["reason"].clone()));
    }
    // The caller sees no difference; the record does.
    assert_eq!((answers[0].0, &answers[0].1), (answers[1].0, &answers[1].1));
    assert_eq!((&answers[0].2, &answers[1].2), (&json!("scope_violation"), &json!("scope_probe")));
}

#[tokio::test]
async fn a_sub_agent_that_leaves_its_scope_stops_the_one_that_made_it() {
    let (deployment, alice) = two_keys().await;
    let (parent_id, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let (id, below) = deployment.agent(&parent, "key:own-key:sign", json!({})).await;
    let refusal = deployment.post(&below, "/v1/keys/other-key/sign", message(b"x")).await;
    let record = deployment.get(&alice, &format!("/v1/audit/{}", text(&refusal.body, "record"))).await.ok();
    let stopped: Vec<_> = record["responses"].as_array().unwrap().iter().map(|r| (&r["action"], &r["agent"])).collect();
    let want =
        [(json!("revoke_agent"), json!(id)), (json!("freeze_agent"), json!(parent_id)), (json!("alert"), json!(id))];
    assert_eq!(stopped, want.iter().map(|(action, agent)| (action, agent)).collect::<Vec<_>>());
    let refusal = deployment.post(&parent, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "agent_frozen");
}

#[tokio::test]
async fn a_token_passes_on_no_more_time_than_it_has() {
    let (deployment, alice) = two_keys().await;
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let below = json!({ "label": "below", "scope": "key:own-key:sign" });
    let below = text(&deployment.post(&parent, "/v1/agents", below).await.ok(), "id");
    deployment.pass(1_800);
    let issued =
        deployment.post(&parent, &format!("/v1/agents/{below}/credentials"), json!({ "ttl": 86_400 })).await.ok();
    let end: jiff::Timestamp = text(&issued, "expires_at").parse().unwrap();
    assert_eq!(end.as_second() - deployment.now(), 1_800);
}

#[tokio::test]
async fn an_agent_uses_what_it_was_granted_and_reads_what_it_uses() {
    let (deployment, alice) = two_keys().await;
    let table = [
        ("POST", "/v1/keys/own-key/sign", 200),
        ("GET", "/v1/keys/own-key", 200),
        ("GET", "/v1/keys/own-key/public-key", 200),
        ("POST", "/v1/keys/own-key/verify", 403),
        ("POST", "/v1/keys/own-key/rotate", 403),
        ("POST", "/v1/keys/own-key/destroy", 403),
        ("GET", "/v1/keys/other-key/public-key", 403),
    ];
    for (method, path, want) in table {
        let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
        let answer = deployment.call(method.parse().unwrap(), &token, path, Some(message(b"x"))).await;
        assert_eq!(answer.status, want, "{method} {path} {}", answer.body);
    }
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let listed = deployment.get(&token, "/v1/keys").await.ok();
    let names: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|key| &key["aliases"][0]).collect();
    assert_eq!(names, ["own-key"]);
}

#[tokio::test]
async fn moving_a_name_widens_no_grant_and_stops_no_honest_agent() {
    let (deployment, alice) = two_keys().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let other = deployment.get(&alice, "/v1/keys/other-key").await.ok();
    let body = json!({ "key": other["id"] });
    deployment.call(http::Method::PUT, &alice, "/v1/aliases/own-key", Some(body)).await.ok();
    // More than once: it is remembered all the same.
    let third = deployment.key(&alice, "third-key", "Ed25519").await;
    let body = json!({ "key": third["id"] });
    deployment.call(http::Method::PUT, &alice, "/v1/aliases/own-key", Some(body)).await.ok();
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "stale_name");
    deployment.call(http::Method::DELETE, &alice, "/v1/aliases/own-key", None).await;
    let scope = deployment.get(&token, "/v1/keys").await.ok();
    let own = text(&scope["items"][0], "id");
    deployment.post(&token, &format!("/v1/keys/{own}/sign"), message(b"x")).await.ok();
    // What it was never granted it may not do by that name either.
    let refusal = deployment.post(&token, "/v1/keys/own-key/verify", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
}

#[tokio::test]
async fn a_label_grants_the_keys_that_bear_it_and_no_others() {
    let (deployment, alice) = two_keys().await;
    let labels = json!({ "labels": ["team=billing"] });
    deployment.call(http::Method::PATCH, &alice, "/v1/keys/own-key", Some(labels)).await.ok();
    let (_, token) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    assert_eq!(deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await.refused(403), "scope_violation");
}

#[tokio::test]
async fn moving_a_name_stops_no_agent_that_goes_by_the_label_of_the_key() {
    let (deployment, alice) = two_keys().await;
    let labels = json!({ "labels": ["team=billing"] });
    deployment.call(http::Method::PATCH, &alice, "/v1/keys/own-key", Some(labels)).await.ok();
    let (_, token) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    let other = deployment.get(&alice, "/v1/keys/other-key").await.ok();
    let body = json!({ "key": other["id"] });
    deployment.call(http::Method::PUT, &alice, "/v1/aliases/own-key", Some(body)).await.ok();
    for gone in [false, true] {
        if gone {
            deployment.call(http::Method::DELETE, &alice, "/v1/aliases/own-key", None).await;
        }
        let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(refusal.refused(403), "stale_name", "{gone}");
    }
    // What it was never granted it may not do by that name either.
    let refusal = deployment.post(&token, "/v1/keys/own-key/verify", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
}

/// Whatever is granted, there is room for what stops it.
#[tokio::test]
async fn a_grant_that_no_token_could_carry_is_refused() {
    let (deployment, alice) = two_keys().await;
    let filler = |entries: usize| {
        let entry = |n: usize| {
            let labels: Vec<String> = (0..32).map(|m| format!("filler-{n:02}-{m:02}={}", "x".repeat(60))).collect();
            format!("key:{}:sign", labels.join(","))
        };
        (0..entries).map(entry).collect::<Vec<_>>().join(" ")
    };
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{agent}");
    for entries in [7, 20, 32] {
        let amended = json!({ "scope": filler(entries) });
        let amended = deployment.call(http::Method::PATCH, &alice, &path, Some(amended)).await;
        assert_eq!(amended.failed(400), "invalid-request", "{entries}");
        let issued = json!({ "label": "an agent", "scope": filler(entries) });
        assert_eq!(deployment.post(&alice, "/v1/agents", issued).await.failed(400), "invalid-request", "{entries}");
    }
    let amended = json!({ "scope": filler(6) });
    deployment.call(http::Method::PATCH, &alice, &path, Some(amended)).await.ok();
    deployment.post(&alice, &format!("{path}/freeze"), json!({})).await.ok();
    deployment.post(&alice, &format!("{path}/revoke"), json!({})).await.ok();
}

/// Of many that leave their scope at once each is on record, though the agent is frozen once.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_violations_at_once_each_is_on_record() {
    let (deployment, alice) = two_keys().await;
    let deployment = std::sync::Arc::new(deployment);
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (deployment, token) = (std::sync::Arc::clone(&deployment), token.clone());
            tokio::spawn(async move { deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await })
        })
        .collect();
    for answer in asked {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 403, "{}", answer.body);
    }
    let records = deployment.get(&alice, &format!("/v1/audit?agent={agent}&outcome=denied&limit=200")).await.ok();
    assert_eq!(records["items"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn taking_a_label_off_a_key_narrows_and_stops_no_honest_agent() {
    let (deployment, alice) = two_keys().await;
    let label = async |key: &str, labels: Value| {
        let body = json!({ "labels": labels });
        deployment.call(http::Method::PATCH, &alice, &format!("/v1/keys/{key}"), Some(body)).await.ok();
    };
    label("own-key", json!(["team=billing"])).await;
    label("other-key", json!(["team=billing"])).await;
    label("other-key", json!([])).await;
    deployment.pass(1);
    let (agent, token) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    label("own-key", json!(["team=payroll"])).await;
    // However often, and with whichever of its tokens.
    for token in [&token, &deployment.token(&alice, &agent).await] {
        let refusal = deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(refusal.refused(403), "stale_label");
    }
    label("own-key", json!(["team=billing"])).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    label("own-key", json!([])).await;
    // What it was never granted it may not do by the label either, nor with a key that bore it before its time.
    let refusal = deployment.post(&token, "/v1/keys/own-key/verify", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
    let (_, token) = deployment.agent(&alice, "key:team=billing:sign", json!({})).await;
    let refusal = deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "scope_violation");
}

#[tokio::test]
async fn the_window_opens_and_closes() {
    let (deployment, alice) = two_keys().await;
    let at = |seconds: i64| jiff::Timestamp::from_second(deployment.now() + seconds).unwrap().to_string();
    let window = json!({ "not_before": at(100), "not_after": at(4_000) });
    let (agent, early) = deployment.agent(&alice, "key:own-key:sign", window).await;
    // Not valid yet: neither the token, nor, once clocks agree, the grant.
    assert_eq!(deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.refused(401), "invalid_token");
    deployment.pass(71);
    assert_eq!(deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.refused(403), "outside_window");
    deployment.pass(29);
    deployment.post(&early, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let late = deployment.token(&alice, &agent).await;
    deployment.pass(3_900);
    let refusal = deployment.post(&late, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(401), "credential_expired");
}

#[tokio::test]
async fn a_sub_agent_never_gets_more_than_its_parent_has() {
    let (deployment, alice) = two_keys().await;
    let grant = json!({ "delegate": true, "limits": { "per_day": 5 } });
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", grant).await;
    let table = [
        ("key:own-key:sign,verify", "grant_widening"),
        ("key:other-key:sign", "grant_widening"),
        ("key:no-such-key:sign", "grant_widening"),
        ("key:team=billing:sign", "grant_widening"),
    ];
    for (scope, reason) in table {
        let asked = json!({ "label": "below", "scope": scope });
        assert_eq!(deployment.post(&parent, "/v1/agents", asked).await.refused(403), reason, "{scope}");
    }
    let asked = json!({ "label": "below", "scope": "key:own-key:sign", "limits": { "per_day": 50 } });
    let below = deployment.post(&parent, "/v1/agents", asked).await.ok();
    assert_eq!(below["grant"]["limits"]["per_day"], 5);
    assert_eq!(below["sponsor"], "alice@org");

    let (_, without) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let asked = json!({ "label": "below", "scope": "key:own-key:sign" });
    assert_eq!(deployment.post(&without, "/v1/agents", asked).await.refused(403), "delegation_not_granted");
}

#[tokio::test]
async fn the_third_level_is_the_last() {
    let (deployment, alice) = two_keys().await;
    let grant = || json!({ "delegate": true });
    let mut token = deployment.agent(&alice, "key:own-key:sign", grant()).await.1;
    for _ in 0..2 {
        token = deployment.agent(&token, "key:own-key:sign", grant()).await.1;
    }
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let asked = json!({ "label": "below", "scope": "key:own-key:sign" });
    assert_eq!(deployment.post(&token, "/v1/agents", asked).await.failed(409), "state");
}

#[tokio::test]
async fn narrowing_a_grant_narrows_the_credentials_that_are_out() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign,verify", json!({})).await;
    let narrower = json!({ "scope": "key:own-key:verify" });
    let amended = deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(narrower)).await;
    assert_eq!(amended.ok()["grant"]["version"], 2);
    // It was led out of its scope, so it is refused and lives.
    for _ in 0..2 {
        let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(refusal.refused(403), "grant_narrowed");
    }
}

#[tokio::test]
async fn a_credential_s_revocation_reaches_what_was_obtained_with_it() {
    let (deployment, alice) = two_keys().await;
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let (_, below) = deployment.agent(&parent, "key:own-key:sign", json!({ "delegate": true })).await;
    let (_, lowest) = deployment.agent(&below, "key:own-key:sign", json!({})).await;
    let credential = text(&deployment.get(&parent, "/v1/whoami").await.ok(), "credential");
    deployment.post(&lowest, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    deployment.post(&alice, &format!("/v1/credentials/{credential}/revoke"), json!({})).await.ok();
    for token in [&parent, &below, &lowest] {
        let refusal = deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await;
        assert_eq!(refusal.refused(401), "credential_revoked");
    }
}

#[tokio::test]
async fn a_narrow_credential_gets_none_that_is_wider() {
    let (deployment, alice) = two_keys().await;
    let (agent, narrow) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let wider = json!({ "scope": "key:own-key:sign key:other-key:sign" });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(wider)).await.ok();
    let wide = deployment.token(&alice, &agent).await;
    let asked = json!({ "label": "below", "scope": "key:other-key:sign" });
    let below = text(&deployment.post(&wide, "/v1/agents", asked).await.ok(), "id");
    let refusal = deployment.post(&narrow, &format!("/v1/agents/{below}/credentials"), json!({})).await;
    assert_eq!(refusal.refused(403), "grant_widening");
    deployment.token(&wide, &below).await;
}

#[tokio::test]
async fn an_agent_s_listing_and_its_cursors_name_no_key_outside_its_scope() {
    let (deployment, alice) = two_keys().await;
    for i in 0..6 {
        deployment.key(&alice, &format!("key-{i}"), "Ed25519").await;
    }
    let scope = "key:key-1:sign key:key-3:sign key:key-4:sign";
    let (_, token) = deployment.agent(&alice, scope, json!({})).await;
    let foreign: Vec<String> = deployment.get(&alice, "/v1/keys").await.ok()["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| !["key-1", "key-3", "key-4"].contains(&key["aliases"][0].as_str().unwrap()))
        .map(|key| text(key, "id"))
        .collect();
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = deployment.get(&token, &format!("/v1/keys?limit=1{cursor}")).await.ok();
        seen += page["items"].as_array().unwrap().len();
        let Some(next) = page["next_cursor"].as_str() else { break };
        let decoded = String::from_utf8(aegis_core::encoding::from_base64url(next).unwrap()).unwrap();
        assert!(foreign.iter().all(|id| !decoded.contains(id)), "{decoded}");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn asking_for_a_missing_key_in_a_sub_agent_s_scope_costs_what_an_existing_one_costs() {
    let (deployment, alice) = two_keys().await;
    let mut costs = Vec::new();
    for name in ["other-key", "no-such-key"] {
        let (_, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
        deployment.store.take_calls();
        let scope = format!("key:own-key:sign key:{name}:sign key:{name}:verify");
        let refusal = deployment.post(&parent, "/v1/agents", json!({ "label": "x", "scope": scope })).await;
        costs.push((refusal.refused(403).to_string(), deployment.store.take_calls()));
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn of_many_at_once_64_sub_agents_live_below_one() {
    let (deployment, alice) = two_keys().await;
    let (_, parent) = deployment.agent(&alice, "key:own-key:sign", json!({ "delegate": true })).await;
    let deployment = std::sync::Arc::new(deployment);
    let asked: Vec<_> = (0..70)
        .map(|_| {
            let (deployment, parent) = (std::sync::Arc::clone(&deployment), parent.clone());
            let body = json!({ "label": "below", "scope": "key:own-key:sign", "purpose": "service" });
            tokio::spawn(async move {
                // One item counts the places: who loses it too often is told to repeat, and does.
                loop {
                    let answer = deployment.post(&parent, "/v1/agents", body.clone()).await;
                    if answer.body["code"] != "contended" {
                        return answer;
                    }
                }
            })
        })
        .collect();
    let mut made = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        match answer.status {
            201 => made.push(answer.body),
            _ => assert_eq!(answer.failed(409), "state", "{}", answer.body),
        }
    }
    assert_eq!(made.len(), 64);
    assert_eq!(made[0]["purpose"], "interactive", "its parent's");
    deployment.post(&alice, &format!("/v1/agents/{}/revoke", text(&made[0], "id")), json!({})).await.ok();
    deployment.agent(&parent, "key:own-key:sign", json!({})).await;
}

#[tokio::test]
async fn widening_a_grant_does_not_widen_the_credentials_that_are_out() {
    let (deployment, alice) = two_keys().await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let wider = json!({ "scope": "key:own-key:sign key:other-key:sign" });
    deployment.call(http::Method::PATCH, &alice, &format!("/v1/agents/{agent}"), Some(wider)).await.ok();
    let fresh = deployment.token(&alice, &agent).await;
    deployment.post(&fresh, "/v1/keys/other-key/sign", message(b"x")).await.ok();
    assert_eq!(deployment.post(&token, "/v1/keys/other-key/sign", message(b"x")).await.refused(403), "scope_violation");
}

#[tokio::test]
async fn a_human_who_loses_her_role_takes_it_from_her_agents() {
    let (deployment, alice) = two_keys().await;
    let (_, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.log_in("alice@org", &["auditor"]).await;
    let refusal = deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await;
    assert_eq!(refusal.refused(403), "sponsor_not_permitted");
}

#[tokio::test]
async fn an_agent_s_scope_shows_what_is_left() {
    let (deployment, alice) = two_keys().await;
    let limits = json!({ "limits": { "per_day": 5, "max_uses": 100 } });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", limits).await;
    deployment.post(&token, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    let scope = deployment.get(&token, &format!("/v1/agents/{agent}/scope")).await.ok();
    assert_eq!(scope["used"], json!({ "max_uses": 1, "per_day": 1 }));
    assert_eq!(scope["limits"], json!({ "max_uses": 100, "per_day": 5 }));
}

async fn two_keys() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "other-key"] {
        deployment.key(&alice, name, "ECDSA-P256").await;
    }
    (deployment, alice)
}

/// A job that rotates keys is an agent like any other.
#[tokio::test]
async fn an_agent_rotates_what_an_operator_let_it_rotate() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for name in ["own-key", "foreign-key"] {
        deployment.key(&alice, name, "Ed25519").await;
    }
    // What a human may not do herself she cannot grant.
    let uma = deployment.log_in("uma@org", &["user"]).await;
    let wish = json!({ "label": "rotates", "scope": "key:own-key:sign,rotate", "purpose": "service" });
    assert_eq!(deployment.post(&uma, "/v1/agents", wish).await.refused(403), "policy");

    let more = json!({ "purpose": "service", "limits": { "max_uses": 3 } });
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign,rotate", more).await;
    let (_, signs) = deployment.agent(&alice, "key:own-key:sign", json!({ "purpose": "service" })).await;
    let rotate =
        async |token: &str, key: &str| deployment.post(token, &format!("/v1/keys/{key}/rotate"), json!({})).await;
    let check = json!({ "action": "rotate" });
    let foretold = deployment.post(&token, "/v1/keys/own-key/check-access", check).await.ok();
    assert_eq!(foretold["decision"], "allow", "{foretold}");
    assert_eq!(rotate(&token, "own-key").await.ok()["version"], 2);
    let listed = Client::new(&deployment, &token, MODERN).result("tools/list", json!({})).await;
    assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "rotate_key"), "{listed}");
    let record =
        deployment.get(&alice, &format!("/v1/audit?agent={agent}&op=key.rotate")).await.ok()["items"][0].clone();
    assert_eq!(
        (&record["outcome"], &record["agents"], &record["key_version"]),
        (&json!("ok"), &json!([agent]), &json!(2))
    );
    // Who may sign with a key may not rotate it.
    assert_eq!(rotate(&signs, "own-key").await.refused(403), "scope_violation");

    // Hers no longer, nor the agent's; and each rotation counts against the limits.
    deployment.log_in("alice@org", &["user"]).await;
    assert_eq!(rotate(&token, "own-key").await.refused(403), "policy");
    let alice = deployment.alice().await;
    for version in [3, 4] {
        assert_eq!(rotate(&token, "own-key").await.ok()["version"], version);
    }
    let spent = rotate(&token, "own-key").await;
    assert_eq!(spent.refused(403), "uses_exhausted");
    assert_eq!(rotate(&token, "foreign-key").await.refused(403), "scope_violation");
    assert_eq!(deployment.get(&alice, &format!("/v1/agents/{agent}")).await.ok()["state"], "frozen");
}
