//! A server that is told to stop answers what it accepted, and stops.

use std::time::Duration;

use lastunit_tests::server::{
    Call, Database, GUARD, HasId, Raw, Shop,
    load::{buyer_of, orders_in, sku, stock},
    order_of,
};
use tokio::time::timeout;

use crate::load::order_until_gone;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_amid_orders_leaves_no_order_unanswered() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, 1_000_000).await;
    let told = order_until_gone(&server.admin(), sku, 0, 300, || server.terminate()).await;
    assert!(told.others.is_empty(), "{:?}", told.others);
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped") && !log.contains("WARN"), "{log}");
    // No call without an answer was taken: there are just the orders that were acknowledged.
    assert_eq!(orders_in(&database).await, told.placed.len());

    let server = database.serve(&[]).await;
    for (key, id) in told.placed.iter().take(20) {
        let replay = server.buyer(buyer_of(key)).place(&order_of(&[(sku, 1)]), key).await;
        assert_eq!((replay.replayed(), &replay.is(201).id()), (true, id));
    }
    for key in &told.unanswered {
        let placed = server.buyer(buyer_of(key)).place(&order_of(&[(sku, 1)]), key).await;
        assert!(!placed.replayed());
        placed.is(201);
    }
    let orders = (told.placed.len() + told.unanswered.len()) as i64;
    assert_eq!(stock(&server.admin(), sku).await, 1_000_000 - orders);
}

#[tokio::test]
async fn sigterm_and_sigint_stop_an_idle_server_though_connections_are_open() {
    for signal in ["-TERM", "-INT"] {
        let database = Database::default();
        let server = database.serve(&[]).await;
        let kept_alive = server.admin();
        kept_alive.get("/v1/skus").await.is(200);
        let mut silent = Raw::connect(server.address).await;
        server.signal(signal);
        assert_eq!(silent.rest().await, "");
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(kept_alive.try_send(&Call::new("GET", "/v1/skus")).await.is_err());
        database.assert_holds().await;
    }
}

#[tokio::test]
async fn readiness_turns_503_at_once_and_what_is_under_way_is_answered() {
    let shop = Shop::open_with(|options| {
        options.gate_closed = true;
        options.server.ready_grace = 2 * GUARD;
    })
    .await;
    let sku = shop.sku(100, 5).await;
    let buyer = shop.buyer("ada");
    let under_way = tokio::spawn(async move { buyer.place(&order_of(&[(sku, 1)]), "k").await });
    timeout(GUARD, shop.tap.entered()).await.expect("the order reaches the store");
    shop.stranger().get("/health/ready").await.is(200);
    shop.shutdown();
    shop.stranger().get("/health/ready").await.problem(503, "overloaded");
    shop.stranger().get("/health/live").await.is(200);
    // As long as load balancers send something, it is served.
    shop.buyer("bob").get("/v1/orders").await.is(200);
    shop.tap.open();
    under_way.await.expect("no panic").is(201);
    shop.buyer("bob").place(&order_of(&[(sku, 1)]), "k").await.is(201);
    assert_eq!(shop.stock(sku).await, 3);
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_and_takes_nothing_new() {
    let shop = Shop::open_with(|options| options.gate_closed = true).await;
    let sku = shop.sku(100, 5).await;
    let buyer = shop.buyer("ada");
    let under_way = tokio::spawn(async move { buyer.place(&order_of(&[(sku, 1)]), "k").await });
    timeout(GUARD, shop.tap.entered()).await.expect("the order reaches the store");
    let mut idle = Raw::connect(shop.address).await;
    idle.write("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.hears("{\"status\":\"ok\"}").await;
    let (tap, address) = (shop.tap.clone(), shop.address);
    shop.shutdown();
    // It closes once nothing more is to be said; the order is still under way then.
    assert!(idle.rest().await.starts_with("HTTP/1.1 200 "));
    assert!(!under_way.is_finished());
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    timeout(GUARD, refused).await.expect("no new connection");
    tap.open();
    let answer = under_way.await.expect("no panic");
    answer.is(201);
    assert_eq!(answer.header("connection"), Some("close"));
    timeout(GUARD, shop.join()).await.expect("the server stops");
}

#[tokio::test]
async fn a_drain_ends_though_an_order_hangs() {
    let shop = Shop::open_with(|options| {
        options.gate_closed = true;
        options.server.drain_timeout = Duration::from_millis(100);
    })
    .await;
    let sku = shop.sku(100, 5).await;
    let buyer = shop.buyer("ada");
    let call = lastunit_tests::server::placing(&order_of(&[(sku, 1)]), "k");
    let under_way = tokio::spawn(async move { buyer.try_send(&call).await });
    timeout(GUARD, shop.tap.entered()).await.expect("the order reaches the store");
    shop.shutdown();
    timeout(GUARD, shop.join()).await.expect("the server stops");
    assert!(under_way.await.expect("no panic").is_err(), "it learns that there is no answer");
}
