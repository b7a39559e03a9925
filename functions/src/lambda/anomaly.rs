//! Detection: what is on the bus is learnt from and judged, and what the rules order about it is carried out.

use super::Function;
use super::events::{BatchAnswer, QueueEvent};
use aegis_core::error::{Cause, Chain};
use aegis_core::heartbeat::Heartbeat;
use aegis_core::record::AuditRecord;
use aegis_events::stream;
use std::sync::Arc;

/// A batch that cannot be taken in comes again, as a whole: what was learnt of it already changes nothing.
///
/// # Errors
/// None of its own.
pub async fn answer(function: Arc<Function>, batch: QueueEvent) -> Result<BatchAnswer, Cause> {
    let mut answer = BatchAnswer::default();
    let (records, through) = read(&batch, &mut answer);
    let taken = async {
        let app = function.inner().await?;
        stream::observe(app, records).await?;
        match through {
            Some(heartbeat) => Heartbeat::beat(app.store.as_ref(), heartbeat.through).await,
            None => Ok(()),
        }
    };
    if let Err(error) = taken.await {
        tracing::error!(error = %Chain(&error), "a batch was not taken in, to be tried again");
        answer = BatchAnswer::default();
        batch.records.iter().for_each(|message| answer.again(&message.message_id));
    }
    Ok(answer)
}

/// The records that are told, and how far detection has come once it has them: no further than before where it cannot read
/// something, which may have been a record.
fn read(batch: &QueueEvent, answer: &mut BatchAnswer) -> (Vec<Arc<AuditRecord>>, Option<Heartbeat>) {
    let (mut records, mut through) = (Vec::new(), None::<Heartbeat>);
    for message in &batch.records {
        let Some(event) = answer.read(message, message.event()) else { continue };
        if event.kind == "Heartbeat" {
            let heartbeat = answer.read(message, serde_json::from_value::<Heartbeat>(event.detail));
            through = through.into_iter().chain(heartbeat).max_by_key(|heartbeat| heartbeat.through);
            continue;
        }
        let (told, whole) = event.records();
        records.extend(told.into_iter().map(Arc::new));
        if !whole {
            answer.again(&message.message_id);
        }
    }
    (records, through.filter(|_| answer.is_whole()))
}

#[cfg(test)]
mod tests {
    use super::super::events::testing::{again, batch, on_bus, unreadable};
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_cannot_be_read_comes_again_and_the_rest_is_taken_in() {
        let record: Value = serde_json::from_str(include_str!("../../../events/samples/audit-record.json")).unwrap();
        let beat = |through: &Value| on_bus("Heartbeat", &json!({ "through": through }));
        let mut bodies = unreadable().to_vec();
        bodies.extend([beat(&json!("soon")), on_bus("AuditRecord", &record)]);
        bodies.extend(["2026-10-01T00:02:00Z", "2026-10-01T00:01:00Z"].map(|through| beat(&json!(through))));
        let mut answer = BatchAnswer::default();
        let (records, through) = read(&batch(&bodies), &mut answer);
        assert_eq!(answer, again(&[0, 1, 2, 3, 4]));
        assert_eq!(records.len(), 1);
        assert_eq!(through.map(|heartbeat| heartbeat.through), None, "who knows what it could not read");

        let mut answer = BatchAnswer::default();
        let (records, through) = read(&batch(&bodies[bodies.len() - 3..]), &mut answer);
        assert_eq!((records.len(), answer), (1, BatchAnswer::default()));
        assert_eq!(through.unwrap().through, "2026-10-01T00:02:00Z".parse().unwrap());
    }
}
