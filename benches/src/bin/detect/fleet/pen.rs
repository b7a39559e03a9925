//! Writes down what one agent does on a day, with what goes wrong in any system: errors, retries, outages.

use super::agent::Agent;
use super::calendar::Calendar;
use super::{Organisation, credential_age};
use crate::label::{Circumstance, Labelled};
use crate::random::Random;
use aegis_events::replay::event::{Event, Outcome};

pub(crate) struct Pen<'a> {
    pub(crate) organisation: &'a Organisation,
    pub(crate) agent: &'a Agent,
    pub(crate) random: Random,
    pub(crate) day: u32,
    events: &'a mut Vec<Labelled>,
    address: String,
    user_agent: String,
    /// What is going on, while it is.
    pub(crate) circumstance: Option<Circumstance>,
}

impl<'a> Pen<'a> {
    pub(crate) fn new(
        organisation: &'a Organisation,
        agent: &'a Agent,
        random: Random,
        events: &'a mut Vec<Labelled>,
    ) -> Self {
        let (address, user_agent) = (String::new(), String::new());
        Self { organisation, agent, random, day: 0, events, address, user_agent, circumstance: None }
    }

    pub(crate) fn turn(&mut self, day: u32) {
        self.day = day;
        self.user_agent = self.organisation.user_agent(self.agent, day);
        self.connect(12.0);
    }

    /// A pen for a short-lived agent below this one, from the same network.
    pub(crate) fn below<'b>(&'b mut self, agent: &'b Agent) -> Pen<'b>
    where
        'a: 'b,
    {
        let random = self.random.fork();
        let mut pen = Pen::new(self.organisation, agent, random, self.events);
        pen.turn(self.day);
        pen
    }

    pub(crate) fn calendar(&self) -> &'a Calendar {
        &self.organisation.calendar
    }

    /// When clocks where the owner is show this hour today.
    pub(crate) fn at(&self, hour: f64) -> f64 {
        let owner = &self.organisation.people[self.agent.owner];
        owner.when(&self.organisation.zones, self.calendar(), self.day, hour)
    }

    /// Requests from now on come from an address that is drawn anew.
    pub(crate) fn connect(&mut self, hour: f64) {
        self.address = match self.agent.network(self.day) {
            Some(network) => network.address(&mut self.random),
            None => self.organisation.people[self.agent.owner].address(&mut self.random, self.day, hour),
        };
    }

    pub(crate) fn call(&mut self, ts: f64, op: &str) {
        let key = self.agent.key(&mut self.random, self.day);
        self.call_on(ts, op, key);
    }

    pub(crate) fn call_on(&mut self, ts: f64, op: &str, key: usize) {
        if let Some(end) = self.organisation.outage(ts) {
            let mut ts = ts;
            let before = self.circumstance.replace(Circumstance::Outage);
            for _ in 0..self.random.count(1..=3) {
                self.write(ts, op, key, Outcome::Error);
                ts += self.random.exponential(3.0);
            }
            if self.random.chance(0.6) {
                let later = end + self.random.within(0.0..900.0);
                self.write(later, op, key, Outcome::Ok);
            }
            self.circumstance = before;
            return;
        }
        let mut ts = ts;
        while self.random.chance(self.organisation.flaky) {
            self.write(ts, op, key, Outcome::Error);
            ts += self.random.within(0.1..5.0);
        }
        self.write(ts, op, key, Outcome::Ok);
    }

    pub(crate) fn write(&mut self, ts: f64, op: &str, key: usize, outcome: Outcome) {
        let organisation = self.organisation;
        let circumstance = self.circumstance.or_else(|| self.change(key));
        let key = &organisation.keys[key];
        let logs = &organisation.logs;
        self.events.push(Labelled {
            event: Event {
                ts: milliseconds(ts),
                actor: self.agent.id.clone(),
                kind: self.agent.kind,
                parent: self.agent.parent.clone(),
                source_ip: Some(self.address.clone()),
                op: op.to_string(),
                resource: Some(key.name.clone()),
                user_agent: Some(self.user_agent.clone()),
                outcome,
                env: logs.context.then(|| key.env.to_string()),
                plane: logs.context.then(|| self.agent.plane.to_string()),
                cred_age: logs.age.then(|| credential_age(self.agent, ts).round()),
                scope: logs.context.then(|| self.agent.scope()),
            },
            part: None,
            circumstance,
        });
    }

    /// What changed for this agent, or with this use of a key, today or yesterday.
    fn change(&self, key: usize) -> Option<Circumstance> {
        let (agent, day) = (self.agent, self.day);
        let lately = |since: u32| since > 0 && (since..since + 2).contains(&day);
        let away = || self.organisation.people[agent.owner].is_on_a_journey(day);
        if lately(agent.alive.start) {
            Some(Circumstance::RollOut)
        } else if agent.places.iter().any(|(since, _)| lately(*since)) {
            Some(Circumstance::Moved)
        } else if agent.uses.iter().any(|used| used.key == key && lately(used.days.start)) {
            Some(Circumstance::NewKey)
        } else if agent.places.is_empty() && away() {
            Some(Circumstance::Journey)
        } else {
            None
        }
    }
}

/// As records have it.
pub(crate) fn milliseconds(ts: f64) -> f64 {
    (ts * 1000.0).round() / 1000.0
}
