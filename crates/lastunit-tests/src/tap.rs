//! A store between the engine and the real one, that can hold orders up or fail on purpose.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use lastunit::*;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How a call to place fails.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Nothing is written: somebody was faster.
    Conflict,
    /// Nothing is written: the database is away.
    Unavailable,
    /// All is written, and the answer to the commit is lost.
    CommittedUnknown,
    /// Nothing is written, and it isn't known.
    LostUnknown,
}

/// Passes everything on, and [`Store::place`] through a gate.
pub struct Tap {
    inner: Arc<dyn Store>,
    gate: Semaphore,
    entered: Semaphore,
    faults: Mutex<VecDeque<Fault>>,
    batches: Mutex<Vec<usize>>,
    calls: AtomicUsize,
}

impl Tap {
    /// With an open gate.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        let tap = Self::closed(inner);
        tap.open();
        tap
    }

    /// With a closed gate: calls to place wait in front of it.
    pub fn closed(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            gate: Semaphore::new(0),
            entered: Semaphore::new(0),
            faults: Mutex::default(),
            batches: Mutex::default(),
            calls: AtomicUsize::new(0),
        })
    }

    /// Lets everybody through, from now on.
    pub fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until one more call to place has reached the gate.
    pub async fn entered(&self) {
        self.entered.acquire().await.expect("never closed").forget();
    }

    /// The next calls to place fail so, one each.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("not poisoned").extend(faults);
    }

    /// How often place was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many orders each call to place brought.
    pub fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("not poisoned").clone()
    }

    async fn place_or_fail(
        &self,
        shop: ShopId,
        orders: Arc<Vec<PlaceOrder>>,
        locking: Locking,
        next: &NextBatch,
    ) -> Result<Vec<Reply>, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.batches.lock().expect("not poisoned").push(orders.len());
        self.entered.add_permits(1);
        drop(self.gate.acquire().await.expect("never closed"));
        let fault = self.faults.lock().expect("not poisoned").pop_front();
        match fault {
            None => self.inner.place(shop, orders, locking, next).await,
            Some(Fault::Conflict) => Err(StoreError::Conflict),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable("on purpose".into())),
            Some(Fault::LostUnknown) => Err(StoreError::CommitUnknown("on purpose".into())),
            Some(Fault::CommittedUnknown) => {
                self.inner.place(shop, orders, locking, next).await?;
                Err(StoreError::CommitUnknown("on purpose".into()))
            }
        }
    }
}

/// `impl Store` for what has an `inner` store: everything is passed on to it, but placing, canceling, changes of stock and the
/// reading of orders, which the type does in its own way. With `alone` there is no inner store, and nobody may ask for more
/// than the type does.
#[macro_export]
macro_rules! pass_on {
    (impl Store for $store:ident { $($own:item)* }) => {
        $crate::pass_on! {
            @all passed_on $store {
                fn gathers(&self) -> bool {
                    self.inner.gathers()
                }
                $($own)*
            }
        }
    };
    (impl Store for $store:ident alone { $($own:item)* }) => {
        $crate::pass_on! {
            @all not_there $store {
                $($own)*
                async fn cancel(
                    &self, _: ShopId, _: &UserId, _: OrderId, _: Timestamp
                ) -> Result<CancelOutcome, StoreError> {
                    unimplemented!("cancel")
                }
                async fn change_stock(
                    &self, _: ShopId, _: SkuId, _: StockChange, _: Uuid, _: Timestamp
                ) -> Result<Option<Sku>, StoreError> {
                    unimplemented!("change_stock")
                }
                async fn order(&self, _: ShopId, _: &UserId, _: OrderId) -> Result<Option<Order>, StoreError> {
                    unimplemented!("order")
                }
                async fn orders(
                    &self, _: ShopId, _: &UserId, _: Option<OrderId>, _: usize
                ) -> Result<Vec<Order>, StoreError> {
                    unimplemented!("orders")
                }
            }
        }
    };
    (@all $how:ident $store:ident { $($own:item)* }) => {
        $crate::pass_on! {
            @$how $store { $($own)* }
            fn sku(shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError>;
            fn sku_by_code(shop: ShopId, code: &str) -> Result<Option<Sku>, StoreError>;
            fn skus(shop: ShopId, after: Option<SkuId>, limit: usize) -> Result<Vec<Sku>, StoreError>;
            fn products(shop: ShopId, after: Option<ProductId>, limit: usize) -> Result<Vec<Product>, StoreError>;
            fn create_product(shop: ShopId, product: NewProduct, source: Uuid, at: Timestamp) -> Result<Product, StoreError>;
            fn import(
                shop: ShopId, products: Vec<NewProduct>, source: Uuid, at: Timestamp
            ) -> Result<ImportSummary, StoreError>;
            fn patch_sku(shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, StoreError>;
            fn settings(shop: ShopId) -> Result<Option<ShopSettings>, StoreError>;
            fn set_settings(shop: ShopId, settings: ShopSettings, at: Timestamp) -> Result<(), StoreError>;
            fn cart(shop: ShopId, user: &UserId) -> Result<Cart, StoreError>;
            fn cart_snapshot(shop: ShopId, user: &UserId, reading: CartReading) -> Result<CartSnapshot, StoreError>;
            fn cart_seqs(shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError>;
            fn cart_log(shop: ShopId, user: &UserId, after: u64, limit: usize) -> Result<CartLog, StoreError>;
            fn price_cart(shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError>;
            fn set_cart_line(
                shop: ShopId, user: &UserId, sku: SkuId, line: CartLineSetting
            ) -> Result<Option<Cart>, StoreError>;
            fn remove_cart_lines(shop: ShopId, user: &UserId, sku: Option<SkuId>) -> Result<Cart, StoreError>;
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
            fn close() -> ();
        }
    };
    (@passed_on $store:ident { $($own:item)* } $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        #[async_trait::async_trait]
        impl Store for $store {
            $($own)*

            $(async fn $name(&self, $($arg: $type),*) -> $result {
                self.inner.$name($($arg),*).await
            })*
        }
    };
    (@not_there $store:ident { $($own:item)* } $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        #[async_trait::async_trait]
        impl Store for $store {
            $($own)*

            $(async fn $name(&self, $(_: $type),*) -> $result {
                unimplemented!("{}", stringify!($name))
            })*
        }
    };
}

pass_on! {
    impl Store for Tap {
        async fn place(
            &self,
            shop: ShopId,
            orders: Arc<Vec<PlaceOrder>>,
            locking: Locking,
            next: &NextBatch,
        ) -> Result<Vec<Reply>, StoreError> {
            self.place_or_fail(shop, orders, locking, next).await
        }

        async fn cancel(
            &self,
            shop: ShopId,
            user: &UserId,
            id: OrderId,
            at: Timestamp,
        ) -> Result<CancelOutcome, StoreError> {
            self.inner.cancel(shop, user, id, at).await
        }

        async fn change_stock(
            &self,
            shop: ShopId,
            id: SkuId,
            change: StockChange,
            source: Uuid,
            at: Timestamp,
        ) -> Result<Option<Sku>, StoreError> {
            self.inner.change_stock(shop, id, change, source, at).await
        }

        async fn order(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
            self.inner.order(shop, user, id).await
        }

        async fn orders(
            &self,
            shop: ShopId,
            user: &UserId,
            before: Option<OrderId>,
            limit: usize,
        ) -> Result<Vec<Order>, StoreError> {
            self.inner.orders(shop, user, before, limit).await
        }
    }
}
