//! A commit that waits for its standby: until that has the order, nobody is told of it.

use std::{sync::Arc, time::Duration};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{
    Bench, placed,
    remote::{bounded, until},
    servers::Postgres,
};

use crate::{count, open, ours};

/// Lets commits wait for a standby that isn't there, or no longer.
async fn require_standby(server: &Postgres, required: bool) {
    let name = if required { "missing" } else { "" };
    server.client(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
    server.client("SELECT pg_reload_conf()");
    if required {
        return;
    }
    until("nobody waits", || count(server, "postgres", "wait_event = 'SyncRep'") == 0).await;
}

/// Places an order whose commit waits for the standby, has its connection treated so (`pg_cancel_backend`), and gives
/// what the store says of it.
async fn place_and(
    bench: &Bench,
    server: &Postgres,
    order: &Arc<Vec<PlaceOrder>>,
    what: &str,
) -> Result<Vec<Reply>, StoreError> {
    let call = tokio::spawn({
        let (store, order) = (bench.store.clone(), order.clone());
        async move { store.place(ShopId::FIRST, order, Locking::Shared, &NextBatch::default()).await }
    });
    let waits = ours("postgres", "wait_event = 'SyncRep'");
    let treat = format!("SELECT COUNT({what}(pid)) FROM pg_stat_activity WHERE {waits}");
    until("the commit waits for the standby", || call.is_finished() || server.client(&treat) != "0").await;
    bounded(call).await.expect("no panic")
}

async fn an_order_is_acknowledged_once_the_standby_has_it(what: &str) {
    let server = Postgres::start(&[]);
    // Longer than the test takes to notice that a commit waits.
    let config = RemoteConfig { transaction_timeout: Duration::from_secs(30), ..RemoteConfig::default() };
    let bench = open(&server.url(), config, Strategy::Batched).await;
    let sku = bench.sku(500, 100).await;
    require_standby(&server, true).await;
    let prepared =
        |user: &str| Arc::new(vec![bench.prepared(&bench.ask(user).line(sku, 1), CartSnapshot::NOT_NEEDED)]);
    // The server takes a moment to know of the standby.
    let mut order = prepared("ada");
    let mut first = place_and(&bench, &server, &order, what).await;
    for _ in 0..50 {
        if first.is_err() {
            break;
        }
        order = prepared("ada");
        first = place_and(&bench, &server, &order, what).await;
    }
    assert!(matches!(first, Err(StoreError::CommitUnknown(_))), "{first:?}");
    // The order is there, for whoever asks this server; but it may be lost with it, and so isn't acknowledged.
    assert!(bench.orders("ada").await.iter().any(|stands| stands.id == order[0].order_id));
    for _ in 0..2 {
        let again = place_and(&bench, &server, &order, what).await;
        assert!(matches!(again, Err(StoreError::CommitUnknown(_))), "{again:?}");
    }
    require_standby(&server, false).await;
    let replies = bench
        .store
        .place(ShopId::FIRST, order.clone(), Locking::Shared, &NextBatch::default())
        .await
        .expect("an answer");
    assert!(replies[0].replayed);
    assert_eq!(placed(&replies[0]).id, order[0].order_id);
    bench.buy(&bench.ask("bob").line(sku, 1)).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_wait_is_canceled_is_no_acknowledgement() {
    an_order_is_acknowledged_once_the_standby_has_it("pg_cancel_backend").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_killed_at_commit_is_no_acknowledgement() {
    an_order_is_acknowledged_once_the_standby_has_it("pg_terminate_backend").await;
}
