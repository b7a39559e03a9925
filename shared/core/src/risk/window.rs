//! The minutes of an actor that are still open: what is folded into its baseline once no earlier record can come any
//! more. Within it, all that is read is a function of the set of records, and grows with the set: what fires early
//! would fire at the end.

use super::sighting::{Class, Network, Seen, Sighting};

/// Most records told apart in a minute; what comes beyond is counted no more (34 a second is far above any threshold).
pub const MOST_IDS: usize = 2_048;
/// Most combinations of key, operation, network and client told apart in a minute.
pub const MOST_TRACES: usize = 64;

/// One minute of an actor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    /// Since 1970.
    pub minute: u32,
    pub(super) ids: Vec<u32>,
    pub(super) seconds: Vec<u16>,
    pub traces: Vec<Trace>,
}

/// What one combination did within the minute.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Trace {
    pub key: u32,
    pub operation: u32,
    pub class: Class,
    pub near: u32,
    pub wide: u32,
    pub client: u32,
    pub outcome: Seen,
    /// Milliseconds into the minute.
    pub first: u16,
    pub last: u16,
    pub count: u16,
    pub scope: u32,
}

impl Trace {
    pub fn network(&self) -> Network {
        Network { near: self.near, wide: self.wide }
    }

    /// As a sighting of the minute, to be weighed again.
    pub fn sighting(&self, minute: u32) -> Sighting {
        Sighting {
            id: 0,
            at: i64::from(minute) * 60_000 + i64::from(self.last),
            key: self.key,
            operation: self.operation,
            class: self.class,
            network: self.network(),
            client: self.client,
            outcome: self.outcome,
            scope: self.scope,
        }
    }

    /// Whether a sighting of its minute is part of it.
    pub fn is_of(&self, s: &Sighting) -> bool {
        self.key == s.key
            && self.operation == s.operation
            && self.near == s.network.near
            && self.client == s.client
            && self.outcome == s.outcome
    }
}

/// What a sighting added to its minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Added {
    /// It was there already.
    Again,
    /// The minute holds no more.
    Full,
    /// One more of a combination that was there.
    More,
    /// A combination that was not there.
    Other,
}

impl Minute {
    pub fn new(minute: u32) -> Self {
        Self { minute, ..Self::default() }
    }

    pub fn add(&mut self, s: &Sighting) -> Added {
        let Err(place) = self.ids.binary_search(&s.id) else { return Added::Again };
        if self.ids.len() >= MOST_IDS {
            return Added::Full;
        }
        self.ids.insert(place, s.id);
        let millis = s.at.rem_euclid(60_000);
        let second = usize::try_from(millis / 1_000).unwrap_or(0);
        if self.seconds.len() <= second {
            self.seconds.resize(second.saturating_add(1), 0);
        }
        if let Some(count) = self.seconds.get_mut(second) {
            *count = count.saturating_add(1);
        }
        let millis = u16::try_from(millis).unwrap_or(0);
        if let Some(trace) = self.traces.iter_mut().find(|trace| trace.is_of(s)) {
            trace.first = trace.first.min(millis);
            trace.last = trace.last.max(millis);
            trace.count = trace.count.saturating_add(1);
            trace.scope = trace.scope.max(s.scope);
            return Added::More;
        }
        if self.traces.len() >= MOST_TRACES {
            return Added::More;
        }
        self.traces.push(Trace {
            key: s.key,
            operation: s.operation,
            class: s.class,
            near: s.network.near,
            wide: s.network.wide,
            client: s.client,
            outcome: s.outcome,
            first: millis,
            last: millis,
            count: 1,
            scope: s.scope,
        });
        Added::Other
    }

    /// How many records.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// The most records in one second.
    pub fn most_in_a_second(&self) -> u32 {
        self.seconds.iter().copied().max().map_or(0, u32::from)
    }

    /// The most records in one of the six ten-second parts.
    pub fn most_in_ten_seconds(&self) -> u32 {
        self.seconds.chunks(10).map(|part| part.iter().copied().map(u32::from).sum()).max().unwrap_or(0)
    }

    /// The traces in an order that does not tell which came first.
    pub fn in_order(&self) -> Vec<Trace> {
        let mut traces = self.traces.clone();
        traces.sort_unstable();
        traces
    }
}
