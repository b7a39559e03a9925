//! What stands before the API: certificates, and proxies.

use aegis_tests::process::Process;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

#[test]
fn on_sighup_the_certificate_is_read_again_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aegis.toml");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&config, format!("tls_cert = {cert:?}\ntls_key = {key:?}\n")).unwrap();
    let first = certificate(&cert, &key);
    let mut server = Process::start_with(&folder.path().join("data"), &config);
    assert!(server.url.starts_with("https://"));
    assert!(answers(&server, &first));

    let second = certificate(&cert, &key);
    assert!(!answers(&server, &second), "not before it is told to");
    server.signal("HUP");
    wait_until(|| answers(&server, &second));
    assert!(!answers(&server, &first));

    // A certificate without its key, and then none at all: the one there was stays, and the server, too.
    std::fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    server.signal("HUP");
    server.wait_for_log("certificate not read again");
    std::fs::remove_file(&cert).unwrap();
    server.signal("HUP");
    server.wait_for_log("certificate not read again");
    assert!(answers(&server, &second));
    let third = certificate(&cert, &key);
    server.signal("HUP");
    wait_until(|| answers(&server, &third));
    assert!(server.terminate());
}

#[test]
fn who_is_behind_a_proxy_only_a_trusted_proxy_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aegis.toml");
    for (settings, want) in [("", "127.0.0.1"), ("trusted_proxies = ['127.0.0.0/8', '10.0.0.7']\n", "203.0.113.9")] {
        std::fs::write(&config, settings).unwrap();
        let data = folder.path().join(want);
        let server = Process::start_with(&data, &config);
        server.enrol();
        let alice = server.log_in();
        // What the client wrote, what the outer proxy added, what the inner one added.
        let asked = aegis_tests::process::plain()
            .get(format!("{}/v1/audit?limit=1", server.url))
            .header("authorization", format!("Bearer {alice}"))
            .header("x-forwarded-for", "198.51.100.66, 203.0.113.9")
            .header("x-forwarded-for", "10.0.0.7");
        assert_eq!(asked.call().unwrap().status(), 200);
        let records = server.get(&alice, "/v1/audit?op=audit.query").ok();
        assert_eq!(records["items"][0]["source"], want, "{records}");
    }
    std::fs::write(&config, "trusted_proxies = ['0.0.0.0/0']\n").unwrap();
    let refused = Process::try_start_with(&folder.path().join("none"), &["--config", config.to_str().unwrap()]);
    assert_eq!(refused.err().unwrap().status.code(), Some(2));
}

/// A fresh one for this machine, in its files.
fn certificate(cert: &Path, key: &Path) -> Certificate<'static> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    std::fs::write(cert, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    Certificate::from_der(made.cert.der()).to_owned()
}

/// Whether a new connection meets this certificate.
fn answers(server: &Process, certificate: &Certificate<'static>) -> bool {
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(std::slice::from_ref(certificate)))
        .build();
    let client: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
    client.get(format!("{}/healthz", server.url)).call().is_ok()
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}
