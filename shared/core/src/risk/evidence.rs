//! What a request amounts to: decades of evidence by channel, and the score they make.

use super::baseline::{self, Baseline};
use super::sighting::Sighting;
use super::table::Standing;
use super::weigh::{MOST_MIXED, counts, surge};
use super::{Factor, FactorName, Live};

/// Channels of evidence.
pub const CHANNELS: usize = 14;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub enum Channel {
    Key,
    Use,
    Operation,
    Network,
    Client,
    Burst,
    Volume,
    Excess,
    Hour,
    Denied,
    KeySet,
    Places,
    Fleet,
    Mix,
}

impl Channel {
    pub const ALL: [Self; CHANNELS] = [
        Self::Key,
        Self::Use,
        Self::Operation,
        Self::Network,
        Self::Client,
        Self::Burst,
        Self::Volume,
        Self::Excess,
        Self::Hour,
        Self::Denied,
        Self::KeySet,
        Self::Places,
        Self::Fleet,
        Self::Mix,
    ];

    /// Most decades it may count, and what a decade of it weighs beside the other channels': for machines, for humans.
    ///
    /// Weights were fitted (logistic regression, none negative) on the train seeds of `aegis-bench-detect`, then rounded
    /// and drawn towards 1, since other deployments differ.
    fn scale(self) -> (f64, f64, f64) {
        match self {
            Self::Key => (10.0, 0.8, 0.6),
            Self::Use => (2.5, 1.0, 0.6),
            Self::Operation => (4.5, 1.1, 0.8),
            Self::Network => (3.5, 1.2, 1.2),
            Self::Client => (2.5, 1.8, 1.8),
            Self::Burst => (8.0, 0.75, 0.6),
            Self::Volume => (3.0, 0.3, 0.3),
            Self::Excess => (8.0, 0.4, 0.4),
            Self::Hour => (2.0, 1.5, 2.5),
            Self::Denied => (8.0, 1.5, 1.0),
            Self::KeySet => (6.0, 0.6, 0.5),
            Self::Places => (3.5, 1.5, 0.8),
            Self::Fleet => (3.0, 0.15, 0.15),
            Self::Mix => (MOST_MIXED, 0.6, 0.5),
        }
    }

    pub fn factor(self) -> FactorName {
        match self {
            Self::Key => FactorName::NewKey,
            Self::Use => FactorName::NewUse,
            Self::Operation => FactorName::NewOperation,
            Self::Network => FactorName::NewSource,
            Self::Client => FactorName::NewClient,
            Self::Burst => FactorName::Burst,
            Self::Volume => FactorName::Volume,
            Self::Excess => FactorName::SustainedExcess,
            Self::Hour => FactorName::HourOfDay,
            Self::Denied => FactorName::Refusals,
            Self::KeySet => FactorName::KeySet,
            Self::Places => FactorName::TwoPlaces,
            Self::Fleet => FactorName::Fleet,
            Self::Mix => FactorName::OperationMix,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    pub decades: f64,
    /// Decades by what this channel weighs: what adds up.
    pub weighed: f64,
    pub observed: f64,
    pub expected: f64,
    /// Seconds within which `observed` was counted, of bursts and volumes.
    pub within_seconds: Option<u32>,
}

/// Requests within some stretch of time that are unlikely.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) decades: f64,
    pub(super) observed: u32,
    pub(super) expected: f64,
    pub(super) within_seconds: u32,
}

impl Count {
    /// The more unlikely of the two; of equals the first.
    pub(super) fn or_stronger(self, other: Self) -> Self {
        if other.decades > self.decades { other } else { self }
    }
}

/// How well others know a value that is new to an actor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Familiar {
    /// Used by agents of the same human.
    Fleet,
    /// Used by others.
    Others,
    /// New to all, and several have taken it up within the day: a roll-out, or a move.
    Wave,
    /// Used by nobody before.
    #[default]
    Nobody,
}

/// What is known beside the actor's own baseline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    pub human: bool,
    pub key: Familiar,
    pub operation: Familiar,
    pub network: Familiar,
    pub client: Familiar,
    /// Whether anything is known of others.
    pub organisation: bool,
}

/// What a network, or a client, that nobody in the organisation ever used amounts to, in decades, of an agent of which as
/// good as nothing is known. Both together make a score of 0.36: they stop nobody by themselves.
const UNKNOWN_TO_ALL: f64 = 1.0;
const MINUTES_OF_A_DAY: u32 = 1_440;

/// Evidence by channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    readings: [Reading; CHANNELS],
    human: bool,
    /// Distinct keys it was refused within the day that it was never allowed, this request included; and requests.
    pub refused_keys: u32,
    pub refused_times: u32,
    /// Whether this request is one of them.
    pub refused_now: bool,
    /// Whether it was denied; what failed may have failed for other reasons.
    pub refused_surely: bool,
    pub most_in_a_second: u32,
    /// Whether the request reveals nothing and makes nothing.
    pub looks: bool,
    /// Whether its actor has too little history, and is held against agents that need not do the same.
    pub borrowed: bool,
    /// Keys never used before that came up within two minutes, this request's among them; 0 where its own is known.
    pub keys_at_once: u32,
}

impl Evidence {
    /// None, of a human or a machine.
    pub(super) fn none(human: bool) -> Self {
        Self { human, ..Self::default() }
    }

    pub fn of(&self, channel: Channel) -> Reading {
        self.iter().find(|(of, _)| *of == channel).map(|(_, reading)| reading).unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Channel, Reading)> {
        Channel::ALL.into_iter().zip(self.readings)
    }

    pub(super) fn set(&mut self, channel: Channel, decades: f64, observed: f64, expected: f64) {
        let (most, machines, humans) = channel.scale();
        let decades = decades.clamp(0.0, most);
        let weighed = decades * if self.human { humans } else { machines };
        if let Some(reading) = self.reading(channel) {
            *reading = Reading { decades, weighed, observed, expected, within_seconds: None };
        }
    }

    /// The more unlikely of what is known already and this.
    pub(super) fn raise(&mut self, channel: Channel, count: Count) {
        if count.decades > self.of(channel).decades {
            self.set(channel, count.decades, f64::from(count.observed), count.expected);
            if let Some(reading) = self.reading(channel) {
                reading.within_seconds = Some(count.within_seconds);
            }
        }
    }

    fn reading(&mut self, channel: Channel) -> Option<&mut Reading> {
        let mut readings = Channel::ALL.into_iter().zip(&mut self.readings);
        readings.find(|(of, _)| *of == channel).map(|(_, reading)| reading)
    }

    /// What an actor with too little history of its own gets from that of its kind: `share` of it is theirs.
    pub fn blend(&mut self, kind: &Self, share: f64) {
        for ((channel, theirs), ours) in kind.iter().zip(&mut self.readings) {
            let counts = !matches!(
                channel,
                Channel::Burst
                    | Channel::Volume
                    | Channel::Excess
                    | Channel::KeySet
                    | Channel::Places
                    | Channel::Fleet
                    | Channel::Mix
            );
            if counts && channel != Channel::Denied && theirs.decades * share > ours.decades {
                *ours = Reading { decades: theirs.decades * share, weighed: theirs.weighed * share, ..theirs };
            }
        }
        self.join_keys();
        if self.refused_now && share > 0.5 {
            let denied = kind.of(Channel::Denied);
            self.set(Channel::Denied, denied.decades, denied.observed, denied.expected);
            self.refused_now = kind.refused_now;
            self.refused_keys = self.refused_keys.min(kind.refused_keys);
            self.refused_times = self.refused_times.min(kind.refused_times);
        }
    }

    /// What an agent with too little history of its own gets where of its like too little is known as well. Which keys and
    /// operations it begins with, its grant says; where from and with what, the organisation knows, unless it is settled in its own
    /// days. Adds evidence, and takes none away.
    pub fn blend_organisation(&mut self, own: &Baseline, s: &Sighting, around: &Surroundings, share: f64) {
        if around.human || !around.organisation {
            return;
        }
        let (day, decades) = (baseline::minute_of(s.at) / MINUTES_OF_A_DAY, UNKNOWN_TO_ALL * share);
        let is_own = |standing: Standing| matches!(standing, Standing::Known { .. });
        let seen = [
            (Channel::Network, around.network, s.network.near, is_own(own.networks.standing(s.network.near, day))),
            (Channel::Client, around.client, s.client, is_own(own.clients.standing(s.client, day))),
        ];
        for (channel, familiar, value, is_own) in seen {
            let is_new = value != 0 && familiar == Familiar::Nobody && !is_own;
            if is_new && decades > self.of(channel).decades {
                self.set(channel, decades, 1.0, 0.0);
            }
        }
    }

    /// Live counters know of requests that the state has not taken in yet.
    pub fn raise_pace(&mut self, baseline: &Baseline, live: Live) {
        self.most_in_a_second = self.most_in_a_second.max(live.second);
        let observed = [live.second, live.ten_seconds, live.minute];
        let counts = counts(baseline, &observed).chain(surge(baseline, [live.second, live.ten_seconds]));
        self.raise(Channel::Burst, counts.fold(Count::default(), Count::or_stronger));
    }

    /// What all agents of its human do together.
    pub fn join_fleet(&mut self, fleet: &Self) {
        let (volume, excess) = (fleet.of(Channel::Volume).decades, fleet.of(Channel::Excess).decades);
        self.set(Channel::Fleet, volume.max(excess) * 0.5, volume, excess);
    }

    /// All channels together, in decades.
    pub fn total(&self) -> f64 {
        self.readings.iter().map(|reading| reading.weighed).sum()
    }

    pub fn is_human(&self) -> bool {
        self.human
    }

    /// Which keys, whether or not they were given.
    pub fn of_keys(&self) -> f64 {
        self.sum(&[Channel::Key, Channel::KeySet, Channel::Denied])
    }

    /// What was done with them.
    pub fn of_operations(&self) -> f64 {
        self.sum(&[Channel::Operation, Channel::Use])
    }

    /// The same, and how many there are of a sort that its actor does little of.
    pub fn of_turning(&self) -> f64 {
        self.of_operations() + self.of(Channel::Mix).weighed
    }

    /// Who looks around tries new keys, and new operations on them: each alone may be a new task.
    pub fn of_exploring(&self) -> f64 {
        self.of_keys() + self.of_operations()
    }

    /// Where from, and with what.
    pub fn of_places(&self) -> f64 {
        self.sum(&[Channel::Network, Channel::Client, Channel::Places]) + 0.5 * self.of(Channel::Hour).weighed
    }

    /// When; for machines it is a circumstance of where from.
    pub fn of_hours(&self) -> f64 {
        if self.human { self.of(Channel::Hour).weighed } else { 0.0 }
    }

    /// How fast.
    pub fn of_pace(&self) -> f64 {
        self.of(Channel::Burst).decades
    }

    /// How much.
    pub fn of_volume(&self) -> f64 {
        let how_fast = self.of(Channel::Volume).decades + self.of(Channel::Fleet).decades;
        self.of(Channel::Excess).decades + 0.5 * how_fast
    }

    /// New keys are rare keys: what both say counts once, and a quarter of the weaker beside it.
    pub(super) fn join_keys(&mut self) {
        let weighed = |channel: Channel| {
            let (_, machines, humans) = channel.scale();
            self.of(channel).decades * if self.human { humans } else { machines }
        };
        let (key, key_set) = (weighed(Channel::Key), weighed(Channel::KeySet));
        let (key, key_set) = if key >= key_set { (key, key_set * 0.25) } else { (key * 0.25, key_set) };
        for (channel, reading) in Channel::ALL.into_iter().zip(&mut self.readings) {
            match channel {
                Channel::Key => reading.weighed = key,
                Channel::KeySet => reading.weighed = key_set,
                _ => {}
            }
        }
    }

    fn sum(&self, channels: &[Channel]) -> f64 {
        channels.iter().map(|channel| self.of(*channel).weighed).sum()
    }

    /// The factors; their weights add up to the score.
    pub fn factors(&self) -> impl Iterator<Item = Factor> {
        let total = self.total();
        let share = if total > 0.0 { score_of(total) / total } else { 0.0 };
        let factor = move |(channel, reading): (Channel, Reading)| Factor {
            within_seconds: reading.within_seconds,
            ..Factor::new(channel.factor(), reading.observed, reading.expected, reading.weighed * share)
        };
        self.iter().filter(|(_, reading)| reading.decades > 0.0).map(factor)
    }
}

/// A score of 0..1 for decades of evidence: a half at 4 decades.
pub fn score_of(decades: f64) -> f64 {
    let x = (decades / 4.0).powi(2);
    x / (1.0 + x)
}
