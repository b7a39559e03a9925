//! A record as API Activity (class 6003).

use super::{
    Actor, Endpoint, Metadata, Resource, Unmapped, actor_of, delegation, endpoint_of, metadata, millis, type_uid,
};
use aegis_core::operation::Operation;
use aegis_core::record::{AuditRecord, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApiActivity {
    /// 6: Application Activity.
    pub category_uid: u32,
    /// 6003.
    pub class_uid: u32,
    /// 1 create, 2 read, 3 update, 4 delete, 99 other: a use of a key.
    pub activity_id: u32,
    pub activity_name: String,
    pub type_uid: u32,
    /// 1 informational, 2 low (an error), 3 medium (a refusal).
    pub severity_id: u32,
    /// Milliseconds since 1970.
    pub time: i64,
    pub metadata: Metadata,
    /// 1 success, 2 failure.
    pub status_id: u32,
    /// Why it was refused: the reason's stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<String>,
    /// What the error said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_detail: Option<String>,
    /// Milliseconds from the request's arrival to its record.
    pub duration: u64,
    pub actor: Actor,
    pub api: Api,
    pub src_endpoint: Endpoint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_request: Option<HttpRequest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// How many requests a summary stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    pub unmapped: Unmapped,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Api {
    /// As in the audit trail: `key.sign`.
    pub operation: String,
    pub request: ApiRequest,
    pub service: Service,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApiRequest {
    pub uid: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Service {
    pub name: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct HttpRequest {
    pub user_agent: String,
}

const CLASS: u32 = 6003;

/// A record as API Activity; `source` names the deployment.
pub fn activity(record: &AuditRecord, source: &str) -> ApiActivity {
    let activity_id = activity_id(record.operation);
    let key = record.key.as_ref().map(|key| Resource {
        uid: key.to_string(),
        name: record.key_requested.as_ref().map(ToString::to_string),
        r#type: "key".to_string(),
        version: record.key_version.map(|version| version.to_string()),
    });
    // A key that was asked for and does not exist.
    let missing = record.key_requested.as_ref().filter(|_| record.key.is_none()).map(|requested| Resource {
        uid: requested.to_string(),
        name: Some(requested.to_string()),
        r#type: "key".to_string(),
        version: None,
    });
    let object = record.object.as_ref().map(|object| Resource {
        uid: object.clone(),
        name: None,
        r#type: "object".to_string(),
        version: None,
    });
    ApiActivity {
        category_uid: 6,
        class_uid: CLASS,
        activity_id,
        activity_name: match activity_id {
            1 => "Create".to_string(),
            2 => "Read".to_string(),
            3 => "Update".to_string(),
            4 => "Delete".to_string(),
            _ => record.operation.to_string(),
        },
        type_uid: type_uid(CLASS, activity_id),
        severity_id: match record.outcome {
            Outcome::Ok => 1,
            Outcome::Error => 2,
            Outcome::Denied => 3,
        },
        time: millis(record.at),
        metadata: metadata(record.id.to_string(), Some(record.request_id.to_string())),
        status_id: if record.outcome == Outcome::Ok { 1 } else { 2 },
        status_code: record.reason.map(|reason| reason.as_str().to_string()),
        status_detail: record.error.clone(),
        duration: record.latency_us / 1_000,
        actor: actor_of(record),
        api: Api {
            operation: record.operation.to_string(),
            request: ApiRequest { uid: record.request_id.to_string() },
            service: Service { name: "aegis".to_string() },
        },
        src_endpoint: endpoint_of(record),
        http_request: record.user_agent.clone().map(|user_agent| HttpRequest { user_agent }),
        resources: key.into_iter().chain(missing).chain(object).collect(),
        count: record.count,
        unmapped: Unmapped {
            risk_score: Some(record.risk.score),
            risk_factors: record.risk.factors.clone(),
            policy_version: Some(record.policy_version),
            ..delegation(&record.agents, record.credential.as_ref().map(ToString::to_string), source)
        },
    }
}

/// By what the operation's name says of it.
fn activity_id(operation: Operation) -> u32 {
    if operation.action().is_some() {
        return 99;
    }
    match operation.as_str().rsplit('.').next().unwrap_or_default() {
        "create" | "import" | "import-parameters" | "issue" | "register" | "enrol" => 1,
        "deliveries" | "get" | "introspect" | "list" | "query" | "scope" | "whoami" => 2,
        "delete" | "destroy" | "revoke" => 4,
        "login" | "test" | "unidentified" => 99,
        _ => 3,
    }
}
