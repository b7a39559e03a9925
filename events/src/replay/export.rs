//! Our own audit records as replay events. Only uses of keys are; the rest of the record says nothing of behaviour.

use super::event::{Event, Kind, Outcome};
use aegis_core::record::{self, AuditRecord};

/// The event a record stands for, if it is of a key and of somebody.
pub fn event(record: &AuditRecord) -> Option<Event> {
    let human = record.human.as_ref()?.to_string();
    let key = record.key.as_ref().map(ToString::to_string);
    let resource = key.or_else(|| record.key_requested.as_ref().map(ToString::to_string));
    resource.as_ref()?;
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
        resource,
        user_agent: record.user_agent.clone(),
        outcome: match record.outcome {
            record::Outcome::Denied => Outcome::Denied,
            record::Outcome::Error => Outcome::Error,
            record::Outcome::Ok => Outcome::Ok,
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

    #[test]
    fn a_record_is_the_event_it_tells_of() {
        let record = include_str!("../../samples/audit-record.json");
        let event = event(&serde_json::from_str(record).unwrap()).unwrap();
        assert_eq!(event.actor, "agt_01a2089d933561f40ee93650afb9a27f");
        assert_eq!((event.parent.as_deref(), event.kind), (Some("alice@org"), Kind::Agent));
        assert_eq!((event.op.as_str(), event.outcome), ("key.sign", Outcome::Denied));
    }
}
