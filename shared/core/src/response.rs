//! Responses: what the rules order for a recommendation is carried out, in one transaction with the record that tells of
//! it. What takes more than one transaction is written down in it and goes on until it is done.

mod pending;

pub use pending::{AtBackEnds, run_pending};
pub(crate) use pending::{PendingResponse, take_back};

use crate::agent::{Agent, AgentState, Credential, Hold, HoldKind, Stopped};
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::id::{AgentId, RecordId, RequestId};
use crate::journal;
use crate::key::KeyRecord;
use crate::operation::Operation;
use crate::pipeline::{ATTEMPTS, App};
use crate::recommendation::{AgentRecommendation, RecommendationRecord, Response, ResponseAction};
use crate::record::{AuditRecord, Plane};
use crate::repository::{self, Document, Loaded};
use crate::rules::{ResponseLedger, RuleAction, RuleName, RuleSet, Subject, Suppressed, Trigger};
use crate::store::{Expect, ItemKey, Put, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The response rules in force.
#[derive(Clone, Debug)]
pub struct InForce {
    pub rules: Arc<RuleSet>,
    /// 0 for those that Aegis ships with.
    pub version: u32,
}

/// Reads which rules are in force.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn in_force(app: &App) -> Result<InForce, Error> {
    let version = crate::pipeline::deployment(app).await?.rules_version;
    Ok(InForce { rules: app.rules.of_version(app.store.as_ref(), version).await?, version })
}

/// What is to be carried out, and by which rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// Absent where no rule applies.
    rule: Option<RuleName>,
    rules_version: u32,
    actions: Vec<RuleAction>,
    pub(crate) suppressed: Vec<Suppressed>,
    /// Remembers, in the same transaction, what was done lately.
    pub(crate) ledger: Option<Put>,
}

/// What the rules order about a recommendation now.
///
/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn decide(
    app: &App,
    in_force: &InForce,
    trigger: &Trigger,
    recommendation: &AgentRecommendation,
) -> Result<Orders, Error> {
    let Some(plan) = in_force.rules.plan(trigger) else { return Ok(Orders::default()) };
    let mut orders = Orders { rule: Some(plan.rule.clone()), rules_version: in_force.version, ..Orders::default() };
    let found = match plan.needs_ledger() {
        true => Some(ledger(app).await?),
        // Whatever was done lately, all of it is carried out: many agents stopped at once wait for no common item.
        false => None,
    };
    let (mut ledger, expect) = found.unwrap_or((LedgerDocument::default(), Expect::Absent));
    let admission = ledger.0.admit(&plan, recommendation.subject(), recommendation.at);
    (orders.actions, orders.suppressed) = (admission.carried_out, admission.suppressed);
    if plan.needs_ledger() {
        orders.ledger = Some(ledger.put(expect)?);
    }
    Ok(orders)
}

async fn ledger(app: &App) -> Result<(LedgerDocument, Expect), Error> {
    let item = LedgerDocument::default().item_key();
    let found: Option<Loaded<LedgerDocument>> = repository::load(app.store.as_ref(), &item).await?;
    Ok(found
        .map_or((LedgerDocument::default(), Expect::Absent), |found| (found.value, Expect::Current(found.revision))))
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct LedgerDocument(ResponseLedger);

impl Document for LedgerDocument {
    fn item_key(&self) -> ItemKey {
        ItemKey::state("responses", "ledger")
    }
}

/// The writes of what is carried out, and what the record shall say of it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) puts: Vec<Put>,
    pub(crate) responses: Vec<Response>,
}

/// Reads what the orders are about as it is now, and makes the writes that carry them out. An agent that is stopped as hard
/// already, a credential that is revoked and a key that is out of use are left as they are, and nothing is said of them.
///
/// # Errors
/// [`Error::Unavailable`].
pub(crate) async fn carry_out(
    app: &App,
    recommendation: &AgentRecommendation,
    record: &RecordId,
    orders: &Orders,
) -> Result<Carried, Error> {
    let mut carrying = Carrying { app, recommendation, record, orders, carried: Carried::default() };
    carrying.agent().await?;
    carrying.credential().await?;
    carrying.later()?;
    Ok(carrying.carried)
}

/// Puts a recommendation on record, with what the rules order for it carried out in the same transaction. A repetition finds
/// it there and changes nothing: `None`.
///
/// # Errors
/// [`Error::Contended`]; [`Error::Unavailable`], after which it may be on record or not: repeat it.
pub async fn raise(
    app: &App,
    recommendation: AgentRecommendation,
    in_force: &InForce,
) -> Result<Option<RecommendationRecord>, Error> {
    let item = repository::recommendation_item(&recommendation.id);
    let id = RecordId::derived(recommendation.at, recommendation.id.as_str());
    let now = app.clock.now();
    let request = RequestId::new(now, &app.entropy);
    let mut record = AuditRecord {
        human: Some(recommendation.sponsor.clone()),
        agents: recommendation.agent.clone().into_iter().collect(),
        credential: recommendation.evidence.credential.clone(),
        key: recommendation.evidence.key.clone(),
        recommendation: Some(recommendation.clone()),
        ..AuditRecord::new(id, now, Operation::RecommendationRaise, Plane::Internal, request)
    };
    for _ in 0..ATTEMPTS {
        let found: Option<Loaded<RecommendationRecord>> = repository::load(app.store.as_ref(), &item).await?;
        if found.is_some() {
            return Ok(None);
        }
        let trigger = trigger(app, &recommendation).await?;
        let orders = decide(app, in_force, &trigger, &recommendation).await?;
        let carried = carry_out(app, &recommendation, &record.id, &orders).await?;
        (record.responses, record.suppressed) = (carried.responses, orders.suppressed);
        let kept = RecommendationRecord::new(recommendation.clone(), &record);
        let mut puts = carried.puts;
        puts.extend(orders.ledger);
        puts.push(kept.put(Expect::Absent)?);
        puts.push(journal::put_timed(app, &mut record)?);
        match app.store.transact(puts).await {
            Ok(()) => return Ok(Some(kept)),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Contended)
}

async fn trigger(app: &App, recommendation: &AgentRecommendation) -> Result<Trigger, Error> {
    let store = app.store.as_ref();
    let subject = match &recommendation.agent {
        None => Subject::Human,
        Some(id) => {
            let agent: Option<Loaded<Agent>> = repository::load(store, &repository::agent_item(id)).await?;
            agent.ok_or(Error::NotFound { kind: "agent" })?.value.purpose.into()
        }
    };
    let tier = match &recommendation.evidence.key {
        None => None,
        Some(id) => {
            let key: Option<Loaded<KeyRecord>> = repository::load(store, &repository::key_item(id)).await?;
            key.map(|key| key.value.key.tier)
        }
    };
    Ok(Trigger { detector: recommendation.detector, severity: recommendation.severity, subject, tier })
}

struct Carrying<'a> {
    app: &'a App,
    recommendation: &'a AgentRecommendation,
    record: &'a RecordId,
    orders: &'a Orders,
    carried: Carried,
}

impl Carrying<'_> {
    /// All that is ordered for the agent is one write of it.
    async fn agent(&mut self) -> Result<(), Error> {
        let Some(id) = &self.recommendation.agent else { return Ok(()) };
        let Some(mut agent) = self.load(id).await? else { return Ok(()) };
        let before = self.carried.responses.len();
        for action in &self.orders.actions {
            if self.change(&mut agent.value, *action) {
                self.say(action.kind(), Some(id.clone()), action.until(self.recommendation.at));
            }
        }
        if self.carried.responses.len() > before {
            self.carried.puts.push(agent.replace()?);
        }
        // Otherwise one of them could send one sub-agent after the other out of scope. Nor does it help to have revoked it meanwhile.
        let is_stopped = self
            .orders
            .actions
            .iter()
            .any(|action| matches!(action, RuleAction::RevokeAgent | RuleAction::FreezeAgent));
        if is_stopped && self.recommendation.detector.states_a_fact() && agent.value.state != AgentState::Active {
            self.freeze_all_above(&agent.value).await?;
        }
        Ok(())
    }

    /// Whether it changed the agent.
    fn change(&self, agent: &mut Agent, action: RuleAction) -> bool {
        let at = self.recommendation.at;
        match (action, agent.state, action.until(at)) {
            (RuleAction::RevokeAgent, AgentState::Active | AgentState::Frozen, _) => {
                agent.revoke(self.stopped());
                true
            }
            (RuleAction::FreezeAgent, ..) => agent.freeze(self.stopped()),
            (
                RuleAction::Deny { .. } | RuleAction::StepUp { .. },
                AgentState::Active | AgentState::Frozen,
                Some(until),
            ) => {
                let denies = matches!(action, RuleAction::Deny { .. });
                let kind = if denies { HoldKind::Deny } else { HoldKind::StepUp };
                agent.add_hold(Hold { kind, until, cause: self.recommendation.id.clone() }, at);
                true
            }
            _ => false,
        }
    }

    async fn freeze_all_above(&mut self, agent: &Agent) -> Result<(), Error> {
        for id in &agent.ancestors {
            let Some(mut above) = self.load(id).await? else { continue };
            if above.value.freeze(self.stopped()) {
                self.carried.puts.push(above.replace()?);
                self.say(ResponseAction::FreezeAgent, Some(id.clone()), None);
            }
        }
        Ok(())
    }

    async fn credential(&mut self) -> Result<(), Error> {
        let ordered = self.orders.actions.contains(&RuleAction::RevokeCredential);
        let Some(id) = self.recommendation.evidence.credential.as_ref().filter(|_| ordered) else { return Ok(()) };
        let item = repository::credential_item(id);
        let found: Option<Loaded<Credential>> = repository::load(self.app.store.as_ref(), &item).await?;
        let Some(mut credential) = found.filter(|found| !found.value.revoked) else { return Ok(()) };
        credential.value.revoked = true;
        self.carried.puts.push(credential.replace()?);
        let response = Response { credential: Some(id.clone()), ..self.response(ResponseAction::RevokeCredential) };
        self.carried.responses.push(response);
        Ok(())
    }

    /// What is told to people is on record with the recommendation itself; the rest is written down, to be done next.
    fn later(&mut self) -> Result<(), Error> {
        for action in &self.orders.actions {
            let response = match action {
                RuleAction::Alert => {
                    self.say(ResponseAction::Alert, self.recommendation.agent.clone(), None);
                    continue;
                }
                RuleAction::RevokeFleet => self.response(action.kind()),
                RuleAction::DeactivateKey | RuleAction::RotateKey => {
                    let Some(key) = self.recommendation.evidence.key.clone() else { continue };
                    Response { key: Some(key), ..self.response(action.kind()) }
                }
                _ => continue,
            };
            let human = self.recommendation.sponsor.clone();
            let pending = PendingResponse::new(response, human, self.recommendation.at);
            self.carried.puts.push(pending.put(Expect::Absent)?);
        }
        Ok(())
    }

    async fn load(&self, id: &AgentId) -> Result<Option<Loaded<Agent>>, Error> {
        repository::load(self.app.store.as_ref(), &repository::agent_item(id)).await
    }

    fn say(&mut self, action: ResponseAction, agent: Option<AgentId>, until: Option<Timestamp>) {
        let response = Response { agent, until, ..self.response(action) };
        self.carried.responses.push(response);
    }

    fn response(&self, action: ResponseAction) -> Response {
        Response {
            rule: self.orders.rule.as_ref().map(ToString::to_string),
            rules_version: self.orders.rules_version,
            ..Response::new(action, self.recommendation.id.clone())
        }
    }

    fn stopped(&self) -> Stopped {
        Stopped::by_aegis(self.recommendation.at, self.record.clone())
    }
}
