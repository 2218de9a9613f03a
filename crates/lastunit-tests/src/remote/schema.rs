//! What a database has to be like. Each is a function of a database that is [`Empty`].

use std::sync::Arc;

use lastunit::*;
use lastunit_store::RemoteConfig;

use crate::{Bench, all_at_once};

/// An empty database for a test alone.
pub trait Empty: Send + Sync + 'static {
    /// The expression in SQL for the schema that tables are created in.
    const SCHEMA: &'static str;

    /// Connects a store to it.
    fn connect(&self, config: RemoteConfig) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Runs a statement in it: its rows, as the database's own client prints them.
    fn client(&self, sql: &str) -> String;

    /// The names of its tables, in their order.
    fn tables(&self) -> Vec<String> {
        let schema = Self::SCHEMA;
        let sql = format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = {schema} ORDER BY table_name"
        );
        self.client(&sql).lines().map(str::to_owned).collect()
    }
}

/// The database was refused, with a text that says this.
pub fn assert_unusable(result: Result<(), StoreError>, says: &str) {
    match result {
        Err(StoreError::Unusable(text)) => assert!(text.contains(says), "{says:?} is missing in {text:?}"),
        other => panic!("expected it to be unusable, not {other:?}"),
    }
}

/// A store that mustn't migrate.
pub fn unmigrated() -> RemoteConfig {
    RemoteConfig { migrate: false, ..RemoteConfig::default() }
}

/// Eight servers find the same empty database.
pub async fn servers_that_start_at_once_migrate_once(database: impl Empty) {
    let database = Arc::new(database);
    let connects = (0..8).map(|_| {
        let database = database.clone();
        async move { database.connect(RemoteConfig::default()).await }
    });
    for connected in all_at_once(connects).await {
        assert_eq!(connected, Ok(()));
    }
    let applied = database.client("SELECT version FROM lastunit_migration ORDER BY version");
    let once: Vec<_> = (1..=applied.lines().count()).map(|version| version.to_string()).collect();
    assert!(!once.is_empty());
    assert_eq!(applied.lines().collect::<Vec<_>>(), once);
}

/// Somebody else migrates it.
pub async fn a_schema_that_mustnt_be_migrated_is_refused_until_it_is_up_to_date(database: impl Empty) {
    assert_unusable(database.connect(unmigrated()).await, "`lastunit migrate`");
    assert!(database.tables().is_empty(), "something was created: {:?}", database.tables());
    database.connect(RemoteConfig::default()).await.expect("it is migrated");
    database.connect(unmigrated()).await.expect("it is up to date");
}

/// Its migrations aren't the program's.
pub async fn a_newer_or_altered_database_is_refused(database: impl Empty) {
    database.connect(RemoteConfig::default()).await.expect("it is migrated");
    database.client("INSERT INTO lastunit_migration VALUES (99, 'later', 'x')");
    assert_unusable(database.connect(RemoteConfig::default()).await, "schema version 99");
    database.client("DELETE FROM lastunit_migration WHERE version = 99");
    database.client("UPDATE lastunit_migration SET checksum = 'x'");
    assert_unusable(database.connect(RemoteConfig::default()).await, "migration 1 (initial)");
}

/// Another program uses the same database.
pub async fn another_programs_tables_are_left_alone(database: impl Empty) {
    database.client("CREATE TABLE product_review (id INT); INSERT INTO product_review VALUES (7)");
    database.connect(RemoteConfig::default()).await.expect("no name is the same");
    assert_eq!(database.client("SELECT id FROM product_review"), "7");
}

/// Another program's table has the name of one of Lastunit's.
pub async fn another_programs_table_of_the_same_name_is_refused_and_nothing_left_behind(
    database: &impl Empty,
) {
    database.client("CREATE TABLE orders (id INT)");
    assert_unusable(database.connect(RemoteConfig::default()).await, "\"orders\"");
    assert_eq!(database.tables(), ["orders"]);
}

/// Buyers that nearly have the same name each order under keys that are nearly the same, and then their carts.
pub async fn keys_and_buyers_that_differ_in_a_byte_are_different(bench: &Bench) {
    let sku = bench.sku(500, 1000).await;
    let users = ["ada", "Ada", "ADA", "ada ", "ada  ", "a da", "Bob", "bob"];
    let key = bench.name();
    let keys = [key.clone(), key.to_uppercase(), format!("{key} "), format!("{key}  "), format!(" {key}")];
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
}
