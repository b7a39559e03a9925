//! The journal: audit records as they lie in the store, and how they are found again. Append-only.

use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::feed::Feed;
use crate::id::{AgentId, KeyId, RecordId};
use crate::name::HumanId;
use crate::operation::Operation;
use crate::pipeline::App;
use crate::reason::Reason;
use crate::record::{AuditRecord, MAX_RECORD, Outcome};
use crate::repository::decode;
use crate::store::{
    Expect, Index, IndexEntry, Item, ItemKey, MAX_PAGE, MAX_SPREAD, Order, Position, Put, Query, Store, Stored, Table,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most records one page looks at; filters that no index serves may leave it short (DESIGN §4).
pub const MAX_EXAMINED: usize = 1_000;

/// What the partition of a record begins with; its id follows.
pub const RECORDS: &str = "record/";

/// Most days one page walks: an empty one costs as many queries as a full one.
const MAX_DAYS: usize = 64;

/// What most records take, in bytes.
const RECORD: usize = 1_024;

/// Writes a record, which from then on tells how long the request took. Durable once it returns.
///
/// # Errors
/// [`Error::Unavailable`]; the record may then be there or not.
pub async fn append(app: &App, record: &mut AuditRecord) -> Result<(), Error> {
    let put = put_timed(app, record)?;
    app.store.put_if(put.item, put.expect).await?;
    Ok(())
}

/// Microseconds since `at`.
fn elapsed_us(app: &App, at: Timestamp) -> u64 {
    let elapsed = app.clock.precise().as_microsecond().saturating_sub(at.as_microsecond());
    u64::try_from(elapsed).unwrap_or(0)
}

/// The write of a record, for a transaction; the record tells how long the request took until now.
///
/// # Errors
/// As [`put`].
pub fn put_timed(app: &App, record: &mut AuditRecord) -> Result<Put, Error> {
    record.latency_us = elapsed_us(app, record.at);
    put(app.store.as_ref(), record)
}

/// The write of a record, for a transaction in `store`.
///
/// # Errors
/// [`Error::Damaged`] if the record is larger than any record should be.
pub fn put(store: &dyn Store, record: &AuditRecord) -> Result<Put, Error> {
    let too_large = |cause: crate::error::Cause| Error::Damaged { what: "audit record", source: cause };
    let mut body = Vec::with_capacity(RECORD);
    serde_json::to_writer(&mut body, record).map_err(|error| too_large(error.into()))?;
    if body.len() > MAX_RECORD {
        return Err(too_large("longer than 16 KiB".into()));
    }
    let body = String::from_utf8(body).map_err(|error| too_large(error.into()))?;
    let id = record.id.as_str();
    let (day, shard) = (day(record.id.at()), shard(id, store.spread()));
    let entry = |index, subject: fmt::Arguments<'_>| {
        let partition = partition(subject, day, shard);
        IndexEntry { index, partition, sort: id.to_string() }
    };
    let indexes = [
        Some(entry(Index::First, format_args!("{ALL}"))),
        record.human.as_ref().map(|human| entry(Index::Second, format_args!("human/{human}"))),
        record.agents.first().map(|agent| entry(Index::Third, format_args!("agent/{agent}"))),
        record.key.as_ref().map(|key| entry(Index::Fourth, format_args!("key/{key}"))),
    ];
    let indexes = indexes.into_iter().flatten().collect();
    Ok(Put { item: Item { key: item_key(&record.id), body, indexes, expires_at: None }, expect: Expect::Absent })
}

/// What to look for. The first of key, agent and human that is set chooses the index; the rest filter what it finds.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub human: Option<HumanId>,
    pub agent: Option<AgentId>,
    pub key: Option<KeyId>,
    pub operation: Option<Operation>,
    pub outcome: Option<Outcome>,
    pub min_risk: Option<f64>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only records older than this one.
    pub before: Option<RecordId>,
    /// Only records of what was, or is to be, done about misuse: by rules or by humans.
    pub is_response: bool,
    /// Walks the human's records, whatever else is asked for.
    pub by_human: bool,
}

/// Records, newest first, and where to go on. A page may be short, even empty, and not the last.
#[derive(Debug, Default)]
pub struct RecordPage {
    pub records: Vec<AuditRecord>,
    pub next: Option<RecordId>,
}

/// Finds records between `since` (or the deployment's beginning) and `until` (or now), newest first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn search(
    store: &dyn Store,
    search: &Search,
    beginning: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Result<RecordPage, Error> {
    let floor = RecordId::floor(search.since.map_or(beginning, |since| since.max(beginning)));
    // A clock may have been ahead of this one: look a day past now.
    let tomorrow = RecordId::floor(after_seconds(now, 86_400));
    let until = search.until.map(RecordId::floor);
    let mut ceiling = search.before.clone().into_iter().chain(until).fold(tomorrow, RecordId::min);
    let mut found = RecordPage::default();
    let mut examined: usize = 0;
    for (looked_at, day) in (day(floor.at())..=day(ceiling.at())).rev().enumerate() {
        if looked_at >= MAX_DAYS {
            found.next = Some(ceiling.min(RecordId::floor(day_end(day))));
            return Ok(found);
        }
        loop {
            let slice = newest_of_day(store, search, day, &floor, &ceiling, limit).await?;
            for record in slice.records {
                if found.records.len() >= limit || examined >= MAX_EXAMINED {
                    found.next = Some(ceiling);
                    return Ok(found);
                }
                examined = examined.saturating_add(1);
                ceiling = record.id.clone();
                if search.matches(&record) {
                    found.records.push(record);
                }
            }
            if !slice.more {
                break;
            }
        }
    }
    Ok(found)
}

/// Records from `from` on and below `below`, oldest first, at most `limit`; and where to go on. May be short, even empty, and
/// not the last.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn between(
    store: &dyn Store,
    from: &RecordId,
    below: &RecordId,
    limit: usize,
) -> Result<(Vec<AuditRecord>, Option<RecordId>), Error> {
    let (mut found, mut from) = (Vec::new(), from.clone());
    for (looked_at, day) in (day(from.at())..=day(below.at())).enumerate() {
        if looked_at >= MAX_DAYS {
            return Ok((found, Some(from.max(RecordId::floor(day_end(day.saturating_sub(1)))))));
        }
        loop {
            let query = Query { limit: limit.clamp(1, MAX_PAGE), ..in_order(&from, below) };
            let slice = of_day(store, query, ALL, day).await?;
            for record in slice.records {
                if found.len() >= limit {
                    return Ok((found, Some(record.id)));
                }
                from = record.id.next();
                found.push(record);
            }
            if !slice.more {
                break;
            }
        }
    }
    Ok((found, None))
}

/// Of the shard that is asked for. A page may end within a millisecond.
fn in_order(from: &RecordId, below: &RecordId) -> Query {
    Query {
        table: Table::Journal,
        index: Some(Index::First),
        partition: String::new(),
        from: Some(from.to_string()),
        below: Some(below.to_string()),
        order: Order::Ascending,
        limit: MAX_PAGE,
        after: None,
    }
}

/// The ids of one shard from `from` on and below `below`, both of one day, in their order.
pub(crate) async fn ids(
    store: &dyn Store,
    shard: u8,
    [from, below]: [&RecordId; 2],
    after: Option<Position>,
) -> Result<(Vec<RecordId>, Option<Position>), Error> {
    let query = Query { partition: partition(ALL, day(from.at()), shard), after, ..in_order(from, below) };
    let page = store.query(&query).await?;
    let id = |stored: &Stored| {
        let id = stored.item.key.partition.strip_prefix(RECORDS)?.to_string();
        RecordId::try_from(id).ok()
    };
    Ok((page.items.iter().filter_map(id).collect(), page.next))
}

/// The subject of every record.
const ALL: &str = "all";

struct Slice {
    records: Vec<AuditRecord>,
    more: bool,
}

/// The newest records of one day below `ceiling`.
async fn newest_of_day(
    store: &dyn Store,
    search: &Search,
    day: i64,
    floor: &RecordId,
    ceiling: &RecordId,
    limit: usize,
) -> Result<Slice, Error> {
    let (index, subject) = search.index();
    let query = Query {
        table: Table::Journal,
        index: Some(index),
        partition: String::new(),
        from: Some(floor.to_string()),
        below: Some(ceiling.to_string()),
        order: Order::Descending,
        // What filters leave out is fetched, too.
        limit: if search.is_exact() { limit.clamp(1, 250) } else { 250 },
        after: None,
    };
    of_day(store, query, &subject, day).await
}

/// The records of one day that `query` finds in each of its shards, merged. Where a shard has more than was read, what comes
/// after its last one read is left for the next call: another shard's could come before it.
async fn of_day(store: &dyn Store, mut query: Query, subject: &str, day: i64) -> Result<Slice, Error> {
    let descending = query.order == Order::Descending;
    let mut merged = BTreeMap::new();
    let mut horizon: Option<RecordId> = None;
    for shard in 0..MAX_SPREAD {
        query.partition = partition(subject, day, shard);
        let page = store.query(&query).await?;
        let mut last = None;
        for stored in &page.items {
            let record: AuditRecord = decode(stored)?.value;
            last = Some(record.id.clone());
            merged.insert(record.id.clone(), record);
        }
        if page.next.is_some() {
            let both = horizon.into_iter().chain(last);
            horizon = if descending { both.max() } else { both.min() };
        }
    }
    let more = horizon.is_some();
    let is_complete = |id: &RecordId| match &horizon {
        Some(horizon) if descending => id >= horizon,
        Some(horizon) => id <= horizon,
        None => true,
    };
    let complete = merged.into_iter().filter(|(id, _)| is_complete(id)).map(|(_, record)| record);
    let mut records: Vec<_> = complete.collect();
    if descending {
        records.reverse();
    }
    Ok(Slice { records, more })
}

/// Records in the order of their ids, for a store that keeps no order of commits: those of before `until`, when no more come.
/// That is so of what a request or a schedule left on record; a response has the id of what it answers, and may come later.
pub struct Settled<'a> {
    store: &'a dyn Store,
    beginning: Timestamp,
    until: Timestamp,
}

/// Seconds after which there is nothing on the way any more: a permit lives for 30, a function acts for 60, and an index
/// lags for less.
pub(crate) const SETTLES: i64 = 180;

impl<'a> Settled<'a> {
    /// Of a deployment made at `beginning`, as of `now`.
    pub fn new(store: &'a dyn Store, beginning: Timestamp, now: Timestamp) -> Self {
        Self { store, beginning, until: after_seconds(now, -SETTLES) }
    }
}

impl fmt::Debug for Settled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settled(..)")
    }
}

#[async_trait]
impl Feed for Settled<'_> {
    async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<Arc<AuditRecord>>, Error> {
        let (mut found, ceiling) = (Vec::new(), RecordId::floor(self.until));
        let from = last.cloned().unwrap_or_else(|| RecordId::floor(self.beginning));
        for day in day(from.at())..=day(self.until) {
            // With the one that is known already.
            let query = Query { limit: limit.saturating_add(1).min(MAX_PAGE), ..in_order(&from, &ceiling) };
            let slice = of_day(self.store, query, ALL, day).await?;
            let new = slice.records.into_iter().filter(|record| last != Some(&record.id));
            found.extend(new.map(Arc::new));
            if slice.more || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl Search {
    fn index(&self) -> (Index, String) {
        match (&self.key, &self.agent, &self.human) {
            (_, _, Some(human)) if self.by_human => (Index::Second, format!("human/{human}")),
            (Some(key), _, _) => (Index::Fourth, format!("key/{key}")),
            (None, Some(agent), _) => (Index::Third, format!("agent/{agent}")),
            (None, None, Some(human)) => (Index::Second, format!("human/{human}")),
            (None, None, None) => (Index::First, ALL.to_string()),
        }
    }

    /// Whether the index finds nothing that does not match.
    fn is_exact(&self) -> bool {
        let subjects = [self.key.is_some(), self.agent.is_some(), self.human.is_some()];
        let filtered = self.operation.is_some() || self.outcome.is_some() || self.min_risk.is_some();
        let filtered = filtered || self.is_response;
        !filtered && subjects.iter().filter(|set| **set).count() <= 1
    }

    fn matches(&self, record: &AuditRecord) -> bool {
        let equal = |wanted: bool, given: bool| given || wanted;
        equal(record.human == self.human, self.human.is_none())
            && equal(record.agents.first() == self.agent.as_ref(), self.agent.is_none())
            && equal(record.key == self.key, self.key.is_none())
            && equal(Some(record.operation) == self.operation, self.operation.is_none())
            && equal(Some(record.outcome) == self.outcome, self.outcome.is_none())
            && self.min_risk.is_none_or(|least| record.risk.score >= least)
            && equal(is_response(record), !self.is_response)
    }

    /// Whether it would find a record that was found by its id.
    pub(crate) fn covers(&self, record: &AuditRecord) -> bool {
        let since = self.since.is_none_or(|since| record.id >= RecordId::floor(since));
        let until = self.until.is_none_or(|until| record.id < RecordId::floor(until));
        since && until && self.matches(record)
    }
}

fn is_answer(record: &AuditRecord) -> bool {
    record.recommendation.is_some() || !record.responses.is_empty()
}

fn is_response(record: &AuditRecord) -> bool {
    is_answer(record) || record.operation.stops_somebody() || record.reason == Some(Reason::ApprovalsExhausted)
}

/// Reads one record.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn find(store: &dyn Store, id: &RecordId) -> Result<Option<AuditRecord>, Error> {
    store.get(&item_key(id)).await?.map(|stored| Ok(decode(&stored)?.value)).transpose()
}

pub(crate) fn item_key(id: &RecordId) -> ItemKey {
    ItemKey::journal(format!("{RECORDS}{id}"), "record")
}

fn partition(subject: impl fmt::Display, day: i64, shard: u8) -> String {
    format!("{subject}/{day}/{shard}")
}

/// The end of a day.
fn day_end(day: i64) -> Timestamp {
    Timestamp::from_second(day.saturating_add(1).saturating_mul(86_400)).unwrap_or(Timestamp::MAX)
}

/// Days since 1970, UTC.
fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}

/// From the random part of the id, which ends the `text`.
pub(crate) fn shard(text: &str, spread: u8) -> u8 {
    text.bytes().last().and_then(|byte| byte.checked_rem(spread)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;
    use crate::id::RequestId;
    use crate::record::Plane;
    use crate::store::memory::MemoryStore;

    /// Some in the shards of three days, many of them at once, and some that are too young.
    #[tokio::test]
    async fn settled_records_come_in_order_each_once_however_many_are_taken_at_once() {
        let store = MemoryStore::default();
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let mut ids = Vec::new();
        for n in 0..900_i64 {
            let at = after_seconds(now, -(n * n) / 4);
            let (id, request) = (RecordId::new(at, &Entropy::system()), RequestId::new(at, &Entropy::system()));
            let record = AuditRecord::new(id.clone(), at, Operation::KeySign, Plane::Rest, request);
            store.transact(vec![put(&store, &record).unwrap()]).await.unwrap();
            ids.push(id);
        }
        ids.retain(|id| id.at() < after_seconds(now, -SETTLES));
        ids.sort();
        assert!((850..890).contains(&ids.len()), "{}", ids.len());
        let feed = Settled::new(&store, after_seconds(now, -300_000), now);
        for at_once in [1, 7, 100, 500] {
            let mut walked: Vec<RecordId> = Vec::new();
            loop {
                let some = feed.after(walked.last(), at_once).await.unwrap();
                assert!(some.len() <= at_once);
                walked.extend(some.iter().map(|record| record.id.clone()));
                if some.is_empty() {
                    break;
                }
            }
            assert_eq!(walked, ids, "{at_once}");
        }
    }

    /// The newest of a day lie in one shard, more than are read of it at once; the older ones in another.
    #[tokio::test]
    async fn a_rare_record_is_found_however_a_day_lies_in_its_shards() {
        let store = MemoryStore::default();
        let at = |age: i64| Timestamp::from_second(1_790_000_000 - age).unwrap();
        let mut puts = Vec::new();
        for age in 0..800 {
            let entropy = Entropy::new(move |bytes| bytes.fill(if age < 400 { 0 } else { 1 }));
            let (id, request) = (RecordId::new(at(age), &entropy), RequestId::new(at(age), &entropy));
            let outcome = if age == 300 { Outcome::Error } else { Outcome::Ok };
            let record = AuditRecord::new(id, at(age), Operation::KeySign, Plane::Rest, request);
            puts.push(put(&store, &AuditRecord { outcome, ..record }).unwrap());
        }
        for some in puts.chunks(100) {
            store.transact(some.to_vec()).await.unwrap();
        }
        let rare = Search { outcome: Some(Outcome::Error), ..Search::default() };
        let found = search(&store, &rare, at(10_000), at(0), 10).await.unwrap();
        assert_eq!(found.records.iter().map(|record| record.at).collect::<Vec<_>>(), [at(300)]);
        assert_eq!(found.next, None);
    }
}
