use super::*;
use serde_json::{Value, json};
use std::path::PathBuf;

const SOURCE: &str = "urn:aegis:dep_0123456789abcdef0123456789abcdef";

/// Every part of the recorded sample, in both formats, against the published schemas, by a validator of somebody else's.
/// With `AEGIS_BLESS` set, the samples are written instead.
#[test]
fn what_is_sent_is_what_the_schemas_and_samples_say() {
    for (name, record, part) in parts() {
        for (format, schema) in [(Format::Ocsf, "cloud-event"), (Format::Plain, "plain-event")] {
            let sent: Value = serde_json::from_slice(&render(&record, part, format, SOURCE).unwrap()).unwrap();
            let schema = validator(schema);
            let errors: Vec<String> = schema.iter_errors(&sent).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name} {format:?}: {errors:?}\n{sent:#}");
            let path = file("samples", &format!("{name}-{}", if format == Format::Ocsf { "ocsf" } else { "plain" }));
            let text = serde_json::to_string_pretty(&sent).unwrap() + "\n";
            if std::env::var_os("AEGIS_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "bless {}", path.display());
        }
    }
}

/// So that the test above can fail.
#[test]
fn the_schemas_refuse_what_is_no_such_event() {
    let (_, record, part) = parts().remove(0);
    let sent = serde_json::to_value(cloud_event(&record, part, SOURCE)).unwrap();
    let schema = validator("cloud-event");
    assert!(schema.is_valid(&sent));
    for (pointer, value) in [("/type", json!("aegis.rumour")), ("/time", json!(5)), ("/data/class_uid", json!("6003"))]
    {
        let mut bad = sent.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!schema.is_valid(&bad), "{pointer}");
    }
    for field in ["id", "source", "specversion", "data"] {
        let mut bad = sent.clone();
        bad.as_object_mut().unwrap().remove(field);
        assert!(!schema.is_valid(&bad), "{field}");
    }
}

/// The attributes that OCSF 1.6 requires of each class, and the numbers that follow from each other.
#[test]
fn each_class_has_what_ocsf_requires_of_it() {
    let base = ["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];
    for (name, record, part) in parts().into_iter().filter(|(_, _, part)| part.kind != EventKind::Ping) {
        let event = serde_json::to_value(cloud_event(&record, part, SOURCE)).unwrap();
        let body = &event["data"];
        let (class, more): (u64, &[&str]) = match part.kind {
            EventKind::Activity => (6003, &["actor", "api", "src_endpoint"]),
            EventKind::Recommendation => (2004, &["finding_info"]),
            _ => (7001, &["command_uid"]),
        };
        for required in base.iter().chain(more) {
            assert!(!body[*required].is_null(), "{name}: {required}");
        }
        assert_eq!(body["class_uid"], class, "{name}");
        assert_eq!(body["category_uid"], class / 1000, "{name}");
        assert_eq!(body["type_uid"], class * 100 + body["activity_id"].as_u64().unwrap(), "{name}");
        assert_eq!(body["metadata"]["version"], "1.6.0");
        assert!(body["metadata"]["product"]["vendor_name"].is_string());
        assert_eq!(body["time"], 1_795_440_874_308_i64, "{name}: milliseconds");
        assert_eq!(body["unmapped"]["delegation"]["issuer_uid"], SOURCE);
        assert_eq!(body["unmapped"]["ai_agent"]["uid"], "agt_01a2089d933561f40ee93650afb9a27f");
    }
}

#[test]
fn human_and_agent_are_where_siems_look_for_them() {
    let record = recorded();
    let activity = serde_json::to_value(ocsf::activity(&record, SOURCE)).unwrap();
    assert_eq!(activity.pointer("/actor/user/uid"), Some(&json!("alice@org")));
    assert_eq!(activity.pointer("/actor/app_uid"), Some(&json!("agt_01a2089d933561f40ee93650afb9a27f")));
    assert_eq!(activity.pointer("/src_endpoint/ip"), Some(&json!("127.0.0.1")));
    assert_eq!(activity.pointer("/resources/0/name"), Some(&json!("treasury-master")));
    let found = record.recommendation.as_ref().unwrap();
    let finding = serde_json::to_value(ocsf::finding(&record, found, SOURCE)).unwrap();
    assert_eq!(finding.pointer("/evidences/0/actor/user/uid"), Some(&json!("alice@org")));
    assert_eq!(finding.pointer("/finding_info/related_events/0/uid"), Some(&json!(record.id)));
    // What Aegis did by itself, and what nobody was identified for, has an actor and a source all the same.
    let mut own = AuditRecord { human: None, agents: Vec::new(), source: None, ..record.clone() };
    let actor = |record: &AuditRecord| serde_json::to_value(ocsf::activity(record, SOURCE)).unwrap();
    assert_eq!(actor(&own).pointer("/actor/app_name"), Some(&json!("aegis")));
    assert_eq!(actor(&own).pointer("/src_endpoint/name"), Some(&json!("aegis")));
    own.source = record.source;
    assert_eq!(actor(&own).pointer("/actor/app_name"), Some(&json!("unidentified")));
}

#[test]
fn a_part_that_a_record_does_not_have_is_no_event() {
    let record = AuditRecord { recommendation: None, ..recorded() };
    for part in [Part::RECOMMENDATION, Part { kind: EventKind::Response, index: Some(7) }] {
        for format in [Format::Ocsf, Format::Plain] {
            assert!(matches!(render(&record, part, format, SOURCE), Err(Error::Damaged { .. })));
        }
    }
}

fn parts() -> Vec<(&'static str, AuditRecord, Part)> {
    let pinged = AuditRecord {
        operation: aegis_core::operation::Operation::WebhookTest,
        object: Some(format!("whk_{:032x}", 1)),
        ..recorded()
    };
    vec![
        ("event-activity", recorded(), Part::ACTIVITY),
        ("event-recommendation", recorded(), Part::RECOMMENDATION),
        ("event-response", recorded(), Part { kind: EventKind::Response, index: Some(0) }),
        ("event-ping", pinged, Part::PING),
    ]
}

fn recorded() -> AuditRecord {
    serde_json::from_str(&std::fs::read_to_string(file("samples", "audit-record")).unwrap()).unwrap()
}

fn validator(schema: &str) -> jsonschema::Validator {
    let text = std::fs::read_to_string(file("schemas", schema)).unwrap();
    jsonschema::options().should_validate_formats(true).build(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn file(folder: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.json"))
}
