//! Puts, one and several.

use super::DynamoStore;
use super::attempts::{Attempts, Failure, failure, once, random};
use super::layout::{self, Attributes, Mark};
use super::unavailable;
use aegis_core::store::{Expect, Put, StoreError};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put as PutAction, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use std::collections::HashMap;

impl DynamoStore {
    /// Where an answer was lost and the next attempt finds the item changed, the mark tells whose write that was.
    pub(super) async fn put(&self, put: &Put) -> Result<(), StoreError> {
        layout::check(&put.item)?;
        let mark = random();
        let attributes = layout::attributes(&put.item, put.expect.next(), Some(&mark));
        let mut attempts = Attempts::begin();
        loop {
            match self.put_once(put, &attributes, &mark, attempts.doubtful()).await {
                Ok(()) => return Ok(()),
                Err(failure) => attempts.again(failure).await?,
            }
        }
    }

    async fn put_once(&self, put: &Put, item: &Attributes, mark: &Mark, doubtful: bool) -> Result<(), Failure> {
        let condition = Condition::of(put.expect);
        let show = doubtful.then_some(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = self
            .client
            .put_item()
            .table_name(self.table(put.item.key.table))
            .set_item(Some(item.clone()))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(condition.values)
            .set_return_values_on_condition_check_failure(show);
        let error = match request.customize().config_override(once()).send().await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(failure(error));
        };
        match refused.item() {
            Some(there) if layout::has_mark(there, mark) => Ok(()),
            // The attempt before may have written what another writer has since replaced.
            _ if doubtful => Err(Failure::Final(unavailable(error))),
            _ => Err(Failure::Final(StoreError::Conflict { key: put.item.key.clone() })),
        }
    }

    /// DynamoDB knows a transaction by its token for ten minutes, and makes it once however often it is asked.
    pub(super) async fn put_all(&self, puts: &[Put]) -> Result<(), StoreError> {
        let mut writes = Vec::with_capacity(puts.len());
        let mut size = 0_usize;
        for put in puts {
            layout::check(&put.item)?;
            let attributes = layout::attributes(&put.item, put.expect.next(), None);
            size = size.saturating_add(layout::size(&attributes));
            writes.push(self.write(put, attributes)?);
        }
        if size > MAX_SIZE {
            return Err(StoreError::Limit {
                what: "a transaction holds at most 4 MiB, keys and index entries included",
            });
        }
        let token = format!("{:032x}", u128::from_be_bytes(random()));
        let mut attempts = Attempts::begin();
        loop {
            let request = self.client.transact_write_items().client_request_token(&token);
            let request = request.set_transact_items(Some(writes.clone()));
            match request.customize().config_override(once()).send().await {
                Ok(_) => return Ok(()),
                Err(error) => attempts.again(cancelled(puts, error)).await?,
            }
        }
    }

    fn write(&self, put: &Put, attributes: Attributes) -> Result<TransactWriteItem, StoreError> {
        let condition = Condition::of(put.expect);
        let action = PutAction::builder()
            .table_name(self.table(put.item.key.table))
            .set_item(Some(attributes))
            .condition_expression(condition.expression)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(condition.values)
            .build();
        Ok(TransactWriteItem::builder().put(action.map_err(unavailable)?).build())
    }
}

/// DynamoDB's limit on what the items of a transaction come to.
const MAX_SIZE: usize = 4 * 1024 * 1024;

struct Condition {
    expression: &'static str,
    names: HashMap<String, String>,
    values: Option<Attributes>,
}

impl Condition {
    fn of(expect: Expect) -> Self {
        let names = |name: &str| HashMap::from([("#a".to_owned(), name.to_owned())]);
        match expect {
            Expect::Absent => {
                Self { expression: "attribute_not_exists(#a)", names: names(layout::PARTITION), values: None }
            }
            Expect::Current(revision) => Self {
                expression: "#a = :a",
                names: names(layout::REVISION),
                values: Some(HashMap::from([(":a".to_owned(), layout::number(revision.0))])),
            },
        }
    }
}

/// A transaction is cancelled for reasons that stand in the order of its items.
fn cancelled(
    puts: &[Put],
    error: SdkError<TransactWriteItemsError, aws_sdk_dynamodb::config::http::HttpResponse>,
) -> Failure {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() else {
        return failure(error);
    };
    let reasons = cancelled.cancellation_reasons();
    let failed = |reason: &CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    if let Some((put, _)) = puts.iter().zip(reasons).find(|(_, reason)| failed(reason)) {
        return Failure::Final(StoreError::Conflict { key: put.item.key.clone() });
    }
    let passing = |reason: &CancellationReason| {
        matches!(
            reason.code(),
            None | Some("None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
        )
    };
    match reasons.iter().all(passing) {
        true => Failure::Busy(error.into()),
        false => Failure::Final(unavailable(error)),
    }
}
