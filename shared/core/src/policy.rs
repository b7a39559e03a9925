//! Policy: what roles give and what the floor forbids, in Cedar. Grants are facts handed in, not policies, so a decision
//! costs the same however many agents there are.

use crate::deployment::PolicyDocument;
use crate::error::{Cause, Error};
use crate::human::Role;
use crate::id::{AgentId, CredentialId};
use crate::key::Key;
use crate::name::HumanId;
use crate::operation::Operation;
use crate::reason::Reason;
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

/// The policies a new deployment begins with.
pub const FIRST_POLICY: &str = include_str!("policy.cedar");
/// The number of [`FIRST_POLICY`]: one more with each change of it, so that deployments which began with an earlier one
/// follow at their next start.
pub const BUILT_IN: u32 = 1;
const SCHEMA: &str = include_str!("policy.cedarschema");

/// Who asks.
#[derive(Clone, Debug)]
pub struct Principal<'a> {
    pub human: &'a HumanId,
    pub roles: &'a BTreeSet<Role>,
    /// Set where an agent asks, with its purpose and its parent.
    pub agent: Option<AgentFacts<'a>>,
}

/// An agent, as policy sees one.
#[derive(Clone, Debug)]
pub struct AgentFacts<'a> {
    pub id: &'a AgentId,
    pub sponsor: &'a HumanId,
    pub purpose: crate::agent::Purpose,
    pub parent: Option<&'a AgentId>,
}

/// What is acted upon.
#[derive(Clone, Debug)]
pub enum Resource<'a> {
    Agent(AgentFacts<'a>),
    Credential { id: &'a CredentialId, human: &'a HumanId, agent: Option<&'a AgentId> },
    Deployment,
    Human(&'a HumanId),
    Key(&'a Key),
}

/// Where an agent's credential and grants stand to the request. All true for a human, who has no grant.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub in_scope: bool,
    pub in_window: bool,
    pub may_delegate: bool,
}

/// One version of the policies, ready to decide.
#[derive(Debug)]
pub struct Policies {
    pub version: u32,
    set: PolicySet,
    reasons: HashMap<PolicyId, Reason>,
    /// The actions, each with the groups it is in.
    actions: HashMap<EntityUid, Entity>,
}

impl Policies {
    /// Parses and strictly validates policies.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what Cedar says of them.
    pub fn compile(document: &PolicyDocument) -> Result<Self, Error> {
        let refuse = |what: String| Error::Invalid { field: "policy", source: what.into() };
        let set: PolicySet = document.cedar.parse().map_err(|error| Error::invalid("policy", Cause::from(error)))?;
        let schema = schema()?;
        let actions = schema.action_entities().map_err(|error| Error::invalid("policy schema", Cause::from(error)))?;
        let actions = actions.iter().map(|action| (action.uid(), action.clone())).collect();
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(refuse(error.to_string()));
        }
        let reason = |text: &str| serde_json::from_value(serde_json::Value::from(text)).unwrap_or(Reason::Policy);
        let reasons = set
            .policies()
            .map(|policy| (policy.id().clone(), policy.annotation("id").map_or(Reason::Policy, reason)))
            .collect();
        Ok(Self { version: document.version, set, reasons, actions })
    }

    /// Whether `principal` may do `operation` on `resource`; if not, the gravest reason.
    ///
    /// # Errors
    /// [`Reason`]: of the forbidding policy, or [`Reason::Policy`] where nothing permits it or a policy fails.
    pub fn decide(
        &self,
        principal: &Principal<'_>,
        operation: Operation,
        resource: &Resource<'_>,
        standing: Standing,
    ) -> Result<(), Reason> {
        let (request, entities) = self.request(principal, operation, resource, standing).map_err(|error| {
            tracing::error!(error = %error, "policy request not built");
            Reason::Policy
        })?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let failed = response.diagnostics().errors().next().is_some();
        match response.decision() {
            // A policy that fails is skipped by Cedar; a forbid that was skipped must not open the door.
            cedar_policy::Decision::Allow if !failed => Ok(()),
            _ => {
                let reasons = response.diagnostics().reason().filter_map(|id| self.reasons.get(id).copied());
                Err(reasons.min_by_key(|reason| gravity(*reason)).unwrap_or(Reason::Policy))
            }
        }
    }

    fn request(
        &self,
        principal: &Principal<'_>,
        operation: Operation,
        resource: &Resource<'_>,
        standing: Standing,
    ) -> Result<(Request, Entities), Cause> {
        let action = uid(&ACTION, operation.as_str());
        let mut entities = HashMap::new();
        let mut add = |entity: Entity| {
            entities.entry(entity.uid()).or_insert(entity);
        };
        if let Some(entity) = self.actions.get(&action) {
            add(entity.clone());
        }
        let human = uid(&HUMAN, principal.human.as_str());
        let roles = principal.roles.iter().map(|role| uid(&ROLE, role.as_str())).collect();
        add(Entity::new_no_attrs(human.clone(), roles));
        let asking = match &principal.agent {
            None => human,
            Some(agent) => {
                add(agent_entity(agent)?);
                uid(&AGENT, agent.id.as_str())
            }
        };
        let target = match resource {
            Resource::Deployment => uid(&DEPLOYMENT, "deployment"),
            Resource::Human(id) => uid(&HUMAN, id.as_str()),
            Resource::Agent(agent) => {
                add(agent_entity(agent)?);
                uid(&AGENT, agent.id.as_str())
            }
            Resource::Credential { id, human, agent } => {
                let human = ("human".to_string(), reference(&HUMAN, human.as_str()));
                let agent = agent.map(|agent| ("agent".to_string(), reference(&AGENT, agent.as_str())));
                let uid = uid(&CREDENTIAL, id.as_str());
                add(Entity::new(uid.clone(), [human].into_iter().chain(agent).collect(), HashSet::new())?);
                uid
            }
            Resource::Key(key) => {
                add(key_entity(key)?);
                uid(&KEY, key.id.as_str())
            }
        };
        let context = Context::from_pairs([
            ("in_scope".to_string(), RestrictedExpression::new_bool(standing.in_scope)),
            ("in_window".to_string(), RestrictedExpression::new_bool(standing.in_window)),
            ("may_delegate".to_string(), RestrictedExpression::new_bool(standing.may_delegate)),
        ])?;
        let request = Request::new(asking, action, target, context, None)?;
        Ok((request, Entities::from_entities(entities.into_values(), None)?))
    }
}

/// Lower is told first, where several policies forbid.
fn gravity(reason: Reason) -> u8 {
    match reason {
        Reason::ScopeViolation => 0,
        Reason::OutsideWindow => 1,
        Reason::SponsorNotPermitted => 2,
        Reason::DelegationNotGranted => 3,
        _ => 4,
    }
}

fn schema() -> Result<Schema, Error> {
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| Error::invalid("policy schema", Cause::from(error)))?;
    Ok(schema)
}

fn agent_entity(agent: &AgentFacts<'_>) -> Result<Entity, Cause> {
    let purpose = match agent.purpose {
        crate::agent::Purpose::Appliance => "appliance",
        crate::agent::Purpose::Interactive => "interactive",
        crate::agent::Purpose::Service => "service",
    };
    let attributes = [
        ("sponsor".to_string(), reference(&HUMAN, agent.sponsor.as_str())),
        ("purpose".to_string(), RestrictedExpression::new_string(purpose.to_string())),
    ];
    let parent = agent.parent.map(|parent| ("parent".to_string(), reference(&AGENT, parent.as_str())));
    let attributes = attributes.into_iter().chain(parent).collect();
    Ok(Entity::new(uid(&AGENT, agent.id.as_str()), attributes, HashSet::new())?)
}

fn key_entity(key: &Key) -> Result<Entity, Cause> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_string());
    let environment = match key.environment {
        crate::key::Environment::Development => "development",
        crate::key::Environment::Production => "production",
        crate::key::Environment::Staging => "staging",
    };
    let tier = match key.tier {
        crate::key::Tier::High => "high",
        crate::key::Tier::Standard => "standard",
    };
    let labels = RestrictedExpression::new_set(key.labels.iter().map(|label| text(label.as_str())));
    let attributes = [
        ("algorithm".to_string(), text(key.algorithm.as_str())),
        ("environment".to_string(), text(environment)),
        ("labels".to_string(), labels),
        ("state".to_string(), text(key.state.as_str())),
        ("tier".to_string(), text(tier)),
    ];
    Ok(Entity::new(uid(&KEY, key.id.as_str()), attributes.into_iter().collect(), HashSet::new())?)
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn reference(kind: &EntityTypeName, id: &str) -> RestrictedExpression {
    RestrictedExpression::new_entity_uid(uid(kind, id))
}

macro_rules! entity_types {
    ($($name:ident $text:literal)*) => {
        $(static $name: LazyLock<EntityTypeName> = LazyLock::new(|| entity_type($text));)*
    };
}

entity_types! {
    ACTION "Action"
    AGENT "Agent"
    CREDENTIAL "Credential"
    DEPLOYMENT "Deployment"
    HUMAN "Human"
    KEY "Key"
    ROLE "Role"
}

#[expect(clippy::expect_used, reason = "the names are constants of the schema; every test of this module reads them")]
fn entity_type(name: &str) -> EntityTypeName {
    name.parse().expect("a type name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Purpose;
    use crate::ambient::Timestamp;
    use crate::key::KeyState;
    use crate::key::tests::a_key;

    #[test]
    fn the_first_policy_is_strictly_valid_and_every_operation_is_an_action_of_the_schema() {
        let policies = policies();
        assert!(policies.set.policies().all(|policy| policy.annotation("id").is_some()));
        for operation in Operation::ALL {
            let named = SCHEMA.contains(&format!("\"{operation}\""));
            let outside = matches!(operation, Operation::HumanEnrol | Operation::HumanLogin | Operation::Unidentified)
                || matches!(operation, Operation::DeploymentRestore | Operation::PolicyUpgrade);
            assert_eq!(named, !outside, "{operation}");
        }
    }

    /// Where this fails, raise the number and put the new digest here.
    #[test]
    fn policies_of_another_text_have_another_number() {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, FIRST_POLICY.as_bytes());
        let digest = crate::encoding::hex(digest.as_ref());
        assert_eq!(
            (BUILT_IN, digest.as_str()),
            (1, "7a02c576fa94cff013eb20e7276810f00f2997cc5d5c4dffca2e2f9b85a3599f")
        );
    }

    #[test]
    fn a_policy_that_does_not_fit_the_schema_is_refused() {
        let document = |cedar: &str| PolicyDocument {
            version: 2,
            cedar: cedar.into(),
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "alice@org".into(),
            built_in: None,
        };
        for cedar in ["permit", "permit (principal, action, resource) when { resource.colour == 1 };"] {
            assert!(matches!(Policies::compile(&document(cedar)), Err(Error::Invalid { .. })), "{cedar}");
        }
    }

    #[test]
    fn what_each_role_may_do() {
        use Operation::{AgentIssue, AuditGet, HumanRevoke, KeyCreate, KeyDestroy, KeyGet, KeySign};
        let key = a_key("invoice-2026");
        let bob: HumanId = "bob@org".parse().unwrap();
        let on_key = || Resource::Key(&key);
        let table = [
            (Role::User, KeySign, on_key(), true),
            (Role::User, KeyGet, on_key(), true),
            (Role::User, KeyDestroy, on_key(), false),
            (Role::User, KeyCreate, Resource::Deployment, false),
            (Role::User, AgentIssue, Resource::Deployment, true),
            (Role::User, HumanRevoke, Resource::Human(&bob), false),
            (Role::User, AuditGet, Resource::Deployment, false),
            (Role::Operator, KeySign, on_key(), false),
            (Role::Operator, KeyCreate, Resource::Deployment, true),
            (Role::Operator, KeyDestroy, on_key(), true),
            (Role::Operator, AgentIssue, Resource::Deployment, false),
            (Role::Operator, HumanRevoke, Resource::Human(&bob), true),
            (Role::Admin, KeySign, on_key(), false),
            (Role::Admin, KeyCreate, Resource::Deployment, false),
            (Role::Admin, HumanRevoke, Resource::Human(&bob), true),
            (Role::Auditor, KeySign, on_key(), false),
            (Role::Auditor, KeyGet, on_key(), true),
            (Role::Auditor, AuditGet, Resource::Deployment, true),
        ];
        for (role, operation, resource, want) in table {
            let roles = [role].into();
            let got = policies().decide(&human(&roles), operation, &resource, FREE).is_ok();
            assert_eq!(got, want, "{} {operation}", role.as_str());
        }
        let nobody = BTreeSet::new();
        assert!(policies().decide(&human(&nobody), KeyGet, &on_key(), FREE).is_err());
    }

    #[test]
    fn the_floor_forbids_agents_whatever_else_permits() {
        let user = [Role::User, Role::Operator].into();
        let nobody = BTreeSet::new();
        let key = a_key("invoice-2026");
        let bad = Key { state: KeyState::Compromised, ..a_key("invoice-2026") };
        let use_of = Resource::Key;
        let out_of = |scope, window| Standing { in_scope: scope, in_window: window, may_delegate: false };
        let table = [
            (&user, Operation::KeySign, use_of(&key), FREE, Ok(())),
            (&user, Operation::KeySign, use_of(&key), out_of(false, true), Err(Reason::ScopeViolation)),
            (&user, Operation::KeySign, use_of(&key), out_of(true, false), Err(Reason::OutsideWindow)),
            (&user, Operation::KeySign, use_of(&key), out_of(false, false), Err(Reason::ScopeViolation)),
            (&nobody, Operation::KeySign, use_of(&key), FREE, Err(Reason::SponsorNotPermitted)),
            (&user, Operation::KeyVerify, use_of(&bad), FREE, Err(Reason::Policy)),
            (&user, Operation::KeyDestroy, use_of(&key), FREE, Err(Reason::Policy)),
            (&user, Operation::KeyCreate, Resource::Deployment, FREE, Err(Reason::Policy)),
            (&user, Operation::AuditQuery, Resource::Deployment, FREE, Err(Reason::Policy)),
            (&user, Operation::AgentIssue, Resource::Deployment, FREE, Ok(())),
            (&user, Operation::AgentIssue, Resource::Deployment, out_of(true, true), Err(Reason::DelegationNotGranted)),
        ];
        for (roles, operation, resource, standing, want) in table {
            let (id, alice) = (agent_id(1), alice());
            let principal = Principal { human: &alice, roles, agent: Some(facts(&id, &alice)) };
            assert_eq!(policies().decide(&principal, operation, &resource, standing), want, "{operation} {standing:?}");
        }
    }

    #[test]
    fn humans_reach_their_own_agents_and_operators_stop_all() {
        let (own, other) = (agent_id(1), agent_id(2));
        let (alice, bob) = (alice(), "bob@org".parse().unwrap());
        let table = [
            (Role::User, Operation::AgentAmend, facts(&own, &alice), true),
            (Role::User, Operation::CredentialIssue, facts(&own, &alice), true),
            (Role::User, Operation::AgentRevoke, facts(&other, &bob), false),
            (Role::Operator, Operation::AgentRevoke, facts(&other, &bob), true),
            (Role::Operator, Operation::CredentialIssue, facts(&other, &bob), false),
            (Role::Auditor, Operation::AgentGet, facts(&other, &bob), true),
            (Role::Auditor, Operation::AgentRevoke, facts(&other, &bob), false),
        ];
        for (role, operation, agent, want) in table {
            let roles = [role].into();
            let got = policies().decide(&human(&roles), operation, &Resource::Agent(agent), FREE).is_ok();
            assert_eq!(got, want, "{} {operation}", role.as_str());
        }
    }

    const FREE: Standing = Standing { in_scope: true, in_window: true, may_delegate: true };

    fn policies() -> Policies {
        Policies::compile(&PolicyDocument {
            version: 1,
            cedar: FIRST_POLICY.into(),
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "aegis".into(),
            built_in: Some(BUILT_IN),
        })
        .unwrap()
    }

    fn human(roles: &BTreeSet<Role>) -> Principal<'_> {
        static ALICE: LazyLock<HumanId> = LazyLock::new(alice);
        Principal { human: &ALICE, roles, agent: None }
    }

    fn facts<'a>(id: &'a AgentId, sponsor: &'a HumanId) -> AgentFacts<'a> {
        AgentFacts { id, sponsor, purpose: Purpose::Interactive, parent: None }
    }

    fn alice() -> HumanId {
        "alice@org".parse().unwrap()
    }

    fn agent_id(n: u8) -> AgentId {
        AgentId::try_from(format!("agt_{n:032x}")).unwrap()
    }
}
