//! A shop in one file: what it keeps, what it refuses to open, and two programs on it at once.

use std::{path::Path, sync::Arc};

use lastunit::*;
use lastunit_store::{SqliteConfig, SqliteStore};
use lastunit_tests::{Bench, Fresh, all_at_once, amount, buyer};
use rusqlite::Connection;
use tempfile::TempDir;

async fn open(folder: &TempDir) -> Bench {
    let store = SqliteStore::open(folder.path().join("shop.db")).expect("a database");
    Bench::new(Fresh { stores: vec![Arc::new(store)], keep: Box::new(()) }, Strategy::Batched).await
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn assert_unusable(path: &Path, says: &str) {
    match SqliteStore::open(path) {
        Err(StoreError::Unusable(text)) => assert!(text.contains(says), "{says:?} is missing in {text:?}"),
        Err(other) => panic!("expected it to be unusable, not {other:?}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

/// All that a buyer and the shop can see.
async fn contents(bench: &Bench) -> impl PartialEq + std::fmt::Debug + use<> {
    let (store, ada) = (&bench.store, buyer("ada"));
    (
        store.settings(ShopId::FIRST).await,
        store.products(ShopId::FIRST, None, 100).await,
        store.orders(ShopId::FIRST, &ada, None, 100).await,
        store.cart(ShopId::FIRST, &ada).await,
        store.cart_log(ShopId::FIRST, &ada, 0, 10).await,
        store.addresses(ShopId::FIRST, &ada).await,
        store.service_keys().await,
        store.check().await,
    )
}

/// Fills a shop, ends the store in the given way, opens the file again: all is there, and keys still answer.
async fn survives(close: bool) {
    let folder = folder();
    let bench = open(&folder).await;
    let sku = bench.product(ShopId::FIRST, 500, &[10, 20]).await.skus[0].id;
    bench.save_address("ada", Address::example()).await;
    let key = ServiceKey { hash: [7; 32], role: Role::Admin, label: "k".into(), created_at: bench.now() };
    bench.store.add_service_key(key).await.expect("a key");
    bench.put("ada", sku, 2, true).await;
    let from_cart = bench.ask("ada");
    let first = bench.place(&from_cart).await;
    let refused = bench.ask("ada").line(sku, 100);
    bench.refusal(&refused).await;
    let canceled = bench.buy(&bench.ask("ada").line(sku, 1)).await;
    bench.cancel("ada", canceled.id).await;
    bench.put("ada", sku, 3, false).await;
    let before = contents(&bench).await;
    if close {
        bench.store.close().await;
    }
    drop(bench);

    let bench = open(&folder).await;
    assert_eq!(contents(&bench).await, before);
    let again = bench.place(&from_cart).await;
    assert_eq!(again, Reply { replayed: true, ..first }, "the key answers as before");
    assert!(bench.place(&refused).await.replayed, "a kept refusal is decided again");
    bench.buy(&bench.ask("ada").line(sku, 1)).await;
    bench.assert_counters(sku, 7, 3).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_closed_has_kept_everything() {
    survives(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_never_closed_has_kept_everything() {
    survives(false).await;
}

/// The files as they lie on the disk in the middle of it all, as after a kill: acknowledged orders are in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_files_has_every_acknowledged_order() {
    let (live, copied) = (folder(), folder());
    let bench = open(&live).await;
    let sku = bench.sku(500, 100).await;
    let asks = (0..20).map(|at| bench.ask(&format!("buyer-{at}")).line(sku, 1)).collect();
    let replies = bench.place_at_once(asks).await;
    for file in ["shop.db", "shop.db-wal"] {
        std::fs::copy(live.path().join(file), copied.path().join(file)).expect("a copy");
    }
    let copy = open(&copied).await;
    for (at, reply) in replies.iter().enumerate() {
        assert_eq!(copy.orders(&format!("buyer-{at}")).await, [lastunit_tests::placed(reply).clone()]);
    }
    copy.assert_counters(sku, 80, 20).await;
    copy.assert_holds().await;
}

/// Two programs on one file: the database keeps them apart, whatever each one's strategy.
async fn two_sell_out(strategies: [Strategy; 2]) {
    let folder = folder();
    let bench = open(&folder).await;
    let sku = bench.sku(500, 60).await;
    let engines = strategies.map(|strategy| {
        let store = SqliteStore::open(folder.path().join("shop.db")).expect("the same file");
        let config = Config { strategy, ..bench.config() };
        Engine::start(Arc::new(store), config).expect("a safe strategy")
    });
    let calls = (0..200).map(|at| {
        let (engine, ask) = (engines[at % 2].clone(), bench.ask(&format!("buyer-{at}")).line(sku, 1));
        async move {
            for _ in 0..20 {
                match engine.place(ask.0.clone()).await {
                    Ok(reply) => return matches!(reply.outcome, Outcome::Placed(_)),
                    Err(PlaceError::Unavailable) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            panic!("no answer in 20 calls");
        }
    });
    let placed = all_at_once(calls).await.into_iter().filter(|&placed| placed).count();
    assert_eq!(placed, 60, "orders placed of a stock of 60");
    bench.assert_counters(sku, 0, 60).await;
    bench.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_sell_out_exactly_batched() {
    two_sell_out([Strategy::Batched, Strategy::Batched]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_sell_out_exactly_pessimistic() {
    two_sell_out([Strategy::Pessimistic, Strategy::Pessimistic]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_sell_out_exactly_optimistic() {
    two_sell_out([Strategy::Optimistic, Strategy::Optimistic]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_of_different_strategies_sell_out_exactly() {
    two_sell_out([Strategy::Optimistic, Strategy::Queue]).await;
}

/// One key sent to two programs, on one file, at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_at_two_programs_is_one_order() {
    let folder = folder();
    let (here, there) = (open(&folder).await, open(&folder).await);
    let sku = here.sku(500, 100).await;
    for _ in 0..10 {
        let ask = here.ask("ada").line(sku, 1);
        let (first, second) = tokio::join!(here.place(&ask), there.place(&ask));
        assert_eq!(first.outcome, second.outcome);
        assert!(first.replayed != second.replayed, "one decides and one replays: {first:?} {second:?}");
    }
    here.assert_counters(sku, 90, 10).await;
    here.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_is_durable_and_guarded() {
    let folder = folder();
    let bench = open(&folder).await;
    bench.open_shop(ShopId::FIRST, 1000, Some(0)).await;
    let file = Connection::open(folder.path().join("shop.db")).expect("the file");
    let journal: String = file.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("a pragma");
    assert_eq!(journal, "wal");
    let settings = bench.store.settings(ShopId::FIRST).await.expect("a read").expect("the shop");
    assert_eq!(settings.free_from, Some(amount(0)), "free from nothing on isn't never free");
}

#[tokio::test]
async fn a_file_that_isnt_lastunits_is_refused_and_left_alone() {
    let folder = folder();
    let text = folder.path().join("notes.txt");
    let notes = "These are notes, and long enough to be taken for a database's first page. ".repeat(100);
    std::fs::write(&text, &notes).expect("a file");
    assert_unusable(&text, "notes.txt");
    assert_eq!(std::fs::read_to_string(&text).expect("the file"), notes);

    let foreign = folder.path().join("foreign.db");
    let connection = Connection::open(&foreign).expect("a database");
    connection.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").expect("a table");
    assert_unusable(&foreign, "not one of Lastunit");
    let tables = "SELECT group_concat(name) FROM sqlite_schema";
    let tables: String = connection.query_row(tables, [], |row| row.get(0)).expect("the tables");
    assert_eq!(tables, "theirs");

    assert_unusable(&folder.path().join("no such folder").join("shop.db"), "shop.db");
    assert_unusable(folder.path(), "");
}

#[tokio::test]
async fn a_file_has_to_be_there_to_be_opened_as_existing() {
    let folder = folder();
    let path = folder.path().join("shop.db");
    let missing = SqliteStore::open_existing(&path).err();
    assert!(matches!(missing, Some(StoreError::Unusable(_))), "{missing:?}");
    assert!(!path.exists(), "it was created");
    drop(SqliteStore::open(&path).expect("a new database"));
    SqliteStore::open_existing(&path).expect("the database");
}

#[tokio::test]
async fn a_newer_or_altered_schema_is_refused() {
    let folder = folder();
    let path = folder.path().join("shop.db");
    drop(SqliteStore::open(&path).expect("a new database"));
    let connection = Connection::open(&path).expect("the file");
    let newer = "INSERT INTO lastunit_migration VALUES (99, 'future', 'x')";
    connection.execute(newer, []).expect("a row");
    assert_unusable(&path, "99");
    connection.execute("DELETE FROM lastunit_migration WHERE version = 99", []).expect("no row");
    drop(SqliteStore::open(&path).expect("as before"));
    connection.execute("UPDATE lastunit_migration SET checksum = 'x'", []).expect("a row");
    assert_unusable(&path, "migration 1");
}

#[tokio::test]
async fn an_old_schema_is_refused_where_it_may_not_be_changed_and_else_brought_up_to_date() {
    let folder = folder();
    let path = folder.path().join("shop.db");
    let as_it_is = SqliteConfig { migrate: false, ..SqliteConfig::default() };
    drop(SqliteStore::open(&path).expect("a new database"));
    drop(SqliteStore::open_with(&path, as_it_is.clone()).expect("it is up to date"));
    let connection = Connection::open(&path).expect("the file");
    let older = "DROP TABLE cart_order; DELETE FROM lastunit_migration WHERE version = 2";
    connection.execute_batch(older).expect("the schema of the first version");
    match SqliteStore::open_with(&path, as_it_is.clone()) {
        Err(StoreError::Unusable(text)) => assert!(text.contains("lastunit migrate"), "{text}"),
        Err(other) => panic!("expected it to be unusable, not {other:?}"),
        Ok(_) => panic!("an old schema was used"),
    }
    drop(SqliteStore::open(&path).expect("it may be changed"));
    drop(SqliteStore::open_with(&path, as_it_is).expect("it is up to date again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_opened_by_many_at_once_is_made_once() {
    let folder = folder();
    let opened =
        all_at_once(
            (0..8).map(|_| {
                let path = folder.path().join("shop.db");
                async move {
                    tokio::task::spawn_blocking(move || SqliteStore::open(path)).await.expect("no panic")
                }
            }),
        )
        .await;
    let failed: Vec<StoreError> = opened.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed, []);
}

/// A bug in what watches an engine, whichever strategy it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_that_panics_costs_nobody_an_answer() {
    struct Panics;
    impl Observer for Panics {
        fn committed(&self, _: &[Reply], _: std::time::Duration) {
            panic!("a bug, for the test");
        }
    }
    for strategy in Strategy::SAFE {
        let folder = folder();
        let bench = open(&folder).await;
        let sku = bench.sku(500, 3).await;
        let config = Config { strategy, ..bench.config() };
        let engine =
            Engine::start_observed(bench.store.clone(), config, Arc::new(Panics)).expect("an engine");
        for _ in 0..3 {
            let reply = engine.place(bench.ask("ada").line(sku, 1).0).await.expect("an answer");
            assert!(matches!(reply.outcome, Outcome::Placed(_)), "{strategy:?}: {reply:?}");
        }
        engine.drain().await;
        bench.assert_counters(sku, 0, 3).await;
    }
}
