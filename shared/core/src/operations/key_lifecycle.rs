//! Making keys, and moving them through their states.

use super::key_register;
use super::key_use::present;
use super::listing::{MAX_LIMIT, PageOf, cursor_at};
use super::new_key::{Description, NewKey, Source, check_labels, check_rotation, made_before, shown};
use super::usage::{KeyQuery, unused_keys};
use crate::algorithm::Algorithm;
use crate::error::Error;
use crate::id::{KeyId, RecordId};
use crate::intent::{self, Begun};
use crate::key::{DESTROY_WINDOW_DAYS, Environment, Key, KeyRecord, Origin, Tier, Transition, VersionRecord};
use crate::keystore::{Calls, KeyStore, KeyStoreError, Material, VersionRef};
use crate::name::{BackendName, KeyName, Label};
use crate::pipeline::{App, Done, Note, Permit};
use crate::reason::Reason;
use crate::repository::{self, ALL_KEYS, Document, Loaded};
use crate::store::{Expect, Index, Order, Position, Put};
use crate::survey::{self, AtBackend, Lockdown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    pub name: KeyName,
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
    /// Days between scheduled rotations, 1 to 3650; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub rotate_every_days: Option<u16>,
    /// The back end that shall make and hold the material; Aegis itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
}

/// Makes a key with fresh material, and gives it its first name.
///
/// # Errors
/// [`Error::NameTaken`]; [`Error::Invalid`]; [`Error::Denied`] for an agent that asks for a canary, or for a
/// label that its scope does not name.
pub async fn create_key(
    app: &App,
    permit: &Permit,
    input: &CreateKey,
    earlier: Option<String>,
) -> Result<Done<Key>, Error> {
    if let Some(id) = earlier {
        return made_before(app, permit, id).await;
    }
    // Whoever lays out canaries knows which keys are none.
    if input.canary && !permit.facts().chain.is_empty() {
        return Err(Error::Denied { reason: Reason::Policy });
    }
    if !input.labels.iter().all(|label| permit.facts().may_label(label)) {
        return Err(Error::Denied { reason: Reason::GrantWidening });
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
    let new = NewKey::check(app, described).await?;
    if let (Some(backend), Some(_)) = (&input.backend, input.rotate_every_days) {
        check_rotates(app.keystores.backend(backend)?, &new.id, input.algorithm)?;
    }
    let version = VersionRef { key: &new.id, version: 1, algorithm: input.algorithm, calls: Some(permit.calls()) };
    let who = || permit.facts().claims.root();
    let _turn = app.shares.enter(who, permit.operation(), input.algorithm, input.backend.as_ref(), app.clock.now())?;
    let by = Begun { id: permit.id(), human: &permit.facts().human.id };
    let (material, settled) = fresh(app, version, input.backend.as_ref(), by).await?;
    let at_backend = match &input.backend {
        Some(name) => survey::ask(app.keystores.backend(name)?, &material, app.clock.now()).await,
        None => None,
    };
    let backend = input.backend.clone();
    let source = Source { origin: Origin::Generated, backend, object: None, material, at_backend };
    new.made(permit, source, settled)
}

/// What may be changed of a key at any time. Absent fields stay.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Whether an agent that touches it is revoked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<bool>,
    /// All labels from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Label>>", length(max = 32))]
    pub labels: Option<BTreeSet<Label>>,
    /// Days between scheduled rotations, 1 to 3650; 0 ends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3650))]
    pub rotate_every_days: Option<u16>,
}

/// Changes what describes a key.
///
/// # Errors
/// [`Error::Invalid`].
pub async fn update_key(app: &App, permit: &Permit, input: &UpdateKey) -> Result<Done<Key>, Error> {
    let now = app.clock.now();
    change(app, permit, |record| {
        if let Some(labels) = &input.labels {
            check_labels(labels)?;
            record.relabel(labels.clone(), now);
        }
        let key = &mut record.key;
        if let Some(days) = input.rotate_every_days {
            let days = Some(days).filter(|days| *days > 0);
            check_rotation(days)?;
            if days.is_some() {
                check_rotates(app.keystores.of(key)?, &key.id, key.algorithm)?;
            }
            key.rotate_every_days = days;
        }
        key.tier = input.tier.unwrap_or(key.tier);
        key.environment = input.environment.unwrap_or(key.environment);
        key.canary = input.canary.unwrap_or(key.canary);
        Ok(())
    })
    .await
}

/// Moves the key along one of the standard's arrows; [`Transition::Destroy`] has its own function.
///
/// # Errors
/// [`Error::KeyState`] where there is no such arrow.
pub async fn move_key(app: &App, permit: &Permit, transition: Transition) -> Result<Done<Key>, Error> {
    change(app, permit, |record| record.key.apply(transition)).await
}

/// Makes the key unusable, or usable again, beside its state.
///
/// # Errors
/// [`Error::KeyState`] if the key is destroyed.
pub async fn suspend_key(app: &App, permit: &Permit, suspended: bool) -> Result<Done<Key>, Error> {
    change(app, permit, |record| {
        record.key.suspended = suspended;
        record.key.check_not_destroyed()
    })
    .await
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DestroyKey {
    /// Days in which the destruction can be cancelled, 7 to 30; 7 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 7, max = 30))]
    pub pending_days: Option<u16>,
}

/// Begins the pending window, at the end of which the material is gone.
///
/// # Errors
/// [`Error::KeyState`] if the key is active, or destroyed, or being destroyed.
pub async fn destroy_key(app: &App, permit: &Permit, input: &DestroyKey) -> Result<Done<Key>, Error> {
    let days = input.pending_days.unwrap_or(*DESTROY_WINDOW_DAYS.start());
    if !DESTROY_WINDOW_DAYS.contains(&days) {
        return Err(Error::invalid("pending_days", "it must lie between 7 and 30"));
    }
    let now = app.clock.now();
    change(app, permit, |record| record.key.schedule_destruction(days, now)).await
}

/// Keeps a key whose destruction is pending.
///
/// # Errors
/// [`Error::KeyState`] if none is.
pub async fn cancel_destroy_key(app: &App, permit: &Permit) -> Result<Done<Key>, Error> {
    let now = app.clock.now();
    change(app, permit, |record| record.key.cancel_destruction(now)).await
}

/// Makes a fresh version of a key the one that signs and encrypts. Earlier versions still verify and decrypt; nothing is
/// re-encrypted.
///
/// # Errors
/// [`Error::KeyState`] unless the key is active.
pub async fn rotate_key(app: &App, permit: &Permit, earlier: Option<String>) -> Result<Done<Key>, Error> {
    let mut loaded = load_key(app, &permit.key()?.key.id).await?;
    if let Some(id) = earlier {
        // A name may lead elsewhere by now: the repetition is about the key that was rotated.
        return made_before(app, permit, id).await;
    }
    loaded.value.key.changed_by = permit.facts().human.id.clone();
    let puts = rotation(app, &mut loaded, permit.id(), permit.calls()).await?;
    let key = loaded.value.key;
    let note = Note { key: Some(key.id.clone()), key_version: Some(key.version), ..Note::default() };
    Ok(Done { value: shown(permit, key), puts, note })
}

/// The writes that rotate a key. `id` is that of the record they will go with; what is asked of a back end is noted in `calls`.
pub(crate) async fn rotation(
    app: &App,
    loaded: &mut Loaded<KeyRecord>,
    id: &RecordId,
    calls: &Calls,
) -> Result<Vec<Put>, Error> {
    loaded.value.key.advance_version(app.clock.now())?;
    let key = &loaded.value.key;
    let by = Begun { id, human: &key.changed_by };
    app.keystores.of(key)?;
    let (material, settled) = fresh(app, key.version_ref(key.version).noting(calls), key.backend.as_ref(), by).await?;
    // It is another object: what was said of the last one is not said of it. What its earlier versions are still to be told is.
    let refusal = key.at_backend.as_ref().map(|there| there.refusal).unwrap_or_default();
    let at_backend = survey::ask(app.keystores.of(key)?, &material, app.clock.now()).await;
    let at_backend = at_backend.map(|there| AtBackend { refusal, ..there });
    let material = Some(material);
    let version =
        VersionRecord { key: key.id.clone(), version: key.version, material: material.clone(), disabled: false };
    loaded.value.material = material;
    loaded.value.key.at_backend = at_backend;
    let mut puts = vec![loaded.replace()?, version.put(Expect::Absent)?];
    puts.extend(settled);
    Ok(puts)
}

/// Fresh material, and the writes that must go with its record: at a back end it is made under an intent.
async fn fresh(
    app: &App,
    version: VersionRef<'_>,
    backend: Option<&BackendName>,
    by: Begun<'_>,
) -> Result<(Material, Vec<Put>), Error> {
    let Some(name) = backend else {
        return Ok((app.keystores.own().create(version, by.id).await?, Vec::new()));
    };
    let keystore = app.keystores.backend(name)?;
    keystore.check_create(version)?;
    let intent = intent::begin(app, name, version, by).await?;
    let material = keystore.create(version, by.id).await?;
    let mut settled = vec![intent.settle()?];
    settled.extend(key_register::claim(app, name, version.key, &material).await?);
    Ok((material, settled))
}

/// Refuses scheduled rotation where the key store makes no further version.
pub(super) fn check_rotates(keystore: &dyn KeyStore, id: &KeyId, algorithm: Algorithm) -> Result<(), Error> {
    let next = VersionRef { key: id, version: 2, algorithm, calls: None };
    keystore.check_create(next).map_err(|error| Error::invalid("rotate_every_days", error))
}

/// How the key is kept from everybody but Aegis at its back end. Changes nothing there.
///
/// # Errors
/// [`Error::Invalid`] if nothing there says who may use it; [`Error::State`] of a destroyed key.
pub async fn lockdown(app: &App, permit: &Permit) -> Result<Done<Lockdown>, Error> {
    let record = permit.key()?;
    let key = &record.key;
    let lockdown = app.keystores.of(key)?.lockdown(key.version_ref(key.version), present(record)?).await;
    Ok(Done::read(lockdown.map_err(|error| match error {
        KeyStoreError::Invalid { .. } => Error::invalid("key", error),
        other => other.into(),
    })?))
}

/// Shows a key; never its material.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get_key(permit: &Permit) -> Result<Done<Key>, Error> {
    Ok(Done::read(shown(permit, permit.key()?.key.clone())))
}

/// Lists keys in the order they were made: all of them for a human, those in its scope for an agent. An agent's page is
/// filled from its own keys alone, so that neither its length nor its cursor tells of others.
///
/// # Errors
/// [`Error::Invalid`] for a bad limit or cursor; [`Error::Denied`] for an agent that asks for unused ones.
pub async fn list_keys(app: &App, permit: &Permit, query: &KeyQuery) -> Result<Done<PageOf<Key>>, Error> {
    let page = query.page();
    if let Some(seconds) = query.unused_for {
        return unused_keys(app, permit, &page, seconds).await;
    }
    let (limit, mut after) = (page.limit()?, page.position()?);
    let now = app.clock.now();
    let mut items: Vec<Key> = Vec::new();
    loop {
        let (store, all) = (app.store.as_ref(), ALL_KEYS.to_string());
        let page = repository::list::<KeyRecord>(store, Index::First, all, Order::Ascending, MAX_LIMIT, after).await?;
        let visible = page.items.into_iter().map(|record| record.key).filter(|key| permit.facts().sees(key, now));
        // Touching a canary reveals it; seeing that there is a key must not.
        items.extend(visible.map(|key| shown(permit, key)));
        // One more than asked for tells whether there is another page.
        if items.len() > limit {
            items.truncate(limit);
            let last =
                items.last().map(|key| Position { sort: key.id.to_string(), key: repository::key_item(&key.id) });
            return Ok(Done::read(PageOf { items, next_cursor: last.as_ref().map(cursor_at) }));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Done::read(PageOf { items, next_cursor: None })),
        }
    }
}

/// Reads a key as it is now.
pub(crate) async fn load_key(app: &App, id: &KeyId) -> Result<Loaded<KeyRecord>, Error> {
    let found = repository::load(app.store.as_ref(), &repository::key_item(id)).await?;
    found.ok_or(Error::NotFound { kind: "key" })
}

/// Load, decide, commit: `edit` is the decision.
async fn change(
    app: &App,
    permit: &Permit,
    edit: impl Fn(&mut KeyRecord) -> Result<(), Error>,
) -> Result<Done<Key>, Error> {
    let mut loaded = load_key(app, &permit.key()?.key.id).await?;
    edit(&mut loaded.value)?;
    loaded.value.key.changed_by = permit.facts().human.id.clone();
    let puts = vec![loaded.replace()?];
    Ok(Done { value: loaded.value.key, puts, note: Note::default() })
}
