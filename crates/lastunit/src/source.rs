//! Where time, ids and chance come from: handed in, so that a test or a simulation can hand in its own.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

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
        // RFC 9562, 6.2, method 1: 48 bits of time and a counter of 12, so that ids sort as they were made (orders
        // are appended to their table, not strewn over its end); 62 bits of chance keep them from being guessed.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = u64::try_from(at.unix_ms()).unwrap_or(0) << 12;
        let next = |last: u64| now.max(last + 1);
        let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let stamp = next(last.unwrap_or_else(|last| last));
        let mut rest: [u8; 10] = rand::random();
        rest[..2].copy_from_slice(&((stamp & 0xFFF) as u16).to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(stamp >> 12, &rest).into_uuid()
    }

    fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(rand::random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_they_were_made_and_are_uuid_v7_of_their_time() {
        let at = SystemSource.now();
        let ids: Vec<Uuid> = (0..10_000).map(|_| SystemSource.uuid(at)).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        let (seconds, _) = ids[0].get_timestamp().expect("a v7 has a time").to_unix();
        assert!(seconds.abs_diff(at.unix_ms() as u64 / 1000) <= 1);
    }
}
