//! The load harness: server CPU-seconds per signature of Aegis, with every check and a durable audit record, beside the
//! bare server's, taken in turns in one run; then what of it each check costs. The server runs on one core, this on the
//! other.
//!
//! Figures are of CPU time, which a noisy machine disturbs less than rates. Linux only: it reads `/proc`.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a measuring tool: what fails ends it")]

mod checks;
mod target;

use aegis_tests::process::{Process, aegis};
use aegis_tests::text;
use checks::Checks;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use target::{Run, Target};

const ALGORITHMS: [&str; 3] = ["Ed25519", "ECDSA-P256", "RSA-2048-PSS-SHA256"];
/// At full load: the first is enough that one flush of the store serves many requests, with the second few share one.
const CONNECTIONS: [usize; 2] = [64, 16];
/// Rounds of each server, in turns; the median counts.
const ROUNDS: usize = 5;

fn main() {
    let seconds: f64 = std::env::args().nth(1).map_or(3.0, |seconds| seconds.parse().unwrap());
    pin(std::process::id(), 1);
    println!("{ROUNDS} rounds of {seconds} s each in turns, medians; the server on one core\n");
    println!(
        "| algorithm | connections | bare, us CPU | Aegis, us CPU | ratio | p50, ms | p99, ms at half load | Aegis per s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut columns = Vec::new();
    for algorithm in ALGORITHMS {
        let bench = Bench::new(algorithm);
        for connections in CONNECTIONS {
            let figures = bench.measure(connections, Duration::from_secs_f64(seconds));
            println!(
                "| {algorithm} | {connections} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} |",
                figures.bare,
                figures.aegis,
                figures.aegis / figures.bare,
                figures.calm.percentile(0.5),
                figures.calm.percentile(0.99),
                figures.per_second,
            );
            columns.push((format!("{algorithm}, {connections}"), figures));
        }
    }
    println!("\nWhat of it each part costs, in us CPU of a request:\n");
    print_parts(&columns, &ALGORITHMS.map(Checks::measure));
}

/// What was measured of one algorithm at one number of connections.
struct Figures {
    bare: f64,
    aegis: f64,
    /// Of the thread that writes.
    writer: f64,
    /// What a limit in the agent's grant adds.
    limit: f64,
    per_second: f64,
    calm: Run,
}

/// A column for each algorithm at each number of connections.
fn print_parts(columns: &[(String, Figures)], checks: &[Checks]) {
    let of_each = checks.iter().flat_map(|checks| CONNECTIONS.map(|_| checks));
    let columns: Vec<(&str, &Figures, &Checks)> =
        columns.iter().zip(of_each).map(|((name, figures), checks)| (name.as_str(), figures, checks)).collect();
    let row = |what: &str, how: &str, figure: &dyn Fn(&Figures, &Checks) -> f64| {
        let cells: String =
            columns.iter().map(|(_, figures, checks)| format!(" {:.1} |", figure(figures, checks))).collect();
        println!("| {what} | {how} |{cells}");
    };
    let names: String = columns.iter().map(|(name, ..)| format!(" {name} |")).collect();
    println!("| part | measured |{names}");
    println!("|---|---|{}", "---|".repeat(columns.len()));
    row("HTTP and JSON of the request", "bare server less its signature", &|figures, checks| {
        figures.bare - checks.sign
    });
    row("signature, with its key found", IN_PROCESS, &|_, checks| checks.sign);
    row("identify: token known", IN_PROCESS, &|_, checks| checks.identify);
    row("limit of requests in a minute", IN_PROCESS, &|_, checks| checks.rate);
    row("store read: who asks, and the key", IN_PROCESS, &|_, checks| checks.read);
    row("authorize: scope and policy", IN_PROCESS, &|_, checks| checks.authorize);
    row("score", IN_PROCESS, &|_, checks| checks.score);
    row("record: digest and JSON", IN_PROCESS, &|_, checks| checks.record);
    row("record: written and flushed", "CPU time of the store's thread", &|figures, _| figures.writer);
    row("all else", "the rest", &|figures, checks| figures.aegis - figures.bare - figures.writer - checks.ours());
    row("**all**", "CPU time of the server", &|figures, _| figures.aegis);
    row("more, with a limit in the grant", "difference of two loads", &|figures, _| figures.limit);
}

const IN_PROCESS: &str = "alone, in this process";

struct Bench {
    /// Ended with this.
    _servers: (Process, Bare),
    aegis: Target,
    limited: Target,
    plain: Target,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(algorithm: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("aegis.toml");
        std::fs::write(&config, "requests_per_minute = 100000000\n").unwrap();
        let server = Process::start_with(folder.path(), &config);
        pin(server.id(), 0);
        server.enrol();
        let alice = server.log_in();
        let body = json!({ "name": "bench-key", "algorithm": algorithm, "activate": true });
        let key = text(&server.post(&alice, "/v1/keys", body).ok(), "id");
        let token = |limits: Value| {
            let body = json!({ "label": "bench", "scope": "key:bench-key:sign", "limits": limits });
            let agent = text(&server.post(&alice, "/v1/agents", body).ok(), "id");
            text(&server.post(&alice, &format!("/v1/agents/{agent}/credentials"), json!({})).ok(), "token")
        };
        let bare = Bare::start(algorithm);
        pin(bare.child.id(), 0);
        let payload = checks::payload();
        let path = format!("/v1/keys/{key}/sign");
        let aegis = Target::new(&server.url, &path, Some(&token(json!({}))), &payload, server.id());
        let limited = token(json!({ "max_uses": 1_000_000_000 }));
        let limited = Target::new(&server.url, &path, Some(&limited), &payload, server.id());
        let plain = Target::new(&bare.url, "/sign", None, &payload, bare.child.id());
        Self { _servers: (server, bare), aegis, limited, plain, _folder: folder }
    }

    fn measure(&self, connections: usize, length: Duration) -> Figures {
        for target in [&self.aegis, &self.limited, &self.plain] {
            target.run(connections, length / 4, None);
        }
        let (mut ours, mut theirs, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(self.aegis.run(connections, length, None));
            theirs.push(self.plain.run(connections, length, None));
            limited.push(self.limited.run(connections, length / 2, None));
        }
        let of = |runs: &[Run], figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let per_second = of(&ours, &|run| run.per_second);
        let aegis = of(&ours, &|run| run.cpu_us);
        Figures {
            bare: of(&theirs, &|run| run.cpu_us),
            aegis,
            writer: of(&ours, &|run| run.writer_us),
            limit: of(&limited, &|run| run.cpu_us) - aegis,
            per_second,
            calm: self.aegis.run(connections, length, Some(per_second / 2.0)),
        }
    }
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
