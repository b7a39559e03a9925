//! The watch over all actors: each one's state, and what the organisation knows.

use aegis_core::risk::Baseline;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::evidence::{Evidence, Surroundings};
use aegis_core::risk::pool::{Pool, Sort};
use aegis_core::risk::sighting::{Seen, Sighting};
use aegis_core::risk::state::{State, Taken};
use aegis_core::risk::weigh::history;
use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::successors;

/// Who did it, by hashes of names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subject {
    pub actor: u64,
    pub human: bool,
    /// The human all of whose agents belong together; 0 where that is not known.
    pub fleet: u64,
    /// What it is one of several of: those with the same parent and of the same sort; 0 where that is not known.
    pub template: u64,
    /// Whether it is an agent directly below a human.
    pub of_human: bool,
}

/// States by the hash of whose they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch {
    pub actors: HashMap<u64, State>,
    pub fleets: HashMap<u64, State>,
    pub templates: HashMap<u64, State>,
    pub pool: Pool,
    /// The agent that an agent is of, where it is one's.
    pub parents: HashMap<u64, u64>,
}

/// Most agents above one that are looked at: an export may name one as its own parent's.
const MOST_ABOVE: usize = 8;

impl Watch {
    /// Takes a sighting in, everywhere it belongs.
    pub fn take(&mut self, subject: &Subject, s: &Sighting) -> Taken {
        if subject.template != 0 && !subject.of_human {
            // Those that are like it go by the name of the one that they are of.
            self.parents.insert(subject.actor, subject.template);
        }
        let actor = self.actors.entry(subject.actor).or_default();
        let taken = actor.take(s);
        if taken == Taken::Again {
            return taken;
        }
        let young = history(actor.baseline_at(minute_of(s.at))) < 1.0;
        if subject.fleet != 0 {
            self.fleets.entry(subject.fleet).or_default().take(&of_fleet(subject, s));
        }
        if subject.template != 0 {
            self.templates.entry(subject.template).or_default().take(s);
        }
        if s.outcome == Seen::Ok {
            let values = [
                (Sort::Client, s.client),
                (Sort::Key, s.key),
                (Sort::Near, s.network.near),
                (Sort::Operation, s.operation),
                (Sort::Wide, s.network.wide),
            ];
            for (sort, value) in values.into_iter().filter(|(_, value)| *value != 0) {
                self.pool.learn(sort, value, (subject.actor, subject.fleet), young, minute_of(s.at));
            }
        }
        taken
    }

    /// The evidence of a sighting that was taken in: by its actor's history; where that is short, by its template's; where that is
    /// short, too, by that of the nearest agent above that has one.
    pub fn weigh(&self, subject: &Subject, s: &Sighting) -> Evidence {
        let Some(state) = self.actors.get(&subject.actor) else { return Evidence::default() };
        self.weigh_among(state, state.baseline_at(minute_of(s.at)), subject, s)
    }

    /// The evidence of a sighting that came too late to be taken in, among those of its minute that came as late.
    pub fn weigh_late(&self, open: &State, subject: &Subject, s: &Sighting) -> Evidence {
        let Some(state) = self.actors.get(&subject.actor) else { return Evidence::default() };
        self.weigh_among(open, state.baseline(), subject, s)
    }

    fn weigh_among(&self, state: &State, own: &Baseline, subject: &Subject, s: &Sighting) -> Evidence {
        let minute = minute_of(s.at);
        let around = self.pool.surroundings(subject.human, subject.actor, subject.fleet, s);
        let mut evidence = state.weigh_by(own, s, &around);
        let young = 1.0 - history(own);
        if young <= 0.0 {
            return evidence;
        }
        let grown = |state: &&State| history(state.baseline_at(minute)) >= 1.0;
        if let Some(template) = self.templates.get(&subject.template).filter(grown) {
            evidence.blend(&state.weigh_by(template.baseline_at(minute), s, &around), young);
            // Agents of an agent are made for one task; those of a human for any.
            evidence.borrowed = subject.of_human;
        } else if let Some(above) = self.above(subject, minute) {
            // Who delegates does it itself.
            evidence.blend(&state.weigh_by(&above, s, &around), young);
            evidence.raise_pace(&above, state.pace_at(minute));
        }
        evidence
    }

    /// What is known of the nearest agent above that has a history.
    fn above(&self, subject: &Subject, minute: u32) -> Option<Cow<'_, Baseline>> {
        let above = successors(self.parents.get(&subject.actor), |above| self.parents.get(above));
        let known =
            above.take(MOST_ABOVE).filter_map(|above| self.actors.get(above)).map(|state| state.known_at(minute));
        known.into_iter().find(|baseline| history(baseline) >= 1.0)
    }

    /// The evidence of a sighting by the history of the whole fleet, and the fleet and the sighting it is of.
    pub fn weigh_fleet(&self, subject: &Subject, s: &Sighting) -> Option<(&State, Sighting, Evidence)> {
        let (state, s) = (self.fleets.get(&subject.fleet)?, of_fleet(subject, s));
        Some((state, s, state.weigh(&s, &Surroundings::default())))
    }
}

/// As the fleet sees it: what tells its agents apart takes the place of the client.
fn of_fleet(subject: &Subject, s: &Sighting) -> Sighting {
    let [a, b, c, d, ..] = subject.actor.to_le_bytes();
    Sighting { client: u32::from_le_bytes([a, b, c, d]).max(1), ..*s }
}
