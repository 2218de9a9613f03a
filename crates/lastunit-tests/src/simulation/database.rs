//! A database with row locks and transactions, in memory, that fails by the seed.
//!
//! What a transaction writes is visible at its commit. A row that was written stays locked until then, and a commit whose
//! outcome is unknown to the client may still be under way when the client asks again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lastunit::{
    CartLineSeen, Fingerprint, IdempotencyKey, Order, OrderId, ProductId, Refusal, ShopId, ShopSettings,
    SkuId, SkuSeen, StoreError, UserId, Violation,
};
use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};
use uuid::Uuid;

use super::{
    Bug,
    world::{Life, World},
};

const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Shop, buyer, operation, key.
pub(super) type KeyName = (ShopId, UserId, &'static str, IdempotencyKey);

/// A row that can be locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    CartHead(ShopId, UserId),
    Sku(ShopId, SkuId),
    Key(KeyName),
    Product(ShopId, ProductId),
    Order(ShopId, OrderId),
}

#[derive(Clone, Default)]
pub(super) struct Tables {
    pub shops: BTreeMap<ShopId, ShopSettings>,
    /// Units sold.
    pub products: BTreeMap<(ShopId, ProductId), i64>,
    pub skus: BTreeMap<(ShopId, SkuId), SkuSeen>,
    pub keys: BTreeMap<KeyName, KeyRow>,
    pub orders: BTreeMap<(ShopId, OrderId), OrderRow>,
    pub ledger: Vec<Movement>,
    pub events: Vec<(OrderId, &'static str)>,
    pub cart_seqs: BTreeMap<(ShopId, UserId), u64>,
    pub cart_lines: BTreeMap<(ShopId, UserId), BTreeMap<SkuId, CartLineSeen>>,
    pub cart_orders: BTreeMap<(ShopId, UserId, u64), OrderId>,
    /// Units that buyers put into carts, and took out again. Observed, not part of the database.
    pub put: BTreeMap<(ShopId, UserId, SkuId), Put>,
    /// What only the moment of a commit shows. Observed, not part of the database.
    pub wrong: Vec<Violation>,
}

#[derive(Clone)]
pub(super) struct KeyRow {
    pub fingerprint: Fingerprint,
    pub kept: KeptUnder,
}

#[derive(Clone)]
pub(super) enum KeptUnder {
    Order(OrderId),
    Refusal(Refusal),
}

#[derive(Clone)]
pub(super) struct OrderRow {
    pub user: UserId,
    pub order: Arc<Order>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Movement {
    pub shop: ShopId,
    pub source: Uuid,
    pub sku: SkuId,
    pub kind: &'static str,
    pub delta: i64,
}

/// Units of one SKU that a buyer put into the cart, and took out of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Put {
    pub added: i64,
    pub removed: i64,
}

impl Put {
    pub fn change(&mut self, from: u32, to: u32) {
        self.added += i64::from(to.saturating_sub(from));
        self.removed += i64::from(from.saturating_sub(to));
    }
}

impl Tables {
    pub fn cart_seq(&self, shop: ShopId, user: &UserId) -> u64 {
        self.cart_seqs.get(&(shop, user.clone())).copied().unwrap_or(0)
    }

    pub fn cart_lines(&self, shop: ShopId, user: &UserId) -> BTreeMap<SkuId, CartLineSeen> {
        self.cart_lines.get(&(shop, user.clone())).cloned().unwrap_or_default()
    }

    /// The orders of a cart behind this number: each with its number and lines.
    pub fn cart_orders_after(
        &self,
        shop: ShopId,
        user: &UserId,
        after: u64,
    ) -> impl Iterator<Item = (u64, &Order)> {
        let range = (shop, user.clone(), after + 1)..=(shop, user.clone(), u64::MAX);
        self.cart_orders.range(range).map(move |((.., seq), id)| (*seq, &*self.orders[&(shop, *id)].order))
    }
}

pub(super) struct Database {
    pub world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    up: bool,
    tables: Arc<Tables>,
    /// What a crash leaves, where that isn't everything.
    durable: Option<Arc<Tables>>,
    /// Counts crashes: a transaction of an earlier generation is rolled back.
    generation: u64,
    locks: BTreeMap<Row, Arc<tokio::sync::Mutex<()>>>,
    transactions: u64,
}

impl Database {
    pub fn new(world: Arc<World>, tables: Tables) -> Arc<Self> {
        let tables = Arc::new(tables);
        let durable = world.has(Bug::CommitNotDurable).then(|| tables.clone());
        let state =
            State { up: true, tables, durable, generation: 0, locks: BTreeMap::new(), transactions: 0 };
        Arc::new(Self { world, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// As committed by now.
    pub fn tables(&self) -> Arc<Tables> {
        self.state().tables.clone()
    }

    pub fn is_up(&self) -> bool {
        self.state().up
    }

    /// Rolls back what is under way.
    pub fn crash(&self) {
        self.world.note(|| "the database crashes".into());
        self.world.sight("database crashed");
        let mut state = self.state();
        state.up = false;
        state.generation += 1;
        state.locks.clear();
        if let Some(durable) = &state.durable {
            state.tables = durable.clone();
        }
    }

    pub fn restart(&self) {
        self.world.note(|| "the database is up".into());
        self.state().up = true;
    }

    /// Commits, unless the database crashed since.
    fn apply(&self, generation: u64, change: impl FnOnce(&mut Tables)) {
        let mut state = self.state();
        if state.generation != generation {
            return;
        }
        change(Arc::make_mut(&mut state.tables));
        if state.durable.is_some() && self.world.chance.percent(25) {
            state.durable = Some(state.tables.clone());
        }
    }

    /// Begins a transaction of a server.
    pub async fn begin(self: &Arc<Self>, life: &Arc<Life>) -> Result<Transaction, End> {
        self.world.pause().await;
        if life.is_over() {
            return Err(End::Crashed);
        }
        let mut state = self.state();
        if !state.up {
            return Err(unavailable("the database is down"));
        }
        state.transactions += 1;
        Ok(Transaction {
            db: self.clone(),
            life: life.clone(),
            number: state.transactions,
            generation: state.generation,
            held: BTreeMap::new(),
            fate: Fate::by(&self.world),
            steps: 0,
            snapshot: None,
        })
    }
}

pub(super) fn unavailable(why: &str) -> End {
    End::Failed(StoreError::Unavailable(why.into()))
}

/// Why a transaction ended early.
pub(super) enum End {
    Failed(StoreError),
    /// The server crashed: nobody is there to be told.
    Crashed,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What happens to a transaction.
enum Fate {
    Commits,
    FailsAt(u64, StoreError),
    ServerCrashesAt(u64),
    ServerCrashesAtCommit { commits: bool },
    CommitUnknown { commits: bool, later: Duration },
}

impl Fate {
    fn by(world: &World) -> Self {
        if !world.goes_wrong() {
            return Self::Commits;
        }
        let chance = &world.chance;
        let commits = chance.percent(50);
        match chance.below(10) {
            0..3 => Self::FailsAt(chance.between(1..=6), StoreError::Conflict),
            3 => Self::FailsAt(chance.between(1..=6), StoreError::Unavailable("a lost connection".into())),
            4 => Self::ServerCrashesAt(chance.between(1..=6)),
            5 => Self::ServerCrashesAtCommit { commits },
            _ => {
                let later = if chance.percent(50) { Duration::ZERO } else { chance.millis(1..=400) };
                Self::CommitUnknown { commits, later }
            }
        }
    }
}

/// A transaction; dropped, it is rolled back.
pub(super) struct Transaction {
    db: Arc<Database>,
    life: Arc<Life>,
    number: u64,
    generation: u64,
    held: BTreeMap<Row, OwnedMutexGuard<()>>,
    fate: Fate,
    steps: u64,
    /// What unlocked reads see, where that isn't what is committed by now.
    pub snapshot: Option<Arc<Tables>>,
}

impl Transaction {
    /// What it reads.
    pub fn tables(&self) -> Arc<Tables> {
        self.snapshot.clone().unwrap_or_else(|| self.db.tables())
    }

    /// What is committed by now: under locks, what can't change before the commit.
    pub fn committed(&self) -> Arc<Tables> {
        self.db.tables()
    }

    fn note(&self, event: impl FnOnce() -> String) {
        self.db.world.note(|| format!("transaction {}: {}", self.number, event()));
    }

    fn is_under_way(&self) -> Result<(), End> {
        if self.life.is_over() {
            self.note(|| "its server crashed".into());
            return Err(End::Crashed);
        }
        if self.db.state().generation != self.generation {
            return Err(unavailable("the database crashed"));
        }
        Ok(())
    }

    /// One round trip.
    pub async fn step(&mut self) -> Result<(), End> {
        self.db.world.pause().await;
        self.is_under_way()?;
        self.steps += 1;
        match &self.fate {
            Fate::FailsAt(step, error) if *step == self.steps => {
                self.note(|| format!("fails: {error}"));
                self.db.world.sight(if *error == StoreError::Conflict { "conflict" } else { "unavailable" });
                Err(error.clone().into())
            }
            Fate::ServerCrashesAt(step) if *step == self.steps => {
                self.note(|| "its server crashes".into());
                self.life.end();
                Err(End::Crashed)
            }
            _ => Ok(()),
        }
    }

    /// Locks a row until the end. Who waits for too long is told of a conflict, as in a deadlock.
    pub async fn lock(&mut self, row: Row) -> Result<(), End> {
        if self.held.contains_key(&row) {
            return Ok(());
        }
        if self.db.world.chance.percent(30) {
            self.db.world.pause().await;
            self.is_under_way()?;
        }
        let lock = self.db.state().locks.entry(row.clone()).or_default().clone();
        let Ok(guard) = timeout(LOCK_TIMEOUT, lock.lock_owned()).await else {
            self.note(|| format!("waited too long for {row:?}"));
            self.db.world.sight("lock timeout");
            return Err(StoreError::Conflict.into());
        };
        self.held.insert(row, guard);
        self.is_under_way()
    }

    /// Commits the change, or doesn't, and says which, or doesn't.
    pub async fn commit(mut self, change: impl FnOnce(&mut Tables) + Send + 'static) -> Result<(), End> {
        self.step().await?;
        let world = self.db.world.clone();
        match self.fate {
            Fate::ServerCrashesAtCommit { commits } => {
                self.note(|| format!("its server crashes at the commit, which is {}", done(commits)));
                world.sight(if commits { "crash after commit" } else { "crash before commit" });
                if commits {
                    self.db.apply(self.generation, change);
                }
                self.life.end();
                return Err(End::Crashed);
            }
            Fate::CommitUnknown { commits, later } => {
                self.note(|| format!("its commit is unknown, and {} in {later:?}", done(commits)));
                world.sight(if commits { "unknown and committed" } else { "unknown and lost" });
                let (db, generation, held) = (self.db.clone(), self.generation, self.held);
                let ends = async move {
                    if commits {
                        db.apply(generation, change);
                    }
                    drop(held);
                };
                if later.is_zero() {
                    ends.await;
                } else {
                    world.sight("unknown for a while");
                    tokio::spawn(async move {
                        sleep(later).await;
                        ends.await;
                    });
                }
                if world.has(Bug::UnknownTakenForDone) {
                    return Ok(());
                }
                return Err(StoreError::CommitUnknown("a lost connection".into()).into());
            }
            Fate::Commits | Fate::FailsAt(..) | Fate::ServerCrashesAt(_) => {}
        }
        self.db.apply(self.generation, change);
        self.note(|| "committed".into());
        self.held.clear();
        world.pause().await;
        match self.is_under_way() {
            // The answer to the commit didn't arrive.
            Err(End::Failed(_)) => Err(StoreError::CommitUnknown("the database crashed".into()).into()),
            ended => ended,
        }
    }
}

fn done(commits: bool) -> &'static str {
    if commits { "done" } else { "lost" }
}
