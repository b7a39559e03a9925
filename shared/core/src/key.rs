//! A key and what may happen to it. No I/O: time and identity arrive as arguments.

use crate::algorithm::Algorithm;
use crate::ambient::{DateTime, Timestamp};
use crate::error::Error;
use crate::id::KeyId;
use crate::keystore::{Material, VersionRef};
use crate::name::{HumanId, KeyName, Label};
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most versions of one key: rotation every day for eleven years.
pub const MAX_VERSIONS: u32 = 4096;
/// Most labels on a key, and most names.
pub const MAX_LABELS: usize = 32;
/// How long a key stays recoverable after `destroy`, in days; the least and the most a caller may ask for.
pub const DESTROY_WINDOW_DAYS: std::ops::RangeInclusive<u16> = 7..=30;

/// A logical key: one algorithm, one state, ordered versions.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Key {
    pub id: KeyId,
    /// The names that lead here.
    pub aliases: BTreeSet<KeyName>,
    pub algorithm: Algorithm,
    pub state: KeyState,
    /// Unusable until resumed, whatever the state.
    pub suspended: bool,
    pub tier: Tier,
    pub environment: Environment,
    pub labels: BTreeSet<Label>,
    /// The version that signs and encrypts; from 1. Lower ones still verify and decrypt.
    pub version: u32,
    #[schemars(with = "DateTime")]
    pub created_at: Timestamp,
    pub created_by: HumanId,
    /// Who last changed it: scheduled rotation and destruction are done in this human's name.
    pub changed_by: HumanId,
    /// When the present version was made.
    #[schemars(with = "DateTime")]
    pub rotated_at: Timestamp,
    /// Days between scheduled rotations, 1 to 3650.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_every_days: Option<u16>,
    /// Set while destruction is pending: when the material will be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DateTime>")]
    pub destroy_at: Option<Timestamp>,
}

/// NIST SP 800-57 part 1 §7 and KMIP, in their order. Suspension stands beside the state.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    PreActive,
    Active,
    Deactivated,
    Compromised,
    Destroyed,
    DestroyedCompromised,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transition {
    Activate,
    Deactivate,
    Compromise,
    Destroy,
}

impl KeyState {
    pub const ALL: [Self; 6] = [
        Self::PreActive,
        Self::Active,
        Self::Deactivated,
        Self::Compromised,
        Self::Destroyed,
        Self::DestroyedCompromised,
    ];

    /// The state after `transition`, or `None` where the standard draws no arrow.
    pub fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::PreActive, Transition::Activate) => Some(Self::Active),
            (Self::PreActive | Self::Deactivated, Transition::Destroy) => Some(Self::Destroyed),
            (Self::PreActive | Self::Active | Self::Deactivated, Transition::Compromise) => Some(Self::Compromised),
            (Self::Active, Transition::Deactivate) => Some(Self::Deactivated),
            (Self::Compromised, Transition::Destroy) | (Self::Destroyed, Transition::Compromise) => {
                Some(Self::DestroyedCompromised)
            }
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
            Self::DestroyedCompromised => "destroyed-compromised",
        }
    }

    pub fn is_destroyed(self) -> bool {
        matches!(self, Self::Destroyed | Self::DestroyedCompromised)
    }
}

/// How much a misuse would cost. `high` is what policy and response treat with more severity.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    High,
    #[default]
    Standard,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    Development,
    #[default]
    Production,
    Staging,
}

/// Whether a use protects something new or processes what was protected before (NIST SP 800-57 part 1 §5.3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usage {
    Protect,
    Process,
}

impl Key {
    /// Refuses uses that the key's state does not allow: only an active key protects; a deactivated or compromised one
    /// still processes; a suspended one, or one whose destruction is pending, does neither.
    ///
    /// # Errors
    /// [`Error::KeyState`].
    pub fn check_usable(&self, usage: Usage) -> Result<(), Error> {
        let processes = matches!(self.state, KeyState::Deactivated | KeyState::Compromised);
        let usable = self.state == KeyState::Active || (processes && usage == Usage::Process);
        match usable && !self.suspended && self.destroy_at.is_none() {
            true => Ok(()),
            false => Err(self.state_error()),
        }
    }

    /// Moves the key to another state. Destruction has functions of its own.
    ///
    /// # Errors
    /// [`Error::KeyState`] where the standard draws no arrow, and while destruction is pending, unless the key became known
    /// to others.
    pub fn apply(&mut self, transition: Transition) -> Result<(), Error> {
        if self.destroy_at.is_some() && transition != Transition::Compromise {
            return Err(self.state_error());
        }
        self.state = self.state.after(transition).ok_or_else(|| self.state_error())?;
        Ok(())
    }

    /// Ends the key for ever, at the end of the pending window. The window stays set until its material is wiped.
    ///
    /// # Errors
    /// [`Error::KeyState`] unless the window is over.
    pub fn destroy(&mut self, now: Timestamp) -> Result<(), Error> {
        let over = self.destroy_at.is_some_and(|at| at <= now);
        self.state = self.state.after(Transition::Destroy).filter(|_| over).ok_or_else(|| self.state_error())?;
        Ok(())
    }

    /// Begins the pending window. From now on the key is unusable; until `window_days` have passed it can be kept.
    ///
    /// # Errors
    /// [`Error::KeyState`] unless the key may be destroyed and is not being destroyed already.
    pub fn schedule_destruction(&mut self, window_days: u16, now: Timestamp) -> Result<(), Error> {
        let window = SignedDuration::from_hours(24 * i64::from(window_days));
        match self.state.after(Transition::Destroy).is_some() && self.destroy_at.is_none() {
            true => {
                self.destroy_at = Some(now.checked_add(window).map_err(|_| self.state_error())?);
                Ok(())
            }
            false => Err(self.state_error()),
        }
    }

    /// # Errors
    /// [`Error::KeyState`] unless destruction is pending and its window is not over.
    pub fn cancel_destruction(&mut self, now: Timestamp) -> Result<(), Error> {
        match self.destroy_at.is_some_and(|at| now < at) && !self.state.is_destroyed() {
            true => {
                self.destroy_at = None;
                Ok(())
            }
            false => Err(self.state_error()),
        }
    }

    /// Makes the next version the one that protects.
    ///
    /// # Errors
    /// [`Error::KeyState`] unless the key is active, and has room for another version.
    pub fn advance_version(&mut self, now: Timestamp) -> Result<(), Error> {
        self.check_usable(Usage::Protect)?;
        match self.version < MAX_VERSIONS {
            true => {
                self.version = self.version.saturating_add(1);
                self.rotated_at = now;
                Ok(())
            }
            false => Err(self.state_error()),
        }
    }

    /// When the next scheduled rotation is due.
    pub fn rotation_due(&self) -> Option<Timestamp> {
        let days = self.rotate_every_days?;
        let rotates = self.check_usable(Usage::Protect).is_ok() && self.version < MAX_VERSIONS;
        self.rotated_at.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok().filter(|_| rotates)
    }

    /// # Errors
    /// [`Error::KeyState`] if it is.
    pub fn check_not_destroyed(&self) -> Result<(), Error> {
        if self.state.is_destroyed() { Err(self.state_error()) } else { Ok(()) }
    }

    /// What people call the key: its first name, or its id.
    pub fn display_name(&self) -> &str {
        self.aliases.first().map_or(self.id.as_str(), KeyName::as_str)
    }

    pub fn version_ref(&self, version: u32) -> VersionRef<'_> {
        VersionRef { key: &self.id, version, algorithm: self.algorithm }
    }

    fn state_error(&self) -> Error {
        Error::KeyState {
            key: self.display_name().to_string(),
            state: self.state,
            suspended: self.suspended,
            destruction_pending: self.destroy_at.is_some(),
        }
    }
}

/// A key as stored: with the material of its present version, which is never shown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyRecord {
    pub key: Key,
    /// `None` once destroyed.
    pub material: Option<Material>,
    /// Those it bore and bears no more: an agent that was granted the key by one of them is told so, and not taken for a
    /// rogue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_labels: Vec<FormerLabel>,
}

/// A label, and when it was taken off.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FormerLabel {
    pub label: Label,
    pub until: Timestamp,
}

/// Most labels a key remembers that it bore.
const MAX_FORMER_LABELS: usize = 128;

impl KeyRecord {
    /// Gives the key these labels and no others.
    pub fn relabel(&mut self, labels: BTreeSet<Label>, now: Timestamp) {
        let removed = self.key.labels.difference(&labels).cloned();
        let removed: Vec<_> = removed.map(|label| FormerLabel { label, until: now }).collect();
        let again = |former: &FormerLabel| removed.iter().any(|removed| removed.label == former.label);
        self.former_labels.retain(|former| !again(former));
        self.former_labels.extend(removed);
        let surplus = self.former_labels.len().saturating_sub(MAX_FORMER_LABELS);
        self.former_labels.drain(..surplus);
        self.key.labels = labels;
    }
}

/// An earlier version of a key, or a copy of the present one, as stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct VersionRecord {
    pub key: KeyId,
    pub version: u32,
    /// `None` once destroyed.
    pub material: Option<Material>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::KeyState::{Active, Compromised, Deactivated, Destroyed, DestroyedCompromised, PreActive};
    use super::Transition::{Activate, Compromise, Deactivate, Destroy};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn a_key(name: &str) -> Key {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        Key {
            id: KeyId::new(now, &crate::ambient::Entropy::system()),
            aliases: [name.parse().unwrap()].into(),
            algorithm: Algorithm::EcdsaP256,
            state: Active,
            suspended: false,
            tier: Tier::Standard,
            environment: Environment::Production,
            labels: BTreeSet::new(),
            version: 1,
            created_at: now,
            created_by: "alice@org".parse().unwrap(),
            changed_by: "alice@org".parse().unwrap(),
            rotated_at: now,
            rotate_every_days: None,
            destroy_at: None,
        }
    }

    #[test]
    fn the_standard_s_arrows_and_no_others() {
        let arrows = [
            (PreActive, Activate, Active),
            (PreActive, Compromise, Compromised),
            (PreActive, Destroy, Destroyed),
            (Active, Deactivate, Deactivated),
            (Active, Compromise, Compromised),
            (Deactivated, Compromise, Compromised),
            (Deactivated, Destroy, Destroyed),
            (Compromised, Destroy, DestroyedCompromised),
            (Destroyed, Compromise, DestroyedCompromised),
        ];
        for from in KeyState::ALL {
            for step in [Activate, Deactivate, Compromise, Destroy] {
                let want = arrows.iter().find(|(a, t, _)| (*a, *t) == (from, step)).map(|(_, _, to)| *to);
                assert_eq!(from.after(step), want, "{from:?} --{step:?}-->");
            }
        }
    }

    #[test]
    fn what_each_state_allows() {
        let table = [
            (PreActive, false, false),
            (Active, true, true),
            (Deactivated, false, true),
            (Compromised, false, true),
            (Destroyed, false, false),
            (DestroyedCompromised, false, false),
        ];
        for (state, protect, process) in table {
            let mut key = Key { state, ..a_key("invoice-2026") };
            assert_eq!(key.check_usable(Usage::Protect).is_ok(), protect, "{state:?}");
            assert_eq!(key.check_usable(Usage::Process).is_ok(), process, "{state:?}");
            key.suspended = true;
            assert!(key.check_usable(Usage::Process).is_err(), "suspended {state:?}");
        }
        let mut key = Key { state: Deactivated, ..a_key("invoice-2026") };
        key.schedule_destruction(7, key.created_at).unwrap();
        assert!(key.check_usable(Usage::Process).is_err());
        key.schedule_destruction(7, key.created_at).unwrap_err();
        key.apply(Activate).unwrap_err();
        key.cancel_destruction(key.created_at).unwrap();
        key.check_usable(Usage::Process).unwrap();
        key.cancel_destruction(key.created_at).unwrap_err();
        key.schedule_destruction(7, key.created_at).unwrap();
        let end = key.destroy_at.unwrap();
        key.destroy(key.created_at).unwrap_err();
        key.cancel_destruction(end).unwrap_err();
        key.apply(Compromise).unwrap();
        key.destroy(end).unwrap();
        assert_eq!(key.state, DestroyedCompromised);
        key.cancel_destruction(key.created_at).unwrap_err();
    }

    proptest! {
        #[test]
        fn destroyed_material_never_returns(path in proptest::collection::vec(0..4_usize, 0..20)) {
            let steps = [Activate, Deactivate, Compromise, Destroy];
            path.iter().fold(PreActive, |state, step| {
                let next = state.after(steps[*step]).unwrap_or(state);
                assert!(!state.is_destroyed() || next.is_destroyed(), "{state:?} --{step:?}--> {next:?}");
                next
            });
        }
    }
}
