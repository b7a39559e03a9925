//! Each kind of write, failed before it happened and failed after.

use super::counters::add;
use super::{Suite, absent, item};
use crate::store::fault::{Fault, Faulty, Operation};
use crate::store::{Expect, ItemKey, Put, Revision, Store, StoreError};

pub async fn a_failed_write_happened_wholly_or_not_at_all(suite: &Suite) {
    let store = Faulty::new(suite.store());
    for (fault, happened) in [(Fault::BeforeWrite, false), (Fault::AfterWrite, true)] {
        let name = |what: &str| format!("{fault:?} {what}");
        let unavailable = |result| assert!(matches!(result, Err(StoreError::Unavailable { .. })), "{fault:?}");
        let there = async |sort: String| store.get(&ItemKey::state("p", sort)).await.unwrap().is_some();

        store.fail_next(Operation::Write, fault);
        unavailable(store.put_if(item(&name("put"), "1"), Expect::Absent).await.map(drop));
        assert_eq!(there(name("put")).await, happened, "{fault:?}");

        let base = item(&name("base"), "1");
        store.put_if(base.clone(), Expect::Absent).await.unwrap();
        let replaced = Put { item: base.clone(), expect: Expect::Current(Revision(1)) };
        store.fail_next(Operation::Write, fault);
        unavailable(store.transact(vec![absent(item(&name("a"), "1")), replaced, absent(item(&name("b"), "1"))]).await);
        let revision = store.get(&base.key).await.unwrap().unwrap().revision;
        assert_eq!(
            [there(name("a")).await, revision == Revision(2), there(name("b")).await],
            [happened; 3],
            "{fault:?}"
        );

        let additions = [add(&name("n"), 5), add(&name("m"), 6)];
        store.fail_next(Operation::Add, fault);
        unavailable(store.add(&additions).await.map(drop));
        let want = if happened { [10, 12] } else { [5, 6] };
        assert_eq!(store.add(&additions).await.unwrap(), want, "{fault:?}");
    }
}
