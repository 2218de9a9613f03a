//! Who read what and who wrote what: a witness that notes it, and slows the store down.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use lastunit::{Basket, Outcome, PlaceOrder, Reply, Seen, SkuId, StockWrite, StoreError, UserId, Witness};

/// The most takings that are kept: far more than it takes to find one that was undone.
const MAX_TAKINGS: usize = 20_000;

/// An order that was placed took a unit of a SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    pub buyer: UserId,
    pub sku: SkuId,
    /// When the stock was read, and what it was.
    pub read: (Instant, i64),
    /// When the stock was written, and to what.
    pub wrote: (Instant, i64),
}

/// Has every transaction wait between reading and writing; with `notes`, notes what the naive strategy does.
pub struct Watcher {
    think: Duration,
    notes: Option<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    /// What transactions under way have read, and written.
    under_way: HashMap<(UserId, SkuId), Steps>,
    takings: Vec<Taking>,
}

struct Steps {
    read: (Instant, i64),
    wrote: Option<(Instant, i64)>,
}

impl Watcher {
    /// Each transaction takes so long between reading and writing.
    pub fn new(think: Duration, notes: bool) -> Self {
        Self { think, notes: notes.then(Mutex::default) }
    }

    /// What was noted, in the order of the commits.
    pub fn takings(&self) -> Vec<Taking> {
        self.notes().map(|mut notes| std::mem::take(&mut notes.takings)).unwrap_or_default()
    }

    fn notes(&self) -> Option<MutexGuard<'_, Notes>> {
        let notes = self.notes.as_ref()?;
        Some(notes.lock().expect("never poisoned: nothing panics while it is held"))
    }
}

fn skus(order: &PlaceOrder) -> impl Iterator<Item = SkuId> {
    let lines = match &order.request.basket {
        Basket::Lines(demand) => demand.lines(),
        Basket::Cart => &[],
    };
    lines.iter().map(|line| line.sku_id)
}

impl Witness for Watcher {
    fn read(&self, orders: &[PlaceOrder], seen: &Seen) -> Duration {
        let at = Instant::now();
        if let Some(mut notes) = self.notes() {
            for order in orders {
                for sku in skus(order) {
                    let Some(row) = seen.skus.get(&sku) else { continue };
                    let steps = Steps { read: (at, row.stock), wrote: None };
                    notes.under_way.insert((order.request.user.clone(), sku), steps);
                }
            }
        }
        self.think
    }

    fn wrote(&self, orders: &[PlaceOrder], stock: &[(SkuId, StockWrite)]) {
        let at = Instant::now();
        let Some(mut notes) = self.notes() else { return };
        for order in orders {
            for (sku, write) in stock {
                let StockWrite::To(value) = write else { continue };
                if let Some(steps) = notes.under_way.get_mut(&(order.request.user.clone(), *sku)) {
                    steps.wrote = Some((at, *value));
                }
            }
        }
    }

    fn ended(&self, orders: &[PlaceOrder], result: &Result<Vec<Reply>, StoreError>) {
        let Some(mut notes) = self.notes() else { return };
        let replies = result.as_deref().unwrap_or_default();
        for (at, order) in orders.iter().enumerate() {
            let placed = replies.get(at).is_some_and(|reply| matches!(reply.outcome, Outcome::Placed(_)));
            for sku in skus(order) {
                let buyer = order.request.user.clone();
                let Some(steps) = notes.under_way.remove(&(buyer.clone(), sku)) else { continue };
                let Some(wrote) = steps.wrote.filter(|_| placed) else { continue };
                if notes.takings.len() < MAX_TAKINGS {
                    notes.takings.push(Taking { buyer, sku, read: steps.read, wrote });
                }
            }
        }
    }
}
