//! `lastunit bench`: how fast orders are placed here, durably, with every invariant checked after each run.

mod function;
mod growth;
mod http;
mod in_process;
mod machine;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use lastunit::Strategy;
use lastunit_bench::Measured;

use crate::{
    place::{self, Place},
    store_url::StoreUrl,
};
use http::{Call, Served};
use in_process::Workload;

/// Measure orders a second on this machine: in process, and over HTTP against a server of its own process.
///
/// Each row is the median of several rounds, interleaved; every run is on a fresh database, and is followed by a
/// check of all invariants. `scripts/bench` runs it on throw-away servers of PostgreSQL and MariaDB too.
#[derive(clap::Args)]
pub struct Args {
    /// Concurrent buyers, each with one order under way.
    #[arg(long, env = "LASTUNIT_BUYERS", default_value = "64", value_name = "N")]
    buyers: NonZeroUsize,
    /// Seconds measured a run.
    #[arg(long, env = "LASTUNIT_SECONDS", default_value = "3", value_name = "S", value_parser = seconds)]
    seconds: f64,
    /// Rounds, of which the median counts.
    #[arg(long, env = "LASTUNIT_ROUNDS", default_value = "3", value_name = "N")]
    rounds: NonZeroUsize,
    /// Where SQLite's databases are made; a folder in memory (tmpfs) would make fsync free.
    #[arg(long, env = "LASTUNIT_FOLDER", default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// A server to measure instead of SQLite: postgres://USER@HOST/DATABASE or mysql://…, whose user may make
    /// databases. Each run makes one, and drops it.
    #[arg(long, env = "LASTUNIT_SERVER", hide_env_values = true, value_name = "URL")]
    server: Option<StoreUrl>,
    /// Measure instead what an order costs as the database grows: at 1,000 orders, and at each power of ten up to
    /// this; and with 1,000 to 1,000,000 SKUs.
    #[arg(long, env = "LASTUNIT_GROWTH", value_name = "ORDERS")]
    growth: Option<u64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.2..=600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds are a number from 0.2 to 600".into())
}

const HOT: Workload = Workload { skus: 1, lines: 1 };
const SPREAD: Workload = Workload { skus: 1000, lines: 3 };

/// How a row's orders are placed.
#[derive(Debug, Clone, Copy)]
enum Method {
    /// By an engine, over at most so many connections (`None`: as many as by default).
    Engine(Strategy, Option<NonZeroUsize>),
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
];

/// What only PostgreSQL is compared to, in addition.
const ON_POSTGRES: &[Plan] = &[
    plan("function on the server, 4 connections", Method::Function(4), HOT, 0),
    plan("function, 3 lines, 4 connections", Method::Function(4), SPREAD, 6),
    plan("function, 3 lines, 16 connections", Method::Function(16), SPREAD, 6),
];

/// More buyers than the default, for memory and for what a longer queue gives.
const MANY_BUYERS: usize = 256;

/// The runs of one row.
#[derive(Default)]
struct Row {
    name: String,
    runs: Vec<Measured>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.into(), runs: Vec::new() }
    }

    fn median(&self, of: impl Fn(&Measured) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }

    fn per_second(&self) -> f64 {
        self.median(Measured::per_second)
    }

    fn print(&self, remark: &str) {
        let p = |percentile: f64| self.median(|run| run.percentile_ms(percentile));
        let rates: Vec<f64> = self.runs.iter().map(Measured::per_second).collect();
        let (least, most) =
            rates.iter().fold((f64::MAX, 0.0_f64), |(l, m), &rate| (l.min(rate), m.max(rate)));
        println!(
            "| {:<40} | {:>8.0} | {:>15} | {:>6.2} | {:>6.2} | {:>7.2} | {remark} |",
            self.name,
            self.per_second(),
            format!("{least:.0}–{most:.0}"),
            p(50.0),
            p(99.0),
            p(100.0),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let buyers = args.buyers.get();
    println!("lastunit {} bench: {}", env!("CARGO_PKG_VERSION"), machine::describe());
    let (place, plans) = match args.server {
        None => (Place::Folder(args.folder.clone()), vec![ON_SQLITE]),
        Some(server @ StoreUrl::Postgres(..)) => (Place::Server(server), vec![ON_SERVERS, ON_POSTGRES]),
        Some(server @ StoreUrl::MySql(..)) => (Place::Server(server), vec![ON_SERVERS]),
        Some(StoreUrl::Sqlite(_)) => bail!("--folder says where SQLite's databases are made"),
    };
    let plans = plans.concat();
    println!(
        "{buyers} buyers in a closed loop, {} rounds of {} s, medians; {}",
        args.rounds,
        args.seconds,
        place.describe().await?
    );
    println!(
        "fsyncs of 4 KiB in {}: {:.0} a second\n",
        args.folder.display(),
        machine::fsyncs_per_second(&args.folder)?
    );

    if let Some(most) = args.growth {
        return grow(&place, buyers, args.seconds, most).await;
    }
    let mut rows: Vec<Row> = plans.iter().map(|plan| Row::new(plan.name)).collect();
    let mut constant = Row::new("HTTP: a constant endpoint");
    let mut orders = Row::new("HTTP: orders, batched, one SKU");
    let mut many = Row::new(&format!("HTTP: orders at {MANY_BUYERS} buyers"));
    let (mut memory, mut cpu_us) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds.get() {
        for (row, plan) in rows.iter_mut().zip(&plans) {
            eprintln!("round {round} of {}: {}", args.rounds, plan.name);
            let run = match plan.method {
                Method::Engine(strategy, connections) => {
                    in_process::run(&place, strategy, connections, buyers, plan.workload, args.seconds)
                        .await?
                }
                Method::Function(connections) => {
                    function::run(&place, connections, plan.workload, args.seconds).await?
                }
            };
            row.runs.push(run);
        }
        eprintln!("round {round} of {}: over HTTP", args.rounds);
        let served = Served::start(&place).await?;
        constant.runs.push(served.run(Call::Constant, buyers, args.seconds).await?);
        let before = served.cpu()?;
        let measured = served.run(Call::Order, buyers, args.seconds).await?;
        // The warm-up's orders are answered too: the CPU time is theirs as well.
        let all = measured.answered as f64 * 1.2;
        cpu_us.push((served.cpu()? - before).as_secs_f64() * 1e6 / all);
        let at_many = served.run(Call::Order, MANY_BUYERS, args.seconds).await?;
        memory.push(served.peak_memory_mib()?);
        served.stop(measured.answered + at_many.answered).await?;
        orders.runs.push(measured);
        many.runs.push(at_many);
    }

    println!(
        "| {:<40} | {:>8} | {:>15} | {:>6} | {:>6} | {:>7} | compared |",
        "what", "a second", "least–most", "p50 ms", "p99 ms", "max ms"
    );
    println!("|{:-<42}|{:->10}|{:->17}|{:->8}|{:->8}|{:->9}|---|", "", ":", ":", ":", ":", ":");
    for (at, (row, plan)) in rows.iter().zip(&plans).enumerate() {
        let remark = if at == plan.against {
            String::from("1")
        } else {
            format!("batched is {:.1} times", rows[plan.against].per_second() / row.per_second())
        };
        row.print(&remark);
    }
    constant.print("1");
    orders.print(&format!(
        "{:.0} % of the constant endpoint",
        100.0 * orders.per_second() / constant.per_second()
    ));
    many.print(&format!("at most {:.0} MiB resident", median(memory)));
    println!(
        "\nthe server used {:.0} µs of CPU an order; every run ended with all invariants checked",
        median(cpu_us)
    );
    Ok(ExitCode::SUCCESS)
}

const SKUS: [i64; 3] = [1000, 100_000, 1_000_000];

async fn grow(place: &Place, buyers: usize, seconds: f64, most: u64) -> Result<ExitCode> {
    let of_orders = growth::of_orders(place, buyers, seconds, most).await?;
    let of_skus = growth::of_skus(place, buyers, seconds, &SKUS).await?;
    println!(
        "| {:>12} | {:>9} | {:>8} | {:>6} | {:>6} | compared |",
        "orders", "SKUs", "a second", "p50 ms", "p99 ms"
    );
    println!("|{:->14}|{:->11}|{:->10}|{:->8}|{:->8}|---|", ":", ":", ":", ":", ":");
    for points in [of_orders, of_skus] {
        let first = points.first().map_or(0.0, |point| point.measured.per_second());
        for growth::Point { orders, skus, measured } in &points {
            println!(
                "| {orders:>12} | {skus:>9} | {:>8.0} | {:>6.2} | {:>6.2} | {:.0} % |",
                measured.per_second(),
                measured.percentile_ms(50.0),
                measured.percentile_ms(99.0),
                100.0 * measured.per_second() / first
            );
        }
    }
    println!("\nevery database was checked for all invariants at its end");
    Ok(ExitCode::SUCCESS)
}
