//! Servers and connections that fail while orders are placed.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{Ask, placed, servers::Postgres};

use crate::{Holder, bounded, count, open, ours, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backend_is_recovered_from() {
    let server = Postgres::shared();
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = Postgres::shared_database();
        let bench = open(database.url(), RemoteConfig::default(), strategy).await;
        let sku = bench.sku(500, 10).await;
        let ask = bench.ask("ada").line(sku, 1);
        let holder = Holder::of_all_skus(server, database.name()).await;
        let call = tokio::spawn({
            let (engine, request) = (bench.engine.clone(), ask.0.clone());
            async move { engine.place(request).await }
        });
        let waits = ours(database.name(), "wait_event_type = 'Lock'");
        let kill = format!("SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {waits}");
        until("it waits for the lock", || server.client(&kill) != "0").await;
        assert_eq!(bounded(call).await.expect("no panic"), Err(PlaceError::Unavailable), "{strategy:?}");
        drop(holder);
        let reply = bench.place(&ask).await;
        assert!(!reply.replayed, "nothing was placed before: {reply:?}");
        bench.assert_counters(sku, 9, 1).await;
        bench.assert_holds().await;
    }
}

/// Buyers who never give up, each order under its own key.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    buyers: Vec<tokio::task::JoinHandle<Vec<OrderId>>>,
}

impl Load {
    fn start(engine: &Engine, asks: Vec<Vec<Ask>>) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let buy = |asks: Vec<Ask>| {
            let (engine, acknowledged) = (engine.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut ids = Vec::with_capacity(asks.len());
                for Ask(request) in asks {
                    let reply = loop {
                        match engine.place(request.clone()).await {
                            Ok(reply) => break reply,
                            Err(PlaceError::Unavailable) => {
                                tokio::time::sleep(Duration::from_millis(20)).await
                            }
                            Err(other) => panic!("no answer: {other:?}"),
                        }
                    };
                    ids.push(placed(&reply).id);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                ids
            })
        };
        let buyers = asks.into_iter().map(buy).collect();
        Self { acknowledged, buyers }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    async fn end(self) -> HashSet<OrderId> {
        let mut ids = HashSet::new();
        for buyer in self.buyers {
            ids.extend(bounded(buyer).await.expect("no panic"));
        }
        ids
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_every_acknowledged_order() {
    const BUYERS: usize = 16;
    const ORDERS: usize = 60;
    for strategy in [Strategy::Batched, Strategy::Pessimistic] {
        let server = Postgres::start(&[]);
        let bench = open(&server.url(), RemoteConfig::default(), strategy).await;
        let skus = bench.skus(500, &[10_000, 10_000]).await;
        let asks = |buyer: usize| -> Vec<Ask> {
            (0..ORDERS).map(|at| bench.ask(&format!("buyer-{buyer}")).line(skus[at % 2], 1)).collect()
        };
        let load = Load::start(&bench.engine, (0..BUYERS).map(asks).collect());
        for part in [4, 2] {
            until("orders are placed", || load.acknowledged() > BUYERS * ORDERS / part).await;
            server.kill();
            server.start_again();
        }
        let acknowledged = load.end().await;
        assert_eq!(acknowledged.len(), BUYERS * ORDERS, "an order was placed twice under one id");
        let mut kept = HashSet::new();
        for at in 0..BUYERS {
            kept.extend(bench.orders(&format!("buyer-{at}")).await.iter().map(|order| order.id));
        }
        assert_eq!(kept, acknowledged, "orders that are kept, and that were acknowledged");
        for sku in skus {
            let sold = (BUYERS * ORDERS / 2) as i64;
            bench.assert_counters(sku, 10_000 - sold, sold).await;
        }
        bench.assert_holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_in_bounded_time_and_recovers() {
    let server = Postgres::start(&[]);
    let config = RemoteConfig {
        wait_timeout: Duration::from_millis(500),
        transaction_timeout: Duration::from_millis(500),
        ..RemoteConfig::default()
    };
    let bench = open(&server.url(), config, Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let connections = format!("SELECT pid FROM pg_stat_activity WHERE {}", ours("postgres", "TRUE"));
    let connections = server.client(&connections).lines().collect::<Vec<_>>().join(", ");
    server.freeze();
    for _ in 0..3 {
        let unavailable = bounded(bench.engine.place(ask.0.clone())).await;
        assert_eq!(unavailable, Err(PlaceError::Unavailable));
        let unavailable = bounded(bench.store.sku(ShopId::FIRST, sku)).await;
        assert!(matches!(unavailable, Err(StoreError::Unavailable(_))), "{unavailable:?}");
    }
    server.thaw();
    let begun = std::time::Instant::now();
    while bench.store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it doesn't recover");
    }
    // Nobody knows what they were doing.
    let connections = format!("pid IN ({connections})");
    until("the old connections are gone", || count(&server, "postgres", &connections) == 0).await;
    let order = placed(&bench.place(&ask).await).clone();
    assert_eq!(bench.orders("ada").await, [order]);
    bench.assert_counters(sku, 9, 1).await;
    bench.assert_holds().await;
}

/// Its locks would be held for ever, if nobody ended its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_isnt_given_back_is_waited_for_in_bounded_time() {
    let (server, database) = (Postgres::shared(), Postgres::shared_database());
    let config = RemoteConfig { lock_timeout: Duration::from_millis(100), ..RemoteConfig::default() };
    let bench = open(database.url(), config, Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let holder = Holder::of_all_skus(server, database.name()).await;
    assert_eq!(bounded(bench.engine.place(ask.0.clone())).await, Err(PlaceError::Unavailable));
    assert!(bench.engine.retries() > 0, "a lock that is held may be free the next time");
    assert_eq!(count(server, database.name(), "state <> 'idle'"), 0, "a transaction was left open");
    drop(holder);
    assert!(!bench.place(&ask).await.replayed);
    bench.assert_holds().await;
}
