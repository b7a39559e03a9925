//! What happens, if a test asks for it, to requests that functions send the emulator: what a busy AWS, a network and a machine
//! that stops do to them.
//!
//! `PUT /_faults/NAME` asks for one, in headers: `target` and `holds` are parts of the request's `X-Amz-Target` and body, `does` is
//! what happens, `times` how often. `GET /_faults/NAME` tells how often it happened, `DELETE` ends it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::relay::header;

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<BTreeMap<String, Fault>>);

#[derive(Debug)]
struct Fault {
    target: String,
    holds: Vec<u8>,
    does: Does,
    left: u32,
    happened: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Does {
    /// It is told that too much is asked.
    Throttle,
    /// It is carried out, and the answer does not come back.
    LoseAnswer,
    /// It is not carried out, and nothing is answered for as long as the fault lasts.
    Hold,
    /// The function that sent it is killed: it is not carried out.
    KillBefore,
    /// The function that sent it is killed once it was carried out.
    KillAfter,
}

impl Does {
    fn named(name: &str) -> Option<Self> {
        match name {
            "throttle" => Some(Self::Throttle),
            "lose-answer" => Some(Self::LoseAnswer),
            "hold" => Some(Self::Hold),
            "kill-before" => Some(Self::KillBefore),
            "kill-after" => Some(Self::KillAfter),
            _ => None,
        }
    }
}

impl Faults {
    /// The answer to a request that is about faults, if it is.
    pub(crate) fn answer(&self, head: &str) -> Option<String> {
        let (method, name) = head.split_once(" /_faults/")?;
        let name = name.split(' ').next().unwrap_or_default().to_owned();
        let mut faults = self.all();
        let told = match method {
            "PUT" => asked_for(head).map(|fault| {
                faults.insert(name, fault);
                String::new()
            }),
            "GET" => faults.get(&name).map(|fault| fault.happened.to_string()),
            "DELETE" => faults.remove(&name).map(|_| String::new()),
            _ => None,
        };
        Some(match told {
            Some(told) => {
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{told}", told.len())
            }
            None => "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(),
        })
    }

    /// What happens to a request; that it does is counted.
    pub(crate) fn meets(&self, head: &str, body: &[u8]) -> Option<(String, Does)> {
        let target = header(head, "x-amz-target")?;
        let mut faults = self.all();
        let (name, fault) = faults.iter_mut().find(|(_, fault)| fault.left > 0 && fault.is_about(target, body))?;
        fault.left = fault.left.saturating_sub(1);
        fault.happened = fault.happened.saturating_add(1);
        Some((name.clone(), fault.does))
    }

    pub(crate) fn lasts(&self, name: &str) -> bool {
        self.all().contains_key(name)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    fn is_about(&self, target: &str, body: &[u8]) -> bool {
        target.contains(&self.target) && body.windows(self.holds.len()).any(|part| part == self.holds)
    }
}

fn asked_for(head: &str) -> Option<Fault> {
    let filled = |name: &str| header(head, name).filter(|value| !value.is_empty());
    Some(Fault {
        target: filled("target")?.to_owned(),
        holds: filled("holds")?.as_bytes().to_vec(),
        does: Does::named(filled("does")?)?,
        left: filled("times")?.parse().ok()?,
        happened: 0,
    })
}

/// What AWS answers where too much is asked.
pub(crate) fn throttled(head: &str) -> String {
    let code = match header(head, "x-amz-target") {
        Some(target) if target.starts_with("DynamoDB") => "ProvisionedThroughputExceededException",
        _ => "ThrottlingException",
    };
    let body = format!("{{\"__type\":\"{code}\",\"message\":\"Rate exceeded\"}}");
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// How often a function is looked for.
const LOOKS: u32 = 20;

/// Kills the function at the other end of a connection, as a machine that stops would.
pub(crate) fn kill(peer: SocketAddr) -> Result<(), String> {
    // The kernel's list of sockets may leave one out while others come and go. This one is there until it is answered.
    let process = (0..LOOKS).find_map(|_| function_at(peer)).ok_or("no function sent it")?;
    let ended = Command::new("kill").args(["-9", &process]).status().map_err(|error| error.to_string())?;
    if ended.success() { Ok(()) } else { Err(format!("process {process} could not be killed")) }
}

/// The process whose connection it is, if it is a function's.
fn function_at(peer: SocketAddr) -> Option<String> {
    let sockets = fs::read_to_string("/proc/net/tcp").ok()?;
    let held = format!("socket:[{}]", socket_of(&sockets, peer)?);
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let mut processes = processes.filter(|process| {
        let variables = fs::read(process.join("environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"AWS_LAMBDA_FUNCTION_NAME="))
    });
    let found = processes.find(|process| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| link.to_string_lossy() == held)
    })?;
    Some(found.file_name()?.to_string_lossy().into_owned())
}

/// The inode of a socket of this machine, in what the kernel tells of them.
fn socket_of(sockets: &str, address: SocketAddr) -> Option<&str> {
    let local = format!("{:08X}:{:04X}", u32::from(Ipv4Addr::LOCALHOST).swap_bytes(), address.port());
    let mut lines = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|words| words.get(1) == Some(&local.as_str())).and_then(|words| words.get(9).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(headers: &str) -> String {
        format!("PUT /_faults/one HTTP/1.1\r\n{headers}\r\n")
    }

    const SIGN: &str = "POST / HTTP/1.1\r\nX-Amz-Target: TrentService.Sign\r\n\r\n";

    #[test]
    fn a_fault_meets_what_it_is_about_as_often_as_was_asked() {
        let faults = Faults::default();
        let asked = faults.answer(&put("target: Service.Sign\r\nholds: key-1\r\ndoes: throttle\r\ntimes: 2\r\n"));
        assert!(asked.unwrap().starts_with("HTTP/1.1 200"));
        assert_eq!(faults.meets(SIGN, b"of key-2"), None);
        assert_eq!(faults.meets("POST / HTTP/1.1\r\nX-Amz-Target: TrentService.Verify\r\n\r\n", b"key-1"), None);
        assert_eq!(faults.meets("POST / HTTP/1.1\r\n\r\n", b"key-1"), None);
        for left in [true, true, false] {
            assert_eq!(faults.meets(SIGN, b"of key-1."), left.then(|| ("one".to_owned(), Does::Throttle)));
        }
        assert!(faults.answer("GET /_faults/one HTTP/1.1\r\n\r\n").unwrap().ends_with("\r\n\r\n2"));
        assert!(faults.lasts("one"));
        faults.answer("DELETE /_faults/one HTTP/1.1\r\n\r\n");
        assert!(!faults.lasts("one"));
        assert!(faults.answer("GET /_faults/one HTTP/1.1\r\n\r\n").unwrap().starts_with("HTTP/1.1 400"));
        assert!(faults.answer(SIGN).is_none());
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        let table = [
            "",
            "target: x\r\nholds: y\r\ndoes: nothing\r\ntimes: 1\r\n",
            "target: x\r\nholds: \r\ndoes: hold\r\ntimes: 1\r\n",
            "target: x\r\nholds: y\r\ndoes: hold\r\ntimes: many\r\n",
        ];
        for headers in table {
            let faults = Faults::default();
            assert!(faults.answer(&put(headers)).unwrap().starts_with("HTTP/1.1 400"), "{headers}");
            assert!(!faults.lasts("one"), "{headers}");
        }
    }

    #[test]
    fn a_socket_is_found_by_its_own_end() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
             1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(socket_of(sockets, "127.0.0.1:50000".parse().unwrap()), Some("222"));
        assert_eq!(socket_of(sockets, "127.0.0.1:50001".parse().unwrap()), None);
        assert!(kill("127.0.0.1:1".parse().unwrap()).is_err());
    }
}
