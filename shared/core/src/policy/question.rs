//! A question to policy, as plain data: all that Cedar is told, and nothing else. Two questions of the same words are the
//! same question.

use super::{AgentFacts, ApprovalFacts, Principal, Resource, Standing};
use crate::error::Cause;
use crate::key::{Environment, Key, Tier};
use crate::operation::Operation;
use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

#[derive(Hash)]
pub(super) struct Question<'a> {
    asking: Uid<'a>,
    operation: Operation,
    target: Uid<'a>,
    standing: Standing,
    entities: Vec<Described<'a>>,
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Uid<'a> {
    kind: Kind,
    id: &'a str,
}

#[derive(Hash)]
struct Described<'a> {
    uid: Uid<'a>,
    parents: Vec<Uid<'a>>,
    attributes: Vec<(&'static str, Value<'a>)>,
}

#[derive(Hash)]
enum Value<'a> {
    Reference(Uid<'a>),
    Text(&'a str),
    Texts(Vec<&'a str>),
}

impl<'a> Question<'a> {
    pub(super) fn new(
        principal: &Principal<'a>,
        operation: Operation,
        resource: &Resource<'a>,
        standing: Standing,
    ) -> Self {
        let human = Kind::Human.uid(principal.human.as_str());
        let roles = principal.roles.iter().map(|role| Kind::Role.uid(role.as_str())).collect();
        let mut entities = vec![Described { uid: human, parents: roles, attributes: Vec::new() }];
        // A thing may be both who asks and what is asked about, and is described once.
        let mut add = |described: Described<'a>| {
            let uid = described.uid;
            if entities.iter().all(|known| known.uid != uid) {
                entities.push(described);
            }
            uid
        };
        let asking = match &principal.agent {
            None => human,
            Some(agent) => add(described_agent(agent)),
        };
        let target = match resource {
            Resource::Deployment => Kind::Deployment.uid("deployment"),
            Resource::Human(id) => Kind::Human.uid(id.as_str()),
            Resource::Agent(agent) => add(described_agent(agent)),
            Resource::Approval(approval) => add(described_approval(approval)),
            Resource::Credential { id, human, agent } => {
                let human = ("human", Value::Reference(Kind::Human.uid(human.as_str())));
                let agent = agent.map(|agent| ("agent", Value::Reference(Kind::Agent.uid(agent.as_str()))));
                let attributes = [human].into_iter().chain(agent).collect();
                add(Described { uid: Kind::Credential.uid(id.as_str()), parents: Vec::new(), attributes })
            }
            Resource::Key(key) => add(described_key(key)),
        };
        Self { asking, operation, target, standing, entities }
    }

    /// The question written out. What is hashed is prefix-free: each text ends with a byte that no text has, each list
    /// begins with its length. So other questions have other words.
    pub(super) fn words(&self) -> Vec<u8> {
        let mut words = Words(Vec::with_capacity(WORDS));
        self.hash(&mut words);
        words.0
    }

    /// As Cedar takes it. `actions` are the schema's, each with the groups it is in.
    pub(super) fn cedar(&self, actions: &HashMap<EntityUid, Entity>) -> Result<(Request, Entities), Cause> {
        let action = Kind::Action.uid(self.operation.as_str()).cedar();
        let described = self.entities.iter().map(Described::cedar).collect::<Result<Vec<Entity>, Cause>>()?;
        let entities = described.into_iter().chain(actions.get(&action).cloned());
        let context = Context::from_pairs([
            ("in_scope".to_string(), RestrictedExpression::new_bool(self.standing.in_scope)),
            ("in_window".to_string(), RestrictedExpression::new_bool(self.standing.in_window)),
            ("may_delegate".to_string(), RestrictedExpression::new_bool(self.standing.may_delegate)),
            ("may_create_keys".to_string(), RestrictedExpression::new_bool(self.standing.may_create_keys)),
            ("may_audit".to_string(), RestrictedExpression::new_bool(self.standing.may_audit)),
        ])?;
        let request = Request::new(self.asking.cedar(), action, self.target.cedar(), context, None)?;
        Ok((request, Entities::from_entities(entities, None)?))
    }
}

fn described_agent<'a>(agent: &AgentFacts<'a>) -> Described<'a> {
    let attributes = [
        ("sponsor", Value::Reference(Kind::Human.uid(agent.sponsor.as_str()))),
        ("purpose", Value::Text(agent.purpose.as_str())),
    ];
    let parent = agent.parent.map(|parent| ("parent", Value::Reference(Kind::Agent.uid(parent.as_str()))));
    Described {
        uid: Kind::Agent.uid(agent.id.as_str()),
        parents: Vec::new(),
        attributes: attributes.into_iter().chain(parent).collect(),
    }
}

fn described_approval<'a>(approval: &ApprovalFacts<'a>) -> Described<'a> {
    let attributes = [
        ("agent", Value::Reference(Kind::Agent.uid(approval.agent.as_str()))),
        ("sponsor", Value::Reference(Kind::Human.uid(approval.sponsor.as_str()))),
        ("operation", Value::Text(approval.operation.as_str())),
    ];
    let tier = approval.tier.map(|tier| ("tier", Value::Text(tier_word(tier))));
    Described {
        uid: Kind::Approval.uid(approval.id.as_str()),
        parents: Vec::new(),
        attributes: attributes.into_iter().chain(tier).collect(),
    }
}

fn tier_word(tier: Tier) -> &'static str {
    match tier {
        Tier::High => "high",
        Tier::Standard => "standard",
    }
}

fn described_key(key: &Key) -> Described<'_> {
    let environment = match key.environment {
        Environment::Development => "development",
        Environment::Production => "production",
        Environment::Staging => "staging",
    };
    let attributes = vec![
        ("algorithm", Value::Text(key.algorithm.as_str())),
        ("environment", Value::Text(environment)),
        ("labels", Value::Texts(key.labels.iter().map(|label| label.as_str()).collect())),
        ("state", Value::Text(key.state.as_str())),
        ("tier", Value::Text(tier_word(key.tier))),
    ];
    Described { uid: Kind::Key.uid(key.id.as_str()), parents: Vec::new(), attributes }
}

impl Uid<'_> {
    fn cedar(self) -> EntityUid {
        EntityUid::from_type_name_and_id(self.kind.cedar().clone(), EntityId::new(self.id))
    }
}

impl Described<'_> {
    fn cedar(&self) -> Result<Entity, Cause> {
        let parents: HashSet<EntityUid> = self.parents.iter().map(|parent| parent.cedar()).collect();
        let attributes = self.attributes.iter().map(|(name, value)| (name.to_string(), value.cedar())).collect();
        Ok(Entity::new(self.uid.cedar(), attributes, parents)?)
    }
}

impl Value<'_> {
    fn cedar(&self) -> RestrictedExpression {
        let text = |text: &str| RestrictedExpression::new_string(text.to_string());
        match self {
            Self::Reference(uid) => RestrictedExpression::new_entity_uid(uid.cedar()),
            Self::Text(value) => text(value),
            Self::Texts(values) => RestrictedExpression::new_set(values.iter().map(|value| text(value))),
        }
    }
}

/// Keeps what it is given to hash.
struct Words(Vec<u8>);

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks.
    fn finish(&self) -> u64 {
        0
    }
}

/// What the words of a use of a key by an agent take, and some more.
const WORDS: usize = 768;

macro_rules! kinds {
    ($($kind:ident)*) => {
        #[derive(Clone, Copy, Eq, Hash, PartialEq)]
        enum Kind {
            $($kind,)*
        }

        impl Kind {
            fn uid(self, id: &str) -> Uid<'_> {
                Uid { kind: self, id }
            }

            /// The names are constants of the schema; the tests of policy read all.
            fn cedar(self) -> &'static EntityTypeName {
                match self {
                    $(Self::$kind => {
                        static NAME: LazyLock<EntityTypeName> =
                            LazyLock::new(|| stringify!($kind).parse().expect("a type name"));
                        &NAME
                    })*
                }
            }
        }
    };
}

kinds! { Action Agent Approval Credential Deployment Human Key Role }
