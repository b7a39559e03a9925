//! The consumer of the journal: batches of committed records in, new states and findings out. It holds what it was given
//! and does no I/O.
//!
//! A host loads the states a batch touches, lets the batch be observed, and writes each state that changed with one
//! compare-and-swap. Who loses one loads the states again and observes the batch again: records that are in a state
//! already change nothing, and findings have the same keys.

use super::fleet;
use super::judge::{Grade, Thresholds, judge};
use super::record::{StateId, above, sighting, states};
use super::watch::{Subject, Watch};
use aegis_core::id::{KeyId, RecordId};
use aegis_core::operation::Operation;
use aegis_core::recommendation::Detector;
use aegis_core::record::AuditRecord;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::pool::Pool;
use aegis_core::risk::sighting::{Sighting, hash_of_name};
use aegis_core::risk::state::{State, Taken};
use aegis_core::risk::window::Minute;
use aegis_core::risk::{Evidence, Factor, UnknownBaseline, evidence::score_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most records named as evidence.
const MOST_RECORDS: usize = 16;

/// A detector that fired for somebody in a minute. Findings of one detector, actor and minute are one, however often
/// their records come and in whichever order.
#[derive(Clone, Debug)]
pub struct Finding {
    pub detector: Detector,
    /// The agent or human; of the detectors of a fleet the human behind it.
    pub actor: String,
    /// Since 1970.
    pub minute: u32,
    pub grade: Grade,
    /// 0 to 1.
    pub score: f64,
    pub factors: Vec<Factor>,
    /// Of this batch, the oldest first.
    pub records: Vec<RecordId>,
    /// The last of those that it rests on most: whose credential a response revokes, and whose key it deactivates.
    pub decisive: RecordId,
    /// Of that one.
    pub operation: Operation,
    pub key: Option<KeyId>,
}

#[derive(Debug, Default)]
pub struct Consumer {
    watch: Watch,
    touched: BTreeSet<StateId>,
    late: BTreeSet<RecordId>,
    /// What the organisation knows, as it was written.
    organisation: Vec<u8>,
    /// Whether statistics are believed yet: after a week of records, or once history was replayed.
    pub believed: bool,
}

impl Consumer {
    /// One that has loaded nothing; `believed` says whether statistics are believed yet.
    pub fn new(believed: bool) -> Self {
        Self { believed, ..Self::default() }
    }

    /// The states that a batch touches, and those that it is held against.
    pub fn needs<'a>(batch: impl IntoIterator<Item = &'a Arc<AuditRecord>>) -> BTreeSet<StateId> {
        let of = |record: &'a Arc<AuditRecord>| Some(states(record)?.into_iter().chain(above(record)));
        batch.into_iter().filter_map(of).flatten().chain([StateId::Organisation]).collect()
    }

    /// Takes over a state as it was written; one that was never written need not be loaded.
    ///
    /// # Errors
    /// [`UnknownBaseline`]
    pub fn load(&mut self, id: &StateId, bytes: &[u8]) -> Result<(), UnknownBaseline> {
        match id {
            StateId::Organisation => {
                self.watch.pool = Pool::decode(bytes)?;
                self.organisation = bytes.to_vec();
            }
            StateId::Actor(name) => {
                self.watch.actors.insert(hash_of_name(name), State::decode(bytes)?);
            }
            StateId::Fleet(name) => {
                self.watch.fleets.insert(hash_of_name(name), State::decode(bytes)?);
            }
            StateId::Template(name) => {
                self.watch.templates.insert(hash_of_name(name), State::decode(bytes)?);
            }
        }
        Ok(())
    }

    /// The states that changed, to be written. What the organisation knows seldom does: of most uses it knows everything.
    pub fn take_changed(&mut self) -> Vec<(StateId, Vec<u8>)> {
        self.watch.pool.trim();
        let organisation = self.watch.pool.encode();
        if organisation == self.organisation {
            self.touched.remove(&StateId::Organisation);
        }
        let state = |id: &StateId| match id {
            StateId::Organisation => Some(organisation.clone()),
            StateId::Actor(name) => self.watch.actors.get(&hash_of_name(name)).map(State::encode),
            StateId::Fleet(name) => self.watch.fleets.get(&hash_of_name(name)).map(State::encode),
            StateId::Template(name) => self.watch.templates.get(&hash_of_name(name)).map(State::encode),
        };
        let changed = self.touched.iter().filter_map(|id| Some((id.clone(), state(id)?))).collect();
        self.touched.clear();
        self.organisation = organisation;
        changed
    }

    /// Takes a batch in. Records that came before, that came too late, or that say nothing of behaviour are passed over.
    pub fn observe(&mut self, batch: &[Arc<AuditRecord>]) -> Vec<Finding> {
        let mut minutes: BTreeMap<(String, u32), Records<'_>> = BTreeMap::new();
        let mut fleets: BTreeMap<(String, u32), Records<'_>> = BTreeMap::new();
        for record in batch {
            let (Some(ids), Some((subject, s))) = (states(record), sighting(record)) else { continue };
            for (agent, above) in record.agents.iter().zip(record.agents.iter().skip(1)) {
                self.watch.parents.insert(hash_of_name(agent.as_str()), hash_of_name(above.as_str()));
            }
            let late = self.watch.take(&subject, &s) == Taken::Late;
            if late {
                self.late.insert(record.id.clone());
            }
            if let [StateId::Actor(actor), StateId::Fleet(fleet), _] = &ids {
                // What is new in a minute counts for the next one, too.
                for minute in [minute_of(s.at), minute_of(s.at).saturating_add(1)] {
                    let of = |_| Records { subject, records: Vec::new() };
                    if !late {
                        minutes.entry((actor.clone(), minute)).or_insert_with(|| of(())).records.push((record, s));
                    }
                    fleets.entry((fleet.clone(), minute)).or_insert_with(|| of(())).records.push((record, s));
                }
            }
            self.touched.extend(ids);
            self.touched.insert(StateId::Organisation);
        }
        let mut findings = Vec::new();
        for ((actor, minute), records) in &minutes {
            findings.append(&mut self.of_actor(actor, *minute, records));
        }
        for ((fleet, minute), records) in &fleets {
            findings.append(&mut self.of_fleet(fleet, *minute, records));
        }
        findings
    }

    /// Which records of the batches were of a minute that was over for their actor, since this was last asked: they were not judged.
    /// They may have been before, when they came in time.
    pub fn take_late(&mut self) -> BTreeSet<RecordId> {
        std::mem::take(&mut self.late)
    }

    /// Judges what came too late to be taken in: each minute of an actor by itself, by what is known by now.
    pub fn judge_late<'a>(&self, late: impl IntoIterator<Item = &'a Arc<AuditRecord>>) -> Vec<Finding> {
        let mut minutes: BTreeMap<(String, u32), (State, Records<'a>)> = BTreeMap::new();
        for record in late {
            let Some(([StateId::Actor(actor), ..], (subject, s))) = states(record).zip(sighting(record)) else {
                continue;
            };
            let of = || (State::default(), Records { subject, records: Vec::new() });
            let (open, records) = minutes.entry((actor, minute_of(s.at))).or_insert_with(of);
            open.take(&s);
            records.records.push((record, s));
        }
        let mut findings = Vec::new();
        for ((actor, minute), (open, records)) in &minutes {
            let Some(of) = open.minute(*minute) else { continue };
            let weigh = |s: &Sighting| self.watch.weigh_late(open, &records.subject, s);
            findings.append(&mut self.judged(actor, of, records, weigh));
        }
        findings
    }

    /// Everything an actor did in a minute is weighed again: what comes later adds to what came before.
    fn of_actor(&self, actor: &str, minute: u32, records: &Records<'_>) -> Vec<Finding> {
        let subject = &records.subject;
        let Some(open) = self.watch.actors.get(&subject.actor).and_then(|state| state.minute(minute)) else {
            return Vec::new();
        };
        self.judged(actor, open, records, |s| self.watch.weigh(subject, s))
    }

    fn judged(
        &self,
        actor: &str,
        open: &Minute,
        records: &Records<'_>,
        weigh: impl Fn(&Sighting) -> Evidence,
    ) -> Vec<Finding> {
        let (minute, thresholds) = (open.minute, Thresholds::of(records.subject.human));
        let mut found: BTreeMap<Detector, Finding> = BTreeMap::new();
        for trace in open.in_order() {
            let evidence = weigh(&trace.sighting(minute));
            let judgement = judge(&evidence, &thresholds, self.believed);
            for detector in judgement.detectors {
                let total = evidence.total();
                let like = |s: &Sighting| trace.is_of(s);
                let finding = records.finding((detector, actor, minute), judgement.grade, total, like);
                let Some(finding) = finding else { continue };
                let finding = Finding { factors: evidence.factors().collect(), ..finding };
                let known = found.entry(detector).or_insert_with(|| finding.clone());
                if (finding.grade, finding.score) > (known.grade, known.score) {
                    *known = finding;
                }
            }
        }
        found.into_values().collect()
    }

    /// What no single agent shows: all of a human's agents together do too much, or are too many.
    fn of_fleet(&self, human: &str, minute: u32, records: &Records<'_>) -> Vec<Finding> {
        let Some(state) = self.watch.fleets.get(&hash_of_name(human)) else { return Vec::new() };
        let Some(open) = state.minute(minute).filter(|_| self.believed) else { return Vec::new() };
        let mut findings = Vec::new();
        for trace in open.in_order() {
            let s = trace.sighting(minute);
            let evidence = state.weigh(&s, &aegis_core::risk::Surroundings::default());
            for (detector, decades) in fleet::fired(state, &s, &evidence) {
                let new = findings.iter().all(|known: &Finding| known.detector != detector);
                let finding =
                    records.finding((detector, human, minute), Grade::Alert, decades, |_| true).filter(|_| new);
                findings.extend(finding.map(|finding| Finding { factors: evidence.factors().collect(), ..finding }));
            }
        }
        findings
    }
}

/// The records of a batch that bear on a minute.
struct Records<'a> {
    subject: Subject,
    records: Vec<(&'a AuditRecord, Sighting)>,
}

impl Records<'_> {
    /// `like` tells the records that it rests on. Where they came with an earlier batch, the last of this one stands in.
    fn finding(
        &self,
        (detector, actor, minute): (Detector, &str, u32),
        grade: Grade,
        total: f64,
        like: impl Fn(&Sighting) -> bool,
    ) -> Option<Finding> {
        let mut by_weight: Vec<_> = self.records.iter().map(|(record, s)| (like(s), s.at, *record)).collect();
        by_weight.sort_by_key(|(like, at, record)| (std::cmp::Reverse((*like, *at)), &record.id));
        let (_, _, decisive) = by_weight.first()?;
        let ids = by_weight.iter().map(|(.., record)| &record.id).take(MOST_RECORDS);
        let ids: BTreeSet<&RecordId> = ids.collect();
        Some(Finding {
            detector,
            actor: actor.to_string(),
            minute,
            grade,
            score: score_of(total),
            factors: Vec::new(),
            records: ids.into_iter().cloned().collect(),
            decisive: decisive.id.clone(),
            operation: decisive.operation,
            key: decisive.key.clone(),
        })
    }
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
