//! A deployment in memory: the whole pipeline, with time that stands still and ids that come in the same order each run.

use crate::signer::Signer;
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::deployment::DigestKey;
use aegis_core::error::Error;
use aegis_core::human::Role;
use aegis_core::keystore::KeyStores;
use aegis_core::login::{HumanClaim, Logins, Provider, ProviderKeys};
use aegis_core::pipeline::{self, App, LiveCounters, PolicyCache, Recorded, RulesCache, Shares};
use aegis_core::rate::Rate;
use aegis_core::store::memory::MemoryStore;
use aegis_core::token::{TokenKeys, public_jwk};
use aegis_core::webhook::Reach;
use aegis_functions::forward::Operations;
use aegis_functions::mcp::Mcp;
use aegis_functions::{Gate, Host, Metrics, handle};
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

pub const NOW: i64 = 1_790_000_000;
pub const ISSUER: &str = "https://provider.example";

pub struct Deployment {
    host: Arc<Host>,
    /// Whose ID tokens are taken.
    pub provider: Signer,
    pub provider_jwk: Jwk,
    foreign: Arc<ForeignKeys>,
    store: Arc<MemoryStore>,
    /// What each run begins with.
    beginning: MemoryStore,
    ids: Arc<AtomicU64>,
    runtime: Runtime,
    /// Words of an input, and what they stand for.
    pub words: Vec<(&'static str, String)>,
}

impl Deployment {
    /// With a human, an agent that may use two keys, and a key that it may not use.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ids = Arc::new(AtomicU64::new(1));
        let entropy = {
            let ids = Arc::clone(&ids);
            Entropy::new(move |buffer| {
                for chunk in buffer.chunks_mut(8) {
                    let next = ids.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                    chunk.copy_from_slice(&next[8 - chunk.len()..]);
                }
            })
        };
        let clock = Clock::new(|| Timestamp::from_second(NOW).unwrap());
        let store = Arc::new(MemoryStore::default());
        let begun = pipeline::initialize(store.as_ref(), "dep_fuzz", 1, &entropy, clock.now());
        runtime.block_on(begun).unwrap();
        let tied = runtime.block_on(pipeline::tie_humans(store.as_ref(), ISSUER, false));
        assert_eq!(tied.unwrap(), None);
        let provider = Signer::of_the_provider();
        let provider_jwk = public_jwk(&EncodingKey::from_ec_der(&provider.pkcs8)).unwrap();
        let foreign = Arc::new(ForeignKeys { own: provider_jwk.clone(), others: Mutex::default() });
        let login = Provider {
            issuer: ISSUER.into(),
            humans_from: ISSUER.into(),
            client_id: "aegis".into(),
            human_claim: HumanClaim::Sub,
            keys: Arc::<ForeignKeys>::clone(&foreign),
            device_scopes: Some(vec!["openid".into()]),
        };
        let roles = Role::ALL.into_iter().map(|role| (role, [format!("role:{}", role.as_str())].into())).collect();
        let kek = KeyEncryptionKey::new("kek-1".into(), Zeroizing::new([7; 32]));
        let app = App {
            store: Arc::<MemoryStore>::clone(&store),
            keystores: KeyStores::new(Arc::new(SoftwareKeyStore::new(kek, entropy.clone())), BTreeMap::new()),
            tokens: TokenKeys::new("urn:aegis:fuzz".into(), "aegis".into(), &Signer::of_aegis().pkcs8).unwrap(),
            logins: Logins::new(login, roles),
            digest_key: DigestKey::new([9; 32]),
            clock,
            entropy,
            policies: PolicyCache::default(),
            rules: RulesCache::default(),
            rates: Rate::new(u64::MAX),
            live: LiveCounters::default(),
            reads: Recorded::default(),
            shares: Shares::default(),
            webhooks_reach: Reach::OWN_MACHINE,
            approval_page: None,
        };
        let host = Host {
            app: Arc::new(app),
            gate: Gate::new(u64::MAX),
            metrics: Metrics::new(),
            mcp: Mcp::new("http://localhost"),
            operations: Operations::Here,
        };
        let host = Arc::new(host);
        let beginning = MemoryStore::default();
        let words = Vec::new();
        let mut deployment = Self { host, provider, provider_jwk, foreign, store, beginning, ids, runtime, words };
        deployment.populate();
        deployment
    }

    fn populate(&mut self) {
        let id_token = self.id_token("alice@org", "1");
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={id_token}\
             &subject_token_type=urn:ietf:params:oauth:token-type:id_token"
        );
        let request = Request::post("/v1/oauth/token").header("content-type", "application/x-www-form-urlencoded");
        let response = self.answer(request.body(Bytes::from(form)).unwrap());
        let alice = text(&serde_json::from_slice(response.body()).unwrap(), "access_token");
        let key = |name: &str, algorithm: &str| {
            let body = json!({ "name": name, "algorithm": algorithm, "activate": true, "labels": ["team=billing"] });
            text(&self.post(&alice, "/v1/keys", body), "id")
        };
        let own_key = key("own-key", "Ed25519");
        let own_aes = key("own-aes", "AES-256-GCM");
        let other_key = key("other-key", "ECDSA-P256");
        let scope = "key:own-key:sign,verify key:own-aes:encrypt,decrypt,wrap,unwrap,re-encrypt,generate-data-key";
        let agent = text(&self.post(&alice, "/v1/agents", json!({ "label": "an agent", "scope": scope })), "id");
        let issued = self.post(&alice, &format!("/v1/agents/{agent}/credentials"), json!({}));
        let sealed = self.post(&alice, "/v1/keys/own-aes/encrypt", json!({ "plaintext": "aGVsbG8=" }));
        let signed = self.post(&alice, "/v1/keys/own-key/sign", json!({ "message": "aGVsbG8=" }));
        let request = Request::get("/v1/audit?limit=1").header("authorization", format!("Bearer {alice}"));
        let page: Value = serde_json::from_slice(self.answer(request.body(Bytes::new()).unwrap()).body()).unwrap();
        self.words = vec![
            ("$alice", alice),
            ("$bot", text(&issued, "token")),
            ("$agent", agent),
            ("$credential", text(&issued, "id")),
            ("$ownkey", own_key),
            ("$ownaes", own_aes),
            ("$otherkey", other_key),
            ("$ciphertext", text(&sealed, "ciphertext")),
            ("$signature", text(&signed, "signature")),
            ("$record", text(&page["items"][0], "id")),
            ("$idtoken", self.id_token("bob@org", "2")),
        ];
        self.beginning.reset_to(&self.store);
    }

    /// What a word of an input stands for.
    pub fn word(&self, name: &str) -> &str {
        self.words.iter().find(|(word, _)| *word == name).map(|(_, meaning)| meaning.as_str()).unwrap()
    }

    /// What a login at the provider would bring. The same each time.
    pub fn id_token(&self, human: &str, jti: &str) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.provider_jwk.common.key_id });
        let claims = json!({
            "iss": ISSUER, "sub": human, "aud": "aegis", "iat": NOW, "exp": NOW + 300, "auth_time": NOW,
            "amr": ["pwd"], "roles": ["admin", "auditor", "operator", "user"], "jti": jti,
        });
        self.provider.sign(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Makes everything as it was at the beginning, with these keys beside the provider's own.
    pub fn reset(&self, foreign: Vec<Jwk>) {
        self.store.reset_to(&self.beginning);
        self.ids.store(1 << 20, Ordering::Relaxed);
        *self.foreign.others.lock().unwrap() = foreign;
    }

    pub fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.runtime.block_on(handle(&self.host, request, [127, 0, 0, 1].into()))
    }

    fn post(&self, token: &str, path: &str, body: Value) -> Value {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        let response = self.answer(request.body(Bytes::from(body.to_string())).unwrap());
        assert!(response.status().is_success(), "{path}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap()
    }
}

impl Default for Deployment {
    fn default() -> Self {
        Self::new()
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {value}")).to_string()
}

/// The provider's key set, as somebody else wrote it.
struct ForeignKeys {
    own: Jwk,
    others: Mutex<Vec<Jwk>>,
}

#[async_trait]
impl ProviderKeys for ForeignKeys {
    async fn find(&self, kid: &str, _: Timestamp) -> Result<Option<Jwk>, Error> {
        let others = self.others.lock().unwrap();
        let mut all = others.iter().chain([&self.own]);
        Ok(all.find(|jwk| jwk.common.key_id.as_deref() == Some(kid)).cloned())
    }
}
