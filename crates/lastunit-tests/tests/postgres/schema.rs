//! What a database has to be like.

use lastunit::*;
use lastunit_store::{PostgresStore, RemoteConfig};
use lastunit_tests::{
    remote::schema::{self, Empty, assert_unusable, keys_and_buyers_that_differ_in_a_byte_are_different},
    servers::Postgres,
};

use crate::open;

async fn connect(url: &str, config: RemoteConfig) -> Result<(), StoreError> {
    PostgresStore::connect(url, config).await.map(drop)
}

/// A database of the shared server, by its name.
struct Database(String);

impl Database {
    /// An empty one.
    fn new() -> Self {
        Self(Postgres::shared().create_database())
    }

    fn url(&self) -> String {
        Postgres::shared().url_of(&self.0)
    }
}

impl Empty for Database {
    const SCHEMA: &'static str = "current_schema()";

    async fn connect(&self, config: RemoteConfig) -> Result<(), StoreError> {
        connect(&self.url(), config).await
    }

    fn client(&self, sql: &str) -> String {
        Postgres::shared().client_of(&self.0, sql)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_migrate_once() {
    schema::servers_that_start_at_once_migrate_once(Database::new()).await;
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
async fn an_old_schema_is_refused_where_it_may_not_be_changed_and_else_brought_up_to_date() {
    let database = Database::new();
    database.connect(RemoteConfig::default()).await.expect("a new database");
    database.client(
        "ALTER TABLE order_line ADD FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id);
         ALTER TABLE cart_order ADD FOREIGN KEY (shop_id, order_id) REFERENCES orders (shop_id, id);
         DELETE FROM lastunit_migration WHERE version > 1",
    );
    assert_unusable(database.connect(schema::unmigrated()).await, "`lastunit migrate`");
    database.connect(RemoteConfig::default()).await.expect("it may be changed");
    database.connect(schema::unmigrated()).await.expect("it is up to date again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_tables_are_left_alone() {
    schema::another_programs_tables_are_left_alone(Database::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind() {
    let database = Database::new();
    schema::another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind(&database).await;
    // A schema of its own is enough.
    database.client("CREATE SCHEMA lastunit");
    let url = format!("{}?options=-csearch_path%3Dlastunit", database.url());
    connect(&url, RemoteConfig::default()).await.expect("the names are free there");
    assert_eq!(database.client("SELECT COUNT(*) FROM lastunit.orders"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cant_be_used_says_why() {
    let config = RemoteConfig::default;
    let url = Postgres::shared().url_of("postgres");
    assert_unusable(connect(&format!("{url}?sslmode=require"), config()).await, "TLS");
    assert_unusable(connect("postgres://lastunit@127.0.0.1:port/shop", config()).await, "address");
    assert_unusable(connect("postgres://", config()).await, "no host");
    let missing = Database("nobody_made_this".into());
    assert_unusable(missing.connect(config()).await, "nobody_made_this");
    let unreachable = connect("postgres://lastunit@127.0.0.1:1/shop", config()).await;
    assert!(matches!(unreachable, Err(StoreError::Unavailable(_))), "{unreachable:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cant_hold_every_name_is_refused() {
    let create = "CREATE DATABASE in_latin1 TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'";
    Postgres::shared().client(create);
    let database = Database("in_latin1".into());
    assert_unusable(database.connect(RemoteConfig::default()).await, "LATIN1");
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
        let bench = open(&Postgres::shared().url_of(&database), RemoteConfig::default(), strategy).await;
        keys_and_buyers_that_differ_in_a_byte_are_different(&bench).await;
        bench.assert_holds().await;
    }
}
