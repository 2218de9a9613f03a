//! Far more attempts than units, over three servers on one database: exactly the units are sold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lastunit_tests::{
    server::{
        Client, Database,
        load::{CLIENTS, orders_in, sku, stock},
        order_of, placing,
    },
    servers::Redis,
};
use tokio::task::JoinSet;

use crate::{
    crowd::patiently,
    setup::{Kind, serve, stop},
};

const ATTEMPTS: usize = 5_000;
const UNITS: usize = 1_000;

on_both!(exactly_what_is_in_stock_is_sold_though_every_call_is_sent_to_two_servers);

async fn exactly_what_is_in_stock_is_sold_though_every_call_is_sent_to_two_servers(kind: Kind) {
    let carts = Redis::shared_database();
    let database = Database::at(kind.database(), carts.url());
    let servers = serve(&database, 3).await;
    let sku = sku(&servers[0].admin(), 100, UNITS as i64).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut buyers = JoinSet::new();
    for n in 0..CLIENTS {
        let clients: Vec<Client> = servers.iter().map(|server| server.buyer(&format!("b{n}"))).collect();
        let (next, order) = (next.clone(), order_of(&[(sku, 1)]));
        buyers.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let attempt = next.fetch_add(1, Ordering::Relaxed);
                if attempt >= ATTEMPTS {
                    return answers;
                }
                let call = placing(&order, &format!("k{attempt}"));
                let (first, refused) = patiently(&clients[attempt % 3], &call).await;
                assert!(refused > 0 || !first.replayed(), "k{attempt}");
                let (second, _) = patiently(&clients[(attempt + 1) % 3], &call).await;
                assert!(second.replayed(), "k{attempt}");
                assert_eq!((second.status, second.without_id()), (first.status, first.without_id()));
                answers.push(first);
            }
        });
    }
    let answers: Vec<_> = buyers.join_all().await.into_iter().flatten().collect();
    let (placed, short): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((placed.len(), short.len()), (UNITS, ATTEMPTS - UNITS));
    short.iter().for_each(|answer| drop(answer.problem(409, "insufficient_stock")));
    for server in &servers {
        assert_eq!(stock(&server.admin(), sku).await, 0);
    }
    stop(servers).await;
    assert_eq!(orders_in(&database).await, UNITS);
}
