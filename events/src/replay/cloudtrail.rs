//! CloudTrail's records of AWS KMS, as the events they stand for. An assumed role's session is an agent, an IAM user a
//! human, an AWS service a service. Fields: AWS CloudTrail user guide, "CloudTrail record contents".

use super::event::{Event, Kind, Outcome};
use aegis_core::ambient::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::io::Read;

/// Why a log file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("no log file of CloudTrail")]
    NoLog(#[source] serde_json::Error),
    #[error("broken after record {after}")]
    Within { after: u64, source: serde_json::Error },
}

/// Hands on what is each record of one log file, `{"Records":[…]}`, in its order: one that lacks something does not keep the
/// next from being read.
///
/// # Errors
/// [`Broken`]. What was handed on before stands.
pub fn read(log: impl Read, take: &mut dyn FnMut(Result<Record, serde_json::Error>)) -> Result<(), Broken> {
    let mut handed_on = None;
    let mut deserializer = serde_json::Deserializer::from_reader(log);
    let read = Log { take, handed_on: &mut handed_on }.deserialize(&mut deserializer);
    read.and_then(|()| deserializer.end()).map_err(|source| match handed_on {
        None => Broken::NoLog(source),
        Some(after) => Broken::Within { after, source },
    })
}

struct Log<'a> {
    take: &'a mut dyn FnMut(Result<Record, serde_json::Error>),
    /// How many; absent before the list of records begins.
    handed_on: &'a mut Option<u64>,
}

impl<'de> DeserializeSeed<'de> for Log<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Log<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `Records`")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "Records" => map.next_value_seed(Records(&mut self))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.handed_on.map(|_| ()).ok_or_else(|| A::Error::missing_field("Records"))
    }
}

struct Records<'a, 'b>(&'a mut Log<'b>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        let handed_on = self.0.handed_on.get_or_insert(0);
        // First as it stands: what is wrong within a record then leaves the reader behind it.
        while let Some(record) = records.next_element::<Box<RawValue>>()? {
            *handed_on = handed_on.saturating_add(1);
            (self.0.take)(serde_json::from_str(record.get()));
        }
        Ok(())
    }
}

/// As of other events: what is out of all range would be the beginning, or the end, of all that is learnt.
fn of_our_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let time = Timestamp::deserialize(deserializer)?;
    match u32::try_from(time.as_second()) {
        Ok(_) => Ok(time),
        Err(_) => Err(D::Error::custom("eventTime is no time between 1970 and 2106")),
    }
}

/// One API call; fields that say nothing of who, what and where are left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    #[serde(deserialize_with = "of_our_time")]
    pub event_time: Timestamp,
    #[serde(default)]
    pub event_source: String,
    pub event_name: String,
    #[serde(default)]
    user_identity: Identity,
    #[serde(default, rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    #[serde(default)]
    user_agent: Option<String>,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    request_parameters: Option<Parameters>,
    #[serde(default)]
    resources: Option<Vec<Resource>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    r#type: String,
    arn: Option<String>,
    principal_id: Option<String>,
    user_name: Option<String>,
    account_id: Option<String>,
    invoked_by: Option<String>,
    session_context: Option<Session>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Session {
    session_issuer: Option<Issuer>,
    attributes: Option<Attributes>,
    source_identity: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Issuer {
    arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Attributes {
    creation_date: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    key_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    #[serde(default, rename = "ARN", alias = "arn")]
    arn: Option<String>,
}

impl Record {
    /// The event, if the record is of a key store.
    pub fn event(self) -> Option<Event> {
        if !self.event_source.is_empty() && self.event_source != "kms.amazonaws.com" {
            return None;
        }
        let ts = seconds(self.event_time);
        let of = self.user_identity;
        let session = of.session_context.unwrap_or_default();
        let role = session.session_issuer.and_then(|issuer| issuer.arn);
        let (kind, actor, parent) = match of.r#type.as_str() {
            "IAMUser" | "Root" | "IdentityCenterUser" => {
                (Kind::Human, of.arn.or(of.user_name).or(of.principal_id), None)
            }
            "AWSService" => (Kind::Service, of.invoked_by, None),
            "AssumedRole" | "FederatedUser" | "WebIdentityUser" | "SAMLUser" => {
                // Sessions come and go; what has a history is the role, or the name the session was given.
                let name = of.arn.as_deref().map(lasting).map(str::to_string);
                (Kind::Agent, name.or(role).or(of.principal_id), session.source_identity)
            }
            _ => (Kind::Service, of.invoked_by.or(of.arn).or(of.account_id), None),
        };
        let created = session.attributes.and_then(|attributes| attributes.creation_date);
        let named = self.request_parameters.and_then(|parameters| parameters.key_id);
        let arn = self.resources.into_iter().flatten().find_map(|resource| resource.arn);
        Some(Event {
            ts,
            actor: actor.unwrap_or_else(|| "unknown".to_string()),
            kind,
            parent,
            source_ip: self.source_ip_address,
            op: self.event_name.to_ascii_lowercase(),
            resource: arn.or(named),
            user_agent: self.user_agent,
            outcome: match self.error_code.as_deref() {
                None => Outcome::Ok,
                Some(code) if code.contains("AccessDenied") || code.contains("Unauthorized") => Outcome::Denied,
                Some(_) => Outcome::Error,
            },
            env: None,
            plane: None,
            cred_age: created.map(|created| (ts - seconds(created)).max(0.0)),
            scope: None,
        })
    }
}

/// An assumed role's ARN without a session name that is made of random characters or a number.
fn lasting(arn: &str) -> &str {
    let Some((role, session)) = arn.rsplit_once('/') else { return arn };
    let digits = session.bytes().filter(u8::is_ascii_digit).count();
    // Instance ids, SDK defaults (`botocore-session-1690000000`) and the like: six digits, or a third of the name.
    match digits >= 6 || (digits > 0 && digits.saturating_mul(3) >= session.len()) {
        true => role,
        false => arn,
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_a_role_is_an_agent_and_a_random_session_name_is_no_other_one() {
        let log = r#"{"Records":[{"eventTime":"2026-11-01T10:00:00Z","eventSource":"kms.amazonaws.com",
            "eventName":"GenerateDataKey","userIdentity":{"type":"AssumedRole",
            "arn":"arn:aws:sts::111122223333:assumed-role/etl/i-0123456789abcdef0",
            "sessionContext":{"attributes":{"creationDate":"2026-11-01T09:00:00Z"}}},
            "sourceIPAddress":"203.0.113.9","userAgent":"Boto3/1.34","errorCode":"AccessDenied",
            "requestParameters":{"keyId":"alias/data"},
            "resources":[{"ARN":"arn:aws:kms:eu-central-1:111122223333:key/1","type":"AWS::KMS::Key"}]}]}"#;
        let mut events = Vec::new();
        read(log.as_bytes(), &mut |record| events.push(record.unwrap().event().unwrap())).unwrap();
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(event.actor, "arn:aws:sts::111122223333:assumed-role/etl");
        assert_eq!((event.kind, event.outcome), (Kind::Agent, Outcome::Denied));
        assert_eq!(event.op, "generatedatakey");
        assert_eq!(event.resource.as_deref(), Some("arn:aws:kms:eu-central-1:111122223333:key/1"));
        assert_eq!((event.ts, event.cred_age), (1_793_527_200.0, Some(3_600.0)));
        assert_eq!(lasting("arn:aws:sts::1:assumed-role/dev/alice"), "arn:aws:sts::1:assumed-role/dev/alice");
    }

    #[test]
    fn a_record_that_is_none_costs_no_other_one_and_where_a_file_breaks_is_told() {
        let good = r#"{"eventTime":"2026-11-01T10:00:00Z","eventName":"Decrypt"}"#;
        let no_name = r#"{"eventTime":"2026-11-01T10:00:00Z"}"#;
        let with = |unread: &str| good.replace('}', &format!(r#","responseElements":{unread}}}"#));
        let deep = "[".repeat(500) + &"]".repeat(500);
        let table = [
            (format!(r#"{{"Records":[{good},{no_name},{good}]}}"#), "+-+", ""),
            (format!(r#"{{"Records":[7,null,[],{good}],"Other":[1]}}"#), "---+", ""),
            (r#"{"Records":[]}"#.to_string(), "", ""),
            // What is not read of a record may be whatever JSON has.
            (format!(r#"{{"Records":[{},{},{}]}}"#, with(r#""\ud800""#), with("1e999"), with(&deep)), "+++", ""),
            (format!(r#"{{"Records":[{},{good}]}}"#, good.replace("2026-", "0001-")), "-+", ""),
            (format!(r#"{{"Records":[{},{good}]}}"#, good.replace("2026-", "9999-")), "-+", ""),
            (format!(r#"{{"Records":[{good},{good}"#), "++", "broken after record 2"),
            (format!(r#"{{"Records":[{good},{{"eventTime":"#), "+", "broken after record 1"),
            (format!(r#"{{"Records":[{good}]}} {good}"#), "+", "broken after record 1"),
            (r#"{"Records":[}"#.to_string(), "", "broken after record 0"),
            (r#"{"Records":7}"#.to_string(), "", "no log file of CloudTrail"),
            (good.to_string(), "", "no log file of CloudTrail"),
            ("nonsense".to_string(), "", "no log file of CloudTrail"),
            (String::new(), "", "no log file of CloudTrail"),
        ];
        for (log, want, broken) in table {
            let mut taken = String::new();
            let read = read(log.as_bytes(), &mut |record| taken.push(if record.is_ok() { '+' } else { '-' }));
            assert_eq!((taken.as_str(), told(read).as_str()), (want, broken), "{log}");
        }
    }

    fn told(read: Result<(), Broken>) -> String {
        read.err().map(|broken| broken.to_string()).unwrap_or_default()
    }

    #[test]
    fn other_services_and_services_that_act_by_themselves_are_told_apart() {
        let of = |text: &str| serde_json::from_str::<Record>(text).unwrap().event();
        let time = r#""eventTime":"2026-11-01T10:00:00Z""#;
        assert!(of(&format!(r#"{{{time},"eventSource":"s3.amazonaws.com","eventName":"GetObject"}}"#)).is_none());
        let service = r#""userIdentity":{"type":"AWSService","invokedBy":"ebs.amazonaws.com"}"#;
        let event = of(&format!(r#"{{{time},"eventName":"Decrypt",{service}}}"#)).unwrap();
        assert_eq!((event.kind, event.actor.as_str()), (Kind::Service, "ebs.amazonaws.com"));
        let user = r#""userIdentity":{"type":"IAMUser","userName":"alice"}"#;
        let event = of(&format!(r#"{{{time},"eventName":"Decrypt",{user}}}"#)).unwrap();
        assert_eq!((event.kind, event.actor.as_str()), (Kind::Human, "alice"));
    }
}
