//! What a database has to be like.

use lastunit::*;
use lastunit_store::{MySqlStore, RemoteConfig};
use lastunit_tests::{all_at_once, servers::MariaDb};

use crate::open;

async fn connect(url: &str, config: RemoteConfig) -> Result<(), StoreError> {
    MySqlStore::connect(url, config).await.map(drop)
}

fn new_database() -> String {
    MariaDb::shared().create_database()
}

fn url_of(database: &str) -> String {
    MariaDb::shared().url_of(database)
}

fn client(database: &str, sql: &str) -> String {
    MariaDb::shared().client_of(database, sql)
}

fn tables(database: &str) -> String {
    let sql = "SELECT GROUP_CONCAT(table_name ORDER BY table_name SEPARATOR ' ')
               FROM information_schema.tables WHERE table_schema = DATABASE()";
    client(database, sql)
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
    let applied = "SELECT COUNT(*), MIN(version), MAX(version) FROM lastunit_migration";
    assert_eq!(client(&database, applied), "1\t1\t1");
}

/// Every statement of a migration commits by itself: whatever was left is taken up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_interrupted_is_finished() {
    let whole = new_database();
    connect(&url_of(&whole), RemoteConfig::default()).await.expect("it is migrated");
    let all = tables(&whole);
    for dropped in
        ["cart_order", "cart_order, service_key, outbox_event, idempotency_key, order_line, orders"]
    {
        let database = new_database();
        connect(&url_of(&database), RemoteConfig::default()).await.expect("it is migrated");
        client(&database, &format!("DROP TABLE {dropped}; DELETE FROM lastunit_migration"));
        assert_unusable(connect(&url_of(&database), unmigrated()).await, "`lastunit migrate`");
        let bench = open(&url_of(&database), RemoteConfig::default(), Strategy::Batched).await;
        assert_eq!(tables(&database), all);
        let sku = bench.sku(500, 1).await;
        bench.buy(&bench.ask("ada").line(sku, 1)).await;
        bench.assert_holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_mustnt_be_migrated_is_refused_until_it_is_up_to_date() {
    let database = new_database();
    assert_unusable(connect(&url_of(&database), unmigrated()).await, "`lastunit migrate`");
    assert_eq!(tables(&database), "NULL", "nothing was created");
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
    assert_eq!(tables(&database), "orders");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cant_be_used_says_why() {
    let config = RemoteConfig::default;
    let url = url_of("lastunit");
    connect(&url.replace("mysql://", "mariadb://"), config()).await.expect("the same by another name");
    assert_unusable(connect(&format!("{url}?require_ssl=true"), config()).await, "TLS");
    assert_unusable(connect("mysql://lastunit@127.0.0.1:port/shop", config()).await, "address");
    assert_unusable(connect("postgres://127.0.0.1/shop", config()).await, "postgres");
    assert_unusable(connect("mysql://lastunit@127.0.0.1", config()).await, "no database");
    assert_unusable(connect(&url_of("nobody_made_this"), config()).await, "nobody_made_this");
    let stranger = url.replace("lastunit@", "stranger:secret@");
    assert_unusable(connect(&stranger, config()).await, "stranger");
    let unreachable = connect("mysql://lastunit@127.0.0.1:1/shop", config()).await;
    assert!(matches!(unreachable, Err(StoreError::Unavailable(_))), "{unreachable:?}");
}

/// The database compares texts by a language, and without the blanks at their end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_in_a_byte_is_different_in_any_language() {
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = new_database();
        client(&database, &format!("ALTER DATABASE {database} COLLATE utf8mb4_general_ci"));
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
            assert_eq!(bench.orders(user).await.len(), keys.len());
            bench.put(user, sku, 1, true).await;
        }
        let carts = bench.place_at_once(users.map(|user| bench.ask(user)).into()).await;
        assert!(carts.iter().all(|reply| matches!(reply.outcome, Outcome::Placed(_))), "{carts:?}");
        let codes = ["cafe", "Cafe", "café", "cafe ", "cafe\u{301}"];
        for code in codes {
            let sku = NewSku {
                code: code.into(),
                name: format!("{code} name 名 🛒"),
                price: lastunit_tests::amount(100),
                stock: 1,
                on_sale: true,
            };
            let new = NewProduct {
                handle: Some(code.into()),
                name: code.into(),
                description: String::new(),
                skus: vec![sku],
            };
            let created = bench.store.create_product(ShopId::FIRST, new, bench.uuid(), bench.now()).await;
            assert_eq!(created.expect("another code").skus[0].code.as_ref(), code);
            let found = bench.store.sku_by_code(ShopId::FIRST, code).await.expect("a read").expect("the SKU");
            assert_eq!(&*found.name, format!("{code} name 名 🛒"));
        }
        bench.assert_holds().await;
    }
}
