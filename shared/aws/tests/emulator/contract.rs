//! What every store promises.

use crate::network::Network;
use crate::tables;
use aegis_aws::store::DynamoStore;
use aegis_core::store::Store;
use aegis_core::store::contract::Subject;
use std::sync::Arc;

struct Fresh(DynamoStore);

impl Subject for Fresh {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

aegis_core::store_contract!(Fresh(tables::store(&Network::default()).await));
