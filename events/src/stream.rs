//! The stream side: committed records in, recommendations and responses out. A host calls [`drain`] again and again; each
//! call may fail, be repeated or be cut short at any point.

mod denial;
mod usage;

pub use usage::count_next;

use crate::detect::{Consumer, Finding, Grade, StateId, severity, sighting, suggested};
use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::behaviour::{self, LEARNING};
use aegis_core::error::{Chain, Error};
use aegis_core::feed::{BATCH, Feed, Place};
use aegis_core::heartbeat::Heartbeat;
use aegis_core::id::RecommendationId;
use aegis_core::journal;
use aegis_core::operation::Operation;
use aegis_core::operations::audit_tally::Span;
use aegis_core::pipeline::App;
use aegis_core::reason::Reason;
use aegis_core::recommendation::{AgentRecommendation, Detector, Evidence, RecommendationRecord};
use aegis_core::record::{AuditRecord, Outcome};
use aegis_core::repository::{self, Loaded};
use aegis_core::response;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::state::State;
use aegis_core::risk::stats::whole;
use aegis_core::risk::{Accepted, DAY, FactorName, Sighting};
use aegis_core::store::{Expect, ItemKey, MAX_BATCH, Put, StoreError};
use aegis_core::tally;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The consumer's name in the feed.
const CONSUMER: &str = "detection";
/// How often a batch whose states another process changed is taken in again.
const ATTEMPTS: u32 = 24;
/// States written at once: at their largest below what a transaction holds.
const AT_ONCE: usize = 50;
/// How late something may be found and still be told and answered, in seconds: a day. What is older, as where a deployment
/// begins to detect on a trail that was there before, only teaches.
const NEWS: i64 = 86_400;

/// Takes in the next records: learns from them, raises what the detectors find, and carries out what the rules order.
/// Returns how many records there were. Those that one of them asks to be told again are taken in besides.
///
/// # Errors
/// [`Error::Contended`] if other processes take in the same records all the time; [`Error::Unavailable`].
pub async fn drain(app: &App, feed: &dyn Feed) -> Result<usize, Error> {
    let (mut place, expect) = Place::of(app.store.as_ref(), CONSUMER).await?;
    // What is committed after this moment is not seen by this look.
    let now = app.clock.now();
    let mut batch = feed.after(place.last.as_ref(), BATCH).await?;
    cut(&mut batch);
    let Some(last) = batch.last() else {
        Heartbeat::beat(app.store.as_ref(), now).await?;
        return Ok(0);
    };
    take_in_all(app, &batch).await?;
    for record in &batch {
        if let Some(span) = Span::asked_by(record) {
            let again = span.records(app.store.as_ref()).await?;
            tracing::info!(span = %span, records = again.len(), "records were taken in again");
            observe(app, again.into_iter().map(Arc::new).collect()).await?;
        }
    }
    place.last = Some(last.id.clone());
    place.put_away(app.store.as_ref(), expect).await?;
    Heartbeat::beat(app.store.as_ref(), last.at.min(now)).await?;
    Ok(batch.len())
}

/// Takes in records that something else brought, in any order and any number of times: what is known of one already
/// changes nothing.
///
/// # Errors
/// As [`drain`]; some may have been taken in then.
pub async fn observe(app: &App, mut records: Vec<Arc<AuditRecord>>) -> Result<(), Error> {
    records.sort_by(|one, other| one.id.cmp(&other.id));
    records.dedup_by(|one, other| one.id == other.id);
    while !records.is_empty() {
        let mut batch = records.clone();
        cut(&mut batch);
        take_in_all(app, &batch).await?;
        records.drain(..batch.len());
    }
    Ok(())
}

async fn take_in_all(app: &App, batch: &[Arc<AuditRecord>]) -> Result<(), Error> {
    take_in(app, batch).await?;
    for record in batch {
        let does = |operation| (record.operation, record.outcome) == (operation, Outcome::Ok);
        if denial::may_be(record) {
            passed_over(denial::raise(app, record).await)?;
        }
        // What is right now may have been wrong then, and the other way round: each dismissal teaches once.
        if does(Operation::RecommendationDismiss) && !tally::holds(app.store.as_ref(), &record.id).await? {
            passed_over(learn(app, record).await)?;
        }
    }
    // Last: what is on the tally was taken in.
    tally::note(app.store.as_ref(), batch.iter().map(|record| &record.id), app.clock.now()).await
}

/// Whether there are committed records that were not taken in yet.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn is_behind(app: &App, feed: &dyn Feed) -> Result<bool, Error> {
    let (place, _) = Place::of(app.store.as_ref(), CONSUMER).await?;
    Ok(!feed.after(place.last.as_ref(), 1).await?.is_empty())
}

/// What is judged are the open minutes: of a backlog no more is taken at once than they span.
fn cut(batch: &mut Vec<Arc<AuditRecord>>) {
    let minute = |record: &Arc<AuditRecord>| record.at.as_second().div_euclid(60);
    let Some(first) = batch.first().map(minute) else { return };
    let fits = batch.iter().take_while(|record| minute(record) <= first.saturating_add(1)).count();
    // What is told again comes before anything else, so that each look is bounded.
    let asks = batch.iter().position(|record| Span::asked_by(record).is_some());
    batch.truncate(fits.max(1).min(asks.map_or(usize::MAX, |place| place.saturating_add(1))));
}

/// What one record or finding leads to must not keep all others waiting for ever: only an outage does.
fn passed_over(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error @ (Error::Contended | Error::Unavailable { .. })) => Err(error),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a finding was passed over");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Raises what is found, and then writes the states, one compare-and-swap for each: whichever step is the last that
/// happened, the next call finds the same. Who loses a swap reads the states again and takes the batch in again: what a
/// state holds already changes nothing in it.
async fn take_in(app: &App, batch: &[Arc<AuditRecord>]) -> Result<(), Error> {
    let ids: Vec<StateId> = Consumer::needs(batch).into_iter().collect();
    let born = aegis_core::pipeline::deployment(app).await?.created_at;
    'attempt: for _ in 0..ATTEMPTS {
        let mut consumer = Consumer::new(after_seconds(born, LEARNING) <= app.clock.now());
        let mut expects: BTreeMap<StateId, Expect> = BTreeMap::new();
        for ids in ids.chunks(MAX_BATCH) {
            let items: Vec<ItemKey> = ids.iter().map(|id| behaviour::item(&id.path())).collect();
            let read = app.store.batch_get(&items).await?;
            for (id, item) in ids.iter().zip(&items) {
                let Some(stored) = read.find(item) else { continue };
                expects.insert(id.clone(), Expect::Current(stored.revision));
                let loaded = behaviour::encoded(stored).map(|state| consumer.load(id, &state));
                if !matches!(loaded, Ok(Ok(()))) {
                    tracing::error!(state = id.path(), "behaviour cannot be read, and is begun anew");
                }
            }
        }
        let mut findings = consumer.observe(batch);
        let late = consumer.take_late();
        if !late.is_empty() {
            // What came in time was judged then, and is known by now.
            let missing = tally::missing(app.store.as_ref(), &late).await?;
            findings.append(&mut consumer.judge_late(batch.iter().filter(|record| missing.contains(&record.id))));
        }
        for finding in findings {
            passed_over(raise(app, batch, finding).await)?;
        }
        let put = |(id, state): (StateId, Vec<u8>)| {
            let expect = expects.get(&id).copied().unwrap_or(Expect::Absent);
            behaviour::put(&id.path(), state, expect)
        };
        let puts: Vec<Put> = consumer.take_changed().into_iter().map(put).collect::<Result<_, _>>()?;
        for puts in puts.chunks(AT_ONCE) {
            match app.store.transact(puts.to_vec()).await {
                Ok(()) => {}
                Err(StoreError::Conflict { .. }) => continue 'attempt,
                Err(error) => return Err(error.into()),
            }
        }
        return Ok(());
    }
    Err(Error::Contended)
}

/// A detector that goes on finding the same of somebody is heard once an hour, and once more when it becomes graver.
async fn raise(app: &App, batch: &[Arc<AuditRecord>], finding: Finding) -> Result<(), Error> {
    // Asking for what is out of scope is a fact, told and answered with the request itself.
    if finding.detector == Detector::ScopeViolation {
        return Ok(());
    }
    let found_at =
        Timestamp::from_second(i64::from(finding.minute).saturating_mul(60)).unwrap_or(Timestamp::UNIX_EPOCH);
    if is_no_news(app, found_at) {
        return Ok(());
    }
    let of = |record: &&Arc<AuditRecord>| finding.records.contains(&record.id);
    let Some(record) = batch.iter().find(|record| record.id == finding.decisive) else { return Ok(()) };
    // So is asking for many keys out of scope; what is left of a probe are keys that would not answer, and who only asks whether
    // it may, which is answered and no more.
    let told = |record: &Arc<AuditRecord>| matches!(record.reason, Some(Reason::ScopeProbe | Reason::ScopeViolation));
    if finding.detector == Detector::ScopeProbe && !record.checked && batch.iter().filter(of).all(told) {
        return Ok(());
    }
    let Some(sponsor) = record.human.clone() else { return Ok(()) };
    // Questions have somebody told, and stop nobody.
    let grade = if record.checked { finding.grade.min(Grade::Alert) } else { finding.grade };
    let severity = severity(grade, finding.score);
    let hour = finding.minute / 60;
    let words = format!("{}/{}/{hour}/{}", finding.detector.as_str(), finding.actor, severity.as_str());
    let at = Timestamp::from_second(i64::from(hour).saturating_mul(3_600)).unwrap_or(Timestamp::UNIX_EPOCH);
    let agent = record.agents.first().filter(|agent| agent.as_str() == finding.actor).cloned();
    let suggested_actions = suggested(severity, agent.is_some());
    let recommendation = AgentRecommendation {
        id: RecommendationId::derived(at, &words),
        at: app.clock.now(),
        // Likely, not a fact: facts are stated with the request.
        detector: if finding.detector == Detector::ScopeProbe { Detector::KeySet } else { finding.detector },
        severity,
        agent,
        sponsor,
        evidence: Evidence {
            records: finding.records.clone(),
            operation: Some(finding.operation),
            requested: None,
            key: finding.key.clone(),
            credential: record.credential.clone(),
            factors: finding.factors.clone(),
        },
        suggested_actions,
    };
    answer(app, &finding.actor, recommendation).await
}

fn is_no_news(app: &App, at: Timestamp) -> bool {
    after_seconds(at, NEWS) < app.clock.now()
}

/// Puts it on record with what the rules order; a repetition changes nothing.
async fn answer(app: &App, actor: &str, recommendation: AgentRecommendation) -> Result<(), Error> {
    let detector = recommendation.detector.as_str();
    let in_force = response::in_force(app).await?;
    if let Some(raised) = response::raise(app, recommendation, &in_force).await? {
        let done = raised.responses.iter().map(|done| done.action.as_str()).collect::<Vec<_>>().join(", ");
        tracing::warn!(detector, actor, responses = done, record = %raised.record, "recommendation raised");
    }
    Ok(())
}

/// Teaches the baseline what an operator has called normal.
async fn learn(app: &App, dismissal: &AuditRecord) -> Result<(), Error> {
    let id = dismissal.object.clone().and_then(|id| RecommendationId::try_from(id).ok());
    let Some(id) = id else { return Ok(()) };
    let found: Option<Loaded<RecommendationRecord>> =
        repository::load(app.store.as_ref(), &repository::recommendation_item(&id)).await?;
    let Some(found) = found else { return Ok(()) };
    let recommendation = &found.value.recommendation;
    let mut lessons: BTreeMap<StateId, Vec<Accepted>> = BTreeMap::new();
    for record in &recommendation.evidence.records {
        let Some(record) = journal::find(app.store.as_ref(), record).await? else { continue };
        let (Some([actor, fleet, _]), Some((_, s))) = (crate::detect::states(&record), sighting(&record)) else {
            continue;
        };
        let accepted = lessons_of(recommendation, &s);
        let whose = if recommendation.agent.is_some() || record.agents.is_empty() { actor } else { fleet };
        if accepted.is_empty() {
            continue;
        }
        let known = lessons.entry(whose).or_default();
        accepted.into_iter().for_each(|accepted| {
            if !known.contains(&accepted) {
                known.push(accepted);
            }
        });
    }
    for (id, accepted) in lessons {
        teach(app, &id, &accepted).await?;
    }
    Ok(())
}

/// What a dismissal says is right, of what was seen.
fn lessons_of(recommendation: &AgentRecommendation, s: &Sighting) -> Vec<Accepted> {
    let minute = minute_of(s.at);
    let factors = &recommendation.evidence.factors;
    let requests = factors.iter().filter_map(|factor| match factor.factor {
        FactorName::Burst | FactorName::Volume => {
            Some(Accepted::Requests { count: whole(factor.observed), within_seconds: factor.within_seconds? })
        }
        _ => None,
    });
    let operations = factors.iter().filter(|factor| factor.factor == FactorName::OperationMix).filter_map(|factor| {
        let (count, within_seconds) = (whole(factor.observed), factor.within_seconds?);
        Some(Accepted::Operations { class: s.class, count, within_seconds })
    });
    match recommendation.detector {
        Detector::CredentialShared | Detector::NewSource => {
            vec![Accepted::Network { near: s.network.near, wide: s.network.wide }, Accepted::Client(s.client)]
        }
        Detector::KeySet => vec![Accepted::Key { key: s.key, operation: s.operation }],
        Detector::NewOperation => operations.chain([Accepted::Key { key: s.key, operation: s.operation }]).collect(),
        Detector::OffHours => vec![Accepted::Hour(minute / 60 % 24)],
        Detector::AgentsInConcert | Detector::HumanMachineRate | Detector::LowAndSlow | Detector::UsageSpike => {
            requests.chain(operations).chain([Accepted::Rate { day: minute / DAY }]).collect()
        }
        // How many agents are new, of which nothing is kept but how often that happens; a human's word; what several did with a
        // key, whose day is part of what is usual for it; and facts.
        Detector::AgentSpawnRate
        | Detector::ApprovalDenied
        | Detector::CanaryKey
        | Detector::KeyUsageSpike
        | Detector::ScopeProbe
        | Detector::ScopeViolation => Vec::new(),
    }
}

async fn teach(app: &App, id: &StateId, accepted: &[Accepted]) -> Result<(), Error> {
    let item = behaviour::item(&id.path());
    for _ in 0..ATTEMPTS {
        let Some(stored) = app.store.get(&item).await? else { return Ok(()) };
        let state = behaviour::encoded(&stored).ok().and_then(|state| State::decode(&state).ok());
        let Some(mut state) = state else { return Ok(()) };
        accepted.iter().for_each(|accepted| state.accept(accepted));
        let put = behaviour::put(&id.path(), state.encode(), Expect::Current(stored.revision))?;
        match app.store.transact(vec![put]).await {
            Ok(()) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}
