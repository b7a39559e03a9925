//! In front of the emulator: a connection of its own for each request, and the faults that tests ask for.
//!
//! Of 1,000 requests that Terraform's provider sends MiniStack 1.5.33 over connections it keeps, about one is carried out and
//! never answered, when the machine is busy. The provider sends it again, and hears that what it made is there already. Of
//! 3,700 over new connections none was lost.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::faults::{self, Does, Faults};

/// Listens until this process ends, and returns where.
pub(crate) fn start(to: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = listener.local_addr()?;
    let faults = Arc::new(Faults::default());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let faults = Arc::clone(&faults);
            // A request that fails is one the client hears nothing of: it knows what to do.
            thread::spawn(move || pass(client, to, &faults));
        }
    });
    Ok(here)
}

fn pass(mut client: TcpStream, to: SocketAddr, faults: &Faults) -> io::Result<()> {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = end_of_head(&request) {
            break end;
        }
        read_some(&mut client, &mut request)?;
    };
    let (head, body) = request.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let mut body = body.to_vec();
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while body.len() < length {
        read_some(&mut client, &mut body)?;
    }
    if let Some(answer) = faults.answer(&head) {
        return client.write_all(answer.as_bytes());
    }
    let met = faults.meets(&head, &body);
    match &met {
        Some((_, Does::Throttle)) => return client.write_all(faults::throttled(&head).as_bytes()),
        Some((_, Does::KillBefore)) => return kill(&client),
        Some((name, Does::Hold)) => return wait_for_end(&mut client, || faults.lasts(name)),
        Some((_, Does::LoseAnswer | Does::KillAfter)) | None => {}
    }
    let mut emulator = TcpStream::connect(to)?;
    emulator.write_all(closing(&head).as_bytes())?;
    emulator.write_all(&body)?;
    let mut answer = Vec::new();
    let read = emulator.read_to_end(&mut answer);
    tell(&head, &answer, read.as_ref().err());
    match met {
        Some((_, Does::KillAfter)) => kill(&client),
        Some(_) => Ok(()),
        None => client.write_all(&answer),
    }
}

fn kill(client: &TcpStream) -> io::Result<()> {
    // The test sees that nobody was killed.
    faults::kill(client.peer_addr()?)
        .unwrap_or_else(|why| println!("a function that was to be killed lives on: {why}"));
    Ok(())
}

/// Until the client has hung up, or nobody wants it to wait any more.
fn wait_for_end(client: &mut TcpStream, lasts: impl Fn() -> bool) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    let is_there = |client: &mut TcpStream| match client.read(&mut [0]) {
        Ok(count) => count > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    };
    while lasts() && is_there(client) {}
    Ok(())
}

/// What the emulator did not do, or says it could not, is the first to look at where something comes after it that cannot be.
fn tell(head: &str, answer: &[u8], error: Option<&io::Error>) {
    let request = head.lines().next().unwrap_or_default();
    let what = header(head, "x-amz-target").unwrap_or_default();
    match (answer, error) {
        (answer, None) if answer.starts_with(b"HTTP/1.1 5") => {
            println!("the emulator failed: {request} {what}: {}", String::from_utf8_lossy(answer));
        }
        ([], None) => println!("the emulator hung up: {request} {what}"),
        (_, Some(error)) => println!("the emulator broke off: {request} {what}: {error}"),
        _ => {}
    }
}

fn read_some(from: &mut TcpStream, to: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 16 * 1024];
    let count = from.read(&mut part)?;
    match part.get(..count).filter(|part| !part.is_empty()) {
        Some(part) => to.extend_from_slice(part),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    Ok(())
}

fn end_of_head(request: &[u8]) -> Option<usize> {
    request.windows(4).position(|four| four == b"\r\n\r\n")?.checked_add(4)
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The same head, of a request after which both sides hang up. What is signed stays as it is.
fn closing(head: &str) -> String {
    let kept = head.trim_end().lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "expect"].iter().any(|other| name.eq_ignore_ascii_case(other))
    });
    let mut lines: Vec<&str> = kept.collect();
    lines.extend(["Connection: close", "", ""]);
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_passed_whole_and_answered_once() {
        let emulator = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let here = start(emulator.local_addr().unwrap()).unwrap();
        let seen = thread::spawn(move || {
            let (mut stream, _) = emulator.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"abcdef") {
                read_some(&mut stream, &mut request).unwrap();
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        let mut client = TcpStream::connect(here).unwrap();
        client.write_all(b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nContent-").unwrap();
        client.write_all(b"Length: 6\r\n\r\nabc").unwrap();
        client.write_all(b"def").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        assert_eq!(
            seen.join().unwrap(),
            "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcdef"
        );
    }
}
