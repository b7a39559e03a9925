//! What happens in the story, and what must have held. Everything is asked of the public API.

use super::render::Live;
use super::scribe::{Event, Fact, Kind, Scribe, When};
use super::stage::{ALICE, at};
use crate::Failure;
use crate::api::{Answer, Api, text};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What happened, and whether it was as it must be.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    pub(super) events: Vec<Event>,
    pub(super) facts: Vec<Fact>,
    /// From the arrival of the first misuse at the server until the record with the revocation was durable.
    pub(super) misuse_to_revocation_us: u64,
    /// The same as the agent saw it: from sending the request until the refusal was read.
    pub(super) misuse_to_refusal_us: u128,
    pub(super) signatures: usize,
    /// The risk of each signature, as recorded; of the newest 200 where there are more.
    pub(super) risks: Vec<f64>,
    pub(super) signatures_per_second: f64,
}

/// Who plays, and with which keys.
pub(super) struct Cast {
    human: String,
    invoices: String,
    treasury: String,
}

impl Cast {
    /// `mark` ends the names of the keys.
    pub(super) fn new(human: &str, mark: &str) -> Self {
        Self {
            human: human.to_string(),
            invoices: format!("invoice-2026{mark}"),
            treasury: format!("treasury-master{mark}"),
        }
    }
}

/// Plays the story, by a human who has just logged in.
pub(super) fn play(alice: &Api, cast: &Cast, documents: &[(String, Vec<u8>)], live: &Live) -> Result<Story, Failure> {
    let Cast { human, invoices, treasury } = cast;
    let (sign, misuse_path) = (format!("/v1/keys/{invoices}/sign"), format!("/v1/keys/{treasury}/sign"));
    let began = Instant::now();
    let mut scribe = Scribe::new(live, || When::Elapsed(began.elapsed().as_millis()));
    scribe.tell(human, "logged in; her session is bound to her login, not to her ID token", Kind::Allowed);

    for name in [invoices, treasury] {
        alice.post("/v1/keys", &json!({ "name": name, "algorithm": "ECDSA-P256" }))?.ok("create the key")?;
        alice.post(&format!("/v1/keys/{name}/activate"), &json!({}))?.ok("activate the key")?;
        scribe.tell(human, &format!("created and activated key {name} (ECDSA P-256)"), Kind::Allowed);
    }

    let agent = issue(alice, "claude-invoices", invoices, true)?;
    scribe.tell(human, &format!("issued agent claude-invoices: may sign with {invoices}, for one hour"), Kind::Allowed);

    let signing = Instant::now();
    let verified = sign_all(&agent.api, invoices, documents, live)?;
    let elapsed = signing.elapsed();
    let count = documents.len();
    scribe.tell(
        "agent",
        &format!("signed {count} documents, each verified against the exported public key"),
        Kind::Allowed,
    );
    scribe.fact(&format!("all {count} signatures verify"), verified == count);
    let risks = risks(alice, &agent.id)?;
    let (least, most) =
        risks.iter().fold((1.0_f64, 0.0_f64), |(least, most), risk| (least.min(*risk), most.max(*risk)));
    scribe.tell("aegis", &format!("scored each signature: risk {least:.3} to {most:.3}"), Kind::Allowed);
    scribe.fact("every signature was scored, and none above 0.5", risks.len() == count.min(PAGE) && most < 0.5);

    let sub_agent = issue(&agent.api, "claude-invoices-helper", invoices, false)?;
    let own = sub_agent.api.post(&sign, &message(b"sub-agent"))?;
    scribe.tell("agent", "spawned sub-agent claude-invoices-helper, within its own grant", Kind::Allowed);
    scribe.fact(&format!("the sub-agent could sign with {invoices}"), own.status == 200);

    let sent = Instant::now();
    let misuse = agent.api.post(&misuse_path, &message(b"pay everything to me"))?;
    let refusal = sent.elapsed();
    scribe.tell("agent", &format!("WENT ROGUE: asked {treasury} to sign a payment"), Kind::Refused);
    scribe.fact("the misuse was refused as a scope violation", refused(&misuse, 403, "scope_violation"));

    let listed = alice.get("/v1/recommendations")?.ok("list recommendations")?;
    let record = alice.get(&format!("/v1/audit/{}", text(&misuse.body, "record")?))?.ok("read the audit record")?;
    let recommended = at(&record, "/recommendation/detector") == "scope_violation"
        && at(&record, "/recommendation/agent") == agent.id;
    let revoked = at(&record, "/responses/0/action") == "revoke_agent" && at(&record, "/responses/0/agent") == agent.id;
    scribe.tell(
        "aegis",
        &format!(
            "recorded an AgentRecommendation ({}, {}) and carried out rule {}: {}",
            at(&record, "/recommendation/detector"),
            at(&record, "/recommendation/severity"),
            at(&record, "/responses/0/rule"),
            at(&record, "/responses/0/action"),
        ),
        Kind::Response,
    );
    scribe.fact("an AgentRecommendation is on record", recommended);
    let of_it = |found: &Value| at(found, "/id") == at(&record, "/recommendation/id");
    let is_listed = listed.get("items").and_then(Value::as_array).is_some_and(|items| items.iter().any(of_it));
    scribe.fact("and listed", is_listed);
    scribe.fact("the agent was revoked in the same transaction", revoked);

    let next = agent.api.post(&sign, &message(b"one more invoice"))?;
    scribe.tell("agent", &format!("asked {invoices}, its own key, to sign once more"), Kind::Refused);
    scribe.fact("its next request, on its own key, was refused as revoked", refused(&next, 401, "agent_revoked"));

    let below = sub_agent.api.post(&sign, &message(b"one more invoice"))?;
    scribe.tell("sub-agent", &format!("asked {invoices} to sign"), Kind::Refused);
    scribe.fact("so was its sub-agent's", refused(&below, 401, "agent_revoked"));

    let strays = alice.get(&format!("/v1/audit?key={treasury}&op=key.sign&outcome=ok"))?.ok("read the audit trail")?;
    scribe.fact(&format!("{treasury} never signed anything"), strays.get("items") == Some(&json!([])));

    let (events, facts) = scribe.finish();
    Ok(Story {
        events,
        facts,
        misuse_to_revocation_us: record.get("latency_us").and_then(Value::as_u64).unwrap_or(0),
        misuse_to_refusal_us: refusal.as_micros(),
        signatures: count,
        risks,
        signatures_per_second: per_second(count, elapsed),
    })
}

pub(super) struct Agent {
    pub(super) id: String,
    pub(super) api: Api,
}

/// Enrols the first human with the one-time code, and logs her in.
pub(super) fn log_in(anyone: &Api, code: &str, passphrase: &str) -> Result<String, Failure> {
    let enrolment = json!({ "code": code, "human": ALICE, "passphrase": passphrase });
    anyone.post("/local/enroll", &enrolment)?.ok("enrol")?;
    let login = anyone.post("/local/token", &json!({ "human": ALICE, "passphrase": passphrase }))?.ok("log in")?;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &text(&login, "id_token")?),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    text(&anyone.post_form("/v1/oauth/token", &form)?.ok("exchange the ID token")?, "access_token")
}

/// Issues an agent that may sign with a key for an hour, and a token for it.
pub(super) fn issue(by: &Api, label: &str, key: &str, delegate: bool) -> Result<Agent, Failure> {
    let in_an_hour = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let grant = json!({
        "label": label, "scope": format!("key:{key}:sign"), "not_after": in_an_hour, "delegate": delegate,
    });
    let id = text(&by.post("/v1/agents", &grant)?.ok("issue the agent")?, "id")?;
    let issued = by.post(&format!("/v1/agents/{id}/credentials"), &json!({ "ttl": 3_600 }))?.ok("issue its token")?;
    Ok(Agent { id, api: by.with_token(&text(&issued, "token")?) })
}

/// Signs each document and verifies the signature here, with nothing but the exported public key. Returns how many hold.
fn sign_all(agent: &Api, key: &str, documents: &[(String, Vec<u8>)], live: &Live) -> Result<usize, Failure> {
    let exported = agent.get(&format!("/v1/keys/{key}/public-key"))?.ok("export the public key")?;
    let public_key = STANDARD.decode(text(&exported, "public_key")?);
    let public_key = public_key.map_err(|error| Failure::because("the public key", &error))?;
    let public_key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key);
    let progress = live.progress(documents.len());
    let mut verified: usize = 0;
    for (name, bytes) in documents {
        progress.set_message(name.clone());
        let signed = agent.post(&format!("/v1/keys/{key}/sign"), &message(bytes))?.ok(&format!("sign {name}"))?;
        let signature = STANDARD.decode(text(&signed, "signature")?);
        let signature = signature.map_err(|error| Failure::because("the signature", &error))?;
        verified = verified.saturating_add(usize::from(public_key.verify(bytes, &signature).is_ok()));
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(verified)
}

/// The risk of each of the agent's signatures.
fn risks(alice: &Api, agent: &str) -> Result<Vec<f64>, Failure> {
    let page = alice.get(&format!("/v1/audit?agent={agent}&op=key.sign&limit={PAGE}"))?.ok("read the audit trail")?;
    let records = page.get("items").and_then(Value::as_array).into_iter().flatten();
    Ok(records.filter_map(|record| record.pointer("/risk/score").and_then(Value::as_f64)).collect())
}

/// Most records in a page.
const PAGE: usize = 200;

fn message(bytes: &[u8]) -> Value {
    json!({ "message": STANDARD.encode(bytes) })
}

fn refused(answer: &Answer, status: u16, reason: &str) -> bool {
    answer.status == status && answer.reason() == reason
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}
