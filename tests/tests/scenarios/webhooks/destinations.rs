//! Where events are sent, and where they are not.

use super::*;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

#[tokio::test]
async fn an_address_that_is_never_sent_to_is_refused_when_it_is_given() {
    let world = World::new().await;
    let table = [
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "https://10.0.0.7/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://100.64.0.1/",
        "https://[fd12::1]/",
        "https://0.0.0.0/",
        "https://[::ffff:127.0.0.1]/",
        "http://hooks.example.org/",
        "http://10.0.0.7/",
        "https://alice:secret@hooks.example.org/",
        "https://hooks.example.org/#x",
        "ftp://hooks.example.org/",
        "hooks.example.org",
    ];
    for url in table {
        let asked = json!({ "url": url, "events": [{ "kind": "all" }] });
        let answer = world.deployment.post(&world.alice, "/v1/webhooks", asked).await;
        assert_eq!(answer.failed(400), "invalid-request", "{url}");
        assert_eq!(answer.body["title"], "invalid `url`", "{url}");
    }
    for events in [json!([]), json!([{ "kind": "rumours" }]), json!("all"), json!(null)] {
        let asked = json!({ "url": "https://hooks.example.org/", "events": events });
        assert_eq!(world.deployment.post(&world.alice, "/v1/webhooks", asked).await.status, 400, "{events}");
    }
}

/// A name may say anything; the system's resolver takes these for this machine.
#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let (world, authority) = (World::new().await, Authority::new(&["0x7f000001", "2130706433"]));
    for name in ["0x7f000001", "2130706433"] {
        let receiver = Receiver::secure(authority.server());
        let url = format!("https://{name}:{}/", receiver.port);
        let (webhook, _) = world.webhook_for(&url, json!([{ "kind": "key_use" }])).await;
        world.sign().await;
        let courier = authority.courier(&world.deployment, false);
        courier.turn().await.unwrap();
        courier.idle().await;
        let waiting = world.deliveries(&webhook, "pending").await;
        let error = text(&waiting[0], "error");
        assert!(error.starts_with("its address is one that webhooks are not sent to"), "{name}: {error}");
        assert_eq!(receiver.connections(), 0, "{name}");
        // So says the setting that allows it.
        world.deployment.pass(10);
        let courier = authority.courier(&world.deployment, true);
        courier.turn().await.unwrap();
        courier.idle().await;
        // It is counted once the receiver's thread has run, which the courier, turned away by TLS, does not wait for.
        receiver.wait_for_connection();
    }
}

#[tokio::test]
async fn only_a_receiver_with_a_trusted_certificate_gets_events() {
    let world = World::new().await;
    let (authority, other) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let receiver = Receiver::secure(authority.server());
    let url = format!("https://localhost:{}/", receiver.port);
    let (webhook, secret) = world.webhook_for(&url, json!([{ "kind": "key_use" }])).await;
    world.sign().await;
    for courier in [other.courier(&world.deployment, false), courier(&world.deployment, PATIENCE)] {
        courier.turn().await.unwrap();
        courier.idle().await;
        world.deployment.pass(400);
    }
    assert!(receiver.posts().is_empty());
    assert_eq!(world.deliveries(&webhook, "pending").await[0]["attempts"], 2);
    let courier = authority.courier(&world.deployment, false);
    courier.turn().await.unwrap();
    courier.idle().await;
    assert!(bears(&receiver.posts()[0], &secret));
    // A name that the certificate does not have.
    let named = format!("https://127.0.0.1:{}/", receiver.port);
    let (webhook, _) = world.webhook_for(&named, json!([{ "kind": "key_use" }])).await;
    world.sign().await;
    courier.turn().await.unwrap();
    courier.idle().await;
    let error = text(&world.deliveries(&webhook, "pending").await[0], "error");
    assert_eq!(error, "its certificate is not trusted, or TLS failed");
}

/// A certificate that vouches for itself.
struct Authority {
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Authority {
    fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Self { certificate: rcgen::generate_simple_self_signed(names).unwrap() }
    }

    fn server(&self) -> ServerConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.certificate.signing_key.serialize_der()));
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.cert.der().clone()], key)
            .unwrap()
    }

    fn courier(&self, deployment: &Deployment, private: bool) -> Courier {
        let root = Certificate::from_der(self.certificate.cert.der()).to_owned();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .root_certs(RootCerts::new_with_certs(&[root]))
            .build();
        let feed: Arc<dyn Feed> = deployment.store.clone();
        let poster = Poster::new(Some(tls), Reach { private, ..Reach::OWN_MACHINE }, Duration::from_secs(5));
        Courier::new(deployment.host.app.clone(), feed, poster, render)
    }
}
