//! Events as they leave: CloudEvents 1.0 in structured JSON around OCSF, or what the API shows, plain. Pure.

use crate::ocsf::{self, ApiActivity, DetectionFinding, RemediationActivity};
use aegis_core::ambient::{DateTime, Timestamp};
use aegis_core::error::Error;
use aegis_core::recommendation::{AgentRecommendation, Response};
use aegis_core::record::AuditRecord;
use aegis_core::webhook::{EventKind, Format, Part};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CloudEvents 1.0, structured mode.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CloudEvent {
    /// `1.0`.
    pub specversion: String,
    /// Unique within `source`: the id of the record, recommendation or response.
    pub id: String,
    /// The deployment.
    pub source: String,
    pub r#type: EventType,
    /// The key, else the agent, else the human that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[schemars(with = "DateTime")]
    pub time: Timestamp,
    pub datacontenttype: String,
    /// The OCSF class that the body has; absent for a ping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    pub data: OcsfBody,
}

/// What an event is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum EventType {
    #[serde(rename = "aegis.activity")]
    Activity,
    #[serde(rename = "aegis.ping")]
    Ping,
    #[serde(rename = "aegis.recommendation")]
    Recommendation,
    #[serde(rename = "aegis.response")]
    Response,
}

/// What an event says, in OCSF.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum OcsfBody {
    Activity(Box<ApiActivity>),
    Finding(Box<DetectionFinding>),
    Remediation(Box<RemediationActivity>),
    Ping(Ping),
}

/// An event in Aegis's own words, in the envelope that the Standard Webhooks specification recommends.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PlainEvent {
    pub r#type: EventType,
    #[schemars(with = "DateTime")]
    pub timestamp: Timestamp,
    pub data: PlainBody,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum PlainBody {
    Recommendation(Box<AgentRecommendation>),
    Activity(Box<AuditRecord>),
    Response(Box<ResponseTold>),
    Ping(Ping),
}

/// A response, and the record it is on.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ResponseTold {
    pub record: aegis_core::id::RecordId,
    pub response: Response,
}

/// Says only that it arrived.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// The webhook that was tested.
    pub webhook: String,
}

/// One part of a record, as it is posted. The same bytes each time.
///
/// # Errors
/// [`Error::Damaged`] if the record has no such part.
pub fn render(record: &AuditRecord, part: Part, format: Format, source: &str) -> Result<Vec<u8>, Error> {
    let written = match format {
        Format::Ocsf => serde_json::to_vec(&cloud_event(record, part, source).ok_or_else(missing)?),
        Format::Plain => serde_json::to_vec(&plain_event(record, part).ok_or_else(missing)?),
    };
    written.map_err(|error| Error::Damaged { what: "event", source: error.into() })
}

fn missing() -> Error {
    Error::Damaged { what: "event", source: "the record has no such part".into() }
}

/// One part of a record as CloudEvents; `None` if it has no such part.
pub fn cloud_event(record: &AuditRecord, part: Part, source: &str) -> Option<CloudEvent> {
    let agent = || record.agents.first().map(ToString::to_string);
    let human = || record.human.as_ref().map(ToString::to_string);
    let (id, subject, time, class, data) = match part.kind {
        EventKind::Activity => {
            let subject = record.key.as_ref().map(ToString::to_string).or_else(agent).or_else(human);
            let body = OcsfBody::Activity(Box::new(ocsf::activity(record, source)));
            (record.id.to_string(), subject, record.at, Some("api_activity"), body)
        }
        EventKind::Recommendation => {
            let found = record.recommendation.as_ref()?;
            let subject = found.agent.as_ref().map_or_else(|| found.sponsor.to_string(), ToString::to_string);
            let body = OcsfBody::Finding(Box::new(ocsf::finding(record, found, source)));
            (found.id.to_string(), Some(subject), found.at, Some("detection_finding"), body)
        }
        EventKind::Response => {
            let (index, response) = response(record, part)?;
            let subject = response.agent.as_ref().map(ToString::to_string).or_else(agent).or_else(human);
            let body = ocsf::remediation(record, response, index, source);
            let id = body.command_uid.clone();
            let body = OcsfBody::Remediation(Box::new(body));
            (id, subject, record.at, Some("remediation_activity"), body)
        }
        EventKind::Ping => {
            let ping = ping(record);
            // The request for it is another event, of the record itself.
            (format!("{}/ping", record.id), Some(ping.webhook.clone()), record.at, None, OcsfBody::Ping(ping))
        }
    };
    Some(CloudEvent {
        specversion: "1.0".to_string(),
        id,
        source: source.to_string(),
        r#type: event_type(part.kind),
        subject,
        time,
        datacontenttype: "application/json".to_string(),
        dataschema: class.map(|class| format!("https://schema.ocsf.io/{}/classes/{class}", ocsf::VERSION)),
        data,
    })
}

/// One part of a record in Aegis's own words; `None` if it has no such part.
pub fn plain_event(record: &AuditRecord, part: Part) -> Option<PlainEvent> {
    let (timestamp, data) = match part.kind {
        EventKind::Activity => (record.at, PlainBody::Activity(Box::new(record.clone()))),
        EventKind::Recommendation => {
            let found = record.recommendation.clone()?;
            (found.at, PlainBody::Recommendation(Box::new(found)))
        }
        EventKind::Response => {
            let (_, response) = response(record, part)?;
            let told = ResponseTold { record: record.id.clone(), response: response.clone() };
            (record.at, PlainBody::Response(Box::new(told)))
        }
        EventKind::Ping => (record.at, PlainBody::Ping(ping(record))),
    };
    Some(PlainEvent { r#type: event_type(part.kind), timestamp, data })
}

fn response(record: &AuditRecord, part: Part) -> Option<(u16, &Response)> {
    let index = part.index?;
    record.responses.get(usize::from(index)).map(|response| (index, response))
}

fn ping(record: &AuditRecord) -> Ping {
    Ping { webhook: record.object.clone().unwrap_or_default() }
}

fn event_type(kind: EventKind) -> EventType {
    match kind {
        EventKind::Activity => EventType::Activity,
        EventKind::Ping => EventType::Ping,
        EventKind::Recommendation => EventType::Recommendation,
        EventKind::Response => EventType::Response,
    }
}

#[cfg(test)]
mod tests;
