//! Humans: stopping one with all her agents, and letting her back.

use crate::error::Error;
use crate::human::{Human, Role};
use crate::id::{AgentId, CredentialId};
use crate::name::HumanId;
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Loaded};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;

/// Refuses a human and every agent she sponsors, from the next request on. Repeating it changes nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke_human(app: &App, id: &HumanId) -> Result<Done<Human>, Error> {
    let mut loaded = load_human(app, id).await?;
    if loaded.value.revoked {
        return Ok(Done::read(loaded.value));
    }
    loaded.value.revoked = true;
    loaded.value.epoch = loaded.value.epoch.saturating_add(1);
    let puts = vec![loaded.replace()?];
    Ok(Done { value: loaded.value, puts, note: Note::default() })
}

/// Allows a revoked human to log in again. Nothing issued before lives again: her agents need new credentials. Repeating
/// it, or asking it for one who is not revoked, changes nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn reinstate_human(app: &App, id: &HumanId) -> Result<Done<Human>, Error> {
    let mut loaded = load_human(app, id).await?;
    if !loaded.value.revoked {
        return Ok(Done::read(loaded.value));
    }
    loaded.value.revoked = false;
    let puts = vec![loaded.replace()?];
    Ok(Done { value: loaded.value, puts, note: Note::default() })
}

/// Who the caller is to Aegis.
#[derive(Debug, JsonSchema, Serialize)]
pub struct Whoami {
    pub human: HumanId,
    pub roles: BTreeSet<Role>,
    /// The agent that asks, then those above it; empty for a human.
    pub agents: Vec<AgentId>,
    pub credential: CredentialId,
    /// Unix seconds.
    pub expires_at: i64,
}

pub async fn whoami(permit: &Permit) -> Result<Done<Whoami>, Error> {
    let facts = permit.facts();
    Ok(Done::read(Whoami {
        human: facts.human.id.clone(),
        roles: facts.human.roles.clone(),
        agents: facts.chain.iter().map(|agent| agent.value.id.clone()).collect(),
        credential: facts.claims.jti.clone(),
        expires_at: facts.claims.exp,
    }))
}

async fn load_human(app: &App, id: &HumanId) -> Result<Loaded<Human>, Error> {
    let found = repository::load(app.store.as_ref(), &repository::human_item(id)).await?;
    found.ok_or(Error::NotFound { kind: "human" })
}
