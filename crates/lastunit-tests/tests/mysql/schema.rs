//! What a database has to be like.

use lastunit::*;
use lastunit_store::{MySqlStore, RemoteConfig};
use lastunit_tests::{
    amount,
    remote::schema::{
        self, Empty, assert_unusable, keys_and_buyers_that_differ_in_a_byte_are_different, unmigrated,
    },
    servers::MariaDb,
};

use crate::open;

async fn connect(url: &str, config: RemoteConfig) -> Result<(), StoreError> {
    MySqlStore::connect(url, config).await.map(drop)
}

/// A database of the shared server, by its name.
struct Database(String);

impl Database {
    /// An empty one.
    fn new() -> Self {
        Self(MariaDb::shared().create_database())
    }

    fn url(&self) -> String {
        MariaDb::shared().url_of(&self.0)
    }
}

impl Empty for Database {
    const SCHEMA: &'static str = "DATABASE()";

    async fn connect(&self, config: RemoteConfig) -> Result<(), StoreError> {
        connect(&self.url(), config).await
    }

    fn client(&self, sql: &str) -> String {
        MariaDb::shared().client_of(&self.0, sql)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_migrate_once() {
    schema::servers_that_start_at_once_migrate_once(Database::new()).await;
}

/// Every statement of a migration commits by itself: whatever was left is taken up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_interrupted_is_finished() {
    let whole = Database::new();
    whole.connect(RemoteConfig::default()).await.expect("it is migrated");
    let all = whole.tables();
    for dropped in
        ["cart_order", "cart_order, service_key, outbox_event, idempotency_key, order_line, orders"]
    {
        let database = Database::new();
        database.connect(RemoteConfig::default()).await.expect("it is migrated");
        database.client(&format!("DROP TABLE {dropped}; DELETE FROM lastunit_migration"));
        assert_unusable(database.connect(unmigrated()).await, "`lastunit migrate`");
        let bench = open(&database.url(), RemoteConfig::default(), Strategy::Batched).await;
        assert_eq!(database.tables(), all);
        let sku = bench.sku(500, 1).await;
        bench.buy(&bench.ask("ada").line(sku, 1)).await;
        bench.assert_holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_mustnt_be_migrated_is_refused_until_it_is_up_to_date() {
    schema::a_schema_that_mustnt_be_migrated_is_refused_until_it_is_up_to_date(Database::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_or_altered_database_is_refused() {
    schema::a_newer_or_altered_database_is_refused(Database::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_tables_are_left_alone() {
    schema::another_programs_tables_are_left_alone(Database::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind() {
    let database = Database::new();
    schema::another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cant_be_used_says_why() {
    let config = RemoteConfig::default;
    let url = MariaDb::shared().url_of("lastunit");
    connect(&url.replace("mysql://", "mariadb://"), config()).await.expect("the same by another name");
    assert_unusable(connect(&format!("{url}?require_ssl=true"), config()).await, "TLS");
    assert_unusable(connect("mysql://lastunit@127.0.0.1:port/shop", config()).await, "address");
    assert_unusable(connect("postgres://127.0.0.1/shop", config()).await, "postgres");
    assert_unusable(connect("mysql://lastunit@127.0.0.1", config()).await, "no database");
    let missing = Database("nobody_made_this".into());
    assert_unusable(missing.connect(config()).await, "nobody_made_this");
    let stranger = url.replace("lastunit@", "stranger:secret@");
    assert_unusable(connect(&stranger, config()).await, "stranger");
    let unreachable = connect("mysql://lastunit@127.0.0.1:1/shop", config()).await;
    assert!(matches!(unreachable, Err(StoreError::Unavailable(_))), "{unreachable:?}");
}

/// The database compares texts by a language, and without the blanks at their end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_in_a_byte_is_different_in_any_language() {
    for strategy in [Strategy::Batched, Strategy::Pessimistic, Strategy::Optimistic] {
        let database = Database::new();
        database.client(&format!("ALTER DATABASE {} COLLATE utf8mb4_general_ci", database.0));
        let bench = open(&database.url(), RemoteConfig::default(), strategy).await;
        keys_and_buyers_that_differ_in_a_byte_are_different(&bench).await;
        let codes = ["cafe", "Cafe", "café", "cafe ", "cafe\u{301}"];
        for code in codes {
            let sku = NewSku {
                code: code.into(),
                name: format!("{code} name 名 🛒"),
                price: amount(100),
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
