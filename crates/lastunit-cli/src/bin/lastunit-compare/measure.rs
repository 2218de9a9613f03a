//! One run of one row: fresh data, the load, the books.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use lastunit_bench::sale::{Books, Run, Shopper, sell_out, steady};
use tokio::time::timeout;

use crate::{
    django::Django,
    lastunit_shop::{Basket, Fresh, InProcess, Server},
    peer::Servers,
    plan::{Kept, Row, System, Workload},
    stateset,
    vendure::Vendure,
};

/// How long and with how many buyers.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub buyers: usize,
    pub warm_up: Duration,
    pub measured: Duration,
}

/// Orders a second that no shop here reaches: so many carts are filled.
const MOST_LASTUNIT: u64 = 60_000;
const MOST_DJANGO: u64 = 2_000;
/// Vendure answers after seconds: it is measured for longer, for a buyer's answers to be more than one or two.
const SLOW: u32 = 8;
/// How long one run may take beyond the time measured.
const PATIENCE: Duration = Duration::from_secs(180);

impl Load {
    /// Carts needed so that none is ordered twice.
    fn orders(self, workload: Workload, most_per_second: u64) -> u64 {
        match workload {
            Workload::SellOut { attempts, .. } => attempts,
            _ => (most_per_second as f64 * (self.warm_up + self.measured).as_secs_f64()).ceil() as u64,
        }
    }

    async fn put_on<S: Shopper>(self, workload: Workload, shoppers: Vec<S>) -> Result<Run> {
        let run = async {
            match workload {
                Workload::SellOut { stock, attempts, .. } => sell_out(shoppers, stock, attempts).await,
                Workload::Hot | Workload::Spread => steady(shoppers, self.warm_up, self.measured).await,
            }
        };
        let most = self.warm_up + self.measured + PATIENCE;
        timeout(most, run).await.with_context(|| format!("not all is answered after {} s", most.as_secs()))?
    }
}

/// Measures; remembers what the shops are made of, and keeps the one that takes long to start.
pub struct Bench {
    pub servers: Servers,
    pub load: Load,
    pub versions: BTreeMap<String, String>,
    vendure: Option<Vendure>,
}

impl Bench {
    pub fn new(servers: Servers, load: Load) -> Self {
        Self { servers, load, versions: BTreeMap::new(), vendure: None }
    }

    /// Runs a row once.
    ///
    /// # Errors
    /// Also if the books have less than was acknowledged.
    pub async fn run(&mut self, row: Row) -> Result<(Run, Books)> {
        let (run, books) = self.measure(row).await?;
        let acknowledged = run.placed * row.workload.lines() as u64;
        ensure!(
            books.sold >= i64::try_from(acknowledged)?,
            "{acknowledged} units were sold, and its orders have {}",
            books.sold
        );
        Ok((run, books))
    }

    async fn measure(&mut self, row: Row) -> Result<(Run, Books)> {
        let Row { system, workload, .. } = row;
        let buyers = workload.buyers(self.load.buyers);
        match system {
            System::Django(cure) => {
                let django = Django::start(cure, &self.servers).await?;
                self.remember("Django", django.versions());
                let orders = self.load.orders(workload, MOST_DJANGO);
                let buyers = django.buyers(workload, orders, buyers).await?;
                let run = self.load.put_on(workload, buyers).await?;
                Ok((run, django.books(workload).await?))
            }
            System::LastunitCarts | System::LastunitLines => {
                let basket = if system == System::LastunitCarts { Basket::Cart } else { Basket::Lines };
                let fresh = Fresh::on_server(&self.servers.postgres, workload).await?;
                self.over_http(fresh, basket, workload).await
            }
            System::LastunitSqlite => {
                self.over_http(Fresh::file(workload).await?, Basket::Lines, workload).await
            }
            System::LastunitInProcess => self.in_process(Fresh::file(workload).await?, workload).await,
            System::LastunitInProcessPostgres => {
                self.in_process(Fresh::on_server(&self.servers.postgres, workload).await?, workload).await
            }
            System::Stateset(kept) => self.stateset(kept, workload).await,
            System::Vendure => {
                let vendure = match self.vendure.take() {
                    Some(vendure) => vendure,
                    None => Vendure::start(&self.servers).await?,
                };
                self.remember("Vendure", vendure.versions());
                // Its first answers come all at once: they are warming up.
                let (warm_up, measured) = (self.load.warm_up * SLOW, self.load.measured * SLOW);
                let slow = Load { warm_up, measured, ..self.load };
                let buyers = vendure.buyers(workload, buyers).await?;
                let run = slow.put_on(workload, buyers).await?;
                let books = vendure.books(workload).await?;
                self.vendure = Some(vendure);
                Ok((run, books))
            }
        }
    }

    async fn over_http(&self, fresh: Fresh, basket: Basket, workload: Workload) -> Result<(Run, Books)> {
        let server = Server::start(fresh, basket, &self.servers)?;
        let orders = self.load.orders(workload, MOST_LASTUNIT);
        let buyers = server.buyers(orders, workload.buyers(self.load.buyers)).await?;
        let run = self.load.put_on(workload, buyers).await?;
        Ok((run, server.stop().await?))
    }

    async fn in_process(&self, fresh: Fresh, workload: Workload) -> Result<(Run, Books)> {
        let shop = InProcess::start(fresh).await?;
        let buyers = shop.buyers(workload.buyers(self.load.buyers))?;
        let run = self.load.put_on(workload, buyers).await?;
        Ok((run, shop.stop().await?))
    }

    async fn stateset(&mut self, kept: Kept, workload: Workload) -> Result<(Run, Books)> {
        let Load { warm_up, measured, .. } = self.load;
        let buyers = workload.buyers(self.load.buyers);
        let printed = stateset::run(kept, workload, buyers, warm_up, measured, &self.servers).await?;
        self.remember("stateset-embedded", &printed.versions);
        Ok((printed.run, printed.books))
    }

    fn remember(&mut self, name: &str, versions: &str) {
        let known = self.versions.entry(name.to_owned()).or_default();
        // What is longer names the worker of the queue too.
        if versions.len() > known.len() {
            *known = versions.to_owned();
        }
    }
}
