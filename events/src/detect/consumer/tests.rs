//! What the consumer finds in records, and what it rests on.

use super::*;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{AgentId, CredentialId, RequestId};
use aegis_core::record::Plane;

const BEGAN: i64 = 1_790_000_000 - 1_790_000_000 % 86_400;
const DAY: i64 = 86_400;
/// The day of what is found, after three weeks of the usual.
const TODAY: i64 = BEGAN + 21 * DAY;

/// Records of alice's agents.
struct Trail {
    entropy: Entropy,
    keys: Vec<KeyId>,
    agents: Vec<AgentId>,
    /// Hers, and one that was stolen.
    credentials: [CredentialId; 2],
    consumer: Consumer,
}

impl Trail {
    fn new() -> Self {
        let entropy = Entropy::system();
        let now = Timestamp::from_second(BEGAN).unwrap();
        Self {
            keys: (0..6).map(|_| KeyId::new(now, &entropy)).collect(),
            agents: (0..4).map(|_| AgentId::new(now, &entropy)).collect(),
            credentials: [0, 1].map(|_| CredentialId::new(now, &entropy)),
            entropy,
            consumer: Consumer::new(true),
        }
    }

    fn signed(&self, at: i64, agent: usize, key: usize, credential: usize) -> Arc<AuditRecord> {
        let at = Timestamp::from_second(at).unwrap();
        let (source, client) = [([10, 0, 0, 1], "invoices/1.0"), ([203, 0, 113, 9], "curl/8")][credential];
        let (id, request) = (RecordId::new(at, &self.entropy), RequestId::new(at, &self.entropy));
        Arc::new(AuditRecord {
            human: Some("alice@org".parse().unwrap()),
            agents: vec![self.agents[agent].clone()],
            credential: Some(self.credentials[credential].clone()),
            key: Some(self.keys[key].clone()),
            source: Some(source.into()),
            user_agent: Some(client.to_string()),
            ..AuditRecord::new(id, at, Operation::KeySign, Plane::Rest, request)
        })
    }

    /// Three weeks in which each of `agents` signs every twenty minutes by day.
    fn usual(&mut self, agents: usize) {
        for day in 0..21 {
            let times = (0..30).map(|n| BEGAN + day * DAY + 8 * 3_600 + n * 1_200);
            let batch: Vec<_> = times
                .flat_map(|at| (0..agents).map(move |agent| (at, agent)))
                .map(|(at, agent)| self.signed(at + i64::try_from(agent).unwrap() * 7, agent, 0, 0))
                .collect();
            for records in batch.chunks(4 * agents) {
                assert_eq!(self.found(records), BTreeSet::new(), "on day {day}");
            }
        }
    }

    fn found(&mut self, batch: &[Arc<AuditRecord>]) -> BTreeSet<Detector> {
        self.consumer.observe(batch).into_iter().map(|finding| finding.detector).collect()
    }
}

#[test]
fn a_finding_rests_on_the_records_it_is_about_not_on_what_came_last() {
    let mut trail = Trail::new();
    trail.usual(1);
    let nine = TODAY + 9 * 3_600;
    // The agent's own work goes on between and after what somebody does with a stolen credential.
    let batch: Vec<_> = [(0, 0, 0), (2, 1, 1), (3, 2, 1), (4, 3, 1), (8, 0, 0)]
        .map(|(second, key, credential)| trail.signed(nine + second, 0, key, credential))
        .into();
    let found = trail.consumer.observe(&batch);
    let detectors: BTreeSet<Detector> = found.iter().map(|finding| finding.detector).collect();
    assert!(detectors.contains(&Detector::NewSource) && detectors.contains(&Detector::KeySet), "{detectors:?}");
    for finding in &found {
        let decisive = batch.iter().find(|record| record.id == finding.decisive).unwrap();
        assert_eq!(decisive.credential.as_ref(), Some(&trail.credentials[1]), "{:?}", finding.detector);
        assert_ne!(finding.key.as_ref(), Some(&trail.keys[0]), "{:?}", finding.detector);
        assert!(finding.records.contains(&finding.decisive) && finding.records.is_sorted());
    }
}

/// Whoever has taken an agent over knows its work, and begins each minute with it.
#[test]
fn new_keys_are_found_in_a_minute_that_began_with_more_of_the_usual_than_is_told_apart() {
    let nine = 9 * 3_600;
    let found = |with_usual: bool| {
        let mut trail = Trail::new();
        let now = Timestamp::from_second(BEGAN).unwrap();
        trail.keys = (0..24).map(|_| KeyId::new(now, &trail.entropy)).collect();
        let operations = [Operation::KeySign, Operation::KeyMac, Operation::KeyEncrypt, Operation::KeyWrap];
        let usual = |trail: &Trail, at: i64| -> Vec<Arc<AuditRecord>> {
            let combinations = (0..20).flat_map(|key| operations.map(|operation| (key, operation)));
            let signed = |(n, (key, operation))| {
                let record = trail.signed(at + n / 8, 0, key, 0);
                Arc::new(AuditRecord { operation, ..AuditRecord::clone(&record) })
            };
            (0_i64..).zip(combinations).map(signed).collect()
        };
        for day in 0..21 {
            let batch = usual(&trail, BEGAN + day * DAY + nine);
            assert_eq!(trail.found(&batch), BTreeSet::new(), "on day {day}");
        }
        let mut batch = if with_usual { usual(&trail, TODAY + nine) } else { Vec::new() };
        let new: Vec<_> = (20..24).map(|key| trail.signed(TODAY + nine + 50, 0, key, 0)).collect();
        batch.extend(new.iter().cloned());
        let mut found = trail.consumer.observe(&batch);
        found.retain(|finding| new.iter().any(|record| record.id == finding.decisive));
        found.into_iter().map(|finding| (finding.detector, finding.grade)).collect::<Vec<_>>()
    };
    assert_eq!(found(true), found(false));
    assert_eq!(found(true), [(Detector::KeySet, Grade::Automatic)]);
}

/// As of a batch that a queue brings back after some minutes.
#[test]
fn what_comes_minutes_late_is_judged_by_itself() {
    let mut trail = Trail::new();
    trail.usual(1);
    let ten = TODAY + 10 * 3_600;
    let late: Vec<_> = (1..4).map(|key| trail.signed(ten - 360 + i64::try_from(key).unwrap(), 0, key, 1)).collect();
    let in_time = trail.signed(ten, 0, 0, 0);
    assert_eq!(trail.found(&[Arc::clone(&in_time)]), BTreeSet::new());
    assert_eq!(trail.found(&late), BTreeSet::new());
    assert_eq!(trail.consumer.take_late(), late.iter().map(|record| record.id.clone()).collect());
    assert!(trail.consumer.take_late().is_empty());
    let found = trail.consumer.judge_late(&late);
    let detectors: BTreeSet<Detector> = found.iter().map(|finding| finding.detector).collect();
    assert!(detectors.contains(&Detector::NewSource) && detectors.contains(&Detector::KeySet), "{detectors:?}");
    assert!(found.iter().all(|finding| i64::from(finding.minute) == (ten - 360) / 60 && finding.records.len() == 3));
    // Its usual work says nothing, however late.
    assert!(trail.consumer.judge_late(&[trail.signed(ten - 300, 0, 0, 0)]).is_empty());
}

/// Of most uses the organisation knows everything; and what every batch wrote, batches at once would fight for.
#[test]
fn what_the_organisation_knows_is_written_when_it_changes() {
    let mut trail = Trail::new();
    trail.usual(1);
    trail.consumer.take_changed();
    let organisation = |trail: &mut Trail, records: &[Arc<AuditRecord>]| {
        trail.consumer.observe(records);
        trail.consumer.take_changed().into_iter().find(|(id, _)| *id == StateId::Organisation)
    };
    let known = trail.signed(TODAY + 10 * 3_600, 0, 0, 0);
    assert_eq!(organisation(&mut trail, &[known]), None);
    let new = trail.signed(TODAY + 10 * 3_600 + 60, 0, 1, 0);
    let (_, written) = organisation(&mut trail, std::slice::from_ref(&new)).unwrap();
    assert_eq!(organisation(&mut trail, &[new]), None, "again");
    // As another process reads it.
    let mut other = Consumer::new(true);
    other.load(&StateId::Organisation, &written).unwrap();
    other.observe(&[trail.signed(TODAY + 10 * 3_600 + 70, 0, 1, 0)]);
    assert!(other.take_changed().iter().all(|(id, _)| *id != StateId::Organisation));
}

#[test]
fn agents_of_one_human_that_together_do_far_more_than_ever_are_in_concert_and_one_alone_is_not() {
    let much = |trail: &Trail, agents: std::ops::Range<usize>| -> Vec<Arc<AuditRecord>> {
        let times = (0..55).map(|n| TODAY + 9 * 3_600 + n);
        times
            .flat_map(|at| agents.clone().map(move |agent| (at, agent)))
            .map(|(at, agent)| trail.signed(at, agent, 0, 0))
            .collect()
    };
    for (agents, concert) in [(0..4, true), (0..1, false)] {
        let mut trail = Trail::new();
        trail.usual(4);
        let batch = much(&trail, agents);
        assert_eq!(trail.found(&batch).contains(&Detector::AgentsInConcert), concert);
    }
}
