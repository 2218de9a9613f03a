//! Open loop: calls come at a fixed rate, however long the answers take. A call that can't start when it should waits,
//! and its latency counts from when it should have started; so a server that stands still for a second is seen by
//! all who came in that second, and not only by those who were inside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};

use crate::{
    load::{Attempts, ended, sum},
    measured::{Measured, Punctuality, Tally},
};

/// Runs calls that are due at this rate for a warm-up and then for the measured time, at most as many at once as there
/// are buyers; any call that fails ends the run. Calls that are due are made up for, at most as long as the measured
/// time is; then they count as not started.
pub async fn open_loop<B: Attempts>(
    buyers: Vec<B>,
    per_second: f64,
    warm_up: Duration,
    measured: Duration,
) -> Result<Measured> {
    // A thread of its own: tokio's timers are as coarse as a millisecond.
    let pace = |mut gate: Gate| {
        tokio::task::spawn_blocking(move || {
            while let Some(next) = gate.let_in() {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        })
    };
    run(buyers, Schedule::new(per_second, warm_up, measured)?, pace).await
}

/// When each call should start, counted from the first.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    per_second: f64,
    warm_up: Duration,
    measured: Duration,
}

impl Schedule {
    fn new(per_second: f64, warm_up: Duration, measured: Duration) -> Result<Self> {
        ensure!(per_second.is_finite() && per_second > 0.0, "a rate is more than 0 a second");
        Ok(Self { per_second, warm_up, measured })
    }

    fn intended(&self, call: u64) -> Duration {
        Duration::from_secs_f64(call as f64 / self.per_second)
    }

    /// Calls that should start before this time is over.
    fn before(&self, end: Duration) -> u64 {
        // Durations are in whole nanoseconds: what is lost by that may not make it another call.
        (end.as_secs_f64() * self.per_second - 0.01).ceil() as u64
    }

    fn calls(&self) -> u64 {
        self.before(self.warm_up + self.measured)
    }

    /// The latest time at which a belated call still starts.
    fn last_start(&self) -> Duration {
        self.warm_up + 2 * self.measured
    }
}

/// Lets calls in when they are due, one permit each.
struct Gate {
    schedule: Schedule,
    begun: Instant,
    let_in: u64,
    buyers: usize,
    due: Arc<Semaphore>,
}

impl Gate {
    /// Lets in whatever is due by now; when the next is, or `None` at the end.
    fn let_in(&mut self) -> Option<Instant> {
        let calls = self.schedule.calls();
        let mut due = self.let_in;
        while due < calls && self.begun + self.schedule.intended(due) <= Instant::now() {
            due += 1;
        }
        self.due.add_permits((due - self.let_in) as usize);
        self.let_in = due;
        if due < calls {
            return Some(self.begun + self.schedule.intended(due));
        }
        // One more for each buyer, who learns thereby that it is over.
        self.due.add_permits(self.buyers);
        None
    }
}

async fn run<B: Attempts>(
    buyers: Vec<B>,
    schedule: Schedule,
    pace: impl FnOnce(Gate) -> JoinHandle<()>,
) -> Result<Measured> {
    let due = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let not_started = Arc::new(AtomicU64::new(0));
    let worst_late_us = Arc::new(AtomicU64::new(0));
    let last_start_us = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let gate = Gate { schedule, begun, let_in: 0, buyers: buyers.len(), due: due.clone() };
    let first_measured = schedule.before(schedule.warm_up);
    let tasks: Vec<_> = buyers
        .into_iter()
        .map(|mut buyer| {
            let (due, next) = (due.clone(), next.clone());
            let (not_started, worst_late_us) = (not_started.clone(), worst_late_us.clone());
            let last_start_us = last_start_us.clone();
            tokio::spawn(async move {
                let mut tally = Tally::new()?;
                loop {
                    due.acquire().await?.forget();
                    let call = next.fetch_add(1, Ordering::Relaxed);
                    if call >= schedule.calls() {
                        return Ok(tally);
                    }
                    let is_measured = call >= first_measured;
                    if begun.elapsed() > schedule.last_start() {
                        not_started.fetch_add(u64::from(is_measured), Ordering::Relaxed);
                        continue;
                    }
                    let intended = begun + schedule.intended(call);
                    let late = intended.elapsed();
                    last_start_us.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                    let answer = buyer.attempt().await?;
                    if is_measured {
                        tally.measured(answer, intended.elapsed());
                        worst_late_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
                    } else {
                        tally.unmeasured(answer);
                    }
                }
            })
        })
        .collect();
    let paced = pace(gate);
    let tally = sum(&ended(tasks).await?)?;
    // Until the call after the last one would have started: longer than intended if the last one came late.
    let last_start = Duration::from_micros(last_start_us.load(Ordering::Relaxed));
    let took = (last_start + schedule.intended(1)).saturating_sub(schedule.warm_up).max(schedule.measured);
    paced.await?;
    let punctuality = Punctuality {
        wanted_per_second: schedule.per_second,
        worst_start_late: Duration::from_micros(worst_late_us.load(Ordering::Relaxed)),
        not_started: not_started.load(Ordering::Relaxed),
    };
    Ok(tally.over(took, Some(punctuality)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{load::closed_loop, measured::Answer};

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// A server that answers after a millisecond, and once, at its thousandth call, stands still for two seconds.
    #[derive(Clone, Default)]
    struct Stalls(Arc<AtomicU64>);

    impl Attempts for Stalls {
        async fn attempt(&mut self) -> Result<Answer> {
            let call = self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(if call == 1000 { 2 * SECOND } else { MS }).await;
            Ok(Answer::Placed)
        }
    }

    /// A server that always takes so long.
    #[derive(Clone)]
    struct Takes(Duration);

    impl Attempts for Takes {
        async fn attempt(&mut self) -> Result<Answer> {
            tokio::time::sleep(self.0).await;
            Ok(Answer::Placed)
        }
    }

    /// As `open_loop`, with time that is tokio's and paused.
    async fn open<B: Attempts>(buyers: Vec<B>, per_second: f64, seconds: u32) -> Measured {
        let pace = |mut gate: Gate| {
            tokio::spawn(async move {
                while let Some(next) = gate.let_in() {
                    tokio::time::sleep_until(next).await;
                }
            })
        };
        let schedule = Schedule::new(per_second, SECOND, seconds * SECOND).unwrap();
        run(buyers, schedule, pace).await.unwrap()
    }

    #[test]
    fn the_schedule_loses_no_call() {
        for per_second in [0.5, 1.0, 3.0, 7.0, 1000.0, 33_333.0] {
            let schedule = Schedule::new(per_second, SECOND, 9 * SECOND).unwrap();
            assert_eq!(schedule.calls(), (10.0 * per_second) as u64);
            for call in 0..schedule.calls().min(50_000) {
                assert_eq!(schedule.before(schedule.intended(call)), call, "at {per_second} a second");
            }
        }
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Schedule::new(wrong, SECOND, SECOND).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_can_be_kept_is_kept() {
        let measured = open(vec![Takes(5 * MS); 10], 500.0, 4).await;
        assert_eq!((measured.answered, measured.placed_in_all), (2000, 2500));
        assert!((499.0..=500.0).contains(&measured.per_second()), "{}", measured.per_second());
        assert!((5.0..=7.0).contains(&measured.percentile_ms(100.0)), "{}", measured.percentile_ms(100.0));
        let punctuality = measured.punctuality.unwrap();
        assert_eq!((punctuality.wanted_per_second, punctuality.not_started), (500.0, 0));
        assert!(punctuality.worst_start_late <= MS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_stall_is_seen_by_all_who_came_meanwhile() {
        // 100 a second for 20 seconds after one: all that come in two of those wait, 10 %.
        let measured = open(vec![Stalls::default()], 100.0, 20).await;
        assert_eq!((measured.answered, measured.turned_away), (2000, 0));
        assert!(measured.percentile_ms(50.0) <= 2.0);
        assert!(
            (1_500.0..=2_000.0).contains(&measured.percentile_ms(99.0)),
            "{}",
            measured.percentile_ms(99.0)
        );
        assert!((1_990.0..=2_010.0).contains(&measured.percentile_ms(100.0)));
        let late = measured.punctuality.unwrap().worst_start_late;
        assert!((1_980 * MS..=2_000 * MS).contains(&late), "{late:?}");

        // The closed loop that meets the same stall hides it in one call of thousands.
        let closed = closed_loop(vec![Stalls::default()], Duration::ZERO, 20 * SECOND).await.unwrap();
        assert!(closed.percentile_ms(99.0) <= 2.0);
        assert!(closed.percentile_ms(100.0) >= 1_990.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_and_never_starts_is_counted() {
        // Two buyers answer 20 a second; of 1000 that come in ten seconds, it takes until the 21st second, when the
        // rest is given up. The warm-up's 100 calls take the first 5 seconds.
        let measured = open(vec![Takes(100 * MS); 2], 100.0, 10).await;
        let punctuality = measured.punctuality.unwrap();
        assert_eq!(measured.answered + punctuality.not_started, 1000);
        assert!((310..=330).contains(&measured.answered), "{}", measured.answered);
        assert!((19.0..=21.0).contains(&(measured.placed_in_all as f64 / 21.0)));
        assert!(punctuality.worst_start_late > 10 * SECOND);
        assert!(measured.took >= 20 * SECOND);
    }

    #[tokio::test]
    async fn threads_keep_the_pace_too() {
        let measured = open_loop(vec![Takes(MS); 50], 2000.0, 10 * MS, 100 * MS).await.unwrap();
        assert_eq!((measured.answered, measured.placed_in_all), (200, 220));
        assert!(measured.per_second() <= 2000.0);
    }

    #[tokio::test]
    async fn a_call_that_fails_ends_the_run() {
        struct Fails;
        impl Attempts for Fails {
            async fn attempt(&mut self) -> Result<Answer> {
                anyhow::bail!("no answer")
            }
        }
        let ended = open_loop(vec![Fails], 1000.0, Duration::ZERO, 10 * MS).await;
        assert_eq!(ended.err().unwrap().to_string(), "no answer");
    }
}
