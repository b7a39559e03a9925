//! Where a story is played: a fresh server in this process, whose clock the story moves. Everything else is as `aegis serve`
//! has it, which takes the system's clock and nothing else.

use super::caller::Caller;
use super::random_text;
use crate::Failure;
use crate::api::{Answer, text};
use crate::serve::Server;
use crate::serve::config::Settings;
use aegis_core::ambient::{Clock, Entropy, Timestamp, after_seconds};
use aegis_core::error::Error;
use aegis_core::heartbeat::Heartbeat;
use aegis_core::id::{AgentId, KeyId};
use aegis_core::journal;
use aegis_core::record::AuditRecord;
use aegis_core::risk::Risk;
use aegis_core::store::Put;
use aegis_embedded::root::Passphrase;
use aegis_events::stream;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The human of the stories.
pub(super) const ALICE: &str = "alice@org";
/// What she works with, and where.
pub(super) const DESK: ([u8; 4], &str) = ([127, 0, 1, 1], "aegis");

pub(super) struct Stage {
    runtime: Runtime,
    server: Server,
    address: SocketAddr,
    /// Unix microseconds.
    now: Arc<AtomicI64>,
    passphrase: String,
    // Removed when it is dropped.
    _folder: tempfile::TempDir,
}

/// An agent of a story.
pub(super) struct Cast {
    pub(super) id: AgentId,
    pub(super) key: KeyId,
}

impl Stage {
    /// A fresh deployment, begun at a moment of the story's choice.
    pub(super) fn open(at: Timestamp) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("aegis-demo-").tempdir();
        let folder = folder.map_err(|error| Failure::because("cannot make a data folder", &error))?;
        let runtime = Runtime::new().map_err(|error| Failure::because("no runtime", &error))?;
        let mut settings = Settings::for_folder(folder.path().to_path_buf());
        settings.listen.set_port(0);
        let now = Arc::new(AtomicI64::new(at.as_microsecond()));
        let ticking = Arc::clone(&now);
        let clock = Clock::new(move || micros(ticking.load(Ordering::SeqCst)));
        let server = runtime.block_on(Server::start(&settings, &Passphrase::new(random_text()), clock))?;
        let address = server.url().trim_start_matches("http://").parse();
        let address = address.map_err(|_| Failure::Failed("the server has no address".to_string()))?;
        Ok(Self { runtime, server, address, now, passphrase: random_text(), _folder: folder })
    }

    pub(super) fn now(&self) -> Timestamp {
        micros(self.now.load(Ordering::SeqCst))
    }

    /// Moves the clock, and waits until detection has looked at it: else it lies behind as far as that.
    pub(super) fn set(&self, at: Timestamp) -> Result<(), Failure> {
        self.now.store(at.as_microsecond(), Ordering::SeqCst);
        self.wait_until(|| async {
            let heartbeat = Heartbeat::read(self.server.app().store.as_ref()).await?;
            Ok(heartbeat.is_some_and(|heartbeat| heartbeat.too_late(at).is_none()))
        })
    }

    pub(super) fn pass(&self, seconds: i64) -> Result<(), Failure> {
        self.set(after_seconds(self.now(), seconds))
    }

    /// Somebody at an address of 127.0.0.0/8.
    pub(super) fn caller(&self, (source, program): ([u8; 4], &'static str)) -> Caller {
        Caller::new(self.runtime.handle(), self.address, source.into(), program)
    }

    /// Enrols alice with the one-time code, and logs her in.
    pub(super) fn enrol(&self) -> Result<Caller, Failure> {
        let code = self.server.enrolment_code.as_ref().map(|code| code.to_string()).unwrap_or_default();
        let enrolment = json!({ "code": code, "human": ALICE, "passphrase": self.passphrase });
        self.caller(DESK).post("/local/enroll", &enrolment)?.ok("enrol")?;
        self.log_in(None)
    }

    /// A fresh login of alice's; with `scope` it is good for that alone.
    pub(super) fn log_in(&self, scope: Option<&str>) -> Result<Caller, Failure> {
        let mut desk = self.caller(DESK);
        let login = json!({ "human": ALICE, "passphrase": self.passphrase });
        let login = desk.post("/local/token", &login)?.ok("log in")?;
        let id_token = text(&login, "id_token")?;
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", id_token.as_str()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        form.extend(scope.map(|scope| ("scope", scope)));
        let session = desk.post_form("/v1/oauth/token", &form)?.ok("exchange the ID token")?;
        Ok(desk.with_token(&text(&session, "access_token")?))
    }

    /// Active keys, and an agent that may sign with them, for ninety days. It works with the first of them.
    pub(super) fn cast(&self, by: &mut Caller, label: &str, keys: &[&str]) -> Result<Cast, Failure> {
        let mut first = None;
        for name in keys {
            let key = json!({ "name": name, "algorithm": "ECDSA-P256", "activate": true });
            let id = text(&by.post("/v1/keys", &key)?.ok("create the key")?, "id")?;
            first.get_or_insert(id);
        }
        let scope: Vec<String> = keys.iter().map(|name| format!("key:{name}:sign")).collect();
        let grant = json!({
            "label": label, "purpose": "service", "scope": scope.join(" "),
            "not_after": after_seconds(self.now(), 90 * 86_400),
        });
        let id = text(&by.post("/v1/agents", &grant)?.ok("issue the agent")?, "id")?;
        let id = AgentId::try_from(id).map_err(|error| Failure::because("the agent's id", &error))?;
        let key = KeyId::try_from(first.unwrap_or_default());
        Ok(Cast { id, key: key.map_err(|error| Failure::because("the key's id", &error))? })
    }

    /// A token of a day for an agent.
    pub(super) fn token(&self, by: &mut Caller, cast: &Cast) -> Result<String, Failure> {
        let path = format!("/v1/agents/{}/credentials", cast.id);
        text(&by.post(&path, &json!({ "ttl": 86_400 }))?.ok("issue its token")?, "token")
    }

    /// Writes records into the journal, the oldest first, and waits until detection has taken them in.
    pub(super) fn replay(&self, records: &[AuditRecord]) -> Result<(), Failure> {
        let store = self.server.app().store.as_ref();
        let puts: Result<Vec<Put>, Error> = records.iter().map(|record| journal::put(store, record)).collect();
        let puts = puts.map_err(|error| Failure::because("a record", &error))?;
        for puts in puts.chunks(50) {
            let written = self.runtime.block_on(store.transact(puts.to_vec()));
            written.map_err(|error| Failure::because("the journal", &error))?;
        }
        self.catch_up()
    }

    /// Waits until detection has taken in everything on record, and all that it led to.
    pub(super) fn catch_up(&self) -> Result<(), Failure> {
        self.wait_until(|| async { Ok(!stream::is_behind(self.server.app(), self.server.feed()).await?) })
    }

    fn wait_until<F: Future<Output = Result<bool, Error>>>(&self, done: impl Fn() -> F) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.runtime.block_on(done()).map_err(|error| Failure::because("detection", &error))? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::Failed("detection did not take in what is on record".to_string()))
    }

    /// Every item of a listing of the newest 200.
    pub(super) fn items(&self, by: &mut Caller, path: &str) -> Result<Vec<Value>, Failure> {
        let page = by.get(path)?.ok("read a listing")?;
        Ok(page.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    pub(super) fn entropy(&self) -> &Entropy {
        &self.server.app().entropy
    }

    pub(super) fn strike(self) {
        self.runtime.block_on(self.server.stop());
    }
}

fn micros(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A moment that a story names.
pub(super) fn moment(text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|error| Failure::because("a moment", &error))
}

/// The text at a JSON pointer, or none.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The risk that a refusal says.
pub(super) fn risk_of(answer: &Answer) -> Risk {
    let risk = answer.body.get("risk").cloned().unwrap_or_default();
    serde_json::from_value(risk).unwrap_or_default()
}

/// Whether a risk that somebody was asked about is the sum of its reasons.
pub(super) fn adds_up(risk: &Risk) -> bool {
    let sum: f64 = risk.factors.iter().map(|factor| factor.weight).sum();
    risk.score > 0.0 && (sum.min(1.0) - risk.score).abs() < 1e-6
}

/// Longer than weeks of records take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
