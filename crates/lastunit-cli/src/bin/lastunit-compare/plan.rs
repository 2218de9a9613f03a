//! What is measured: which shop, and what its buyers do.

use std::fmt;

use serde::Serialize;

/// A shop, and the way it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// The origin's view on Django, with one of its locking strategies.
    Django(Cure),
    /// `lastunit serve` on PostgreSQL, ordering the carts that are in Redis.
    LastunitCarts,
    /// `lastunit serve` on PostgreSQL, with the lines in the call.
    LastunitLines,
    /// `lastunit serve` on SQLite, with the lines in the call.
    LastunitSqlite,
    /// The library on SQLite, in the process of the buyers.
    LastunitInProcess,
    /// The library on PostgreSQL, in the process of the buyers.
    LastunitInProcessPostgres,
    /// stateset-embedded in the process of its buyers.
    Stateset(Kept),
    /// Vendure, a whole checkout an order.
    Vendure,
}

/// The origin's ways to keep buyers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cure {
    Naive,
    Optimistic,
    Pessimistic,
    Queue,
}

impl Cure {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Optimistic => "optimistic",
            Self::Pessimistic => "pessimistic",
            Self::Queue => "queue",
        }
    }
}

/// Where an embedded shop keeps its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// As it comes: not durable, for a power cut loses the last commits.
    SqliteNormal,
    /// As durable as Lastunit: synchronous=FULL.
    SqliteFull,
    Postgres,
}

/// What may be chosen on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Peer {
    Django,
    Vendure,
    Stateset,
}

impl System {
    /// The peer that has to be installed for it; none for Lastunit.
    pub fn peer(self) -> Option<Peer> {
        match self {
            Self::Django(_) => Some(Peer::Django),
            Self::Vendure => Some(Peer::Vendure),
            Self::Stateset(_) => Some(Peer::Stateset),
            _ => None,
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Django(Cure::Queue) => f.write_str("Django, queue (Celery, one worker)"),
            Self::Django(cure) => write!(f, "Django, {}", cure.as_str()),
            Self::LastunitCarts => f.write_str("Lastunit, PostgreSQL, carts in Redis"),
            Self::LastunitLines => f.write_str("Lastunit, PostgreSQL, lines in the call"),
            Self::LastunitSqlite => f.write_str("Lastunit, SQLite, lines in the call"),
            Self::LastunitInProcess => f.write_str("Lastunit, SQLite, in process"),
            Self::LastunitInProcessPostgres => f.write_str("Lastunit, PostgreSQL, in process"),
            Self::Stateset(Kept::SqliteNormal) => {
                f.write_str("stateset-embedded, SQLite as it comes, in process")
            }
            Self::Stateset(Kept::SqliteFull) => f.write_str("stateset-embedded, SQLite, in process"),
            Self::Stateset(Kept::Postgres) => f.write_str("stateset-embedded, PostgreSQL, in process"),
            Self::Vendure => f.write_str("Vendure, complete checkout"),
        }
    }
}

/// What the buyers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// One unit of the one SKU there is.
    Hot,
    /// One unit each of three SKUs out of 1,000.
    Spread,
    /// Many more orders of one unit than there are, by the buyers of the other workloads or a crowd of so many at once.
    SellOut { stock: u64, attempts: u64, crowd: Option<usize> },
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hot => f.write_str("one unit of one SKU"),
            Self::Spread => f.write_str("three lines over 1,000 SKUs"),
            Self::SellOut { stock, attempts, crowd } => {
                write!(f, "a stock of {stock} sold out by {attempts} attempts")?;
                crowd.map_or(Ok(()), |buyers| write!(f, " of {buyers} buyers"))
            }
        }
    }
}

/// Units of each SKU where there are plenty; Vendure's stocks are numbers of 32 bits.
const PLENTY: u64 = 1_000_000_000;

impl Workload {
    /// SKUs there are.
    pub fn skus(self) -> u64 {
        if self == Self::Spread { 1000 } else { 1 }
    }

    /// Lines of an order, each of one unit of another SKU.
    pub fn lines(self) -> usize {
        if self == Self::Spread { 3 } else { 1 }
    }

    /// Units of each SKU.
    pub fn stock(self) -> u64 {
        match self {
            Self::SellOut { stock, .. } => stock,
            Self::Hot | Self::Spread => PLENTY,
        }
    }

    /// Concurrent buyers, where the other workloads have so many.
    pub fn buyers(self, of_others: usize) -> usize {
        match self {
            Self::SellOut { crowd: Some(buyers), .. } => buyers,
            _ => of_others,
        }
    }

    /// The SKUs of one order, taken at random: from 1, each once.
    pub fn pick(self) -> Vec<u64> {
        let mut skus: Vec<u64> = Vec::with_capacity(self.lines());
        while skus.len() < self.lines() {
            let sku = rand::random_range(1..=self.skus());
            if !skus.contains(&sku) {
                skus.push(sku);
            }
        }
        skus
    }
}

/// One row: what is run in each round, or only in the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub system: System,
    pub workload: Workload,
    pub every_round: bool,
}

const fn row(system: System, workload: Workload) -> Row {
    Row { system, workload, every_round: true }
}

/// What takes long and isn't what others are compared to.
const fn once(system: System, workload: Workload) -> Row {
    Row { system, workload, every_round: false }
}

const SELL_OUT: Workload = Workload::SellOut { stock: 1000, attempts: 5000, crowd: None };
/// As it is when a sale begins: everybody presses at once.
const RUSH: Workload = Workload::SellOut { stock: 1000, attempts: 5000, crowd: Some(512) };
/// Scaled down for those who would need minutes.
const SMALL_SELL_OUT: Workload = Workload::SellOut { stock: 200, attempts: 1000, crowd: None };
const SMALLEST_SELL_OUT: Workload = Workload::SellOut { stock: 50, attempts: 250, crowd: None };

const OPTIMISTIC: System = System::Django(Cure::Optimistic);
const NAIVE: System = System::Django(Cure::Naive);
const PESSIMISTIC: System = System::Django(Cure::Pessimistic);
const QUEUE: System = System::Django(Cure::Queue);
const STATESET: System = System::Stateset(Kept::SqliteFull);
const STATESET_LOOSE: System = System::Stateset(Kept::SqliteNormal);
const STATESET_PG: System = System::Stateset(Kept::Postgres);

/// Everything, in the order in which a round goes through it: what is compared is measured close together.
pub const ROWS: &[Row] = &[
    row(OPTIMISTIC, Workload::Hot),
    row(System::LastunitCarts, Workload::Hot),
    row(System::LastunitLines, Workload::Hot),
    row(System::LastunitSqlite, Workload::Hot),
    row(NAIVE, Workload::Hot),
    row(PESSIMISTIC, Workload::Hot),
    row(QUEUE, Workload::Hot),
    row(System::Vendure, Workload::Hot),
    row(System::LastunitInProcess, Workload::Hot),
    row(STATESET, Workload::Hot),
    row(STATESET_LOOSE, Workload::Hot),
    row(System::LastunitInProcessPostgres, Workload::Hot),
    row(STATESET_PG, Workload::Hot),
    row(OPTIMISTIC, Workload::Spread),
    row(System::LastunitCarts, Workload::Spread),
    row(System::LastunitLines, Workload::Spread),
    row(System::LastunitSqlite, Workload::Spread),
    once(PESSIMISTIC, Workload::Spread),
    once(System::Vendure, Workload::Spread),
    row(System::LastunitInProcess, Workload::Spread),
    once(STATESET, Workload::Spread),
    once(System::LastunitInProcessPostgres, Workload::Spread),
    once(STATESET_PG, Workload::Spread),
    row(OPTIMISTIC, SELL_OUT),
    row(System::LastunitCarts, SELL_OUT),
    row(System::LastunitLines, SELL_OUT),
    row(System::LastunitSqlite, SELL_OUT),
    row(OPTIMISTIC, RUSH),
    row(System::LastunitCarts, RUSH),
    row(System::LastunitLines, RUSH),
    row(System::LastunitSqlite, RUSH),
    once(NAIVE, SELL_OUT),
    once(PESSIMISTIC, SELL_OUT),
    once(QUEUE, SMALL_SELL_OUT),
    once(System::Vendure, SMALLEST_SELL_OUT),
    row(System::LastunitInProcess, SELL_OUT),
    once(STATESET, SELL_OUT),
    once(System::LastunitInProcessPostgres, SELL_OUT),
    once(STATESET_PG, SELL_OUT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_as_many_different_skus_as_lines() {
        for workload in [Workload::Hot, Workload::Spread, SELL_OUT, RUSH] {
            let mut skus = workload.pick();
            assert!(skus.iter().all(|sku| (1..=workload.skus()).contains(sku)));
            skus.sort_unstable();
            skus.dedup();
            assert_eq!(skus.len(), workload.lines());
        }
    }

    #[test]
    fn no_row_is_there_twice() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(
                !ROWS[..at].iter().any(|other| (other.system, other.workload) == (row.system, row.workload))
            );
        }
    }
}
