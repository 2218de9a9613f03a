//! Servers and connections that fail while orders are placed.

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{remote::outage, servers::Postgres};

use crate::{WAITS, count, lock_all_skus, open, ours};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_is_recovered_from() {
    let server = Postgres::shared();
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = Postgres::shared_database();
        let bench = open(database.url(), RemoteConfig::default(), strategy).await;
        let waits = ours(database.name(), WAITS);
        let kill = format!("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {waits}");
        let lock = lock_all_skus(server, database.name());
        outage::a_killed_connection_is_recovered_from(&bench, lock, || server.client(&kill) != "0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_every_acknowledged_order() {
    for strategy in [Strategy::Batched, Strategy::Pessimistic] {
        let server = Postgres::start(&[]);
        let bench = open(&server.url(), RemoteConfig::default(), strategy).await;
        outage::a_server_killed_under_load_keeps_every_acknowledged_order(&server, &bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_in_bounded_time_and_recovers() {
    let server = Postgres::start(&[]);
    let bench = open(&server.url(), outage::impatient(), Strategy::Batched).await;
    let ours = format!("SELECT pid FROM pg_stat_activity WHERE {}", ours("postgres", "TRUE"));
    let connections = || server.client(&ours).lines().map(str::to_owned).collect();
    outage::a_frozen_server_is_unavailable_in_bounded_time_and_recovers(&server, &bench, connections).await;
}

/// Its locks would be held for ever, if nobody ended its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_isnt_given_back_is_waited_for_in_bounded_time() {
    let (server, database) = (Postgres::shared(), Postgres::shared_database());
    let bench = open(database.url(), outage::impatient_for_locks(), Strategy::Batched).await;
    let lock = lock_all_skus(server, database.name());
    let left = || count(server, database.name(), "state <> 'idle'");
    outage::a_lock_that_isnt_given_back_is_waited_for_in_bounded_time(&bench, lock, left).await;
}

/// COMMIT is sent behind the last write unseen, so that one has to fail by itself. Nothing but a trigger can make it find
/// less than was locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_doesnt_find_all_that_it_should_is_rolled_back_by_its_commit() {
    let (server, database) = (Postgres::shared(), Postgres::shared_database());
    let bench = open(database.url(), RemoteConfig::default(), Strategy::Batched).await;
    let sku = bench.sku(500, 5).await;
    let sql = |sql: &str| server.client_of(database.name(), sql);
    sql("CREATE FUNCTION skip() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'");
    for (nth, table) in ["sku", "product"].into_iter().enumerate() {
        let ask = bench.ask("ada").line(sku, 1);
        sql(&format!("CREATE TRIGGER skip BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION skip()"));
        assert_eq!(bench.engine.place(ask.0.clone()).await, Err(PlaceError::Unavailable), "{table}");
        assert_eq!(bench.orders("ada").await.len(), nth, "{table}: nothing was written");
        sql(&format!("DROP TRIGGER skip ON {table}"));
        assert!(!bench.place(&ask).await.replayed, "{table}: not even the key");
    }
    bench.assert_counters(sku, 3, 2).await;
    bench.assert_holds().await;
}
