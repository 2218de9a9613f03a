//! The queues of the engine and of SQLite's writer in thousands of orders of their steps: their own source, compiled on [`sync`],
//! whose scheduler is shuttle's and follows a seed.
//!
//! - `LASTUNIT_SHUTTLE_RUNS=100000 cargo test -p lastunit-tests --test interleavings` runs more schedules of each test.
//! - `SHUTTLE_RANDOM_SEED=17 LASTUNIT_SHUTTLE_RUNS=1` runs one schedule: what the random scheduler prints when one fails. A
//!   usual run takes the same schedules every time.
//!
//! What is tested is what the queues do between their calls to channels, locks, semaphores and timers. Each of those calls is
//! one step here; what happens inside one is tokio's.

mod sale;
mod shops;
mod sqlite;
mod sync;

/// The engine's own source.
#[allow(dead_code)]
#[path = "../../../lastunit/src/engine.rs"]
mod engine;

/// Where that source finds what it needs.
mod ids {
    pub use lastunit::{OrderId, ShopId, UserId};
}
mod order {
    pub use lastunit::{
        Basket, CancelOutcome, CartReading, CartSnapshot, Outcome, PlaceOrder, PlaceRequest, Rejection, Reply,
    };
}
mod source {
    pub use lastunit::{Source, SystemSource};
}
mod store {
    pub use lastunit::{Locking, NextBatch, NextMayCome, Store, StoreError};
}

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    thread,
};

use shuttle::{
    Config, FailurePersistence, Runner,
    rand::Rng,
    scheduler::{PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler},
};

use sync::Bug;

/// Schedules of each test and scheduler in a usual run.
const RUNS: usize = 3_000;
/// Within so many schedules every bug has to be found.
const RUNS_TO_FIND: usize = 3_000;
/// The schedules of a usual run are always the same.
const SEED: u64 = 1;
/// How often, at most, the second scheduler takes the turn from a task that could go on.
const DEPTH: usize = 4;

thread_local! {
    static SIGHTS: RefCell<BTreeMap<&'static str, u64>> = RefCell::default();
}

/// Notes that this happened, in some schedule.
fn sight(what: &'static str) {
    SIGHTS.with_borrow_mut(|sights| *sights.entry(what).or_default() += 1);
}

/// 0 to one less than `limit`, as the schedule has it.
fn below(limit: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..limit)
}

fn pick<T: Copy>(of: &[T]) -> T {
    of[below(of.len() as u64) as usize]
}

/// Polls a call once.
async fn poll_once<F: Future + ?Sized>(mut call: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await
}

fn runs() -> usize {
    let Ok(text) = std::env::var("LASTUNIT_SHUTTLE_RUNS") else { return RUNS };
    text.parse().unwrap_or_else(|_| panic!("LASTUNIT_SHUTTLE_RUNS must be a number, and is {text:?}"))
}

/// Runs what a schedule does under one scheduler. A schedule in which nobody can go on, and not all are done, panics.
fn run<F: Future<Output = ()> + 'static>(scheduler: impl Scheduler + 'static, scenario: fn() -> F) {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.failure_persistence = FailurePersistence::None;
    let schedule = move || {
        sync::time::reset();
        shuttle::future::block_on(scenario());
    };
    Runner::new(scheduler, config).run(schedule);
}

/// Runs it under both schedulers: one that chooses the next task at random, and one that lets a task run for long and takes its
/// turn away at few points, which finds what needs an unlikely order.
///
/// What is to be `reached` has to come up, or the test would show little.
fn explore<F: Future<Output = ()> + 'static>(scenario: fn() -> F, reached: &[&str]) {
    run(RandomScheduler::new_from_seed(SEED, runs()), scenario);
    run(PctScheduler::new_from_seed(SEED, DEPTH, runs()), scenario);
    let sights = SIGHTS.take();
    println!("{sights:?}");
    let missed: Vec<_> = reached.iter().filter(|what| !sights.contains_key(*what)).collect();
    assert!(runs() < RUNS || missed.is_empty(), "never seen: {missed:?}");
}

#[test]
fn every_call_is_answered_once_and_rightly() {
    let reached = [
        "a wait for more was in vain",
        "a wait for more wasn't in vain",
        "answered by a drain",
        "conflict",
        "hung up",
        "hung up, and placed",
        "overloaded",
        "panic",
        "placed",
        "refused",
        "replayed",
        "several in one batch",
        "told of a fault",
        "too few replies",
        "two batches at once",
        "turned away by a drain",
        "unavailable",
        "unknown and committed",
        "unknown and lost",
        "waited too long",
    ];
    explore(sale::any, &reached);
}

#[test]
fn overloaded_exactly_when_it_is() {
    explore(sale::crowd_at_a_closed_gate, &["several in one batch"]);
}

#[test]
fn who_waited_too_long_is_turned_away_and_never_placed() {
    explore(sale::slow_store, &[]);
}

#[test]
fn sqlites_writer_answers_every_write_once_and_rightly() {
    let reached = [
        "failed",
        "flushed once for several commits",
        "hung up, and written",
        "panic",
        "read while a flush was under way",
        "refused",
        "several in one commit",
        "unknown after a failed flush",
    ];
    explore(sqlite::any, &reached);
}

#[test]
fn a_schedule_comes_to_the_same_run_again() {
    let scheduler = RandomScheduler::new_from_seed(SEED, runs() / 10);
    run(UncontrolledNondeterminismCheckScheduler::new(scheduler), sale::any);
    let scheduler = RandomScheduler::new_from_seed(SEED, runs() / 10);
    run(UncontrolledNondeterminismCheckScheduler::new(scheduler), sqlite::any);
}

/// What the first schedule that fails says; nothing if none does.
fn found<F: Future<Output = ()> + 'static>(bug: Option<Bug>, scenario: fn() -> F) -> Option<String> {
    let search = move || {
        if let Some(bug) = bug {
            sync::plant(bug);
        }
        let scheduler = RandomScheduler::new_from_seed(SEED, RUNS_TO_FIND);
        let panic = catch_unwind(AssertUnwindSafe(|| run(scheduler, scenario))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
    };
    // A thread of its own: the bug is planted there alone.
    thread::spawn(search).join().expect("a panic was caught")
}

#[test]
fn every_bug_is_found() {
    const UNANSWERED: &str = "accepted and not answered";
    const STOCK: &str = "sold and";
    const HANGS: &str = "deadlock";
    let of_engine: [(Bug, &[&str]); _] = [
        (Bug::LastBatchLost, &["without a fault", "lost the order of who hung up"]),
        (Bug::AnswerForgotten, &[UNANSWERED, HANGS]),
        (Bug::DrainDoesNotWait, &[UNANSWERED, "placed after the engine was drained"]),
        (Bug::PermitKept, &[HANGS]),
        (Bug::NothingLocked, &[STOCK]),
        (Bug::KeyNotKept, &["two orders under one key", STOCK]),
        (Bug::RepliesSwapped, &["somebody else's order"]),
    ];
    let of_sqlite: [(Bug, &[&str]); _] = [
        (Bug::LastBatchLost, &["accepted, and refused", "lost the write of who hung up"]),
        (Bug::AnswerForgotten, &[HANGS]),
        (Bug::FlushForgotten, &["not durable"]),
    ];
    let naive: (_, &[&str]) = (("engine", None, found(None, sale::naive)), &[STOCK]);
    let of_engine = of_engine.map(|(bug, says)| (("engine", Some(bug), found(Some(bug), sale::any)), says));
    let of_sqlite = of_sqlite.map(|(bug, says)| (("SQLite", Some(bug), found(Some(bug), sqlite::any)), says));
    let missed: Vec<_> = of_engine
        .into_iter()
        .chain(of_sqlite)
        .chain([naive])
        .filter(|((.., text), says)| {
            !text.as_ref().is_some_and(|text| says.iter().any(|says| text.contains(says)))
        })
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}
