//! Names of keys. Grants and records hold ids, so moving a name changes nobody's rights.

use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Key, KeyRecord, MAX_LABELS};
use crate::name::{KeyName, KeyRef};
use crate::operations::key_lifecycle::load_key;
use crate::pipeline::{App, Done, Note, Permit};
use crate::repository::{self, Alias, Document, Loaded};
use crate::store::Expect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SetAlias {
    /// The key the name shall lead to: its id, or another of its names.
    pub key: KeyRef,
}

/// Makes a name lead to a key, wherever it led before.
///
/// # Errors
/// [`Error::NotFound`] if there is no such key; [`Error::Invalid`] if it has 32 names already.
pub async fn set_alias(app: &App, _: &Permit, name: &KeyName, input: &SetAlias) -> Result<Done<Key>, Error> {
    let id = resolve(app, &input.key).await?.ok_or(Error::NotFound { kind: "key" })?;
    let found = load_alias(app, name).await?;
    let mut target = load_key(app, &id).await?;
    let note = Note { key: Some(id.clone()), key_version: None, object: Some(name.to_string()), ..Note::default() };
    let expect = found.as_ref().map_or(Expect::Absent, |found| Expect::Current(found.revision));
    let unused = || Alias { name: name.clone(), key: None, formers: Vec::new() };
    let mut alias = found.map_or_else(unused, |found| found.value);
    if alias.key.as_ref() == Some(&id) {
        return Ok(Done { value: target.value.key, puts: Vec::new(), note });
    }
    if target.value.key.aliases.len() >= MAX_LABELS {
        return Err(Error::invalid("key", "a key has at most 32 names"));
    }
    target.value.key.aliases.insert(name.clone());
    let former = alias.leave();
    alias.key = Some(id);
    let mut puts = vec![target.replace()?, alias.put(expect)?];
    if let Some(former) = former {
        puts.push(without_name(load_key(app, &former).await?, name)?);
    }
    Ok(Done { value: target.value.key, puts, note })
}

/// Makes a name lead nowhere.
///
/// # Errors
/// [`Error::NotFound`] if it leads nowhere already.
pub async fn delete_alias(app: &App, _: &Permit, name: &KeyName) -> Result<Done<()>, Error> {
    let missing = || Error::NotFound { kind: "alias" };
    let mut alias = load_alias(app, name).await?.ok_or_else(missing)?;
    let id = alias.value.leave().ok_or_else(missing)?;
    let puts = vec![alias.replace()?, without_name(load_key(app, &id).await?, name)?];
    Ok(Done {
        value: (),
        puts,
        note: Note { key: Some(id), key_version: None, object: Some(name.to_string()), ..Note::default() },
    })
}

/// The id a reference leads to, now. An id leads to itself, whether or not there is such a key.
pub(crate) async fn resolve(app: &App, key: &KeyRef) -> Result<Option<KeyId>, Error> {
    match key {
        KeyRef::Id(id) => Ok(Some(id.clone())),
        KeyRef::Name(name) => Ok(load_alias(app, name).await?.and_then(|alias| alias.value.key)),
    }
}

async fn load_alias(app: &App, name: &KeyName) -> Result<Option<Loaded<Alias>>, Error> {
    repository::load(app.store.as_ref(), &repository::alias_item(name)).await
}

fn without_name(mut loaded: Loaded<KeyRecord>, name: &KeyName) -> Result<crate::store::Put, Error> {
    loaded.value.key.aliases.remove(name);
    loaded.replace()
}
