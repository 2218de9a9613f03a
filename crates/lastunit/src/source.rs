//! Where time, ids and chance come from: handed in, so that a test or a simulation can hand in its own.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::timestamp::Timestamp;

/// Gives the engine its time, ids and jitter.
pub trait Source: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
    /// A new UUID v7 for this time, not to be guessed.
    fn uuid(&self, at: Timestamp) -> Uuid;
    /// A random duration of at most `limit`.
    fn jitter(&self, limit: Duration) -> Duration;
}

/// The system's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSource;

impl Source for SystemSource {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    fn uuid(&self, at: Timestamp) -> Uuid {
        let unix_ms = u64::try_from(at.unix_ms()).unwrap_or(0);
        // RFC 9562, 5.7: 48 bits of time, 74 of chance (from a cryptographic generator).
        uuid::Builder::from_unix_timestamp_millis(unix_ms, &rand::random()).into_uuid()
    }

    fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(rand::random::<f64>())
    }
}
