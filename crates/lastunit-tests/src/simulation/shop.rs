//! A shop of several servers on one database: they crash, are restarted, and are drained.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use lastunit::*;
use lastunit_store::{RedisCarts, RedisConfig};
use tokio::time::{sleep, timeout};

use super::{
    Carts,
    book::Book,
    carts::{CartsLink, SimCarts},
    chance::{Chance, SeededSource},
    checks,
    database::{Database, Movement, Tables},
    store::SimStore,
    world::{LONGEST, Life, World},
};

const SERVERS: usize = 3;

/// A server while it runs.
pub(super) struct Process {
    pub life: Arc<Life>,
    pub engine: Engine,
    pub store: Arc<dyn Store>,
    /// Calls that clients wait for.
    calls: AtomicU64,
}

/// A call that a client waits for.
pub(super) struct Call<'a>(&'a AtomicU64);

impl Process {
    pub fn called(&self) -> Call<'_> {
        self.calls.fetch_add(1, SeqCst);
        Call(&self.calls)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub(super) struct Shop {
    pub world: Arc<World>,
    pub db: Arc<Database>,
    /// The service that keeps them, where that isn't the database.
    pub carts: Option<Arc<SimCarts>>,
    pub users: Vec<UserId>,
    pub skus: Vec<(ShopId, SkuId)>,
    pub book: Book,
    servers: Vec<Mutex<Option<Arc<Process>>>>,
    limits: Limits,
}

/// How the servers are set up.
struct Limits {
    max_waiting: NonZeroUsize,
    max_batch: NonZeroUsize,
    gathers: bool,
}

impl Shop {
    pub fn open(world: Arc<World>) -> Arc<Self> {
        let chance = world.chance.fork();
        let limit = |of: &[usize]| NonZeroUsize::new(*chance.pick(of)).expect("not zero");
        let limits = Limits {
            max_waiting: limit(&[2, 64, 4096]),
            max_batch: limit(&[1, 3, 512]),
            gathers: chance.percent(50),
        };
        let (tables, skus) = stocked(&chance);
        let names = &["ada", "bob", "cy"][..chance.between(1..=3) as usize];
        let users: Vec<UserId> = names.iter().map(|name| UserId::new(*name).expect("a valid name")).collect();
        let elsewhere = world.scenario.carts == Carts::Elsewhere;
        let db = Database::new(world.clone(), tables);
        Arc::new(Self {
            carts: elsewhere.then(|| SimCarts::new(world.clone(), db.clone(), &users)),
            db,
            users,
            skus,
            book: Book::default(),
            servers: (0..SERVERS).map(|_| Mutex::new(None)).collect(),
            limits,
            world,
        })
    }

    fn start(&self, chance: &Chance) -> Process {
        let life = Arc::new(Life::new());
        let database = Arc::new(SimStore {
            db: self.db.clone(),
            life: life.clone(),
            gathers: self.limits.gathers,
            unknown: Mutex::default(),
        });
        let store: Arc<dyn Store> = match &self.carts {
            None => database,
            Some(carts) => {
                let link = CartsLink { carts: carts.clone(), life: life.clone() };
                Arc::new(RedisCarts::on(Arc::new(link), RedisConfig::default(), database))
            }
        };
        let wrong_ms = chance.between(0..=2_000) as i64 - 1_000;
        let source = SeededSource { chance: chance.fork(), begun: self.world.begun, wrong_ms };
        let strategy = self.world.scenario.strategy;
        let config = Config {
            strategy,
            allow_overselling: strategy == Strategy::Naive,
            max_waiting: self.limits.max_waiting,
            max_batch: self.limits.max_batch,
            worker: Worker::Task,
            source: Arc::new(source),
            ..Config::default()
        };
        let engine = Engine::start(store.clone(), config).expect("an allowed strategy");
        Process { life, engine, store, calls: AtomicU64::new(0) }
    }

    /// Keeps one server running: starts it, and again after each of its ends.
    pub async fn supervise(self: Arc<Self>, server: usize, chance: Chance) {
        loop {
            let process = Arc::new(self.start(&chance));
            self.world.note(|| format!("server {server} is up"));
            *self.servers[server].lock().expect("not poisoned") = Some(process.clone());
            process.life.over().await;
            self.world.note(|| format!("server {server} is down"));
            self.world.sight("server ended");
            *self.servers[server].lock().expect("not poisoned") = None;
            let down = if self.world.is_calm() { 1..=5 } else { 1..=800 };
            sleep(chance.millis(down)).await;
        }
    }

    /// A server, if it runs.
    pub fn server(&self, server: usize) -> Option<Arc<Process>> {
        self.servers[server % SERVERS].lock().expect("not poisoned").clone()
    }

    /// Some server that runs, sooner or later.
    pub async fn some_server(&self, chance: &Chance) -> (usize, Arc<Process>) {
        loop {
            let server = chance.below(SERVERS as u64) as usize;
            if let Some(process) = self.server(server) {
                return (server, process);
            }
            sleep(chance.millis(1..=50)).await;
        }
    }

    /// Breaks things, until the world is calm.
    pub async fn break_things(self: Arc<Self>, chance: Chance) {
        while !self.world.is_calm() {
            sleep(chance.millis(20..=1_000)).await;
            if self.world.is_calm() || self.world.faults_percent == 0 {
                return;
            }
            let process = self.server(chance.below(SERVERS as u64) as usize);
            match (chance.below(8), process, &self.carts) {
                (0 | 1, Some(process), _) => process.life.end(),
                (2, Some(process), _) => {
                    let shop = self.clone();
                    tokio::spawn(async move { shop.drain(&process).await });
                }
                (3 | 4, ..) => {
                    self.db.crash();
                    sleep(chance.millis(1..=3_000)).await;
                    self.db.restart();
                }
                (5, _, Some(carts)) => {
                    carts.set_away(true);
                    sleep(chance.millis(1..=1_500)).await;
                    carts.set_away(false);
                }
                (_, _, Some(carts)) => carts.lose(&self.db.tables()),
                _ => {}
            }
        }
    }

    /// Ends a server as its operator does: once all that it accepted is answered.
    pub async fn drain(&self, process: &Process) {
        self.world.note(|| "a server drains".into());
        self.world.sight("drained");
        let drained = async {
            tokio::select! {
                biased;
                () = process.life.over() => {}
                () = process.engine.drain() => {}
            }
        };
        if timeout(LONGEST, drained).await.is_err() {
            self.world.violation(checks::DRAINS, format!("an engine hasn't drained in {LONGEST:?}"));
        }
        // Who isn't answered by then never will be.
        sleep(REST).await;
        let unanswered = process.calls.load(SeqCst);
        if unanswered > 0 && !process.life.is_over() {
            self.world.violation(checks::DRAINS, format!("{unanswered} calls of a drained engine wait"));
        }
        process.life.end();
    }
}

/// Two shops, and few units of few SKUs: what is scarce is fought for.
fn stocked(chance: &Chance) -> (Tables, Vec<(ShopId, SkuId)>) {
    let mut tables = Tables::default();
    let second = ShopId::new(2).expect("positive");
    let currency = Currency::new("GBP").expect("a currency");
    let amount = |minor| Amount::new(minor).expect("an amount");
    for shop in [ShopId::FIRST, second] {
        let settings = ShopSettings { currency, freight: amount(300), free_from: Some(amount(2_000)) };
        tables.shops.insert(shop, settings);
    }
    let id = |id| SkuId::new(id).expect("positive");
    let skus = vec![(ShopId::FIRST, id(1)), (ShopId::FIRST, id(2)), (ShopId::FIRST, id(3)), (second, id(1))];
    for &(shop, sku) in &skus {
        let product_id = ProductId::new(1 + i64::from(sku.get() == 3)).expect("positive");
        let stock = chance.between(0..=8) as i64;
        let (code, name) = (format!("S{sku}").into(), format!("SKU {sku}").into());
        let row = SkuSeen { product_id, code, name, price: amount(500), stock, sales: 0, on_sale: true };
        tables.skus.insert((shop, sku), row);
        let source = uuid::Uuid::from_u128(shop.get() as u128);
        tables.ledger.push(Movement { shop, source, sku, kind: "initial", delta: stock });
    }
    (tables, skus)
}

/// How long the world rests before it is looked at: longer than whatever may still be under way.
pub(super) const REST: Duration = Duration::from_secs(30);
