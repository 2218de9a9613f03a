//! stateset-embedded under the load that Lastunit gets, in the process of its buyers: one run on a fresh database,
//! printed as JSON. `bench/compare` runs it.
//!
//!   lastunit-peer-stateset STORE BUYERS SKUS LINES STOCK ATTEMPTS WARM_UP_MS MEASURED_MS
//!
//! STORE is `sqlite:FILE` or `postgres://…`; ATTEMPTS of 0 measure orders in a closed loop, others sell a stock out.

use std::{env, fmt::Display, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use lastunit_bench::sale::{Answer, Books, Shopper, sell_out, steady};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::json;
use stateset_embedded::{
    Address, Commerce, CommerceError, CreateCustomer, CreateInventoryItem, CreateOrder, CreateOrderItem,
    CustomerId, OrderFilter, ProductId, StockPolicy,
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
    let commerce = Arc::new(open(store)?);
    tokio::task::block_in_place(|| fill(&commerce, workload))?;
    let shoppers = shoppers(&commerce, number(buyers)?, workload)?;
    let attempts: u64 = number(attempts)?;
    let run = if attempts > 0 {
        sell_out(shoppers, workload.stock, attempts).await?
    } else {
        let (warm_up, measured) = (number(warm_up_ms)?, number(measured_ms)?);
        steady(shoppers, Duration::from_millis(warm_up), Duration::from_millis(measured)).await?
    };
    let books = tokio::task::block_in_place(|| books(&commerce, workload))?;
    // As Cargo.toml has it.
    println!("{}", json!({ "run": run, "books": books, "versions": "1.40.0, of crates.io" }));
    Ok(())
}

fn number<T: FromStr<Err: Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| anyhow!("{text:?}: {error}"))
}

fn open(store: &str) -> Result<Commerce> {
    let builder = Commerce::builder().disable_metrics();
    let builder = match store.strip_prefix("sqlite:") {
        Some(file) => builder.sqlite(file),
        None => builder.postgres(store),
    };
    builder.build().with_context(|| format!("{store} can't be opened"))
}

fn code(sku: u64) -> String {
    format!("BENCH-{sku}")
}

fn fill(commerce: &Commerce, workload: Workload) -> Result<()> {
    for sku in 1..=workload.skus {
        commerce.inventory().create_item(CreateInventoryItem {
            sku: code(sku),
            name: format!("Benchmark SKU {sku}"),
            initial_quantity: Some(Decimal::from(workload.stock)),
            ..Default::default()
        })?;
    }
    Ok(())
}

/// A buyer: a customer of the shop.
struct Customer {
    commerce: Arc<Commerce>,
    id: CustomerId,
    workload: Workload,
    /// The SKUs of the order that isn't decided yet.
    order: Option<Vec<u64>>,
}

fn shoppers(commerce: &Arc<Commerce>, buyers: usize, workload: Workload) -> Result<Vec<Customer>> {
    let customer = |n: usize| {
        let input = CreateCustomer {
            email: format!("buyer-{n}@example.com"),
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
            ..Default::default()
        };
        let id = tokio::task::block_in_place(|| commerce.customers().create(input))?.id;
        Ok(Customer { commerce: commerce.clone(), id, workload, order: None })
    };
    (0..buyers).map(customer).collect()
}

impl Shopper for Customer {
    async fn order(&mut self) -> Result<Answer> {
        let skus = self.order.take().unwrap_or_else(|| pick(self.workload));
        let placed = tokio::task::block_in_place(|| self.commerce.orders().create(self.input(&skus)));
        match placed {
            Ok(_) => Ok(Answer::Placed),
            Err(CommerceError::InsufficientStock { .. }) => Ok(Answer::Refused),
            Err(error) => {
                self.order = Some(skus);
                Err(error.into())
            }
        }
    }
}

impl Customer {
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

/// Its orders, beside what is allocated to them.
fn books(commerce: &Commerce, workload: Workload) -> Result<Books> {
    let orders = commerce.orders().count(OrderFilter::default())?;
    let sold = i64::try_from(orders)? * i64::try_from(workload.lines)?;
    let mut allocated = Decimal::ZERO;
    for sku in 1..=workload.skus {
        let stock = commerce.inventory().get_stock(&code(sku))?.with_context(|| format!("no SKU {sku}"))?;
        ensure!(stock.total_on_hand == Decimal::from(workload.stock), "SKU {sku} has another stock");
        allocated += stock.total_allocated;
    }
    let there_was = i64::try_from(workload.stock * workload.skus)?;
    let allocated = allocated.to_i64().context("too much is allocated")?;
    Ok(Books { sold, oversold: (sold - there_was).max(0), lost: (sold - allocated).abs() })
}
