//! What the programs that host agents take as configuration.

use crate::Failure;
use crate::client::agent::AgentRef;
use crate::client::connection::{Connection, set};
use crate::client::output;
use serde_json::{Map, Value, json};

#[derive(clap::Args)]
#[command(after_help = "\
The snippet goes to standard output, where to put it to standard error. It holds no secret.

Examples:
  aegis mcp config --host claude-desktop --agent claude-invoices
  aegis mcp config --host claude-code --agent claude-invoices > .mcp.json
  aegis mcp config --host vscode --agent claude-invoices > .vscode/mcp.json")]
pub(super) struct Config {
    /// The program that hosts the agent
    #[arg(long, value_enum)]
    host: Host,
    /// The agent's id or label
    #[arg(long, value_name = "AGENT")]
    agent: AgentRef,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Host {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
}

/// Variables without a secret that the command must see as this one does; a program started from a desktop has none of
/// the terminal's.
const PASSED_ON: [&str; 3] = ["AEGIS_HOME", "AEGIS_SESSIONS", "AEGIS_CA_FILE"];

pub(super) fn print(connection: &Connection, config: &Config) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::because("where this program is", &error))?;
    let program = program.to_str().ok_or_else(|| Failure::Failed("this program's path is not UTF-8".to_string()))?;
    let url = connection.anonymous()?.url;
    let mut server = json!({ "command": program, "args": ["mcp", "--agent", config.agent.to_string(), "--url", url] });
    let environment: Map<String, Value> =
        PASSED_ON.iter().filter_map(|name| Some((name.to_string(), set(name)?.into()))).collect();
    if let (false, Some(server)) = (environment.is_empty(), server.as_object_mut()) {
        server.insert("env".to_string(), environment.into());
    }
    let (servers, place) = match config.host {
        Host::ClaudeDesktop => ("mcpServers", "claude_desktop_config.json (Settings, Developer, Edit Config)"),
        Host::ClaudeCode => ("mcpServers", ".mcp.json in the project's folder"),
        Host::Cursor => ("mcpServers", "~/.cursor/mcp.json, or .cursor/mcp.json in the project's folder"),
        Host::Vscode => ("servers", ".vscode/mcp.json in the workspace"),
    };
    if let (Host::ClaudeCode | Host::Vscode, Some(server)) = (config.host, server.as_object_mut()) {
        server.insert("type".to_string(), "stdio".into());
    }
    output::note(&format!("goes into {place}"));
    let text = serde_json::to_string_pretty(&json!({ servers: { "aegis": server } }));
    output::line(&text.map_err(|error| Failure::because("the snippet", &error))?)
}
