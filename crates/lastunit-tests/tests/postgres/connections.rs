//! A pool that is used up, and callers that go away.

use lastunit::*;
use lastunit_tests::{
    remote::{outage, until},
    servers::Postgres,
};

use crate::{WAITS, count, lock_all_skus, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_used_up_is_unavailable_and_recovers() {
    let (server, database) = (Postgres::shared(), Postgres::shared_database());
    let bench = open(database.url(), outage::few(2), Strategy::Pessimistic).await;
    let lock = lock_all_skus(server, database.name());
    let waiting = || count(server, database.name(), WAITS);
    outage::a_pool_that_is_used_up_is_unavailable_and_recovers(&bench, lock, waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_lost_its_caller_is_undone_and_gives_its_connection_back() {
    let (server, database) = (Postgres::shared(), Postgres::shared_database());
    let bench = open(database.url(), outage::few(1), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let holder = lock_all_skus(server, database.name()).await;
    outage::leave_a_change_of_stock(&bench, sku, || count(server, database.name(), WAITS)).await;
    drop(holder);
    until("the connection is free", || count(server, database.name(), "state <> 'idle'") == 0).await;
    // The only connection there is.
    bench.assert_counters(sku, 10, 0).await;
    assert_eq!(count(server, database.name(), "TRUE"), 1);
    bench.assert_holds().await;
}
