//! A disk that is full, under the database of a shop that goes on selling.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use lastunit::Store;
use lastunit_store::{PostgresStore, RemoteConfig, SqliteStore};
use lastunit_tests::{
    server::{
        Database, Process,
        load::{CLIENTS, sku},
    },
    servers::{Postgres, SmallDisk},
};
use tokio::{task::block_in_place, time::timeout};

use crate::{
    buyers::{Buyers, Door, Told},
    verdict::Verdict,
};

const STOCK: i64 = 1_000_000;
const BUYERS: usize = CLIENTS as usize;
/// How soon it is looked whether PostgreSQL has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A shop on a small disk that has room for some more orders.
struct Shop {
    server: Process,
    sku: i64,
    buyers: Buyers,
}

impl Shop {
    async fn open(database: &Database) -> Self {
        let server = database.serve(&[]).await;
        let (sku, door) = (sku(&server.admin(), 100, STOCK).await, Door::default());
        door.lead_to([server.address]);
        let buyers = Buyers::start(&door, &[sku]);
        buyers.orders(300).await;
        Self { server, sku, buyers }
    }

    /// Waits until every buyer was told to come later, twice on average.
    async fn is_full(&self) {
        let before = self.buyers.told().unavailable;
        self.buyers.until("full", |told| told.unavailable >= before + 2 * BUYERS).await;
        self.server.admin().get("/health/live").await.is(200);
    }

    /// Goes on selling, and sells the rest, now that there is room and the `first` order came after so long; what was told,
    /// the units there were, and figures.
    async fn goes_on(self, first: Duration) -> (Told, i64, String) {
        self.buyers.orders(300).await;
        let (told, taken) = self.buyers.buy_the_rest(&self.server.admin(), self.sku).await;
        self.server.terminate();
        let (status, log) = self.server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(told.others.is_empty(), "{:?}", told.others);
        assert_eq!(told.unanswered, 0, "the server answered every call");
        let figures = format!(
            "{} answers of 503, the slowest answer took {:.1?}; the first order came {first:.1?} after there was room",
            told.unavailable, told.slowest
        );
        (told, STOCK + taken, figures)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_sqlite_turns_orders_away_until_there_is_room() {
    let disk = SmallDisk::new(64);
    let file = disk.folder().join("shop.db");
    let database = Database::at(format!("sqlite:{}", file.display()), "store");
    disk.fill(4);
    let shop = Shop::open(&database).await;
    shop.is_full().await;
    // Reads need no room.
    shop.server.admin().get(&format!("/v1/skus/{}", shop.sku)).await.is(200);
    let listed = shop.server.buyer("b0").get("/v1/orders?limit=1").await.is(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    let freed = Instant::now();
    disk.free();
    let (sku, first) = (shop.sku, shop.buyers.first_after(freed).await);
    let (told, units, figures) = shop.goes_on(first).await;
    let store = SqliteStore::open_existing(&file).expect("the database");
    Verdict::of(&store, &told, &[sku], units).await.assert_exact("a full disk under SQLite", &figures);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_postgres_turns_orders_away_until_there_is_room() {
    let disk = SmallDisk::new(256);
    let wal = [("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
    let postgres = block_in_place(|| Postgres::start_in(disk.folder(), &wal));
    let database = Database::at(postgres.url(), "store");
    disk.fill(4);
    let shop = Shop::open(&database).await;
    shop.is_full().await;
    let freed = Instant::now();
    disk.free();
    let mut ended = false;
    let first = {
        let mut first = pin!(shop.buyers.first_after(freed));
        loop {
            match timeout(LOOK_AGAIN, first.as_mut()).await {
                Ok(first) => break first,
                // Without room for its log PostgreSQL ends, whenever it finds out.
                Err(_) if !postgres.is_running() => {
                    ended = true;
                    block_in_place(|| postgres.start_again());
                }
                Err(_) => {}
            }
        }
    };
    let sku = shop.sku;
    let (told, units, figures) = shop.goes_on(first).await;
    let store = PostgresStore::connect(&postgres.url(), RemoteConfig::default()).await.expect("the database");
    let verdict = Verdict::of(&store, &told, &[sku], units).await;
    let ended = if ended { "PostgreSQL ended, and was started again" } else { "PostgreSQL ran on" };
    verdict.assert_exact("a full disk under PostgreSQL", &format!("{ended}; {figures}"));
    store.close().await;
}
