//! One workload of one's own, given by options, instead of the standard table.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use lastunit::Strategy;
use lastunit_bench::{Measured, Popularity};

use super::{
    Findings, fill,
    foreign::{Foreign, MOST_SKUS},
    http::{Call, Served},
    in_process::InProcess,
    limits::{CONSTANT, Limits},
    load::{Load, Workload, all_placed},
    place::Place,
    row::Row,
    table::belated,
};

/// Any of these (but the last two) measures one workload instead of the standard table.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "One workload instead of the standard table")]
pub struct Options {
    /// How concurrent orders are kept apart: batched (the default), queue, pessimistic or optimistic.
    #[arg(long, env = "LASTUNIT_STRATEGY")]
    strategy: Option<Strategy>,
    /// Orders are due at this rate, however long the answers take, and latency counts from when each was due. At most
    /// --buyers are under way at once; the others wait.
    #[arg(long, env = "LASTUNIT_RATE", value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// SKUs there are, at most 1,000,000; by default 1,000, or as few as can be where they are hot.
    #[arg(long, env = "LASTUNIT_SKUS", value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    skus: Option<i64>,
    /// How buyers choose: hot (one SKU is in every order), uniform, or zipf (the k-th SKU k times as rarely as the
    /// first; zipf:S is k^S times). By default hot, or uniform if --skus is given.
    #[arg(long, env = "LASTUNIT_POPULARITY")]
    popularity: Option<Popularity>,
    /// Lines of an order, each one unit of another SKU, 1 to 20; by default 1.
    #[arg(long, env = "LASTUNIT_LINES", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20))]
    lines: Option<u8>,
    /// A sell-out: units of each SKU, bought by --attempts until the last of them is answered.
    #[arg(long, env = "LASTUNIT_STOCK", value_name = "N", requires = "attempts",
          value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    stock: Option<i64>,
    /// Orders that are tried in a sell-out, by all buyers together.
    #[arg(long, env = "LASTUNIT_ATTEMPTS", value_name = "M", requires = "stock",
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    attempts: Option<u64>,
    /// Orders that are there before anything is measured, 1,000 to 10,000,000. They are placed by batches, once for all
    /// rounds.
    #[arg(long, env = "LASTUNIT_ROWS", value_name = "N",
          value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    rows: Option<u64>,
    /// Place orders in this process (the default) or over HTTP, from a server of its own process.
    #[arg(long, env = "LASTUNIT_OVER", value_name = "WAY")]
    over: Option<Over>,
    /// A server that runs already, http://HOST:PORT, instead of one of the run's own. With an admin's --service-key the
    /// run creates a product of its own there, and takes it off sale at its end; with a shop's key it orders the SKUs
    /// that it finds on sale. The orders stay: they are real, with buyers called buyer-0, buyer-1, … and cash on
    /// delivery.
    #[arg(long, env = "LASTUNIT_URL", value_name = "URL")]
    url: Option<String>,
    /// The key to call the server at --url with.
    #[arg(long, env = "LASTUNIT_SERVICE_KEY", hide_env_values = true, value_name = "KEY")]
    service_key: Option<String>,
    /// Yes, place real orders in the shop at --url.
    #[arg(long, env = "LASTUNIT_YES_PLACE_ORDERS")]
    yes_place_orders: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Over {
    /// In this process.
    Process,
    /// Over HTTP.
    Http,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "a rate is a number from 0.1 to 1000000 a second".into())
}

/// Where orders are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    InProcess,
    Served,
    Foreign { address: String, service_key: String },
}

/// A workload that makes sense.
#[derive(Debug)]
pub struct Custom {
    target: Target,
    strategy: Strategy,
    workload: Workload,
    /// The least number of SKUs that will do.
    at_least: usize,
    load: Load,
    /// Units of each SKU, if they are to be sold out.
    stock: Option<i64>,
    rows: u64,
}

impl Options {
    /// The workload that they ask for; `None` if it is the standard table's. `server` is whether another database
    /// server was named.
    pub fn custom(&self, server: bool) -> Result<Option<Custom>> {
        let Self { strategy, rate, skus, popularity, lines, stock, attempts, rows, over, url, .. } = self;
        let any = strategy.is_some() || rate.is_some() || skus.is_some() || popularity.is_some();
        let any = any || lines.is_some() || attempts.is_some() || rows.is_some() || over.is_some();
        if !any && url.is_none() {
            ensure!(
                !self.yes_place_orders,
                "--yes-place-orders is for a shop that runs already: name it by --url"
            );
            return Ok(None);
        }
        let target = self.target(server)?;
        ensure!(
            *strategy != Some(Strategy::Naive),
            "the naive strategy oversells, and every run of the benchmark has to keep all invariants"
        );
        let load = match (rate, attempts) {
            (Some(_), Some(_)) => {
                bail!("--rate is for orders that go on, --stock and --attempts end: give one of them")
            }
            (Some(per_second), None) => Load::Open { per_second: *per_second },
            (None, Some(attempts)) => Load::SellOut { attempts: *attempts },
            (None, None) => Load::Closed,
        };
        ensure!(
            rows.is_none() || stock.is_none(),
            "--rows places orders before anything is measured, and would sell out the --stock: give one of them"
        );
        let workload = self.workload()?;
        let foreign = matches!(target, Target::Foreign { .. });
        ensure!(
            !foreign || workload.skus <= MOST_SKUS as i64,
            "at --url at most {MOST_SKUS} SKUs are ordered: give fewer --skus"
        );
        Ok(Some(Custom {
            target,
            strategy: strategy.unwrap_or(Strategy::Batched),
            at_least: skus.map_or(workload.lines, |skus| skus as usize),
            workload,
            load,
            stock: *stock,
            rows: rows.unwrap_or(0),
        }))
    }

    fn target(&self, server: bool) -> Result<Target> {
        let Some(url) = &self.url else {
            ensure!(
                !self.yes_place_orders,
                "--yes-place-orders is for a shop that runs already: name it by --url"
            );
            return Ok(match self.over {
                None | Some(Over::Process) => Target::InProcess,
                Some(Over::Http) => Target::Served,
            });
        };
        ensure!(self.over != Some(Over::Process), "--url is over HTTP: leave out --over process");
        ensure!(
            self.strategy.is_none(),
            "the server at --url has its strategy already: leave out --strategy (an environment's LASTUNIT_STRATEGY too)"
        );
        ensure!(self.rows.is_none(), "--rows is for a database of the run's own: leave it out with --url");
        ensure!(!server, "--server makes databases, and --url is a shop that runs already: give one of them");
        let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).unwrap_or_default();
        ensure!(
            !address.is_empty() && !address.contains(['/', '?', '@']),
            "--url is http://HOST:PORT, without a path"
        );
        let address = if address.contains(':') { address.to_owned() } else { format!("{address}:80") };
        let service_key = self.service_key.clone().context("--url needs the shop's --service-key")?;
        ensure!(
            self.yes_place_orders,
            "this places real orders in the shop at {url}: add --yes-place-orders if that is what you want"
        );
        Ok(Target::Foreign { address, service_key })
    }

    fn workload(&self) -> Result<Workload> {
        let lines = usize::from(self.lines.unwrap_or(1));
        let popularity = self.popularity.unwrap_or(match self.skus {
            None | Some(1) => Popularity::Hot,
            Some(_) => Popularity::Uniform,
        });
        let enough = if popularity == Popularity::Hot { lines as i64 } else { 1000 };
        let skus = self.skus.unwrap_or(enough);
        ensure!(
            lines as i64 <= skus,
            "an order of {lines} lines needs as many SKUs: give --skus {lines} or more, or fewer --lines"
        );
        Ok(Workload { skus, lines, popularity })
    }
}

/// What a workload is measured on; it is the same for all rounds, unless they sell it out.
enum Subject {
    InProcess(InProcess),
    Served(Served),
    Foreign(Foreign),
}

impl Custom {
    /// What is measured, in words.
    pub fn describe(&self) -> String {
        let Workload { skus, lines, popularity } = self.workload;
        let plural = |count: i64| if count == 1 { "" } else { "s" };
        let mut text = format!(
            "{}: {lines} line{} an order, of {skus} SKU{} ({popularity})",
            self.name(),
            plural(lines as i64),
            plural(skus)
        );
        match self.load {
            Load::Closed => {}
            Load::Open { per_second } => text += &format!(", {per_second} orders a second"),
            Load::SellOut { attempts } => {
                text += &format!(", {attempts} attempts on {} units each", self.stock.unwrap_or(0));
            }
        }
        if self.rows > 0 {
            text += &format!(", on {} orders", self.rows);
        }
        text
    }

    /// The name of its row.
    fn name(&self) -> String {
        let (strategy, load) = (self.strategy.as_str(), self.load.name());
        match self.target {
            Target::InProcess => format!("{strategy}, {load}"),
            Target::Served => format!("HTTP: {strategy}, {load}"),
            Target::Foreign { .. } => format!("HTTP: orders, {load}"),
        }
    }

    /// Whether it is the shop of a server that runs already; where that is.
    pub fn foreign(&self) -> Option<&str> {
        match &self.target {
            Target::Foreign { address, .. } => Some(address),
            Target::InProcess | Target::Served => None,
        }
    }

    /// Measures it, round by round.
    pub async fn measure(
        &self,
        place: &Place,
        folder: &Path,
        buyers: usize,
        seconds: f64,
        rounds: usize,
    ) -> Result<Findings> {
        let over_http = self.target != Target::InProcess;
        let sells_out = matches!(self.load, Load::SellOut { .. });
        let mut limits = Limits::new(place.clone(), buyers, seconds, std::iter::once(self.workload));
        let mut bounds: Vec<String> = over_http.then(|| CONSTANT.to_owned()).into_iter().collect();
        // A refusal stores less than an order, and nothing is known of another machine's disk.
        if !sells_out && self.foreign().is_none() {
            bounds.extend(limits.of(buyers, self.workload.lines));
        }
        let mut row = Row::new(self.name(), self.load, buyers, bounds);
        let mut constant = Row::new(CONSTANT, Load::Closed, buyers, Vec::new());
        let mut findings = Findings::default();
        let mut subject = None;
        for round in 1..=rounds {
            if self.foreign().is_none() && !sells_out {
                eprintln!("round {round} of {rounds}: the limits");
                limits.measure(folder).await?;
            }
            let mut shop = match subject.take() {
                Some(shop) => shop,
                None => self.subject(place).await?,
            };
            if over_http {
                eprintln!("round {round} of {rounds}: {CONSTANT}");
                constant
                    .runs
                    .push(all_placed(shop.run(Call::Constant, buyers, Load::Closed, seconds).await?)?);
            }
            eprintln!("round {round} of {rounds}: {}", row.name);
            let measured = shop.run(Call::Order, buyers, self.load, seconds).await?;
            ensure!(measured.answered > 0, "no order was answered in the measured time: give more --seconds");
            if let (Subject::InProcess(shop), true) = (&shop, sells_out) {
                let left = shop.units_left(&measured).await?;
                findings.notes.push(format!(
                    "round {round}: {} placed, {} refused, {left} units left",
                    measured.placed(),
                    measured.refused
                ));
            }
            row.runs.push(measured);
            if sells_out || round == rounds {
                shop.close(&mut findings).await?;
            } else {
                subject = Some(shop);
            }
        }
        row.remark = self.remark(&row, &constant);
        if over_http {
            constant.remark = "1".into();
            findings.rows.push(constant);
        }
        findings.rows.push(row);
        findings.notes.extend(limits.note());
        findings.limits = limits.measured;
        if self.foreign().is_none() {
            findings.notes.push("every database was checked for all invariants at its end".into());
        }
        Ok(findings)
    }

    async fn subject(&self, place: &Place) -> Result<Subject> {
        let Self { strategy, workload, rows, stock, .. } = self;
        let units = stock.unwrap_or(fill::PLENTY);
        Ok(match &self.target {
            Target::InProcess => {
                let mut shop = InProcess::open(place, *strategy, None, *workload, units).await?;
                shop.grow_to(*rows).await?;
                Subject::InProcess(shop)
            }
            Target::Served => {
                let mut shop = InProcess::open(place, Strategy::Batched, None, *workload, units).await?;
                shop.grow_to(*rows).await?;
                let placed = shop.placed();
                Subject::Served(Served::start(shop.leave().await, *strategy, *workload, placed).await?)
            }
            Target::Foreign { address, service_key } => {
                Subject::Foreign(Foreign::open(address, service_key, *workload, self.at_least, *stock).await?)
            }
        })
    }

    fn remark(&self, row: &Row, constant: &Row) -> String {
        let mut parts = Vec::new();
        match self.load {
            Load::Open { .. } => parts.push(belated(row)),
            Load::SellOut { .. } => {
                parts.push(format!("{:.0} placed", row.median(|run| run.placed() as f64)));
            }
            Load::Closed => {}
        }
        let sum = |of: fn(&Measured) -> u64| row.runs.iter().map(of).sum::<u64>();
        for (count, what) in
            [(sum(|run| run.refused), "refused"), (sum(|run| run.turned_away), "turned away")]
        {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if !constant.runs.is_empty() {
            let percent = 100.0 * row.per_second() / constant.per_second();
            parts.push(format!("{percent:.0} % of the constant endpoint"));
        }
        if parts.is_empty() { "1".into() } else { parts.join(", ") }
    }
}

impl Subject {
    async fn run(&mut self, call: Call, buyers: usize, load: Load, seconds: f64) -> Result<Measured> {
        match self {
            // In process there is no constant endpoint.
            Self::InProcess(shop) => shop.run(buyers, load, seconds).await,
            Self::Served(served) => served.run(call, buyers, load, seconds).await,
            Self::Foreign(foreign) => foreign.run(call, buyers, load, seconds).await,
        }
    }

    /// Ends with the check that is possible there.
    async fn close(self, findings: &mut Findings) -> Result<()> {
        match self {
            Self::InProcess(shop) => shop.close().await,
            Self::Served(served) => served.stop().await,
            Self::Foreign(foreign) => {
                let ordered = foreign.describe();
                let agreement = foreign.close().await?;
                findings.violated |= !agreement.agrees;
                findings.notes.push(format!("ordered {ordered}"));
                findings.notes.push(agreement.says);
                findings.notes.push(
                    "the invariants of a server that runs already can't be checked through its API: run `lastunit check` \
                     on its store"
                        .into(),
                );
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn custom(line: &str) -> Result<Option<Custom>> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words)?.options.custom(line.contains("--skus 77"))
    }

    fn described(line: &str) -> String {
        custom(line).unwrap().expect("a workload").describe()
    }

    #[test]
    fn no_option_is_the_standard_table() {
        assert!(custom("").unwrap().is_none());
        assert!(custom("--service-key k").unwrap().is_none(), "an environment may have it for the server");
    }

    #[test]
    fn what_is_left_out_is_chosen_to_fit() {
        for (line, says) in [
            ("--over process", "batched, closed loop: 1 line an order, of 1 SKU (hot)"),
            ("--lines 20", "batched, closed loop: 20 lines an order, of 20 SKUs (hot)"),
            ("--skus 50 --lines 3", "batched, closed loop: 3 lines an order, of 50 SKUs (uniform)"),
            (
                "--popularity zipf --rate 10",
                "batched, open loop: 1 line an order, of 1000 SKUs (zipf), 10 orders a second",
            ),
            (
                "--strategy queue --stock 5 --attempts 9",
                "queue, sell-out: 1 line an order, of 1 SKU (hot), 9 attempts on 5 units each",
            ),
            (
                "--over http --rows 1000",
                "HTTP: batched, closed loop: 1 line an order, of 1 SKU (hot), on 1000 orders",
            ),
            (
                "--url http://h:1 --service-key k --yes-place-orders",
                "HTTP: orders, closed loop: 1 line an order, of 1 SKU (hot)",
            ),
        ] {
            assert_eq!(described(line), says, "{line}");
        }
        let shop = custom("--url http://shop/ --service-key k --yes-place-orders").unwrap().unwrap();
        assert_eq!(shop.foreign(), Some("shop:80"));
    }

    #[test]
    fn contradictions_are_refused_and_named() {
        let foreign = "--url http://h:1 --service-key k --yes-place-orders";
        for (line, says) in [
            ("--rate 5 --stock 1 --attempts 2".to_owned(), "--rate"),
            ("--stock 1".into(), "--attempts"),
            ("--attempts 1".into(), "--stock"),
            ("--stock 1 --attempts 2 --rows 1000".into(), "--rows"),
            ("--strategy naive".into(), "oversells"),
            ("--lines 3 --skus 2".into(), "--skus 3"),
            ("--lines 21".into(), "21"),
            ("--rows 999".into(), "1000"),
            ("--rate 0".into(), "rate"),
            ("--popularity cold".into(), "zipf"),
            ("--yes-place-orders".into(), "--url"),
            ("--yes-place-orders --lines 2".into(), "--url"),
            ("--url http://h:1 --service-key k".into(), "--yes-place-orders"),
            ("--url http://h:1 --yes-place-orders".into(), "--service-key"),
            ("--url https://h:1 --service-key k --yes-place-orders".into(), "http://HOST:PORT"),
            ("--url http://h:1/shop --service-key k --yes-place-orders".into(), "without a path"),
            (format!("{foreign} --over process"), "--over"),
            (format!("{foreign} --strategy queue"), "--strategy"),
            (format!("{foreign} --rows 1000"), "--rows"),
            (format!("{foreign} --skus 1001"), "at most 1000"),
            (format!("{foreign} --skus 77"), "--server"),
        ] {
            let error = custom(&line).expect_err(&line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
