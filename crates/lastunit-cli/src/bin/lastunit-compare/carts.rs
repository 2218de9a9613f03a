//! Carts in Redis, filled before a run, for every shop in the same way: one buyer an order, so that no cart has to be
//! filled while orders are measured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use redis::AsyncConnectionConfig;

use crate::plan::Workload;

/// Carts that are sent to Redis at once.
const AT_ONCE: u64 = 1000;
/// The longest that Redis may take for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// The buyers whose carts are full: numbers from 1, each handed out once.
#[derive(Debug, Clone)]
pub struct Full {
    next: Arc<AtomicU64>,
    last: u64,
}

impl Full {
    /// So many buyers, whose carts are filled elsewhere or aren't needed.
    pub fn new(buyers: u64) -> Self {
        Self { next: Arc::new(AtomicU64::new(1)), last: buyers }
    }

    /// The next buyer.
    pub fn take(&self) -> Result<u64> {
        let buyer = self.next.fetch_add(1, Ordering::Relaxed);
        ensure!(buyer <= self.last, "all {} carts are ordered: measure for a shorter time", self.last);
        Ok(buyer)
    }
}

/// Empties a database of Redis and fills so many carts in it, under the origin's keys: a hash `carts_<buyer>` of SKU id
/// → units, and a set `selected_<buyer>`.
///
/// `seq` adds `applied_seq_<buyer>` as Lastunit writes it to a cart that is filled through its API.
pub async fn fill(url: &str, workload: Workload, buyers: u64, seq: bool) -> Result<Full> {
    // Nobody is measured yet: a machine that stands still for a second is no reason to give up.
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let mut redis = redis::Client::open(url)?
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .context("Redis can't be reached")?;
    redis::cmd("FLUSHDB").exec_async(&mut redis).await?;
    for first in (1..=buyers).step_by(AT_ONCE as usize) {
        let mut pipeline = redis::pipe();
        for buyer in first..=buyers.min(first + AT_ONCE - 1) {
            for sku in workload.pick() {
                pipeline.hset(format!("carts_{buyer}"), sku, 1).ignore();
                pipeline.sadd(format!("selected_{buyer}"), sku).ignore();
            }
            if seq {
                pipeline.set(format!("applied_seq_{buyer}"), 0).ignore();
            }
        }
        pipeline.exec_async(&mut redis).await?;
    }
    Ok(Full::new(buyers))
}

#[cfg(test)]
mod tests {
    use super::Full;

    #[test]
    fn each_cart_is_ordered_once() {
        let full = Full::new(2);
        let other = full.clone();
        assert_eq!((full.take().expect("one"), other.take().expect("two")), (1, 2));
        assert!(full.take().is_err_and(|error| error.to_string().contains("all 2 carts")));
    }
}
