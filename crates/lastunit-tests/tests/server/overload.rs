//! A queue that is full, and a store that is away.

use lastunit_tests::{
    Fault,
    server::{GUARD, Shop, order_of},
};
use tokio::time::timeout;

#[tokio::test]
async fn a_full_queue_answers_503_at_once_and_recovers() {
    let shop = Shop::open_with(|options| {
        options.max_waiting = Some(2);
        options.gate_closed = true;
    })
    .await;
    let sku = shop.sku(100, 10).await;
    let order = order_of(&[(sku, 1)]);
    let call = |key: &'static str| {
        let (buyer, order) = (shop.buyer("ada"), order.clone());
        tokio::spawn(async move { buyer.place(&order, key).await })
    };
    let first = call("1");
    timeout(GUARD, shop.tap.entered()).await.expect("the first order reaches the store");
    let waiting = [call("2"), call("3")];
    let full =
        async { while !shop.stranger().get("/metrics").await.text().contains("lastunit_queue_depth 2\n") {} };
    timeout(GUARD, full).await.expect("the queue fills");

    let ada = shop.buyer("ada");
    for key in ["4", "5", "4"] {
        let refused = ada.place(&order, key).await;
        refused.problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    // Whatever isn't an order is served all the same.
    ada.get("/v1/orders").await.is(200);
    shop.stranger().get("/health/ready").await.is(200);

    shop.tap.open();
    for accepted in [first].into_iter().chain(waiting) {
        let answer = accepted.await.expect("no panic");
        assert!(!answer.replayed());
        answer.is(201);
    }
    for key in ["4", "5"] {
        let answer = ada.place(&order, key).await;
        assert!(!answer.replayed(), "nothing was kept of a call that was refused so");
        answer.is(201);
    }
    assert_eq!(shop.stock(sku).await, 5);
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn a_store_that_is_away_answers_503_and_the_key_is_safe_to_send_again() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 10).await;
    let (ada, order) = (shop.buyer("ada"), order_of(&[(sku, 1)]));
    shop.tap.fail([Fault::Unavailable]);
    let away = ada.place(&order, "k").await;
    let problem = away.problem(503, "store_unavailable");
    assert_eq!(away.header("retry-after"), Some("1"));
    assert!(!problem.to_string().contains("on purpose"), "the cause is for the log: {problem}");
    assert!(!ada.place(&order, "k").await.replayed());

    // Committed, but nobody knows: the key tells.
    shop.tap.fail([Fault::CommittedUnknown]);
    let placed = ada.place(&order, "unknown").await;
    assert!(placed.replayed());
    placed.is(201);
    assert_eq!(shop.stock(sku).await, 8);
    shop.bench.assert_holds().await;
}
