use super::*;
use aegis_core::store::contract::{self, Subject, Suite};
use aegis_core::store::{Expect, Index, IndexEntry, Item, Order, Revision};
use proptest::prelude::*;
use std::task::{Context, Waker};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct InFolder {
    store: Arc<SqliteStore>,
    _dir: TempDir,
}

impl InFolder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Arc::new(SqliteStore::open(dir.path()).unwrap()), _dir: dir }
    }
}

impl Subject for InFolder {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

aegis_core::store_contract!(InFolder::new());

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn any_calls_agree_with_memory(script in proptest::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let suite = Suite::new(InFolder::new(), |task| task);
        runtime.block_on(contract::agrees_with_memory(&suite, &script));
    }
}

fn item(sort: &str, body: &str) -> Item {
    Item { key: ItemKey::state("p", sort), body: body.into(), indexes: vec![], expires_at: None }
}

fn work(sort: &str) -> Work {
    Work::Transact(vec![Put { item: item(sort, "{}"), expect: Expect::Absent }])
}

/// Brings work and calls the writer at once.
fn submit(store: &SqliteStore, work: Work) -> oneshot::Receiver<Outcome> {
    store.submit(work).unwrap().0
}

/// Keeps the writer busy; returns what lets it go on.
async fn hold(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (taken, mut is_taken) = mpsc::unbounded_channel();
    let (go_on, wait) = std::sync::mpsc::channel();
    drop(submit(store, Work::Hold(taken, wait)));
    is_taken.recv().await.unwrap();
    go_on
}

#[tokio::test]
async fn writes_that_wait_together_share_a_commit() {
    let subject = InFolder::new();
    let store = &subject.store;
    let go_on = hold(store).await;
    let waiting: Vec<_> = (0..64).map(|n| submit(store, work(&n.to_string()))).collect();
    let refused = submit(store, work("0"));
    let before = store.stats().commits;
    go_on.send(()).unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert!(matches!(refused.await.unwrap(), Err(StoreError::Conflict { key }) if key == ItemKey::state("p", "0")));
    assert_eq!(store.stats().commits - before, 2, "the one that was held and one for all that waited");
}

#[tokio::test]
async fn who_is_not_polled_any_more_keeps_nobody_waiting() {
    let subject = InFolder::new();
    let store = &subject.store;
    let mut first = Box::pin(store.put_if(item("a", "{}"), Expect::Absent));
    assert!(first.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    store.put_if(item("b", "{}"), Expect::Absent).await.unwrap();
    assert!(store.get(&ItemKey::state("p", "a")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_recovers() {
    let subject = InFolder::new();
    let store = &subject.store;
    let go_on = hold(store).await;
    let waiting: Vec<_> = (0..queue::MOST).map(|n| submit(store, work(&n.to_string()))).collect();
    let refused = store.put_if(item("a", "{}"), Expect::Absent).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    go_on.send(()).unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    store.put_if(item("a", "{}"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_all_and_leaves_nothing() {
    let subject = InFolder::new();
    let store = &subject.store;
    let other = Connection::open(&store.path).unwrap();
    // Deferred violations surface only when the transaction commits.
    let sabotage = "CREATE TABLE parent (x PRIMARY KEY);
        CREATE TABLE child (x REFERENCES parent (x) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER sabotage AFTER INSERT ON state WHEN NEW.sort = 'bad' BEGIN INSERT INTO child VALUES (1); END;";
    other.execute_batch(sabotage).unwrap();
    let go_on = hold(store).await;
    let answers = ["good", "bad", "also-good"].map(|sort| submit(store, work(sort)));
    go_on.send(()).unwrap();
    for answer in answers {
        let answer = answer.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "{answer:?}");
    }
    let found = store.batch_get(&["good", "bad", "also-good"].map(|sort| ItemKey::state("p", sort))).await.unwrap();
    assert!(found.0.is_empty(), "{found:?}");
    store.put_if(item("good", "{}"), Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn a_piece_that_fails_undoes_only_itself() {
    let subject = InFolder::new();
    let store = &subject.store;
    let other = Connection::open(&store.path).unwrap();
    let sabotage = "CREATE TRIGGER sabotage BEFORE INSERT ON state WHEN NEW.sort = 'bad' \
                    BEGIN SELECT RAISE(ABORT, 'sabotage'); END;";
    other.execute_batch(sabotage).unwrap();
    let put = |sort: &str| Put { item: item(sort, "{}"), expect: Expect::Absent };
    let go_on = hold(store).await;
    let good = submit(store, work("good"));
    let bad = submit(store, Work::Transact(vec![put("half"), put("bad")]));
    let also_good = submit(store, work("also-good"));
    go_on.send(()).unwrap();
    assert!(matches!(bad.await.unwrap(), Err(StoreError::Unavailable { .. })));
    assert!(good.await.unwrap().is_ok() && also_good.await.unwrap().is_ok());
    assert_eq!(store.get(&ItemKey::state("p", "half")).await.unwrap(), None);
}

/// A rollback of the whole transaction, as SQLite does by itself when a disk is full, must reach every piece.
#[tokio::test]
async fn a_lost_transaction_is_told_to_all() {
    let subject = InFolder::new();
    let store = &subject.store;
    let other = Connection::open(&store.path).unwrap();
    let sabotage = "CREATE TRIGGER sabotage BEFORE INSERT ON state WHEN NEW.sort = 'bad' \
                    BEGIN SELECT RAISE(ROLLBACK, 'sabotage'); END;";
    other.execute_batch(sabotage).unwrap();
    let go_on = hold(store).await;
    let answers = ["good", "bad", "also-good"].map(|sort| submit(store, work(sort)));
    go_on.send(()).unwrap();
    for answer in answers {
        assert!(matches!(answer.await.unwrap(), Err(StoreError::Unavailable { .. })));
    }
    for sort in ["good", "also-good"] {
        assert_eq!(store.get(&ItemKey::state("p", sort)).await.unwrap(), None, "{sort}");
    }
    store.put_if(item("good", "{}"), Expect::Absent).await.unwrap();
}

/// The files as they are on disk hold every write that was acknowledged: nothing waits in the process. It does not show
/// that the flush reached the medium, which no test without control of the device can; that the flush is asked for is
/// asserted by the pragmas in `schema`.
#[tokio::test]
async fn what_was_acknowledged_is_in_the_files() {
    let subject = InFolder::new();
    for n in 0..40_u64 {
        subject.store.put_if(item(&n.to_string(), "{}"), Expect::Absent).await.unwrap();
        subject.store.add(&[Add { counter: ItemKey::state("p", "n"), by: 1, expires_at: None }]).await.unwrap();
        if n % 8 != 0 {
            continue;
        }
        let copy = tempfile::tempdir().unwrap();
        for name in ["store.sqlite", "store.sqlite-wal"] {
            std::fs::copy(subject._dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let copied = SqliteStore::open(copy.path()).unwrap();
        for m in 0..=n {
            assert!(copied.get(&ItemKey::state("p", m.to_string())).await.unwrap().is_some(), "{m} of {n}");
        }
        let counted = copied.add(&[Add { counter: ItemKey::state("p", "n"), by: 0, expires_at: None }]).await.unwrap();
        assert_eq!(counted, [i64::try_from(n).unwrap() + 1]);
    }
}

#[tokio::test]
async fn a_store_closed_and_opened_again_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    store.put_if(item("a", "1"), Expect::Absent).await.unwrap();
    store.get(&ItemKey::state("p", "a")).await.unwrap();
    let accepted = submit(&store, work("accepted"));
    store.close();
    accepted.await.unwrap().unwrap();
    assert!(!dir.path().join("store.sqlite-wal").exists(), "the log was folded into the file");
    let store = SqliteStore::open(dir.path()).unwrap();
    assert_eq!(store.get(&ItemKey::state("p", "a")).await.unwrap().unwrap().revision, Revision(1));
    assert!(store.get(&ItemKey::state("p", "accepted")).await.unwrap().is_some());
}

#[tokio::test]
async fn sweeping_removes_what_expired_and_no_record() {
    let subject = InFolder::new();
    let store = &subject.store;
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let indexes = vec![IndexEntry { index: Index::First, partition: "i".into(), sort: "s".into() }];
    for (sort, expires_at) in [("past", at(10)), ("now", at(20)), ("future", at(21)), ("never", None)] {
        let item = Item { expires_at, indexes: indexes.clone(), ..item(sort, "{}") };
        store.put_if(item.clone(), Expect::Absent).await.unwrap();
        let record = Item { key: ItemKey::journal("p", sort), ..item };
        store.put_if(record, Expect::Absent).await.unwrap();
    }
    for n in 0..1200 {
        let expired = (0..100).map(|m| Put {
            item: Item { expires_at: at(1), ..item(&format!("x{n}-{m}"), "") },
            expect: Expect::Absent,
        });
        if n % 100 == 0 {
            store.transact(expired.collect()).await.unwrap();
        }
    }
    let add = |by, expires_at| [Add { counter: ItemKey::state("p", "n"), by, expires_at }];
    store.add(&add(5, at(15))).await.unwrap();
    store.add(&add(5, at(99))).await.unwrap();
    let now = at(20).unwrap();
    assert_eq!(store.sweep_expired(now).await.unwrap(), 1200 + 2 + 1);
    assert_eq!(store.sweep_expired(now).await.unwrap(), 0);
    assert_eq!(store.add(&add(1, None)).await.unwrap(), [1], "the counter kept the expiry it began with");
    for (table, want) in [(aegis_core::store::Table::State, 2), (aegis_core::store::Table::Journal, 4)] {
        for (index, partition) in [(None, "p"), (Some(Index::First), "i")] {
            let (partition, order) = (partition.into(), Order::Ascending);
            let query = Query { table, index, partition, from: None, below: None, order, limit: 1000, after: None };
            assert_eq!(store.query(&query).await.unwrap().items.len(), want, "{query:?}");
        }
    }
}

#[tokio::test]
async fn a_counter_past_64_bits_is_refused_and_kept() {
    let subject = InFolder::new();
    let add = |by| [Add { counter: ItemKey::state("p", "n"), by, expires_at: None }];
    subject.store.add(&add(i64::MAX)).await.unwrap();
    assert!(matches!(subject.store.add(&add(1)).await, Err(StoreError::Limit { .. })));
    assert_eq!(subject.store.add(&add(0)).await.unwrap(), [i64::MAX]);
}

#[test]
fn a_store_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(SqliteStore::open(&file), Err(OpenError::Folder { .. })));
    assert!(matches!(SqliteStore::open(&file.join("below")), Err(OpenError::Folder { .. })));

    let held = SqliteStore::open(&folder("held")).unwrap();
    let error = SqliteStore::open(&folder("held")).unwrap_err();
    assert!(error.to_string().ends_with("held` is in use by another aegis"), "{error}");
    held.close();
    SqliteStore::open(&folder("held")).unwrap();

    std::fs::write(folder("text").join("store.sqlite"), "not a database, but long enough to be one".repeat(40))
        .unwrap();
    assert!(matches!(SqliteStore::open(&folder("text")), Err(OpenError::Foreign { .. })));
    Connection::open(folder("foreign").join("store.sqlite")).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    assert!(matches!(SqliteStore::open(&folder("foreign")), Err(OpenError::Foreign { .. })));

    SqliteStore::open(&folder("short")).unwrap().close();
    let whole = std::fs::read(folder("short").join("store.sqlite")).unwrap();
    std::fs::write(folder("short").join("store.sqlite"), &whole[..whole.len() / 2]).unwrap();
    assert!(matches!(SqliteStore::open(&folder("short")), Err(OpenError::Corrupted { .. })));
    let mangled: Vec<u8> = whole.iter().enumerate().map(|(at, byte)| if at < 4096 { *byte } else { !*byte }).collect();
    std::fs::write(folder("short").join("store.sqlite"), mangled).unwrap();
    assert!(matches!(SqliteStore::open(&folder("short")), Err(OpenError::Corrupted { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let subject = InFolder::new();
    subject.store.put_if(item("a", "{}"), Expect::Absent).await.unwrap();
    for file in std::fs::read_dir(subject._dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test]
async fn what_a_sweep_removed_is_gone_from_memory_too() {
    let subject = InFolder::new();
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let brief = || Item { expires_at: Some(at(10)), ..item("brief", "{}") };
    subject.store.put_if(brief(), Expect::Absent).await.unwrap();
    assert!(subject.store.get(&brief().key).await.unwrap().is_some());
    assert_eq!(subject.store.sweep_expired(at(11)).await.unwrap(), 1);
    assert_eq!(subject.store.get(&brief().key).await.unwrap(), None);
    subject.store.put_if(brief(), Expect::Absent).await.unwrap();
}
