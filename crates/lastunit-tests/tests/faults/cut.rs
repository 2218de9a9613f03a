//! Answers that are cut off after the COMMIT: on their way to the buyer, and on the database's way to the server.

use std::{sync::Arc, time::Instant};

use lastunit::Store;
use lastunit_store::{PostgresStore, RemoteConfig, SqliteStore};
use lastunit_tests::{
    server::{
        Client, Database, HasId,
        load::{CLIENTS, sku},
        order_of, placing,
    },
    servers::Postgres,
};
use tokio::task::JoinSet;

use crate::{
    buyers::{Buyers, Door, Told},
    cutter::Cutter,
    figures::median_and_most,
    verdict::Verdict,
};

const STOCK: i64 = 1_000_000;
/// Of each buyer.
const CUT_OFF: usize = 8;
/// Answers to COMMIT.
const COMMITS: usize = 40;

/// Every buyer orders, and never sees the answer; then sends the same again.
async fn the_same_order_is_found(
    database: &Database,
    store: impl AsyncFnOnce() -> Arc<dyn Store>,
    name: &str,
) {
    let mut server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, STOCK).await;
    let cutter = Cutter::before(server.address, b"POST /v1/orders").await;
    cutter.cut(CLIENTS as usize * CUT_OFF);
    let mut buyers = JoinSet::new();
    for n in 0..CLIENTS {
        let buyer = format!("b{n}");
        let direct = server.buyer(&buyer);
        let through = Client::new(cutter.address).keyed(Database::KEY).buyer(&buyer);
        buyers.spawn(async move {
            let mut found = Vec::new();
            for attempt in 0..CUT_OFF {
                let key = format!("{buyer}/{attempt}");
                let call = placing(&order_of(&[(sku, 1)]), &key);
                through.try_send(&call).await.expect_err("the answer is cut off");
                let asked = Instant::now();
                let again = direct.send(call.clone()).await;
                let took = asked.elapsed();
                assert!(again.replayed(), "{key} was placed before: {}", again.text());
                let id = again.is(201).id();
                assert_eq!(direct.send(call).await.is(201).id(), id, "{key}");
                found.push((key, id, took));
            }
            found
        });
    }
    let (mut told, mut took) = (Told::default(), Vec::new());
    for (key, id, asked) in buyers.join_all().await.into_iter().flatten() {
        told.placed.insert(key, id);
        took.push(asked);
    }
    assert_eq!(cutter.left(), 0);
    server.kill();
    let store = store().await;
    let verdict = Verdict::of(&*store, &told, &[sku], STOCK).await;
    let recovery = format!("the same key gave the same order within {}", median_and_most(&mut took));
    verdict.assert_exact(&format!("{} answers cut off after COMMIT, {name}", took.len()), &recovery);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cut_off_after_the_commit_is_found_by_its_key_on_sqlite() {
    let database = Database::default();
    let open = async || {
        let store = SqliteStore::open_existing(database.path("shop.db")).expect("the database");
        Arc::new(store) as Arc<dyn Store>
    };
    the_same_order_is_found(&database, open, "SQLite").await;
}

async fn connect(url: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::connect(url, RemoteConfig::default()).await.expect("the database"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cut_off_after_the_commit_is_found_by_its_key_on_postgres() {
    let used = Postgres::shared_database();
    let database = Database::at(used.url(), "store");
    the_same_order_is_found(&database, async || connect(used.url()).await, "PostgreSQL").await;
}

/// The server hears nothing back from its COMMIT. Its buyers don't notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_cut_off_is_found_by_its_keys() {
    let used = Postgres::shared_database();
    let port = Postgres::shared().port();
    // A simple query: its kind, its length, its text.
    let cutter = Cutter::before(([127, 0, 0, 1], port).into(), b"Q\0\0\0\x0bCOMMIT\0").await;
    let through = used.url().replace(&port.to_string(), &cutter.address.port().to_string());
    let mut server = Database::at(through, "store").serve(&[]).await;
    let (sku, door) = (sku(&server.admin(), 100, STOCK).await, Door::default());
    door.lead_to([server.address]);
    let buyers = Buyers::start(&door, &[sku]);
    for _ in 0..COMMITS {
        buyers.orders(50).await;
        cutter.cut(1);
        buyers.until("cut off", |_| cutter.left() == 0).await;
    }
    let (told, taken) = buyers.buy_the_rest(&server.admin(), sku).await;
    server.kill();
    assert!(told.others.is_empty(), "{:?}", told.others);
    assert_eq!(told.unanswered, 0);
    let store = connect(used.url()).await;
    let verdict = Verdict::of(&*store, &told, &[sku], STOCK + taken).await;
    let recovery =
        format!("{} answers of 503, the slowest answer took {:.0?}", told.unavailable, told.slowest);
    verdict.assert_exact(&format!("{COMMITS} answers to COMMIT cut off, PostgreSQL"), &recovery);
    store.close().await;
}
