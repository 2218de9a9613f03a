//! The standard table: every strategy in process, one after the other, and the default one over HTTP.

use std::{num::NonZeroUsize, path::Path};

use anyhow::{Result, bail};
use lastunit::Strategy;
use lastunit_bench::{Measured, Popularity};

use super::{
    Findings, fill, function,
    http::{Call, Served},
    in_process,
    limits::{CONSTANT, Limits},
    load::{Load, Workload, all_placed},
    place::Place,
    row::{Row, median},
};
use crate::store_url::StoreUrl;

const HOT: Workload = Workload::HOT;
const SPREAD: Workload = Workload { skus: 1000, lines: 3, popularity: Popularity::Uniform };

/// How a row's orders are placed.
#[derive(Debug, Clone, Copy)]
enum Method {
    /// By an engine, over at most so many connections (`None`: as many as by default).
    Engine(Strategy, Option<NonZeroUsize>),
    /// By the batching engine, at half the rate that the row it is compared to has reached.
    OpenLoop,
    /// By a function on the PostgreSQL server, over so many connections.
    Function(usize),
}

/// A row measured in process, and the row that it is compared to.
#[derive(Debug, Clone, Copy)]
struct Plan {
    name: &'static str,
    method: Method,
    workload: Workload,
    against: usize,
}

const fn plan(name: &'static str, method: Method, workload: Workload, against: usize) -> Plan {
    Plan { name, method, workload, against }
}

const fn by(strategy: Strategy) -> Method {
    Method::Engine(strategy, None)
}

/// One transaction an order is fastest over few connections: more of them only wait for the contended row.
const fn over_4(strategy: Strategy) -> Method {
    Method::Engine(strategy, NonZeroUsize::new(4))
}

const ON_SQLITE: &[Plan] = &[
    plan("batched, one SKU", by(Strategy::Batched), HOT, 0),
    plan("queue: one transaction an order", by(Strategy::Queue), HOT, 0),
    plan("pessimistic: one transaction an order", by(Strategy::Pessimistic), HOT, 0),
    plan("optimistic: one transaction an order", by(Strategy::Optimistic), HOT, 0),
    plan("batched, 3 lines over 1,000 SKUs", by(Strategy::Batched), SPREAD, 0),
    plan("batched, open loop at half that rate", Method::OpenLoop, HOT, 0),
];

const ON_SERVERS: &[Plan] = &[
    plan("batched, one SKU", by(Strategy::Batched), HOT, 0),
    plan("queue: one transaction an order", by(Strategy::Queue), HOT, 0),
    plan("pessimistic, 16 connections", by(Strategy::Pessimistic), HOT, 0),
    plan("pessimistic, 4 connections", over_4(Strategy::Pessimistic), HOT, 0),
    plan("optimistic, 16 connections", by(Strategy::Optimistic), HOT, 0),
    plan("optimistic, 4 connections", over_4(Strategy::Optimistic), HOT, 0),
    plan("batched, 3 lines over 1,000 SKUs", by(Strategy::Batched), SPREAD, 6),
    plan("pessimistic, 3 lines, 16 connections", by(Strategy::Pessimistic), SPREAD, 6),
    plan("optimistic, 3 lines, 16 connections", by(Strategy::Optimistic), SPREAD, 6),
    plan("batched, open loop at half that rate", Method::OpenLoop, HOT, 0),
];

/// What only PostgreSQL is compared to, in addition.
const ON_POSTGRES: &[Plan] = &[
    plan("function on the server, 4 connections", Method::Function(4), HOT, 0),
    plan("function, 3 lines, 4 connections", Method::Function(4), SPREAD, 6),
    plan("function, 3 lines, 16 connections", Method::Function(16), SPREAD, 6),
];

/// More buyers than the default, for memory and for what a longer queue gives.
const MANY_BUYERS: usize = 256;

/// A row measured over HTTP: batched orders of one SKU, or the yardstick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OverHttp {
    Constant,
    Orders,
    ManyBuyers,
    OpenLoop,
}

impl OverHttp {
    const ALL: [Self; 4] = [Self::Constant, Self::Orders, Self::ManyBuyers, Self::OpenLoop];

    fn name(self) -> String {
        match self {
            Self::Constant => CONSTANT.into(),
            Self::Orders => "HTTP: orders, batched, one SKU".into(),
            Self::ManyBuyers => format!("HTTP: orders at {MANY_BUYERS} buyers"),
            Self::OpenLoop => "HTTP: open loop at half that rate".into(),
        }
    }
}

/// How the table is measured.
pub struct Table<'a> {
    pub place: &'a Place,
    pub folder: &'a Path,
    pub buyers: usize,
    pub seconds: f64,
    pub rounds: usize,
    /// Only rows whose name contains it, and those that they are compared to.
    pub only: Option<&'a str>,
}

impl Table<'_> {
    /// Measures it, round by round.
    pub async fn measure(&self) -> Result<Findings> {
        let plans: Vec<Plan> = match self.place {
            Place::Folder(_) => ON_SQLITE.to_vec(),
            Place::Server(StoreUrl::Postgres(..)) => [ON_SERVERS, ON_POSTGRES].concat(),
            Place::Server(_) => ON_SERVERS.to_vec(),
        };
        let (wanted, over_http) = self.chosen(&plans)?;
        let of = plans.iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(plan, _)| plan.workload);
        let over_http_too = over_http.iter().map(|_| HOT);
        let mut limits = Limits::new(self.place.clone(), self.buyers, self.seconds, of.chain(over_http_too));
        // Rows that aren't wanted stay without a run.
        let row = |plan: &Plan| {
            Row::new(plan.name, Load::Closed, self.buyers, limits.of(self.buyers, plan.workload.lines))
        };
        let mut rows: Vec<Row> = plans.iter().map(row).collect();
        let mut http = HttpRows::new(self, &over_http, &limits);
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}: the limits", self.rounds);
            limits.measure(self.folder).await?;
            for (at, plan) in plans.iter().enumerate().filter(|(at, _)| wanted[*at]) {
                eprintln!("round {round} of {}: {}", self.rounds, plan.name);
                let against = rows[plan.against].runs.last().map_or(0.0, Measured::per_second);
                let (load, measured) = self.run(plan, against).await?;
                rows[at].load = load;
                rows[at].runs.push(measured);
            }
            if !over_http.is_empty() {
                eprintln!("round {round} of {}: over HTTP", self.rounds);
                http.measure(self).await?;
            }
        }
        for at in (0..rows.len()).filter(|at| wanted[*at]) {
            rows[at].remark = compared(&rows, &plans, at);
        }
        let mut wanted = wanted.iter();
        rows.retain(|_| wanted.next().is_some_and(|wanted| *wanted));
        let (http_rows, mut notes) = http.finish();
        rows.extend(http_rows);
        notes.extend(limits.note());
        notes.push("every run was on a fresh database, and ended with all invariants checked".into());
        Ok(Findings { limits: limits.measured, rows, notes, ..Findings::default() })
    }

    /// Which of the plans are wanted, and which rows over HTTP.
    fn chosen(&self, plans: &[Plan]) -> Result<(Vec<bool>, Vec<OverHttp>)> {
        let named = |name: &str| self.only.is_none_or(|only| name.contains(only));
        let mut wanted: Vec<bool> = plans.iter().map(|plan| named(plan.name)).collect();
        for (at, plan) in plans.iter().enumerate() {
            if wanted[at] {
                wanted[plan.against] = true;
            }
        }
        let mut over_http: Vec<OverHttp> =
            OverHttp::ALL.into_iter().filter(|row| named(&row.name())).collect();
        if over_http.contains(&OverHttp::OpenLoop) && !over_http.contains(&OverHttp::Orders) {
            over_http.insert(0, OverHttp::Orders);
        }
        if !over_http.is_empty() && !over_http.contains(&OverHttp::Constant) {
            over_http.insert(0, OverHttp::Constant);
        }
        if over_http.is_empty() && !wanted.contains(&true) {
            let names = plans.iter().map(|plan| plan.name.to_owned());
            let names: Vec<String> = names.chain(OverHttp::ALL.map(OverHttp::name)).collect();
            bail!(
                "--only {:?} is in the name of no row; there are: {}",
                self.only.unwrap_or(""),
                names.join("; ")
            );
        }
        Ok((wanted, over_http))
    }

    async fn run(&self, plan: &Plan, against: f64) -> Result<(Load, Measured)> {
        let Self { place, buyers, seconds, .. } = *self;
        let (strategy, connections, load) = match plan.method {
            Method::Engine(strategy, connections) => (strategy, connections, Load::Closed),
            Method::OpenLoop => (Strategy::Batched, None, Load::Open { per_second: against / 2.0 }),
            Method::Function(connections) => {
                let measured = function::run(place, connections, plan.workload, seconds).await?;
                return Ok((Load::Closed, measured));
            }
        };
        let measured =
            in_process::run(place, strategy, connections, buyers, plan.workload, load, seconds).await?;
        Ok((load, measured))
    }
}

fn compared(rows: &[Row], plans: &[Plan], at: usize) -> String {
    let (row, against) = (&rows[at], plans[at].against);
    match plans[at].method {
        _ if at == against => String::from("1"),
        Method::OpenLoop => belated(row),
        _ => format!("batched is {:.1} times", rows[against].per_second() / row.per_second()),
    }
}

/// How far behind its schedule an open loop came.
pub fn belated(row: &Row) -> String {
    let late = |run: &Measured| run.punctuality.map_or(0.0, |kept| kept.worst_start_late.as_secs_f64() * 1e3);
    let not_started: u64 =
        row.runs.iter().filter_map(|run| run.punctuality).map(|kept| kept.not_started).sum();
    let started = format!("a start at most {:.1} ms late", row.median(late));
    if not_started == 0 { started } else { format!("{started}, {not_started} never started") }
}

/// The rows over HTTP, of which each round has a server of its own.
struct HttpRows {
    rows: Vec<(OverHttp, Row)>,
    memory_mib: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl HttpRows {
    fn new(table: &Table<'_>, wanted: &[OverHttp], limits: &Limits) -> Self {
        let row = |kind: &OverHttp| {
            let buyers = if *kind == OverHttp::ManyBuyers { MANY_BUYERS } else { table.buyers };
            let bounds = match kind {
                OverHttp::Constant => Vec::new(),
                _ => [vec![CONSTANT.to_owned()], limits.of(buyers, HOT.lines)].concat(),
            };
            (*kind, Row::new(kind.name(), Load::Closed, buyers, bounds))
        };
        Self { rows: wanted.iter().map(row).collect(), memory_mib: Vec::new(), cpu_us: Vec::new() }
    }

    async fn measure(&mut self, table: &Table<'_>) -> Result<()> {
        let (fresh, store) = fill::shop(table.place, None, HOT.skus, fill::PLENTY).await?;
        store.close().await;
        let mut served = Served::start(fresh, Strategy::Batched, HOT, 0).await?;
        let mut orders_per_second = 0.0;
        for (kind, row) in &mut self.rows {
            let call = if *kind == OverHttp::Constant { Call::Constant } else { Call::Order };
            if *kind == OverHttp::OpenLoop {
                row.load = Load::Open { per_second: orders_per_second / 2.0 };
            }
            let before = served.cpu()?;
            let measured = all_placed(served.run(call, row.buyers, row.load, table.seconds).await?)?;
            if *kind == OverHttp::Orders {
                orders_per_second = measured.per_second();
                let used = served.cpu()?.saturating_sub(before);
                self.cpu_us.push(used.as_secs_f64() * 1e6 / measured.placed_in_all as f64);
            }
            if *kind == OverHttp::ManyBuyers {
                self.memory_mib.push(served.peak_memory_mib()?);
            }
            row.runs.push(measured);
        }
        served.stop().await
    }

    /// The rows with their remarks, and what is to be said below the table.
    fn finish(self) -> (Vec<Row>, Vec<String>) {
        let Self { mut rows, memory_mib, cpu_us } = self;
        let constant = rows.iter().find(|(kind, _)| *kind == OverHttp::Constant);
        let constant = constant.map_or(0.0, |(_, row)| row.per_second());
        for (kind, row) in &mut rows {
            row.remark = match kind {
                OverHttp::Constant => String::from("1"),
                OverHttp::Orders => {
                    format!("{:.0} % of the constant endpoint", 100.0 * row.per_second() / constant)
                }
                OverHttp::ManyBuyers => format!("at most {:.0} MiB resident", median(memory_mib.clone())),
                OverHttp::OpenLoop => belated(row),
            };
        }
        let used = format!("the server used {:.0} µs of CPU an order", median(cpu_us.clone()));
        let notes = if cpu_us.is_empty() { Vec::new() } else { vec![used] };
        (rows.into_iter().map(|(_, row)| row).collect(), notes)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn chosen(only: Option<&str>) -> Result<(Vec<&'static str>, Vec<OverHttp>)> {
        let place = Place::Folder(PathBuf::new());
        let table = Table { place: &place, folder: Path::new(""), buyers: 1, seconds: 1.0, rounds: 1, only };
        let (wanted, over_http) = table.chosen(ON_SQLITE)?;
        let names = ON_SQLITE.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(plan, _)| plan.name);
        Ok((names.collect(), over_http))
    }

    #[test]
    fn a_row_comes_with_what_it_is_compared_to() {
        let (rows, http) = chosen(None).unwrap();
        assert_eq!((rows.len(), http.len()), (ON_SQLITE.len(), 4));
        let (rows, http) = chosen(Some("optimistic")).unwrap();
        assert_eq!(rows, ["batched, one SKU", "optimistic: one transaction an order"]);
        assert!(http.is_empty());
        let (rows, http) = chosen(Some("256 buyers")).unwrap();
        assert!(rows.is_empty());
        assert_eq!(http, [OverHttp::Constant, OverHttp::ManyBuyers]);
        let (_, http) = chosen(Some("HTTP: open")).unwrap();
        assert_eq!(http, [OverHttp::Constant, OverHttp::Orders, OverHttp::OpenLoop]);
        assert!(chosen(Some("nothing")).unwrap_err().to_string().contains("HTTP: a constant endpoint"));
    }
}
