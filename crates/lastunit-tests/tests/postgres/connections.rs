//! A pool that is used up, and callers that go away.

use std::{num::NonZeroUsize, time::Duration};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{accept, placed, servers::Postgres};

use crate::{Holder, bounded, count, open, until};

/// So many connections, for which nobody waits long, while locks are waited for longer than a test takes.
fn few(connections: usize) -> RemoteConfig {
    RemoteConfig {
        max_connections: NonZeroUsize::new(connections).expect("not zero"),
        wait_timeout: Duration::from_millis(300),
        lock_timeout: Duration::from_secs(600),
        transaction_timeout: Duration::from_secs(600),
        ..RemoteConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_is_used_up_is_unavailable_and_recovers() {
    let database = Postgres::shared_database();
    let bench = open(database.url(), few(2), Strategy::Pessimistic).await;
    let sku = bench.sku(500, 10).await;
    let holder = Holder::of_all_skus(Postgres::shared(), database.name()).await;
    let waiting: Vec<_> = ["ada", "bob"]
        .map(|user| {
            let (engine, request) = (bench.engine.clone(), bench.ask(user).line(sku, 1).0);
            tokio::spawn(async move { engine.place(request).await })
        })
        .into();
    until("both wait", || count(Postgres::shared(), database.name(), "wait_event_type = 'Lock'") == 2).await;
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
async fn a_call_that_lost_its_caller_is_undone_and_gives_its_connection_back() {
    let database = Postgres::shared_database();
    let bench = open(database.url(), few(1), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let holder = Holder::of_all_skus(Postgres::shared(), database.name()).await;
    let change = StockChange { delta: 5, kind: StockChangeKind::Received, reason: "more".into() };
    let (store, source, at) = (bench.store.clone(), bench.uuid(), bench.now());
    let call = async move { store.change_stock(ShopId::FIRST, sku, change, source, at).await };
    let call = accept(call).await;
    let call = tokio::spawn(call);
    let waits = || count(Postgres::shared(), database.name(), "wait_event_type = 'Lock'");
    until("it waits", || waits() == 1).await;
    call.abort();
    drop(holder);
    until("the connection is free", || count(Postgres::shared(), database.name(), "state <> 'idle'") == 0)
        .await;
    // The only connection there is.
    bench.assert_counters(sku, 10, 0).await;
    assert_eq!(count(Postgres::shared(), database.name(), "TRUE"), 1);
    bench.assert_holds().await;
}
