//! Backups of a data folder: one sealed file with the root and the store of one moment, made while a server runs,
//! checked to its last byte, and restored into an empty folder. It asks nobody anything and prints nothing.
//!
//! A restore raises the deployment's epoch above that of the root and of the store in the backup. A token is good only
//! if its credential is in the store and its epoch is the deployment's: one issued before the backup has a lower epoch,
//! one issued since has no credential. So no token of before lives again, however often the same backup is restored.

mod seal;

use crate::folder;
use crate::root::{self, Passphrase, Root, RootError};
use crate::store::snapshot::{self, Contents};
use crate::store::{self, OpenError};
use aegis_core::ambient::Timestamp;
use aws_lc_rs::aead::LessSafeKey;
use seal::Header;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a backup holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    pub deployment: String,
    pub made_at: Timestamp,
    /// Tokens of this epoch are good; after a restore, of the restored folder.
    pub epoch: u64,
    pub store_format: i64,
    pub keys: u64,
    pub agents: u64,
    /// Of the agents, those that a human could issue a credential to.
    pub active_agents: u64,
    pub records: u64,
    pub newest_record: Option<Timestamp>,
}

/// What takes long.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    Copying,
    /// Bytes sealed or opened, of all.
    Moved {
        done: u64,
        total: u64,
    },
    Checking,
}

/// Callers branch on the variant; each is one sentence for whoever keeps the backups.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the backup was altered or cut short")]
    Altered,
    #[error("another backup of this folder is under way")]
    Busy,
    #[error("the store in it cannot be used")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing was overwritten.
    #[error("`{}` exists already; a backup replaces no file", path.display())]
    Exists { path: PathBuf },
    #[error("the folder `{}` is in use by another aegis", path.display())]
    InUse { path: PathBuf },
    #[error("`{}` cannot be read or written", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the root file and the store in it belong to different deployments")]
    Mismatch,
    #[error("the backup has format {found}, but this aegis knows none above {known}; use a newer aegis")]
    NewerFormat { found: u32, known: u32 },
    #[error("`{}` is no backup of aegis", path.display())]
    NotABackup { path: PathBuf },
    /// Nothing was changed.
    #[error("the folder `{}` is not empty; restore into one that is, or that does not exist", path.display())]
    NotEmpty { path: PathBuf },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// Writes a backup of a data folder to `to`, durably, whether or not a server runs on the folder. It holds every write
/// that was answered before the call. Leaves nothing of that name if it fails.
pub fn create(
    dir: &Path,
    to: &Path,
    passphrase: &Passphrase,
    now: Timestamp,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, BackupError> {
    if to.try_exists().map_err(at(to))? {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let header = Header::new(now, root::read(dir)?);
    let root = Root::open_sealed(&header.root, passphrase)?;
    let key = header.key(root.expose_kek()).map_err(in_file(to))?;
    let dir = dir.canonicalize().map_err(at(dir))?;
    let Some(_lock) = folder::try_lock(&dir.join(LOCK)).map_err(at(&dir))? else {
        return Err(BackupError::Busy);
    };
    progress(Progress::Copying);
    // In the data folder, because the copy is no better protected than what lies there.
    let (copy, file) = Unfinished::create(dir.join(COPY))?;
    snapshot::take(&dir, &copy.path)?;
    progress(Progress::Checking);
    let summary = check(&copy.path, &root, now)?;
    let (fresh, out) = Unfinished::create(with_suffix(to, ".partial"))?;
    let mut out = BufWriter::new(out);
    let total = file.metadata().map_err(at(&copy.path))?.len();
    header.write(&mut out).map_err(in_file(to))?;
    seal::seal(&key, &mut BufReader::new(file), &mut out, &mut counted(total, progress)).map_err(in_file(to))?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(at(to))?;
    fresh.publish(to)?;
    Ok(summary)
}

/// Checks a backup to its last byte, with the store unpacked into `scratch`, an existing folder, for as long as this
/// takes.
pub fn verify(
    file: &Path,
    passphrase: &Passphrase,
    scratch: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, BackupError> {
    let mut backup = Backup::open(file, passphrase)?;
    let (copy, mut out) = Unfinished::create(scratch.join(COPY))?;
    backup.unpack(&mut out, progress)?;
    progress(Progress::Checking);
    check(&copy.path, &backup.root, backup.header.made_at)
}

/// Makes `dir`, which must be empty or not exist, the data folder that the backup was made of, at a new epoch. Verifies
/// first. Until it has finished no server starts on the folder, and it can be run again.
pub fn restore(
    file: &Path,
    dir: &Path,
    passphrase: &Passphrase,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, BackupError> {
    let mut target = Target::claim(dir)?;
    let mut backup = Backup::open(file, passphrase)?;
    let (staged, mut out) = Unfinished::create(dir.join(store::RESTORING))?;
    backup.unpack(&mut out, progress)?;
    progress(Progress::Checking);
    let mut summary = check(&staged.path, &backup.root, backup.header.made_at)?;
    out.sync_all().and_then(|()| folder::sync(dir)).map_err(at(&staged.path))?;
    drop(out);
    // A deployment counts epochs in 32 bits.
    let next = summary.epoch.checked_add(1).filter(|next| u32::try_from(*next).is_ok());
    summary.epoch = next.ok_or_else(|| BackupError::Damaged("its epoch is the last there is".into()))?;
    let raised = Root::restore(dir, &backup.header.root, passphrase, summary.epoch);
    if let Err(error @ (RootError::Foreign | RootError::OlderEpoch { .. })) = raised {
        return Err(error.into());
    }
    // The new root may be there. Under this name the store keeps a server from starting beside it on an empty one.
    target.finished = true;
    let staged = staged.keep();
    raised?;
    let path = dir.join(store::FILE);
    fs::rename(&staged, &path).and_then(|()| folder::sync(dir)).map_err(at(&path))?;
    Ok(summary)
}

/// The bytes of a backup with this root file and this store, as [`create`] writes them.
#[cfg(feature = "testing")]
pub fn sealed(root: &[u8], store: &[u8], now: Timestamp, kek: &[u8; 32]) -> Option<Vec<u8>> {
    let (header, mut bytes) = (Header::new(now, root.to_vec()), Vec::new());
    header.write(&mut bytes).ok()?;
    seal::seal(&header.key(kek).ok()?, &mut &*store, &mut bytes, &mut |_| ()).ok()?;
    Some(bytes)
}

/// The root file and the store in the bytes of a backup, as [`verify`] reads them.
#[cfg(feature = "testing")]
pub fn opened(mut bytes: &[u8], kek: &[u8; 32]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (header, mut store) = (Header::read(&mut bytes).ok()?, Vec::new());
    seal::open(&header.key(kek).ok()?, &mut bytes, &mut store, &mut |_| ()).ok()?;
    Some((header.root, store))
}

/// A backup whose root is open.
struct Backup<'a> {
    path: &'a Path,
    file: BufReader<File>,
    header: Header,
    root: Root,
    key: LessSafeKey,
}

impl<'a> Backup<'a> {
    fn open(path: &'a Path, passphrase: &Passphrase) -> Result<Self, BackupError> {
        let mut file = BufReader::new(File::open(path).map_err(at(path))?);
        let header = Header::read(&mut file).map_err(in_file(path))?;
        let root = Root::open_sealed(&header.root, passphrase)?;
        let key = header.key(root.expose_kek()).map_err(in_file(path))?;
        Ok(Self { path, file, header, root, key })
    }

    /// On an error what was unpacked is worth nothing.
    fn unpack(&mut self, out: &mut File, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
        let total = self.file.get_ref().metadata().map_err(at(self.path))?.len();
        seal::open(&self.key, &mut self.file, out, &mut counted(total, progress)).map_err(in_file(self.path))
    }
}

fn check(copy: &Path, root: &Root, made_at: Timestamp) -> Result<Summary, BackupError> {
    let Contents { format, deployment, keys, agents, active_agents, records, newest_record } =
        snapshot::inspect(copy).map_err(BackupError::Damaged)?;
    if deployment.id != root.deployment() {
        return Err(BackupError::Mismatch);
    }
    // The store follows the root at the start after a restore, so it may be behind.
    let epoch = root.epoch().max(deployment.epoch.into());
    let deployment = deployment.id;
    Ok(Summary {
        deployment,
        made_at,
        epoch,
        store_format: format,
        keys,
        agents,
        active_agents,
        records,
        newest_record,
    })
}

/// A folder to restore into, locked. One that was made for this is removed again unless the restore finished.
struct Target<'a> {
    dir: &'a Path,
    made: bool,
    finished: bool,
    _lock: File,
}

impl<'a> Target<'a> {
    fn claim(dir: &'a Path) -> Result<Self, BackupError> {
        let made = !dir.try_exists().map_err(at(dir))?;
        folder::prepare(dir).map_err(at(dir))?;
        // Before the lock, so that no file is left in a folder that is none of ours.
        refuse_occupied(dir)?;
        let Some(lock) = folder::try_lock(&dir.join(store::LOCK)).map_err(at(dir))? else {
            return Err(BackupError::InUse { path: dir.to_owned() });
        };
        let target = Self { dir, made, finished: false, _lock: lock };
        // Again, as a server may have come and gone.
        refuse_occupied(dir)?;
        Ok(target)
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if self.made && !self.finished {
            // What cannot be removed is an empty folder, which does no harm.
            for file in [store::LOCK, root::LOCK] {
                let _ = fs::remove_file(self.dir.join(file));
            }
            let _ = fs::remove_dir(self.dir);
        }
    }
}

/// A root may be left from a restore that did not finish, or from a store that was lost.
fn refuse_occupied(dir: &Path) -> Result<(), BackupError> {
    let known = [store::LOCK, store::RESTORING, root::NAME, root::FRESH, root::LOCK];
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let name = entry.map_err(at(dir))?.file_name();
        if !known.iter().any(|known| name == *known) {
            return Err(BackupError::NotEmpty { path: dir.to_owned() });
        }
    }
    Ok(())
}

/// A file that is removed unless it is kept.
struct Unfinished {
    path: PathBuf,
    kept: bool,
}

impl Unfinished {
    /// Empty, its owner's alone, in place of what an earlier attempt left there.
    fn create(path: PathBuf) -> Result<(Self, File), BackupError> {
        let removed = fs::remove_file(&path);
        let made = match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => folder::private().create_new(true).open(&path),
        };
        let file = made.map_err(at(&path))?;
        Ok((Self { path, kept: false }, file))
    }

    fn keep(mut self) -> PathBuf {
        self.kept = true;
        std::mem::take(&mut self.path)
    }

    /// Gives it its name, durably.
    fn publish(self, name: &Path) -> Result<(), BackupError> {
        let dir = name.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::rename(&self.path, name).map_err(at(name))?;
        drop(self.keep());
        folder::sync(dir).map_err(at(dir))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // Left there, it is replaced by the next attempt.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn counted(total: u64, progress: &mut dyn FnMut(Progress)) -> impl FnMut(u64) {
    let mut done = 0_u64;
    move |moved| {
        done = done.saturating_add(moved);
        progress(Progress::Moved { done, total });
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

fn in_file(path: &Path) -> impl Fn(seal::Error) -> BackupError {
    move |error| match error {
        seal::Error::Altered => BackupError::Altered,
        seal::Error::Io(source) => BackupError::Io { path: path.to_owned(), source },
        seal::Error::NewerFormat { found } => BackupError::NewerFormat { found, known: seal::FORMAT },
        seal::Error::NotABackup => BackupError::NotABackup { path: path.to_owned() },
    }
}

/// Held while a backup is made.
const LOCK: &str = "backup.lock";
/// The store of a backup that is being made or checked.
const COPY: &str = "backup.sqlite";

#[cfg(test)]
mod tests;
