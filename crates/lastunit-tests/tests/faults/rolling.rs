//! A rolling change of all servers of a shop, under load, and of its schema with the first of them.

use std::time::Instant;

use lastunit::Store;
use lastunit_store::{PostgresStore, RemoteConfig};
use lastunit_tests::{
    server::{Database, load::sku},
    servers::Postgres,
};

use crate::{
    buyers::{Buyers, Door},
    figures::median_and_most,
    verdict::Verdict,
};

const SERVERS: usize = 3;
/// How often all of them are changed.
const ROUNDS: usize = 2;
const STOCK: i64 = 1_000_000;

/// Takes the schema back to its first version, which servers of the newest can use too.
const OLD_SCHEMA: &str =
    "ALTER TABLE order_line ADD FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id);
     ALTER TABLE cart_order ADD FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id);
     DELETE FROM lastunit_migration WHERE version > 1";
const VERSION: &str = "SELECT MAX(version) FROM lastunit_migration";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_schema_are_changed_one_by_one_and_no_buyer_notices() {
    let used = Postgres::shared_database();
    let database = Database::at(used.url(), "store");
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(database.serve(&[]).await);
    }
    let client = |sql: &str| tokio::task::block_in_place(|| Postgres::shared().client_of(used.name(), sql));
    let newest = client(VERSION);
    client(OLD_SCHEMA);
    assert_eq!(client(VERSION), "1");
    assert_ne!(newest, "1");
    let (sku, door) = (sku(&servers[0].admin(), 100, STOCK).await, Door::default());
    let open = |servers: &[lastunit_tests::server::Process]| {
        door.lead_to(servers.iter().map(|server| server.address));
    };
    open(&servers);
    let buyers = Buyers::start(&door, &[sku]);
    let mut changes = Vec::new();
    for _ in 0..ROUNDS * SERVERS {
        buyers.orders(200).await;
        servers.push(database.serve(&[]).await);
        let old = servers.remove(0);
        open(&servers);
        let begun = Instant::now();
        // Calls are on their way to it still.
        old.terminate();
        let (status, log) = old.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        changes.push(begun.elapsed());
    }
    assert_eq!(client(VERSION), newest, "by the first of the new ones, while the old ones were selling");
    let (told, taken) = buyers.buy_the_rest(&servers[0].admin(), sku).await;
    assert!(told.others.is_empty(), "{:?}", told.others);
    drop(servers);

    let store = PostgresStore::connect(used.url(), RemoteConfig::default()).await.expect("the database");
    let verdict = Verdict::of(&store, &told, &[sku], STOCK + taken).await;
    let figures = format!(
        "{} answers of 503, {} connections closed before an answer, the slowest answer took {:.0?}; a server ended \
         after {}",
        told.unavailable,
        told.unanswered,
        told.slowest,
        median_and_most(&mut changes)
    );
    verdict.assert_exact(&format!("{} rolling changes of {SERVERS} servers", changes.len()), &figures);
    store.close().await;
}
