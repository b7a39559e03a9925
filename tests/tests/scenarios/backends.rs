//! Keys at a back end: registered, made there, and never left there unknown.

use aegis_core::key::VersionRecord;
use aegis_core::keystore::Material;
use aegis_core::repository::{self, Loaded, version_item};
use aegis_core::store::fault::{Fault, Operation};
use aegis_core::survey::{ObjectState, Other, Survey, Way};
use aegis_tests::deployment::Deployment;
use aegis_tests::{from_base64, message, text};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use std::os::unix::fs::OpenOptionsExt;

#[tokio::test]
async fn a_registered_key_stays_where_it_is_and_is_under_aegis() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let own = put(&deployment, "payments.pem");
    let key = deployment.post(&alice, "/v1/keys/register", registration("payments", "payments.pem")).await.ok();
    let told = ["origin", "backend", "object"].map(|field| text(&key, field));
    assert_eq!(told, ["registered", "stick", "payments.pem"]);
    let (_, agent) = deployment.agent(&alice, "key:payments:sign", json!({})).await;
    let signed = deployment.post(&agent, "/v1/keys/payments/sign", message(b"x")).await.ok();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, own.public_key())
        .verify(b"x", &from_base64(&signed["signature"]))
        .unwrap();
    // Its state is Aegis's affair, whatever the file could do.
    deployment.post(&alice, "/v1/keys/payments/suspend", json!({})).await.ok();
    assert_eq!(deployment.post(&agent, "/v1/keys/payments/sign", message(b"x")).await.failed(409), "key-state");
    deployment.post(&alice, "/v1/keys/payments/resume", json!({})).await.ok();
    // Away, it is said to be so; back, it works.
    let (here, away) = (deployment.stick(), deployment.stick().with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    let answer = deployment.post(&agent, "/v1/keys/payments/sign", message(b"x")).await;
    assert_eq!(
        (answer.failed(503), text(&answer.body, "title").as_str()),
        ("unavailable", "the key store did not answer")
    );
    std::fs::rename(&away, &here).unwrap();
    deployment.post(&agent, "/v1/keys/payments/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn one_object_is_one_key() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, "payments.pem");
    let post = |body| deployment.post(&alice, "/v1/keys/register", body);
    let key = post(registration("payments", "payments.pem")).await.ok();
    let again = post(registration("others", "payments.pem")).await;
    assert_eq!(again.failed(400), "invalid-request");
    assert!(text(&again.body, "detail").contains(&text(&key, "id")));
    assert_eq!(post(registration("payments", "payments.pem")).await.failed(409), "name-taken");
    for (field, wrong) in [("backend", "nowhere"), ("object", "no-such.pem"), ("algorithm", "Ed25519")] {
        let mut body = registration("others", "payments.pem");
        put(&deployment, "others.pem");
        body["object"] = "others.pem".into();
        body[field] = wrong.into();
        assert_eq!(post(body).await.failed(400), "invalid-request", "{field}");
    }
    // The same key in a copy of the file, and what Aegis itself made there.
    std::fs::copy(deployment.stick().join("payments.pem"), deployment.stick().join("copy.pem")).unwrap();
    assert_eq!(post(registration("others", "copy.pem")).await.failed(400), "invalid-request");
    deployment.post(&alice, "/v1/keys", creation("made-there")).await.ok();
    let own = std::fs::read_dir(deployment.stick()).unwrap().map(|entry| entry.unwrap().file_name());
    let own = own.map(|name| name.into_string().unwrap()).find(|name| name.starts_with("aegis-")).unwrap();
    assert_eq!(post(registration("others", &own)).await.failed(400), "invalid-request");
    std::fs::copy(deployment.stick().join(own), deployment.stick().join("copy.pem")).unwrap();
    assert_eq!(post(registration("others", "copy.pem")).await.failed(400), "invalid-request");
    // Two at once: one of them.
    put(&deployment, "contested.pem");
    let (one, two) =
        tokio::join!(post(registration("one", "contested.pem")), post(registration("two", "contested.pem")));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
}

#[tokio::test]
async fn who_else_can_use_a_key_is_known_counts_as_risk_and_is_on_record_when_it_changes() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, "payments.pem");
    let eve = || Other { principal: "eve".into(), by: Way::Policy, may: vec![], conditional: false, grant: None };
    let shared = Survey::new(ObjectState::Enabled, vec![eve()]);
    deployment.said.say(shared.clone());
    let key = deployment.post(&alice, "/v1/keys/register", registration("payments", "payments.pem")).await.ok();
    assert_eq!((&key["at_backend"]["shared"], &key["at_backend"]["state"]), (&json!(true), &json!("enabled")));
    assert_eq!(key["at_backend"]["used_by"], json!([{ "principal": "eve", "by": "policy" }]));
    let (_, agent) = deployment.agent(&alice, "key:payments:sign", json!({})).await;
    // Who else has the key is no business of an agent's.
    let seen = deployment.get(&agent, "/v1/keys/payments").await.ok();
    assert_eq!(seen.get("at_backend"), None);
    assert_eq!(shared_factor(&deployment, &alice, &agent).await, Some(0.03));

    // Nothing is asked again within the hour; then what changed is on record, once.
    deployment.said.say(Survey::new(ObjectState::Disabled, vec![]));
    deployment.pass(3_599);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    deployment.pass(1);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    let alice = deployment.alice().await;
    let records = deployment.get(&alice, "/v1/audit?op=key.survey").await.ok();
    let [record] = &records["items"].as_array().unwrap()[..] else { panic!("{records}") };
    assert_eq!((text(record, "object"), text(record, "plane")), ("disabled, exclusive".into(), "internal".into()));
    assert_eq!(record["key"], key["id"]);
    let there = deployment.get(&alice, "/v1/keys/payments").await.ok()["at_backend"].clone();
    assert_eq!((&there["shared"], &there["state"]), (&json!(false), &json!("disabled")));
    let (_, agent) = deployment.agent(&alice, "key:payments:sign", json!({})).await;
    assert_eq!(shared_factor(&deployment, &alice, &agent).await, None);
    for _ in 0..2 {
        deployment.pass(3_600);
        assert_eq!(deployment.run_due().await.unwrap(), 1);
    }
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/audit?op=key.survey").await.ok()["items"].as_array().unwrap().len(), 1);
    // A back end that is silent is asked again; what it said last stays.
    deployment.said.keep_silent();
    deployment.pass(3_600);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    deployment.said.say(shared);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/audit?op=key.survey").await.ok()["items"].as_array().unwrap().len(), 2);
}

/// What the key's being shared adds to the risk of a use.
async fn shared_factor(deployment: &Deployment, alice: &str, agent: &str) -> Option<f64> {
    deployment.post(agent, "/v1/keys/payments/sign", message(b"x")).await.ok();
    let record = deployment.get(alice, "/v1/audit?op=key.sign&limit=1").await.ok()["items"][0].clone();
    let factors = record["risk"]["factors"].as_array().unwrap().clone();
    let found = factors.iter().find(|factor| factor["factor"] == "key_shared");
    found.map(|factor| factor["weight"].as_f64().unwrap())
}

#[tokio::test]
async fn what_aegis_made_and_lets_nobody_use_its_back_end_refuses_too_whatever_fails_on_the_way() {
    // That it begins, each of two versions, and that it is done.
    for (passing, fault) in (0..4).flat_map(|passing| [(passing, Fault::BeforeWrite), (passing, Fault::AfterWrite)]) {
        let (deployment, alice) = with_two_versions().await;
        let run = async || deployment.run_due().await;
        for (step, enabled, by) in
            [("suspend", false, json!("aegis")), ("resume", true, json!(null)), ("suspend", false, json!("aegis"))]
        {
            deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
            deployment.store.fail_later(Operation::Write, passing, fault);
            run().await.unwrap_err();
            let _ = run().await.unwrap();
            assert_eq!(run().await.unwrap(), 0, "{step} {passing} {fault:?}");
            let told = deployment.said.told();
            assert!([1, 2].iter().all(|version| told.contains(&(*version, enabled))), "{step} {passing} {told:?}");
            assert!(told.iter().all(|(_, told)| *told == enabled), "{step} {passing} {told:?}");
            let there = deployment.get(&alice, "/v1/keys/payments").await.ok()["at_backend"].clone();
            let state = if enabled { "enabled" } else { "disabled" };
            assert_eq!((&there["state"], &there["disabled_by"]), (&json!(state), &by), "{step} {passing}");
        }
        let records = deployment.get(&alice, "/v1/audit?op=key.survey").await.ok();
        let mut said: Vec<_> =
            records["items"].as_array().unwrap().iter().map(|record| text(record, "object")).collect();
        said.sort_unstable();
        assert_eq!(said, ["disabled, exclusive", "disabled, exclusive", "enabled, exclusive"], "{passing} {fault:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_to_be_destroyed_is_disabled_at_its_back_end_until_it_is_kept() {
    let (deployment, alice) = with_two_versions().await;
    let run = async || deployment.run_due().await.unwrap();
    for step in ["deactivate", "destroy"] {
        deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
    }
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, false), (1, false)]));
    deployment.post(&alice, "/v1/keys/payments/cancel-destroy", json!({})).await.ok();
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, true), (1, true)]));
    // Deactivated, it still verifies.
    assert_eq!(run().await, 0);
    deployment.post(&alice, "/v1/keys/payments/destroy", json!({})).await.ok();
    assert_eq!((run().await, deployment.said.told().len()), (1, 2));
    assert_eq!(run().await, 0);
    // Who enables it there meanwhile does not keep it usable until the end.
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.pass(3_600);
    assert_eq!((run().await, run().await, deployment.said.told().len()), (1, 1, 2));
    deployment.pass(7 * 86_400);
    assert_eq!((run().await, deployment.said.told()), (1, vec![]));
    assert_eq!(files(&deployment), 0);
}

/// What a version's material is, so that a test can say what somebody did with it there.
async fn material(deployment: &Deployment, key: &str, version: u32) -> Material {
    let item = version_item(&key.to_string().try_into().unwrap(), version);
    let found: Loaded<VersionRecord> = repository::load(deployment.store.as_ref(), &item).await.unwrap().unwrap();
    found.value.material.unwrap()
}

#[tokio::test]
async fn what_is_suspended_again_while_it_is_enabled_is_disabled_again() {
    // Begun; then interrupted after either version, or at the end.
    for passing in 1..4 {
        let (deployment, alice) = with_two_versions().await;
        let run = async || deployment.run_due().await;
        let step = async |step| deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
        step("suspend").await;
        assert_eq!(run().await.unwrap(), 1);
        step("resume").await;
        deployment.store.fail_later(Operation::Write, passing, Fault::BeforeWrite);
        run().await.unwrap_err();
        step("suspend").await;
        deployment.said.told();
        assert_eq!(run().await.unwrap(), 1, "{passing}");
        let mut told = deployment.said.told();
        told.sort_unstable();
        assert_eq!(told, [(1, false), (2, false)], "{passing}");
        assert_eq!(run().await.unwrap(), 0);
        step("resume").await;
        assert_eq!((run().await.unwrap(), deployment.said.told().len()), (1, 2));
    }
}

#[tokio::test]
async fn what_is_rotated_right_after_it_was_resumed_has_its_earlier_versions_enabled() {
    let (deployment, alice) = with_two_versions().await;
    let run = async || deployment.run_due().await.unwrap();
    let step = async |step| deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
    step("suspend").await;
    assert_eq!((run().await, deployment.said.told().len()), (1, 2));
    step("resume").await;
    step("rotate").await;
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, true), (1, true)]));
    assert_eq!(run().await, 0);
}

#[tokio::test]
async fn an_earlier_version_that_others_disabled_stays_so_and_one_that_cannot_be_told_keeps_none_of_the_others() {
    let (deployment, alice) = with_two_versions().await;
    let run = async || deployment.run_due().await.unwrap();
    let step = async |step| deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
    let key = text(&deployment.get(&alice, "/v1/keys/payments").await.ok(), "id");
    deployment.said.turn(&material(&deployment, &key, 1).await, ObjectState::Disabled);
    step("suspend").await;
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, false)]));
    step("resume").await;
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, true)]));

    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.said.keep_silent_about(Some(2));
    step("suspend").await;
    assert_eq!((run().await, deployment.said.told()), (0, vec![(1, false)]));
    deployment.said.keep_silent_about(None);
    assert_eq!((run().await, deployment.said.told()), (1, vec![(2, false), (1, false)]));
}

#[tokio::test]
async fn what_others_disabled_or_hold_too_aegis_leaves_as_it_is() {
    let (deployment, alice) = with_two_versions().await;
    let run = async || deployment.run_due().await.unwrap();
    deployment.said.say(Survey::new(ObjectState::Disabled, vec![]));
    for (step, by) in [("suspend", json!("others")), ("resume", json!(null))] {
        deployment.post(&alice, &format!("/v1/keys/payments/{step}"), json!({})).await.ok();
        assert_eq!((run().await, deployment.said.told(), run().await), (1, vec![], 0), "{step}");
        let there = deployment.get(&alice, "/v1/keys/payments").await.ok()["at_backend"].clone();
        assert_eq!((&there["state"], &there["disabled_by"]), (&json!("disabled"), &by), "{step}");
    }
    // What Aegis disabled and somebody enabled is disabled again, and that is on record.
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.post(&alice, "/v1/keys/payments/suspend", json!({})).await.ok();
    assert_eq!((run().await, deployment.said.told().len()), (1, 2));
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.pass(3_600);
    assert_eq!((run().await, deployment.said.told().len()), (1, 0));
    assert_eq!((run().await, deployment.said.told().len()), (1, 2));
    // So is what others had disabled when Aegis came, and enabled later.
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/keys/payments/resume", json!({})).await.ok();
    assert_eq!((run().await, deployment.said.told().len()), (1, 2));
    deployment.said.say(Survey::new(ObjectState::Disabled, vec![]));
    deployment.post(&alice, "/v1/keys/payments/suspend", json!({})).await.ok();
    assert_eq!((run().await, deployment.said.told().len()), (1, 0));
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.pass(3_600);
    assert_eq!((run().await, run().await, deployment.said.told().len()), (1, 1, 2));
    let alice = deployment.alice().await;
    let there = deployment.get(&alice, "/v1/keys/payments").await.ok()["at_backend"].clone();
    assert_eq!((&there["state"], &there["disabled_by"]), (&json!("disabled"), &json!("aegis")));

    // What was registered others may need.
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, "payments.pem");
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.post(&alice, "/v1/keys/register", registration("payments", "payments.pem")).await.ok();
    deployment.post(&alice, "/v1/keys/payments/suspend", json!({})).await.ok();
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    assert_eq!(deployment.said.told(), []);
}

/// A key that a back end made, which says that it is enabled.
async fn with_two_versions() -> (Deployment, String) {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.post(&alice, "/v1/keys", creation("payments")).await.ok();
    deployment.post(&alice, "/v1/keys/payments/rotate", json!({})).await.ok();
    (deployment, alice)
}

#[tokio::test]
async fn a_back_end_that_does_not_tell_who_can_use_a_key_shares_it() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, "payments.pem");
    deployment.said.keep_silent();
    let key = deployment.post(&alice, "/v1/keys/register", registration("payments", "payments.pem")).await.ok();
    assert_eq!((&key["at_backend"]["shared"], &key["at_backend"]["state"]), (&json!(true), &json!("unavailable")));
    // It is asked again soon.
    deployment.said.say(Survey::new(ObjectState::Enabled, vec![]));
    deployment.pass(60);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/keys/payments").await.ok()["at_backend"]["shared"], false);
    // A folder has no policies; of Aegis's own keys nobody else has anything.
    let refused = deployment.get(&alice, "/v1/keys/payments/lockdown").await;
    assert_eq!(refused.failed(400), "invalid-request");
    deployment.key(&alice, "own-key", "ECDSA-P256").await;
    assert_eq!(deployment.get(&alice, "/v1/keys/own-key/lockdown").await.failed(400), "invalid-request");
    let (_, agent) = deployment.agent(&alice, "key:own-key:sign", json!({})).await;
    assert_eq!(deployment.get(&agent, "/v1/keys/own-key/lockdown").await.refused(403), "scope_violation");
    // A rotation makes another object, of which the back end says something else.
    deployment.said.say(Survey::new(ObjectState::Disabled, vec![]));
    let rotated = deployment.post(&alice, "/v1/keys/payments/rotate", json!({})).await.ok();
    assert_eq!(rotated["at_backend"]["state"], "disabled");
}

#[tokio::test]
async fn what_was_made_at_a_back_end_and_never_recorded_is_undone() {
    // The intent is the first write, the key the second.
    for (passing, fault, made) in
        [(0, Fault::BeforeWrite, 0), (0, Fault::AfterWrite, 0), (1, Fault::BeforeWrite, 1), (1, Fault::AfterWrite, 1)]
    {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        deployment.store.fail_later(Operation::Write, passing, fault);
        let answer = deployment.post(&alice, "/v1/keys", creation("payments")).await;
        assert_eq!(answer.failed(503), "unavailable");
        assert_eq!(files(&deployment), made, "{passing} {fault:?}");
        let exists = (passing, fault) == (1, Fault::AfterWrite);
        // Nothing is undone that may still be on its way.
        deployment.pass(299);
        assert_eq!(deployment.run_due().await.unwrap(), 0);
        assert_eq!(files(&deployment), made);
        deployment.pass(1);
        let undone = !exists && (passing, fault) != (0, Fault::BeforeWrite);
        assert_eq!(deployment.run_due().await.unwrap(), usize::from(undone), "{passing} {fault:?}");
        assert_eq!(deployment.run_due().await.unwrap(), 0);
        assert_eq!(files(&deployment), usize::from(exists), "{passing} {fault:?}");
        let alice = deployment.alice().await;
        let records = deployment.get(&alice, "/v1/audit?op=intent.undo").await.ok();
        assert_eq!(records["items"].as_array().unwrap().len(), usize::from(undone), "{passing} {fault:?}");
        let signed = deployment.post(&alice, "/v1/keys/payments/sign", message(b"x")).await;
        assert_eq!(signed.status, if exists { 200 } else { 404 });
        // The name is free, or the key works.
        if !exists {
            deployment.post(&alice, "/v1/keys", creation("payments")).await.ok();
            assert_eq!(files(&deployment), 1);
        }
    }
}

#[tokio::test]
async fn an_undoing_that_is_cut_short_goes_on() {
    for passing in 0..2 {
        for fault in [Fault::BeforeWrite, Fault::AfterWrite] {
            let deployment = Deployment::new().await;
            let alice = deployment.alice().await;
            deployment.store.fail_later(Operation::Write, 1, Fault::BeforeWrite);
            deployment.post(&alice, "/v1/keys", creation("payments")).await.failed(503);
            deployment.pass(300);
            deployment.store.fail_later(Operation::Write, passing, fault);
            deployment.run_due().await.unwrap_err();
            let _ = deployment.run_due().await.unwrap();
            assert_eq!(files(&deployment), 0, "{passing} {fault:?}");
            let alice = deployment.alice().await;
            let records = deployment.get(&alice, "/v1/audit?op=intent.undo").await.ok();
            assert_eq!(records["items"].as_array().unwrap().len(), 1, "{passing} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_key_at_a_back_end_rotates_and_is_destroyed_there() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    put(&deployment, "payments.pem");
    let mut body = registration("payments", "payments.pem");
    body["rotate_every_days"] = 1.into();
    deployment.post(&alice, "/v1/keys/register", body).await.ok();
    let signed = deployment.post(&alice, "/v1/keys/payments/sign", message(b"x")).await.ok();
    let rotated = deployment.post(&alice, "/v1/keys/payments/rotate", json!({})).await.ok();
    assert_eq!((text(&rotated, "origin"), rotated["object"].is_null()), ("generated".into(), true));
    deployment.pass(86_400);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(files(&deployment), 3, "one for each version");
    let alice = deployment.alice().await;
    let old = json!({ "message": message(b"x")["message"], "signature": signed["signature"], "key_version": 1 });
    assert_eq!(deployment.post(&alice, "/v1/keys/payments/verify", old).await.ok()["valid"], true);
    let signed = deployment.post(&alice, "/v1/keys/payments/sign", message(b"x")).await.ok();
    assert_eq!(signed["key_version"], 3);

    deployment.key(&alice, "other", "Ed25519").await;
    for name in ["payments", "other"] {
        deployment.post(&alice, &format!("/v1/keys/{name}/deactivate"), json!({})).await.ok();
        deployment.post(&alice, &format!("/v1/keys/{name}/destroy"), json!({})).await.ok();
    }
    deployment.pass(7 * 86_400);
    // Away, it keeps no other key waiting, and nothing is forgotten.
    let (here, away) = (deployment.stick(), deployment.stick().with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    assert_eq!(deployment.run_due().await.unwrap(), 1, "the other key");
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(files(&deployment), 3);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(files(&deployment), 0);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/keys/payments").await.ok()["state"], "destroyed");
}

#[tokio::test]
async fn a_repeated_creation_at_a_back_end_makes_one_key_and_leaves_one_file() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let send = || {
        let request = http::Request::post("/v1/keys")
            .header("authorization", format!("Bearer {alice}"))
            .header("content-type", "application/json")
            .header("idempotency-key", "once");
        deployment.send(request.body(creation("payments").to_string().into()).unwrap())
    };
    deployment.store.fail_later(Operation::Write, 1, Fault::BeforeWrite);
    send().await.failed(503);
    let key = send().await.ok();
    assert_eq!(send().await.ok()["id"], key["id"]);
    assert_eq!(files(&deployment), 2);
    deployment.pass(300);
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(files(&deployment), 1);
    let alice = deployment.alice().await;
    deployment.post(&alice, "/v1/keys/payments/sign", message(b"x")).await.ok();
}

fn registration(name: &str, object: &str) -> Value {
    json!({ "name": name, "backend": "stick", "object": object, "algorithm": "ECDSA-P256", "activate": true })
}

fn creation(name: &str) -> Value {
    json!({ "name": name, "backend": "stick", "algorithm": "ECDSA-P256", "activate": true })
}

/// A file as `openssl genpkey` writes it.
fn put(deployment: &Deployment, name: &str) -> EcdsaKeyPair {
    use std::io::Write;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let body = aegis_tests::base64(pair.to_pkcs8v1().unwrap().as_ref());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let path = deployment.stick().join(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(pem.as_bytes()).unwrap();
    pair
}

fn files(deployment: &Deployment) -> usize {
    let entries = std::fs::read_dir(deployment.stick()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name() != ".aegis-keys").count()
}

#[tokio::test]
async fn a_scheduled_rotation_that_cannot_be_done_now_is_one_change_however_often_it_is_tried() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let mut body = creation("payments");
    body["rotate_every_days"] = 1.into();
    deployment.post(&alice, "/v1/keys", body).await.ok();
    deployment.pass(86_400);
    let (here, away) = (deployment.stick(), deployment.stick().with_extension("away"));
    std::fs::rename(&here, &away).unwrap();
    for _ in 0..5 {
        assert_eq!(deployment.run_due().await.unwrap(), 0);
        deployment.pass(5);
    }
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    assert_eq!(files(&deployment), 2);
    deployment.pass(600);
    assert_eq!(deployment.run_due().await.unwrap(), 0, "nothing is left to undo");
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/keys/payments").await.ok()["version"], 2);
    // Away for longer than an intent waits: undone, and begun anew.
    deployment.pass(86_400);
    deployment.store.fail_later(Operation::Write, 1, Fault::BeforeWrite);
    deployment.run_due().await.unwrap_err();
    assert_eq!(files(&deployment), 3, "made, and not on record");
    std::fs::rename(&here, &away).unwrap();
    deployment.pass(300);
    assert_eq!(deployment.run_due().await.unwrap(), 0);
    std::fs::rename(&away, &here).unwrap();
    for _ in 0..3 {
        let _ = deployment.run_due().await.unwrap();
    }
    assert_eq!(files(&deployment), 3);
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/keys/payments").await.ok()["version"], 3);
    deployment.post(&alice, "/v1/keys/payments/sign", message(b"x")).await.ok();
}

#[tokio::test]
async fn a_key_that_cannot_rotate_is_not_told_to() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    let archive = |days: Option<u16>| {
        let mut body = json!({ "name": "archive", "backend": "stick", "algorithm": "RSA-2048-OAEP-SHA256" });
        body["rotate_every_days"] = days.map_or(Value::Null, Value::from);
        body
    };
    let refused = deployment.post(&alice, "/v1/keys", archive(Some(1))).await;
    assert_eq!((refused.failed(400), files(&deployment)), ("invalid-request", 0));
    deployment.post(&alice, "/v1/keys", archive(None)).await.ok();
    let update = json!({ "rotate_every_days": 1 });
    let refused = deployment.call(http::Method::PATCH, &alice, "/v1/keys/archive", Some(update)).await;
    assert_eq!(refused.failed(400), "invalid-request");
    deployment.post(&alice, "/v1/keys/archive/activate", json!({})).await.ok();
    assert_eq!(deployment.post(&alice, "/v1/keys/archive/rotate", json!({})).await.failed(400), "invalid-request");
    deployment.pass(600);
    assert_eq!(deployment.run_due().await.unwrap(), 0, "nothing was begun");
}

#[tokio::test]
async fn a_back_end_that_is_away_keeps_no_other_key_waiting_however_many_it_has() {
    let deployment = Deployment::new().await;
    let alice = deployment.alice().await;
    for n in 0..101 {
        // Nobody makes more than a hundred at once.
        deployment.pass(i64::from(n == 50));
        let mut body = creation(&format!("away-{n}"));
        body["rotate_every_days"] = 1.into();
        deployment.post(&alice, "/v1/keys", body).await.ok();
    }
    // Due after all of them.
    deployment.pass(1);
    let body = json!({ "name": "own", "algorithm": "Ed25519", "rotate_every_days": 1, "activate": true });
    deployment.post(&alice, "/v1/keys", body).await.ok();
    deployment.pass(86_400);
    std::fs::rename(deployment.stick(), deployment.stick().with_extension("away")).unwrap();
    assert_eq!(deployment.run_due().await.unwrap(), 1);
    let alice = deployment.alice().await;
    assert_eq!(deployment.get(&alice, "/v1/keys/own").await.ok()["version"], 2);
}
