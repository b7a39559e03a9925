//! What is counted for operators: requests by operation and status, refusals by reason, and how long requests take. No
//! names of keys, agents or humans: a label has a closed set of values.

use aegis_core::reason::Reason;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    duration: Family<OperationLabels, Histogram, fn() -> Histogram>,
    posts: Family<PostLabels, Counter>,
    pending: Gauge,
    lag: Gauge,
    detection_lag: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PostLabels {
    outcome: &'static str,
}

/// Upper ends, in seconds: from a cached signature to a slow RSA key generation.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("aegis");
        let (requests, refusals) = (Family::default(), Family::default());
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let duration = Family::new_with_constructor(histogram);
        registry.register("requests", "Requests answered, by operation and HTTP status", requests.clone());
        registry.register("refusals", "Requests refused, by reason", refusals.clone());
        let help = "Time from a request's arrival to its answer, its audit record included";
        registry.register_with_unit("request_duration", help, Unit::Seconds, duration.clone());
        let (posts, pending, lag) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register("webhook_posts", "Posts to webhooks, by what came of them", posts.clone());
        registry.register("webhook_pending", "Deliveries that wait, of all webhooks", pending.clone());
        let help = "Age of the oldest record that waits for a webhook";
        registry.register_with_unit("webhook_lag", help, Unit::Seconds, lag.clone());
        let detection_lag = Gauge::default();
        let help = "How far detection lies behind, to half a minute; above 300 what is new is asked about";
        registry.register_with_unit("detection_lag", help, Unit::Seconds, detection_lag.clone());
        Self { registry, requests, refusals, duration, posts, pending, lag, detection_lag }
    }

    /// Counts posts to webhooks: delivered, failed and to be tried again, given up.
    pub fn posted(&self, delivered: u64, failed: u64, dead: u64) {
        for (outcome, count) in [("delivered", delivered), ("failed", failed), ("dead", dead)] {
            self.posts.get_or_create(&PostLabels { outcome }).inc_by(count);
        }
    }

    /// How the deliveries stand: how many wait, and since how many seconds the oldest record does.
    pub fn webhooks_stand(&self, pending: usize, lag_seconds: i64) {
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.lag.set(lag_seconds);
    }

    /// How many seconds detection lies behind.
    pub fn detection_stands(&self, lag_seconds: i64) {
        self.detection_lag.set(lag_seconds);
    }

    /// Counts one answer.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, seconds: f64) {
        self.requests.get_or_create(&RequestLabels { operation, status }).inc();
        self.duration.get_or_create(&OperationLabels { operation }).observe(seconds);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refusals.get_or_create(&RefusalLabels { reason: reason.as_str() }).inc();
    }

    /// OpenMetrics text, as Prometheus scrapes it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.answered("key.sign", 200, 0.002);
        metrics.answered("key.sign", 200, 0.002);
        metrics.answered("key.sign", 403, 0.002);
        metrics.refused(Reason::ScopeViolation);
        metrics.posted(5, 1, 0);
        metrics.webhooks_stand(7, 42);
        metrics.detection_stands(9);
        let text = metrics.text();
        for line in [
            "aegis_requests_total{operation=\"key.sign\",status=\"200\"} 2",
            "aegis_requests_total{operation=\"key.sign\",status=\"403\"} 1",
            "aegis_refusals_total{reason=\"scope_violation\"} 1",
            "aegis_webhook_posts_total{outcome=\"delivered\"} 5",
            "aegis_webhook_pending 7",
            "aegis_webhook_lag_seconds 42",
            "aegis_detection_lag_seconds 9",
            "aegis_request_duration_seconds_count{operation=\"key.sign\"} 3",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }
}
