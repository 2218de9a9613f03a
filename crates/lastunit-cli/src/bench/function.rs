//! The best that one transaction an order can do on PostgreSQL: one function on the server that writes all that
//! Lastunit writes, called over a few connections, with the contended rows last.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lastunit::{Address, Source, SystemSource};
use lastunit_bench::{Buyer, Measured, closed_loop};
use tokio_postgres::{Client, Statement};

use super::{
    in_process::{Workload, distinct_skus, fill},
    place::{Place, postgres},
};
use crate::store_url::StoreUrl;

const FUNCTION: &str = include_str!("function.sql");
const CALL: &str = "SELECT lastunit_bench_place($1, $2, $3, $4, $5, $6, $7)";

struct Caller {
    client: Client,
    call: Statement,
    user: String,
    address: String,
    workload: Workload,
}

impl Buyer for Caller {
    async fn call(&mut self) -> Result<()> {
        let key = format!("{:016x}", rand::random::<u64>());
        let now = SystemSource.now();
        let mut skus: Vec<i64> = distinct_skus(self.workload)?.into_iter().map(|sku| sku.get()).collect();
        skus.sort_unstable();
        let fingerprint = [7_u8; 32].as_slice();
        let order = SystemSource.uuid(now);
        self.client
            .query_one(
                &self.call,
                &[&self.user, &key, &fingerprint, &order, &skus, &self.address, &now.unix_ms()],
            )
            .await?;
        Ok(())
    }
}

/// Runs the load over so many connections on a fresh database, and checks every invariant after it.
pub async fn run(place: &Place, connections: usize, workload: Workload, seconds: f64) -> Result<Measured> {
    let fresh = place.fresh(|_| {}).await?;
    let store = fresh.open().await?;
    fill(store.as_ref(), workload.skus).await?;
    store.close().await;
    let StoreUrl::Postgres(url, _) = &fresh.url else { bail!("the function is PostgreSQL's") };
    postgres(url).await?.batch_execute(FUNCTION).await.context("the function can't be made")?;
    let mut callers = Vec::with_capacity(connections);
    for n in 0..connections {
        let client = postgres(url).await?;
        let call = client.prepare(CALL).await?;
        let (user, address) = (format!("buyer-{n}"), serde_json::to_string(&Address::example())?);
        callers.push(Caller { client, call, user, address, workload });
    }
    let measured =
        closed_loop(callers, Duration::from_secs_f64(seconds / 5.0), Duration::from_secs_f64(seconds))
            .await?;
    fresh.check_and_drop(measured.answered).await?;
    Ok(measured)
}
