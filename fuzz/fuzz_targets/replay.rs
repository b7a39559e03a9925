//! Whatever a recorded file holds, each event that is read from it has one verdict: a risk of 0 to 1, and a reason that is
//! one field of one line. The same file has the same verdicts.
#![no_main]

use aegis_core::record::AuditRecord;
use aegis_events::replay::{Engine, Event, Grade, cloudtrail, export};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let lines = || input.split(|byte| *byte == b'\n');
    judge(lines().filter_map(|line| Event::parse(line).ok()).collect());
    judge(lines().filter_map(|line| export::event(&serde_json::from_slice::<AuditRecord>(line).ok()?)).collect());
    // A file that is broken is judged as far as it could be read.
    let mut events: Vec<Event> = Vec::new();
    let _ = cloudtrail::read(input, &mut |record| events.extend(record.ok().and_then(cloudtrail::Record::event)));
    events.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    judge(events);
});

/// Twice: by nothing but the events.
fn judge(events: Vec<Event>) {
    let mut engine = Engine::default();
    let verdicts: Vec<(String, Grade)> = events.iter().map(|event| verdict(&mut engine, event)).collect();
    let mut engine = Engine::default();
    for (event, known) in events.iter().zip(&verdicts) {
        assert_eq!(verdict(&mut engine, event), *known, "{event:?}");
    }
}

fn verdict(engine: &mut Engine, event: &Event) -> (String, Grade) {
    let verdict = engine.observe(event);
    assert!((0.0..=1.0).contains(&verdict.risk), "{} of {event:?}", verdict.risk);
    assert!(!verdict.reason.contains([',', '\n', '\r']), "{:?} of {event:?}", verdict.reason);
    assert!(verdict.grade != Grade::None || verdict.detectors.is_empty(), "{event:?}");
    (format!("{:.4} {}", verdict.risk, verdict.reason), verdict.grade)
}
