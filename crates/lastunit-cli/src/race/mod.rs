//! `lastunit race`: the race condition, on your own machine. Buyers against a small stock, one locking strategy after
//! the other.

mod drawing;
mod figures;
mod live;
mod machine_readable;
mod run;
mod story;
mod table;
mod trace;

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use lastunit::Strategy;

use crate::{place::Place, store_url::StoreUrl};
use run::Run;
use story::Story;

/// See the race condition: buyers against a small stock, for each locking strategy in turn.
///
/// `naive` comes first and oversells; the output says by how much, and tells step by step how it happened. The others
/// have to sell exactly what is there: exit 1 if one of them doesn't. Each runs on a database of its own, which is made
/// for it and thrown away.
#[derive(clap::Args)]
pub struct Args {
    /// Where to race: without it, on SQLite in the folder for temporary files. On postgres://USER@HOST/DATABASE or
    /// mysql://USER@HOST/DATABASE the user has to be one who may make databases. No database that is there is touched.
    // Not shown from the environment: an address may hold a password.
    #[arg(long, env = "LASTUNIT_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Buyers at once, each with one order under way.
    #[arg(long, env = "LASTUNIT_BUYERS", default_value = "16", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    buyers: u16,
    /// Units in stock at the start, of each SKU.
    #[arg(long, env = "LASTUNIT_STOCK", default_value = "100", value_name = "N",
          value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    stock: i64,
    /// Orders that the buyers try to place in all, each of one unit a line.
    #[arg(long, env = "LASTUNIT_ATTEMPTS", default_value = "1000", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    attempts: u64,
    /// Lines of an order. With one, all want the same SKU; with more, each order is of so many SKUs out of twice as
    /// many.
    #[arg(long, env = "LASTUNIT_LINES", default_value = "1", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=20))]
    lines: u16,
    /// Milliseconds that every transaction waits between reading and writing: the gap in which others can slip in.
    #[arg(long, env = "LASTUNIT_THINK_MS", default_value = "2", value_name = "MS",
          value_parser = clap::value_parser!(u64).range(0..=1000))]
    think_ms: u64,
    /// Draw it: stock over time, throughput and latency as an SVG, which any browser shows.
    #[arg(long, env = "LASTUNIT_SVG", value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write all figures as JSON.
    #[arg(long, env = "LASTUNIT_JSON", value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is raced for, and by whom.
#[derive(Debug, Clone, Copy)]
struct Course {
    buyers: usize,
    /// Units of each SKU.
    stock: i64,
    attempts: u64,
    lines: usize,
    think: Duration,
}

impl Course {
    /// SKUs there are.
    fn skus(&self) -> usize {
        if self.lines == 1 { 1 } else { 2 * self.lines }
    }

    /// Units there are.
    fn units(&self) -> i64 {
        self.stock * self.skus() as i64
    }

    fn describe(&self) -> String {
        let Self { buyers, stock, attempts, lines, think } = self;
        let goods = match lines {
            1 => format!("{stock} units of one SKU"),
            _ => format!("{stock} units of each of {} SKUs, {lines} in an order", self.skus()),
        };
        let think_ms = think.as_millis();
        format!("{buyers} buyers, {attempts} attempts, {goods}, {think_ms} ms between reading and writing")
    }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let course = Course {
        buyers: args.buyers.into(),
        stock: args.stock,
        attempts: args.attempts,
        lines: args.lines.into(),
        think: Duration::from_millis(args.think_ms),
    };
    let place = match args.store {
        None => Place::Folder(std::env::temp_dir()),
        Some(StoreUrl::Sqlite(path)) => {
            eprintln!("{} isn't touched: a race makes files of its own", path.display());
            Place::Folder(std::env::temp_dir())
        }
        Some(server) => Place::Server(server),
    };
    // Whoever named a file wrongly is to know before the race, not after it.
    let svg = args.svg.as_deref().map(Output::create).transpose()?;
    let json = args.json.as_deref().map(Output::create).transpose()?;
    let store = place.describe().await?;
    println!("{}\non {store}\n", course.describe());

    let mut runs: Vec<Run> = Vec::with_capacity(Strategy::ALL.len());
    for strategy in Strategy::ALL {
        let run = run::run(&course, &place, strategy).await?;
        if strategy == Strategy::Naive {
            println!("{}", story::tell(&run));
        }
        runs.push(run);
    }
    print!("\n{}", table::table(&course, &runs));

    if let Some(svg) = svg {
        svg.write(&drawing::draw(&course, &store, &runs)?)?;
    }
    if let Some(json) = json {
        json.write(&machine_readable::json(&course, &store, &runs))?;
    }
    let broken = runs.iter().any(|run| run.figures.verdict(&course).is_broken());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A file that is written at the end.
struct Output<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> Output<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(mut self, text: &str) -> Result<()> {
        let written = self.file.write_all(text.as_bytes());
        written.with_context(|| format!("{} can't be written", self.path.display()))
    }
}
