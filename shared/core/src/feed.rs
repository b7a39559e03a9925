//! The journal as an outbox: committed records, in the order of their commits, to whoever consumes them at least once.
//!
//! A host hands over what was committed after the last record that a consumer has put away; the consumer puts away its
//! place only once it is done, so a crash makes it see records again, and never miss one.

use crate::error::Error;
use crate::id::RecordId;
use crate::record::AuditRecord;
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Store};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most records handed over at once.
pub const BATCH: usize = 500;

/// Committed records, in the order of their commits.
#[async_trait]
pub trait Feed: Send + Sync {
    /// At most `limit` records committed after `last`, or from the first on; none where nothing came since. One that
    /// cannot be read is told of and passed over.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Damaged`] if there is no such record as `last`.
    async fn after(&self, last: Option<&RecordId>, limit: usize) -> Result<Vec<Arc<AuditRecord>>, Error>;
}

/// How far a consumer has come.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Place {
    pub consumer: String,
    pub last: Option<RecordId>,
}

impl Document for Place {
    fn item_key(&self) -> ItemKey {
        place_item(&self.consumer)
    }
}

fn place_item(consumer: &str) -> ItemKey {
    ItemKey::state("feed", consumer)
}

impl Place {
    /// Where `consumer` stands; at the beginning, if it never came this way.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn of(store: &dyn Store, consumer: &str) -> Result<(Self, Expect), Error> {
        let found: Option<Loaded<Self>> = repository::load(store, &place_item(consumer)).await?;
        Ok(match found {
            Some(found) => (found.value, Expect::Current(found.revision)),
            None => (Self { consumer: consumer.to_string(), last: None }, Expect::Absent),
        })
    }

    /// Puts the place away, and returns what the next write must expect.
    ///
    /// # Errors
    /// [`Error::Contended`] if another process consumes under this name; [`Error::Unavailable`].
    pub async fn put_away(&self, store: &dyn Store, expect: Expect) -> Result<Expect, Error> {
        let put = self.put(expect)?;
        Ok(Expect::Current(store.put_if(put.item, put.expect).await?))
    }
}
