//! Audit records as sightings. Those of keys are ([`AuditRecord::is_sighted`]); what Aegis does by itself, and what no verified
//! principal asked for, says nothing of anybody's behaviour.

use super::watch::Subject;
use aegis_core::behaviour::template;
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
    /// Those that are alike: [`template`].
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
    let human = record.human.as_ref().filter(|_| record.is_sighted())?;
    let actor = record.agents.first().map_or_else(|| human.to_string(), ToString::to_string);
    let template = template(human, &record.agents, record.purpose);
    Some([StateId::Actor(actor), StateId::Fleet(human.to_string()), StateId::Template(template)])
}

/// The agents above the one who asked, the nearest first.
pub(super) fn above(record: &AuditRecord) -> impl Iterator<Item = StateId> {
    record.agents.iter().skip(1).map(|above| StateId::Actor(above.to_string()))
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
        of_human: record.agents.len() == 1,
    };
    let operation = record.operation.as_str();
    let s = Sighting {
        id: hash(record.id.as_str().as_bytes()),
        at: record.at.as_millisecond(),
        key: key(record).map_or(0, |key| hash(key.as_bytes())),
        operation: operation_hash(operation),
        class: Class::of(operation),
        network: record.source.map(Network::of).unwrap_or_default(),
        client: record.user_agent.as_ref().map_or(0, |text| client_hash(text)),
        outcome: seen(record),
        scope: 0,
    };
    Some((subject, s))
}

/// The key, where that says something of who did it.
pub fn key(record: &AuditRecord) -> Option<String> {
    let key = record.key.as_ref().map(ToString::to_string);
    let key = key.or_else(|| record.key_requested.as_ref().map(ToString::to_string));
    key.filter(|_| record.operation.is_of_own_keys(!record.agents.is_empty()))
}

/// How it ended, as far as behaviour is concerned.
pub fn seen(record: &AuditRecord) -> Seen {
    match (record.outcome, record.reason) {
        (Outcome::Ok, _) => Seen::Ok,
        (Outcome::Error, _) => Seen::Error,
        (Outcome::Denied, Some(Reason::ScopeViolation | Reason::ScopeProbe)) => Seen::Denied,
        (Outcome::Denied, _) => Seen::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::agent::Purpose;

    #[test]
    fn what_is_asked_with_a_credential_that_no_longer_stands_is_nobodys_behaviour() {
        let record: AuditRecord = serde_json::from_str(include_str!("../../samples/audit-record.json")).unwrap();
        let stands_no_more = [
            Reason::AgentFrozen,
            Reason::AgentRevoked,
            Reason::CredentialExpired,
            Reason::CredentialRevoked,
            Reason::HumanRevoked,
            Reason::InvalidToken,
        ];
        for reason in Reason::ALL {
            let record = AuditRecord { outcome: Outcome::Denied, reason: Some(reason), ..record.clone() };
            let told = [states(&record).is_some(), sighting(&record).is_some()];
            assert_eq!(told, [!stands_no_more.contains(&reason); 2], "{reason:?}");
        }
    }

    #[test]
    fn an_agent_is_like_those_of_its_human_and_purpose_or_those_below_the_same_agent() {
        let record: AuditRecord = serde_json::from_str(include_str!("../../samples/audit-record.json")).unwrap();
        let agent = |n: u8| format!("agt_{n:032x}").try_into().unwrap();
        let table = [
            (vec![], None, "template/alice@org", false),
            (vec![agent(1)], Some(Purpose::Service), "template/alice@org/service", true),
            (vec![agent(1)], Some(Purpose::Interactive), "template/alice@org/interactive", true),
            (vec![agent(1)], None, "template/alice@org", true),
            (vec![agent(2), agent(1)], Some(Purpose::Service), "template/agt_00000000000000000000000000000001", false),
        ];
        for (agents, purpose, path, of_human) in table {
            let record = AuditRecord { agents, purpose, ..record.clone() };
            let [_, _, template] = states(&record).unwrap();
            let (subject, _) = sighting(&record).unwrap();
            assert_eq!((template.path().as_str(), subject.of_human), (path, of_human), "{purpose:?}");
            assert_eq!(subject.template == 0, record.agents.is_empty());
        }
    }
}
