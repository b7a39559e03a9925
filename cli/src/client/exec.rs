//! `aegis exec`: a child process that has an agent's token for as long as it runs, and no longer.

use super::agent::{self, AgentRef};
use super::connection::{Client, Connection};
use super::output;
use super::quantity::Span;
use crate::Failure;
use crate::api::text;
use serde_json::json;
use std::ffi::OsString;
use std::process::{Child, Command, ExitCode, ExitStatus};

#[derive(clap::Args)]
#[command(after_help = "\
The command gets AEGIS_URL and AEGIS_TOKEN, and no other variable whose name begins with AEGIS_.
Its exit code is the exit code. When it ends, however it ends, its token is revoked. It runs as
you: to keep it from your own session, give it another user or a container.

More than 15m needs a login at most five minutes old; what an older one issues ends with its
session.

Examples:
  aegis exec --agent claude-invoices -- python3 sign_invoices.py
  aegis exec --agent claude-invoices --ttl 8h -- claude")]
pub(crate) struct Exec {
    /// The agent's id or label
    #[arg(long, value_name = "AGENT")]
    agent: AgentRef,
    /// How long the token lives at most: 1m to 24h
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    ttl: Span,
    /// What to run, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) fn run(connection: &Connection, arguments: &Exec) -> Result<ExitCode, Failure> {
    let client = connection.client()?;
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::Usage("nothing to run".to_string()));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("no runtime", &error))?;
    // Listening begins before there is a token, so that no signal can end this process and leave the token behind.
    let mut signals = runtime.block_on(async { Signals::listen() })?;
    let issued = agent::credential(&client, &arguments.agent.id(&client)?, Some(arguments.ttl))?;
    let mut command = Command::new(program);
    command.args(rest);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AEGIS_")) {
        command.env_remove(name);
    }
    command.env("AEGIS_URL", &client.url).env("AEGIS_TOKEN", text(&issued, "token")?);
    let ended = match command.spawn() {
        Ok(child) => runtime.block_on(wait(child, &mut signals)),
        Err(error) => Err(error),
    };
    revoke(&client, &issued)?;
    match ended {
        Ok(status) => Ok(ExitCode::from(code(status))),
        Err(error) => Err(Failure::because(&format!("cannot run {}", program.to_string_lossy()), &error)),
    }
}

/// Ends the token. The child's exit code counts for more than a failure here, which is told all the same.
fn revoke(client: &Client, issued: &serde_json::Value) -> Result<(), Failure> {
    let (credential, expires_at) = (text(issued, "id")?, output::field(issued, "/expires_at"));
    let path = format!("/v1/credentials/{credential}/revoke");
    let by = |api: &crate::api::Api| api.post(&path, &json!({})).and_then(|answer| answer.ok("revoke the token"));
    // The session may have ended before the child did: then the token ends itself.
    let ended =
        by(&client.api).or_else(|failure| by(&client.api.with_token(&text(issued, "token")?)).map_err(|_| failure));
    if let Err(failure) = ended {
        output::note(&format!(
            "aegis: {failure}\n  next     aegis credential revoke {credential}\n           it expires at {expires_at}"
        ));
    }
    Ok(())
}

/// Waits for the child. Signals that would end this process go to the child instead: its end is what this waits for.
async fn wait(mut child: Child, signals: &mut Signals) -> std::io::Result<ExitStatus> {
    let id = child.id();
    let mut waiting = tokio::task::spawn_blocking(move || child.wait());
    loop {
        tokio::select! {
            ended = &mut waiting => return ended.unwrap_or_else(|error| Err(std::io::Error::other(error))),
            () = signals.pass_on(id) => {}
        }
    }
}

#[cfg(unix)]
struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::because("signals", &error));
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn pass_on(&mut self, child: u32) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = tokio::select! {
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.terminate.recv() => Signal::TERM,
            // The terminal sends these to the child, too: once is enough.
            _ = self.interrupt.recv() => return,
            _ = self.quit.recv() => return,
        };
        if let Some(pid) = i32::try_from(child).ok().and_then(Pid::from_raw) {
            // It fails only where the child is gone already.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Ctrl-C goes to the child by itself; here it only must not end this process.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn pass_on(&mut self, _: u32) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The child's exit code; 128 and the signal's number where a signal ended it, as shells have it.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let by_signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| signal.saturating_add(128));
    #[cfg(not(unix))]
    let by_signal = None;
    let code = status.code().or(by_signal);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
