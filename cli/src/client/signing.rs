//! `aegis sign`, `verify`, `mac` and `verify-mac`.

use super::connection::{Client, Connection};
use super::output;
use super::payload::{self, Payload, Shape};
use crate::Failure;
use crate::api::text;
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::name::KeyRef;
use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
The signature is raw bytes: ASN.1 DER for ECDSA, of fixed length for all others. On a terminal it
is shown in base64.

Examples:
  aegis sign invoice-2026 invoice.json -o invoice.sig
  aegis sign invoice-2026 --base64 < invoice.json
  aegis sign invoice-2026 disk.img --digest -o disk.sig    larger than 700 KiB; not Ed25519, ML-DSA")]
pub(crate) struct Sign {
    key: KeyRef,
    #[command(flatten)]
    payload: Payload,
    /// Hash the file here, and send the digest alone; the signature is the same
    #[arg(long)]
    digest: bool,
    /// Write base64
    #[arg(long)]
    base64: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Exits with 1 if the signature is not valid.

Examples:
  aegis verify invoice-2026 invoice.json --signature invoice.sig
  aegis verify invoice-2026 invoice.json --signature invoice.sig --key-version 1    before rotation")]
pub(crate) struct Verify {
    key: KeyRef,
    /// The file that was signed; - is standard input
    file: PathBuf,
    /// The file that holds the signature
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// The version of the key that signed [default: the present one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_version: Option<u32>,
    /// Hash the file here, and send the digest alone
    #[arg(long)]
    digest: bool,
    /// The signature is in base64
    #[arg(long)]
    base64: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  aegis mac webhooks event.json -o event.mac
  aegis mac webhooks --base64 < event.json")]
pub(crate) struct Mac {
    key: KeyRef,
    #[command(flatten)]
    payload: Payload,
    /// Write base64
    #[arg(long)]
    base64: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Exits with 1 if the code is not valid. A shortened code is not.

Example:
  aegis verify-mac webhooks event.json --mac event.mac")]
pub(crate) struct VerifyMac {
    key: KeyRef,
    /// The file it was made of; - is standard input
    file: PathBuf,
    /// The file that holds the code
    #[arg(long, value_name = "FILE")]
    mac: PathBuf,
    /// The version of the key that made it [default: the present one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_version: Option<u32>,
    /// The code is in base64
    #[arg(long)]
    base64: bool,
}

pub(crate) fn sign(connection: &Connection, arguments: &Sign) -> Result<(), Failure> {
    let client = connection.client()?;
    let signed = sign_bytes(&client, &arguments.key, &arguments.payload.read()?, arguments.digest)?;
    arguments.payload.deliver(&client, &signed, "signature", Shape::of(arguments.base64))
}

pub(super) fn sign_bytes(client: &Client, key: &KeyRef, bytes: &[u8], hashed: bool) -> Result<Value, Failure> {
    let (message, message_type) = message(client, key, bytes, hashed)?;
    let body = json!({ "message": message, "message_type": message_type });
    client.api.post(&format!("/v1/keys/{key}/sign"), &body)?.ok("sign")
}

pub(crate) fn verify(connection: &Connection, arguments: &Verify) -> Result<(), Failure> {
    let client = connection.client()?;
    let signature = payload::read(&arguments.signature)?;
    let signature = match arguments.base64 {
        true => payload::decode(&signature, "signature")?,
        false => signature,
    };
    let (message, message_type) = message(&client, &arguments.key, &payload::read(&arguments.file)?, arguments.digest)?;
    let body = json!({
        "message": message,
        "message_type": message_type,
        "signature": payload::encode(&signature),
        "key_version": arguments.key_version,
    });
    let answer = client.api.post(&format!("/v1/keys/{}/verify", arguments.key), &body)?.ok("verify")?;
    judge(&client, &answer, "signature", &arguments.key)
}

pub(crate) fn mac(connection: &Connection, arguments: &Mac) -> Result<(), Failure> {
    let client = connection.client()?;
    let body = json!({ "message": payload::encode(&arguments.payload.read()?) });
    let made = client.api.post(&format!("/v1/keys/{}/mac", arguments.key), &body)?.ok("make a code")?;
    arguments.payload.deliver(&client, &made, "mac", Shape::of(arguments.base64))
}

pub(crate) fn verify_mac(connection: &Connection, arguments: &VerifyMac) -> Result<(), Failure> {
    let client = connection.client()?;
    let mac = payload::read(&arguments.mac)?;
    let mac = if arguments.base64 { payload::decode(&mac, "code")? } else { mac };
    let body = json!({
        "message": payload::encode(&payload::read(&arguments.file)?),
        "mac": payload::encode(&mac),
        "key_version": arguments.key_version,
    });
    let answer = client.api.post(&format!("/v1/keys/{}/verify-mac", arguments.key), &body)?.ok("verify the code")?;
    judge(&client, &answer, "code", &arguments.key)
}

/// Says whether it is valid: in words, and by the exit code.
fn judge(client: &Client, answer: &Value, what: &str, key: &KeyRef) -> Result<(), Failure> {
    let valid = answer.get("valid").and_then(Value::as_bool).unwrap_or(false);
    let version = output::field(answer, "/key_version");
    match (client.json, valid) {
        (true, _) => output::json(answer)?,
        (false, true) => output::line(&format!("valid: the {what} is of version {version} of {key}"))?,
        (false, false) => {}
    }
    match valid {
        true => Ok(()),
        false => Err(Failure::Failed(format!("the {what} is not valid for version {version} of {key}"))),
    }
}

/// The message as the API wants it, and what it is. A digest is by the hash of the key's own algorithm.
fn message(client: &Client, key: &KeyRef, bytes: &[u8], hashed: bool) -> Result<(String, MessageType), Failure> {
    if !hashed {
        return Ok((payload::encode(bytes), MessageType::Raw));
    }
    let key = client.api.get(&format!("/v1/keys/{key}"))?.ok("ask for the key's algorithm")?;
    let hash = match text(&key, "algorithm")?.parse() {
        Ok(Algorithm::EcdsaP384) => &SHA384,
        Ok(Algorithm::EcdsaP521) => &SHA512,
        // Those without a hash of their own are refused by the deployment.
        _ => &SHA256,
    };
    Ok((payload::encode(digest(hash, bytes).as_ref()), MessageType::Digest))
}
