//! Servers, connections, locks and callers that fail while orders are placed.
//!
//! Each is a function of a [`Bench`], and of what only its database can say. A lock is given as a future: it is taken
//! once there is a SKU.

use std::{
    collections::HashSet,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use lastunit::*;
use lastunit_store::RemoteConfig;
use tokio::task::JoinHandle;

use super::{Holder, bounded, until};
use crate::{Ask, Bench, accept, placed, servers::Server};

/// So many connections, for which nobody waits long, while locks are waited for longer than a test takes.
pub fn few(connections: usize) -> RemoteConfig {
    RemoteConfig {
        max_connections: NonZeroUsize::new(connections).expect("not zero"),
        wait_timeout: Duration::from_millis(300),
        lock_timeout: Duration::from_secs(600),
        transaction_timeout: Duration::from_secs(600),
        ..RemoteConfig::default()
    }
}

/// Answers are waited for half a second.
pub fn impatient() -> RemoteConfig {
    RemoteConfig {
        wait_timeout: Duration::from_millis(500),
        transaction_timeout: Duration::from_millis(500),
        ..RemoteConfig::default()
    }
}

/// Somebody else's locks are waited for a tenth of a second.
pub fn impatient_for_locks() -> RemoteConfig {
    RemoteConfig { lock_timeout: Duration::from_millis(100), ..RemoteConfig::default() }
}

/// Places an order in a task of its own.
fn place(bench: &Bench, ask: &Ask) -> JoinHandle<Result<Reply, PlaceError>> {
    let (engine, request) = (bench.engine.clone(), ask.0.clone());
    tokio::spawn(async move { engine.place(request).await })
}

/// An order waits for a lock when its connection ends. `kill` ends the connections that wait, and says whether there
/// was any.
pub async fn a_killed_connection_is_recovered_from(
    bench: &Bench,
    lock: impl Future<Output = Holder>,
    kill: impl FnMut() -> bool,
) {
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let holder = lock.await;
    let call = place(bench, &ask);
    until("it waits for the lock", kill).await;
    let lost = bounded(call).await.expect("no panic");
    assert_eq!(lost, Err(PlaceError::Unavailable), "{:?}", bench.strategy);
    drop(holder);
    let reply = bench.place(&ask).await;
    assert!(!reply.replayed, "nothing was placed before: {reply:?}");
    bench.assert_counters(sku, 9, 1).await;
    bench.assert_holds().await;
}

/// No order in so long is none ever.
const STALL: Duration = Duration::from_secs(60);

/// Buyers who never give up, each order under its own key.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    buyers: Vec<JoinHandle<Vec<OrderId>>>,
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
                            // Behind a server that takes long to come back, an order may wait for too long.
                            Err(PlaceError::Unavailable | PlaceError::Overloaded) => {
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

    /// Waits for as long as orders are placed at all: how fast, the machine and its disk say.
    async fn end(self) -> HashSet<OrderId> {
        let mut ids = HashSet::new();
        for mut buyer in self.buyers {
            ids.extend(loop {
                let before = self.acknowledged.load(Ordering::SeqCst);
                match tokio::time::timeout(STALL, &mut buyer).await {
                    Ok(placed) => break placed.expect("no panic"),
                    Err(_) => {
                        let now = self.acknowledged.load(Ordering::SeqCst);
                        assert!(now > before, "no order in {STALL:?}, after {now}");
                    }
                }
            });
        }
        ids
    }
}

/// The server that the shop is on is killed twice, and started again.
pub async fn a_server_killed_under_load_keeps_every_acknowledged_order(server: &Server, bench: &Bench) {
    const BUYERS: usize = 16;
    const ORDERS: usize = 60;
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

/// The server that an [`impatient`] shop is on is frozen, and goes on later. `connections` gives the ids of those that
/// the shop has.
pub async fn a_frozen_server_is_unavailable_in_bounded_time_and_recovers(
    server: &Server,
    bench: &Bench,
    connections: impl Fn() -> HashSet<String>,
) {
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let before = connections();
    assert!(!before.is_empty(), "it has no connection");
    server.freeze();
    for _ in 0..3 {
        let unavailable = bounded(bench.engine.place(ask.0.clone())).await;
        assert_eq!(unavailable, Err(PlaceError::Unavailable));
        let unavailable = bounded(bench.store.sku(ShopId::FIRST, sku)).await;
        assert!(matches!(unavailable, Err(StoreError::Unavailable(_))), "{unavailable:?}");
    }
    server.thaw();
    let begun = Instant::now();
    while bench.store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it doesn't recover");
    }
    // Nobody knows what they were doing.
    until("the old connections are gone", || connections().is_disjoint(&before)).await;
    let order = placed(&bench.place(&ask).await).clone();
    assert_eq!(bench.orders("ada").await, [order]);
    bench.assert_counters(sku, 9, 1).await;
    bench.assert_holds().await;
}

/// A shop that is [`impatient_for_locks`] gives up. `open` counts the transactions that are open besides the holder's.
pub async fn a_lock_that_isnt_given_back_is_waited_for_in_bounded_time(
    bench: &Bench,
    lock: impl Future<Output = Holder>,
    open: impl FnOnce() -> usize,
) {
    let sku = bench.sku(500, 10).await;
    let ask = bench.ask("ada").line(sku, 1);
    let holder = lock.await;
    assert_eq!(bounded(bench.engine.place(ask.0.clone())).await, Err(PlaceError::Unavailable));
    assert!(bench.engine.retries() > 0, "a lock that is held may be free the next time");
    assert_eq!(open(), 0, "a transaction was left open");
    drop(holder);
    assert!(!bench.place(&ask).await.replayed);
    bench.assert_holds().await;
}

/// A shop with a [`few`] connections, two, has two orders wait for a lock. `waiting` counts who does.
pub async fn a_pool_that_is_used_up_is_unavailable_and_recovers(
    bench: &Bench,
    lock: impl Future<Output = Holder>,
    waiting: impl Fn() -> usize,
) {
    let sku = bench.sku(500, 10).await;
    let holder = lock.await;
    let calls = ["ada", "bob"].map(|user| place(bench, &bench.ask(user).line(sku, 1)));
    until("both wait", || waiting() == 2).await;
    let refused = bounded(bench.store.ping()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    drop(holder);
    for call in calls {
        placed(&bounded(call).await.expect("no panic").expect("the lock is free"));
    }
    assert_eq!(bench.store.ping().await, Ok(()));
    bench.assert_counters(sku, 8, 2).await;
    bench.assert_holds().await;
}

/// Begins to change the stock of a SKU that is locked, and goes away once the change waits. `waiting` counts who does.
pub async fn leave_a_change_of_stock(bench: &Bench, sku: SkuId, waiting: impl Fn() -> usize) {
    let change = StockChange { delta: 5, kind: StockChangeKind::Received, reason: "more".into() };
    let (store, source, at) = (bench.store.clone(), bench.uuid(), bench.now());
    let call = async move { store.change_stock(ShopId::FIRST, sku, change, source, at).await };
    let call = tokio::spawn(accept(call).await);
    until("it waits", || waiting() == 1).await;
    call.abort();
}
