//! Putting a key under Aegis that a back end has already. Its material stays where it is, in the form it has: what the
//! back end's own tools make with it, Aegis accepts, and the other way round.

use super::key_lifecycle::check_rotates;
use super::new_key::{Description, NewKey, Source, made_before};
use crate::algorithm::Algorithm;
use crate::encoding::hex;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Environment, Key, Origin, Tier};
use crate::keystore::{KeyStoreError, Material};
use crate::name::{BackendName, KeyName, Label, ObjectName};
use crate::pipeline::{App, Done, Permit};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey, Put};
use crate::survey;
use aws_lc_rs::digest::{SHA256, digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterKey {
    pub name: KeyName,
    /// A back end of the deployment, by the name its operator gave it.
    pub backend: BackendName,
    /// What the back end calls the object.
    pub object: ObjectName,
    /// What the key shall be used for. An RSA key could serve several; under Aegis it serves this one, for ever.
    pub algorithm: Algorithm,
    #[serde(default)]
    pub tier: Tier,
    #[serde(default)]
    pub environment: Environment,
    /// Whether nobody shall ever have reason to use it: an agent that touches it is revoked at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    #[serde(default)]
    #[schemars(with = "Vec<Label>", length(max = 32))]
    pub labels: BTreeSet<Label>,
    /// Whether the key is active at once; otherwise it begins pre-active.
    #[serde(default)]
    pub activate: bool,
    /// Days between scheduled rotations, 1 to 3650; none if absent. A rotation makes a new object at the back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub rotate_every_days: Option<u16>,
}

/// Which key what a back end holds is. Never removed: it is one key, whose state and grants hold for it, under whatever
/// name and at whatever back end it is found.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claim {
    /// Digest of the public half; where there is none, the back end and what it calls the object.
    of: String,
    key: KeyId,
}

impl Document for Claim {
    fn item_key(&self) -> ItemKey {
        claim_item(&self.of)
    }
}

fn claim_item(of: &str) -> ItemKey {
    ItemKey::state(format!("claim/{of}"), "claim")
}

/// The write that makes what `material` stands for the key's; none where it is already.
///
/// # Errors
/// [`Error::Invalid`] if it is another key's.
pub(super) async fn claim(
    app: &App,
    backend: &BackendName,
    key: &KeyId,
    material: &Material,
) -> Result<Option<Put>, Error> {
    let of = match &material.public_key {
        Some(public) => hex(digest(&SHA256, public).as_ref()),
        None => format!("{backend}/{}", hex(digest(&SHA256, &material.sealed).as_ref())),
    };
    let known: Option<Loaded<Claim>> = repository::load(app.store.as_ref(), &claim_item(&of)).await?;
    match known {
        Some(known) if known.value.key == *key => Ok(None),
        Some(known) => Err(Error::invalid("object", format!("it is registered already, as {}", known.value.key))),
        None => Ok(Some(Claim { of, key: key.clone() }.put(Expect::Absent)?)),
    }
}

/// Makes a key of an object that a back end has already.
///
/// # Errors
/// [`Error::NameTaken`]; [`Error::Invalid`] if there is no such back end, or it has no such object for the algorithm, or the
/// object is a key's already.
pub async fn register_key(
    app: &App,
    permit: &Permit,
    input: &RegisterKey,
    earlier: Option<String>,
) -> Result<Done<Key>, Error> {
    if let Some(id) = earlier {
        return made_before(app, permit, id).await;
    }
    let described = Description {
        name: &input.name,
        algorithm: input.algorithm,
        tier: input.tier,
        environment: input.environment,
        canary: input.canary,
        labels: &input.labels,
        activate: input.activate,
        rotate_every_days: input.rotate_every_days,
    };
    let keystore = app.keystores.backend(&input.backend)?;
    let new = NewKey::check(app, described).await?;
    if input.rotate_every_days.is_some() {
        check_rotates(keystore, &new.id, input.algorithm)?;
    }
    let who = || permit.facts().claims.root();
    let _turn = app.shares.enter(who, permit.operation(), input.algorithm, Some(&input.backend), app.clock.now())?;
    let registered = keystore.register(input.algorithm, &input.object).await;
    let material = registered.map_err(|error| match error {
        KeyStoreError::Invalid { .. } => Error::invalid("object", error),
        other => other.into(),
    })?;
    let claimed = claim(app, &input.backend, &new.id, &material).await?;
    let (backend, object) = (Some(input.backend.clone()), Some(input.object.clone()));
    let at_backend = survey::ask(keystore, &material, app.clock.now()).await;
    let source = Source { origin: Origin::Registered, backend, object, material, at_backend };
    new.made(permit, source, claimed.into_iter().collect())
}
