//! What Lastunit asks of a database: few, coarse operations, each one transaction.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    address::Address,
    cart::{Cart, CartLineSetting, CartLog},
    catalogue::{NewProduct, Product, ShopSettings, Sku, SkuPatch, StockChange},
    ids::{AddressId, OrderId, ProductId, ShopId, SkuId, UserId},
    order::{CancelOutcome, CartReading, CartSnapshot, Order, PlaceOrder, Reply},
    timestamp::Timestamp,
};

/// How a store keeps the orders of one [`Store::place`] call apart from everybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locking {
    /// Not at all: read, subtract, write what was computed. It oversells; for demonstrations.
    None,
    /// Read without locks, then write only if what the decision rests on still holds, else
    /// [`StoreError::Conflict`].
    CompareAndSet,
    /// Lock the rows (on SQLite: the database) before they are read.
    Exclusive,
    /// As [`Locking::Exclusive`], and the store may put other waiting writes into the same transaction.
    Shared,
}

/// By it a store says, while it places a batch, that the next one may come already: it would begin on that one at once.
/// Unless it says so, the next one comes when it has answered.
#[derive(Debug, Clone, Default)]
pub struct NextBatch(Option<Arc<Mutex<Option<oneshot::Sender<()>>>>>);

/// What the engine waits for, of a [`NextBatch`].
#[derive(Debug)]
pub struct NextMayCome(Option<oneshot::Receiver<()>>);

impl NextBatch {
    /// Of a batch that somebody has the next one for.
    pub fn new() -> (Self, NextMayCome) {
        let (says, said) = oneshot::channel();
        (Self(Some(Arc::new(Mutex::new(Some(says))))), NextMayCome(Some(said)))
    }

    /// The next one may come.
    pub fn may_come(&self) {
        let Some(says) = &self.0 else { return };
        let says = says.lock().expect("never poisoned: nothing panics while it is held").take();
        // Nobody listens when the engine is gone.
        says.map(|says| says.send(()).ok());
    }
}

impl NextMayCome {
    /// Ready when the store has said so.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(said) = &mut self.0 else { return Poll::Pending };
        match Pin::new(said).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // It never will.
            Poll::Ready(Err(_)) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Why a store didn't do what it was asked. Unless it says otherwise, nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Somebody else was faster, or held a lock for too long: the whole transaction may be tried again.
    #[error("a concurrent transaction was in the way")]
    Conflict,
    /// It is unknown whether the transaction was committed; only the idempotency key tells.
    #[error("the outcome of a commit is unknown: {0}")]
    CommitUnknown(String),
    /// The database can't be reached or can't write (a full disk, say); later it may.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What was to be created or changed clashes with what is there; the text is for the caller's eyes.
    #[error("{0}")]
    Clash(String),
    /// There is no such shop.
    #[error("there is no such shop")]
    NoSuchShop,
    /// The database isn't one that this version can use; the text says why and what to do.
    #[error("{0}")]
    Unusable(String),
    /// A bug, in Lastunit or in whatever else writes to the database.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A role of a service key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May act for buyers.
    Shop,
    /// May also change products, prices, stock and settings.
    Admin,
}

impl Role {
    /// As it stands in the database and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Admin => "admin",
        }
    }

    /// The reverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Shop, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// A key by which a shop's own system calls the server; only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceKey {
    /// SHA-256 of the key. Keys are random and long, so that no slow hash is needed.
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// What it is called.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Products that weren't there.
    pub products_created: usize,
    /// Products that were.
    pub products_updated: usize,
    /// SKUs that weren't there.
    pub skus_created: usize,
    /// SKUs that were; their stock stays as it is.
    pub skus_updated: usize,
    /// Of those, how many have another stock than the import says.
    pub stocks_left: usize,
}

/// A broken invariant that [`Store::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant, as a stable name: `stock_matches_ledger`.
    pub invariant: &'static str,
    /// Where it is broken, with the figures.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// What [`Store::check`] looked at, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The names of all invariants that were checked.
    pub checked: Vec<&'static str>,
    /// SKUs there are.
    pub skus: u64,
    /// Orders there are.
    pub orders: u64,
    /// Units in stock, of all SKUs.
    pub stock: i64,
    /// Units sold and not returned, of all SKUs.
    pub sales: i64,
    /// Every violation, at most 100 an invariant.
    pub violations: Vec<Violation>,
}

/// A database that keeps shops. Every method is one transaction; all are safe to call from many tasks.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Decides ([`crate::decide`]) and writes a batch of orders of one shop in one transaction: key, order,
    /// lines, stock, ledger, cart and event. The replies are in the batch's order, and durable. With [`Locking::Shared`] the
    /// store may let the `next` batch come before.
    async fn place(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
        next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError>;

    /// Cancels an order of this buyer: units back in stock exactly once, sales down, ledger rows, event.
    async fn cancel(
        &self,
        shop: ShopId,
        user: &UserId,
        id: OrderId,
        at: Timestamp,
    ) -> Result<CancelOutcome, StoreError>;

    /// An order of this buyer.
    async fn order(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError>;

    /// Up to `limit` orders of this buyer, newest first, older than `before`.
    async fn orders(
        &self,
        shop: ShopId,
        user: &UserId,
        before: Option<OrderId>,
        limit: usize,
    ) -> Result<Vec<Order>, StoreError>;

    /// A SKU by its id.
    async fn sku(&self, shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError>;

    /// A SKU by the shop's code.
    async fn sku_by_code(&self, shop: ShopId, code: &str) -> Result<Option<Sku>, StoreError>;

    /// Up to `limit` SKUs by id, behind `after`.
    async fn skus(&self, shop: ShopId, after: Option<SkuId>, limit: usize) -> Result<Vec<Sku>, StoreError>;

    /// Up to `limit` products by id, behind `after`.
    async fn products(
        &self,
        shop: ShopId,
        after: Option<ProductId>,
        limit: usize,
    ) -> Result<Vec<Product>, StoreError>;

    /// Creates a validated product with its SKUs; a handle or code that is taken is [`StoreError::Clash`].
    async fn create_product(
        &self,
        shop: ShopId,
        product: NewProduct,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Product, StoreError>;

    /// Creates the validated products that aren't there and updates those that are (products by handle, SKUs by
    /// code): names, descriptions, prices, on sale or not. The stock of a SKU that is there stays.
    async fn import(
        &self,
        shop: ShopId,
        products: Vec<NewProduct>,
        source: Uuid,
        at: Timestamp,
    ) -> Result<ImportSummary, StoreError>;

    /// Changes a SKU; `None` if there is none.
    async fn patch_sku(&self, shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, StoreError>;

    /// Changes stock by hand, with a ledger row named by `source`; `None` if there is no such SKU,
    /// [`StoreError::Clash`] if the stock would leave its range.
    async fn change_stock(
        &self,
        shop: ShopId,
        id: SkuId,
        change: StockChange,
        source: Uuid,
        at: Timestamp,
    ) -> Result<Option<Sku>, StoreError>;

    /// The settings of a shop; `None` if there is no such shop.
    async fn settings(&self, shop: ShopId) -> Result<Option<ShopSettings>, StoreError>;

    /// Opens a shop or changes its settings; another currency is [`StoreError::Clash`] once there are SKUs.
    async fn set_settings(
        &self,
        shop: ShopId,
        settings: ShopSettings,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// The buyer's cart, priced as of now.
    async fn cart(&self, shop: ShopId, user: &UserId) -> Result<Cart, StoreError>;

    /// The cart as a request finds it that is about to order it, so that it can't be ordered twice. How it is read
    /// makes a difference only where carts are kept apart from orders.
    async fn cart_snapshot(
        &self,
        shop: ShopId,
        user: &UserId,
        reading: CartReading,
    ) -> Result<CartSnapshot, StoreError>;

    /// How many orders were placed from each of these buyers' carts, in their order.
    async fn cart_seqs(&self, shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError>;

    /// How many orders were placed from this cart, and the first `limit` of those behind `after`.
    async fn cart_log(
        &self,
        shop: ShopId,
        user: &UserId,
        after: u64,
        limit: usize,
    ) -> Result<CartLog, StoreError>;

    /// Lines of a cart that is kept elsewhere (SKU, units, whether selected), priced as of now; SKUs that don't
    /// exist are left out.
    async fn price_cart(&self, shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError>;

    /// Puts a line into the cart or changes it. `None` if there is no such SKU, [`StoreError::Clash`] if the cart
    /// would have too many lines.
    async fn set_cart_line(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: SkuId,
        line: CartLineSetting,
    ) -> Result<Option<Cart>, StoreError>;

    /// Takes one line (or with `None` all of them) out of the cart.
    async fn remove_cart_lines(
        &self,
        shop: ShopId,
        user: &UserId,
        sku: Option<SkuId>,
    ) -> Result<Cart, StoreError>;

    /// Saves a validated address for this buyer; [`StoreError::Clash`] if there are too many.
    async fn add_address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
        address: Address,
    ) -> Result<(), StoreError>;

    /// A saved address of this buyer.
    async fn address(
        &self,
        shop: ShopId,
        user: &UserId,
        id: AddressId,
    ) -> Result<Option<Address>, StoreError>;

    /// All saved addresses of this buyer, oldest first; at most [`MAX_ADDRESSES`].
    async fn addresses(&self, shop: ShopId, user: &UserId) -> Result<Vec<(AddressId, Address)>, StoreError>;

    /// Forgets a saved address; whether there was one. Orders keep their snapshot.
    async fn delete_address(&self, shop: ShopId, user: &UserId, id: AddressId) -> Result<bool, StoreError>;

    /// All service keys that aren't revoked.
    async fn service_keys(&self) -> Result<Vec<ServiceKey>, StoreError>;

    /// Adds a service key; one that is there already gets the new role and label.
    async fn add_service_key(&self, key: ServiceKey) -> Result<(), StoreError>;

    /// Revokes all service keys with this label, or those that were made before a time; how many there were.
    async fn revoke_service_keys(
        &self,
        label: &str,
        made_before: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<usize, StoreError>;

    /// Forgets refusals that were kept under their keys before this time; how many, at most `limit`. Keys of
    /// placed orders stay for ever.
    async fn forget_refusals(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Checks every invariant on one snapshot of the whole database.
    async fn check(&self) -> Result<CheckReport, StoreError>;

    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Whether a transaction costs much however few orders are in it, because it is made of round trips: then it is
    /// worth a moment to gather more of them.
    fn gathers(&self) -> bool;

    /// Finishes what was accepted and closes; later calls are [`StoreError::Unavailable`].
    async fn close(&self);
}

/// The most saved addresses a buyer can have.
pub const MAX_ADDRESSES: usize = 100;
