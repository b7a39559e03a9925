//! Counters. An addition cannot be told from another, so one whose answer was lost is not made again.

use super::attempts::{Attempts, Failure, failure, once};
use super::layout::{self, Attributes};
use super::{DynamoStore, unavailable};
use aegis_core::ambient::Timestamp;
use aegis_core::store::{Add, ItemKey, StoreError};
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::future::join_all;
use std::collections::HashMap;

impl DynamoStore {
    /// Those to one counter are one request; different counters are asked side by side.
    pub(super) async fn count(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        let (sums, places) = summed(additions)?;
        let values = join_all(sums.iter().map(|sum| self.add_up(sum))).await;
        let values = values.into_iter().collect::<Result<Vec<i64>, StoreError>>()?;
        let value = |(sum, so_far): &Place| {
            let (value, total) = (values.get(*sum)?, sums.get(*sum)?.total);
            value.checked_sub(total.checked_sub(*so_far)?)
        };
        places.iter().map(|place| value(place).ok_or(FULL)).collect()
    }

    async fn add_up(&self, sum: &Sum<'_>) -> Result<i64, StoreError> {
        if !layout::fits(sum.counter) {
            return Err(layout::TOO_LONG);
        }
        let mut attempts = Attempts::begin();
        loop {
            match self.add_up_once(sum).await {
                Ok(value) => return Ok(value),
                Err(failure) => attempts.again_unless_made(failure).await?,
            }
        }
    }

    async fn add_up_once(&self, sum: &Sum<'_>) -> Result<i64, Failure> {
        let names = [("#n", layout::VALUE), ("#t", layout::TTL)];
        // With no expiry, too, something must stand there, so that no later addition sets one.
        let ttl = sum.expires_at.map_or(AttributeValue::Null(true), layout::ttl);
        let values: [(&str, AttributeValue); 4] = [
            (":by", layout::number(sum.total)),
            (":ttl", ttl),
            (":least", layout::number(i64::MIN.saturating_sub(sum.least))),
            (":most", layout::number(i64::MAX.saturating_sub(sum.most))),
        ];
        let request = self
            .client
            .update_item()
            .table_name(&self.tables.state)
            .set_key(Some(layout::counter_key(sum.counter)))
            .update_expression("SET #t = if_not_exists(#t, :ttl) ADD #n :by")
            .condition_expression("attribute_not_exists(#n) OR #n BETWEEN :least AND :most")
            .set_expression_attribute_names(Some(names.map(|(a, b)| (a.to_owned(), b.to_owned())).into()))
            .set_expression_attribute_values(Some(values.map(|(name, value)| (name.to_owned(), value)).into()))
            .return_values(ReturnValue::UpdatedNew);
        match request.customize().config_override(once()).send().await {
            Ok(output) => value(output.attributes.unwrap_or_default()),
            Err(error) => Err(match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Failure::Final(FULL),
                _ => failure(error),
            }),
        }
    }
}

fn value(attributes: Attributes) -> Result<i64, Failure> {
    layout::integer(&attributes, layout::VALUE).map_err(|error| Failure::Final(unavailable(error)))
}

/// The additions to one counter.
#[derive(Debug)]
struct Sum<'a> {
    counter: &'a ItemKey,
    /// As the first of them says, which creates the counter if none did before.
    expires_at: Option<Timestamp>,
    total: i64,
    /// How far below and above the old value the counter goes on the way: at most 0, at least 0.
    least: i64,
    most: i64,
}

/// Which sum an addition belongs to, and what that had come to with it.
type Place = (usize, i64);

/// The sums, and the place of each addition.
fn summed(additions: &[Add]) -> Result<(Vec<Sum<'_>>, Vec<Place>), StoreError> {
    let mut sums: Vec<Sum<'_>> = Vec::new();
    let mut known: HashMap<&ItemKey, usize> = HashMap::new();
    let mut places = Vec::with_capacity(additions.len());
    for Add { counter, by, expires_at } in additions {
        let place = *known.entry(counter).or_insert(sums.len());
        if place == sums.len() {
            sums.push(Sum { counter, expires_at: *expires_at, total: 0, least: 0, most: 0 });
        }
        let Some(sum) = sums.get_mut(place) else { continue };
        sum.total = sum.total.checked_add(*by).ok_or(FULL)?;
        sum.least = sum.least.min(sum.total);
        sum.most = sum.most.max(sum.total);
        places.push((place, sum.total));
    }
    Ok((sums, places))
}

const FULL: StoreError = StoreError::Limit { what: "a counter holds 64 bits" };
