//! Attacks on an organisation that lives on: each on an actor of its own, after the burn-in, laid over what is benign.

mod conduct;
mod elsewhere;
mod foreign;
mod patience;
mod raid;

use crate::fleet::Organisation;
use crate::fleet::agent::Agent;
use crate::label::{Labelled, Scenario};
use crate::random::Random;
use aegis_events::replay::event::{Event, Kind};
use raid::Raid;
use std::collections::{BTreeMap, BTreeSet};

/// Attacks at most a third of the agents. `events` are by time.
pub(crate) fn attack(organisation: &Organisation, random: &mut Random, events: &[Labelled]) -> Vec<Labelled> {
    let mut actors: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for labelled in events {
        actors.entry(&labelled.event.actor).or_default().push(&labelled.event);
    }
    let mut campaign = Campaign { organisation, actors: &actors, spent: BTreeSet::new() };
    let mut scenarios = Scenario::ALL.to_vec();
    let mut staged = Vec::new();
    let mut attack = 0;
    for _ in 0..2 {
        random.shuffle(&mut scenarios);
        for scenario in &scenarios {
            if campaign.spent.len() * 3 >= organisation.agents.len() {
                break;
            }
            attack += 1;
            let mut raid = Raid::new(organisation, random.fork(), *scenario, attack);
            // Where nobody is fit to be its victim, it does not take place.
            if campaign.stage(&mut raid).is_some() {
                staged.append(&mut raid.staged);
            }
        }
    }
    staged
}

struct Campaign<'a> {
    organisation: &'a Organisation,
    /// Everybody's benign events, by time.
    actors: &'a BTreeMap<&'a str, Vec<&'a Event>>,
    /// Who was attacked already.
    spent: BTreeSet<&'a str>,
}

/// Whom an attack is on, and what he did and will do.
#[derive(Clone, Copy)]
struct Victim<'a> {
    id: &'a str,
    agent: Option<&'a Agent>,
    life: &'a [&'a Event],
}

impl<'a> Campaign<'a> {
    fn stage(&mut self, raid: &mut Raid<'a>) -> Option<()> {
        if raid.scenario == Scenario::Concert {
            let together = self.together(raid)?;
            patience::concert(raid, &together)?;
            self.spent.extend(together.iter().map(|victim| victim.id));
            return Some(());
        }
        let fit: Vec<_> = self.free().filter(|victim| victim.suits(raid)).collect();
        let victim = *fit.get(raid.random.count(0..=fit.len().max(1) - 1))?;
        match raid.scenario {
            Scenario::Injection => foreign::injection(raid, victim),
            Scenario::Enumeration => foreign::enumeration(raid, victim),
            Scenario::Probing => foreign::probing(raid, victim),
            Scenario::Deputy => foreign::deputy(raid, victim),
            Scenario::Poisoning => patience::poisoning(raid, victim),
            Scenario::Theft => elsewhere::theft(raid, victim),
            Scenario::Sharing => elsewhere::sharing(raid, victim),
            Scenario::OpSwitch => conduct::op_switch(raid, victim),
            Scenario::Burst => elsewhere::burst(raid, victim),
            Scenario::Exfiltration => patience::exfiltration(raid, victim),
            Scenario::OffHours => conduct::off_hours(raid, victim),
            Scenario::Concert => None,
        }?;
        self.spent.insert(victim.id);
        Some(())
    }

    fn free(&self) -> impl Iterator<Item = Victim<'a>> {
        let free = self.actors.iter().filter(|(actor, _)| !self.spent.contains(*actor));
        free.map(|(id, life)| {
            let agent = self.organisation.agents.iter().find(|agent| agent.id == *id);
            Victim { id, agent, life }
        })
    }

    /// Three to six busy agents of one human.
    fn together(&self, raid: &mut Raid<'a>) -> Option<Vec<Victim<'a>>> {
        let mut fleets: BTreeMap<usize, Vec<Victim>> = BTreeMap::new();
        for victim in self.free().filter(|victim| victim.daily() >= 40.0 && victim.is_settled()) {
            if let Some(agent) = victim.agent.filter(|agent| agent.kind == Kind::Agent) {
                fleets.entry(agent.owner).or_default().push(victim);
            }
        }
        let fleets: Vec<_> = fleets.into_values().filter(|fleet| fleet.len() >= 3).collect();
        let fleet = fleets.get(raid.random.count(0..=fleets.len().max(1) - 1))?;
        Some(raid.random.sample(fleet, 3..=6))
    }
}

impl<'a> Victim<'a> {
    fn suits(&self, raid: &Raid) -> bool {
        let agent = |fit: fn(&Agent) -> bool| self.agent.is_some_and(fit) && self.is_settled();
        match raid.scenario {
            Scenario::Injection | Scenario::Enumeration | Scenario::OpSwitch | Scenario::Burst => agent(|_| true),
            Scenario::Probing => agent(|agent| agent.spare.len() >= 3),
            Scenario::Deputy => {
                self.life.len() >= 3 && self.life[0].parent.as_ref().is_some_and(|above| !above.contains('@'))
            }
            Scenario::Poisoning => agent(|agent| agent.spare.len() >= 2) && self.daily() >= 15.0,
            Scenario::Theft => self.is_settled(),
            Scenario::Sharing => agent(|_| true) && self.daily() >= 30.0,
            Scenario::Exfiltration => agent(|_| true) && self.daily() >= 40.0 && self.reads(),
            Scenario::OffHours => self.is_settled() && self.life[0].kind == Kind::Human,
            Scenario::Concert => false,
        }
    }

    /// Known for a week or more, and there to the end.
    fn is_settled(&self) -> bool {
        let (first, last) = (self.life[0].ts, self.life[self.life.len() - 1].ts);
        self.life.len() >= 40 && last - first > 14.0 * 86_400.0
    }

    /// Events of a day on which there are any.
    fn daily(&self) -> f64 {
        let days: BTreeSet<_> = self.life.iter().map(|event| (event.ts / 86_400.0) as u64).collect();
        self.life.len() as f64 / days.len() as f64
    }

    fn reads(&self) -> bool {
        let reading =
            self.life.iter().filter(|event| matches!(event.op.as_str(), "decrypt" | "generatedatakey")).count();
        reading * 2 > self.life.len()
    }

    fn between(&self, from: f64, until: f64) -> &'a [&'a Event] {
        let index = |ts| self.life.partition_point(|event| event.ts < ts);
        &self.life[index(from)..index(until)]
    }

    fn uses(&self, key: &str) -> bool {
        self.life.iter().any(|event| event.resource.as_deref() == Some(key))
    }
}
