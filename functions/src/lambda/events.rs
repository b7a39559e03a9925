//! What AWS hands to functions and takes from them, as far as it is read here. The shapes are those of the AWS
//! documentation: API Gateway REST (proxy, and REQUEST authorizer), DynamoDB streams, SQS, EventBridge.

use crate::IDEMPOTENCY_KEY;
use crate::forward::{Answered, Forwarded};
use aegis_core::error::Chain;
use aegis_core::record::AuditRecord;
use aegis_events::bundle;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

type Many = BTreeMap<String, Vec<String>>;

/// A request at the gateway: for the authorizer without a body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayRequest {
    #[serde(default)]
    pub(super) method_arn: Option<String>,
    http_method: String,
    path: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    multi_value_headers: Option<Many>,
    #[serde(default)]
    query_string_parameters: Option<BTreeMap<String, String>>,
    #[serde(default)]
    multi_value_query_string_parameters: Option<Many>,
    request_context: RequestContext,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    identity: Identity,
    #[serde(default)]
    domain_name: Option<String>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    authorizer: Option<BTreeMap<String, Value>>,
}

/// What an operation is called with: by the gateway, or by the function that reads messages.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Asked {
    Forwarded { forwarded: Box<Forwarded> },
    Gateway(Box<GatewayRequest>),
}

/// What it answers to either.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Told {
    Forwarded(Answered),
    Gateway(GatewayResponse),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: String,
}

/// What of a path would end it, or stand for something else in a URI.
const IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`');

impl GatewayRequest {
    /// From where the gateway saw it come. No header counts.
    pub(super) fn source(&self) -> Result<IpAddr, Unreadable> {
        self.request_context.identity.source_ip.parse().map_err(|_| Unreadable("sourceIp"))
    }

    /// What clients call the gateway by, where no name of the deployment's own leads to it.
    pub(super) fn url(&self) -> Option<String> {
        let RequestContext { domain_name, stage, .. } = &self.request_context;
        Some(format!("https://{}/{}", domain_name.as_ref()?, stage.as_ref()?))
    }

    /// What the authorizer gave along.
    pub(super) fn crossing(&self) -> Option<&str> {
        self.request_context.authorizer.as_ref()?.get(CROSSING)?.as_str()
    }

    /// The request as a client made it.
    pub(super) fn into_http(self) -> Result<http::Request<Bytes>, Unreadable> {
        let method: Method = self.http_method.parse().map_err(|_| Unreadable("httpMethod"))?;
        let mut uri = utf8_percent_encode(&self.path, IN_PATHS).to_string();
        let pairs = pairs(self.multi_value_query_string_parameters, self.query_string_parameters);
        if !pairs.is_empty() {
            uri.push('?');
            uri.push_str(&serde_urlencoded::to_string(pairs).map_err(|_| Unreadable("queryStringParameters"))?);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in self::pairs(self.multi_value_headers, self.headers) {
            // Whatever a stranger sends, nothing fails by it: what no header can hold is as good as not sent.
            let Ok(name) = name.parse::<HeaderName>() else { continue };
            match HeaderValue::from_bytes(value.as_bytes()) {
                Ok(value) => drop(headers.append(name, value)),
                // Beside it no other credential may count; and what is to be done once is not done without that.
                Err(_) if name == AUTHORIZATION => drop(headers.append(name, HeaderValue::from_static("?"))),
                Err(_) if name == IDEMPOTENCY_KEY => drop(headers.append(name, HeaderValue::from_static(" "))),
                Err(_) => {}
            }
        }
        let body = self.body.unwrap_or_default();
        let body = match self.is_base64_encoded {
            true => aegis_core::encoding::from_base64(&body).ok_or(Unreadable("body"))?,
            false => body.into_bytes(),
        };
        let mut request = http::Request::new(Bytes::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(|_| Unreadable("path"))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The one with many values, if the gateway sent it.
fn pairs(many: Option<Many>, single: Option<BTreeMap<String, String>>) -> Vec<(String, String)> {
    match many {
        Some(many) => {
            many.into_iter().flat_map(|(name, values)| values.into_iter().map(move |v| (name.clone(), v))).collect()
        }
        None => single.unwrap_or_default().into_iter().collect(),
    }
}

/// Part of an event is not what AWS says it is.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` of the event is not what it should be")]
pub(super) struct Unreadable(&'static str);

/// The name of what an authorizer gives along.
pub(super) const CROSSING: &str = "crossing";

/// What a function answers the gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    status_code: u16,
    multi_value_headers: Many,
    body: String,
    is_base64_encoded: bool,
}

impl From<http::Response<Bytes>> for GatewayResponse {
    fn from(response: http::Response<Bytes>) -> Self {
        let mut headers = Many::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.to_string()).or_default().push(value);
        }
        Self {
            status_code: response.status().as_u16(),
            multi_value_headers: headers,
            // All that Aegis answers is text.
            body: String::from_utf8_lossy(response.body()).into_owned(),
            is_base64_encoded: false,
        }
    }
}

/// What an authorizer answers the gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorized {
    principal_id: &'static str,
    policy_document: PolicyDocument,
    context: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

impl Authorized {
    /// `method` is the ARN of what was asked for: nothing else is allowed by it.
    pub(super) fn new(allows: bool, method: &str, context: BTreeMap<&'static str, String>) -> Self {
        let effect = if allows { "Allow" } else { "Deny" };
        let statement = Statement { action: "execute-api:Invoke", effect, resource: method.to_string() };
        let policy_document = PolicyDocument { version: "2012-10-17", statement: [statement] };
        Self { principal_id: "aegis", policy_document, context }
    }
}

/// A batch of a stream of DynamoDB.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    #[serde(rename = "Records")]
    pub(super) records: Vec<StreamRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamRecord {
    event_name: String,
    dynamodb: Change,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    #[serde(default)]
    new_image: Option<BTreeMap<String, Value>>,
}

impl StreamRecord {
    pub(super) fn sequence_number(&self) -> &str {
        &self.dynamodb.sequence_number
    }

    /// Whether nothing was there before.
    pub(super) fn is_new(&self) -> bool {
        self.event_name == "INSERT"
    }

    /// A text attribute of what was written.
    pub(super) fn text(&self, attribute: &str) -> Option<&str> {
        self.dynamodb.new_image.as_ref()?.get(attribute)?.get("S")?.as_str()
    }
}

/// A batch of a queue.
#[derive(Debug, Deserialize)]
pub struct QueueEvent {
    #[serde(rename = "Records")]
    pub(super) records: Vec<QueueMessage>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueueMessage {
    pub(super) message_id: String,
    body: String,
}

/// An event of the bus.
#[derive(Debug, Deserialize)]
pub(super) struct BusEvent {
    #[serde(rename = "detail-type")]
    pub(super) kind: String,
    pub(super) detail: Value,
}

impl BusEvent {
    /// The records that it tells of, and whether these are all: a program that can read the others, or knows an event of this kind,
    /// may come. Until then they lie in the queue of what was given up.
    pub(super) fn records(self) -> (Vec<AuditRecord>, bool) {
        let read = match self.kind.as_str() {
            "AuditRecord" => serde_json::from_value(self.detail).map(|record| (vec![record], true)),
            "AuditRecords" => bundle::unpack(self.detail),
            kind => {
                tracing::error!(kind, "an event of a kind that this program does not know");
                return (Vec::new(), false);
            }
        };
        read.unwrap_or_else(|error| {
            tracing::error!(error = %Chain(&error), "a record cannot be read");
            (Vec::new(), false)
        })
    }
}

impl QueueMessage {
    pub(super) fn event(&self) -> Result<BusEvent, serde_json::Error> {
        serde_json::from_str(&self.body)
    }
}

/// Which of a batch must come again.
#[derive(Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl BatchAnswer {
    /// What a message says. What cannot be read comes again: a program that can read it may come, and until then it lies in the
    /// queue of what was given up.
    pub(super) fn read<T>(&mut self, message: &QueueMessage, read: Result<T, serde_json::Error>) -> Option<T> {
        let unread = |error: &serde_json::Error| {
            tracing::error!(error = %Chain(error), "an event cannot be read");
            self.again(&message.message_id);
        };
        read.inspect_err(unread).ok()
    }

    /// Whether nothing comes again.
    pub(super) fn is_whole(&self) -> bool {
        self.batch_item_failures.is_empty()
    }

    pub(super) fn again(&mut self, item: &str) {
        self.batch_item_failures.push(Failure { item_identifier: item.to_string() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As API Gateway hands it over: `headers` with the last value of each name, `multiValueHeaders` with all.
    fn request(headers: &[(&str, &[&str])]) -> GatewayRequest {
        let last: BTreeMap<_, _> = headers.iter().map(|(name, values)| (name, values.last())).collect();
        let all: BTreeMap<_, _> = headers.iter().copied().collect();
        let event = json!({
            "httpMethod": "GET",
            "path": "/v1/keys",
            "headers": last,
            "multiValueHeaders": all,
            "requestContext": { "identity": { "sourceIp": "198.51.100.7" } },
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn no_header_of_a_stranger_makes_a_request_unreadable() {
        /// A header's name, its values, and those that are read.
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a [u8]]);
        let table: [Row<'_>; 9] = [
            ("X-A", &["plain", "\ttab"], &[b"plain", b"\ttab"]),
            ("X-A", &["é"], &["é".as_bytes()]),
            ("X-A", &["\u{fffd}", "b"], &["\u{fffd}".as_bytes(), b"b"]),
            ("X-A", &["a\nb", "b"], &[b"b"]),
            ("X-A", &["a\0"], &[]),
            ("authorization", &["Bearer é"], &["Bearer é".as_bytes()]),
            // Not as if the other were the only one.
            ("Authorization", &["Bearer a\u{7f}", "Bearer b"], &[b"?", b"Bearer b"]),
            ("AUTHORIZATION", &["\n"], &[b"?"]),
            // None that a route takes.
            ("Idempotency-Key", &["a\u{7f}"], &[b" "]),
        ];
        for (name, values, want) in table {
            let read = request(&[(name, values), ("é", &["a"]), ("", &["b"])]).into_http().unwrap();
            let read: Vec<&[u8]> = read.headers().values().map(HeaderValue::as_bytes).collect();
            assert_eq!(read, want, "{name} {values:?}");
        }
    }

    #[test]
    fn where_a_request_comes_from_the_gateway_alone_says() {
        let table: [&[(&str, &[&str])]; 7] = [
            &[],
            &[("X-Forwarded-For", &["203.0.113.9"])],
            &[("x-forwarded-for", &["203.0.113.9, 198.51.100.8"])],
            &[("X-Forwarded-For", &["203.0.113.9", "203.0.113.10"])],
            &[("Forwarded", &["for=203.0.113.9"])],
            &[("X-Real-IP", &["203.0.113.9"]), ("True-Client-IP", &["203.0.113.9"])],
            &[("X-Forwarded-For", &["not an address"])],
        ];
        for headers in table {
            assert_eq!(request(headers).source().unwrap(), IpAddr::from([198, 51, 100, 7]), "{headers:?}");
        }
        let mut nowhere = request(&[("X-Forwarded-For", &["203.0.113.9"])]);
        nowhere.request_context.identity.source_ip = String::new();
        assert!(nowhere.source().is_err());
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use serde_json::json;

    /// A batch of these messages, which are called by their places in it.
    pub(crate) fn batch(bodies: &[String]) -> QueueEvent {
        let message = |(place, body): (usize, &String)| json!({ "messageId": place.to_string(), "body": body });
        let messages: Vec<Value> = bodies.iter().enumerate().map(message).collect();
        serde_json::from_value(json!({ "Records": messages })).unwrap()
    }

    pub(crate) fn on_bus(kind: &str, detail: &Value) -> String {
        json!({ "detail-type": kind, "detail": detail }).to_string()
    }

    /// Those messages.
    pub(crate) fn again(places: &[usize]) -> BatchAnswer {
        let mut answer = BatchAnswer::default();
        places.iter().for_each(|place| answer.again(&place.to_string()));
        answer
    }

    /// What no program can read, and what this one cannot.
    pub(crate) fn unreadable() -> [String; 4] {
        [
            "no JSON".to_string(),
            json!({ "detail": {} }).to_string(),
            on_bus("AuditRecord", &json!({ "id": 7 })),
            on_bus("SomethingNew", &json!({})),
        ]
    }
}
