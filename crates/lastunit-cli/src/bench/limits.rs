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

use super::{bulk, in_process, load::Workload, machine::fsyncs_per_second, place::Place, row::median};

/// The name of the constant endpoint, which is a row of its own.
pub const CONSTANT: &str = "HTTP: a constant endpoint";
/// The name of the disk's limit.
pub const FSYNCS: &str = "fsyncs of 4 KiB";
/// The name of the limit of whatever keeps orders in a file.
pub const LOG: &str = "append-only log, the fsyncs of batched";
/// So long a batched engine is watched to see how many orders it commits at once.
const WATCHED_SECONDS: f64 = 0.5;

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
    /// Orders that an engine committed at once, by round.
    committed_at_once: Vec<f64>,
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
        Self { place, buyers, seconds, workloads, measured: Vec::new(), committed_at_once: Vec::new() }
    }

    /// The names of what bounds orders of so many buyers and lines, the closest first.
    pub fn of(&self, buyers: usize, lines: usize) -> Vec<String> {
        let mut names = vec![bulk_insert(lines)];
        // With other buyers its batches would be others.
        if matches!(self.place, Place::Folder(_)) && buyers == self.buyers {
            names.push(LOG.into());
        }
        names.push(FSYNCS.into());
        names
    }

    /// Measures all of them once; the folder is where fsync is measured.
    pub async fn measure(&mut self, folder: &Path) -> Result<()> {
        self.add(FSYNCS.into(), "fsyncs", fsyncs_per_second(folder)?);
        if let Place::Folder(folder) = &self.place {
            let watched = self.seconds.min(WATCHED_SECONDS);
            let at_once = in_process::orders_a_commit(&self.place, self.buyers, watched).await?;
            self.committed_at_once.push(at_once);
            let (folder, orders, seconds) = (folder.clone(), at_once.round() as usize, self.seconds);
            let logged =
                tokio::task::spawn_blocking(move || logged_per_second(&folder, orders, seconds)).await??;
            self.add(LOG.into(), "orders", logged);
        }
        for workload in self.workloads.clone() {
            let stored = bulk::orders_per_second(&self.place, workload, self.seconds).await?;
            self.add(bulk_insert(workload.lines), "orders", stored);
        }
        Ok(())
    }

    /// What is to be said of them.
    pub fn note(&self) -> Option<String> {
        let at_once = (!self.committed_at_once.is_empty()).then(|| median(self.committed_at_once.clone()))?;
        Some(format!(
            "batched committed {at_once:.0} orders at once, and the append-only log so many with an fsync"
        ))
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

/// Orders a second that can be appended to a file and made durable, so many with one fsync. An order is the JSON that a
/// buyer is answered with.
fn logged_per_second(folder: &Path, at_once: usize, seconds: f64) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut file: &File = file.as_file();
    let mut orders: Vec<Order> = (0..at_once).map(|_| order()).collect::<Result<_>>()?;
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
        logged += at_once as u64;
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
