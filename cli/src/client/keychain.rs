//! The operating system's keychain, as the place of a session's token: Apple's, Windows' or, by D-Bus, a Secret Service.
//! Each token has an entry of its own, named by deployment and credential, so that two homes never share one.

use super::connection::set;
use crate::Failure;
use keyring::{Entry, Error};
use zeroize::Zeroizing;

/// Where tokens are to be kept, as `AEGIS_SESSIONS` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// In the keychain where there is one, else in a file.
    Any,
    File,
    Keychain,
}

impl Wanted {
    pub(super) fn read() -> Result<Self, Failure> {
        match set("AEGIS_SESSIONS").as_deref() {
            None => Ok(Self::Any),
            Some("file") => Ok(Self::File),
            Some("keychain") => Ok(Self::Keychain),
            Some(_) => Err(Failure::Usage("AEGIS_SESSIONS is neither `keychain` nor `file`".to_string())),
        }
    }
}

pub(super) fn write(url: &str, credential: &str, token: &str) -> Result<(), Failure> {
    entry(url, credential).and_then(|entry| entry.set_secret(token.as_bytes())).map_err(unusable)
}

/// `None` if the keychain answers and has no such token.
pub(super) fn read(url: &str, credential: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    match entry(url, credential).and_then(|entry| entry.get_secret()) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(token) => Ok(Some(Zeroizing::new(token))),
            Err(_) => Err(Failure::Failed("the keychain's entry for this session is no token".to_string())),
        },
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(unusable(error)),
    }
}

pub(super) fn remove(url: &str, credential: &str) -> Result<(), Failure> {
    match entry(url, credential).and_then(|entry| entry.delete_credential()) {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(error) => Err(unusable(error)),
    }
}

fn entry(url: &str, credential: &str) -> Result<Entry, Error> {
    Entry::new(&format!("aegis {url}"), credential)
}

fn unusable(error: Error) -> Failure {
    // Its text has the causes in it already.
    Failure::Failed(format!(
        "the system's keychain cannot be used: {error}; unlock it, or log in again with AEGIS_SESSIONS=file"
    ))
}
