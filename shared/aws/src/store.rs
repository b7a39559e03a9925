//! The storage port on DynamoDB: the tables `state` and `journal`, alike but for what roles may do with them. Both are made
//! by who deploys; how their items are laid out is in `store/layout.rs`.
//!
//! Reads are repeated by the SDK, writes by the store itself, so that a write that was made and whose answer was lost is
//! neither taken for another writer's nor made twice.

mod attempts;
mod counters;
mod layout;
mod reads;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writes;

use aegis_core::store::{
    Add, Expect, Item, ItemKey, Items, Page, Put, Query, Revision, Store, StoreError, Stored, Table, check_additions,
    check_keys, check_limits, check_query,
};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;

/// The store. Nothing is asked of AWS before the first call.
#[derive(Clone, Debug)]
pub struct DynamoStore {
    client: Client,
    tables: Tables,
}

/// What the two tables are called.
#[derive(Clone, Debug)]
pub struct Tables {
    pub state: String,
    pub journal: String,
}

impl DynamoStore {
    pub fn new(client: Client, tables: Tables) -> Self {
        Self { client, tables }
    }

    fn table(&self, table: Table) -> &str {
        match table {
            Table::Journal => &self.tables.journal,
            Table::State => &self.tables.state,
        }
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        self.read(key).await
    }

    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        check_keys(keys)?;
        self.read_batch(keys).await
    }

    async fn put_if(&self, item: Item, expect: Expect) -> Result<Revision, StoreError> {
        let put = Put { item, expect };
        check_limits(std::slice::from_ref(&put))?;
        self.put(&put).await?;
        Ok(expect.next())
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        check_additions(additions)?;
        self.count(additions).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        check_limits(&puts)?;
        match puts.as_slice() {
            [put] => self.put(put).await,
            puts => self.put_all(puts).await,
        }
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        check_query(query)?;
        self.read_page(query).await
    }
}

fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable { source: source.into() }
}
