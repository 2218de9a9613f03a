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
