//! What the network and a busy KMS do to calls. Nothing here reaches the emulator unless a fault lets it pass.

use crate::network::{Fault, Network};
use crate::setup::{client, first, in_state, invalid, key_id, refused, unavailable};
use aegis_core::algorithm::{Algorithm, MessageType};
use aegis_core::ambient::Entropy;
use aegis_core::keystore::{Context, KeyStore, KeyStoreError, Material};
use aegis_keystores::aws_kms::AwsKmsKeyStore;
use std::time::Duration;
use tokio::time::{Instant, advance};

fn answer(status: u16, code: &str) -> Fault {
    Fault::Answer(status, format!(r#"{{"__type":"{code}","message":"because"}}"#))
}

fn signed() -> Fault {
    Fault::Answer(200, r#"{"KeyId":"arn","Signature":"c2lnbmVk","SigningAlgorithm":"ECDSA_SHA_256"}"#.to_string())
}

fn material() -> Material {
    Material { sealed: b"arn:aws:kms:us-east-1:000000000000:key/one".to_vec(), public_key: None }
}

struct Faulty {
    network: Network,
    store: AwsKmsKeyStore,
}

impl Faulty {
    fn new() -> Self {
        let network = Network::default();
        let store = AwsKmsKeyStore::new(&client(&network, "us-east-1"), Entropy::system());
        Self { network, store }
    }

    async fn sign(&self) -> Result<Vec<u8>, KeyStoreError> {
        let id = key_id();
        self.store.sign(first(&id, Algorithm::EcdsaP256), &material(), MessageType::Raw, b"m").await
    }

    /// A signature that meets these faults; also how often it was asked for.
    async fn meets(&self, faults: Vec<Fault>) -> (Result<Vec<u8>, KeyStoreError>, usize) {
        self.network.plan("Sign", faults);
        let signed = self.sign().await;
        (signed, self.network.asked().len())
    }
}

/// What may be otherwise a moment later.
fn passing() -> [Fault; 5] {
    [
        answer(400, "ThrottlingException"),
        answer(500, "KMSInternalException"),
        answer(500, "DependencyTimeoutException"),
        Fault::Answer(503, String::new()),
        Fault::LostRequest,
    ]
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    for fault in passing() {
        let (result, asked) = Faulty::new().meets(vec![fault.clone(), fault.clone(), fault.clone(), signed()]).await;
        assert_eq!((result.unwrap(), asked), (b"signed".to_vec(), 4), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_not_waited_for_long() {
    let table = [
        ("because", answer(400, "ThrottlingException"), 4),
        ("because", answer(500, "KMSInternalException"), 4),
        ("cut", Fault::LostRequest, 4),
    ];
    for (about, fault, times) in table {
        let (began, faulty) = (Instant::now(), Faulty::new());
        let (result, asked) = faulty.meets(vec![fault.clone(); times]).await;
        unavailable(result, about);
        assert_eq!(asked, times, "{fault:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{fault:?}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_kms_keeps_nobody_waiting_beyond_the_deadline() {
    let (began, faulty) = (Instant::now(), Faulty::new());
    let (result, asked) = faulty.meets(vec![Fault::NoAnswer; 3]).await;
    unavailable(result, "timeout");
    assert_eq!(asked, 3);
    let waited = began.elapsed();
    assert!((Duration::from_secs(7)..=Duration::from_secs(9)).contains(&waited), "{waited:?}");
    // Slow once, it is asked again.
    let (result, asked) = faulty.meets(vec![Fault::NoAnswer, signed()]).await;
    assert_eq!((result.unwrap().as_slice(), asked), (b"signed".as_slice(), 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_final_is_asked_once() {
    let faulty = Faulty::new();
    for (code, state) in [
        ("DisabledException", "disabled"),
        ("KMSInvalidStateException", "pending deletion, or otherwise not usable"),
        ("NotFoundException", "gone"),
    ] {
        let (result, asked) = faulty.meets(vec![answer(400, code)]).await;
        in_state(result, state);
        assert_eq!(asked, 1, "{code}");
    }
    for code in ["AccessDeniedException", "InvalidKeyUsageException", "UnrecognizedClientException"] {
        let (result, asked) = faulty.meets(vec![answer(400, code)]).await;
        unavailable(result, code);
        assert_eq!(asked, 1, "{code}");
    }
    let (result, asked) = faulty.meets(vec![answer(400, "ValidationException")]).await;
    invalid(result, "does not take");
    assert_eq!(asked, 1);
    // None of it is an outage.
    faulty.meets(vec![signed()]).await.0.unwrap();
    let id = key_id();
    let version = first(&id, Algorithm::Aes256Gcm);
    for code in ["IncorrectKeyException", "InvalidCiphertextException"] {
        faulty.network.plan("Decrypt", [answer(400, code)]);
        refused(faulty.store.decrypt(version, &material(), &Context::new(), b"ciphertext").await);
    }
}

#[tokio::test(start_paused = true)]
async fn kms_is_left_alone_while_it_is_away() {
    let faulty = Faulty::new();
    for _ in 0..5 {
        unavailable(faulty.meets(vec![answer(500, "KMSInternalException"); 4]).await.0, "because");
    }
    let (result, asked) = faulty.meets(vec![]).await;
    unavailable(result, "left alone");
    assert_eq!(asked, 0);
    advance(Duration::from_secs(5)).await;
    let (result, asked) = faulty.meets(vec![signed()]).await;
    assert_eq!((result.unwrap().as_slice(), asked), (b"signed".as_slice(), 1));
    faulty.meets(vec![signed()]).await.0.unwrap();
    // Being throttled is no outage.
    for _ in 0..10 {
        unavailable(faulty.meets(vec![answer(400, "ThrottlingException"); 4]).await.0, "because");
    }
    faulty.meets(vec![signed()]).await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept() {
    let network = Network::default();
    let store = AwsKmsKeyStore::new(&client(&network, "us-east-1"), Entropy::system()).with_pace(2);
    let faulty = Faulty { network, store };
    let began = Instant::now();
    for _ in 0..5 {
        faulty.meets(vec![signed()]).await.0.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_names_a_key_that_may_not_be_seen_is_told_so() {
    let faulty = Faulty::new();
    let table = [
        ("AccessDeniedException", "does not let"),
        ("InvalidArnException", "by ARN"),
        ("ValidationException", "by ARN"),
    ];
    for (code, about) in table {
        faulty.network.plan("DescribeKey", [answer(400, code)]);
        invalid(faulty.store.register(Algorithm::Aes256Gcm, &"alias/x".parse().unwrap()).await, about);
    }
    let aws = r#"{"KeyMetadata":{"KeyId":"x","Arn":"arn","KeyManager":"AWS","KeyState":"Enabled"}}"#;
    faulty.network.plan("DescribeKey", [Fault::Answer(200, aws.to_string())]);
    invalid(faulty.store.register(Algorithm::Aes256Gcm, &"alias/aws/s3".parse().unwrap()).await, "AWS manages");
}

#[tokio::test]
async fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", Faulty::new().store), "AwsKmsKeyStore(..)");
}
