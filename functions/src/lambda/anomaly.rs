//! Detection: what is on the bus is learnt from and judged, and what the rules order about it is carried out.

use super::Function;
use super::events::{BatchAnswer, QueueEvent};
use aegis_core::error::{Cause, Chain};
use aegis_core::heartbeat::Heartbeat;
use aegis_events::stream;
use std::sync::Arc;

/// A batch that cannot be taken in comes again, as a whole: what was learnt of it already changes nothing.
///
/// # Errors
/// None of its own.
pub async fn answer(function: Arc<Function>, batch: QueueEvent) -> Result<BatchAnswer, Cause> {
    let (mut records, mut through) = (Vec::new(), None::<Heartbeat>);
    let mut answer = BatchAnswer::default();
    for message in &batch.records {
        // What cannot be read now cannot be read later either.
        match message.event() {
            Ok(event) if event.kind == "Heartbeat" => {
                let heartbeat = serde_json::from_value::<Heartbeat>(event.detail).ok();
                through = through.into_iter().chain(heartbeat).max_by_key(|heartbeat| heartbeat.through);
            }
            Ok(event) => {
                let (told, whole) = event.records();
                records.extend(told.into_iter().map(Arc::new));
                if !whole {
                    answer.again(&message.message_id);
                }
            }
            Err(error) => tracing::error!(error = %Chain(&error), "an event was passed over"),
        }
    }
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
