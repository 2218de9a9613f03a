//! Selling, measured the same way for every shop: orders in a closed loop, or a stock that is sold out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

use crate::{Buyer, Measured, closed_loop};

/// What a shop says to an order that it decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The order is placed.
    Placed,
    /// There is not enough in stock.
    Refused,
}

/// A buyer of some shop.
pub trait Shopper: Send + 'static {
    /// Orders once. An error is an order that wasn't decided (a conflict, a deadlock, a 500): the next call tries the
    /// same order again.
    fn order(&mut self) -> impl Future<Output = Result<Answer>> + Send;
}

/// What a run gave; of several runs of the same kind the medians count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Orders placed a second, or (selling out) attempts decided a second.
    pub per_second: f64,
    /// How long a buyer waited for an order, with what had to be tried again; percentiles in milliseconds.
    pub p50_ms: f64,
    /// See `p50_ms`.
    pub p99_ms: f64,
    /// See `p50_ms`.
    pub max_ms: f64,
    /// Orders placed, with those of the warm-up.
    pub placed: u64,
    /// Orders refused for want of stock.
    pub refused: u64,
    /// Tries that ended in an error.
    pub failed: u64,
    /// The first of those errors.
    pub failure: Option<String>,
    /// Only of a stock that was sold out.
    pub sell_out: Option<SellOut>,
}

/// How a stock was sold out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SellOut {
    /// Units there were.
    pub stock: u64,
    /// Orders of one unit that were sent.
    pub attempts: u64,
    /// From the first attempt to the last answer.
    pub took_s: f64,
    /// Median wait for an order that was placed.
    pub sale_p50_ms: f64,
    /// Median wait for a refusal.
    pub refusal_p50_ms: f64,
}

/// What a shop's own books say after a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// Units in its orders.
    pub sold: i64,
    /// Units ordered beyond what there was, of all SKUs.
    pub oversold: i64,
    /// Units in orders that were never taken from the stock, or are missing in its counters of sales.
    pub lost: i64,
}

/// How often one order is tried before its run is given up.
const MOST_TRIES: u32 = 1_000;

#[derive(Default)]
struct Tally {
    placed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    failure: std::sync::OnceLock<String>,
}

impl Tally {
    fn add(&self, answer: &Result<Answer>) {
        let counter = match answer {
            Ok(Answer::Placed) => &self.placed,
            Ok(Answer::Refused) => &self.refused,
            Err(error) => {
                self.failure.get_or_init(|| format!("{error:#}"));
                &self.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn run(&self, per_second: f64, latency_us: &Histogram<u64>, sell_out: Option<SellOut>) -> Run {
        Run {
            per_second,
            p50_ms: percentile_ms(latency_us, 50.0),
            p99_ms: percentile_ms(latency_us, 99.0),
            max_ms: percentile_ms(latency_us, 100.0),
            placed: self.placed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            failure: self.failure.get().cloned(),
            sell_out,
        }
    }
}

fn percentile_ms(latency_us: &Histogram<u64>, percentile: f64) -> f64 {
    latency_us.value_at_quantile(percentile / 100.0) as f64 / 1000.0
}

/// A shopper who wants every order placed, and tries it again until it is.
struct Persistent<S> {
    shopper: S,
    tally: Arc<Tally>,
}

impl<S: Shopper> Buyer for Persistent<S> {
    async fn call(&mut self) -> Result<()> {
        for _ in 0..MOST_TRIES {
            let answer = self.shopper.order().await;
            self.tally.add(&answer);
            match answer {
                Ok(answer) => {
                    ensure!(answer == Answer::Placed, "a shop with plenty in stock refused an order");
                    return Ok(());
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
        let failure = self.tally.failure.get().map_or("", String::as_str);
        anyhow::bail!("an order wasn't placed in {MOST_TRIES} tries: {failure}")
    }
}

/// Orders in a closed loop from a shop with plenty in stock.
pub async fn steady<S: Shopper>(shoppers: Vec<S>, warm_up: Duration, measured: Duration) -> Result<Run> {
    let tally = Arc::new(Tally::default());
    let buyers = shoppers.into_iter().map(|shopper| Persistent { shopper, tally: tally.clone() }).collect();
    let measured = closed_loop(buyers, warm_up, measured).await?;
    ensure!(measured.answered > 0, "no order was placed in the measured time: measure for longer");
    let Measured { latency_us, .. } = &measured;
    Ok(tally.run(measured.per_second(), latency_us, None))
}

/// Sends so many orders of one unit each, from all shoppers at once, to a shop that has fewer units.
pub async fn sell_out<S: Shopper>(shoppers: Vec<S>, stock: u64, attempts: u64) -> Result<Run> {
    let tally = Arc::new(Tally::default());
    let taken = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(shoppers.len() + 1));
    let tasks: Vec<_> = shoppers
        .into_iter()
        .map(|mut shopper| {
            let (tally, taken, start) = (tally.clone(), taken.clone(), start.clone());
            tokio::spawn(async move {
                let mut waits = Waits::new()?;
                start.wait().await;
                while taken.fetch_add(1, Ordering::Relaxed) < attempts {
                    let begun = Instant::now();
                    let answer = shopper.order().await;
                    waits.record(&answer, begun.elapsed());
                    tally.add(&answer);
                }
                anyhow::Ok(waits)
            })
        })
        .collect();
    start.wait().await;
    let begun = Instant::now();
    let mut of_all = Vec::with_capacity(tasks.len());
    for task in tasks {
        of_all.push(task.await.context("a buyer ended")??);
    }
    // Before all is added up, which takes as long as hundreds of orders.
    let took_s = begun.elapsed().as_secs_f64();
    let mut waits = Waits::new()?;
    of_all.into_iter().try_for_each(|of_one| waits.add(of_one))?;
    let sell_out = SellOut {
        stock,
        attempts,
        took_s,
        sale_p50_ms: percentile_ms(&waits.sales_us, 50.0),
        refusal_p50_ms: percentile_ms(&waits.refusals_us, 50.0),
    };
    Ok(tally.run(attempts as f64 / took_s, &waits.all_us()?, Some(sell_out)))
}

struct Waits {
    sales_us: Histogram<u64>,
    refusals_us: Histogram<u64>,
    failures_us: Histogram<u64>,
}

impl Waits {
    fn new() -> Result<Self> {
        let empty = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self { sales_us: empty()?, refusals_us: empty()?, failures_us: empty()? })
    }

    fn record(&mut self, answer: &Result<Answer>, took: Duration) {
        let histogram = match answer {
            Ok(Answer::Placed) => &mut self.sales_us,
            Ok(Answer::Refused) => &mut self.refusals_us,
            Err(_) => &mut self.failures_us,
        };
        histogram.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.sales_us.add(other.sales_us)?;
        self.refusals_us.add(other.refusals_us)?;
        self.failures_us.add(other.failures_us)?;
        Ok(())
    }

    /// Of all attempts.
    fn all_us(&self) -> Result<Histogram<u64>> {
        let mut all_us = self.sales_us.clone();
        all_us.add(&self.refusals_us)?;
        all_us.add(&self.failures_us)?;
        Ok(all_us)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use anyhow::bail;

    use super::*;

    /// A shop in memory, each of whose buyers fails every third time.
    struct Flaky {
        stock: Arc<AtomicI64>,
        calls: u32,
    }

    impl Shopper for Flaky {
        async fn order(&mut self) -> Result<Answer> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                bail!("call {} fails", self.calls);
            }
            let before = self.stock.fetch_sub(1, Ordering::Relaxed);
            Ok(if before > 0 { Answer::Placed } else { Answer::Refused })
        }
    }

    fn flaky(buyers: usize, stock: i64) -> (Vec<Flaky>, Arc<AtomicI64>) {
        let stock = Arc::new(AtomicI64::new(stock));
        ((0..buyers).map(|_| Flaky { stock: stock.clone(), calls: 0 }).collect(), stock)
    }

    #[tokio::test]
    async fn a_stock_is_sold_out_by_as_many_attempts_as_were_asked_for() {
        let (shoppers, _) = flaky(4, 10);
        let run = sell_out(shoppers, 10, 60).await.expect("a run");
        assert_eq!((run.placed, run.placed + run.refused + run.failed), (10, 60));
        assert_eq!(run.failure.as_deref(), Some("call 3 fails"));
        let sell_out = run.sell_out.expect("its figures");
        assert_eq!((sell_out.stock, sell_out.attempts), (10, 60));
        assert!(sell_out.sale_p50_ms >= 1.0 && sell_out.refusal_p50_ms >= 1.0);
        assert!((run.per_second - 60.0 / sell_out.took_s).abs() < 1e-9);
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_and_the_buyer_waits_for_it() {
        let (shoppers, stock) = flaky(2, 1_000_000);
        let run =
            steady(shoppers, Duration::from_millis(20), Duration::from_millis(200)).await.expect("a run");
        assert_eq!(1_000_000 - stock.load(Ordering::Relaxed), run.placed as i64);
        assert!(run.failed > 0 && run.failed <= run.placed / 2, "{run:?}");
        assert!(run.max_ms >= 2.0, "a wait of two tries: {run:?}");
    }

    #[tokio::test]
    async fn a_refusal_ends_a_run_that_needs_plenty() {
        let (shoppers, _) = flaky(2, 10);
        let run = steady(shoppers, Duration::ZERO, Duration::from_millis(100)).await;
        assert!(run.is_err_and(|error| error.to_string().contains("refused")));
    }

    /// Never answers but by an error.
    struct Broken;

    impl Shopper for Broken {
        async fn order(&mut self) -> Result<Answer> {
            bail!("deadlock detected")
        }
    }

    #[tokio::test]
    async fn tries_have_a_limit_and_the_first_error_is_told() {
        let run = steady(vec![Broken], Duration::ZERO, Duration::from_millis(10)).await;
        assert!(run.is_err_and(|error| error.to_string().contains("1000 tries: deadlock detected")));
    }
}
