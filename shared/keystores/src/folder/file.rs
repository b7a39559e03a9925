//! One folder's files: read with suspicion, written whole or not at all. A folder without its mark is taken for one that is
//! not mounted: what is missing in it is not gone.

use aegis_core::id::RecordId;
use aegis_core::keystore::KeyStoreError;
use pem_rfc7468::LineEnding;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use zeroize::Zeroizing;

pub(super) struct Folder(PathBuf);

/// The file that is made for a token.
pub(super) fn name_of(token: &RecordId) -> String {
    format!("{MADE_HERE}{token}.pem")
}

/// Whether Aegis makes files of this name: until one is on record it may be removed again.
pub(super) fn is_made_here(name: &str) -> bool {
    name.starts_with(MADE_HERE)
}

const MADE_HERE: &str = "aegis-";

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The PKCS#8 bytes of a file, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let folder = self.open()?;
        check_name(name)?;
        // Opened within the folder and only if it is no link, so that a name leads nowhere else. Non-blocking, so that
        // something which is no file keeps nobody waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(NOT_A_FILE),
            Err(error) => return Err(unavailable(error)),
        };
        let about = file.metadata().map_err(unavailable)?;
        if !about.is_file() {
            return Err(NOT_A_FILE);
        }
        if about.mode() & OTHERS != 0 {
            return Err(KeyStoreError::Invalid { what: "others than its owner may use the file: chmod 600 it" });
        }
        // With room for all of it, so that growing leaves no copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(usize::from(MAX_FILE).saturating_add(1)));
        file.take(u64::from(MAX_FILE)).read_to_end(&mut text).map_err(unavailable)?;
        let (label, bytes) = pem_rfc7468::decode_vec(&text).map_err(|_| NOT_PEM)?;
        let bytes = Zeroizing::new(bytes);
        match label {
            "PRIVATE KEY" => Ok(Some(bytes)),
            _ => Err(NOT_PEM),
        }
    }

    /// Makes a file that nobody but its owner may read. It is there whole, and on the disk, or not at all.
    pub(super) fn write(&self, name: &str, pkcs8: &[u8]) -> Result<(), KeyStoreError> {
        let folder = self.open()?;
        let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, pkcs8).map_err(|_| NOT_PEM)?;
        let pem = Zeroizing::new(pem);
        let unfinished = unfinished(name);
        remove(&folder, &unfinished)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&folder, unfinished.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(unavailable)?;
        let mut file = File::from(file);
        // Where there are no permissions, nothing is written that needs them.
        if file.metadata().map_err(unavailable)?.mode() & OTHERS != 0 {
            remove(&folder, &unfinished)?;
            return Err(KeyStoreError::Invalid { what: "the folder's file system keeps nobody from reading a file" });
        }
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(unavailable)?;
        rustix::fs::renameat(&folder, unfinished.as_str(), &folder, name).map_err(unavailable)?;
        rustix::fs::fsync(&folder).map_err(unavailable)
    }

    /// Removes a file, and what an interrupted [`Folder::write`] left of it. One that is not there is removed.
    pub(super) fn remove(&self, name: &str) -> Result<(), KeyStoreError> {
        let folder = self.open()?;
        check_name(name)?;
        remove(&folder, &unfinished(name))?;
        remove(&folder, name)?;
        rustix::fs::fsync(&folder).map_err(unavailable)
    }

    fn open(&self) -> Result<OwnedFd, KeyStoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&self.0, flags, Mode::empty()).map_err(unavailable)?;
        match rustix::fs::statat(&folder, MARK, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(folder),
            Err(Errno::NOENT) => Err(KeyStoreError::Unavailable {
                source: "the folder has no file `.aegis-keys`: it is not mounted, or not meant for Aegis".into(),
            }),
            Err(error) => Err(unavailable(error)),
        }
    }
}

fn unfinished(name: &str) -> String {
    format!(".{name}.unfinished")
}

fn remove(folder: &OwnedFd, name: &str) -> Result<(), KeyStoreError> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(unavailable(error)),
    }
}

fn check_name(name: &str) -> Result<(), KeyStoreError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(KeyStoreError::Invalid {
            what: "a file has 1 to 128 of A-Z, a-z, 0-9 and . _ -, and does not begin with a dot",
        }),
    }
}

fn unavailable(error: impl Into<std::io::Error>) -> KeyStoreError {
    KeyStoreError::Unavailable { source: error.into().into() }
}

/// Puts a folder under Aegis: its operator makes this file in it.
const MARK: &str = ".aegis-keys";
/// What others than the owner may do.
const OTHERS: u32 = 0o077;
const NOT_A_FILE: KeyStoreError = KeyStoreError::Invalid { what: "this is no file, but a link or something else" };
const NOT_PEM: KeyStoreError = KeyStoreError::Invalid {
    what: "the file is no PKCS#8 in PEM (BEGIN PRIVATE KEY): openssl pkcs8 -topk8 -nocrypt converts it",
};
/// Bytes. The largest private key there is, ML-DSA-87 with its expanded form, has some 7,000 in PEM.
const MAX_FILE: u16 = 16_384;
