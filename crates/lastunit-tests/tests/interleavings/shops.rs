//! A store in memory whose transactions are made of steps, and can fail.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::resume_unwind,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use lastunit::*;
use lastunit_tests::{amount, pass_on};
use uuid::Uuid;

use crate::{
    engine::Strategy,
    sight,
    sync::{Bug, Semaphore, has, step},
};

/// The one SKU of every shop.
pub const SKU: i64 = 1;

/// How a call to place goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Conflict,
    Unavailable,
    UnknownAndCommitted,
    UnknownAndLost,
    TooFewReplies,
    Panic,
}

impl Fault {
    pub const ALL: [Self; 6] = [
        Self::Conflict,
        Self::Unavailable,
        Self::UnknownAndCommitted,
        Self::UnknownAndLost,
        Self::TooFewReplies,
        Self::Panic,
    ];
}

pub type KeyName = (ShopId, UserId, IdempotencyKey);

#[derive(Default)]
pub struct Tables {
    pub stock: BTreeMap<ShopId, i64>,
    pub keys: BTreeMap<KeyName, Kept>,
    pub orders: BTreeMap<OrderId, (KeyName, Arc<Order>)>,
}

pub struct Shops {
    /// Never locked over a step.
    tables: Mutex<Tables>,
    /// Held from reading to writing, by the strategies that lock.
    lock: Semaphore,
    gathers: bool,
    /// Whether there may be only one transaction at a time, but for one that is let come; so it is with a worker.
    one_at_a_time: bool,
    under_way: AtomicUsize,
    /// Whether the newest call let the next batch come before it had answered; with faults, whether any did.
    has_let_come: AtomicBool,
    /// By chance, one call in so many fails.
    faults_one_in: Option<u64>,
    /// Ids of orders that came here, and of those that came with a call that failed.
    pub came: Mutex<BTreeSet<OrderId>>,
    pub failed: Mutex<BTreeSet<OrderId>>,
    /// Nothing may come any more.
    pub drained: AtomicBool,
    /// What the engine may not do. A panic would be answered like any other bug of a store.
    pub wrong: Mutex<Vec<&'static str>>,
    /// What a call to place waits for first.
    pub gate: tokio::sync::watch::Sender<bool>,
    /// A permit for each call to place.
    pub entered: tokio::sync::Semaphore,
}

impl Shops {
    pub fn new(strategy: Strategy, gathers: bool, stock: i64, faults_one_in: Option<u64>) -> Self {
        let stock = [ShopId::FIRST, second_shop()].map(|shop| (shop, stock)).into();
        Self {
            tables: Mutex::new(Tables { stock, ..Tables::default() }),
            lock: Semaphore::new(1),
            gathers,
            one_at_a_time: matches!(strategy, Strategy::Queue | Strategy::Batched),
            under_way: AtomicUsize::new(0),
            has_let_come: AtomicBool::new(false),
            faults_one_in,
            came: Mutex::default(),
            failed: Mutex::default(),
            drained: AtomicBool::new(false),
            wrong: Mutex::default(),
            gate: tokio::sync::watch::Sender::new(true),
            entered: tokio::sync::Semaphore::new(0),
        }
    }

    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("not poisoned")
    }

    fn wrong(&self, what: &'static str) {
        self.wrong.lock().expect("not poisoned").push(what);
    }

    fn fault(&self) -> Option<Fault> {
        let one_in = self.faults_one_in?;
        let fault = (crate::below(one_in) == 0).then(|| crate::pick(&Fault::ALL))?;
        sight(match fault {
            Fault::Conflict => "conflict",
            Fault::Unavailable => "unavailable",
            Fault::UnknownAndCommitted => "unknown and committed",
            Fault::UnknownAndLost => "unknown and lost",
            Fault::TooFewReplies => "too few replies",
            Fault::Panic => "panic",
        });
        Some(fault)
    }

    async fn transaction(
        &self,
        shop: ShopId,
        batch: &[PlaceOrder],
        locking: Locking,
        next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError> {
        let ids = || batch.iter().map(|order| order.order_id);
        if self.drained.load(SeqCst) {
            self.wrong("placed after the engine was drained");
        }
        self.came.lock().expect("not poisoned").extend(ids());
        if batch.len() > 1 {
            sight("several in one batch");
        }
        self.entered.add_permits(1);
        let fault = self.fault();
        if fault.is_some() {
            self.failed.lock().expect("not poisoned").extend(ids());
        }
        self.gate.subscribe().wait_for(|open| *open).await.expect("the gate stays");
        step();
        match fault {
            Some(Fault::Conflict) => return Err(StoreError::Conflict),
            Some(Fault::Unavailable) => return Err(StoreError::Unavailable("on purpose".into())),
            Some(Fault::UnknownAndLost) => return Err(StoreError::CommitUnknown("on purpose".into())),
            // No hook is called: shuttle would take it for the end of the test.
            Some(Fault::Panic) => resume_unwind(Box::new("on purpose")),
            Some(Fault::UnknownAndCommitted | Fault::TooFewReplies) | None => {}
        }
        let locks = matches!(locking, Locking::Exclusive | Locking::Shared) && !has(Bug::NothingLocked);
        let lock = if locks { Some(self.lock.acquire_many(1).await.expect("never closed")) } else { None };
        let seen = self.read(shop, batch);
        let read = seen.skus[&sku()].stock;
        step();
        let decision = decide(batch, seen);
        step();
        let overwrites = locking == Locking::None || has(Bug::NothingLocked);
        self.write(shop, batch, &decision, overwrites.then_some(read))?;
        drop(lock);
        step();
        if locking == Locking::Shared && !self.gathers && crate::pick(&[true, true, false]) {
            self.has_let_come.store(true, SeqCst);
            next.may_come();
            step();
        }
        match fault {
            Some(Fault::UnknownAndCommitted) => Err(StoreError::CommitUnknown("on purpose".into())),
            Some(Fault::TooFewReplies) => Ok(decision.replies.into_iter().skip(1).collect()),
            _ if has(Bug::RepliesSwapped) => Ok(decision.replies.into_iter().rev().collect()),
            _ => Ok(decision.replies),
        }
    }

    fn read(&self, shop: ShopId, batch: &[PlaceOrder]) -> Seen {
        let tables = self.tables();
        let seen = SkuSeen {
            product_id: ProductId::new(1).expect("positive"),
            code: "S".into(),
            name: "A thing".into(),
            price: amount(500),
            stock: tables.stock[&shop],
            sales: 0,
            on_sale: true,
        };
        let kept = |order: &PlaceOrder| tables.keys.get(&key_name(&order.request)).cloned();
        Seen {
            settings: ShopSettings {
                currency: Currency::new("GBP").expect("a currency"),
                freight: amount(100),
                free_from: None,
            },
            skus: HashMap::from([(sku(), seen)]),
            carts: HashMap::new(),
            orders: batch.iter().map(|order| OrderSeen { kept: kept(order), address: None }).collect(),
        }
    }

    /// All at once, if what was decided still holds; `overwritten` is the stock that was read, if that isn't compared.
    fn write(
        &self,
        shop: ShopId,
        batch: &[PlaceOrder],
        decision: &Decision,
        overwritten: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let new_ones = || batch.iter().zip(&decision.replies).filter(|(_, reply)| Decision::is_new(reply));
        let units = decision.skus.get(&sku()).map_or(0, |sold| sold.units);
        let enough = overwritten.is_some() || tables.stock[&shop] >= units;
        let free = new_ones().all(|(order, _)| !tables.keys.contains_key(&key_name(&order.request)));
        if !(enough && free) {
            let ids = batch.iter().map(|order| order.order_id);
            self.failed.lock().expect("not poisoned").extend(ids);
            return Err(StoreError::Conflict);
        }
        for (order, reply) in new_ones() {
            let key = key_name(&order.request);
            if let Outcome::Placed(placed) = &reply.outcome {
                tables.orders.insert(placed.id, (key.clone(), placed.clone()));
            }
            if !has(Bug::KeyNotKept) {
                let kept = Kept { fingerprint: order.fingerprint, outcome: reply.outcome.clone() };
                tables.keys.insert(key, kept);
            }
        }
        let stock = tables.stock.get_mut(&shop).expect("a shop");
        *stock = overwritten.unwrap_or(*stock) - units;
        Ok(())
    }
}

pub fn key_name(request: &PlaceRequest) -> KeyName {
    (request.shop, request.user.clone(), request.key.clone())
}

pub fn sku() -> SkuId {
    SkuId::new(SKU).expect("positive")
}

pub fn second_shop() -> ShopId {
    ShopId::new(2).expect("positive")
}

/// Counts the transactions under way, also when one panics.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pass_on! {
    impl Store for Shops alone {
        async fn place(
            &self,
            shop: ShopId,
            orders: Arc<Vec<PlaceOrder>>,
            locking: Locking,
            next: &NextBatch,
        ) -> Result<Vec<Reply>, StoreError> {
            let others = self.under_way.fetch_add(1, SeqCst);
            let _under_way = UnderWay(&self.under_way);
            if others > 0 {
                sight("two batches at once");
            }
            // What is tried again after a fault comes beside the batch that its first try has let come.
            let has_let_come = match self.faults_one_in {
                Some(_) => self.has_let_come.load(SeqCst),
                None => self.has_let_come.swap(false, SeqCst),
            };
            let allowed = usize::from(has_let_come);
            if self.one_at_a_time && others > allowed {
                self.wrong("the worker places more batches at once than it may");
            }
            self.transaction(shop, &orders, locking, next).await
        }

        fn gathers(&self) -> bool {
            self.gathers
        }
    }
}
