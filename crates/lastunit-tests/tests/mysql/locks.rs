//! Locks: somebody else's, and each other's.

use lastunit::*;
use lastunit_store::RemoteConfig;
use lastunit_tests::{
    all_at_once, buyer,
    remote::{bounded, outage},
    servers::MariaDb,
};

use crate::{lock_all_skus, open, open_servers, status, transactions};

/// Its locks would be held for ever, if nobody ended its transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_isnt_given_back_is_waited_for_in_bounded_time() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), outage::impatient_for_locks(), Strategy::Batched).await;
    let lock = lock_all_skus(server, database.name());
    let left = || transactions(server, database.name(), "p.state <> 'User sleep'").len();
    outage::a_lock_that_isnt_given_back_is_waited_for_in_bounded_time(&bench, lock, left).await;
}

/// A cart is edited while somebody holds what it names: only orders need the SKU's row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_is_edited_while_its_skus_are_locked() {
    let (server, database) = (MariaDb::shared(), MariaDb::shared_database());
    let bench = open(database.url(), RemoteConfig::default(), Strategy::Batched).await;
    let sku = bench.sku(500, 10).await;
    let _holder = lock_all_skus(server, database.name()).await;
    let cart = bounded(bench.put("ada", sku, 2, true)).await;
    assert_eq!(cart.lines.len(), 1);
}

/// SKUs of one product and of several, in every order, from carts and with the call, placed and canceled, on three
/// servers: nobody ever waits for somebody who waits for him. Under REPEATABLE READ one might, where a page is split:
/// InnoDB then makes locks of rows locks of the gaps between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_dont_deadlock() {
    let server = MariaDb::start(&[("innodb-flush-log-at-trx-commit", "0")]);
    for strategy in Strategy::SAFE {
        let database = server.create_database();
        let bench = open_servers(&server.url_of(&database), RemoteConfig::default(), strategy, 3).await;
        let mut skus = bench.skus(500, &[10_000; 3]).await;
        skus.push(bench.sku(500, 10_000).await);
        let before = status(&server, "innodb_deadlocks");
        let buyers = (0..24).map(|at| {
            let (user, skus, bench) = (format!("buyer-{at}"), skus.clone(), &bench);
            let (engine, store) = (bench.next_engine(), bench.next_store());
            let asks: Vec<_> = (0..6)
                .map(|nth| {
                    let [first, second] = [skus[(at + nth) % 4], skus[(at + 3 * nth + 1) % 4]];
                    let lines =
                        if first == second { vec![(first, 2)] } else { vec![(first, 1), (second, 1)] };
                    let from_cart = nth % 3 == 2;
                    if from_cart { bench.ask(&user) } else { bench.ask(&user).lines(&lines) }
                })
                .collect();
            async move {
                for (nth, ask) in asks.into_iter().enumerate() {
                    if ask.0.basket == Basket::Cart {
                        for sku in [skus[at % 4], skus[(at + 1) % 4]] {
                            let line = CartLineSetting { count: 1, selected: true };
                            let set = store.set_cart_line(ShopId::FIRST, &buyer(&user), sku, line).await;
                            set.expect("an answer");
                        }
                    }
                    let reply = loop {
                        match engine.place(ask.0.clone()).await {
                            Ok(reply) => break reply,
                            // Others were faster at every try.
                            Err(PlaceError::Unavailable) if engine.retries() > 0 => {}
                            Err(other) => panic!("no answer: {other:?}"),
                        }
                    };
                    let Outcome::Placed(order) = reply.outcome else { panic!("{reply:?}") };
                    if nth % 2 == 0 {
                        engine.cancel(ShopId::FIRST, &buyer(&user), order.id).await.expect("an answer");
                    }
                }
            }
        });
        all_at_once(buyers).await;
        let deadlocks = status(&server, "innodb_deadlocks") - before;
        assert_eq!(deadlocks, 0, "deadlocks of {strategy:?}");
        bench.assert_holds().await;
    }
}
