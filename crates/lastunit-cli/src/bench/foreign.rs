//! A shop that runs already, somewhere: loaded through its API alone, and put in order again afterwards.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, StatusCode};
use lastunit_bench::{
    Measured, Picks,
    http::{Connection, Request},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    http::{Call, Shop},
    load::{Load, Workload},
};

/// The most SKUs that are ordered; their stock is read one by one.
pub const MOST_SKUS: usize = 1000;

/// Calls of the native API, one after the other.
struct Api {
    connection: Connection,
    address: String,
    service_key: String,
}

impl Api {
    /// The status of the answer, and its body.
    async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        // A connection that wasn't used for a while may have been closed by the server.
        if !self.connection.is_open() {
            self.connection = Connection::open(&self.address).await?;
        }
        let authorization = format!("Bearer {}", self.service_key);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let request = Request { method: method.as_str(), path, headers: &headers, body: body.as_bytes() };
        let response = self.connection.call(request).await?;
        let status = response.status;
        let body = serde_json::from_slice(&response.body)
            .with_context(|| format!("{path} was answered {status}, but not with JSON"))?;
        Ok((status, body))
    }

    /// The body of an answer that has to be fine.
    async fn done(&mut self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, body) = self.call(method, path, body).await?;
        ensure!(status.is_success(), "{path} was answered {status}: {body}");
        Ok(body)
    }
}

/// What is asked of a SKU.
#[derive(Debug, Deserialize)]
struct Sku {
    id: i64,
    stock: i64,
    sales: i64,
    on_sale: bool,
}

/// Units in stock and units sold, of all SKUs that are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    stock: i64,
    sales: i64,
}

/// A server that runs already, and the SKUs that are ordered there.
pub struct Foreign {
    api: Api,
    shop: Shop,
    lines: usize,
    /// Whether they were created for this run: then nobody else orders them.
    own: bool,
    before: Counters,
    placed: u64,
    turned_away: u64,
}

/// What the counters say after a run.
pub struct Agreement {
    /// A sentence for the report.
    pub says: String,
    /// Whether stock and sales are what the answers say.
    pub agrees: bool,
}

impl Foreign {
    /// Creates the workload's SKUs in a product of the run's own, if the key is an admin's. Else takes SKUs that are
    /// there, unless their stock is to be a certain one; `at_least` so many, where there aren't as many.
    pub async fn open(
        address: &str,
        service_key: &str,
        workload: Workload,
        at_least: usize,
        stock: Option<i64>,
    ) -> Result<Self> {
        let (lines, wanted) = (workload.lines, usize::try_from(workload.skus)?);
        let (address, service_key) = (address.to_owned(), service_key.to_owned());
        let connection = Connection::open(&address).await?;
        let mut api = Api { connection, address: address.clone(), service_key: service_key.clone() };
        let (chosen, own) = match api.is_admin().await? {
            true => (api.create(wanted, stock.unwrap_or(super::fill::PLENTY)).await?, true),
            false => {
                ensure!(
                    stock.is_none(),
                    "the key is of the role shop, and only an admin's may create SKUs with the stock that is to be \
                     sold out"
                );
                (api.listed(at_least, wanted).await?, false)
            }
        };
        let picks = Picks::new(workload.popularity, chosen.len(), lines)?;
        let before = Counters {
            stock: chosen.iter().map(|sku| sku.stock).sum(),
            sales: chosen.iter().map(|sku| sku.sales).sum(),
        };
        let skus: Arc<[i64]> = chosen.iter().map(|sku| sku.id).collect();
        let shop = Shop { address, service_key, skus, picks };
        Ok(Self { api, shop, lines, own, before, placed: 0, turned_away: 0 })
    }

    /// What is ordered, for the report.
    pub fn describe(&self) -> String {
        let (count, first) = (self.shop.skus.len(), self.shop.skus[0]);
        if self.own {
            format!("{count} SKUs of its own, from SKU {first} on, which are off sale now")
        } else {
            format!("the first {count} SKUs of the shop that are on sale and in stock, from SKU {first} on")
        }
    }

    /// Runs one load against it.
    pub async fn run(&mut self, call: Call, buyers: usize, load: Load, seconds: f64) -> Result<Measured> {
        let measured = match self.shop.run(call, buyers, load, seconds).await {
            Ok(measured) => measured,
            Err(error) => {
                // The run ends here, with this error; the shop shall not go on selling what was made for it.
                self.take_off_sale().await.ok();
                return Err(error);
            }
        };
        if call == Call::Order {
            self.placed += measured.placed_in_all;
            self.turned_away += measured.turned_away_in_all;
        }
        Ok(measured)
    }

    async fn take_off_sale(&mut self) -> Result<()> {
        for id in self.shop.skus.iter().filter(|_| self.own) {
            let path = format!("/v1/admin/skus/{id}");
            self.api.done(Method::PATCH, &path, Some(json!({"on_sale": false}))).await?;
        }
        Ok(())
    }

    /// Takes SKUs of its own off sale, and compares what the counters say with what was answered.
    pub async fn close(mut self) -> Result<Agreement> {
        let mut after = Counters { stock: 0, sales: 0 };
        for id in self.shop.skus.iter() {
            let path = format!("/v1/skus/{id}");
            let sku: Sku = serde_json::from_value(self.api.done(Method::GET, &path, None).await?)?;
            after.stock += sku.stock;
            after.sales += sku.sales;
        }
        self.take_off_sale().await?;
        let Self { placed, turned_away, own, before, .. } = self;
        let lines = self.lines as u64;
        let units = (placed * lines) as i64..=((placed + turned_away) * lines) as i64;
        let (fell, sold) = (before.stock - after.stock, after.sales - before.sales);
        let agrees = units.contains(&fell) && units.contains(&sold);
        let mut says = format!(
            "the answers say {placed} orders of {lines} units, and through the API stock fell by {fell} and sales rose \
             by {sold} units"
        );
        if turned_away > 0 {
            says += &format!("; {turned_away} calls were turned away, and may have ordered");
        }
        if !agrees {
            says += if own {
                ": that must not be, for nobody else knows these SKUs"
            } else {
                "; others may have bought, canceled or restocked meanwhile"
            };
        }
        Ok(Agreement { says, agrees: agrees || !own })
    }
}

impl Api {
    /// Whether the key may create products.
    async fn is_admin(&mut self) -> Result<bool> {
        match self.call(Method::GET, "/v1/admin/settings", None).await? {
            (status, _) if status.is_success() => Ok(true),
            (StatusCode::FORBIDDEN, _) => Ok(false),
            (StatusCode::UNAUTHORIZED, _) => {
                bail!("the server at {} doesn't know this --service-key", self.address)
            }
            (status, body) => bail!("the shop's settings can't be read: {status}: {body}"),
        }
    }

    /// Creates so many SKUs of so many units.
    async fn create(&mut self, count: usize, stock: i64) -> Result<Vec<Sku>> {
        let name = format!("lastunit-bench-{:08x}", rand::random::<u32>());
        let sku =
            |n| json!({"code": format!("{name}-{n}"), "name": "Benchmark SKU", "price": 100, "stock": stock});
        let product = json!({"name": name, "skus": (1..=count).map(sku).collect::<Vec<Value>>()});
        let mut created = self.done(Method::POST, "/v1/admin/products", Some(product)).await?;
        Ok(serde_json::from_value(created["skus"].take())?)
    }

    /// The first SKUs that are on sale and in stock.
    async fn listed(&mut self, least: usize, most: usize) -> Result<Vec<Sku>> {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        while listed.len() < most {
            let mut page = self.done(Method::GET, &format!("/v1/skus?limit=100{cursor}"), None).await?;
            let skus: Vec<Sku> = serde_json::from_value(page["items"].take())?;
            listed.extend(skus.into_iter().filter(|sku| sku.on_sale && sku.stock > 0));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        ensure!(
            listed.len() >= least,
            "the shop has {} SKUs on sale and in stock, and {least} are to be ordered",
            listed.len()
        );
        listed.truncate(most);
        Ok(listed)
    }
}
