//! What a replay amounts to: counts, risk over time, and what it would have cost people.

use crate::Failure;
use crate::client::output;
use aegis_core::recommendation::ResponseAction;
use aegis_core::rules::RuleName;
use aegis_events::replay::event::Kind;
use aegis_events::replay::{Detector, Event, Grade, Raised, Verdict};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

const DAY: f64 = 86_400.0;
/// Lines and records that are no events, told one by one.
const MOST_TOLD: usize = 10;
/// Columns of the chart.
const WIDTH: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[derive(Default)]
pub(super) struct Summary {
    events: u64,
    actors: HashSet<String>,
    humans: HashSet<String>,
    /// Actors and the days they were active on.
    actor_days: HashSet<(String, u64)>,
    stopped_days: HashSet<(String, u64)>,
    first: f64,
    last: f64,
    graded: [u64; 2],
    /// Alerts that somebody is asked about: of an actor, once an hour.
    asked: HashMap<String, f64>,
    approvals: u64,
    by_detector: BTreeMap<Detector, [u64; 2]>,
    /// What rules would have done, and what of it cooldown, budget or observing would have withheld.
    by_rule: BTreeMap<(RuleName, ResponseAction), [u64; 2]>,
    lines: u64,
    invalid: u64,
    /// Why, of the first.
    invalid_told: Vec<String>,
    /// Highest risk of each hour.
    hours: BTreeMap<u64, f64>,
}

impl Summary {
    pub(super) fn count_line(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// So far, in all files.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn add_invalid(&mut self, why: &str) {
        self.invalid = self.invalid.saturating_add(1);
        if self.invalid_told.len() < MOST_TOLD {
            self.invalid_told.push(why.to_string());
        }
    }

    /// Where not a single one could be read, nothing was replayed.
    pub(super) fn nothing_was_valid(&self) -> Option<Failure> {
        let first = self.invalid_told.first().filter(|_| self.invalid == self.lines)?;
        Some(Failure::Failed(match self.lines {
            1 => first.clone(),
            lines => format!("none of {lines} can be replayed: {first}"),
        }))
    }

    /// Says on standard error what was passed over.
    pub(super) fn warn(&self) {
        self.invalid_told.iter().for_each(|why| output::note(why));
        let more = self.invalid.saturating_sub(u64::try_from(self.invalid_told.len()).unwrap_or(u64::MAX));
        if more > 0 {
            output::note(&format!("and {more} more that are no events"));
        }
    }

    /// Takes in one event.
    pub(super) fn add(&mut self, event: &Event, verdict: &Verdict) {
        if self.events == 0 {
            (self.first, self.last) = (event.ts, event.ts);
        }
        self.events = self.events.saturating_add(1);
        (self.first, self.last) = (self.first.min(event.ts), self.last.max(event.ts));
        if !self.actors.contains(&event.actor) {
            self.actors.insert(event.actor.clone());
        }
        if event.kind == Kind::Human {
            self.humans.insert(event.actor.clone());
        } else if let Some(parent) = event.parent.as_ref().filter(|parent| !self.actors.contains(*parent)) {
            self.humans.insert(parent.clone());
        }
        let day = whole(event.ts / DAY);
        self.actor_days.insert((event.actor.clone(), day));
        let highest = self.hours.entry(whole(event.ts / 3_600.0)).or_default();
        *highest = highest.max(verdict.risk);
        if verdict.grade != Grade::None {
            self.count(event, verdict, day);
        }
    }

    pub(super) fn add_raised(&mut self, raised: &Raised) {
        let [alerts, automatic] = self.by_detector.entry(raised.recommendation.detector).or_default();
        let count = if raised.grade == Grade::Automatic { automatic } else { alerts };
        *count = count.saturating_add(1);
        let Some(rule) = &raised.rule else { return };
        for action in &raised.admission.carried_out {
            let [would, _] = self.by_rule.entry((rule.clone(), action.kind())).or_default();
            *would = would.saturating_add(1);
        }
        for suppressed in &raised.admission.suppressed {
            let [_, withheld] = self.by_rule.entry((rule.clone(), suppressed.action.kind())).or_default();
            *withheld = withheld.saturating_add(1);
        }
    }

    fn count(&mut self, event: &Event, verdict: &Verdict, day: u64) {
        let [alerts, automatic] = &mut self.graded;
        if verdict.grade == Grade::Automatic {
            *automatic = automatic.saturating_add(1);
            self.stopped_days.insert((event.actor.clone(), day));
            return;
        }
        *alerts = alerts.saturating_add(1);
        let asked = self.asked.get(&event.actor);
        if asked.is_none_or(|at| event.ts - at >= 3_600.0) {
            self.asked.insert(event.actor.clone(), event.ts);
            self.approvals = self.approvals.saturating_add(1);
        }
    }

    fn days(&self) -> f64 {
        ((self.last - self.first) / DAY).max(1.0 / 24.0)
    }

    fn approvals_per_human_week(&self) -> f64 {
        let humans = count(self.humans.len().max(1));
        count(usize::try_from(self.approvals).unwrap_or(usize::MAX)) / humans / (self.days() / 7.0)
    }

    fn stopped_per_1000(&self) -> f64 {
        1_000.0 * count(self.stopped_days.len()) / count(self.actor_days.len().max(1))
    }

    pub(super) fn json(&self) -> Value {
        let [alerts, automatic] = self.graded;
        let detectors: BTreeMap<&str, Value> = self
            .by_detector
            .iter()
            .map(|(detector, [alerts, automatic])| {
                (detector.as_str(), json!({ "alerts": alerts, "automatic": automatic }))
            })
            .collect();
        let rules: Vec<Value> = self
            .by_rule
            .iter()
            .map(|((rule, action), [would, withheld])| {
                json!({ "rule": rule, "action": action, "would": would, "withheld": withheld })
            })
            .collect();
        json!({
            "events": self.events,
            "invalid": { "lines": self.invalid, "first": self.invalid_told },
            "actors": self.actors.len(),
            "humans": self.humans.len(),
            "days": rounded(self.days()),
            "agent_days": self.actor_days.len(),
            "graded": { "alert": alerts, "automatic": automatic },
            "recommendations": detectors,
            "responses": rules,
            "approvals_per_human_week": rounded(self.approvals_per_human_week()),
            "agent_days_stopped_per_1000": rounded(self.stopped_per_1000()),
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let [alerts, automatic] = self.graded;
        let _ = writeln!(
            text,
            "{} events of {} actors, {} of them or behind them humans, in {:.1} days",
            self.events,
            self.actors.len(),
            self.humans.len(),
            self.days()
        );
        if self.invalid > 0 {
            let _ = writeln!(text, "no events, and passed over: {}", self.invalid);
        }
        if self.events == 0 {
            return text;
        }
        let _ = writeln!(text, "\nhighest risk over time, a column per {}\n{}", self.column(), self.chart());
        let _ =
            writeln!(text, "graded 1 (alert or step-up): {alerts} events; graded 2 (automatic): {automatic} events\n");
        if !self.by_detector.is_empty() {
            let rows: Vec<Vec<String>> = self
                .by_detector
                .iter()
                .map(|(detector, [alerts, automatic])| {
                    vec![detector.as_str().to_string(), alerts.to_string(), automatic.to_string()]
                })
                .collect();
            let table = output::table(&["RECOMMENDATIONS BY", "ALERT", "AUTOMATIC"], &rows);
            let _ = writeln!(text, "{table}\n");
        }
        if !self.by_rule.is_empty() {
            let rows: Vec<Vec<String>> = self
                .by_rule
                .iter()
                .map(|((rule, action), [would, withheld])| {
                    vec![rule.to_string(), action.as_str().to_string(), would.to_string(), withheld.to_string()]
                })
                .collect();
            let table = output::table(&["RESPONSES BY RULE", "ACTION", "WOULD", "WITHHELD"], &rows);
            let _ = writeln!(text, "{table}\n");
        }
        let _ = writeln!(
            text,
            "approvals asked for, at most one an hour of an actor: {:.2} per human and week",
            self.approvals_per_human_week()
        );
        let _ = write!(
            text,
            "agent-days with an automatic response: {:.2} of 1000. If none of them was an attack, that is\n\
             how many healthy agents would have been stopped.",
            self.stopped_per_1000()
        );
        text
    }

    /// What one column of the chart stands for.
    fn column(&self) -> String {
        match self.hours_per_column() {
            1 => "hour".to_string(),
            hours => format!("{hours} hours"),
        }
    }

    fn hours_per_column(&self) -> u64 {
        let (first, last) = self.span();
        (last - first + 1).div_ceil(u64::try_from(WIDTH).unwrap_or(u64::MAX)).max(1)
    }

    fn span(&self) -> (u64, u64) {
        let first = self.hours.keys().next().copied().unwrap_or(0);
        (first, self.hours.keys().next_back().copied().unwrap_or(first))
    }

    /// A bar for each stretch of time: its highest risk. Blank where nothing happened.
    fn chart(&self) -> String {
        let (first, last) = self.span();
        let step = self.hours_per_column();
        let mut line = String::new();
        let mut from = first;
        while from <= last {
            let highest = self.hours.range(from..from.saturating_add(step)).map(|(_, risk)| *risk).reduce(f64::max);
            line.push(highest.map_or(' ', bar));
            from = from.saturating_add(step);
        }
        line
    }
}

fn bar(risk: f64) -> char {
    let step = usize::try_from(whole(risk * 8.0)).unwrap_or(0);
    BARS.get(step.min(7)).copied().unwrap_or('█')
}

#[expect(clippy::as_conversions, reason = "a float becomes an integer by saturating")]
fn whole(x: f64) -> u64 {
    x as u64
}

#[expect(clippy::as_conversions, reason = "rounding to the nearest float is what is wanted")]
fn count(n: usize) -> f64 {
    n as f64
}

fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
