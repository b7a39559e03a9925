//! `aegis mcp`: a deployment's MCP server on standard input and output, which is how the programs that host agents start
//! such servers. No secret is in their configuration: the agent's tokens are drawn from the human's own session.

mod bridge;
mod hosts;
pub(crate) mod message;

use super::agent::AgentRef;
use super::connection::Connection;
use super::output;
use super::quantity::Span;
use crate::Failure;
use bridge::Bridge;
use std::io::BufRead;
use std::sync::Arc;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Programs that host agents start it; it speaks JSON-RPC on standard input and output, and what it has
to say to people goes to standard error. It draws a token for the agent from your session (aegis
login), a new one before that ends, and revokes it at the end. Once a token was revoked it draws no
other: who stopped the agent meant it. Without a session its answers say so, and it goes on after
the next login.

It runs as you: to keep the agent from your own session, give its host another user or a container.

Examples:
  aegis mcp config --host claude-code --agent claude-invoices
  aegis mcp --agent claude-invoices")]
pub(crate) struct Mcp {
    #[command(subcommand)]
    command: Option<Command>,
    /// The agent's id or label
    #[arg(long, value_name = "AGENT", required = true)]
    agent: Option<AgentRef>,
    /// How long each token lives: 1m to 15m
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = short)]
    ttl: Span,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print what to paste into the configuration of a program that hosts agents
    Config(hosts::Config),
}

/// Longer ones need a fresh login.
fn short(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: super::quantity::Unreadable| error.to_string())?;
    match span.0 {
        60..=900 => Ok(span),
        _ => Err("it must lie between 1m and 15m".to_string()),
    }
}

pub(crate) fn run(connection: &Connection, arguments: &Mcp) -> Result<(), Failure> {
    match (&arguments.command, &arguments.agent) {
        (Some(Command::Config(config)), _) => hosts::print(connection, config),
        (None, Some(agent)) => serve(Bridge::new(connection.clone(), agent.clone(), arguments.ttl)),
        (None, None) => Err(Failure::Usage("no agent: give --agent AGENT".to_string())),
    }
}

/// Until the host closes its end, or a signal asks to end.
fn serve(bridge: Bridge) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("no runtime", &error))?;
    let bridge = Arc::new(bridge);
    let reading = Arc::clone(&bridge);
    let ended = runtime.block_on(async {
        let mut stop = Stop::listen()?;
        tokio::select! {
            ended = tokio::task::spawn_blocking(move || read(&reading)) => {
                ended.unwrap_or_else(|error| Err(Failure::because("the bridge", &error)))
            }
            () = stop.asked() => Ok(()),
        }
    });
    bridge.end();
    // A thread may still wait for the host's next line.
    runtime.shutdown_background();
    ended
}

/// Hands on each line, several at a time: a host may call tools side by side.
fn read(bridge: &Bridge) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::because("standard input", &error);
    std::thread::scope(|scope| {
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(failed)?;
            if line.trim().is_empty() {
                continue;
            }
            let place = bridge.place();
            scope.spawn(move || {
                if let Some(answer) = bridge.answer(&line) {
                    // Where the host has gone nobody is left to tell.
                    let _ = output::line(&answer);
                }
                drop(place);
            });
        }
        Ok(())
    })
}

/// What asks a process to end.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .map_err(|error| Failure::because("signals", &error))?,
        })
    }

    async fn asked(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
