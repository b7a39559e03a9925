//! How documents of the domain lie in the store: their keys, their indexes, their JSON. Written once, for every store.

use crate::agent::{Agent, Credential};
use crate::ambient::Timestamp;
use crate::deployment::{Deployment, PolicyDocument, RulesDocument, RulesHistory};
use crate::error::Error;
use crate::human::Human;
use crate::id::{AgentId, CredentialId, KeyId, RecommendationId};
use crate::idempotency::Replay;
use crate::key::{KeyRecord, VersionRecord};
use crate::name::{HumanId, KeyName};
use crate::recommendation::RecommendationRecord;
use crate::store::{
    Expect, Index, IndexEntry, Item, ItemKey, Order, Position, Put, Query, Revision, Store, Stored, Table,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A document that lies in the state table as one item.
pub trait Document: DeserializeOwned + Serialize {
    fn item_key(&self) -> ItemKey;

    fn indexes(&self) -> Vec<IndexEntry> {
        Vec::new()
    }

    fn expires_at(&self) -> Option<Timestamp> {
        None
    }

    /// The write that stores this while `expect` holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it has no JSON form, which is a mistake in the type.
    fn put(&self, expect: Expect) -> Result<Put, Error> {
        let body =
            serde_json::to_string(self).map_err(|error| Error::Damaged { what: "document", source: error.into() })?;
        let (key, indexes, expires_at) = (self.item_key(), self.indexes(), self.expires_at());
        Ok(Put { item: Item { key, body, indexes, expires_at }, expect })
    }
}

/// A document as it was read, and the revision a write must expect.
#[derive(Clone, Debug)]
pub struct Loaded<D> {
    pub value: D,
    pub revision: Revision,
}

impl<D: Document> Loaded<D> {
    /// The write that replaces the document with what `value` is now.
    ///
    /// # Errors
    /// As [`Document::put`].
    pub fn replace(&self) -> Result<Put, Error> {
        self.value.put(Expect::Current(self.revision))
    }
}

/// Reads a document as of now.
///
/// # Errors
/// [`Error::Unavailable`], or [`Error::Damaged`] for an item that is no `D`.
pub async fn load<D: Document>(store: &dyn Store, key: &ItemKey) -> Result<Option<Loaded<D>>, Error> {
    store.get(key).await?.map(|stored| decode(&stored)).transpose()
}

/// # Errors
/// [`Error::Damaged`] for an item that is no `D`.
pub fn decode<D: DeserializeOwned>(stored: &Stored) -> Result<Loaded<D>, Error> {
    let value = serde_json::from_str(&stored.item.body)
        .map_err(|error| Error::Damaged { what: "document", source: error.into() })?;
    Ok(Loaded { value, revision: stored.revision })
}

/// As [`decode`], parsed once where the store keeps the item in memory; `to_owned` makes a copy that can be changed.
///
/// # Errors
/// As [`decode`].
pub fn share<D: DeserializeOwned + Send + Sync + 'static>(stored: &Stored) -> Result<Loaded<Arc<D>>, Error> {
    let value = stored.parsed().map_err(|error| Error::Damaged { what: "document", source: error.into() })?;
    Ok(Loaded { value, revision: stored.revision })
}

impl<D: Clone> Loaded<Arc<D>> {
    pub fn to_owned(&self) -> Loaded<D> {
        Loaded { value: D::clone(&self.value), revision: self.revision }
    }
}

/// A page of documents.
#[derive(Debug)]
pub struct Listing<D> {
    pub items: Vec<D>,
    pub next: Option<Position>,
}

/// Lists the documents of one partition of an index in `order`.
///
/// # Errors
/// As [`load`].
pub async fn list<D: Document>(
    store: &dyn Store,
    index: Index,
    partition: String,
    order: Order,
    limit: usize,
    after: Option<Position>,
) -> Result<Listing<D>, Error> {
    let query =
        Query { table: Table::State, index: Some(index), partition, from: None, below: None, order, limit, after };
    let page = store.query(&query).await?;
    let items = page.items.iter().map(|stored| Ok(decode(stored)?.value)).collect::<Result<_, Error>>()?;
    Ok(Listing { items, next: page.next })
}

pub fn key_item(id: &KeyId) -> ItemKey {
    ItemKey::state(format!("key/{id}"), "key")
}

/// An item that never is: read where reading nothing would tell that there is nothing.
pub fn nothing_item() -> ItemKey {
    key_item(&KeyId::none())
}

pub fn version_item(id: &KeyId, version: u32) -> ItemKey {
    ItemKey::state(format!("key/{id}"), format!("version/{version:06}"))
}

pub fn alias_item(name: &KeyName) -> ItemKey {
    ItemKey::state(format!("alias/{name}"), "alias")
}

pub fn agent_item(id: &AgentId) -> ItemKey {
    ItemKey::state(format!("agent/{id}"), "agent")
}

pub fn children_item(parent: &AgentId) -> ItemKey {
    ItemKey::state(format!("agent/{parent}"), "children")
}

pub fn credential_item(id: &CredentialId) -> ItemKey {
    ItemKey::state(format!("credential/{id}"), "credential")
}

pub fn human_item(id: &HumanId) -> ItemKey {
    ItemKey::state(format!("human/{id}"), "human")
}

pub fn deployment_item() -> ItemKey {
    ItemKey::state("deployment", "deployment")
}

pub fn policy_item(version: u32) -> ItemKey {
    ItemKey::state("policy", format!("{version:06}"))
}

pub fn rules_item(version: u32) -> ItemKey {
    ItemKey::state("rules", format!("{version:06}"))
}

pub fn recommendation_item(id: &RecommendationId) -> ItemKey {
    ItemKey::state(format!("recommendation/{id}"), "recommendation")
}

pub const ALL_RECOMMENDATIONS: &str = "recommendations";

pub fn recommendations_of(sponsor: &HumanId) -> String {
    format!("recommendations-of/{sponsor}")
}

pub fn rules_history_item() -> ItemKey {
    ItemKey::state("rules-history", "rules-history")
}

pub const ALL_KEYS: &str = "keys";
pub const ALL_AGENTS: &str = "agents";
pub const ALL_HUMANS: &str = "humans";

pub fn agents_of(sponsor: &HumanId) -> String {
    format!("agents-of/{sponsor}")
}

/// The partition of what must happen at a time, on [`Index::Fourth`]; its sort begins with that time.
pub const DUE: &str = "due";

/// A time as a sort key: fixed width, so that bytes order as times do.
pub fn due_sort(at: Timestamp) -> String {
    format!("{:014}", at.as_millisecond().max(0))
}

fn entry(index: Index, partition: impl Into<String>, sort: impl Into<String>) -> IndexEntry {
    IndexEntry { index, partition: partition.into(), sort: sort.into() }
}

impl Document for KeyRecord {
    fn item_key(&self) -> ItemKey {
        key_item(&self.key.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let due = self.key.due();
        let due = due.map(|at| entry(Index::Fourth, DUE, format!("{}/{}", due_sort(at), self.key.id)));
        [entry(Index::First, ALL_KEYS, self.key.id.as_str())].into_iter().chain(due).collect()
    }
}

impl Document for VersionRecord {
    fn item_key(&self) -> ItemKey {
        version_item(&self.key, self.version)
    }
}

/// Where a name leads. Never removed: a name that leads nowhere keeps its revision, so that no stale write fits it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Alias {
    pub name: KeyName,
    pub key: Option<KeyId>,
    /// Where it led before, the latest last: an agent that still calls by this name is told so, and not taken for a
    /// rogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formers: Vec<KeyId>,
}

impl Alias {
    /// Makes the name lead nowhere, and returns where it led.
    pub fn leave(&mut self) -> Option<KeyId> {
        let left = self.key.take()?;
        self.formers.retain(|former| *former != left);
        self.formers.push(left.clone());
        let surplus = self.formers.len().saturating_sub(MAX_FORMERS);
        self.formers.drain(..surplus);
        Some(left)
    }
}

/// Most keys a name remembers that it led to.
const MAX_FORMERS: usize = 32;

impl Document for Alias {
    fn item_key(&self) -> ItemKey {
        alias_item(&self.name)
    }
}

impl Document for Agent {
    fn item_key(&self) -> ItemKey {
        agent_item(&self.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let all = entry(Index::First, ALL_AGENTS, self.id.as_str());
        let sponsored = entry(Index::Second, agents_of(&self.sponsor), self.id.as_str());
        vec![all, sponsored]
    }
}

impl Document for Credential {
    fn item_key(&self) -> ItemKey {
        credential_item(&self.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let holder = self.agent.as_ref().map_or(self.human.as_str(), AgentId::as_str);
        vec![entry(Index::Second, format!("credentials-of/{holder}"), self.id.as_str())]
    }

    fn expires_at(&self) -> Option<Timestamp> {
        // A day of grace: an expired token is told so, rather than taken for a forgery.
        Some(crate::ambient::after_seconds(self.expires_at, 86_400))
    }
}

/// The sub-agents of one agent that live: who, and until when. Written with each sub-agent, so that no two requests at
/// once take the same last place.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Children {
    pub parent: AgentId,
    pub live: Vec<(AgentId, Timestamp)>,
}

impl Document for Children {
    fn item_key(&self) -> ItemKey {
        children_item(&self.parent)
    }
}

impl Document for Human {
    fn item_key(&self) -> ItemKey {
        human_item(&self.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![entry(Index::First, ALL_HUMANS, self.id.as_str())]
    }
}

impl Document for Deployment {
    fn item_key(&self) -> ItemKey {
        deployment_item()
    }
}

impl Document for PolicyDocument {
    fn item_key(&self) -> ItemKey {
        policy_item(self.version)
    }
}

impl Document for RecommendationRecord {
    fn item_key(&self) -> ItemKey {
        recommendation_item(&self.recommendation.id)
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let id = self.recommendation.id.as_str();
        let of_human = entry(Index::Second, recommendations_of(&self.recommendation.sponsor), id);
        vec![entry(Index::First, ALL_RECOMMENDATIONS, id), of_human]
    }
}

impl Document for RulesDocument {
    fn item_key(&self) -> ItemKey {
        rules_item(self.version)
    }
}

impl Document for RulesHistory {
    fn item_key(&self) -> ItemKey {
        rules_history_item()
    }
}

impl Document for Replay {
    fn item_key(&self) -> ItemKey {
        ItemKey::state(format!("idempotency/{}", self.actor), self.slot.clone())
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}
