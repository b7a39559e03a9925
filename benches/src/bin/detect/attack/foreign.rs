//! Attacks on keys that are not the actor's, or that he never touched.

use super::Victim;
use super::raid::Raid;

/// What an agent read has it go for keys of others, in the middle of its work.
pub(super) fn injection<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let agent = victim.agent?;
    let others: Vec<_> = (0..raid.organisation.keys.len())
        .filter(|key| !victim.uses(&raid.organisation.keys[*key].name) && !agent.spare.contains(key))
        .collect();
    let wanted = raid.random.sample(&others, 1..=5);
    // A grant that was made too wide lets some of it through.
    let refused = *raid.random.pick(&[1.0, 1.0, 1.0, 0.95, 0.9, 0.5]);
    let pause = raid.random.lognormal(4.0, 0.9);
    let usual = raid.random.chance(0.5);
    let mut ts = moment.ts + raid.random.exponential(15.0);
    for _ in 0..raid.random.count(3..=16) {
        let key = *wanted.get(raid.random.count(0..=wanted.len().max(1) - 1))?;
        let mut event = raid.like(moment, ts);
        if !usual {
            event.op = raid.random.pick(&["decrypt", "sign", "get", "describe", "generatedatakey"]).to_string();
        }
        event.outcome = raid.denied(refused);
        let event = raid.on_key(event, key);
        raid.strike(event);
        ts += raid.random.exponential(pause) + 0.2;
    }
    Some(())
}

/// Names of keys are tried, real ones and guessed ones.
pub(super) fn enumeration<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let elsewhere = raid.random.chance(0.3).then(|| raid.elsewhere());
    let pause = raid.random.lognormal(0.7, 1.2);
    let op = *raid.random.pick(&["describe", "get", "decrypt", "sign"]);
    let mut keys: Vec<_> = (0..raid.organisation.keys.len()).collect();
    raid.random.shuffle(&mut keys);
    keys.truncate(raid.random.count(10..=70));
    let mut ts = moment.ts + raid.random.exponential(60.0);
    for key in keys {
        if victim.uses(&raid.organisation.keys[key].name) {
            continue;
        }
        let event = raid.like(moment, ts);
        let mut event = raid.on_key(event, key);
        event.op = op.to_string();
        event.outcome = raid.denied(0.97);
        if raid.random.chance(0.3) {
            let (subject, number) =
                (raid.random.pick(&["prod", "root", "master", "admin", "backup"]), raid.random.count(1..=99));
            event.resource = Some(format!("{subject}-key-{number}"));
            event.outcome = aegis_events::replay::event::Outcome::Denied;
        }
        if let Some(elsewhere) = &elsewhere {
            event = raid.from(elsewhere, event);
        }
        raid.strike(event);
        ts += raid.random.exponential(pause);
    }
    Some(())
}

/// What may be used is looked over: describe, get, then decrypt or sign, on keys that never were; one key after the
/// other, or one operation after the other.
pub(super) fn probing<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment(victim)?;
    let pause = raid.random.lognormal(8.0, 1.0);
    let last = *raid.random.pick(&["decrypt", "sign", "get"]);
    let mut ts = moment.ts + raid.random.exponential(60.0);
    let (keys, ops) = (&victim.agent?.spare, ["describe", "get", last]);
    let mut calls: Vec<_> = keys.iter().flat_map(|key| ops.map(|op| (*key, op))).collect();
    if raid.random.chance(0.5) {
        calls.sort_by_key(|(_, op)| ops.iter().position(|known| known == op));
    }
    for (key, op) in calls {
        if raid.random.chance(0.7) {
            let event = raid.like(moment, ts);
            let mut event = raid.on_key(event, key);
            event.op = op.to_string();
            event.outcome = raid.denied(0.05);
            raid.strike(event);
            ts += raid.random.exponential(pause) + 0.1;
        }
    }
    Some(())
}

/// A sub-agent is made to use what is its parent's, or a sibling group's.
pub(super) fn deputy<'a>(raid: &mut Raid<'a>, victim: Victim<'a>) -> Option<()> {
    let moment = raid.moment_or_end(victim)?;
    let organisation = raid.organisation;
    let above = organisation.agents.iter().find(|agent| Some(&agent.id) == moment.parent.as_ref())?;
    let parents = raid.random.chance(0.6);
    let keys: Vec<_> = match parents {
        true => above.uses.iter().map(|used| used.key).chain(above.spare.iter().copied()).collect(),
        false => organisation
            .agents
            .iter()
            .filter(|agent| agent.owner == above.owner && agent.project != above.project)
            .flat_map(|agent| agent.uses.iter().map(|used| used.key))
            .collect(),
    };
    let keys: Vec<_> = keys.into_iter().filter(|key| !victim.uses(&organisation.keys[*key].name)).collect();
    let refused = if parents { 0.25 } else { 0.7 };
    let pause = raid.random.lognormal(5.0, 1.0);
    let mut ts = moment.ts + raid.random.exponential(10.0);
    for _ in 0..raid.random.count(4..=25) {
        let key = *keys.get(raid.random.count(0..=keys.len().max(1) - 1))?;
        let event = raid.like(moment, ts);
        let mut event = raid.on_key(event, key);
        event.op = raid.random.pick(&["decrypt", "decrypt", "sign", "get"]).to_string();
        event.outcome = raid.denied(refused);
        raid.strike(event);
        ts += raid.random.exponential(pause) + 0.1;
    }
    Some(())
}
