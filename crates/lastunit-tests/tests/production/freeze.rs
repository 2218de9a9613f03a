//! A database, or a Redis, that stands still: connections stay open, and nobody answers.

use std::time::{Duration, Instant};

use lastunit_tests::{
    server::{
        Call, Database, GUARD, Process,
        load::{orders_in, sku, stock},
        order_of_cart, placing,
    },
    servers::Redis,
};
use serde_json::json;
use tokio::{
    task::{JoinSet, block_in_place},
    time::{sleep, timeout},
};

use crate::{
    crowd::{Crowd, assert_kept, patiently},
    setup::{Kind, serve, stop},
};

const STOCK: i64 = 1_000_000;
/// An answer takes a dozen seconds at most; as much again, where the machine is busy.
const ANSWERED: Duration = Duration::from_secs(25);

on_both!(
    a_database_that_stands_still_leaves_no_call_unanswered,
    a_redis_that_stands_still_holds_up_carts_alone
);

/// Sends calls to every server at once, each of which has to be answered 503; the longest that one took.
async fn assert_unavailable(servers: &[Process], calls: &[Call]) -> Duration {
    let mut answers = JoinSet::new();
    for server in servers {
        for call in calls.iter().cloned() {
            let ada = server.buyer("ada");
            answers.spawn(async move {
                let sent = Instant::now();
                ada.send(call).await.problem(503, "store_unavailable");
                sent.elapsed()
            });
        }
    }
    answers.join_all().await.into_iter().max().expect("an answer")
}

/// Has every server open as many connections to its database as it may: a call that finds one open waits longer than
/// one that finds none.
async fn use_all_connections(servers: &[Process]) {
    let mut calls = JoinSet::new();
    for server in servers {
        for n in 0..64 {
            let buyer = server.buyer(&format!("b{n}"));
            calls.spawn(async move { buyer.get("/v1/orders").await.is(200) });
        }
    }
    calls.join_all().await;
}

async fn a_database_that_stands_still_leaves_no_call_unanswered(kind: Kind) {
    let own = kind.start();
    let carts = Redis::shared_database();
    let database = Database::at(own.url(), carts.url());
    let servers = serve(&database, 2).await;
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    use_all_connections(&servers).await;
    let crowd = Crowd::new(&servers, sku);
    crowd.orders(300).await;

    block_in_place(|| own.freeze());
    let ready = [Call::new("GET", "/health/ready")];
    let others = [
        Call::new("GET", format!("/v1/skus/{sku}")),
        Call::new("GET", "/v1/orders"),
        Call::new("GET", "/v1/cart"),
        Call::new("PUT", format!("/v1/cart/lines/{sku}")).json(&json!({"count": 1})),
        placing(&order_of_cart(), "k"),
        Call::post("/v1/orders/01890000-0000-7000-8000-000000000000/cancel"),
        Call::new("PATCH", format!("/v1/admin/skus/{sku}")).json(&json!({"price": 100})),
    ];
    let (ready, others) =
        tokio::join!(assert_unavailable(&servers, &ready), assert_unavailable(&servers, &others));
    for server in &servers {
        server.admin().get("/health/live").await.is(200);
    }
    crowd.all_refused().await;

    let thawed = Instant::now();
    block_in_place(|| own.thaw());
    let first = crowd.first_after(thawed).await;
    for server in &servers {
        let asked = async {
            while server.admin().get("/health/ready").await.status != 200 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(GUARD, asked).await.expect("ready again");
    }
    crowd.orders(300).await;
    let told = crowd.leave().await;
    println!(
        "{kind:?} stood still: orders were answered after {:.1?} at most, other calls after {others:.1?}, readiness \
         after {ready:.1?}; the first order came {first:.1?} after it went on",
        told.slowest
    );
    assert!(told.slowest.max(others).max(ready) < ANSWERED);

    let orders = assert_kept(&servers, sku, &told).await;
    assert_eq!(stock(&servers[0].admin(), sku).await, STOCK - orders as i64);
    stop(servers).await;
    assert_eq!(orders_in(&database).await, orders);
}

async fn a_redis_that_stands_still_holds_up_carts_alone(kind: Kind) {
    let redis = Redis::start(&[]);
    let database = Database::at(kind.database(), redis.url());
    let servers = serve(&database, 2).await;
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    let ada = servers[0].buyer("ada");
    let put = Call::new("PUT", format!("/v1/cart/lines/{sku}")).json(&json!({"count": 1}));
    ada.send(put.clone()).await.is(200);
    let crowd = Crowd::new(&servers, sku);
    crowd.orders(300).await;

    block_in_place(|| redis.freeze());
    let stands = Instant::now();
    let calls = [Call::new("GET", "/v1/cart"), put, placing(&order_of_cart(), "k")];
    let slowest = assert_unavailable(&servers, &calls).await;
    crowd.first_after(stands).await;
    crowd.orders(300).await;
    block_in_place(|| redis.thaw());
    let (order, _) = patiently(&ada, &placing(&order_of_cart(), "k")).await;
    assert_eq!(order.is(201)["lines"][0]["count"], 1);
    let told = crowd.leave().await;
    println!("Redis stood still: carts were answered after {slowest:.1?} at most");
    assert!(slowest < ANSWERED);
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    stop(servers).await;
    assert_eq!(orders_in(&database).await, told.placed.len() + 1);
}
