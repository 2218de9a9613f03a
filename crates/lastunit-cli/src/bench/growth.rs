//! Does an order cost more when there are many already, or many SKUs? One database that grows, measured on the way.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use lastunit::{Config, Engine, Store, Strategy};
use lastunit_bench::{Buyer, Measured, closed_loop};

use super::{
    in_process::{Caller, Workload, callers, fill},
    place::{Fresh, Place},
};
use crate::store_url::StoreUrl;

/// Between two measurements, orders are added by so many buyers: the largest batches are the fastest.
const FILLING_BUYERS: usize = 512;

/// A buyer whose answered calls are counted, measured or not.
struct Counted {
    caller: Caller,
    answered: Arc<AtomicU64>,
}

impl Buyer for Counted {
    async fn call(&mut self) -> Result<()> {
        self.caller.call().await?;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A measurement.
pub struct Point {
    pub orders: u64,
    pub skus: i64,
    pub measured: Measured,
}

/// Orders of one unit each, on one SKU, measured at 1,000 orders and at each power of ten up to `most`.
pub async fn of_orders(place: &Place, buyers: usize, seconds: f64, most: u64) -> Result<Vec<Point>> {
    let fresh = place.fresh(|_| {}).await?;
    let store = fresh.open().await?;
    fill(store.as_ref(), 1).await?;
    let engine = engine(&store)?;
    let workload = Workload { skus: 1, lines: 1 };
    let answered = Arc::new(AtomicU64::new(0));
    let load = async |buyers: usize, warm_up: f64, seconds: f64| {
        let count = |caller| Counted { caller, answered: answered.clone() };
        let buyers = callers(&engine, buyers, workload)?.into_iter().map(count).collect();
        closed_loop(buyers, Duration::from_secs_f64(warm_up), Duration::from_secs_f64(seconds)).await
    };
    let mut points = Vec::new();
    let mut size = 1000;
    while size <= most {
        while answered.load(Ordering::Relaxed) < size {
            let left = (size - answered.load(Ordering::Relaxed)) as f64;
            // A guess at the time it takes; the loop corrects it.
            load(FILLING_BUYERS, 0.0, (left / 40_000.0).clamp(0.02, 10.0)).await?;
            eprintln!("{} of {size} orders", answered.load(Ordering::Relaxed));
        }
        let orders = answered.load(Ordering::Relaxed);
        let measured = load(buyers, seconds / 5.0, seconds).await?;
        points.push(Point { orders, skus: 1, measured });
        size *= 10;
    }
    engine.drain().await;
    store.close().await;
    fresh.check_and_drop(answered.load(Ordering::Relaxed)).await?;
    Ok(points)
}

/// Orders of one unit each, of one of so many SKUs taken at random, each number on a database of its own.
pub async fn of_skus(place: &Place, buyers: usize, seconds: f64, numbers: &[i64]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for &skus in numbers {
        eprintln!("{skus} SKUs");
        let fresh = place.fresh(|_| {}).await?;
        let store = fresh.open().await?;
        fill_many(&fresh, store.as_ref(), skus).await?;
        let engine = engine(&store)?;
        let buyers = callers(&engine, buyers, Workload { skus, lines: 1 })?;
        let measured =
            closed_loop(buyers, Duration::from_secs_f64(seconds / 5.0), Duration::from_secs_f64(seconds))
                .await?;
        engine.drain().await;
        store.close().await;
        fresh.check_and_drop(measured.answered).await?;
        points.push(Point { orders: 0, skus, measured });
    }
    Ok(points)
}

fn engine(store: &Arc<dyn Store>) -> Result<Engine> {
    let max_waiting = NonZeroUsize::new(4096).expect("not zero");
    Ok(Engine::start(
        store.clone(),
        Config { strategy: Strategy::Batched, max_waiting, ..Config::default() },
    )?)
}

/// As `fill`, by the server's own means where there is one: a million imports would take longer than all the rest.
async fn fill_many(fresh: &Fresh, store: &dyn Store, skus: i64) -> Result<()> {
    // PostgreSQL believes that the table of products is as small as it was, and reads all of it for each SKU.
    let (numbers, analyze): (fn(i64) -> String, _) = match &fresh.url {
        StoreUrl::Sqlite(_) => return fill(store, skus).await,
        StoreUrl::Postgres(..) => (|most| format!("generate_series(1, {most}) AS n(seq)"), "ANALYZE product"),
        StoreUrl::MySql(..) => (|most| format!("seq_1_to_{most} AS n"), "ANALYZE TABLE product"),
    };
    fill(store, 10).await?;
    let products = skus / 10;
    let statements = [
        format!(
            "INSERT INTO product (shop_id, id, handle, name, description, created_at)
             SELECT 1, seq, CONCAT('bench-', seq), 'A product', '', 0 FROM {} WHERE seq > 1",
            numbers(products)
        ),
        analyze.to_owned(),
        format!(
            "INSERT INTO sku (shop_id, id, product_id, code, name, price, stock, on_sale, created_at)
             SELECT 1, seq, 1 + FLOOR((seq - 1) / 10), CONCAT('B-', seq), 'A SKU', 1000, 1000000000, TRUE, 0
             FROM {} WHERE seq > 10",
            numbers(skus)
        ),
        // One source of all: the change that received them.
        "INSERT INTO stock_movement (shop_id, source_id, sku_id, kind, delta, reason, created_at)
         SELECT 1, m.source_id, s.id, 'received', s.stock, 'initial stock', 0
         FROM sku s, (SELECT source_id FROM stock_movement WHERE sku_id = 1) m WHERE s.id > 10"
            .to_owned(),
    ];
    for statement in statements {
        fresh.execute(&statement).await?;
    }
    Ok(())
}
