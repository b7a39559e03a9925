//! Policy: what roles give and what the floor forbids, in Cedar. Grants are facts handed in, not policies, so a decision
//! costs the same however many agents there are.

mod question;

use crate::deployment::PolicyDocument;
use crate::error::{Cause, Chain, Error};
use crate::human::Role;
use crate::id::{AgentId, ApprovalId, CredentialId};
use crate::key::{Key, Tier};
use crate::name::HumanId;
use crate::operation::Operation;
use crate::reason::Reason;
use cedar_policy::{Authorizer, Entity, EntityUid, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use lru::LruCache;
use question::Question;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// The policies a new deployment begins with.
pub const FIRST_POLICY: &str = include_str!("policy.cedar");
/// The number of [`FIRST_POLICY`]: one more with each change of it, so that deployments which began with an earlier one
/// follow at their next start.
pub const BUILT_IN: u32 = 8;
/// What Cedar has at least, in bytes: it wants 100 KiB at each step.
const STACK: usize = 512 * 1_024;
const SCHEMA: &str = include_str!("policy.cedarschema");
/// Answers kept. An evaluation costs some 50 us, and an agent asks the same few questions all day.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

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

/// An approval, as policy sees one.
#[derive(Clone, Debug)]
pub struct ApprovalFacts<'a> {
    pub id: &'a ApprovalId,
    pub agent: &'a AgentId,
    pub sponsor: &'a HumanId,
    pub operation: Operation,
    /// Of the key, where there is one.
    pub tier: Option<Tier>,
}

/// What is acted upon.
#[derive(Clone, Debug)]
pub enum Resource<'a> {
    Agent(AgentFacts<'a>),
    Approval(ApprovalFacts<'a>),
    Credential { id: &'a CredentialId, human: &'a HumanId, agent: Option<&'a AgentId> },
    Deployment,
    Human(&'a HumanId),
    Key(&'a Key),
}

/// Where an agent's credential and grants stand to the request. All true for a human, who has no grant.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Standing {
    pub in_scope: bool,
    pub in_window: bool,
    pub may_delegate: bool,
    pub may_create_keys: bool,
    pub may_audit: bool,
}

/// One version of the policies, ready to decide.
#[derive(Debug)]
pub struct Policies {
    pub version: u32,
    set: PolicySet,
    reasons: HashMap<PolicyId, Reason>,
    /// The actions, each with the groups it is in.
    actions: HashMap<EntityUid, Entity>,
    /// What was answered, by the whole question: the same question has the same answer as long as the policies stand.
    answers: Mutex<LruCache<Vec<u8>, Result<(), Reason>>>,
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
        let answers = Mutex::new(LruCache::new(REMEMBERED));
        Ok(Self { version: document.version, set, reasons, actions, answers })
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
        let question = Question::new(principal, operation, resource, standing);
        let words = question.words();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers.get(&words) {
            return *answer;
        }
        // Evaluated without the lock: two callers may both ask, and neither keeps the others waiting.
        drop(answers);
        let answer = self.evaluate(&question);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).put(words, answer);
        answer
    }

    fn evaluate(&self, question: &Question<'_>) -> Result<(), Reason> {
        let (request, entities) = question.cedar(&self.actions).map_err(|error| {
            tracing::error!(error = %Chain(error.as_ref()), "policy request not built");
            Reason::Policy
        })?;
        // Cedar gives up where little is left of the stack, and then nothing would be permitted: on a deep one it gets its own.
        let response =
            stacker::maybe_grow(STACK, 4 * STACK, || Authorizer::new().is_authorized(&request, &self.set, &entities));
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
}

/// Lower is told first, where several policies forbid.
fn gravity(reason: Reason) -> u8 {
    match reason {
        Reason::ScopeViolation => 0,
        Reason::OutsideWindow => 1,
        Reason::SponsorNotPermitted => 2,
        Reason::DelegationNotGranted => 3,
        Reason::RightNotGranted => 4,
        _ => 5,
    }
}

fn schema() -> Result<Schema, Error> {
    let (schema, _) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| Error::invalid("policy schema", Cause::from(error)))?;
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Purpose;
    use crate::ambient::Timestamp;
    use crate::key::Environment;
    use crate::key::KeyState;
    use crate::key::tests::a_key;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    #[test]
    fn the_first_policy_is_strictly_valid_and_every_operation_is_an_action_of_the_schema() {
        let policies = policies();
        assert!(policies.set.policies().all(|policy| policy.annotation("id").is_some()));
        for operation in Operation::ALL {
            let named = SCHEMA.contains(&format!("\"{operation}\""));
            let outside = matches!(
                operation,
                Operation::DeploymentRestore
                    | Operation::HumanEnrol
                    | Operation::HumanLogin
                    | Operation::IntentUndo
                    | Operation::KeySurvey
                    | Operation::PolicyUpgrade
                    | Operation::RecommendationRaise
                    | Operation::ResponseAct
                    | Operation::Unidentified
                    | Operation::WebhookDisable
            );
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
            (8, "56469ea11f040d3f8f7b35da79220ce0d0e09fa9cd1c19565a3a4bde755431b8")
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
        use Operation::{
            AgentIssue, AuditGet, AuditRedrive, AuditVerify, HumanRevoke, KeyCreate, KeyDestroy, KeyGet, KeySign,
            RulesApply, RulesGet,
        };
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
            (Role::Admin, RulesApply, Resource::Deployment, true),
            (Role::Operator, RulesApply, Resource::Deployment, true),
            (Role::Auditor, RulesApply, Resource::Deployment, false),
            (Role::Auditor, RulesGet, Resource::Deployment, true),
            (Role::User, RulesApply, Resource::Deployment, false),
            (Role::User, RulesGet, Resource::Deployment, false),
            (Role::Auditor, KeySign, on_key(), false),
            (Role::Auditor, KeyGet, on_key(), true),
            (Role::Auditor, AuditGet, Resource::Deployment, true),
            (Role::User, AuditVerify, Resource::Deployment, false),
            (Role::Auditor, AuditVerify, Resource::Deployment, true),
            (Role::Operator, AuditVerify, Resource::Deployment, true),
            (Role::Auditor, AuditRedrive, Resource::Deployment, false),
            (Role::User, AuditRedrive, Resource::Deployment, false),
            (Role::Operator, AuditRedrive, Resource::Deployment, true),
            (Role::Admin, AuditRedrive, Resource::Deployment, true),
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
        let (user, just) = ([Role::User, Role::Operator].into(), [Role::User].into());
        let (sponsor, bob): (HumanId, HumanId) = (alice(), "bob@org".parse().unwrap());
        let (own, other) = (agent_id(1), agent_id(2));
        let itself = || Resource::Agent(facts(&own, &sponsor));
        let nobody = BTreeSet::new();
        let key = a_key("invoice-2026");
        let bad = Key { state: KeyState::Compromised, ..a_key("invoice-2026") };
        let use_of = Resource::Key;
        let out_of = |scope, window| Standing {
            in_scope: scope,
            in_window: window,
            may_delegate: false,
            may_create_keys: false,
            may_audit: false,
        };
        let table = [
            (&user, Operation::KeySign, use_of(&key), FREE, Ok(())),
            (&user, Operation::KeySign, use_of(&key), out_of(false, true), Err(Reason::ScopeViolation)),
            (&user, Operation::KeySign, use_of(&key), out_of(true, false), Err(Reason::OutsideWindow)),
            (&user, Operation::KeySign, use_of(&key), out_of(false, false), Err(Reason::ScopeViolation)),
            (&nobody, Operation::KeySign, use_of(&key), FREE, Err(Reason::SponsorNotPermitted)),
            (&user, Operation::KeyVerify, use_of(&bad), FREE, Err(Reason::Policy)),
            (&user, Operation::KeyDestroy, use_of(&key), FREE, Err(Reason::Policy)),
            (&user, Operation::KeyCreate, Resource::Deployment, FREE, Ok(())),
            (&user, Operation::KeyCreate, Resource::Deployment, out_of(true, true), Err(Reason::RightNotGranted)),
            (&just, Operation::KeyCreate, Resource::Deployment, FREE, Err(Reason::Policy)),
            (&user, Operation::AuditQuery, Resource::Deployment, FREE, Ok(())),
            (&user, Operation::AuditQuery, Resource::Deployment, out_of(true, true), Err(Reason::RightNotGranted)),
            (&just, Operation::AuditQuery, Resource::Deployment, FREE, Err(Reason::Policy)),
            (&just, Operation::AuditQuery, itself(), FREE, Ok(())),
            (&just, Operation::RecommendationList, itself(), FREE, Err(Reason::Policy)),
            (&user, Operation::RecommendationList, itself(), FREE, Ok(())),
            (&user, Operation::BaselineGet, itself(), FREE, Err(Reason::Policy)),
            (&user, Operation::BaselineGet, Resource::Agent(facts(&other, &bob)), FREE, Ok(())),
            (&user, Operation::BaselineGet, Resource::Human(&sponsor), FREE, Err(Reason::Policy)),
            (&user, Operation::BaselineGet, Resource::Human(&bob), FREE, Ok(())),
            (&just, Operation::BaselineGet, Resource::Human(&bob), FREE, Err(Reason::Policy)),
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

    #[test]
    fn who_sees_and_answers_approvals() {
        use Operation::{ApprovalApprove, ApprovalDeny, ApprovalGet};
        let (own, other) = (agent_id(1), agent_id(2));
        let (alice, bob) = (alice(), "bob@org".parse().unwrap());
        let id = ApprovalId::try_from(format!("apr_{:032x}", 7)).unwrap();
        let of = |agent, sponsor| {
            Resource::Approval(ApprovalFacts { id: &id, agent, sponsor, operation: Operation::KeySign, tier: None })
        };
        let table = [
            (Some(Role::User), of(&own, &alice), true, true),
            (None, of(&own, &alice), true, false),
            (Some(Role::User), of(&other, &bob), false, false),
            (Some(Role::Auditor), of(&other, &bob), true, false),
            (Some(Role::Operator), of(&other, &bob), true, true),
            (Some(Role::Admin), of(&other, &bob), true, true),
        ];
        for (role, approval, sees, answers) in table {
            let roles = role.into_iter().collect();
            let may = |operation| policies().decide(&human(&roles), operation, &approval, FREE).is_ok();
            assert_eq!(
                (may(ApprovalGet), may(ApprovalApprove), may(ApprovalDeny)),
                (sees, answers, answers),
                "{role:?}"
            );
        }
        // Whoever stands behind it, an agent sees its own and answers none.
        let roles = Role::ALL.into_iter().collect();
        for (agent, sees) in [(&own, true), (&other, false)] {
            let principal = Principal { human: &alice, roles: &roles, agent: Some(facts(agent, &alice)) };
            let may = |operation| policies().decide(&principal, operation, &of(&own, &alice), FREE);
            assert_eq!(may(ApprovalGet).is_ok(), sees);
            assert_eq!((may(ApprovalApprove), may(ApprovalDeny)), (Err(Reason::Policy), Err(Reason::Policy)));
        }
    }

    proptest! {
        /// Whatever was asked before, of whomever: an answer from memory is the one Cedar gives.
        #[test]
        fn what_is_remembered_is_what_cedar_says(asked in prop::collection::vec(any::<[u8; 12]>(), 1..60)) {
            static POLICIES: LazyLock<Policies> = LazyLock::new(policies);
            for choice in asked {
                let pick = |place: usize, of: usize| usize::from(choice[place]) % of;
                let (alice, bob): (HumanId, HumanId) = (alice(), "bob@org".parse().unwrap());
                let humans = [&alice, &bob];
                let ids = [agent_id(1), agent_id(2)];
                let purposes = [Purpose::Interactive, Purpose::Service, Purpose::Appliance];
                let agent = |id: usize, sponsor: usize, parent: usize| AgentFacts {
                    id: &ids[id],
                    sponsor: humans[sponsor],
                    purpose: purposes[pick(11, 3)],
                    parent: ids.get(parent),
                };
                let roles = Role::ALL.into_iter().enumerate().filter(|(bit, _)| choice[0] >> bit & 1 == 1);
                let roles = roles.map(|(_, role)| role).collect();
                let asks_as_agent = pick(1, 2) == 1;
                let asking = asks_as_agent.then(|| agent(pick(2, 2), pick(3, 2), pick(4, 3)));
                let principal = Principal { human: humans[pick(3, 2)], roles: &roles, agent: asking };
                let key = Key {
                    id: crate::id::KeyId::none(),
                    state: KeyState::ALL[pick(5, 6)],
                    tier: [Tier::High, Tier::Standard][pick(6, 2)],
                    environment: [Environment::Development, Environment::Production][pick(6, 2)],
                    labels: ["team=a", "team=b"].into_iter().take(pick(7, 3)).map(|label| label.parse().unwrap()).collect(),
                    ..a_key("invoice-2026")
                };
                let credential = CredentialId::try_from(format!("crd_{:032x}", 7)).unwrap();
                let approval = ApprovalId::try_from(format!("apr_{:032x}", 7)).unwrap();
                let resource = match pick(8, 6) {
                    0 => Resource::Deployment,
                    1 => Resource::Human(humans[pick(7, 2)]),
                    2 => Resource::Agent(agent(pick(7, 2), pick(5, 2), pick(6, 3))),
                    3 => Resource::Credential { id: &credential, human: humans[pick(7, 2)], agent: ids.get(pick(5, 3)) },
                    4 => Resource::Approval(ApprovalFacts {
                        id: &approval,
                        agent: &ids[pick(5, 2)],
                        sponsor: humans[pick(7, 2)],
                        operation: Operation::KeySign,
                        tier: [None, Some(Tier::High), Some(Tier::Standard)][pick(6, 3)],
                    }),
                    _ => Resource::Key(&key),
                };
                let operation = Operation::ALL[pick(9, Operation::ALL.len())];
                let bit = |bit: u8| choice[10] >> bit & 1 == 1;
                let standing = Standing {
                    in_scope: bit(0),
                    in_window: bit(1),
                    may_delegate: bit(2),
                    may_create_keys: bit(3),
                    may_audit: bit(4),
                };
                let fresh = POLICIES.evaluate(&Question::new(&principal, operation, &resource, standing));
                prop_assert_eq!(POLICIES.decide(&principal, operation, &resource, standing), fresh);
            }
        }
    }

    /// Requests come from deep within a server.
    #[test]
    fn a_shallow_stack_changes_no_answer() {
        LazyLock::force(&POLICIES_OF_ALL);
        let shallow = std::thread::Builder::new().stack_size(256 * 1_024).spawn(|| {
            let (key, alice, roles) = (a_key("invoice-2026"), alice(), [Role::User].into());
            let id = agent_id(1);
            let principal = Principal { human: &alice, roles: &roles, agent: Some(facts(&id, &alice)) };
            POLICIES_OF_ALL.decide(&principal, Operation::KeySign, &Resource::Key(&key), FREE)
        });
        assert_eq!(shallow.unwrap().join().unwrap(), Ok(()));
    }

    static POLICIES_OF_ALL: LazyLock<Policies> = LazyLock::new(policies);

    #[test]
    fn memory_of_answers_is_bounded() {
        let (policies, alice, roles) = (policies(), alice(), [Role::User].into());
        for n in 0..=REMEMBERED.get() {
            let id = AgentId::try_from(format!("agt_{n:032x}")).unwrap();
            let principal = Principal { human: &alice, roles: &roles, agent: Some(facts(&id, &alice)) };
            policies.decide(&principal, Operation::Whoami, &Resource::Agent(facts(&id, &alice)), FREE).unwrap();
        }
        assert_eq!(policies.answers.lock().unwrap().len(), REMEMBERED.get());
    }

    const FREE: Standing =
        Standing { in_scope: true, in_window: true, may_delegate: true, may_create_keys: true, may_audit: true };

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
