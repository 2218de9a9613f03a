//! What a database has to be like.

use lastunit::*;
use lastunit_store::{PostgresStore, RemoteConfig};
use lastunit_tests::{all_at_once, servers::Postgres};

use crate::open;

async fn connect(url: &str, config: RemoteConfig) -> Result<(), StoreError> {
    PostgresStore::connect(url, config).await.map(drop)
}

fn new_database() -> String {
    Postgres::shared().create_database()
}

fn url_of(database: &str) -> String {
    Postgres::shared().url_of(database)
}

fn client(database: &str, sql: &str) -> String {
    Postgres::shared().client_of(database, sql)
}

fn assert_unusable(result: Result<(), StoreError>, says: &str) {
    match result {
        Err(StoreError::Unusable(text)) => assert!(text.contains(says), "{says:?} is missing in {text:?}"),
        other => panic!("expected it to be unusable, not {other:?}"),
    }
}

fn unmigrated() -> RemoteConfig {
    RemoteConfig { migrate: false, ..RemoteConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_migrate_once() {
    let database = new_database();
    let connects = (0..8).map(|_| {
        let url = url_of(&database);
        async move { connect(&url, RemoteConfig::default()).await }
    });
    for connected in all_at_once(connects).await {
        assert_eq!(connected, Ok(()));
    }
    assert_eq!(
        client(&database, "SELECT COUNT(*), MIN(version), MAX(version) FROM lastunit_migration"),
        "1|1|1"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_mustnt_be_migrated_is_refused_until_it_is_up_to_date() {
    let database = new_database();
    assert_unusable(connect(&url_of(&database), unmigrated()).await, "`lastunit migrate`");
    let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(client(&database, tables), "0", "nothing was created");
    connect(&url_of(&database), RemoteConfig::default()).await.expect("it is migrated");
    connect(&url_of(&database), unmigrated()).await.expect("it is up to date");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_or_altered_database_is_refused() {
    let database = new_database();
    connect(&url_of(&database), RemoteConfig::default()).await.expect("it is migrated");
    client(&database, "INSERT INTO lastunit_migration VALUES (2, 'later', 'x')");
    assert_unusable(connect(&url_of(&database), RemoteConfig::default()).await, "schema version 2");
    client(&database, "DELETE FROM lastunit_migration WHERE version = 2");
    client(&database, "UPDATE lastunit_migration SET checksum = 'x'");
    assert_unusable(connect(&url_of(&database), RemoteConfig::default()).await, "migration 1 (initial)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_tables_are_left_alone() {
    let database = new_database();
    client(&database, "CREATE TABLE product_review (id INT); INSERT INTO product_review VALUES (7)");
    connect(&url_of(&database), RemoteConfig::default()).await.expect("no name is the same");
    assert_eq!(client(&database, "SELECT id FROM product_review"), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind() {
    let database = new_database();
    client(&database, "CREATE TABLE orders (id INT)");
    assert_unusable(connect(&url_of(&database), RemoteConfig::default()).await, "\"orders\"");
    let tables = "SELECT string_agg(tablename, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(client(&database, tables), "orders");
    // A schema of its own is enough.
    client(&database, "CREATE SCHEMA lastunit");
    let url = format!("{}?options=-csearch_path%3Dlastunit", url_of(&database));
    connect(&url, RemoteConfig::default()).await.expect("the names are free there");
    assert_eq!(client(&database, "SELECT COUNT(*) FROM lastunit.orders"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cant_be_used_says_why() {
    let config = RemoteConfig::default;
    let url = url_of("postgres");
    assert_unusable(connect(&format!("{url}?sslmode=require"), config()).await, "TLS");
    assert_unusable(connect("postgres://lastunit@127.0.0.1:port/shop", config()).await, "address");
    assert_unusable(connect("postgres://", config()).await, "no host");
    assert_unusable(connect(&url_of("nobody_made_this"), config()).await, "nobody_made_this");
    let unreachable = connect("postgres://lastunit@127.0.0.1:1/shop", config()).await;
    assert!(matches!(unreachable, Err(StoreError::Unavailable(_))), "{unreachable:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cant_hold_every_name_is_refused() {
    let create = "CREATE DATABASE in_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    Postgres::shared().client(create);
    assert_unusable(connect(&url_of("in_latin1"), RemoteConfig::default()).await, "LATIN1");
}

/// The database sorts and compares otherwise than the program: by a language, where `a` < `B`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_buyers_that_differ_in_a_byte_are_different_in_any_language() {
    for strategy in [Strategy::Batched, Strategy::Pessimistic] {
        let database = format!("in_english_{}", strategy.as_str());
        Postgres::shared().client(&format!(
            "CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'
             LOCALE_PROVIDER icu ICU_LOCALE 'en-u-ks-level1'"
        ));
        let bench = open(&url_of(&database), RemoteConfig::default(), strategy).await;
        let sku = bench.sku(500, 1000).await;
        let users = ["ada", "Ada", "ADA", "ada ", "ada  ", "a da", "Bob", "bob"];
        let key = bench.name();
        let keys =
            [key.clone(), key.to_uppercase(), format!("{key} "), format!("{key}  "), format!(" {key}")];
        let mut asks = Vec::new();
        for user in users {
            asks.extend(keys.iter().map(|key| bench.ask(user).line(sku, 1).key(key)));
        }
        let replies = bench.place_at_once(asks.clone()).await;
        assert!(replies.iter().all(|reply| !reply.replayed), "{replies:?}");
        let again = bench.place_at_once(asks).await;
        for (first, again) in replies.iter().zip(&again) {
            assert!(again.replayed && again.outcome == first.outcome, "{again:?}");
        }
        for user in users {
            assert_eq!(bench.orders(user).await.len() % keys.len(), 0);
            bench.put(user, sku, 1, true).await;
        }
        let carts = users.map(|user| bench.ask(user)).into();
        assert!(
            bench.place_at_once(carts).await.iter().all(|reply| matches!(reply.outcome, Outcome::Placed(_)))
        );
        bench.assert_holds().await;
    }
}
