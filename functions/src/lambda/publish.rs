//! Publishing: what the journal's stream brings goes onto the bus, at least once and in the order of each shard.

use super::Function;
use super::events::{BatchAnswer, StreamEvent, StreamRecord};
use super::scheduled::HEARTBEAT;
use aegis_aws::bus::{Bus, Event};
use aegis_core::error::Cause;
use aegis_core::journal::RECORDS;
use aegis_core::record::AuditRecord;
use std::sync::Arc;

/// Names the first record that is not on the bus, if any: the stream goes on from there.
///
/// # Errors
/// None of its own.
pub async fn answer(function: Arc<Function>, batch: StreamEvent) -> Result<BatchAnswer, Cause> {
    let bus = Bus::new(aegis_aws::eventbridge(&function.aws), function.settings.bus.clone());
    let mut events = Vec::new();
    // The place in the batch of each event.
    let mut places = Vec::new();
    for (place, record) in batch.records.iter().enumerate() {
        for event in events_of(record) {
            events.push(event);
            places.push(place);
        }
    }
    let mut answer = BatchAnswer::default();
    let failed = match bus.put(&events).await {
        Ok(there) => there.iter().position(|there| !there).and_then(|event| places.get(event).copied()),
        Err(error) => {
            tracing::error!(error = %error, "the bus did not answer");
            places.first().copied()
        }
    };
    if let Some(record) = failed.and_then(|place| batch.records.get(place)) {
        answer.again(record.sequence_number());
    }
    Ok(answer)
}

/// The journal is only ever added to. No role can be kept from replacing an item that it may put, so whoever looks at the
/// trail must be told if one was.
const ALTERED: &str = "JournalAltered";

/// A record as it is; a recommendation, by itself, beside the record that tells of it.
fn events_of(record: &StreamRecord) -> Vec<Event> {
    let (Some(key), Some(body)) = (record.text("pk"), record.text("body")) else { return Vec::new() };
    let Some(partition) = key.strip_prefix("i:") else { return Vec::new() };
    if partition.starts_with(HEARTBEAT) {
        return vec![Event { kind: "Heartbeat", detail: body.to_string() }];
    }
    if !partition.starts_with(RECORDS) {
        return Vec::new();
    }
    if !record.is_new() {
        tracing::error!(record = partition, "a record of the journal was replaced");
        return vec![Event { kind: ALTERED, detail: body.to_string() }];
    }
    let mut events = vec![Event { kind: "AuditRecord", detail: body.to_string() }];
    let read: Result<AuditRecord, _> = serde_json::from_str(body);
    let recommendation = read.ok().and_then(|record| record.recommendation);
    if let Some(detail) = recommendation.and_then(|found| serde_json::to_string(&found).ok()) {
        events.push(Event { kind: "AgentRecommendation", detail });
    }
    events
}
