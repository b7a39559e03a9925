//! Writes a story down while it happens: what happened, and what must have held.

use super::render::Live;
use aegis_core::ambient::Timestamp;
use serde::Serialize;

/// A line of the timeline.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    #[serde(flatten)]
    pub(super) when: When,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum When {
    /// By the clock of the story.
    #[serde(rename = "at")]
    At(Timestamp),
    /// Milliseconds since the story began.
    #[serde(rename = "at_ms")]
    Elapsed(u128),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Allowed,
    Refused,
    Response,
}

#[derive(Debug, Serialize)]
pub(super) struct Fact {
    pub(super) fact: String,
    pub(super) held: bool,
}

pub(super) struct Scribe<'a> {
    events: Vec<Event>,
    facts: Vec<Fact>,
    live: &'a Live,
    now: Box<dyn Fn() -> When + 'a>,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(live: &'a Live, now: impl Fn() -> When + 'a) -> Self {
        Self { events: Vec::new(), facts: Vec::new(), live, now: Box::new(now) }
    }

    pub(super) fn tell(&mut self, who: &str, what: &str, kind: Kind) {
        let event = Event { when: (self.now)(), who: who.to_string(), what: what.to_string(), kind };
        self.live.event(&event);
        self.events.push(event);
    }

    pub(super) fn fact(&mut self, fact: &str, held: bool) {
        self.facts.push(Fact { fact: fact.to_string(), held });
    }

    pub(super) fn finish(self) -> (Vec<Event>, Vec<Fact>) {
        (self.events, self.facts)
    }
}
