//! What only bytes on a connection can say: how a request is framed, and where it ends.

use aegis_tests::process::Process;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn an_oddly_written_request_gets_one_clear_answer() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let long = format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100 * 1024));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    let table = [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET http://elsewhere.example/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
        ("GET http://elsewhere.example/v1/whoami HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 401),
        ("GET http://elsewhere.example HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("TRACE /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET /health z HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        ("GET /healthz HTTP/9.1\r\nHost: a\r\n\r\n", 400),
        (&long, 431),
        (&many, 431),
        // Where a body ends must not be a matter of opinion.
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}", 400),
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}", 400),
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}", 400),
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /v1/keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        ("POST /v1/keys HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ];
    for (request, want) in table {
        let answers = say(&server, request.as_bytes());
        assert_eq!(statuses(&answers), [want], "{}: {answers}", request.get(..90).unwrap_or(request));
    }
    // Who speaks HTTP/2 without asking is hung up on.
    assert_eq!(say(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
    assert_eq!(server.get("", "/healthz").status, 200);
}

#[test]
fn a_body_in_chunks_is_read_and_a_broken_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let head = "POST /local/token HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = r#"{"human":"a@o","passphrase":"not hers at all"}"#;
    let (first, rest) = body.split_at(10);
    let whole = format!("{:x}\r\n{first}\r\n{:X};ext=1\r\n{rest}\r\n0\r\nX: trailer\r\n\r\n", first.len(), rest.len());
    let huge = format!("100001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10_0001));
    let table: [(&str, u16); 7] = [
        (&whole, 401),
        ("0\r\n\r\n", 400),
        ("zz\r\n{}\r\n0\r\n\r\n", 400),
        ("-2\r\n{}\r\n0\r\n\r\n", 400),
        ("ffffffffffffffffff\r\n{}\r\n0\r\n\r\n", 400),
        ("2\r\n{}XX0\r\n\r\n", 400),
        (&huge, 413),
    ];
    for (chunks, want) in table {
        let answers = say(&server, format!("{head}{chunks}").as_bytes());
        assert_eq!(statuses(&answers), [want], "{}: {answers}", chunks.get(..40).unwrap_or(chunks));
        assert!(answers.contains(if want == 413 { "too-large" } else { "" }));
        if want == 400 {
            assert!(answers.contains("invalid-request"), "{chunks:?}: {answers}");
        }
    }
}

/// The second request is one only to who goes by the length; a connection with two opinions ends (RFC 9112 §6.1).
#[test]
fn a_request_hidden_in_another_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let hidden = "GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", 5 + hidden.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let table: [(&str, &[u16]); 3] = [
        (&format!("{length}{chunked}"), &[401]),
        (&format!("{chunked}{length}"), &[401]),
        // Here it is no secret.
        (chunked, &[401, 200]),
    ];
    for (framing, want) in table {
        let request = format!("POST /v1/keys HTTP/1.1\r\nHost: a\r\n{framing}\r\n0\r\n\r\n{hidden}");
        let answers = say(&server, request.as_bytes());
        assert_eq!(statuses(&answers), want, "{framing}: {answers}");
    }
}

#[test]
fn who_waits_for_leave_to_send_a_body_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path());
    let mut stream = connect(&server);
    let head =
        "POST /v1/keys HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).unwrap();
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), [401], "{answer}");
}

fn connect(server: &Process) -> TcpStream {
    let stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    // A server that does not close fails the test rather than hold it.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// All that is answered until the server closes.
fn say(server: &Process, request: &[u8]) -> String {
    let mut stream = connect(server);
    // Refused early, the rest may find the connection closed, and then what was answered may be lost.
    let _ = stream.write_all(request);
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    String::from_utf8(answers).unwrap()
}

fn statuses(answers: &str) -> Vec<u16> {
    answers.split("HTTP/1.").skip(1).map(|rest| rest.get(2..5).unwrap().parse().unwrap()).collect()
}
