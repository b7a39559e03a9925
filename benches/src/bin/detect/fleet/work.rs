//! A day of each kind of agent that works by itself.

use super::agent::{Agent, Role};
use super::pen::Pen;
use super::sitting;
use crate::label::Circumstance;
use aegis_events::replay::event::Kind;

pub(crate) fn day(pen: &mut Pen) {
    match pen.agent.role {
        Role::Appliance => appliance(pen),
        Role::Assistant => sitting::assistant(pen),
        Role::Backup => backup(pen),
        Role::BatchSigner => batch(pen),
        Role::Ci => ci(pen),
        Role::Etl => etl(pen),
        Role::Monitor => monitor(pen),
        Role::MonthlyClose => close(pen),
        Role::Orchestrator => orchestrate(pen),
        Role::Retrieval => all_day(pen, 220.0, 0.75, &[("decrypt", 0.93), ("encrypt", 0.06), ("get", 0.01)]),
        Role::Rotation => rotate(pen),
        Role::TokenSigner => all_day(pen, 300.0, 0.5, &[("sign", 0.985), ("get", 0.015)]),
    }
    if let Some((from, op)) = pen.agent.later
        && from <= pen.day
    {
        pen.circumstance = (pen.day < from + 2).then_some(Circumstance::NewOperation);
        for _ in 0..pen.random.poisson(3.0 * pen.agent.volume) {
            let hour = pen.random.within(8.0..18.0);
            let ts = pen.at(hour);
            pen.call(ts, op);
        }
        pen.circumstance = None;
    }
}

/// Requests of customers: less at night and at weekends, more or fewer from day to day.
fn all_day(pen: &mut Pen, events: f64, weekend: f64, ops: &[(&str, f64)]) {
    let working = if pen.calendar().is_working_day(pen.day) { 1.0 } else { weekend };
    let today = events * size(pen, 0.18) * working;
    let busy = pen.random.chance(0.02).then(|| (pen.random.within(8.0..20.0), pen.random.within(1.8..3.5)));
    let depth = 0.75;
    for hour in 0..24 {
        let hour = f64::from(hour);
        let rhythm = 1.0 + depth * libm::cos((hour - 14.0) / 24.0 * std::f64::consts::TAU);
        let rush = busy.filter(|(from, _)| (*from..from + 3.0).contains(&hour)).map_or(1.0, |(_, factor)| factor);
        let wave = pen.random.lognormal(1.0, 0.2);
        for _ in 0..pen.random.poisson(today / 24.0 * rhythm * rush * wave) {
            let minute = pen.random.unit();
            let ts = pen.at(hour + minute);
            if pen.random.chance(0.2) {
                pen.connect(hour);
            }
            let op = draw_op(pen, ops);
            pen.call(ts, op);
        }
    }
}

fn batch(pen: &mut Pen) {
    let surge = if pen.calendar().is_month_end(pen.day) { 2.5 } else { 1.0 };
    pen.circumstance = (surge > 1.0).then_some(Circumstance::MonthEnd);
    let weekend = if pen.calendar().is_working_day(pen.day) { 1.0 } else { 0.4 };
    for hour in pen.agent.schedule.clone() {
        if pen.random.chance(0.02) {
            continue;
        }
        let hour = hour + pen.random.within(0.0..0.08);
        pen.connect(hour);
        let mut ts = pen.at(hour);
        let key = pen.agent.key(&mut pen.random, pen.day);
        pen.call_on(ts, "describe", key);
        let pace = pen.random.lognormal(0.8, 0.5);
        for _ in 0..(35.0 * size(pen, 0.35) * surge * weekend) as usize {
            ts += pen.random.exponential(pace);
            pen.call_on(ts, "sign", key);
        }
    }
    pen.circumstance = None;
}

fn ci(pen: &mut Pen) {
    let working = pen.calendar().is_working_day(pen.day);
    let release = pen.organisation.projects[pen.agent.project].releases.contains(&pen.day);
    let owner = &pen.organisation.people[pen.agent.owner];
    let mean = 9.0 * size(pen, 0.3) * if working { 1.0 } else { 0.05 } * if release { 2.5 } else { 1.0 };
    let nightly = pen.agent.schedule[0] % 6.0;
    let mut hours = vec![nightly + pen.random.within(0.0..0.05)];
    for _ in 0..pen.random.poisson(mean) {
        let late = if release { 4.0 } else { 0.8 };
        hours.push(pen.random.within(owner.hours.start..owner.hours.end + late));
    }
    for hour in hours {
        pen.connect(hour);
        let mut ts = pen.at(hour);
        if pen.random.chance(0.04) {
            pen.circumstance = Some(Circumstance::MatrixBuild);
            matrix(pen, hour, ts);
            pen.circumstance = None;
            continue;
        }
        let jobs = pen.random.count(1..=4);
        for _ in 0..jobs {
            for _ in 0..pen.random.count(1..=3) {
                pen.call(ts, "decrypt");
                ts += pen.random.exponential(0.6);
            }
            ts += pen.random.exponential(30.0);
            for _ in 0..pen.random.count(0..=5) {
                pen.call(ts, "sign");
                ts += pen.random.exponential(0.8);
            }
            if pen.random.chance(0.3) {
                pen.call(ts, "verify");
            }
            // The next job may be on another runner.
            pen.connect(hour);
        }
    }
}

/// A build for many targets at once: as many runners sign in the same seconds.
fn matrix(pen: &mut Pen, hour: f64, start: f64) {
    for _ in 0..pen.random.count(8..=30) {
        pen.connect(hour);
        let mut ts = start + pen.random.within(0.0..20.0);
        pen.call(ts, "decrypt");
        for _ in 0..pen.random.count(1..=5) {
            ts += pen.random.exponential(0.7);
            pen.call(ts, "sign");
        }
    }
}

fn backup(pen: &mut Pen) {
    let night = pen.agent.schedule[0] % 6.0;
    let full = pen.calendar().weekday(pen.day) == 6;
    let count = (35.0 * size(pen, 0.12) * if full { 4.0 } else { 1.0 }) as usize;
    let mut hour = night + pen.random.within(0.0..0.1);
    if pen.random.chance(0.04) {
        // The first attempt breaks off, and somebody or something starts it again.
        nightly(pen, hour, count / 3);
        hour += pen.random.within(0.5..6.0);
    }
    nightly(pen, hour, count);
    if pen.day % 28 == pen.agent.every + 14 && pen.agent.lag < 2 {
        // Once a month it is tried whether a backup can be read; by a third of those who make some, as others hope.
        pen.circumstance = Some(Circumstance::RestoreTest);
        let mut ts = pen.at(10.0);
        for _ in 0..pen.random.count(5..=30) {
            pen.call(ts, "decrypt");
            ts += pen.random.exponential(5.0);
        }
        pen.circumstance = None;
    }
}

fn nightly(pen: &mut Pen, hour: f64, count: usize) {
    pen.connect(hour);
    let mut ts = pen.at(hour);
    for _ in 0..count {
        pen.call(ts, "generatedatakey");
        ts += pen.random.exponential(4.0);
        if pen.random.chance(0.3) {
            pen.call(ts, "encrypt");
        }
    }
}

fn etl(pen: &mut Pen) {
    let runs = 4 * pen.agent.schedule.len();
    let first = pen.agent.schedule[0];
    for run in 0..runs {
        let hour = (first + 24.0 * run as f64 / runs as f64) % 24.0 + pen.random.within(0.0..0.1);
        pen.connect(hour);
        let mut ts = pen.at(hour);
        pen.call(ts, "unwrap");
        for _ in 0..(9.0 * size(pen, 0.4)) as usize {
            ts += pen.random.exponential(6.0);
            let op = if pen.random.chance(0.6) { "decrypt" } else { "encrypt" };
            pen.call(ts, op);
        }
    }
}

fn monitor(pen: &mut Pen) {
    let keys = pen.agent.keys(pen.day);
    let probes = 24 * 4;
    for probe in 0..probes {
        let Some(key) = keys.get(probe % keys.len().max(1)) else { return };
        let ts = pen.at(24.0 * probe as f64 / probes as f64) + pen.random.within(0.0..20.0);
        pen.call_on(ts, "describe", *key);
        if pen.random.chance(0.15) {
            pen.call_on(ts + 1.0, "verify", *key);
        }
    }
}

fn close(pen: &mut Pen) {
    let keys = pen.agent.keys(pen.day);
    if pen.calendar().is_month_end(pen.day) {
        // All of its keys, most of them not seen since last month.
        pen.circumstance = Some(Circumstance::MonthEnd);
        let mut ts = pen.at(pen.agent.schedule[0]);
        for _ in 0..(120.0 * size(pen, 0.3)) as usize {
            pen.call(ts, "sign");
            ts += pen.random.exponential(8.0);
        }
    } else if pen.calendar().weekday(pen.day) == pen.agent.every % 5 {
        let mut ts = pen.at(pen.agent.schedule[0]);
        for _ in 0..pen.random.count(3..=12) {
            pen.call_on(ts, "sign", keys[0]);
            ts += pen.random.exponential(8.0);
        }
    }
    pen.circumstance = None;
}

fn orchestrate(pen: &mut Pen) {
    let working = pen.calendar().is_working_day(pen.day);
    let runs = pen.random.poisson(if working { 4.0 } else { 0.8 } * pen.agent.volume);
    for run in 0..runs {
        let hour = pen.random.within(7.0..20.0);
        pen.connect(hour);
        let ts = pen.at(hour);
        pen.call(ts, "describe");
        pen.call(ts + 1.0, "decrypt");
        for number in 0..pen.random.count(1..=5) {
            let mut worker = short_lived(pen, run, number);
            worker.uses.truncate(2);
            let start = ts + pen.random.exponential(60.0);
            work_briefly(&mut pen.below(&worker), start);
        }
        pen.call(ts + 900.0, "sign");
    }
}

/// An agent of its own for one task, gone in minutes.
fn short_lived(pen: &mut Pen, run: usize, number: usize) -> Agent {
    let mut worker = pen.agent.clone();
    worker.id = format!("{}/task-{:x}", pen.agent.id, (pen.day as usize * 100 + run) * 100 + number);
    worker.parent = Some(pen.agent.id.clone());
    worker.kind = Kind::Agent;
    worker.credential = 3600.0;
    worker
}

fn work_briefly(pen: &mut Pen, start: f64) {
    let mut ts = start;
    for _ in 0..pen.random.count(2..=12) {
        let op = if pen.random.chance(0.7) { "decrypt" } else { "sign" };
        pen.call(ts, op);
        ts += pen.random.exponential(15.0);
    }
}

fn rotate(pen: &mut Pen) {
    if !pen.day.is_multiple_of(pen.agent.every) {
        return;
    }
    let hour = pen.agent.schedule[0] + pen.random.within(0.0..0.1);
    pen.connect(hour);
    let mut ts = pen.at(hour);
    for (number, key) in pen.agent.keys(pen.day).into_iter().enumerate() {
        pen.call_on(ts, "describe", key);
        ts += pen.random.exponential(2.0);
        // Each key in its turn, so that many are rotated for the first time long after the job began.
        if (pen.day / pen.agent.every + number as u32).is_multiple_of(5) {
            pen.call_on(ts, "rotate", key);
            ts += pen.random.exponential(5.0);
        }
    }
}

fn appliance(pen: &mut Pen) {
    for _ in 0..pen.random.poisson(2.5 * pen.agent.volume) {
        let hour = pen.random.within(0.0..24.0);
        let ts = pen.at(hour);
        let op = if pen.random.chance(0.85) { "unwrap" } else { "wrap" };
        pen.call(ts, op);
    }
}

/// How much it is today, around 1.
fn size(pen: &mut Pen, sigma: f64) -> f64 {
    let grown = 1.0 + pen.agent.growth * f64::from(pen.day);
    pen.agent.volume * grown.max(0.1) * pen.random.lognormal(1.0, sigma)
}

pub(super) fn draw_op<'o>(pen: &mut Pen, ops: &[(&'o str, f64)]) -> &'o str {
    let weights: Vec<_> = ops.iter().map(|(_, weight)| *weight).collect();
    ops[pen.random.weighted(&weights)].0
}
