//! What bounds the results, measured in the same run: the disk, the database without Lastunit, HTTP without orders.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use lastunit::{
    Address, Amount, Currency, Order, OrderId, OrderLine, OrderStatus, PayMethod, SkuId, Source, SystemSource,
};

use super::{bulk, load::Workload, machine::fsyncs_per_second, place::Place, row::median};

/// The name of the constant endpoint, which is a row of its own.
pub const CONSTANT: &str = "HTTP: a constant endpoint";
/// The name of the disk's limit.
pub const FSYNCS: &str = "fsyncs of 4 KiB";

/// A limit, and how often it was measured.
pub struct Limit {
    pub name: String,
    /// What is counted.
    pub unit: &'static str,
    pub runs: Vec<f64>,
}

impl Limit {
    /// The median.
    pub fn per_second(&self) -> f64 {
        median(self.runs.clone())
    }
}

/// All limits of a run but the constant endpoint.
pub struct Limits {
    place: Place,
    buyers: usize,
    seconds: f64,
    workloads: Vec<Workload>,
    pub measured: Vec<Limit>,
}

impl Limits {
    /// For orders of these workloads: those with as many lines are bound alike.
    pub fn new(place: Place, buyers: usize, seconds: f64, of: impl Iterator<Item = Workload>) -> Self {
        let mut workloads: Vec<Workload> = Vec::new();
        for workload in of {
            if workloads.iter().all(|known| known.lines != workload.lines) {
                workloads.push(workload);
            }
        }
        Self { place, buyers, seconds, workloads, measured: Vec::new() }
    }

    /// The names of what bounds orders of so many buyers and lines, the closest first.
    pub fn of(&self, buyers: usize, lines: usize) -> Vec<String> {
        let mut names = vec![bulk_insert(lines)];
        // With other buyers its batches would be others.
        if matches!(self.place, Place::Folder(_)) && buyers == self.buyers {
            names.push(log(self.buyers));
        }
        names.push(FSYNCS.into());
        names
    }

    /// Measures all of them once; the folder is where fsync is measured.
    pub async fn measure(&mut self, folder: &Path) -> Result<()> {
        self.add(FSYNCS.into(), "fsyncs", fsyncs_per_second(folder)?);
        if let Place::Folder(folder) = &self.place {
            let (folder, buyers, seconds) = (folder.clone(), self.buyers, self.seconds);
            let logged =
                tokio::task::spawn_blocking(move || logged_per_second(&folder, buyers, seconds)).await??;
            self.add(log(self.buyers), "orders", logged);
        }
        for workload in self.workloads.clone() {
            let stored = bulk::orders_per_second(&self.place, workload, self.seconds).await?;
            self.add(bulk_insert(workload.lines), "orders", stored);
        }
        Ok(())
    }

    fn add(&mut self, name: String, unit: &'static str, per_second: f64) {
        match self.measured.iter_mut().find(|limit| limit.name == name) {
            Some(limit) => limit.runs.push(per_second),
            None => self.measured.push(Limit { name, unit, runs: vec![per_second] }),
        }
    }
}

fn bulk_insert(lines: usize) -> String {
    format!("bulk insert, {lines} line{} an order", if lines == 1 { "" } else { "s" })
}

fn log(orders: usize) -> String {
    format!("append-only log, {orders} order{} an fsync", if orders == 1 { "" } else { "s" })
}

/// Orders a second that can be appended to a file and made durable, so many with one fsync: the orders of all buyers of
/// a closed loop. An order is the JSON that a buyer is answered with.
fn logged_per_second(folder: &Path, buyers: usize, seconds: f64) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut file: &File = file.as_file();
    let mut orders: Vec<Order> = (0..buyers).map(|_| order()).collect::<Result<_>>()?;
    let mut batch = Vec::new();
    let (begun, mut logged) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs_f64(seconds) {
        batch.clear();
        for order in &mut orders {
            order.id = OrderId(SystemSource.uuid(order.created_at));
            serde_json::to_writer(&mut batch, order)?;
            batch.push(b'\n');
        }
        file.write_all(&batch)?;
        file.sync_data()?;
        logged += buyers as u64;
    }
    Ok(logged as f64 / begun.elapsed().as_secs_f64())
}

/// An order of one line.
fn order() -> Result<Order> {
    let (price, freight) = (Amount::new(1000)?, Amount::new(450)?);
    let line = OrderLine {
        sku_id: SkuId::new(1)?,
        code: Arc::from("BENCH-1"),
        name: Arc::from("Benchmark SKU 1"),
        count: 1,
        unit_price: price,
        amount: price,
    };
    let created_at = SystemSource.now();
    Ok(Order {
        id: OrderId(SystemSource.uuid(created_at)),
        status: OrderStatus::ToShip,
        pay_method: PayMethod::CashOnDelivery,
        lines: vec![line],
        total_count: 1,
        goods_amount: price,
        freight,
        total_amount: Amount::new(price.get() + freight.get())?,
        currency: Currency::new("GBP")?,
        address: Address::example(),
        created_at,
    })
}
