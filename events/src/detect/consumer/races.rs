//! That neither batches, nor their order, nor repetition, nor who wins a race matters: through the states as they are written.

use super::*;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{AgentId, RequestId};
use aegis_core::reason::Reason;
use aegis_core::record::{Outcome, Plane};
use proptest::prelude::*;

const BEGAN: i64 = 1_767_225_600_000;
const DAY: i64 = 86_400_000;
/// Records come up to so late, in milliseconds, and batches hold what came within so long: together less than a minute.
const LATE: i64 = 29_000;

type Batch = Vec<Arc<AuditRecord>>;
type Fired = BTreeSet<(Detector, String, u32)>;

/// The states as a store keeps them, and what fired.
#[derive(Default)]
struct Table {
    states: BTreeMap<StateId, (u32, Vec<u8>)>,
    fired: Fired,
    lost: usize,
}

/// A process that has read the states of its batch, and has not written them yet.
struct Taking<'a> {
    batch: &'a Batch,
    consumer: Consumer,
    read: BTreeMap<StateId, u32>,
}

impl Table {
    fn read<'a>(&self, batch: &'a Batch) -> Taking<'a> {
        let mut taking = Taking { batch, consumer: Consumer::new(true), read: BTreeMap::new() };
        for id in Consumer::needs(batch) {
            let Some((revision, bytes)) = self.states.get(&id) else { continue };
            taking.consumer.load(&id, bytes).unwrap();
            taking.read.insert(id, *revision);
        }
        taking
    }

    /// One compare-and-swap of all that changed; who loses it reads and takes the batch in again. What was found counts
    /// whoever won: it is raised before anything is written.
    fn write(&mut self, mut taking: Taking<'_>) {
        loop {
            for finding in taking.consumer.observe(taking.batch) {
                self.fired.insert((finding.detector, finding.actor, finding.minute));
            }
            let changed = taking.consumer.take_changed();
            let is_current = |id: &StateId| self.states.get(id).map(|(revision, _)| revision) == taking.read.get(id);
            if changed.iter().all(|(id, _)| is_current(id)) {
                for (id, bytes) in changed {
                    let revision = taking.read.get(&id).map_or(1, |revision| revision + 1);
                    self.states.insert(id, (revision, bytes));
                }
                return;
            }
            self.lost += 1;
            taking = self.read(taking.batch);
        }
    }

    /// Once the open minutes are sealed.
    fn end(mut self, last: &Batch) -> (BTreeMap<StateId, State>, Pool, Fired, usize) {
        let taking = self.read(last);
        self.write(taking);
        let pool = Pool::decode(&self.states.remove(&StateId::Organisation).unwrap().1).unwrap();
        let states = self.states.into_iter().map(|(id, (_, bytes))| (id, State::decode(&bytes).unwrap()));
        (states.collect(), pool, self.fired, self.lost)
    }
}

/// Twelve days of two agents at work, and an attack of whatever kind by the first; in the order of time.
fn history(attack: &[(u8, u8, u8, u16)]) -> (Batch, Batch) {
    let entropy = Entropy::system();
    let began = Timestamp::from_millisecond(BEGAN).unwrap();
    let keys: Vec<KeyId> = (0..6).map(|_| KeyId::new(began, &entropy)).collect();
    let agents: Vec<AgentId> = (0..2).map(|_| AgentId::new(began, &entropy)).collect();
    let record = |at: i64, agent: usize, key: usize, operation, network: u8, outcome: Outcome| {
        let at = Timestamp::from_millisecond(at).unwrap();
        let (id, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
        Arc::new(AuditRecord {
            human: Some("alice@org".parse().unwrap()),
            agents: vec![agents[agent].clone()],
            key: Some(keys[key].clone()),
            source: Some([10, network, 0, 1].into()),
            user_agent: Some("invoices/1.0".to_string()),
            reason: (outcome == Outcome::Denied).then_some(Reason::ScopeViolation),
            outcome,
            ..AuditRecord::new(id, at, operation, Plane::Rest, request)
        })
    };
    let mut records = Vec::new();
    for (day, n) in (0..12).flat_map(|day| (0..12).map(move |n| (day, n))) {
        let at = BEGAN + day * DAY + n * 1_200_000;
        records.push(record(at, 0, usize::try_from(n % 2).unwrap(), Operation::KeySign, 1, Outcome::Ok));
        records.push(record(at + 7_000, 1, 2, Operation::KeySign, 2, Outcome::Ok));
    }
    let mut at = BEGAN + 12 * DAY;
    for (key, operation, network, pause) in attack {
        at += i64::from(*pause);
        let operation = [Operation::KeySign, Operation::KeyDecrypt][usize::from(*operation)];
        let outcome = if key % 3 == 0 { Outcome::Denied } else { Outcome::Ok };
        records.push(record(at, usize::from(*network == 2), usize::from(*key), operation, *network, outcome));
    }
    let last = (0..2).map(|agent| record(BEGAN + 40 * DAY, agent, 0, Operation::KeySign, 1, Outcome::Ok));
    (records, last.collect())
}

fn attack() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    let pause = prop_oneof![0_u16..400, 0_u16..60_000];
    proptest::collection::vec((0_u8..6, 0_u8..2, 1_u8..6, pause), 0..60)
}

/// What came within [`LATE`] of each other, in the order in which it came.
fn groups(records: &Batch, shifts: &[i64]) -> Vec<Batch> {
    let mut came: Vec<(i64, &Arc<AuditRecord>)> =
        records.iter().zip(shifts).map(|(record, shift)| (record.at.as_millisecond() + shift, record)).collect();
    came.sort_by_key(|(at, _)| *at);
    let mut groups: Vec<(i64, Batch)> = Vec::new();
    for (at, record) in came {
        match groups.last_mut() {
            Some((began, group)) if at - *began < LATE => group.push(Arc::clone(record)),
            _ => groups.push((at, vec![Arc::clone(record)])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn batches_repetition_and_races_change_neither_states_nor_what_fires(
        attack in attack(),
        shifts in proptest::collection::vec(0..LATE, 400),
        places in proptest::collection::vec(0_usize..8, 400),
    ) {
        let (records, last) = history(&attack);
        let mut alone = Table::default();
        for record in &records {
            let batch = vec![Arc::clone(record)];
            let taking = alone.read(&batch);
            alone.write(taking);
        }
        let mut raced = Table::default();
        let mut places = places.iter().cycle();
        for group in groups(&records, &shifts) {
            // Each to the one or the other, and one in four to both.
            let mut batches = [Batch::new(), Batch::new()];
            for record in &group {
                let place = *places.next().unwrap();
                for (n, batch) in batches.iter_mut().enumerate() {
                    if place % 2 == n || place > 5 {
                        batch.push(Arc::clone(record));
                    }
                }
            }
            let [one, other] = &batches;
            let taking = [one, other].map(|batch| raced.read(batch));
            taking.into_iter().for_each(|taking| raced.write(taking));
            // The first comes again: whoever took it in died before it could say so.
            if places.next().unwrap() % 4 == 0 {
                let taking = raced.read(one);
                raced.write(taking);
            }
        }
        let (states, pool, fired, _) = alone.end(&last);
        let (states_raced, pool_raced, fired_raced, _) = raced.end(&last);
        prop_assert_eq!(fired, fired_raced);
        prop_assert_eq!(states, states_raced);
        prop_assert_eq!(pool, pool_raced);
    }
}

/// So that the property says something: races are lost, and attacks are found.
#[test]
fn a_race_is_lost_by_who_comes_second_and_an_attack_fires() {
    let attack: Vec<_> = (0..40).map(|n| (n % 6, n % 2, 1 + n % 5, 300)).collect();
    let (records, last) = history(&attack);
    let mut table = Table::default();
    for group in groups(&records, &vec![0; records.len()]) {
        let (one, other): (Vec<_>, Vec<_>) = group.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
        let batches = [one, other].map(|part| part.into_iter().map(|(_, record)| record).collect::<Batch>());
        let taking = batches.each_ref().map(|batch| table.read(batch));
        taking.into_iter().for_each(|taking| table.write(taking));
    }
    let (_, _, fired, lost) = table.end(&last);
    let detectors: BTreeSet<Detector> = fired.into_iter().map(|(detector, ..)| detector).collect();
    assert!(lost > 0 && detectors.len() >= 3, "{lost} {detectors:?}");
}
