//! The watch over all actors: each one's state, what the organisation knows, and the thresholds it led to.

use super::calibration::Calibration;
use super::judge::{Grade, Judgement, judge};
use aegis_core::risk::DAY;
use aegis_core::risk::baseline::minute_of;
use aegis_core::risk::evidence::{Channel, Familiar, Surroundings, history};
use aegis_core::risk::pool::{Pool, Sort};
use aegis_core::risk::sighting::{Seen, Sighting};
use aegis_core::risk::state::{Observed, State};
use std::collections::HashMap;

/// Days before statistics are believed.
const BURN_IN: u32 = 7;

/// Who did it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub actor: u32,
    pub human: bool,
    /// The human all of whose agents belong together; 0 where that is not known.
    pub fleet: u32,
    /// What it is one of several of: those with the same parent and of the same sort; 0 where that is not known.
    pub template: u32,
}

#[derive(Debug, Default)]
pub struct Watch {
    actors: HashMap<u32, Actor>,
    fleets: HashMap<u32, State>,
    templates: HashMap<u32, State>,
    pool: Pool,
    machines: Calibration,
    humans: Calibration,
    began: Option<u32>,
}

#[derive(Debug, Default)]
struct Actor {
    state: State,
    day: u32,
    highest: f64,
}

impl Watch {
    pub fn observe(&mut self, subject: &Subject, s: &Sighting) -> Judgement {
        let minute = minute_of(s.at);
        let day = minute / DAY;
        let began = *self.began.get_or_insert(day);
        let familiar = |sort, value| self.pool.familiar(sort, value, subject.actor, subject.fleet, minute);
        let network = match familiar(Sort::Near, s.network.near) {
            Familiar::Nobody => familiar(Sort::Wide, s.network.wide),
            near => near,
        };
        let mut around = Surroundings {
            human: subject.human,
            key: familiar(Sort::Key, s.key),
            operation: familiar(Sort::Operation, s.operation),
            network,
            client: familiar(Sort::Client, s.client),
            fleet: 0.0,
        };
        if subject.fleet != 0 {
            let fleet = self.fleets.entry(subject.fleet).or_default();
            if let Observed::Weighed(evidence) = fleet.observe(s, &Surroundings::default()) {
                around.fleet = evidence.of(Channel::Volume).decades.max(evidence.of(Channel::Excess).decades) * 0.5;
            }
        }
        let actor = self.actors.entry(subject.actor).or_default();
        let calibration = if subject.human { &mut self.humans } else { &mut self.machines };
        if actor.day != day {
            if actor.day != 0 && actor.state.baseline().days >= 3.0 {
                calibration.learn(actor.highest);
            }
            (actor.day, actor.highest) = (day, 0.0);
        }
        let (Observed::Weighed(mut evidence) | Observed::Late(mut evidence)) = actor.state.observe(s, &around) else {
            return Judgement::default();
        };
        if subject.template != 0 {
            let template = self.templates.entry(subject.template).or_default();
            let young = 1.0 - history(actor.state.baseline());
            if let Observed::Weighed(kind) = template.observe(s, &around)
                && young > 0.0
                && history(template.baseline()) >= 1.0
            {
                evidence.blend(&kind, young);
            }
        }
        actor.highest = actor.highest.max(evidence.total());
        if s.outcome == Seen::Ok {
            let mut learn = |sort, value| self.pool.learn(sort, value, subject.actor, subject.fleet, minute);
            learn(Sort::Key, s.key);
            learn(Sort::Operation, s.operation);
            learn(Sort::Near, s.network.near);
            learn(Sort::Wide, s.network.wide);
            learn(Sort::Client, s.client);
        }
        judge(*evidence, calibration.threshold(4.8, 6.5), day < began + BURN_IN, subject.human)
    }
}

impl Judgement {
    pub fn is_quiet(&self) -> bool {
        self.grade == Grade::None
    }
}
