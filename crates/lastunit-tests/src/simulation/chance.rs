//! Chance and time that come from a seed.

use std::{ops::RangeInclusive, sync::Mutex, time::Duration};

use lastunit::{Source, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

/// SplitMix64. Not one of `rand`'s generators, whose numbers may change from version to version: a seed has to mean the
/// same for as long as it is in the list of those that failed.
pub(super) struct Chance(Mutex<u64>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// Another source of chance, so that what one part of a simulation draws doesn't shift what the others do.
    pub fn fork(&self) -> Self {
        Self::new(self.next())
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().expect("not poisoned");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to one less than `limit`.
    pub fn below(&self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True so many times out of a hundred.
    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }
}

/// A server's time, ids and jitter: the simulated clock, wrong by some milliseconds, and chance.
pub(super) struct SeededSource {
    pub chance: Chance,
    pub begun: Instant,
    pub wrong_ms: i64,
}

impl Source for SeededSource {
    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_unix_ms(1_700_000_000_000 + since + self.wrong_ms)
    }

    fn uuid(&self, at: Timestamp) -> Uuid {
        let mut rest = [0; 10];
        rest[..8].copy_from_slice(&self.chance.next().to_be_bytes());
        rest[8..].copy_from_slice(&self.chance.next().to_be_bytes()[..2]);
        let unix_ms = u64::try_from(at.unix_ms()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(unix_ms, &rest).into_uuid()
    }

    fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.chance.below(1_000) as f64 / 1_000.0)
    }
}
