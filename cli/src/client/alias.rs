//! `aegis alias`: names of keys. Grants hold ids, so moving a name changes nobody's rights.

use super::connection::Connection;
use super::{key, output};
use crate::Failure;
use aegis_core::name::{KeyName, KeyRef};
use aegis_core::operations::aliases::SetAlias;

#[derive(clap::Subcommand)]
#[command(after_help = "\
Agents keep what they were granted: a grant names the key itself, not its name.

Examples:
  aegis alias set invoice-current invoice-2026
  aegis alias delete invoice-current")]
pub(crate) enum Command {
    /// Make a name lead to a key, wherever it led before
    #[command(after_help = "Example:\n  aegis alias set invoice-current invoice-2026")]
    Set { name: KeyName, key: KeyRef },
    /// Make a name lead nowhere
    #[command(after_help = "Example:\n  aegis alias delete invoice-current")]
    Delete { name: KeyName },
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let client = connection.client()?;
    match command {
        Command::Set { name, key } => {
            let answer = client.api.put(&format!("/v1/aliases/{name}"), &SetAlias { key: key.clone() })?;
            client.show(&answer.ok("set the name")?, key::render)
        }
        Command::Delete { name } => {
            client.api.delete(&format!("/v1/aliases/{name}"))?.ok("delete the name")?;
            // The API answers with nothing: neither does this, where its JSON is wanted.
            if client.json { Ok(()) } else { output::line(&format!("{name} leads nowhere now")) }
        }
    }
}
