//! A response as Remediation Activity (class 7001).

use super::{Metadata, Resource, Unmapped, delegation, metadata, millis, type_uid};
use aegis_core::recommendation::{Response, ResponseAction, Severity};
use aegis_core::record::AuditRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RemediationActivity {
    /// 7: Remediation.
    pub category_uid: u32,
    /// 7001.
    pub class_uid: u32,
    /// 1 isolate, 2 evict, 4 harden, 99 other.
    pub activity_id: u32,
    pub activity_name: String,
    pub type_uid: u32,
    /// As grave as what it answers: 2 low to 5 critical; 1 where that is not on the same record.
    pub severity_id: u32,
    /// Milliseconds since 1970.
    pub time: i64,
    pub message: String,
    pub metadata: Metadata,
    /// 1: success. What failed is tried again, and told when it is done.
    pub status_id: u32,
    /// The record and the response's place in it.
    pub command_uid: String,
    pub remediation: super::finding::Remediation,
    /// What it was done to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// When it ends by itself, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    pub unmapped: Unmapped,
}

const CLASS: u32 = 7001;

/// One response in a record as Remediation Activity; `source` names the deployment.
pub fn remediation(record: &AuditRecord, response: &Response, index: u16, source: &str) -> RemediationActivity {
    let (activity_id, activity_name) = tactic(response.action);
    let command_uid = format!("{}/{index}", record.id);
    let cause = record.recommendation.as_ref().filter(|found| found.id == response.cause);
    let resource = |uid: String, kind: &str| Resource { uid, name: None, r#type: kind.to_string(), version: None };
    let agent = response.agent.as_ref().map(|agent| resource(agent.to_string(), "agent"));
    let key = response.key.as_ref().map(|key| resource(key.to_string(), "key"));
    let credential = response.credential.as_ref().map(|credential| resource(credential.to_string(), "credential"));
    let chain = match record.agents.first() == response.agent.as_ref() {
        true => record.agents.clone(),
        false => response.agent.clone().into_iter().collect(),
    };
    RemediationActivity {
        category_uid: 7,
        class_uid: CLASS,
        activity_id,
        activity_name: activity_name.to_string(),
        type_uid: type_uid(CLASS, activity_id),
        severity_id: cause.map_or(1, |found| super::severity_id(found.severity.max(Severity::Low))),
        time: millis(record.at),
        message: format!("{} because of {}", response.action.as_str(), response.cause),
        metadata: metadata(command_uid.clone(), Some(record.request_id.to_string())),
        status_id: 1,
        command_uid,
        remediation: super::finding::Remediation { desc: response.action.as_str().to_string() },
        resources: agent.into_iter().chain(key).chain(credential).collect(),
        end_time: response.until.map(millis),
        unmapped: Unmapped {
            cause: Some(response.cause.to_string()),
            rule: response.rule.clone(),
            rules_version: Some(response.rules_version),
            ..delegation(&chain, None, source)
        },
    }
}

/// The D3FEND tactic that OCSF sorts remediations by.
fn tactic(action: ResponseAction) -> (u32, &'static str) {
    match action {
        ResponseAction::Deny | ResponseAction::FreezeAgent | ResponseAction::StepUp => (1, "Isolate"),
        ResponseAction::RevokeAgent | ResponseAction::RevokeCredential | ResponseAction::RevokeFleet => (2, "Evict"),
        ResponseAction::DeactivateKey | ResponseAction::RotateKey => (4, "Harden"),
        ResponseAction::Alert => (99, "Other"),
    }
}
