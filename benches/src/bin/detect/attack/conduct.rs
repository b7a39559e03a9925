//! Attacks that show in what is done or when, and nowhere else.

use super::Victim;
use super::raid::Raid;
use crate::fleet::calendar::HOUR;

/// Another operation than this actor ever asked for, on its own keys: a signer decrypts, a reader wraps.
pub(super) fn op_switch<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let known = |op: &str| victim.life.iter().any(|event| event.op == op);
    let ops = ["decrypt", "sign", "encrypt", "unwrap", "wrap", "generatedatakey", "rotate"];
    let new: Vec<_> = ops.into_iter().filter(|op| !known(op)).collect();
    let chosen = raid.random.sample(&new, 1..=2);
    let pause = raid.random.lognormal(6.0, 1.1);
    let refused = *raid.random.pick(&[0.0, 0.0, 0.3, 0.9]);
    let mut ts = moment.ts + raid.random.exponential(60.0);
    for _ in 0..raid.random.count(3..=30) {
        let mut event = raid.again(victim, ts);
        event.source_ip.clone_from(&moment.source_ip);
        event.user_agent.clone_from(&moment.user_agent);
        event.op = chosen.get(raid.random.count(0..=chosen.len().max(1) - 1))?.to_string();
        event.outcome = raid.denied(refused);
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}

/// A human's credential in the small hours of a night on which he is not on call; mostly from his own machine.
pub(super) fn off_hours<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let (calendar, zones) = (&raid.organisation.calendar, &raid.organisation.zones);
    let person = raid.organisation.people.iter().find(|person| person.id == victim.id)?;
    let today = calendar.day(moment.ts);
    let night =
        (today..today + 2).find(|night| !person.on_call[*night as usize] && !person.on_call[*night as usize - 1])?;
    let hour = raid.random.within(0.3..4.5);
    let elsewhere = raid.random.chance(0.3).then(|| raid.elsewhere());
    let pause = raid.random.lognormal(60.0, 0.8);
    let mut ts = person.when(zones, calendar, night, 0.0) + hour * HOUR;
    let usual = raid.lately(victim, ts);
    for _ in 0..raid.random.count(3..=15) {
        let mut event = raid.again(victim, ts);
        event.source_ip.clone_from(&usual.source_ip);
        event.user_agent.clone_from(&usual.user_agent);
        if let Some(elsewhere) = &elsewhere {
            event = raid.from(elsewhere, event);
        }
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}
