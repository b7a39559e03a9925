//! What a back end says of a key that it holds: whether it can be used there, and by whom without Aegis.

use crate::ambient::{DateTime, Timestamp, after_seconds};
use crate::error::Chain;
use crate::keystore::{KeyStore, Material};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds until a back end is asked again.
const EVERY: i64 = 3_600;
/// Seconds until one that could not tell is asked again.
const SOON: i64 = 60;
/// Most others that are named one by one; so that a key stays small.
const MAX_OTHERS: usize = 16;
/// Most aliases and tags kept.
const MAX_NAMES: usize = 16;

/// What the back end said when it was asked last.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct AtBackend {
    #[schemars(with = "DateTime")]
    pub as_of: Timestamp,
    /// How far the back end has been told to refuse what Aegis refuses, or no longer to.
    #[serde(default, skip_serializing_if = "Refusal::is_none")]
    pub refusal: Refusal,
    /// Of a key that Aegis had made there and that is suspended, or to be destroyed: who has it disabled there meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_by: Option<DisabledBy>,
    #[serde(flatten)]
    pub survey: Survey,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[default]
    None,
    /// Written before the first version is told: whatever was told of some is told again, to the end.
    Changing,
    /// All versions were told.
    Told,
}

impl Refusal {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Who disabled the present version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisabledBy {
    Aegis,
    /// It was not enabled when Aegis came to disable it.
    Others,
}

#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Survey {
    pub state: ObjectState,
    /// Whether anybody can use the key there without Aegis, but for those who are named for emergencies. So it is taken to be
    /// where that cannot be read.
    pub shared: bool,
    /// Who; the first sixteen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<Other>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// What else the object is called there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Whether an object can be used at its back end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectState {
    Enabled,
    Disabled,
    PendingDeletion,
    /// It is there, and not usable for another reason.
    Unavailable,
    Gone,
}

/// Somebody who can use a key without Aegis.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Other {
    /// As the back end names them; `*` for anybody.
    pub principal: String,
    pub by: Way,
    /// What they may, as the back end calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may: Vec<String>,
    /// Whether only under conditions that Aegis does not judge.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// The id of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
}

/// What lets somebody use a key at its back end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The key's own policy names them.
    Policy,
    /// The key's own policy leaves it to the account's, which may name anybody in it.
    Account,
    /// The key's own policy names everybody.
    Everybody,
    Grant,
    /// A copy of the key elsewhere has policies of its own.
    Replica,
    /// It could not be read who may.
    Unread,
}

impl Survey {
    /// Of an object in `state` that `others` can use; bounded.
    pub fn new(state: ObjectState, mut others: Vec<Other>) -> Self {
        others.sort_unstable();
        others.dedup();
        let more = others.len().saturating_sub(MAX_OTHERS);
        let shared = !others.is_empty();
        others.truncate(MAX_OTHERS);
        Self { state, shared, used_by: others, more, aliases: Vec::new(), tags: BTreeMap::new() }
    }

    /// What it is called there.
    #[must_use]
    pub fn with_names(mut self, mut aliases: Vec<String>, tags: BTreeMap<String, String>) -> Self {
        aliases.sort_unstable();
        aliases.truncate(MAX_NAMES);
        (self.aliases, self.tags) = (aliases, tags.into_iter().take(MAX_NAMES).collect());
        self
    }

    /// Whether something that matters differs from `before`: the state, or who can use the key.
    pub fn drifted(&self, before: &Self) -> bool {
        (self.state, &self.used_by, self.more) != (before.state, &before.used_by, before.more)
    }

    /// In a few words, for the record.
    pub fn words(&self) -> String {
        let state = match self.state {
            ObjectState::Enabled => "enabled",
            ObjectState::Disabled => "disabled",
            ObjectState::PendingDeletion => "pending deletion",
            ObjectState::Unavailable => "unavailable",
            ObjectState::Gone => "gone",
        };
        match self.used_by.len().saturating_add(self.more) {
            0 => format!("{state}, exclusive"),
            number => format!("{state}, shared with {number}"),
        }
    }
}

impl AtBackend {
    /// Whether the back end is to be told to refuse all use, or to allow it again.
    pub fn is_to_be_told(&self, disabled: bool) -> bool {
        match (disabled, self.refusal) {
            // Somebody enabled it.
            (true, Refusal::Told) => self.survey.state == ObjectState::Enabled,
            (false, Refusal::None) => false,
            (true, Refusal::None | Refusal::Changing) | (false, Refusal::Told | Refusal::Changing) => true,
        }
    }

    /// When to ask again; never of what is gone.
    pub fn due(&self) -> Option<Timestamp> {
        match self.survey.state {
            ObjectState::Gone => None,
            ObjectState::Unavailable => Some(after_seconds(self.as_of, SOON)),
            _ => Some(after_seconds(self.as_of, EVERY)),
        }
    }
}

/// What the back end says of an object now. One that does not tell keeps nothing from being done: the key is taken for shared.
pub(crate) async fn ask(keystore: &dyn KeyStore, material: &Material, now: Timestamp) -> Option<AtBackend> {
    let survey = keystore.survey(material).await.unwrap_or_else(|error| {
        tracing::warn!(error = %Chain(&error), "a back end does not tell who can use a key");
        let unread = Other { principal: "*".into(), by: Way::Unread, may: Vec::new(), conditional: false, grant: None };
        Some(Survey::new(ObjectState::Unavailable, vec![unread]))
    });
    survey.map(|survey| AtBackend { as_of: now, refusal: Refusal::None, disabled_by: None, survey })
}

/// A policy for a back end under which Aegis alone, and who is named for emergencies, can use a key.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Lockdown {
    /// What the back end calls the object.
    pub object: String,
    /// Replaces the whole policy that the object has there.
    pub policy: serde_json::Value,
    /// Who it leaves out that can use the key now: they will be refused.
    pub leaves_out: Vec<Other>,
    /// What lets others use the key and no policy takes from them: each is to be ended at the back end.
    pub remains: Vec<Other>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(name: usize) -> Other {
        Other { principal: format!("{name:02}"), by: Way::Policy, may: Vec::new(), conditional: false, grant: None }
    }

    #[test]
    fn a_survey_is_bounded_and_says_what_it_leaves_out() {
        for (number, named, more) in [(0, 0, 0), (1, 1, 0), (16, 16, 0), (17, 16, 1), (40, 16, 24)] {
            let survey = Survey::new(ObjectState::Enabled, (0..number).rev().map(other).collect());
            assert_eq!((survey.used_by.len(), survey.more, survey.shared), (named, more, number > 0), "{number}");
            assert!(survey.used_by.is_sorted());
        }
        let twice = Survey::new(ObjectState::Enabled, vec![other(1), other(1)]);
        assert_eq!(twice.words(), "enabled, shared with 1");
    }

    #[test]
    fn what_drifts() {
        let enabled = |number: usize| Survey::new(ObjectState::Enabled, (0..number).map(other).collect());
        let named = enabled(1).with_names(vec!["alias/a".to_string()], BTreeMap::new());
        let disabled = Survey { state: ObjectState::Disabled, ..enabled(1) };
        let table = [(enabled(1), false), (named, false), (enabled(0), true), (enabled(2), true), (disabled, true)];
        for (after, drifted) in table {
            assert_eq!(after.drifted(&enabled(1)), drifted, "{after:?}");
        }
        assert!(enabled(18).drifted(&enabled(17)));
    }
}
