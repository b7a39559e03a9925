//! The bus: events to EventBridge, ten a call.

use aegis_core::error::Error;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;

/// One event, before it is on the bus.
#[derive(Clone, Debug)]
pub struct Event {
    /// What a rule looks for.
    pub kind: &'static str,
    /// JSON.
    pub detail: String,
}

/// The bus of a deployment.
#[derive(Clone, Debug)]
pub struct Bus {
    client: Client,
    name: String,
}

impl Bus {
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Puts the events on the bus, and says of each whether it is there: some of a call may be refused while others are not.
    ///
    /// # Errors
    /// [`Error::Unavailable`], after which none or some are there.
    pub async fn put(&self, events: &[Event]) -> Result<Vec<bool>, Error> {
        let mut there = Vec::with_capacity(events.len());
        for events in events.chunks(AT_ONCE) {
            let entries = events.iter().map(|event| {
                let entry = PutEventsRequestEntry::builder().event_bus_name(&self.name).source(SOURCE);
                entry.detail_type(event.kind).detail(&event.detail).build()
            });
            let put = self.client.put_events().set_entries(Some(entries.collect())).send().await;
            let put = put.map_err(|error| crate::unavailable("the bus")(error.into()))?;
            let results = put.entries.unwrap_or_default();
            for (place, event) in events.iter().enumerate() {
                let result = results.get(place);
                let error = result.and_then(|result| result.error_code.as_deref());
                if let Some(error) = error {
                    tracing::warn!(error, kind = event.kind, "the bus refused an event, to be put again");
                }
                there.push(result.is_some_and(|result| result.event_id.is_some()));
            }
        }
        Ok(there)
    }
}

/// Most entries in a call of EventBridge.
const AT_ONCE: usize = 10;
/// What all events of Aegis name as their source.
const SOURCE: &str = "aegis";
