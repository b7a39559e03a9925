//! Putting a key under Aegis that a back end has already. Its material stays where it is, in the form it has: what the
//! back end's own tools make with it, Aegis accepts, and the other way round.

use super::new_key::{Description, NewKey, Source, made_before};
use crate::algorithm::Algorithm;
use crate::error::Error;
use crate::id::KeyId;
use crate::key::{Environment, Key, Origin, Tier};
use crate::keystore::KeyStoreError;
use crate::name::{BackendName, KeyName, Label, ObjectName};
use crate::pipeline::{App, Done, Permit};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, ItemKey};
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
    /// What the key shall be used for: an RSA key can serve several.
    pub algorithm: Algorithm,
    #[serde(default)]
    pub tier: Tier,
    #[serde(default)]
    pub environment: Environment,
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

/// Which key an object of a back end is. Never removed: one object is one key, whose state and grants hold for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Registration {
    backend: BackendName,
    object: ObjectName,
    key: KeyId,
}

impl Document for Registration {
    fn item_key(&self) -> ItemKey {
        registration_item(&self.backend, &self.object)
    }
}

fn registration_item(backend: &BackendName, object: &ObjectName) -> ItemKey {
    ItemKey::state(format!("registration/{backend}"), object.as_str())
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
        return made_before(app, id).await;
    }
    let described = Description {
        name: &input.name,
        algorithm: input.algorithm,
        tier: input.tier,
        environment: input.environment,
        labels: &input.labels,
        activate: input.activate,
        rotate_every_days: input.rotate_every_days,
    };
    let keystore = app.keystores.backend(&input.backend)?;
    let new = NewKey::check(app, described).await?;
    let item = registration_item(&input.backend, &input.object);
    let known: Option<Loaded<Registration>> = repository::load(app.store.as_ref(), &item).await?;
    if let Some(known) = known {
        return Err(Error::invalid("object", format!("it is registered already, as {}", known.value.key)));
    }
    let registered = keystore.register(input.algorithm, &input.object).await;
    let material = registered.map_err(|error| match error {
        KeyStoreError::Invalid { .. } => Error::invalid("object", error),
        other => other.into(),
    })?;
    let (backend, object) = (input.backend.clone(), input.object.clone());
    let registration =
        Registration { backend: backend.clone(), object: object.clone(), key: new.id.clone() }.put(Expect::Absent)?;
    let source = Source { origin: Origin::Registered, backend: Some(backend), object: Some(object), material };
    new.made(permit, source, vec![registration])
}
