//! What each check costs by itself: called over and over in this process, warm, on a store of its own.

use aegis_core::id::{CredentialId, KeyId, RequestId};
use aegis_core::key::KeyRecord;
use aegis_core::operation::Operation;
use aegis_core::operations::key_use::{SignRequest, sign};
use aegis_core::pipeline::{self, Permit, Request, Target};
use aegis_core::policy::Resource;
use aegis_core::record::Plane;
use aegis_core::repository;
use aegis_core::risk::{self, Observation};
use aegis_core::store::{ItemKey, Store};
use aegis_core::{agent, deployment as stored, human, journal};
use aegis_tests::deployment::Deployment;
use aegis_tests::{message, text};
use serde_json::json;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

/// In microseconds.
pub(crate) struct Checks {
    pub(crate) identify: f64,
    pub(crate) rate: f64,
    pub(crate) read: f64,
    pub(crate) authorize: f64,
    pub(crate) score: f64,
    pub(crate) sign: f64,
    pub(crate) record: f64,
}

impl Checks {
    /// What Aegis does and a server that only signs does not; without what the thread of the store does.
    pub(crate) fn ours(&self) -> f64 {
        self.identify + self.rate + self.read + self.authorize + self.score + self.record
    }

    pub(crate) fn measure(algorithm: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Self::of(algorithm))
    }

    async fn of(algorithm: &str) -> Self {
        let deployment = Deployment::new().await;
        let alice = deployment.alice().await;
        let key = text(&deployment.key(&alice, "bench-key", algorithm).await, "id");
        let (_, token) = deployment.agent(&alice, "key:bench-key:sign", json!({})).await;
        let body = payload().to_string();
        let app = deployment.host.app.as_ref();
        let request = Request {
            id: RequestId::new(app.clock.now(), &app.entropy),
            arrived_at: app.clock.precise(),
            token: app.tokens.look_up(&token),
            operation: Operation::KeySign,
            target: Target::Key(key.parse().unwrap()),
            plane: Plane::Rest,
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: None,
            claims: None,
            body: Some(body.as_bytes()),
            idempotency_key: None,
        };
        let permit = pipeline::admit(app, &request).await.unwrap();
        let (now, claims) = (app.clock.now(), Arc::clone(&permit.facts().claims));
        let input: SignRequest = serde_json::from_str(&body).unwrap();
        pipeline::perform(app, &request, &permit, |_| sign(app, &permit, &input)).await.unwrap();
        let record = journal::find(app.store.as_ref(), permit.id()).await.unwrap().unwrap();
        let key = KeyId::try_from(key).unwrap();
        Self {
            identify: time(async || drop(black_box(app.tokens.verify(&token, now).unwrap()))).await,
            rate: time(async || app.throttle.count(&claims, now).unwrap()).await,
            read: time(async || read(app.store.as_ref(), &permit, &claims.jti, &key).await).await,
            authorize: time(async || {
                let resource = Resource::Key(&permit.key().unwrap().key);
                permit.facts().decide(Operation::KeySign, &resource, now).unwrap();
            })
            .await,
            score: time(async || {
                let scope = claims.authorization_details.as_ref();
                let (scope_breadth, credential_issued_at) = (scope.map(|scope| scope.breadth()), now);
                black_box(risk::score(&Observation {
                    scope_breadth,
                    credential_issued_at,
                    environment: None,
                    key: None,
                    now,
                    detection_lag: None,
                    behaviour: None,
                }));
            })
            .await,
            sign: time(async || drop(black_box(sign(app, &permit, &input).await.unwrap()))).await,
            record: time(async || {
                let operation = Operation::KeySign.as_str();
                black_box(app.digest_key.request(operation, Some(&key), request.body.unwrap_or_default()));
                black_box(journal::put(app.store.as_ref(), &record).unwrap());
            })
            .await,
        }
    }
}

/// What a decision rests on, named, read and parsed, as the pipeline does it.
async fn read(store: &dyn Store, permit: &Permit, credential: &CredentialId, key: &KeyId) {
    let facts = permit.facts();
    let agents = facts.chain.iter().map(|agent| repository::agent_item(&agent.value.id));
    let items: Vec<ItemKey> = [
        repository::credential_item(credential),
        repository::human_item(&facts.human.id),
        repository::deployment_item(),
        repository::key_item(key),
    ]
    .into_iter()
    .chain(agents)
    .collect();
    let found = store.batch_get(&items).await.unwrap();
    let [credential, human, deployment, key, agent] = items.as_slice() else { panic!("a chain of one agent") };
    black_box(repository::share::<agent::Credential>(found.find(credential).unwrap()).unwrap());
    black_box(repository::share::<human::Human>(found.find(human).unwrap()).unwrap());
    black_box(repository::share::<stored::Deployment>(found.find(deployment).unwrap()).unwrap());
    black_box(repository::share::<KeyRecord>(found.find(key).unwrap()).unwrap());
    black_box(repository::share::<agent::Agent>(found.find(agent).unwrap()).unwrap());
}

/// Of one call, in the batch that a tenth of all were faster than: in the others something else took the processor, where
/// the machine is not quiet.
async fn time(mut call: impl AsyncFnMut()) -> f64 {
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let begun = Instant::now();
        for _ in 0..CALLS {
            call().await;
        }
        batches.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    batches.sort_by(f64::total_cmp);
    batches.get(batches.len() / 10).copied().unwrap_or(f64::NAN)
}

/// What is signed.
pub(crate) fn payload() -> serde_json::Value {
    message(b"an invoice of ordinary length, to be signed: 2026-001, Nordlicht Energie, 1,234.00 EUR")
}

const BATCHES: usize = 301;
const CALLS: u32 = 10;
