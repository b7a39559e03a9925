//! What a run found: it serialises to JSON, and `table` prints it for a person.

mod table;

use crate::bar::{Row, rows};
use crate::label::Scenario;
use crate::statistics::{areas, percentile};
use crate::tally::{Attack, Caught, Day, Tally};
use aegis_events::replay::Grade;
use aegis_events::replay::event::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) seeds: Vec<u64>,
    pub(crate) judges: Vec<OfJudge>,
}

#[derive(Serialize)]
pub(crate) struct OfJudge {
    name: &'static str,
    pub(crate) bar: Vec<Row>,
    scenarios: Vec<OfScenario>,
    false_alarms: Vec<FalseAlarms>,
    /// False alarms by the detector that fired first, and by what was going on.
    causes: Vec<Cause>,
    circumstances: Vec<Cause>,
    /// Per 1000 agent-days: the rates the curve is drawn at.
    curve_at: [f64; 7],
    microseconds_per_event: f64,
}

#[derive(Serialize)]
struct OfScenario {
    scenario: &'static str,
    attacks: usize,
    alert: Of,
    automatic: Of,
    /// Requests that succeeded before the first alert, and before the first automatic response: median, 90th percentile and most.
    released: [[f64; 3]; 2],
    auc: f64,
    /// Share of attacks with an event whose risk is above the threshold at which there are so many false alarms.
    curve: [f64; 7],
}

#[derive(Serialize)]
struct Of {
    caught: f64,
    within_3: f64,
    /// Until caught, of those that were: median and 90th percentile.
    events: [Option<f64>; 2],
    seconds: [Option<f64>; 2],
}

#[derive(Serialize)]
struct FalseAlarms {
    actors: &'static str,
    days: usize,
    alert: usize,
    automatic: usize,
}

#[derive(Serialize)]
struct Cause {
    what: String,
    alert: usize,
    automatic: usize,
}

const CURVE_AT: [f64; 7] = [0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 100.0];
/// Which of them the bar allows.
const AT_THE_BAR: usize = 4;

impl OfJudge {
    pub(crate) fn new(name: &'static str, mut tally: Tally) -> Self {
        let thresholds = CURVE_AT.map(|rate| tally.threshold(rate));
        let scenarios = Scenario::ALL.iter().map(|scenario| of_scenario(&tally, *scenario, thresholds)).collect();
        Self {
            name,
            bar: rows(&mut tally),
            scenarios,
            false_alarms: false_alarms(&tally),
            causes: causes(&tally, |day| named(day.cause, "no detector")),
            circumstances: causes(&tally, |day| named(day.circumstance, "nothing out of the ordinary")),
            curve_at: CURVE_AT,
            microseconds_per_event: tally.took.as_secs_f64() * 1e6 / tally.events as f64,
        }
    }
}

fn of_scenario(tally: &Tally, scenario: Scenario, thresholds: [f64; 7]) -> OfScenario {
    let attacks = tally.of(&[scenario]);
    let share = |fit: &dyn Fn(&Attack) -> bool| {
        attacks.iter().filter(|attack| fit(attack)).count() as f64 / attacks.len() as f64
    };
    let of = |caught: fn(&Attack) -> Option<Caught>| {
        let all: Vec<_> = attacks.iter().filter_map(|attack| caught(attack)).collect();
        let both = |value: fn(&Caught) -> f64| {
            let values: Vec<_> = all.iter().map(value).collect();
            [percentile(&values, 0.5), percentile(&values, 0.9)]
        };
        Of {
            caught: share(&|attack| caught(attack).is_some()),
            within_3: share(&|attack| caught(attack).is_some_and(|caught| caught.events <= 3)),
            events: both(|caught| caught.events as f64),
            seconds: both(|caught| caught.seconds),
        }
    };
    let released = |which: usize| {
        let counts: Vec<_> = attacks.iter().map(|attack| attack.released[which] as f64).collect();
        [0.5, 0.9, 1.0].map(|share| percentile(&counts, share).unwrap_or(0.0))
    };
    let benign = tally.scores.iter().filter(|(_, malicious)| !malicious);
    let mut scores: Vec<_> = benign.copied().collect();
    scores.extend(tally.malicious.get(&scenario).into_iter().flatten().map(|score| (*score, true)));
    OfScenario {
        scenario: scenario.name(),
        attacks: attacks.len(),
        alert: of(|attack| attack.alert),
        automatic: of(|attack| attack.automatic),
        released: [released(0), released(1)],
        auc: areas(&mut scores).0,
        curve: thresholds.map(|threshold| share(&|attack| attack.peak >= threshold)),
    }
}

fn false_alarms(tally: &Tally) -> Vec<FalseAlarms> {
    let of = |actors, fit: &dyn Fn(Kind, bool) -> bool| {
        let days: Vec<_> = tally.days.iter().filter(|day| fit(day.kind, day.durable)).collect();
        let alarms = |grade| days.iter().filter(|day| day.grade >= grade).count();
        FalseAlarms { actors, days: days.len(), alert: alarms(Grade::Alert), automatic: alarms(Grade::Automatic) }
    };
    vec![
        of("agents", &|kind, durable| kind == Kind::Agent && durable),
        of("services", &|kind, durable| kind == Kind::Service && durable),
        of("humans", &|kind, durable| kind == Kind::Human && durable),
        of("sub-agents of less than two days", &|_, durable| !durable),
    ]
}

fn causes(tally: &Tally, of: impl Fn(&Day) -> String) -> Vec<Cause> {
    let mut causes: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for day in tally.days.iter().filter(|day| day.grade >= Grade::Alert) {
        let [alert, automatic] = causes.entry(of(day)).or_default();
        *alert += 1;
        *automatic += usize::from(day.grade == Grade::Automatic);
    }
    causes.into_iter().map(|(what, [alert, automatic])| Cause { what, alert, automatic }).collect()
}

fn named(what: Option<impl std::fmt::Debug>, none: &str) -> String {
    what.map_or_else(|| none.to_string(), |what| format!("{what:?}"))
}
