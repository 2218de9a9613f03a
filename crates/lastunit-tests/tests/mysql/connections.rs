//! A pool that is used up, and callers that go away.

use std::{num::NonZeroUsize, time::Duration};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{accept, placed, servers::MariaDb};

use crate::{Holder, WAITS, bounded, open, transactions, until};

/// So many connections, and locks that are waited for longer than a connection.
fn few(connections: usize) -> RemoteConfig {
    RemoteConfig {
        max_connections: NonZeroUsize::new(connections).expect("not zero"),
        wait_timeout: Duration::from_millis(300),
        lock_timeout: Duration::from_secs(60),
        transaction_timeout: Duration::from_secs(60),
        ..RemoteConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_used_up_is_unavailable_and_recovers() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), few(2), Strategy::Pessimistic).await;
    let sku = bench.sku(500, 10).await;
    let holder = Holder::of_all_skus(server, database.name()).await;
    let waiting: Vec<_> = ["ada", "bob"]
        .map(|user| {
            let (engine, request) = (bench.engine.clone(), bench.ask(user).line(sku, 1).0);
            tokio::spawn(async move { engine.place(request).await })
        })
        .into();
    until("both wait", || transactions(server, database.name(), WAITS).len() == 2).await;
    let refused = bounded(bench.store.ping()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(holder);
    for call in waiting {
        placed(&bounded(call).await.expect("no panic").expect("the lock is free"));
    }
    assert_eq!(bench.store.ping().await, Ok(()));
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_lost_its_caller_is_undone_and_gives_its_place_back() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), few(1), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let holder = Holder::of_all_skus(server, database.name()).await;
    let change = StockChange { delta: 5, kind: StockChangeKind::Received, reason: "more".into() };
    let (store, source, at) = (bench.store.clone(), bench.uuid(), bench.now());
    let call = async move { store.change_stock(ShopId::FIRST, sku, change, source, at).await };
    let call = accept(call).await;
    let call = tokio::spawn(call);
    until("it waits", || transactions(server, database.name(), WAITS).len() == 1).await;
    call.abort();
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
