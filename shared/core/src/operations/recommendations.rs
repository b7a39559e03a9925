//! What detectors said, what was done about it, and what people make of it.

use super::listing::{PageOf, PageQuery, cursor_at};
use crate::agent::Agent;
use crate::error::Error;
use crate::id::{AgentId, RecommendationId};
use crate::operation::Operation;
use crate::pipeline::{App, Done, Note, Permit};
use crate::policy::Resource;
use crate::reason::Reason;
use crate::recommendation::{Answered, Detector, RecommendationRecord, ResponseAction};
use crate::repository::{self, ALL_RECOMMENDATIONS, Loaded};
use crate::response;
use crate::rules::VIOLATION;
use crate::store::{Index, Order, Put};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Lists recommendations, newest first: all, for those who may see all; else those about the human's own agents. To an
/// agent, what is said of its own human and her agents is left out.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor.
pub async fn list_recommendations(
    app: &App,
    permit: &Permit,
    query: &PageQuery,
) -> Result<Done<PageOf<RecommendationRecord>>, Error> {
    let (limit, after) = (query.limit()?, query.position()?);
    let (index, partition) = match sees_all(app, permit) {
        true => (Index::First, ALL_RECOMMENDATIONS.to_string()),
        false => (Index::Second, repository::recommendations_of(&permit.facts().human.id)),
    };
    let store = app.store.as_ref();
    let mut page =
        repository::list::<RecommendationRecord>(store, index, partition, Order::Descending, limit, after).await?;
    page.items.retain(|found| !is_hidden(permit, found) && (sees_all(app, permit) || is_own(permit, found)));
    page.items.iter_mut().for_each(|found| tell(permit, found));
    Ok(Done::read(PageOf { items: page.items, next_cursor: page.next.as_ref().map(cursor_at) }))
}

/// Shows one.
///
/// # Errors
/// [`Error::NotFound`] for those who may see all; to others what is not there and what is not theirs look alike.
pub async fn get_recommendation(
    app: &App,
    permit: &Permit,
    id: &RecommendationId,
) -> Result<Done<RecommendationRecord>, Error> {
    let mut found = load(app, permit, id).await?.value;
    tell(permit, &mut found);
    Ok(Done::read(found))
}

/// What to say of a recommendation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRecommendation {
    /// Why; kept with it. At most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub note: Option<String>,
}

impl AnswerRecommendation {
    fn answered(&self, app: &App, permit: &Permit) -> Result<Answered, Error> {
        let note = self.note.clone();
        if note.as_ref().is_some_and(|note| note.chars().count() > 500) {
            return Err(Error::invalid("note", "it has at most 500 characters"));
        }
        let (by, record) = (permit.facts().human.id.clone(), permit.id().clone());
        Ok(Answered { at: app.clock.now(), by, record, note })
    }
}

/// Says that what the detector found is normal: the actor's baseline learns it. What was done about it stays done.
/// Repeating it changes nothing.
///
/// # Errors
/// As [`get_recommendation`].
pub async fn dismiss_recommendation(
    app: &App,
    permit: &Permit,
    id: &RecommendationId,
    answer: &AnswerRecommendation,
) -> Result<Done<RecommendationRecord>, Error> {
    let (answered, mut found) = (answer.answered(app, permit)?, load(app, permit, id).await?);
    if found.value.dismissed.is_some() {
        return Ok(Done::read(found.value));
    }
    found.value.dismissed = Some(answered);
    let puts = vec![found.replace()?];
    Ok(done(found.value, puts, id))
}

/// Undoes what was done about it, where that has meaning: an agent that it froze goes on, holds end, and what was not done yet
/// is not done. What is revoked stays revoked, and a key that was deactivated or rotated stays so. Repeating it changes nothing.
///
/// # Errors
/// As [`get_recommendation`]; [`Error::State`] if nothing of it can be undone.
pub async fn undo_recommendation(
    app: &App,
    permit: &Permit,
    id: &RecommendationId,
    answer: &AnswerRecommendation,
) -> Result<Done<RecommendationRecord>, Error> {
    let (answered, mut found) = (answer.answered(app, permit)?, load(app, permit, id).await?);
    if found.value.undone.is_some() {
        return Ok(Done::read(found.value));
    }
    let undoable =
        |action| matches!(action, ResponseAction::Deny | ResponseAction::FreezeAgent | ResponseAction::StepUp);
    let undone = found.value.responses.iter().filter(|done| undoable(done.action));
    let agents: BTreeSet<&AgentId> = undone.filter_map(|done| done.agent.as_ref()).collect();
    let mut puts = response::take_back(app, id).await?;
    for agent in agents {
        let item = repository::agent_item(agent);
        let loaded: Option<Loaded<Agent>> = repository::load(app.store.as_ref(), &item).await?;
        puts.extend(loaded.map(|agent| lift(agent, &found.value)).transpose()?.flatten());
    }
    if puts.is_empty() {
        return Err(Error::State { kind: "recommendation", state: "without a response that could be undone" });
    }
    found.value.undone = Some(answered);
    puts.push(found.replace()?);
    Ok(done(found.value, puts, id))
}

/// Frees the agent of what was done to it because of this recommendation, and of nothing else.
fn lift(mut agent: Loaded<Agent>, of: &RecommendationRecord) -> Result<Option<Put>, Error> {
    let changed = agent.value.take_back(&of.recommendation.id, &of.record);
    changed.then(|| agent.replace()).transpose()
}

fn done(value: RecommendationRecord, puts: Vec<Put>, id: &RecommendationId) -> Done<RecommendationRecord> {
    Done { value, puts, note: Note { object: Some(id.to_string()), ..Note::default() } }
}

fn sees_all(app: &App, permit: &Permit) -> bool {
    permit.facts().decide(Operation::RecommendationList, &Resource::Deployment, app.clock.now()).is_ok()
}

/// Whether an agent asks, and this is about its own human or one of her agents: itself, or what may act for it. Who knows
/// which detector said what on which evidence knows how far to go. Nor is any agent told which key is a canary.
fn is_hidden(permit: &Permit, found: &RecommendationRecord) -> bool {
    let facts = permit.facts();
    let found = &found.recommendation;
    let of_own = found.sponsor == facts.human.id;
    // What several did with a key is of whoever did it, and names none of them.
    !facts.chain.is_empty() && (of_own || found.detector == Detector::CanaryKey || found.detector.is_about_a_key())
}

/// Whether it is about her or her agents. What others do with a key that she made is not.
fn is_own(permit: &Permit, found: &RecommendationRecord) -> bool {
    let found = &found.recommendation;
    found.sponsor == permit.facts().human.id && !found.detector.is_about_a_key()
}

/// To an agent a key that does not exist and one outside a scope look alike.
fn tell(permit: &Permit, found: &mut RecommendationRecord) {
    let about = &mut found.recommendation;
    let refused = matches!(about.detector, Detector::ScopeProbe | Detector::ScopeViolation);
    if refused && !permit.facts().chain.is_empty() {
        (about.detector, about.severity, about.evidence.key) = (Detector::ScopeViolation, VIOLATION, None);
    }
}

async fn load(app: &App, permit: &Permit, id: &RecommendationId) -> Result<Loaded<RecommendationRecord>, Error> {
    let item = repository::recommendation_item(id);
    let found: Option<Loaded<RecommendationRecord>> = repository::load(app.store.as_ref(), &item).await?;
    let own = |found: &Loaded<RecommendationRecord>| is_own(permit, &found.value);
    match (sees_all(app, permit), found) {
        (_, Some(found)) if is_hidden(permit, &found.value) => Err(Error::Denied { reason: Reason::Policy }),
        (true, found) => found.ok_or(Error::NotFound { kind: "recommendation" }),
        (false, Some(found)) if own(&found) => Ok(found),
        (false, _) => Err(Error::Denied { reason: Reason::Policy }),
    }
}
