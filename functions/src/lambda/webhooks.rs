//! Webhooks: what is on the bus is put on its way to those who asked for it, and what is due is posted. Each minute it is
//! called without a batch, for what is to be tried again.

use super::Function;
use super::events::{BatchAnswer, QueueEvent};
use crate::oidc::tls;
use crate::webhooks::{Courier, PATIENCE, Poster, SlowReceivers};
use aegis_core::error::{Cause, Chain, Error};
use aegis_core::pipeline::App;
use aegis_core::record::AuditRecord;
use aegis_core::webhook::outbox;
use aegis_core::webhook::{self, WebhookState};
use aegis_events::published::render;
use serde::Deserialize;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How long posts are begun each minute; those under way are finished. The function is given a minute.
const POSTING: Duration = Duration::from_secs(35);
/// How long a batch has posts begun, and how long a receiver may take for one before batches leave it to the minute: as long as
/// they wait, what is on the bus is not written down, for whichever receiver it is.
const BRIEFLY: Duration = Duration::from_secs(2);

/// What batches have seen of receivers. An instance that saw nothing yet waits once for those under way, ten seconds at most.
static SLOW: LazyLock<Arc<SlowReceivers>> = LazyLock::new(|| Arc::new(SlowReceivers::new(BRIEFLY)));

/// A batch, or nothing of one.
// Whatever is neither is an error: a batch that was taken for nothing would be lost.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Called {
    Batch(QueueEvent),
    Minute {},
}

/// A batch that is not written down comes again, as a whole: what was written down already is not written twice. What is
/// written down is posted at once where its receiver is quick, and else in its own time.
///
/// # Errors
/// The deployment cannot be reached at all.
pub async fn answer(function: Arc<Function>, called: Called) -> Result<BatchAnswer, Cause> {
    let app = &function.whole().await?.host.app;
    let mut answer = BatchAnswer::default();
    let (mut posting, mut passes_over) = (POSTING, None);
    if let Called::Batch(batch) = &called {
        (posting, passes_over) = (BRIEFLY, Some(Arc::clone(&SLOW)));
        let records = records(batch, &mut answer);
        if let Err(error) = write_down(app, &records).await {
            tracing::error!(error = %Chain(&error), "a batch was not taken in, to be tried again");
            answer = BatchAnswer::default();
            batch.records.iter().for_each(|message| answer.again(&message.message_id));
        }
    }
    if let Err(error) = function.courier(app, passes_over).post_due(posting).await {
        // What is due stays due.
        tracing::error!(error = %Chain(&error), "webhooks not served");
    }
    Ok(answer)
}

async fn write_down(app: &App, records: &[AuditRecord]) -> Result<(), Error> {
    for found in webhook::all(app.store.as_ref()).await? {
        if found.webhook.state == WebhookState::Active {
            outbox::deliver(app, &found, records).await?;
        }
    }
    Ok(())
}

/// The records that are told.
fn records(batch: &QueueEvent, answer: &mut BatchAnswer) -> Vec<AuditRecord> {
    let mut records = Vec::new();
    for message in &batch.records {
        let Some(event) = answer.read(message, message.event()) else { continue };
        let (told, whole) = event.records();
        records.extend(told);
        if !whole {
            answer.again(&message.message_id);
        }
    }
    records
}

impl Function {
    /// To the addresses of public networks alone.
    fn courier(&self, app: &Arc<App>, passes_over: Option<Arc<SlowReceivers>>) -> Courier {
        // Without authorities nothing is trusted, and the deliveries say so.
        let poster = Poster::new(tls(None).ok(), app.webhooks_reach, PATIENCE);
        Courier::without_feed(Arc::clone(app), poster, render, passes_over)
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::testing::{again, batch, on_bus, unreadable};
    use super::*;
    use serde_json::Value;

    #[test]
    fn what_cannot_be_read_comes_again_and_the_rest_is_written_down() {
        let record: Value = serde_json::from_str(include_str!("../../../events/samples/audit-record.json")).unwrap();
        let mut bodies = vec![on_bus("AuditRecord", &record)];
        bodies.extend(unreadable());
        let mut answer = BatchAnswer::default();
        assert_eq!(records(&batch(&bodies), &mut answer).len(), 1);
        assert_eq!(answer, again(&[1, 2, 3, 4]));
    }

    #[test]
    fn nothing_but_nothing_is_taken_for_a_minute() {
        let called = serde_json::from_str::<Called>;
        assert!(matches!(called("{}").unwrap(), Called::Minute {}));
        let batch = r#"{"Records": [{"messageId": "1", "body": "x", "eventSource": "aws:sqs"}]}"#;
        assert!(matches!(called(batch).unwrap(), Called::Batch(batch) if batch.records.len() == 1));
        for bad in [r#"{"Records": [{"body": "x"}]}"#, r#"{"Records": 7}"#, r#"{"records": []}"#, "7"] {
            called(bad).unwrap_err();
        }
    }
}
