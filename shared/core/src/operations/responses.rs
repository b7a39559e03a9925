//! What was done about misuse, by rules and by humans. Nothing of it is kept for this: it is read off the audit records, and
//! off what is still to be carried out.

mod entry;

pub use entry::{ResponseEntry, Taken};

use super::listing::PageQuery;
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{AgentId, RecordId};
use crate::journal::{self, Search};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Permit};
use crate::policy::Resource;
use crate::recommendation::ResponseOutcome;
use crate::record::AuditRecord;
use crate::store::{Items, MAX_BATCH};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which responses to list. All that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseQuery {
    pub action: Option<Taken>,
    /// The agent it was about.
    pub agent: Option<AgentId>,
    pub outcome: Option<ResponseOutcome>,
    #[schemars(with = "Option<DateTime>")]
    pub since: Option<Timestamp>,
    /// Up to, not including.
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// 1 to 200; 50 if absent.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<usize>,
    /// As the page before returned it.
    pub cursor: Option<String>,
}

/// Responses, newest first. A page may be short, even empty, and not the last.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ResponsePage {
    pub items: Vec<ResponseEntry>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Lists responses, newest first: all, for those who may see all; else those about the human's own agents, and her own.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor; [`Error::Unavailable`].
pub async fn list_responses(app: &App, permit: &Permit, query: &ResponseQuery) -> Result<Done<ResponsePage>, Error> {
    let limit = PageQuery { limit: query.limit, cursor: None }.limit()?;
    let cursor = query.cursor.as_deref().map(Cursor::parse).transpose()?;
    let (facts, now, store) = (permit.facts(), app.clock.now(), app.store.as_ref());
    let sees_all = facts.decide(Operation::ResponseList, &Resource::Deployment, now).is_ok();
    let search = Search {
        human: (!sees_all).then(|| facts.human.id.clone()),
        by_human: !sees_all,
        is_response: true,
        since: query.since,
        until: query.until,
        before: cursor.as_ref().map(|cursor| cursor.record.clone()),
        ..Search::default()
    };
    let mut page = journal::search(store, &search, facts.deployment.created_at, now, limit).await?;
    // Of the record that the page before broke off in, the rest comes first.
    let mut skip = cursor.as_ref().map_or(0, |cursor| cursor.taken);
    if let Some(cursor) = cursor.filter(|cursor| cursor.taken > 0) {
        let broken_off = journal::find(store, &cursor.record).await?.filter(|record| search.covers(record));
        page.records.splice(0..0, broken_off);
    }
    let known = read(app, &page.records).await?;
    let mut items = Vec::new();
    // The record before, of which all is shown.
    let mut shown = None;
    for record in &page.records {
        let entries = entry::entries(record, &known, now)?;
        for (place, entry) in entries.into_iter().enumerate().skip(std::mem::take(&mut skip)) {
            if items.len() >= limit {
                let next = match place {
                    0 => shown.map(|record| Cursor { record, taken: 0 }),
                    taken => Some(Cursor { record: record.id.clone(), taken }),
                };
                let next_cursor = next.map(|next| next.to_string());
                return Ok(Done::read(ResponsePage { items, next_cursor }));
            }
            if query.fits(&entry) {
                items.push(entry);
            }
        }
        shown = Some(record.id.clone());
    }
    let next_cursor = page.next.map(|record| Cursor { record, taken: 0 }.to_string());
    Ok(Done::read(ResponsePage { items, next_cursor }))
}

impl ResponseQuery {
    fn fits(&self, entry: &ResponseEntry) -> bool {
        self.action.is_none_or(|action| entry.action == action)
            && self.outcome.is_none_or(|outcome| entry.outcome == outcome)
            && self.agent.as_ref().is_none_or(|agent| entry.agent.as_ref() == Some(agent))
    }
}

/// Whatever says how what these records tell of stands now.
async fn read(app: &App, records: &[AuditRecord]) -> Result<Items, Error> {
    let mut wanted: Vec<_> = records.iter().flat_map(entry::needs).collect();
    wanted.sort();
    wanted.dedup();
    let mut known = Items(Vec::new());
    for items in wanted.chunks(MAX_BATCH) {
        known.0.extend(app.store.batch_get(items).await?.0);
    }
    Ok(known)
}

/// Records older than one, or the rest of it: one record may tell of several responses.
struct Cursor {
    record: RecordId,
    /// How many responses of that record were on the page before; 0 for all.
    taken: usize,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, Error> {
        let read = || {
            let (record, taken) = text.split_once('.').unwrap_or((text, "0"));
            Some(Self { record: RecordId::try_from(record.to_string()).ok()?, taken: taken.parse().ok()? })
        };
        read().ok_or_else(|| Error::invalid("cursor", "it must be as the page before returned it"))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.taken {
            0 => write!(f, "{}", self.record),
            taken => write!(f, "{}.{taken}", self.record),
        }
    }
}
