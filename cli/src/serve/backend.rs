//! The back ends that a server stands in front of, as its settings name them.

use crate::Failure;
use aegis_core::ambient::Entropy;
use aegis_core::keystore::KeyStore;
use aegis_core::name::BackendName;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// One back end.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Backend {
    /// Private keys in the files of a folder.
    Folder { path: PathBuf },
}

/// None of them is asked anything yet: what is not there now may be there when it is needed.
#[cfg(unix)]
pub(crate) fn open(
    backends: &BTreeMap<BackendName, Backend>,
    entropy: &Entropy,
) -> Result<BTreeMap<BackendName, Arc<dyn KeyStore>>, Failure> {
    use aegis_keystores::folder::FolderKeyStore;
    let open = |(name, backend): (&BackendName, &Backend)| {
        let Backend::Folder { path } = backend;
        if !path.is_dir() {
            tracing::warn!(backend = %name, path = %path.display(), "no such folder; its keys cannot be used");
        }
        let keystore: Arc<dyn KeyStore> = Arc::new(FolderKeyStore::new(path.clone(), entropy.clone()));
        (name.clone(), keystore)
    };
    Ok(backends.iter().map(open).collect())
}

#[cfg(not(unix))]
pub(crate) fn open(
    backends: &BTreeMap<BackendName, Backend>,
    _: &Entropy,
) -> Result<BTreeMap<BackendName, Arc<dyn KeyStore>>, Failure> {
    match backends.is_empty() {
        true => Ok(BTreeMap::new()),
        false => Err(Failure::Usage("[backends]: a folder of keys needs the file permissions of Unix".to_string())),
    }
}
