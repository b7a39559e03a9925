//! What one actor's records come to. Pure.

use super::{ActorReport, BusiestHour, DenialCount, FindingLine, OperationCount, ResponseLine, RiskSummary, UseCount};
use crate::ambient::Timestamp;
use crate::id::KeyId;
use crate::operation::Operation;
use crate::reason::Reason;
use crate::record::{AuditRecord, Outcome};
use std::collections::BTreeMap;

/// Most lines of each kind in a report.
const MAX_LINES: usize = 100;

/// Counts records, which come newest first.
pub(super) struct Tally {
    pub(super) requests: u64,
    first_at: Timestamp,
    last_at: Timestamp,
    uses: BTreeMap<(Operation, KeyId), u64>,
    operations: BTreeMap<Operation, u64>,
    denials: BTreeMap<Reason, u64>,
    errors: u64,
    recommendations: Vec<FindingLine>,
    responses: Vec<ResponseLine>,
    /// By hours since 1970.
    hours: BTreeMap<i64, u64>,
    /// Of records, which a summary of many requests is one of.
    risks: f64,
    riskiest: f64,
    records: u32,
}

impl Tally {
    /// Of an actor, of whom this is the first record that is found.
    pub(super) fn new(record: &AuditRecord) -> Self {
        Self {
            requests: 0,
            first_at: record.at,
            last_at: record.at,
            uses: BTreeMap::new(),
            operations: BTreeMap::new(),
            denials: BTreeMap::new(),
            errors: 0,
            recommendations: Vec::new(),
            responses: Vec::new(),
            hours: BTreeMap::new(),
            risks: 0.0,
            riskiest: 0.0,
            records: 0,
        }
    }

    pub(super) fn add(&mut self, record: &AuditRecord) {
        let count = record.count.unwrap_or(1);
        self.requests = self.requests.saturating_add(count);
        (self.first_at, self.last_at) = (self.first_at.min(record.at), self.last_at.max(record.at));
        match (record.outcome, record.operation.action(), &record.key) {
            (Outcome::Ok, Some(_), Some(key)) => raise(&mut self.uses, (record.operation, key.clone()), count),
            (Outcome::Ok, ..) => raise(&mut self.operations, record.operation, count),
            (Outcome::Denied, ..) => raise(&mut self.denials, record.reason.unwrap_or(Reason::Policy), count),
            (Outcome::Error, ..) => self.errors = self.errors.saturating_add(count),
        }
        raise(&mut self.hours, record.at.as_second().div_euclid(3_600), count);
        self.risks += record.risk.score;
        self.riskiest = self.riskiest.max(record.risk.score);
        self.records = self.records.saturating_add(1);
        if let Some(found) = record.recommendation.as_ref().filter(|_| self.recommendations.len() < MAX_LINES) {
            let (detector, severity) = (found.detector, found.severity);
            self.recommendations.push(FindingLine { at: record.at, detector, severity, record: record.id.clone() });
        }
        let room = MAX_LINES.saturating_sub(self.responses.len());
        self.responses.extend(record.responses.iter().take(room).map(|response| ResponseLine {
            at: record.at,
            action: response.action,
            agent: response.agent.clone(),
            record: record.id.clone(),
        }));
    }

    /// The keys that were used.
    pub(super) fn keys(&self) -> impl Iterator<Item = &KeyId> {
        self.uses.keys().map(|(_, key)| key)
    }

    /// Without what only the store knows of the actor.
    pub(super) fn report(self, name_of: impl Fn(&KeyId) -> Option<String>) -> ActorReport {
        let mut uses = by_count(self.uses);
        let other_uses = uses.split_off(uses.len().min(MAX_LINES)).into_iter().map(|(_, count)| count).sum();
        let uses = uses.into_iter().map(|((operation, key), count)| {
            let key_name = name_of(&key);
            UseCount { operation, key, key_name, count }
        });
        let operations = by_count(self.operations).into_iter();
        let denials = by_count(self.denials).into_iter();
        // Of hours alike the first.
        let busiest = self.hours.iter().rev().max_by_key(|(_, requests)| **requests);
        let (hour, requests) = busiest.map_or((0, 0), |(hour, requests)| (*hour, *requests));
        ActorReport {
            agent: None,
            label: None,
            state: None,
            requests: self.requests,
            first_at: self.first_at,
            last_at: self.last_at,
            uses: uses.collect(),
            other_uses,
            operations: operations.map(|(operation, count)| OperationCount { operation, count }).collect(),
            denials: denials.map(|(reason, count)| DenialCount { reason, count }).collect(),
            errors: self.errors,
            recommendations: self.recommendations,
            responses: self.responses,
            busiest_hour: BusiestHour {
                at: Timestamp::from_second(hour.saturating_mul(3_600)).unwrap_or(Timestamp::UNIX_EPOCH),
                requests,
            },
            risk: RiskSummary { max: self.riskiest, mean: self.risks / f64::from(self.records.max(1)) },
            usage: None,
        }
    }
}

fn raise<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, by: u64) {
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(by);
}

/// The most frequent first; of those alike, in the order of their names.
fn by_count<K: Ord>(counts: BTreeMap<K, u64>) -> Vec<(K, u64)> {
    let mut counts: Vec<(K, u64)> = counts.into_iter().collect();
    counts.sort_by(|(_, a), (_, b)| b.cmp(a));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::tests::{at, id, record};

    #[test]
    fn what_is_listed_is_bounded_and_the_rest_is_counted() {
        let first = record(3, Operation::KeySign, Outcome::Ok, 0, 1);
        let mut tally = Tally::new(&first);
        for key in 0..150 {
            let times = if key == 7 { 3 } else { 1 };
            (0..times).for_each(|_| tally.add(&record(3, Operation::KeySign, Outcome::Ok, key, 1)));
        }
        let denied = record(2, Operation::KeyVerify, Outcome::Denied, 7, 1);
        tally.add(&AuditRecord { reason: Some(Reason::RateLimited), count: Some(40), ..denied });
        tally.add(&record(1, Operation::KeyRotate, Outcome::Error, 7, 1));
        let report = tally.report(|key| (*key == id("key", 7)).then(|| "seven".to_string()));
        assert_eq!((report.uses.len(), report.other_uses, report.requests), (100, 50, 193));
        assert_eq!((report.uses[0].key_name.as_deref(), report.uses[0].count), (Some("seven"), 3));
        assert_eq!((report.denials[0].reason, report.denials[0].count), (Reason::RateLimited, 40));
        assert_eq!((report.errors, report.first_at, report.last_at), (1, at(1), at(3)));
        assert_eq!(report.busiest_hour.requests, 152);
    }
}
