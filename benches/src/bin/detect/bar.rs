//! The bar: what detection is to reach, what is claimed that it reaches, and whether a run does. A claim is what the
//! frozen engine reached on the test seeds, rounded to the worse: a change that reaches less fails the suite `detect`.

use crate::label::Scenario;
use crate::statistics::{areas, poisson_interval, wilson_interval};
use crate::tally::{Attack, Caught, Tally};
use aegis_events::replay::Grade;
use serde::Serialize;

/// A day, in which a patient attack must be seen.
const WITHIN_A_DAY: f64 = 86_400.0;

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) bar: f64,
    /// The worst at which a run of the test seeds still passes: what the documents say is reached.
    pub(crate) claimed: f64,
    pub(crate) reached: f64,
    /// Of 95 %.
    pub(crate) interval: Option<(f64, f64)>,
    /// Whether more is worse.
    pub(crate) at_most: bool,
}

impl Row {
    pub(crate) fn meets(&self, limit: f64) -> bool {
        if self.at_most { self.reached <= limit } else { self.reached >= limit }
    }
}

pub(crate) fn rows(tally: &mut Tally) -> Vec<Row> {
    let mut rows: Vec<_> = SHARES.iter().map(|share| share.row(tally)).collect();
    for (what, grade, bar, claimed) in FALSE_ALARMS {
        let (alarms, scale) = (tally.alarms(grade), 1_000.0 / tally.agent_days() as f64);
        let (low, high) = poisson_interval(alarms);
        let interval = Some((low * scale, high * scale));
        rows.push(Row { what, bar, claimed, reached: alarms as f64 * scale, interval, at_most: true });
    }
    let (roc, precision_recall) = areas(&mut tally.scores);
    for ((what, bar, claimed), reached) in AREAS.into_iter().zip([roc, precision_recall]) {
        rows.push(Row { what, bar, claimed, reached, interval: None, at_most: false });
    }
    rows
}

/// A share of attacks that is to be caught.
struct Share {
    what: &'static str,
    scenarios: &'static [Scenario],
    caught: fn(&Attack) -> bool,
    bar: f64,
    claimed: f64,
}

impl Share {
    fn row(&self, tally: &Tally) -> Row {
        let attacks = tally.of(self.scenarios);
        let found = attacks.iter().filter(|attack| (self.caught)(attack)).count();
        Row {
            what: self.what,
            bar: self.bar,
            claimed: self.claimed,
            reached: found as f64 / attacks.len() as f64,
            interval: Some(wilson_interval(found, attacks.len())),
            at_most: false,
        }
    }
}

fn within_3(caught: &Option<Caught>) -> bool {
    caught.is_some_and(|caught| caught.events <= 3)
}

fn within_a_day(caught: &Option<Caught>) -> bool {
    caught.is_some_and(|caught| caught.seconds <= WITHIN_A_DAY)
}

const SHARES: &[Share] = &[
    Share {
        what: "foreign keys: alert within 3 events",
        scenarios: &[Scenario::Injection, Scenario::Enumeration],
        caught: |attack| within_3(&attack.alert),
        bar: 0.99,
        claimed: 0.98,
    },
    Share {
        what: "foreign keys: automatic within 3 events",
        scenarios: &[Scenario::Injection, Scenario::Enumeration],
        caught: |attack| within_3(&attack.automatic),
        bar: 0.90,
        claimed: 0.81,
    },
    Share {
        what: "probing, deputy, poisoning: alert",
        scenarios: INSIDE,
        caught: |attack| attack.alert.is_some(),
        bar: 0.95,
        claimed: 0.89,
    },
    Share {
        what: "probing, deputy, poisoning: automatic within 3 events",
        scenarios: INSIDE,
        caught: |attack| within_3(&attack.automatic),
        bar: 0.50,
        claimed: 0.42,
    },
    Share {
        what: "probing, deputy, poisoning: automatic",
        scenarios: INSIDE,
        caught: |attack| attack.automatic.is_some(),
        bar: 0.90,
        claimed: 0.77,
    },
    Share {
        what: "theft, sharing, operation switch: step-up within 3 events",
        scenarios: TAKEN,
        caught: |attack| within_3(&attack.alert),
        bar: 0.95,
        claimed: 0.65,
    },
    Share {
        what: "theft, sharing, operation switch: automatic",
        scenarios: TAKEN,
        caught: |attack| attack.automatic.is_some(),
        bar: 0.60,
        claimed: 0.37,
    },
    Share {
        what: "burst: at most 160 signatures released",
        scenarios: &[Scenario::Burst],
        caught: |attack| attack.released[0] <= 160,
        bar: 1.0,
        claimed: 0.97,
    },
    Share {
        what: "exfiltration, concert: alert within a day",
        scenarios: &[Scenario::Exfiltration, Scenario::Concert],
        caught: |attack| within_a_day(&attack.alert),
        bar: 0.50,
        claimed: 0.28,
    },
    Share {
        what: "human off-hours: alert",
        scenarios: &[Scenario::OffHours],
        caught: |attack| attack.alert.is_some(),
        bar: 0.80,
        claimed: 0.54,
    },
];

const INSIDE: &[Scenario] = &[Scenario::Probing, Scenario::Deputy, Scenario::Poisoning];
const TAKEN: &[Scenario] = &[Scenario::Theft, Scenario::Sharing, Scenario::OpSwitch];

/// What, at which grade, the bar, what is claimed; in 1000 agent-days.
const FALSE_ALARMS: [(&str, Grade, f64, f64); 2] = [
    ("false alarms per 1000 agent-days: alert", Grade::Alert, 5.0, 5.3),
    ("false alarms per 1000 agent-days: automatic", Grade::Automatic, 0.1, 0.08),
];

const AREAS: [(&str, f64, f64); 2] = [("request AUC", 0.98, 0.98), ("request PR-AUC", 0.90, 0.92)];
