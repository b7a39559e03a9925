//! `aegis context`: names for deployments.

use super::connection::{Connection, DEFAULT_URL, Url};
use super::home::Home;
use super::output;
use crate::Failure;
use serde_json::json;

#[derive(clap::Subcommand)]
#[command(after_help = "\
Examples:
  aegis context add prod https://aegis.example.org
  aegis context use prod
  aegis --context prod key list     for one command only")]
pub(crate) enum Context {
    /// Give a deployment a name; the first one becomes the current one
    #[command(after_help = "Example:\n  aegis context add prod https://aegis.example.org")]
    Add {
        name: String,
        /// https://host:port, or http://127.0.0.1:port
        #[arg(value_name = "URL")]
        address: Url,
    },
    /// Show the names there are
    #[command(after_help = "Example:\n  aegis context list")]
    List,
    /// Forget a name, and the session at its deployment
    #[command(after_help = "Example:\n  aegis context remove prod")]
    Remove { name: String },
    /// Talk to this deployment from now on
    #[command(after_help = "Example:\n  aegis context use prod")]
    Use { name: String },
}

pub(crate) fn run(connection: &Connection, command: &Context) -> Result<(), Failure> {
    let home = Home::find()?;
    let mut contexts = home.contexts()?;
    let unknown = |name: &str| Failure::Usage(format!("no context `{name}`; see: aegis context list"));
    match command {
        Context::Add { name, address } => {
            contexts.contexts.insert(name.clone(), address.to_string());
            contexts.current.get_or_insert_with(|| name.clone());
            home.save_contexts(&contexts)?;
            output::line(&format!("{name} is {address}"))
        }
        Context::List if connection.json => output::json(&json!(contexts)),
        Context::List if contexts.contexts.is_empty() => {
            output::line(&format!("no contexts; commands go to {DEFAULT_URL}"))
        }
        Context::List => {
            let mut rows = Vec::new();
            for (name, url) in &contexts.contexts {
                let current = if contexts.current.as_ref() == Some(name) { "yes" } else { "" };
                let kept = home.kept(url)?;
                let place = kept.as_ref().map(|kept| kept.place().to_string()).unwrap_or_default();
                let human = kept.map(|kept| kept.human).unwrap_or_default();
                rows.push(vec![name.clone(), url.clone(), current.to_string(), human, place]);
            }
            output::line(&output::table(&["NAME", "URL", "CURRENT", "SESSION", "TOKEN"], &rows))
        }
        Context::Remove { name } => {
            let url = contexts.contexts.remove(name).ok_or_else(|| unknown(name))?;
            contexts.current = contexts.current.filter(|current| current != name);
            home.save_contexts(&contexts)?;
            home.forget_session(&url)?;
            output::line(&format!("{name} is forgotten"))
        }
        Context::Use { name } => {
            let url = contexts.contexts.get(name).ok_or_else(|| unknown(name))?.clone();
            contexts.current = Some(name.clone());
            home.save_contexts(&contexts)?;
            output::line(&format!("commands go to {name}, {url}"))
        }
    }
}
