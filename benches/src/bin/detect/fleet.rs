//! Benign organisations: people, keys, agents, and what happens to them. Written from what is known of such fleets, not
//! from how detection works; nothing here may change because the engine finds it hard, only because life is not so.

pub(crate) mod agent;
pub(crate) mod calendar;
mod change;
mod draw;
mod mishap;
pub(crate) mod network;
pub(crate) mod pen;
pub(crate) mod people;
mod sitting;
mod work;

use crate::label::Labelled;
use crate::random::Random;
use aegis_events::replay::event::Kind;
use agent::Agent;
use calendar::{Calendar, DAY, HOUR, Zone};
use network::Provider;
use pen::Pen;
use people::{Person, Sites};

/// Days from the start in which nobody attacks.
pub(crate) const BURN_IN: u32 = 7;

pub(crate) struct Organisation {
    pub(crate) calendar: Calendar,
    pub(crate) zones: Vec<Zone>,
    pub(crate) sites: Sites,
    pub(crate) clouds: Vec<Provider>,
    pub(crate) keys: Vec<Key>,
    pub(crate) projects: Vec<Project>,
    pub(crate) people: Vec<Person>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) sdks: Vec<Sdk>,
    /// When the back end was away, in Unix seconds.
    outages: Vec<(f64, f64)>,
    logs: Logs,
    /// Of a call that fails.
    flaky: f64,
}

pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) env: &'static str,
}

pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) keys: Vec<usize>,
    pub(crate) cloud: usize,
    /// People who own its agents.
    pub(crate) team: Vec<usize>,
    /// Days on which a release makes CI work hard.
    pub(crate) releases: Vec<u32>,
}

pub(crate) struct Sdk {
    pub(crate) name: &'static str,
    pub(crate) runtime: &'static str,
    /// Since which day which version is out.
    pub(crate) versions: Vec<(u32, String)>,
}

/// Which of the optional fields this organisation's records have.
pub(crate) struct Logs {
    pub(crate) context: bool,
    pub(crate) age: bool,
}

/// How large an organisation is.
pub(crate) struct Size {
    pub(crate) agents: std::ops::RangeInclusive<usize>,
    pub(crate) days: std::ops::RangeInclusive<usize>,
}

impl Organisation {
    /// Everything benign that happens, in no order.
    pub(crate) fn live(&self, random: &mut Random) -> Vec<Labelled> {
        let mut events = Vec::new();
        for agent in &self.agents {
            let mut pen = Pen::new(self, agent, random.fork(), &mut events);
            for day in agent.alive.start..agent.alive.end.min(self.calendar.days) {
                pen.turn(day);
                work::day(&mut pen);
                mishap::mishaps(&mut pen);
            }
        }
        for person in 0..self.people.len() {
            let user = self.as_agent(person, random);
            let mut pen = Pen::new(self, &user, random.fork(), &mut events);
            for day in 0..self.calendar.days {
                pen.turn(day);
                sitting::by_hand(&mut pen, &self.people[person]);
            }
        }
        events.retain(|labelled| (self.calendar.begin(0)..self.calendar.end()).contains(&labelled.event.ts));
        events
    }

    /// A person as a user of keys.
    fn as_agent(&self, person: usize, random: &mut Random) -> Agent {
        let mine = |project: &&Project| project.team.contains(&person);
        let keys: Vec<_> = self.projects.iter().filter(mine).flat_map(|project| project.keys.clone()).collect();
        let keys = if keys.is_empty() { self.projects[0].keys.clone() } else { keys };
        let count = random.count(2..=9);
        let uses = draw::uses(random, &keys, count);
        Agent {
            id: self.people[person].id.clone(),
            kind: Kind::Human,
            parent: None,
            owner: person,
            role: agent::Role::Assistant,
            project: 0,
            sdk: self.sdks.len() - 1,
            lag: random.day(0..10),
            uses,
            spare: random.sample(&keys, 20..=20),
            places: Vec::new(),
            plane: ["rest", "cli"][random.weighted(&[0.7, 0.3])],
            credential: 8.0 * HOUR,
            volume: 0.0,
            growth: 0.0,
            schedule: Vec::new(),
            alive: 0..self.calendar.days,
            later: None,
            every: 1,
        }
    }

    pub(crate) fn user_agent(&self, agent: &Agent, day: u32) -> String {
        let sdk = &self.sdks[agent.sdk];
        let mut versions = sdk.versions.iter().rev();
        let version = versions.find(|(from, _)| from + agent.lag <= day || *from == 0);
        format!("{}/{} {}", sdk.name, version.map_or("1", |(_, version)| version), sdk.runtime)
    }

    /// The end of the outage this moment lies in.
    pub(crate) fn outage(&self, ts: f64) -> Option<f64> {
        self.outages.iter().find(|(from, until)| (*from..*until).contains(&ts)).map(|(_, until)| *until)
    }
}

/// Seconds since the credential in use was issued, one after the other from a moment of the agent's own.
pub(crate) fn credential_age(agent: &Agent, ts: f64) -> f64 {
    let phase = agent.id.bytes().fold(7.0, |sum: f64, byte| (sum * 31.0 + f64::from(byte)) % 86_399.0);
    let lifetime = agent.credential;
    (ts + phase * lifetime / DAY) % lifetime
}
