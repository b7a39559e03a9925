//! What was stopped for good at a moment of the past: no rule changes it any more, and of what changes nothing no record tells.

use crate::agent::{Agent, AgentState, Credential};
use crate::ambient::Timestamp;
use crate::id::{AgentId, CredentialId, KeyId};
use crate::key::{KeyRecord, KeyState};
use crate::name::HumanId;
use crate::operation::Operation;
use crate::recommendation::{AgentRecommendation, Response, ResponseAction};
use crate::record::{AuditRecord, Outcome};
use crate::rules::RuleAction;
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Whom {
    Agent(AgentId),
    Credential(CredentialId),
    Key(KeyId),
}

/// From when until when something was being decided and written. Of two that overlap it is not known which came first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Span {
    const BEFORE: Self = Self { from: Timestamp::MIN, to: Timestamp::MIN };

    pub(super) fn of(record: &AuditRecord) -> Self {
        let took = SignedDuration::from_micros(i64::try_from(record.latency_us).unwrap_or(i64::MAX));
        Self { from: record.at, to: record.at.checked_add(took).unwrap_or(record.at) }
    }
}

/// When each was stopped for good, but for what rules alone stopped: of that other rules decide.
#[derive(Debug, Default)]
pub(super) struct Stops {
    when: BTreeMap<Whom, Span>,
    by_rules: BTreeSet<Whom>,
    fleets: BTreeMap<HumanId, Timestamp>,
}

/// One recommendation, and what was done about it.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) recommendation: &'a AgentRecommendation,
    pub(super) span: Span,
    /// When its agent was made.
    pub(super) made: Option<Timestamp>,
    pub(super) did: &'a BTreeSet<ResponseAction>,
}

impl Stops {
    /// What a record tells of, in any order.
    pub(super) fn take(&mut self, record: &AuditRecord) {
        self.by_rules.extend(record.responses.iter().filter_map(stopped_by_rule));
        if let Some(whom) = stopped_by_human(record) {
            self.add(whom, Span::of(record));
        }
    }

    /// What is stopped, and no record that was read tells of it, was so before.
    pub(super) fn take_agent(&mut self, agent: &Agent) {
        self.take_found(Whom::Agent(agent.id.clone()), agent.state == AgentState::Revoked);
    }

    /// As [`Self::take_agent`].
    pub(super) fn take_credential(&mut self, credential: &Credential) {
        self.take_found(Whom::Credential(credential.id.clone()), credential.revoked);
    }

    /// As [`Self::take_agent`].
    pub(super) fn take_key(&mut self, record: &KeyRecord) {
        self.take_found(Whom::Key(record.key.id.clone()), record.key.state != KeyState::Active);
    }

    fn take_found(&mut self, whom: Whom, is_stopped: bool) {
        if is_stopped && !self.by_rules.contains(&whom) && !self.when.contains_key(&whom) {
            self.add(whom, Span::BEFORE);
        }
    }

    /// What would be done and was done, whichever of several was the first.
    pub(super) fn take_agreed(&mut self, case: Case<'_>, would: &[RuleAction]) {
        for action in would.iter().filter(|action| is_for_good(**action) && case.did.contains(&action.kind())) {
            if let Some(whom) = whom(case.recommendation, *action) {
                self.add(whom, case.span);
            }
        }
    }

    /// Whether an action changes anything; if so, it has from then on. Cases come in the order of time.
    pub(super) fn is_changed(&mut self, case: Case<'_>, action: RuleAction) -> bool {
        let did = case.did.contains(&action.kind());
        match action {
            RuleAction::Alert => return true,
            // Whether there is an agent that was made meanwhile nothing here tells.
            RuleAction::RevokeFleet => {
                self.fleets.insert(case.recommendation.sponsor.clone(), case.span.from);
                return true;
            }
            _ => {}
        }
        let Some(whom) = whom(case.recommendation, action) else { return false };
        // A fleet is stopped one after the other: until then some of it may be met.
        if self.is_stopped(&whom, case.span, did) || self.is_of_stopped_fleet(case, action) && !did {
            return false;
        }
        if is_for_good(action) {
            self.add(whom, case.span);
        }
        true
    }

    /// What happened decides where it is not known which came first.
    fn is_stopped(&self, whom: &Whom, span: Span, did: bool) -> bool {
        self.when.get(whom).is_some_and(|stop| stop.to < span.from || stop.from <= span.to && !did)
    }

    fn is_of_stopped_fleet(&self, case: Case<'_>, action: RuleAction) -> bool {
        let stopped = self.fleets.get(&case.recommendation.sponsor).filter(|_| action.needs_agent());
        stopped.zip(case.made).is_some_and(|(stopped, made)| made <= *stopped)
    }

    fn add(&mut self, whom: Whom, span: Span) {
        let when = self.when.entry(whom).or_insert(span);
        if span.from < when.from {
            *when = span;
        }
    }
}

fn is_for_good(action: RuleAction) -> bool {
    matches!(action, RuleAction::DeactivateKey | RuleAction::RevokeAgent | RuleAction::RevokeCredential)
}

/// What must not be stopped for good yet for the action to change anything.
fn whom(case: &AgentRecommendation, action: RuleAction) -> Option<Whom> {
    match action {
        RuleAction::Alert | RuleAction::RevokeFleet => None,
        RuleAction::Deny { .. } | RuleAction::FreezeAgent | RuleAction::RevokeAgent | RuleAction::StepUp { .. } => {
            case.agent.clone().map(Whom::Agent)
        }
        RuleAction::RevokeCredential => case.evidence.credential.clone().map(Whom::Credential),
        RuleAction::DeactivateKey | RuleAction::RotateKey => case.evidence.key.clone().map(Whom::Key),
    }
}

fn stopped_by_rule(response: &Response) -> Option<Whom> {
    match response.action {
        ResponseAction::RevokeAgent | ResponseAction::RevokeFleet => response.agent.clone().map(Whom::Agent),
        ResponseAction::RevokeCredential => response.credential.clone().map(Whom::Credential),
        ResponseAction::DeactivateKey => response.key.clone().map(Whom::Key),
        ResponseAction::Alert
        | ResponseAction::Deny
        | ResponseAction::FreezeAgent
        | ResponseAction::RotateKey
        | ResponseAction::StepUp => None,
    }
}

fn stopped_by_human(record: &AuditRecord) -> Option<Whom> {
    let object = || record.object.clone().unwrap_or_default();
    match record.operation {
        _ if record.outcome != Outcome::Ok || !record.responses.is_empty() => None,
        Operation::AgentRevoke => object().try_into().ok().map(Whom::Agent),
        Operation::CredentialRevoke => object().try_into().ok().map(Whom::Credential),
        Operation::KeyCompromise | Operation::KeyDeactivate => record.key.clone().map(Whom::Key),
        _ => None,
    }
}
