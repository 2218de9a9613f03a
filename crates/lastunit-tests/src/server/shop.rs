//! A server in this process, on a fresh database.

use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc};

use lastunit::{Config, Engine, Role, ServiceKey, Strategy};
use lastunit_server::{Metrics, Server, ServerConfig};
use lastunit_store::SqliteStore;
use sha2::{Digest, Sha256};

use super::Client;
use crate::{Bench, Fresh, Tap};

/// Of the role shop, under the label `shop`.
const SHOP_KEY: &str = "shop-key-of-a-test-0123456789abcdef";
/// Of the role admin, under the label `admin`.
const ADMIN_KEY: &str = "admin-key-of-a-test-0123456789abcdef";

/// How a [`Shop`] is opened.
#[derive(Default)]
pub struct Options {
    /// Limits of the server.
    pub server: ServerConfig,
    /// The most orders that wait; by default the engine's own.
    pub max_waiting: Option<usize>,
    /// Whether orders wait in front of the store until [`Tap::open`].
    pub gate_closed: bool,
}

/// A server with one shop (GBP, freight 1000, never free), a key of each role, and no SKU.
pub struct Shop {
    /// The database, seen from within.
    pub bench: Bench,
    /// Between the server and the database.
    pub tap: Arc<Tap>,
    /// Where it listens.
    pub address: SocketAddr,
    server: Server,
}

impl Shop {
    /// With default limits.
    pub async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// With other limits.
    pub async fn open_with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Arc::new(SqliteStore::open(folder.path().join("shop.db")).expect("a new database"));
        let bench =
            Bench::new(Fresh { stores: vec![store], keep: Box::new(folder) }, Strategy::Batched).await;
        for (key, role) in [(SHOP_KEY, Role::Shop), (ADMIN_KEY, Role::Admin)] {
            let hash = Sha256::digest(key.as_bytes()).into();
            let key = ServiceKey { hash, role, label: role.as_str().into(), created_at: bench.now() };
            bench.store.add_service_key(key).await.expect("a service key");
        }

        let tap = Tap::closed(bench.store.clone());
        if !options.gate_closed {
            tap.open();
        }
        let mut config = bench.config();
        if let Some(max_waiting) = options.max_waiting {
            let max_waiting = NonZeroUsize::new(max_waiting).expect("not zero");
            config = Config { max_waiting, max_batch: NonZeroUsize::MIN, ..config };
        }
        let metrics = Metrics::new();
        let engine = Engine::start_observed(tap.clone(), config, metrics.clone()).expect("a safe strategy");
        let listener = lastunit_server::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
        let server = Server::start(listener, engine, options.server, metrics).await.expect("a server");
        Self { bench, tap, address: server.local_addr(), server }
    }

    /// A client without a key.
    pub fn stranger(&self) -> Client {
        Client::new(self.address)
    }

    /// A client with the key of the role shop, for a buyer.
    pub fn buyer(&self, name: &str) -> Client {
        self.stranger().keyed(SHOP_KEY).buyer(name)
    }

    /// A client with the key of the role admin.
    pub fn admin(&self) -> Client {
        self.stranger().keyed(ADMIN_KEY)
    }

    /// The head of a raw request by this buyer, but for its end.
    pub fn head(&self, request_line: &str, user: &str) -> String {
        format!(
            "{request_line} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {SHOP_KEY}\r\nLastunit-User: {user}\r\n",
            self.address
        )
    }

    /// A new SKU of a product of its own; its id.
    pub async fn sku(&self, price: i64, stock: i64) -> i64 {
        self.bench.sku(price, stock).await.get()
    }

    /// Units in stock now.
    pub async fn stock(&self, sku: i64) -> i64 {
        self.bench.stock(lastunit::SkuId::new(sku).expect("a SKU's id")).await
    }

    /// Tells the server to stop.
    pub fn shutdown(&self) {
        self.server.shutdown();
    }

    /// Waits until the server has stopped.
    pub async fn join(self) {
        self.server.join().await;
    }
}
