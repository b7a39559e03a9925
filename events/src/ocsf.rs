//! What is on record in the words of the Open Cybersecurity Schema Framework, version 1.6.0: a record as API Activity (class
//! 6003), a recommendation as Detection Finding (2004), a response as Remediation Activity (7001).
//!
//! `actor.user` is the human, `actor.app_uid` the agent that asked. OCSF 1.6 has no place for an agent's identity and for
//! whom it acts for; later versions have the objects `ai_agent` and `delegation`, and those are under `unmapped`. So is
//! what is Aegis's own.

mod activity;
mod finding;
mod remediation;

pub use activity::{ApiActivity, activity};
pub use finding::{DetectionFinding, finding};
pub use remediation::{RemediationActivity, remediation};

use aegis_core::ambient::Timestamp;
use aegis_core::id::AgentId;
use aegis_core::recommendation::Severity;
use aegis_core::record::AuditRecord;
use aegis_core::risk::Factor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version whose classes and attributes are used.
pub const VERSION: &str = "1.6.0";

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Metadata {
    pub version: String,
    pub product: Product,
    /// The id of the record, recommendation or response.
    pub uid: String,
    /// The request that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_uid: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Product {
    pub name: String,
    pub vendor_name: String,
    pub version: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Actor {
    /// The human: who asked, or who sponsors the agent that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The agent that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_uid: Option<String>,
    /// What asked, where it was no human and no agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_name: Option<String>,
    /// The credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct User {
    pub uid: String,
    pub name: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Session {
    pub uid: String,
}

/// Where a request came from: an address, or a name for Aegis itself.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Endpoint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<std::net::IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Resource {
    pub uid: String,
    /// As the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub r#type: String,
    /// Of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// OCSF 1.9 `ai_agent`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AiAgent {
    pub uid: String,
    /// The credential it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_uid: Option<String>,
}

/// OCSF 1.9 `delegation`: what an agent may do for its human. An agent has one grant, so both have one id.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Delegation {
    pub uid: String,
    /// That of the agent above, for a sub-agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_uid: Option<String>,
    /// The deployment.
    pub issuer_uid: String,
}

/// What OCSF 1.6 has no attribute for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
pub struct Unmapped {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai_agent: Option<AiAgent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// The agent that asked, then those above it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risk_factors: Vec<Factor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<u32>,
    /// The recommendation that caused a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The response rule, and the version of the rules it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_version: Option<u32>,
}

/// An activity's number: `class_uid * 100 + activity_id`.
fn type_uid(class: u32, activity: u32) -> u32 {
    class.saturating_mul(100).saturating_add(activity)
}

fn metadata(uid: String, correlation: Option<String>) -> Metadata {
    let product = Product {
        name: "Aegis".to_string(),
        vendor_name: "Aegis".to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
    };
    Metadata { version: VERSION.to_string(), product, uid, correlation_uid: correlation }
}

fn actor_of(record: &AuditRecord) -> Actor {
    let user = record.human.as_ref().map(|human| User { uid: human.to_string(), name: human.to_string() });
    let app_uid = record.agents.first().map(ToString::to_string);
    let app_name = (user.is_none() && app_uid.is_none()).then(|| match record.source {
        Some(_) => "unidentified".to_string(),
        None => "aegis".to_string(),
    });
    let session = record.credential.as_ref().map(|credential| Session { uid: credential.to_string() });
    Actor { user, app_uid, app_name, session }
}

fn endpoint_of(record: &AuditRecord) -> Endpoint {
    let name = record.source.is_none().then(|| "aegis".to_string());
    Endpoint { ip: record.source, name }
}

/// `agents` is the agent, then those above it.
fn delegation(agents: &[AgentId], credential: Option<String>, source: &str) -> Unmapped {
    let Some(agent) = agents.first() else { return Unmapped::default() };
    Unmapped {
        ai_agent: Some(AiAgent { uid: agent.to_string(), instance_uid: credential }),
        delegation: Some(Delegation {
            uid: agent.to_string(),
            parent_uid: agents.get(1).map(ToString::to_string),
            issuer_uid: source.to_string(),
        }),
        agent_chain: agents.iter().map(ToString::to_string).collect(),
        ..Unmapped::default()
    }
}

/// Milliseconds since 1970, as every time in OCSF.
fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn severity_id(severity: Severity) -> u32 {
    match severity {
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
        Severity::Critical => 5,
    }
}
