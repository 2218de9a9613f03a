//! Placing a batch: read what deciding needs, decide, write all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lastunit::{
    Address, Basket, CartLineSeen, CartOrdered, CartSeen, CartSnapshot, Decision, Fingerprint, Kept, Order,
    OrderId, OrderLine, OrderSeen, Outcome, PlaceOrder, Refusal, Reply, Seen, ShipTo, ShopId, SkuId, SkuSeen,
    StoreError, UserId, Watched, decide,
};
use rusqlite::{Connection, OptionalExtension, params, types::ValueRef};

use super::{
    catalogue::read_settings,
    columns::Column,
    orders,
    rows::{self, blob, int, text},
    store_error as error,
};
use crate::rows::{bad_row, chunks, json};

/// Reads, decides and writes in the transaction that is open.
pub(super) fn place(
    connection: &Connection,
    shop: ShopId,
    batch: &[PlaceOrder],
    watched: &Watched,
) -> Result<Vec<Reply>, StoreError> {
    let seen = read(connection, shop, batch)?;
    step!("sqlite.place.read");
    if let Some(pause) = watched.read(batch, &seen) {
        std::thread::sleep(pause);
    }
    decide_and_write(connection, shop, batch, seen, false, watched)
}

/// Decides on what was seen, and writes all of it in the transaction that is open; `naive` overwrites stock.
pub(super) fn decide_and_write(
    connection: &Connection,
    shop: ShopId,
    batch: &[PlaceOrder],
    seen: Seen,
    naive: bool,
    watched: &Watched,
) -> Result<Vec<Reply>, StoreError> {
    let before = naive.then(|| seen.skus.clone());
    let decision = decide(batch, seen);
    let stock = before.as_ref().map_or(StockWrite::Guarded, StockWrite::Overwrite);
    write(connection, shop, batch, &decision, stock)?;
    watched.wrote(batch, &decision, before.as_ref());
    Ok(decision.replies)
}

/// Everything that deciding the batch may need.
pub(super) fn read(connection: &Connection, shop: ShopId, batch: &[PlaceOrder]) -> Result<Seen, StoreError> {
    let settings = read_settings(connection, shop)?.ok_or(StoreError::NoSuchShop)?;
    let mut orders: Vec<OrderSeen> = Vec::with_capacity(batch.len());
    let mut carts = HashMap::new();
    let mut sku_ids = BTreeSet::new();
    for order in batch {
        let request = &order.request;
        let mut seen = OrderSeen { kept: read_kept(connection, order)?, address: None };
        if seen.kept.is_none() {
            if let ShipTo::Saved(id) = request.ship_to {
                seen.address = read_address(connection, shop, &request.user, id.0.as_bytes())?;
            }
            match &request.basket {
                Basket::Lines(demand) => sku_ids.extend(demand.lines().iter().map(|line| line.sku_id)),
                Basket::Cart if !carts.contains_key(&request.user) => {
                    let mut cart = CartSeen {
                        seq: read_cart_seq(connection, shop, &request.user)?,
                        lines: BTreeMap::new(),
                    };
                    match &order.cart {
                        CartSnapshot::InStore { .. } => {
                            cart.lines = read_cart_lines(connection, shop, &request.user)?;
                        }
                        CartSnapshot::Elsewhere { selected, .. } => {
                            sku_ids.extend(selected.iter().map(|line| line.0))
                        }
                        CartSnapshot::Unreachable => {}
                    }
                    sku_ids.extend(cart.lines.iter().filter(|(_, line)| line.selected).map(|(id, _)| *id));
                    carts.insert(request.user.clone(), cart);
                }
                Basket::Cart => {}
            }
        }
        orders.push(seen);
    }
    Ok(Seen { settings, skus: read_skus(connection, shop, sku_ids)?, carts, orders })
}

fn read_skus(
    connection: &Connection,
    shop: ShopId,
    ids: BTreeSet<SkuId>,
) -> Result<HashMap<SkuId, SkuSeen>, StoreError> {
    let ids: Vec<_> = ids.into_iter().map(|id| [int(id.get())]).collect();
    let mut skus = HashMap::with_capacity(ids.len());
    let mut read = |chunk: &[[ValueRef<'_>; 1]]| -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT id, product_id, code, name, price, stock, sales, on_sale FROM sku
             WHERE id IN ({}) AND shop_id = ?",
            vec!["?"; chunk.len()].join(", ")
        );
        let mut select = connection.prepare_cached(&sql)?;
        rows::bind(&mut select, chunk)?;
        select.raw_bind_parameter(chunk.len() + 1, shop.get())?;
        let mut found = select.raw_query();
        while let Some(row) = found.next()? {
            let sku = SkuSeen {
                product_id: row.product_id(1)?,
                code: row.get(2)?,
                name: row.get(3)?,
                price: row.amount(4)?,
                stock: row.get(5)?,
                sales: row.get(6)?,
                on_sale: row.get(7)?,
            };
            skus.insert(row.sku_id(0)?, sku);
        }
        Ok(())
    };
    chunks(&ids, &rows::SIZES).try_for_each(&mut read).map_err(error)?;
    Ok(skus)
}

fn read_kept(connection: &Connection, order: &PlaceOrder) -> Result<Option<Kept>, StoreError> {
    let request = &order.request;
    let mut select = connection
        .prepare_cached(
            "SELECT fingerprint, order_id, refusal FROM idempotency_key
             WHERE shop_id = ?1 AND user_id = ?2 AND operation = ?3 AND key = ?4",
        )
        .map_err(error)?;
    let key =
        params![request.shop.get(), request.user.as_str(), request.operation.as_str(), request.key.as_str()];
    let row = select.query_row(key, |row| {
        let fingerprint: [u8; 32] = row.get(0)?;
        let order_id: Option<[u8; 16]> = row.get(1)?;
        let refusal: Option<String> = row.get(2)?;
        Ok((fingerprint, order_id, refusal))
    });
    let Some((fingerprint, order_id, refusal)) = row.optional().map_err(error)? else { return Ok(None) };
    let outcome = match (order_id, refusal) {
        (Some(id), _) => {
            let id = OrderId(uuid::Uuid::from_bytes(id));
            let order = orders::read(connection, request.shop, &request.user, id)?;
            step!("sqlite.replay.order_read");
            let mut order = order.ok_or_else(|| bad_row("idempotency_key", "its order is missing"))?;
            // A replay answers as the first call did, whatever became of the order since.
            order.status = order.pay_method.first_status();
            Outcome::Placed(order.into())
        }
        (None, refusal) => {
            let refusal: Refusal = serde_json::from_str(refusal.as_deref().unwrap_or_default())
                .map_err(|invalid| bad_row("idempotency_key", invalid))?;
            Outcome::Refused(refusal)
        }
    };
    Ok(Some(Kept { fingerprint: Fingerprint(fingerprint), outcome }))
}

pub(super) fn read_address(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    id: &[u8; 16],
) -> Result<Option<Address>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT address FROM address WHERE shop_id = ?1 AND user_id = ?2 AND id = ?3")
        .map_err(error)?;
    let address = select.query_row(params![shop.get(), user.as_str(), id], |row| row.address(0));
    address.optional().map_err(error)
}

fn read_cart_lines(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
) -> Result<BTreeMap<SkuId, CartLineSeen>, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT sku_id, count, selected FROM cart_line WHERE shop_id = ?1 AND user_id = ?2")
        .map_err(error)?;
    let lines = select.query_map(params![shop.get(), user.as_str()], |row| {
        Ok((row.sku_id(0)?, CartLineSeen { count: row.get(1)?, selected: row.get(2)? }))
    });
    lines.and_then(Iterator::collect).map_err(error)
}

pub(super) fn read_cart_seq(connection: &Connection, shop: ShopId, user: &UserId) -> Result<u64, StoreError> {
    let mut select = connection
        .prepare_cached("SELECT seq FROM cart_head WHERE shop_id = ?1 AND user_id = ?2")
        .map_err(error)?;
    let seq =
        select.query_row(params![shop.get(), user.as_str()], |row| row.get(0)).optional().map_err(error)?;
    Ok(seq.unwrap_or(0))
}

/// How stock is written.
enum StockWrite<'a> {
    /// As increments, only if what the decision rests on still holds.
    Guarded,
    /// As computed from these rows, whatever has become of them since: the naive strategy's lost update.
    Overwrite(&'a HashMap<SkuId, SkuSeen>),
}

/// Writes all of a decision. Every guarded write's row count is checked, so that it can't do harm even if the
/// rows weren't locked when they were read: then it is a conflict.
fn write(
    connection: &Connection,
    shop: ShopId,
    batch: &[PlaceOrder],
    decision: &Decision,
    stock: StockWrite<'_>,
) -> Result<(), StoreError> {
    let new = || batch.iter().zip(&decision.replies).filter(|(_, reply)| Decision::is_new(reply));
    let placed: Vec<_> = new()
        .filter_map(|(order, reply)| match &reply.outcome {
            Outcome::Placed(placed) => Some((order, placed.as_ref())),
            Outcome::Refused(_) | Outcome::Rejected(_) => None,
        })
        .collect();
    write_keys(connection, new())?;
    step!("sqlite.place.keys_written");
    match stock {
        StockWrite::Guarded => take_stock(connection, shop, decision)?,
        StockWrite::Overwrite(before) => overwrite_stock(connection, shop, before, decision)?,
    }
    step!("sqlite.place.stock_taken");
    for (user, cart) in &decision.carts {
        take_from_cart(connection, shop, user, cart)?;
    }
    step!("sqlite.place.carts_emptied");
    write_orders(connection, shop, &placed)?;
    step!("sqlite.place.orders_written");
    write_cart_orders(connection, shop, decision)?;
    step!("sqlite.place.cart_orders_written");
    write_lines(connection, shop, &placed)?;
    step!("sqlite.place.lines_written");
    write_ledger(connection, shop, &placed)?;
    step!("sqlite.place.ledger_written");
    write_events(connection, shop, &placed)?;
    step!("sqlite.place.events_written");
    Ok(())
}

/// The key is the transaction's first write: a concurrent twin meets it here.
fn write_keys<'a>(
    connection: &Connection,
    new: impl Iterator<Item = (&'a PlaceOrder, &'a Reply)>,
) -> Result<(), StoreError> {
    let with_refusal = |(order, reply): (&'a PlaceOrder, &'a Reply)| match &reply.outcome {
        Outcome::Refused(refusal) => Ok((order, Some(json(refusal)?))),
        Outcome::Placed(_) | Outcome::Rejected(_) => Ok((order, None)),
    };
    let decided = new.map(with_refusal).collect::<Result<Vec<_>, StoreError>>()?;
    let rows: Vec<_> = decided
        .iter()
        .map(|(order, refusal)| {
            let request = &order.request;
            [
                int(request.shop.get()),
                text(request.user.as_str()),
                text(request.operation.as_str()),
                text(request.key.as_str()),
                blob(&order.fingerprint.0),
                if refusal.is_some() { ValueRef::Null } else { blob(order.order_id.0.as_bytes()) },
                refusal.as_deref().map_or(ValueRef::Null, text),
                int(order.placed_at.unix_ms()),
            ]
        })
        .collect();
    let into =
        "idempotency_key (shop_id, user_id, operation, key, fingerprint, order_id, refusal, created_at)";
    rows::insert(connection, into, &rows).map_err(|failed| match failed.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => StoreError::Conflict,
        _ => error(failed),
    })
}

/// All SKUs first, in ascending id, then their products: the one order in which rows are locked.
fn take_stock(connection: &Connection, shop: ShopId, decision: &Decision) -> Result<(), StoreError> {
    let mut sku = connection
        .prepare_cached(
            "UPDATE sku SET stock = stock - ?3, sales = sales + ?3
             WHERE shop_id = ?1 AND id = ?2 AND stock >= ?3 AND price = ?4 AND on_sale = 1",
        )
        .map_err(error)?;
    for (id, sold) in &decision.skus {
        let changed =
            sku.execute(params![shop.get(), id.get(), sold.units, sold.price.get()]).map_err(error)?;
        expect_one(changed)?;
    }
    step!("sqlite.place.skus_taken");
    sell_products(connection, shop, decision)
}

fn sell_products(connection: &Connection, shop: ShopId, decision: &Decision) -> Result<(), StoreError> {
    let mut product = connection
        .prepare_cached("UPDATE product SET sales = sales + ?3 WHERE shop_id = ?1 AND id = ?2")
        .map_err(error)?;
    for (id, units) in &decision.products {
        expect_one(product.execute(params![shop.get(), id.get(), units]).map_err(error)?)?;
    }
    Ok(())
}

fn overwrite_stock(
    connection: &Connection,
    shop: ShopId,
    before: &HashMap<SkuId, SkuSeen>,
    decision: &Decision,
) -> Result<(), StoreError> {
    let mut sku = connection
        .prepare_cached("UPDATE sku SET stock = ?3, sales = ?4 WHERE shop_id = ?1 AND id = ?2")
        .map_err(error)?;
    for (id, sold) in &decision.skus {
        let read = &before[id];
        let (stock, sales) = (read.stock - sold.units, read.sales + sold.units);
        expect_one(sku.execute(params![shop.get(), id.get(), stock, sales]).map_err(error)?)?;
    }
    sell_products(connection, shop, decision)
}

fn take_from_cart(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    cart: &CartOrdered,
) -> Result<(), StoreError> {
    let mut head = connection
        .prepare_cached(
            "INSERT INTO cart_head (shop_id, user_id, seq) VALUES (?1, ?2, 1)
             ON CONFLICT (shop_id, user_id) DO UPDATE SET seq = seq + 1 WHERE seq = ?3",
        )
        .map_err(error)?;
    expect_one(head.execute(params![shop.get(), user.as_str(), cart.seq_seen]).map_err(error)?)?;
    if !cart.in_store {
        return Ok(());
    }
    // By quantity, not by id: units that the buyer added since stay in the cart.
    let key = "shop_id = ?1 AND user_id = ?2 AND sku_id = ?3";
    let mut less = connection
        .prepare_cached(&format!("UPDATE cart_line SET count = count - ?4 WHERE {key} AND count > ?4"))
        .map_err(error)?;
    let mut out = connection
        .prepare_cached(&format!("DELETE FROM cart_line WHERE {key} AND count = ?4 AND selected = 1"))
        .map_err(error)?;
    for line in cart.ordered.lines() {
        let of_line = params![shop.get(), user.as_str(), line.sku_id.get(), line.count];
        if out.execute(of_line).map_err(error)? == 0 {
            expect_one(less.execute(of_line).map_err(error)?)?;
        }
    }
    Ok(())
}

fn write_cart_orders(connection: &Connection, shop: ShopId, decision: &Decision) -> Result<(), StoreError> {
    let rows: Vec<_> = decision
        .carts
        .iter()
        .map(|(user, cart)| {
            let seq = cart.seq_seen as i64 + 1;
            [int(shop.get()), text(user.as_str()), int(seq), blob(cart.order_id.0.as_bytes())]
        })
        .collect();
    rows::insert(connection, "cart_order (shop_id, user_id, seq, order_id)", &rows).map_err(error)
}

fn write_orders(
    connection: &Connection,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let addresses = placed.iter().map(|(_, order)| json(&order.address)).collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<_> = placed
        .iter()
        .zip(&addresses)
        .map(|((asked, order), address)| {
            [
                int(shop.get()),
                blob(order.id.0.as_bytes()),
                text(asked.request.user.as_str()),
                text(order.status.as_str()),
                text(order.pay_method.as_str()),
                int(order.total_count as i64),
                int(order.goods_amount.get()),
                int(order.freight.get()),
                int(order.total_amount.get()),
                text(order.currency.code()),
                text(address),
                int(order.created_at.unix_ms()),
            ]
        })
        .collect();
    let into =
        "orders (shop_id, id, user_id, status, pay_method, total_count, goods_amount, freight, total_amount,
                        currency, address, created_at)";
    rows::insert(connection, into, &rows).map_err(error)
}

/// Every line of every order, with its order.
fn lines<'a>(placed: &'a [(&PlaceOrder, &Order)]) -> impl Iterator<Item = (&'a Order, &'a OrderLine)> {
    placed.iter().flat_map(|(_, order)| order.lines.iter().map(move |line| (*order, line)))
}

fn write_lines(
    connection: &Connection,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let rows: Vec<_> = lines(placed)
        .map(|(order, line)| {
            [
                int(shop.get()),
                blob(order.id.0.as_bytes()),
                int(line.sku_id.get()),
                text(&line.code),
                text(&line.name),
                int(line.count),
                int(line.unit_price.get()),
                int(line.amount.get()),
            ]
        })
        .collect();
    let into = "order_line (shop_id, order_id, sku_id, code, name, count, unit_price, amount)";
    rows::insert(connection, into, &rows).map_err(error)
}

fn write_ledger(
    connection: &Connection,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let rows: Vec<_> = lines(placed)
        .map(|(order, line)| {
            [
                int(shop.get()),
                blob(order.id.0.as_bytes()),
                int(line.sku_id.get()),
                text("sold"),
                int(-i64::from(line.count)),
                text(""),
                int(order.created_at.unix_ms()),
            ]
        })
        .collect();
    rows::insert(connection, super::MOVEMENT, &rows).map_err(error)
}

fn write_events(
    connection: &Connection,
    shop: ShopId,
    placed: &[(&PlaceOrder, &Order)],
) -> Result<(), StoreError> {
    let rows: Vec<_> = placed
        .iter()
        .map(|(_, order)| {
            let at = order.created_at.unix_ms();
            [int(shop.get()), blob(order.id.0.as_bytes()), text("order.placed"), int(at)]
        })
        .collect();
    rows::insert(connection, super::EVENT, &rows).map_err(error)
}

/// A guarded write that found no row: what the decision rests on is no longer so.
pub(super) fn expect_one(changed: usize) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}
