//! How often a service key may call and a buyer may change something. What is refused here costs the server its
//! head and nothing else.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore},
};
use lastunit::{ShopId, UserId};

use crate::{config::ServerConfig, metrics::Metrics, problem::Problem};

/// The limits of one server. Each server counts for itself.
pub(crate) struct RateLimits {
    by_key: Option<Rate>,
    by_buyer: Option<Rate>,
}

impl RateLimits {
    pub(crate) fn of(config: &ServerConfig) -> Self {
        let rate = |per_second| Rate::new(per_second, MonotonicClock);
        Self { by_key: config.key_rate.map(rate), by_buyer: config.buyer_rate.map(rate) }
    }

    /// Counts a call with a valid service key, or refuses it.
    pub(crate) fn count_call(&self, key: &[u8], metrics: &Metrics) -> Result<(), Problem> {
        let Some(rate) = &self.by_key else { return Ok(()) };
        rate.count(key).map_err(|wait| {
            metrics.rate_limited("key");
            Problem::rate_limited("with this service key", wait)
        })
    }

    /// Counts a change by a buyer, or refuses it.
    pub(crate) fn count_change(&self, shop: ShopId, user: &UserId, metrics: &Metrics) -> Result<(), Problem> {
        let Some(rate) = &self.by_buyer else { return Ok(()) };
        rate.count((shop, user)).map_err(|wait| {
            metrics.rate_limited("buyer");
            Problem::rate_limited("of this buyer", wait)
        })
    }
}

/// So many a second for each, and twice as many at once after a pause.
struct Rate<C: Clock = MonotonicClock> {
    limiter: RateLimiter<u64, Slots, C, NoOpMiddleware<C::Instant>>,
    /// Random, so that nobody can choose whose slot to share.
    seed: RandomState,
}

impl<C: Clock> Rate<C> {
    /// No server answers as many a second; and the time between two of more than 10⁹ can't be told.
    const MOST: NonZeroU32 = NonZeroU32::new(1_000_000).expect("it isn't zero");

    fn new(per_second: NonZeroU32, clock: C) -> Self {
        let per_second = per_second.min(Self::MOST);
        let at_once = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        Self { limiter: RateLimiter::new(quota, Slots::default(), clock), seed: RandomState::new() }
    }

    /// Counts one more of `whom`; or how long to wait before the next.
    fn count(&self, whom: impl Hash) -> Result<(), Duration> {
        let slot = self.seed.hash_one(whom);
        self.limiter.check_key(&slot).map_err(|early| early.wait_time_from(self.limiter.clock().now()))
    }
}

/// What is known of each, in a table that never grows: 8 bytes a slot, and no lock, sweep or allocation. Two who
/// share a slot share a quota; of 10,000 who are active at once one in a hundred does.
struct Slots(Box<[InMemoryState]>);

impl Slots {
    const COUNT: usize = 1 << 20;
}

impl Default for Slots {
    fn default() -> Self {
        Self(std::iter::repeat_with(InMemoryState::default).take(Self::COUNT).collect())
    }
}

impl StateStore for Slots {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, count: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0[(*key % Self::COUNT as u64) as usize].measure_and_replace(&NotKeyed::NonKey, count)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(per_second: u32) -> (Rate<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rate::new(NonZeroU32::new(per_second).unwrap(), clock.clone()), clock)
    }

    /// How many of the next calls are let through until one isn't, and how long that one is to wait.
    fn burst(rate: &Rate<FakeRelativeClock>, whom: &str) -> (u32, Duration) {
        let mut passed = 0;
        loop {
            match rate.count(whom) {
                Ok(()) => passed += 1,
                Err(wait) => return (passed, wait),
            }
        }
    }

    #[test]
    fn two_seconds_worth_at_once_and_then_the_rate() {
        let (rate, clock) = rate(5);
        assert_eq!(burst(&rate, "ada"), (10, Duration::from_millis(200)));
        clock.advance(Duration::from_millis(199));
        assert_eq!(burst(&rate, "ada"), (0, Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(burst(&rate, "ada"), (1, Duration::from_millis(200)));
        // To ask too early costs nothing: whoever waits as told gets through.
        for _ in 0..1000 {
            assert!(rate.count("ada").is_err());
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(burst(&rate, "ada").0, 5);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(burst(&rate, "ada").0, 10, "a long pause saves up no more");
    }

    #[test]
    fn everybody_has_a_quota_of_their_own() {
        let (rate, _) = rate(1);
        assert_eq!(burst(&rate, "ada").0, 2);
        // The chance that one of them shares ada's slot, and so this fails, is one in ten thousand.
        for n in 0..100 {
            assert_eq!(burst(&rate, &format!("buyer {n}")).0, 2);
        }
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_refuses_few() {
        let (rate, _) = rate(10);
        let refused = (0..200_000).filter(|n| rate.count(n).is_err()).count();
        assert_eq!(rate.limiter.into_state_store().0.len(), Slots::COUNT);
        // Twenty names have to meet in one slot of a million for one to be refused.
        assert_eq!(refused, 0);
    }

    #[test]
    fn any_rate_can_be_asked_for() {
        for per_second in [1, 2, 1_000, u32::MAX] {
            let (passed, wait) = burst(&rate(per_second).0, "ada");
            assert_eq!(passed, 2 * per_second.min(1_000_000));
            assert!(!wait.is_zero());
        }
    }
}
