//! What the core may not reach for itself: the time and randomness. Both arrive as arguments.

use std::fmt;
use std::sync::Arc;

pub use jiff::Timestamp;

/// Tells the time. The embedded host passes the system clock; tests pass their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now, to the microsecond: for measuring.
    pub fn precise(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Now, to the millisecond: what a record, a token or an id can hold.
    pub fn now(&self) -> Timestamp {
        let now = (self.0)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(..)")
    }
}

/// Fills buffers with bytes nobody can predict.
#[derive(Clone)]
pub struct Entropy(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Entropy {
    pub fn new(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// The random generator of `aws-lc-rs`, seeded by the operating system. It aborts rather than return weak bytes.
    pub fn system() -> Self {
        Self::new(|buffer| {
            #[expect(clippy::expect_used, reason = "without randomness no key, id or nonce is safe: stop the process")]
            aws_lc_rs::rand::fill(buffer).expect("the system's random generator failed");
        })
    }

    pub fn fill(&self, buffer: &mut [u8]) {
        (self.0)(buffer);
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

/// Stands for [`Timestamp`] in JSON Schemas: RFC 3339, UTC.
pub struct DateTime;

impl schemars::JsonSchema for DateTime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// `at` plus whole seconds; the end of time where there is no such moment.
pub fn after_seconds(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
