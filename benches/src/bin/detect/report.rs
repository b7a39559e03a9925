//! What a run found, as tables for a person or as JSON.

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

impl OfJudge {
    pub(crate) fn new(name: &'static str, mut tally: Tally) -> Self {
        let thresholds = CURVE_AT.map(|rate| tally.threshold(rate));
        let scenarios = Scenario::ALL.iter().map(|scenario| of_scenario(&tally, *scenario, thresholds)).collect();
        Self {
            name,
            bar: rows(&mut tally),
            scenarios,
            false_alarms: false_alarms(&tally),
            causes: causes(&tally, |day| named(day.cause)),
            circumstances: causes(&tally, |day| named(day.circumstance)),
            curve_at: CURVE_AT,
            microseconds_per_event: tally.took.as_secs_f64() * 1e6 / tally.events as f64,
        }
    }

    fn print(&self) {
        println!("## {}\n\n{:.2} us an event\n", self.name, self.microseconds_per_event);
        println!(
            "| | attacks | alert | in 3 | events | seconds | auto | in 3 | events | seconds | released, alert | auto | AUC |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        for scenario in &self.scenarios {
            let of = |of: &Of| {
                format!(
                    "{} | {} | {} | {}",
                    percent(of.caught),
                    percent(of.within_3),
                    pair(&of.events),
                    pair(&of.seconds)
                )
            };
            let [alert, automatic] = scenario.released;
            println!(
                "| {} | {} | {} | {} | {} | {} | {:.4} |",
                scenario.scenario,
                scenario.attacks,
                of(&scenario.alert),
                of(&scenario.automatic),
                of_three(alert),
                of_three(automatic),
                scenario.auc,
            );
        }
        println!(
            "\nFalse alarms, in (actor, day) outside attacks:\n\n| | days | alert | automatic |\n|---|---|---|---|"
        );
        for of in &self.false_alarms {
            println!("| {} | {} | {} | {} |", of.actors, of.days, of.alert, of.automatic);
        }
        for (title, causes) in [("detector that fired first", &self.causes), ("what was going on", &self.circumstances)]
        {
            println!("\n| false alarms by {title} | alert | automatic |\n|---|---|---|");
            for cause in causes {
                println!("| {} | {} | {} |", cause.what, cause.alert, cause.automatic);
            }
        }
        println!(
            "\nOperating curve: attacks with an event above the threshold that lets so many false alarms in 1000 agent-days pass\n"
        );
        println!("| | {} |", self.curve_at.map(|rate| rate.to_string()).join(" | "));
        println!("|---|---|---|---|---|---|---|---|");
        for scenario in &self.scenarios {
            println!("| {} | {} |", scenario.scenario, scenario.curve.map(percent).join(" | "));
        }
        println!();
    }
}

impl Report {
    pub(crate) fn print(&self) {
        println!("Seeds {:?}. Events and seconds until caught: median, 90th percentile.", self.seeds);
        println!("Released: requests that succeeded before the first alert, and before the first automatic response:");
        println!("median, 90th percentile, most.");
        println!("A false alarm is an actor on a day, outside any attack on it. Intervals are of 95 %.\n");
        for judge in &self.judges {
            judge.print();
        }
        println!("## The bar\n");
        let names: Vec<_> = self.judges.iter().map(|judge| judge.name).collect();
        println!("| | bar | {} | of the engine: 95 % interval, bar |", names.join(" | "));
        println!("|---|---|{}---|", "---|".repeat(names.len()));
        for (number, row) in self.judges[0].bar.iter().enumerate() {
            let reached: Vec<_> = self.judges.iter().map(|judge| figure(judge.bar[number].reached)).collect();
            let interval =
                row.interval.map_or(String::new(), |(low, high)| format!("{} to {}, ", figure(low), figure(high)));
            let met = if row.meets(row.bar) { "met" } else { "MISSED" };
            println!("| {} | {} | {} | {interval}{met} |", row.what, figure(row.bar), reached.join(" | "));
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

fn named(what: Option<impl std::fmt::Debug>) -> String {
    what.map_or_else(|| "nothing out of the ordinary".to_string(), |what| format!("{what:?}"))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn pair(values: &[Option<f64>; 2]) -> String {
    match values {
        [Some(median), Some(most)] => format!("{median:.0}, {most:.0}"),
        _ => String::new(),
    }
}

fn of_three([median, high, most]: [f64; 3]) -> String {
    format!("{median:.0}, {high:.0}, {most:.0}")
}

fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
