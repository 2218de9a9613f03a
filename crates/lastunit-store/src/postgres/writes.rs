//! Writing a decision: statements, each with the number of rows that it has to find.

use std::collections::HashMap;

use lastunit::{
    CartOrdered, Decision, DemandLine, Order, OrderLine, Outcome, PlaceOrder, Reply, ShopId, SkuId, SkuSeen,
    StoreError, UserId,
};

use super::{
    bind::Param,
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
        writes.carts(decision);
        writes.stock(decision, stock);
        writes.products(decision);
        let params =
            keys.into_iter().chain(orders(&placed)).chain(cart_orders(decision)).chain(lines(&placed));
        writes.push(sql::INSERT_ORDERS, placed.len(), params);
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
    /// How many rows the first so many statements have to find, taken together with those before them.
    expected: Vec<Expected>,
}

/// So many statements, one after the other, have to find so many rows.
struct Expected {
    calls: usize,
    rows: usize,
}

impl<'a> Writes<'a> {
    /// A statement that has to find so many rows.
    fn push(&mut self, sql: &'static str, rows: usize, params: impl IntoIterator<Item = Param<'a>>) {
        self.calls.push(Call::count(sql, self.shop, params));
        self.expected.push(Expected { calls: 1, rows });
    }

    async fn send(self, session: &mut PostgresSession) -> Result<(), StoreError> {
        let answers = calls::send(session, &self.calls).await?;
        let mut found = answers.iter().map(Answer::count);
        for Expected { calls, rows } in self.expected {
            if found.by_ref().take(calls).sum::<u64>() != rows as u64 {
                return Err(StoreError::Conflict);
            }
        }
        Ok(())
    }

    /// A cart counts its order; lines that the store keeps leave it.
    fn carts(&mut self, decision: &'a Decision) {
        if decision.carts.is_empty() {
            return;
        }
        let (users, seen) =
            decision.carts.iter().map(|(user, cart)| (user.as_str(), cart.seq_seen as i64)).unzip();
        self.push(sql::COUNT_CART_ORDERS, decision.carts.len(), [Param::Texts(users), Param::Ints(seen)]);
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
        self.expected.push(Expected { calls: 2, rows: lines.len() });
    }

    fn stock(&mut self, decision: &Decision, how: StockWrite<'_>) {
        match how {
            StockWrite::Locked if decision.skus.len() > 1 => {
                let ids = decision.skus.keys().map(|id| id.get()).collect();
                let (units, prices) =
                    decision.skus.values().map(|sold| (sold.units, sold.price.get())).unzip();
                let params = [Param::Ints(ids), Param::Ints(units), Param::Ints(prices)];
                self.push(sql::TAKE_STOCK, decision.skus.len(), params);
            }
            StockWrite::Locked | StockWrite::Guarded => {
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

    fn products(&mut self, decision: &Decision) {
        let ids = || Param::Ints(decision.products.keys().map(|id| id.get()).collect());
        let units = Param::Ints(decision.products.values().copied().collect());
        let products = decision.products.len();
        if products > 1 {
            self.push(sql::LOCK_PRODUCTS, products, [ids()]);
        }
        self.push(sql::SELL_PRODUCTS, products, [ids(), units]);
    }
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
