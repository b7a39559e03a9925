//! Work of humans, and of the agents that sit with them.

use super::pen::Pen;
use super::people::Person;
use super::work::draw_op;
use crate::label::Circumstance;
use aegis_events::replay::event::Outcome;

/// A human with a key in his own hands.
pub(crate) fn by_hand(pen: &mut Pen, person: &Person) {
    let ops = [("get", 0.2), ("describe", 0.3), ("verify", 0.1), ("sign", 0.15), ("decrypt", 0.15), ("encrypt", 0.1)];
    let calendar = pen.calendar();
    for sitting in person.sitting(&mut pen.random, calendar, pen.day) {
        for _ in 0..pen.random.poisson(person.sessions) {
            let hour = pen.random.within(sitting.clone());
            let events = pen.random.count(1..=12);
            pen.circumstance = odd_hours(pen, hour);
            session(pen, hour, events, 40.0, &ops);
        }
    }
    if person.on_call[pen.day as usize] && pen.random.chance(0.07) {
        let hour = pen.random.within(18.5..31.0);
        let events = pen.random.count(4..=25);
        pen.circumstance = odd_hours(pen, hour);
        session(pen, hour, events, 60.0, &ops);
    }
    if pen.random.chance(0.01) && !person.is_away(pen.day) {
        let hour = pen.random.within(person.hours.clone());
        let (ts, key) = (pen.at(hour), pen.random.count(0..=pen.organisation.keys.len() - 1));
        pen.circumstance = Some(Circumstance::StrayRefusal);
        pen.write(ts, "describe", key, Outcome::Denied);
    }
    pen.circumstance = None;
}

pub(super) fn assistant(pen: &mut Pen) {
    let owner = &pen.organisation.people[pen.agent.owner];
    let ops = [("sign", 0.35), ("decrypt", 0.35), ("get", 0.1), ("describe", 0.1), ("verify", 0.1)];
    let calendar = pen.calendar();
    let mut sittings = owner.sitting(&mut pen.random, calendar, pen.day);
    if owner.on_call[pen.day as usize] && pen.random.chance(0.05) {
        let hour = pen.random.within(19.0..31.0);
        sittings.push(hour..hour + 1.0);
    }
    for sitting in sittings {
        for _ in 0..pen.random.poisson(1.8 * pen.agent.volume) {
            let hour = pen.random.within(sitting.clone());
            let events = pen.random.lognormal(12.0, 0.8).min(150.0) as usize + 1;
            let pause = pen.random.lognormal(25.0, 0.8);
            pen.circumstance = odd_hours(pen, hour);
            session(pen, hour, events, pause, &ops);
        }
    }
    pen.circumstance = None;
}

/// Some calls one after the other, from one address.
fn session(pen: &mut Pen, hour: f64, events: usize, pause: f64, ops: &[(&str, f64)]) {
    pen.connect(hour);
    let mut ts = pen.at(hour);
    for _ in 0..events {
        let op = draw_op(pen, ops);
        pen.call(ts, op);
        ts += pen.random.exponential(pause);
    }
}

/// Whether it is an hour at which the owner seldom works.
fn odd_hours(pen: &Pen, hour: f64) -> Option<Circumstance> {
    let hours = &pen.organisation.people[pen.agent.owner].hours;
    let usual = pen.calendar().is_working_day(pen.day) && (hours.start - 1.0..hours.end + 1.0).contains(&hour);
    (!usual).then_some(Circumstance::OddHours)
}
