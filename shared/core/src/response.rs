//! Responses: what the rules order for a recommendation is carried out, in one transaction with the record that tells of
//! it. What takes more than one transaction is written down in it and goes on until it is done.

mod pending;

pub use pending::run_pending;

use crate::agent::{Agent, AgentState, Credential, Hold, HoldKind, Stopped};
use crate::ambient::{Timestamp, after_seconds};
use crate::error::Error;
use crate::id::{AgentId, RecordId, RequestId};
use crate::journal;
use crate::operation::Operation;
use crate::pipeline::{ATTEMPTS, App};
use crate::recommendation::{AgentRecommendation, RecommendationRecord, Response, ResponseAction};
use crate::record::{AuditRecord, Plane};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, Put, StoreError};
use pending::PendingResponse;

/// What a rule orders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders {
    /// The rule, by its name; absent where none applies.
    pub rule: Option<String>,
    /// The version of the rules it stands in; 0 for those that Aegis ships with.
    pub rules_version: u32,
    pub actions: Vec<Order>,
}

/// One action; `minutes` of what ends by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    pub action: ResponseAction,
    pub minutes: Option<u32>,
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
    orders: &Orders,
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
        let carried = carry_out(app, &recommendation, &record.id, orders).await?;
        record.responses = carried.responses.clone();
        let kept = RecommendationRecord::new(recommendation.clone(), &record);
        let mut puts = carried.puts;
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
        for order in self.orders.actions.clone() {
            if let Some(until) = self.change(&mut agent.value, order) {
                self.say(order.action, Some(id.clone()), until);
            }
        }
        if self.carried.responses.len() > before {
            self.carried.puts.push(agent.replace()?);
            // Otherwise it could send one sub-agent after the other out of scope.
            if self.recommendation.detector.states_a_fact() && agent.value.state != AgentState::Active {
                self.freeze_parent(&agent.value).await?;
            }
        }
        Ok(())
    }

    /// Whether it changed the agent, and until when.
    fn change(&self, agent: &mut Agent, order: Order) -> Option<Option<Timestamp>> {
        let at = self.recommendation.at;
        let until = after_seconds(at, i64::from(order.minutes.unwrap_or(MINUTES)).saturating_mul(60));
        match (order.action, agent.state) {
            (ResponseAction::RevokeAgent, AgentState::Active | AgentState::Frozen) => {
                agent.revoke(self.stopped());
                Some(None)
            }
            (ResponseAction::FreezeAgent, AgentState::Active) => {
                agent.state = AgentState::Frozen;
                agent.stopped = Some(self.stopped());
                Some(None)
            }
            (ResponseAction::Deny | ResponseAction::StepUp, AgentState::Active) => {
                let kind = if order.action == ResponseAction::Deny { HoldKind::Deny } else { HoldKind::StepUp };
                agent.add_hold(Hold { kind, until, cause: self.recommendation.id.clone() }, at);
                Some(Some(until))
            }
            _ => None,
        }
    }

    async fn freeze_parent(&mut self, agent: &Agent) -> Result<(), Error> {
        let Some(id) = agent.ancestors.first() else { return Ok(()) };
        let Some(mut parent) = self.load(id).await?.filter(|parent| parent.value.state == AgentState::Active) else {
            return Ok(());
        };
        parent.value.state = AgentState::Frozen;
        parent.value.stopped = Some(self.stopped());
        self.carried.puts.push(parent.replace()?);
        self.say(ResponseAction::FreezeAgent, Some(id.clone()), None);
        Ok(())
    }

    async fn credential(&mut self) -> Result<(), Error> {
        let ordered = self.orders.actions.iter().any(|order| order.action == ResponseAction::RevokeCredential);
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
        for order in self.orders.actions.clone() {
            let response = match order.action {
                ResponseAction::Alert => {
                    self.say(ResponseAction::Alert, None, None);
                    continue;
                }
                ResponseAction::RevokeFleet => self.response(order.action),
                ResponseAction::DeactivateKey | ResponseAction::RotateKey => {
                    let Some(key) = self.recommendation.evidence.key.clone() else { continue };
                    Response { key: Some(key), ..self.response(order.action) }
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
            rule: self.orders.rule.clone(),
            rules_version: self.orders.rules_version,
            ..Response::new(action, self.recommendation.id.clone())
        }
    }

    fn stopped(&self) -> Stopped {
        Stopped { at: self.recommendation.at, by: AEGIS.to_string(), record: self.record.clone() }
    }
}

/// How long a hold lasts where the rule does not say.
const MINUTES: u32 = 60;
/// Who stops somebody when nobody does.
const AEGIS: &str = "aegis";
