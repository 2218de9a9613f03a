//! A service that keeps carts in memory and does what Redis does with Lastunit's scripts, and what Redis does to them:
//! it is away, answers late or not at all, and loses its tail or everything.

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use lastunit::*;
use lastunit_store::cart_service::{Away, CartService, Contents, Edit, Edited, Kept, Keys};
use tokio::time::sleep;

use super::{
    Bug,
    database::{Database, Put, Tables},
    world::{Life, World},
};

/// How many states back a loss may go.
const MAX_HISTORY: usize = 12;

/// Whose cart, and which SKU of it.
pub(super) type CartUnits = (UserId, SkuId);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct SimCart {
    applied_seq: Option<u64>,
    lines: BTreeMap<SkuId, CartLineSetting>,
}

type Carts = BTreeMap<String, SimCart>;

pub(super) struct SimCarts {
    world: Arc<World>,
    db: Arc<Database>,
    state: Mutex<State>,
    /// Whose cart is under a key; all of shop 1.
    owners: BTreeMap<String, UserId>,
}

#[derive(Default)]
struct State {
    away: bool,
    lost_something: bool,
    carts: Carts,
    history: VecDeque<Carts>,
    /// Observed: units that buyers put into carts, and took out.
    put: BTreeMap<CartUnits, Put>,
    /// Observed: the most units that losses may have cost.
    lost: BTreeMap<CartUnits, i64>,
}

impl SimCarts {
    pub fn new(world: Arc<World>, db: Arc<Database>, users: &[UserId]) -> Arc<Self> {
        let key = |user: &UserId| (Keys::of(ShopId::FIRST, user, false).lines, user.clone());
        Arc::new(Self { world, db, state: Mutex::default(), owners: users.iter().map(key).collect() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    pub fn set_away(&self, away: bool) {
        self.world.note(|| format!("the carts are {}", if away { "away" } else { "back" }));
        self.state().away = away;
    }

    /// Returns to an earlier state, or to none. What that costs is what buyers put into carts since then, and no order
    /// took by now; and what was being put in when it happened, see [`CartsLink::edit`].
    pub fn lose(&self, tables: &Tables) {
        let mut state = self.state();
        let earlier = state.history.len() as u64;
        let back = self.world.chance.below(earlier + 1);
        let carts = if back == 0 { Carts::default() } else { state.history[back as usize - 1].clone() };
        self.world.note(|| if back == 0 { "the carts are lost" } else { "the carts lose their tail" }.into());
        self.world.sight(if back == 0 { "carts lost" } else { "carts lost their tail" });
        for (key, user) in &self.owners {
            let had = caught_up(tables, user, state.carts.get(key));
            let has = caught_up(tables, user, carts.get(key));
            for (sku, units) in had {
                let lost = units - has.get(&sku).copied().unwrap_or(0);
                *state.lost.entry((user.clone(), sku)).or_default() += lost.max(0);
            }
        }
        state.carts = carts;
        state.lost_something = true;
        state.history.clear();
    }

    pub fn put(&self, units: &CartUnits) -> Put {
        self.state().put.get(units).copied().unwrap_or_default()
    }

    pub fn lost(&self, units: &CartUnits) -> i64 {
        self.state().lost.get(units).copied().unwrap_or(0)
    }
}

/// Units of a cart once all its orders are taken out.
fn caught_up(tables: &Tables, user: &UserId, cart: Option<&SimCart>) -> BTreeMap<SkuId, i64> {
    let Some(SimCart { applied_seq: Some(applied), lines }) = cart else { return BTreeMap::new() };
    let mut units: BTreeMap<SkuId, i64> =
        lines.iter().map(|(sku, line)| (*sku, i64::from(line.count))).collect();
    for (_, order) in tables.cart_orders_after(ShopId::FIRST, user, *applied) {
        for line in &order.lines {
            let left = units.entry(line.sku_id).or_default();
            *left = (*left - i64::from(line.count)).max(0);
        }
    }
    units
}

/// A server's way to the carts.
pub(super) struct CartsLink {
    pub carts: Arc<SimCarts>,
    pub life: Arc<Life>,
}

impl CartsLink {
    /// One script: done as a whole, or not, or later, and not always answered.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        keys: &Keys,
        script: impl FnOnce(&SimCarts, &mut State, &str) -> T + Send + 'static,
    ) -> Result<T, Away> {
        let world = &self.carts.world;
        world.pause().await;
        if self.life.is_over() {
            return pending().await;
        }
        if self.carts.state().away {
            world.sight("carts away");
            return Err(Away("the carts are away".into()));
        }
        let carts = self.carts.clone();
        let key = keys.lines.clone();
        let run = move || {
            let mut state = carts.state();
            let before = state.carts.clone();
            let answer = script(&carts, &mut state, &key);
            if state.carts != before {
                state.history.truncate(MAX_HISTORY - 1);
                state.history.push_front(before);
            }
            answer
        };
        let answer = if world.goes_wrong() {
            match world.chance.below(3) {
                0 => {}
                1 => drop(run()),
                _ => {
                    let later = world.chance.millis(1..=400);
                    world.sight("cart script run late");
                    tokio::spawn(async move {
                        sleep(later).await;
                        run();
                    });
                }
            }
            world.note(|| format!("carts: no answer to {what} of {}", keys.lines));
            Err(Away("no answer".into()))
        } else {
            world.note(|| format!("carts: {what} of {}", keys.lines));
            Ok(run())
        };
        world.pause().await;
        if self.life.is_over() { pending().await } else { answer }
    }

    async fn apply_one(&self, keys: &Keys, order: CartOrder) -> Result<bool, Away> {
        self.run("apply", keys, move |carts, state, key| {
            let Some(cart) = state.carts.get_mut(key) else { return false };
            let Some(applied) = cart.applied_seq else { return false };
            if applied + 1 != order.seq && !carts.world.has(Bug::OrderTakenOutTwice) {
                return false;
            }
            for (sku, count) in &order.lines {
                let left = cart.lines.get(sku).map_or(0, |line| line.count.saturating_sub(*count));
                match cart.lines.get_mut(sku) {
                    Some(line) if left > 0 && !carts.world.has(Bug::CartClearedById) => line.count = left,
                    _ => drop(cart.lines.remove(sku)),
                }
            }
            cart.applied_seq = Some(order.seq.max(applied));
            true
        })
        .await
    }
}

fn contents(cart: &SimCart) -> Contents {
    Contents::of(cart.lines.iter().map(|(sku, line)| (*sku, line.count, line.selected)))
}

#[async_trait::async_trait]
impl CartService for CartsLink {
    fn is_one_place(&self) -> bool {
        true
    }

    async fn read(&self, carts: &[&Keys], _deadline: Instant) -> Vec<Result<Kept, Away>> {
        let mut kept = Vec::with_capacity(carts.len());
        for keys in carts {
            let read = self.run("read", keys, |_, state, key| {
                let cart = state.carts.get(key).cloned().unwrap_or_default();
                let raw_seq = cart.applied_seq.map(|seq| seq.to_string()).unwrap_or_default().into_bytes();
                Kept { raw_seq, contents: contents(&cart) }
            });
            kept.push(read.await);
        }
        kept
    }

    async fn apply(&self, orders: &[(Keys, CartOrder)], _deadline: Instant) -> Vec<Result<bool, Away>> {
        let mut applied = Vec::with_capacity(orders.len());
        for (keys, order) in orders {
            applied.push(self.apply_one(keys, order.clone()).await);
        }
        applied
    }

    async fn begin(
        &self,
        keys: &Keys,
        _deadline: Instant,
        seen: &Kept,
        seq: u64,
        keep: bool,
    ) -> Result<(), Away> {
        let seen = seen.raw_seq.clone();
        self.run("begin", keys, move |_, state, key| {
            let cart = state.carts.entry(key.to_owned()).or_default();
            let now = cart.applied_seq.map(|seq| seq.to_string()).unwrap_or_default();
            if now.as_bytes() == seen {
                cart.applied_seq = Some(seq);
                if !keep {
                    cart.lines.clear();
                }
            }
        })
        .await
    }

    async fn edit(&self, keys: &Keys, _deadline: Instant, seq: u64, edit: Edit) -> Result<Edited, Away> {
        self.run("edit", keys, move |carts, state, key| {
            let cart = state.carts.get_mut(key).filter(|cart| cart.applied_seq == Some(seq));
            let Some(cart) = cart else { return Edited::Behind };
            let before = cart.lines.clone();
            match edit {
                Edit::Set(sku, line) => drop(cart.lines.insert(sku, line)),
                Edit::Remove(sku) => drop(cart.lines.remove(&sku)),
                Edit::RemoveAll => cart.lines.clear(),
            }
            let after = cart.lines.clone();
            let contents = contents(cart);
            let count = |lines: &BTreeMap<SkuId, CartLineSetting>, sku| {
                lines.get(sku).map_or(0, |line: &CartLineSetting| line.count)
            };
            for sku in before.keys().chain(after.keys().filter(|sku| !before.contains_key(sku))) {
                let units = (carts.owners[key].clone(), *sku);
                let (from, to) = (count(&before, sku), count(&after, sku));
                // The cart was caught up when this edit read it, and isn't any more since it lost its tail: orders
                // whose units it lost are still to be taken out of it, and out of these.
                if state.lost_something && carts.db.tables().cart_seq(ShopId::FIRST, &units.0) > seq {
                    *state.lost.entry(units.clone()).or_default() += i64::from(to.saturating_sub(from));
                }
                state.put.entry(units).or_default().change(from, to);
            }
            Edited::Done(contents)
        })
        .await
    }

    async fn close(&self) {
        self.life.end();
    }
}
