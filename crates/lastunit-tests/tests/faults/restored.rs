//! A Redis that is killed, and comes back with an old snapshot.

use std::{collections::BTreeMap, fs, time::Instant};

use lastunit_tests::{
    server::{
        Call, Client, Database, HasId,
        load::{orders_in, sku, stock},
        order_of_cart, placing,
    },
    servers::{Postgres, Redis},
};
use serde_json::json;
use tokio::{
    task::block_in_place,
    time::{Duration, sleep},
};

const BUYERS: usize = 30;
const STOCK: i64 = 1_000_000;

fn put(sku: i64, count: i64) -> Call {
    Call::new("PUT", format!("/v1/cart/lines/{sku}")).json(&json!({"count": count}))
}

/// Units in a buyer's cart.
async fn in_cart(buyer: &Client) -> i64 {
    let cart = buyer.get("/v1/cart").await.is(200);
    cart["lines"].as_array().into_iter().flatten().map(|line| line["count"].as_i64().expect("a count")).sum()
}

/// Each buyer's units at the snapshot, and those ordered and added since.
fn plan(n: usize) -> (i64, bool, i64) {
    (2 + n as i64 % 5, !n.is_multiple_of(3), n as i64 % 4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_of_the_carts_brings_no_order_back() {
    let redis = Redis::start(&[]);
    let used = Postgres::shared_database();
    let database = Database::at(used.url(), redis.url());
    let servers = [database.serve(&[]).await, database.serve(&[]).await];
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    let name = |n: usize| format!("b{n}");
    for n in 0..BUYERS {
        servers[n % 2].buyer(&name(n)).send(put(sku, plan(n).0)).await.is(200);
    }
    block_in_place(|| redis.client(&["SAVE"]));
    let dump = redis.folder().join("data/dump.rdb");
    let old = fs::read(&dump).expect("a snapshot");
    let (mut orders, mut units) = (BTreeMap::new(), 0);
    for n in 0..BUYERS {
        let (count, ordered, added) = plan(n);
        let buyer = servers[n % 2].buyer(&name(n));
        if ordered {
            orders.insert(n, buyer.place(&order_of_cart(), "first").await.is(201).id());
            units += count;
        }
        if added > 0 {
            buyer.send(put(sku, added)).await.is(200);
        }
    }

    block_in_place(|| redis.kill());
    fs::write(&dump, old).expect("the old snapshot");
    let begun = Instant::now();
    block_in_place(|| redis.start_again());
    while servers[0].buyer("b0").try_send(&Call::new("GET", "/v1/cart")).await.expect("an answer").status
        != 200
    {
        sleep(Duration::from_millis(5)).await;
    }
    let back = begun.elapsed();

    let mut again = 0;
    for n in 0..BUYERS {
        let (count, ordered, _) = plan(n);
        let buyer = servers[(n + 1) % 2].buyer(&name(n));
        // What was added since the snapshot is gone with it. What was ordered since doesn't come back.
        let left = if ordered { 0 } else { count };
        assert_eq!(in_cart(&buyer).await, left, "buyer {n}");
        if let Some(id) = orders.get(&n) {
            let replay = buyer.send(placing(&order_of_cart(), "first")).await;
            assert_eq!((replay.replayed(), &replay.is(201).id()), (true, id), "buyer {n}");
        }
        let second = buyer.place(&order_of_cart(), "second").await;
        if left == 0 {
            second.problem(422, "empty_cart");
        } else {
            assert_eq!(second.is(201)["lines"][0]["count"], left);
            units += left;
            again += 1;
        }
        assert_eq!(in_cart(&buyer).await, 0, "buyer {n}");
    }
    assert_eq!(stock(&servers[0].admin(), sku).await, STOCK - units);
    let (there, acknowledged) = (orders_in(&database).await, orders.len() + again);
    let (lost, duplicated) = (acknowledged.saturating_sub(there), there.saturating_sub(acknowledged));
    println!(
        "Redis killed and restored from an old snapshot: {} orders acknowledged since it, {again} more from the carts that \
         it brought back: {lost} lost, {duplicated} duplicated; carts were back after {back:.1?}",
        orders.len()
    );
    assert_eq!((lost, duplicated), (0, 0));
}
