use super::*;
use crate::ambient::Entropy;
use crate::id::{RecommendationId, RequestId};
use crate::operation::Operation;
use crate::recommendation::{AgentRecommendation, Detector, Evidence, Response, ResponseAction};
use crate::record::Plane;

#[test]
fn a_webhook_is_told_of_what_it_selects_and_of_nothing_else() {
    let use_of = |outcome| AuditRecord { outcome, ..record(Operation::KeySign) };
    let found = |severity| found(use_of(Outcome::Denied), severity);
    let (activity, finding) = (Part::ACTIVITY, Part::RECOMMENDATION);
    let response = |index| Part { kind: EventKind::Response, index: Some(index) };
    let key_use = |outcomes: &[Outcome]| Selection::KeyUse { outcomes: outcomes.to_vec() };
    let graver = |min_severity| Selection::Recommendations { min_severity };
    let table = [
        (vec![Selection::All {}], record(Operation::KeyCreate), vec![activity]),
        (vec![Selection::All {}], found(Severity::Low), vec![activity, finding, response(0), response(1)]),
        (vec![key_use(&[])], record(Operation::KeyCreate), vec![]),
        (vec![key_use(&[])], use_of(Outcome::Ok), vec![activity]),
        (vec![key_use(&[])], found(Severity::Critical), vec![activity]),
        (vec![key_use(&[Outcome::Denied, Outcome::Error])], use_of(Outcome::Ok), vec![]),
        (vec![key_use(&[Outcome::Denied, Outcome::Error])], use_of(Outcome::Error), vec![activity]),
        (vec![graver(None)], found(Severity::Low), vec![finding]),
        (vec![graver(Some(Severity::High))], found(Severity::Medium), vec![]),
        (vec![graver(Some(Severity::High))], found(Severity::High), vec![finding]),
        (vec![graver(Some(Severity::High))], use_of(Outcome::Denied), vec![]),
        (vec![Selection::Responses {}], found(Severity::Low), vec![response(0), response(1)]),
        (vec![Selection::Responses {}], record(Operation::ResponseAct), vec![activity]),
        (vec![graver(None)], record(Operation::ResponseAct), vec![]),
        (vec![graver(None), key_use(&[Outcome::Denied])], found(Severity::Low), vec![activity, finding]),
    ];
    for (events, record, want) in table {
        let webhook = Webhook { events, ..webhook() };
        assert_eq!(webhook.wants(&record), want, "{:?}", webhook.events);
    }
}

#[test]
fn a_delivery_has_the_same_id_each_time_and_another_for_each_part_webhook_and_record() {
    let (webhook, record) = (webhook(), record(Operation::KeySign));
    let of = |webhook: &WebhookId, record: &RecordId, part| Delivery::of(webhook, record, part, at(0)).id;
    let id = of(&webhook.id, &record.id, Part::ACTIVITY);
    assert_eq!(of(&webhook.id, &record.id, Part::ACTIVITY), id);
    let other = WebhookId::new(at(0), &Entropy::system());
    let response = |index| Part { kind: EventKind::Response, index: Some(index) };
    let ids = [
        id,
        of(&webhook.id, &record.id, Part::RECOMMENDATION),
        of(&webhook.id, &record.id, response(0)),
        of(&webhook.id, &record.id, response(1)),
        of(&other, &record.id, Part::ACTIVITY),
        of(&webhook.id, &RecordId::new(at(0), &Entropy::system()), Part::ACTIVITY),
    ];
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
}

#[test]
fn what_is_no_selection_is_refused() {
    let read = |json: &str| serde_json::from_str::<Selection>(json);
    assert!(read(r#"{"kind":"recommendations","min_severity":"high"}"#).is_ok());
    for bad in [
        r#"{"kind":"everything"}"#,
        r#"{"kind":"all","min_severity":"high"}"#,
        r#"{"kind":"responses","outcomes":[]}"#,
        r#"{"kind":"key_use","outcomes":["fine"]}"#,
        r#"{"min_severity":"high"}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn record(operation: Operation) -> AuditRecord {
    let (id, request) = (RecordId::new(at(0), &Entropy::system()), RequestId::new(at(0), &Entropy::system()));
    AuditRecord::new(id, at(0), operation, Plane::Rest, request)
}

/// With a recommendation and two responses.
fn found(record: AuditRecord, severity: Severity) -> AuditRecord {
    let id = RecommendationId::new(at(0), &Entropy::system());
    let response = |action| Response::new(action, id.clone());
    let recommendation = AgentRecommendation {
        id: id.clone(),
        at: at(0),
        detector: Detector::ScopeViolation,
        severity,
        agent: None,
        sponsor: "alice@org".parse().unwrap(),
        evidence: Evidence {
            records: vec![record.id.clone()],
            operation: None,
            requested: None,
            key: None,
            credential: None,
            factors: Vec::new(),
        },
        suggested_actions: Vec::new(),
    };
    let responses = vec![response(ResponseAction::RevokeAgent), response(ResponseAction::Alert)];
    AuditRecord { recommendation: Some(recommendation), responses, ..record }
}

fn webhook() -> Webhook {
    Webhook {
        id: WebhookId::try_from(format!("whk_{:032x}", 1)).unwrap(),
        url: "https://hooks.example.org/".to_string().try_into().unwrap(),
        events: Vec::new(),
        format: Format::Plain,
        state: WebhookState::Active,
        created_at: at(0),
        created_by: "alice@org".parse().unwrap(),
        secret_since: at(0),
        former_secret_until: None,
    }
}
