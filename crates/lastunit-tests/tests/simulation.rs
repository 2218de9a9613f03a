//! The core by seeds: engines, `decide` and the cart protocol on a database that fails (see [`lastunit_tests::simulation`]).
//!
//! - `LASTUNIT_SIM_SEEDS=20000 cargo test -p lastunit-tests --test simulation` runs more seeds of each scenario.
//! - `LASTUNIT_SIM_SEED=17` runs that one, of each scenario.
//!
//! A seed that fails prints how to run it again and its last events. It belongs into `simulation_seeds.txt`.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use lastunit::Strategy;
use lastunit_tests::simulation::{Bug, Carts, Report, Scenario, simulate};
use tokio::runtime::Builder;

/// Seeds of each scenario in a usual run.
const SEEDS: u64 = 800;
/// Of a failed run, so many of the last events are printed.
const EVENTS: usize = 300;
/// Within so many seeds every bug has to be found.
const SEEDS_TO_FIND: u64 = 1_000;

/// What a usual run has to come across, or it would show little.
const REACHED: &[&str] = &[
    "canceled",
    "cart script run late",
    "cart unreachable",
    "cart_changed",
    "carts away",
    "carts lost",
    "carts lost their tail",
    "conflict",
    "crash after commit",
    "crash before commit",
    "database crashed",
    "drained",
    "empty_cart",
    "hung up",
    "insufficient_stock",
    "key reused",
    "line removed",
    "line set",
    "lock timeout",
    "overloaded",
    "placed",
    "replayed",
    "server ended",
    "sku_unavailable",
    "stock change refused",
    "stock changed",
    "told to come back",
    "total_changed",
    "unavailable",
    "unknown and committed",
    "unknown and lost",
    "unknown for a while",
];

fn run(seed: u64, scenario: Scenario, traced: bool) -> Report {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(simulate(seed, scenario, traced))
}

/// Runs all of these on all cores; what was seen, and the first that failed.
fn run_all(runs: &[(Scenario, u64)]) -> (BTreeMap<&'static str, u64>, Option<(Scenario, u64)>) {
    let (next, sights, failed) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()), Mutex::new(None));
    let work = || {
        while failed.lock().expect("not poisoned").is_none()
            && let Some(&(scenario, seed)) = runs.get(next.fetch_add(1, Relaxed) as usize)
        {
            let report = run(seed, scenario, false);
            for (what, times) in report.sights {
                *sights.lock().expect("not poisoned").entry(what).or_default() += times;
            }
            if !report.violations.is_empty() {
                failed.lock().expect("not poisoned").get_or_insert((scenario, seed));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    (sights.into_inner().expect("not poisoned"), failed.into_inner().expect("not poisoned"))
}

/// Panics with all there is to know of a run that failed.
fn fail(scenario: Scenario, seed: u64) -> ! {
    let report = run(seed, scenario, true);
    let left_out = report.trace.len().saturating_sub(EVENTS);
    let events = report.trace[left_out..].join("\n");
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    panic!(
        "seed {seed} of \"{scenario}\" fails:\n{}\n\n{left_out} events, and then:\n{events}\n\nTo run it again: \
         LASTUNIT_SIM_SEED={seed} cargo test -p lastunit-tests --test simulation\nTo keep it, add this line to \
         crates/lastunit-tests/tests/simulation_seeds.txt: {scenario} {seed}\n\n{}",
        violations.join("\n"),
        violations.join("\n"),
    );
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text:?}")))
}

#[test]
fn every_seed_holds() {
    let one = number("LASTUNIT_SIM_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("LASTUNIT_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let runs: Vec<_> = seeds.flat_map(|seed| Scenario::all().map(move |scenario| (scenario, seed))).collect();
    let (sights, failed) = run_all(&runs);
    if let Some((scenario, seed)) = failed {
        fail(scenario, seed);
    }
    println!("{} runs: {sights:?}", runs.len());
    if one.is_none() {
        let missed: Vec<_> = REACHED.iter().filter(|what| !sights.contains_key(*what)).collect();
        assert!(missed.is_empty(), "never seen in {} runs: {missed:?}", runs.len());
    }
}

#[test]
fn seeds_that_failed_once_hold() {
    let lines = include_str!("simulation_seeds.txt").lines();
    let lines = lines.map(|line| line.split('#').next().unwrap_or("").trim()).filter(|line| !line.is_empty());
    let runs: Vec<_> = lines
        .map(|line| {
            let (scenario, seed) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no seed: {line:?}"));
            let scenario: Scenario = scenario.parse().unwrap_or_else(|error| panic!("{error}"));
            (scenario, seed.parse().unwrap_or_else(|_| panic!("no seed: {line:?}")))
        })
        .collect();
    if let (_, Some((scenario, seed))) = run_all(&runs) {
        fail(scenario, seed);
    }
}

#[test]
fn a_seed_comes_to_the_same_run_event_by_event() {
    for seed in 0..10 {
        for scenario in Scenario::all() {
            let (first, again) = (run(seed, scenario, true), run(seed, scenario, true));
            assert!(first.trace.len() > 50, "{scenario}, {seed}: {:?}", first.trace);
            let differs = first.trace.iter().zip(&again.trace).position(|(one, other)| one != other);
            if let Some(at) = differs {
                panic!("{scenario}, {seed}, event {at}: {}\nand: {}", first.trace[at], again.trace[at]);
            }
            assert_eq!(first.trace.len(), again.trace.len());
            assert_eq!((first.sights, first.simulated), (again.sights, again.simulated));
        }
    }
}

#[test]
fn two_seeds_come_to_different_runs() {
    let scenario = Scenario { strategy: Strategy::Batched, carts: Carts::InStore, bug: None };
    assert_ne!(run(1, scenario, true).trace, run(2, scenario, true).trace);
}

#[test]
fn every_bug_is_found() {
    use Bug::*;
    use Carts::*;
    use Strategy::*;
    let bugs = [
        (Batched, InStore, CommitNotDurable, "what_was_acknowledged_stands"),
        (Pessimistic, InStore, UnknownTakenForDone, "what_was_acknowledged_stands"),
        (Queue, InStore, KeyNotWritten, "orders_have_one_key"),
        (Batched, InStore, RefusalNotKept, "a_key_has_one_answer"),
        (Optimistic, InStore, OtherKeyAfterUnknown, "orders_were_asked_for"),
        (Optimistic, InStore, StockOverwritten, "stock_matches_ledger"),
        (Optimistic, InStore, StockNotCompared, "stock_not_negative"),
        (Optimistic, InStore, PriceNotCompared, "sold_at_the_current_price"),
        (Pessimistic, InStore, NothingLocked, "stock_matches_ledger"),
        (Queue, InStore, CanceledTwice, "sold_once_and_restocked_once_if_canceled"),
        (Batched, Elsewhere, CartNotCompared, "units_of_a_cart_are_left_or_ordered_once"),
        (Optimistic, InStore, CartClearedById, "units_of_a_cart_are_left_or_ordered_once"),
        (Batched, Elsewhere, CartClearedById, "units_of_a_cart_are_left_or_ordered_once"),
        (Pessimistic, Elsewhere, OrderTakenOutTwice, "units_of_a_cart_are_left_or_ordered_once"),
        (Batched, InStore, CallNeverEnds, "every_call_ends"),
    ];
    let bugs =
        bugs.map(|(strategy, carts, bug, check)| (Scenario { strategy, carts, bug: Some(bug) }, check));
    let oversells = (Scenario { strategy: Naive, carts: InStore, bug: None }, "stock_matches_ledger");
    let mut missed = Vec::new();
    for (scenario, check) in bugs.into_iter().chain([oversells]) {
        let finds = |seed: &u64| {
            let report = run(*seed, scenario, false);
            report.violations.iter().any(|violation| violation.invariant == check)
        };
        match (0..SEEDS_TO_FIND).find(finds) {
            Some(seed) => println!("{scenario}: {check} by seed {seed}"),
            None => missed.push(format!("{scenario} keeps {check}")),
        }
    }
    assert!(missed.is_empty(), "in {SEEDS_TO_FIND} seeds: {missed:#?}");
}
