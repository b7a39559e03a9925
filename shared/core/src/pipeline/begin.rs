//! How a deployment begins, and what each start brings forward: the epoch after a restore, the built-in policies after an
//! upgrade. Each is on record.

use crate::agent::AEGIS;
use crate::ambient::{Entropy, Timestamp};
use crate::deployment::{Deployment, PolicyDocument};
use crate::error::Error;
use crate::id::{RecordId, RequestId};
use crate::journal;
use crate::operation::Operation;
use crate::policy::{BUILT_IN, FIRST_POLICY};
use crate::record::{AuditRecord, Plane};
use crate::repository::{self, Document, Loaded};
use crate::store::{Expect, Put, Store};

/// Writes what a deployment begins with, or brings forward what is there; safe to repeat. Policies that somebody wrote
/// are never replaced.
///
/// # Errors
/// [`Error::Damaged`] if the store belongs to another deployment; [`Error::Unavailable`].
pub async fn initialize(
    store: &dyn Store,
    deployment_id: &str,
    epoch: u32,
    entropy: &Entropy,
    now: Timestamp,
) -> Result<(), Error> {
    let own = PolicyDocument {
        version: 1,
        cedar: FIRST_POLICY.to_string(),
        created_at: now,
        created_by: AEGIS.to_string(),
        built_in: Some(BUILT_IN),
    };
    let found: Option<Loaded<Deployment>> = repository::load(store, &repository::deployment_item()).await?;
    let Some(found) = found else {
        let deployment = Deployment {
            id: deployment_id.to_string(),
            epoch,
            created_at: now,
            policy_version: 1,
            rules_version: 0,
            humans_from: None,
        };
        store.transact(vec![own.put(Expect::Absent)?, deployment.put(Expect::Absent)?]).await?;
        return Ok(());
    };
    match found.value.id == deployment_id && found.value.epoch <= epoch {
        true => {
            bring_forward(store, found, epoch, own, |operation, object| {
                let (id, request) = (RecordId::new(now, entropy), RequestId::new(now, entropy));
                let object = Some(object);
                journal::put(
                    store,
                    &AuditRecord { object, ..AuditRecord::new(id, now, operation, Plane::Internal, request) },
                )
            })
            .await
        }
        false => Err(Error::Damaged {
            what: "data folder",
            source: "the store and the sealed root belong to different deployments, or the root is the older".into(),
        }),
    }
}

/// All in one transaction with its records.
async fn bring_forward(
    store: &dyn Store,
    mut found: Loaded<Deployment>,
    epoch: u32,
    own: PolicyDocument,
    record: impl Fn(Operation, String) -> Result<Put, Error>,
) -> Result<(), Error> {
    let mut puts = Vec::new();
    let old = found.value.epoch;
    if old < epoch {
        found.value.epoch = epoch;
        puts.push(record(Operation::DeploymentRestore, format!("epoch {old} to {epoch}"))?);
    }
    let in_force = load_policy(store, found.value.policy_version).await?;
    let missing = || Error::Damaged { what: "policy", source: "the deployment names one that is not there".into() };
    let in_force = in_force.ok_or_else(missing)?;
    match (in_force.built_in(), own.built_in()) {
        (None, _) if in_force.cedar != own.cedar => {
            tracing::warn!(version = in_force.version, "policies of the deployment's own are in force");
        }
        (Some(stored), Some(shipped)) if stored < shipped => {
            let mut version = in_force.version.saturating_add(1);
            while load_policy(store, version).await?.is_some() {
                version = version.saturating_add(1);
            }
            found.value.policy_version = version;
            puts.push(PolicyDocument { version, ..own }.put(Expect::Absent)?);
            let object = format!("version {version}, built-in {stored} to {shipped}");
            puts.push(record(Operation::PolicyUpgrade, object)?);
        }
        _ => {}
    }
    if !puts.is_empty() {
        puts.push(found.replace()?);
        store.transact(puts).await?;
    }
    Ok(())
}

async fn load_policy(store: &dyn Store, version: u32) -> Result<Option<PolicyDocument>, Error> {
    let found: Option<Loaded<PolicyDocument>> = repository::load(store, &repository::policy_item(version)).await?;
    Ok(found.map(|found| found.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Search;
    use crate::store::memory::MemoryStore;

    const DAY: i64 = 1_790_000_000;

    #[tokio::test]
    async fn a_start_after_a_restore_raises_the_epoch_and_says_so_once() {
        let store = MemoryStore::default();
        for epoch in [1, 3, 3] {
            start(&store, epoch).await.unwrap();
        }
        assert_eq!(deployment(&store).await.epoch, 3);
        assert_eq!(records(&store).await, [(Operation::DeploymentRestore, "epoch 1 to 3".to_string())]);
        start(&store, 2).await.unwrap_err();
    }

    #[tokio::test]
    async fn older_built_in_policies_are_followed_by_those_of_this_program() {
        // The second lies after one that somebody wrote and that is no longer in force.
        for (written, next) in [(vec![1], 2), (vec![1, 2], 3)] {
            let store = MemoryStore::default();
            start(&store, 1).await.unwrap();
            for version in &written {
                write(&store, *version, "aegis", Some(BUILT_IN - 1)).await;
            }
            for _ in 0..2 {
                start(&store, 1).await.unwrap();
            }
            assert_eq!(deployment(&store).await.policy_version, next);
            let new = load_policy(&store, next).await.unwrap().unwrap();
            assert_eq!((new.cedar.as_str(), new.built_in()), (FIRST_POLICY, Some(BUILT_IN)));
            assert_eq!(load_policy(&store, 1).await.unwrap().unwrap().cedar, OLD, "what was in force is kept");
            let said = format!("version {next}, built-in {} to {BUILT_IN}", BUILT_IN - 1);
            assert_eq!(records(&store).await, [(Operation::PolicyUpgrade, said)]);
        }
    }

    #[tokio::test]
    async fn newer_policies_and_those_somebody_wrote_stay() {
        for (by, built_in) in [("alice@org", None), ("aegis", Some(BUILT_IN + 1)), ("aegis", Some(BUILT_IN))] {
            let store = MemoryStore::default();
            start(&store, 1).await.unwrap();
            write(&store, 1, by, built_in).await;
            start(&store, 1).await.unwrap();
            assert_eq!(deployment(&store).await.policy_version, 1, "{by} {built_in:?}");
            assert_eq!(records(&store).await, []);
        }
    }

    const OLD: &str = "permit (principal, action, resource);";

    async fn start(store: &MemoryStore, epoch: u32) -> Result<(), Error> {
        initialize(store, "dep_test", epoch, &Entropy::system(), Timestamp::from_second(DAY).unwrap()).await
    }

    async fn deployment(store: &MemoryStore) -> Deployment {
        repository::load(store, &repository::deployment_item()).await.unwrap().unwrap().value
    }

    async fn write(store: &MemoryStore, version: u32, created_by: &str, built_in: Option<u32>) {
        let found: Option<Loaded<PolicyDocument>> =
            repository::load(store, &repository::policy_item(version)).await.unwrap();
        let (created_by, created_at) = (created_by.to_string(), Timestamp::UNIX_EPOCH);
        let document = PolicyDocument { version, cedar: OLD.to_string(), created_at, created_by, built_in };
        let expect = found.map_or(Expect::Absent, |found| Expect::Current(found.revision));
        store.transact(vec![document.put(expect).unwrap()]).await.unwrap();
    }

    async fn records(store: &MemoryStore) -> Vec<(Operation, String)> {
        let now = Timestamp::from_second(DAY).unwrap();
        let page = journal::search(store, &Search::default(), now, now, 10).await.unwrap();
        page.records.into_iter().map(|record| (record.operation, record.object.unwrap())).collect()
    }
}
