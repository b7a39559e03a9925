//! The one pipeline: identify, authorize, score, decide; then, with the permit, execute and record.
//!
//! [`admit`] makes a [`Permit`] or refuses and records why. [`perform`] is the only way from a permit to a reply, and it
//! writes the record first. Nothing else builds a permit, so no operation runs undecided and none replies unrecorded.

mod admit;
mod begin;
mod bucket;
mod crossing;
mod facts;
mod foresee;
mod limits;
mod live;
mod once;
mod perform;
mod permit;
mod refuse;
mod resume;
mod share;
mod step_up;
mod throttle;

pub use admit::{Sight, admit};
pub use begin::initialize;
pub use crossing::{Answer, Crossing, KEY_LIFE, PermitKey, PermitKeys, PermitReader, PermitSigner};
pub(crate) use facts::{FRESH_LOGIN, agent_facts, approval_facts};
pub use facts::{Facts, Found, Target};
pub use foresee::{Foreseen, foresee};
pub use live::{InMemory, LiveCounters, SharedCounters};
pub use once::{Once, Recorded};
pub use perform::{Done, Note, perform};
pub use permit::{Obligation, Permit};
pub use resume::resume;
pub use share::Shares;
pub use throttle::{Throttle, Throttled};

use crate::ambient::{Clock, Entropy, Timestamp};
use crate::deployment::{Deployment, DigestKey, PolicyDocument, RulesDocument};
use crate::error::Error;
use crate::id::RequestId;
use crate::keystore::KeyStores;
use crate::login::Logins;
use crate::operation::Operation;
use crate::policy::Policies;
use crate::record::{Claimed, Plane};
use crate::repository::{self, Loaded};
use crate::rules::RuleSet;
use crate::store::Store;
use crate::token::{Presented, TokenKeys};
use crate::webhook::Reach;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// What a deployment runs on: the ports, the keys it signs with, the policies. A composition root makes one.
pub struct App {
    pub store: Arc<dyn Store>,
    pub keystores: KeyStores,
    pub tokens: TokenKeys,
    pub logins: Logins,
    pub digest_key: DigestKey,
    pub clock: Clock,
    pub entropy: Entropy,
    pub policies: PolicyCache,
    pub rules: RulesCache,
    /// Requests of each human, and of each agent with all below it, in a minute.
    pub throttle: Throttle,
    /// The same, to the second, for scoring.
    pub live: LiveCounters,
    pub reads: Recorded,
    pub shares: Shares,
    /// Where webhooks may be sent.
    pub webhooks_reach: Reach,
    /// Where humans answer approvals in a browser: the page's URL, before the approval's id. `None` where there is none.
    pub approval_page: Option<String>,
}

/// One request, before anything is known of who makes it.
#[derive(Clone)]
pub struct Request<'a> {
    pub id: RequestId,
    pub arrived_at: Timestamp,
    /// Unverified.
    pub token: Presented<'a>,
    pub operation: Operation,
    pub target: Target,
    pub plane: Plane,
    pub source: IpAddr,
    pub user_agent: Option<&'a str>,
    /// Recorded, never decided on.
    pub claims: Option<&'a Claimed>,
    /// Digested for the record, never kept. `None` at an edge, which sees none.
    pub body: Option<&'a [u8]>,
    /// Or why it cannot be one.
    pub idempotency_key: Option<Result<&'a str, &'static str>>,
}

impl Request<'_> {
    /// What acts on a request has its body, be it empty.
    pub(crate) fn body(&self) -> &[u8] {
        self.body.unwrap_or_default()
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// How often a transaction that met another writer is tried again.
pub(crate) const ATTEMPTS: u32 = 24;

/// The compiled policies, replaced when the deployment's version moves on.
#[derive(Debug, Default)]
pub struct PolicyCache(RwLock<Option<Arc<Policies>>>);

impl PolicyCache {
    /// The policies of `version`, compiled on first sight.
    async fn of_version(&self, store: &dyn Store, version: u32) -> Result<Arc<Policies>, Error> {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(policies) = cached.filter(|policies| policies.version == version) {
            return Ok(policies);
        }
        let missing = || Error::Damaged { what: "policy", source: "the deployment names one that is not there".into() };
        let document: Loaded<PolicyDocument> =
            repository::load(store, &repository::policy_item(version)).await?.ok_or_else(missing)?;
        let policies = Arc::new(Policies::compile(&document.value)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&policies));
        Ok(policies)
    }
}

/// The response rules, replaced when the deployment's version moves on.
#[derive(Debug, Default)]
pub struct RulesCache(RwLock<Option<(u32, Arc<RuleSet>)>>);

impl RulesCache {
    /// The rules of `version`, read on first sight.
    pub(crate) async fn of_version(&self, store: &dyn Store, version: u32) -> Result<Arc<RuleSet>, Error> {
        let cached = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, rules)) = cached.filter(|(cached, _)| *cached == version) {
            return Ok(rules);
        }
        let rules = Arc::new(load_rules(store, version).await?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((version, Arc::clone(&rules)));
        Ok(rules)
    }
}

/// The rules of one version. Those of a stored document that this program cannot read any more are the built-in ones: a
/// deployment that refused every request could not be given others.
pub(crate) async fn load_rules(store: &dyn Store, version: u32) -> Result<RuleSet, Error> {
    if version == 0 {
        return Ok(RuleSet::default());
    }
    let missing = || Error::Damaged { what: "rules", source: "the deployment names some that are not there".into() };
    let document: Loaded<RulesDocument> =
        repository::load(store, &repository::rules_item(version)).await?.ok_or_else(missing)?;
    RuleSet::parse(&document.value.toml).or_else(|error| {
        let why = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(version, error = why, "response rules not readable, built-in ones in force");
        Ok(RuleSet::default())
    })
}

/// Ties a deployment to where its humans come from, the first time or if told to `anew`; safe to repeat. Returns what it is
/// tied to, if that is something else, and then changes nothing.
///
/// # Errors
/// [`Error::Damaged`] before [`initialize`]; [`Error::Unavailable`].
pub async fn tie_humans(store: &dyn Store, source: &str, anew: bool) -> Result<Option<String>, Error> {
    let found: Option<Loaded<Deployment>> = repository::load(store, &repository::deployment_item()).await?;
    let missing = || Error::Damaged { what: "store", source: "the deployment's own item is missing".into() };
    let mut found = found.ok_or_else(missing)?;
    match found.value.humans_from.as_deref() {
        Some(tied) if tied == source => return Ok(None),
        Some(tied) if !anew => return Ok(Some(tied.to_string())),
        _ => found.value.humans_from = Some(source.to_string()),
    }
    store.transact(vec![found.replace()?]).await?;
    Ok(None)
}

/// What the deployment is now.
///
/// # Errors
/// [`Error::Damaged`] before [`initialize`]; [`Error::Unavailable`].
pub async fn deployment(app: &App) -> Result<Deployment, Error> {
    let found: Option<Loaded<Deployment>> =
        repository::load(app.store.as_ref(), &repository::deployment_item()).await?;
    let missing = || Error::Damaged { what: "store", source: "the deployment's own item is missing".into() };
    Ok(found.ok_or_else(missing)?.value)
}
