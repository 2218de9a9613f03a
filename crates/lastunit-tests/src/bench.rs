//! What every property stands on: a fresh store, an engine, and short ways to say what a buyer does.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use lastunit::*;
use tokio::{sync::Barrier, task::JoinSet};
use uuid::Uuid;

use crate::BoxFuture;

/// An empty database, and what has to live as long as it.
pub struct Fresh {
    /// A store for each of the servers that share the database.
    pub stores: Vec<Arc<dyn Store>>,
    /// A temporary folder, say.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// Every invariant that a store checks, whatever its database.
const INVARIANTS: [&str; 10] = [
    "counters_not_negative",
    "stock_matches_ledger",
    "sku_sales_match_orders",
    "product_sales_match_skus",
    "order_totals_match_lines",
    "sold_movements_match_lines",
    "restocked_once_and_only_if_canceled",
    "orders_have_one_key",
    "orders_have_their_events",
    "no_orphans",
];

/// Servers on a fresh database with one open shop: GBP, freight 1000, never free. Each call goes to another of them.
pub struct Bench {
    /// The first server's store.
    pub store: Arc<dyn Store>,
    /// The first server's engine; it places by [`Bench::strategy`].
    pub engine: Engine,
    /// The strategy under test.
    pub strategy: Strategy,
    /// Time and ids; the time of each call is later than that of the one before.
    pub source: Arc<TickingSource>,
    servers: Vec<(Arc<dyn Store>, Engine)>,
    turn: AtomicUsize,
    names: AtomicU64,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Bench {
    /// Opens shop 1 and starts an engine on each store.
    pub async fn new(fresh: Fresh, strategy: Strategy) -> Self {
        let source = Arc::new(TickingSource::default());
        let start = |store: Arc<dyn Store>| (store.clone(), start(store, strategy, &source));
        let servers: Vec<_> = fresh.stores.into_iter().map(start).collect();
        let (store, engine) = servers.first().cloned().expect("a store");
        let (turn, names) = (AtomicUsize::new(0), AtomicU64::new(0));
        let bench = Self { store, engine, strategy, source, servers, turn, names, _keep: fresh.keep };
        bench.open_shop(ShopId::FIRST, 1000, None).await;
        bench
    }

    /// The store and the engine of the server whose turn it is.
    pub fn next_server(&self) -> (Arc<dyn Store>, Engine) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.servers[turn % self.servers.len()].clone()
    }

    /// The store of the server whose turn it is.
    pub fn next_store(&self) -> Arc<dyn Store> {
        self.next_server().0
    }

    /// The engine of the server whose turn it is.
    pub fn next_engine(&self) -> Engine {
        self.next_server().1
    }

    /// Opens a shop in GBP, or changes its freight.
    pub async fn open_shop(&self, shop: ShopId, freight: i64, free_from: Option<i64>) {
        let currency = Currency::new("GBP").expect("a currency");
        let settings = ShopSettings { currency, freight: amount(freight), free_from: free_from.map(amount) };
        self.next_store().set_settings(shop, settings, self.now()).await.expect("the settings");
    }

    /// A config for engines of the strategy under test.
    pub fn config(&self) -> Config {
        Config { strategy: self.strategy, source: self.source.clone(), ..Config::default() }
    }

    /// A time later than all before.
    pub fn now(&self) -> Timestamp {
        self.source.now()
    }

    /// A new id.
    pub fn uuid(&self) -> Uuid {
        self.source.uuid(self.now())
    }

    /// A text that no other call gave.
    pub fn name(&self) -> String {
        format!("n{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A product with a SKU for each of these stocks, all at this price.
    pub async fn product(&self, shop: ShopId, price: i64, stocks: &[i64]) -> Product {
        let skus = stocks.iter().map(|&stock| NewSku {
            code: self.name(),
            name: "A SKU".into(),
            price: amount(price),
            stock,
            on_sale: true,
        });
        let new = NewProduct {
            handle: Some(self.name()),
            name: "A product".into(),
            description: String::new(),
            skus: skus.collect(),
        };
        let created = self.next_store().create_product(shop, new, self.uuid(), self.now()).await;
        created.expect("a new product")
    }

    /// A SKU of its own product in shop 1.
    pub async fn sku(&self, price: i64, stock: i64) -> SkuId {
        self.product(ShopId::FIRST, price, &[stock]).await.skus[0].id
    }

    /// SKUs of one product in shop 1.
    pub async fn skus(&self, price: i64, stocks: &[i64]) -> Vec<SkuId> {
        self.product(ShopId::FIRST, price, stocks).await.skus.iter().map(|sku| sku.id).collect()
    }

    /// The SKU as it is now.
    pub async fn read_sku(&self, sku: SkuId) -> Sku {
        self.next_store().sku(ShopId::FIRST, sku).await.expect("a read").expect("the SKU")
    }

    /// Units in stock now.
    pub async fn stock(&self, sku: SkuId) -> i64 {
        self.read_sku(sku).await.stock
    }

    /// Changes stock by hand.
    pub async fn change_stock(
        &self,
        sku: SkuId,
        kind: StockChangeKind,
        delta: i64,
    ) -> Result<Option<Sku>, StoreError> {
        let change = StockChange { delta, kind, reason: "a test".into() };
        self.next_store().change_stock(ShopId::FIRST, sku, change, self.uuid(), self.now()).await
    }

    /// Changes a SKU.
    pub async fn patch(&self, sku: SkuId, patch: SkuPatch) -> Sku {
        let patched = self.next_store().patch_sku(ShopId::FIRST, sku, patch).await;
        patched.expect("a patch").expect("the SKU")
    }

    /// Puts a line into the cart, or changes it.
    pub async fn put(&self, user: &str, sku: SkuId, count: u32, selected: bool) -> Cart {
        let line = CartLineSetting { count, selected };
        let cart = self.next_store().set_cart_line(ShopId::FIRST, &buyer(user), sku, line).await;
        cart.expect("a cart").expect("the SKU")
    }

    /// The cart's lines: SKU, count, selected.
    pub async fn cart(&self, user: &str) -> Vec<(SkuId, u32, bool)> {
        let cart = self.next_store().cart(ShopId::FIRST, &buyer(user)).await.expect("a cart");
        cart.lines.iter().map(|line| (line.sku_id, line.count, line.selected)).collect()
    }

    /// How many orders were placed from the cart.
    pub async fn cart_seq(&self, user: &str) -> u64 {
        self.cart_snapshot(user).await.seq().expect("a cart that can be read")
    }

    /// The cart as an order of it would find it, caught up.
    pub async fn cart_snapshot(&self, user: &str) -> CartSnapshot {
        let store = self.next_store();
        store.cart_snapshot(ShopId::FIRST, &buyer(user), CartReading::CaughtUp).await.expect("a cart")
    }

    /// Saves an address.
    pub async fn save_address(&self, user: &str, address: Address) -> AddressId {
        let id = AddressId(self.uuid());
        self.next_store()
            .add_address(ShopId::FIRST, &buyer(user), id, address)
            .await
            .expect("a saved address");
        id
    }

    /// All orders of a buyer, newest first.
    pub async fn orders(&self, user: &str) -> Vec<Order> {
        self.next_store().orders(ShopId::FIRST, &buyer(user), None, 1000).await.expect("the orders")
    }

    /// The start of a request, under a key of its own: an order of the buyer's cart in shop 1.
    pub fn ask(&self, user: &str) -> Ask {
        let key = IdempotencyKey::new(self.name()).expect("a key");
        Ask(PlaceRequest {
            shop: ShopId::FIRST,
            user: buyer(user),
            operation: Operation::PlaceOrder,
            key,
            basket: Basket::Cart,
            ship_to: ShipTo::Given(Address::example()),
            pay_method: PayMethod::Online,
            expected_total: None,
        })
    }

    /// A request as the engine passes it on, with the cart as it was seen.
    pub fn prepared(&self, ask: &Ask, cart: CartSnapshot) -> PlaceOrder {
        let placed_at = self.now();
        PlaceOrder {
            request: ask.0.clone().into(),
            fingerprint: ask.0.fingerprint(),
            order_id: OrderId(self.source.uuid(placed_at)),
            placed_at,
            cart,
        }
    }

    /// Places an order with the engine under test.
    pub async fn place(&self, ask: &Ask) -> Reply {
        let engine = self.next_engine();
        surely(|| engine.place(ask.0.clone())).await
    }

    /// Places an order that has to be placed, and placed now.
    pub async fn buy(&self, ask: &Ask) -> Order {
        let reply = self.place(ask).await;
        assert!(!reply.replayed, "a new key was replayed: {reply:?}");
        placed(&reply).clone()
    }

    /// Places an order that has to be refused.
    pub async fn refusal(&self, ask: &Ask) -> Refusal {
        match self.place(ask).await.outcome {
            Outcome::Refused(refusal) => refusal,
            other => panic!("expected a refusal, not {other:?}"),
        }
    }

    /// Places an order that has to be rejected.
    pub async fn rejection(&self, ask: &Ask) -> Rejection {
        match self.place(ask).await {
            Reply { outcome: Outcome::Rejected(rejection), replayed: false } => rejection,
            other => panic!("expected a rejection, not {other:?}"),
        }
    }

    /// Cancels an order.
    pub async fn cancel(&self, user: &str, id: OrderId) -> CancelOutcome {
        let (engine, user) = (self.next_engine(), buyer(user));
        surely(|| engine.cancel(ShopId::FIRST, &user, id)).await
    }

    /// Places all of these at once, each from a task of its own; the replies are in the same order.
    pub async fn place_at_once(&self, asks: Vec<Ask>) -> Vec<Reply> {
        let place = |Ask(request)| {
            let engine = self.next_engine();
            async move { surely(|| engine.place(request.clone())).await }
        };
        all_at_once(asks.into_iter().map(place)).await
    }

    /// As [`Bench::place_at_once`], with ids, times and carts fixed before.
    pub async fn place_prepared_at_once(&self, orders: Vec<PlaceOrder>) -> Vec<Reply> {
        let place = |order: PlaceOrder| {
            let engine = self.next_engine();
            async move { surely(|| engine.place_prepared(order.clone())).await }
        };
        all_at_once(orders.into_iter().map(place)).await
    }

    /// Stock and sales of a SKU, and its product's sales, are these.
    pub async fn assert_counters(&self, sku: SkuId, stock: i64, sales: i64) {
        let now = self.read_sku(sku).await;
        assert_eq!((now.stock, now.sales), (stock, sales), "stock and sales of SKU {sku}");
        let products = self.next_store().products(ShopId::FIRST, None, 1000).await.expect("the products");
        let product = products.into_iter().find(|product| product.id == now.product_id);
        let product = product.expect("the SKU's product");
        let of_skus: i64 = product.skus.iter().map(|sku| sku.sales).sum();
        assert_eq!(product.sales, of_skus, "sales of the product of SKU {sku}");
    }

    /// Runs the store's own check: every invariant was looked at, and none is broken.
    pub async fn assert_holds(&self) {
        let report = self.store.check().await.expect("a check");
        for name in INVARIANTS {
            assert!(report.checked.contains(&name), "{name} was not checked: {:?}", report.checked);
        }
        let broken: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(broken.is_empty(), "broken invariants:\n{}", broken.join("\n"));
    }
}

/// An engine of this strategy; the naive one is allowed.
fn start(store: Arc<dyn Store>, strategy: Strategy, source: &Arc<TickingSource>) -> Engine {
    let allow_overselling = strategy == Strategy::Naive;
    let config = Config { strategy, allow_overselling, source: source.clone(), ..Config::default() };
    Engine::start(store, config).expect("an allowed strategy")
}

/// Does what a client does: sends the same request again while it is told to come back later.
pub(crate) async fn surely<T, E, F>(mut call: impl FnMut() -> F) -> T
where
    E: Later + std::fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    for _ in 0..10 {
        match call().await {
            Ok(answer) => return answer,
            Err(later) if later.is_later() => {}
            Err(other) => panic!("no answer: {other:?}"),
        }
    }
    panic!("no answer in 10 calls");
}

/// An error that may say: later.
pub(crate) trait Later {
    fn is_later(&self) -> bool;
}

impl Later for PlaceError {
    fn is_later(&self) -> bool {
        *self == Self::Unavailable
    }
}

impl Later for StoreError {
    fn is_later(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A request under construction.
#[derive(Debug, Clone)]
pub struct Ask(pub PlaceRequest);

impl Ask {
    /// Asks for these lines, instead of the cart.
    pub fn lines(mut self, lines: &[(SkuId, u32)]) -> Self {
        self.0.basket = Basket::Lines(Demand::new(lines.iter().copied()).expect("a valid demand"));
        self
    }

    /// Asks for one line, instead of the cart.
    pub fn line(self, sku: SkuId, count: u32) -> Self {
        self.lines(&[(sku, count)])
    }

    /// Under this key.
    pub fn key(mut self, key: &str) -> Self {
        self.0.key = IdempotencyKey::new(key).expect("a valid key");
        self
    }

    /// In another shop.
    pub fn shop(mut self, shop: ShopId) -> Self {
        self.0.shop = shop;
        self
    }

    /// By another call.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.0.operation = operation;
        self
    }

    /// To a saved address.
    pub fn to(mut self, address: AddressId) -> Self {
        self.0.ship_to = ShipTo::Saved(address);
        self
    }

    /// Only at this total.
    pub fn total(mut self, total: i64) -> Self {
        self.0.expected_total = Some(amount(total));
        self
    }

    /// Paid this way.
    pub fn pay(mut self, pay_method: PayMethod) -> Self {
        self.0.pay_method = pay_method;
        self
    }
}

/// The system's ids, with a clock of its own that never shows the same time twice.
pub struct TickingSource(AtomicI64);

impl Default for TickingSource {
    fn default() -> Self {
        Self(AtomicI64::new(1_700_000_000_000))
    }
}

impl Source for TickingSource {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn uuid(&self, at: Timestamp) -> Uuid {
        SystemSource.uuid(at)
    }

    fn jitter(&self, limit: Duration) -> Duration {
        SystemSource.jitter(limit)
    }
}

/// Runs all of these in tasks of their own that begin together; the results are in the same order.
pub async fn all_at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let start = Arc::new(Barrier::new(tasks.len().max(1)));
    let mut running = JoinSet::new();
    for (at, task) in tasks.into_iter().enumerate() {
        let start = start.clone();
        running.spawn(async move {
            start.wait().await;
            (at, task.await)
        });
    }
    let mut results = running.join_all().await;
    results.sort_by_key(|&(at, _)| at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Begins a call and leaves it waiting: it is polled once, in the caller's order.
pub async fn accept<'a, T: std::fmt::Debug>(call: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    let mut call: BoxFuture<'a, T> = Box::pin(call);
    let early = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    assert!(early.is_pending(), "answered at once: {early:?}");
    call
}

/// The order of a reply that has to have one.
pub fn placed(reply: &Reply) -> &Order {
    match &reply.outcome {
        Outcome::Placed(order) => order,
        other => panic!("expected an order, not {other:?}"),
    }
}

/// The line of an order that has to have one line.
pub fn only_line(order: &Order) -> &OrderLine {
    assert_eq!(order.lines.len(), 1, "lines of {order:?}");
    &order.lines[0]
}

/// A buyer by name.
pub fn buyer(name: &str) -> UserId {
    UserId::new(name).expect("a valid user")
}

/// An amount in minor units.
pub fn amount(minor_units: i64) -> Amount {
    Amount::new(minor_units).expect("a valid amount")
}
