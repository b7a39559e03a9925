//! What is carried out on the blocking pool, and how much of it at once.

use super::*;
use crate::software::offload::{AT_ONCE, GENERATION_QUEUE, QUEUE};
use std::sync::{Condvar, Mutex};
use tokio::task::{JoinHandle, yield_now};

#[test]
fn keys_of_every_size_are_made_and_work() {
    let (store, key) = (store(), key());
    for (algorithm, modulus) in
        [(Algorithm::Rsa2048PssSha256, 256), (Algorithm::Rsa3072OaepSha256, 384), (Algorithm::Rsa4096Pkcs1Sha256, 512)]
    {
        let version = VersionRef { key: &key, version: 1, algorithm, calls: None };
        let material = run(store.create(version, &token())).unwrap();
        let context = Context::new();
        if algorithm.purpose() == Purpose::EncryptDecrypt {
            let ciphertext = run(store.encrypt(version, &material, &context, b"m")).unwrap();
            assert_eq!(**run(store.decrypt(version, &material, &context, &ciphertext)).unwrap(), *b"m");
        } else {
            let signature = run(store.sign(version, &material, MessageType::Raw, b"m")).unwrap();
            assert_eq!(signature.len(), modulus, "{algorithm}");
            assert!(now(store.verify(version, &material, MessageType::Raw, b"m", &signature)).unwrap());
        }
    }
}

/// Every turn is taken, so what needs one is still waiting after the first poll.
#[test]
fn only_what_is_slow_leaves_the_callers_thread() {
    let (store, key, gate) = (store(), key(), Arc::new(Gate::default()));
    let done = |future: &mut (dyn Future<Output = _> + Unpin)| {
        pin!(future).poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready()
    };
    run(async {
        for _ in 0..AT_ONCE {
            let gate = Arc::clone(&gate);
            assert!(!done(&mut pin!(async { store.offload.run(move || gate.pass()).await.map(|()| Vec::new()) })));
        }
        for version in versions(&key, Purpose::SignVerify) {
            let material = made(&store, version);
            store.safe.load(version, &material).unwrap();
            let signed = done(&mut pin!(store.sign(version, &material, MessageType::Raw, b"m")));
            let name = version.algorithm.as_str();
            let slow = name.starts_with("RSA-3072") || name.starts_with("RSA-4096");
            assert_eq!(signed, !slow, "{name}");
        }
        gate.open();
    });
}

#[test]
fn without_a_runtime_what_is_slow_is_refused() {
    let (store, key) = (store(), key());
    let version = VersionRef { key: &key, version: 1, algorithm: Algorithm::Rsa2048PssSha256, calls: None };
    assert!(matches!(now(store.create(version, &token())), Err(KeyStoreError::Unavailable { .. })));
}

#[test]
fn few_run_at_once_a_queue_waits_and_beyond_it_is_refused() {
    run(async {
        let (offload, gate) = (Arc::new(Offload::new()), Arc::new(Gate::default()));
        let tasks: Vec<_> = (0..AT_ONCE + QUEUE).map(|_| spawn(&offload, &gate)).collect();
        gate.wait_until_running(AT_ONCE).await;
        assert!(matches!(offload.run(|| Ok(())).await, Err(KeyStoreError::Unavailable { .. })));
        gate.open();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(gate.most(), AT_ONCE);
        offload.run(|| Ok(())).await.unwrap();
    });
}

#[test]
fn generation_leaves_a_turn_to_others_and_has_its_own_queue() {
    run(async {
        let (offload, gate) = (Arc::new(Offload::new()), Arc::new(Gate::default()));
        let generate = || {
            let (offload, gate) = (Arc::clone(&offload), Arc::clone(&gate));
            tokio::spawn(async move { offload.generate(move || gate.pass()).await })
        };
        let tasks: Vec<_> = (0..1 + GENERATION_QUEUE).map(|_| generate()).collect();
        gate.wait_until_running(1).await;
        assert!(matches!(offload.generate(|| Ok(())).await, Err(KeyStoreError::Unavailable { .. })));
        offload.run(|| Ok(())).await.unwrap();
        gate.open();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(gate.most(), 1);
    });
}

fn spawn(offload: &Arc<Offload>, gate: &Arc<Gate>) -> JoinHandle<Result<(), KeyStoreError>> {
    let (offload, gate) = (Arc::clone(offload), Arc::clone(gate));
    tokio::spawn(async move { offload.run(move || gate.pass()).await })
}

/// Holds work back until it is opened, and counts what runs.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    open: bool,
    running: usize,
    most: usize,
}

impl Gate {
    fn pass(&self) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock().unwrap();
        state.running += 1;
        state.most = state.most.max(state.running);
        let mut state = self.changed.wait_while(state, |state| !state.open).unwrap();
        state.running -= 1;
        Ok(())
    }

    fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }

    fn most(&self) -> usize {
        self.state.lock().unwrap().most
    }

    async fn wait_until_running(&self, count: usize) {
        while self.state.lock().unwrap().running < count {
            yield_now().await;
        }
    }
}
