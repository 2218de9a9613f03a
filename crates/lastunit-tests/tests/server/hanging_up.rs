//! Clients that send a whole order and don't stay for the answer.

use lastunit_tests::{
    all_at_once,
    server::{GUARD, HasId, Raw, Shop, order_of},
};
use tokio::time::timeout;

/// A whole order as it goes over the wire.
fn order_on_the_wire(shop: &Shop, user: &str, key: &str, sku: i64) -> String {
    let body = order_of(&[(sku, 1)]).to_string();
    let head = shop.head("POST /v1/orders", user);
    format!("{head}Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Waits until the buyer has an order, and asserts that it is the key's and the only one.
async fn assert_placed_once(shop: &Shop, user: &str, key: &str, sku: i64) {
    let buyer = shop.buyer(user);
    let placed = async {
        loop {
            let orders = buyer.get("/v1/orders").await.is(200)["items"].clone();
            if let Some(order) = orders.get(0) {
                break order.clone();
            }
        }
    };
    let order = timeout(GUARD, placed).await.expect("the order is placed");
    let replay = buyer.place(&order_of(&[(sku, 1)]), key).await;
    assert_eq!((replay.replayed(), replay.is(201).id()), (true, order.id()));
    assert_eq!(shop.bench.orders(user).await.len(), 1);
}

#[tokio::test]
async fn an_order_under_way_is_placed_though_its_client_hangs_up() {
    let shop = Shop::open_with(|options| options.gate_closed = true).await;
    let sku = shop.sku(100, 5).await;
    let mut raw = Raw::connect(shop.address).await;
    raw.write(order_on_the_wire(&shop, "ada", "k", sku)).await;
    timeout(GUARD, shop.tap.entered()).await.expect("the order reaches the store");
    drop(raw);
    shop.buyer("bob").get("/v1/orders").await.is(200);
    shop.tap.open();
    assert_placed_once(&shop, "ada", "k", sku).await;
    assert_eq!(shop.stock(sku).await, 4);
    shop.bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_sent_whole_are_placed_though_their_clients_hang_up_at_once() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 1_000).await;
    let hang_up = |n: usize| {
        let (address, order) = (shop.address, order_on_the_wire(&shop, &format!("b{n}"), "k", sku));
        async move { assert!(Raw::connect(address).await.write(order).await) }
    };
    all_at_once((0..100).map(hang_up)).await;
    for n in 0..100 {
        assert_placed_once(&shop, &format!("b{n}"), "k", sku).await;
    }
    assert_eq!(shop.stock(sku).await, 900);
    shop.bench.assert_holds().await;
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_its_answer() {
    let shop = Shop::open().await;
    let sku = shop.sku(100, 5).await;
    let mut raw = Raw::connect(shop.address).await;
    raw.write(order_on_the_wire(&shop, "ada", "k", sku)).await;
    raw.finish().await;
    let said = raw.rest().await;
    assert!(said.starts_with("HTTP/1.1 201 "), "{said}");
}
