//! What goes wrong, or differs, on some day of some agent.

use super::agent::Role;
use super::pen::Pen;
use crate::label::Circumstance;
use aegis_events::replay::event::Outcome;

pub(crate) fn mishaps(pen: &mut Pen) {
    if !runs_today(pen) {
        return;
    }
    let hour = pen.random.within(8.0..19.0);
    let mut ts = pen.at(hour);
    let op = usual_op(pen.agent.role);
    // A stray refusal: mostly a limit or a stale credential on a key in use, sometimes a slip of the hand.
    if pen.random.chance(0.01) {
        pen.circumstance = Some(Circumstance::StrayRefusal);
        let key = match pen.random.weighted(&[0.75, 0.18, 0.07]) {
            0 => pen.agent.key(&mut pen.random, pen.day),
            1 => *pen.random.pick(&pen.organisation.projects[pen.agent.project].keys),
            _ => pen.random.count(0..=pen.organisation.keys.len() - 1),
        };
        for _ in 0..*pen.random.pick(&[1, 1, 1, 2]) {
            pen.write(ts, op, key, Outcome::Denied);
            ts += pen.random.exponential(20.0);
        }
    }
    // A policy change that took too much away: refused on its own key until somebody mends it.
    if pen.random.chance(0.0004) {
        pen.circumstance = Some(Circumstance::PolicyMistake);
        let key = pen.agent.key(&mut pen.random, pen.day);
        for _ in 0..pen.random.count(10..=80) {
            pen.write(ts, op, key, Outcome::Denied);
            ts += pen.random.exponential(60.0);
        }
    }
    // Code that was deployed before its grant: refused on a new key, retried, then allowed. Rare where a refusal stops
    // an agent: people learn to grant first.
    if pen.random.chance(0.00005) {
        pen.circumstance = Some(Circumstance::EarlyDeploy);
        let key = *pen.random.pick(&pen.organisation.projects[pen.agent.project].keys);
        for attempt in 0..pen.random.count(4..=20) {
            let outcome = if attempt < 3 { Outcome::Denied } else { Outcome::Ok };
            pen.write(ts, op, key, outcome);
            ts += pen.random.exponential(240.0);
        }
    }
    // A backfill: work of days in an hour or two.
    if pen.random.chance(0.0008) && pen.agent.role != Role::Appliance {
        pen.circumstance = Some(Circumstance::Backfill);
        let pace = pen.random.within(0.3..8.0);
        for _ in 0..pen.random.count(100..=1500) {
            pen.call(ts, op);
            ts += pen.random.exponential(pace);
        }
    }
    pen.circumstance = None;
}

/// Whether it is a day on which this agent does anything.
fn runs_today(pen: &Pen) -> bool {
    match pen.agent.role {
        Role::Assistant | Role::Ci => pen.calendar().is_working_day(pen.day),
        Role::MonthlyClose => pen.calendar().is_month_end(pen.day),
        Role::Rotation => pen.day.is_multiple_of(pen.agent.every),
        _ => true,
    }
}

fn usual_op(role: Role) -> &'static str {
    match role {
        Role::Appliance => "unwrap",
        Role::Backup => "generatedatakey",
        Role::BatchSigner | Role::MonthlyClose | Role::TokenSigner => "sign",
        Role::Assistant | Role::Ci | Role::Etl | Role::Orchestrator | Role::Retrieval => "decrypt",
        Role::Monitor | Role::Rotation => "describe",
    }
}
