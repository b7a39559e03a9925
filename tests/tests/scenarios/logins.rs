//! Logins of humans, and what their sessions are good for.

use aegis_core::deployment::Deployment as Stored;
use aegis_core::pipeline;
use aegis_core::repository::{self, Loaded};
use aegis_core::store::Store;
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

#[tokio::test]
async fn an_id_token_is_exchanged_once_and_opens_nothing_itself() {
    let deployment = Deployment::new().await;
    let id_token = deployment.id_token("alice@org", &["user"]);
    assert_eq!(deployment.get(&id_token, "/v1/whoami").await.refused(401), "invalid_token");
    deployment.exchange(&id_token).await.ok();
    assert_eq!(deployment.exchange(&id_token).await.refused(400), "invalid_subject_token");
}

#[tokio::test]
async fn an_id_token_with_its_signature_rewritten_is_the_same_token() {
    // Of (r, s) anyone makes (r, n - s), which is as valid.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let rewritten = |token: &str| {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mut borrow = 0;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER).rev() {
            let difference = i16::from(order) - i16::from(*byte) - borrow;
            borrow = i16::from(difference < 0);
            *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    let deployment = Deployment::new().await;
    let (first, second) = (deployment.id_token("alice@org", &[]), deployment.id_token("alice@org", &[]));
    deployment.exchange(&rewritten(&first)).await.ok();
    deployment.exchange(&second).await.ok();
    for token in [first, rewritten(&second)] {
        assert_eq!(deployment.exchange(&token).await.refused(400), "invalid_subject_token");
    }
}

#[tokio::test]
async fn a_login_of_unknown_age_is_not_a_fresh_one() {
    let deployment = Deployment::new().await;
    let now = deployment.now();
    let claims = json!({
        "iss": deployment.issuer(), "sub": "alice@org", "aud": "aegis", "iat": now, "exp": now + 300,
        "roles": ["operator", "user"],
    });
    let answer = deployment.exchange(&deployment.provider_signs(&claims)).await.ok();
    let alice = text(&answer, "access_token");
    deployment.key(&alice, "own-key", "Ed25519").await;
    let refusal = deployment.post(&alice, "/v1/agents", json!({ "label": "x", "scope": "key:own-key:sign" })).await;
    assert_eq!(refusal.failed(401), "fresh-login-needed");
}

#[tokio::test]
async fn an_id_token_of_another_time_audience_or_issuer_is_refused() {
    let deployment = Deployment::new().await;
    let now = deployment.now();
    let good = json!({
        "iss": deployment.issuer(), "sub": "alice@org", "aud": "aegis", "iat": now, "exp": now + 300,
    });
    let with = |field: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[field] = value;
        deployment.provider_signs(&claims)
    };
    deployment.exchange(&with("jti", json!("1"))).await.ok();
    let table = [
        ("aud", json!("another"), "invalid_subject_token"),
        ("iss", json!("https://elsewhere.example"), "invalid_subject_token"),
        ("sub", json!("not a name!"), "invalid_subject_token"),
        ("exp", json!(now - 31), "subject_token_expired"),
        ("iat", json!(now - 601), "subject_token_expired"),
        ("iat", json!(now + 31), "invalid_subject_token"),
    ];
    for (field, value, reason) in table {
        assert_eq!(deployment.exchange(&with(field, value.clone())).await.refused(400), reason, "{field} {value}");
    }
}

/// A name that two providers know is two humans: where the settings change and nobody said that it is one, nobody logs in.
#[tokio::test]
async fn nobody_logs_in_at_a_provider_that_the_deployment_does_not_take_its_humans_from() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let tie = async |source: &str| {
        assert_eq!(pipeline::tie_humans(deployment.store.as_ref(), source, true).await.unwrap(), None);
    };
    let by_email = format!("{} by email", deployment.issuer());
    for elsewhere in ["https://elsewhere.example", &by_email, ""] {
        tie(elsewhere).await;
        let login = deployment.id_token("alice@org", &["admin"]);
        assert_eq!(deployment.exchange(&login).await.refused(400), "invalid_subject_token", "{elsewhere:?}");
        // The token is not used up by it, and who was there before goes on.
        deployment.get(&alice, "/v1/whoami").await.ok();
        tie(deployment.issuer()).await;
        deployment.exchange(&login).await.ok();
    }
    // Nor where nobody ever said where they come from.
    let found: Option<Loaded<Stored>> =
        repository::load(deployment.store.as_ref(), &repository::deployment_item()).await.unwrap();
    let mut untied = found.unwrap();
    untied.value.humans_from = None;
    deployment.store.transact(vec![untied.replace().unwrap()]).await.unwrap();
    let login = deployment.id_token("alice@org", &["admin"]);
    assert_eq!(deployment.exchange(&login).await.refused(400), "invalid_subject_token");
}

#[tokio::test]
async fn a_login_that_is_refused_is_told_as_token_endpoints_do() {
    let deployment = Deployment::new().await;
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let kind = "urn:ietf:params:oauth:token-type:id_token";
    let table = [
        (exchange, "no.id.token", kind, "invalid_request", "the subject token is no ID token"),
        (exchange, "no.id.token", "urn:ietf:params:oauth:token-type:jwt", "invalid_request", "invalid `body`"),
        ("password", "no.id.token", kind, "unsupported_grant_type", "invalid `grant_type`: it must be urn:ietf"),
    ];
    for (grant, subject, of_kind, error, described) in table {
        let form = [("grant_type", grant), ("subject_token", subject), ("subject_token_type", of_kind)];
        let answer = deployment.form("", "/v1/oauth/token", &form).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(!answer.headers.contains_key("www-authenticate"), "{:?}", answer.headers);
        assert_eq!(text(&answer.body, "error"), error);
        let said = text(&answer.body, "error_description");
        assert!(said.starts_with(described) && !said.contains("bearer"), "{said}");
    }
    let (admin, bob) = (deployment.log_in("root@org", &["admin"]).await, deployment.id_token("bob@org", &[]));
    deployment.log_in("bob@org", &[]).await;
    deployment.post(&admin, "/v1/humans/bob@org/revoke", json!({})).await.ok();
    let answer = deployment.exchange(&bob).await;
    assert_eq!((answer.refused(400), text(&answer.body, "error").as_str()), ("human_revoked", "invalid_request"));
    // Elsewhere errors are what they are everywhere.
    let elsewhere = deployment.get("no.id.token", "/v1/whoami").await;
    assert_eq!(elsewhere.headers["content-type"], "application/problem+json");
    assert!(elsewhere.body.get("error").is_none());
}

#[tokio::test]
async fn what_needs_a_fresh_login_says_so_once_it_is_stale() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    deployment.pass(301);
    let asked = json!({ "label": "an agent", "scope": "key:own-key:sign" });
    let refusal = deployment.post(&alice, "/v1/agents", asked.clone()).await;
    assert_eq!(refusal.failed(401), "fresh-login-needed");
    let challenge = refusal.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.contains("insufficient_user_authentication") && challenge.contains("max_age=\"300\""));
    deployment.post(&alice, "/v1/keys/own-key/sign", message(b"x")).await.ok();
    deployment.post(&deployment.alice().await, "/v1/agents", asked).await.ok();
}

#[tokio::test]
async fn what_an_older_login_issues_to_an_agent_is_short_and_ends_with_its_session() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let path = format!("/v1/agents/{agent}/credentials");
    let issue = async |ttl: u32| deployment.post(&alice, &path, json!({ "ttl": ttl })).await;
    let sign = async |token: &str| deployment.post(token, "/v1/keys/own-key/sign", message(b"x")).await;
    let whole = text(&issue(901).await.ok(), "token");

    deployment.pass(301);
    for body in [json!({}), json!({ "ttl": 901 })] {
        assert_eq!(deployment.post(&alice, &path, body).await.failed(401), "fresh-login-needed");
    }
    let short = text(&issue(900).await.ok(), "token");
    sign(&short).await.ok();

    // It does not outlive the session that issued it.
    deployment.pass(8 * 3_600 - 400);
    let last = issue(900).await.ok();
    let ends = last["expires_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(ends, deployment.now() + 99);
    let last = text(&last, "token");
    sign(&last).await.ok();
    let me = deployment.get(&alice, "/v1/whoami").await.ok();
    let path = format!("/v1/credentials/{}/revoke", text(&me, "credential"));
    deployment.post(&alice, &path, json!({})).await.ok();
    assert_eq!(sign(&last).await.refused(401), "credential_revoked");
    assert_eq!(sign(&whole).await.refused(401), "credential_expired");
}

#[tokio::test]
async fn a_session_ends_after_eight_hours() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.pass(8 * 3_600 - 1);
    deployment.get(&alice, "/v1/whoami").await.ok();
    deployment.pass(1);
    assert_eq!(deployment.get(&alice, "/v1/whoami").await.refused(401), "credential_expired");
}

#[tokio::test]
async fn a_flood_without_credentials_keeps_nobody_from_revoking() {
    let deployment = Deployment::with(5, 1_000_000).await;
    let alice = deployment.alice().await;
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    let statuses = async |count: usize| {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(deployment.get("", "/v1/keys").await.status);
        }
        statuses
    };
    assert_eq!(statuses(8).await, [401, 401, 401, 401, 401, 429, 429, 429]);
    deployment.post(&alice, &format!("/v1/agents/{agent}/revoke"), json!({})).await.ok();
    deployment.alice().await;
    deployment.pass(60);
    let tallies = deployment.host.gate.take_before(deployment.host.app.clock.now());
    assert_eq!(tallies.iter().map(|tally| tally.count).collect::<Vec<_>>(), [8], "those refused, too");
}

#[tokio::test]
async fn a_credential_has_its_share_of_requests_and_no_more() {
    let deployment = Deployment::with(100, 10).await;
    let alice = deployment.alice().await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(deployment.get(&alice, "/v1/whoami").await.status);
    }
    assert_eq!((statuses[9], statuses[10], statuses[11]), (200, 429, 429));
    deployment.alice().await;
    deployment.pass(60);
    deployment.get(&alice, "/v1/whoami").await.ok();
}

#[tokio::test]
async fn two_credentials_are_as_good_as_none() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let request = http::Request::get("/v1/whoami")
        .header("authorization", format!("Bearer {alice}"))
        .header("authorization", "Bearer another");
    assert_eq!(deployment.send(request.body(Default::default()).unwrap()).await.refused(401), "missing_token");
}

#[tokio::test]
async fn a_revoked_human_is_out_with_all_her_agents_until_she_is_back_and_they_are_new() {
    let deployment = Deployment::new().await;
    let (alice, admin) = (deployment.alice().await, deployment.log_in("root@org", &["admin"]).await);
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, token) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.post(&admin, "/v1/humans/alice@org/revoke", json!({})).await.ok();
    for token in [&alice, &token] {
        assert_eq!(deployment.get(token, "/v1/keys/own-key").await.refused(401), "human_revoked");
    }
    assert_eq!(deployment.exchange(&deployment.id_token("alice@org", &["user"])).await.refused(400), "human_revoked");

    deployment.post(&admin, "/v1/humans/alice@org/reinstate", json!({})).await.ok();
    let back = deployment.alice().await;
    for token in [&alice, &token] {
        assert_eq!(deployment.get(token, "/v1/keys/own-key").await.refused(401), "human_revoked");
    }
    let fresh = deployment.token(&back, &agent).await;
    deployment.post(&fresh, "/v1/keys/own-key/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn what_is_so_already_is_answered_and_not_changed() {
    let deployment = Deployment::new().await;
    let (alice, admin) = (deployment.alice().await, deployment.log_in("root@org", &["admin"]).await);
    deployment.key(&alice, "own-key", "Ed25519").await;
    let (agent, _) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    deployment.log_in("bob@org", &["user"]).await;
    let agent = |way: &str| format!("/v1/agents/{agent}/{way}");
    let bob = |way: &str| format!("/v1/humans/bob@org/{way}");
    let untouched = deployment.post(&admin, &bob("reinstate"), json!({})).await.ok();
    assert_eq!((&untouched["revoked"], &untouched["epoch"]), (&json!(false), &json!(1)));
    let ways =
        [agent("unfreeze"), agent("freeze"), agent("unfreeze"), agent("revoke"), bob("revoke"), bob("reinstate")];
    for path in ways {
        let by = if path.contains("humans") { &admin } else { &alice };
        let first = deployment.post(by, &path, json!({})).await.ok();
        deployment.pass(1);
        assert_eq!(deployment.post(by, &path, json!({})).await.ok(), first, "{path}");
    }
}
