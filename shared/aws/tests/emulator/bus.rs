//! The bus: which events are on it, where some of a call were refused. What it answers is told here; the emulator refuses none.

use crate::network::{Fault, Network};
use aegis_aws::bus::{Bus, Event};
use aegis_core::error::Error;

async fn bus(network: &Network) -> Bus {
    let config = aegis_aws::config::from_environment().await;
    let config = aws_sdk_eventbridge::config::Builder::from(&config).http_client(network.clone());
    Bus::new(aws_sdk_eventbridge::Client::from_conf(config.build()), "aegis".to_string())
}

fn events(count: usize) -> Vec<Event> {
    (0..count).map(|number| Event { kind: "AuditRecord", detail: format!(r#"{{"n":{number}}}"#) }).collect()
}

/// An answer with an entry for each event: taken, or refused.
fn answer(taken: &[bool]) -> Fault {
    let entry = |taken: &bool| match taken {
        true => r#"{"EventId":"0"}"#,
        false => r#"{"ErrorCode":"InternalFailure","ErrorMessage":"try again"}"#,
    };
    let entries: Vec<_> = taken.iter().map(entry).collect();
    let failed = taken.iter().filter(|taken| !**taken).count();
    Fault::Answer(200, format!(r#"{{"FailedEntryCount":{failed},"Entries":[{}]}}"#, entries.join(",")))
}

#[tokio::test]
async fn of_each_event_of_each_call_is_known_whether_it_is_there() {
    let network = Network::default();
    let bus = bus(&network).await;
    let mut first = [true; 10];
    (first[3], first[7]) = (false, false);
    // Of an event that the answer leaves out nobody has said that it is there.
    network.plan("PutEvents", [answer(&first), answer(&[true])]);
    let there = bus.put(&events(12)).await.unwrap();
    assert_eq!(there, [&first[..], &[true, false]].concat());
    assert_eq!(network.asked(), ["PutEvents", "PutEvents"]);
}

#[tokio::test]
async fn a_bus_that_refuses_a_call_is_away() {
    let network = Network::default();
    let bus = bus(&network).await;
    let denied = Fault::Answer(400, r#"{"__type":"AccessDeniedException"}"#.to_string());
    network.plan("PutEvents", [answer(&[true; 10]), denied]);
    assert!(matches!(bus.put(&events(11)).await, Err(Error::Unavailable { .. })));
    assert_eq!(network.asked(), ["PutEvents", "PutEvents"]);
}
