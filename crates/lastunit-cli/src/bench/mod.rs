//! `lastunit bench`: how fast orders are placed here, durably, with every invariant checked after each run.

mod bulk;
mod custom;
mod fill;
mod foreign;
mod function;
mod growth;
mod http;
mod in_process;
mod limits;
mod load;
mod machine;
mod report;
mod row;
mod table;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, bail, ensure};

use crate::{
    place::{self, Place},
    store_url::StoreUrl,
};
use custom::Custom;
use growth::Point;
use limits::{Limit, Limits};
use load::Workload;
use machine::Machine;
use report::Report;
use row::Row;
use table::Table;

/// Measure orders a second on this machine: in process, and over HTTP against a server of its own process.
///
/// Without further options it measures a table of strategies. Each row is the median of several rounds, interleaved;
/// every run is on a fresh database, and is followed by a check of all invariants. In the same run it measures what
/// bounds them: fsyncs, an append-only log, a bulk insert of the same rows, a constant HTTP endpoint.
/// `scripts/bench` runs it on throw-away servers of PostgreSQL and MariaDB too.
#[derive(clap::Args)]
pub struct Args {
    /// Concurrent buyers, each with one order under way, 1 to 1024.
    #[arg(long, env = "LASTUNIT_BUYERS", default_value = "64", value_name = "N", value_parser = buyers)]
    buyers: usize,
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
    /// Write report.md, report.json and report.svg into this folder.
    #[arg(long, env = "LASTUNIT_REPORT", value_name = "DIR")]
    report: Option<PathBuf>,
    /// Measure only those rows of the table whose name contains this, and those that they are compared to.
    #[arg(long, env = "LASTUNIT_ONLY", value_name = "TEXT")]
    only: Option<String>,
    /// Measure instead what an order costs as the database grows: at 1,000 orders, and at each power of ten up to
    /// this; and with 1,000 to 1,000,000 SKUs.
    #[arg(long, env = "LASTUNIT_GROWTH", value_name = "ORDERS")]
    growth: Option<u64>,
    #[command(flatten)]
    custom: custom::Options,
}

fn buyers(text: &str) -> Result<usize, String> {
    let buyers = text.parse().ok().filter(|buyers| (1..=1024).contains(buyers));
    buyers.ok_or_else(|| "buyers are a number from 1 to 1024".into())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.2..=600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds are a number from 0.2 to 600".into())
}

/// What came of a run.
#[derive(Default)]
pub struct Findings {
    pub limits: Vec<Limit>,
    pub rows: Vec<Row>,
    /// Of growth: over orders, and over SKUs.
    pub series: Vec<Vec<Point>>,
    /// What is to be said below the tables.
    pub notes: Vec<String>,
    /// Whether an invariant was found broken by which the run could still go on.
    pub violated: bool,
}

impl Args {
    /// The workload of one's own, if there is one; options that contradict each other are refused.
    fn workload(&self) -> Result<Option<Custom>> {
        let custom = self.custom.custom(self.server.is_some())?;
        ensure!(
            self.only.is_none() || self.growth.is_none(),
            "--only chooses rows of the standard table, and --growth measures something else: give one of them"
        );
        if custom.is_some() {
            ensure!(
                self.growth.is_none(),
                "--growth has a workload of its own: leave out the options of another one (to measure one workload on \
                 many orders, give --rows instead)"
            );
            ensure!(
                self.only.is_none(),
                "--only chooses rows of the standard table, and these options measure another workload instead"
            );
        }
        Ok(custom)
    }

    /// For the report.
    fn said(&self, custom: Option<&Custom>) -> BTreeMap<&'static str, String> {
        let mut said =
            BTreeMap::from([("buyers", self.buyers.to_string()), ("seconds", self.seconds.to_string())]);
        // What grows is measured once at each size.
        let rounds = self.growth.is_none().then(|| self.rounds.to_string());
        let growth = self.growth.map(|orders| format!("up to {orders} orders"));
        for (name, value) in [
            ("rounds", rounds),
            ("workload", custom.map(Custom::describe)),
            ("only", self.only.clone()),
            ("growth", growth),
        ] {
            said.extend(value.map(|value| (name, value)));
        }
        said
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let custom = args.workload()?;
    args.report.as_deref().map(report::make_folder).transpose()?;
    machine::allow_many_connections()?;
    let machine = Machine::this();
    println!("lastunit {} bench: {machine}", env!("CARGO_PKG_VERSION"));
    let place = match args.server.clone() {
        None => Place::Folder(args.folder.clone()),
        Some(StoreUrl::Sqlite(_)) => bail!("--folder says where SQLite's databases are made"),
        Some(server) => Place::Server(server),
    };
    let database = match custom.as_ref().and_then(Custom::foreign) {
        Some(address) => format!("whatever the server at http://{address} has"),
        None => place.describe().await?,
    };
    let said = args.said(custom.as_ref());
    println!("{database}");
    println!(
        "{}\n",
        said.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    );
    let (buyers, seconds, rounds) = (args.buyers, args.seconds, args.rounds.get());
    let findings = match (&custom, args.growth) {
        (Some(custom), _) => custom.measure(&place, &args.folder, buyers, seconds, rounds).await?,
        (None, Some(most)) => grow(&place, &args.folder, buyers, seconds, most).await?,
        (None, None) => {
            let (folder, only) = (args.folder.as_path(), args.only.as_deref());
            Table { place: &place, folder, buyers, seconds, rounds, only }.measure().await?
        }
    };
    let report = Report::new(machine, database, said, &findings);
    println!("{}", report.tables());
    for note in &findings.notes {
        println!("{note}");
    }
    if let Some(folder) = &args.report {
        report.write(folder)?;
        println!("report.md, report.json and report.svg are in {}", folder.display());
    }
    Ok(if findings.violated { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

const SKUS: [i64; 3] = [1000, 100_000, 1_000_000];

async fn grow(place: &Place, folder: &Path, buyers: usize, seconds: f64, most: u64) -> Result<Findings> {
    let mut limits = Limits::new(place.clone(), buyers, seconds, std::iter::once(Workload::HOT));
    limits.measure(folder).await?;
    let of_orders = growth::of_orders(place, buyers, seconds, most).await?;
    let of_skus = growth::of_skus(place, buyers, seconds, &SKUS).await?;
    Ok(Findings {
        limits: limits.measured,
        series: vec![of_orders, of_skus],
        notes: vec!["every database was checked for all invariants at its end".into()],
        ..Findings::default()
    })
}
