use super::super::certificate::TlsFiles;
use super::super::listen::{self, Bounds};
use super::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn an_issuer_is_https_or_this_machine() {
    let table = [
        ("https://login.example", true),
        ("https://login.example/tenant/", true),
        ("http://127.0.0.1:3000", true),
        ("http://[::1]:3000", true),
        ("http://localhost:3000/realms/x", true),
        ("http://login.example", false),
        ("http://127.0.0.1.login.example", false),
        ("http://localhost@login.example", false),
        ("https://", false),
        ("https://login.example?tenant=x", false),
        ("https://login.example#x", false),
        ("login.example", false),
        ("file:///etc/passwd", false),
    ];
    for (text, want) in table {
        assert_eq!(Issuer::try_from(text.to_string()).is_ok(), want, "{text}");
    }
}

#[tokio::test]
async fn made_up_ids_make_the_provider_be_asked_at_most_once_in_thirty_seconds() {
    let provider = Fake::with(&["a"]);
    provider.check("a", 0, Ok(true)).await;
    for n in 0..100 {
        provider.check(&format!("made-up-{n}"), n % 30, Ok(false)).await;
    }
    assert_eq!(provider.asked(), 1);
    provider.check("made-up", 30, Ok(false)).await;
    provider.check("made-up", 59, Ok(false)).await;
    assert_eq!(provider.asked(), 2);
    provider.check("a", 59, Ok(true)).await;
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_ends() {
    let provider = Fake::with(&["a"]);
    provider.check("a", 0, Ok(true)).await;
    provider.publish(&["b"]);
    provider.check("b", 29, Ok(false)).await;
    provider.check("b", 30, Ok(true)).await;
    provider.check("a", 31, Ok(false)).await;

    provider.publish(&["c"]);
    provider.check("b", 629, Ok(true)).await;
    provider.check("b", 630, Ok(false)).await;
    provider.check("c", 630, Ok(true)).await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_told_from_a_key_that_is_not_there() {
    let provider = Fake::with(&["a"]);
    provider.go_down();
    provider.check("a", 0, Err(())).await;
    provider.check("a", 29, Err(())).await;
    assert_eq!(provider.asked(), 1);
    provider.publish(&["a"]);
    provider.check("a", 30, Ok(true)).await;
    provider.go_down();
    // What is known goes on, until it is too old.
    provider.check("a", 629, Ok(true)).await;
    provider.check("b", 629, Err(())).await;
    provider.check("a", 631, Err(())).await;
    provider.publish(&["a"]);
    provider.check("a", 659, Ok(true)).await;
}

#[tokio::test]
async fn a_clock_set_back_keeps_no_key_alive() {
    let provider = Fake::with(&["a"]);
    provider.check("a", 10_000, Ok(true)).await;
    provider.publish(&["b"]);
    provider.check("a", 0, Ok(false)).await;
}

#[tokio::test]
async fn callers_who_come_together_ask_once_and_one_who_leaves_undoes_nothing() {
    let provider = Arc::new(Fake::with(&["a"]));
    let gone = provider.keys.find("a", at(0));
    // Polled once, as by a client who hangs up.
    let mut gone = Box::pin(gone);
    std::future::poll_fn(|context| {
        let _ = gone.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
    drop(gone);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let provider = Arc::clone(&provider);
            tokio::spawn(async move { provider.check("a", 0, Ok(true)).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(provider.asked(), 1);
}

#[test]
fn keys_are_found_through_discovery_and_unknown_kinds_do_not_hide_them() {
    let site = Site::start(|base| {
        let keys = json!([
            { "kty": "from-the-future", "kid": 7 }, "nonsense", { "kty": "EC", "crv": "P-512", "kid": "x" }, key("a"),
        ]);
        [
            ("/.well-known/openid-configuration", page(&json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }))),
            ("/keys", page(&json!({ "keys": keys }))),
        ]
    });
    let keys = source(&site.base).fetch().unwrap();
    assert!(keys.iter().any(|jwk| jwk.common.key_id.as_deref() == Some("a")));
}

#[test]
fn what_a_provider_must_not_answer_is_refused() {
    let table: [(&str, Pages); 6] = [
        ("calls itself", |base| {
            let other = format!("{base}/");
            let document = json!({ "issuer": other, "jwks_uri": format!("{base}/keys") });
            [(DISCOVERY, page(&document)), ("/keys", page(&json!({ "keys": [] })))]
        }),
        ("not private", |base| {
            let document = json!({ "issuer": base, "jwks_uri": "http://keys.example/" });
            [(DISCOVERY, page(&document)), ("/keys", page(&json!({ "keys": [] })))]
        }),
        ("answered 302", |base| {
            let moved = format!("HTTP/1.1 302 Found\r\nlocation: {base}/keys\r\ncontent-length: 0\r\n\r\n");
            [(DISCOVERY, moved), ("/keys", page(&json!({ "issuer": base, "jwks_uri": base })))]
        }),
        ("answered 500", |_| {
            let broken = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_string();
            [(DISCOVERY, broken), ("/keys", String::new())]
        }),
        ("not what it should be", |_| [(DISCOVERY, page(&json!(["nonsense"]))), ("/keys", String::new())]),
        ("limit", |base| {
            let document = json!({ "issuer": base, "jwks_uri": base, "padding": "x".repeat(300_000) });
            [(DISCOVERY, page(&document)), ("/keys", String::new())]
        }),
    ];
    for (why, pages) in table {
        let site = Site::start(pages);
        let said = source(&site.base).fetch().unwrap_err().to_string();
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn nothing_is_sent_where_anyone_could_read_it() {
    for (issuer, address) in [("http://127.0.0.1:1", "http://login.example/"), ("https://[::1]:1", "http://[::1]:1/")] {
        let said = source(issuer).post_form(address, &[]).unwrap_err().to_string();
        assert!(said.contains("not private"), "{said}");
    }
}

#[test]
fn a_browser_is_led_nowhere_that_anyone_could_read() {
    let table = [
        ("http://127.0.0.1:1/authorize", "https://login.example/token", true),
        ("javascript:alert(1)", "https://login.example/token", false),
        ("http://login.example/authorize", "https://login.example/token", false),
        ("https://login.example/authorize", "http://login.example/token", false),
    ];
    for (authorization, token, want) in table {
        let site = Site::start(|base| {
            let document = json!({ "issuer": base, "authorization_endpoint": authorization, "token_endpoint": token });
            [(DISCOVERY, page(&document)), ("/keys", String::new())]
        });
        assert_eq!(source(&site.base).endpoints().is_ok(), want, "{authorization} {token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_only_the_authority_of_ca_file_vouches() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let other = folder.path().join("other.pem");
    std::fs::write(&other, rcgen::generate_simple_self_signed([]).unwrap().cert.pem()).unwrap();

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let discovery = json!({ "issuer": base, "jwks_uri": format!("{base}/keys") }).to_string();
    let keys = json!({ "keys": [key("a")] }).to_string();
    let router = axum::Router::new()
        .route(DISCOVERY, axum::routing::get(|| async { discovery }))
        .route("/keys", axum::routing::get(|| async { keys }));
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(listen::serve(
        listener,
        router,
        Some(tokio::sync::watch::channel(files.acceptor().unwrap()).1),
        Bounds::FEW,
        stopped,
    ));

    let fetched = |ca_file: &std::path::Path| {
        Source::new(Issuer::try_from(base.clone()).unwrap(), Some(ca_file)).map(|source| source.fetch())
    };
    assert_eq!(fetched(&files.cert).unwrap().unwrap().len(), 1);
    let said = fetched(&other).unwrap().unwrap_err().to_string();
    assert!(said.contains("certificate"), "{said}");
    assert!(matches!(fetched(&files.key), Err(Unusable(_))));
    assert!(matches!(fetched(&folder.path().join("missing.pem")), Err(Unusable(_))));
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn source(base: &str) -> Source {
    Source::new(Issuer::try_from(base.to_string()).unwrap(), None).unwrap()
}

fn page(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What a site answers under which path, given its address.
type Pages = fn(&str) -> [(&'static str, String); 2];

/// Answers on a loopback port with fixed pages, each connection once.
struct Site {
    base: String,
}

impl Site {
    fn start(pages: impl FnOnce(&str) -> [(&'static str, String); 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let pages: HashMap<&str, String> = pages(&base).into();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap_or_default();
                let gone = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_string();
                // A client that has read enough may be gone.
                let _ = stream.write_all(pages.get(path).unwrap_or(&gone).as_bytes());
            }
        });
        Self { base }
    }
}

/// A provider whose keys the test publishes.
struct Fake {
    keys: FetchedKeys,
    published: Arc<Mutex<Option<Vec<Jwk>>>>,
    asked: Arc<AtomicU32>,
}

impl Fake {
    fn with(kids: &[&str]) -> Self {
        let published = Arc::new(Mutex::new(None));
        let asked = Arc::new(AtomicU32::new(0));
        let (shown, count) = (Arc::clone(&published), Arc::clone(&asked));
        let keys = FetchedKeys::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            shown.lock().unwrap().clone().ok_or_else(|| "down".into())
        });
        let fake = Self { keys, published, asked };
        fake.publish(kids);
        fake
    }

    fn publish(&self, kids: &[&str]) {
        let keys = kids.iter().map(|kid| serde_json::from_value(key(kid)).unwrap()).collect();
        *self.published.lock().unwrap() = Some(keys);
    }

    fn go_down(&self) {
        *self.published.lock().unwrap() = None;
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether the key is found at that second, or the provider is needed and down.
    async fn check(&self, kid: &str, second: i64, want: Result<bool, ()>) {
        let found = self.keys.find(kid, at(second)).await;
        let got = match found {
            Ok(jwk) => Ok(jwk.is_some()),
            Err(Error::Unavailable { dependency, .. }) => {
                assert_eq!(dependency, "the identity provider");
                Err(())
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(got, want, "{kid} at {second}");
    }
}

fn key(kid: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": kid })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}
