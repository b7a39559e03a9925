//! Whether what is on record also reached its consumers, and telling it to them again.

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Error;
use crate::heartbeat::Heartbeat;
use crate::id::RecordId;
use crate::journal;
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::record::{AuditRecord, Outcome};
use crate::store::Store;
use crate::tally::{self, Compared, Difference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which minutes to compare.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyAudit {
    /// From the minute of this moment on; a day ago if absent. What is older than 35 days is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
    /// Through the minute before this moment; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
}

/// The journal beside what its consumers took in.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditVerified {
    /// The first minute that was compared.
    #[schemars(with = "DateTime")]
    pub since: Timestamp,
    /// The first one after those that were compared.
    #[schemars(with = "DateTime")]
    pub until: Timestamp,
    /// Records of the journal.
    pub journal: usize,
    /// Of records the consumers took in.
    pub consumers: usize,
    /// By minute and shard, the oldest first; none where both agree.
    pub differences: Vec<Difference>,
    /// From here on minutes were asked for that are not over yet: a record of them may still be on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub open_since: Option<Timestamp>,
    /// How far detection has come. What is younger is late rather than lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub detection_through: Option<Timestamp>,
    /// Where to go on: `since` of the next call. Absent once all was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub next_since: Option<Timestamp>,
}

/// What is compared if nothing is said, in seconds: a day.
const USUALLY: i64 = 86_400;

/// Compares, by minute and shard, the journal with what its consumers took in.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Unavailable`].
pub async fn verify_audit(app: &App, permit: &Permit, query: &VerifyAudit) -> Result<Done<AuditVerified>, Error> {
    let now = app.clock.now();
    let since = query.since.unwrap_or_else(|| after_seconds(now, -USUALLY));
    let until = query.until.unwrap_or(now);
    check(since, until)?;
    // Of the minute that ends now, receipts may be gone already.
    let kept = after_seconds(now, 60_i64.saturating_sub(tally::KEPT)).max(permit.facts().deployment.created_at);
    let from = tally::minute_of(since.max(kept));
    let asked = tally::minute_of(after_seconds(until.min(now), 59));
    let over = tally::minute_of(after_seconds(now, -journal::SETTLES));
    let end = asked.min(over).max(from);
    let store = app.store.as_ref();
    let Compared { to, journal, consumers, differences } = tally::compare(store, from, end).await?;
    let value = AuditVerified {
        since: tally::begin_of(from),
        until: tally::begin_of(to),
        journal,
        consumers,
        differences,
        open_since: (asked > end).then(|| tally::begin_of(end)),
        detection_through: Heartbeat::read(store).await?.map(|heartbeat| heartbeat.through),
        next_since: (to < end).then(|| tally::begin_of(to)),
    };
    Ok(Done::read(value))
}

fn check(since: Timestamp, until: Timestamp) -> Result<(), Error> {
    match since < until {
        true => Ok(()),
        false => Err(Error::invalid("until", "it must be later than `since`")),
    }
}

/// Which records to tell again.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedriveAudit {
    /// From this moment on.
    #[schemars(with = "DateTime")]
    pub since: Timestamp,
    /// Up to, not including; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// As the call before returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<RecordId>,
}

/// What is told again, as soon as whoever tells it reads the record of this call.
#[derive(Debug, JsonSchema, Serialize)]
pub struct AuditRedriven {
    /// At most a thousand.
    pub records: usize,
    /// When the last of them was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub through: Option<Timestamp>,
    /// Absent once none is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<RecordId>,
}

/// Records told again by one call.
const AT_ONCE: usize = 1_000;
/// Records of a span that are told: some may have come later than the call that named it.
const MOST: usize = 1_200;

/// Has what is on record told to its consumers again. The record of the call says what: whoever tells records comes upon it
/// as upon any other, so that nobody needs a right for this but to write what he did.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::Unavailable`].
pub async fn redrive_audit(app: &App, permit: &Permit, input: &RedriveAudit) -> Result<Done<AuditRedriven>, Error> {
    let now = app.clock.now();
    let until = input.until.unwrap_or(now).min(now);
    check(input.since, until)?;
    let since = input.since.max(permit.facts().deployment.created_at);
    let floor = RecordId::floor(since);
    let from = input.cursor.clone().map_or_else(|| floor.clone(), |cursor| cursor.max(floor.clone()));
    let below = RecordId::floor(until);
    let (records, next) = journal::between(app.store.as_ref(), &from, &below, AT_ONCE).await?;
    // What was counted, and nothing that comes meanwhile.
    let below = records.last().map_or(below, |last| last.id.next());
    let span = Span { from, below };
    let object = (!records.is_empty()).then(|| span.to_string());
    let through = records.last().map(|last| last.id.at());
    let value = AuditRedriven { records: records.len(), through, next_cursor: next };
    Ok(Done { note: Note { object, ..Note::default() }, ..Done::read(value) })
}

/// Records from one id on and below another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    from: RecordId,
    below: RecordId,
}

impl Span {
    /// What this record asks to be told again.
    pub fn asked_by(record: &AuditRecord) -> Option<Self> {
        let asks = (record.operation, record.outcome) == (Operation::AuditRedrive, Outcome::Ok);
        record.object.as_ref().filter(|_| asks)?.parse().ok()
    }

    /// The records, oldest first; of more than any call names, the first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn records(&self, store: &dyn Store) -> Result<Vec<AuditRecord>, Error> {
        let (mut found, mut from) = (Vec::new(), self.from.clone());
        while found.len() < MOST {
            let left = MOST.saturating_sub(found.len());
            let (some, next) = journal::between(store, &from, &self.below, left).await?;
            found.extend(some);
            let Some(next) = next else { return Ok(found) };
            from = next;
        }
        tracing::error!(span = %self, "more records than any call has told again: the rest is left");
        Ok(found)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.below)
    }
}

impl FromStr for Span {
    type Err = NoSpan;

    fn from_str(text: &str) -> Result<Self, NoSpan> {
        let (from, below) = text.split_once("..").ok_or(NoSpan)?;
        let id = |text: &str| RecordId::try_from(text.to_string()).map_err(|_| NoSpan);
        Ok(Self { from: id(from)?, below: id(below)? })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not two record ids with two dots between them")]
pub struct NoSpan;
