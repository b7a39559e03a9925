//! The server's certificate: read from its files, and read again when the operator says so.

use crate::Failure;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The files of the server's certificate, in PEM: the chain, its own first, and the private key.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, Failure> {
        let wrong = |path: &Path, why: String| Failure::Usage(format!("{}: {why}", path.display()));
        let chain = CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| wrong(&self.cert, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| wrong(&self.cert, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The certificate as it is now, for connections to come. On SIGHUP the files are read again; what cannot be read, or is no
/// certificate with its key, leaves the former one in place.
#[cfg(unix)]
pub(super) fn follow(
    files: TlsFiles,
    mut stopped: watch::Receiver<bool>,
) -> Result<watch::Receiver<TlsAcceptor>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (current, followed) = watch::channel(files.acceptor()?);
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| Failure::because("signals", &error))?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = stopped.changed() => return,
            }
            match files.acceptor() {
                Ok(fresh) => {
                    current.send_replace(fresh);
                    tracing::info!("certificate read again");
                }
                Err(failure) => tracing::error!(error = %failure, "certificate not read again: the former one stays"),
            }
        }
    });
    Ok(followed)
}

/// Windows has no such signal: there a new certificate needs a new start.
#[cfg(not(unix))]
pub(super) fn follow(files: TlsFiles, _: watch::Receiver<bool>) -> Result<watch::Receiver<TlsAcceptor>, Failure> {
    Ok(watch::channel(files.acceptor()?).1)
}
