//! Lastunit: over HTTP against a server of its own process, and in process; always on a fresh database.

use std::{
    fmt,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use lastunit::{
    Address, Amount, Config, Currency, Demand, Engine, IdempotencyKey, NewProduct, NewSku, Outcome,
    PayMethod, PlaceRequest, Refusal, ShopId, ShopSettings, SkuId, Source, Store, SystemSource, UserId,
    Violation,
};
use lastunit_bench::sale::{Answer, Books, Shopper};
use lastunit_store::{PostgresStore, RemoteConfig, SqliteStore};

use crate::{
    carts::{self, Full},
    client::{Client, JSON},
    django::connect,
    peer::Servers,
    plan::Workload,
};

const SERVICE_KEY: &str = "lastunit-compare-service-key-0123456789";
const AUTHORIZATION: &str = "Bearer lastunit-compare-service-key-0123456789";
/// The database of Redis for its carts; the peers use others.
const REDIS_DATABASE: u8 = 2;

/// An invariant of Lastunit doesn't hold after a run.
#[derive(Debug)]
pub struct Broken(Vec<Violation>);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lastunit broke an invariant: {:?}", self.0)
    }
}

impl std::error::Error for Broken {}

/// A fresh database.
pub struct Fresh {
    at: At,
    workload: Workload,
}

enum At {
    File(tempfile::TempDir),
    Server { server: String, name: String },
}

impl Fresh {
    /// A file in the current folder, filled.
    pub async fn file(workload: Workload) -> Result<Self> {
        Self { at: At::File(temporary_folder()?), workload }.filled().await
    }

    /// A database on PostgreSQL, filled.
    pub async fn on_server(server: &str, workload: Workload) -> Result<Self> {
        let name = format!("peer_lastunit_{:016x}", rand::random::<u64>());
        connect(server).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let fresh = Self { at: At::Server { server: server.to_owned(), name }, workload }.filled().await?;
        connect(server).await?.batch_execute("CHECKPOINT").await?;
        Ok(fresh)
    }

    async fn filled(self) -> Result<Self> {
        let store = self.open().await?;
        fill(&*store, self.workload).await?;
        store.close().await;
        Ok(self)
    }

    fn url(&self) -> String {
        match &self.at {
            At::File(folder) => format!("sqlite:{}", folder.path().join("shop.db").display()),
            At::Server { server, name } => {
                format!("{}/{name}", server.rsplit_once('/').map_or(server.as_str(), |parts| parts.0))
            }
        }
    }

    async fn open(&self) -> Result<Arc<dyn Store>> {
        Ok(match &self.at {
            At::File(folder) => Arc::new(SqliteStore::open(folder.path().join("shop.db"))?),
            At::Server { .. } => {
                Arc::new(PostgresStore::connect(&self.url(), RemoteConfig::default()).await?)
            }
        })
    }

    /// Checks every invariant, and says what the books say; then the database is thrown away.
    ///
    /// # Errors
    /// A broken invariant: among them that the counters of sales are what is in the orders, and that the stock is what
    /// was there less what was sold.
    pub async fn books(self) -> Result<Books> {
        let store = self.open().await?;
        let report = store.check().await?;
        store.close().await;
        if !report.violations.is_empty() {
            return Err(Broken(report.violations).into());
        }
        if let At::Server { server, name } = &self.at {
            connect(server).await?.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        let there_was = i64::try_from(self.workload.stock() * self.workload.skus())?;
        let (oversold, lost) =
            ((report.sales - there_was).max(0), (there_was - report.stock - report.sales).abs());
        Ok(Books { sold: report.sales, oversold, lost })
    }
}

/// In the current folder, so that fsync means a disk.
pub fn temporary_folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("bench.").tempdir_in(".")?)
}

/// Opens shop 1 and fills it with SKUs, ten a product.
async fn fill(store: &dyn Store, workload: Workload) -> Result<()> {
    let now = SystemSource.now();
    let settings =
        ShopSettings { currency: Currency::new("GBP")?, freight: Amount::new(1000)?, free_from: None };
    store.set_settings(ShopId::FIRST, settings, now).await?;
    let stock = i64::try_from(workload.stock())?;
    let sku = |id: u64| -> Result<NewSku> {
        let (code, name) = (format!("BENCH-{id}"), format!("Benchmark SKU {id}"));
        Ok(NewSku { code, name, price: Amount::new(1000)?, stock, on_sale: true })
    };
    let ids: Vec<u64> = (1..=workload.skus()).collect();
    let products = ids.chunks(10).map(|ids| {
        let name = format!("Benchmark product {}", ids[0]);
        let skus = ids.iter().map(|&id| sku(id)).collect::<Result<_>>()?;
        Ok(NewProduct { handle: None, name, description: String::new(), skus })
    });
    let products = products.collect::<Result<Vec<_>>>()?;
    store.import(ShopId::FIRST, products, SystemSource.uuid(now), now).await?;
    Ok(())
}

/// What is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basket {
    /// Nothing: the cart is ordered.
    Cart,
    /// The lines.
    Lines,
}

/// `lastunit serve`. Dropped, it is killed.
pub struct Server {
    child: Child,
    /// Its standard output, which it goes on writing to.
    _said: Lines<BufReader<ChildStdout>>,
    url: String,
    fresh: Option<Fresh>,
    basket: Basket,
    redis: String,
    workload: Workload,
}

impl Server {
    /// Starts it on a fresh database, with its carts in Redis if they are ordered.
    pub fn start(fresh: Fresh, basket: Basket, servers: &Servers) -> Result<Self> {
        let redis = format!("{}/{REDIS_DATABASE}", servers.redis);
        let program = std::env::current_exe()?.with_file_name("lastunit");
        let workload = fresh.workload;
        let mut child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .env("LASTUNIT_STORE", fresh.url())
            .env("LASTUNIT_CARTS", if basket == Basket::Cart { &redis } else { "store" })
            .env("LASTUNIT_SERVICE_KEY", SERVICE_KEY)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} isn't built", program.display()))?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let url = loop {
            let line = said.next().context("lastunit ended before it listened")??;
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        Ok(Self { child, _said: said, url, fresh: Some(fresh), basket, redis, workload })
    }

    /// Buyers that can order so often.
    pub async fn buyers(&self, orders: u64, buyers: usize) -> Result<Vec<HttpBuyer>> {
        let carts = match self.basket {
            Basket::Cart => carts::fill(&self.redis, self.workload, orders, true).await?,
            Basket::Lines => Full::new(u64::MAX),
        };
        let address = serde_json::to_string(&Address::example())?;
        let of_cart = format!(r#"{{"address":{address},"pay_method":"cash_on_delivery"}}"#);
        let (basket, workload) = (self.basket, self.workload);
        let buyer = || HttpBuyer {
            client: Client::new(&self.url),
            carts: carts.clone(),
            basket,
            workload,
            of_cart: of_cart.clone().into(),
            order: None,
        };
        Ok((0..buyers).map(|_| buyer()).collect())
    }

    /// Stops it, and says what its books say.
    pub async fn stop(mut self) -> Result<Books> {
        let stopped = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(stopped.success() && self.child.wait()?.success(), "lastunit didn't stop as it should");
        self.fresh.take().context("it was stopped before")?.books().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After an error; a server that was stopped is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Orders over HTTP, each time as another buyer.
pub struct HttpBuyer {
    client: Client,
    carts: Full,
    basket: Basket,
    workload: Workload,
    /// The body of an order of the cart.
    of_cart: Arc<str>,
    /// That isn't decided yet: tried again, it is the same, with the same key.
    order: Option<HttpOrder>,
}

struct HttpOrder {
    user: String,
    key: String,
    body: Arc<str>,
}

impl HttpBuyer {
    fn next(&self) -> Result<HttpOrder> {
        let body = match self.basket {
            Basket::Cart => self.of_cart.clone(),
            Basket::Lines => {
                let line = |sku| format!(r#"{{"sku_id":{sku},"count":1}}"#);
                let lines: Vec<String> = self.workload.pick().into_iter().map(line).collect();
                format!(r#"{{"lines":[{}],{}"#, lines.join(","), self.of_cart.trim_start_matches('{')).into()
            }
        };
        let (user, key) = (self.carts.take()?.to_string(), format!("{:016x}", rand::random::<u64>()));
        Ok(HttpOrder { user, key, body })
    }
}

impl Shopper for HttpBuyer {
    async fn order(&mut self) -> Result<Answer> {
        let order = match self.order.take() {
            Some(order) => order,
            None => self.next()?,
        };
        let HttpOrder { user, key, body } = self.order.insert(order);
        let headers = [
            ("Authorization", AUTHORIZATION),
            ("Lastunit-User", user.as_str()),
            ("Idempotency-Key", key.as_str()),
            JSON,
        ];
        let response = self.client.post("/v1/orders", &headers, body.as_bytes()).await?;
        let answer = match response.status {
            StatusCode::CREATED => Answer::Placed,
            StatusCode::CONFLICT if contains(&response.body, br#""insufficient_stock""#) => Answer::Refused,
            status => bail!("Lastunit answered {status}: {}", String::from_utf8_lossy(&response.body)),
        };
        self.order = None;
        Ok(answer)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The library in this process.
pub struct InProcess {
    engine: Engine,
    store: Arc<dyn Store>,
    fresh: Fresh,
}

impl InProcess {
    pub async fn start(fresh: Fresh) -> Result<Self> {
        let store = fresh.open().await?;
        let engine = Engine::start(store.clone(), Config::default())?;
        Ok(Self { engine, store, fresh })
    }

    pub fn buyers(&self, buyers: usize) -> Result<Vec<LibraryBuyer>> {
        let workload = self.fresh.workload;
        let buyer = |n: usize| {
            Ok(LibraryBuyer {
                engine: self.engine.clone(),
                user: UserId::new(format!("buyer-{n}"))?,
                workload,
            })
        };
        (0..buyers).map(buyer).collect()
    }

    /// Stops it, and says what its books say.
    pub async fn stop(self) -> Result<Books> {
        self.engine.drain().await;
        self.store.close().await;
        self.fresh.books().await
    }
}

/// Orders through the library.
pub struct LibraryBuyer {
    engine: Engine,
    user: UserId,
    workload: Workload,
}

impl Shopper for LibraryBuyer {
    async fn order(&mut self) -> Result<Answer> {
        let key = IdempotencyKey::new(format!("{:016x}", rand::random::<u64>()))?;
        let skus = self.workload.pick().into_iter().map(|sku| Ok((SkuId::new(i64::try_from(sku)?)?, 1)));
        let lines = Demand::new(skus.collect::<Result<Vec<_>>>()?)?;
        let user = self.user.clone();
        let request = PlaceRequest::of_lines(user, key, lines, Address::example(), PayMethod::CashOnDelivery);
        match self.engine.place(request).await?.outcome {
            Outcome::Placed(_) => Ok(Answer::Placed),
            Outcome::Refused(Refusal::InsufficientStock { .. }) => Ok(Answer::Refused),
            other => bail!("an order wasn't decided: {other:?}"),
        }
    }
}
