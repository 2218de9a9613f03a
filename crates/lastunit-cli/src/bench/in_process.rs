//! Orders placed through the library, without a server.

use std::{num::NonZeroUsize, time::Duration};

use anyhow::{Result, bail};
use lastunit::{
    Address, Amount, Config, Currency, Demand, Engine, IdempotencyKey, NewProduct, NewSku, Outcome,
    PayMethod, PlaceRequest, ShopId, ShopSettings, SkuId, Source, Store, Strategy, SystemSource, UserId,
};
use lastunit_bench::{Buyer, Measured, closed_loop};

use super::place::Place;

/// What every buyer orders.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// SKUs there are.
    pub skus: i64,
    /// Lines of an order, each of another SKU, taken at random.
    pub lines: usize,
}

/// A buyer of the benchmark, in process.
pub struct Caller {
    engine: Engine,
    user: UserId,
    workload: Workload,
}

impl Buyer for Caller {
    async fn call(&mut self) -> Result<()> {
        let key = IdempotencyKey::new(format!("{:016x}", rand::random::<u64>()))?;
        let (user, lines) = (self.user.clone(), demand(self.workload)?);
        let request = PlaceRequest::of_lines(user, key, lines, Address::example(), PayMethod::CashOnDelivery);
        match self.engine.place(request).await?.outcome {
            Outcome::Placed(_) => Ok(()),
            other => bail!("an order of the benchmark wasn't placed: {other:?}"),
        }
    }
}

/// One unit each of so many different SKUs.
fn demand(workload: Workload) -> Result<Demand> {
    Ok(Demand::new(distinct_skus(workload)?.into_iter().map(|sku| (sku, 1)))?)
}

/// So many different SKUs, taken at random.
pub fn distinct_skus(workload: Workload) -> Result<Vec<SkuId>> {
    let mut skus: Vec<SkuId> = Vec::with_capacity(workload.lines);
    while skus.len() < workload.lines {
        let sku = SkuId::new(rand::random_range(1..=workload.skus))?;
        if !skus.contains(&sku) {
            skus.push(sku);
        }
    }
    Ok(skus)
}

/// Opens shop 1 and fills it with SKUs of plenty of stock, ten a product.
pub async fn fill(store: &dyn Store, skus: i64) -> Result<()> {
    let now = SystemSource.now();
    let settings =
        ShopSettings { currency: Currency::new("GBP")?, freight: Amount::new(450)?, free_from: None };
    store.set_settings(ShopId::FIRST, settings, now).await?;
    let sku = |id: i64| -> Result<NewSku> {
        let (code, name) = (format!("BENCH-{id}"), format!("Benchmark SKU {id}"));
        Ok(NewSku { code, name, price: Amount::new(1000)?, stock: 1_000_000_000, on_sale: true })
    };
    let ids: Vec<i64> = (1..=skus).collect();
    let products = ids.chunks(10).map(|ids| {
        let name = format!("Benchmark product {}", ids[0]);
        let skus = ids.iter().map(|&id| sku(id)).collect::<Result<_>>()?;
        Ok(NewProduct { handle: None, name, description: String::new(), skus })
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    store.import(ShopId::FIRST, products, SystemSource.uuid(now), now).await?;
    Ok(())
}

/// So many buyers.
pub fn callers(engine: &Engine, buyers: usize, workload: Workload) -> Result<Vec<Caller>> {
    (0..buyers)
        .map(|n| Ok(Caller { engine: engine.clone(), user: UserId::new(format!("buyer-{n}"))?, workload }))
        .collect()
}

/// Runs one load on a fresh database, over at most so many connections, and checks every invariant after it.
pub async fn run(
    place: &Place,
    strategy: Strategy,
    connections: Option<NonZeroUsize>,
    buyers: usize,
    workload: Workload,
    seconds: f64,
) -> Result<Measured> {
    let fresh =
        place.fresh(|config| config.max_connections = connections.unwrap_or(config.max_connections)).await?;
    let store = fresh.open().await?;
    fill(store.as_ref(), workload.skus).await?;
    let engine = Engine::start(store.clone(), Config { strategy, ..Config::default() })?;
    let callers = callers(&engine, buyers, workload)?;
    let measured =
        closed_loop(callers, Duration::from_secs_f64(seconds / 5.0), Duration::from_secs_f64(seconds))
            .await?;
    engine.drain().await;
    store.close().await;
    fresh.check_and_drop(measured.answered).await?;
    Ok(measured)
}
