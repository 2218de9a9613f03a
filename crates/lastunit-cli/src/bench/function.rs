//! The best that one transaction an order can do on PostgreSQL: one function on the server that writes all that
//! Lastunit writes, called over a few connections, with the contended rows last.

use anyhow::{Context, Result, bail};
use lastunit::{Address, Source, SystemSource};
use lastunit_bench::{Buyer, Measured, Picks};
use tokio_postgres::{Client, Statement};

use super::{
    fill,
    in_process::draw,
    load::{Load, Workload},
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
    picks: Picks,
}

impl Buyer for Caller {
    async fn call(&mut self) -> Result<()> {
        let key = format!("{:016x}", rand::random::<u64>());
        let now = SystemSource.now();
        let mut skus: Vec<i64> = draw(&self.picks)?.into_iter().map(|sku| sku.get()).collect();
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
    let (fresh, store) = fill::shop(place, None, workload.skus, fill::PLENTY).await?;
    store.close().await;
    let picks = workload.picks()?;
    let StoreUrl::Postgres(url, _) = &fresh.url else { bail!("the function is PostgreSQL's") };
    postgres(url).await?.batch_execute(FUNCTION).await.context("the function can't be made")?;
    let mut callers = Vec::with_capacity(connections);
    for n in 0..connections {
        let client = postgres(url).await?;
        let call = client.prepare(CALL).await?;
        let (user, address) = (format!("buyer-{n}"), serde_json::to_string(&Address::example())?);
        callers.push(Caller { client, call, user, address, picks });
    }
    let measured = Load::Closed.run(callers, seconds).await?;
    fresh.check_and_drop(measured.placed_in_all).await?;
    Ok(measured)
}
