//! The load harness: server CPU-seconds per signature of Aegis, with every check and a durable audit record, beside the
//! bare server's, taken in turns in one run. The server runs on one core, this on the other.
//!
//! Figures are ratios of CPU time, which a noisy machine disturbs less than rates. Linux only: it reads `/proc`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measuring tool: what fails ends it")]

use aegis_tests::process::{Process, aegis};
use aegis_tests::{message, text};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Connections at full load: enough that one flush of the store serves many requests.
const CONNECTIONS: usize = 64;
/// Rounds of each server, in turns; the median counts.
const ROUNDS: usize = 5;
/// Clock ticks in a second, as Linux reports CPU time.
const TICKS: f64 = 100.0;

fn main() {
    let seconds: f64 = std::env::args().nth(1).map_or(3.0, |seconds| seconds.parse().unwrap());
    pin(std::process::id(), 1);
    println!("{CONNECTIONS} connections, {ROUNDS} rounds of {seconds} s each in turns, medians; server on one core\n");
    println!(
        "| algorithm | bare, us CPU | Aegis, us CPU | ratio | Aegis p50, ms | p99, ms at half load | Aegis per s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for algorithm in ["Ed25519", "ECDSA-P256", "RSA-2048-PSS-SHA256"] {
        measure(algorithm, Duration::from_secs_f64(seconds));
    }
}

fn measure(algorithm: &str, length: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("aegis.toml");
    std::fs::write(&config, "requests_per_minute = 100000000\n").unwrap();
    let server = Process::start_with(folder.path(), &config);
    pin(server.id(), 0);
    server.enrol();
    let alice = server.log_in();
    let body = json!({ "name": "bench-key", "algorithm": algorithm, "activate": true });
    let key = text(&server.post(&alice, "/v1/keys", body).ok(), "id");
    let body = json!({ "label": "bench", "scope": "key:bench-key:sign" });
    let agent = text(&server.post(&alice, "/v1/agents", body).ok(), "id");
    let token = text(&server.post(&alice, &format!("/v1/agents/{agent}/credentials"), json!({})).ok(), "token");
    let bare = Bare::start(algorithm);
    pin(bare.child.id(), 0);

    let payload = message(b"an invoice of ordinary length, to be signed: 2026-001, Nordlicht Energie, 1,234.00 EUR");
    let aegis = Target::new(&server.url, &format!("/v1/keys/{key}/sign"), Some(&token), &payload, server.id());
    let plain = Target::new(&bare.url, "/sign", None, &payload, bare.child.id());
    for target in [&aegis, &plain] {
        target.run(CONNECTIONS, length / 4, None);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(aegis.run(CONNECTIONS, length, None));
        theirs.push(plain.run(CONNECTIONS, length, None));
    }
    let cpu = |runs: &[Run]| median(runs.iter().map(|run| run.cpu_us).collect());
    let rate = median(ours.iter().map(|run| run.per_second).collect());
    let calm = aegis.run(CONNECTIONS, length, Some(rate / 2.0));
    let (ours_cpu, theirs_cpu) = (cpu(&ours), cpu(&theirs));
    println!(
        "| {algorithm} | {theirs_cpu:.1} | {ours_cpu:.1} | {:.2} | {:.2} | {:.2} | {rate:.0} |",
        ours_cpu / theirs_cpu,
        calm.percentile(0.5),
        calm.percentile(0.99),
    );
}

struct Bare {
    child: Child,
    url: String,
}

impl Bare {
    fn start(algorithm: &str) -> Self {
        let path: PathBuf = std::env::current_exe().unwrap().with_file_name("bare");
        let mut child = Command::new(path).arg(algorithm).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: line.trim().strip_prefix("listening on ").unwrap().to_string() }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Target {
    address: String,
    request: Arc<Vec<u8>>,
    process: u32,
}

struct Run {
    cpu_us: f64,
    per_second: f64,
    latencies_ms: Vec<f64>,
}

impl Target {
    fn new(url: &str, path: &str, token: Option<&str>, body: &serde_json::Value, process: u32) -> Self {
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
    fn run(&self, connections: usize, length: Duration, rate: Option<f64>) -> Run {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let latencies = Arc::new(Mutex::new(Vec::new()));
        let pause = rate.map(|rate| Duration::from_secs_f64(f64::from(u32::try_from(connections).unwrap()) / rate));
        let (cpu_before, begun) = (cpu_ticks(self.process), Instant::now());
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let (over, done, latencies) = (Arc::clone(&over), Arc::clone(&done), Arc::clone(&latencies));
                let (address, request) = (self.address.clone(), Arc::clone(&self.request));
                std::thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut own = Vec::new();
                    let mut due = Instant::now();
                    while !over.load(Ordering::Relaxed) {
                        if let Some(pause) = pause {
                            due += pause;
                            std::thread::sleep(due.saturating_duration_since(Instant::now()));
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
        Run {
            cpu_us: (cpu_ticks(self.process) - cpu_before) / TICKS * 1e6 / count,
            per_second: count / begun.elapsed().as_secs_f64(),
            latencies_ms,
        }
    }
}

impl Run {
    fn percentile(&self, share: f64) -> f64 {
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

/// CPU time of a process so far: user and system, all its threads.
fn cpu_ticks(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, counted from the state, which follows the name in brackets.
    fields.iter().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

/// Every thread of the process on one core. Without `taskset` the figures are noisier, and the run says so.
fn pin(process: u32, core: u32) {
    let pinned = Command::new("taskset").args(["-a", "-p", "-c", &core.to_string(), &process.to_string()]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        println!("(not pinned to a core: `taskset` failed)");
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.get(figures.len() / 2) {
        Some(median) => *median,
        None => panic!("nothing measured with {}", aegis().display()),
    }
}
