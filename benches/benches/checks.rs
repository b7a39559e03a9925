//! What the checks of a request cost in this process: no HTTP, no disk, one thread. Reported, never asserted.
//!
//! The goal is 60 us at most for the whole of a signature with Ed25519, warm: identified, authorized by Cedar, signed,
//! recorded.

#![expect(clippy::unwrap_used, reason = "a measuring tool: what fails ends it")]

use aegis_core::agent::Purpose;
use aegis_core::ambient::Timestamp;
use aegis_core::deployment::PolicyDocument;
use aegis_core::human::Role;
use aegis_core::id::{AgentId, CredentialId, KeyId, RequestId};
use aegis_core::key::KeyRecord;
use aegis_core::name::HumanId;
use aegis_core::operation::Operation;
use aegis_core::pipeline::{self, Request, Target};
use aegis_core::policy::{AgentFacts, BUILT_IN, FIRST_POLICY, Policies, Principal, Resource, Standing};
use aegis_core::record::Plane;
use aegis_core::repository;
use aegis_core::token::{Act, Claims, Epochs, TokenKeys};
use aegis_functions::handle;
use aegis_tests::deployment::{BEGINNING, Deployment};
use aegis_tests::{message, text};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::json;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

criterion_main!(checks);
criterion_group! {
    name = checks;
    // The store in memory keeps every record: short enough to need no more than some 500 MB.
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = identify, authorize, whole
}

fn identify(criterion: &mut Criterion) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let fresh = || TokenKeys::new("urn:aegis:bench".into(), "aegis".into(), pkcs8.as_ref()).unwrap();
    let (keys, now) = (fresh(), Timestamp::from_second(BEGINNING).unwrap());
    let token = runtime().block_on(keys.sign(&claims())).unwrap();
    let mut group = criterion.benchmark_group("identify");
    group.bench_function("the signature is verified", |bencher| {
        bencher.iter_batched_ref(fresh, |keys| keys.verify(&token, now).unwrap(), BatchSize::SmallInput);
    });
    keys.verify(&token, now).unwrap();
    group.bench_function("the token is known", |bencher| bencher.iter(|| keys.verify(&token, now).unwrap()));
}

fn authorize(criterion: &mut Criterion) {
    let runtime = runtime();
    let signer = runtime.block_on(Signer::new());
    let policies = Policies::compile(&PolicyDocument {
        version: 1,
        cedar: FIRST_POLICY.into(),
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "aegis".into(),
        built_in: Some(BUILT_IN),
    });
    let policies = policies.unwrap();
    let key = repository::key_item(&KeyId::try_from(signer.key.clone()).unwrap());
    let record = runtime.block_on(repository::load::<KeyRecord>(signer.deployment.store.as_ref(), &key));
    let key = record.unwrap().unwrap().value.key;
    let (human, roles) = ("alice@org".parse::<HumanId>().unwrap(), [Role::User].into());
    let decide = |agent: &AgentId| {
        let agent = AgentFacts { id: agent, sponsor: &human, purpose: Purpose::Interactive, parent: None };
        let principal = Principal { human: &human, roles: &roles, agent: Some(agent) };
        let standing =
            Standing { in_scope: true, in_window: true, may_delegate: false, may_create_keys: false, may_audit: false };
        policies.decide(&principal, Operation::KeySign, &Resource::Key(&key), standing).unwrap();
    };
    let mut group = criterion.benchmark_group("authorize");
    let mut agents = (0_u64..).map(agent);
    group.bench_function("Cedar is asked", |bencher| {
        bencher.iter_batched(|| agents.next().unwrap(), |agent| decide(&agent), BatchSize::SmallInput);
    });
    let agent = agent(0);
    group.bench_function("the answer is remembered", |bencher| bencher.iter(|| decide(black_box(&agent))));
}

fn whole(criterion: &mut Criterion) {
    let runtime = runtime();
    let signer = runtime.block_on(Signer::new());
    let mut group = criterion.benchmark_group("pipeline");
    group.bench_function("admit", |bencher| {
        bencher.iter(|| runtime.block_on(signer.admit()));
    });
    group.bench_function("admit, sign with Ed25519, record", |bencher| {
        bencher.iter_batched(
            || signer.request(),
            |request| assert!(runtime.block_on(handle(&signer.deployment.host, request, HERE)).status().is_success()),
            BatchSize::SmallInput,
        );
    });
}

/// An agent that may sign, and has done so.
struct Signer {
    deployment: Deployment<aegis_core::store::memory::MemoryStore>,
    key: String,
    token: String,
    body: Bytes,
}

impl Signer {
    async fn new() -> Self {
        let deployment = Deployment::in_memory().await;
        let alice = deployment.alice().await;
        let key = text(&deployment.key(&alice, "bench-key", "Ed25519").await, "id");
        let (_, token) = deployment.agent(&alice, "key:bench-key:sign", json!({})).await;
        let body = Bytes::from(message(b"an invoice of ordinary length, to be signed: 2026-001").to_string());
        let signer = Self { deployment, key, token, body };
        assert!(handle(&signer.deployment.host, signer.request(), HERE).await.status().is_success());
        signer
    }

    fn request(&self) -> http::Request<Bytes> {
        http::Request::post(format!("/v1/keys/{}/sign", self.key))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(self.body.clone())
            .unwrap()
    }

    async fn admit(&self) {
        let app = &self.deployment.host.app;
        let request = Request {
            id: RequestId::new(app.clock.now(), &app.entropy),
            arrived_at: app.clock.precise(),
            token: app.tokens.look_up(&self.token),
            operation: Operation::KeySign,
            target: Target::Key(self.key.parse().unwrap()),
            plane: Plane::Rest,
            source: HERE,
            user_agent: None,
            claims: None,
            body: Some(&self.body),
            idempotency_key: None,
        };
        black_box(pipeline::admit(app, &request).await.unwrap());
    }
}

fn claims() -> Claims {
    Claims {
        iss: "urn:aegis:bench".into(),
        sub: "alice@org".parse().unwrap(),
        aud: "aegis".into(),
        client_id: "aegis".into(),
        iat: BEGINNING,
        nbf: BEGINNING,
        exp: BEGINNING + 3_600,
        jti: CredentialId::try_from(format!("crd_{:032x}", 7)).unwrap(),
        act: Act::of(&[agent(0)]),
        purpose: None,
        authorization_details: serde_json::from_value(json!([])).unwrap(),
        create_keys: false,
        audit: false,
        auth_time: None,
        amr: Vec::new(),
        epoch: Epochs::default(),
        via: Vec::new(),
        scope: None,
        cnf: None,
    }
}

fn agent(n: u64) -> AgentId {
    AgentId::try_from(format!("agt_{n:032x}")).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
