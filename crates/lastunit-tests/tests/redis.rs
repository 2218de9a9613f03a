//! Carts in Redis: the origin's keys, and what becomes of orders when Redis is away, slow, or has lost what it knew.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lastunit::{CartReading::AsItStands, *};
use lastunit_store::{RedisCarts, RedisConfig, SqliteStore};
use lastunit_tests::{
    Bench, Chance, Fresh, all_at_once, buyer, only_line, placed,
    servers::{Redis, RedisCluster},
};
use tokio::time::{sleep, timeout};

const SHOP: ShopId = ShopId::FIRST;

/// Far longer than any call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two servers on one SQLite file, with their carts in one Redis.
struct Shop {
    bench: Bench,
    servers: [(Arc<dyn Store>, Engine); 2],
    /// The database, beside the servers.
    database: Arc<dyn Store>,
}

impl Shop {
    async fn open(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = SqliteStore::open(folder.path().join("shop.db")).expect("a new database");
        let database: Arc<dyn Store> = Arc::new(database);
        let stores = vec![connect(url, &database).await, connect(url, &database).await];
        let bench = Bench::new(Fresh { stores, keep: Box::new(folder) }, Strategy::Batched).await;
        let servers = [bench.next_server(), bench.next_server()];
        Self { bench, servers, database }
    }

    /// Places an order behind the servers' backs, as one does that dies before Redis hears of it.
    async fn place_in_database(&self, order: PlaceOrder) -> Reply {
        let replies =
            self.database.place(SHOP, Arc::new(vec![order]), Locking::Exclusive, &NextBatch::default()).await;
        replies.expect("a reply").remove(0)
    }

    /// Waits until the buyer's cart can be read.
    async fn cart_once_it_is_back(&self, user: &str) -> Vec<(SkuId, u32, bool)> {
        let cart = timeout(PATIENCE, async {
            loop {
                match self.bench.store.cart(SHOP, &buyer(user)).await {
                    Ok(cart) => return cart,
                    Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
        let cart = cart.await.expect("the carts come back by themselves");
        cart.lines.iter().map(|line| (line.sku_id, line.count, line.selected)).collect()
    }
}

async fn connect(url: &str, database: &Arc<dyn Store>) -> Arc<dyn Store> {
    let carts = RedisCarts::connect(url, RedisConfig::default(), database.clone()).await;
    Arc::new(carts.expect("an address"))
}

/// Every call that needs a cart is unavailable, none of them hangs, and orders with lines go through.
async fn assert_carts_are_away(shop: &Shop, sku: SkuId) {
    let (bench, ada) = (&shop.bench, buyer("ada"));
    let line = CartLineSetting { count: 1, selected: true };
    let away = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    let calls = async {
        assert!(bench.store.cart(SHOP, &ada).await.is_err_and(away), "a read");
        assert!(bench.store.set_cart_line(SHOP, &ada, sku, line).await.is_err_and(away), "a line");
        assert!(bench.store.remove_cart_lines(SHOP, &ada, None).await.is_err_and(away), "lines taken out");
        assert_eq!(bench.store.cart_snapshot(SHOP, &ada, AsItStands).await, Ok(CartSnapshot::Unreachable));
        assert_eq!(bench.rejection(&bench.ask("ada")).await, Rejection::CartUnreachable);
        assert_eq!(only_line(&bench.buy(&bench.ask("ada").line(sku, 1)).await).count, 1);
        assert_eq!(bench.store.ping().await, Ok(()), "orders with lines don't need Redis");
    };
    timeout(PATIENCE, calls).await.expect("bounded waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_shops_cart_is_read_and_ordered() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let skus = bench.skus(500, &[10, 10]).await;
    let [first, second] = [skus[0].to_string(), skus[1].to_string()];
    // With what may have gathered in years: SKUs that are gone, and what never was a line.
    let rubbish = ["4711", "1", "0", "1", "x", "1", "-3", "1", "01", "1"];
    redis.client(&[&["HSET", "carts_7", &first, "3", &second, "2"], &rubbish[..]].concat());
    redis.client(&["HSET", "carts_8", &first, "0", &second, "10001"]);
    redis.client(&["SADD", "selected_7", &first, "x", "01", "99"]);
    redis.client(&["SADD", "selected_8", &first, &second]);

    assert_eq!(bench.cart("7").await, [(skus[0], 3, true), (skus[1], 2, false)]);
    assert_eq!(bench.cart("8").await, [], "counts that no line can have");
    let order = bench.buy(&bench.ask("7")).await;
    assert_eq!((only_line(&order).sku_id, only_line(&order).count), (skus[0], 3));
    assert_eq!(bench.cart("7").await, [(skus[1], 2, false)]);
    assert_eq!(redis.client(&["HGET", "carts_7", &first]), "");
    assert_eq!(redis.client(&["HGET", "carts_7", &second]), "2", "read by the shop's other programs");
    assert_eq!(redis.client(&["GET", "applied_seq_7"]), "1");
    bench.put("7", skus[1], 4, true).await;
    assert_eq!(redis.client(&["HGET", "carts_7", &second]), "4");
    assert_eq!(redis.client(&["SISMEMBER", "selected_7", &second]), "1");
    bench.put("7", skus[1], 4, false).await;
    assert_eq!(redis.client(&["SISMEMBER", "selected_7", &second]), "0");
    assert_eq!(redis.client(&["EXISTS", "applied_seq_9"]), "0");
    assert_eq!(bench.cart("9").await, []);
    assert_eq!(
        redis.client(&["EXISTS", "applied_seq_9"]),
        "0",
        "reading an empty cart leaves nothing behind"
    );
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_down_orders_with_lines_go_through_and_then_all_goes_on() {
    let redis = Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 100).await;
    bench.put("ada", sku, 2, true).await;
    let ask = bench.ask("ada");
    let first = bench.place(&ask).await;
    bench.put("ada", sku, 5, true).await;

    redis.kill();
    let again = bench.place(&ask).await;
    assert!(again.replayed, "a key that is known needs no cart: {again:?}");
    assert_eq!(placed(&again), placed(&first));
    assert_carts_are_away(&shop, sku).await;

    redis.start_again();
    assert_eq!(shop.cart_once_it_is_back("ada").await, [(sku, 5, true)]);
    assert_eq!(only_line(&bench.buy(&bench.ask("ada")).await).count, 5);
    bench.assert_counters(sku, 92, 8).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_lost_in_between_costs_nobody_an_error() {
    let redis = Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")]);
    let shop = Shop::open(&redis.url()).await;
    let sku = shop.bench.sku(500, 100).await;
    for count in 1..=2 {
        shop.bench.put("ada", sku, count, true).await;
    }
    redis.kill();
    redis.start_again();
    for (carts, _) in &shop.servers {
        let cart = carts.cart(SHOP, &buyer("ada")).await.expect("the first call after Redis is back");
        assert_eq!(cart.selected_count, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_down_at_the_start_is_found_later() {
    let redis = Redis::start(&[]);
    redis.kill();
    let shop = Shop::open(&redis.url()).await;
    let sku = shop.bench.sku(500, 100).await;
    assert_carts_are_away(&shop, sku).await;
    redis.start_again();
    assert_eq!(shop.cart_once_it_is_back("ada").await, []);
    shop.bench.put("ada", sku, 1, true).await;
    shop.bench.buy(&shop.bench.ask("ada")).await;
    shop.bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_answered_in_bounds_and_then_all_goes_on() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let sku = shop.bench.sku(500, 100).await;
    shop.bench.put("ada", sku, 3, true).await;
    redis.freeze();
    assert_carts_are_away(&shop, sku).await;
    redis.thaw();
    let cart = shop.cart_once_it_is_back("ada").await;
    // The change that nobody heard back from may have waited in front of the frozen server.
    let [unanswered, taken_out] = [vec![(sku, 1, true)], vec![]];
    assert!(cart == [(sku, 3, true)] || cart == unanswered || cart == taken_out, "{cart:?}");
    shop.bench.put("ada", sku, 4, true).await;
    shop.bench.buy(&shop.bench.ask("ada")).await;
    shop.bench.assert_holds().await;
}

/// The login fails while the connection is made, which is another kind of failure than no answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_was_refused_is_tried_again() {
    let redis = Redis::start(&[]);
    redis.client(&["CONFIG", "SET", "requirepass", "secret"]);
    let url = redis.url().replace("redis://", "redis://:secret@");
    let shop = Shop::open(&url).await;
    let sku = shop.bench.sku(500, 100).await;
    shop.bench.put("ada", sku, 2, true).await;
    let with_password = ["--no-auth-warning", "-a", "secret"];
    redis.client(&[&with_password[..], &["CONFIG", "SET", "requirepass", "changed"]].concat());
    let with_password = ["--no-auth-warning", "-a", "changed"];
    redis.client(&[&with_password[..], &["CLIENT", "KILL", "TYPE", "normal"]].concat());
    assert_carts_are_away(&shop, sku).await;
    redis.client(&[&with_password[..], &["CONFIG", "SET", "requirepass", "secret"]].concat());
    assert_eq!(shop.cart_once_it_is_back("ada").await, [(sku, 2, true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_redis_never_heard_of_has_left_the_cart() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let skus = bench.skus(500, &[100, 100]).await;
    bench.put("ada", skus[0], 2, true).await;
    let order = bench.prepared(&bench.ask("ada"), bench.cart_snapshot("ada").await);
    bench.put("ada", skus[0], 5, true).await;
    bench.put("ada", skus[1], 1, false).await;
    placed(&shop.place_in_database(order).await);
    assert_eq!(redis.client(&["HGET", "carts_ada", &skus[0].to_string()]), "5");

    for (carts, _) in &shop.servers {
        let cart = carts.cart(SHOP, &buyer("ada")).await.expect("a cart");
        let counts: Vec<_> = cart.lines.iter().map(|line| (line.sku_id, line.count)).collect();
        assert_eq!(counts, [(skus[0], 3), (skus[1], 1)], "what was added since stays");
    }
    let order = bench.prepared(&bench.ask("ada"), bench.cart_snapshot("ada").await);
    assert_eq!(only_line(placed(&shop.place_in_database(order).await)).count, 3);
    bench.put("ada", skus[0], 4, true).await;
    assert_eq!(bench.cart("ada").await, [(skus[0], 4, true), (skus[1], 1, false)], "put in after the order");
    assert_eq!(only_line(&bench.buy(&bench.ask("ada")).await).count, 4);
    bench.assert_counters(skus[0], 91, 9).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_leaves_the_cart_without_anybody_reading_it() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let sku = shop.bench.sku(500, 100).await;
    shop.bench.put("ada", sku, 2, true).await;
    shop.bench.buy(&shop.bench.ask("ada")).await;
    let left = timeout(PATIENCE, async {
        while redis.client(&["GET", "applied_seq_ada"]) != "1" {
            sleep(Duration::from_millis(10)).await;
        }
    });
    left.await.expect("Redis hears of the order by itself");
    assert_eq!(redis.client(&["EXISTS", "carts_ada", "selected_ada"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_orders_of_one_cart_over_two_servers_place_one() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 1000).await;
    for round in 1..=5 {
        bench.put("ada", sku, 2, true).await;
        let calls = (0..50).map(|at| {
            let (ask, engine) = (bench.ask("ada"), shop.servers[at % 2].1.clone());
            async move { engine.place(ask.0).await.expect("an answer").outcome }
        });
        let outcomes = all_at_once(calls).await;
        let placed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Placed(_))).count();
        let refused = [Outcome::Refused(Refusal::CartChanged), Outcome::Refused(Refusal::EmptyCart)];
        let refused = outcomes.iter().filter(|outcome| refused.contains(outcome)).count();
        assert_eq!((placed, refused), (1, 49), "{outcomes:?}");
        assert_eq!(bench.cart("ada").await, []);
        bench.assert_counters(sku, 1000 - 2 * round, 2 * round).await;
    }
    bench.assert_holds().await;
}

/// As after a server died between the commit and taking the order out of the cart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_a_cart_that_is_behind_takes_what_is_left_in_it() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 1000).await;
    bench.put("ada", sku, 5, true).await;
    let seen = CartSnapshot::Elsewhere { seq: 0, selected: vec![(sku, 2)], caught_up: true };
    placed(&shop.place_in_database(bench.prepared(&bench.ask("ada"), seen)).await);
    let as_it_stands = CartSnapshot::Elsewhere { seq: 0, selected: vec![(sku, 5)], caught_up: false };
    let snapshot = shop.servers[0].0.cart_snapshot(SHOP, &buyer("ada"), AsItStands).await;
    assert_eq!(snapshot, Ok(as_it_stands.clone()));

    // Nothing is kept of a try that finds that out.
    let ask = bench.ask("ada");
    let reply = shop.place_in_database(bench.prepared(&ask, as_it_stands)).await;
    assert_eq!(reply.outcome, Outcome::Rejected(Rejection::CartBehind));
    let reply = bench.place(&ask).await;
    assert_eq!((only_line(placed(&reply)).count, reply.replayed), (3, false));
    assert_eq!(bench.cart("ada").await, []);
    bench.assert_counters(sku, 995, 5).await;
    bench.assert_holds().await;
}

/// As after Redis was restored from an old backup.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_that_is_hundreds_of_orders_behind_catches_up() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 1000).await;
    bench.put("ada", sku, 400, true).await;
    for seq in 0..250 {
        let seen = CartSnapshot::Elsewhere { seq, selected: vec![(sku, 1)], caught_up: true };
        placed(&shop.place_in_database(bench.prepared(&bench.ask("ada"), seen)).await);
    }
    assert_eq!(bench.cart("ada").await, [(sku, 150, true)]);
    assert_eq!(redis.client(&["GET", "applied_seq_ada"]), "250");
    bench.assert_holds().await;
}

/// As after the database was restored from a backup: what the cart has is all there is to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_ahead_of_the_database_goes_on_with_its_lines() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 100).await;
    bench.put("ada", sku, 2, true).await;
    redis.client(&["SET", "applied_seq_ada", "7"]);
    assert_eq!(bench.cart("ada").await, [(sku, 2, true)]);
    assert_eq!(redis.client(&["GET", "applied_seq_ada"]), "0");
    bench.buy(&bench.ask("ada")).await;
    assert_eq!(bench.cart("ada").await, []);
    bench.assert_holds().await;
}

/// Its lines may have been ordered; whether they were can't be told any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cart_that_lost_its_place_is_dropped_once_it_was_ordered() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 100).await;
    for lost in ["", "x", "-1", "01"] {
        bench.put("ada", sku, 3, true).await;
        let order = bench.prepared(&bench.ask("ada"), bench.cart_snapshot("ada").await);
        placed(&shop.place_in_database(order).await);
        redis.client(&["DEL", "applied_seq_ada"]);
        if !lost.is_empty() {
            redis.client(&["SET", "applied_seq_ada", lost]);
        }
        assert_eq!(bench.refusal(&bench.ask("ada")).await, Refusal::EmptyCart, "without its place: {lost:?}");
        assert_eq!(bench.cart("ada").await, []);
    }
    bench.assert_counters(sku, 88, 12).await;
    bench.assert_holds().await;
}

/// Redis doesn't undo what a script wrote before it failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_makes_no_half_changes() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let skus = bench.skus(500, &[100, 100]).await;
    bench.put("ada", skus[0], 5, true).await;
    bench.put("ada", skus[1], 5, true).await;
    let order = bench.prepared(&bench.ask("ada"), bench.cart_snapshot("ada").await);
    bench.put("ada", skus[0], 7, true).await;
    redis.client(&["SET", "selected_ada", "a text"]);
    placed(&bench.place_prepared_at_once(vec![order]).await.remove(0));
    let failed = timeout(PATIENCE, async {
        while !redis.client(&["INFO", "errorstats"]).contains("WRONGTYPE") {
            sleep(Duration::from_millis(10)).await;
        }
    });
    failed.await.expect("the order can't be taken out");
    assert_eq!(redis.client(&["HGET", "carts_ada", &skus[0].to_string()]), "7");
    assert_eq!(redis.client(&["HGET", "carts_ada", &skus[1].to_string()]), "5");
    assert_eq!(
        bench.store.cart_snapshot(SHOP, &buyer("ada"), AsItStands).await,
        Ok(CartSnapshot::Unreachable)
    );
    bench.put("bob", skus[0], 1, true).await;
    redis.client(&["DEL", "selected_ada"]);
    assert_eq!(bench.cart("ada").await, [(skus[0], 2, false)]);
    bench.assert_holds().await;
}

/// What stands between reading a cart and changing it: another server, or Redis losing its last moments.
#[test]
fn a_script_leaves_a_cart_alone_that_isnt_where_its_caller_saw_it() {
    let redis = Redis::start(&[]);
    let run = |script: &str, args: &[&str]| {
        redis.client(&["FLUSHALL"]);
        redis.client(&["HSET", "carts_7", "1", "5", "2", "5"]);
        redis.client(&["SADD", "selected_7", "1", "2"]);
        redis.client(&["SET", "applied_seq_7", "4"]);
        let cart = || {
            let lines = redis.client(&["HGETALL", "carts_7"]);
            (lines, redis.client(&["SMEMBERS", "selected_7"]), redis.client(&["GET", "applied_seq_7"]))
        };
        let before = cart();
        let call = ["EVAL", script, "3", "carts_7", "selected_7", "applied_seq_7"];
        redis.client(&[&call[..], args].concat());
        cart() != before
    };
    let apply = include_str!("../../lastunit-store/src/redis/apply.lua");
    let set_line = include_str!("../../lastunit-store/src/redis/set_line.lua");
    let remove_lines = include_str!("../../lastunit-store/src/redis/remove_lines.lua");
    let begin = include_str!("../../lastunit-store/src/redis/begin.lua");
    for (seen, changes) in [("3", false), ("4", true), ("5", false), ("", false)] {
        assert_eq!(run(apply, &[seen, "5", "1", "2"]), changes, "an order, seen at {seen:?}");
        assert_eq!(run(set_line, &[seen, "1", "9", "1", "100"]), changes, "a line, seen at {seen:?}");
        assert_eq!(run(remove_lines, &[seen, "1"]), changes, "a line taken out, seen at {seen:?}");
        assert_eq!(run(remove_lines, &[seen, ""]), changes, "all taken out, seen at {seen:?}");
        assert_eq!(run(begin, &[seen, "7", "drop"]), changes, "begun, seen at {seen:?}");
        assert_eq!(run(begin, &[seen, "7", "keep"]), changes, "begun with its lines, seen at {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cart_of_an_existing_shop_is_shown_and_emptied() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    let bench = &shop.bench;
    let skus = bench.skus(500, &[10; MAX_LINES + 6]).await;
    for sku in &skus[..MAX_LINES + 5] {
        redis.client(&["HSET", "carts_7", &sku.to_string(), "1"]);
    }
    assert_eq!(bench.cart("7").await.len(), MAX_LINES + 5);
    let line = CartLineSetting { count: 1, selected: true };
    let one_more = bench.store.set_cart_line(SHOP, &buyer("7"), skus[MAX_LINES + 5], line).await;
    assert!(matches!(one_more, Err(StoreError::Clash(_))), "{one_more:?}");
    assert_eq!(bench.put("7", skus[0], 4, true).await.lines[0].count, 4, "a full cart can still be changed");
    assert_eq!(only_line(&bench.buy(&bench.ask("7")).await).count, 4);
    let emptied = bench.store.remove_cart_lines(SHOP, &buyer("7"), None).await.expect("a cart");
    assert_eq!(emptied.lines, []);
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_none_is_unusable() {
    let redis = Redis::start(&[]);
    let shop = Shop::open(&redis.url()).await;
    for wrong in ["", "localhost", "http://h:1", "redis://", "redis://h:x", "redis+cluster://", "redis://h/x"]
    {
        let connected = RedisCarts::connect(wrong, RedisConfig::default(), shop.database.clone()).await;
        assert!(matches!(connected.err(), Some(StoreError::Unusable(_))), "{wrong:?}");
    }
}

/// Buyers put, take out and order while Redis again and again loses everything, its last moments, or a cart's place.
/// No unit is ordered that its buyer didn't put into the cart since the last order of it, and no key orders twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_redis_loses_nothing_is_ordered_twice() {
    const BUYERS: u64 = 4;
    const LOSSES: usize = 100;
    let redis = Arc::new(Redis::start(&[("enable-debug-command", "yes")]));
    let shop = Arc::new(Shop::open(&redis.url()).await);
    let skus = shop.bench.skus(1, &[1_000_000; 3]).await;
    redis.client(&["SAVE"]);
    let lost_all = Arc::new(AtomicBool::new(false));
    let losses = tokio::task::spawn_blocking({
        let (redis, lost_all) = (redis.clone(), lost_all.clone());
        move || {
            let mut chance = Chance(42);
            for _ in 0..LOSSES {
                if chance.below(2) == 0 {
                    redis.client(&["SAVE"]);
                }
                std::thread::sleep(Duration::from_millis(chance.below(20)));
                match chance.below(4) {
                    // Back to what it was at the last SAVE.
                    0..2 => redis.client(&["DEBUG", "RELOAD", "NOSAVE"]),
                    2 => redis.client(&["FLUSHALL"]),
                    _ => redis.client(&["DEL", &format!("applied_seq_buyer-{}", chance.below(BUYERS))]),
                };
            }
            lost_all.store(true, Ordering::Relaxed);
        }
    });
    let buyers = (0..BUYERS).map(|at| {
        let (shop, skus, lost_all) = (shop.clone(), skus.clone(), lost_all.clone());
        async move {
            let mut shopper = Shopper::new(at);
            let mut orders = 0;
            while !lost_all.load(Ordering::Relaxed) {
                orders += shopper.step(&shop, &skus).await;
            }
            let name = &shopper.name;
            assert_eq!(
                shop.bench.orders(name).await.len(),
                orders,
                "orders there are, and keys that placed one"
            );
            shop.bench.cart(name).await;
            orders
        }
    });
    let orders: usize = all_at_once(buyers).await.iter().sum();
    losses.await.expect("no panic");
    assert!(orders > LOSSES, "{orders} orders are too few to mean anything");
    shop.bench.assert_holds().await;
}

struct Shopper {
    id: UserId,
    name: String,
    chance: Chance,
    /// The most units of each SKU that can be in the cart by what this buyer did: what was put in and not ordered
    /// since. What was taken out or lowered may come back, when Redis forgets it.
    in_cart: HashMap<SkuId, u32>,
}

impl Shopper {
    fn new(at: u64) -> Self {
        let name = format!("buyer-{at}");
        Self { id: buyer(&name), name, chance: Chance(at), in_cart: HashMap::new() }
    }

    /// Does something on either server; how many orders it placed.
    async fn step(&mut self, shop: &Shop, skus: &[SkuId]) -> usize {
        let (carts, _) = &shop.servers[self.chance.below(2) as usize];
        let sku = skus[self.chance.below(skus.len() as u64) as usize];
        match self.chance.below(8) {
            0..4 => {
                let count = 1 + self.chance.below(4) as u32;
                let line = CartLineSetting { count, selected: self.chance.below(4) > 0 };
                carts.set_cart_line(SHOP, &self.id, sku, line).await.expect("a cart");
                let most = self.in_cart.entry(sku).or_default();
                *most = count.max(*most);
            }
            4 => {
                let sku = (self.chance.below(2) == 0).then_some(sku);
                carts.remove_cart_lines(SHOP, &self.id, sku).await.expect("a cart");
            }
            _ => return self.order(shop).await,
        }
        0
    }

    /// Orders the cart, on both servers under one key.
    async fn order(&mut self, shop: &Shop) -> usize {
        let ask = shop.bench.ask(&self.name);
        let [first, second] = shop.servers.each_ref().map(|(_, engine)| engine.place(ask.0.clone()));
        let (first, second) = if self.chance.below(2) == 0 {
            let (first, second) = tokio::join!(first, second);
            (first.expect("an answer"), second.expect("an answer"))
        } else {
            (first.await.expect("an answer"), second.await.expect("an answer"))
        };
        assert_eq!(first.outcome, second.outcome, "one key, one outcome");
        assert_eq!([first.replayed, second.replayed].iter().filter(|replayed| **replayed).count(), 1);
        match first.outcome {
            Outcome::Placed(order) => {
                for line in &order.lines {
                    let most = self.in_cart.entry(line.sku_id).or_default();
                    let left = most.checked_sub(line.count);
                    *most = left
                        .unwrap_or_else(|| panic!("{} ordered {line:?}, and put in only {most}", self.name));
                }
                1
            }
            Outcome::Refused(Refusal::EmptyCart | Refusal::CartChanged) => 0,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_carts_whatever_their_buyers_are_called() {
    let cluster = RedisCluster::start();
    let shop = Shop::open(&cluster.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 1000).await;
    let users = ["7", "8", "ada", "{", "}", "{}", "}{", "a{b}c", "%7B", "%", "{7}", "a b", "x{}", "9", "10"];
    for user in users {
        bench.put(user, sku, 3, true).await;
        assert_eq!(only_line(&bench.buy(&bench.ask(user)).await).count, 3, "{user}");
        bench.put(user, sku, 1, false).await;
        assert_eq!(bench.cart(user).await, [(sku, 1, false)], "{user}");
    }
    assert_eq!(cluster.client(&["GET", "applied_seq_{7}"]), "1");
    assert_eq!(cluster.client(&["HGET", "carts_{a%7Bb%7Dc}", &sku.to_string()]), "1");
    let used = cluster.nodes.iter().filter(|node| node.client(&["DBSIZE"]) != "0").count();
    assert_eq!(used, 3, "nodes that carts are on");
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_around_a_node_that_is_away_and_with_it_again() {
    let cluster = RedisCluster::start();
    let shop = Shop::open(&cluster.url()).await;
    let bench = &shop.bench;
    let sku = bench.sku(500, 1000).await;
    let users: Vec<String> = (0..20).map(|at| format!("buyer-{at}")).collect();
    for user in &users {
        bench.put(user, sku, 3, true).await;
    }
    let [frozen, killed, _] = &cluster.nodes;
    let away = async || {
        let mut away = 0;
        for user in &users {
            let cart = timeout(PATIENCE, bench.store.cart(SHOP, &buyer(user))).await;
            match cart.expect("bounded waits") {
                Ok(_) => {}
                Err(StoreError::Unavailable(_)) => away += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        away
    };
    frozen.freeze();
    let frozen_away = away().await;
    assert!((1..users.len()).contains(&frozen_away), "{frozen_away} carts are away with one node of three");
    let reads = users.iter().map(|user| {
        let (store, user) = (bench.store.clone(), buyer(user));
        async move { store.cart(SHOP, &user).await.is_err() }
    });
    let at_once = all_at_once(reads).await.into_iter().filter(|away| *away).count();
    assert_eq!(at_once, frozen_away, "carts that are away when all are asked for at once");
    frozen.thaw();
    for user in &users {
        assert_eq!(shop.cart_once_it_is_back(user).await, [(sku, 3, true)], "{user}");
    }
    killed.kill();
    let killed_away = away().await;
    assert!((1..users.len()).contains(&killed_away), "{killed_away} carts are away with one node of three");
    killed.start_again();
    for user in &users {
        shop.cart_once_it_is_back(user).await;
        bench.put(user, sku, 2, true).await;
        assert_eq!(only_line(&bench.buy(&bench.ask(user)).await).count, 2);
    }
    // All at once.
    cluster.nodes.iter().for_each(|node| node.kill());
    assert_carts_are_away(&shop, sku).await;
    cluster.nodes.iter().for_each(|node| node.start_again());
    for user in &users {
        shop.cart_once_it_is_back(user).await;
        bench.put(user, sku, 2, true).await;
        assert_eq!(only_line(&bench.buy(&bench.ask(user)).await).count, 2);
    }
    bench.assert_holds().await;
}
