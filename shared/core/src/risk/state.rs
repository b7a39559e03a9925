//! One actor's state: its sealed baseline and the minutes still open.
//!
//! A request is weighed against the baseline as of two minutes before its own, and the two minutes since. Records that
//! come up to a minute out of order therefore meet the very same baseline, and records that come twice are known.

use super::baseline::{Baseline, minute_of};
use super::evidence::{Evidence, Surroundings, weigh};
use super::sighting::Sighting;
use super::window::{Added, Minute};

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
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// It had been seen, or its minute holds no more.
    Again,
    /// Its minute is sealed: it came more than a minute late, and teaches nothing.
    Late(Box<Evidence>),
    Weighed(Box<Evidence>),
}

impl State {
    /// The baseline a request of now is weighed against.
    pub fn baseline(&self) -> &Baseline {
        &self.ahead
    }

    pub fn baseline_mut(&mut self) -> (&mut Baseline, &mut Baseline) {
        (&mut self.sealed, &mut self.ahead)
    }

    /// Takes a sighting in, and weighs it.
    pub fn observe(&mut self, s: &Sighting, around: &Surroundings) -> Observed {
        let minute = minute_of(s.at);
        if minute > self.newest {
            self.turn(minute);
        }
        if minute.saturating_add(1) < self.newest {
            return Observed::Late(Box::new(self.weigh(s, around)));
        }
        let place = match self.open.iter().position(|open| open.minute >= minute) {
            Some(place) if self.open.get(place).is_some_and(|open| open.minute == minute) => place,
            place => {
                let place = place.unwrap_or(self.open.len());
                self.open.insert(place, Minute::new(minute));
                place
            }
        };
        if self.open.get_mut(place).is_none_or(|this| this.add(s) == Added::Again) {
            return Observed::Again;
        }
        Observed::Weighed(Box::new(self.weigh(s, around)))
    }

    /// The evidence of a sighting that may or may not be in the open minutes yet.
    pub fn weigh(&self, s: &Sighting, around: &Surroundings) -> Evidence {
        let minute = minute_of(s.at);
        let baseline = if minute.saturating_add(1) == self.newest { &self.sealed } else { &self.ahead };
        let of = |minute: u32| self.open.iter().find(|open| open.minute == minute);
        let nothing = Minute::new(minute);
        weigh(baseline, of(minute.saturating_sub(1)), of(minute).unwrap_or(&nothing), s, around)
    }

    /// Makes `minute` the newest: what is three before it is sealed.
    fn turn(&mut self, minute: u32) {
        self.newest = minute;
        let sealable = self.open.iter().take_while(|open| open.minute.saturating_add(3) <= minute).count();
        for open in self.open.drain(..sealable) {
            self.sealed.fold(&open, 0.0);
        }
        self.sealed.advance(minute.saturating_sub(3));
        self.ahead = self.sealed.clone();
        if let Some(open) = self.open.first().filter(|open| open.minute.saturating_add(2) == minute) {
            self.ahead.fold(open, 0.0);
        }
        self.ahead.advance(minute.saturating_sub(2));
    }
}
