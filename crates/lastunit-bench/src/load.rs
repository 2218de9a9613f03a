//! Closed-loop load: so many buyers, each sends its next order when the last one is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;
use tokio::sync::Barrier;

/// What one run of a load gave.
pub struct Measured {
    /// Calls answered in the measured time.
    pub answered: u64,
    /// The measured time.
    pub took: Duration,
    /// Latencies in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Measured {
    /// Calls answered a second.
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// A latency percentile in milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency_us.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}

/// A buyer: makes one call after another.
pub trait Buyer: Send + 'static {
    /// One call, from its start to its answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// Runs the buyers for a warm-up and then for the measured time; any call that fails ends the run.
pub async fn closed_loop<B: Buyer>(
    buyers: Vec<B>,
    warm_up: Duration,
    measured: Duration,
) -> Result<Measured> {
    let stop = Arc::new(AtomicBool::new(false));
    let counting = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(buyers.len() + 1));
    let tasks: Vec<_> = buyers
        .into_iter()
        .map(|mut buyer| {
            let (stop, counting, start) = (stop.clone(), counting.clone(), start.clone());
            let answered = answered.clone();
            tokio::spawn(async move {
                let mut latency_us = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
                start.wait().await;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    buyer.call().await?;
                    if counting.load(Ordering::Relaxed) {
                        answered.fetch_add(1, Ordering::Relaxed);
                        latency_us.record(begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX))?;
                    }
                }
                anyhow::Ok(latency_us)
            })
        })
        .collect();
    start.wait().await;
    tokio::time::sleep(warm_up).await;
    counting.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    tokio::time::sleep(measured).await;
    counting.store(false, Ordering::Relaxed);
    let took = begun.elapsed();
    stop.store(true, Ordering::Relaxed);
    let mut latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    for task in tasks {
        latency_us.add(task.await??)?;
    }
    Ok(Measured { answered: answered.load(Ordering::Relaxed), took, latency_us })
}
