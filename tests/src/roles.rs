//! What the roles of the functions on AWS allow, as `infra/partitions.json` says, held against what is read and written. No
//! emulator enforces it: what is missing there, AWS alone would refuse.

use crate::bill::{self, Bill};
use aegis_core::journal::RECORDS;
use aegis_core::store::{
    Add, Expect, Item, ItemKey, Items, Page, Put, Query, Revision, Store, StoreError, Stored, Table,
};
use aegis_functions::deployed;
use async_trait::async_trait;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

tokio::task_local! {
    /// Whose role acts: `authorizer`, `mcp`, an operation by its name, or what does its work by itself, as `anomaly`.
    static ROLE: String;
}

/// Does `work` as a function does it.
pub async fn act_as<T>(role: &str, work: impl Future<Output = T>) -> T {
    // On the heap: a whole request is too much for the stack of a test.
    ROLE.scope(role.to_string(), Box::pin(work)).await
}

/// Whose role it is; nothing where nobody acts for a function.
pub(crate) fn role() -> String {
    ROLE.try_with(Clone::clone).unwrap_or_default()
}

#[derive(Deserialize)]
struct Partitions {
    decides: Vec<String>,
    asks: Vec<String>,
    counts: Vec<String>,
    changes: BTreeMap<String, Vec<String>>,
    by_itself: BTreeMap<String, Vec<String>>,
    reads_journal: Readers,
    finds_records: Vec<String>,
    looks_for_nothing: Vec<String>,
}

#[derive(Deserialize)]
struct Readers {
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    operations: Vec<String>,
    by_itself: Vec<String>,
}

static PARTITIONS: LazyLock<Partitions> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../infra/partitions.json")).unwrap());

/// Leave to write what begins like this, by where `infra/partitions.json` gives it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Grant {
    by: String,
    partitions: String,
}

impl Grant {
    fn all(by: &str, partitions: &[String]) -> Vec<Self> {
        partitions.iter().map(|partitions| Self { by: by.to_string(), partitions: partitions.clone() }).collect()
    }

    fn covers(&self, partition: &str) -> bool {
        match self.partitions.strip_suffix('*') {
            Some(beginning) => partition.starts_with(beginning),
            None => partition == self.partitions,
        }
    }
}

impl Partitions {
    /// As `infra/iam.tf` makes it.
    fn writes(&self, role: &str) -> Vec<Grant> {
        if role == "authorizer" {
            return Grant::all(role, &self.decides);
        }
        if let Some(partitions) = self.by_itself.get(role) {
            return Grant::all(role, partitions);
        }
        // Forwards, and changes nothing.
        if role == "mcp" {
            return Vec::new();
        }
        let kind = format!("{}.", role.split('.').next().unwrap_or_default());
        let own = self.changes.get_key_value(role).or_else(|| self.changes.get_key_value(&kind));
        let own = own.map(|(by, partitions)| Grant::all(by, partitions)).unwrap_or_default();
        let repeatable = deployed::table().iter().any(|route| route.operation == Some(role) && route.idempotent);
        let remembered =
            repeatable.then(|| Grant { by: "repeatable".to_string(), partitions: "idempotency/*".to_string() });
        let decided = Grant::all("decides", &self.decides).into_iter().chain(Grant::all("asks", &self.asks));
        decided.chain(own).chain(remembered).collect()
    }

    fn counts(&self) -> Vec<Grant> {
        Grant::all("counts", &self.counts)
    }

    /// What all of them may write.
    fn every_grant(&self) -> BTreeSet<Grant> {
        let operations = deployed::table().into_iter().filter_map(|route| route.operation);
        let roles = operations.chain(["authorizer", "public"]).flat_map(|role| self.writes(role));
        let changes = self.changes.iter().chain(&self.by_itself);
        let changes = changes.flat_map(|(by, partitions)| Grant::all(by, partitions));
        roles.chain(changes).chain(self.counts()).collect()
    }

    fn reads_journal(&self, role: &str) -> bool {
        let Readers { prefixes, suffixes, operations, by_itself } = &self.reads_journal;
        by_itself.iter().any(|own| own == role)
            || prefixes.iter().any(|prefix| role.starts_with(prefix))
            || suffixes.iter().any(|suffix| role.ends_with(suffix))
            || operations.iter().any(|operation| operation == role)
    }

    /// One by its id; who may look for records may do that, too.
    fn finds_records(&self, role: &str) -> bool {
        self.reads_journal(role) || self.finds_records.iter().any(|own| own == role)
    }
}

/// Whether one of them is leave to write there. What is used of them goes into the file that `AEGIS_TEST_USED` names.
fn allowed(grants: &[Grant], partition: &str) -> bool {
    static KNOWN: Mutex<BTreeSet<Grant>> = Mutex::new(BTreeSet::new());
    let covering: Vec<_> = grants.iter().filter(|grant| grant.covers(partition)).collect();
    if let Some(used) = std::env::var_os("AEGIS_TEST_USED") {
        for grant in &covering {
            if KNOWN.lock().unwrap().insert(Grant::clone(grant)) {
                let mut file = OpenOptions::new().append(true).create(true).open(&used).unwrap();
                file.write_all(format!("{} {}\n", grant.by, grant.partitions).as_bytes()).unwrap();
            }
        }
    }
    !covering.is_empty()
}

/// The grants that nothing on this list of uses needed, but for those of which is known why.
pub fn idle(used: &str) -> Vec<String> {
    let used: BTreeSet<&str> = used.lines().collect();
    let all = PARTITIONS.every_grant();
    let all: BTreeSet<_> = all.into_iter().map(|Grant { by, partitions }| format!("{by} {partitions}")).collect();
    let told = |grant: &str| USED_ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == grant);
    let idle = all.iter().filter(|grant| !used.contains(grant.as_str()) && !told(grant)).cloned();
    // Nor is the list longer than it must be.
    let needless = USED_ELSEWHERE.iter().map(|(grant, _)| *grant);
    let needless = needless
        .filter(|grant| used.contains(grant) || !all.contains(*grant))
        .map(|grant| format!("{grant}, as known"));
    idle.chain(needless).collect()
}

/// Grants that are used where the suite `halves` does not see it, and why they are there.
const USED_ELSEWHERE: &[(&str, &str)] = &[
    ("authorizer credential/*", "rules may order of a violation that the credential is revoked"),
    ("authorizer response/*", "rules may order of a violation what takes longer, as a rotation"),
    ("authorizer responses", "rules may order of a violation what is done so often at most"),
    ("counts live/*", "kept in memory there: `bill::PaidCounters`"),
    ("decides responses", "as the authorizer's: an operation decides on what came by no gateway"),
    ("scheduled agent/*", "as `respond`'s: fleets that it could not revoke"),
    ("setup root", "sealed by KMS: the suite `aws`"),
    ("webhooks webhook/*", "told by the suite `scenarios`, over sockets"),
];

/// Refuses loudly what a role would refuse, and writes the bill.
pub struct Roles<S> {
    pub store: Arc<S>,
    pub bill: Bill,
}

impl<S> Roles<S> {
    fn check(what: &str, key: (&Table, &str), is_allowed: impl Fn(&str) -> bool) {
        // What is done for no function, as a test's own writes, has no role.
        let _ = ROLE.try_with(|role| assert!(is_allowed(role), "the role of {role} does not let it {what} {key:?}"));
    }

    fn check_reads<'a>(keys: impl Iterator<Item = (&'a Table, &'a str)>) {
        for key in keys.filter(|(table, _)| **table == Table::Journal) {
            // What is to be told again detection reads itself where there is no `publish`.
            Self::check("search", key, |role| PARTITIONS.reads_journal(role) || role == "anomaly");
        }
    }

    fn check_puts(items: &[&Item]) {
        // All that decide or act write the journal: records that stay.
        for item in items.iter().filter(|item| item.key.table == Table::Journal) {
            let stays = item.key.partition.starts_with(RECORDS) && item.expires_at.is_none();
            Self::check("put", place(&item.key), |_| stays);
        }
        for key in items.iter().map(|item| &item.key).filter(|key| key.table == Table::State) {
            let place = (&key.table, key.partition.as_str());
            Self::check("put", place, |role| allowed(&PARTITIONS.writes(role), &key.partition));
        }
    }
}

fn place(key: &ItemKey) -> (&Table, &str) {
    (&key.table, &key.partition)
}

#[async_trait]
impl<S: Store> Store for Roles<S> {
    async fn get(&self, key: &ItemKey) -> Result<Option<Stored>, StoreError> {
        if key.table == Table::Journal {
            Self::check("find", place(key), |role| PARTITIONS.finds_records(role));
        }
        let found = self.store.get(key).await?;
        self.bill.note(&role(), bill::of_reads([found.as_ref()].into_iter()), 0.0);
        Ok(found)
    }

    async fn batch_get(&self, keys: &[ItemKey]) -> Result<Items, StoreError> {
        Self::check_reads(keys.iter().map(place));
        let found = self.store.batch_get(keys).await?;
        let each = keys.iter().map(|key| found.find(key).map(AsRef::as_ref));
        self.bill.note(&role(), bill::of_reads(each), 0.0);
        Ok(found)
    }

    async fn put_if(&self, item: Item, expect: Expect) -> Result<Revision, StoreError> {
        Self::check_puts(&[&item]);
        let put = Put { item, expect };
        self.bill.note(&role(), 0.0, bill::of_puts(std::slice::from_ref(&put)));
        self.store.put_if(put.item, put.expect).await
    }

    async fn add(&self, additions: &[Add]) -> Result<Vec<i64>, StoreError> {
        for Add { counter, .. } in additions {
            Self::check("add to", place(counter), |role| {
                let is_asked = role != "mcp" && !PARTITIONS.by_itself.contains_key(role);
                is_asked && allowed(&PARTITIONS.counts(), &counter.partition)
            });
        }
        self.bill.note(&role(), 0.0, bill::of_additions(additions));
        self.store.add(additions).await
    }

    async fn transact(&self, puts: Vec<Put>) -> Result<(), StoreError> {
        Self::check_puts(&puts.iter().map(|put| &put.item).collect::<Vec<_>>());
        self.bill.note(&role(), 0.0, bill::of_puts(&puts));
        self.store.transact(puts).await
    }

    async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        Self::check_reads([(&query.table, query.partition.as_str())].into_iter());
        if query.table == Table::State {
            let place = (&query.table, query.partition.as_str());
            Self::check("look for", place, |role| !PARTITIONS.looks_for_nothing.iter().any(|own| own == role));
        }
        let page = self.store.query(query).await?;
        self.bill.note(&role(), bill::of_page(query, &page), 0.0);
        Ok(page)
    }

    fn spread(&self) -> u8 {
        self.store.spread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_made_as_terraform_makes_it() {
        let table = [
            ("authorizer", "key/1", false),
            ("authorizer", "agent/1", true),
            ("key.sign", "key/1", false),
            ("key.sign", "approval/1", true),
            ("key.create", "key/1", true),
            ("key.create", "idempotency/1", true),
            ("key.sign", "idempotency/1", false),
            ("rules.apply", "deployment", true),
            ("rules.apply", "deployments", false),
            ("public", "exchanged/1", true),
            ("anomaly", "behaviour/1", true),
            ("anomaly", "key/1", false),
            ("webhooks", "agent/1", false),
            ("setup", "policy", true),
            ("setup", "agent/1", false),
        ];
        for (role, partition, want) in table {
            assert_eq!(allowed(&PARTITIONS.writes(role), partition), want, "{role} {partition}");
        }
        let table = [
            ("audit.get", true, true),
            ("key.sign", false, false),
            ("scheduled", true, true),
            ("anomaly", false, true),
            ("webhooks", false, true),
            ("respond", false, false),
            ("setup", false, false),
        ];
        for (role, searches, finds) in table {
            assert_eq!((PARTITIONS.reads_journal(role), PARTITIONS.finds_records(role)), (searches, finds), "{role}");
        }
    }
}
