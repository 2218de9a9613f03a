//! A pool that is used up, and callers that go away.

use std::time::Duration;

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{
    placed,
    remote::{bounded, outage, until},
    servers::MariaDb,
};

use crate::{WAITS, lock_all_skus, open, transactions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_used_up_is_unavailable_and_recovers() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), outage::few(2), Strategy::Pessimistic).await;
    let lock = lock_all_skus(server, database.name());
    let waiting = || transactions(server, database.name(), WAITS).len();
    outage::a_pool_that_is_used_up_is_unavailable_and_recovers(&bench, lock, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_lost_its_caller_is_undone_and_gives_its_place_back() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), outage::few(1), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let holder = lock_all_skus(server, database.name()).await;
    outage::leave_a_change_of_stock(&bench, sku, || transactions(server, database.name(), WAITS).len()).await;
    // The only place there is, while the server still works on what was asked of the connection before.
    assert_eq!(bounded(bench.store.ping()).await, Ok(()));
    drop(holder);
    until("the change is undone", || transactions(server, database.name(), "TRUE").is_empty()).await;
    bench.assert_counters(sku, 10, 0).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closed_while_they_were_idle_arent_used() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), RemoteConfig::default(), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ours = format!("SELECT id FROM information_schema.processlist WHERE db = '{}'", database.name());
    let idle = server.client(&ours);
    assert!(!idle.is_empty(), "it has no connection");
    for id in idle.lines() {
        server.client(&format!("KILL {id}"));
    }
    until("they are closed", || server.client(&ours).is_empty()).await;
    // Not even a first try fails.
    let reply = bench.engine.place(bench.ask("ada").line(sku, 1).0).await;
    placed(&reply.expect("an answer"));
    bench.assert_holds().await;
}
