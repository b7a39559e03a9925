//! The watch over all actors: each one's state, and what the organisation knows.

use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::evidence::{Evidence, Surroundings};
use aegis_core::risk::pool::{Pool, Sort};
use aegis_core::risk::sighting::{Seen, Sighting};
use aegis_core::risk::state::{State, Taken};
use aegis_core::risk::weigh::history;
use std::collections::HashMap;

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
}

impl Watch {
    /// Takes a sighting in, everywhere it belongs.
    pub fn take(&mut self, subject: &Subject, s: &Sighting) -> Taken {
        let taken = self.actors.entry(subject.actor).or_default().take(s);
        if taken == Taken::Again {
            return taken;
        }
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
                self.pool.learn(sort, value, subject.actor, subject.fleet, minute_of(s.at));
            }
        }
        taken
    }

    /// The evidence of a sighting that was taken in: by its actor's history; where that is short, by its template's.
    pub fn weigh(&self, subject: &Subject, s: &Sighting) -> Evidence {
        let minute = minute_of(s.at);
        let around = self.pool.surroundings(subject.human, subject.actor, subject.fleet, s);
        let Some(state) = self.actors.get(&subject.actor) else { return Evidence::default() };
        let mut evidence = state.weigh(s, &around);
        let own = history(state.baseline_at(minute));
        if own < 1.0
            && let Some(template) = self.templates.get(&subject.template)
            && history(template.baseline_at(minute)) >= 1.0
        {
            evidence.blend(&state.weigh_by(template.baseline_at(minute), s, &around), 1.0 - own);
            // Agents of an agent are made for one task; those of a human for any.
            evidence.borrowed = subject.of_human;
        }
        evidence
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
