//! Placing a batch: read what deciding needs, decide, write all of it. Each step is a statement for as many rows as
//! there are, not one a row.
//!
//! The transaction consists of locking reads and writes alone, which see what is committed by then. So it has no
//! snapshot that could be older than its locks, and does the same under every isolation. What needs no lock is read
//! before it begins: a key that somebody else writes meanwhile is met when it is written here, and is a conflict.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lastunit::{
    Address, Basket, CartLineSeen, CartSeen, CartSnapshot, Decision, Fingerprint, Kept, Order, OrderLine,
    OrderSeen, Outcome, PlaceOrder, Refusal, Reply, Seen, ShipTo, ShopId, ShopSettings, SkuId, SkuSeen,
    StoreError, UserId,
};
use uuid::Uuid;

use super::statements as sql;
use crate::remote::{Batched, Row, SIZES, Session, Value, bad_row, expect_one, json, read_order, values};

/// What is read before the transaction: how the shop charges, and what belongs to a single order.
pub(super) struct Before {
    pub settings: ShopSettings,
    pub orders: Vec<OrderSeen>,
}

impl Before {
    /// The orders that are still to be decided.
    pub fn undecided<'a>(&self, batch: &'a [PlaceOrder]) -> impl Iterator<Item = (usize, &'a PlaceOrder)> {
        batch.iter().enumerate().filter(|(at, _)| self.orders[*at].kept.is_none())
    }
}

pub(super) async fn read_before(
    session: &mut impl Session,
    shop: ShopId,
    batch: &[PlaceOrder],
) -> Result<Before, StoreError> {
    let (settings, kept) = read_keys(session, shop, batch).await?;
    let orders = kept.into_iter().map(|kept| OrderSeen { kept, address: None }).collect();
    let mut before = Before { settings, orders };
    let saved: Vec<_> = before
        .undecided(batch)
        .filter_map(|(at, order)| match order.request.ship_to {
            ShipTo::Saved(id) => Some((at, [order.request.user.as_str().into(), id.0.into()])),
            ShipTo::Given(_) => None,
        })
        .collect();
    if !saved.is_empty() {
        let rows: Vec<[Value<'_>; 2]> = saved.iter().map(|(_, row)| row.clone()).collect();
        let mut found: HashMap<(String, Uuid), Address> = HashMap::new();
        for row in select(session, &sql::ADDRESSES, shop, &rows).await? {
            found.insert((row.text(0)?.into(), row.uuid(1)?), row.address(2)?);
        }
        for (at, _) in &saved {
            let request = &batch[*at].request;
            if let ShipTo::Saved(id) = request.ship_to {
                before.orders[*at].address = found.get(&(request.user.to_string(), id.0)).cloned();
            }
        }
    }
    Ok(before)
}

async fn read_keys(
    session: &mut impl Session,
    shop: ShopId,
    batch: &[PlaceOrder],
) -> Result<(ShopSettings, Vec<Option<Kept>>), StoreError> {
    let key = |order: &PlaceOrder| {
        let request = &order.request;
        [request.user.as_str(), request.operation.as_str(), request.key.as_str()].map(str::to_owned)
    };
    let keys: Vec<[Value<'_>; 3]> = batch
        .iter()
        .map(|PlaceOrder { request, .. }| {
            [request.user.as_str().into(), request.operation.as_str().into(), request.key.as_str().into()]
        })
        .collect();
    let rows = select(session, &sql::KEYS, shop, &keys).await?;
    let settings = settings(rows.first().ok_or(StoreError::NoSuchShop)?)?;
    let mut found: HashMap<[String; 3], Row> = HashMap::new();
    for row in rows {
        if !row.is_null(3)? {
            found.insert([row.text(3)?.into(), row.text(4)?.into(), row.text(5)?.into()], row);
        }
    }
    let mut kept = Vec::with_capacity(batch.len());
    for order in batch {
        let row = if found.is_empty() { None } else { found.get(&key(order)) };
        kept.push(match row {
            Some(row) => Some(read_kept(session, order, row).await?),
            None => None,
        });
    }
    Ok((settings, kept))
}

fn settings(row: &Row) -> Result<ShopSettings, StoreError> {
    let free_from = if row.is_null(2)? { None } else { Some(row.amount(2)?) };
    Ok(ShopSettings { currency: row.currency(0)?, freight: row.amount(1)?, free_from })
}

async fn read_kept(session: &mut impl Session, order: &PlaceOrder, row: &Row) -> Result<Kept, StoreError> {
    let bad = |why: String| bad_row("idempotency_key", why);
    let outcome = if row.is_null(7)? {
        Outcome::Refused(serde_json::from_str(row.text(8)?).map_err(|error| bad(error.to_string()))?)
    } else {
        let request = &order.request;
        let order = read_order(session, request.shop, &request.user, row.order_id(7)?).await?;
        step!("mysql.replay.order_read");
        let mut order = order.ok_or_else(|| bad("its order is missing".into()))?;
        // A replay answers as the first call did, whatever became of the order since.
        order.status = order.pay_method.first_status();
        Outcome::Placed(order.into())
    };
    Ok(Kept { fingerprint: Fingerprint(row.hash(6)?), outcome })
}

/// The carts that a batch is placed from.
#[derive(Default)]
pub(super) struct Carts {
    pub seen: HashMap<UserId, CartSeen>,
    /// Those that have a head.
    with_head: HashSet<UserId>,
}

/// What was read of the rows that an order changes.
pub(super) struct Stock {
    pub carts: Carts,
    pub skus: HashMap<SkuId, SkuSeen>,
}

/// Reads carts and SKUs; with locks, in the one order in which rows are locked: carts by user, then SKUs by id.
pub(super) async fn read_stock(
    session: &mut impl Session,
    shop: ShopId,
    batch: &[PlaceOrder],
    before: &Before,
    lock: bool,
) -> Result<Stock, StoreError> {
    let mut users = BTreeSet::new();
    let mut in_store = BTreeSet::new();
    let mut sku_ids = BTreeSet::new();
    for (_, order) in before.undecided(batch) {
        let user = order.request.user.as_str();
        match (&order.request.basket, &order.cart) {
            (Basket::Lines(demand), _) => sku_ids.extend(demand.lines().iter().map(|line| line.sku_id)),
            (Basket::Cart, CartSnapshot::InStore { .. }) => {
                users.insert(user);
                in_store.insert(user);
            }
            (Basket::Cart, CartSnapshot::Elsewhere { selected, .. }) => {
                users.insert(user);
                sku_ids.extend(selected.iter().map(|line| line.0));
            }
            (Basket::Cart, CartSnapshot::Unreachable) => {}
        }
    }
    let carts = read_carts(session, shop, &users, &in_store, lock).await?;
    for cart in carts.seen.values() {
        sku_ids.extend(cart.lines.iter().filter(|(_, line)| line.selected).map(|(id, _)| *id));
    }
    let ids: Vec<[Value<'_>; 1]> = sku_ids.into_iter().map(|id| [id.get().into()]).collect();
    let statement = if lock { &sql::LOCK_SKUS } else { &sql::SKUS };
    let rows = select(session, statement, shop, &ids).await?;
    let skus = rows.iter().map(|row| Ok((row.sku_id(0)?, sku(row)?))).collect::<Result<_, StoreError>>()?;
    Ok(Stock { carts, skus })
}

fn sku(row: &Row) -> Result<SkuSeen, StoreError> {
    Ok(SkuSeen {
        product_id: row.product_id(1)?,
        code: row.text(2)?.into(),
        name: row.text(3)?.into(),
        price: row.amount(4)?,
        stock: row.int(5)?,
        sales: row.int(6)?,
        on_sale: row.bool(7)?,
    })
}

async fn read_carts(
    session: &mut impl Session,
    shop: ShopId,
    users: &BTreeSet<&str>,
    in_store: &BTreeSet<&str>,
    lock: bool,
) -> Result<Carts, StoreError> {
    let mut carts = Carts::default();
    if users.is_empty() {
        return Ok(carts);
    }
    let heads: Vec<[Value<'_>; 1]> = users.iter().map(|user| [(*user).into()]).collect();
    let kept_here: Vec<[Value<'_>; 1]> = in_store.iter().map(|user| [(*user).into()]).collect();
    let (heads, lines) = if lock {
        execute(session, &sql::MAKE_CARTS, shop, &heads).await?;
        let heads = select(session, &sql::LOCK_CARTS, shop, &heads).await?;
        step!("mysql.place.carts_locked");
        (heads, select(session, &sql::LOCK_CART_LINES, shop, &kept_here).await?)
    } else {
        // The lines first: an order that takes them in between shows in the head.
        let lines = select(session, &sql::CART_LINES, shop, &kept_here).await?;
        (select(session, &sql::CARTS, shop, &heads).await?, lines)
    };
    let user = |row: &Row| UserId::new(row.text(0)?).map_err(|error| bad_row("cart_head", error));
    for row in &heads {
        carts.seen.entry(user(row)?).or_default().seq = row.number(1)?;
        carts.with_head.insert(user(row)?);
    }
    for row in &lines {
        let line = CartLineSeen { count: row.number(2)?, selected: row.bool(3)? };
        carts.seen.entry(user(row)?).or_default().lines.insert(row.sku_id(1)?, line);
    }
    Ok(carts)
}

/// Runs a query for each of these tuples, whose `$1` is the shop: in as few pieces as there are statements for,
/// filled up with the last one.
pub(super) async fn select<const N: usize>(
    session: &mut impl Session,
    statement: &'static Batched,
    shop: ShopId,
    tuples: &[[Value<'_>; N]],
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    for (size, values) in filled(shop, tuples) {
        rows.extend(session.rows(statement.sql(size), &values).await?);
    }
    Ok(rows)
}

/// The same with a write: how many rows it found.
async fn execute<const N: usize>(
    session: &mut impl Session,
    statement: &'static Batched,
    shop: ShopId,
    tuples: &[[Value<'_>; N]],
) -> Result<u64, StoreError> {
    let mut found = 0;
    for (size, values) in filled(shop, tuples) {
        found += session.execute(statement.sql(size), &values).await?;
    }
    Ok(found)
}

/// Pieces of one of the sizes, each with the values of its statement.
fn filled<'a, const N: usize>(
    shop: ShopId,
    tuples: &'a [[Value<'a>; N]],
) -> impl Iterator<Item = (usize, Vec<Value<'a>>)> {
    tuples.chunks(SIZES[0]).map(move |chunk| {
        let size = chunk.len().next_power_of_two();
        let mut values = Vec::with_capacity(1 + size * N);
        values.push(shop.get().into());
        values.extend(chunk.as_flattened().iter().cloned());
        let last = chunk.last().expect("a chunk isn't empty");
        (chunk.len()..size).for_each(|_| values.extend(last.iter().cloned()));
        (size, values)
    })
}

/// All that was seen, as deciding takes it.
pub(super) fn seen(before: Before, stock: Stock) -> (Seen, HashSet<UserId>) {
    let Stock { carts, skus } = stock;
    let seen = Seen { settings: before.settings, skus, carts: carts.seen, orders: before.orders };
    (seen, carts.with_head)
}

/// How what was decided is made sure of when it is written.
pub(super) enum Guard<'a> {
    /// The rows are locked since they were read.
    Locked,
    /// A write finds its row only if what the decision rests on still holds. These buyers' carts have a head.
    Compared(&'a HashSet<UserId>),
    /// Not at all: stock is written as computed from these rows, whatever has become of them since. The naive
    /// strategy's lost update.
    Overwritten(&'a HashMap<SkuId, SkuSeen>, &'a HashSet<UserId>),
}

/// Whether there is anything to write.
pub(super) fn is_new(decision: &Decision) -> bool {
    decision.replies.iter().any(Decision::is_new)
}

/// Writes all of a decision, in the one order in which rows are locked: carts by user, SKUs by id, keys, products by
/// id. The count of rows of every write is checked.
pub(super) async fn write(
    session: &mut impl Session,
    shop: ShopId,
    batch: &[PlaceOrder],
    decision: &Decision,
    guard: Guard<'_>,
) -> Result<(), StoreError> {
    let new = || batch.iter().zip(&decision.replies).filter(|(_, reply)| Decision::is_new(reply));
    let placed: Vec<_> = new()
        .filter_map(|(order, reply)| match &reply.outcome {
            Outcome::Placed(placed) => Some((order, placed.as_ref())),
            Outcome::Refused(_) | Outcome::Rejected(_) => None,
        })
        .collect();
    match &guard {
        Guard::Locked => count_cart_orders(session, shop, decision).await?,
        Guard::Compared(with_head) | Guard::Overwritten(_, with_head) => {
            compare_carts(session, shop, decision, with_head).await?;
        }
    }
    step!("mysql.place.carts_counted");
    take_from_carts(session, shop, decision).await?;
    step!("mysql.place.carts_emptied");
    match guard {
        Guard::Locked => take_stock(session, shop, decision).await?,
        Guard::Compared(_) => compare_stock(session, shop, decision).await?,
        Guard::Overwritten(before, _) => overwrite_stock(session, shop, decision, before).await?,
    }
    step!("mysql.place.stock_taken");
    write_keys(session, shop, new()).await?;
    step!("mysql.place.keys_written");
    let products = decision.products.iter().map(|(id, units)| [id.get().into(), (*units).into()]);
    let products: Vec<[Value<'_>; 2]> = products.collect();
    expect(execute(session, &sql::SELL_PRODUCTS, shop, &products).await?, products.len())?;
    step!("mysql.place.products_counted");
    write_orders(session, shop, &placed).await?;
    step!("mysql.place.events_written");
    write_cart_orders(session, shop, decision).await?;
    step!("mysql.place.cart_orders_written");
    write_lines(session, shop, &placed).await?;
    step!("mysql.place.ledger_written");
    Ok(())
}

/// A write that found fewer rows than it was to: what the decision rests on is no longer so.
fn expect(found: u64, wanted: usize) -> Result<(), StoreError> {
    if found == wanted as u64 { Ok(()) } else { Err(StoreError::Conflict) }
}

async fn count_cart_orders(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let users: Vec<[Value<'_>; 1]> = decision.carts.keys().map(|user| [user.as_str().into()]).collect();
    expect(execute(session, &sql::COUNT_CART_ORDERS, shop, &users).await?, users.len())
}

async fn compare_carts(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
    with_head: &HashSet<UserId>,
) -> Result<(), StoreError> {
    for (user, cart) in &decision.carts {
        if with_head.contains(user) {
            let head = values![shop.get(), user.as_str(), cart.seq_seen as i64];
            expect_one(session.execute(sql::COUNT_CART_ORDER, head).await?)?;
        } else {
            session.execute(sql::FIRST_CART_ORDER, values![shop.get(), user.as_str()]).await?;
        }
    }
    Ok(())
}

/// By quantity, not by id: units that the buyer added since stay in the cart.
async fn take_from_carts(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let mut lines: Vec<[Value<'_>; 3]> = Vec::new();
    for (user, cart) in decision.carts.iter().filter(|(_, cart)| cart.in_store) {
        for line in cart.ordered.lines() {
            lines.push([user.as_str().into(), line.sku_id.get().into(), i64::from(line.count).into()]);
        }
    }
    let mut found = execute(session, &sql::EMPTY_CART_LINES, shop, &lines).await?;
    if found < lines.len() as u64 {
        for [user, sku_id, count] in &lines {
            let line = [shop.get().into(), user.clone(), sku_id.clone(), count.clone()];
            found += session.execute(sql::REDUCE_CART_LINE, &line).await?;
        }
    }
    expect(found, lines.len())
}

async fn take_stock(session: &mut impl Session, shop: ShopId, decision: &Decision) -> Result<(), StoreError> {
    let sold: Vec<[Value<'_>; 2]> =
        decision.skus.iter().map(|(id, sold)| [id.get().into(), sold.units.into()]).collect();
    expect(execute(session, &sql::TAKE_STOCK, shop, &sold).await?, sold.len())
}

async fn compare_stock(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
) -> Result<(), StoreError> {
    for (id, sold) in &decision.skus {
        let sold = values![shop.get(), id.get(), sold.units, sold.price.get()];
        expect_one(session.execute(sql::TAKE_STOCK_OF_ONE, sold).await?)?;
    }
    Ok(())
}

async fn overwrite_stock(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
    before: &HashMap<SkuId, SkuSeen>,
) -> Result<(), StoreError> {
    for (id, sold) in &decision.skus {
        let read = &before[id];
        let computed = values![shop.get(), id.get(), read.stock - sold.units, read.sales + sold.units];
        expect_one(session.execute(sql::OVERWRITE_STOCK, computed).await?)?;
    }
    Ok(())
}

/// Sorted, so that two transactions with the same keys meet at the first of them.
async fn write_keys<'a>(
    session: &mut impl Session,
    shop: ShopId,
    new: impl Iterator<Item = (&'a PlaceOrder, &'a Reply)>,
) -> Result<(), StoreError> {
    let mut keys = BTreeMap::new();
    for (order, reply) in new {
        let (request, refusal) = (&order.request, refusal(reply).map(json).transpose()?);
        let key = (request.user.as_str(), request.operation.as_str(), request.key.as_str());
        keys.insert(key, (order, refusal));
    }
    let rows: Vec<[Value<'_>; 8]> = keys
        .iter()
        .map(|((user, operation, key), (order, refusal))| {
            [
                shop.get().into(),
                (*user).into(),
                (*operation).into(),
                (*key).into(),
                (&order.fingerprint.0).into(),
                if refusal.is_some() { Value::Null } else { order.order_id.0.into() },
                refusal.as_deref().into(),
                order.placed_at.unix_ms().into(),
            ]
        })
        .collect();
    sql::INSERT_KEYS.insert(session, &rows).await
}

fn refusal(reply: &Reply) -> Option<&Refusal> {
    match &reply.outcome {
        Outcome::Refused(refusal) => Some(refusal),
        Outcome::Placed(_) | Outcome::Rejected(_) => None,
    }
}

async fn write_orders(
    session: &mut impl Session,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let mut orders: Vec<[Value<'_>; 12]> = Vec::with_capacity(placed.len());
    let mut events: Vec<[Value<'_>; 4]> = Vec::with_capacity(placed.len());
    for (asked, order) in placed {
        let at = order.created_at.unix_ms();
        orders.push([
            shop.get().into(),
            order.id.0.into(),
            asked.request.user.as_str().into(),
            order.status.as_str().into(),
            order.pay_method.as_str().into(),
            (order.total_count as i64).into(),
            order.goods_amount.get().into(),
            order.freight.get().into(),
            order.total_amount.get().into(),
            order.currency.code().into(),
            Value::Text(json(&order.address)?.into()),
            at.into(),
        ]);
        events.push([shop.get().into(), order.id.0.into(), "order.placed".into(), at.into()]);
    }
    sql::INSERT_ORDERS.insert(session, &orders).await?;
    step!("mysql.place.orders_written");
    sql::INSERT_EVENTS.insert(session, &events).await
}

async fn write_cart_orders(
    session: &mut impl Session,
    shop: ShopId,
    decision: &Decision,
) -> Result<(), StoreError> {
    let rows: Vec<[Value<'_>; 4]> = decision
        .carts
        .iter()
        .map(|(user, cart)| {
            let seq = cart.seq_seen as i64 + 1;
            [shop.get().into(), user.as_str().into(), seq.into(), cart.order_id.0.into()]
        })
        .collect();
    sql::INSERT_CART_ORDERS.insert(session, &rows).await
}

/// Every line of every order, and the ledger's row of it.
async fn write_lines(
    session: &mut impl Session,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let all = placed.iter().flat_map(|(_, order)| order.lines.iter().map(move |line| (*order, line)));
    let (lines, movements): (Vec<[Value<'_>; 8]>, Vec<[Value<'_>; 7]>) = all
        .map(|(order, line): (&Order, &OrderLine)| {
            let (id, sku_id, count) = (order.id.0, line.sku_id.get(), i64::from(line.count));
            let sold = [
                shop.get().into(),
                id.into(),
                sku_id.into(),
                (&*line.code).into(),
                (&*line.name).into(),
                count.into(),
                line.unit_price.get().into(),
                line.amount.get().into(),
            ];
            let at = order.created_at.unix_ms();
            let moved = [
                shop.get().into(),
                id.into(),
                sku_id.into(),
                "sold".into(),
                (-count).into(),
                "".into(),
                at.into(),
            ];
            (sold, moved)
        })
        .unzip();
    sql::INSERT_LINES.insert(session, &lines).await?;
    step!("mysql.place.lines_written");
    sql::INSERT_MOVEMENTS.insert(session, &movements).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_filled_up_with_their_last_tuple() {
        let tuples: Vec<[Value<'_>; 2]> = (1..=67).map(|at| [Value::Int(at), Value::Int(-at)]).collect();
        let pieces: Vec<(usize, Vec<Value<'_>>)> = filled(ShopId::FIRST, &tuples).collect();
        let sizes: Vec<(usize, usize)> = pieces.iter().map(|(size, values)| (*size, values.len())).collect();
        assert_eq!(sizes, [(64, 129), (4, 9)]);
        assert_eq!(pieces[1].1, [1, 65, -65, 66, -66, 67, -67, 67, -67].map(Value::Int));
        assert!(SIZES.iter().all(|size| size.is_power_of_two()));
        assert_eq!(filled::<1>(ShopId::FIRST, &[]).count(), 0);
    }
}
