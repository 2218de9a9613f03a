//! Servers and connections that fail while orders are placed.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{Ask, placed, servers::MariaDb};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Holder, WAITS, bounded, open, transactions, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_recovered_from() {
    let server = MariaDb::shared();
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = MariaDb::shared_database();
        let bench = open(database.url(), RemoteConfig::default(), strategy).await;
        let sku = bench.sku(500, 10).await;
        let ask = bench.ask("ada").line(sku, 1);
        let holder = Holder::of_all_skus(server, database.name()).await;
        let call = tokio::spawn({
            let (engine, request) = (bench.engine.clone(), ask.0.clone());
            async move { engine.place(request).await }
        });
        let mut waiting = Vec::new();
        until("it waits for the lock", || {
            waiting = transactions(server, database.name(), WAITS);
            !waiting.is_empty()
        })
        .await;
        server.client(&format!("KILL {}", waiting[0]));
        assert_eq!(bounded(call).await.expect("no panic"), Err(PlaceError::Unavailable), "{strategy:?}");
        drop(holder);
        let reply = bench.place(&ask).await;
        assert!(!reply.replayed, "nothing was placed before: {reply:?}");
        bench.assert_counters(sku, 9, 1).await;
        bench.assert_holds().await;
    }
}

/// The server takes the COMMIT, and its answer is lost: the connection ends instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_found_by_its_key() {
    let server = MariaDb::shared();
    for strategy in Strategy::SAFE {
        let database = MariaDb::shared_database();
        let lossy = Lossy::before(server.port()).await;
        let through = database.url().replace(&server.port().to_string(), &lossy.port.to_string());
        let bench = open(&through, RemoteConfig::default(), strategy).await;
        let sku = bench.sku(500, 10).await;
        lossy.to_lose.store(1, Ordering::SeqCst);
        let reply = bench.engine.place(bench.ask("ada").line(sku, 1).0).await.expect("an answer");
        assert_eq!(lossy.to_lose.load(Ordering::SeqCst), 0, "no answer was lost");
        assert!(reply.replayed, "{strategy:?}: it was committed before: {reply:?}");
        assert_eq!(bench.orders("ada").await, [placed(&reply).clone()]);
        bench.assert_counters(sku, 9, 1).await;
        bench.assert_holds().await;
    }
}

/// Stands before a server, and loses the answers to some COMMITs.
struct Lossy {
    port: u16,
    to_lose: Arc<AtomicUsize>,
}

impl Lossy {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let to_lose = Arc::new(AtomicUsize::new(0));
        let losing = to_lose.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("the server");
                tokio::spawn(pass_on(client, server, losing.clone()));
            }
        });
        Self { port, to_lose }
    }
}

async fn pass_on(mut client: TcpStream, mut server: TcpStream, to_lose: Arc<AtomicUsize>) {
    let (mut asked, mut answered) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut lost = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let less = |left: usize| left.checked_sub(1);
                let commits = asked[..length].ends_with(b"COMMIT");
                lost = commits && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if lost || client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Buyers who never give up, each order under its own key.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    buyers: Vec<tokio::task::JoinHandle<Vec<OrderId>>>,
}

impl Load {
    fn start(engine: &Engine, asks: Vec<Vec<Ask>>) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let buy = |asks: Vec<Ask>| {
            let (engine, acknowledged) = (engine.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut ids = Vec::with_capacity(asks.len());
                for Ask(request) in asks {
                    let reply = loop {
                        match engine.place(request.clone()).await {
                            Ok(reply) => break reply,
                            Err(PlaceError::Unavailable) => {
                                tokio::time::sleep(Duration::from_millis(20)).await
                            }
                            Err(other) => panic!("no answer: {other:?}"),
                        }
                    };
                    ids.push(placed(&reply).id);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                ids
            })
        };
        let buyers = asks.into_iter().map(buy).collect();
        Self { acknowledged, buyers }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    async fn end(self) -> HashSet<OrderId> {
        let mut ids = HashSet::new();
        for buyer in self.buyers {
            ids.extend(bounded(buyer).await.expect("no panic"));
        }
        ids
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_keeps_every_acknowledged_order() {
    const BUYERS: usize = 16;
    const ORDERS: usize = 60;
    for strategy in [Strategy::Batched, Strategy::Pessimistic] {
        let server = MariaDb::start(&[]);
        let bench = open(&server.url(), RemoteConfig::default(), strategy).await;
        let skus = bench.skus(500, &[10_000, 10_000]).await;
        let asks = |buyer: usize| -> Vec<Ask> {
            (0..ORDERS).map(|at| bench.ask(&format!("buyer-{buyer}")).line(skus[at % 2], 1)).collect()
        };
        let load = Load::start(&bench.engine, (0..BUYERS).map(asks).collect());
        for part in [4, 2] {
            until("orders are placed", || load.acknowledged() > BUYERS * ORDERS / part).await;
            server.kill();
            server.start_again();
        }
        let acknowledged = load.end().await;
        assert_eq!(acknowledged.len(), BUYERS * ORDERS, "an order was placed twice under one id");
        let mut kept = HashSet::new();
        for at in 0..BUYERS {
            kept.extend(bench.orders(&format!("buyer-{at}")).await.iter().map(|order| order.id));
        }
        assert_eq!(kept, acknowledged, "orders that are kept, and that were acknowledged");
        for sku in skus {
            let sold = (BUYERS * ORDERS / 2) as i64;
            bench.assert_counters(sku, 10_000 - sold, sold).await;
        }
        bench.assert_holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_is_unavailable_in_bounded_time_and_recovers() {
    let server = MariaDb::start(&[]);
    let config = RemoteConfig {
        wait_timeout: Duration::from_millis(500),
        transaction_timeout: Duration::from_millis(500),
        ..RemoteConfig::default()
    };
    let bench = open(&server.url(), config, Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    server.freeze();
    for _ in 0..3 {
        let unavailable = bounded(bench.engine.place(ask.0.clone())).await;
        assert_eq!(unavailable, Err(PlaceError::Unavailable));
        let unavailable = bounded(bench.store.sku(ShopId::FIRST, sku)).await;
        assert!(matches!(unavailable, Err(StoreError::Unavailable(_))), "{unavailable:?}");
    }
    server.thaw();
    let begun = std::time::Instant::now();
    while bench.store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it doesn't recover");
    }
    let order = placed(&bench.place(&ask).await).clone();
    assert_eq!(bench.orders("ada").await, [order]);
    bench.assert_counters(sku, 9, 1).await;
    bench.assert_holds().await;
}
