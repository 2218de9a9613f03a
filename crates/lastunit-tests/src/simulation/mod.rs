//! A shop simulated by a seed: the real engines with `decide`, several servers of them, on a database in memory that
//! fails, with buyers who do as they please. The same seed comes to the same run, event by event.
//!
//! # What is real, and what is a model
//! The engine (queues, batches, retries, drain), `decide` and the cart protocol (`RedisCarts`, as it is used with Redis)
//! are the code that runs in production. The database and the service that keeps carts are models: row locks held until
//! the commit, writes visible at it, reads without locks from one snapshot or from several, guarded writes; the Lua scripts
//! written once more in Rust. The seed makes transactions conflict, fail, or end in an unknown commit, which was done,
//! wasn't, or is done while its client asks again already; crashes servers between any two steps, and the database; lets
//! the carts be away, answer late or not at all, return to an earlier state, or be lost; and lets buyers send twice, again,
//! something else under a used key, hang up at any poll, cancel, and change carts under way.
//!
//! # How a seed decides
//! All runs on one thread with tokio's paused clock: who is polled next follows from who was woken first, and time moves
//! on only when nobody can run. Between any two steps the models and the clients pause for a number of polls or
//! milliseconds that the seed gives. So all orders of *steps* are within reach, where a step is a round trip of a
//! transaction, a script, or what a client does. Races of threads within one step aren't: those of the queues are in
//! `tests/interleavings`, and those within a channel are tokio's.
//!
//! Left out: SQL, what the stores retry by themselves, saved addresses, imports, and a database that is restored from a
//! backup. Those have tests on the real databases.

mod book;
mod carts;
mod chance;
mod checks;
mod clients;
mod database;
mod place;
mod shop;
mod store;
mod world;

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Duration};

use lastunit::{Strategy, Violation};
use tokio::time::{sleep, timeout};

use shop::{REST, Shop};
use world::World;

/// Where carts are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carts {
    /// In the database.
    InStore,
    /// In a service beside it, as in Redis.
    Elsewhere,
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// By which the servers place.
    pub strategy: Strategy,
    /// Where carts are kept.
    pub carts: Carts,
    /// What is wrong on purpose.
    pub bug: Option<Bug>,
}

impl Scenario {
    /// Every safe strategy with carts at both places.
    pub fn all() -> impl Iterator<Item = Self> {
        let with = |strategy| [Carts::InStore, Carts::Elsewhere].map(|carts| (strategy, carts));
        let all = Strategy::SAFE.into_iter().flat_map(with);
        all.map(|(strategy, carts)| Self { strategy, carts, bug: None })
    }
}

/// As in the list of seeds: `batched elsewhere`.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carts = match self.carts {
            Carts::InStore => "in-store",
            Carts::Elsewhere => "elsewhere",
        };
        write!(f, "{} {carts}", self.strategy.as_str())?;
        self.bug.map_or(Ok(()), |bug| write!(f, " with {bug:?}"))
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::all().find(|scenario| scenario.to_string() == text);
        known.ok_or_else(|| format!("{text:?} is no scenario; one is {:?}", "batched elsewhere"))
    }
}

/// What can be done wrong on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A commit is acknowledged before it is durable, and lost when the database crashes.
    CommitNotDurable,
    /// An unknown commit is taken for done.
    UnknownTakenForDone,
    /// The key isn't written with what it decided.
    KeyNotWritten,
    /// Refusals aren't kept under their keys.
    RefusalNotKept,
    /// What is tried again after an unknown commit gets another key and another order.
    OtherKeyAfterUnknown,
    /// Stock is written as computed, not as a difference.
    StockOverwritten,
    /// A compare-and-set doesn't compare the stock.
    StockNotCompared,
    /// A compare-and-set doesn't compare the price.
    PriceNotCompared,
    /// Rows aren't locked before they are read, and nothing is compared when they are written.
    NothingLocked,
    /// An order isn't locked while it is canceled.
    CanceledTwice,
    /// The cart's number isn't compared with the one that the request saw.
    CartNotCompared,
    /// What was ordered leaves the cart by SKU, not by units.
    CartClearedById,
    /// An order is taken out of a cart whether or not it is the next.
    OrderTakenOutTwice,
    /// A call that fails isn't answered.
    CallNeverEnds,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// What doesn't hold.
    pub violations: Vec<Violation>,
    /// Every event, if they were written down.
    pub trace: Vec<String>,
    /// How often what happened.
    pub sights: BTreeMap<&'static str, u64>,
    /// How long it took by the simulated clock.
    pub simulated: Duration,
}

/// Runs a scenario by a seed. Call it on a runtime of one thread whose clock is paused.
pub async fn simulate(seed: u64, scenario: Scenario, traced: bool) -> Report {
    let world = Arc::new(World::new(seed, scenario, traced));
    world.note(|| format!("{scenario}, seed {seed}: {} % of all calls go wrong", world.faults_percent));
    let shop = Shop::open(world.clone());
    for server in 0..3 {
        tokio::spawn(shop.clone().supervise(server, world.chance.fork()));
    }
    tokio::spawn(shop.clone().break_things(world.chance.fork()));
    let mut clients = vec![tokio::spawn(shop.clone().keep_stock(world.chance.fork()))];
    for device in 0..world.chance.between(3..=6) as usize {
        clients.push(tokio::spawn(shop.clone().buy(device, world.chance.fork())));
    }
    for client in clients {
        match timeout(Duration::from_secs(3600), client).await {
            Ok(Ok(())) => {}
            Ok(Err(panicked)) => world.violation(checks::NO_PANIC, panicked.to_string()),
            Err(_) => world.violation(checks::CALLS_END, "a client isn't done after an hour"),
        }
    }
    world.note(|| "all is well from now on".into());
    world.calm_down();
    // Servers that drain, too.
    sleep(2 * REST).await;

    let chance = world.chance.fork();
    shop.resolve(&chance).await;
    let left = shop.order_carts(&chance).await;
    for server in 0..3 {
        if let Some(process) = shop.server(server) {
            shop.drain(&process).await;
        }
    }
    sleep(REST).await;
    shop.check(&left);
    world.report()
}
