//! The story of a stolen token: at 3 am, 80 signatures a second from an address that the agent never came from.

mod figures;

use super::caller::Caller;
use super::history::{self, APART, Habit, Shift};
use super::render::Live;
use super::scribe::{Kind, Scribe, When};
use super::stage::{ALICE, Cast, Stage, adds_up, at, moment, risk_of};
use crate::Failure;
use crate::api::Answer;
use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::recommendation::Severity;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use figures::{Burst, Found, Sibling, Story};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Where the agents work, and where the thief does.
const OFFICE: ([u8; 4], &str) = ([127, 0, 10, 5], "invoice-signer/3.2");
const RACK: ([u8; 4], &str) = ([127, 0, 20, 7], "ledger-sealer/1.9");
const ELSEWHERE: ([u8; 4], &str) = ([127, 99, 3, 8], "invoice-signer/3.2");
/// Three seconds of it.
const ATTEMPTS: u32 = 240;
/// Microseconds between two attempts: 80 a second.
const PACE: u64 = 12_500;
/// What the issue of risk and response allows of such a burst.
const MOST: u32 = 160;

/// The story until its end, whatever came of it.
pub(super) fn play(live: &Live) -> Result<Story, Failure> {
    let began = moment("2026-10-19T09:00:00Z")?;
    let (evening, three) = (moment("2026-11-09T17:30:00Z")?, moment("2026-11-10T03:00:00Z")?);
    let stage = Stage::open(began)?;
    let mut scribe = Scribe::new(live, || When::At(stage.now()));
    let mut alice = stage.enrol()?;
    let signer = stage.cast(&mut alice, "invoice-signer", &["invoice-2026"])?;
    let sealer = stage.cast(&mut alice, "ledger-sealer", &["ledger-2026"])?;
    scribe.tell(ALICE, "issued invoice-signer, for invoice-2026, and ledger-sealer, for ledger-2026", Kind::Allowed);

    stage.set(evening)?;
    let habits = [
        Habit { cast: &signer, place: OFFICE, shift: Shift::Office },
        Habit { cast: &sealer, place: RACK, shift: Shift::Night },
    ];
    let recorded = three_weeks(&stage, habits, began)?;
    scribe.tell("aegis", &format!("took in three weeks of their work: {recorded} signatures on record"), Kind::Allowed);
    let mut alice = stage.log_in(None)?;
    let quiet = stage.items(&mut alice, RECOMMENDATIONS)?.is_empty();
    scribe.fact("three weeks of normal work raised no recommendation", quiet);
    let mut thief = stage.caller(ELSEWHERE).with_token(&stage.token(&mut alice, &signer)?);
    let mut sibling =
        Worker { caller: stage.caller(RACK).with_token(&stage.token(&mut alice, &sealer)?), done: Sibling::default() };
    for hour in (1..6).rev() {
        stage.set(after_seconds(three, -hour * 3_600))?;
        sibling.done.before = sibling.done.before.saturating_add(sibling.batch(&stage)?);
    }
    stage.catch_up()?;
    let nightly = format!("worked as each night: {} signatures since 22:00", sibling.done.before);
    scribe.tell("sealer", &nightly, Kind::Allowed);

    stage.set(three)?;
    let burst = burst(&stage, &mut scribe, &mut thief, &mut sibling)?;
    stage.catch_up()?;
    let mut alice = stage.log_in(None)?;
    let recommendations = recommendations(&stage, &mut alice)?;
    for (detector, severity, done) in gravest(&recommendations) {
        scribe.tell("aegis", &format!("AgentRecommendation {detector} ({severity}): {done}"), Kind::Response);
    }
    let of = |cast: &Cast| recommendations.iter().filter(|found| found.agent == cast.id.as_str()).count();
    scribe.fact("recommendations about invoice-signer are on record", of(&signer) > 0);
    let shown = alice.get(&format!("/v1/agents/{}", signer.id))?.ok("show the agent")?;
    let state = at(&shown, "/state").to_string();
    scribe.fact("it is frozen until its human or an operator unfreezes it", state == "frozen");
    let on_record = format!("/v1/audit?agent={}&op=key.sign&outcome=ok&limit=200&since={three}", signer.id);
    let on_record = stage.items(&mut alice, &on_record)?;
    let as_many = u32::try_from(on_record.len()) == Ok(burst.released);
    scribe.fact("as many of its signatures are on record as were released", as_many);
    let address = IpAddr::from(ELSEWHERE.0).to_string();
    let from_there = on_record.iter().all(|record| at(record, "/source") == address);
    scribe.fact("each is on record with the address that it was asked for from", from_there);

    stage.set(after_seconds(three, 3_600))?;
    sibling.done.after = sibling.batch(&stage)?;
    let told = format!("went on: {} in the minute of the burst, {} at 04:00", sibling.done.during, sibling.done.after);
    scribe.tell("sealer", &told, Kind::Allowed);
    let night = format!("/v1/audit?agent={}&op=key.sign&limit=200&since={evening}", sealer.id);
    let night = stage.items(&mut alice, &night)?;
    let risks = night.iter().filter_map(|record| record.pointer("/risk/score").and_then(Value::as_f64));
    sibling.done.highest_risk = risks.fold(0.0, f64::max);
    scribe.fact("ledger-sealer, of the same human, signed all it asked for", sibling.done.refused == 0);
    scribe.fact("no recommendation is about it", of(&sealer) == 0);

    let (events, facts) = scribe.finish();
    stage.strike();
    Ok(Story { events, facts, recorded, burst, sibling: sibling.done, recommendations, state })
}

const RECOMMENDATIONS: &str = "/v1/recommendations?limit=200";

/// What is on record of two agents from `began` until now. How many signatures that is.
fn three_weeks(stage: &Stage, habits: [Habit<'_>; 2], began: Timestamp) -> Result<usize, Failure> {
    let mut records = Vec::new();
    for habit in habits {
        records.extend(history::records(stage, &habit, began, stage.now())?);
    }
    records.sort_by(|one, other| one.id.cmp(&other.id));
    stage.replay(&records)?;
    Ok(records.len())
}

/// The agent that goes about its work.
struct Worker {
    caller: Caller,
    done: Sibling,
}

impl Worker {
    /// Three signatures, or as many of them as are released.
    fn batch(&mut self, stage: &Stage) -> Result<u32, Failure> {
        let mut released: u32 = 0;
        for n in 0..3 {
            released = released.saturating_add(self.sign(n)?);
            stage.pass(APART)?;
        }
        Ok(released)
    }

    /// 1 if it is released.
    fn sign(&mut self, n: u32) -> Result<u32, Failure> {
        let released = sign(&mut self.caller, "ledger-2026", &format!("ledger page {n}"))?.status == 200;
        self.done.refused = self.done.refused.saturating_add(u32::from(!released));
        Ok(u32::from(released))
    }
}

/// Attempts at a fixed pace, by the clock of the story; no faster by any other, so that detection, which has its own pace,
/// gets the time that it would have.
fn burst(stage: &Stage, scribe: &mut Scribe<'_>, thief: &mut Caller, sibling: &mut Worker) -> Result<Burst, Failure> {
    let (first, began) = (stage.now(), Instant::now());
    let mut burst = Burst { attempts: ATTEMPTS, ..Burst::default() };
    let mut last_reason = String::new();
    for n in 0..ATTEMPTS {
        let elapsed = Duration::from_micros(u64::from(n).saturating_mul(PACE));
        std::thread::sleep(elapsed.saturating_sub(began.elapsed()));
        stage.set(first.checked_add(elapsed).unwrap_or(first))?;
        let ms = elapsed.as_secs_f64() * 1_000.0;
        // At its time, as each night.
        if n == 40 {
            sibling.done.during = sibling.done.during.saturating_add(sibling.sign(0)?);
        }
        let answer = sign(thief, "invoice-2026", &format!("invoice {n}"))?;
        if n == 0 {
            let told =
                format!("STOLEN TOKEN: began to sign with invoice-2026, 80 times a second, from {}", thief.source());
            scribe.tell("thief", &told, if answer.status == 200 { Kind::Allowed } else { Kind::Refused });
        }
        if answer.status == 200 {
            burst.released = burst.released.saturating_add(1);
            burst.last_release_ms = ms;
            if burst.refusals.is_empty() {
                burst.released_before_refusal = burst.released;
            }
            continue;
        }
        let reason = answer.reason().to_string();
        if burst.refusals.is_empty() {
            burst.first_refusal_ms = Some(ms);
            burst.risk = risk_of(&answer);
        }
        if reason != last_reason {
            let told = format!("after {} signatures: {}", burst.released, at(&answer.body, "/title"));
            scribe.tell("thief", &told, Kind::Refused);
            last_reason.clone_from(&reason);
        }
        let count = burst.refusals.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
    for n in 1..3 {
        stage.pass(APART)?;
        sibling.done.during = sibling.done.during.saturating_add(sibling.sign(n)?);
    }
    let told = format!("at most {MOST} signatures of the burst were released");
    scribe.fact(&told, burst.released <= MOST);
    scribe.fact("the first refusal said its risk, and reasons that add up to it", adds_up(&burst.risk));
    scribe.fact("none was released in its last second", burst.last_release_ms < 2_000.0);
    Ok(burst)
}

/// A signature of a text, or what the server said instead.
fn sign(caller: &mut Caller, key: &str, text: &str) -> Result<Answer, Failure> {
    caller.post(&format!("/v1/keys/{key}/sign"), &json!({ "message": STANDARD.encode(text) }))
}

/// What each detector said at its gravest, and all that was done about it.
fn gravest(recommendations: &[Found]) -> BTreeSet<(String, String, String)> {
    let detectors: BTreeSet<&str> = recommendations.iter().map(|found| found.detector.as_str()).collect();
    let of = |detector: &str| {
        let found: Vec<&Found> = recommendations.iter().filter(|found| found.detector == detector).collect();
        let gravest = found.iter().max_by_key(|found| found.severity);
        let severity = gravest.map(|found| found.severity.as_str()).unwrap_or_default();
        let done: BTreeSet<&str> = found.iter().flat_map(|found| &found.responses).map(String::as_str).collect();
        let done = match done.is_empty() {
            true => "nothing more than was done".to_string(),
            false => done.into_iter().collect::<Vec<_>>().join(", "),
        };
        (detector.to_string(), severity.to_string(), done)
    };
    detectors.into_iter().map(of).collect()
}

/// All that is recommended, the oldest first.
fn recommendations(stage: &Stage, alice: &mut Caller) -> Result<Vec<Found>, Failure> {
    let found = stage.items(alice, RECOMMENDATIONS)?;
    let severity = |found: &Value| {
        let severity: Result<Severity, _> = serde_json::from_value(found.get("severity").cloned().unwrap_or_default());
        severity.map_err(|error| Failure::because("a recommendation's severity", &error))
    };
    let read = |found: &Value| {
        let [detector, agent] = ["/detector", "/agent"].map(|pointer| at(found, pointer).to_string());
        Ok(Found { detector, severity: severity(found)?, agent, responses: responses(found) })
    };
    found.iter().rev().map(read).collect()
}

fn responses(found: &Value) -> Vec<String> {
    let done = found.get("responses").and_then(Value::as_array).into_iter().flatten();
    done.map(|done| at(done, "/action").to_string()).collect()
}
