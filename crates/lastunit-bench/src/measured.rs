//! What a load gave: how many calls were answered and how, and how long they took.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// How a call was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There is an order now (or whatever else was asked for).
    Placed,
    /// Decided against.
    Refused,
    /// Not decided: told to come back later. Whether there is an order is unknown.
    TurnedAway,
}

/// What one run of a load gave.
pub struct Measured {
    /// Calls decided in the measured time: placed or refused.
    pub answered: u64,
    /// Of those, how many were refused.
    pub refused: u64,
    /// Calls that were turned away in the measured time. They are not among the answered ones, and have no latency.
    pub turned_away: u64,
    /// Calls placed from the first to the last, those of the warm-up too.
    pub placed_in_all: u64,
    /// Calls turned away from the first to the last.
    pub turned_away_in_all: u64,
    /// The measured time.
    pub took: Duration,
    /// Latencies in microseconds of the answered calls, up to a minute: whatever takes longer counts as a minute.
    pub latency_us: Histogram<u64>,
    /// How well an open loop kept to its schedule.
    pub punctuality: Option<Punctuality>,
}

/// How well an open loop kept to its schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Punctuality {
    /// The rate that was asked for.
    pub wanted_per_second: f64,
    /// How much later than intended the most belated measured call started, because every buyer was busy.
    pub worst_start_late: Duration,
    /// Measured calls that never started: they would have been later than the whole measured time is long.
    pub not_started: u64,
}

impl Measured {
    /// Calls answered a second.
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// Calls placed in the measured time.
    pub fn placed(&self) -> u64 {
        self.answered - self.refused
    }

    /// A latency percentile in milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency_us.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}

/// The longest latency that is told apart.
const LONGEST_US: u64 = 60_000_000;

/// What one buyer has seen so far; those of all buyers are summed.
pub(crate) struct Tally {
    answered: u64,
    refused: u64,
    turned_away: u64,
    placed_in_all: u64,
    turned_away_in_all: u64,
    latency_us: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let latency_us = Histogram::new_with_bounds(1, LONGEST_US, 3)?;
        Ok(Self {
            answered: 0,
            refused: 0,
            turned_away: 0,
            placed_in_all: 0,
            turned_away_in_all: 0,
            latency_us,
        })
    }

    /// Counts a call outside the measured time.
    pub(crate) fn unmeasured(&mut self, answer: Answer) {
        self.placed_in_all += u64::from(answer == Answer::Placed);
        self.turned_away_in_all += u64::from(answer == Answer::TurnedAway);
    }

    /// Counts a call.
    pub(crate) fn measured(&mut self, answer: Answer, latency: Duration) {
        self.unmeasured(answer);
        if answer == Answer::TurnedAway {
            self.turned_away += 1;
            return;
        }
        self.answered += 1;
        self.refused += u64::from(answer == Answer::Refused);
        self.latency_us.saturating_record(latency.as_micros().try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.answered += other.answered;
        self.refused += other.refused;
        self.turned_away += other.turned_away;
        self.placed_in_all += other.placed_in_all;
        self.turned_away_in_all += other.turned_away_in_all;
        Ok(self.latency_us.add(&other.latency_us)?)
    }

    pub(crate) fn over(self, took: Duration, punctuality: Option<Punctuality>) -> Measured {
        let Self { answered, refused, turned_away, placed_in_all, turned_away_in_all, latency_us } = self;
        Measured {
            answered,
            refused,
            turned_away,
            placed_in_all,
            turned_away_in_all,
            took,
            latency_us,
            punctuality,
        }
    }
}
