//! What every way of making a key has in common: its description, its first name, and the writes that make it be.

use super::key_lifecycle::load_key;
use crate::algorithm::Algorithm;
use crate::ambient::Timestamp;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Environment, Key, KeyRecord, KeyState, MAX_LABELS, Origin, Tier, VersionRecord};
use crate::keystore::Material;
use crate::name::{BackendName, KeyName, Label, ObjectName};
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Alias, Document, Loaded};
use crate::store::{Expect, Put};
use crate::survey::AtBackend;
use std::collections::BTreeSet;

/// What a caller says of a key to be.
pub(super) struct Description<'a> {
    pub(super) name: &'a KeyName,
    pub(super) algorithm: Algorithm,
    pub(super) tier: Tier,
    pub(super) environment: Environment,
    pub(super) canary: bool,
    pub(super) labels: &'a BTreeSet<Label>,
    pub(super) activate: bool,
    pub(super) rotate_every_days: Option<u16>,
}

/// Where the material of a key to be comes from, and where it is.
pub(super) struct Source {
    pub(super) origin: Origin,
    pub(super) backend: Option<BackendName>,
    pub(super) object: Option<ObjectName>,
    pub(super) material: Material,
    pub(super) at_backend: Option<AtBackend>,
}

/// A description that was checked, and a name that was free when it was.
pub(super) struct NewKey<'a> {
    pub(super) id: KeyId,
    described: Description<'a>,
    now: Timestamp,
    alias: Expect,
    formers: Vec<KeyId>,
}

impl<'a> NewKey<'a> {
    /// Checks the description, before anything is made for it.
    ///
    /// # Errors
    /// [`Error::NameTaken`]; [`Error::Invalid`].
    pub(super) async fn check(app: &App, described: Description<'a>) -> Result<Self, Error> {
        check_rotation(described.rotate_every_days)?;
        check_labels(described.labels)?;
        let item = repository::alias_item(described.name);
        let alias: Option<Loaded<Alias>> = repository::load(app.store.as_ref(), &item).await?;
        let (alias, formers) = match alias {
            Some(Loaded { value: Alias { key: Some(_), .. }, .. }) => {
                return Err(Error::NameTaken { name: described.name.to_string() });
            }
            Some(unused) => (Expect::Current(unused.revision), unused.value.formers),
            None => (Expect::Absent, Vec::new()),
        };
        let now = app.clock.now();
        Ok(Self { id: KeyId::new(now, &app.entropy), described, now, alias, formers })
    }

    /// The key, with the writes that make it and `more` of them.
    pub(super) fn made(self, permit: &Permit, source: Source, more: Vec<Put>) -> Result<Done<Key>, Error> {
        let Self { id, described, now, alias, formers } = self;
        let human = &permit.facts().human.id;
        let key = Key {
            id: id.clone(),
            aliases: [described.name.clone()].into(),
            algorithm: described.algorithm,
            origin: source.origin,
            backend: source.backend,
            object: source.object,
            at_backend: source.at_backend,
            state: if described.activate { KeyState::Active } else { KeyState::PreActive },
            suspended: false,
            tier: described.tier,
            environment: described.environment,
            canary: described.canary,
            labels: described.labels.clone(),
            version: 1,
            created_at: now,
            created_by: human.clone(),
            changed_by: human.clone(),
            rotated_at: now,
            rotate_every_days: described.rotate_every_days,
            destroy_at: None,
        };
        let material = Some(source.material);
        let mut puts = vec![
            KeyRecord { key: key.clone(), material: material.clone(), former_labels: Vec::new() }
                .put(Expect::Absent)?,
            VersionRecord { key: id.clone(), version: 1, material, disabled: false }.put(Expect::Absent)?,
            Alias { name: described.name.clone(), key: Some(id.clone()), formers }.put(alias)?,
        ];
        puts.extend(more);
        let note = Note { key: Some(id), key_version: Some(1), ..Note::default() };
        Ok(Done { value: shown(permit, key), puts, note })
    }
}

/// The key that an earlier request with the same idempotency key made.
pub(super) async fn made_before(app: &App, permit: &Permit, id: String) -> Result<Done<Key>, Error> {
    Ok(Done::read(shown(permit, load_key(app, &read_id(id)?).await?.value.key)))
}

/// The key as whoever asks may see it.
pub(super) fn shown(permit: &Permit, key: Key) -> Key {
    if permit.facts().chain.is_empty() { key } else { key.as_agents_see_it() }
}

fn read_id(id: String) -> Result<KeyId, Error> {
    KeyId::try_from(id).map_err(|error| Error::Damaged { what: "idempotency record", source: error.into() })
}

pub(super) fn check_rotation(days: Option<u16>) -> Result<(), Error> {
    match days.is_none_or(|days| (1..=3650).contains(&days)) {
        true => Ok(()),
        false => Err(Error::invalid("rotate_every_days", "it must lie between 1 and 3650")),
    }
}

pub(super) fn check_labels(labels: &BTreeSet<Label>) -> Result<(), Error> {
    match labels.len() <= MAX_LABELS {
        true => Ok(()),
        false => Err(Error::invalid("labels", "a key has at most 32")),
    }
}
