//! The story of a request that a human must approve: an agent on the road, at night, asks for a signature that would pay.

use super::caller::Caller;
use super::history::{self, Habit, Shift};
use super::render::{Live, sum};
use super::scribe::{Event, Fact, Kind, Scribe, When};
use super::stage::{ALICE, Stage, adds_up, at, moment, risk_of};
use crate::Failure;
use crate::api::{Answer, text};
use aegis_core::ambient::after_seconds;
use aegis_core::risk::Risk;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Debug, Serialize)]
pub(super) struct Story {
    pub(super) events: Vec<Event>,
    pub(super) facts: Vec<Fact>,
    /// Of what was asked.
    risk: Risk,
    /// What the human was shown of it.
    shown: String,
    /// Seconds, by the story's clock, until she approved.
    approved_after_s: i64,
    /// Of each request of the agent that night: what came of it.
    answers: Vec<String>,
}

impl Story {
    /// A line each.
    pub(super) fn figures(&self) -> Vec<(&'static str, String)> {
        vec![
            ("risk", sum(&self.risk)),
            ("what she was shown", self.shown.clone()),
            ("approved after", format!("{} s", self.approved_after_s)),
            ("answers to the agent", self.answers.join(", ")),
        ]
    }
}

/// Where the agent works, and where it asks from that night.
const OFFICE: ([u8; 4], &str) = ([127, 0, 10, 5], "payments-agent/2.0");
const HOTEL: ([u8; 4], &str) = ([127, 77, 40, 2], "payments-agent/2.0");
const PAYMENT: &str = r#"{"pay":"12500.00 EUR","to":"DE89 3704 0044 0532 0130 00"}"#;
const CHANGED: &str = r#"{"pay":"92500.00 EUR","to":"DE89 3704 0044 0532 0130 00"}"#;

/// The story until its end, whatever came of it.
pub(super) fn play(live: &Live) -> Result<Story, Failure> {
    let (began, night) = (moment("2026-10-19T09:00:00Z")?, moment("2026-11-10T22:40:00Z")?);
    let stage = Stage::open(began)?;
    let mut scribe = Scribe::new(live, || When::At(stage.now()));
    let mut alice = stage.enrol()?;
    let cast = stage.cast(&mut alice, "payments-agent", &["invoice-2026", "treasury-2026"])?;
    scribe.tell(ALICE, "issued payments-agent: may sign with invoice-2026 and with treasury-2026", Kind::Allowed);
    stage.set(night)?;
    let records = history::records(&stage, &Habit { cast: &cast, place: OFFICE, shift: Shift::Office }, began, night)?;
    stage.replay(&records)?;
    let told = format!(
        "took in three weeks of its work: {} signatures, by day, from the office, with invoice-2026",
        records.len()
    );
    scribe.tell("aegis", &told, Kind::Allowed);
    let mut alice = stage.log_in(None)?;
    let mut agent = stage.caller(HOTEL).with_token(&stage.token(&mut alice, &cast)?);
    let from = agent.source();
    let mut answers = Vec::new();
    let mut ask = |text: &str| -> Result<Answer, Failure> {
        let answer = sign(&mut agent, text)?;
        answers.push(if answer.status == 200 { "signed".to_string() } else { answer.reason().to_string() });
        Ok(answer)
    };

    let asked = ask(PAYMENT)?;
    let risk = risk_of(&asked);
    let told = format!("asked treasury-2026 from {}: sign {PAYMENT}", from);
    scribe.tell("agent", &told, kind(&asked));
    scribe.fact("the agent was told that a human must approve first", refused(&asked, "step_up"));
    scribe.fact("and why: reasons that add up to the risk", adds_up(&risk));
    let (approval, code) = (text(&asked.body, "approval")?, text(&asked.body, "approval_code")?);
    let again = ask(PAYMENT)?;
    let joined = at(&again.body, "/approval") == approval;
    scribe.tell("agent", "asked the same again", kind(&again));
    scribe.fact("asking again is one approval, not two", refused(&again, "step_up") && joined);

    // What detectors make of it must not come in between at one time and not at another.
    stage.catch_up()?;
    stage.pass(30)?;
    let shown = alice.get(&format!("/v1/approvals/{approval}"))?.ok("show the approval")?;
    let shown = shown.pointer("/payload/decoded/message/json").map(ToString::to_string).unwrap_or_default();
    scribe.tell(ALICE, &format!("was shown what would be done: sign {shown}"), Kind::Allowed);
    scribe.fact("she saw exactly what would be signed", same_json(&shown, PAYMENT));
    let kept = approve(&mut alice, &approval, &code)?;
    scribe.tell(ALICE, "tried to approve with the session she has open", kind(&kept));
    scribe.fact("a session that is kept approves nothing", refused(&kept, "approval_login"));
    let wrong = approve(&mut stage.log_in(Some("approve"))?, &approval, "0000-0000")?;
    scribe.tell(ALICE, "logged in for this one answer, and typed another code", kind(&wrong));
    scribe.fact("without the code that the agent was shown nothing is approved", refused(&wrong, "approval_code"));
    stage.pass(10)?;
    let approved = approve(&mut stage.log_in(Some("approve"))?, &approval, &code)?;
    scribe.tell(ALICE, "logged in for this one answer, and typed the code that the agent shows", kind(&approved));
    scribe.fact("with both she approved it", approved.status == 200);
    stage.catch_up()?;
    let approved_after_s = stage.now().as_second().saturating_sub(night.as_second());

    let changed = ask(CHANGED)?;
    scribe.tell("agent", &format!("asked for another amount: sign {CHANGED}"), kind(&changed));
    let is_another = at(&changed.body, "/approval") != approval;
    scribe.fact("a changed request is not what was approved", refused(&changed, "step_up") && is_another);
    let retry = ask(PAYMENT)?;
    scribe.tell("agent", "repeated the request that was approved", kind(&retry));
    scribe.fact("the identical request went through", retry.status == 200);
    scribe.fact("and its signature verifies", verifies(&mut alice, &retry)?);
    stage.pass(1)?;
    let replay = ask(PAYMENT)?;
    scribe.tell("agent", "repeated it once more", kind(&replay));
    scribe.fact("a replay did not: leave is used once", refused(&replay, "step_up"));
    let used = alice.get(&format!("/v1/approvals/{approval}"))?.ok("show the approval")?;
    let uses = used.get("used").and_then(Value::as_array).map_or(0, Vec::len);
    scribe.fact("the approval is used up, and what was asked is kept no longer", {
        at(&used, "/state") == "used" && uses == 1 && at(&used, "/payload/kind") == "deleted"
    });
    let since = after_seconds(night, -1);
    let signed = format!("/v1/audit?agent={}&op=key.sign&outcome=ok&since={since}", cast.id);
    let signed = stage.items(&mut alice, &signed)?;
    let by_leave = signed.iter().all(|record| at(record, "/approval") == approval);
    scribe
        .fact("one signature is on record that night, with the approval it was made by", signed.len() == 1 && by_leave);

    let (events, facts) = scribe.finish();
    stage.strike();
    Ok(Story { events, facts, risk, shown, approved_after_s, answers })
}

fn sign(caller: &mut Caller, text: &str) -> Result<Answer, Failure> {
    caller.post("/v1/keys/treasury-2026/sign", &json!({ "message": STANDARD.encode(text) }))
}

fn approve(by: &mut Caller, approval: &str, code: &str) -> Result<Answer, Failure> {
    by.post(&format!("/v1/approvals/{approval}/approve"), &json!({ "code": code }))
}

fn verifies(by: &mut Caller, signed: &Answer) -> Result<bool, Failure> {
    let exported = by.get("/v1/keys/treasury-2026/public-key")?.ok("export the public key")?;
    let (Ok(key), Ok(signature)) =
        (STANDARD.decode(at(&exported, "/public_key")), STANDARD.decode(at(&signed.body, "/signature")))
    else {
        return Ok(false);
    };
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
    Ok(key.verify(PAYMENT.as_bytes(), &signature).is_ok())
}

fn refused(answer: &Answer, reason: &str) -> bool {
    answer.status == 403 && answer.reason() == reason
}

fn kind(answer: &Answer) -> Kind {
    if answer.status == 200 { Kind::Allowed } else { Kind::Refused }
}

fn same_json(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    read(one).is_some() && read(one) == read(other)
}
