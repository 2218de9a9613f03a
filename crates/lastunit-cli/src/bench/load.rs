//! How buyers come: one call after the other, at a fixed rate, or until nothing is left.

use std::time::Duration;

use anyhow::{Result, ensure};
use lastunit_bench::{Attempts, Measured, Picks, Popularity, closed_loop, open_loop, sell_out};

/// What every buyer orders: one unit each of so many different SKUs.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// SKUs there are.
    pub skus: i64,
    /// Lines of an order.
    pub lines: usize,
    /// Which SKUs they are.
    pub popularity: Popularity,
}

impl Workload {
    /// One unit of the only SKU.
    pub const HOT: Self = Self { skus: 1, lines: 1, popularity: Popularity::Hot };

    /// Draws the SKUs of its orders.
    pub fn picks(&self) -> Result<Picks> {
        Picks::new(self.popularity, usize::try_from(self.skus)?, self.lines)
    }
}

/// How buyers come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Each sends its next order when the last one is answered.
    Closed,
    /// Orders are due at this rate.
    Open { per_second: f64 },
    /// So many attempts, to the end.
    SellOut { attempts: u64 },
}

impl Load {
    /// As a word for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed loop",
            Self::Open { .. } => "open loop",
            Self::SellOut { .. } => "sell-out",
        }
    }

    /// Runs it; loops are warmed up for a fifth of the measured time.
    pub async fn run<B: Attempts>(self, buyers: Vec<B>, seconds: f64) -> Result<Measured> {
        let (warm_up, measured) = (Duration::from_secs_f64(seconds / 5.0), Duration::from_secs_f64(seconds));
        match self {
            Self::Closed => closed_loop(buyers, warm_up, measured).await,
            Self::Open { per_second } => open_loop(buyers, per_second, warm_up, measured).await,
            Self::SellOut { attempts } => sell_out(buyers, attempts).await,
        }
    }
}

/// Refuses a run of which an order wasn't placed, where there is plenty for all.
pub fn all_placed(measured: Measured) -> Result<Measured> {
    let Measured { refused, turned_away_in_all, .. } = measured;
    ensure!(
        refused == 0 && turned_away_in_all == 0,
        "of the benchmark's orders {refused} were refused and {turned_away_in_all} turned away"
    );
    Ok(measured)
}
