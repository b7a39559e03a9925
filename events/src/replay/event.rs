//! The replay format: JSON lines, ordered by time, one event a line. Unknown fields are ignored.

use aegis_core::key::Environment;
use aegis_core::risk::stats::whole;
use serde::{Deserialize, Deserializer, Serialize};

/// Somebody used a key, changed or looked at it, or asked to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Event {
    /// Unix seconds.
    pub ts: f64,
    pub actor: String,
    #[serde(default)]
    pub kind: Kind,
    /// The human or agent behind the actor. Of a service it is not known.
    #[serde(default)]
    pub parent: Option<String>,
    #[serde(default)]
    pub source_ip: Option<String>,
    /// `sign`, `verify`, `encrypt`, `decrypt`, `generatedatakey`, `wrap`, `unwrap`, `get`, `describe`, `rotate`, …
    pub op: String,
    /// The key.
    #[serde(default)]
    pub resource: Option<String>,
    #[serde(default)]
    pub user_agent: Option<String>,
    #[serde(default)]
    pub outcome: Outcome,
    /// Of the key or the credential: `production`, `staging`, `development`, or what people shorten them to.
    #[serde(default)]
    pub env: Option<String>,
    #[serde(default)]
    pub plane: Option<String>,
    /// Seconds since the credential was issued.
    #[serde(default)]
    pub cred_age: Option<f64>,
    /// How many keys the credential may use; a list of them is counted.
    #[serde(default, deserialize_with = "counted")]
    pub scope: Option<u32>,
}

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum NoEvent {
    #[error("not an event")]
    Json(#[source] serde_json::Error),
    #[error("ts is no time in Unix seconds")]
    Time,
}

impl Event {
    /// Reads a line.
    ///
    /// # Errors
    /// [`NoEvent`]
    pub fn parse(line: &[u8]) -> Result<Self, NoEvent> {
        let event: Self = serde_json::from_slice(line).map_err(NoEvent::Json)?;
        match (0.0..=f64::from(u32::MAX)).contains(&event.ts) {
            true => Ok(event),
            false => Err(NoEvent::Time),
        }
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> i64 {
        i64::from(whole(self.ts)) * 1_000 + i64::from(whole(self.ts.rem_euclid(1.0) * 1_000.0))
    }

    /// The environment, if it is known which one is meant.
    pub fn environment(&self) -> Option<Environment> {
        match self.env.as_deref()?.to_ascii_lowercase().as_str() {
            "dev" | "development" => Some(Environment::Development),
            "prod" | "production" => Some(Environment::Production),
            "stage" | "staging" => Some(Environment::Staging),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Agent,
    Human,
    Service,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Denied,
    Error,
    #[default]
    Ok,
    /// Denied for a reason that says nothing of scope: a limit, a window, a stale login.
    Refused,
}

fn counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scope {
        Count(u32),
        Keys(Vec<serde_json::Value>),
    }
    Ok(Option::<Scope>::deserialize(deserializer)?.map(|scope| match scope {
        Scope::Count(keys) => keys,
        Scope::Keys(keys) => u32::try_from(keys.len()).unwrap_or(u32::MAX),
    }))
}
