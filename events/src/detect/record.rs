//! Audit records as sightings. Only uses of keys are; what Aegis does by itself, and what no verified principal asked
//! for, says nothing of anybody's behaviour.

use super::watch::Subject;
use aegis_core::reason::Reason;
use aegis_core::record::{AuditRecord, Outcome};
use aegis_core::risk::sighting::{Class, Network, Seen, Sighting, client_hash, hash, hash_of_name, operation_hash};

/// Whose states a record touches, by their names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StateId {
    /// The agent, or the human, who asked.
    Actor(String),
    /// All agents of a human.
    Fleet(String),
    /// What all know of each other.
    Organisation,
    /// The agents directly below a human or an agent.
    Template(String),
}

impl StateId {
    /// A path that no other state has.
    pub fn path(&self) -> String {
        match self {
            Self::Actor(name) => format!("actor/{name}"),
            Self::Fleet(name) => format!("fleet/{name}"),
            Self::Organisation => "organisation".to_string(),
            Self::Template(name) => format!("template/{name}"),
        }
    }
}

/// Who a record is about: actor, fleet, template; `None` if it says nothing of behaviour.
pub fn states(record: &AuditRecord) -> Option<[StateId; 3]> {
    record.operation.action()?;
    let human = record.human.as_ref()?.to_string();
    let (actor, above) = match record.agents.as_slice() {
        [] => (human.clone(), human.clone()),
        [agent] => (agent.to_string(), human.clone()),
        [agent, above, ..] => (agent.to_string(), above.to_string()),
    };
    Some([StateId::Actor(actor), StateId::Fleet(human), StateId::Template(above)])
}

/// The subject and the sighting of a record.
pub fn sighting(record: &AuditRecord) -> Option<(Subject, Sighting)> {
    let [StateId::Actor(actor), StateId::Fleet(fleet), StateId::Template(template)] = states(record)? else {
        return None;
    };
    let human = record.agents.is_empty();
    let subject = Subject {
        actor: hash_of_name(&actor),
        human,
        fleet: hash_of_name(&fleet),
        template: if human { 0 } else { hash_of_name(&template) },
    };
    let key = record.key.as_ref().map(ToString::to_string);
    let key = key.or_else(|| record.key_requested.as_ref().map(ToString::to_string));
    let operation = record.operation.as_str();
    let s = Sighting {
        id: hash(record.id.as_str().as_bytes()),
        at: record.at.as_millisecond(),
        key: key.map_or(0, |key| hash(key.as_bytes())),
        operation: operation_hash(operation),
        class: Class::of(operation),
        network: record.source.map(Network::of).unwrap_or_default(),
        client: record.user_agent.as_ref().map_or(0, |text| client_hash(text)),
        outcome: match (record.outcome, record.reason) {
            (Outcome::Ok, _) => Seen::Ok,
            (Outcome::Error, _) => Seen::Error,
            (Outcome::Denied, Some(Reason::ScopeViolation | Reason::ScopeProbe)) => Seen::Denied,
            (Outcome::Denied, _) => Seen::Refused,
        },
        scope: 0,
    };
    Some((subject, s))
}
