//! Several records in one event of a bus, which is paid by the event: uses of keys that went as they should, of which nobody
//! acts on one by itself. Whatever else is on record goes alone, so that rules can choose among it.

use aegis_core::record::{AuditRecord, Outcome};
use serde::Deserialize;
use serde_json::Value;

/// Whether nobody waits for this record by itself.
pub fn goes_along(record: &AuditRecord) -> bool {
    record.outcome == Outcome::Ok
        && record.operation.action().is_some()
        && !record.checked
        && record.recommendation.is_none()
        && record.responses.is_empty()
        && record.suppressed.is_empty()
}

/// Records on their way, in their order.
#[derive(Debug, Default)]
pub struct Bundle {
    records: String,
}

impl Bundle {
    /// Takes a record as it lies in the journal; or leaves it, where it is one too many.
    pub fn take(&mut self, record: &str) -> bool {
        let fits = self.records.is_empty() || self.records.len().saturating_add(record.len()) < MOST;
        if fits {
            if !self.records.is_empty() {
                self.records.push(',');
            }
            self.records.push_str(record);
        }
        fits
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// JSON: an object whose `records` they are.
    pub fn into_json(self) -> String {
        format!("{{\"records\":[{}]}}", self.records)
    }
}

/// The records of a bundle, and whether these are all: what cannot be read keeps nobody from the others.
///
/// # Errors
/// What is no bundle.
pub fn unpack(bundle: Value) -> Result<(Vec<AuditRecord>, bool), serde_json::Error> {
    let Unpacked { records } = serde_json::from_value(bundle)?;
    let all = records.len();
    let read = records.into_iter().map(serde_json::from_value);
    let told = |error: &serde_json::Error| tracing::error!(error = %error, "a record cannot be read");
    let read: Vec<AuditRecord> = read.filter_map(|read| read.inspect_err(told).ok()).collect();
    let whole = read.len() == all;
    Ok((read, whole))
}

#[derive(Deserialize)]
struct Unpacked {
    records: Vec<Value>,
}

/// In bytes. EventBridge and SQS count 64 KiB as one event, the envelope in it.
const MOST: usize = 60 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::operation::Operation;
    use serde_json::json;

    fn recorded() -> AuditRecord {
        let sample = include_str!("../samples/audit-record.json");
        let record: AuditRecord = serde_json::from_str(sample).unwrap();
        AuditRecord {
            outcome: Outcome::Ok,
            operation: Operation::KeySign,
            checked: false,
            recommendation: None,
            responses: Vec::new(),
            suppressed: Vec::new(),
            ..record
        }
    }

    #[test]
    fn only_what_nobody_waits_for_goes_along() {
        assert!(goes_along(&recorded()));
        let alone = [
            AuditRecord { outcome: Outcome::Denied, ..recorded() },
            AuditRecord { outcome: Outcome::Error, ..recorded() },
            AuditRecord { operation: Operation::KeyRotate, ..recorded() },
            AuditRecord { operation: Operation::AgentIssue, ..recorded() },
            AuditRecord { checked: true, ..recorded() },
        ];
        for record in alone {
            assert!(!goes_along(&record), "{record:?}");
        }
    }

    #[test]
    fn what_was_taken_comes_out_in_its_order_and_what_is_too_much_is_left() {
        let mut bundle = Bundle::default();
        let mut taken = Vec::new();
        for number in 0.. {
            let record = AuditRecord { latency_us: number, ..recorded() };
            if !bundle.take(&serde_json::to_string(&record).unwrap()) {
                break;
            }
            taken.push(number);
        }
        let json = bundle.into_json();
        assert!((MOST / 2..=MOST + 20).contains(&json.len()), "{}", json.len());
        let (out, whole) = unpack(serde_json::from_str(&json).unwrap()).unwrap();
        assert!(whole);
        assert_eq!(out.iter().map(|record| record.latency_us).collect::<Vec<_>>(), taken);
    }

    #[test]
    fn a_record_larger_than_all_goes_by_itself() {
        let mut bundle = Bundle::default();
        assert!(bundle.take(&"x".repeat(MOST + 1)));
        assert!(!bundle.take("y"));
    }

    #[test]
    fn one_that_cannot_be_read_keeps_nobody_from_the_others() {
        let good = serde_json::to_value(recorded()).unwrap();
        let (read, whole) = unpack(json!({ "records": [good, 7, { "id": "?" }, good] })).unwrap();
        assert_eq!((read.len(), whole), (2, false));
        unpack(json!({ "record": [] })).unwrap_err();
    }
}
