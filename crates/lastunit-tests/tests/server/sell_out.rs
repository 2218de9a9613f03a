//! Far more attempts than units, over HTTP: exactly the units are sold.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use lastunit_tests::server::{
    Answer, Client, Database, Process,
    load::{CLIENTS, orders_in, sku, stock},
    order_of, placing,
};
use serde_json::json;
use tokio::task::JoinSet;

const ATTEMPTS: u64 = 5_000;
const UNITS: i64 = 1_000;

/// Spreads the attempts over the clients; each attempt gives one answer.
async fn attempt<F>(
    server: &Process,
    one: impl Fn(Arc<Client>, String) -> F + Clone + Send + 'static,
) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (next, one, client) = (next.clone(), one.clone(), Arc::new(server.buyer(&format!("b{n}"))));
        clients.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let attempt = next.fetch_add(1, Ordering::Relaxed);
                if attempt >= ATTEMPTS {
                    return answers;
                }
                answers.push(one(client.clone(), format!("k{attempt}")).await);
            }
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

async fn assert_sold_out(database: &Database, server: Process, sku: i64, answers: &[Answer]) {
    let placed = answers.iter().filter(|answer| answer.status == 201).count();
    let short = answers.iter().filter(|answer| answer.status == 409);
    let short = short.inspect(|answer| drop(answer.problem(409, "insufficient_stock"))).count();
    assert_eq!((placed, short), (UNITS as usize, ATTEMPTS as usize - UNITS as usize));
    assert_eq!(stock(&server.admin(), sku).await, 0);
    let product = server.admin().get("/v1/products?limit=100").await.is(200)["items"].clone();
    let product = product.as_array().into_iter().flatten().find(|product| product["skus"][0]["id"] == sku);
    assert_eq!(product.map(|product| product["sales"].clone()), Some(json!(UNITS)));
    server.terminate();
    assert_eq!(server.ended().await.0.code(), Some(0));
    assert_eq!(orders_in(database).await, UNITS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_what_is_in_stock_is_sold() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, UNITS).await;
    let order = order_of(&[(sku, 1)]);
    let answers = attempt(&server, move |client, key| {
        let call = placing(&order, &key);
        async move { client.try_send(&call).await.expect("an answer") }
    })
    .await;
    assert!(answers.iter().all(|answer| !answer.replayed()));
    assert_sold_out(&database, server, sku, &answers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_what_is_in_stock_is_sold_though_every_call_is_sent_twice() {
    let database = Database::default();
    let server = database.serve(&[]).await;
    let sku = sku(&server.admin(), 100, UNITS).await;
    let order = order_of(&[(sku, 1)]);
    let answers = attempt(&server, move |client, key| {
        let call = placing(&order, &key);
        async move {
            let first = client.try_send(&call).await.expect("an answer");
            let second = client.try_send(&call).await.expect("an answer");
            assert_eq!((first.replayed(), second.replayed()), (false, true), "{key}");
            assert_eq!((second.status, second.without_id()), (first.status, first.without_id()));
            first
        }
    })
    .await;
    assert_sold_out(&database, server, sku, &answers).await;
}
