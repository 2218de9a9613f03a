//! kill -9 of the database, and of Redis, amid orders.

use std::time::{Duration, Instant};

use lastunit_tests::{
    server::{
        Call, Database,
        load::{orders_in, sku, stock},
        order_of_cart, placing,
    },
    servers::Redis,
};
use serde_json::json;
use tokio::{task::block_in_place, time::timeout};

use crate::{
    crowd::{Crowd, assert_kept, patiently},
    setup::{Kind, serve, stop},
};

const STOCK: i64 = 1_000_000;
/// Past it a server doesn't find its way back by itself.
const BACK: Duration = Duration::from_secs(30);

on_both!(no_acknowledged_order_dies_with_the_database, orders_with_lines_go_on_without_redis);

async fn no_acknowledged_order_dies_with_the_database(kind: Kind) {
    let own = kind.start();
    let carts = Redis::shared_database();
    let database = Database::at(own.url(), carts.url());
    let servers = serve(&database, 2).await;
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    let crowd = Crowd::new(&servers, sku);
    crowd.orders(300).await;
    block_in_place(|| own.kill());
    crowd.all_refused().await;
    let started = Instant::now();
    block_in_place(|| own.start_again());
    let answers = started.elapsed();
    let first = timeout(BACK, crowd.first_after(started)).await.expect("an order");
    println!(
        "{kind:?}, started again, answers after {answers:.1?}; the first order is there after {first:.1?}"
    );
    crowd.orders(300).await;
    let told = crowd.leave().await;

    let orders = assert_kept(&servers, sku, &told).await;
    assert_eq!(stock(&servers[1].admin(), sku).await, STOCK - orders as i64);
    stop(servers).await;
    assert_eq!(orders_in(&database).await, orders);
}

async fn orders_with_lines_go_on_without_redis(kind: Kind) {
    let redis = Redis::start(&[]);
    let database = Database::at(kind.database(), redis.url());
    let servers = serve(&database, 2).await;
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    let ada = [servers[0].buyer("ada"), servers[1].buyer("ada")];
    let put = Call::new("PUT", format!("/v1/cart/lines/{sku}")).json(&json!({"count": 3}));
    ada[0].send(put.clone()).await.is(200);
    ada[1].place(&order_of_cart(), "before").await.is(201);
    ada[0].send(put.clone()).await.is(200);
    let crowd = Crowd::new(&servers, sku);
    crowd.orders(300).await;

    block_in_place(|| redis.kill());
    let gone = Instant::now();
    for ada in &ada {
        let calls = [
            Call::new("GET", "/v1/cart"),
            put.clone(),
            Call::new("DELETE", format!("/v1/cart/lines/{sku}")),
            placing(&order_of_cart(), "while it is gone"),
        ];
        for call in calls {
            ada.send(call).await.problem(503, "store_unavailable");
        }
    }
    crowd.first_after(gone).await;
    crowd.orders(300).await;

    block_in_place(|| redis.start_again());
    for ada in &ada {
        let back = timeout(BACK, patiently(ada, &Call::new("GET", "/v1/cart"))).await.expect("carts again");
        // This Redis kept nothing. That the cart was ordered once is in the database.
        assert_eq!(back.0.is(200)["lines"], json!([]));
    }
    ada[0].place(&order_of_cart(), "empty").await.problem(422, "empty_cart");
    ada[0].send(put).await.is(200);
    let order = ada[1].place(&order_of_cart(), "while it is gone").await;
    assert_eq!((order.replayed(), &order.is(201)["lines"][0]["count"]), (false, &json!(3)));

    let told = crowd.leave().await;
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let orders = assert_kept(&servers, sku, &told).await + 2;
    assert_eq!(stock(&servers[0].admin(), sku).await, STOCK - orders as i64 - 4);
    stop(servers).await;
    assert_eq!(orders_in(&database).await, orders);
}
