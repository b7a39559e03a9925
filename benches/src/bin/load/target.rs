//! A server under load, and what it costs.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The thread of the server that writes to the store.
const WRITER: &str = "aegis-store";

pub(crate) struct Target {
    address: String,
    request: Arc<Vec<u8>>,
    process: u32,
}

pub(crate) struct Run {
    pub(crate) cpu_us: f64,
    /// Of the thread that writes to the store.
    pub(crate) writer_us: f64,
    pub(crate) per_second: f64,
    latencies_ms: Vec<f64>,
}

impl Target {
    pub(crate) fn new(url: &str, path: &str, token: Option<&str>, body: &Value, process: u32) -> Self {
        let address = url.strip_prefix("http://").unwrap().to_string();
        let body = body.to_string();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{token}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { address, request: Arc::new(request.into_bytes()), process }
    }

    /// Asks on every connection as fast as answers come, or at `rate` in a second over all of them.
    pub(crate) fn run(&self, connections: usize, length: Duration, rate: Option<f64>) -> Run {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let count = u32::try_from(connections).unwrap();
        let pause = rate.map(|rate| Duration::from_secs_f64(f64::from(count) / rate));
        let (before, begun) = (Cpu::of(self.process), Instant::now());
        let workers: Vec<_> = (0..count)
            .map(|place| {
                let (over, done, latencies) = (Arc::clone(&over), Arc::clone(&done), Arc::clone(&latencies));
                let (address, request) = (self.address.clone(), Arc::clone(&self.request));
                std::thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut own = Vec::new();
                    // Spread over the pause: requests that all come at one moment would wait for each other.
                    let mut due = Instant::now() + pause.map_or(Duration::ZERO, |pause| pause * place / count);
                    while !over.load(Ordering::Relaxed) {
                        if let Some(pause) = pause {
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
                            due += pause;
                        }
                        let sent = Instant::now();
                        exchange(&mut stream, &request);
                        own.push(sent.elapsed().as_secs_f64() * 1_000.0);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    latencies.lock().unwrap().extend(own);
                })
            })
            .collect();
        std::thread::sleep(length);
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().unwrap();
        }
        let count = f64::from(u32::try_from(done.load(Ordering::Relaxed)).unwrap());
        let mut latencies_ms = std::mem::take(&mut *latencies.lock().unwrap());
        latencies_ms.sort_by(f64::total_cmp);
        let spent = Cpu::of(self.process);
        Run {
            cpu_us: (spent.all - before.all) / count,
            writer_us: (spent.writer - before.writer) / count,
            per_second: count / begun.elapsed().as_secs_f64(),
            latencies_ms,
        }
    }
}

impl Run {
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = f64::from(u32::try_from(self.latencies_ms.len()).unwrap()) - 1.0;
        let place = format!("{:.0}", last * share).parse().unwrap_or(0_usize);
        self.latencies_ms.get(place).copied().unwrap_or(f64::NAN)
    }
}

/// One request and its answer, which must be a success.
fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    let mut received = Vec::with_capacity(2_048);
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        received.extend_from_slice(buffer.get(..count).unwrap());
        let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let headers = String::from_utf8_lossy(received.split_at(head).0).to_lowercase();
        assert!(headers.starts_with("http/1.1 200"), "{headers} {}", String::from_utf8_lossy(&received));
        let length = headers.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.unwrap().trim().parse().unwrap();
        if received.len() >= head + 4 + length {
            return;
        }
    }
}

/// CPU time of a process so far, in microseconds.
struct Cpu {
    all: f64,
    writer: f64,
}

impl Cpu {
    fn of(process: u32) -> Self {
        let mut cpu = Self { all: 0.0, writer: 0.0 };
        for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let thread = thread.unwrap().path();
            // A thread may end while it is looked at.
            let Ok(figures) = std::fs::read_to_string(thread.join("schedstat")) else { continue };
            let nanoseconds = figures.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
            let spent = nanoseconds.unwrap() / 1_000.0;
            cpu.all += spent;
            if std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == WRITER) {
                cpu.writer += spent;
            }
        }
        cpu
    }
}
