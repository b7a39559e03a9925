//! `aegis encrypt`, `decrypt`, `re-encrypt`, `wrap`, `unwrap` and `data-key`.

use super::connection::Connection;
use super::output;
use super::payload::{self, Payload, Shape};
use crate::Failure;
use crate::api::{Api, text};
use aegis_core::name::KeyRef;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Pairs that are authenticated with the ciphertext, not encrypted. Not called `--context`: that names a deployment.
#[derive(clap::Args)]
struct Context {
    /// Bind the ciphertext to this pair, needed again to decrypt; may be repeated
    #[arg(short = 'c', long = "encryption-context", value_name = "NAME=VALUE", value_parser = pair)]
    pairs: Vec<(String, String)>,
}

/// What all of them take.
#[derive(clap::Args)]
#[command(after_help = "\
At most 64 KiB; for more, encrypt with a data key: aegis data-key --help. Ciphertext is raw bytes,
on a terminal base64.

Examples:
  aegis encrypt backups secrets.json -o secrets.enc -c tenant=acme
  aegis decrypt backups secrets.enc -o secrets.json -c tenant=acme
  aegis re-encrypt backups secrets.enc -o secrets.new -c tenant=acme    with the newest version
  aegis wrap backups session.key -o session.wrapped
  aegis unwrap backups session.wrapped -o session.key")]
pub(crate) struct Crypt {
    key: KeyRef,
    #[command(flatten)]
    payload: Payload,
    #[command(flatten)]
    context: Context,
    /// Ciphertext is base64: written so, and read so
    #[arg(long)]
    base64: bool,
}

#[derive(clap::Args)]
pub(crate) struct ReEncrypt {
    #[command(flatten)]
    crypt: Crypt,
    /// The pairs from now on [default: as they are]; may be repeated
    #[arg(long = "new-encryption-context", value_name = "NAME=VALUE", value_parser = pair)]
    new_pairs: Vec<(String, String)>,
}

#[derive(clap::Args)]
#[command(after_help = "\
Encrypt with the plaintext key, throw it away, and keep the wrapped one beside the data: `aegis
unwrap` opens it.

Examples:
  aegis data-key backups                                                  both, in base64
  aegis data-key backups --plaintext-file data.key --wrapped-file data.wrapped
  aegis data-key backups --without-plaintext --length 16")]
pub(crate) struct DataKey {
    key: KeyRef,
    /// Bytes of the data key, 16 to 64 [default: 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(16..=64))]
    length: Option<u16>,
    /// Only the wrapped key
    #[arg(long, conflicts_with = "plaintext_file")]
    without_plaintext: bool,
    #[command(flatten)]
    context: Context,
    /// Write the plaintext key here, readable to you alone
    #[arg(long, value_name = "FILE")]
    plaintext_file: Option<PathBuf>,
    /// Write the wrapped key here
    #[arg(long, value_name = "FILE")]
    wrapped_file: Option<PathBuf>,
}

/// Protects the caller's bytes: `encrypt` and `wrap`.
pub(crate) fn protect(connection: &Connection, crypt: &Crypt, verb: &str) -> Result<(), Failure> {
    let (input, result) = if verb == "wrap" { ("key_material", "wrapped_key") } else { ("plaintext", "ciphertext") };
    let client = connection.client()?;
    let body = json!({ input: payload::encode(&crypt.payload.read()?), "context": object(&crypt.context.pairs) });
    let answer = call(&client.api, &crypt.key, verb, &body)?;
    crypt.payload.deliver(&client, &answer, result, Shape::of(crypt.base64))
}

/// Gives the caller's bytes back: `decrypt` and `unwrap`.
pub(crate) fn open(connection: &Connection, crypt: &Crypt, verb: &str) -> Result<(), Failure> {
    let (input, result, shape) = match verb {
        "unwrap" => ("wrapped_key", "key_material", Shape::KeyBytes),
        _ => ("ciphertext", "plaintext", Shape::Plaintext),
    };
    let client = connection.client()?;
    let body = json!({ input: crypt.ciphertext()?, "context": object(&crypt.context.pairs) });
    let answer = call(&client.api, &crypt.key, verb, &body)?;
    crypt.payload.deliver(&client, &answer, result, shape)
}

pub(crate) fn re_encrypt(connection: &Connection, arguments: &ReEncrypt) -> Result<(), Failure> {
    let crypt = &arguments.crypt;
    let client = connection.client()?;
    let body = json!({
        "ciphertext": crypt.ciphertext()?,
        "context": object(&crypt.context.pairs),
        "new_context": (!arguments.new_pairs.is_empty()).then(|| object(&arguments.new_pairs)),
    });
    let answer = call(&client.api, &crypt.key, "re-encrypt", &body)?;
    crypt.payload.deliver(&client, &answer, "ciphertext", Shape::of(crypt.base64))
}

pub(crate) fn data_key(connection: &Connection, arguments: &DataKey) -> Result<(), Failure> {
    let client = connection.client()?;
    let body = json!({
        "length": arguments.length,
        "context": object(&arguments.context.pairs),
        "without_plaintext": arguments.without_plaintext,
    });
    let answer = client.api.post(&format!("/v1/keys/{}/generate-data-key", arguments.key), &body)?;
    let mut answer = answer.ok("make a data key")?;
    let mut shown = Vec::new();
    for (name, path, secret) in [
        ("plaintext", arguments.plaintext_file.as_deref(), true),
        ("wrapped_key", arguments.wrapped_file.as_deref(), false),
    ] {
        match path {
            Some(path) => {
                save(&answer, name, path, secret)?;
                // What went into a file is shown nowhere else.
                answer.as_object_mut().and_then(|fields| fields.remove(name));
            }
            None if client.json => {}
            None => shown.push((name, output::field(&answer, &format!("/{name}")))),
        }
    }
    if client.json {
        return output::json(&answer);
    }
    if shown.is_empty() { Ok(()) } else { output::line(&output::details(&shown)) }
}

impl Crypt {
    /// The input, in base64 as the API wants it.
    fn ciphertext(&self) -> Result<String, Failure> {
        let input = self.payload.read()?;
        let bytes = if self.base64 { payload::decode(&input, "ciphertext")? } else { input };
        Ok(payload::encode(&bytes))
    }
}

fn call(api: &Api, key: &KeyRef, verb: &str, body: &Value) -> Result<Value, Failure> {
    api.post(&format!("/v1/keys/{key}/{verb}"), body)?.ok(verb)
}

fn save(answer: &Value, name: &str, path: &Path, secret: bool) -> Result<(), Failure> {
    output::deliver(&payload::decode(text(answer, name)?.as_bytes(), name)?, Some(path), secret)
}

fn object(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>())
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("a pair reads name=value")?;
    match name.is_empty() {
        true => Err("a pair reads name=value"),
        false => Ok((name.to_string(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        let table = [("a=b", Some(("a", "b"))), ("a=b=c", Some(("a", "b=c"))), ("a=", Some(("a", ""))), ("=b", None)];
        for (text, want) in table.into_iter().chain([("ab", None)]) {
            let read = pair(text).ok();
            assert_eq!(read, want.map(|(name, value)| (name.to_string(), value.to_string())), "{text}");
        }
    }
}
