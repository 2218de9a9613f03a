//! Carts in Redis, beside a database that keeps everything else.

mod cart;
mod config;
mod connection;
mod keys;
mod reads;

use std::{
    mem::take,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lastunit::{
    Address, AddressId, Basket, CancelOutcome, Cart, CartLineSetting, CartLog, CartOrder, CartReading,
    CartSnapshot, CheckReport, ImportSummary, Locking, MAX_LINES, NewProduct, NextBatch, Order, OrderId,
    Outcome, PlaceOrder, Product, ProductId, Reply, ServiceKey, ShopId, ShopSettings, Sku, SkuId, SkuPatch,
    StockChange, Store, StoreError, Timestamp, UserId,
};
use tokio::{sync::Semaphore, time::sleep};
use uuid::Uuid;

use cart::OneCart;
pub use cart::{CartService, Contents, Edit, Edited, Kept};
pub use config::RedisConfig;
pub use connection::Away;
use connection::Link;
pub use keys::Keys;
use reads::Reads;

/// How often a call looks at a cart again that others change meanwhile, or that is far behind.
const ROUNDS: usize = 20;
/// Orders that are read at once for a cart to catch up.
const ORDERS_A_ROUND: usize = 100;
/// Batches of orders that are taken out of their carts at once. Further carts catch up when they are next read.
const CATCHING_UP: usize = 16;
/// How long orders wait to be taken out of their carts, unless another batch goes to the store before, and how many of them:
/// while the database is at work, the processors have time for that, and before, they have answers to give.
const SOON: Duration = Duration::from_millis(3);
const MAX_BEHIND: usize = 4096;

/// A [`Store`] whose carts are in Redis, under the keys of the origin: a hash `carts_<user>` of SKU id → units, and a
/// set `selected_<user>` of the SKU ids that are ordered when the cart is; for other shops than 1 behind
/// `shop:<id>:`. All else it passes on to another store.
///
/// Redis takes no part in an order's transaction, so the orders themselves are the log that a cart follows. The
/// database numbers the orders that are placed from a cart; `applied_seq_<user>` says how many of them are taken out
/// of it. Before a cart is read or changed, it takes out by quantity what the orders behind its `applied_seq` took,
/// one after the other. An order is placed only if its number is the one behind those that the cart was read with, so
/// no two orders take the same lines, and no crash between the commit and the taking out orders them again. That is
/// seen in the order's transaction; if its number isn't the one, the cart catches up, and it is tried once more.
///
/// A cart without `applied_seq` is an existing shop's, and kept, while no order was placed from it. Afterwards it is
/// one that Redis lost a part of, and dropped. So Redis may lose the last changes of carts, or all of them, and never
/// makes an order twice. What remains: a line that is taken out of the cart while it is being ordered may be ordered
/// all the same (the answer lists the lines), and an existing shop's program that writes to a cart of its own accord
/// is taken at its word.
///
/// While Redis is away, carts are [`StoreError::Unavailable`] and orders of a cart [`CartSnapshot::Unreachable`];
/// orders with given lines don't need it. When it is back, all goes on by itself. Redis must not evict keys
/// (`maxmemory-policy noeviction`).
pub struct RedisCarts {
    store: Arc<dyn Store>,
    carts: Arc<dyn CartService>,
    config: RedisConfig,
    reads: Reads,
    behind: Arc<Behind>,
}

/// Orders that are still to be taken out of their carts. Nobody waits for that, and nothing is lost without it.
struct Behind {
    carts: Arc<dyn CartService>,
    call_timeout: Duration,
    orders: Mutex<Vec<(Keys, CartOrder)>>,
    under_way: Semaphore,
}

impl Behind {
    /// Adds those of a batch; whether somebody has to take them out, because there were none before.
    fn add(&self, of_carts: impl Iterator<Item = (Keys, CartOrder)>) -> bool {
        let mut orders = self.orders.lock().expect("never poisoned: nothing panics while it is held");
        let were_none = orders.is_empty();
        let room = MAX_BEHIND - orders.len();
        orders.extend(of_carts.take(room));
        were_none && !orders.is_empty()
    }

    /// All of them, for somebody who takes them out.
    fn take(&self) -> Vec<(Keys, CartOrder)> {
        take(&mut *self.orders.lock().expect("never poisoned: nothing panics while it is held"))
    }

    async fn take_out(&self, orders: Vec<(Keys, CartOrder)>) {
        if orders.is_empty() {
            return;
        }
        let Ok(_permit) = self.under_way.try_acquire() else { return };
        for applied in self.carts.apply(&orders, Instant::now() + self.call_timeout).await {
            if let Err(Away(why)) = applied {
                tracing::debug!(%why, "a cart catches up when it is next read");
            }
        }
    }
}

/// Why a cart can't be had.
#[derive(Clone)]
enum Failed {
    Redis(Away),
    Store(StoreError),
}

impl From<Away> for Failed {
    fn from(away: Away) -> Self {
        Self::Redis(away)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Redis(Away(why)) => Self::Unavailable(format!("carts in Redis: {why}")),
            Failed::Store(error) => error,
        }
    }
}

impl RedisCarts {
    /// Keeps the carts of `store` in the Redis at `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, or in the cluster of which
    /// `redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT,…` names some nodes. A Redis that doesn't answer now is
    /// tried again with every call that needs it.
    ///
    /// [`StoreError::Unusable`] if the address is none. Call it inside a tokio runtime.
    pub async fn connect(url: &str, config: RedisConfig, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let redis = Link::new(url, config.clone()).map_err(StoreError::Unusable)?;
        if let Err(Away(why)) = redis.connect().await {
            tracing::warn!(%why, "Redis is away: carts are unavailable until it is back");
        }
        let config = RedisConfig { hash_tags: config.hash_tags || redis.is_cluster(), ..config };
        Ok(Self::on(Arc::new(redis), config, store))
    }

    /// Keeps the carts of `store` in a service that does what Redis does; a simulation hands in its own.
    pub fn on(carts: Arc<dyn CartService>, config: RedisConfig, store: Arc<dyn Store>) -> Self {
        let reads = Reads::new(store.clone(), carts.clone());
        let behind = Arc::new(Behind {
            carts: carts.clone(),
            call_timeout: config.call_timeout,
            orders: Mutex::default(),
            under_way: Semaphore::new(CATCHING_UP),
        });
        Self { store, carts, config, reads, behind }
    }

    fn one_cart(&self, shop: ShopId, user: &UserId) -> OneCart<'_> {
        let keys = Keys::of(shop, user, self.config.hash_tags);
        OneCart { service: &*self.carts, keys, deadline: Instant::now() + self.config.call_timeout }
    }

    /// The cart as it is once every order that was placed from it is taken out, and how many those are. Afterwards
    /// its `applied_seq` is there if it has to be `begun`, or if there is anything in the cart.
    async fn caught_up(
        &self,
        shop: ShopId,
        user: &UserId,
        cart: &OneCart<'_>,
        begun: bool,
    ) -> Result<(Contents, u64), Failed> {
        self.take_out_now();
        for _ in 0..ROUNDS {
            let (kept, seq) = self.reads.with_orders(shop, user, &cart.keys, cart.deadline).await?;
            let Some(applied) = kept.applied_seq() else {
                if !begun && kept.contents.is_empty() {
                    return Ok((kept.contents, seq));
                }
                // Lines from before the first order are an existing shop's. Others may have been ordered.
                cart.begin(&kept, seq, seq == 0).await?;
                continue;
            };
            if seq == applied {
                return Ok((kept.contents, applied));
            }
            let log = self.store.cart_log(shop, user, applied, ORDERS_A_ROUND).await?;
            if log.seq == applied {
                return Ok((kept.contents, applied));
            }
            self.take_out(cart, &kept, applied, log).await?;
        }
        Err(Away(format!("a cart hasn't caught up in {ROUNDS} rounds")).into())
    }

    /// Takes the orders of the log out of a cart that isn't where the log is.
    async fn take_out(
        &self,
        cart: &OneCart<'_>,
        kept: &Kept,
        applied: u64,
        log: CartLog,
    ) -> Result<(), Away> {
        if log.seq < applied {
            tracing::warn!(keys = ?cart.keys, applied, seq = log.seq, "a cart is ahead of the database, which \
                must have been restored from a backup");
            return cart.begin(kept, log.seq, true).await;
        }
        if log.orders.first().is_none_or(|order| order.seq != applied + 1) {
            tracing::warn!(keys = ?cart.keys, applied, seq = log.seq, "the orders that a cart missed aren't in \
                the database: it is dropped");
            return cart.begin(kept, log.seq, false).await;
        }
        for order in log.orders {
            if !cart.apply(order).await? {
                // Somebody else was faster.
                break;
            }
        }
        Ok(())
    }

    async fn snapshot(
        &self,
        shop: ShopId,
        user: &UserId,
        reading: CartReading,
    ) -> Result<CartSnapshot, Failed> {
        let as_it_stands = match reading {
            CartReading::AsItStands => {
                let OneCart { keys, deadline, .. } = self.one_cart(shop, user);
                let kept = self.reads.as_it_stands(shop, keys, deadline).await?;
                kept.applied_seq().map(|seq| (kept.contents, seq))
            }
            CartReading::CaughtUp => None,
        };
        let caught_up = as_it_stands.is_none();
        let (contents, seq) = match as_it_stands {
            Some(read) => read,
            None => self.caught_up(shop, user, &self.one_cart(shop, user), false).await?,
        };
        let selected = contents.lines().into_iter().filter(|line| line.2);
        let selected = selected.map(|(sku_id, count, _)| (sku_id, count)).collect();
        Ok(CartSnapshot::Elsewhere { seq, selected, caught_up })
    }

    async fn edit(&self, shop: ShopId, user: &UserId, edit: Edit) -> Result<Cart, StoreError> {
        let contents = self.edit_in_redis(shop, user, edit).await?;
        self.store.price_cart(shop, contents.lines()).await
    }

    async fn edit_in_redis(&self, shop: ShopId, user: &UserId, edit: Edit) -> Result<Contents, Failed> {
        let cart = self.one_cart(shop, user);
        for _ in 0..ROUNDS {
            let (_, seq) = self.caught_up(shop, user, &cart, true).await?;
            match cart.edit(seq, edit).await? {
                Edited::Done(contents) => return Ok(contents),
                Edited::Behind => {}
                Edited::Full => {
                    let text = format!("a cart takes at most {MAX_LINES} different SKUs");
                    return Err(StoreError::Clash(text).into());
                }
            }
        }
        Err(Away(format!("a cart changed under {ROUNDS} tries to edit it")).into())
    }

    /// Takes orders out of their carts in the background, and soon.
    fn take_out_soon(&self, shop: ShopId, orders: &[PlaceOrder], replies: &[Reply]) {
        let of_carts = orders.iter().zip(replies).filter_map(|(order, reply)| {
            let CartSnapshot::Elsewhere { seq, .. } = &order.cart else { return None };
            let Reply { outcome: Outcome::Placed(placed), replayed: false } = reply else { return None };
            if order.request.basket != Basket::Cart {
                return None;
            }
            let lines = placed.lines.iter().map(|line| (line.sku_id, line.count)).collect();
            let keys = Keys::of(shop, &order.request.user, self.config.hash_tags);
            Some((keys, CartOrder { seq: seq + 1, lines }))
        });
        if self.behind.add(of_carts) {
            let behind = self.behind.clone();
            tokio::spawn(async move {
                sleep(SOON).await;
                behind.take_out(behind.take()).await;
            });
        }
    }

    /// Takes out what waits for it.
    fn take_out_now(&self) {
        let orders = self.behind.take();
        if !orders.is_empty() {
            let behind = self.behind.clone();
            tokio::spawn(async move { behind.take_out(orders).await });
        }
    }
}

/// Passes calls on to the store that keeps everything but the carts, beside the methods that are given in full.
macro_rules! pass_on {
    (
        $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*
        own { $($own:item)* }
    ) => {
        #[async_trait::async_trait]
        impl Store for RedisCarts {
            $($own)*

            fn gathers(&self) -> bool {
                self.store.gathers()
            }

            $(async fn $name(&self, $($arg: $type),*) -> $result {
                self.store.$name($($arg),*).await
            })*
        }
    };
}

pass_on! {
    fn cancel(shop: ShopId, user: &UserId, id: OrderId, at: Timestamp) -> Result<CancelOutcome, StoreError>;
    fn order(shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError>;
    fn orders(
        shop: ShopId, user: &UserId, before: Option<OrderId>, limit: usize
    ) -> Result<Vec<Order>, StoreError>;
    fn sku(shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError>;
    fn sku_by_code(shop: ShopId, code: &str) -> Result<Option<Sku>, StoreError>;
    fn skus(shop: ShopId, after: Option<SkuId>, limit: usize) -> Result<Vec<Sku>, StoreError>;
    fn products(shop: ShopId, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, StoreError>;
    fn create_product(
        shop: ShopId, product: NewProduct, source: Uuid, at: Timestamp
    ) -> Result<Product, StoreError>;
    fn import(
        shop: ShopId, products: Vec<NewProduct>, source: Uuid, at: Timestamp
    ) -> Result<ImportSummary, StoreError>;
    fn patch_sku(shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, StoreError>;
    fn change_stock(
        shop: ShopId, id: SkuId, change: StockChange, source: Uuid, at: Timestamp
    ) -> Result<Option<Sku>, StoreError>;
    fn settings(shop: ShopId) -> Result<Option<ShopSettings>, StoreError>;
    fn set_settings(shop: ShopId, settings: ShopSettings, at: Timestamp) -> Result<(), StoreError>;
    fn cart_seqs(shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError>;
    fn cart_log(shop: ShopId, user: &UserId, after: u64, limit: usize) -> Result<CartLog, StoreError>;
    fn price_cart(shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError>;
    fn add_address(shop: ShopId, user: &UserId, id: AddressId, address: Address) -> Result<(), StoreError>;
    fn address(shop: ShopId, user: &UserId, id: AddressId) -> Result<Option<Address>, StoreError>;
    fn addresses(shop: ShopId, user: &UserId) -> Result<Vec<(AddressId, Address)>, StoreError>;
    fn delete_address(shop: ShopId, user: &UserId, id: AddressId) -> Result<bool, StoreError>;
    fn service_keys() -> Result<Vec<ServiceKey>, StoreError>;
    fn add_service_key(key: ServiceKey) -> Result<(), StoreError>;
    fn revoke_service_keys(
        label: &str, made_before: Option<Timestamp>, at: Timestamp
    ) -> Result<usize, StoreError>;
    fn forget_refusals(before: Timestamp, limit: usize) -> Result<usize, StoreError>;
    fn check() -> Result<CheckReport, StoreError>;
    fn ping() -> Result<(), StoreError>;

    own {
        async fn place(
            &self,
            shop: ShopId,
            orders: Arc<Vec<PlaceOrder>>,
            locking: Locking,
            next: &NextBatch,
        ) -> Result<Vec<Reply>, StoreError> {
            // Beside the store's work.
            self.take_out_now();
            let replies = self.store.place(shop, orders.clone(), locking, next).await?;
            self.take_out_soon(shop, &orders, &replies);
            Ok(replies)
        }

        async fn cart(&self, shop: ShopId, user: &UserId) -> Result<Cart, StoreError> {
            let cart = self.one_cart(shop, user);
            let (contents, _) = self.caught_up(shop, user, &cart, false).await?;
            self.store.price_cart(shop, contents.lines()).await
        }

        async fn cart_snapshot(
            &self,
            shop: ShopId,
            user: &UserId,
            reading: CartReading,
        ) -> Result<CartSnapshot, StoreError> {
            match self.snapshot(shop, user, reading).await {
                Ok(snapshot) => Ok(snapshot),
                Err(Failed::Redis(Away(why))) => {
                    tracing::warn!(%why, "a cart can't be read to be ordered");
                    Ok(CartSnapshot::Unreachable)
                }
                Err(Failed::Store(error)) => Err(error),
            }
        }

        async fn set_cart_line(
            &self,
            shop: ShopId,
            user: &UserId,
            sku: SkuId,
            line: CartLineSetting,
        ) -> Result<Option<Cart>, StoreError> {
            if self.store.sku(shop, sku).await?.is_none() {
                return Ok(None);
            }
            self.edit(shop, user, Edit::Set(sku, line)).await.map(Some)
        }

        async fn remove_cart_lines(
            &self,
            shop: ShopId,
            user: &UserId,
            sku: Option<SkuId>,
        ) -> Result<Cart, StoreError> {
            self.edit(shop, user, sku.map_or(Edit::RemoveAll, Edit::Remove)).await
        }

        async fn close(&self) {
            self.store.close().await;
            self.behind.take_out(self.behind.take()).await;
            self.carts.close().await;
        }
    }
}
