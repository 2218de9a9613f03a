//! A server's way to the simulated database: the [`Store`] that its engine places on.

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{Arc, Mutex},
};

use lastunit::*;
use uuid::Uuid;

use super::{
    Bug,
    database::{Database, End, Movement, Row, Tables, unavailable},
    place::{self, Writes},
    world::{Life, World},
};

pub(super) struct SimStore {
    pub db: Arc<Database>,
    pub life: Arc<Life>,
    /// Whether the engine gathers batches.
    pub gathers: bool,
    /// Orders whose commit was unknown, for [`Bug::OtherKeyAfterUnknown`].
    pub unknown: Mutex<BTreeSet<OrderId>>,
}

/// What a call comes to; of a server that crashed, nothing ever comes.
async fn outcome<T>(result: Result<T, End>) -> Result<T, StoreError> {
    match result {
        Ok(value) => Ok(value),
        Err(End::Failed(error)) => Err(error),
        Err(End::Crashed) => pending().await,
    }
}

impl SimStore {
    fn world(&self) -> &Arc<World> {
        &self.db.world
    }

    /// One read.
    async fn look<T: Send>(&self, read: impl FnOnce(&Tables) -> T + Send) -> Result<T, StoreError> {
        self.world().pause().await;
        let tables = self.db.tables();
        let value = read(&tables);
        drop(tables);
        let fails = self.world().goes_wrong() && self.world().chance.percent(30);
        self.world().pause().await;
        if self.life.is_over() {
            return pending().await;
        }
        if fails || !self.db.is_up() {
            return outcome(Err(unavailable("no answer to a read"))).await;
        }
        Ok(value)
    }

    async fn try_to_place(
        &self,
        shop: ShopId,
        batch: Arc<Vec<PlaceOrder>>,
        locking: Locking,
    ) -> Result<Vec<Reply>, End> {
        let world = self.world();
        let locks = matches!(locking, Locking::Exclusive | Locking::Shared) && !world.has(Bug::NothingLocked);
        let mut transaction = self.db.begin(&self.life).await?;
        let batch = self.with_bugs(batch);
        let seen = place::read(&mut transaction, world, shop, &batch, locks).await?;
        let as_read = seen.skus.clone();
        let decision = decide(&batch, seen);
        transaction.step().await?;
        let replies = decision.replies.clone();
        if !replies.iter().any(Decision::is_new) {
            return Ok(replies);
        }
        let overwrites =
            locking == Locking::None || world.has(Bug::StockOverwritten) || world.has(Bug::NothingLocked);
        let overwritten = overwrites.then_some(as_read);
        let writes = Writes { shop, batch: batch.clone(), decision, overwritten, world: world.clone() };
        for row in writes.rows() {
            transaction.lock(row).await?;
        }
        writes.compare(&transaction.committed())?;
        let committed = transaction.commit(move |tables| writes.apply(tables)).await;
        if matches!(committed, Err(End::Failed(StoreError::CommitUnknown(_)))) {
            let mut unknown = self.unknown.lock().expect("not poisoned");
            unknown.extend(batch.iter().map(|order| order.order_id));
        }
        committed.map(|()| replies)
    }

    /// The batch as a store with a bug would have it.
    fn with_bugs(&self, batch: Arc<Vec<PlaceOrder>>) -> Arc<Vec<PlaceOrder>> {
        let world = self.world();
        if !world.has(Bug::CartNotCompared) && !world.has(Bug::OtherKeyAfterUnknown) {
            return batch;
        }
        let mut batch = (*batch).clone();
        for order in &mut batch {
            if world.has(Bug::CartNotCompared) {
                let now = self.db.tables().cart_seq(order.request.shop, &order.request.user);
                if let CartSnapshot::InStore { seq } | CartSnapshot::Elsewhere { seq, .. } = &mut order.cart {
                    *seq = now;
                }
            }
            let unknown = self.unknown.lock().expect("not poisoned").contains(&order.order_id);
            if unknown && world.has(Bug::OtherKeyAfterUnknown) {
                let key = format!("{}-again", order.request.key);
                Arc::make_mut(&mut order.request).key = IdempotencyKey::new(key).expect("short enough");
                order.order_id = OrderId(Uuid::from_u128(order.order_id.0.as_u128() ^ 1));
            }
        }
        batch.into()
    }

    async fn try_to_cancel(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<CancelOutcome, End> {
        let mut transaction = self.db.begin(&self.life).await?;
        let bug = self.world().has(Bug::CanceledTwice);
        if !bug {
            transaction.lock(Row::Order(shop, id)).await?;
        }
        let row = transaction.tables().orders.get(&(shop, id)).cloned();
        let Some(row) = row.filter(|row| row.user == *user) else { return Ok(CancelOutcome::NotFound) };
        let mut order = (*row.order).clone();
        transaction.step().await?;
        match decide_cancel(order.status) {
            CancelDecision::AlreadyCanceled => return Ok(CancelOutcome::Canceled(order.into())),
            CancelDecision::NotCancelable => return Ok(CancelOutcome::NotCancelable(order.status)),
            CancelDecision::Cancel => {}
        }
        let skus: BTreeSet<SkuId> = order.lines.iter().map(|line| line.sku_id).collect();
        for &sku in &skus {
            transaction.lock(Row::Sku(shop, sku)).await?;
        }
        let product = |sku: &SkuId| transaction.committed().skus[&(shop, *sku)].product_id;
        let products: BTreeSet<ProductId> = skus.iter().map(product).collect();
        for product in products {
            transaction.lock(Row::Product(shop, product)).await?;
        }
        order.status = OrderStatus::Canceled;
        let canceled = order.clone();
        let cancel = move |tables: &mut Tables| {
            for line in &order.lines {
                let units = i64::from(line.count);
                let sku = tables.skus.get_mut(&(shop, line.sku_id)).expect("SKUs are never deleted");
                sku.stock += units;
                sku.sales -= units;
                *tables.products.entry((shop, sku.product_id)).or_default() -= units;
                let (source, sku, kind, delta) = (id.0, line.sku_id, "restocked", units);
                tables.ledger.push(Movement { shop, source, sku, kind, delta });
            }
            tables.events.push((id, "order.canceled"));
            tables.orders.insert((shop, id), super::database::OrderRow { order: order.into(), ..row });
        };
        transaction.commit(cancel).await?;
        Ok(CancelOutcome::Canceled(canceled.into()))
    }

    async fn try_to_change_stock(
        &self,
        shop: ShopId,
        id: SkuId,
        change: StockChange,
        source: Uuid,
    ) -> Result<Option<Sku>, End> {
        let mut transaction = self.db.begin(&self.life).await?;
        transaction.lock(Row::Sku(shop, id)).await?;
        transaction.step().await?;
        let tables = transaction.committed();
        let Some(row) = tables.skus.get(&(shop, id)) else { return Ok(None) };
        // Called again after an unknown commit, the ledger tells.
        if tables.ledger.iter().any(|movement| movement.source == source) {
            return Ok(Some(sku(shop, id, &tables)));
        }
        if !(0..=MAX_STOCK).contains(&(row.stock + change.delta)) {
            return Err(StoreError::Clash("the stock would leave its range".into()).into());
        }
        drop(tables);
        let movement = Movement { shop, source, sku: id, kind: change.kind.as_str(), delta: change.delta };
        let apply = move |tables: &mut Tables| {
            tables.skus.get_mut(&(shop, id)).expect("SKUs are never deleted").stock += movement.delta;
            tables.ledger.push(movement);
        };
        transaction.commit(apply).await?;
        Ok(Some(sku(shop, id, &self.db.tables())))
    }

    async fn try_to_patch(&self, shop: ShopId, id: SkuId, patch: SkuPatch) -> Result<Option<Sku>, End> {
        let mut transaction = self.db.begin(&self.life).await?;
        transaction.lock(Row::Sku(shop, id)).await?;
        let apply = move |tables: &mut Tables| {
            let Some(row) = tables.skus.get_mut(&(shop, id)) else { return };
            row.price = patch.price.unwrap_or(row.price);
            row.on_sale = patch.on_sale.unwrap_or(row.on_sale);
        };
        transaction.commit(apply).await?;
        Ok(Some(sku(shop, id, &self.db.tables())))
    }

    /// Sets lines of a cart, or with 0 units takes them out.
    async fn try_to_edit(
        &self,
        shop: ShopId,
        user: &UserId,
        edits: impl FnOnce(&Tables) -> Vec<(SkuId, CartLineSeen)> + Send,
    ) -> Result<Cart, End> {
        let mut transaction = self.db.begin(&self.life).await?;
        transaction.lock(Row::CartHead(shop, user.clone())).await?;
        transaction.step().await?;
        let edits = edits(&transaction.committed());
        let owner = user.clone();
        let apply = move |tables: &mut Tables| {
            let lines = tables.cart_lines.entry((shop, owner.clone())).or_default();
            for (sku, to) in edits {
                let from = lines.insert(sku, to).map_or(0, |line| line.count);
                tables.put.entry((shop, owner.clone(), sku)).or_default().change(from, to.count);
                if to.count == 0 {
                    lines.remove(&sku);
                }
            }
        };
        transaction.commit(apply).await?;
        let tables = self.db.tables();
        let lines = tables.cart_lines(shop, user);
        Ok(priced(shop, &tables, lines.into_iter().map(|(sku, line)| (sku, line.count, line.selected))))
    }
}

fn sku(shop: ShopId, id: SkuId, tables: &Tables) -> Sku {
    let row = &tables.skus[&(shop, id)];
    Sku {
        id,
        code: row.code.clone(),
        product_id: row.product_id,
        product: "A product".into(),
        name: row.name.clone(),
        price: row.price,
        currency: tables.shops[&shop].currency,
        stock: row.stock,
        sales: row.sales,
        on_sale: row.on_sale,
    }
}

fn priced(shop: ShopId, tables: &Tables, lines: impl Iterator<Item = (SkuId, u32, bool)>) -> Cart {
    let known = lines.filter(|(id, ..)| tables.skus.contains_key(&(shop, *id)));
    let lines = known.map(|(id, count, selected)| CartLine::of_sku(&sku(shop, id, tables), count, selected));
    Cart::new(lines.collect(), tables.shops[&shop].currency)
}

/// Calls that no scenario makes.
macro_rules! not_simulated {
    (
        $(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*
        simulated { $($simulated:item)* }
    ) => {
        #[async_trait::async_trait]
        impl Store for SimStore {
            $($simulated)*

            $(async fn $name(&self, $($arg: $type),*) -> Result<$result, StoreError> {
                Err(StoreError::Internal(concat!("not simulated: ", stringify!($name)).into()))
            })*
        }
    };
}

not_simulated! {
    fn sku_by_code(_shop: ShopId, _code: &str) -> Option<Sku>;
    fn skus(_shop: ShopId, _after: Option<SkuId>, _limit: usize) -> Vec<Sku>;
    fn products(_shop: ShopId, _after: Option<ProductId>, _limit: usize) -> Vec<Product>;
    fn create_product(_shop: ShopId, _product: NewProduct, _source: Uuid, _at: Timestamp) -> Product;
    fn import(_shop: ShopId, _products: Vec<NewProduct>, _source: Uuid, _at: Timestamp) -> ImportSummary;
    fn set_settings(_shop: ShopId, _settings: ShopSettings, _at: Timestamp) -> ();
    fn add_address(_shop: ShopId, _user: &UserId, _id: AddressId, _address: Address) -> ();
    fn address(_shop: ShopId, _user: &UserId, _id: AddressId) -> Option<Address>;
    fn addresses(_shop: ShopId, _user: &UserId) -> Vec<(AddressId, Address)>;
    fn delete_address(_shop: ShopId, _user: &UserId, _id: AddressId) -> bool;
    fn service_keys() -> Vec<ServiceKey>;
    fn add_service_key(_key: ServiceKey) -> ();
    fn revoke_service_keys(_label: &str, _made_before: Option<Timestamp>, _at: Timestamp) -> usize;
    fn forget_refusals(_before: Timestamp, _limit: usize) -> usize;
    fn check() -> CheckReport;

    simulated {
        async fn place(
            &self,
            shop: ShopId,
            orders: Arc<Vec<PlaceOrder>>,
            locking: Locking,
            _next: &NextBatch,
        ) -> Result<Vec<Reply>, StoreError> {
            let result = self.try_to_place(shop, orders, locking).await;
            if self.world().has(Bug::CallNeverEnds) && matches!(result, Err(End::Failed(_))) {
                return pending().await;
            }
            outcome(result).await
        }

        async fn cancel(
            &self,
            shop: ShopId,
            user: &UserId,
            id: OrderId,
            _at: Timestamp,
        ) -> Result<CancelOutcome, StoreError> {
            outcome(self.try_to_cancel(shop, user, id).await).await
        }

        async fn order(&self, shop: ShopId, user: &UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
            self.look(|tables| {
                let row = tables.orders.get(&(shop, id)).filter(|row| row.user == *user)?;
                Some((*row.order).clone())
            })
            .await
        }

        async fn orders(
            &self,
            shop: ShopId,
            user: &UserId,
            before: Option<OrderId>,
            limit: usize,
        ) -> Result<Vec<Order>, StoreError> {
            let older = |id: &OrderId| before.is_none_or(|before| *id < before);
            self.look(|tables| {
                let all = tables.orders.iter().rev();
                let theirs = all.filter(|((at, id), row)| *at == shop && row.user == *user && older(id));
                theirs.take(limit).map(|(_, row)| (*row.order).clone()).collect()
            })
            .await
        }

        async fn sku(&self, shop: ShopId, id: SkuId) -> Result<Option<Sku>, StoreError> {
            self.look(|tables| tables.skus.contains_key(&(shop, id)).then(|| sku(shop, id, tables))).await
        }

        async fn settings(&self, shop: ShopId) -> Result<Option<ShopSettings>, StoreError> {
            self.look(|tables| tables.shops.get(&shop).copied()).await
        }

        async fn cart(&self, shop: ShopId, user: &UserId) -> Result<Cart, StoreError> {
            self.look(|tables| {
                let lines = tables.cart_lines(shop, user).into_iter();
                priced(shop, tables, lines.map(|(sku, line)| (sku, line.count, line.selected)))
            })
            .await
        }

        async fn cart_snapshot(
            &self,
            shop: ShopId,
            user: &UserId,
            _: CartReading,
        ) -> Result<CartSnapshot, StoreError> {
            let seq = self.look(|tables| tables.cart_seq(shop, user)).await?;
            Ok(CartSnapshot::InStore { seq })
        }

        async fn cart_seqs(&self, shop: ShopId, users: &[UserId]) -> Result<Vec<u64>, StoreError> {
            self.look(|tables| users.iter().map(|user| tables.cart_seq(shop, user)).collect()).await
        }

        async fn cart_log(
            &self,
            shop: ShopId,
            user: &UserId,
            after: u64,
            limit: usize,
        ) -> Result<CartLog, StoreError> {
            // The count first: an order that is placed in between is only found too late.
            let seq = self.look(|tables| tables.cart_seq(shop, user)).await?;
            self.look(|tables| {
                let orders = tables.cart_orders_after(shop, user, after).take(limit);
                let lines = orders.flat_map(|(seq, order)| {
                    order.lines.iter().map(move |line| (seq, (line.sku_id, line.count)))
                });
                CartLog::new(seq, lines.collect())
            })
            .await
        }

        async fn price_cart(&self, shop: ShopId, lines: Vec<(SkuId, u32, bool)>) -> Result<Cart, StoreError> {
            self.look(|tables| priced(shop, tables, lines.into_iter())).await
        }

        async fn set_cart_line(
            &self,
            shop: ShopId,
            user: &UserId,
            sku: SkuId,
            line: CartLineSetting,
        ) -> Result<Option<Cart>, StoreError> {
            if self.sku(shop, sku).await?.is_none() {
                return Ok(None);
            }
            let to = CartLineSeen { count: line.count, selected: line.selected };
            outcome(self.try_to_edit(shop, user, |_| vec![(sku, to)]).await).await.map(Some)
        }

        async fn remove_cart_lines(
            &self,
            shop: ShopId,
            user: &UserId,
            sku: Option<SkuId>,
        ) -> Result<Cart, StoreError> {
            let out = CartLineSeen { count: 0, selected: false };
            let edits = |tables: &Tables| {
                let lines = tables.cart_lines(shop, user).into_keys();
                lines.filter(|id| sku.is_none_or(|sku| sku == *id)).map(|id| (id, out)).collect()
            };
            outcome(self.try_to_edit(shop, user, edits).await).await
        }

        async fn change_stock(
            &self,
            shop: ShopId,
            id: SkuId,
            change: StockChange,
            source: Uuid,
            _at: Timestamp,
        ) -> Result<Option<Sku>, StoreError> {
            outcome(self.try_to_change_stock(shop, id, change, source).await).await
        }

        async fn patch_sku(
            &self,
            shop: ShopId,
            id: SkuId,
            patch: SkuPatch,
        ) -> Result<Option<Sku>, StoreError> {
            outcome(self.try_to_patch(shop, id, patch).await).await
        }

        async fn ping(&self) -> Result<(), StoreError> {
            self.look(|_| ()).await
        }

        fn gathers(&self) -> bool {
            self.gathers
        }

        async fn close(&self) {
            self.life.end();
        }
    }
}
