//! Keys that KMS makes for Aegis. What is made for a token has an alias and a description of that name, so that it is found
//! again; a tag names it for those who look for what an interruption between the two calls left. Another says which deployment
//! it is of, where policies let one do so much with its own keys alone.

use super::failure::Failure;
use super::spec::Spec;
use super::{AwsKmsKeyStore, NOTHING, check};
use aegis_core::id::RecordId;
use aegis_core::keystore::{KeyStoreError, Material, VersionRef};
use aws_sdk_kms::config::Config;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::types::{KeyMetadata, KeyState, Tag};

impl AwsKmsKeyStore {
    /// The key made for `token`, made now unless it was before.
    pub(super) async fn make(
        &self,
        spec: &Spec,
        version: VersionRef<'_>,
        token: &RecordId,
    ) -> Result<Material, KeyStoreError> {
        let arn = match self.made_before(token).await.map_err(Failure::on_use)? {
            Some(before) => check(spec, &before)?,
            None => self.make_once(spec, version, token).await.map_err(Failure::on_use)?,
        };
        self.material(spec, &arn).await.map_err(Failure::on_use)
    }

    /// The ARN of a new key, or of the one that another call made for the same token in the meantime.
    async fn make_once(&self, spec: &Spec, version: VersionRef<'_>, token: &RecordId) -> Result<String, Failure> {
        let call = self.kms.create_key().key_spec(spec.key.clone()).key_usage(spec.usage());
        let call = call.description(description(token)).set_tags(Some(self.tags_for(token)?));
        let made = self.ask_for(version, call.customize().config_override(once()).send()).await?.key_metadata;
        let arn = made.and_then(|made| made.arn).ok_or_else(|| Failure::unasked(NOTHING))?;
        let call = self.kms.create_alias().alias_name(alias(token)).target_key_id(&arn);
        let Err(failure) = self.ask(call.customize().config_override(once()).send()).await else { return Ok(arn) };
        // Without its alias nobody would find it again. What fails here, too, is found by its tag.
        if let Err(failure) = self.schedule_deletion(&arn).await {
            tracing::warn!(key = arn, error = ?failure, "a KMS key was left behind");
        }
        match failure.is("AlreadyExistsException") {
            true => self.made_before(token).await?.and_then(|made| made.arn).ok_or(failure),
            false => Err(failure),
        }
    }

    fn tags_for(&self, token: &RecordId) -> Result<Vec<Tag>, Failure> {
        let tag = |key, value: &str| Tag::builder().tag_key(key).tag_value(value).build();
        let tags = [Some(tag(TAG, token.as_str())), self.mark.as_deref().map(|mark| tag(MARK, mark))];
        tags.into_iter().flatten().collect::<Result<_, _>>().map_err(|_| Failure::unasked(NOTHING))
    }

    /// The living key of a token. One that is being deleted loses its alias, to the next.
    async fn made_before(&self, token: &RecordId) -> Result<Option<KeyMetadata>, Failure> {
        match self.found(token).await? {
            Some(found) if is_deleted(&found) => self.remove_alias(token).await.map(|()| None),
            found => Ok(found),
        }
    }

    /// What was made for a token is deleted, then nothing leads to it any more: after an interruption the next call goes on.
    pub(super) async fn unmake(&self, token: &RecordId) -> Result<(), Failure> {
        let Some(found) = self.found(token).await? else { return Ok(()) };
        // An alias that somebody moved leads to what is not ours to remove.
        if found.description.as_deref() != Some(description(token).as_str()) {
            tracing::warn!(alias = alias(token), "the alias leads to a key that was not made for it");
            return Ok(());
        }
        self.schedule_deletion(found.arn.as_deref().unwrap_or_default()).await?;
        self.remove_alias(token).await
    }

    async fn found(&self, token: &RecordId) -> Result<Option<KeyMetadata>, Failure> {
        match self.describe(&alias(token)).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is("NotFoundException") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn remove_alias(&self, token: &RecordId) -> Result<(), Failure> {
        match self.ask(self.kms.delete_alias().alias_name(alias(token)).send()).await {
            Err(failure) if !failure.is("NotFoundException") => Err(failure),
            _ => Ok(()),
        }
    }

    /// Disables or enables what was made here, unless it is being deleted.
    pub(super) async fn switch(&self, version: VersionRef<'_>, arn: &str, enabled: bool) -> Result<(), Failure> {
        let found = match self.describe(arn).await {
            Err(failure) if failure.is("NotFoundException") => return Ok(()),
            found => found?,
        };
        match (found.key_state.as_ref().filter(|_| is_made_here(&found)), enabled) {
            (Some(KeyState::Enabled), false) => {
                self.ask_for(version, self.kms.disable_key().key_id(arn).send()).await.map(|_| ())
            }
            (Some(KeyState::Disabled), true) => {
                self.ask_for(version, self.kms.enable_key().key_id(arn).send()).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// With the shortest window there is. Safe to repeat, and where the key is gone.
    pub(super) async fn schedule_deletion(&self, arn: &str) -> Result<(), Failure> {
        let call = self.kms.schedule_key_deletion().key_id(arn).pending_window_in_days(WINDOW_DAYS);
        match self.ask(call.send()).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is("NotFoundException") => Ok(()),
            Err(failure) if failure.is("KMSInvalidStateException") => match is_deleted(&self.describe(arn).await?) {
                true => Ok(()),
                false => Err(failure),
            },
            Err(failure) => Err(failure),
        }
    }
}

/// It is under Aegis as soon as its making is on record, and undone if that never comes: in neither case somebody else's.
pub(super) fn is_made_here(key: &KeyMetadata) -> bool {
    key.description.as_deref().is_some_and(|description| description.starts_with(DESCRIPTION))
}

fn is_deleted(key: &KeyMetadata) -> bool {
    matches!(key.key_state, Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion))
}

fn alias(token: &RecordId) -> String {
    format!("alias/aegis/{token}")
}

fn description(token: &RecordId) -> String {
    format!("{DESCRIPTION}{token}")
}

/// A call whose answer was lost may have made what it was asked for.
fn once() -> aws_sdk_kms::config::Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

const DESCRIPTION: &str = "Made by Aegis for ";
const TAG: &str = "aegis:token";
/// As `infra/iam.tf` has it in its conditions.
const MARK: &str = "aegis:made-by";
/// The fewest that KMS allows.
const WINDOW_DAYS: i32 = 7;
