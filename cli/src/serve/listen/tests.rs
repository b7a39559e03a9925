use super::super::certificate::TlsFiles;
use super::*;
use axum::extract::State;
use axum::routing::get;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::io::{Read, Write};
use std::net::TcpStream as Client;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

// The server has threads of its own: the test's blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_no_whole_head_in_time_is_closed() {
    let server = Running::start(None, SHORT).await;
    for sent in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = server.connect();
        client.write_all(sent.as_bytes()).unwrap();
        assert!(!rest(&mut client).contains("200 OK"), "{sent:?}");
    }
    // After an answer the next head has its time, too.
    let mut client = server.connect();
    client.write_all(REQUEST).unwrap();
    assert!(rest(&mut client).starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_waits_until_another_ends() {
    let server = Running::start(None, Bounds { connections: 1, ..Bounds::FEW }).await;
    let mut first = server.connect();
    ask(&mut first);
    let mut second = server.connect();
    second.write_all(REQUEST).unwrap();
    for asked in 2..100 {
        ask(&mut first);
        assert_eq!(server.answered.load(Ordering::SeqCst), asked);
    }
    drop(first);
    read_answer(&mut second);
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_finishes_what_is_under_way_and_takes_no_more() {
    let server = Running::start(None, Bounds::FEW).await;
    let (mut idle, mut busy) = (server.connect(), server.connect());
    ask(&mut idle);
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    wait_until(|| server.answered.load(Ordering::SeqCst) == 2);
    server.stop.send(true).unwrap();
    assert_eq!(rest(&mut idle), "");
    assert!(Client::connect(server.address).is_err());
    server.slow.notify_one();
    read_answer(&mut busy);
    server.serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (files, certificate) = certificate(folder.path());
    let server = Running::start(Some(files.acceptor().unwrap()), SHORT).await;
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let client: ureq::Agent = ureq::Agent::config_builder().tls_config(tls).proxy(None).build().into();
    let address = format!("https://127.0.0.1:{}/", server.address.port());
    assert_eq!(client.get(address).call().unwrap().status(), 200);

    let mut plain = server.connect();
    plain.write_all(REQUEST).unwrap();
    assert!(!rest(&mut plain).contains("200 OK"));
    // A handshake that does not go on ends as a head does.
    assert_eq!(rest(&mut server.connect()), "");
    assert_eq!(server.answered.load(Ordering::SeqCst), 1);
}

#[test]
fn files_that_are_no_certificate_with_its_key_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = certificate(folder.path());
    let other = tempfile::tempdir().unwrap();
    let (others, _) = certificate(other.path());
    let missing = folder.path().join("missing.pem");
    let table = [
        (&missing, &files.key, "missing.pem"),
        (&files.cert, &missing, "missing.pem"),
        (&files.key, &files.key, "key.pem"),
        (&files.cert, &files.cert, "cert.pem"),
        (&files.cert, &others.key, "cert.pem"),
    ];
    for (cert, key, named) in table {
        let files = TlsFiles { cert: cert.clone(), key: key.clone() };
        let said = files.acceptor().err().unwrap().to_string();
        assert!(said.contains(named), "{said}");
    }
}

const SHORT: Bounds = Bounds { connections: 8, head: Duration::from_millis(200) };
/// Far more than anything here takes.
const TOO_LONG: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

struct Running {
    address: SocketAddr,
    answered: Arc<AtomicU32>,
    /// Lets a request to `/slow` go on.
    slow: Arc<Notify>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(tls: Option<TlsAcceptor>, bounds: Bounds) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicU32::new(0));
        let slow = Arc::new(Notify::new());
        let released = Arc::clone(&slow);
        let wait = |state: State<Arc<AtomicU32>>, from: ConnectInfo<SocketAddr>| async move {
            let answer = peer(state, from).await;
            released.notified().await;
            answer
        };
        let router = Router::new().route("/", get(peer)).route("/slow", get(wait)).with_state(Arc::clone(&answered));
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, router, tls.map(|tls| watch::channel(tls).1), bounds, stopped));
        Self { address, answered, slow, stop, serving }
    }

    fn connect(&self) -> Client {
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(TOO_LONG)).unwrap();
        client
    }
}

async fn peer(State(answered): State<Arc<AtomicU32>>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    answered.fetch_add(1, Ordering::SeqCst);
    peer.to_string()
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < TOO_LONG);
        std::thread::yield_now();
    }
}

fn ask(client: &mut Client) {
    client.write_all(REQUEST).unwrap();
    read_answer(client);
}

/// Reads one answer: its body is the client's own address.
fn read_answer(client: &mut Client) {
    let own = client.local_addr().unwrap().to_string();
    let mut answer = Vec::new();
    while !answer.ends_with(own.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

/// All that comes until the server closes, which it must.
fn rest(client: &mut Client) -> String {
    let mut read = Vec::new();
    let end = client.read_to_end(&mut read);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(end.as_ref().err().is_none_or(reset), "{end:?}");
    String::from_utf8_lossy(&read).into_owned()
}

fn certificate(folder: &Path) -> (TlsFiles, Certificate<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    (files, Certificate::from_der(cert.der()).to_owned())
}
