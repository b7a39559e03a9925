//! Items by key, and pages of a partition. What the SDK may repeat, it does.

use super::attempts::Attempts;
use super::layout::{self, Attributes};
use super::{DynamoStore, unavailable};
use aegis_core::store::{ItemKey, Items, MAX_BATCH, Order, Page, Position, Query, StoreError, Stored, Table};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use std::collections::HashMap;
use std::sync::Arc;

impl DynamoStore {
    pub(super) async fn read(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        if !layout::fits(key) {
            return Ok(None);
        }
        let request = self.client.get_item().table_name(self.table(key.table)).consistent_read(true);
        let output = request.set_key(Some(layout::item_key(key))).send().await.map_err(unavailable)?;
        output.item.map(|attributes| layout::stored(key.table, &attributes)).transpose()
    }

    pub(super) async fn read_batch(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        let mut wanted = self.wanted(keys)?;
        let mut found = Vec::with_capacity(keys.len());
        let mut attempts = Attempts::begin();
        while !wanted.is_empty() {
            let request = self.client.batch_get_item().set_request_items(Some(wanted));
            let output = request.send().await.map_err(unavailable)?;
            for (name, items) in output.responses.unwrap_or_default() {
                let table = if name == self.tables.journal { Table::Journal } else { Table::State };
                for attributes in &items {
                    found.push(Arc::new(layout::stored(table, attributes)?));
                }
            }
            // DynamoDB answers in part where a table is too busy for all of it.
            wanted = output.unprocessed_keys.unwrap_or_default();
            if !wanted.is_empty() {
                attempts.wait("some keys of a batch were never read").await?;
            }
        }
        Ok(Items(found))
    }

    fn wanted(&self, keys: &[ItemKey]) -> Result<HashMap<String, KeysAndAttributes>, StoreError> {
        let mut wanted = HashMap::new();
        for table in [Table::Journal, Table::State] {
            let of_table = keys.iter().filter(|key| key.table == table && layout::fits(key));
            let of_table: Vec<Attributes> = of_table.map(layout::item_key).collect();
            if !of_table.is_empty() {
                let named = KeysAndAttributes::builder().set_keys(Some(of_table)).consistent_read(true).build();
                wanted.insert(self.table(table).to_owned(), named.map_err(unavailable)?);
            }
        }
        Ok(wanted)
    }

    pub(super) async fn read_page(&self, query: &Query) -> Result<Page, StoreError> {
        let range = Range::of(query)?;
        if range.is_empty() || !layout::partition_fits(&query.partition) {
            return Ok(Page::default());
        }
        let names = query.index.map(layout::names);
        let partition = match names {
            None => (layout::PARTITION, layout::item_partition(&query.partition)),
            Some(names) => (names.partition, layout::index_partition(&query.partition)),
        };
        let sort = names.map_or(layout::SORT, |names| names.sort);
        // One more where one may have to be left out.
        let most = query.limit.saturating_add(usize::from(range.may_find_its_end()));
        let mut request = self
            .client
            .query()
            .table_name(self.table(query.table))
            .set_index_name(names.map(|names| names.name.to_owned()))
            // An index knows no other than eventual consistency.
            .consistent_read(names.is_none())
            .scan_index_forward(query.order == Order::Ascending)
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .key_condition_expression(range.condition())
            .expression_attribute_names("#p", partition.0)
            .expression_attribute_values(":p", AttributeValue::S(partition.1));
        for (name, bound) in [(":low", &range.low), (":high", &range.high)] {
            if let Some(bound) = bound {
                request = request.expression_attribute_names("#s", sort);
                request = request.expression_attribute_values(name, AttributeValue::S(bound.clone()));
            }
        }
        let output = request.send().await.map_err(unavailable)?;
        let mut found = output.items.unwrap_or_default();
        found.retain(|item| !range.ends_at(item.get(sort)));
        let more = found.len() > query.limit;
        found.truncate(query.limit);
        let last = if more { found.last() } else { output.last_evaluated_key.as_ref() };
        let next = last.map(|last| layout::position(query.table, query.index, last)).transpose()?;
        let items = match (query.table, query.index) {
            (Table::Journal, Some(_)) => self.named_by(&found).await?,
            _ => found.iter().map(|item| layout::stored(query.table, item)).collect::<Result<_, _>>()?,
        };
        Ok(Page { items, next })
    }

    /// The records that an index names. The journal's indexes hold keys alone: each of its records is written once and into
    /// four of them, and hardly ever read.
    async fn named_by(&self, found: &[Attributes]) -> Result<Vec<Stored>, StoreError> {
        let keys = found.iter().map(|item| layout::key(Table::Journal, item)).collect::<Result<Vec<_>, _>>()?;
        let mut items = Vec::with_capacity(keys.len());
        for some in keys.chunks(MAX_BATCH) {
            let read = self.read_batch(some).await?;
            let read: HashMap<&ItemKey, &Arc<Stored>> =
                read.0.iter().map(|stored| (&stored.item.key, stored)).collect();
            // What expired in between is not there any more.
            items.extend(some.iter().filter_map(|key| read.get(key)).map(|stored| Stored::clone(stored)));
        }
        Ok(items)
    }
}

/// From `low`, itself included, to `high`, itself not: a cursor is a bound like any other, since no two items of a
/// partition or of an index have the same place.
#[derive(Debug)]
struct Range {
    low: Option<String>,
    high: Option<String>,
}

impl Range {
    fn of(query: &Query) -> Result<Self, StoreError> {
        let start = |sort: &String| match query.index {
            None => layout::item_sort(sort),
            Some(_) => layout::index_start(sort),
        };
        let place = |position: &Position| match query.index {
            None => layout::item_sort(&position.sort),
            Some(_) => layout::index_sort(&position.sort, &position.key),
        };
        // DynamoDB takes no empty bound, and every place lies above it.
        let mut low = query.from.as_ref().map(start).filter(|low| !low.is_empty());
        let mut high = query.below.as_ref().map(start);
        let after = query.after.as_ref().map(place);
        match query.order {
            // Nothing lies between a text and the same with a NUL behind it.
            Order::Ascending => low = low.max(after.map(|after| after + "\0")),
            Order::Descending => high = [high, after].into_iter().flatten().min(),
        }
        let fits = |bound: &String| bound.len() <= layout::MAX_SORT.saturating_add(1);
        match low.iter().chain(&high).all(fits) {
            true => Ok(Self { low, high }),
            false => Err(layout::TOO_LONG),
        }
    }

    fn is_empty(&self) -> bool {
        matches!((&self.low, &self.high), (Some(low), Some(high)) if low >= high) || self.high.as_deref() == Some("")
    }

    fn condition(&self) -> &'static str {
        match (&self.low, &self.high) {
            (None, None) => "#p = :p",
            (Some(_), None) => "#p = :p AND #s >= :low",
            (None, Some(_)) => "#p = :p AND #s < :high",
            // DynamoDB takes one condition on a sort key, and no other has two bounds. This one includes both.
            (Some(_), Some(_)) => "#p = :p AND #s BETWEEN :low AND :high",
        }
    }

    fn may_find_its_end(&self) -> bool {
        self.low.is_some() && self.high.is_some()
    }

    fn ends_at(&self, sort: Option<&AttributeValue>) -> bool {
        matches!((&self.high, sort), (Some(high), Some(AttributeValue::S(sort))) if sort == high)
    }
}
