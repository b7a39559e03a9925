//! Publishing: what the journal's stream brings goes onto the bus, at least once and in the order of each shard. So does what
//! a record of it asks to be told again.

use super::Function;
use super::events::{BatchAnswer, StreamEvent, StreamRecord};
use super::scheduled::HEARTBEAT;
use aegis_aws::bus::{Bus, Event};
use aegis_core::error::{Cause, Chain};
use aegis_core::journal::RECORDS;
use aegis_core::operation::Operation;
use aegis_core::operations::audit_tally::Span;
use aegis_core::record::AuditRecord;
use aegis_events::bundle::{self, Bundle};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names the first record that is not on the bus, if any: the stream goes on from there.
///
/// # Errors
/// None of its own.
pub async fn answer(function: Arc<Function>, batch: StreamEvent) -> Result<BatchAnswer, Cause> {
    let bus = Bus::new(aegis_aws::eventbridge(&function.aws), function.settings.bus.clone());
    let mut answer = BatchAnswer::default();
    let (again, unread) = told_again(&function, &batch.records).await;
    // Each with the place in the batch where it begins.
    let readable = batch.records.get(..unread.unwrap_or(batch.records.len())).unwrap_or_default();
    let (places, events): (Vec<_>, Vec<_>) = events_of(readable, &again).into_iter().unzip();
    let there = bus.put(&events).await.unwrap_or_else(|error| {
        tracing::error!(error = %Chain(&error), "the bus did not answer");
        Vec::new()
    });
    if let Some(record) = first_left(&places, &there, unread).and_then(|place| batch.records.get(place)) {
        answer.again(record.sequence_number());
    }
    Ok(answer)
}

/// The place of the first record of which an event is not on the bus; else of the first that could not be read.
fn first_left(places: &[usize], there: &[bool], unread: Option<usize>) -> Option<usize> {
    let missing = |(number, place): (usize, &usize)| (there.get(number) != Some(&true)).then_some(*place);
    places.iter().enumerate().find_map(missing).or(unread)
}

/// Records as they lie in the journal, by the place in a batch of the record that asks for them.
type Again = BTreeMap<usize, Vec<String>>;

/// What the first record of a batch that asks for it has told again; and the first of them that is left for the next batch, or
/// for which it cannot be read, if any.
async fn told_again(function: &Function, batch: &[StreamRecord]) -> (Again, Option<usize>) {
    let mut again = Again::new();
    for (place, record) in batch.iter().enumerate() {
        let Some(span) = asks_again(record) else { continue };
        if !again.is_empty() {
            // One at a time: the stream goes on from here.
            return (again, Some(place));
        }
        match span.records(&function.store()).await {
            Ok(records) => {
                tracing::info!(span = %span, records = records.len(), "records are told again");
                again.insert(place, records.iter().filter_map(|record| serde_json::to_string(record).ok()).collect());
            }
            Err(error) => {
                tracing::error!(error = %Chain(&error), "what is to be told again cannot be read");
                return (again, Some(place));
            }
        }
    }
    (again, None)
}

/// A record that was replaced asks for nothing.
fn asks_again(record: &StreamRecord) -> Option<Span> {
    record.text("pk")?.strip_prefix("i:")?.strip_prefix(RECORDS)?;
    // Few do: what cannot be one is not read.
    let asks = |body: &&str| record.is_new() && body.contains(Operation::AuditRedrive.as_str());
    let body = record.text("body").filter(asks)?;
    Span::asked_by(&serde_json::from_str(body).ok()?)
}

/// The journal is only ever added to. No role can be kept from replacing an item that it may put, so whoever looks at the
/// trail must be told if one was.
const ALTERED: &str = "JournalAltered";

/// The events of a batch, in its order: each begins at a place of the batch. After a record comes what it asks for.
fn events_of(batch: &[StreamRecord], again: &Again) -> Vec<(usize, Event)> {
    let mut events = Vec::new();
    let mut together = (0, Bundle::default());
    let close = |events: &mut Vec<(usize, Event)>, (begins, bundle): (usize, Bundle)| {
        if !bundle.is_empty() {
            events.push((begins, Event { kind: "AuditRecords", detail: bundle.into_json() }));
        }
    };
    let places = batch.iter().enumerate();
    let all = places.flat_map(|(place, record)| {
        let again = again.get(&place).into_iter().flatten().map(|body| told_of(body));
        std::iter::once(told(record)).chain(again).map(move |told| (place, told))
    });
    for (place, told) in all {
        match told {
            Told::Along(body) => {
                if together.1.is_empty() {
                    together.0 = place;
                }
                if !together.1.take(body) {
                    close(&mut events, std::mem::take(&mut together));
                    together.0 = place;
                    together.1.take(body);
                }
            }
            Told::Alone(alone) if alone.is_empty() => {}
            Told::Alone(alone) => {
                close(&mut events, std::mem::take(&mut together));
                events.extend(alone.into_iter().map(|event| (place, event)));
            }
        }
    }
    close(&mut events, together);
    events
}

enum Told<'a> {
    /// With those before and after it.
    Along(&'a str),
    /// By itself; or not at all.
    Alone(Vec<Event>),
}

/// A record as it is; a recommendation, by itself, beside the record that tells of it.
fn told(record: &StreamRecord) -> Told<'_> {
    let alone = |kind, body: &str| Told::Alone(vec![Event { kind, detail: body.to_string() }]);
    let (Some(key), Some(body)) = (record.text("pk"), record.text("body")) else { return Told::Alone(Vec::new()) };
    let Some(partition) = key.strip_prefix("i:") else { return Told::Alone(Vec::new()) };
    if partition.starts_with(HEARTBEAT) {
        return alone("Heartbeat", body);
    }
    if !partition.starts_with(RECORDS) {
        return Told::Alone(Vec::new());
    }
    if !record.is_new() {
        tracing::error!(record = partition, "a record of the journal was replaced");
        return alone(ALTERED, body);
    }
    told_of(body)
}

fn told_of(body: &str) -> Told<'_> {
    let alone = |kind| Event { kind, detail: body.to_string() };
    let Ok(read) = serde_json::from_str::<AuditRecord>(body) else { return Told::Alone(vec![alone("AuditRecord")]) };
    if bundle::goes_along(&read) {
        return Told::Along(body);
    }
    let mut events = vec![alone("AuditRecord")];
    if let Some(detail) = read.recommendation.and_then(|found| serde_json::to_string(&found).ok()) {
        events.push(Event { kind: "AgentRecommendation", detail });
    }
    Told::Alone(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn streamed(partition: &str, event: &str, body: &Value) -> StreamRecord {
        let image = json!({ "pk": { "S": format!("i:{partition}") }, "body": { "S": body.to_string() } });
        let change = json!({ "SequenceNumber": "1", "NewImage": image });
        serde_json::from_value(json!({ "eventName": event, "dynamodb": change })).unwrap()
    }

    fn record(outcome: &str) -> Value {
        let mut record: Value =
            serde_json::from_str(include_str!("../../../events/samples/audit-record.json")).unwrap();
        for absent in ["recommendation", "responses", "checked", "suppressed"] {
            record.as_object_mut().unwrap().remove(absent);
        }
        record["operation"] = "key.sign".into();
        record["outcome"] = outcome.into();
        record
    }

    #[test]
    fn uses_that_went_well_go_together_and_nothing_overtakes() {
        let of_records = |event: &str, outcome: &str| streamed(&format!("{RECORDS}1"), event, &record(outcome));
        let batch = [
            of_records("INSERT", "ok"),
            streamed("elsewhere", "INSERT", &json!({})),
            of_records("INSERT", "ok"),
            of_records("INSERT", "denied"),
            of_records("INSERT", "ok"),
            streamed(HEARTBEAT, "INSERT", &json!({ "through": 1 })),
            of_records("MODIFY", "ok"),
            of_records("INSERT", "ok"),
        ];
        let events = events_of(&batch, &Again::new());
        let told: Vec<(usize, &str)> = events.iter().map(|(place, event)| (*place, event.kind)).collect();
        let want = [
            (0, "AuditRecords"),
            (3, "AuditRecord"),
            (4, "AuditRecords"),
            (5, "Heartbeat"),
            (6, ALTERED),
            (7, "AuditRecords"),
        ];
        assert_eq!(told, want);
        let first: Value = serde_json::from_str(&events[0].1.detail).unwrap();
        assert_eq!(first["records"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_stream_goes_on_from_the_first_record_that_is_not_on_the_bus() {
        let places = [0, 3, 3, 5];
        let table: [(&[bool], Option<usize>, Option<usize>); 6] = [
            (&[true; 4], None, None),
            (&[true; 4], Some(6), Some(6)),
            (&[true, false, true, false], Some(6), Some(3)),
            // One of two events of a record: the record is told again, whole.
            (&[true, true, false, true], None, Some(3)),
            (&[true, true, true], None, Some(5)),
            // The bus did not answer.
            (&[], None, Some(0)),
        ];
        for (there, unread, want) in table {
            assert_eq!(first_left(&places, there, unread), want, "{there:?} {unread:?}");
        }
        assert_eq!(first_left(&[], &[], Some(0)), Some(0), "nothing could be read");
    }

    #[test]
    fn what_a_record_asks_for_comes_after_it_and_fails_with_it() {
        let mut asks = record("ok");
        asks["operation"] = "audit.redrive".into();
        asks["object"] = format!("rec_{:032x}..rec_{:032x}", 1, 2).into();
        let of_records = |event: &str, body: &Value| streamed(&format!("{RECORDS}1"), event, body);
        let batch =
            [of_records("INSERT", &record("ok")), of_records("INSERT", &asks), of_records("INSERT", &record("ok"))];
        assert_eq!([0, 1, 2].map(|place| asks_again(&batch[place]).is_some()), [false, true, false]);
        let told: Vec<String> = ["ok", "ok", "denied"].map(|outcome| record(outcome).to_string()).into();
        let events = events_of(&batch, &[(1, told)].into());
        let told: Vec<(usize, &str)> = events.iter().map(|(place, event)| (*place, event.kind)).collect();
        let want =
            [(0, "AuditRecords"), (1, "AuditRecord"), (1, "AuditRecords"), (1, "AuditRecord"), (2, "AuditRecords")];
        assert_eq!(told, want);
        // What was refused, replaced or is no record asks for nothing.
        let refused = Value::from("denied");
        let mut denied = asks.clone();
        denied["outcome"] = refused;
        let others = [
            of_records("MODIFY", &asks),
            of_records("INSERT", &denied),
            streamed("elsewhere", "INSERT", &asks),
            streamed(HEARTBEAT, "INSERT", &asks),
        ];
        assert!(others.iter().all(|other| asks_again(other).is_none()));
    }

    #[test]
    fn what_does_not_fit_begins_the_next_event_at_its_own_place() {
        let batch: Vec<StreamRecord> =
            (0..200).map(|_| streamed(&format!("{RECORDS}1"), "INSERT", &record("ok"))).collect();
        let events = events_of(&batch, &Again::new());
        let mut begins = 0;
        for (place, event) in &events {
            assert_eq!(*place, begins);
            let detail: Value = serde_json::from_str(&event.detail).unwrap();
            begins += detail["records"].as_array().unwrap().len();
        }
        assert_eq!(begins, batch.len());
        assert!(events.len() > 1);
    }
}
