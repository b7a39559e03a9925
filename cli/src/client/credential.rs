//! `aegis credential`: what proves an agent or a human.

use super::connection::Connection;
use super::output::{self, field};
use crate::Failure;
use aegis_core::id::CredentialId;
use serde_json::json;

#[derive(clap::Subcommand)]
#[command(after_help = "\
To stop an agent with all its tokens: aegis agent revoke AGENT

Example:
  aegis credential revoke crd_0123456789abcdef0123456789abcdef")]
pub(crate) enum Command {
    /// Refuse one credential from the next request on
    #[command(after_help = "Example:\n  aegis credential revoke crd_0123456789abcdef0123456789abcdef")]
    Revoke {
        #[arg(value_parser = |text: &str| CredentialId::try_from(text.to_string()))]
        id: CredentialId,
    },
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let Command::Revoke { id } = command;
    let client = connection.client()?;
    let answer = client.api.post(&format!("/v1/credentials/{id}/revoke"), &json!({}))?;
    client.show(&answer.ok("revoke the credential")?, |credential| {
        output::details(&[
            ("credential", field(credential, "/id")),
            ("human", field(credential, "/human")),
            ("agent", field(credential, "/agent")),
            ("issued", field(credential, "/issued_at")),
            ("expires", field(credential, "/expires_at")),
            ("revoked", field(credential, "/revoked")),
        ])
    })
}
