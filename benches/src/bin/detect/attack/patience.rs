//! Attacks that take their time: what shows is how much, not what.

use super::Victim;
use super::raid::Raid;
use crate::fleet::calendar::{DAY, HOUR};

/// A day, or two, of more reading than usual; spread as the agent's own work is, or evenly.
pub(super) fn exfiltration<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let excess = raid.random.within(0.6..1.6);
    let days = f64::from(raid.random.day(1..3));
    let (from, until) = (moment.ts, moment.ts + days * DAY);
    let with_the_work = raid.random.chance(0.5);
    let daily = victim.daily();
    if with_the_work {
        for own in victim.between(from, until) {
            more_of(raid, own, excess, 900.0);
        }
    } else {
        let hours = raid.random.within(8.0..24.0);
        let count = (daily * excess) as usize;
        let mut ts = from;
        for _ in 0..count {
            let event = raid.again(victim, ts);
            raid.strike(event);
            ts += raid.random.exponential(hours * HOUR / count as f64);
        }
    }
    (raid.staged.len() >= 20).then_some(())
}

/// Agents of one human, each a little busier than usual in the same hours.
pub(super) fn concert<'a>(raid: &mut Raid<'a>, victims: &[Victim<'a>]) -> Option<()> {
    let moment = raid.moment(*victims.first()?)?;
    let until = moment.ts + raid.random.within(1.0..5.0) * HOUR;
    let mut joined = 0;
    for victim in victims {
        let before = raid.staged.len();
        let excess = raid.random.within(0.4..1.0);
        for own in victim.between(moment.ts, until) {
            more_of(raid, own, excess, 120.0);
        }
        joined += usize::from(raid.staged.len() >= before + 3);
    }
    (joined >= 3).then_some(())
}

/// Days in which little more happens each day, so that it becomes usual; then the attack.
pub(super) fn poisoning<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let agent = victim.agent?;
    let days = raid.random.count(3..=6);
    let start = raid.moment(victim)?;
    let last = raid.organisation.calendar.end() - 2.0 * DAY;
    let end = start.ts + days as f64 * DAY;
    if end > last {
        return None;
    }
    let way = raid.random.count(0..=2);
    let elsewhere = raid.elsewhere();
    let keys = &agent.spare;
    for day in 0..days {
        let from = start.ts + day as f64 * DAY;
        let today = victim.between(from, from + DAY);
        match way {
            // More each day.
            0 => {
                for own in today {
                    if raid.random.chance(0.2 * (day + 1) as f64) {
                        let ts = own.ts + raid.random.within(0.0..600.0);
                        let event = raid.like(own, ts);
                        raid.prepare(event);
                    }
                }
            }
            // Another key of its scope each day, once or twice.
            1 => {
                for own in raid.random.sample(today, 2..=2) {
                    let event = raid.like(own, own.ts + 2.0);
                    let event = raid.on_key(event, keys[day % keys.len()]);
                    raid.prepare(event);
                }
            }
            // One call each day from where the attack will come.
            _ => {
                for own in raid.random.sample(today, 1..=1) {
                    let event = raid.like(own, own.ts + 2.0);
                    let event = raid.from(&elsewhere, event);
                    raid.prepare(event);
                }
            }
        }
    }
    let pause = raid.random.lognormal(2.0, 0.8);
    let mut ts = end + raid.random.within(0.0..0.5) * DAY;
    for _ in 0..raid.random.count(30..=200) {
        let mut event = raid.again(victim, ts);
        if way != 0 || raid.random.chance(0.3) {
            let key = *raid.random.pick(keys);
            event = raid.on_key(event, key);
        }
        if way == 2 {
            event = raid.from(&elsewhere, event);
        }
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}

/// One more like this one, or two, in proportion.
fn more_of(raid: &mut Raid, own: &aegis_events::replay::event::Event, excess: f64, within: f64) {
    let mut left = excess;
    while raid.random.chance(left) {
        let ts = own.ts + raid.random.within(0.0..within);
        let event = raid.like(own, ts);
        raid.strike(event);
        left -= 1.0;
    }
}
