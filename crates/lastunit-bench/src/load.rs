//! Closed loops: so many buyers, each sends its next order when the last one is answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{sync::Barrier, task::JoinHandle, time::Instant};

use crate::measured::{Answer, Measured, Tally};

/// A buyer whose calls all have to be answered well: one that isn't ends the run.
pub trait Buyer: Send + 'static {
    /// One call, from its start to its answer.
    fn call(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// A buyer that may be refused or turned away. Every [`Buyer`] is one, to whom that doesn't happen.
pub trait Attempts: Send + 'static {
    /// One call, from its start to its answer; an error ends the run.
    fn attempt(&mut self) -> impl Future<Output = Result<Answer>> + Send;
}

impl<B: Buyer> Attempts for B {
    async fn attempt(&mut self) -> Result<Answer> {
        self.call().await.map(|()| Answer::Placed)
    }
}

/// Runs the buyers for a warm-up and then for the measured time; any call that fails ends the run.
pub async fn closed_loop<B: Attempts>(
    buyers: Vec<B>,
    warm_up: Duration,
    measured: Duration,
) -> Result<Measured> {
    let stop = Arc::new(AtomicBool::new(false));
    let counting = Arc::new(AtomicBool::new(false));
    let start = Arc::new(Barrier::new(buyers.len() + 1));
    let tasks: Vec<_> = buyers
        .into_iter()
        .map(|mut buyer| {
            let (stop, counting, start) = (stop.clone(), counting.clone(), start.clone());
            tokio::spawn(async move {
                let mut tally = Tally::new()?;
                start.wait().await;
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let answer = buyer.attempt().await?;
                    if counting.load(Ordering::Relaxed) {
                        tally.measured(answer, begun.elapsed());
                    } else {
                        tally.unmeasured(answer);
                    }
                }
                Ok(tally)
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
    Ok(sum(&ended(tasks).await?)?.over(took, None))
}

/// Runs so many attempts, shared by the buyers, to the end of the last one. There is no warm-up: stock that is sold
/// is gone.
pub async fn sell_out<B: Attempts>(buyers: Vec<B>, attempts: u64) -> Result<Measured> {
    let taken = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(buyers.len() + 1));
    let tasks: Vec<_> = buyers
        .into_iter()
        .map(|mut buyer| {
            let (taken, start) = (taken.clone(), start.clone());
            tokio::spawn(async move {
                let mut tally = Tally::new()?;
                start.wait().await;
                while taken.fetch_add(1, Ordering::Relaxed) < attempts {
                    let begun = Instant::now();
                    let answer = buyer.attempt().await?;
                    tally.measured(answer, begun.elapsed());
                }
                Ok(tally)
            })
        })
        .collect();
    start.wait().await;
    let begun = Instant::now();
    let tallies = ended(tasks).await?;
    // Before all is added up, which takes as long as hundreds of orders.
    let took = begun.elapsed();
    Ok(sum(&tallies)?.over(took, None))
}

/// What each buyer has seen, once all have ended.
pub(crate) async fn ended(tasks: Vec<JoinHandle<Result<Tally>>>) -> Result<Vec<Tally>> {
    let mut tallies = Vec::with_capacity(tasks.len());
    for task in tasks {
        tallies.push(task.await??);
    }
    Ok(tallies)
}

/// What all of them have seen.
pub(crate) fn sum(tallies: &[Tally]) -> Result<Tally> {
    let mut all = Tally::new()?;
    tallies.iter().try_for_each(|tally| all.add(tally))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after 2 ms: places while there is stock, turns every tenth call away.
    struct Shopper {
        stock: Arc<AtomicU64>,
        calls: Arc<AtomicU64>,
    }

    impl Attempts for Shopper {
        async fn attempt(&mut self) -> Result<Answer> {
            tokio::time::sleep(Duration::from_millis(2)).await;
            if self.calls.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
                return Ok(Answer::TurnedAway);
            }
            let taken =
                self.stock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            Ok(if taken.is_ok() { Answer::Placed } else { Answer::Refused })
        }
    }

    fn shoppers(count: usize, stock: u64) -> (Vec<Shopper>, Arc<AtomicU64>) {
        let (stock, calls) = (Arc::new(AtomicU64::new(stock)), Arc::new(AtomicU64::new(0)));
        let shopper = || Shopper { stock: stock.clone(), calls: calls.clone() };
        ((0..count).map(|_| shopper()).collect(), calls)
    }

    #[tokio::test(start_paused = true)]
    async fn a_sell_out_makes_so_many_attempts_and_counts_the_answers() {
        let (buyers, calls) = shoppers(7, 30);
        let measured = sell_out(buyers, 100).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 100);
        assert_eq!((measured.placed(), measured.refused, measured.turned_away), (30, 60, 10));
        assert_eq!((measured.answered, measured.latency_us.len()), (90, 90));
        assert_eq!((measured.placed_in_all, measured.turned_away_in_all), (30, 10));
        // 100 calls of 2 ms by 7 buyers: 15 turns.
        assert_eq!(measured.took, Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_measures_after_its_warm_up() {
        let (buyers, calls) = shoppers(10, u64::MAX);
        let second = Duration::from_secs(1);
        let measured = closed_loop(buyers, second, 2 * second).await.unwrap();
        let calls = calls.load(Ordering::Relaxed);
        assert_eq!(measured.placed_in_all + measured.turned_away_in_all, calls);
        // 10 buyers, 500 calls a second each, of which nine in ten are answered; the last turn may be in or out.
        assert!((14_990..=15_010).contains(&calls), "{calls}");
        assert!((8_980..=9_020).contains(&measured.answered), "{}", measured.answered);
        assert_eq!((measured.refused, measured.took), (0, 2 * second));
        assert_eq!(measured.percentile_ms(50.0), 2.0);
    }
}
