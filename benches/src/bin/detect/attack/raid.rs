//! One attack being written.

use super::Victim;
use crate::fleet::calendar::DAY;
use crate::fleet::network::{Network, Provider};
use crate::fleet::pen::milliseconds;
use crate::fleet::{BURN_IN, Organisation, credential_age};
use crate::label::{Labelled, Part, Scenario};
use crate::random::Random;
use aegis_events::replay::event::{Event, Outcome};

pub(super) struct Raid<'a> {
    pub(super) organisation: &'a Organisation,
    pub(super) random: Random,
    pub(super) scenario: Scenario,
    attack: u32,
    pub(super) staged: Vec<Labelled>,
}

/// Where an attacker sits, and what his client calls itself.
pub(super) struct Elsewhere {
    network: Network,
    user_agent: Option<&'static str>,
}

impl<'a> Raid<'a> {
    pub(super) fn new(organisation: &'a Organisation, random: Random, scenario: Scenario, attack: u32) -> Self {
        Self { organisation, random, scenario, attack, staged: Vec::new() }
    }

    /// An event of the victim's after the burn-in that it lets live two days before the end.
    pub(super) fn moment(&mut self, victim: Victim<'a>) -> Option<&'a Event> {
        let calendar = &self.organisation.calendar;
        let (from, until) = (calendar.begin(BURN_IN) + 0.2 * DAY, calendar.end() - 2.5 * DAY);
        let first = victim.life.partition_point(|event| event.ts < from).max(20);
        let last = victim.life.partition_point(|event| event.ts < until);
        // By days, so that a day with much work is not likelier than one with little.
        let day = from + (until - from) * self.random.unit();
        let next = victim.life.partition_point(|event| event.ts < day).max(first);
        let later = next + self.random.count(0..=15);
        (first < last).then(|| victim.life[later.min(last - 1)])
    }

    /// The same of whom is there for minutes only: after his last call.
    pub(super) fn moment_or_end(&mut self, victim: Victim<'a>) -> Option<&'a Event> {
        let last = *victim.life.last()?;
        let attackable = last.ts > self.organisation.calendar.begin(BURN_IN);
        if last.ts - victim.life[0].ts > DAY { self.moment(victim) } else { attackable.then_some(last) }
    }

    /// One of the last 30 things the victim did before this moment.
    pub(super) fn lately(&mut self, victim: Victim<'a>, ts: f64) -> &'a Event {
        let before = victim.life.partition_point(|event| event.ts < ts).max(1);
        victim.life[self.random.count(before.saturating_sub(30)..=before - 1)]
    }

    /// An event as this one was, but for its time. What else is different the caller says.
    pub(super) fn like(&self, event: &Event, ts: f64) -> Event {
        let agent = self.organisation.agents.iter().find(|agent| agent.id == event.actor);
        let ts = milliseconds(ts);
        let age = agent.map(|agent| credential_age(agent, ts).round());
        let cred_age = event.cred_age.map(|recorded| age.unwrap_or(recorded + (ts - event.ts).max(0.0).round()));
        Event { ts, outcome: Outcome::Ok, cred_age, ..event.clone() }
    }

    /// Something the victim did lately, once more.
    pub(super) fn again(&mut self, victim: Victim<'a>, ts: f64) -> Event {
        let usual = self.lately(victim, ts);
        self.like(usual, ts)
    }

    pub(super) fn on_key(&self, mut event: Event, key: usize) -> Event {
        let key = &self.organisation.keys[key];
        event.resource = Some(key.name.clone());
        event.env = event.env.map(|_| key.env.to_string());
        event
    }

    pub(super) fn from(&mut self, elsewhere: &Elsewhere, mut event: Event) -> Event {
        event.source_ip = Some(elsewhere.network.address(&mut self.random));
        if let Some(user_agent) = elsewhere.user_agent {
            event.user_agent = Some(user_agent.to_string());
        }
        event
    }

    /// Mostly a hosting provider; sometimes the same cloud or the same ISP as the organisation's own people.
    pub(super) fn elsewhere(&mut self) -> Elsewhere {
        let (organisation, random) = (self.organisation, &mut self.random);
        let provider = match random.weighted(&[0.66, 0.14, 0.08, 0.08, 0.04]) {
            0 => Provider::hosting(random),
            1 => Provider::cloud(random),
            2 => random.pick(&organisation.clouds).clone(),
            3 => Provider::consumer(random),
            _ => organisation.sites.isp(random).clone(),
        };
        let network = match random.chance(0.8) {
            true => provider.gateways(random, 1),
            false => provider.egress(random, 4),
        };
        let clients = ["python-requests/2.32.4", "curl/8.5.0", "aegis-cli/1.9.0 linux", "Boto3/1.40.1 Python/3.13"];
        let user_agent = random.chance(0.45).then(|| *random.pick(&clients));
        Elsewhere { network, user_agent }
    }

    pub(super) fn strike(&mut self, event: Event) {
        self.stage(event, true);
    }

    /// What only gets the baseline used to the attacker.
    pub(super) fn prepare(&mut self, event: Event) {
        self.stage(event, false);
    }

    fn stage(&mut self, event: Event, malicious: bool) {
        let part = Some(Part { attack: self.attack, scenario: self.scenario, malicious });
        self.staged.push(Labelled { event, part, circumstance: None });
    }

    pub(super) fn denied(&mut self, probability: f64) -> Outcome {
        if self.random.chance(probability) { Outcome::Denied } else { Outcome::Ok }
    }
}
