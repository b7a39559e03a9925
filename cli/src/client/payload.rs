//! Bytes that go to a key and come back: from files and standard input, raw or in base64.

use super::connection::Client;
use super::output;
use crate::Failure;
use crate::api::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the input comes from and the result goes.
#[derive(clap::Args)]
pub(crate) struct Payload {
    /// The file to read; - or nothing is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write the result here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Payload {
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match &self.file {
            Some(path) => read(path),
            None => read(Path::new("-")),
        }
    }

    /// Delivers one field of an answer; the whole answer where JSON is asked for. On a terminal, where bytes would
    /// be noise, base64 is the default.
    pub(crate) fn deliver(&self, client: &Client, answer: &Value, field: &str, shape: Shape) -> Result<(), Failure> {
        let encoded = Zeroizing::new(text(answer, field)?);
        let to = self.output.as_deref();
        let secret = matches!(shape, Shape::KeyBytes | Shape::Plaintext);
        let noisy = matches!(shape, Shape::Bytes | Shape::KeyBytes) && to.is_none() && output::is_seen();
        match (client.json, shape == Shape::Base64 || noisy) {
            (true, _) => output::deliver(format!("{answer}\n").as_bytes(), to, secret),
            (false, true) => output::deliver(format!("{}\n", encoded.as_str()).as_bytes(), to, secret),
            (false, false) => output::deliver(&decode(encoded.as_bytes(), field)?, to, secret),
        }
    }
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    Base64,
    Bytes,
    /// Key bytes of the caller: a secret, and noise on a terminal.
    KeyBytes,
    /// The caller's own bytes: raw wherever they go.
    Plaintext,
}

impl Shape {
    pub(crate) fn of(base64: bool) -> Self {
        if base64 { Self::Base64 } else { Self::Bytes }
    }
}

/// A file's bytes, or standard input's for `-`.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let done = match path == Path::new("-") {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        false => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map(|_| ()),
    };
    done.map_err(|error| Failure::because(&format!("cannot read {}", path.display()), &error))?;
    Ok(bytes)
}

/// As the API wants bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes out of base64; white space around it does not count.
pub(crate) fn decode(encoded: &[u8], what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let decoded = STANDARD.decode(encoded.trim_ascii()).map(Zeroizing::new);
    decoded.map_err(|_| Failure::Usage(format!("the {what} is not standard base64")))
}
