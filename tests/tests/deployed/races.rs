//! Many at once.

use aegis_tests::message;
use aegis_tests::site::{EVERYTHING, site};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};

const CLIENTS: usize = 64;

/// 64 clients sign with one credential while it is revoked: no conflict, and none that begins after it succeeds.
#[test]
fn no_request_begun_after_the_revocation_returned_succeeds() {
    let site = site();
    let alice = site.log_in("rita@org", &EVERYTHING);
    let key = site.name("raced");
    site.key(&alice, &key, "Ed25519");
    let (agent, token) = site.agent(&alice, &format!("key:{key}:sign"), "service");
    let path = format!("/v1/keys/{key}/sign");
    let (revoked, begin) = (AtomicBool::new(false), Barrier::new(CLIENTS));
    let (signed, first) = mpsc::channel();
    let before = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let signed = signed.clone();
                let (begin, revoked, token, path) = (&begin, &revoked, &token, &path);
                scope.spawn(move || {
                    begin.wait();
                    let mut before = 0_u32;
                    loop {
                        let late = revoked.load(Ordering::SeqCst);
                        let answer = site.post(token, path, message(b"x"));
                        match answer.status {
                            200 => {
                                assert!(!late, "begun after the revocation had returned");
                                before += 1;
                                signed.send(()).unwrap();
                            }
                            // Beyond the share of a credential that holds no more.
                            429 => assert_eq!(answer.refused(429), "rate_limited"),
                            _ => assert_eq!(answer.refused(401), "agent_revoked"),
                        }
                        if late {
                            return before;
                        }
                    }
                })
            })
            .collect();
        drop(signed);
        // There is something to be stopped.
        first.recv().unwrap();
        site.post(&alice, &format!("/v1/agents/{agent}/revoke"), json!({})).ok();
        revoked.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u32>()
    });
    assert!(before > 0, "nobody signed before the revocation: nothing was raced");
    println!("{before} signatures before the revocation");
}
