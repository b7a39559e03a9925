//! One actor's state: its sealed baseline and the minutes still open.
//!
//! A request is weighed against the baseline as of two minutes before its own, and the two minutes since. Records that
//! come up to a minute out of order therefore meet the very same baseline, and records that come twice are known.

use super::Live;
use super::baseline::{Accepted, Baseline, minute_of};
use super::codec::{self, UnknownBaseline};
use super::evidence::{Evidence, Surroundings};
use super::sighting::Sighting;
use super::weigh::weigh;
use super::window::{Added, Minute};
use std::borrow::Cow;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Through the minute three before the newest.
    sealed: Baseline,
    /// Through the minute two before the newest.
    ahead: Baseline,
    /// The newest three, by time; those without a record are missing.
    open: Vec<Minute>,
    newest: u32,
}

/// What became of a sighting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// It had been seen, or its minute holds no more.
    Again,
    /// Its minute is sealed: it came more than a minute late, and teaches nothing.
    Late,
    New,
}

impl State {
    /// What a request of now is weighed against.
    pub fn baseline(&self) -> &Baseline {
        &self.ahead
    }

    /// What a request of `minute` is weighed against: all that was known two minutes before.
    pub fn baseline_at(&self, minute: u32) -> &Baseline {
        if minute.saturating_add(1) == self.newest { &self.sealed } else { &self.ahead }
    }

    /// The same, of somebody else's request: the newest minute of this one may be an earlier one.
    pub fn known_at(&self, minute: u32) -> Cow<'_, Baseline> {
        if minute <= self.newest {
            return Cow::Borrowed(self.baseline_at(minute));
        }
        let mut then = self.clone();
        then.turn(minute);
        Cow::Owned(then.ahead)
    }

    /// The most requests at once, and in either of the two open minutes.
    pub fn pace_at(&self, minute: u32) -> Live {
        let open = || [minute.saturating_sub(1), minute].into_iter().filter_map(|minute| self.minute(minute));
        let most = |count: fn(&Minute) -> u32| open().map(count).max().unwrap_or(0);
        Live {
            second: most(Minute::most_in_a_second),
            ten_seconds: most(Minute::most_in_ten_seconds),
            minute: most(Minute::count),
        }
    }

    /// Takes a sighting in.
    pub fn take(&mut self, s: &Sighting) -> Taken {
        let minute = minute_of(s.at);
        if minute > self.newest {
            self.turn(minute);
        }
        if minute.saturating_add(1) < self.newest {
            return Taken::Late;
        }
        let place = match self.open.iter().position(|open| open.minute >= minute) {
            Some(place) if self.open.get(place).is_some_and(|open| open.minute == minute) => place,
            place => {
                let place = place.unwrap_or(self.open.len());
                self.open.insert(place, Minute::new(minute));
                place
            }
        };
        let baseline = if minute.saturating_add(1) == self.newest { &self.sealed } else { &self.ahead };
        match self.open.get_mut(place).is_some_and(|this| this.add(s, baseline) != Added::Again) {
            true => Taken::New,
            false => Taken::Again,
        }
    }

    /// The evidence of a sighting that was taken in.
    pub fn weigh(&self, s: &Sighting, around: &Surroundings) -> Evidence {
        self.weigh_by(self.baseline_at(minute_of(s.at)), s, around)
    }

    /// The evidence of a sighting by somebody else's baseline.
    pub fn weigh_by(&self, baseline: &Baseline, s: &Sighting, around: &Surroundings) -> Evidence {
        let minute = minute_of(s.at);
        let nothing = Minute::new(minute);
        weigh(baseline, self.minute(minute.saturating_sub(1)), self.minute(minute).unwrap_or(&nothing), s, around)
    }

    /// An open minute, if anything happened in it.
    pub fn minute(&self, minute: u32) -> Option<&Minute> {
        self.open.iter().find(|open| open.minute == minute)
    }

    /// Somebody who may has said that it was right.
    pub fn accept(&mut self, accepted: &Accepted) {
        self.sealed.accept(accepted);
        self.ahead.accept(accepted);
    }

    /// Makes `minute` the newest: what is three before it is sealed.
    fn turn(&mut self, minute: u32) {
        self.newest = minute;
        let sealable = self.open.iter().take_while(|open| open.minute.saturating_add(3) <= minute).count();
        for open in self.open.drain(..sealable) {
            self.sealed.fold(&open);
        }
        self.sealed.advance(minute.saturating_sub(3));
        self.look_ahead();
    }

    fn look_ahead(&mut self) {
        self.ahead.clone_from(&self.sealed);
        if let Some(open) = self.open.first().filter(|open| open.minute.saturating_add(2) == self.newest) {
            self.ahead.fold(open);
        }
        self.ahead.advance(self.newest.saturating_sub(2));
    }

    /// The bytes of an item in a store: at most [`MOST_STATE`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_state(&self.sealed, &self.open, self.newest)
    }

    /// # Errors
    /// [`UnknownBaseline`] for anything that `encode` did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownBaseline> {
        let (sealed, open, newest) = codec::decode_state(bytes)?;
        let mut state = Self { sealed, ahead: Baseline::default(), open, newest };
        state.look_ahead();
        Ok(state)
    }
}

/// Largest encoded state, in bytes: the baseline, and three minutes of record ids and combinations. In base64 it fits an
/// item of 64 KiB.
pub const MOST_STATE: usize = 40 * 1_024;
