//! Orders that stand: reading, listing, canceling.

use lastunit::{
    CancelDecision, CancelOutcome, Order, OrderId, OrderLine, OrderStatus, PayMethod, ShopId, StoreError,
    Timestamp, UserId, decide_cancel,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    columns::Column,
    place::expect_one,
    rows::{self, blob, int, text},
    store_error as error,
};
use crate::rows::bad_row;

/// An order of this buyer, with its lines.
pub(super) fn read(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    let mut select = connection
        .prepare_cached(
            "SELECT id, status, pay_method, total_count, goods_amount, freight, total_amount, currency, address,
                    created_at
             FROM orders WHERE shop_id = ?1 AND id = ?2 AND user_id = ?3",
        )
        .map_err(error)?;
    let order = select
        .query_row(params![shop.get(), id.0.as_bytes(), user.as_str()], head)
        .optional()
        .map_err(error)?;
    order.map(|head| with_lines(connection, shop, head)).transpose()
}

/// Orders of this buyer, newest first, older than `before`; found through the buyer's keys.
pub(super) fn list(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Order>, StoreError> {
    let mut select = connection
        .prepare_cached(
            "SELECT order_id FROM idempotency_key
             WHERE shop_id = ?1 AND user_id = ?2 AND order_id < ?3 ORDER BY order_id DESC LIMIT ?4",
        )
        .map_err(error)?;
    let before = before.map_or(Uuid::max(), |id| id.0);
    let ids = select
        .query_map(params![shop.get(), user.as_str(), before.as_bytes(), limit as i64], |row| {
            Ok(OrderId(Uuid::from_bytes(row.get(0)?)))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(error)?;
    let order =
        |id| read(connection, shop, user, id)?.ok_or_else(|| bad_row("idempotency_key", "no such order"));
    ids.into_iter().map(order).collect()
}

/// An order as its own row has it: without lines.
fn head(row: &Row<'_>) -> rusqlite::Result<Order> {
    Ok(Order {
        id: OrderId(Uuid::from_bytes(row.get(0)?)),
        status: row.named(1, OrderStatus::parse)?,
        pay_method: row.named(2, PayMethod::parse)?,
        lines: Vec::new(),
        total_count: row.get(3)?,
        goods_amount: row.amount(4)?,
        freight: row.amount(5)?,
        total_amount: row.amount(6)?,
        currency: row.currency(7)?,
        address: row.address(8)?,
        created_at: Timestamp::from_unix_ms(row.get(9)?),
    })
}

fn with_lines(connection: &Connection, shop: ShopId, mut order: Order) -> Result<Order, StoreError> {
    let mut select = connection
        .prepare_cached(
            "SELECT sku_id, code, name, count, unit_price, amount FROM order_line
             WHERE shop_id = ?1 AND order_id = ?2 ORDER BY sku_id",
        )
        .map_err(error)?;
    order.lines = select
        .query_map(params![shop.get(), order.id.0.as_bytes()], |row| {
            Ok(OrderLine {
                sku_id: row.sku_id(0)?,
                code: row.get(1)?,
                name: row.get(2)?,
                count: row.get(3)?,
                unit_price: row.amount(4)?,
                amount: row.amount(5)?,
            })
        })
        .and_then(Iterator::collect)
        .map_err(error)?;
    Ok(order)
}

/// Cancels an order of this buyer in the transaction that is open.
pub(super) fn cancel(
    connection: &Connection,
    shop: ShopId,
    user: &UserId,
    id: OrderId,
    at: Timestamp,
) -> Result<CancelOutcome, StoreError> {
    let Some(mut order) = read(connection, shop, user, id)? else {
        return Ok(CancelOutcome::NotFound);
    };
    match decide_cancel(order.status) {
        CancelDecision::AlreadyCanceled => return Ok(CancelOutcome::Canceled(order.into())),
        CancelDecision::NotCancelable => return Ok(CancelOutcome::NotCancelable(order.status)),
        CancelDecision::Cancel => {}
    }
    step!("sqlite.cancel.read");
    let id = order.id.0.as_bytes();

    // The status that was read is compared again, so that only one call restocks even without a lock.
    let canceled = connection
        .prepare_cached(
            "UPDATE orders SET status = 'canceled', canceled_at = ?4
             WHERE shop_id = ?1 AND id = ?2 AND status = ?3",
        )
        .and_then(|mut update| update.execute(params![shop.get(), id, order.status.as_str(), at.unix_ms()]));
    expect_one(canceled.map_err(error)?)?;
    step!("sqlite.cancel.status_written");

    let mut sku = connection
        .prepare_cached(
            "UPDATE sku SET stock = stock + ?3, sales = sales - ?3 WHERE shop_id = ?1 AND id = ?2",
        )
        .map_err(error)?;
    let mut movements = Vec::with_capacity(order.lines.len());
    for line in &order.lines {
        let (sku_id, units) = (line.sku_id.get(), i64::from(line.count));
        expect_one(sku.execute(params![shop.get(), sku_id, units]).map_err(error)?)?;
        let (kind, reason) = (text("restocked"), text("canceled"));
        movements.push([int(shop.get()), blob(id), int(sku_id), kind, int(units), reason, int(at.unix_ms())]);
    }
    step!("sqlite.cancel.stock_given_back");
    rows::insert(connection, super::MOVEMENT, &movements).map_err(error)?;
    step!("sqlite.cancel.ledger_written");
    let products = connection
        .prepare_cached(
            "UPDATE product SET sales = sales - l.units
             FROM (SELECT s.product_id, SUM(l.count) AS units
                   FROM order_line l JOIN sku s ON s.shop_id = l.shop_id AND s.id = l.sku_id
                   WHERE l.shop_id = ?1 AND l.order_id = ?2 GROUP BY s.product_id) AS l
             WHERE product.shop_id = ?1 AND product.id = l.product_id",
        )
        .and_then(|mut update| update.execute(params![shop.get(), id]));
    products.map_err(error)?;
    step!("sqlite.cancel.products_counted");
    let event = [int(shop.get()), blob(id), text("order.canceled"), int(at.unix_ms())];
    rows::insert(connection, super::EVENT, &[event]).map_err(error)?;
    step!("sqlite.cancel.event_written");

    order.status = OrderStatus::Canceled;
    Ok(CancelOutcome::Canceled(order.into()))
}

/// Forgets refusals that were kept before this time; keys of placed orders stay.
pub(super) fn forget_refusals(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM idempotency_key WHERE (shop_id, user_id, operation, key) IN (
                 SELECT shop_id, user_id, operation, key FROM idempotency_key
                 WHERE order_id IS NULL AND created_at < ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![before.unix_ms(), limit as i64]))
        .map_err(error)
}
