//! The one place where orders are decided: pure, deterministic, without I/O.
//!
//! A store reads the rows under its protection, calls [`decide`], and writes all of the [`Decision`] in the
//! same transaction. Whether one order is placed in a transaction or a thousand, it goes through here.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    address::Address,
    catalogue::ShopSettings,
    demand::{Demand, DemandLine, InvalidDemand},
    ids::{IdempotencyKey, OrderId, ProductId, SkuId, UserId},
    money::Amount,
    order::{
        Basket, CartSnapshot, Fingerprint, Operation, Order, OrderLine, OrderStatus, Outcome, PlaceOrder,
        Refusal, Rejection, Reply, ShipTo, ShortLine,
    },
};

/// What a store read of one shop for a batch of orders, under the protection of its locking strategy.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How the shop charges.
    pub settings: ShopSettings,
    /// Every SKU that an order of the batch may ask for and that exists.
    pub skus: HashMap<SkuId, SkuSeen>,
    /// The carts that orders of the batch are placed from; a missing one is empty, with seq 0.
    pub carts: HashMap<UserId, CartSeen>,
    /// What belongs to a single order, in the batch's order.
    pub orders: Vec<OrderSeen>,
}

/// A SKU's row.
#[derive(Debug, Clone)]
pub struct SkuSeen {
    /// The product it belongs to.
    pub product_id: ProductId,
    /// Snapshot for the order's line.
    pub code: Arc<str>,
    /// Snapshot for the order's line.
    pub name: Arc<str>,
    /// Price of one unit.
    pub price: Amount,
    /// Units that can still be promised.
    pub stock: i64,
    /// Units sold so far; only the naive strategy needs it, which writes what it computed from it.
    pub sales: i64,
    /// Whether it can be ordered.
    pub on_sale: bool,
}

/// A buyer's cart.
#[derive(Debug, Clone, Default)]
pub struct CartSeen {
    /// How many orders have been placed from it.
    pub seq: u64,
    /// Its lines, selected or not; none of a cart that is kept elsewhere.
    pub lines: BTreeMap<SkuId, CartLineSeen>,
}

/// A line of a cart.
#[derive(Debug, Clone, Copy)]
pub struct CartLineSeen {
    /// Units.
    pub count: u32,
    /// Whether it is ordered when the cart is.
    pub selected: bool,
}

/// What was read for one order.
#[derive(Debug, Clone, Default)]
pub struct OrderSeen {
    /// What is kept under its key.
    pub kept: Option<Kept>,
    /// The saved address it names, if this buyer has it.
    pub address: Option<Address>,
}

/// What is kept under a key.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Of the request that was decided.
    pub fingerprint: Fingerprint,
    /// [`Outcome::Placed`] or [`Outcome::Refused`].
    pub outcome: Outcome,
}

/// All that came of a batch: an answer for each order, and what has to be written.
///
/// For every reply that isn't `replayed`, the order with its lines, ledger rows, key and event
/// ([`Outcome::Placed`]) or the key alone ([`Outcome::Refused`]) has to be written; [`Decision::is_new`].
#[derive(Debug, Default)]
pub struct Decision {
    /// In the batch's order.
    pub replies: Vec<Reply>,
    /// Units to take per SKU, in ascending SKU id: the order in which rows are locked.
    pub skus: BTreeMap<SkuId, SkuSold>,
    /// Units sold per product, in ascending product id; locked after all SKUs.
    pub products: BTreeMap<ProductId, i64>,
    /// Carts that lost lines.
    pub carts: BTreeMap<UserId, CartOrdered>,
}

/// What a batch takes of one SKU.
#[derive(Debug, Clone, Copy)]
pub struct SkuSold {
    /// Units sold.
    pub units: i64,
    /// The price at which all of them were sold: a compare-and-set has to find it unchanged.
    pub price: Amount,
}

/// What a batch takes out of one cart.
#[derive(Debug, Clone)]
pub struct CartOrdered {
    /// The cart's seq as it was read; it becomes one more.
    pub seq_seen: u64,
    /// The order that was placed from it.
    pub order_id: OrderId,
    /// Whether its lines are in the store, and leave it in the order's transaction.
    pub in_store: bool,
    /// The demand that was ordered, to be subtracted from the cart.
    pub ordered: Demand,
}

impl Decision {
    /// Whether the reply at this place of the batch was decided just now and is to be kept.
    pub fn is_new(reply: &Reply) -> bool {
        !reply.replayed && !matches!(reply.outcome, Outcome::Rejected(_))
    }
}

/// Decides a batch of orders of one shop in the order of their arrival. An order that is refused takes nothing
/// and leaves the others alone.
///
/// # Panics
/// When `seen.orders` isn't as long as `orders`: the store that read it is wrong.
pub fn decide(orders: &[PlaceOrder], seen: Seen) -> Decision {
    assert_eq!(orders.len(), seen.orders.len(), "one OrderSeen an order");
    let Seen { settings, skus, carts, orders: per_order } = seen;
    let mut batch =
        Batch { settings, stock: skus, carts, sold: BTreeMap::new(), cart_orders: BTreeMap::new() };
    let mut replies: Vec<Reply> = Vec::with_capacity(orders.len());
    // Which earlier order of this batch decided a key.
    let mut decided: HashMap<(&UserId, Operation, &IdempotencyKey), usize> =
        HashMap::with_capacity(orders.len());

    for (at, (order, OrderSeen { kept, address })) in orders.iter().zip(per_order).enumerate() {
        let request = &order.request;
        let scope = (&request.user, request.operation, &request.key);
        let twin =
            decided.get(&scope).map(|&first| (orders[first].fingerprint, replies[first].outcome.clone()));
        let kept = kept.map(|kept| (kept.fingerprint, kept.outcome)).or(twin);
        let reply = match kept {
            Some((fingerprint, outcome)) if fingerprint == order.fingerprint => {
                Reply { outcome, replayed: true }
            }
            Some(_) => Reply { outcome: Outcome::Rejected(Rejection::KeyReused), replayed: false },
            None => Reply { outcome: batch.place(order, address), replayed: false },
        };
        if Decision::is_new(&reply) {
            decided.insert(scope, at);
        }
        replies.push(reply);
    }

    let mut products = BTreeMap::new();
    for (sku_id, sold) in &batch.sold {
        *products.entry(batch.stock[sku_id].product_id).or_default() += sold.units;
    }
    Decision { replies, skus: batch.sold, products, carts: batch.cart_orders }
}

/// The batch's working state: what was read, less what its earlier orders took.
struct Batch {
    settings: ShopSettings,
    stock: HashMap<SkuId, SkuSeen>,
    carts: HashMap<UserId, CartSeen>,
    sold: BTreeMap<SkuId, SkuSold>,
    cart_orders: BTreeMap<UserId, CartOrdered>,
}

impl Batch {
    fn place(&mut self, order: &PlaceOrder, saved: Option<Address>) -> Outcome {
        let address = match &order.request.ship_to {
            ShipTo::Given(address) => Cow::Borrowed(address),
            ShipTo::Saved(_) => match saved {
                Some(address) => Cow::Owned(address),
                None => return Outcome::Rejected(Rejection::AddressNotFound),
            },
        };
        let from_cart;
        let demand = match &order.request.basket {
            Basket::Lines(demand) => demand,
            Basket::Cart => match self.demand_of_cart(order) {
                Ok(demand) => {
                    from_cart = demand;
                    &from_cart
                }
                Err(outcome) => return outcome,
            },
        };
        match self.price(order, demand, address) {
            Ok(placed) => {
                self.take(order, demand);
                Outcome::Placed(Arc::new(placed))
            }
            Err(outcome) => outcome,
        }
    }

    fn demand_of_cart(&self, order: &PlaceOrder) -> Result<Demand, Outcome> {
        let user = &order.request.user;
        let seq_seen = order.cart.seq().ok_or(Outcome::Rejected(Rejection::CartUnreachable))?;
        let cart = self.carts.get(user);
        let ordered_before = self.cart_orders.contains_key(user);
        if ordered_before || cart.map_or(0, |cart| cart.seq) != seq_seen {
            return Err(match order.cart {
                CartSnapshot::Elsewhere { caught_up: false, .. } => Outcome::Rejected(Rejection::CartBehind),
                _ => Outcome::Refused(Refusal::CartChanged),
            });
        }
        let demand = match &order.cart {
            CartSnapshot::Elsewhere { selected, .. } => Demand::new(selected.iter().copied()),
            CartSnapshot::InStore { .. } | CartSnapshot::Unreachable => {
                let lines = cart.into_iter().flat_map(|cart| &cart.lines);
                Demand::new(
                    lines.filter(|(_, line)| line.selected).map(|(&sku_id, line)| (sku_id, line.count)),
                )
            }
        };
        demand.map_err(|invalid| match invalid {
            InvalidDemand::Empty => Outcome::Refused(Refusal::EmptyCart),
            // Carts are held to a demand's limits where they are edited.
            InvalidDemand::TooManyLines | InvalidDemand::Count { .. } => {
                Outcome::Refused(Refusal::CartChanged)
            }
        })
    }

    /// The order as it would be placed, or why it isn't. Nothing of an order is made before it is known that it can be: where
    /// most are refused, they should cost little.
    fn price(
        &self,
        order: &PlaceOrder,
        demand: &Demand,
        address: Cow<'_, Address>,
    ) -> Result<Order, Outcome> {
        let request = &order.request;
        let on_sale = |sku_id| self.stock.get(&sku_id).filter(|sku| sku.on_sale);
        let missing: Vec<SkuId> =
            demand.lines().iter().map(|line| line.sku_id).filter(|&id| on_sale(id).is_none()).collect();
        if !missing.is_empty() {
            return Err(Outcome::Refused(Refusal::SkuUnavailable { sku_ids: missing }));
        }

        let too_large = || Outcome::Rejected(Rejection::TotalTooLarge);
        let priced = |wanted: &DemandLine| {
            let sku = &self.stock[&wanted.sku_id];
            Ok((sku, sku.price.checked_mul(wanted.count).ok_or_else(too_large)?))
        };
        let mut short = Vec::new();
        let mut total_count = 0;
        let mut goods_amount = Amount::ZERO;
        for wanted in demand.lines() {
            let (sku, amount) = priced(wanted)?;
            goods_amount = goods_amount.checked_add(amount).ok_or_else(too_large)?;
            total_count += u64::from(wanted.count);
            if i64::from(wanted.count) > sku.stock {
                let (sku_id, requested) = (wanted.sku_id, wanted.count);
                short.push(ShortLine { sku_id, requested, available: sku.stock });
            }
        }
        let freight = self.settings.freight_for(goods_amount);
        let total_amount = goods_amount.checked_add(freight).ok_or_else(too_large)?;
        if !short.is_empty() {
            return Err(Outcome::Refused(Refusal::InsufficientStock { lines: short }));
        }
        if request.expected_total.is_some_and(|expected| expected != total_amount) {
            return Err(Outcome::Refused(Refusal::TotalChanged { total_amount }));
        }
        let line = |wanted: &DemandLine| {
            let (sku, amount) = priced(wanted)?;
            Ok(OrderLine {
                sku_id: wanted.sku_id,
                code: sku.code.clone(),
                name: sku.name.clone(),
                count: wanted.count,
                unit_price: sku.price,
                amount,
            })
        };
        Ok(Order {
            id: order.order_id,
            status: request.pay_method.first_status(),
            pay_method: request.pay_method,
            lines: demand.lines().iter().map(line).collect::<Result<_, Outcome>>()?,
            total_count,
            goods_amount,
            freight,
            total_amount,
            currency: self.settings.currency,
            address: address.into_owned(),
            created_at: order.placed_at,
        })
    }

    fn take(&mut self, order: &PlaceOrder, demand: &Demand) {
        for wanted in demand.lines() {
            let sku = self.stock.get_mut(&wanted.sku_id).expect("priced before");
            let units = i64::from(wanted.count);
            sku.stock -= units;
            assert!(sku.stock >= 0, "an order was decided for more than there is");
            self.sold.entry(wanted.sku_id).or_insert(SkuSold { units: 0, price: sku.price }).units += units;
        }
        if order.request.basket == Basket::Cart {
            let ordered = CartOrdered {
                seq_seen: order.cart.seq().expect("a cart that can't be read isn't ordered"),
                order_id: order.order_id,
                in_store: matches!(order.cart, CartSnapshot::InStore { .. }),
                ordered: demand.clone(),
            };
            self.cart_orders.insert(order.request.user.clone(), ordered);
        }
    }
}

/// What a call to cancel does to an order of this status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelDecision {
    /// Cancel it: units back to stock, sales down.
    Cancel,
    /// It is canceled already; the answer is the same as the first time.
    AlreadyCanceled,
    /// Too late.
    NotCancelable,
}

/// Decides whether an order can be canceled by its buyer.
pub fn decide_cancel(status: OrderStatus) -> CancelDecision {
    match status {
        OrderStatus::Unpaid | OrderStatus::ToShip => CancelDecision::Cancel,
        OrderStatus::Canceled => CancelDecision::AlreadyCanceled,
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Expired => CancelDecision::NotCancelable,
    }
}
