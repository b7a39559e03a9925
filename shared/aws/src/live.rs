//! Live counters in the state table, so that all instances of the authorizer count together: for each actor and minute one
//! item with a slot a second, returned by its update. The minute before is read beside it.

use aegis_core::ambient::{Timestamp, after_seconds};
use aegis_core::error::{Cause, Error};
use aegis_core::pipeline::SharedCounters;
use aegis_core::risk::Live;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures_util::future::{join, try_join};
use std::collections::HashMap;

/// The state table.
#[derive(Clone, Debug)]
pub struct LiveTable {
    client: Client,
    table: String,
}

/// How long a minute is kept, in seconds, beyond what anybody asks for.
const KEPT: i64 = 600;

type Slots = HashMap<String, AttributeValue>;

impl LiveTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    async fn count_one(&self, actor: &str, now: Timestamp) -> Result<Live, Error> {
        let second = now.as_second();
        let (current, before) = join(self.add(actor, second, now), self.read(actor, second.saturating_sub(60))).await;
        Ok(live(second, &current?, &before?))
    }

    async fn look_one(&self, actor: &str, now: Timestamp) -> Result<Live, Error> {
        let second = now.as_second();
        let reads = join(self.read(actor, second), self.read(actor, second.saturating_sub(60))).await;
        let Live { second, ten_seconds, minute } = live(second, &reads.0?, &reads.1?);
        // One more.
        let [second, ten_seconds, minute] = [second, ten_seconds, minute].map(|count| count.saturating_add(1));
        Ok(Live { second, ten_seconds, minute })
    }

    /// Of that second alone: nobody looks at what it comes to. Tried once: what is taken back twice would make a burst look smaller.
    async fn take_one_back(&self, actor: &str, at: Timestamp) -> Result<(), Error> {
        let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
        let updated = self.update(actor, at.as_second(), -1, at).customize().config_override(once).send().await;
        updated.map(drop).map_err(|error| unavailable(error.into()))
    }

    /// One addition. One whose answer was lost may be counted twice by the next try: a burst looks no smaller for it.
    async fn add(&self, actor: &str, second: i64, now: Timestamp) -> Result<Slots, Error> {
        let updated = self.update(actor, second, 1, now).return_values(ReturnValue::AllNew).send().await;
        let slots = updated.map_err(|error| unavailable(error.into()))?.attributes;
        // An answer without it would say that nobody asked.
        let counted = slots.filter(|slots| slots.contains_key(&slot(second)));
        counted.ok_or_else(|| unavailable("an addition was answered without what it came to".into()))
    }

    /// That adds `number` to the slot of a second.
    fn update(&self, actor: &str, second: i64, number: i8, now: Timestamp) -> UpdateItemFluentBuilder {
        let expires_at = after_seconds(now, KEPT).as_second();
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(actor, second)))
            .update_expression("SET #t = :t ADD #s :n")
            .expression_attribute_names("#t", "ttl")
            .expression_attribute_names("#s", slot(second))
            .expression_attribute_values(":t", AttributeValue::N(expires_at.to_string()))
            .expression_attribute_values(":n", AttributeValue::N(number.to_string()))
    }

    async fn read(&self, actor: &str, second: i64) -> Result<Slots, Error> {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(key(actor, second))).send().await;
        Ok(read.map_err(|error| unavailable(error.into()))?.item.unwrap_or_default())
    }
}

#[async_trait]
impl SharedCounters for LiveTable {
    async fn count(&self, [one, other]: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error> {
        let (one, other) = try_join(self.count_one(one, now), self.count_one(other, now)).await?;
        Ok([one, other])
    }

    async fn take_back(&self, [one, other]: [&str; 2], at: Timestamp) -> Result<(), Error> {
        // Each whatever becomes of the other.
        let (one, other) = join(self.take_one_back(one, at), self.take_one_back(other, at)).await;
        one.and(other)
    }

    async fn look(&self, [one, other]: [&str; 2], now: Timestamp) -> Result<[Live; 2], Error> {
        let (one, other) = try_join(self.look_one(one, now), self.look_one(other, now)).await?;
        Ok([one, other])
    }
}

/// Beside the counters of the store, in a partition that none of its items has.
fn key(actor: &str, second: i64) -> HashMap<String, AttributeValue> {
    let minute = second.div_euclid(60);
    [("pk", format!("n:live/{actor}")), ("sk", format!(":{minute}"))]
        .map(|(name, value)| (name.to_string(), AttributeValue::S(value)))
        .into()
}

fn slot(second: i64) -> String {
    format!("s{:02}", second.rem_euclid(60))
}

/// What the slots of this minute and of the one before say of the seconds up to this one.
fn live(second: i64, current: &Slots, before: &Slots) -> Live {
    let minute = second.div_euclid(60);
    let at = |second: i64| {
        let slots = if second.div_euclid(60) == minute { current } else { before };
        slots.get(&slot(second)).and_then(|value| value.as_n().ok()?.parse::<u32>().ok()).unwrap_or(0)
    };
    let sum = |seconds: i64| {
        (0..seconds).map(|back| at(second.saturating_sub(back))).fold(0, |sum: u32, count| sum.saturating_add(count))
    };
    Live { second: sum(1), ten_seconds: sum(10), minute: sum(60) }
}

fn unavailable(source: Cause) -> Error {
    crate::unavailable("the store")(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(counts: &[(i64, u32)]) -> Slots {
        counts.iter().map(|(second, count)| (slot(*second), AttributeValue::N(count.to_string()))).collect()
    }

    #[test]
    fn the_last_seconds_are_counted_over_the_end_of_a_minute() {
        let minute = 1_790_000_040;
        assert_eq!(minute % 60, 0);
        let (before, current) = (slots(&[(5, 7), (50, 30), (55, 4), (59, 1)]), slots(&[(0, 2), (3, 5), (40, 900)]));
        let table = [(3, [5, 12, 49]), (4, [0, 12, 49]), (5, [0, 8, 42]), (12, [0, 5, 42])];
        for (second, want) in table {
            let found = live(minute + second, &current, &before);
            assert_eq!([found.second, found.ten_seconds, found.minute], want, "{second}");
        }
    }
}
