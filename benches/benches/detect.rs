//! What scoring a request costs, and what an event costs the engine of a replay, on one core. The baseline is of forty days: of its
//! tables that of keys is full, the others hold the few values an agent has. Reported, never asserted.
//!
//! The goals are 5 us at most for a score, and 10 us for an event, learnt and judged.

#![expect(clippy::unwrap_used, reason = "a measuring tool: what fails ends it")]

use aegis_core::ambient::Timestamp;
use aegis_core::risk::sighting::{Class, Network, Seen};
use aegis_core::risk::{Behaviour, Live, Observation, Sighting, State, Surroundings, score};
use aegis_events::replay::{Engine, Event};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

criterion_main!(detect);
criterion_group!(detect, scoring, replaying);

/// The first moment of 2026, in milliseconds.
const BEGAN: i64 = 1_767_225_600_000;
/// Forty days of an event every two minutes.
const EVENTS: u32 = 28_800;

fn scoring(criterion: &mut Criterion) {
    let mut state = State::default();
    for n in 0..EVENTS {
        state.take(&sighting(n, n % 40));
    }
    let mut group = criterion.benchmark_group("score");
    for (name, key) in [("as usual", 3), ("a new key from a new network", 7_000)] {
        let mut s = sighting(EVENTS, key);
        if key > 40 {
            s.network = Network { near: 99, wide: 98 };
            s.operation = 9;
        }
        let now = Timestamp::from_millisecond(s.at).unwrap();
        let live = Live { second: 1, ten_seconds: 1, minute: 1 };
        let (surroundings, template) = (Surroundings::default(), None);
        let behaviour = Behaviour { sighting: &s, state: &state, template, fleet: None, surroundings, live };
        let observation = Observation {
            scope_breadth: Some(8),
            credential_issued_at: now,
            environment: None,
            key: None,
            now,
            detection_lag: None,
            behaviour: Some(behaviour),
        };
        group.bench_function(name, |bencher| bencher.iter(|| score(black_box(&observation))));
    }
}

fn replaying(criterion: &mut Criterion) {
    let mut engine = Engine::default();
    let mut n = 0;
    let mut next = move || {
        n += 1;
        event(n)
    };
    for _ in 0..EVENTS {
        engine.observe(&next());
    }
    let mut group = criterion.benchmark_group("replay");
    group.bench_function("an event of one of twenty actors", |bencher| {
        bencher.iter_batched(&mut next, |event| engine.observe(&event), criterion::BatchSize::SmallInput);
    });
}

fn sighting(n: u32, key: u32) -> Sighting {
    let network = Network { near: 1 + n % 3, wide: 1 };
    let at = BEGAN + i64::from(n) * 120_000;
    let (class, outcome) = (Class::Make, Seen::Ok);
    Sighting { id: n, at, key: key + 1, operation: 1 + n % 3, class, network, client: 5, outcome, scope: 0 }
}

fn event(n: u32) -> Event {
    let line = format!(
        r#"{{"ts":{},"actor":"agent-{}","parent":"alice@org","source_ip":"10.0.{}.7","op":"sign","resource":"key-{}",
        "user_agent":"sdk/1.0"}}"#,
        1_767_225_600 + n * 6,
        n % 20,
        n % 3,
        n % 40
    );
    serde_json::from_str(&line).unwrap()
}
