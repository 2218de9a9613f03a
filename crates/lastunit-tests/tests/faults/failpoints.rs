//! Every step of placing, canceling and replaying fails in turn: with an error, with a panic, and with the end of the
//! process. Nothing is half done then, and the same call again gives one order.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use fail::FailGuard;
use lastunit::*;
use lastunit_store::{MySqlStore, PostgresStore, RemoteConfig, SqliteStore};
use lastunit_tests::{
    Bench, Fresh, buyer, placed,
    servers::{MariaDb, Postgres},
};
use tokio::task::block_in_place;

use crate::figures::median_and_most;

/// What a buyer does while a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Place,
    Replay,
    Cancel,
}

impl Doing {
    const ALL: [Self; 3] = [Self::Place, Self::Replay, Self::Cancel];

    fn parse(name: &str) -> Self {
        let is = |doing: &Self| format!("{doing:?}") == name;
        Self::ALL.into_iter().find(is).expect("something to do")
    }
}

use Doing::{Cancel, Place, Replay};

/// A step by its name, and what takes it.
type Step = (&'static str, &'static [Doing]);

/// All steps there are in SQLite's store.
const SQLITE: &[Step] = &[
    ("sqlite.begun", &[Place, Replay, Cancel]),
    ("sqlite.place.read", &[Place, Replay]),
    ("sqlite.place.keys_written", &[Place, Replay]),
    ("sqlite.place.skus_taken", &[Place, Replay]),
    ("sqlite.place.stock_taken", &[Place, Replay]),
    ("sqlite.place.carts_emptied", &[Place, Replay]),
    ("sqlite.place.orders_written", &[Place, Replay]),
    ("sqlite.place.cart_orders_written", &[Place, Replay]),
    ("sqlite.place.lines_written", &[Place, Replay]),
    ("sqlite.place.ledger_written", &[Place, Replay]),
    ("sqlite.place.events_written", &[Place, Replay]),
    ("sqlite.replay.order_read", &[Replay]),
    ("sqlite.cancel.read", &[Cancel]),
    ("sqlite.cancel.status_written", &[Cancel]),
    ("sqlite.cancel.stock_given_back", &[Cancel]),
    ("sqlite.cancel.ledger_written", &[Cancel]),
    ("sqlite.cancel.products_counted", &[Cancel]),
    ("sqlite.cancel.event_written", &[Cancel]),
    ("sqlite.to_commit", &[Place, Replay, Cancel]),
    ("sqlite.committed", &[Place, Replay, Cancel]),
];

/// Of those, what frames every write.
const FRAME: [&str; 3] = ["sqlite.begun", "sqlite.to_commit", "sqlite.committed"];

/// Those that PostgreSQL and MariaDB share.
const REMOTE: &[Step] = &[
    ("remote.cancel.read", &[Cancel]),
    ("remote.cancel.status_written", &[Cancel]),
    ("remote.cancel.stock_given_back", &[Cancel]),
    ("remote.cancel.products_counted", &[Cancel]),
    ("remote.cancel.ledger_written", &[Cancel]),
    ("remote.cancel.event_written", &[Cancel]),
];

/// A replay writes nothing, and so has nothing to commit.
const POSTGRES: &[Step] = &[
    ("postgres.place.prepared", &[Place, Replay]),
    ("postgres.place.carts_read", &[Place, Replay]),
    ("postgres.place.read", &[Place, Replay]),
    ("postgres.place.guarded", &[Place]),
    ("postgres.replay.order_read", &[Replay]),
    ("postgres.to_commit", &[Place, Cancel]),
    ("postgres.committed", &[Place, Cancel]),
];

const MYSQL: &[Step] = &[
    ("mysql.place.keys_read", &[Place, Replay]),
    ("mysql.place.begun", &[Place]),
    ("mysql.place.carts_locked", &[Place]),
    ("mysql.place.stock_read", &[Place, Replay]),
    ("mysql.place.carts_counted", &[Place, Replay]),
    ("mysql.place.carts_emptied", &[Place, Replay]),
    ("mysql.place.stock_taken", &[Place, Replay]),
    ("mysql.place.keys_written", &[Place, Replay]),
    ("mysql.place.products_counted", &[Place, Replay]),
    ("mysql.place.orders_written", &[Place, Replay]),
    ("mysql.place.events_written", &[Place, Replay]),
    ("mysql.place.cart_orders_written", &[Place, Replay]),
    ("mysql.place.lines_written", &[Place, Replay]),
    ("mysql.place.ledger_written", &[Place, Replay]),
    ("mysql.replay.order_read", &[Replay]),
    ("mysql.to_commit", &[Place, Cancel]),
    ("mysql.committed", &[Place, Cancel]),
];

/// Of the stores.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lastunit-store/src")
}

/// The names after `step!` in all sources of the stores.
fn steps_in(folder: &Path) -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            steps.extend(steps_in(&path));
        } else {
            let source = fs::read_to_string(&path).expect("a source");
            let names = source.split("step!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            steps.extend(names.map(str::to_owned));
        }
    }
    steps
}

#[test]
fn every_step_in_the_sources_is_one_that_fails_here() {
    let listed = [SQLITE, REMOTE, POSTGRES, MYSQL].concat();
    let names: BTreeSet<String> = listed.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), listed.len(), "a step is listed twice");
    assert_eq!(steps_in(&sources()), names);
}

/// Opens what an address names.
async fn open(url: &str) -> Arc<dyn Store> {
    match url.split_once(':').expect("a scheme") {
        ("sqlite", path) => Arc::new(SqliteStore::open(path).expect("a database")),
        ("postgres", _) => {
            Arc::new(PostgresStore::connect(url, RemoteConfig::default()).await.expect("a database"))
        }
        _ => Arc::new(MySqlStore::connect(url, RemoteConfig::default()).await.expect("a database")),
    }
}

/// The order of a buyer's cart, the buyer's only one.
fn request(user: &str) -> PlaceRequest {
    PlaceRequest {
        shop: ShopId::FIRST,
        user: buyer(user),
        operation: Operation::PlaceOrder,
        key: IdempotencyKey::new("the only one").expect("a key"),
        basket: Basket::Cart,
        ship_to: ShipTo::Given(Address::example()),
        pay_method: PayMethod::Online,
        expected_total: None,
    }
}

/// Places, replays or cancels the buyer's order.
async fn act(engine: &Engine, doing: Doing, user: &str) -> Result<(), PlaceError> {
    if doing != Doing::Cancel {
        return engine.place(request(user)).await.map(|reply| assert_eq!(placed(&reply).lines.len(), 2));
    }
    let orders = engine.store().orders(ShopId::FIRST, &buyer(user), None, 1).await.expect("the orders");
    engine.cancel(ShopId::FIRST, &buyer(user), orders[0].id).await.map(|outcome| {
        assert!(matches!(outcome, CancelOutcome::Canceled(_)), "{outcome:?}");
    })
}

/// How a step fails.
#[derive(Debug, Clone, Copy)]
enum How {
    Error,
    Panic,
    EndOfTheProcess,
}

const ADDRESS: &str = "FAULT_STORE";
const STEP: &str = "FAULT_STEP";
const DOING: &str = "FAULT_DOING";
const BUYER: &str = "FAULT_BUYER";

/// Does what the environment says in a process that ends at a step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the others, for it ends the process"]
async fn a_process_that_ends_at_a_step() {
    let [url, step, doing, user] =
        [ADDRESS, STEP, DOING, BUYER].map(|name| std::env::var(name).expect("set by the one who starts it"));
    let engine = Engine::start(open(&url).await, Config::default()).expect("a safe strategy");
    let _ends = FailGuard::with_callback(step.as_str(), || std::process::abort()).expect("a step");
    act(&engine, Doing::parse(&doing), &user).await.expect("it doesn't come to that");
    panic!("{step} isn't taken by {doing}");
}

/// Starts that process, and waits for its end.
fn end_at(url: &str, (step, doing): (&str, Doing), user: &str) {
    let ended = Command::new(std::env::current_exe().expect("this test's own path"))
        .args(["--exact", "failpoints::a_process_that_ends_at_a_step", "--ignored", "--nocapture"])
        .envs([(ADDRESS, url), (STEP, step), (DOING, format!("{doing:?}").as_str()), (BUYER, user)])
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
    // SIGABRT.
    assert_eq!(ended.status.signal(), Some(6), "{step} isn't taken by {doing:?}: {said}");
}

/// A shop on a fresh database, whose buyers have each one unit of two SKUs in the cart.
struct Shop {
    url: String,
    bench: Bench,
    skus: Vec<SkuId>,
    sold: i64,
    /// Steps at which a process was ended.
    ended_at: BTreeSet<String>,
    /// How long the same calls took once nothing was in the way.
    again: Vec<Duration>,
}

impl Shop {
    async fn open(url: String) -> Self {
        let stores = vec![open(&url).await];
        let bench = Bench::new(Fresh { stores, keep: Box::new(()) }, Strategy::Batched).await;
        let skus = vec![bench.sku(500, 1000).await, bench.sku(700, 1000).await];
        Self { url, bench, skus, sold: 0, ended_at: BTreeSet::new(), again: Vec::new() }
    }

    /// Stock, sales and all invariants are as so many orders leave them.
    async fn assert_sold(&self, sold: i64) {
        for sku in &self.skus {
            self.bench.assert_counters(*sku, 1000 - sold, sold).await;
        }
        self.bench.assert_holds().await;
    }

    async fn fails_at(&mut self, step: Step, how: How) {
        // It calls SQLite and no more: there is no place for a bug that panics.
        if matches!(how, How::Panic) && FRAME.contains(&step.0) {
            return;
        }
        for doing in step.1 {
            let user = format!("{}-{doing:?}-{how:?}", step.0);
            for sku in &self.skus {
                self.bench.put(&user, *sku, 1, true).await;
            }
            let before = *doing != Place;
            if before {
                act(&self.bench.engine, Place, &user).await.expect("an order");
                self.sold += 1;
            }
            match how {
                How::Error => {
                    let _fails = FailGuard::new(step.0, "return").expect("a step");
                    let failed = act(&self.bench.engine, *doing, &user).await;
                    // What was committed is found again, where another try doesn't come by here.
                    if !step.0.ends_with(".committed") {
                        assert_eq!(failed, Err(PlaceError::Unavailable), "{user}");
                    }
                }
                How::Panic => {
                    let _fails = FailGuard::new(step.0, "panic").expect("a step");
                    let failed = act(&self.bench.engine, *doing, &user).await;
                    assert!(matches!(failed, Err(PlaceError::Internal(_))), "{user}: {failed:?}");
                }
                How::EndOfTheProcess => {
                    block_in_place(|| end_at(&self.url, (step.0, *doing), &user));
                    self.ended_at.insert(step.0.to_owned());
                }
            }
            // All of it, or nothing.
            let done = step.0.ends_with(".committed");
            let orders = self.bench.orders(&user).await;
            let status = orders.first().map(|order| order.status);
            let expected = match doing {
                Place => done.then_some(OrderStatus::Unpaid),
                Cancel if done => Some(OrderStatus::Canceled),
                Replay | Cancel => Some(OrderStatus::Unpaid),
            };
            assert_eq!(status, expected, "{user}");
            assert_eq!(self.bench.cart(&user).await.len(), if orders.is_empty() { 2 } else { 0 }, "{user}");
            let sold = match doing {
                Place if done => 1,
                Cancel if done => -1,
                _ => 0,
            };
            self.assert_sold(self.sold + sold).await;

            let begun = Instant::now();
            act(&self.bench.engine, *doing, &user).await.expect("nothing is in the way any more");
            self.again.push(begun.elapsed());
            self.sold += match doing {
                Place => 1,
                Replay => 0,
                Cancel => -1,
            };
            assert_eq!(self.bench.orders(&user).await.len(), 1, "{user}");
            self.assert_sold(self.sold).await;
        }
    }
}

/// The steps of a store begin with one of these words.
async fn every_step_fails(name: &str, url: String, steps: &[Step], words: &[&str]) {
    let mut shop = Shop::open(url).await;
    for step in steps {
        for how in [How::Error, How::Panic, How::EndOfTheProcess] {
            shop.fails_at(*step, how).await;
        }
    }
    let mut all = steps_in(&sources());
    all.retain(|step| words.contains(&step.split('.').next().unwrap_or_default()));
    println!(
        "steps of {name} that failed: {} of {}, {} times in all, by errors, panics and ends of the process; nothing was \
         half done, and the same call again gave the one order, after {}",
        shop.ended_at.len(),
        all.len(),
        shop.again.len(),
        median_and_most(&mut shop.again)
    );
    assert_eq!(shop.ended_at, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_sqlite_fails_in_turn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    every_step_fails(
        "SQLite",
        format!("sqlite:{}", folder.path().join("shop.db").display()),
        SQLITE,
        &["sqlite"],
    )
    .await;
}

/// The steps that the two share are taken by one after the other.
static SHARED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_postgres_fails_in_turn() {
    let _alone = SHARED.lock().await;
    let database = Postgres::shared_database();
    every_step_fails(
        "PostgreSQL",
        database.url().into(),
        &[POSTGRES, REMOTE].concat(),
        &["postgres", "remote"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_mariadb_fails_in_turn() {
    let _alone = SHARED.lock().await;
    let database = MariaDb::shared_database();
    every_step_fails("MariaDB", database.url().into(), &[MYSQL, REMOTE].concat(), &["mysql", "remote"]).await;
}
