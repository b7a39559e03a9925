//! Response rules in force: showing, replacing, rolling back. What protects less needs a second human: the first one's
//! change waits as a proposal until another confirms it.

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::deployment::{Deployment, RulesApplied, RulesDocument, RulesHistory, RulesProposal};
use crate::error::Error;
use crate::human::{Human, Role};
use crate::name::HumanId;
use crate::pipeline::{App, Done, Note, Permit, load_rules};
use crate::reason::Reason;
use crate::repository::{self, Document, Loaded};
use crate::rules::{BUILT_IN, RuleSet, weakenings};
use crate::store::{Expect, Index, Order, Put};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a proposal waits, in seconds: a day.
const PROPOSED_FOR: i64 = 86_400;
/// Most proposals that wait at once.
const MAX_PROPOSALS: usize = 8;
/// Most pages of humans that are looked through for one who may confirm.
const MAX_HUMAN_PAGES: usize = 20;
const HUMAN_PAGE: usize = 200;

/// Which version to show: the one in force if absent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesQuery {
    /// 0 for the rules that Aegis ships with.
    pub version: Option<u32>,
}

/// One version of the response rules.
#[derive(Debug, JsonSchema, Serialize)]
pub struct RulesView {
    /// 0 for the rules that Aegis ships with.
    pub version: u32,
    pub in_force: bool,
    /// The document itself.
    pub toml: String,
    pub written_by: String,
    #[schemars(with = "DateTime")]
    pub written_at: Timestamp,
    /// Who put it in force, and when; absent where it is not in force, or nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<RulesApplied>,
    /// What waits for a second human, where the version in force is shown.
    pub proposals: Vec<ProposalView>,
}

/// A change that waits for a second human.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ProposalView {
    #[serde(flatten)]
    pub proposal: RulesProposal,
    /// What would protect less.
    pub weakens: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRules {
    /// The whole document, at most 32 KiB.
    #[schemars(length(max = 32768))]
    pub toml: String,
    /// The version this was written against: the one in force.
    pub expected_version: u32,
    /// Only says what would come of it.
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RollBackRules {
    /// The version to go back to; the one that was in force before this if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The version in force.
    pub expected_version: u32,
}

/// What came of a change, or would come of it.
#[derive(Debug, JsonSchema, Serialize)]
pub struct RulesChange {
    pub outcome: ChangeOutcome,
    /// The version that was asked for; absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The version in force now.
    pub in_force: u32,
    /// What protects less than before.
    pub weakens: Vec<String>,
    /// Until when a second human may confirm it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub expires_at: Option<Timestamp>,
    /// The humans known here who may confirm it; others become known as they log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmers: Option<Vec<HumanId>>,
}

#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeOutcome {
    /// In force from the next request on.
    Applied,
    /// Waits for a second human.
    Proposed,
    /// These rules are in force already.
    Unchanged,
    /// In a dry run.
    WouldApply,
    /// In a dry run.
    WouldPropose,
}

/// Shows the rules.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_rules(app: &App, query: &RulesQuery) -> Result<Done<RulesView>, Error> {
    let state = State::load(app).await?;
    let version = query.version.unwrap_or(state.in_force());
    let (toml, written_by, written_at) = match version {
        0 => (BUILT_IN.to_string(), "aegis".to_string(), state.deployment.value.created_at),
        _ => {
            let document = load_document(app, version).await?;
            (document.toml, document.created_by, document.created_at)
        }
    };
    let in_force = version == state.in_force();
    let mut proposals = Vec::new();
    for proposal in state.live(app.clock.now()).filter(|_| query.version.is_none()) {
        let weakens = compared(app, proposal.base, proposal.version).await?;
        proposals.push(ProposalView { proposal: proposal.clone(), weakens });
    }
    let applied = state.history.value.in_force.clone().filter(|_| in_force);
    Ok(Done::read(RulesView { version, in_force, toml, written_by, written_at, applied, proposals }))
}

/// Puts a document in force, or proposes it where it protects less.
///
/// # Errors
/// [`Error::Invalid`], which says where and why; [`Error::State`] if another version is in force than was expected.
pub async fn apply_rules(app: &App, permit: &Permit, asked: &ApplyRules) -> Result<Done<RulesChange>, Error> {
    let new = RuleSet::parse(&asked.toml)?;
    let mut state = State::load(app).await?;
    let now = app.clock.now();
    if text(app, state.in_force()).await? == asked.toml {
        return Ok(Done::read(state.unchanged(state.in_force())));
    }
    state.expect(asked.expected_version)?;
    let old = load_rules(app.store.as_ref(), state.in_force()).await?;
    let weakens = weakenings(&old, &new);
    let human = &permit.facts().human.id;
    if asked.dry_run {
        let outcome = if weakens.is_empty() { ChangeOutcome::WouldApply } else { ChangeOutcome::WouldPropose };
        return Ok(Done::read(RulesChange { outcome, weakens, version: None, ..state.unchanged(0) }));
    }
    for proposal in state.live(now) {
        if text(app, proposal.version).await? == asked.toml {
            return proposed(app, &state, proposal.clone(), weakens).await.map(Done::read);
        }
    }
    let version = state.history.value.latest.max(state.in_force()).saturating_add(1);
    state.history.value.latest = version;
    let document = RulesDocument { version, toml: asked.toml.clone(), created_at: now, created_by: human.to_string() };
    let put = document.put(Expect::Absent)?;
    state.change(app, human, version, weakens, vec![put]).await
}

/// Puts an earlier version in force again, or proposes it where it protects less.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::State`] if another version is in force than was expected, or none was before.
pub async fn roll_back_rules(app: &App, permit: &Permit, asked: &RollBackRules) -> Result<Done<RulesChange>, Error> {
    let state = State::load(app).await?;
    let before = || state.history.value.in_force.as_ref().map(|applied| applied.before);
    let first = Error::State { kind: "set of response rules in force", state: "the first" };
    let version = asked.version.or_else(before).ok_or(first)?;
    if version == state.in_force() {
        return Ok(Done::read(state.unchanged(version)));
    }
    state.expect(asked.expected_version)?;
    text(app, version).await?;
    let weakens = compared(app, state.in_force(), version).await?;
    if let Some(proposal) = state.live(app.clock.now()).find(|proposal| proposal.version == version) {
        return proposed(app, &state, proposal.clone(), weakens).await.map(Done::read);
    }
    state.change(app, &permit.facts().human.id, version, weakens, Vec::new()).await
}

/// Puts in force what another human proposed. Repeating it changes nothing.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Denied`] for the proposer; [`Error::State`] if it expired, other rules were put in force
/// meanwhile, or the proposer was revoked.
pub async fn confirm_rules(app: &App, permit: &Permit, version: u32) -> Result<Done<RulesChange>, Error> {
    let mut state = State::load(app).await?;
    let (human, now) = (&permit.facts().human.id, app.clock.now());
    let Some(proposal) = state.history.value.proposals.iter().find(|proposal| proposal.version == version).cloned()
    else {
        let applied = state.history.value.in_force.as_ref().filter(|applied| applied.version == version);
        return match applied.is_some_and(|applied| applied.confirmed_by.as_ref() == Some(human)) {
            true => Ok(Done::read(state.unchanged(version))),
            false => Err(Error::NotFound { kind: "proposal" }),
        };
    };
    let not = |state| Err(Error::State { kind: "proposal", state });
    if proposal.by == *human {
        let reason = match confirmers(app, human).await?.is_empty() {
            true => Reason::NoSecondHuman,
            false => Reason::SecondHumanNeeded,
        };
        return Err(Error::Denied { reason });
    }
    if proposal.expires_at <= now {
        return not("expired");
    }
    if proposal.base != state.in_force() {
        return not("one for rules that are no longer in force");
    }
    let proposer: Option<Loaded<Human>> =
        repository::load(app.store.as_ref(), &repository::human_item(&proposal.by)).await?;
    if proposer.is_none_or(|proposer| proposer.value.revoked) {
        return not("by a human who is revoked");
    }
    let weakens = compared(app, proposal.base, version).await?;
    state.put_in_force(&proposal.by, Some(human.clone()), version, now);
    let change = RulesChange { outcome: ChangeOutcome::Applied, weakens, ..state.unchanged(version) };
    Ok(Done { puts: state.puts()?, note: noted(format!("version {version}")), value: change })
}

/// What decides which rules are in force, as it was read.
struct State {
    deployment: Loaded<Deployment>,
    history: Loaded<RulesHistory>,
    /// Whether the history is not in the store yet.
    is_first: bool,
}

impl State {
    async fn load(app: &App) -> Result<Self, Error> {
        let store = app.store.as_ref();
        let found: Option<Loaded<Deployment>> = repository::load(store, &repository::deployment_item()).await?;
        let missing = || Error::Damaged { what: "store", source: "the deployment's own item is missing".into() };
        let deployment = found.ok_or_else(missing)?;
        let history: Option<Loaded<RulesHistory>> = repository::load(store, &repository::rules_history_item()).await?;
        let is_first = history.is_none();
        let history =
            history.unwrap_or_else(|| Loaded { value: RulesHistory::default(), revision: deployment.revision });
        Ok(Self { deployment, history, is_first })
    }

    fn in_force(&self) -> u32 {
        self.deployment.value.rules_version
    }

    fn live(&self, now: Timestamp) -> impl Iterator<Item = &RulesProposal> {
        let (proposals, in_force) = (self.history.value.proposals.iter(), self.in_force());
        proposals.filter(move |proposal| now < proposal.expires_at && proposal.base == in_force)
    }

    fn expect(&self, version: u32) -> Result<(), Error> {
        let state = "another than `expected_version` says";
        match version == self.in_force() {
            true => Ok(()),
            false => Err(Error::State { kind: "set of response rules in force", state }),
        }
    }

    fn unchanged(&self, version: u32) -> RulesChange {
        RulesChange {
            outcome: ChangeOutcome::Unchanged,
            version: Some(version),
            in_force: self.in_force(),
            weakens: Vec::new(),
            expires_at: None,
            confirmers: None,
        }
    }

    /// Puts `version` in force if it weakens nothing, else proposes it.
    async fn change(
        mut self,
        app: &App,
        human: &HumanId,
        version: u32,
        weakens: Vec<String>,
        mut puts: Vec<Put>,
    ) -> Result<Done<RulesChange>, Error> {
        let now = app.clock.now();
        if weakens.is_empty() {
            self.put_in_force(human, None, version, now);
            puts.extend(self.puts()?);
            let value = RulesChange { outcome: ChangeOutcome::Applied, ..self.unchanged(version) };
            return Ok(Done { value, puts, note: noted(format!("version {version}")) });
        }
        let base = self.in_force();
        let proposals = &mut self.history.value.proposals;
        // One that expired stays until there is another, so that who comes late is told so.
        proposals.retain(|proposal| now < proposal.expires_at && proposal.base == base && proposal.version != version);
        if proposals.len() >= MAX_PROPOSALS {
            let state = "too many to add another; confirm one, or wait until one expires";
            return Err(Error::State { kind: "number of proposals that wait", state });
        }
        let expires_at = after_seconds(now, PROPOSED_FOR);
        let proposal = RulesProposal { version, base, by: human.clone(), at: now, expires_at };
        proposals.push(proposal.clone());
        puts.push(self.put_history()?);
        let value = proposed(app, &self, proposal, weakens).await?;
        Ok(Done { value, puts, note: noted(format!("version {version}, proposed")) })
    }

    fn put_in_force(&mut self, by: &HumanId, confirmed_by: Option<HumanId>, version: u32, at: Timestamp) {
        let before = self.in_force();
        self.deployment.value.rules_version = version;
        self.history.value.proposals.clear();
        self.history.value.in_force = Some(RulesApplied { version, before, by: by.clone(), confirmed_by, at });
    }

    fn puts(&self) -> Result<Vec<Put>, Error> {
        Ok(vec![self.deployment.replace()?, self.put_history()?])
    }

    fn put_history(&self) -> Result<Put, Error> {
        match self.is_first {
            true => self.history.value.put(Expect::Absent),
            false => self.history.replace(),
        }
    }
}

fn noted(object: String) -> Note {
    Note { object: Some(object), ..Note::default() }
}

async fn proposed(
    app: &App,
    state: &State,
    proposal: RulesProposal,
    weakens: Vec<String>,
) -> Result<RulesChange, Error> {
    Ok(RulesChange {
        outcome: ChangeOutcome::Proposed,
        weakens,
        expires_at: Some(proposal.expires_at),
        confirmers: Some(confirmers(app, &proposal.by).await?),
        ..state.unchanged(proposal.version)
    })
}

/// The humans who may confirm what `proposer` proposed, as far as they ever logged in.
async fn confirmers(app: &App, proposer: &HumanId) -> Result<Vec<HumanId>, Error> {
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..MAX_HUMAN_PAGES {
        let partition = repository::ALL_HUMANS.to_string();
        let page =
            repository::list::<Human>(app.store.as_ref(), Index::First, partition, Order::Ascending, HUMAN_PAGE, after)
                .await?;
        let may = |human: &Human| {
            !human.revoked && (human.roles.contains(&Role::Admin) || human.roles.contains(&Role::Operator))
        };
        found.extend(page.items.into_iter().filter(|human| human.id != *proposer && may(human)).map(|human| human.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

/// What protects less under `new` than under `old`.
async fn compared(app: &App, old: u32, new: u32) -> Result<Vec<String>, Error> {
    let store = app.store.as_ref();
    Ok(weakenings(&load_rules(store, old).await?, &load_rules(store, new).await?))
}

async fn text(app: &App, version: u32) -> Result<String, Error> {
    match version {
        0 => Ok(BUILT_IN.to_string()),
        _ => Ok(load_document(app, version).await?.toml),
    }
}

async fn load_document(app: &App, version: u32) -> Result<RulesDocument, Error> {
    let found: Option<Loaded<RulesDocument>> =
        repository::load(app.store.as_ref(), &repository::rules_item(version)).await?;
    Ok(found.ok_or(Error::NotFound { kind: "version of the response rules" })?.value)
}
