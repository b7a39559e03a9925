//! The bus: events to EventBridge, as many in a call as it takes.

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
    /// Where an answer was lost they are there twice: whoever takes them knows them by their ids.
    ///
    /// # Errors
    /// [`Error::Unavailable`], after which none or some are there.
    pub async fn put(&self, events: &[Event]) -> Result<Vec<bool>, Error> {
        let mut there = Vec::with_capacity(events.len());
        for events in calls(events) {
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

/// The events of each call, in their order. One that is too large by itself has a call by itself, and is refused there.
fn calls(mut events: &[Event]) -> impl Iterator<Item = &[Event]> {
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |event: &&Event| {
            bytes = bytes.saturating_add(event.detail.len()).saturating_add(ENVELOPE);
            bytes <= MOST
        };
        let most = events.iter().take(AT_ONCE).take_while(fits).count().max(1).min(events.len());
        let (call, rest) = events.split_at(most);
        events = rest;
        (!call.is_empty()).then_some(call)
    })
}

/// Most entries in a call of EventBridge.
const AT_ONCE: usize = 10;
/// In bytes, of all entries of a call together; EventBridge says 256 KB.
const MOST: usize = 240_000;
/// Of an entry, beside its detail: the names of the bus, the source and the kind.
const ENVELOPE: usize = 256;
/// What all events of Aegis name as their source.
const SOURCE: &str = "aegis";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_holds_ten_events_and_as_many_bytes_as_the_bus_takes() {
        let table: [(&[usize], &[usize]); 6] = [
            (&[], &[]),
            (&[100; 25], &[10, 10, 5]),
            (&[60_000; 5], &[3, 2]),
            (&[300_000], &[1]),
            (&[100, 300_000, 100], &[1, 1, 1]),
            (&[200_000, 39_400, 100], &[2, 1]),
        ];
        for (sizes, want) in table {
            let events: Vec<Event> =
                sizes.iter().map(|size| Event { kind: "AuditRecord", detail: "x".repeat(*size) }).collect();
            assert_eq!(calls(&events).map(<[Event]>::len).collect::<Vec<_>>(), want, "{sizes:?}");
        }
    }
}
