//! What an agent may do now, with the credential it asks with: what its token, its grant and every grant above it hold.

use crate::agent::{HoldKind, Limits, Purpose};
use crate::algorithm::Algorithm;
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::{AgentId, KeyId, RecommendationId};
use crate::key::{Key, KeyRecord, KeyState, Tier};
use crate::name::{AgentLabel, HumanId, KeyName};
use crate::operation::Operation;
use crate::operations::listing::MAX_LIMIT;
use crate::pipeline::{App, Done, Facts, Permit, agent_facts};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::repository::{self, ALL_KEYS};
use crate::scope::Action;
use crate::store::{Index, Order};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectiveQuery {
    /// Leaves out the keys.
    #[serde(default)]
    pub without_keys: bool,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct EffectiveScope {
    pub agent: AgentId,
    pub label: AgentLabel,
    pub purpose: Purpose,
    /// The human behind it.
    pub sponsor: HumanId,
    /// The window in which it may act: of its grant and of every grant above it.
    #[schemars(with = "DateTime")]
    pub not_before: Timestamp,
    #[schemars(with = "DateTime")]
    pub not_after: Timestamp,
    /// When the token it asked with ends.
    #[schemars(with = "DateTime")]
    pub credential_expires_at: Timestamp,
    /// What it may do with some key or other.
    pub actions: BTreeSet<Action>,
    /// What policy permits it besides.
    pub operations: BTreeSet<Operation>,
    /// The keys within its scope; at most 200.
    pub keys: Vec<EffectiveKey>,
    /// Whether there are more.
    pub more_keys: bool,
    /// Its limits and those of the agents above it, and what is left of them.
    pub limits: Vec<EffectiveLimit>,
    /// Which uses a human must approve first, and why.
    pub needs_approval: Vec<NeedsApproval>,
    /// Until when a human must approve each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub approval_until: Option<Timestamp>,
    /// Until when each use is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub refused_until: Option<Timestamp>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct EffectiveKey {
    pub id: KeyId,
    pub aliases: BTreeSet<KeyName>,
    pub algorithm: Algorithm,
    pub state: KeyState,
    pub tier: Tier,
    /// How many humans must approve a use of it that needs approval. Of a high tier never the agent's own alone.
    pub approvers: u8,
    /// What the agent may do with it, whatever its algorithm and state allow.
    pub actions: BTreeSet<Action>,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct NeedsApproval {
    pub uses: UsesApproved,
    pub because: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub until: Option<Timestamp>,
    /// The one that is answered by this: the agent's human can look it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommendation: Option<RecommendationId>,
}

#[derive(Clone, Copy, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsesApproved {
    Each,
    Risky,
}

#[derive(Debug, JsonSchema, Serialize)]
pub struct EffectiveLimit {
    /// Whose limit: the agent's own, or that of one above it, from whose budget it draws.
    pub agent: AgentId,
    pub limits: Limits,
    pub used: Limits,
}

/// # Errors
/// [`Error::Denied`] for a human, who has no scope; [`Error::Unavailable`].
pub async fn effective_scope(
    app: &App,
    permit: &Permit,
    query: &EffectiveQuery,
) -> Result<Done<EffectiveScope>, Error> {
    let (facts, now) = (permit.facts(), app.clock.now());
    let agent = &facts.chain.first().ok_or(Error::Denied { reason: Reason::Policy })?.value;
    let grants = || facts.chain.iter().map(|agent| &agent.value.grant);
    let (keys, more_keys) = match query.without_keys {
        true => (Vec::new(), false),
        false => keys(app, facts, now).await?,
    };
    let mut limits = Vec::new();
    for agent in facts.chain.iter().filter(|agent| agent.value.grant.limits != Limits::default()) {
        let used = app.uses(&agent.value, now).await?;
        limits.push(EffectiveLimit { agent: agent.value.id.clone(), limits: agent.value.grant.limits, used });
    }
    let holds = || facts.chain.iter().flat_map(|agent| &agent.value.holds).filter(|hold| now < hold.until);
    let until = |kind| holds().filter(|hold| hold.kind == kind).map(|hold| hold.until).max();
    let on = |operation: Operation, resource: Resource<'_>| facts.decide(operation, &resource, now).is_ok();
    let may = |operation: &&Operation| {
        on(**operation, Resource::Deployment) || on(**operation, Resource::Agent(agent_facts(agent)))
    };
    Ok(Done::read(EffectiveScope {
        agent: agent.id.clone(),
        label: agent.label.clone(),
        purpose: agent.purpose,
        sponsor: agent.sponsor.clone(),
        not_before: grants().map(|grant| grant.not_before).max().unwrap_or(now),
        not_after: grants().map(|grant| grant.not_after).min().unwrap_or(now),
        credential_expires_at: Timestamp::from_second(facts.claims.exp).unwrap_or(now),
        actions: Action::ALL.into_iter().filter(|action| holds_somewhere(facts, *action)).collect(),
        operations: WITHOUT_A_KEY.iter().filter(may).copied().collect(),
        keys,
        more_keys,
        limits,
        needs_approval: needs_approval(facts, now),
        approval_until: until(HoldKind::StepUp),
        refused_until: until(HoldKind::Deny),
    }))
}

/// How risky is too risky is not told: who knows it knows how far to go.
fn needs_approval(facts: &Facts, now: Timestamp) -> Vec<NeedsApproval> {
    let holds = facts.chain.iter().flat_map(|agent| &agent.value.holds);
    let holds = holds.filter(|hold| now < hold.until && hold.kind == HoldKind::StepUp);
    let each = holds.map(|hold| NeedsApproval {
        uses: UsesApproved::Each,
        because: "a response to what the agent, or one above it, did",
        until: Some(hold.until),
        recommendation: Some(hold.cause.clone()),
    });
    let risky = NeedsApproval {
        uses: UsesApproved::Risky,
        because: "a use that is risky is approved by a human first: check_access says of which how it stands now",
        until: None,
        recommendation: None,
    };
    each.chain([risky]).collect()
}

/// Whether every scope that binds the agent holds the action for some key.
fn holds_somewhere(facts: &Facts, action: Action) -> bool {
    let granted = facts.chain.iter().map(|agent| &agent.value.grant.scope);
    let has_token_scope = facts.claims.authorization_details.is_some();
    let mut scopes = granted.chain(facts.claims.authorization_details.as_ref());
    has_token_scope && scopes.all(|scope| scope.0.iter().any(|entry| entry.actions.contains(&action)))
}

async fn keys(app: &App, facts: &Facts, now: Timestamp) -> Result<(Vec<EffectiveKey>, bool), Error> {
    let (mut keys, mut after): (Vec<EffectiveKey>, _) = (Vec::new(), None);
    loop {
        let (store, all) = (app.store.as_ref(), ALL_KEYS.to_string());
        let page = repository::list::<KeyRecord>(store, Index::First, all, Order::Ascending, MAX_LIMIT, after).await?;
        let visible = page.items.into_iter().map(|record| record.key).filter(|key| facts.sees(key, now));
        keys.extend(visible.map(|key| EffectiveKey::of(key, facts, now)));
        if keys.len() > MAX_LIMIT {
            keys.truncate(MAX_LIMIT);
            return Ok((keys, true));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((keys, false)),
        }
    }
}

impl EffectiveKey {
    /// The same for a canary as for any key.
    fn of(key: Key, facts: &Facts, now: Timestamp) -> Self {
        let may = |action: &Action| facts.decide(action.operation(), &Resource::Key(&key), now).is_ok();
        let actions = Action::ALL.into_iter().filter(may).collect();
        let approvers = facts.rules.approvals.needed(Some(key.tier));
        let Key { id, aliases, algorithm, state, tier, .. } = key;
        Self { id, aliases, algorithm, state, tier, approvers, actions }
    }
}

/// What an agent may be permitted that is not about one key.
const WITHOUT_A_KEY: [Operation; 5] = [
    Operation::AgentIssue,
    Operation::AuditQuery,
    Operation::KeyCreate,
    Operation::KeyList,
    Operation::RecommendationList,
];
