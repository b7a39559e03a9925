//! The back ends that a server stands in front of, as its settings name them.

use crate::Failure;
use aegis_core::ambient::Entropy;
use aegis_core::keystore::KeyStore;
use aegis_core::name::BackendName;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

/// One back end.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Backend {
    /// Keys of one region of AWS KMS; credentials as every program of AWS finds them.
    AwsKms(AwsKms),
    /// Private keys in the files of a folder.
    Folder { path: PathBuf },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "aws-kms"), expect(dead_code, reason = "read, so that a wrong one is told of as everywhere"))]
pub(crate) struct AwsKms {
    region: String,
    /// A URL; AWS's own if absent.
    endpoint: Option<String>,
    /// Whether Aegis may make keys there.
    #[serde(default = "yes")]
    makes_keys: bool,
    /// The most calls in a second.
    requests_per_second: Option<NonZeroU32>,
    /// Whom Aegis calls KMS as: ARNs of roles or users.
    #[serde(default)]
    aegis_principals: Vec<String>,
    /// Who may use and change keys in an emergency.
    #[serde(default)]
    break_glass_principals: Vec<String>,
}

fn yes() -> bool {
    true
}

type KeyStores = BTreeMap<BackendName, Arc<dyn KeyStore>>;

/// None of them is asked anything yet: what is not there now may be there when it is needed.
pub(crate) async fn open(backends: &BTreeMap<BackendName, Backend>, entropy: &Entropy) -> Result<KeyStores, Failure> {
    let mut opened = KeyStores::new();
    for (name, backend) in backends {
        let keystore = match backend {
            Backend::AwsKms(kms) => aws_kms(name, kms, entropy).await?,
            Backend::Folder { path } => folder(name, path.clone(), entropy)?,
        };
        opened.insert(name.clone(), keystore);
    }
    Ok(opened)
}

#[cfg(feature = "aws-kms")]
async fn aws_kms(name: &BackendName, kms: &AwsKms, entropy: &Entropy) -> Result<Arc<dyn KeyStore>, Failure> {
    use aegis_keystores::aws_kms::{AwsKmsKeyStore, Principals};
    use aws_config::{BehaviorVersion, Region};
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(kms.region.clone()));
    if let Some(endpoint) = &kms.endpoint {
        check_endpoint(name, endpoint)?;
        loader = loader.endpoint_url(endpoint);
    }
    let (aegis, break_glass) = (kms.aegis_principals.clone(), kms.break_glass_principals.clone());
    let meant = Principals::new(aegis, break_glass);
    let meant = meant.map_err(|error| Failure::Usage(format!("[backends.{name}]: {error}")))?;
    let keystore = AwsKmsKeyStore::new(&aws_sdk_kms::Client::new(&loader.load().await), entropy.clone());
    let mut keystore = keystore.with_principals(meant);
    if let Some(most) = kms.requests_per_second {
        keystore = keystore.with_pace(most.get());
    }
    Ok(Arc::new(if kms.makes_keys { keystore } else { keystore.that_makes_none() }))
}

/// What is encrypted and decrypted goes there.
#[cfg(feature = "aws-kms")]
fn check_endpoint(name: &BackendName, endpoint: &str) -> Result<(), Failure> {
    let wrong = |why: &str| Failure::Usage(format!("[backends.{name}]: endpoint {endpoint}: {why}"));
    let uri: http::Uri = endpoint.parse().map_err(|_| wrong("it is no URL"))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        _ => Err(wrong("plain HTTP is for loopback addresses only")),
    }
}

#[cfg(not(feature = "aws-kms"))]
async fn aws_kms(name: &BackendName, _: &AwsKms, _: &Entropy) -> Result<Arc<dyn KeyStore>, Failure> {
    let why =
        "this aegis was built without AWS KMS: `cargo build --release --package aegis-cli --features aws-kms` has it";
    Err(Failure::Usage(format!("[backends.{name}]: {why}")))
}

#[cfg(unix)]
fn folder(name: &BackendName, path: PathBuf, entropy: &Entropy) -> Result<Arc<dyn KeyStore>, Failure> {
    use aegis_keystores::folder::FolderKeyStore;
    if !path.is_dir() {
        tracing::warn!(backend = %name, path = %path.display(), "no such folder; its keys cannot be used");
    }
    Ok(Arc::new(FolderKeyStore::new(path, entropy.clone())))
}

#[cfg(not(unix))]
fn folder(name: &BackendName, _: PathBuf, _: &Entropy) -> Result<Arc<dyn KeyStore>, Failure> {
    Err(Failure::Usage(format!("[backends.{name}]: a folder of keys needs the file permissions of Unix")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(text: &str) -> Result<Backend, toml::de::Error> {
        toml::from_str(text)
    }

    #[tokio::test]
    async fn a_back_end_at_kms_says_where() {
        let kms = "kind = 'aws-kms'\nregion = 'eu-central-1'\n";
        let all = format!("{kms}endpoint = 'https://kms.example'\nmakes_keys = false\nrequests_per_second = 20\n");
        for good in [kms, &all] {
            backend(good).unwrap();
        }
        for bad in ["kind = 'aws-kms'", &format!("{kms}path = 'x'"), &format!("{kms}requests_per_second = 0")] {
            backend(bad).unwrap_err();
        }
        let opened = async |text: &str| {
            let backends = [("kms".parse().unwrap(), backend(text).unwrap())].into();
            open(&backends, &Entropy::system()).await.map(|found| found.len())
        };
        let role = "arn:aws:iam::111122223333:role/aegis";
        if cfg!(not(feature = "aws-kms")) {
            let why = opened(kms).await.unwrap_err().to_string();
            assert!(why.contains("[backends.kms]") && why.contains("--features aws-kms"), "{why}");
            return;
        }
        let at = |endpoint: &str| format!("{kms}endpoint = '{endpoint}'");
        for good in [kms, &all, &at("http://127.0.0.1:4566"), &at("http://[::1]:4566"), &at("http://localhost")] {
            assert_eq!(opened(good).await.unwrap(), 1, "{good}");
        }
        let named = async |key: &str, arn: &str| opened(&format!("{kms}{key} = ['{arn}']")).await;
        for key in ["aegis_principals", "break_glass_principals"] {
            assert_eq!(named(key, role).await.unwrap(), 1);
            let why = named(key, "*").await.unwrap_err().to_string();
            assert!(why.contains("[backends.kms]") && why.contains('*'), "{why}");
        }
        for bad in ["http://kms.example", "kms.example", "ftp://127.0.0.1", "http://127.0.0.1.example", ""] {
            assert!(opened(&at(bad)).await.is_err(), "{bad}");
        }
    }
}
