//! stateset-embedded under the load that Lastunit gets, in the process of its buyers: one run on a fresh database,
//! printed as JSON. `bench/compare` runs it.
//!
//!   lastunit-peer-stateset STORE BUYERS SKUS LINES STOCK ATTEMPTS WARM_UP_MS MEASURED_MS
//!
//! STORE is `sqlite:FILE` or `postgres://…`; ATTEMPTS of 0 measure orders in a closed loop, others sell a stock out.

use std::{collections::HashMap, env, fmt::Display, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use lastunit_bench::sale::{Answer, Books, Shopper, sell_out, steady};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::json;
use stateset_embedded::{
    Address, AsyncCommerce, Commerce, CommerceError, CreateCustomer, CreateInventoryItem, CreateOrder,
    CreateOrderItem, Customer, CustomerId, InventoryItem, Order, OrderFilter, OrderStatus, ProductId,
    StockLevel, StockPolicy,
};

/// What every buyer orders, and what there is.
#[derive(Debug, Clone, Copy)]
struct Workload {
    skus: u64,
    lines: usize,
    stock: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [store, buyers, skus, lines, stock, attempts, warm_up_ms, measured_ms] = args.as_slice() else {
        anyhow::bail!("say STORE BUYERS SKUS LINES STOCK ATTEMPTS WARM_UP_MS MEASURED_MS");
    };
    let workload = Workload { skus: number(skus)?, lines: number(lines)?, stock: number(stock)? };
    let shop = Shop::open(store).await.with_context(|| format!("{store} can't be opened"))?;
    fill(&shop, workload).await?;
    let shoppers = shoppers(&shop, number(buyers)?, workload).await?;
    let attempts: u64 = number(attempts)?;
    let run = if attempts > 0 {
        sell_out(shoppers, workload.stock, attempts).await?
    } else {
        let (warm_up, measured) = (number(warm_up_ms)?, number(measured_ms)?);
        steady(shoppers, Duration::from_millis(warm_up), Duration::from_millis(measured)).await?
    };
    let books = books(&shop, workload).await?;
    // As Cargo.toml has it.
    println!("{}", json!({ "run": run, "books": books, "versions": "1.40.0, of crates.io" }));
    Ok(())
}

fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| anyhow!("{text:?}: {error}"))
}

/// The library, by the interface that it has for each database: on PostgreSQL the blocking one refuses to be called
/// where there is an async runtime.
#[derive(Clone)]
enum Shop {
    Sqlite(Arc<Commerce>),
    Postgres(Arc<AsyncCommerce>),
}

type Said<T> = std::result::Result<T, CommerceError>;

impl Shop {
    async fn open(store: &str) -> Said<Self> {
        match store.strip_prefix("sqlite:") {
            Some(file) => {
                let commerce = Commerce::builder().disable_metrics().sqlite(file).build()?;
                Ok(Self::Sqlite(Arc::new(commerce)))
            }
            None => {
                let commerce = AsyncCommerce::connect(store).await?;
                commerce.metrics().set_enabled(false);
                Ok(Self::Postgres(Arc::new(commerce)))
            }
        }
    }

    async fn create_item(&self, input: CreateInventoryItem) -> Said<InventoryItem> {
        match self {
            Self::Sqlite(shop) => tokio::task::block_in_place(|| shop.inventory().create_item(input)),
            Self::Postgres(shop) => shop.inventory().create_item(input).await,
        }
    }

    async fn create_customer(&self, input: CreateCustomer) -> Said<Customer> {
        match self {
            Self::Sqlite(shop) => tokio::task::block_in_place(|| shop.customers().create(input)),
            Self::Postgres(shop) => shop.customers().create(input).await,
        }
    }

    async fn create_order(&self, input: CreateOrder) -> Said<Order> {
        match self {
            Self::Sqlite(shop) => tokio::task::block_in_place(|| shop.orders().create(input)),
            Self::Postgres(shop) => shop.orders().create(input).await,
        }
    }

    async fn orders(&self, filter: OrderFilter) -> Said<Vec<Order>> {
        match self {
            Self::Sqlite(shop) => tokio::task::block_in_place(|| shop.orders().list(filter)),
            Self::Postgres(shop) => shop.orders().list(filter).await,
        }
    }

    async fn stock(&self, sku: &str) -> Said<Option<StockLevel>> {
        match self {
            Self::Sqlite(shop) => tokio::task::block_in_place(|| shop.inventory().get_stock(sku)),
            Self::Postgres(shop) => shop.inventory().get_stock(sku).await,
        }
    }
}

fn code(sku: u64) -> String {
    format!("BENCH-{sku}")
}

async fn fill(shop: &Shop, workload: Workload) -> Result<()> {
    for sku in 1..=workload.skus {
        let item = CreateInventoryItem {
            sku: code(sku),
            name: format!("Benchmark SKU {sku}"),
            initial_quantity: Some(Decimal::from(workload.stock)),
            ..Default::default()
        };
        shop.create_item(item).await?;
    }
    Ok(())
}

/// A buyer: a customer of the shop.
struct Buyer {
    shop: Shop,
    id: CustomerId,
    workload: Workload,
    /// The SKUs of the order that isn't decided yet.
    order: Option<Vec<u64>>,
}

async fn shoppers(shop: &Shop, buyers: usize, workload: Workload) -> Result<Vec<Buyer>> {
    let mut all = Vec::with_capacity(buyers);
    for n in 0..buyers {
        let input = CreateCustomer {
            email: format!("buyer-{n}@example.com"),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
            ..Default::default()
        };
        let id = shop.create_customer(input).await?.id;
        all.push(Buyer { shop: shop.clone(), id, workload, order: None });
    }
    Ok(all)
}

impl Shopper for Buyer {
    async fn order(&mut self) -> Result<Answer> {
        let skus = self.order.take().unwrap_or_else(|| pick(self.workload));
        match self.shop.create_order(self.input(&skus)).await {
            Ok(_) => Ok(Answer::Placed),
            Err(CommerceError::InsufficientStock { .. }) => Ok(Answer::Refused),
            Err(error) => {
                self.order = Some(skus);
                Err(error.into())
            }
        }
    }
}

impl Buyer {
    fn input(&self, skus: &[u64]) -> CreateOrder {
        let item = |&sku: &u64| CreateOrderItem {
            product_id: ProductId::new(),
            sku: code(sku),
            name: format!("Benchmark SKU {sku}"),
            quantity: 1,
            unit_price: Decimal::new(1000, 2),
            ..Default::default()
        };
        CreateOrder {
            customer_id: self.id,
            items: skus.iter().map(item).collect(),
            shipping_address: Some(Address {
                line1: "1 High Street".into(),
                line2: None,
                city: "Leeds".into(),
                state: None,
                postal_code: "LS1 1AA".into(),
                country: "GB".into(),
            }),
            shipping_amount: Some(Decimal::new(1000, 2)),
            // The default takes every order and owes what isn't there.
            stock_policy: StockPolicy::RejectIfInsufficient,
            ..Default::default()
        }
    }
}

/// The SKUs of one order, taken at random: from 1, each once.
fn pick(workload: Workload) -> Vec<u64> {
    let mut skus: Vec<u64> = Vec::with_capacity(workload.lines);
    while skus.len() < workload.lines {
        let sku = rand::random_range(1..=workload.skus);
        if !skus.contains(&sku) {
            skus.push(sku);
        }
    }
    skus
}

/// As many orders as the library lists at once.
const PAGE: u32 = 1000;

/// All its orders, line by line, beside the stock.
async fn books(shop: &Shop, workload: Workload) -> Result<Books> {
    let mut in_orders: HashMap<String, i64> = HashMap::new();
    let mut offset = 0;
    loop {
        let page = OrderFilter { limit: Some(PAGE), offset: Some(offset), ..Default::default() };
        let orders = shop.orders(page).await?;
        for order in orders.iter().filter(|order| order.status != OrderStatus::Cancelled) {
            for item in &order.items {
                *in_orders.entry(item.sku.clone()).or_default() += i64::from(item.quantity);
            }
        }
        if orders.is_empty() {
            break;
        }
        offset += u32::try_from(orders.len())?;
    }
    let there_was = i64::try_from(workload.stock)?;
    let mut books = Books::default();
    for sku in 1..=workload.skus {
        let code = code(sku);
        let stock = shop.stock(&code).await?.with_context(|| format!("no SKU {code}"))?;
        let left = stock.total_available.to_i64().context("too much is left")?;
        let sold = in_orders.remove(&code).unwrap_or(0);
        books.sold += sold;
        books.oversold += (sold - there_was).max(0);
        books.lost += (there_was - left - sold).abs();
    }
    ensure!(in_orders.is_empty(), "orders of unknown SKUs: {in_orders:?}");
    Ok(books)
}
