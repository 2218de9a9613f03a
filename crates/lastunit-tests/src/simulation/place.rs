//! An order's transaction: read, decide, lock what is written, compare, write.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use lastunit::*;

use super::{
    Bug,
    database::{End, KeptUnder, KeyName, KeyRow, Movement, OrderRow, Row, Tables, Transaction},
    world::World,
};

pub(super) fn key_name(request: &PlaceRequest) -> KeyName {
    (request.shop, request.user.clone(), request.operation.as_str(), request.key.clone())
}

/// Everything that deciding the batch may need: with locks carts by user, then SKUs by id; without any, from one
/// snapshot or from several.
pub(super) async fn read(
    transaction: &mut Transaction,
    world: &World,
    shop: ShopId,
    batch: &[PlaceOrder],
    locks: bool,
) -> Result<Seen, End> {
    let from_cart = |order: &&PlaceOrder| order.request.basket == Basket::Cart;
    let users: BTreeSet<UserId> =
        batch.iter().filter(from_cart).map(|order| order.request.user.clone()).collect();
    let mut seqs = BTreeMap::new();
    if locks {
        for user in &users {
            // A row that isn't there can't be locked.
            if transaction.tables().cart_seqs.contains_key(&(shop, user.clone())) {
                transaction.lock(Row::CartHead(shop, user.clone())).await?;
            }
            seqs.insert(user.clone(), transaction.tables().cart_seq(shop, user));
        }
    } else if world.chance.percent(50) {
        transaction.snapshot = Some(transaction.tables());
    }
    transaction.step().await?;

    let in_store = |order: &&PlaceOrder| matches!(order.cart, CartSnapshot::InStore { .. });
    let mut carts: HashMap<UserId, CartSeen> = HashMap::new();
    let mut sku_ids = BTreeSet::new();
    for order in batch.iter().filter(from_cart).filter(in_store) {
        let lines = transaction.tables().cart_lines(shop, &order.request.user);
        sku_ids.extend(lines.iter().filter(|(_, line)| line.selected).map(|(id, _)| *id));
        carts.insert(order.request.user.clone(), CartSeen { seq: 0, lines });
    }
    if !locks && !users.is_empty() {
        // Behind the lines: an order that takes some in between shows in the seq.
        transaction.step().await?;
        seqs.extend(users.iter().map(|user| (user.clone(), transaction.tables().cart_seq(shop, user))));
    }
    for (user, seq) in seqs {
        carts.entry(user).or_default().seq = seq;
    }
    for order in batch {
        if let CartSnapshot::Elsewhere { selected, .. } = &order.cart {
            sku_ids.extend(selected.iter().map(|line| line.0));
        }
        if let Basket::Lines(demand) = &order.request.basket {
            sku_ids.extend(demand.lines().iter().map(|line| line.sku_id));
        }
    }
    if locks {
        for &id in &sku_ids {
            transaction.lock(Row::Sku(shop, id)).await?;
        }
    }
    transaction.step().await?;
    let tables = transaction.tables();
    let settings = *tables.shops.get(&shop).ok_or(StoreError::NoSuchShop)?;
    let skus = sku_ids.into_iter().filter_map(|id| Some((id, tables.skus.get(&(shop, id))?.clone())));
    let orders = batch.iter().map(|order| OrderSeen { kept: kept(&tables, &order.request), address: None });
    Ok(Seen { settings, skus: skus.collect(), carts, orders: orders.collect() })
}

/// What is kept under a key: an order as it was when it was placed, whatever became of it since.
fn kept(tables: &Tables, request: &PlaceRequest) -> Option<Kept> {
    let row = tables.keys.get(&key_name(request))?;
    let outcome = match &row.kept {
        KeptUnder::Refusal(refusal) => Outcome::Refused(refusal.clone()),
        KeptUnder::Order(id) => {
            let order = &tables.orders.get(&(request.shop, *id))?.order;
            Outcome::Placed(Arc::new(Order { status: order.pay_method.first_status(), ..(**order).clone() }))
        }
    };
    Some(Kept { fingerprint: row.fingerprint, outcome })
}

/// What a batch writes.
pub(super) struct Writes {
    pub shop: ShopId,
    pub batch: Arc<Vec<PlaceOrder>>,
    pub decision: Decision,
    /// SKUs as they were read, if stock is written as computed from them.
    pub overwritten: Option<HashMap<SkuId, SkuSeen>>,
    pub world: Arc<World>,
}

impl Writes {
    fn new_ones(&self) -> impl Iterator<Item = (&PlaceOrder, &Outcome)> {
        let decided = self.batch.iter().zip(&self.decision.replies);
        decided.filter(|(_, reply)| Decision::is_new(reply)).map(|(order, reply)| (order, &reply.outcome))
    }

    /// In the order in which they are locked.
    pub fn rows(&self) -> Vec<Row> {
        let shop = self.shop;
        let carts = self.decision.carts.keys().map(|user| Row::CartHead(shop, user.clone()));
        let skus = self.decision.skus.keys().map(|id| Row::Sku(shop, *id));
        let mut keys: Vec<Row> =
            self.new_ones().map(|(order, _)| Row::Key(key_name(&order.request))).collect();
        keys.sort_unstable();
        let products = self.decision.products.keys().map(|id| Row::Product(shop, *id));
        carts.chain(skus).chain(keys).chain(products).collect()
    }

    /// Whether what the decision rests on still holds; checked under the locks.
    pub fn compare(&self, tables: &Tables) -> Result<(), StoreError> {
        let key_is_free = |order: &PlaceOrder| !tables.keys.contains_key(&key_name(&order.request));
        let keys = self.new_ones().all(|(order, _)| key_is_free(order));
        let stock = self.overwritten.is_some()
            || self.decision.skus.iter().all(|(id, sold)| {
                let now = &tables.skus[&(self.shop, *id)];
                let price = now.price == sold.price || self.world.has(Bug::PriceNotCompared);
                let enough = now.stock >= sold.units || self.world.has(Bug::StockNotCompared);
                enough && price && now.on_sale
            });
        let carts = self.decision.carts.iter().all(|(user, cart)| {
            let lines = tables.cart_lines(self.shop, user);
            let has = |line: &DemandLine| {
                lines
                    .get(&line.sku_id)
                    .is_some_and(|now| now.count > line.count || now.count == line.count && now.selected)
            };
            tables.cart_seq(self.shop, user) == cart.seq_seen
                && (!cart.in_store || cart.ordered.lines().iter().all(has))
        });
        if keys && stock && carts { Ok(()) } else { Err(StoreError::Conflict) }
    }

    pub fn apply(&self, tables: &mut Tables) {
        let shop = self.shop;
        for (order, outcome) in self.new_ones() {
            let kept = match outcome {
                Outcome::Placed(placed) => {
                    self.insert_order(tables, order, placed);
                    KeptUnder::Order(placed.id)
                }
                Outcome::Refused(_) if self.world.has(Bug::RefusalNotKept) => continue,
                Outcome::Refused(refusal) => KeptUnder::Refusal(refusal.clone()),
                Outcome::Rejected(_) => continue,
            };
            if !self.world.has(Bug::KeyNotWritten) {
                let row = KeyRow { fingerprint: order.fingerprint, kept };
                tables.keys.insert(key_name(&order.request), row);
            }
        }
        for (id, sold) in &self.decision.skus {
            let row = tables.skus.get_mut(&(shop, *id)).expect("SKUs are never deleted");
            if row.price != sold.price && self.overwritten.is_none() {
                let detail = format!("SKU {id}: {} instead of {}", sold.price, row.price);
                tables.wrong.push(Violation { invariant: super::checks::CURRENT_PRICE, detail });
            }
            let read = self.overwritten.as_ref().map(|read| &read[id]).unwrap_or(row);
            (row.stock, row.sales) = (read.stock - sold.units, read.sales + sold.units);
        }
        for (id, units) in &self.decision.products {
            *tables.products.entry((shop, *id)).or_default() += units;
        }
        for (user, cart) in &self.decision.carts {
            self.take_from_cart(tables, user, cart);
        }
    }

    fn insert_order(&self, tables: &mut Tables, asked: &PlaceOrder, placed: &Arc<Order>) {
        let user = asked.request.user.clone();
        tables.orders.insert((self.shop, placed.id), OrderRow { user, order: placed.clone() });
        tables.ledger.extend(placed.lines.iter().map(|line| Movement {
            shop: self.shop,
            source: placed.id.0,
            sku: line.sku_id,
            kind: "sold",
            delta: -i64::from(line.count),
        }));
        tables.events.push((placed.id, "order.placed"));
    }

    fn take_from_cart(&self, tables: &mut Tables, user: &UserId, cart: &CartOrdered) {
        let head = (self.shop, user.clone());
        let seq = cart.seq_seen + 1;
        tables.cart_seqs.insert(head.clone(), seq);
        tables.cart_orders.insert((self.shop, user.clone(), seq), cart.order_id);
        if !cart.in_store {
            return;
        }
        let lines = tables.cart_lines.entry(head).or_default();
        for ordered in cart.ordered.lines() {
            let Some(line) = lines.get_mut(&ordered.sku_id) else { continue };
            line.count = line.count.saturating_sub(ordered.count);
            if line.count == 0 || self.world.has(Bug::CartClearedById) {
                lines.remove(&ordered.sku_id);
            }
        }
    }
}
