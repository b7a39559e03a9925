//! How approvals lie in the store: each by itself, those of an agent by its ledger, those a human's agents opened in a day
//! by a count. What opens an approval writes all three at once, so that of any number of requests at once no more than
//! allowed are opened.

use super::payload::{self, PayloadPart};
use super::{Approval, ApprovalState};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, ApprovalId};
use crate::name::HumanId;
use crate::pipeline::App;
use crate::repository::{self, Document, Loaded, due_sort};
use crate::store::{Index, IndexEntry, ItemKey, Order, Put, Query, StoreError, Table};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// An approval as stored: what is shown, and what ties it to one request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ApprovalRecord {
    pub approval: Approval,
    /// Keyed digest of the whole request: who asks, what, on what, in which words.
    pub binding: String,
    /// The deployment's when it was asked: what a backup holds is of no use after a restore.
    pub epoch: u32,
    pub payload: Kept,
}

/// What is kept of the body.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    Deleted,
    Sealed {
        parts: u8,
    },
    TooLarge {
        length: u32,
    },
    /// It holds key bytes in the clear.
    Withheld {
        length: u32,
    },
}

pub const ALL_APPROVALS: &str = "approvals";
/// The partition of those that must be expired at a time, on [`Index::Fourth`].
const DUE: &str = "approvals-due";
/// Seconds for which a decided approval is kept: a week. The audit trail keeps what happened.
const REMEMBERED: i64 = 7 * 86_400;
/// Approvals read at once.
const AT_ONCE: usize = 100;

/// The approvals of a human's agents, on [`Index::Second`].
pub fn of_sponsor(sponsor: &HumanId) -> String {
    format!("approvals-of/{sponsor}")
}

pub fn approval_item(id: &ApprovalId) -> ItemKey {
    ItemKey::state(format!("approval/{id}"), "approval")
}

pub fn ledger_item(agent: &AgentId) -> ItemKey {
    ItemKey::state(format!("agent/{agent}"), "approvals")
}

pub fn day_item(human: &HumanId) -> ItemKey {
    ItemKey::state(format!("human/{human}"), "approvals")
}

impl Document for ApprovalRecord {
    fn item_key(&self) -> ItemKey {
        approval_item(&self.approval.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let approval = &self.approval;
        let entry = |index, partition: String| IndexEntry { index, partition, sort: approval.id.to_string() };
        let due = matches!(approval.state, ApprovalState::Pending | ApprovalState::Approved).then(|| IndexEntry {
            index: Index::Fourth,
            partition: DUE.to_string(),
            sort: format!("{}/{}", due_sort(approval.expires_at), approval.id),
        });
        let found =
            [entry(Index::First, ALL_APPROVALS.to_string()), entry(Index::Second, of_sponsor(&approval.sponsor))];
        found.into_iter().chain(due).collect()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(after_seconds(self.approval.expires_at, REMEMBERED))
    }
}

impl ApprovalRecord {
    /// The body, if it is still there.
    ///
    /// # Errors
    /// [`Error::Damaged`]; [`Error::Unavailable`].
    pub async fn body(&self, app: &App) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Kept::Sealed { parts } = self.payload else { return Ok(None) };
        let items = payload::parts_items(&self.approval.id, parts);
        let read = app.store.batch_get(&items).await?;
        let mut found = Vec::with_capacity(items.len());
        for item in &items {
            let part: Option<Loaded<PayloadPart>> = read.find(item).map(|part| repository::decode(part)).transpose()?;
            // Emptied by who answered a moment ago.
            let Some(part) = part.filter(|part| part.value.sealed.is_some()) else { return Ok(None) };
            found.push(part.value);
        }
        payload::open(&app.digest_key, &self.approval.id, &found).map(Some)
    }
}

impl Loaded<ApprovalRecord> {
    /// The writes that store what became of it. Its body goes with the first use, and with its end.
    ///
    /// # Errors
    /// As [`Document::put`].
    pub fn writes(mut self) -> Result<Vec<Put>, Error> {
        let approval = &self.value.approval;
        let waits = matches!(approval.state, ApprovalState::Pending | ApprovalState::Approved);
        let mut puts = match waits && approval.used.is_empty() {
            true => Vec::new(),
            false => payload::erase(&mut self.value)?,
        };
        puts.push(self.replace()?);
        Ok(puts)
    }
}

/// The approvals of one agent that may still decide on something.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ledger {
    pub agent: AgentId,
    pub approvals: Vec<ApprovalId>,
}

impl Document for Ledger {
    fn item_key(&self) -> ItemKey {
        ledger_item(&self.agent)
    }
}

/// How many approvals the agents of one human opened in one day of the calendar (UTC).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Day {
    pub human: HumanId,
    /// Since 1970.
    pub day: i64,
    pub opened: u32,
}

impl Document for Day {
    fn item_key(&self) -> ItemKey {
        day_item(&self.human)
    }
}

/// Writes down what expired, and empties its body. Returns how many.
///
/// # Errors
/// [`Error::Unavailable`]; what was done until then stays done.
pub async fn expire_due(app: &App) -> Result<usize, Error> {
    let now = app.clock.now();
    let mut query = Query {
        table: Table::State,
        index: Some(Index::Fourth),
        partition: DUE.to_string(),
        from: None,
        below: Some(due_sort(after_seconds(now, 1))),
        order: Order::Ascending,
        limit: AT_ONCE,
        after: None,
    };
    let mut done: usize = 0;
    loop {
        let page = app.store.query(&query).await?;
        for stored in page.items {
            // The index may lag: what is done rests on the approval as it is now.
            let found: Option<Loaded<ApprovalRecord>> = repository::load(app.store.as_ref(), &stored.item.key).await?;
            let Some(mut found) = found else { continue };
            let waits = matches!(found.value.approval.state, ApprovalState::Pending | ApprovalState::Approved);
            if !waits || found.value.approval.state_at(now) != ApprovalState::Expired {
                continue;
            }
            found.value.approval.state = ApprovalState::Expired;
            match app.store.transact(found.writes()?).await {
                Ok(()) => done = done.saturating_add(1),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(done);
        }
    }
}
