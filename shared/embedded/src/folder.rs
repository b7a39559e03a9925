//! The data folder: made for its owner alone, flushed when a file appears in it, locked by the one who uses it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Creates the folder unless it exists. One that exists keeps its mode: the files in it are closed to others anyway.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    match dir.canonicalize()?.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// Options that create a file nobody but its owner can open.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The lock, which ends with the file, or `None` while another process holds it.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = private().open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the names in the folder durable. Windows does so by itself and cannot open a folder as a file.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_it_creates_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        prepare(&folder).unwrap();
        prepare(&folder).unwrap();
        private().open(folder.join("file")).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("file"))), (0o700, 0o600));
    }

    #[test]
    fn a_lock_has_one_holder_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_lock(&path).unwrap();
        assert!(held.is_some() && try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
