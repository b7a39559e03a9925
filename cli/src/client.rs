//! The client commands: one file for each noun, all over the REST API.

mod access;
pub(crate) mod advice;
mod agent;
mod alias;
mod approvals;
mod audit;
pub(crate) mod connection;
mod context;
mod credential;
mod device;
mod encryption;
mod exec;
mod home;
mod human;
mod key;
mod keychain;
pub(crate) mod mcp;
pub(crate) mod output;
mod passphrase;
mod payload;
mod quantity;
mod quickstart;
mod recommendations;
mod report;
mod responses;
mod risk;
pub(crate) mod rules;
mod session;
mod signing;
mod webhooks;

use crate::Failure;
use clap::CommandFactory;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use connection::Connection;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::process::ExitCode;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// See and answer what agents ask to be granted
    #[command(subcommand)]
    Access(access::Command),
    /// Issue, show, change and stop agents
    #[command(subcommand)]
    Agent(agent::Command),
    /// Give keys further names, or move a name
    #[command(subcommand)]
    Alias(alias::Command),
    /// See and answer what agents ask humans for
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Read the audit trail
    Audit(audit::Audit),
    /// Print what makes a shell complete `aegis` commands
    #[command(after_help = "\
Examples:
  aegis completions bash > ~/.local/share/bash-completion/completions/aegis
  aegis completions zsh > ~/.zfunc/_aegis")]
    Completions { shell: clap_complete::Shell },
    /// Name deployments, and choose which one to talk to
    #[command(subcommand)]
    Context(context::Context),
    /// Revoke credentials one by one
    #[command(subcommand)]
    Credential(credential::Command),
    /// Make a data key, in the clear and wrapped
    DataKey(encryption::DataKey),
    /// Decrypt what `encrypt` made
    Decrypt(encryption::Crypt),
    /// Encrypt at most 64 KiB
    Encrypt(encryption::Crypt),
    /// Run a command as an agent, with a token that ends with it
    Exec(exec::Exec),
    /// Stop a human with all her agents, or let her back
    #[command(subcommand)]
    Human(human::Command),
    /// Make, show and change keys
    #[command(subcommand)]
    Key(key::Command),
    /// Prove who you are, for the next eight hours
    Login(session::Login),
    /// End the session
    #[command(after_help = "Example:\n  aegis logout")]
    Logout,
    /// Make a message authentication code
    Mac(signing::Mac),
    /// Be an MCP server on standard input and output, for the program that hosts an agent
    Mcp(mcp::Mcp),
    /// Print the deployment's OpenAPI document
    #[command(after_help = "Example:\n  aegis openapi > openapi.json")]
    Openapi,
    /// From nothing to the first signature of an agent, in one command
    Quickstart(quickstart::Quickstart),
    /// Encrypt anew with the key's present version, without seeing the plaintext
    ReEncrypt(encryption::ReEncrypt),
    /// Show what detectors said of agents and humans, and answer it
    #[command(subcommand)]
    Recommendations(recommendations::Command),
    /// Show why a request was scored as it was
    #[command(subcommand)]
    Risk(risk::Command),
    /// Show, check and change what Aegis does by itself when something is unusual
    #[command(subcommand)]
    Rules(rules::Command),
    /// What a human and her agents did, or one agent
    #[command(subcommand)]
    Report(report::Command),
    /// Show what rules and humans did about misuse, and how it stands
    #[command(subcommand)]
    Responses(responses::Command),
    /// Sign a file
    Sign(signing::Sign),
    /// Open what `wrap` or `data-key` made
    Unwrap(encryption::Crypt),
    /// Verify a signature
    Verify(signing::Verify),
    /// Verify a message authentication code
    VerifyMac(signing::VerifyMac),
    /// Tell other programs of what is on record
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// Show who you are to the deployment
    #[command(after_help = "Example:\n  aegis whoami --json")]
    Whoami,
    /// Wrap key bytes so that only `unwrap` opens them
    Wrap(encryption::Crypt),
}

impl Command {
    /// Whether it becomes the parent of a program of its user's.
    pub(crate) fn runs_another_program(&self) -> bool {
        matches!(self, Self::Exec(_))
    }
}

pub(crate) fn run(connection: &Connection, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Access(command) => access::run(connection, command),
        Command::Agent(command) => agent::run(connection, command),
        Command::Alias(command) => alias::run(connection, command),
        Command::Approvals(command) => approvals::run(connection, command),
        Command::Audit(arguments) => audit::run(connection, arguments),
        Command::Completions { shell } => completions(*shell),
        Command::Context(command) => context::run(connection, command),
        Command::Credential(command) => credential::run(connection, command),
        Command::DataKey(arguments) => encryption::data_key(connection, arguments),
        Command::Decrypt(arguments) => encryption::open(connection, arguments, "decrypt"),
        Command::Encrypt(arguments) => encryption::protect(connection, arguments, "encrypt"),
        Command::Exec(arguments) => return exec::run(connection, arguments),
        Command::Human(command) => human::run(connection, command),
        Command::Key(command) => key::run(connection, command),
        Command::Login(arguments) => session::login(connection, arguments),
        Command::Logout => session::logout(connection),
        Command::Mac(arguments) => signing::mac(connection, arguments),
        Command::Mcp(arguments) => mcp::run(connection, arguments),
        Command::Openapi => openapi(connection),
        Command::Quickstart(arguments) => quickstart::run(arguments),
        Command::ReEncrypt(arguments) => encryption::re_encrypt(connection, arguments),
        Command::Recommendations(command) => recommendations::run(connection, command),
        Command::Risk(command) => risk::run(connection, command),
        Command::Rules(command) => rules::run(connection, command),
        Command::Report(command) => report::run(connection, command),
        Command::Responses(command) => responses::run(connection, command),
        Command::Sign(arguments) => signing::sign(connection, arguments),
        Command::Unwrap(arguments) => encryption::open(connection, arguments, "unwrap"),
        Command::Verify(arguments) => signing::verify(connection, arguments),
        Command::VerifyMac(arguments) => signing::verify_mac(connection, arguments),
        Command::Webhooks(command) => webhooks::run(connection, command),
        Command::Whoami => session::whoami(connection),
        Command::Wrap(arguments) => encryption::protect(connection, arguments, "wrap"),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Cli::command(), "aegis", &mut script);
    output::print(&script)
}

fn openapi(connection: &Connection) -> Result<(), Failure> {
    output::json(&connection.anonymous()?.api.get("/v1/openapi.json")?.ok("read the document")?)
}

/// Reads one of the API's words, in any case, and shows them all in `--help`.
fn word<T>(words: &[&'static str]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let known = words.to_vec();
    PossibleValuesParser::new(words.to_vec()).try_map(move |given| {
        let word = known.iter().find(|word| word.eq_ignore_ascii_case(&given));
        serde_json::from_value::<T>(Value::from(word.copied()))
    })
}
