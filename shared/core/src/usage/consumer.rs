//! Keeps the facts: reads committed records and counts them, each once.
//!
//! The place in the feed and the documents are one transaction, so a batch that is read again after a crash was either
//! counted, and then lies before the place, or was not.

use super::pace::Crowded;
use super::{AgentUsage, KeyUsage, day, subjects, usage_item};
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::feed::{BATCH, Feed, Place};
use crate::id::{AgentId, KeyId};
use crate::record::{AuditRecord, Outcome};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Items, Put, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The consumer's name in the feed.
pub const CONSUMER: &str = "usage";
/// Most documents in a transaction beside the place: at their largest some 3 MiB, of the 4 that a transaction holds.
const DOCUMENTS: usize = 64;

/// The next records, counted and not written yet. A call may fail, be repeated or be cut short at any point: what was not
/// committed is counted again, and comes to the same.
pub struct Counting {
    records: Vec<Arc<AuditRecord>>,
    keys: BTreeMap<KeyId, Held<KeyUsage>>,
    agents: BTreeMap<AgentId, Held<AgentUsage>>,
    /// By key and day.
    spikes: BTreeMap<(KeyId, i64), Spike>,
    place: Place,
    expect: Expect,
}

/// A key that several together use far more than ever, and the records of these uses that were counted last: of one hour.
#[derive(Clone, Debug)]
pub struct Spike {
    pub key: KeyId,
    pub crowded: Crowded,
    pub records: Vec<Arc<AuditRecord>>,
}

impl Counting {
    /// Counts the next records; `None` where nothing came since.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn next(store: &dyn Store, feed: &dyn Feed) -> Result<Option<Self>, Error> {
        let (place, expect) = Place::of(store, CONSUMER).await?;
        let records = feed.after(place.last.as_ref(), BATCH).await?;
        let (batch, items) = take(&records);
        let Some(last) = batch.last() else { return Ok(None) };
        let place = Place { last: Some(last.id.clone()), ..place };
        let items: Vec<ItemKey> = items.into_iter().map(usage_item).collect();
        let read = store.batch_get(&items).await?;
        let mut keys: BTreeMap<KeyId, Held<KeyUsage>> = BTreeMap::new();
        let mut agents: BTreeMap<AgentId, Held<AgentUsage>> = BTreeMap::new();
        let mut spikes: BTreeMap<(KeyId, i64), Spike> = BTreeMap::new();
        for (n, record) in batch.iter().enumerate() {
            let (key, agent) = subjects(record);
            if let Some(key) = key {
                if !keys.contains_key(key) {
                    keys.insert(key.clone(), Held::of(&read, KeyUsage::new(key.clone()))?);
                }
                keys.entry(key.clone()).and_modify(|held| held.value.add(record));
                // After each use, so that it is the same however many are counted at once.
                let used = record.outcome == Outcome::Ok;
                if let Some(crowded) = keys.get(key).filter(|_| used).and_then(|held| held.value.crowded(record.at)) {
                    let records = of_its_hour(batch.get(..=n).unwrap_or_default(), key, record.at);
                    let spike = Spike { key: key.clone(), crowded, records };
                    spikes.insert((key.clone(), day(record.at)), spike);
                }
            }
            if let Some(agent) = agent {
                if !agents.contains_key(agent) {
                    agents.insert(agent.clone(), Held::of(&read, AgentUsage::new(agent.clone()))?);
                }
                agents.entry(agent.clone()).and_modify(|held| held.value.add(record));
            }
        }
        Ok(Some(Self { records: batch.to_vec(), keys, agents, spikes, place, expect }))
    }

    /// The keys that these records show to be used far more than ever.
    pub fn spikes(&self) -> impl Iterator<Item = &Spike> {
        self.spikes.values()
    }

    /// Writes the counts, and returns how many records they hold.
    ///
    /// # Errors
    /// [`Error::Contended`] if another process counts at the same time; [`Error::Unavailable`].
    pub async fn commit(self, store: &dyn Store) -> Result<usize, Error> {
        let puts = self.keys.values().map(Held::put).chain(self.agents.values().map(Held::put));
        let puts = puts.chain([self.place.put(self.expect)]);
        store.transact(puts.collect::<Result<Vec<Put>, Error>>()?).await?;
        Ok(self.records.len())
    }
}

/// The uses of a key in the hour of `at`.
fn of_its_hour(records: &[Arc<AuditRecord>], key: &KeyId, at: Timestamp) -> Vec<Arc<AuditRecord>> {
    let hour = |at: Timestamp| at.as_second().div_euclid(3_600);
    let of_key = |record: &&Arc<AuditRecord>| record.outcome == Outcome::Ok && subjects(record).0 == Some(key);
    records.iter().filter(of_key).filter(|record| hour(record.at) == hour(at)).cloned().collect()
}

/// As many of the records as one transaction can count, and whom they are about.
fn take(records: &[Arc<AuditRecord>]) -> (&[Arc<AuditRecord>], BTreeSet<&str>) {
    let mut about: BTreeSet<&str> = BTreeSet::new();
    for (n, record) in records.iter().enumerate() {
        let (key, agent) = subjects(record);
        let new = key.map(KeyId::as_str).into_iter().chain(agent.map(AgentId::as_str));
        let new: Vec<&str> = new.filter(|subject| !about.contains(subject)).collect();
        if about.len().saturating_add(new.len()) > DOCUMENTS {
            return (records.get(..n).unwrap_or_default(), about);
        }
        about.extend(new);
    }
    (records, about)
}

/// A document, and what its write must expect.
struct Held<D> {
    value: D,
    expect: Expect,
}

impl<D: Document> Held<D> {
    /// What was read of it, or `fresh`.
    fn of(read: &Items, fresh: D) -> Result<Self, Error> {
        let Some(stored) = read.find(&fresh.item_key()) else {
            return Ok(Self { value: fresh, expect: Expect::Absent });
        };
        let Loaded { value, revision } = repository::decode(stored)?;
        Ok(Self { value, expect: Expect::Current(revision) })
    }

    fn put(&self) -> Result<Put, Error> {
        self.value.put(self.expect)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{at, id, record};
    use super::super::{Counts, load_all};
    use super::*;
    use crate::id::RecordId;
    use crate::operation::Operation;
    use crate::store::fault::{Fault, Faulty, Operation as Call};
    use crate::store::memory::MemoryStore;
    use async_trait::async_trait;
    use proptest::prelude::*;

    async fn count_next(store: &dyn Store, feed: &dyn Feed) -> Result<usize, Error> {
        match Counting::next(store, feed).await? {
            Some(counting) => counting.commit(store).await,
            None => Ok(0),
        }
    }

    /// Hands out few at once, so that there are many batches.
    struct Records(Vec<AuditRecord>, usize);

    #[async_trait]
    impl Feed for Records {
        async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<Arc<AuditRecord>>, Error> {
            let place = last.and_then(|last| self.0.iter().position(|record| record.id == *last));
            let rest = self.0.iter().skip(place.map_or(0, |place| place + 1));
            Ok(rest.take(limit.min(self.1)).cloned().map(Arc::new).collect())
        }
    }

    fn any_record() -> impl Strategy<Value = AuditRecord> {
        let operation = prop::sample::select(vec![Operation::KeySign, Operation::KeyVerify, Operation::KeyGet]);
        let outcome = prop::sample::select(vec![Outcome::Ok, Outcome::Ok, Outcome::Denied, Outcome::Error]);
        (0..40_i64, operation, outcome, 0..90_usize, 0..5_usize)
            .prop_map(|(day, operation, outcome, key, agent)| record(day, operation, outcome, key, agent))
    }

    fn any_fault() -> impl Strategy<Value = Option<(Call, Fault)>> {
        let call = prop::sample::select(vec![Call::Read, Call::Write, Call::Write]);
        let fault = prop::sample::select(vec![Fault::BeforeWrite, Fault::AfterWrite]);
        prop::option::of((call, fault))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every call may fail before or after it took effect; the next begins where the store says, as after a crash.
        #[test]
        fn each_record_is_counted_once_whatever_fails_and_however_they_come(
            records in prop::collection::vec(any_record(), 1..200),
            faults in prop::collection::vec(any_fault(), 40),
            at_once in 1..90_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let store = Faulty::new(MemoryStore::default());
            let feed = Records(records.clone(), at_once);
            runtime.block_on(async {
                let mut faults = faults.into_iter();
                loop {
                    // A fault that was planned and not met would hide behind the next.
                    let planned = faults.next().flatten();
                    if let Some((call, fault)) = planned {
                        store.fail_next(call, fault);
                    }
                    match count_next(&store, &feed).await {
                        Ok(0) => break,
                        Ok(_) => prop_assert!(planned.is_none()),
                        Err(error) => {
                            let injected = matches!(error, Error::Unavailable { .. });
                            prop_assert!(injected, "{}", error);
                        }
                    }
                }
                let mut want: BTreeMap<AgentId, AgentUsage> = BTreeMap::new();
                for record in &records {
                    let agent = &record.agents[0];
                    if subjects(record).1.is_some() {
                        want.entry(agent.clone()).or_insert_with(|| AgentUsage::new(agent.clone())).add(record);
                    }
                }
                let items: Vec<ItemKey> = (0..5).map(|n| usage_item(id::<AgentId>("agt", n).as_str())).collect();
                let found: Vec<AgentUsage> = load_all(&store, &items).await.unwrap();
                let found: BTreeMap<AgentId, AgentUsage> =
                    found.into_iter().map(|usage| (usage.agent.clone(), usage)).collect();
                prop_assert_eq!(found, want);
                let items: Vec<ItemKey> = (0..90).map(|n| usage_item(id::<KeyId>("key", n).as_str())).collect();
                let found: Vec<KeyUsage> = load_all(&store, &items).await.unwrap();
                let uses = |outcome| move |record: &&AuditRecord| {
                    record.outcome == outcome && (outcome == Outcome::Denied || record.operation.action().is_some())
                };
                let total = |of: fn(&Counts) -> u64| found.iter().map(|usage| of(&usage.counts)).sum::<u64>();
                let count = |outcome| u64::try_from(records.iter().filter(uses(outcome)).count()).unwrap();
                prop_assert_eq!(total(Counts::uses), count(Outcome::Ok));
                prop_assert_eq!(total(|counts| counts.shown(at(0)).denied), count(Outcome::Denied));
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn a_batch_about_more_than_a_transaction_holds_is_cut_and_nothing_is_left_out() {
        let store = MemoryStore::default();
        let records: Vec<AuditRecord> = (0..300).map(|n| record(0, Operation::KeySign, Outcome::Ok, n, n)).collect();
        let feed = Records(records, BATCH);
        let mut batches = Vec::new();
        loop {
            match count_next(&store, &feed).await.unwrap() {
                0 => break,
                taken => batches.push(taken),
            }
        }
        assert_eq!(batches.iter().sum::<usize>(), 300);
        assert!(batches.iter().all(|taken| *taken <= DOCUMENTS / 2), "{batches:?}");
    }
}
