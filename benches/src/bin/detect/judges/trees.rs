//! Streaming half-space trees (Tan, Ting, Liu: Fast Anomaly Detection for Streaming Data, IJCAI 2011) over features of
//! an event beside its actor's history.

use super::{Judge, Ruling};
use crate::random::Random;
use aegis_events::replay::event::Outcome;
use aegis_events::replay::{Event, Grade};
use std::collections::{HashMap, VecDeque};

const TREES: usize = 25;
const DEPTH: usize = 10;
/// Events of which one profile is made.
const WINDOW: usize = 5_000;
const FEATURES: usize = 9;
/// An event is graded if it is as unusual as the most unusual of the last window, in this share: one in 500, one in 5,000.
const ALERT: f64 = 0.002;
const AUTOMATIC: f64 = 0.0002;

pub(crate) struct Trees {
    trees: Vec<Tree>,
    seen: usize,
    actors: HashMap<String, Past>,
    /// The scores of this window, and those below which the last one's most unusual events lie.
    scores: Vec<f64>,
    thresholds: Option<(f64, f64)>,
}

/// A perfect binary tree, in heap order: where each node cuts, and the mass of its half-space.
struct Tree {
    cuts: Vec<(usize, f64)>,
    reference: Vec<f64>,
    latest: Vec<f64>,
}

#[derive(Default)]
struct Past {
    hour: VecDeque<f64>,
    last: f64,
    events: f64,
    keys: HashMap<String, f64>,
    operations: HashMap<String, f64>,
    networks: HashMap<String, f64>,
    hours: [f64; 24],
}

impl Default for Trees {
    fn default() -> Self {
        let mut random = Random::new(25);
        let trees = (0..TREES).map(|_| Tree::draw(&mut random)).collect();
        Self { trees, seen: 0, actors: HashMap::new(), scores: Vec::new(), thresholds: None }
    }
}

impl Judge for Trees {
    fn judge(&mut self, event: &Event) -> Ruling {
        if !self.actors.contains_key(&event.actor) {
            self.actors.insert(event.actor.clone(), Past::default());
        }
        let features = self.actors.get_mut(&event.actor).unwrap().features(event);
        let mass: f64 = self.trees.iter_mut().map(|tree| tree.mass(&features)).sum();
        let score = libm::log(1.0 + mass);
        let grade = match self.thresholds {
            Some((_, automatic)) if score <= automatic => Grade::Automatic,
            Some((alert, _)) if score <= alert => Grade::Alert,
            _ => Grade::None,
        };
        self.scores.push(score);
        self.seen += 1;
        if self.seen.is_multiple_of(WINDOW) {
            self.turn();
        }
        let highest = libm::log(1.0 + (TREES * WINDOW) as f64 * libm::exp2(DEPTH as f64));
        Ruling { risk: (1.0 - score / highest).clamp(0.0, 1.0), grade, cause: None }
    }
}

impl Trees {
    /// A window is full: what it held is what the next is compared with.
    fn turn(&mut self) {
        for tree in &mut self.trees {
            std::mem::swap(&mut tree.reference, &mut tree.latest);
            tree.latest.fill(0.0);
        }
        self.scores.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| self.scores[(share * self.scores.len() as f64) as usize];
        // The first window was compared with nothing.
        self.thresholds = (self.seen > WINDOW).then(|| (at(ALERT), at(AUTOMATIC)));
        self.scores.clear();
    }
}

impl Tree {
    fn draw(random: &mut Random) -> Self {
        let nodes = (1 << (DEPTH + 1)) - 1;
        let mut cuts = Vec::new();
        // Each tree's space reaches beyond the unit cube, differently, so that not all cut at the same places.
        let mut spaces: Vec<[(f64, f64); FEATURES]> = vec![std::array::from_fn(|_| {
            let middle = random.unit();
            let reach = 2.0 * middle.max(1.0 - middle);
            (middle - reach, middle + reach)
        })];
        for node in 0..nodes {
            let space = spaces[node];
            let feature = random.count(0..=FEATURES - 1);
            let (low, high) = space[feature];
            let cut = f64::midpoint(low, high);
            cuts.push((feature, cut));
            let (mut left, mut right) = (space, space);
            left[feature].1 = cut;
            right[feature].0 = cut;
            spaces.extend([left, right]);
        }
        Self { cuts, reference: vec![0.0; nodes], latest: vec![0.0; nodes] }
    }

    /// Counts this point in, and gives the mass where it lies in the reference window.
    fn mass(&mut self, features: &[f64; FEATURES]) -> f64 {
        /// Of a window: a node with fewer is not looked into any deeper.
        const SMALL: f64 = 0.02 * WINDOW as f64;
        let (mut node, mut found) = (0, None);
        for depth in 0..=DEPTH {
            self.latest[node] += 1.0;
            if found.is_none() && (self.reference[node] < SMALL || depth == DEPTH) {
                found = Some(self.reference[node] * libm::exp2(depth as f64));
            }
            let (feature, cut) = self.cuts[node];
            node = 2 * node + 1 + usize::from(features[feature] >= cut);
        }
        found.unwrap_or_default()
    }
}

impl Past {
    /// All from 0 to 1; the event is counted in after.
    fn features(&mut self, event: &Event) -> [f64; FEATURES] {
        self.hour.push_back(event.ts);
        while self.hour.front().is_some_and(|ts| *ts < event.ts - 3_600.0) {
            self.hour.pop_front();
        }
        let minute = self.hour.iter().rev().take_while(|ts| **ts > event.ts - 60.0).take(5_000).count();
        let log = |value: f64, most: f64| (libm::log1p(value) / libm::log1p(most)).min(1.0);
        let network = event.source_ip.as_deref().map(|ip| ip.rsplit_once(['.', ':']).map_or(ip, |(net, _)| net));
        let total = self.events + 1.0;
        let share = |known: f64| log(1_000.0 * known / total, 1_000.0);
        let hour = (event.ts / 3_600.0) as usize % 24;
        let features = [
            log(event.ts - self.last, 86_400.0),
            log(minute as f64, 5_000.0),
            log(self.hour.len() as f64, 5_000.0),
            share(self.hours[hour]),
            share(count(&mut self.keys, event.resource.as_deref())),
            share(count(&mut self.operations, Some(&event.op))),
            share(count(&mut self.networks, network)),
            if event.outcome == Outcome::Denied { 1.0 } else { 0.0 },
            log(self.events, 10_000.0),
        ];
        self.last = event.ts;
        self.events += 1.0;
        self.hours[hour] += 1.0;
        features
    }
}

/// How often this was there before.
fn count(known: &mut HashMap<String, f64>, value: Option<&str>) -> f64 {
    let Some(value) = value else { return 0.0 };
    match known.get_mut(value) {
        Some(count) => {
            *count += 1.0;
            *count - 1.0
        }
        None => {
            known.insert(value.to_string(), 1.0);
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unusual_has_less_mass() {
        let mut trees = Trees::default();
        let mut risk = |ts: f64, op: &str, key: &str| {
            let text =
                format!(r#"{{"ts": {ts}, "actor": "a", "op": "{op}", "source_ip": "192.0.2.1", "resource": "{key}"}}"#);
            trees.judge(&serde_json::from_str(&text).unwrap()).risk
        };
        let usual = (0..2 * WINDOW + 10).map(|number| risk(number as f64 * 60.0, "sign", "k")).last().unwrap();
        let unusual = risk((2 * WINDOW + 10) as f64 * 60.0, "decrypt", "other");
        assert!(unusual > usual + 0.1, "{unusual} is hardly above {usual}");
    }
}
