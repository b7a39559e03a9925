//! Attacks with a credential that left its owner.

use super::Victim;
use super::raid::Raid;
use crate::fleet::calendar::{DAY, HOUR};

/// A credential is used from another network, for what it is always used for, a few times an hour.
pub(super) fn theft<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let elsewhere = raid.elsewhere();
    let count = raid.random.count(5..=40);
    let pause = raid.random.within(1.0..12.0) * HOUR / count as f64;
    let mut ts = moment.ts + raid.random.within(0.0..DAY);
    for _ in 0..count {
        let event = raid.again(victim, ts);
        let event = raid.from(&elsewhere, event);
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}

/// One credential in two places at once: while the owner works, somebody else does.
pub(super) fn sharing<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let elsewhere = raid.elsewhere();
    let count = raid.random.count(10..=60);
    let pause = raid.random.within(3.0..60.0);
    let mut ts = moment.ts + raid.random.exponential(5.0);
    for _ in 0..count {
        let event = raid.again(victim, ts);
        let event = raid.from(&elsewhere, event);
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}

/// 80 signatures a second, for as long as it lasts.
pub(super) fn burst<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let elsewhere = raid.random.chance(0.5).then(|| raid.elsewhere());
    // In the middle of work, or in the night after.
    let mut ts = moment.ts + if raid.random.chance(0.5) { 1.0 } else { raid.random.within(0.0..DAY) };
    let end = ts + raid.random.within(10.0..60.0);
    let usual = raid.lately(victim, ts);
    let op = if victim.life.iter().any(|event| event.op == "sign") { "sign" } else { usual.op.as_str() };
    while ts < end {
        let mut event = raid.like(usual, ts);
        event.op = op.to_string();
        if let Some(elsewhere) = &elsewhere {
            event = raid.from(elsewhere, event);
        }
        raid.strike(event);
        ts += raid.random.exponential(1.0 / 80.0);
    }
    Some(())
}
