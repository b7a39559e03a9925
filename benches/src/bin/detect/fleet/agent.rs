//! One agent: what it is for, what it uses, and what changes in its life.

use super::network::Network;
use crate::random::Random;
use aegis_events::replay::event::Kind;
use std::ops::Range;

/// What an agent does all day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Appliance,
    Assistant,
    Backup,
    BatchSigner,
    Ci,
    Etl,
    Monitor,
    MonthlyClose,
    Orchestrator,
    Retrieval,
    Rotation,
    TokenSigner,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Appliance => "nas",
            Self::Assistant => "assistant",
            Self::Backup => "backup",
            Self::BatchSigner => "signer",
            Self::Ci => "ci",
            Self::Etl => "etl",
            Self::Monitor => "monitor",
            Self::MonthlyClose => "close",
            Self::Orchestrator => "planner",
            Self::Retrieval => "retrieval",
            Self::Rotation => "rotation",
            Self::TokenSigner => "tokens",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) parent: Option<String>,
    /// The human in the end, even where no event says so.
    pub(crate) owner: usize,
    pub(crate) role: Role,
    pub(crate) project: usize,
    pub(crate) sdk: usize,
    /// Days until it takes up a release of its SDK.
    pub(crate) lag: u32,
    pub(crate) uses: Vec<Use>,
    /// In scope, never used.
    pub(crate) spare: Vec<usize>,
    /// Since which day it is where. Empty: wherever its human is.
    pub(crate) places: Vec<(u32, Network)>,
    pub(crate) plane: &'static str,
    /// Seconds a credential lives.
    pub(crate) credential: f64,
    /// Typical events of a day.
    pub(crate) volume: f64,
    /// Of its volume, from day to day.
    pub(crate) growth: f64,
    /// Local hours of its scheduled runs.
    pub(crate) schedule: Vec<f64>,
    pub(crate) alive: Range<u32>,
    /// An operation it takes up later.
    pub(crate) later: Option<(u32, &'static str)>,
    /// Days between runs of what does not run daily.
    pub(crate) every: u32,
}

/// A key an agent uses, and from when to when.
#[derive(Clone)]
pub(crate) struct Use {
    pub(crate) key: usize,
    pub(crate) weight: f64,
    pub(crate) days: Range<u32>,
}

impl Agent {
    pub(crate) fn scope(&self) -> u32 {
        (self.uses.len() + self.spare.len()) as u32
    }

    pub(crate) fn key(&self, random: &mut Random, day: u32) -> usize {
        let weight = |used: &Use| if used.days.contains(&day) { used.weight } else { 0.0 };
        let weights: Vec<_> = self.uses.iter().map(weight).collect();
        self.uses[random.weighted(&weights)].key
    }

    pub(crate) fn keys(&self, day: u32) -> Vec<usize> {
        self.uses.iter().filter(|used| used.days.contains(&day)).map(|used| used.key).collect()
    }

    pub(crate) fn network(&self, day: u32) -> Option<&Network> {
        self.places.iter().rev().find(|(from, _)| *from <= day).or(self.places.first()).map(|(_, network)| network)
    }

    /// Draws what will be different in the life of this agent; most live the same all along.
    pub(crate) fn changes(&mut self, random: &mut Random, days: u32) {
        if random.chance(0.25) && !self.spare.is_empty() {
            // Somebody gives it a task that needs one more key of its scope, or a few.
            let from = random.day(5..days);
            for key in self.spare.split_off(self.spare.len() - random.count(1..=2).min(self.spare.len())) {
                let weight = random.within(0.05..0.6);
                self.uses.push(Use { key, weight, days: from..u32::MAX });
            }
        }
        if random.chance(0.08) {
            let from = random.day(8..days);
            let ops = ["describe", "get", "verify", "encrypt", "sign", "decrypt"];
            self.later = Some((from, ops[random.weighted(&[0.3, 0.25, 0.25, 0.1, 0.05, 0.05])]));
        }
        if random.chance(0.2) {
            self.growth = random.within(-0.005..0.025);
        }
        if random.chance(0.06) {
            self.alive.end = random.day(self.alive.start + 5..days.max(self.alive.start + 6));
        }
        if random.chance(0.05) && !self.schedule.is_empty() {
            // A cron entry is edited: from then on the hours are others.
            let moved = random.within(1.0..8.0);
            self.every = self.every.max(1);
            for hour in &mut self.schedule {
                *hour = (*hour + moved) % 24.0;
            }
        }
    }

    pub(crate) fn renames(&mut self, old: usize, new: usize, day: u32) {
        let Some(used) = self.uses.iter_mut().find(|used| used.key == old && used.days.contains(&day)) else { return };
        let weight = used.weight;
        used.days.end = day;
        self.uses.push(Use { key: new, weight, days: day..u32::MAX });
    }
}
