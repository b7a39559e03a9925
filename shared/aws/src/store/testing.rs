//! The two tables, made by the program itself: for tests. Those of a deployment are Terraform's.

use super::{DynamoStore, Tables, layout};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use std::error::Error;
use std::time::Duration;

/// Makes the tables, and waits until they take items.
pub async fn create(client: Client, tables: Tables) -> Result<DynamoStore, Box<dyn Error + Send + Sync>> {
    let projected = [(&tables.state, ProjectionType::All), (&tables.journal, ProjectionType::KeysOnly)];
    for (name, projected) in projected {
        let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let indexed = layout::INDEXES.iter().flat_map(|index| [index.partition, index.sort]);
        for name in [layout::PARTITION, layout::SORT].into_iter().chain(indexed) {
            let attribute = AttributeDefinition::builder().attribute_name(name);
            request = request.attribute_definitions(attribute.attribute_type(ScalarAttributeType::S).build()?);
        }
        for index in &layout::INDEXES {
            let projection = Projection::builder().projection_type(projected.clone()).build();
            let index = GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .set_key_schema(Some(schema(index.partition, index.sort)?))
                .projection(projection);
            request = request.global_secondary_indexes(index.build()?);
        }
        request.set_key_schema(Some(schema(layout::PARTITION, layout::SORT)?)).send().await?;
        client.wait_until_table_exists().table_name(name).wait(Duration::from_secs(60)).await?;
    }
    Ok(DynamoStore::new(client, tables))
}

fn schema(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    Ok(vec![element(partition, KeyType::Hash)?, element(sort, KeyType::Range)?])
}
