//! `lastunit bench`: how fast orders are placed here, durably, with every invariant checked after each run.

mod http;
mod in_process;
mod load;
mod machine;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use anyhow::Result;
use lastunit::Strategy;

use http::{Call, Served};
use in_process::Workload;
use load::Measured;

/// Measure orders a second on this machine: in process, and over HTTP against a server of its own process.
///
/// Each row is the median of several rounds, interleaved; every run is on a fresh database, and is followed by a
/// check of all invariants.
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
    /// Where the databases are made; a folder in memory (tmpfs) would make fsync free.
    #[arg(long, env = "LASTUNIT_FOLDER", default_value = ".", value_name = "DIR")]
    folder: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.2..=600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds are a number from 0.2 to 600".into())
}

const HOT: Workload = Workload { skus: 1, lines: 1 };
const SPREAD: Workload = Workload { skus: 1000, lines: 3 };

/// The rows measured in process.
const IN_PROCESS: [(&str, Strategy, Workload); 5] = [
    ("batched, one SKU", Strategy::Batched, HOT),
    ("queue: one transaction an order", Strategy::Queue, HOT),
    ("pessimistic: one transaction an order", Strategy::Pessimistic, HOT),
    ("optimistic: one transaction an order", Strategy::Optimistic, HOT),
    ("batched, 3 lines over 1,000 SKUs", Strategy::Batched, SPREAD),
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
    println!(
        "{buyers} buyers in a closed loop, {} rounds of {} s, medians; SQLite, WAL, synchronous=FULL, in {}",
        args.rounds,
        args.seconds,
        args.folder.display()
    );
    println!("fsyncs of 4 KiB there: {:.0} a second\n", machine::fsyncs_per_second(&args.folder)?);

    let mut rows: Vec<Row> = IN_PROCESS.iter().map(|(name, ..)| Row::new(name)).collect();
    let mut constant = Row::new("HTTP: a constant endpoint");
    let mut orders = Row::new("HTTP: orders, batched, one SKU");
    let mut many = Row::new(&format!("HTTP: orders at {MANY_BUYERS} buyers"));
    let (mut memory, mut cpu_us) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds.get() {
        for (row, (name, strategy, workload)) in rows.iter_mut().zip(IN_PROCESS) {
            eprintln!("round {round} of {}: {name}", args.rounds);
            row.runs.push(in_process::run(&args.folder, strategy, buyers, workload, args.seconds).await?);
        }
        eprintln!("round {round} of {}: over HTTP", args.rounds);
        let served = Served::start(&args.folder).await?;
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
    let batched = rows[0].per_second();
    for row in &rows {
        let rate = row.per_second();
        let remark = if rate >= batched {
            String::from("1")
        } else {
            format!("batched is {:.1} times", batched / rate)
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
