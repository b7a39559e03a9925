//! The public halves of the keys that authorizers sign permits with: the table `permit-keys`, where only authorizers may
//! write.

use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::error::Error;
use aegis_core::pipeline::{PermitKey, PermitKeys};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

/// The table.
#[derive(Clone, Debug)]
pub struct PermitKeyTable {
    client: Client,
    table: String,
}

impl PermitKeyTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

/// How long a key is kept after the last permit signed with it, in seconds.
const KEPT: i64 = 3_600;
const ID: &str = "pk";
const PUBLIC: &str = "public";
const EXPIRES_AT: &str = "expires_at";
/// By which DynamoDB removes the item, some time.
const TTL: &str = "ttl";

#[async_trait]
impl PermitKeys for PermitKeyTable {
    async fn find(&self, kid: &str) -> Result<Option<PermitKey>, Error> {
        let asked = self.client.get_item().table_name(&self.table).key(ID, AttributeValue::S(kid.to_string()));
        let found = asked.consistent_read(true).send().await.map_err(|error| unavailable(error.into()))?;
        let Some(item) = found.item else { return Ok(None) };
        let public = item.get(PUBLIC).and_then(|value| value.as_b().ok());
        let expires_at = item.get(EXPIRES_AT).and_then(|value| value.as_n().ok()?.parse().ok());
        let expires_at = expires_at.and_then(|second| Timestamp::from_second(second).ok());
        let read = public.zip(expires_at);
        Ok(read.map(|(public, expires_at)| PermitKey {
            kid: kid.to_string(),
            public: public.clone().into_inner(),
            expires_at,
        }))
    }

    async fn publish(&self, key: &PermitKey) -> Result<(), Error> {
        let number = |second: i64| AttributeValue::N(second.to_string());
        let put = self.client.put_item().table_name(&self.table);
        let put = put.item(ID, AttributeValue::S(key.kid.clone()));
        let put = put.item(PUBLIC, AttributeValue::B(Blob::new(key.public.clone())));
        let put = put.item(EXPIRES_AT, number(key.expires_at.as_second()));
        let put = put.item(TTL, number(after_seconds(key.expires_at, KEPT).as_second()));
        put.send().await.map_err(|error| unavailable(error.into()))?;
        Ok(())
    }
}

fn unavailable(source: aegis_core::error::Cause) -> Error {
    crate::unavailable("the store")(source)
}
