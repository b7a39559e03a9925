//! What the network and a busy AWS do to the other ports: what is away for good is said to be away, what comes back has done
//! what was asked, and no answer that says nothing is taken for one.

use crate::network::{Fault, Network};
use crate::ports::{at, claims, key, kms, permit_keys};
use crate::tables;
use aegis_aws::alerts::Alerts;
use aegis_aws::bus::{Bus, Event};
use aegis_aws::functions::Functions;
use aegis_aws::live::LiveTable;
use aegis_aws::permits::PermitKeyTable;
use aegis_aws::root::SealedRoot;
use aegis_aws::token::KmsTokenSigner;
use aegis_core::ambient::Entropy;
use aegis_core::error::Error;
use aegis_core::pipeline::{PermitKeys, PermitSigner, SharedCounters};
use aegis_core::token::{TokenKeys, TokenSigner};
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Each port, on one way to AWS.
struct Ports {
    alerts: Alerts,
    bus: Bus,
    functions: Functions,
    live: LiveTable,
    permits: PermitKeyTable,
    signer: KmsTokenSigner,
    kms: aws_sdk_kms::Client,
}

/// What of AWS they stand on.
#[derive(Clone, Debug)]
struct Names {
    topic: String,
    state: String,
    permits: String,
    token_key: String,
    root_key: String,
}

impl Ports {
    /// Where nothing passes there need be no emulator.
    async fn new(network: &Network, names: &Names) -> Self {
        let config = aegis_aws::config::from_environment().await.into_builder().http_client(network.clone());
        let config = match std::env::var("AEGIS_TEST_AWS_ENDPOINT") {
            Ok(endpoint) => config.endpoint_url(endpoint).build(),
            Err(_) => config.build(),
        };
        // How many tries are left is counted for all clients of a process that are of one service: these count by themselves.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let own = || RetryPartition::new(format!("ports-{}", MADE.fetch_add(1, Ordering::Relaxed)));
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(&config).retry_partition(own());
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(dynamodb.build());
        let events = aws_sdk_eventbridge::config::Builder::from(&config).retry_partition(own());
        let kms = aws_sdk_kms::config::Builder::from(&config).retry_partition(own());
        let kms = aws_sdk_kms::Client::from_conf(kms.build());
        let sns = aws_sdk_sns::config::Builder::from(&config).retry_partition(own());
        Self {
            alerts: Alerts::new(aws_sdk_sns::Client::from_conf(sns.build()), names.topic.clone()),
            bus: Bus::new(aws_sdk_eventbridge::Client::from_conf(events.build()), "default".to_string()),
            functions: Functions::new(aegis_aws::lambda(&config), "aegis-".to_string()),
            live: LiveTable::new(dynamodb.clone(), names.state.clone()),
            permits: PermitKeyTable::new(dynamodb, names.permits.clone()),
            signer: KmsTokenSigner::new(kms.clone(), names.token_key.clone()),
            kms,
        }
    }

    async fn call(&self, call: Call) -> Result<(), Error> {
        match call {
            Call::Count => self.live.count(ACTORS, at(0)).await.map(|_| ()),
            Call::Look => self.live.look(ACTORS, at(0)).await.map(|_| ()),
            Call::Find => self.permits.find("kid").await.map(|_| ()),
            Call::Publish => self.permits.publish(PermitSigner::generate(at(0)).unwrap().key()).await,
            Call::Sign => self.signer.sign(b"x").await.map(|_| ()),
            Call::PublicKey => self.signer.public_key().await.map(|_| ()),
            Call::Open => root().open(&self.kms, "root").await.map(|_| ()),
            Call::Put => self.bus.put(&[event()]).await.map(|_| ()),
            Call::Tell => self.alerts.tell("x", "y").await,
            Call::Invoke => self.functions.call("op-key-sign", Vec::new()).await.map(|_| ()),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    Count,
    Look,
    Find,
    Publish,
    Sign,
    PublicKey,
    Open,
    Put,
    Tell,
    Invoke,
}

/// Who is away, and how many requests it is at once.
const CALLS: [(Call, &str, usize); 10] = [
    (Call::Count, "the store", 4),
    (Call::Look, "the store", 4),
    (Call::Find, "the store", 1),
    (Call::Publish, "the store", 1),
    (Call::Sign, "the KMS", 1),
    (Call::PublicKey, "the KMS", 1),
    (Call::Open, "the KMS", 1),
    (Call::Put, "the bus", 1),
    (Call::Tell, "the alerts topic", 1),
    (Call::Invoke, "the operation's function", 1),
];

const ACTORS: [&str; 2] = ["agt_1", "fleet/alice@org"];

fn event() -> Event {
    Event { kind: "AuditRecord", detail: "{}".to_string() }
}

fn root() -> SealedRoot {
    let key = json!({ "kty": "EC", "crv": "P-256", "x": "", "y": "", "kid": "k" });
    let root = json!({ "deployment": "dep_1", "token_key": key, "token_key_id": "token", "sealed": "c2VhbGVk" });
    serde_json::from_value(root).unwrap()
}

fn names() -> Names {
    let [topic, state, permits, token_key, root_key] =
        ["arn:aws:sns:us-east-1:000000000000:t", "state", "permits", "token", "root"].map(ToString::to_string);
    Names { topic, state, permits, token_key, root_key }
}

/// As the protocol of each has it.
fn refused(call: Call, status: u16, code: &str) -> Fault {
    let body = match call {
        Call::Tell => format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>"),
        _ => format!(r#"{{"__type":"{code}","code":"{code}","message":"not now"}}"#),
    };
    Fault::Answer(status, body)
}

fn throttled(call: Call) -> Fault {
    refused(call, 400, "ThrottlingException")
}

/// What is tried again by itself is tried three times, for eight seconds at most. Time stands still while nobody waits for it.
#[tokio::test(start_paused = true)]
async fn what_stays_away_is_said_to_be_away_in_bounded_time() {
    for (call, dependency, at_once) in CALLS {
        let faults = [
            (throttled(call), true),
            (refused(call, 500, "InternalServerError"), true),
            (Fault::LostRequest, true),
            (Fault::Silence, true),
            (refused(call, 400, "AccessDeniedException"), false),
        ];
        for (fault, again) in faults {
            let network = Network::default();
            network.always(fault.clone());
            let ports = Ports::new(&network, &names()).await;
            let began = Instant::now();
            let failed = ports.call(call).await.unwrap_err();
            let Error::Unavailable { dependency: away, .. } = failed else { panic!("{call:?} {fault:?}: {failed}") };
            assert_eq!(away, dependency, "{call:?} {fault:?}");
            // A function may have acted: it is given its time, once.
            let (tries, seconds) = match call {
                Call::Invoke => (1..=1, 15),
                _ if !again => (1..=1, 8),
                // A third begins if there is time left.
                _ if fault == Fault::Silence => (2..=3, 8),
                _ => (3..=3, 8),
            };
            let asked = network.asked().len();
            let bounds = tries.start() * at_once..=tries.end() * at_once;
            // The first half that fails for good ends the other.
            let least = if at_once > 1 { *tries.start() } else { *bounds.start() };
            assert!((least..=*bounds.end()).contains(&asked), "{call:?} {fault:?}: asked {asked} times");
            assert!(began.elapsed() <= Duration::from_secs(seconds), "{call:?} {fault:?}: {:?}", began.elapsed());
        }
    }
}

/// An answer that lacks what was asked for is none: no counter that says nobody asked, no signature, no root.
#[tokio::test(start_paused = true)]
async fn an_answer_that_says_nothing_is_not_taken_for_one() {
    for call in [Call::Count, Call::Sign, Call::PublicKey, Call::Open] {
        let network = Network::default();
        network.always(Fault::Answer(200, "{}".to_string()));
        let ports = Ports::new(&network, &names()).await;
        let failed = ports.call(call).await.unwrap_err();
        assert!(matches!(failed, Error::Damaged { .. } | Error::Unavailable { .. }), "{call:?}: {failed}");
    }
    let network = Network::default();
    network.always(Fault::Answer(200, "{}".to_string()));
    let ports = Ports::new(&network, &names()).await;
    assert_eq!(ports.bus.put(&[event()]).await.unwrap(), [false], "nobody said that it is there");
    // Of a key of which half is there nothing can be checked.
    let half = r#"{"Item":{"pk":{"S":"kid"},"public":{"B":"AAAA"}}}"#;
    for item in [half, "{}"] {
        network.always(Fault::Answer(200, item.to_string()));
        assert_eq!(ports.permits.find("kid").await.unwrap(), None, "{item}");
    }
}

/// Once, before it was done or after, and what is to be had from it all the same. A write whose answer was lost is made again,
/// where making it twice is the same as once, or where this is said: a counter counts too much, and people are told twice.
#[tokio::test]
async fn what_comes_back_has_done_what_was_asked() {
    let names = made("faults").await;
    let faults: [(&str, OfCall, bool); 5] = [
        ("throttled", throttled, false),
        ("failed", |call| refused(call, 500, "InternalServerError"), false),
        ("lost", |_| Fault::LostRequest, false),
        ("answer lost", |_| Fault::LostAnswer, true),
        ("failed once it was done", |call| done(&refused(call, 500, "InternalServerError")), true),
    ];
    join_all(faults.map(|(what, fault, twice)| meets(what, fault, twice, &names))).await;
}

fn done(answer: &Fault) -> Fault {
    match answer {
        Fault::Answer(status, body) => Fault::FalseAnswer(*status, body.clone()),
        other => other.clone(),
    }
}

/// A fault, as the protocol of a call has it.
type OfCall = fn(Call) -> Fault;

async fn meets(what: &str, fault: OfCall, twice: bool, names: &Names) {
    let network = Network::default();
    let ports = Ports::new(&network, names).await;
    let again = |operation: &str| assert_eq!(network.asked(), [operation, operation], "{what}");

    let actors = ["agent", "fleet"].map(|kind| format!("{kind} of {what}"));
    let actors = actors.each_ref().map(String::as_str);
    network.plan("UpdateItem", [fault(Call::Count)]);
    let counted = ports.live.count(actors, at(0)).await.unwrap().map(|live| live.minute);
    assert_eq!(counted, [1 + u32::from(twice), 1], "{what}");
    network.plan("GetItem", [fault(Call::Look)]);
    let looked = ports.live.look(actors, at(0)).await.unwrap().map(|live| live.minute);
    assert_eq!(looked, counted.map(|count| count + 1), "{what}");
    network.asked();
    // Whether it was taken back nobody knows: it is not taken back twice.
    network.plan("UpdateItem", [fault(Call::Count), fault(Call::Count)]);
    ports.live.take_back(actors, at(0)).await.unwrap_err();
    assert_eq!(network.asked(), ["UpdateItem", "UpdateItem"], "{what}");

    let permits = PermitSigner::generate(at(0)).unwrap();
    network.plan("PutItem", [fault(Call::Publish)]);
    ports.permits.publish(permits.key()).await.unwrap();
    again("PutItem");
    network.plan("GetItem", [fault(Call::Find)]);
    assert_eq!(ports.permits.find(&permits.key().kid).await.unwrap().as_ref(), Some(permits.key()), "{what}");
    again("GetItem");

    network.plan("GetPublicKey", [fault(Call::PublicKey)]);
    let jwk = ports.signer.public_key().await.unwrap();
    again("GetPublicKey");
    let signer = Arc::new(ports.signer.clone());
    let keys = TokenKeys::with_signer("urn:aegis:test".into(), "aegis".into(), signer, jwk.clone()).unwrap();
    network.plan("Sign", [fault(Call::Sign)]);
    let token = keys.sign(&claims()).await.unwrap();
    assert_eq!(keys.verify(&token, at(0)).unwrap().jti, claims().jti, "{what}");
    again("Sign");

    let store = tables::store(&network).await;
    network.asked();
    network.plan("Encrypt", [fault(Call::Open)]);
    network.plan("PutItem", [fault(Call::Publish)]);
    let make = || async {
        let token = (names.token_key.as_str(), &jwk);
        SealedRoot::read_or_make(&store, &ports.kms, &names.root_key, token, &Entropy::system()).await
    };
    let made = make().await.unwrap();
    assert_eq!(network.asked(), ["GetItem", "Encrypt", "Encrypt", "PutItem", "PutItem"], "{what}");
    assert_eq!(make().await.unwrap().deployment, made.deployment, "{what}");
    let opened = made.open(&ports.kms, &names.root_key).await.unwrap();
    network.asked();
    network.plan("Decrypt", [fault(Call::Open)]);
    assert_eq!(made.open(&ports.kms, &names.root_key).await.unwrap().kek, opened.kek, "{what}");
    again("Decrypt");

    // Both know an event by the id of its record.
    network.plan("PutEvents", [fault(Call::Put)]);
    assert_eq!(ports.bus.put(&[event()]).await.unwrap(), [true], "{what}");
    again("PutEvents");
    network.plan("Publish", [fault(Call::Tell)]);
    ports.alerts.tell("x", "y").await.unwrap();
    again("Publish");
}

/// Each waits for the time limit of an attempt, all at once.
#[tokio::test]
async fn what_is_never_answered_is_asked_again_in_time() {
    let names = made("silence").await;
    let calls = [
        (Call::Count, "UpdateItem"),
        (Call::Publish, "PutItem"),
        (Call::Sign, "Sign"),
        (Call::Put, "PutEvents"),
        (Call::Tell, "Publish"),
    ];
    join_all(calls.map(|(call, operation)| {
        let names = names.clone();
        async move {
            let network = Network::default();
            let ports = Ports::new(&network, &names).await;
            network.plan(operation, [Fault::NoAnswer]);
            ports.call(call).await.unwrap();
            network.asked();
        }
    }))
    .await;
    let ports = Ports::new(&Network::default(), &names).await;
    let counted = ports.live.look(ACTORS, at(0)).await.unwrap();
    assert_eq!(counted.map(|live| live.minute), [3, 2], "one of them twice, and one more each");
}

async fn made(name: &str) -> Names {
    let keys = kms().await;
    Names {
        topic: topic(name).await,
        state: tables::named(&Network::default()).await.1.state,
        permits: permit_keys(&format!("permit-keys-{name}")).await,
        token_key: key(&keys, KeySpec::EccNistP256, KeyUsageType::SignVerify).await,
        root_key: key(&keys, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await,
    }
}

async fn topic(name: &str) -> String {
    let config = aegis_aws::config::from_environment().await.into_builder();
    let config = config.endpoint_url(std::env::var("AEGIS_TEST_AWS_ENDPOINT").unwrap());
    let made = aegis_aws::sns(&config.build()).create_topic().name(name).send().await.unwrap();
    made.topic_arn.unwrap()
}

/// Whoever is told that another was first has the root of that one, and without KMS or the store nobody has any.
#[tokio::test]
async fn a_root_is_made_by_whoever_is_first_and_not_in_part() {
    let keys = kms().await;
    let root_key = key(&keys, KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt).await;
    let jwk = root().token_key;
    let network = Network::default();
    let ports = Ports::new(&network, &names()).await;
    let store = tables::store(&network).await;
    network.asked();
    let make =
        || async { SealedRoot::read_or_make(&store, &ports.kms, &root_key, ("token", &jwk), &Entropy::system()).await };
    let conflict = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}"#;
    let denied = || refused(Call::Publish, 400, "AccessDeniedException");
    for (operation, fault, dependency) in
        [("GetItem", denied(), "the store"), ("Encrypt", denied(), "the KMS"), ("PutItem", denied(), "the store")]
    {
        network.plan(operation, [fault]);
        let failed = make().await.unwrap_err();
        assert!(matches!(failed, Error::Unavailable { dependency: away, .. } if away == dependency), "{failed}");
        network.asked();
        assert!(SealedRoot::read(&store).await.unwrap().is_none(), "{operation}");
        network.asked();
    }
    // Another's is said to be there, and is not: it may be a moment later.
    network.plan("PutItem", [Fault::Answer(400, conflict.to_string())]);
    assert!(matches!(make().await, Err(Error::Contended)));
    network.plan("PutItem", [Fault::FalseAnswer(400, conflict.to_string())]);
    let made = make().await.unwrap();
    assert_eq!(SealedRoot::read(&store).await.unwrap().unwrap().deployment, made.deployment);
}
