//! A store between the engine and the real one, with a bug in it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lastunit::*;
use rusqlite::Connection;
use tokio::time::sleep;
use uuid::Uuid;

/// Bugs that shops have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// None: everything has to hold.
    None,
    /// Every call is another attempt.
    NoKey,
    /// The cart is cleared by the ids of what was ordered, after the commit.
    CartClearedById,
    /// Goods that come in are added to what was read, and the sum is written.
    AbsoluteStock,
    /// An order's row in the ledger is left out.
    NoLedgerRow,
    /// Whatever the cart's number of orders was when it was read, it is taken to be right.
    NoFence,
    /// Canceled units are put back twice; the ledger says so too.
    RestockedTwice,
    /// A buyer's list shows somebody else's orders.
    Leak,
    /// "Sold out" though it isn't: a stock that was remembered elsewhere.
    FalseSoldOut,
    /// A repeated answer isn't the first one.
    OtherReplay,
    /// A canceled order is shown as it was at first.
    StaleStatus,
    /// An acknowledged order is gone.
    LostOrder,
    /// The price isn't the one that was shown.
    OtherPrice,
}

/// Passes everything on, but for its bug.
pub struct Twisted {
    inner: Arc<dyn Store>,
    bug: Bug,
    /// The database's file.
    file: PathBuf,
    orders: AtomicU64,
    /// Who asked last for a list.
    last: Mutex<Option<UserId>>,
}

impl Twisted {
    pub fn new(inner: Arc<dyn Store>, bug: Bug, file: PathBuf) -> Arc<Self> {
        Arc::new(Self { inner, bug, file, orders: AtomicU64::new(0), last: Mutex::default() })
    }

    /// Something that another program does to the database.
    async fn sql(&self, sql: String) {
        let file = self.file.clone();
        let ran = tokio::task::spawn_blocking(move || {
            let database = Connection::open(file).expect("the database");
            database.busy_timeout(Duration::from_secs(10)).expect("a timeout");
            database.execute_batch(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        });
        ran.await.expect("no panic");
    }

    /// Every so manieth order.
    fn every(&self, nth: u64) -> bool {
        self.orders.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }

    /// What goes in, and what is answered at once.
    async fn before(&self, shop: ShopId, order: &mut PlaceOrder) -> Option<Reply> {
        match (self.bug, &order.request.basket) {
            (Bug::NoKey, _) => {
                let key = order.order_id.to_string();
                Arc::make_mut(&mut order.request).key = IdempotencyKey::new(key).expect("a key");
            }
            (Bug::NoFence, Basket::Cart) => {
                let now = self.inner.cart_log(shop, &order.request.user, 0, 0).await.expect("a log").seq;
                if let CartSnapshot::Elsewhere { seq, .. } = &mut order.cart {
                    *seq = now;
                }
            }
            (Bug::FalseSoldOut, Basket::Lines(demand)) if self.every(20) => {
                let short = |line: &DemandLine| ShortLine {
                    sku_id: line.sku_id,
                    requested: line.count,
                    available: 0,
                };
                let lines = demand.lines().iter().map(short).collect();
                let outcome = Outcome::Refused(Refusal::InsufficientStock { lines });
                return Some(Reply { outcome, replayed: false });
            }
            _ => {}
        }
        None
    }

    /// What comes out.
    async fn after(&self, shop: ShopId, order: &PlaceOrder, reply: &mut Reply) {
        let Reply { outcome: Outcome::Placed(placed), replayed } = reply else { return };
        let id = placed.id.0.simple();
        match (self.bug, *replayed) {
            (Bug::OtherReplay, true) => {
                let placed = Arc::make_mut(placed);
                placed.created_at = Timestamp::from_unix_ms(placed.created_at.unix_ms() + 1);
            }
            (Bug::CartClearedById, false) if order.request.basket == Basket::Cart => {
                sleep(Duration::from_millis(2)).await;
                for line in &placed.lines {
                    let cleared = self.inner.remove_cart_lines(shop, &order.request.user, Some(line.sku_id));
                    cleared.await.expect("a cart");
                }
            }
            (Bug::NoLedgerRow, false) if self.every(20) => {
                self.sql(format!(
                    "BEGIN IMMEDIATE; DROP TRIGGER IF EXISTS stock_movement_is_append_only_delete; \
                     DELETE FROM stock_movement WHERE source_id = x'{id}'; COMMIT"
                ))
                .await;
            }
            (Bug::LostOrder, false) if self.every(20) => {
                self.sql(format!(
                    "BEGIN IMMEDIATE; DELETE FROM idempotency_key WHERE order_id = x'{id}'; \
                     DELETE FROM cart_order WHERE order_id = x'{id}'; DELETE FROM outbox_event WHERE subject_id = x'{id}'; \
                     DELETE FROM order_line WHERE order_id = x'{id}'; DELETE FROM orders WHERE id = x'{id}'; COMMIT"
                ))
                .await;
            }
            (Bug::OtherPrice, false) if self.every(20) => {
                self.sql(format!(
                    "BEGIN IMMEDIATE; \
                     UPDATE order_line SET unit_price = unit_price + 1, amount = amount + count WHERE order_id = x'{id}'; \
                     UPDATE orders SET goods_amount = goods_amount + total_count, total_amount = total_amount + total_count \
                     WHERE id = x'{id}'; COMMIT"
                ))
                .await;
            }
            _ => {}
        }
    }
}

lastunit_tests::pass_on! {
    impl Store for Twisted {
        async fn place(
            &self,
            shop: ShopId,
            orders: Arc<Vec<PlaceOrder>>,
            locking: Locking,
            next: &NextBatch,
        ) -> Result<Vec<Reply>, StoreError> {
            let mut orders = (*orders).clone();
            let mut at_once = Vec::new();
            for order in &mut orders {
                at_once.push(self.before(shop, order).await);
            }
            let rest: Vec<PlaceOrder> = orders
                .iter()
                .zip(&at_once)
                .filter(|(_, reply)| reply.is_none())
                .map(|(order, _)| order.clone())
                .collect();
            let mut replies = match rest.is_empty() {
                true => Vec::new(),
                false => self.inner.place(shop, Arc::new(rest.clone()), locking, next).await?,
            };
            for (order, reply) in rest.iter().zip(&mut replies) {
                self.after(shop, order, reply).await;
            }
            let mut replies = replies.into_iter();
            Ok(at_once.into_iter().map(|reply| reply.or_else(|| replies.next()).expect("a reply each")).collect())
        }

        async fn cancel(
            &self,
            shop: ShopId,
            user: &UserId,
            id: OrderId,
            at: Timestamp,
        ) -> Result<CancelOutcome, StoreError> {
            let before = self.inner.order(shop, user, id).await?;
            let outcome = self.inner.cancel(shop, user, id, at).await?;
            let was_live = before.is_some_and(|order| order.status != OrderStatus::Canceled);
            if let (Bug::RestockedTwice, true, CancelOutcome::Canceled(order)) = (self.bug, was_live, &outcome) {
                for OrderLine { sku_id, count, .. } in &order.lines {
                    let number = self.orders.fetch_add(1, Ordering::Relaxed);
                    let source = Uuid::from_u64_pair(0, number).simple();
                    self.sql(format!(
                        "BEGIN IMMEDIATE; UPDATE sku SET stock = stock + {count} WHERE shop_id = 1 AND id = {sku_id}; \
                         INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at) \
                         VALUES (1, x'{source}', {sku_id}, 'adjusted', {count}, 'again', {}); COMMIT",
                        at.unix_ms()
                    ))
                    .await;
                }
            }
            Ok(outcome)
        }

        async fn change_stock(
            &self,
            shop: ShopId,
            id: SkuId,
            change: StockChange,
            source: Uuid,
            at: Timestamp,
        ) -> Result<Option<Sku>, StoreError> {
            if self.bug != Bug::AbsoluteStock {
                return self.inner.change_stock(shop, id, change, source, at).await;
            }
            let read = self.inner.sku(shop, id).await?.expect("the SKU").stock;
            sleep(Duration::from_millis(5)).await;
            self.sql(format!(
                "BEGIN IMMEDIATE; UPDATE sku SET stock = {} WHERE shop_id = 1 AND id = {id}; \
                 INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at) \
                 VALUES (1, x'{}', {id}, 'received', {}, 'goods', {}); COMMIT",
                read + change.delta,
                source.simple(),
                change.delta,
                at.unix_ms()
            ))
            .await;
            self.inner.sku(shop, id).await
        }

        async fn orders(
            &self,
            shop: ShopId,
            user: &UserId,
            before: Option<OrderId>,
            limit: usize,
        ) -> Result<Vec<Order>, StoreError> {
            let last = self.last.lock().expect("not poisoned").replace(user.clone());
            match (self.bug, last) {
                (Bug::Leak, Some(other)) if other != *user && self.every(4) => {
                    self.inner.orders(shop, &other, before, limit).await
                }
                _ => self.inner.orders(shop, user, before, limit).await,
            }
        }

        async fn order(
            &self,
            shop: ShopId,
            user: &UserId,
            id: OrderId,
        ) -> Result<Option<Order>, StoreError> {
            let order = self.inner.order(shop, user, id).await?;
            Ok(order.map(|mut order| {
                if self.bug == Bug::StaleStatus {
                    order.status = order.pay_method.first_status();
                }
                order
            }))
        }
    }
}
