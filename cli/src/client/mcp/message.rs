//! JSON-RPC messages as the bridge needs them: which headers of HTTP mirror them, and answers of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// A message of the host that has an answer, or needs none.
pub(crate) struct Message {
    pub(super) method: String,
    /// `None` of a notification.
    pub(super) id: Option<Value>,
    members: Map<String, Value>,
}

/// What a host that speaks 2025-11-25 says once, at the beginning.
#[derive(Default)]
pub(crate) struct Greeting {
    client: Option<Value>,
    /// Which version was agreed on.
    pub(super) version: Option<String>,
}

/// Codes of JSON-RPC 2.0, and one of those it leaves to servers.
pub(super) const NOT_JSON: i64 = -32_700;
pub(super) const NO_REQUEST: i64 = -32_600;
pub(super) const REFUSED: i64 = -32_001;

impl Message {
    /// `Err` is the answer to what is none; `Ok(None)` is an answer to a question that nobody asked.
    pub(crate) fn read(line: &str) -> Result<Option<Self>, String> {
        let value: Value =
            serde_json::from_str(line).map_err(|_| error(&Value::Null, NOT_JSON, "this is not JSON", None))?;
        let Value::Object(members) = value else {
            return Err(error(&Value::Null, NO_REQUEST, "a message is one object", None));
        };
        let id = members.get("id").cloned();
        match members.get("method").and_then(Value::as_str).map(str::to_string) {
            Some(method) => Ok(Some(Self { method, id, members })),
            None if members.contains_key("result") || members.contains_key("error") => Ok(None),
            None => Err(error(&id.unwrap_or(Value::Null), NO_REQUEST, "a request has a method", None)),
        }
    }

    fn params(&self) -> Option<&Map<String, Value>> {
        self.members.get("params")?.as_object()
    }

    /// The version it names for itself, as since 2026-07-28.
    fn version(&self) -> Option<&str> {
        self.params()?.get("_meta")?.get(VERSION)?.as_str()
    }

    /// Keeps what the first message of an older host says.
    pub(super) fn greet(&self, greeting: &mut Greeting) {
        if self.method == "initialize" && self.version().is_none() {
            *greeting =
                Greeting { client: self.params().and_then(|params| params.get("clientInfo")).cloned(), version: None };
        }
    }

    /// The body and the headers that it is posted with. The deployment keeps no sessions, so what an older host said at the
    /// beginning goes with each message: a record says who the client claims to be.
    pub(crate) fn posted(mut self, greeting: &Greeting) -> (Vec<u8>, Vec<(&'static str, String)>) {
        let mut headers = Vec::new();
        if let Some(version) = self.version() {
            headers.push(("mcp-protocol-version", version.to_string()));
            headers.push(("mcp-method", fitting(&self.method)));
            headers.extend(self.name().map(|name| ("mcp-name", fitting(name))));
        } else {
            headers.extend(greeting.version.clone().map(|version| ("mcp-protocol-version", version)));
            if let (true, Some(client)) = (self.method != "initialize" && self.id.is_some(), &greeting.client) {
                self.tell_client(client);
            }
        }
        (Value::Object(self.members).to_string().into_bytes(), headers)
    }

    fn name(&self) -> Option<&str> {
        let member = match self.method.as_str() {
            "tools/call" | "prompts/get" => "name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
            _ => return None,
        };
        self.params()?.get(member)?.as_str()
    }

    fn tell_client(&mut self, client: &Value) {
        let params = self.members.entry("params").or_insert_with(|| json!({}));
        let Some(params) = params.as_object_mut() else { return };
        let meta = params.entry("_meta").or_insert_with(|| json!({}));
        if let Some(meta) = meta.as_object_mut() {
            meta.entry(CLIENT).or_insert_with(|| client.clone());
        }
    }
}

/// A value as a header takes it, in the words of the specification's transport.
fn fitting(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && value.trim() == value;
    match plain && !(value.starts_with("=?base64?") && value.ends_with("?=")) {
        true => value.to_string(),
        false => format!("=?base64?{}?=", STANDARD.encode(value)),
    }
}

/// An answer that says why there is none.
pub(super) fn error(id: &Value, code: i64, why: &str, data: Option<Value>) -> String {
    let mut error = json!({ "code": code, "message": why });
    if let (Some(data), Some(error)) = (data, error.as_object_mut()) {
        error.insert("data".to_string(), data);
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(line: Value, greeting: &Greeting) -> (Value, Vec<(&'static str, String)>) {
        let (body, headers) = Message::read(&line.to_string()).unwrap().unwrap().posted(greeting);
        (serde_json::from_slice(&body).unwrap(), headers)
    }

    #[test]
    fn headers_mirror_the_message() {
        let call = |name: &str| {
            let meta = json!({ VERSION: "2026-07-28" });
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "_meta": meta } })
        };
        for (name, header) in
            [("sign", "sign"), ("a b", "a b"), (" sign", "=?base64?IHNpZ24=?="), ("größe", "=?base64?Z3LDtsOfZQ==?=")]
        {
            let (body, headers) = posted(call(name), &Greeting::default());
            assert_eq!(body, call(name));
            let expected = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", header)];
            assert_eq!(headers, expected.map(|(header, value)| (header, value.to_string())));
        }
    }

    #[test]
    fn what_an_older_host_said_at_the_beginning_goes_with_each_request() {
        let client = json!({ "name": "a host", "version": "3" });
        let hello = json!({ "id": 0, "method": "initialize", "params": { "clientInfo": client } });
        let mut greeting = Greeting::default();
        Message::read(&hello.to_string()).unwrap().unwrap().greet(&mut greeting);
        assert_eq!(posted(hello.clone(), &greeting), (hello, Vec::new()));
        greeting.version = Some("2025-11-25".to_string());
        let version = vec![("mcp-protocol-version", "2025-11-25".to_string())];
        let (body, headers) = posted(json!({ "id": 1, "method": "tools/list" }), &greeting);
        assert_eq!((&body["params"]["_meta"][CLIENT], headers), (&client, version.clone()));
        let note = json!({ "method": "notifications/initialized" });
        assert_eq!(posted(note.clone(), &greeting), (note, version));
    }

    #[test]
    fn what_is_no_request_is_answered_as_json_rpc_has_it() {
        for (line, code, id) in
            [("{", NOT_JSON, Value::Null), ("[]", NO_REQUEST, Value::Null), ("{\"id\":7}", NO_REQUEST, json!(7))]
        {
            let answer: Value = serde_json::from_str(&Message::read(line).err().unwrap()).unwrap();
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}");
        }
        assert!(Message::read("{\"id\":7,\"result\":{}}").unwrap().is_none());
    }
}
