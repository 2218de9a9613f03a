//! Writing a decision: statements that have to find what they should, and a last one with all the rest.

use std::collections::HashMap;

use lastunit::{
    CartOrdered, Decision, DemandLine, Order, OrderLine, Outcome, PlaceOrder, Reply, ShopId, SkuId, SkuSeen,
    StoreError, UserId,
};

use super::{
    bind::Param,
    calls::{self, Call},
    session::PostgresSession,
    statements as sql,
};
use crate::remote::json;

/// How stock is written.
pub(super) enum StockWrite<'a> {
    /// As increments of rows that are locked already.
    Locked,
    /// As increments, a SKU at a time and in ascending id, which is the order of locks.
    Guarded,
    /// As computed from these rows, whatever has become of them since: the naive strategy's lost update.
    Overwrite(&'a HashMap<SkuId, SkuSeen>),
}

/// An order that was decided just now, with what is kept of it as JSON: the address, or the refusal.
pub(super) struct Decided<'a> {
    asked: &'a PlaceOrder,
    order: Option<&'a Order>,
    json: String,
}

/// The same if it was placed.
struct Placed<'a> {
    asked: &'a PlaceOrder,
    order: &'a Order,
    address: &'a str,
}

impl<'a> Decided<'a> {
    /// Those that there is something to write of.
    pub fn of(batch: &'a [PlaceOrder], decision: &'a Decision) -> Result<Vec<Self>, StoreError> {
        let new = batch.iter().zip(&decision.replies).filter(|(_, reply)| Decision::is_new(reply));
        new.map(|(asked, reply)| Self::new(asked, reply)).collect()
    }

    fn new(asked: &'a PlaceOrder, reply: &'a Reply) -> Result<Self, StoreError> {
        let (order, json) = match &reply.outcome {
            Outcome::Placed(order) => (Some(order.as_ref()), json(&order.address)?),
            Outcome::Refused(refusal) => (None, json(refusal)?),
            Outcome::Rejected(_) => return Err(StoreError::Internal("a rejection is not kept".into())),
        };
        Ok(Self { asked, order, json })
    }

    fn placed(&'a self) -> Option<Placed<'a>> {
        let Self { asked, order, json } = self;
        order.map(|order| Placed { asked, order, address: json })
    }

    fn refusal(&self) -> Option<&str> {
        self.order.is_none().then_some(self.json.as_str())
    }
}

/// All that a decision writes, in the one order of locks: carts, SKUs, products, keys, and then what is only inserted. Each
/// guarded write has to find all of its rows, so that it can't do harm even if they weren't locked when they were read:
/// otherwise it is a conflict.
pub(super) struct Writes<'a> {
    shop: ShopId,
    /// Statements that come first. One after the other, so many of them have to find so many rows.
    guards: Vec<Call<'a>>,
    expected: Vec<(usize, usize)>,
    /// All the rest. It fails by itself if it doesn't find what it should, so that COMMIT may be sent behind it unseen.
    pub last: Call<'a>,
}

impl<'a> Writes<'a> {
    /// Of a decision, by which something was decided.
    pub fn of(
        shop: ShopId,
        decision: &'a Decision,
        decided: &'a [Decided<'a>],
        stock: StockWrite<'_>,
    ) -> Self {
        let placed: Vec<Placed<'_>> = decided.iter().filter_map(Decided::placed).collect();
        if placed.is_empty() {
            let last = insert_keys(shop, decided);
            return Self { shop, guards: Vec::new(), expected: Vec::new(), last };
        }
        // Carts and SKUs that aren't locked yet are written before, SKUs one by one.
        let locked = matches!(stock, StockWrite::Locked);
        let last = place(shop, decision, locked, decided, &placed);
        let mut writes = Self { shop, guards: Vec::new(), expected: Vec::new(), last };
        if !locked {
            writes.count_orders(decision);
        }
        writes.take_lines(decision);
        writes.stock(decision, stock);
        writes
    }

    /// Sends what comes first, and checks what it found.
    pub async fn send_guards(&mut self, session: &mut PostgresSession) -> Result<(), StoreError> {
        if self.guards.is_empty() {
            return Ok(());
        }
        let mut found = calls::send(session, &self.guards).await?.into_iter().map(|answer| answer.count());
        let all = self
            .expected
            .iter()
            .all(|(calls, rows)| found.by_ref().take(*calls).sum::<u64>() == *rows as u64);
        if all { Ok(()) } else { Err(StoreError::Conflict) }
    }

    /// A statement that has to find so many rows.
    fn guard(&mut self, sql: &'static str, rows: usize, params: impl IntoIterator<Item = Param<'a>>) {
        self.guards.push(Call::count(sql, self.shop, params));
        self.expected.push((1, rows));
    }

    /// Carts count their orders.
    fn count_orders(&mut self, decision: &'a Decision) {
        if !decision.carts.is_empty() {
            self.guard(sql::COUNT_CART_ORDERS, decision.carts.len(), carts(Some(decision)));
        }
    }

    /// Lines that the store keeps leave their carts.
    fn take_lines(&mut self, decision: &'a Decision) {
        let lines: Vec<(&UserId, &DemandLine)> =
            decision.carts.iter().filter(|(_, cart)| cart.in_store).flat_map(ordered).collect();
        if lines.is_empty() {
            return;
        }
        let of_lines = || {
            let users = lines.iter().map(|(user, _)| user.as_str()).collect();
            let skus = lines.iter().map(|(_, line)| line.sku_id.get()).collect();
            let units = lines.iter().map(|(_, line)| line.count.into()).collect();
            [Param::Texts(users), Param::Ints(skus), Param::Ints(units)]
        };
        self.guards.push(Call::count(sql::EMPTY_CART_LINES, self.shop, of_lines()));
        self.guards.push(Call::count(sql::REDUCE_CART_LINES, self.shop, of_lines()));
        self.expected.push((2, lines.len()));
    }

    fn stock(&mut self, decision: &Decision, how: StockWrite<'_>) {
        match how {
            // With all the rest.
            StockWrite::Locked => {}
            StockWrite::Guarded => {
                for (id, sold) in &decision.skus {
                    let params = [id.get(), sold.units, sold.price.get()].map(Param::Int);
                    self.guard(sql::TAKE_STOCK_OF_ONE, 1, params);
                }
            }
            StockWrite::Overwrite(before) => {
                for (id, sold) in &decision.skus {
                    let seen = &before[id];
                    let params = [id.get(), seen.stock - sold.units, seen.sales + sold.units].map(Param::Int);
                    self.guard(sql::OVERWRITE_STOCK, 1, params);
                }
            }
        }
    }
}

/// The last statements that most batches end with, on nothing.
pub(super) fn nothing(decision: &Decision) -> [Call<'_>; 2] {
    let shop = ShopId::FIRST;
    [insert_keys(shop, &[]), place(shop, decision, true, &[], &[])]
}

/// All that is written if nothing was placed.
fn insert_keys<'a>(shop: ShopId, decided: &'a [Decided<'a>]) -> Call<'a> {
    Call::count(sql::INSERT_KEYS, shop, keys(decided))
}

/// All that isn't written yet if something was: of carts and SKUs those that were locked when they were read.
fn place<'a>(
    shop: ShopId,
    decision: &'a Decision,
    locked: bool,
    decided: &'a [Decided<'a>],
    placed: &[Placed<'a>],
) -> Call<'a> {
    let locked = locked.then_some(decision);
    let params = carts(locked)
        .into_iter()
        .chain(skus(locked))
        .chain(products(decision))
        .chain(keys(decided))
        .chain(orders(placed))
        .chain(cart_orders(decision))
        .chain(lines(placed));
    Call::count(sql::PLACE, shop, params)
}

/// Carts, and how many orders they had.
fn carts(decision: Option<&Decision>) -> [Param<'_>; 2] {
    let carts = decision.into_iter().flat_map(|decision| &decision.carts);
    let (users, seen) = carts.map(|(user, cart)| (user.as_str(), cart.seq_seen as i64)).unzip();
    [Param::Texts(users), Param::Ints(seen)]
}

fn skus(decision: Option<&Decision>) -> [Param<'static>; 3] {
    let skus = || decision.into_iter().flat_map(|decision| &decision.skus);
    [
        Param::Ints(skus().map(|(id, _)| id.get()).collect()),
        Param::Ints(skus().map(|(_, sold)| sold.units).collect()),
        Param::Ints(skus().map(|(_, sold)| sold.price.get()).collect()),
    ]
}

fn products(decision: &Decision) -> [Param<'static>; 2] {
    [
        Param::Ints(decision.products.keys().map(|id| id.get()).collect()),
        Param::Ints(decision.products.values().copied().collect()),
    ]
}

/// Sorted, for they are locked as they are inserted: a concurrent twin meets its key here.
fn keys<'a>(decided: &'a [Decided<'a>]) -> [Param<'a>; 7] {
    let mut sorted: Vec<&Decided<'_>> = decided.iter().collect();
    sorted.sort_unstable_by_key(|decided| {
        let request = &decided.asked.request;
        (request.user.as_str(), request.operation.as_str(), request.key.as_str())
    });
    let asked = || sorted.iter().map(|decided| decided.asked);
    [
        Param::Texts(asked().map(|asked| asked.request.user.as_str()).collect()),
        Param::Texts(asked().map(|asked| asked.request.operation.as_str()).collect()),
        Param::Texts(asked().map(|asked| asked.request.key.as_str()).collect()),
        Param::Hashes(asked().map(|asked| asked.fingerprint.0.as_slice()).collect()),
        Param::UuidsOrNull(sorted.iter().map(|decided| decided.order.map(|order| order.id.0)).collect()),
        Param::TextsOrNull(sorted.iter().map(|decided| decided.refusal()).collect()),
        Param::Ints(asked().map(|asked| asked.placed_at.unix_ms()).collect()),
    ]
}

/// The orders; their events need no more.
fn orders<'a>(placed: &[Placed<'a>]) -> [Param<'a>; 11] {
    let orders = || placed.iter().map(|placed| placed.order);
    [
        Param::Uuids(orders().map(|order| order.id.0).collect()),
        Param::Texts(placed.iter().map(|placed| placed.asked.request.user.as_str()).collect()),
        Param::Texts(orders().map(|order| order.status.as_str()).collect()),
        Param::Texts(orders().map(|order| order.pay_method.as_str()).collect()),
        Param::Ints(orders().map(|order| order.total_count as i64).collect()),
        Param::Ints(orders().map(|order| order.goods_amount.get()).collect()),
        Param::Ints(orders().map(|order| order.freight.get()).collect()),
        Param::Ints(orders().map(|order| order.total_amount.get()).collect()),
        Param::Texts(orders().map(|order| order.currency.code()).collect()),
        Param::Texts(placed.iter().map(|placed| placed.address).collect()),
        Param::Ints(orders().map(|order| order.created_at.unix_ms()).collect()),
    ]
}

fn cart_orders(decision: &Decision) -> [Param<'_>; 3] {
    let carts = || decision.carts.values();
    [
        Param::Texts(decision.carts.keys().map(UserId::as_str).collect()),
        Param::Ints(carts().map(|cart| cart.seq_seen as i64 + 1).collect()),
        Param::Uuids(carts().map(|cart| cart.order_id.0).collect()),
    ]
}

/// The lines, and the ledger's rows of them.
fn lines<'a>(placed: &[Placed<'a>]) -> [Param<'a>; 8] {
    let lines: Vec<(&Order, &'a OrderLine)> =
        placed.iter().flat_map(|placed| placed.order.lines.iter().map(|line| (placed.order, line))).collect();
    let ints =
        |value: fn(&OrderLine) -> i64| Param::Ints(lines.iter().map(|(_, line)| value(line)).collect());
    [
        Param::Uuids(lines.iter().map(|(order, _)| order.id.0).collect()),
        ints(|line| line.sku_id.get()),
        Param::Texts(lines.iter().map(|(_, line)| line.code.as_ref()).collect()),
        Param::Texts(lines.iter().map(|(_, line)| line.name.as_ref()).collect()),
        ints(|line| line.count.into()),
        ints(|line| line.unit_price.get()),
        ints(|line| line.amount.get()),
        Param::Ints(lines.iter().map(|(order, _)| order.created_at.unix_ms()).collect()),
    ]
}

/// The lines that an order takes out of a cart.
fn ordered<'a>(
    (user, cart): (&'a UserId, &'a CartOrdered),
) -> impl Iterator<Item = (&'a UserId, &'a DemandLine)> {
    cart.ordered.lines().iter().map(move |line| (user, line))
}
