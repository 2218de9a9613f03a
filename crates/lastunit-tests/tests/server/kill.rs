//! kill -9 amid orders, and what is there afterwards.

use lastunit_tests::server::{
    Client, Database, HasId,
    load::{buyer_of, orders_in, sku, stock},
    order_of,
};

use crate::load::{Told, order_until_gone};

const ROUNDS: usize = 5;
const STOCK: i64 = 1_000_000;

/// Every acknowledged order is there under its id and its key; a key without an answer gives one order, the same
/// at every call. How many there are by then.
async fn assert_kept(server: &Client, sku: i64, told: &Told) -> usize {
    let order = order_of(&[(sku, 1)]);
    for (key, id) in &told.placed {
        let buyer = server.clone().buyer(buyer_of(key));
        assert_eq!(buyer.get(&format!("/v1/orders/{id}")).await.is(200).id(), *id);
        let replay = buyer.place(&order, key).await;
        assert_eq!((replay.replayed(), &replay.is(201).id()), (true, id), "{key}");
    }
    for key in &told.unanswered {
        let buyer = server.clone().buyer(buyer_of(key));
        let first = buyer.place(&order, key).await.is(201).id();
        let again = buyer.place(&order, key).await;
        assert_eq!((again.replayed(), again.is(201).id()), (true, first), "{key}");
    }
    told.placed.len() + told.unanswered.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_order_is_lost_and_no_key_has_two() {
    let database = Database::default();
    let mut server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, STOCK).await;
    let mut orders = 0;
    for round in 0..ROUNDS {
        let admin = server.admin();
        // Another moment in each round.
        let acknowledged = 200 + 61 * round as u64;
        let told = order_until_gone(&admin, sku, round, acknowledged, || server.kill()).await;
        assert!(told.others.is_empty(), "{:?}", told.others);
        assert!(told.placed.len() as u64 >= acknowledged && !told.unanswered.is_empty());

        server = database.serve(&[]).await;
        orders += assert_kept(&server.admin(), sku, &told).await;
        assert_eq!(stock(&server.admin(), sku).await, STOCK - orders as i64, "after round {round}");
    }
    server.kill();
    assert_eq!(orders_in(&database).await, orders);
}
