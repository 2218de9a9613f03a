//! Writing a decision: statements, each with the number of rows that it has to find.

use std::collections::HashMap;

use lastunit::{
    CartOrdered, Decision, DemandLine, Order, OrderLine, Outcome, PlaceOrder, Reply, ShopId, SkuId, SkuSeen,
    StoreError, UserId,
};

use super::{
    bind::{Param, get},
    calls::{self, Call},
    session::{Answer, PostgresSession},
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

/// Writes all of a decision, and says whether there was anything to write. Every guarded write's row count is checked,
/// so that it can't do harm even if the rows weren't locked when they were read: then it is a conflict.
pub(super) async fn write(
    session: &mut PostgresSession,
    shop: ShopId,
    batch: &[PlaceOrder],
    decision: &Decision,
    stock: StockWrite<'_>,
) -> Result<bool, StoreError> {
    let new = || batch.iter().zip(&decision.replies).filter(|(_, reply)| Decision::is_new(reply));
    let decided = new().map(|(asked, reply)| Decided::new(asked, reply)).collect::<Result<Vec<_>, _>>()?;
    if decided.is_empty() {
        return Ok(false);
    }
    let placed: Vec<Placed<'_>> = decided.iter().filter_map(Decided::placed).collect();

    // In the one order of locks: carts, SKUs, products, keys, and then what is only inserted.
    let mut writes = Writes { shop, calls: Vec::new(), expected: Vec::new() };
    let keys = keys(&decided);
    if placed.is_empty() {
        writes.push(sql::INSERT_KEYS, decided.len(), keys);
    } else {
        // SKUs that aren't locked yet are written one by one, after the carts.
        let locked = matches!(stock, StockWrite::Locked);
        if !locked {
            writes.count_orders(decision);
        }
        writes.take_lines(decision);
        writes.stock(decision, stock);
        writes.place(decision, locked, keys, &placed);
    }
    writes.send(session).await?;
    Ok(true)
}

/// An order that was decided just now, with what is kept of it as JSON: the address, or the refusal.
struct Decided<'a> {
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

/// Statements that are sent together.
struct Writes<'a> {
    shop: ShopId,
    calls: Vec<Call<'a>>,
    /// What they have to find, in their order.
    expected: Vec<Expected>,
}

/// What statements, one after the other, have to find.
enum Expected {
    /// So many of them, so many rows.
    Rows { calls: usize, rows: usize },
    /// One, that counts by itself, these.
    Counts([usize; 3]),
}

impl<'a> Writes<'a> {
    /// A statement that has to find so many rows.
    fn push(&mut self, sql: &'static str, rows: usize, params: impl IntoIterator<Item = Param<'a>>) {
        self.calls.push(Call::count(sql, self.shop, params));
        self.expected.push(Expected::Rows { calls: 1, rows });
    }

    async fn send(self, session: &mut PostgresSession) -> Result<(), StoreError> {
        let mut answers = calls::send(session, &self.calls).await?.into_iter();
        for expected in self.expected {
            let found = match expected {
                Expected::Rows { calls, rows } => {
                    answers.by_ref().take(calls).map(|answer| answer.count()).sum::<u64>() == rows as u64
                }
                Expected::Counts(counts) => {
                    let rows = answers.next().map(Answer::rows).unwrap_or_default();
                    let row =
                        rows.first().ok_or_else(|| StoreError::Internal("nothing was counted".into()))?;
                    let found =
                        (0..counts.len()).map(|at| get::<i64>(row, at)).collect::<Result<Vec<_>, _>>()?;
                    found.iter().zip(counts).all(|(found, expected)| *found == expected as i64)
                }
            };
            if !found {
                return Err(StoreError::Conflict);
            }
        }
        Ok(())
    }

    /// Carts count their orders.
    fn count_orders(&mut self, decision: &'a Decision) {
        if !decision.carts.is_empty() {
            self.push(sql::COUNT_CART_ORDERS, decision.carts.len(), carts(Some(decision)));
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
        self.calls.push(Call::count(sql::EMPTY_CART_LINES, self.shop, of_lines()));
        self.calls.push(Call::count(sql::REDUCE_CART_LINES, self.shop, of_lines()));
        self.expected.push(Expected::Rows { calls: 2, rows: lines.len() });
    }

    fn stock(&mut self, decision: &Decision, how: StockWrite<'_>) {
        match how {
            // With all the rest.
            StockWrite::Locked => {}
            StockWrite::Guarded => {
                for (id, sold) in &decision.skus {
                    let params = [id.get(), sold.units, sold.price.get()].map(Param::Int);
                    self.push(sql::TAKE_STOCK_OF_ONE, 1, params);
                }
            }
            StockWrite::Overwrite(before) => {
                for (id, sold) in &decision.skus {
                    let seen = &before[id];
                    let params = [id.get(), seen.stock - sold.units, seen.sales + sold.units].map(Param::Int);
                    self.push(sql::OVERWRITE_STOCK, 1, params);
                }
            }
        }
    }

    /// All that isn't written yet: of carts and SKUs those that were locked when they were read.
    fn place(&mut self, decision: &'a Decision, locked: bool, keys: [Param<'a>; 7], placed: &[Placed<'a>]) {
        let locked = locked.then_some(decision);
        self.expected.push(Expected::Counts([
            locked.map_or(0, |locked| locked.carts.len()),
            locked.map_or(0, |locked| locked.skus.len()),
            decision.products.len(),
        ]));
        let params = carts(locked)
            .into_iter()
            .chain(skus(locked))
            .chain(products(decision))
            .chain(keys)
            .chain(orders(placed))
            .chain(cart_orders(decision))
            .chain(lines(placed));
        self.calls.push(Call::rows(sql::PLACE, self.shop, params));
    }
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
