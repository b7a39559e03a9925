//! A recommendation as Detection Finding (class 2004).

use super::activity::Api;
use super::{
    Actor, Endpoint, Metadata, Resource, Unmapped, actor_of, delegation, endpoint_of, metadata, millis, severity_id,
    type_uid,
};
use aegis_core::recommendation::{AgentRecommendation, Detector, ResponseAction};
use aegis_core::record::AuditRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct DetectionFinding {
    /// 2: Findings.
    pub category_uid: u32,
    /// 2004.
    pub class_uid: u32,
    /// 1: create.
    pub activity_id: u32,
    pub activity_name: String,
    pub type_uid: u32,
    /// 2 low, 3 medium, 4 high, 5 critical.
    pub severity_id: u32,
    /// Milliseconds since 1970.
    pub time: i64,
    pub message: String,
    pub metadata: Metadata,
    /// 1: new.
    pub status_id: u32,
    pub is_alert: bool,
    /// 3 high, of a fact; 2 medium, of what is unlikely.
    pub confidence_id: u32,
    pub finding_info: FindingInfo,
    pub evidences: Vec<Evidence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Remediation>,
    pub unmapped: Unmapped,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct FindingInfo {
    pub uid: String,
    pub title: String,
    /// Milliseconds since 1970.
    pub created_time: i64,
    pub types: Vec<String>,
    pub analytic: Analytic,
    /// The records that show it.
    pub related_events: Vec<RelatedEvent>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Analytic {
    pub name: String,
    pub uid: String,
    /// 1 rule, 2 behavioral.
    pub type_id: u32,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RelatedEvent {
    pub uid: String,
    pub r#type: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Evidence {
    pub actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_endpoint: Option<Endpoint>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct Remediation {
    pub desc: String,
}

const CLASS: u32 = 2004;

/// The recommendation in a record as Detection Finding; `source` names the deployment.
pub fn finding(record: &AuditRecord, found: &AgentRecommendation, source: &str) -> DetectionFinding {
    let title = title(found.detector);
    let fact = found.detector.states_a_fact();
    let whose = found.subject();
    let mut actor = actor_of(record);
    let user = || super::User { uid: found.sponsor.to_string(), name: found.sponsor.to_string() };
    // Who made a key did not do what several did with it.
    actor.user = (!found.detector.is_about_a_key()).then(user);
    actor.app_uid = found.agent.as_ref().map(ToString::to_string);
    actor.app_name = None;
    let credential = found.evidence.credential.as_ref().or(record.credential.as_ref()).map(ToString::to_string);
    actor.session = credential.clone().map(|uid| super::Session { uid });
    let api = found.evidence.operation.map(|operation| Api {
        operation: operation.to_string(),
        request: super::activity::ApiRequest { uid: record.request_id.to_string() },
        service: super::activity::Service { name: "aegis".to_string() },
    });
    let requested = found.evidence.requested.as_ref().map(ToString::to_string);
    let key = found.evidence.key.as_ref().map(ToString::to_string).or_else(|| requested.clone());
    let key = key.map(|uid| Resource { uid, name: requested, r#type: "key".to_string(), version: None });
    // The record's own chain, where the finding is about the agent that asked.
    let chain = match record.agents.first() == found.agent.as_ref() {
        true => record.agents.clone(),
        false => found.agent.clone().into_iter().collect(),
    };
    let advised: Vec<&str> = found.suggested_actions.iter().copied().map(ResponseAction::as_str).collect();
    DetectionFinding {
        category_uid: 2,
        class_uid: CLASS,
        activity_id: 1,
        activity_name: "Create".to_string(),
        type_uid: type_uid(CLASS, 1),
        severity_id: severity_id(found.severity),
        time: millis(found.at),
        message: format!("{title}: {whose}"),
        metadata: metadata(found.id.to_string(), Some(record.request_id.to_string())),
        status_id: 1,
        is_alert: true,
        confidence_id: if fact { 3 } else { 2 },
        finding_info: FindingInfo {
            uid: found.id.to_string(),
            title: title.to_string(),
            created_time: millis(found.at),
            types: vec![found.detector.as_str().to_string()],
            analytic: Analytic {
                name: found.detector.as_str().to_string(),
                uid: found.detector.as_str().to_string(),
                type_id: if fact { 1 } else { 2 },
            },
            related_events: found
                .evidence
                .records
                .iter()
                .map(|record| RelatedEvent { uid: record.to_string(), r#type: "audit record".to_string() })
                .collect(),
        },
        evidences: vec![Evidence { actor, api, src_endpoint: record.source.map(|_| endpoint_of(record)) }],
        resources: key.into_iter().collect(),
        remediation: (!advised.is_empty()).then(|| Remediation { desc: format!("advised: {}", advised.join(", ")) }),
        unmapped: Unmapped {
            risk_score: Some(record.risk.score),
            risk_factors: found.evidence.factors.clone(),
            ..delegation(&chain, credential, source)
        },
    }
}

fn title(detector: Detector) -> &'static str {
    match detector {
        Detector::AgentSpawnRate => "Sub-agents are made faster than usual",
        Detector::AgentsInConcert => "Several agents of one human deviate at once",
        Detector::ApprovalDenied => "A human denied what an agent asked leave for",
        Detector::CanaryKey => "A canary key was touched",
        Detector::CredentialShared => "One credential is used from two places",
        Detector::HumanMachineRate => "A human's credential works as fast as a machine",
        Detector::KeySet => "Keys outside those normally used",
        Detector::KeyUsageSpike => "A key is used far more than usual, by several together",
        Detector::LowAndSlow => "More use than usual, slowly",
        Detector::NewOperation => "An operation not used on this key before",
        Detector::NewSource => "A network or client not used before",
        Detector::OffHours => "Use at an unusual hour",
        Detector::ScopeProbe => "An agent asked for keys that it may not use or that do not exist",
        Detector::ScopeViolation => "An agent asked for a key outside its scope",
        Detector::UsageSpike => "Faster use than ever before",
    }
}
