//! The deployment that a scenario is told on. As a rule it lies in this process: the real pipeline, route table, software key
//! store and SQLite store, with a clock the test moves and an identity provider the test signs for. Where `AEGIS_DEPLOYMENT`
//! names one that is there already, it is that one, which has nothing of all this but its API.

use crate::Answer;
use crate::bill::{Bill, PaidCounters};
use crate::deployed::{self, Deployed};
use crate::roles::{Roles, act_as};
use crate::site::site;
use crate::telling::{Said, Telling};
use aegis_core::agent::{Agent, Hold, HoldKind};
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::deployment::DigestKey;
use aegis_core::error::Error;
use aegis_core::human::Role;
use aegis_core::id::{AgentId, RecommendationId};
use aegis_core::keystore::{KeyStore, KeyStores};
use aegis_core::login::{HumanClaim, Logins, Provider};
use aegis_core::maintenance;
use aegis_core::operation::Operation;
use aegis_core::pipeline::{
    self, App, InMemory, LiveCounters, PermitKey, PermitKeys, PermitReader, PolicyCache, Recorded, RulesCache, Shares,
};
use aegis_core::rate::Rate;
use aegis_core::reason::Reason;
use aegis_core::repository::{self, Loaded};
use aegis_core::response::{self, AtBackEnds};
use aegis_core::store::Store;
use aegis_core::store::fault::Faulty;
use aegis_core::store::memory::MemoryStore;
use aegis_core::token::{TokenKeys, public_jwk};
use aegis_core::webhook::Reach;
use aegis_embedded::store::SqliteStore;
use aegis_events::stream;
use aegis_functions::edge::{self, AtEdge, Crossed, Edge};
use aegis_functions::forward::{self, Answered, Forward, Forwarded, Operations};
use aegis_functions::mcp::Mcp;
use aegis_functions::{Gate, Host, Metrics, handle};
use aegis_keystores::folder::FolderKeyStore;
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// The instant every deployment begins at.
pub const BEGINNING: i64 = 1_790_000_000;

/// Where the page of a deployment is that has one, before the approval's id.
pub const APPROVAL_PAGE: &str = "https://aegis.example.org/approve/";

/// What every deployment has is its own; what only one in this process has, it has of [`InProcess`].
pub struct Deployment<S = SqliteStore>(Place<S>);

enum Place<S> {
    Here(Box<InProcess<S>>),
    There(Deployed),
}

/// What is asked of a deployment that has it not ends the scenario, at the line that asked.
impl<S> Deref for Deployment<S> {
    type Target = InProcess<S>;

    #[track_caller]
    fn deref(&self) -> &InProcess<S> {
        match &self.0 {
            Place::Here(here) => {
                here.is_needed.store(true, Ordering::Relaxed);
                here
            }
            Place::There(_) => panic!("{ONLY_HERE}"),
        }
    }
}

impl<S> DerefMut for Deployment<S> {
    #[track_caller]
    fn deref_mut(&mut self) -> &mut InProcess<S> {
        match &mut self.0 {
            Place::Here(here) => {
                here.is_needed.store(true, Ordering::Relaxed);
                here
            }
            Place::There(_) => panic!("{ONLY_HERE}"),
        }
    }
}

/// A scenario that could be told on any deployment is, or it is written down why not.
impl<S> Drop for Deployment<S> {
    fn drop(&mut self) {
        if let Place::Here(here) = &self.0
            && !here.is_needed.load(Ordering::Relaxed)
        {
            deployed::must_be_listed();
        }
    }
}

const ONLY_HERE: &str =
    "this scenario needs what only a deployment in its own process has: it cannot be told on another";

pub struct InProcess<S> {
    pub host: Arc<Host>,
    pub store: Arc<Faulty<S>>,
    provider: EncodingKey,
    kid: String,
    now: Arc<AtomicI64>,
    folder: Option<tempfile::TempDir>,
    /// What the back end `stick` says of its keys.
    pub said: Said,
    /// What the store was asked for.
    pub bill: Bill,
    halves: Option<Halves>,
    /// How the functions of operations behave that messages are forwarded to.
    pub functions: Arc<Behaviour>,
    /// Whether anything of this was asked for.
    is_needed: AtomicBool,
}

#[derive(Default)]
pub struct Behaviour {
    /// How long each takes.
    pub seconds: AtomicI64,
    /// Whether what they answer is lost.
    pub are_silent: AtomicBool,
    /// Whether there is no room for them to run.
    pub are_throttled: AtomicBool,
}

/// An edge that decides, what reads messages, and what acts, as they lie apart on AWS.
struct Halves {
    edge: Edge,
    messages: Arc<Host>,
    reader: PermitReader,
}

impl Halves {
    fn new(host: &Arc<Host>, unverified: u64, now: &Arc<AtomicI64>, behaviour: &Arc<Behaviour>) -> Self {
        let keys = Arc::new(KeysInMemory::default());
        let (host_of_all, now, behaviour) = (Arc::clone(host), Arc::clone(now), Arc::clone(behaviour));
        let operations = Operations::Elsewhere(Arc::new(Functions { host: host_of_all, now, behaviour }));
        Self {
            edge: Edge::new(keys.clone()),
            messages: Arc::new(host_of(&host.app, unverified, operations)),
            reader: PermitReader::new(keys),
        }
    }
}

/// The functions of operations, each with its own role. What crosses is what would cross between functions.
struct Functions {
    host: Arc<Host>,
    now: Arc<AtomicI64>,
    behaviour: Arc<Behaviour>,
}

#[async_trait]
impl Forward for Functions {
    async fn forward(&self, operation: Operation, asked: &Forwarded) -> Result<Answered, Error> {
        if self.behaviour.are_throttled.load(Ordering::SeqCst) {
            return Err(Error::LimitReached { reason: Reason::Overloaded, retry_after: Some(1) });
        }
        let asked: Forwarded = serde_json::from_slice(&serde_json::to_vec(asked).unwrap()).unwrap();
        let serves = operation.as_str();
        let answered = act_as(serves, forward::answer(&self.host, Some(serves), &asked)).await;
        self.now.fetch_add(self.behaviour.seconds.load(Ordering::SeqCst), Ordering::SeqCst);
        if self.behaviour.are_silent.load(Ordering::SeqCst) {
            return Err(Error::Unavailable { dependency: "the operation's function", source: "no answer".into() });
        }
        let answered = serde_json::to_vec(&answered.unwrap()).unwrap();
        Ok(serde_json::from_slice(&answered).unwrap())
    }
}

fn own_keys() -> Arc<dyn KeyStore> {
    let kek = KeyEncryptionKey::new("kek-1".into(), Zeroizing::new([7; 32]));
    Arc::new(SoftwareKeyStore::new(kek, Entropy::system()))
}

fn host_of(app: &Arc<App>, unverified: u64, operations: Operations) -> Host {
    Host {
        app: Arc::clone(app),
        gate: Gate::new(unverified),
        metrics: Metrics::new(),
        mcp: Mcp::new("https://aegis.example.org"),
        operations,
    }
}

/// What the edge signed, of a request that it let pass.
#[track_caller]
pub fn passes(said: AtEdge) -> String {
    match said {
        AtEdge::Passes { crossing, .. } => crossing,
        AtEdge::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// As the function `setup` does it.
async fn set_up(store: &dyn Store, now: Timestamp) {
    pipeline::initialize(store, "dep_test", 1, &Entropy::system(), now).await.unwrap();
    assert_eq!(pipeline::tie_humans(store, ISSUER, false).await.unwrap(), None);
}

/// The public keys of edges.
#[derive(Default)]
pub struct KeysInMemory(Mutex<Vec<PermitKey>>);

#[async_trait]
impl PermitKeys for KeysInMemory {
    async fn find(&self, kid: &str) -> Result<Option<PermitKey>, Error> {
        Ok(self.0.lock().unwrap().iter().find(|key| key.kid == kid).cloned())
    }

    async fn publish(&self, key: &PermitKey) -> Result<(), Error> {
        self.0.lock().unwrap().push(key.clone());
        Ok(())
    }
}

impl Deployment {
    /// An empty one that turns nobody away for asking often.
    pub async fn new() -> Self {
        match deployed::is_meant() {
            true => Self(Place::There(Deployed::emptied())),
            false => Self::on_disk(1_000_000, 1_000_000).await,
        }
    }

    /// Counts the uses on record, as the server does by itself a moment later.
    pub async fn count_uses(&self) {
        let count = async { while stream::count_next(&self.host.app, self.store.inner()).await.unwrap() > 0 {} };
        act_as("scheduled", count).await;
    }

    /// Takes in what is on record, as detection does.
    pub async fn detect(&self) {
        let drain = async { while stream::drain(&self.host.app, self.store.inner()).await.unwrap() > 0 {} };
        act_as("anomaly", drain).await;
    }

    /// With these shares of a minute: of a source without credentials, and of a credential.
    pub async fn with(unverified: u64, requests: u64) -> Self {
        let deployment = Self::on_disk(unverified, requests).await;
        deployment.is_needed.store(true, Ordering::Relaxed);
        deployment
    }

    async fn on_disk(unverified: u64, requests: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(SqliteStore::open(folder.path()).unwrap(), Some(folder), unverified, requests).await
    }
}

impl Deployment<MemoryStore> {
    /// One without a disk, for what a disk would only disturb.
    pub async fn in_memory() -> Self {
        let deployment = Self::on(MemoryStore::default(), None, u64::MAX, u64::MAX).await;
        deployment.is_needed.store(true, Ordering::Relaxed);
        deployment
    }
}

impl<S: Store + 'static> Deployment<S> {
    async fn on(store: S, folder: Option<tempfile::TempDir>, unverified: u64, requests: u64) -> Self {
        assert!(!deployed::is_meant(), "{ONLY_HERE}");
        let now = Arc::new(AtomicI64::new(BEGINNING));
        let ticking = Arc::clone(&now);
        let clock = Clock::new(move || Timestamp::from_second(ticking.load(Ordering::SeqCst)).unwrap());
        let store = Arc::new(Faulty::new(store));
        let provider = EncodingKey::from_ec_der(&p256());
        let jwk = public_jwk(&provider).unwrap();
        let kid = jwk.common.key_id.clone().unwrap();
        let keys = JwkSet { keys: vec![jwk] };
        let roles = Role::ALL.into_iter().map(|role| (role, [format!("role:{}", role.as_str())].into())).collect();
        let login = Provider {
            issuer: ISSUER.into(),
            humans_from: ISSUER.into(),
            client_id: "aegis".into(),
            human_claim: HumanClaim::Sub,
            keys: Arc::new(keys),
            device_scopes: None,
        };
        let said = Said::default();
        let stick = |folder: &tempfile::TempDir| {
            let path = folder.path().join(STICK);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join(".aegis-keys"), "").unwrap();
            let folder = FolderKeyStore::new(path, Entropy::system());
            let keystore: Arc<dyn KeyStore> = Arc::new(Telling { folder, said: said.clone() });
            (STICK.parse().unwrap(), keystore)
        };
        let bill = Bill::default();
        let port: Arc<dyn Store> = Arc::new(Roles { store: Arc::clone(&store), bill: bill.clone() });
        act_as("setup", set_up(port.as_ref(), clock.now())).await;
        let app = App {
            store: port,
            keystores: KeyStores::new(own_keys(), folder.iter().map(stick).collect()),
            tokens: TokenKeys::new("urn:aegis:test".into(), "aegis".into(), &p256()).unwrap(),
            logins: Logins::new(login, roles),
            digest_key: DigestKey::new([9; 32]),
            clock,
            entropy: Entropy::system(),
            policies: PolicyCache::default(),
            rules: RulesCache::default(),
            rates: Rate::new(requests),
            live: LiveCounters::Shared(Arc::new(PaidCounters { bill: bill.clone(), counters: InMemory::default() })),
            reads: Recorded::default(),
            shares: Shares::default(),
            webhooks_reach: Reach::OWN_MACHINE,
            approval_page: None,
        };
        let host = Arc::new(host_of(&Arc::new(app), unverified, Operations::Here));
        let functions = Arc::new(Behaviour::default());
        let halves = std::env::var_os("AEGIS_TEST_HALVES").map(|_| Halves::new(&host, unverified, &now, &functions));
        let is_needed = AtomicBool::new(false);
        let here = InProcess { host, store, provider, kid, now, folder, said, bill, halves, functions, is_needed };
        Self(Place::Here(Box::new(here)))
    }

    /// Seconds since 1970, by the clock of the deployment.
    pub fn now(&self) -> i64 {
        match &self.0 {
            Place::Here(here) => here.now.load(Ordering::SeqCst),
            Place::There(_) => Timestamp::now().as_second(),
        }
    }

    /// Moves the clock; waits until it has moved, where it is not the test's.
    #[track_caller]
    pub fn pass(&self, seconds: i64) {
        match &self.0 {
            Place::Here(here) => {
                here.is_needed.fetch_or(seconds > WAITED, Ordering::Relaxed);
                here.now.fetch_add(seconds, Ordering::SeqCst);
            }
            Place::There(_) if seconds <= WAITED => {
                std::thread::sleep(std::time::Duration::from_secs(seconds.unsigned_abs()));
            }
            Place::There(_) => panic!("{ONLY_HERE}"),
        }
    }

    /// Waits for the next minute where more than half of one has passed, by a clock that does not stand still.
    pub fn begin_a_minute(&self) {
        while matches!(self.0, Place::There(_)) && self.now() % 60 > 30 {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    /// Of its identity provider.
    pub fn issuer(&self) -> &str {
        match &self.0 {
            Place::Here(_) => ISSUER,
            Place::There(_) => site().issuer(),
        }
    }

    /// What the identity provider would issue for a login now.
    pub fn id_token(&self, human: &str, roles: &[&str]) -> String {
        static LOGINS: AtomicU64 = AtomicU64::new(0);
        let claims = json!({
            "iss": self.issuer(), "sub": human, "aud": "aegis", "iat": self.now(), "exp": self.now() + 300,
            "auth_time": self.now(), "amr": ["pwd"], "roles": roles,
            "jti": LOGINS.fetch_add(1, Ordering::SeqCst).to_string(),
        });
        self.provider_signs(&claims)
    }

    /// A token of the provider's with these claims.
    pub fn provider_signs(&self, claims: &Value) -> String {
        match &self.0 {
            Place::Here(here) => {
                let header = Header { kid: Some(here.kid.clone()), ..Header::new(Algorithm::ES256) };
                jsonwebtoken::encode(&header, claims, &here.provider).unwrap()
            }
            Place::There(_) => site().provider_signs(claims),
        }
    }

    /// Exchanges an ID token, as it is.
    pub async fn exchange(&self, id_token: &str) -> Answer {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", id_token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        self.form("", "/v1/oauth/token", &form).await
    }

    /// An empty `token` sends none.
    pub async fn form(&self, token: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Bytes::from(serde_urlencoded::to_string(form).unwrap())).unwrap()).await
    }

    /// A human's session.
    pub async fn log_in(&self, human: &str, roles: &[&str]) -> String {
        let answer = self.exchange(&self.id_token(human, roles)).await.ok();
        crate::text(&answer, "access_token")
    }

    /// A login that answers one approval.
    pub async fn log_in_to_approve(&self, human: &str, roles: &[&str]) -> String {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &self.id_token(human, roles)),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("scope", "approve"),
        ];
        crate::text(&self.form("", "/v1/oauth/token", &form).await.ok(), "access_token")
    }

    /// As a response would: for a day a human approves what the agent asks.
    pub async fn hold_for_step_up(&self, agent: &str) {
        self.hold(agent, HoldKind::StepUp).await;
    }

    /// As a response would, for a day.
    pub async fn hold(&self, agent: &str, kind: HoldKind) {
        let (now, until) = (self.now(), self.now() + 86_400);
        let [now, until] = [now, until].map(|second| Timestamp::from_second(second).unwrap());
        let hold = Hold { kind, until, cause: RecommendationId::new(now, &Entropy::system()) };
        match &self.0 {
            Place::Here(here) => {
                let item = repository::agent_item(&AgentId::try_from(agent.to_string()).unwrap());
                let found: Option<Loaded<Agent>> = repository::load(here.store.as_ref(), &item).await.unwrap();
                let mut found = found.unwrap();
                found.value.add_hold(hold, now);
                here.store.transact(vec![found.replace().unwrap()]).await.unwrap();
            }
            Place::There(there) => there.hold(agent, &hold),
        }
    }

    /// The same, on what `wrap` makes of its store.
    pub fn with_store(mut self, wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Self {
        self.change(|app| app.store = wrap(Arc::clone(&app.store)));
        self
    }

    /// The same, with a page on which humans answer approvals; one that is there already has it.
    pub fn with_approval_page(mut self) -> Self {
        if let Place::Here(here) = &mut self.0 {
            here.change(|app| app.approval_page = Some(APPROVAL_PAGE.to_string()));
        }
        self
    }

    /// The same, in front of this back end and no other.
    pub fn with_backend(mut self, name: &str, keystore: Arc<dyn KeyStore>) -> Self {
        let backends = [(name.parse().unwrap(), keystore)].into();
        self.change(|app| app.keystores = KeyStores::new(own_keys(), backends));
        self
    }

    /// A session of a human who may do everything a human may.
    pub async fn alice(&self) -> String {
        self.log_in("alice@org", &["admin", "auditor", "operator", "user"]).await
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(Method::GET, token, path, None).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(Method::POST, token, path, Some(body)).await
    }

    /// An empty `token` sends none.
    pub async fn call(&self, method: Method, token: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(|body| body.to_string());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        self.send(request.body(Bytes::from(body.unwrap_or_default())).unwrap()).await
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answer {
        match &self.0 {
            Place::Here(here) => here.send(request).await,
            Place::There(there) => there.send(request).await,
        }
    }

    /// Whether an edge decides, and something else acts.
    pub fn is_split(&self) -> bool {
        match &self.0 {
            Place::Here(here) => here.halves.is_some(),
            Place::There(_) => true,
        }
    }

    /// An active key.
    pub async fn key(&self, token: &str, name: &str, algorithm: &str) -> Value {
        let body = json!({ "name": name, "algorithm": algorithm, "activate": true });
        self.post(token, "/v1/keys", body).await.ok()
    }

    /// An agent with this scope and whatever else is said of it, and a token for it.
    pub async fn agent(&self, token: &str, scope: &str, more: Value) -> (String, String) {
        let mut body = json!({ "label": "an agent", "scope": scope });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let agent = crate::text(&self.post(token, "/v1/agents", body).await.ok(), "id");
        let token = self.token(token, &agent).await;
        (agent, token)
    }

    /// A token for an agent.
    pub async fn token(&self, by: &str, agent: &str) -> String {
        crate::text(&self.post(by, &format!("/v1/agents/{agent}/credentials"), json!({})).await.ok(), "token")
    }
}

impl<S: Store + 'static> InProcess<S> {
    /// Does what is due by itself: rotation, the end of keys and approvals. Returns how much it was.
    ///
    /// # Errors
    /// As [`maintenance::run_due`].
    pub async fn run_due(&self) -> Result<usize, Error> {
        act_as("scheduled", maintenance::run_due(&self.host.app)).await
    }

    /// Does what responses left to do, at back ends too: what can be at once, then the rest. Returns how much it was.
    ///
    /// # Errors
    /// As [`response::run_pending`].
    pub async fn respond(&self) -> Result<usize, Error> {
        let at_once = self.respond_at_once().await?;
        let rest = act_as("scheduled", response::run_pending(&self.host.app, AtBackEnds::Rotates)).await?;
        Ok(at_once + rest)
    }

    /// Does what responses left to do and needs no back end. Returns how much it was.
    ///
    /// # Errors
    /// As [`response::run_pending`].
    pub async fn respond_at_once(&self) -> Result<usize, Error> {
        act_as("respond", response::run_pending(&self.host.app, AtBackEnds::Leaves)).await
    }

    /// The folder with the store.
    pub fn folder(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().to_path_buf()
    }

    /// The folder of the back end `stick`.
    pub fn stick(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join(STICK)
    }

    async fn send(&self, request: Request<Bytes>) -> Answer {
        if let Some(halves) = &self.halves
            && edge::is_message(request.method(), request.uri().path())
        {
            return Answer::of(&act_as("mcp", handle(&halves.messages, request, SOURCE)).await);
        }
        let served = edge::operation_of(request.method(), request.uri().path());
        match served.filter(|operation| self.halves.is_some() && *operation != "public") {
            None if self.halves.is_some() && served == Some("public") => {
                Answer::of(&act_as("public", handle(&self.host, request, SOURCE)).await)
            }
            None => Answer::of(&handle(&self.host, request, SOURCE).await),
            Some(_) => self.send_by_halves(request).await,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut App)) {
        let split = self.halves.take().is_some();
        let host = Arc::get_mut(&mut self.host).unwrap();
        change(Arc::get_mut(&mut host.app).unwrap());
        if split {
            self.split();
        }
    }

    /// From now on as on AWS: an edge decides, and something else acts.
    pub fn split(&mut self) {
        self.halves = Some(Halves::new(&self.host, u64::MAX, &self.now, &self.functions));
    }

    /// What the edge says of a request.
    pub async fn decide(&self, request: &Request<Bytes>) -> AtEdge {
        let mut head = Request::builder().method(request.method()).uri(request.uri()).body(()).unwrap();
        *head.headers_mut() = request.headers().clone();
        act_as("authorizer", edge::decide(&self.host, &self.halves.as_ref().unwrap().edge, &head, SOURCE)).await
    }

    /// What is answered to a request that comes with this from an edge.
    pub async fn act(&self, request: Request<Bytes>, crossing: &str) -> Answer {
        let crossed = Crossed { signed: crossing, reader: &self.halves.as_ref().unwrap().reader };
        let role = edge::operation_of(request.method(), request.uri().path()).unwrap();
        Answer::of(&act_as(role, edge::act(&self.host, request, SOURCE, Some(crossed))).await)
    }

    /// As a gateway does: the edge first, without the body; then, with what it signed, the operation.
    async fn send_by_halves(&self, request: Request<Bytes>) -> Answer {
        match self.decide(&request).await {
            AtEdge::Passes { crossing, .. } => self.act(request, &crossing).await,
            AtEdge::Refused(refusal) => Answer::of(&refusal.response()),
        }
    }
}

/// The longest that a scenario waits for a clock that is not the test's, in seconds.
const WAITED: i64 = 5;
/// Where requests come from.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const STICK: &str = "stick";
const ISSUER: &str = "https://provider.example";

pub(crate) fn p256() -> Vec<u8> {
    let random = aws_lc_rs::rand::SystemRandom::new();
    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap().as_ref().to_vec()
}
