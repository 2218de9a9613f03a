//! Carts in Redis, which several servers share.

use lastunit_tests::{
    server::{
        Database,
        load::{CLIENTS, orders_in, sku, stock},
        order_of_cart, placing,
    },
    servers::Redis,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    crowd::patiently,
    setup::{Kind, serve, stop},
};

const STOCK: i64 = 1_000_000;
const ROUNDS: usize = 5;

on_both!(a_cart_is_ordered_once_though_two_servers_are_asked_at_once);

async fn a_cart_is_ordered_once_though_two_servers_are_asked_at_once(kind: Kind) {
    let carts = Redis::shared_database();
    let database = Database::at(kind.database(), carts.url());
    let servers = serve(&database, 3).await;
    let sku = sku(&servers[0].admin(), 100, STOCK).await;
    let mut buyers = JoinSet::new();
    for n in 0..CLIENTS {
        let clients: Vec<_> = servers.iter().map(|server| server.buyer(&format!("b{n}"))).collect();
        buyers.spawn(async move {
            for round in 0..ROUNDS {
                let at = |offset| &clients[(n as usize + round + offset) % clients.len()];
                let cart = at(0).put(&format!("/v1/cart/lines/{sku}"), &json!({"count": 2})).await.is(200);
                assert_eq!(cart["lines"][0]["count"], 2, "what was ordered before is gone: {cart}");
                let order = order_of_cart();
                let [one, other] = ["a", "b"].map(|name| placing(&order, &format!("{round}{name}")));
                let (one, other) = tokio::join!(patiently(at(1), &one), patiently(at(2), &other));
                let (placed, not) = if one.0.status == 201 { (one.0, other.0) } else { (other.0, one.0) };
                let placed = placed.is(201);
                assert_eq!((&placed["lines"][0]["count"], &placed["goods_amount"]), (&json!(2), &json!(200)));
                match not.status {
                    409 => not.problem(409, "cart_changed"),
                    _ => not.problem(422, "empty_cart"),
                };
                for client in &clients {
                    assert_eq!(client.get("/v1/cart").await.is(200)["lines"], json!([]));
                }
            }
        });
    }
    buyers.join_all().await;
    let orders = CLIENTS as usize * ROUNDS;
    assert_eq!(stock(&servers[0].admin(), sku).await, STOCK - 2 * orders as i64);
    stop(servers).await;
    assert_eq!(orders_in(&database).await, orders);
}
