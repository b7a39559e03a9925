//! `aegis key import`, `import-parameters` and `register`: keys that are there already. Key bytes leave this process only
//! wrapped, for a key that lives in the deployment.

use super::{Described, made};
use crate::Failure;
use crate::api::text;
use crate::client::connection::Client;
use crate::client::output::{self, details, field};
use crate::client::payload;
use aegis_core::encoding::Bytes64;
use aegis_core::id::KeyId;
use aegis_core::name::{BackendName, ObjectName};
use aegis_core::operations::key_import::ImportKey;
use aegis_core::operations::key_register::RegisterKey;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use serde_json::{Value, json};
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(clap::Args)]
#[command(after_help = "\
FILE is PKCS#8 in PEM or DER (openssl genpkey, openssl pkcs8 -topk8 -nocrypt), or for AES and HMAC
the raw key bytes. It is wrapped here, and unwrapped only inside the deployment's key store. What is
known elsewhere stays known there: rotate the key once nobody needs the old one. Needs a login at
most five minutes old.

Examples:
  aegis key import legacy-signing --algorithm ECDSA-P256 legacy.pem --activate
  aegis key import archive --algorithm AES-256-GCM archive.key
  aegis key import escrow --algorithm Ed25519 --wrapped escrow.bin --wrapping-key-id key_0123...")]
pub(crate) struct Import {
    #[command(flatten)]
    described: Described,
    /// The file with the key bytes; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "wrapped", conflicts_with = "wrapped")]
    file: Option<PathBuf>,
    /// A file that was wrapped elsewhere, for the key of `aegis key import-parameters`
    #[arg(long, value_name = "FILE", requires = "wrapping_key_id")]
    wrapped: Option<PathBuf>,
    /// The wrapping key it was wrapped for
    #[arg(long, value_name = "ID", value_parser = key_id, requires = "wrapped")]
    wrapping_key_id: Option<KeyId>,
}

#[derive(clap::Args)]
#[command(after_help = "\
For key bytes that must not leave another machine unwrapped. The wrapping key serves one import of
yours, within a day. To wrap with OpenSSL 3, see docs/USAGE.md.

Examples:
  aegis key import-parameters -o wrapping.pem
  aegis key import escrow --algorithm Ed25519 --wrapped escrow.bin --wrapping-key-id key_0123...")]
pub(crate) struct Parameters {
    /// Write the wrapping key here, as PEM, instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = "\
The key stays in the form it has: what other programs make with it Aegis accepts, and the other way
round. As long as others can reach it, they can use it without Aegis. It is registered once, under
one algorithm; `aegis key destroy` removes it from the back end.

Needs a login at most five minutes old.

Examples:
  aegis key register payments --backend stick --object payments.pem --algorithm ECDSA-P256
  aegis key register ledger --aws-kms-key alias/ledger --algorithm AES-256-GCM")]
pub(crate) struct Register {
    #[command(flatten)]
    described: Described,
    /// The back end, as the server's settings name it [default with --aws-kms-key: kms]
    #[arg(long, value_name = "NAME", required_unless_present = "aws_kms_key")]
    backend: Option<BackendName>,
    /// What the back end calls the key
    #[arg(long, value_name = "NAME", required_unless_present = "aws_kms_key", conflicts_with = "aws_kms_key")]
    object: Option<ObjectName>,
    /// A key of AWS KMS: its ARN, its id or alias/NAME
    #[arg(long, value_name = "KEY")]
    aws_kms_key: Option<ObjectName>,
}

pub(super) fn import(client: &Client, arguments: &Import) -> Result<(), Failure> {
    let (wrapping_key_id, wrapped) = match (&arguments.file, &arguments.wrapped, &arguments.wrapping_key_id) {
        (_, Some(wrapped), Some(id)) => (id.clone(), payload::read(wrapped)?.to_vec()),
        (Some(file), ..) => {
            let bytes = key_bytes(payload::read(file)?)?;
            let parameters = ask(client)?;
            let wrapping_key = payload::decode(text(&parameters, "wrapping_key")?.as_bytes(), "wrapping key")?;
            let wrapped = wrap(&wrapping_key, &bytes).map_err(|error| Failure::because("the wrapping key", &error))?;
            (
                key_id(&text(&parameters, "wrapping_key_id")?)
                    .map_err(|error| Failure::because("the answer", &error))?,
                wrapped,
            )
        }
        _ => return Err(Failure::Usage("give FILE, or --wrapped with --wrapping-key-id".to_string())),
    };
    let described = &arguments.described;
    let body = ImportKey {
        name: described.name.clone(),
        algorithm: described.algorithm,
        wrapping_key_id,
        wrapped_key: Bytes64::from(wrapped),
        tier: described.tier,
        environment: described.environment,
        canary: described.canary,
        labels: described.labels.iter().cloned().collect(),
        activate: described.activate,
        rotate_every_days: described.rotate_every_days,
    };
    made(client, &client.api.post("/v1/keys/import", &body)?.ok("import the key")?)
}

pub(super) fn parameters(client: &Client, arguments: &Parameters) -> Result<(), Failure> {
    let parameters = ask(client)?;
    let pem = text(&parameters, "pem")?;
    if let Some(file) = &arguments.output {
        output::deliver(pem.as_bytes(), Some(file), false)?;
    }
    client.show(&parameters, |parameters| {
        let about = details(&[
            ("wrapping key id", field(parameters, "/wrapping_key_id")),
            ("wrap by", field(parameters, "/wrapping_algorithm")),
            ("until", field(parameters, "/expires_at")),
        ]);
        match arguments.output {
            Some(_) => about,
            None => format!("{about}\n\n{}", pem.trim_end()),
        }
    })
}

pub(super) fn register(client: &Client, arguments: &Register) -> Result<(), Failure> {
    let described = &arguments.described;
    let kms = || arguments.aws_kms_key.as_ref().and_then(|_| "kms".parse().ok());
    let (backend, object) = (arguments.backend.clone().or_else(kms), arguments.object.clone());
    let (Some(backend), Some(object)) = (backend, object.or_else(|| arguments.aws_kms_key.clone())) else {
        return Err(Failure::Usage("give --backend and --object, or --aws-kms-key".to_string()));
    };
    let body = RegisterKey {
        name: described.name.clone(),
        backend,
        object,
        algorithm: described.algorithm,
        tier: described.tier,
        environment: described.environment,
        canary: described.canary,
        labels: described.labels.iter().cloned().collect(),
        activate: described.activate,
        rotate_every_days: described.rotate_every_days,
    };
    made(client, &client.api.post("/v1/keys/register", &body)?.ok("register the key")?)
}

fn ask(client: &Client) -> Result<Value, Failure> {
    client.api.post("/v1/keys/import-parameters", &json!({}))?.ok("get a wrapping key")
}

/// What the import wants of a file: PKCS#8 out of PEM, or what is there.
fn key_bytes(file: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !file.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Ok(file);
    }
    match pem_rfc7468::decode_vec(&file) {
        Ok(("PRIVATE KEY", bytes)) => Ok(Zeroizing::new(bytes)),
        Ok((label, _)) => Err(Failure::Usage(format!(
            "the file holds {label:?}, not \"PRIVATE KEY\" (PKCS#8): openssl pkcs8 -topk8 -nocrypt converts it"
        ))),
        Err(error) => Err(Failure::Usage(format!("the file is no PEM: {error}"))),
    }
}

/// An AES-256 key by RSAES-OAEP, then the key bytes by AES-KWP under it (`CKM_RSA_AES_KEY_WRAP` of PKCS#11).
fn wrap(wrapping_key: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(key.as_mut_slice())?;
    let public = PublicEncryptingKey::from_der(wrapping_key).map_err(|_| Unspecified)?;
    let public = OaepPublicEncryptingKey::new(public)?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, key.as_slice(), &mut wrapped, None)?;
    // RFC 5649: padded to eight bytes, and eight more.
    let mut inner = vec![0; bytes.len().next_multiple_of(8).saturating_add(8)];
    let inner = AesKek::new(&AES_256, key.as_slice())?.wrap_with_padding(bytes, &mut inner)?;
    wrapped.extend_from_slice(inner);
    Ok(wrapped)
}

fn key_id(text: &str) -> Result<KeyId, aegis_core::id::InvalidId> {
    KeyId::try_from(text.to_string())
}
