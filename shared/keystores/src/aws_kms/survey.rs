//! What KMS says of a key: its state, and who can use it. What Aegis may not read counts as somebody.

use super::AwsKmsKeyStore;
use super::access;
use super::failure::Failure;
use super::spec::{Does, Spec};
use aegis_core::keystore::{KeyStoreError, VersionRef};
use aegis_core::survey::{Lockdown, ObjectState, Other, Survey, Way};
use aws_sdk_kms::types::{KeyMetadata, KeyState, MultiRegionKeyType};
use std::collections::BTreeMap;

/// Pages of grants that are read. Who holds that many is not alone with the key.
const MOST_PAGES: usize = 10;

impl AwsKmsKeyStore {
    pub(super) async fn surveyed(&self, arn: &str) -> Result<Survey, Failure> {
        let described = match self.describe(arn).await {
            Err(failure) if failure.is("NotFoundException") => return Ok(Survey::new(ObjectState::Gone, Vec::new())),
            described => described?,
        };
        let mut others = self.by_policy(arn).await?;
        others.extend(self.by_grants(arn).await?);
        others.extend(replicas(&described));
        let names = self.aliases(arn).await?;
        Ok(Survey::new(state(&described), others).with_names(names, self.tags(arn).await?))
    }

    async fn by_policy(&self, arn: &str) -> Result<Vec<Other>, Failure> {
        match self.ask(self.kms.get_key_policy().key_id(arn).policy_name("default").send()).await {
            Ok(found) => {
                let policy = found.policy.unwrap_or_default();
                Ok(access::by_policy(&policy, &self.meant).unwrap_or_else(|| vec![unread()]))
            }
            Err(failure) => failure.hidden().map(|()| vec![unread()]),
        }
    }

    async fn by_grants(&self, arn: &str) -> Result<Vec<Other>, Failure> {
        let (mut others, mut marker) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = match self.ask(self.kms.list_grants().key_id(arn).set_marker(marker).send()).await {
                Ok(page) => page,
                Err(failure) => {
                    failure.hidden()?;
                    others.push(unread());
                    return Ok(others);
                }
            };
            others.extend(page.grants.unwrap_or_default().iter().filter_map(|grant| {
                let operations = grant.operations.as_deref().unwrap_or_default().iter().map(|name| name.as_str());
                let grantee = grant.grantee_principal.as_deref();
                access::by_grant(
                    grant.grant_id.as_deref(),
                    grantee,
                    operations,
                    grant.constraints.is_some(),
                    &self.meant,
                )
            }));
            marker = page.next_marker.filter(|_| page.truncated);
            if marker.is_none() {
                return Ok(others);
            }
        }
        others.push(unread());
        Ok(others)
    }

    /// For people alone: where they cannot be read, there are none.
    async fn aliases(&self, arn: &str) -> Result<Vec<String>, Failure> {
        match self.ask(self.kms.list_aliases().key_id(arn).send()).await {
            Ok(found) => {
                Ok(found.aliases.unwrap_or_default().into_iter().filter_map(|alias| alias.alias_name).collect())
            }
            Err(failure) => failure.hidden().map(|()| Vec::new()),
        }
    }

    async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, Failure> {
        match self.ask(self.kms.list_resource_tags().key_id(arn).send()).await {
            Ok(found) => {
                Ok(found.tags.unwrap_or_default().into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect())
            }
            Err(failure) => failure.hidden().map(|()| BTreeMap::new()),
        }
    }

    /// The policy that keeps a key for Aegis, beside who can use it now.
    pub(super) async fn locked_down(&self, version: VersionRef<'_>, arn: &str) -> Result<Lockdown, KeyStoreError> {
        let spec = Spec::of(version.algorithm)?;
        let actions: Vec<&str> = LOOKS.iter().chain(uses(&spec)).copied().collect();
        let policy = access::policy_for(arn, &self.meant, &actions);
        let policy = policy.map_err(|unnamed| KeyStoreError::Invalid { what: unnamed.text() })?;
        let survey = self.surveyed(arn).await.map_err(Failure::on_use)?;
        let stays = |other: &Other| matches!(other.by, Way::Grant | Way::Replica | Way::Unread);
        let (remains, leaves_out) = survey.used_by.into_iter().partition(stays);
        Ok(Lockdown { object: arn.to_string(), policy, leaves_out, remains })
    }
}

/// What Aegis needs of every key.
const LOOKS: [&str; 8] = [
    "DescribeKey",
    "DisableKey",
    "EnableKey",
    "GetKeyPolicy",
    "GetPublicKey",
    "ListGrants",
    "ListResourceTags",
    "ScheduleKeyDeletion",
];

fn uses(spec: &Spec) -> &'static [&'static str] {
    match spec.does {
        Does::Codes(_) => &["GenerateMac", "VerifyMac"],
        Does::Encrypts(_) => &["Decrypt", "Encrypt"],
        Does::Signs(..) => &["Sign", "Verify"],
    }
}

fn unread() -> Other {
    Other { principal: "*".to_string(), by: Way::Unread, may: Vec::new(), conditional: false, grant: None }
}

fn state(key: &KeyMetadata) -> ObjectState {
    match &key.key_state {
        Some(KeyState::Enabled) => ObjectState::Enabled,
        Some(KeyState::Disabled) => ObjectState::Disabled,
        Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => ObjectState::PendingDeletion,
        _ => ObjectState::Unavailable,
    }
}

/// The same key in other regions, under policies that are read there alone.
fn replicas(key: &KeyMetadata) -> Vec<Other> {
    let Some(multi) = &key.multi_region_configuration else { return Vec::new() };
    let replicas = multi.replica_keys.iter().flatten().filter_map(|replica| replica.arn.clone());
    let primary = multi.primary_key.iter().filter_map(|primary| primary.arn.clone());
    let is_replica = multi.multi_region_key_type == Some(MultiRegionKeyType::Replica);
    let elsewhere = replicas.chain(primary.filter(|_| is_replica)).filter(|arn| Some(arn) != key.arn.as_ref());
    elsewhere
        .map(|principal| Other { principal, by: Way::Replica, may: Vec::new(), conditional: false, grant: None })
        .collect()
}

impl Failure {
    /// Nothing, where KMS does not let Aegis see; otherwise the failure.
    fn hidden(self) -> Result<(), Self> {
        match self.is("AccessDeniedException") {
            true => Ok(()),
            false => Err(self),
        }
    }
}
