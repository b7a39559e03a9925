//! Our own audit records as replay events: those that detection in the server looks at.

use super::event::{Event, Kind, Outcome};
use aegis_core::record::AuditRecord;
use aegis_core::risk::sighting::Seen;

/// The event a record stands for, if it tells of somebody's behaviour.
pub fn event(record: &AuditRecord) -> Option<Event> {
    let human = record.human.as_ref().filter(|_| record.is_sighted())?.to_string();
    let (actor, kind, parent) = match record.agents.as_slice() {
        [] => (human, Kind::Human, None),
        [agent] => (agent.to_string(), Kind::Agent, Some(human)),
        [agent, above, ..] => (agent.to_string(), Kind::Agent, Some(above.to_string())),
    };
    Some(Event {
        ts: record.at.as_duration().as_secs_f64(),
        actor,
        kind,
        parent,
        source_ip: record.source.map(|source| source.to_string()),
        op: record.operation.as_str().to_string(),
        resource: crate::detect::key(record),
        user_agent: record.user_agent.clone(),
        outcome: match crate::detect::seen(record) {
            Seen::Denied => Outcome::Denied,
            Seen::Error => Outcome::Error,
            Seen::Ok => Outcome::Ok,
            Seen::Refused => Outcome::Refused,
        },
        env: None,
        plane: None,
        cred_age: None,
        scope: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detect, replay::engine};
    use aegis_core::operation::Operation;
    use aegis_core::reason::Reason;
    use aegis_core::record::{self, Plane};
    use aegis_core::risk::sighting::{Class, Sighting};
    use std::collections::BTreeSet;

    /// Whatever was done, by whom, and however it ended.
    #[test]
    fn a_replay_of_our_own_export_sees_what_the_server_saw() {
        let sample: AuditRecord = serde_json::from_str(include_str!("../../samples/audit-record.json")).unwrap();
        let ends = [
            (record::Outcome::Ok, None),
            (record::Outcome::Error, None),
            (record::Outcome::Denied, Some(Reason::ScopeViolation)),
            (record::Outcome::Denied, Some(Reason::StaleLogin)),
        ];
        let mut seen = BTreeSet::new();
        for operation in Operation::ALL.iter().copied() {
            for (outcome, reason) in ends {
                for (plane, agents, key_requested) in [
                    (Plane::Rest, sample.agents.clone(), sample.key_requested.clone()),
                    (Plane::Mcp, sample.agents.clone(), None),
                    (Plane::Rest, Vec::new(), sample.key_requested.clone()),
                    (Plane::Internal, Vec::new(), None),
                ] {
                    let by_agent = !agents.is_empty();
                    let record =
                        AuditRecord { operation, outcome, reason, plane, agents, key_requested, ..sample.clone() };
                    let here = detect::sighting(&record).map(|(_, s)| s);
                    let there = event(&record).map(|event| engine::sighting(&event, 0));
                    let there = here.zip(there).map(|(here, there)| Sighting { id: here.id, ..there });
                    assert_eq!(here, there, "{operation} {outcome:?} {plane:?}");
                    assert_eq!(here.is_some(), event(&record).is_some(), "{operation} {outcome:?} {plane:?}");
                    seen.extend(here.map(|_| (operation, by_agent)));
                }
            }
        }
        let by_agents_alone = Operation::ALL.iter().filter(|operation| !seen.contains(&(**operation, false)));
        let by_agents_alone: Vec<_> = by_agents_alone.filter(|operation| seen.contains(&(**operation, true))).collect();
        assert_eq!(by_agents_alone, [&Operation::KeyGet]);
        let governs = |operation: &Operation| Class::of(operation.as_str()) == Class::Govern;
        let govern =
            Operation::ALL.iter().filter(|operation| seen.contains(&(**operation, false)) && governs(operation));
        assert_eq!((seen.len(), govern.count()), (2 * 18 + 1, 8));
        assert_eq!(Class::of(Operation::KeyGet.as_str()), Class::Look);
    }

    #[test]
    fn a_record_is_the_event_it_tells_of() {
        let record = include_str!("../../samples/audit-record.json");
        let event = event(&serde_json::from_str(record).unwrap()).unwrap();
        assert_eq!(event.actor, "agt_01a2089d933561f40ee93650afb9a27f");
        assert_eq!((event.parent.as_deref(), event.kind), (Some("alice@org"), Kind::Agent));
        assert_eq!((event.op.as_str(), event.outcome), ("key.sign", Outcome::Denied));
    }
}
