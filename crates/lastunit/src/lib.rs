//! Lastunit, the checkout engine: it sells the last unit exactly once, keeps every order that it acknowledged,
//! and never places one twice.
//!
//! Open a [`Store`] (crate `lastunit-store`), start an [`Engine`] on it, and place orders from as many tasks as
//! you like:
//!
//! ```text
//! let store = Arc::new(SqliteStore::open("shop.db")?);
//! let engine = Engine::start(store, Config::default())?;
//! let reply = engine.place(request).await?;
//! ```
//!
//! `cargo run --example embed -p lastunit-store` runs the whole of it.
//!
//! - [`decide`](decide()) decides every order, whatever the [`Strategy`], without any I/O.
//! - [`Demand`] can't hold a SKU twice, out of order, or nothing.
//! - [`PlaceRequest::key`] names an attempt: sent again, it gives the first answer again.

mod address;
mod cart;
mod catalogue;
mod decide;
mod demand;
mod engine;
mod ids;
pub mod import;
mod money;
mod order;
mod source;
mod store;
mod sync;
mod text;
mod timestamp;
mod witness;

pub use address::Address;
pub use cart::{Cart, CartLine, CartLineSetting, CartLog, CartOrder};
pub use catalogue::{
    MAX_SKUS_PER_PRODUCT, MAX_STOCK, NewProduct, NewSku, Product, ShopSettings, Sku, SkuPatch, StockChange,
    StockChangeKind, slug,
};
pub use decide::{
    CancelDecision, CartLineSeen, CartOrdered, CartSeen, Decision, Kept, OrderSeen, Seen, SkuSeen, SkuSold,
    decide, decide_cancel,
};
pub use demand::{Demand, DemandLine, InvalidDemand, MAX_COUNT, MAX_LINES};
pub use engine::{Config, Engine, Observer, PlaceError, StartError, Strategy, Worker};
pub use ids::{AddressId, IdempotencyKey, InvalidValue, OrderId, ProductId, ShopId, SkuId, UserId};
pub use money::{Amount, Currency};
pub use order::{
    Basket, CancelOutcome, CartReading, CartSnapshot, Fingerprint, Operation, Order, OrderLine, OrderStatus,
    Outcome, PayMethod, PlaceOrder, PlaceRequest, Refusal, Rejection, Reply, ShipTo, ShortLine,
};
pub use source::{Source, SystemSource};
pub use store::{
    CheckReport, ImportSummary, Locking, MAX_ADDRESSES, NextBatch, NextMayCome, Role, ServiceKey, Store,
    StoreError, Violation,
};
pub use text::{check_field, is_clean};
pub use timestamp::Timestamp;
pub use witness::{StockWrite, Watched, Witness};
