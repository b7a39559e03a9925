//! What Aegis publishes: the JSON Schemas of its events, made of the types themselves, and recorded samples of them.
//! The schema files are for consumers in other languages; a test keeps them equal to the types.

pub mod bundle;
pub mod detect;
pub mod ocsf;
pub mod published;
pub mod replay;
pub mod stream;

use aegis_core::recommendation::AgentRecommendation;
use aegis_core::record::AuditRecord;
use published::{CloudEvent, PlainEvent};
use schemars::Schema;
use schemars::generate::SchemaSettings;

/// The published events, by the name of their schema file.
pub fn schemas() -> [(&'static str, Schema); 4] {
    let generate = || SchemaSettings::draft2020_12().into_generator();
    [
        ("agent-recommendation", generate().into_root_schema_for::<AgentRecommendation>()),
        ("audit-record", generate().into_root_schema_for::<AuditRecord>()),
        ("cloud-event", generate().into_root_schema_for::<CloudEvent>()),
        ("plain-event", generate().into_root_schema_for::<PlainEvent>()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::path::PathBuf;

    /// With `AEGIS_BLESS` set, the files are written instead.
    #[test]
    fn the_schema_files_are_the_types() {
        for (name, schema) in schemas() {
            let path = file("schemas", name);
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("AEGIS_BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "bless {}", path.display());
        }
    }

    #[test]
    fn the_samples_read_as_what_they_are() {
        round_trip::<AgentRecommendation>("agent-recommendation");
        round_trip::<AuditRecord>("audit-record");
    }

    fn round_trip<T: DeserializeOwned + Serialize>(name: &str) {
        let text = std::fs::read_to_string(file("samples", name)).unwrap();
        let sample: serde_json::Value = serde_json::from_str(&text).unwrap();
        let event: T = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), sample, "{name}");
    }

    fn file(folder: &str, name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.json"))
    }
}
