//! Orders that stand: reading, listing, canceling.

use std::collections::{BTreeMap, HashMap};

use lastunit::{
    CancelDecision, CancelOutcome, Order, OrderId, OrderLine, OrderStatus, PayMethod, ShopId, StoreError,
    Timestamp, UserId, decide_cancel,
};
use uuid::Uuid;

use super::{Row, Session, catalogue, expect_one, values};

/// An order of this buyer, with its lines: those were written with it and never change, so that two statements
/// see what one would.
pub(crate) async fn read(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    let select = "SELECT id, status, pay_method, total_count, goods_amount, freight, total_amount, currency,
                         address, created_at
                  FROM orders WHERE shop_id = $1 AND id = $2 AND user_id = $3";
    let found = session.rows(select, values![shop.get(), id.0, user.as_str()]).await?;
    let Some(mut order) = found.first().map(head).transpose()? else { return Ok(None) };
    let select = "SELECT sku_id, code, name, count, unit_price, amount FROM order_line
                  WHERE shop_id = $1 AND order_id = $2 ORDER BY sku_id";
    let lines = session.rows(select, values![shop.get(), id.0]).await?;
    order.lines = lines.iter().map(|row| line(row, 0)).collect::<Result<_, _>>()?;
    Ok(Some(order))
}

/// Orders of this buyer, newest first, older than `before`; found through the buyer's keys. Needs a snapshot.
pub(super) async fn list(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    before: Option<OrderId>,
    limit: usize,
) -> Result<Vec<Order>, StoreError> {
    let before = before.map_or(Uuid::max(), |id| id.0);
    let page = values![shop.get(), user.as_str(), before, limit as i64];
    // A key whose order is missing is a row of NULLs, which is refused as an order.
    let select =
        "SELECT o.id, o.status, o.pay_method, o.total_count, o.goods_amount, o.freight, o.total_amount,
                         o.currency, o.address, o.created_at
                  FROM (SELECT shop_id, user_id, order_id FROM idempotency_key
                        WHERE shop_id = $1 AND user_id = $2 AND order_id < $3
                        ORDER BY order_id DESC LIMIT $4) k
                  LEFT JOIN orders o ON o.shop_id = k.shop_id AND o.id = k.order_id AND o.user_id = k.user_id
                  ORDER BY k.order_id DESC";
    let found = session.rows(select, page).await?;
    let mut orders = found.iter().map(head).collect::<Result<Vec<_>, _>>()?;
    let select = "SELECT l.order_id, l.sku_id, l.code, l.name, l.count, l.unit_price, l.amount
                  FROM (SELECT shop_id, order_id FROM idempotency_key
                        WHERE shop_id = $1 AND user_id = $2 AND order_id < $3
                        ORDER BY order_id DESC LIMIT $4) k
                  JOIN order_line l ON l.shop_id = k.shop_id AND l.order_id = k.order_id
                  ORDER BY l.order_id DESC, l.sku_id";
    let mut lines: HashMap<OrderId, Vec<OrderLine>> = HashMap::with_capacity(orders.len());
    for row in session.rows(select, page).await? {
        lines.entry(row.order_id(0)?).or_default().push(line(&row, 1)?);
    }
    for order in &mut orders {
        order.lines = lines.remove(&order.id).unwrap_or_default();
    }
    Ok(orders)
}

/// An order as its own row has it: without lines.
fn head(row: &Row) -> Result<Order, StoreError> {
    Ok(Order {
        id: row.order_id(0)?,
        status: row.named(1, OrderStatus::parse)?,
        pay_method: row.named(2, PayMethod::parse)?,
        lines: Vec::new(),
        total_count: row.number(3)?,
        goods_amount: row.amount(4)?,
        freight: row.amount(5)?,
        total_amount: row.amount(6)?,
        currency: row.currency(7)?,
        address: row.address(8)?,
        created_at: row.timestamp(9)?,
    })
}

/// A line whose columns begin at `at`.
fn line(row: &Row, at: usize) -> Result<OrderLine, StoreError> {
    Ok(OrderLine {
        sku_id: row.sku_id(at)?,
        code: row.text(at + 1)?.into(),
        name: row.text(at + 2)?.into(),
        count: row.number(at + 3)?,
        unit_price: row.amount(at + 4)?,
        amount: row.amount(at + 5)?,
    })
}

/// What a cancellation rests on: what became of it already, or the order and the units it took of each product.
pub(super) enum Cancelable {
    Decided(CancelOutcome),
    Order(Box<Order>, BTreeMap<i64, i64>),
}

/// Reads it in a transaction of its own: all but the status never changes, and [`cancel`] compares that. So the one
/// that writes begins with its locks, and has no snapshot from before them.
pub(super) async fn read_cancelable(
    session: &mut impl Session,
    shop: ShopId,
    user: &UserId,
    id: OrderId,
) -> Result<Cancelable, StoreError> {
    let Some(order) = read(session, shop, user, id).await? else {
        return Ok(Cancelable::Decided(CancelOutcome::NotFound));
    };
    match decide_cancel(order.status) {
        CancelDecision::AlreadyCanceled => {
            return Ok(Cancelable::Decided(CancelOutcome::Canceled(order.into())));
        }
        CancelDecision::NotCancelable => {
            return Ok(Cancelable::Decided(CancelOutcome::NotCancelable(order.status)));
        }
        CancelDecision::Cancel => {}
    }
    let select = "SELECT s.product_id, l.count
                  FROM order_line l JOIN sku s ON s.shop_id = l.shop_id AND s.id = l.sku_id
                  WHERE l.shop_id = $1 AND l.order_id = $2";
    let mut units = BTreeMap::new();
    for row in session.rows(select, values![shop.get(), id.0]).await? {
        *units.entry(row.int(0)?).or_default() += row.int(1)?;
    }
    step!("remote.cancel.read");
    Ok(Cancelable::Order(order.into(), units))
}

/// Cancels the order that was read, or conflicts if its status is another by now. Locks the order, then its SKUs,
/// then their products.
pub(super) async fn cancel(
    session: &mut impl Session,
    shop: ShopId,
    mut order: Box<Order>,
    units: &BTreeMap<i64, i64>,
    at: Timestamp,
) -> Result<CancelOutcome, StoreError> {
    let id = order.id.0;
    let update = "UPDATE orders SET status = 'canceled', canceled_at = $4
                  WHERE shop_id = $1 AND id = $2 AND status = $3";
    let canceled = values![shop.get(), id, order.status.as_str(), at.unix_ms()];
    expect_one(session.execute(update, canceled).await?)?;
    step!("remote.cancel.status_written");
    let update = "UPDATE sku SET stock = stock + $3, sales = sales - $3 WHERE shop_id = $1 AND id = $2";
    for line in &order.lines {
        let back = values![shop.get(), line.sku_id.get(), i64::from(line.count)];
        expect_one(session.execute(update, back).await?)?;
    }
    step!("remote.cancel.stock_given_back");
    let update = "UPDATE product SET sales = sales - $3 WHERE shop_id = $1 AND id = $2";
    for (product, units) in units {
        expect_one(session.execute(update, values![shop.get(), *product, *units]).await?)?;
    }
    step!("remote.cancel.products_counted");
    let movements: Vec<_> = order
        .lines
        .iter()
        .map(|line| {
            catalogue::movement(shop, id, line.sku_id.get(), "restocked", line.count.into(), "canceled", at)
        })
        .collect();
    catalogue::MOVEMENTS.insert(session, &movements).await?;
    step!("remote.cancel.ledger_written");
    let insert = "INSERT INTO outbox_event (shop_id, subject_id, kind, created_at)
                  VALUES ($1, $2, 'order.canceled', $3)";
    session.execute(insert, values![shop.get(), id, at.unix_ms()]).await?;
    step!("remote.cancel.event_written");
    order.status = OrderStatus::Canceled;
    Ok(CancelOutcome::Canceled(order))
}

/// Forgets refusals that were kept before this time; keys of placed orders stay.
pub(super) async fn forget_refusals(
    session: &mut impl Session,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let select = r#"SELECT shop_id, user_id, operation, "key" FROM idempotency_key
                    WHERE order_id IS NULL AND created_at < $1 LIMIT $2"#;
    let mut old = Vec::new();
    for row in session.rows(select, values![before.unix_ms(), limit as i64]).await? {
        let text = |at| row.text(at).map(str::to_owned);
        old.push((row.int(0)?, text(1)?, text(2)?, text(3)?));
    }
    // In the order in which a batch locks its keys.
    old.sort_unstable();
    let delete = r#"DELETE FROM idempotency_key
                    WHERE shop_id = $1 AND user_id = $2 AND operation = $3 AND "key" = $4
                      AND order_id IS NULL AND created_at < $5"#;
    let mut forgotten = 0;
    for (shop, user, operation, key) in &old {
        let found = session
            .execute(
                delete,
                values![*shop, user.as_str(), operation.as_str(), key.as_str(), before.unix_ms()],
            )
            .await?;
        forgotten += found as usize;
    }
    Ok(forgotten)
}
