//! `lastunit-compare`: Lastunit beside other shops, with the same buyers, in the same rounds. `bench/compare` runs it.

mod carts;
mod client;
mod django;
mod lastunit_shop;
mod measure;
mod peer;
mod plan;
mod report;
mod stateset;
mod vendure;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use lastunit::{Source, SystemSource};
use tokio::signal::unix::{SignalKind, signal};

use lastunit_shop::Broken;
use measure::{Bench, Load};
use peer::Servers;
use plan::{Peer, ROWS, Row, Workload};
use report::{Measured, Outcome, Report};

/// Measure Lastunit and its peers in one run, and count after each run what was oversold.
///
/// Run it in the repository, by `bench/compare`: that starts the servers and installs the peers.
#[derive(Parser)]
#[command(name = "lastunit-compare", version)]
struct Args {
    /// PostgreSQL for all shops: postgres://USER@HOST/DATABASE, whose user may make databases.
    #[arg(long, env = "LASTUNIT_POSTGRES", hide_env_values = true, value_name = "URL")]
    postgres: String,
    /// Redis for all carts: redis://HOST:PORT. Its databases 0 to 2 are emptied.
    #[arg(long, env = "LASTUNIT_REDIS", hide_env_values = true, value_name = "URL")]
    redis: String,
    /// Peers that are installed.
    #[arg(long, env = "LASTUNIT_PEERS", value_delimiter = ',', value_name = "NAMES")]
    peers: Vec<Peer>,
    /// A peer that couldn't be installed, and why; may be given several times.
    #[arg(long, env = "LASTUNIT_MISSING", value_delimiter = ';', value_parser = missing, value_name = "NAME=REASON")]
    missing: Vec<(String, String)>,
    /// Concurrent buyers, each with one order under way.
    #[arg(long, env = "LASTUNIT_BUYERS", default_value = "64", value_name = "N")]
    buyers: NonZeroUsize,
    /// Seconds measured a run, after a quarter as long of warming up; Vendure gets eight times as long.
    #[arg(long, env = "LASTUNIT_SECONDS", default_value = "4", value_name = "S", value_parser = seconds)]
    seconds: f64,
    /// Rounds, of which the median counts.
    #[arg(long, env = "LASTUNIT_ROUNDS", default_value = "3", value_name = "N")]
    rounds: NonZeroUsize,
    /// Measure only rows whose name contains this, for a quick look.
    #[arg(long, env = "LASTUNIT_ONLY", value_name = "TEXT")]
    only: Option<String>,
    /// Where compare.md, compare.json and compare.svg are written.
    #[arg(long, env = "LASTUNIT_RESULTS", default_value = "bench/results", value_name = "DIR")]
    results: PathBuf,
    /// What to say about how to repeat it.
    #[arg(long, env = "LASTUNIT_COMMAND", default_value = "bench/compare", value_name = "TEXT")]
    command: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.5..=600.0).contains(seconds));
    seconds.ok_or_else(|| "seconds are a number from 0.5 to 600".into())
}

fn missing(text: &str) -> Result<(String, String), String> {
    let (name, why) = text.split_once('=').ok_or("write NAME=REASON")?;
    Ok((name.to_owned(), why.to_owned()))
}

fn main() -> ExitCode {
    let ran = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(until_stopped(compare(Args::parse()))));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lastunit-compare: {error:#}");
            ExitCode::from(if error.is::<Broken>() { 1 } else { 2 })
        }
    }
}

/// SIGTERM and Ctrl-C end the comparison, and with it every process that it started.
async fn until_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => bail!("stopped by SIGINT"),
    }
}

async fn compare(args: Args) -> Result<()> {
    let measured = Duration::from_secs_f64(args.seconds);
    let load = Load { buyers: args.buyers.get(), warm_up: measured / 4, measured };
    let servers = Servers { postgres: args.postgres, redis: args.redis };
    let postgres = describe(&servers).await?;
    let installed = |row: &Row| row.system.peer().is_none_or(|peer| args.peers.contains(&peer));
    let wanted = |row: &Row| args.only.as_ref().is_none_or(|text| title(row).contains(text));
    let plan: Vec<&Row> = ROWS.iter().filter(|row| installed(row) && wanted(row)).collect();
    let mut bench = Bench::new(servers, load);
    let mut rows: Vec<Measured> = plan.iter().map(|row| Measured::new(row)).collect();
    for round in 1..=args.rounds.get() {
        for (row, measured) in plan.iter().zip(&mut rows) {
            if measured.problem.is_some() || (round > 1 && !row.every_round) {
                continue;
            }
            eprint!("round {round} of {}: {} … ", args.rounds, title(row));
            match bench.run(**row).await {
                Ok((run, books)) => {
                    eprintln!("{:.0} a second", run.per_second);
                    measured.runs.push(Outcome { run, books });
                }
                // What is wrong with Lastunit ends the comparison: it would be no use.
                Err(error) if row.system.peer().is_none() => return Err(error).with_context(|| title(row)),
                Err(error) => {
                    eprintln!("{error:#}");
                    measured.problem = Some(format!("{error:#}").replace(['\n', '|'], " "));
                }
            }
        }
    }
    // Rows of one kind together, whatever the order in which they were measured.
    rows.sort_by_key(|row| match row.workload {
        Workload::Hot => 0,
        Workload::Spread => 1,
        Workload::SellOut { crowd: None, .. } => 2,
        Workload::SellOut { crowd: Some(_), .. } => 3,
    });
    let mut versions = std::mem::take(&mut bench.versions);
    versions.insert("Lastunit".into(), env!("CARGO_PKG_VERSION").into());
    versions.insert("PostgreSQL and Redis of all".into(), postgres);
    let report = Report {
        date: SystemSource.now().to_string().chars().take(10).collect(),
        machine: machine(),
        settings: format!(
            "{} buyers in a closed loop, a crowd as it says; rounds: {}, of {} s each, interleaved; medians, the \
             higher of two in the middle",
            args.buyers, args.rounds, args.seconds
        ),
        command: args.command,
        versions,
        missing: args.missing.into_iter().collect(),
        rows,
    };
    write(&report, &args.results)
}

fn title(row: &Row) -> String {
    format!("{}: {}", row.system, row.workload)
}

/// What PostgreSQL and Redis are, and how durable.
async fn describe(servers: &Servers) -> Result<String> {
    let client = django::connect(&servers.postgres).await?;
    let show = async |setting: &str| -> Result<String> {
        Ok(client.query_one(&format!("SHOW {setting}"), &[]).await?.get(0))
    };
    let mut redis = redis::Client::open(servers.redis.as_str())?
        .get_multiplexed_async_connection()
        .await
        .context("Redis can't be reached")?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
    let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?");
    Ok(format!(
        "PostgreSQL {}, fsync={}, synchronous_commit={}; Redis {redis}; SQLite with WAL, flushed before every answer",
        show("server_version").await?,
        show("fsync").await?,
        show("synchronous_commit").await?,
    ))
}

/// Cores, processor and kernel.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores, {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

fn write(report: &Report, results: &Path) -> Result<()> {
    let markdown = report.markdown();
    println!("{markdown}");
    std::fs::create_dir_all(results)?;
    std::fs::write(results.join("compare.md"), &markdown)?;
    std::fs::write(results.join("compare.json"), serde_json::to_string_pretty(report)? + "\n")?;
    std::fs::write(results.join("compare.svg"), report.chart()?)?;
    eprintln!("written to {}: compare.md, compare.json, compare.svg", results.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Peer};

    #[test]
    fn every_option_can_be_set_in_the_environment() {
        for option in Args::command().get_arguments() {
            let id = option.get_id().as_str();
            if id == "help" || id == "version" {
                continue;
            }
            let name = format!("LASTUNIT_{}", id.to_uppercase());
            assert_eq!(option.get_env().and_then(|env| env.to_str()), Some(name.as_str()), "--{id}");
        }
    }

    #[test]
    fn peers_are_named_and_the_missing_ones_explained() {
        let servers = ["compare", "--postgres", "postgres://a@h/b", "--redis", "redis://h"];
        let parse = |more: &[&str]| Args::try_parse_from(servers.iter().chain(more));
        let args =
            parse(&["--peers", "django,stateset", "--missing", "vendure=npm: no network"]).expect("right");
        assert_eq!(args.peers, [Peer::Django, Peer::Stateset]);
        assert_eq!(args.missing, [("vendure".to_owned(), "npm: no network".to_owned())]);
        for wrong in [["--peers", "magento"], ["--missing", "vendure"], ["--seconds", "0"], ["--rounds", "0"]]
        {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
