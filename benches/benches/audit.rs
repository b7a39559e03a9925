//! How long the first page of the audit trail takes with a thousand records and with a million, as ratios in one run: about
//! 1, where a page costs what it shows and not what there is. The real store, the real route. Reported, never asserted.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool: what fails ends it")]

use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::id::{AgentId, CredentialId, KeyId, RecordId, RequestId};
use aegis_core::journal;
use aegis_core::operation::Operation;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::store::{MAX_BATCH, Store};
use aegis_tests::deployment::{BEGINNING, Deployment};
use std::sync::Arc;
use std::time::Instant;

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// Of which the records tell, in turns: few enough that each fills more than a page of either trail.
const AGENTS: u32 = 10;
const KEYS: u32 = 10;
const HUMANS: u32 = 5;
/// Over how long the records are spread, in seconds: within one day, which is one partition of each index.
const SPAN: i64 = 30_000;
/// Pages of each kind asked for of each store, in turns; the median counts.
const ROUNDS: usize = 301;
/// Transactions written at once.
const AT_ONCE: usize = 64;

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this, too, and wants to know only that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let begun = Instant::now();
    let (few, many) = (Trail::of(FEW).await, Trail::of(MANY).await);
    println!("first page of GET /v1/audit, 50 records, medians of {ROUNDS} pages in turns");
    println!("(both trails written in {:.0} s)\n", begun.elapsed().as_secs_f64());
    println!("| newest first | {FEW} records, us | {MANY} records, us | ratio |");
    println!("|---|---|---|---|");
    for (what, query) in [
        ("all", String::new()),
        ("of one agent", format!("?agent={}", agent(7))),
        ("of one key", format!("?key={}", key(7))),
        ("of one human", format!("?actor={}", human(7))),
    ] {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            short.push(few.page(&query).await);
            long.push(many.page(&query).await);
        }
        let (short, long) = (median(short), median(long));
        println!("| {what} | {short:.0} | {long:.0} | {:.2} |", long / short);
    }
}

struct Trail {
    deployment: Deployment,
    auditor: String,
}

impl Trail {
    /// A deployment with this many records, the newest of now.
    async fn of(count: u32) -> Self {
        let deployment = Deployment::new().await;
        deployment.pass(SPAN);
        let store = Arc::clone(&deployment.store);
        let entropy = Entropy::system();
        let batch = u32::try_from(MAX_BATCH).unwrap();
        let mut under_way = tokio::task::JoinSet::new();
        for first in (0..count).step_by(MAX_BATCH) {
            let numbers = first..count.min(first + batch);
            let puts = numbers.map(|n| journal::put(store.as_ref(), &record(n, count, &entropy)).unwrap()).collect();
            let store = Arc::clone(&store);
            under_way.spawn(async move { store.transact(puts).await.unwrap() });
            if under_way.len() >= AT_ONCE {
                under_way.join_next().await.unwrap().unwrap();
            }
        }
        under_way.join_all().await;
        let auditor = deployment.log_in("audra@org", &["auditor"]).await;
        let trail = Self { deployment, auditor };
        // The query itself is put on record once.
        trail.page("").await;
        trail
    }

    /// How long one page took, in microseconds.
    async fn page(&self, query: &str) -> f64 {
        let asked = Instant::now();
        let page = self.deployment.get(&self.auditor, &format!("/v1/audit{query}")).await;
        let took = asked.elapsed().as_secs_f64() * 1e6;
        let shown = page.ok().get("items").and_then(|items| items.as_array().map(Vec::len));
        assert_eq!(shown, Some(50), "records of {query}");
        took
    }
}

/// A signature, as records tell of one.
fn record(n: u32, of: u32, entropy: &Entropy) -> AuditRecord {
    let at = BEGINNING * 1_000 + SPAN * 1_000 * i64::from(n) / i64::from(of);
    let at = Timestamp::from_millisecond(at).unwrap();
    let (id, request) = (RecordId::new(at, entropy), RequestId::new(at, entropy));
    AuditRecord {
        human: Some(human(n).parse().unwrap()),
        agents: vec![agent(n)],
        credential: Some(CredentialId::try_from(format!("crd_{:032x}", n % AGENTS)).unwrap()),
        key: Some(key(n)),
        key_version: Some(1),
        source: Some([127, 0, 0, 1].into()),
        request_digest: Some("0".repeat(64)),
        policy_version: 1,
        latency_us: 250,
        ..AuditRecord::new(id, at, Operation::KeySign, Plane::Rest, request)
    }
}

fn agent(n: u32) -> AgentId {
    AgentId::try_from(format!("agt_{:032x}", n % AGENTS)).unwrap()
}

fn key(n: u32) -> KeyId {
    KeyId::try_from(format!("key_{:032x}", 1 + n % KEYS)).unwrap()
}

fn human(n: u32) -> String {
    format!("human-{}@org", n % HUMANS)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
