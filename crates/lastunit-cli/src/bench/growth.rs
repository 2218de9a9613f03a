//! Does an order cost more when there are many already, or many SKUs? One database that grows, measured on the way.

use anyhow::Result;
use lastunit::Strategy;
use lastunit_bench::{Measured, Popularity};

use super::{
    fill::PLENTY,
    in_process::InProcess,
    load::{Load, Workload, all_placed},
    place::Place,
};

/// A measurement.
pub struct Point {
    pub orders: u64,
    pub skus: i64,
    pub measured: Measured,
}

/// Orders of one unit each, on one SKU, measured at 1,000 orders and at each power of ten up to `most`.
pub async fn of_orders(place: &Place, buyers: usize, seconds: f64, most: u64) -> Result<Vec<Point>> {
    let mut shop = InProcess::open(place, Strategy::Batched, None, Workload::HOT, PLENTY).await?;
    let mut points = Vec::new();
    let mut size = 1000;
    while size <= most {
        shop.grow_to(size).await?;
        let orders = shop.placed();
        let measured = all_placed(shop.run(buyers, Load::Closed, seconds).await?)?;
        points.push(Point { orders, skus: 1, measured });
        size *= 10;
    }
    shop.close().await?;
    Ok(points)
}

/// Orders of one unit each, of one of so many SKUs taken at random, each number on a database of its own.
pub async fn of_skus(place: &Place, buyers: usize, seconds: f64, numbers: &[i64]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for &skus in numbers {
        eprintln!("{skus} SKUs");
        let workload = Workload { skus, lines: 1, popularity: Popularity::Uniform };
        let mut shop = InProcess::open(place, Strategy::Batched, None, workload, PLENTY).await?;
        let measured = all_placed(shop.run(buyers, Load::Closed, seconds).await?)?;
        eprintln!("{skus} SKUs: checking every invariant");
        shop.close().await?;
        points.push(Point { orders: 0, skus, measured });
    }
    Ok(points)
}
