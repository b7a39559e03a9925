use super::*;
use crate::root::KdfParams;
use crate::store::SqliteStore;
use aegis_core::ambient::Entropy;
use aegis_core::deployment::Deployment;
use aegis_core::pipeline;
use aegis_core::repository::{self, Loaded};
use aegis_core::store::{Expect, Item, ItemKey, Put, Store};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// A data folder, a backup of it, and room for more.
struct Bench {
    scratch: tempfile::TempDir,
}

impl Bench {
    /// With a store of several chunks.
    fn new() -> Self {
        let bench = Self { scratch: tempfile::tempdir().unwrap() };
        let root = Root::create(&bench.data(), &right(), KdfParams::LEAST).unwrap();
        let store = SqliteStore::open(&bench.data()).unwrap();
        block_on(async {
            pipeline::initialize(&store, root.deployment(), 1, &Entropy::system(), now()).await.unwrap();
            for n in 0..40 {
                store.transact(vec![item(n)]).await.unwrap();
            }
        });
        drop(store);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn create(&self, name: &str) -> Result<Summary, BackupError> {
        create(&self.data(), &self.path(name), &right(), now(), &mut |_| ())
    }

    fn verify(&self, name: &str) -> Result<Summary, BackupError> {
        let scratch = tempfile::tempdir().unwrap();
        let verified = verify(&self.path(name), &right(), scratch.path(), &mut |_| ());
        assert_eq!(names(scratch.path()), [""; 0], "nothing stays unpacked");
        verified
    }

    fn restore(&self, name: &str, to: &str) -> Result<Summary, BackupError> {
        restore(&self.path(name), &self.path(to), &right(), &mut |_| ())
    }
}

fn right() -> Passphrase {
    Passphrase::new("correct horse battery".to_owned())
}

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn item(n: u32) -> Put {
    let item = Item {
        key: ItemKey::state("item", format!("{n:06}")),
        body: format!("{n} ").repeat(2_000),
        indexes: Vec::new(),
        expires_at: None,
    };
    Put { item, expect: Expect::Absent }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_restored_folder_holds_what_the_first_one_held_at_a_new_epoch() {
    let bench = Bench::new();
    let made = bench.create("backup").unwrap();
    assert_eq!((made.epoch, made.store_format, made.made_at, made.records), (1, 1, now(), 0));
    assert_eq!(bench.verify("backup").unwrap(), made);
    let restored = bench.restore("backup", "restored").unwrap();
    assert_eq!(restored, Summary { epoch: 2, ..made });
    let (first, second) = (Root::open(&bench.data(), &right()).unwrap(), {
        let dir = bench.path("restored");
        assert_eq!(names(&dir), ["lock", "root.lock", "root.sealed", "store.sqlite"]);
        Root::open(&dir, &right()).unwrap()
    });
    assert_eq!((first.epoch(), second.epoch()), (1, 2));
    assert_eq!((first.expose_kek(), first.expose_token_key()), (second.expose_kek(), second.expose_token_key()));
    let store = SqliteStore::open(&bench.path("restored")).unwrap();
    block_on(async {
        for n in 0..40 {
            let Put { item, .. } = item(n);
            assert_eq!(store.get(&item.key).await.unwrap().unwrap().item.body, item.body);
        }
        pipeline::initialize(&store, second.deployment(), 2, &Entropy::system(), now()).await.unwrap();
        let found: Loaded<Deployment> =
            repository::load(&store, &repository::deployment_item()).await.unwrap().unwrap();
        assert_eq!(found.value.epoch, 2);
    });
}

#[test]
fn a_backup_beside_a_writer_is_one_moment_and_holds_what_was_answered() {
    let bench = Bench::new();
    let store = SqliteStore::open(&bench.data()).unwrap();
    let (acknowledged, heard) = mpsc::channel();
    let writing = AtomicBool::new(true);
    let (held, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut pairs = 0;
            while writing.load(Ordering::Relaxed) {
                pairs += 1;
                // Two items in one transaction: a copy of one moment has both or none.
                block_on(store.transact(vec![item(10_000 + pairs), item(500_000 + pairs)])).unwrap();
                acknowledged.send(pairs).unwrap();
            }
            pairs
        });
        let mut held = Vec::new();
        for round in 0..5 {
            let first = heard.recv().unwrap();
            held.push(heard.try_iter().last().unwrap_or(first));
            // Others write before the copy is made, and after it.
            let mut others_write = |_| {
                heard.recv().unwrap();
            };
            create(&bench.data(), &bench.path(&format!("backup-{round}")), &right(), now(), &mut others_write).unwrap();
        }
        writing.store(false, Ordering::Relaxed);
        (held, writer.join().unwrap())
    });
    drop(store);
    for (round, held) in held.into_iter().enumerate() {
        let dir = format!("restored-{round}");
        bench.restore(&format!("backup-{round}"), &dir).unwrap();
        let store = SqliteStore::open(&bench.path(&dir)).unwrap();
        let has = |n| block_on(store.get(&item(n).item.key)).unwrap().is_some();
        assert!((1..=held).all(|n| has(10_000 + n) && has(500_000 + n)), "{round}");
        assert!((held + 1..=written).all(|n| has(10_000 + n) == has(500_000 + n)), "{round}");
    }
}

#[test]
fn a_backup_leaves_nothing_beside_the_store() {
    let bench = Bench::new();
    let before = names(&bench.data());
    bench.create("backup").unwrap();
    let wrong = Passphrase::new("wrong horse battery".to_owned());
    let refused = create(&bench.data(), &bench.path("other"), &wrong, now(), &mut |_| ());
    assert!(matches!(refused, Err(BackupError::Root(RootError::WrongPassphrase))));
    let nowhere = create(&bench.data(), &bench.path("no/such/folder"), &right(), now(), &mut |_| ());
    assert!(matches!(nowhere, Err(BackupError::Io { .. })));
    let mut with_lock = [before, vec![LOCK.to_owned()]].concat();
    with_lock.sort();
    let mut after = names(&bench.data());
    // SQLite's own files, which the next server finds empty.
    after.retain(|name| !name.starts_with("store.sqlite-"));
    assert_eq!(after, with_lock);
    assert_eq!(names(bench.scratch.path()), ["backup", "data"]);
}

#[test]
fn what_a_backup_cannot_be_made_of_says_why() {
    let bench = Bench::new();
    bench.create("backup").unwrap();
    assert!(matches!(bench.create("backup"), Err(BackupError::Exists { .. })));
    let held = folder::try_lock(&bench.data().join(LOCK)).unwrap();
    assert!(matches!(bench.create("second"), Err(BackupError::Busy)));
    drop(held);
    let other = bench.path("other");
    let of_other = || create(&other, &bench.path("of-other"), &right(), now(), &mut |_| ());
    assert!(matches!(of_other(), Err(BackupError::Root(RootError::Missing))));
    assert!(!other.exists());
    Root::create(&other, &right(), KdfParams::LEAST).unwrap();
    assert!(matches!(of_other(), Err(BackupError::Store(OpenError::Io { .. }))));
    fs::copy(bench.data().join(store::FILE), other.join(store::FILE)).unwrap();
    assert!(matches!(of_other(), Err(BackupError::Mismatch)));
    fs::write(other.join(store::FILE), b"no database, but a text of some length").unwrap();
    assert!(matches!(of_other(), Err(BackupError::Store(OpenError::Foreign { .. }))));
    assert!(!bench.path("of-other").exists());
}

/// What the chunks refuse is tested beside them.
#[test]
fn an_altered_backup_is_refused_before_anything_is_restored() {
    let bench = Bench::new();
    bench.create("backup").unwrap();
    let whole = fs::read(bench.path("backup")).unwrap();
    let root = 56 + fs::read(bench.data().join(root::NAME)).unwrap().len();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let table = [
        ("magic", flipped(0), "is no backup of aegis"),
        ("another file", b"PK".to_vec(), "is no backup of aegis"),
        ("format", flipped(10), "format 257"),
        ("time", flipped(19), "altered or cut short"),
        ("salt", flipped(20), "altered or cut short"),
        ("root's length", flipped(53), "altered or cut short"),
        ("root's secrets", flipped(root - 20), "root file"),
        ("first chunk", flipped(root), "altered or cut short"),
        ("last tag", flipped(whole.len() - 1), "altered or cut short"),
        ("cut in the header", whole[..30].to_vec(), "altered or cut short"),
        ("cut in the root", whole[..root - 1].to_vec(), "altered or cut short"),
        ("no chunk", whole[..root].to_vec(), "altered or cut short"),
        ("one chunk", whole[..root + 65_552].to_vec(), "altered or cut short"),
        ("lengthened", [whole.as_slice(), b"x"].concat(), "altered or cut short"),
    ];
    for (what, bytes, said) in table {
        fs::write(bench.path("altered"), bytes).unwrap();
        for refused in [bench.verify("altered"), bench.restore("altered", "restored")] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(said), "{what}: {error}");
        }
        assert!(!bench.path("restored").exists(), "{what}");
    }
    let wrong = Passphrase::new("wrong horse battery".to_owned());
    let refused = restore(&bench.path("backup"), &bench.path("restored"), &wrong, &mut |_| ());
    assert!(matches!(refused, Err(BackupError::Root(RootError::WrongPassphrase))));
    assert!(!bench.path("restored").exists());
}

#[test]
fn a_folder_that_holds_anything_is_left_alone() {
    let bench = Bench::new();
    bench.create("backup").unwrap();
    let before = names(&bench.data());
    assert!(matches!(bench.restore("backup", "data"), Err(BackupError::NotEmpty { .. })));
    assert_eq!(names(&bench.data()), before);
    fs::create_dir(bench.path("home")).unwrap();
    fs::write(bench.path("home/letter"), "").unwrap();
    assert!(matches!(bench.restore("backup", "home"), Err(BackupError::NotEmpty { .. })));
    assert_eq!(names(&bench.path("home")), ["letter"]);
    fs::create_dir(bench.path("busy")).unwrap();
    let held = folder::try_lock(&bench.path("busy").join(store::LOCK)).unwrap();
    assert!(matches!(bench.restore("backup", "busy"), Err(BackupError::InUse { .. })));
    drop(held);
    bench.restore("backup", "busy").unwrap();
}

#[test]
fn a_root_of_a_later_epoch_or_another_deployment_is_not_replaced() {
    let bench = Bench::new();
    bench.create("first").unwrap();
    let sealed = fs::read(bench.data().join(root::NAME)).unwrap();
    let with_root = |name: &str, epoch| {
        fs::create_dir(bench.path(name)).unwrap();
        Root::restore(&bench.path(name), &sealed, &right(), epoch).unwrap();
    };
    with_root("later", 3);
    let refused = bench.restore("first", "later");
    assert!(matches!(refused, Err(BackupError::Root(RootError::OlderEpoch { found: 3, offered: 2 }))), "{refused:?}");
    assert_eq!(Root::open(&bench.path("later"), &right()).unwrap().epoch(), 3);
    assert!(!bench.path("later").join(store::RESTORING).exists());
    with_root("same", 2);
    assert_eq!(bench.restore("first", "same").unwrap().epoch, 2);
    Root::create(&bench.path("foreign"), &right(), KdfParams::LEAST).unwrap();
    assert!(matches!(bench.restore("first", "foreign"), Err(BackupError::Root(RootError::Foreign))));
    let other = Passphrase::new("another passphrase".to_owned());
    with_root("locked", 1);
    Root::change_passphrase(&bench.path("locked"), &right(), &other, KdfParams::LEAST).unwrap();
    assert!(matches!(bench.restore("first", "locked"), Err(BackupError::Root(RootError::Foreign))));
}

#[test]
fn no_server_starts_on_half_a_restore_and_it_can_be_run_again() {
    let bench = Bench::new();
    bench.create("backup").unwrap();
    let dir = bench.path("restored");
    fs::create_dir(&dir).unwrap();
    // As it is left by a kill after the root was written.
    Root::restore(&dir, &fs::read(bench.data().join(root::NAME)).unwrap(), &right(), 2).unwrap();
    fs::write(dir.join(store::RESTORING), "half").unwrap();
    assert!(matches!(SqliteStore::open(&dir), Err(OpenError::Unfinished { .. })));
    assert!(!dir.join(store::FILE).exists());
    // And by an error: a folder lies where the root file must go.
    fs::create_dir(dir.join(root::FRESH)).unwrap();
    assert!(matches!(bench.restore("backup", "restored"), Err(BackupError::Root(RootError::Io(_)))));
    assert!(matches!(SqliteStore::open(&dir), Err(OpenError::Unfinished { .. })));
    fs::remove_dir(dir.join(root::FRESH)).unwrap();
    assert_eq!(bench.restore("backup", "restored").unwrap().epoch, 2);
    SqliteStore::open(&dir).unwrap();
}

#[test]
fn the_epoch_rises_above_both_the_root_and_the_store() {
    let bench = Bench::new();
    let root = Root::open(&bench.data(), &right()).unwrap();
    let store = SqliteStore::open(&bench.data()).unwrap();
    block_on(pipeline::initialize(&store, root.deployment(), 7, &Entropy::system(), now())).unwrap();
    drop(store);
    assert_eq!(bench.create("ahead").unwrap().epoch, 7);
    assert_eq!(bench.restore("ahead", "restored").unwrap().epoch, 8);
    let store = SqliteStore::open(&bench.data()).unwrap();
    block_on(pipeline::initialize(&store, root.deployment(), u32::MAX, &Entropy::system(), now())).unwrap();
    drop(store);
    bench.create("last").unwrap();
    assert!(matches!(bench.restore("last", "never"), Err(BackupError::Damaged(_))));
}

#[cfg(unix)]
#[test]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.create("backup").unwrap();
    bench.restore("backup", "restored").unwrap();
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.path("backup")), 0o600);
    let dir = bench.path("restored");
    assert_eq!([dir.clone(), dir.join(root::NAME), dir.join(store::FILE)].map(mode), [0o700, 0o600, 0o600]);
}
