//! `lastunit prove`: buyers, faults, and a verdict, on an engineer's own database.

mod faults;
mod proxy;
mod report;
mod servers;
mod setting;
mod watch;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lastunit::Strategy;
use lastunit_bench::{
    history::{Check, Invariant, Recorder, Verdict, judge, read},
    workload::{Counts, Plan, Shopped, open_shop, read_all, resolve, shop_until},
};
use tokio::{sync::watch as channel, time::Instant};

use crate::store_url::{CartsUrl, StoreUrl};
use faults::Kind;
use report::Report;
use servers::{Launch, Place};
use setting::Setting;

/// Prove that nothing is oversold, lost or done twice, on your own database, while servers are killed and connections cut.
///
/// Starts servers of its own on an empty database, lets buyers shop there, breaks things on purpose, and then holds
/// everything that was asked and answered against what is in the database. Exit code 0: every check holds; 1: at least
/// one is violated, and named. Ctrl-C gives the verdict so far.
///
/// The choices of buyers and faults derive from --seed. Real time doesn't, so the same seed repeats what is done, not the
/// microsecond at which it meets something else.
#[derive(clap::Args)]
pub struct Args {
    /// The database, which has to be empty, or left by an earlier prove: sqlite:FILE, postgres://USER@HOST/DATABASE
    /// or mysql://USER@HOST/DATABASE. Without it a SQLite file that is thrown away afterwards.
    // Not shown from the environment: an address may hold a password.
    #[arg(long, env = "LASTUNIT_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Where carts are kept: store (with the orders), redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT.
    #[arg(long, env = "LASTUNIT_CARTS", default_value = "store", hide_env_values = true, value_name = "URL")]
    carts: CartsUrl,
    /// How long the buyers shop; fractions are fine. Healing and judging come on top.
    #[arg(long, env = "LASTUNIT_MINUTES", default_value = "1", value_name = "N", value_parser = minutes)]
    minutes: f64,
    /// How many servers share the database; SQLite has one.
    #[arg(long, env = "LASTUNIT_SERVERS", default_value = "1", value_name = "N")]
    servers: NonZeroUsize,
    /// How many buyers shop at once.
    #[arg(long, env = "LASTUNIT_BUYERS", default_value = "16", value_name = "N")]
    buyers: NonZeroU32,
    /// What all choices derive from; without it chance, and it is printed.
    #[arg(long, env = "LASTUNIT_SEED", value_name = "N")]
    seed: Option<u64>,
    /// Only these faults, separated by commas; without it all that can be injected.
    #[arg(long, env = "LASTUNIT_FAULTS", value_delimiter = ',', value_name = "KIND")]
    faults: Vec<Kind>,
    /// How concurrent orders for one SKU are kept apart: batched, queue, pessimistic or optimistic; naive sells
    /// what isn't there, needs --allow-overselling, and is caught.
    #[arg(long, env = "LASTUNIT_STRATEGY", default_value = "batched")]
    strategy: Strategy,
    /// Allow the naive strategy, to see it fail.
    #[arg(long, env = "LASTUNIT_ALLOW_OVERSELLING")]
    allow_overselling: bool,
    /// A folder for report.html, the history and the servers' logs. Without it they are kept only if a check is violated.
    #[arg(long, env = "LASTUNIT_REPORT", value_name = "DIR")]
    report: Option<PathBuf>,
    /// libfaketimeMT.so.1, by which clocks jump; without it, it is looked for where Debian installs it.
    #[arg(long, env = "LASTUNIT_LIBFAKETIME", value_name = "FILE")]
    libfaketime: Option<PathBuf>,
}

/// A call that isn't answered by then is given up: shorter than a stall may last.
const GIVE_UP_AFTER: Duration = Duration::from_millis(2_500);
/// A buyer waits up to so long between two steps.
const THINK_MS: u64 = 12;

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "it is a number of minutes, such as 0.5")?;
    if (0.05..=10_080.0).contains(&minutes) { Ok(minutes) } else { Err("it is 0.05 to 10080 minutes".into()) }
}

pub async fn run(args: Args) -> Result<ExitCode> {
    ensure!(
        args.strategy != Strategy::Naive || args.allow_overselling,
        "--strategy naive sells what isn't there; add --allow-overselling to see it caught"
    );
    let setting = Setting::prepare(&args).await?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let faketime = args.libfaketime.clone().or_else(servers::faketime);
    let launch = Launch {
        store: setting.store.clone(),
        carts: args.carts.clone(),
        strategy: args.strategy,
        service_key: crate::keys::generate(),
        folder: setting.folder.clone(),
        faketime: faketime.clone(),
    };
    println!("{}", setting.describe(&args, seed));

    let places = Arc::new(servers::start(&launch, args.servers.get()).await?);
    let addresses: Vec<_> = places.iter().map(|place| place.clients.address()).collect();
    let run = open_shop(addresses[0], &launch.service_key, seed, &setting.name).await?;
    let history = setting.folder.join("history.jsonl");
    let recorder = Arc::new(Recorder::create(&history, &run)?);
    let plan = Plan {
        servers: addresses,
        service_key: launch.service_key.clone(),
        run: Arc::new(run),
        buyers: args.buyers.get(),
        think_ms: THINK_MS,
        give_up_after: GIVE_UP_AFTER,
        recorder: recorder.clone(),
        counts: Arc::new(Counts::default()),
    };

    let (kinds, left_out) = kinds(&args, &places[0], faketime.is_some());
    let begun = Instant::now();
    let (shopped, interrupted) = shop(&args, &plan, &places, &kinds).await?;
    let took = begun.elapsed();
    let until_the_end = end(&plan, &places, &setting, &shopped);
    let state = tokio::select! {
        state = until_the_end => state?,
        pressed = watch::interrupted() => {
            pressed?;
            anyhow::bail!("interrupted before there was a verdict; what was written down is in {}", setting.keep().display())
        }
    };
    let history = read(&history)?;
    ensure!(
        state.orders.values().any(|orders| !orders.is_empty()),
        "no order was placed, so nothing was proved; see the servers' logs in {}",
        setting.keep().display()
    );
    std::fs::write(setting.folder.join("final.json"), serde_json::to_vec(&state)?)?;

    let mut verdict = judge(&history, &state);
    verdict.checks.push(processes(&places));
    let report =
        Report { args: &args, setting: &setting, seed, took, interrupted, history, left_out, verdict };
    print!("{}", report.text());
    std::fs::write(setting.folder.join("verdict.json"), serde_json::to_vec_pretty(&report.verdict)?)?;
    std::fs::write(setting.folder.join("report.html"), report.html())?;
    Ok(leave(&args, &setting, &report.verdict))
}

/// The kinds of faults to inject, and those that can't be, each with the reason.
fn kinds(args: &Args, place: &Place, faketime: bool) -> (Vec<Kind>, Vec<(Kind, String)>) {
    let (mut kinds, mut left_out) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        if !args.faults.is_empty() && !args.faults.contains(&kind) {
            left_out.push((kind, "not asked for (--faults)".into()));
        } else if let Some(why_not) = kind.why_not(place, faketime) {
            left_out.push((kind, why_not.into()));
        } else {
            kinds.push(kind);
        }
    }
    (kinds, left_out)
}

/// Lets buyers shop and breaks things, for as long as it was asked for or until Ctrl-C; whether it was that.
async fn shop(args: &Args, plan: &Plan, places: &Arc<Vec<Place>>, kinds: &[Kind]) -> Result<(Shopped, bool)> {
    let (stop, stopped) = channel::channel(false);
    let (fault, now) = channel::channel(String::new());
    let planned = faults::schedule(plan.run.seed, kinds, places.len());
    let breaking =
        tokio::spawn(faults::inject(places.clone(), planned, plan.recorder.clone(), fault, stopped.clone()));
    let mut shopping = tokio::spawn({
        let plan = plan.clone();
        async move { shop_until(&plan, stopped).await }
    });
    let lasts = Duration::from_secs_f64(args.minutes * 60.0);
    let interrupted = tokio::select! {
        () = watch::progress(plan, now, lasts) => false,
        pressed = watch::interrupted() => pressed.is_ok(),
        ended = &mut shopping => {
            // Buyers leave only when they are told to.
            ended??;
            anyhow::bail!("the buyers left early");
        }
    };
    stop.send_replace(true);
    watch::say("healing, and waiting for what is under way");
    breaking.await??;
    let shopped = shopping.await??;
    Ok((shopped, interrupted))
}

/// Heals everything, resolves what is open, reads what is there, stops the servers and checks the database.
async fn end(
    plan: &Plan,
    places: &[Place],
    setting: &Setting,
    shopped: &Shopped,
) -> Result<lastunit_bench::history::FinalState> {
    for place in places {
        place.revive().await?;
    }
    let open = resolve(plan, shopped).await.context("calls that nobody answered can't be resolved")?;
    watch::say(&format!(
        "resolved {open} calls that nobody had answered; reading the orders and carts of {} buyers",
        shopped.buyers.len()
    ));
    // What was given up may still be on its way. Told to stop, servers end it; then nothing changes while it is read.
    for place in places {
        place.stop().await?;
    }
    for place in places {
        place.start().await?;
    }
    let mut state = read_all(plan, shopped).await.context("what is there at the end can't be read")?;
    for place in places {
        place.stop().await?;
    }
    watch::say("checking every invariant of the database, and the history");
    let report = setting.check().await?;
    state.invariants = report
        .checked
        .iter()
        .map(|name| {
            let violations = report.violations.iter().filter(|violation| violation.invariant == *name);
            Invariant {
                name: (*name).to_owned(),
                examined: format!("{} orders, {} SKUs", report.orders, report.skus),
                violations: violations.map(|violation| violation.detail.clone()).collect(),
            }
        })
        .collect();
    Ok(state)
}

/// Whether a server ended that nobody had told to, or didn't end well.
fn processes(places: &[Place]) -> Check {
    let odd: Vec<String> = places.iter().flat_map(Place::odd).collect();
    Check {
        name: "servers_end_when_told".into(),
        promise: "no server ends by itself; told to, it ends in time and without an error".into(),
        examined: format!("{} processes", places.iter().map(Place::started).sum::<u64>()),
        violated: odd.len(),
        violations: odd,
    }
}

/// Says where everything is, and what it comes to.
fn leave(args: &Args, setting: &Setting, verdict: &Verdict) -> ExitCode {
    let folder = match verdict.holds() {
        true if args.report.is_none() => return ExitCode::SUCCESS,
        true => &setting.folder,
        false => setting.keep(),
    };
    println!("report       {}", folder.join("report.html").display());
    if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
