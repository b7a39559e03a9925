//! The consumers' tally: which records of the journal they took in, held against the journal itself, by the minute and shard.
//!
//! Who takes records in leaves a receipt: a mark of each, those of a minute together. Receipts are only ever added, and marks
//! are a set: in which batches, in what order and how often records came makes no difference.

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::encoding::{base64_bytes, hex};
use crate::error::Error;
use crate::id::RecordId;
use crate::journal;
use crate::repository::decode;
use crate::store::{Expect, Item, ItemKey, MAX_PAGE, MAX_SPREAD, Order, Query, Store, StoreError, Table};
use aws_lc_rs::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How long receipts are kept, in seconds: 35 days.
pub const KEPT: i64 = 35 * 86_400;

/// What the partition of receipts begins with; the hour since 1970 follows.
pub const RECEIPTS: &str = "tally/";

/// The last 48 bits of a record's id, all random: of the 100,000 records of a busy minute one in 56,000 minutes has two alike.
type Mark = [u8; 6];

/// Minutes since 1970.
type Minute = i64;

#[derive(Deserialize, Serialize)]
struct Receipt {
    #[serde(with = "base64_bytes")]
    marks: Vec<u8>,
}

/// Most marks in a receipt: in base64 half of what an item holds.
const MARKS: usize = 4_096;

/// Puts down that these records were taken in. To do so again changes nothing.
///
/// # Errors
/// [`Error::Unavailable`]; some may have been put down then.
pub async fn note<'a>(
    store: &dyn Store,
    taken: impl IntoIterator<Item = &'a RecordId>,
    now: Timestamp,
) -> Result<(), Error> {
    let mut minutes: BTreeMap<Minute, BTreeSet<Mark>> = BTreeMap::new();
    for id in taken {
        minutes.entry(minute(id)).or_default().insert(mark(id));
    }
    for (minute, marks) in minutes {
        let marks: Vec<Mark> = marks.into_iter().collect();
        for some in marks.chunks(MARKS) {
            let marks = some.concat();
            let named: String = hex(digest(&SHA256, &marks).as_ref()).chars().take(16).collect();
            let body = serde_json::to_string(&Receipt { marks });
            let body = body.map_err(|error| Error::Damaged { what: "receipt", source: error.into() })?;
            let key = ItemKey::state(partition(minute), format!("{}/{named}", within_hour(minute)));
            let item = Item { key, body, indexes: Vec::new(), expires_at: Some(after_seconds(now, KEPT)) };
            match store.put_if(item, Expect::Absent).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Whether this record was taken in before.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn holds(store: &dyn Store, id: &RecordId) -> Result<bool, Error> {
    let minute = minute(id);
    let taken = of_consumers(store, minute, minute.saturating_add(1)).await?;
    Ok(taken.values().any(|marks| marks.contains(&mark(id))))
}

/// Those of these records that were not taken in before.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn missing<'a>(
    store: &dyn Store,
    ids: impl IntoIterator<Item = &'a RecordId>,
) -> Result<BTreeSet<&'a RecordId>, Error> {
    let mut minutes: BTreeMap<Minute, BTreeSet<&RecordId>> = BTreeMap::new();
    for id in ids {
        minutes.entry(minute(id)).or_default().insert(id);
    }
    let mut missing = BTreeSet::new();
    for (minute, ids) in minutes {
        let taken = of_consumers(store, minute, minute.saturating_add(1)).await?;
        let is_missing = |id: &&RecordId| !taken.values().any(|marks| marks.contains(&mark(id)));
        missing.extend(ids.into_iter().filter(is_missing));
    }
    Ok(missing)
}

fn partition(minute: Minute) -> String {
    format!("{RECEIPTS}{}", minute.div_euclid(HOUR))
}

fn within_hour(minute: Minute) -> String {
    format!("{:02}", minute.rem_euclid(HOUR))
}

/// In minutes.
const HOUR: Minute = 60;

/// The minute in which the record was begun: an id tells it, on either side.
fn minute(id: &RecordId) -> Minute {
    minute_of(id.at())
}

/// The minute that a moment lies in.
pub(crate) fn minute_of(at: Timestamp) -> Minute {
    at.as_second().div_euclid(60)
}

/// When a minute begins.
pub(crate) fn begin_of(minute: Minute) -> Timestamp {
    Timestamp::from_second(minute.saturating_mul(60)).unwrap_or(Timestamp::MAX)
}

fn mark(id: &RecordId) -> Mark {
    let mut mark = Mark::default();
    let tail = id.as_str().get(24..).unwrap_or_default();
    for (place, byte) in mark.iter_mut().enumerate() {
        let (from, to) = (place.saturating_mul(2), place.saturating_mul(2).saturating_add(2));
        *byte = tail.get(from..to).and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
    }
    mark
}

/// Where records were counted otherwise by the journal and by its consumers.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Difference {
    /// When it begins.
    #[schemars(with = "DateTime")]
    pub minute: Timestamp,
    /// Of the journal.
    pub shard: u8,
    /// What the journal holds.
    pub journal: Count,
    /// What the consumers took in.
    pub consumers: Count,
    /// How many records of the journal no consumer took in.
    pub missing: usize,
    /// The first eight of them.
    pub missing_records: Vec<RecordId>,
    /// How many records were taken in that the journal does not hold.
    pub unknown: usize,
}

/// Records, whatever their order.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Count {
    pub records: usize,
    /// The sum, modulo 2^128, of half the SHA-256 digest of the end of each record's id. In hex.
    pub digest: String,
}

/// Most missing records that are named of a minute and shard.
const NAMED: usize = 8;

impl Count {
    fn of<'a>(marks: impl IntoIterator<Item = &'a Mark>) -> Self {
        let (mut records, mut sum) = (0_usize, 0_u128);
        for mark in marks {
            let digest = digest(&SHA256, mark);
            let half = digest.as_ref().first_chunk::<16>().map_or(0, |half| u128::from_be_bytes(*half));
            records = records.saturating_add(1);
            sum = sum.wrapping_add(half);
        }
        Self { records, digest: format!("{sum:032x}") }
    }
}

/// What came of comparing some minutes.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// The first minute that was not compared.
    pub(crate) to: Minute,
    pub(crate) journal: usize,
    pub(crate) consumers: usize,
    /// The oldest first.
    pub(crate) differences: Vec<Difference>,
}

/// Compares journal and tally from the minute `from` on and before `end`; or, of many records, as far as a call should go.
///
/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn compare(store: &dyn Store, from: Minute, end: Minute) -> Result<Compared, Error> {
    let mut compared = Compared { to: from, ..Compared::default() };
    for _ in 0..STEPS {
        let goes_on = compared.to < end && compared.journal < EXAMINED && compared.differences.len() < DIFFERENCES;
        if !goes_on {
            break;
        }
        let hour_ends = compared.to.div_euclid(HOUR).saturating_add(1).saturating_mul(HOUR);
        let (journal, to) = of_journal(store, compared.to, hour_ends.min(end)).await?;
        let consumers = of_consumers(store, compared.to, to).await?;
        compared.to = to;
        compared.add(&journal, &consumers);
    }
    Ok(compared)
}

/// Hours that one call walks: an empty one costs five queries.
const STEPS: usize = 48;
/// Records of the journal after which a call ends: on AWS each is read by itself, a hundred at a time.
const EXAMINED: usize = 10_000;
/// Differences after which a call ends.
const DIFFERENCES: usize = 100;
/// Records of a shard that are read before it is asked whether their minute is the last for now.
const AT_ONCE: usize = MAX_PAGE;

type Place = (Minute, u8);

impl Compared {
    fn add(
        &mut self,
        journal: &BTreeMap<Place, BTreeMap<Mark, RecordId>>,
        consumers: &BTreeMap<Place, BTreeSet<Mark>>,
    ) {
        let places: BTreeSet<Place> = journal.keys().chain(consumers.keys()).copied().collect();
        let (no_records, no_marks) = (BTreeMap::new(), BTreeSet::new());
        for place in places {
            let records = journal.get(&place).unwrap_or(&no_records);
            let marks = consumers.get(&place).unwrap_or(&no_marks);
            self.journal = self.journal.saturating_add(records.len());
            self.consumers = self.consumers.saturating_add(marks.len());
            let (held, taken) = (Count::of(records.keys()), Count::of(marks));
            if held == taken {
                continue;
            }
            let missing = records.iter().filter(|(mark, _)| !marks.contains(*mark)).map(|(_, id)| id);
            let mut missing: Vec<RecordId> = missing.cloned().collect();
            missing.sort();
            let (minute, shard) = place;
            self.differences.push(Difference {
                minute: begin_of(minute),
                shard,
                journal: held,
                consumers: taken,
                missing: missing.len(),
                missing_records: missing.into_iter().take(NAMED).collect(),
                unknown: marks.iter().filter(|mark| !records.contains_key(*mark)).count(),
            });
        }
    }
}

/// The records of the minutes from `from` on, which are of one hour; and the minute up to which all of them are there.
async fn of_journal(
    store: &dyn Store,
    from: Minute,
    end: Minute,
) -> Result<(BTreeMap<Place, BTreeMap<Mark, RecordId>>, Minute), Error> {
    let span = [from, end].map(|minute| RecordId::floor(begin_of(minute)));
    let (mut found, mut to) = (Vec::new(), end);
    for shard in 0..MAX_SPREAD {
        let (mut after, mut read) = (None, 0_usize);
        loop {
            let (ids, next) = journal::ids(store, shard, [&span[0], &span[1]], after).await?;
            read = read.saturating_add(ids.len());
            let last = ids.last().map_or(from, minute);
            found.extend(ids);
            if next.is_none() {
                break;
            }
            // A minute is compared as a whole.
            if read >= AT_ONCE && last > from {
                to = to.min(last);
                break;
            }
            after = next;
        }
    }
    let mut places: BTreeMap<Place, BTreeMap<Mark, RecordId>> = BTreeMap::new();
    for id in found.into_iter().filter(|id| minute(id) < to) {
        let place = (minute(&id), journal::shard(id.as_str(), store.spread()));
        places.entry(place).or_default().insert(mark(&id), id);
    }
    Ok((places, to))
}

/// The marks of the minutes from `from` on and before `end`, which are of one hour.
async fn of_consumers(store: &dyn Store, from: Minute, end: Minute) -> Result<BTreeMap<Place, BTreeSet<Mark>>, Error> {
    let mut places: BTreeMap<Place, BTreeSet<Mark>> = BTreeMap::new();
    let mut query = Query {
        table: Table::State,
        index: None,
        partition: partition(from),
        from: Some(within_hour(from)),
        below: (end.rem_euclid(HOUR) != 0).then(|| within_hour(end)),
        order: Order::Ascending,
        limit: MAX_PAGE,
        after: None,
    };
    loop {
        let page = store.query(&query).await?;
        for stored in &page.items {
            let of = stored.item.key.sort.split('/').next().and_then(|minute| minute.parse::<Minute>().ok());
            let Some(of) = of else { continue };
            let minute = from.div_euclid(HOUR).saturating_mul(HOUR).saturating_add(of);
            let receipt: Receipt = decode(stored)?.value;
            for mark in receipt.marks.as_chunks::<6>().0 {
                let place = (minute, journal::shard(&hex(mark), store.spread()));
                places.entry(place).or_default().insert(*mark);
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;
    use crate::id::RequestId;
    use crate::operation::Operation;
    use crate::record::{AuditRecord, Plane};
    use crate::store::memory::MemoryStore;
    use proptest::prelude::*;

    const BEGINNING: i64 = 1_790_000_040;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(BEGINNING * 1_000 + milliseconds).unwrap()
    }

    async fn committed(store: &MemoryStore, times: impl IntoIterator<Item = i64>) -> Vec<RecordId> {
        let mut ids = Vec::new();
        for milliseconds in times {
            let (at, entropy) = (at(milliseconds), Entropy::system());
            let (id, request) = (RecordId::new(at, &entropy), RequestId::new(at, &entropy));
            let record = AuditRecord::new(id.clone(), at, Operation::KeySign, Plane::Rest, request);
            store.transact(vec![journal::put(store, &record).unwrap()]).await.unwrap();
            ids.push(id);
        }
        ids
    }

    async fn compared(store: &MemoryStore, minutes: i64) -> Compared {
        let from = minute_of(at(0));
        let mut all = Compared { to: from, ..Compared::default() };
        while all.to < from + minutes {
            let some = compare(store, all.to, from + minutes).await.unwrap();
            assert!(some.to > all.to);
            all.to = some.to;
            all.journal += some.journal;
            all.consumers += some.consumers;
            all.differences.extend(some.differences);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// In whichever batches, in whatever order and however often records come: what is told as missing is what did not.
        #[test]
        fn what_never_came_is_missing_and_nothing_else(
            times in prop::collection::vec(0..9_000_000_i64, 1..60),
            batches in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..20), 0..12),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let store = MemoryStore::default();
                let ids = committed(&store, times).await;
                let mut came = BTreeSet::new();
                for batch in batches {
                    let batch: Vec<&RecordId> = batch.iter().map(|place| place.get(&ids)).collect();
                    note(&store, batch.iter().copied(), at(0)).await.unwrap();
                    came.extend(batch.into_iter().cloned());
                }
                let compared = compared(&store, 180).await;
                assert_eq!((compared.journal, compared.consumers), (ids.len(), came.len()));
                let missing: BTreeSet<RecordId> =
                    compared.differences.iter().flat_map(|found| found.missing_records.clone()).collect();
                let want: BTreeSet<RecordId> = ids.into_iter().filter(|id| !came.contains(id)).collect();
                let counted: usize = compared.differences.iter().map(|found| found.missing).sum();
                assert_eq!(counted, want.len());
                assert!(missing.is_subset(&want) && missing.is_empty() == want.is_empty());
            });
        }
    }

    #[tokio::test]
    async fn what_came_and_is_not_in_the_journal_is_told_even_where_as_many_are_missing() {
        let store = MemoryStore::default();
        let ids = committed(&store, [1_000]).await;
        // Of the same shard.
        let mut stranger = ids[0].to_string();
        stranger.replace_range(24..25, if stranger.as_bytes()[24] == b'0' { "1" } else { "0" });
        let stranger = RecordId::try_from(stranger).unwrap();
        note(&store, [&stranger], at(0)).await.unwrap();
        let found = compared(&store, 1).await.differences;
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((found.journal.records, found.consumers.records), (1, 1));
        assert_ne!(found.journal.digest, found.consumers.digest);
        assert_eq!((found.missing, found.unknown, &found.missing_records), (1, 1, &ids));
    }

    /// More of a minute than are read at once, beside what lies before and after it.
    #[tokio::test]
    async fn a_minute_is_compared_as_a_whole_however_much_is_in_it() {
        let store = MemoryStore::default();
        let ids = committed(&store, (0..9_000).map(|n| n * 10).chain([150_000])).await;
        let entered: Vec<&RecordId> = ids.iter().filter(|id| **id != ids[4_321]).collect();
        for batch in entered.chunks(500) {
            note(&store, batch.iter().copied(), at(0)).await.unwrap();
        }
        let compared = compared(&store, 60).await;
        assert_eq!((compared.journal, compared.consumers), (9_001, 9_000));
        let [found] = compared.differences.as_slice() else { panic!("{:?}", compared.differences) };
        assert_eq!((found.missing, &found.missing_records[0], found.minute), (1, &ids[4_321], at(0)));
    }

    /// A batch of the queue fits a unit of what DynamoDB counts by: docs/COST.md.
    #[tokio::test]
    async fn the_receipt_of_a_hundred_records_is_small_and_told_again_changes_nothing() {
        let store = MemoryStore::default();
        let ids = committed(&store, 0..100).await;
        for _ in 0..2 {
            note(&store, &ids, at(0)).await.unwrap();
        }
        let query = Query {
            table: Table::State,
            index: None,
            partition: partition(minute_of(at(0))),
            from: None,
            below: None,
            order: Order::Ascending,
            limit: 9,
            after: None,
        };
        let page = store.query(&query).await.unwrap();
        assert_eq!(page.items.len(), 1);
        assert!(page.items[0].item.body.len() < 820, "{}", page.items[0].item.body.len());
    }
}
