//! MariaDB: what it refuses to use, what it sends, and what becomes of orders when the server or the connection fails.

mod connections;
mod failures;
mod locks;
mod schema;
mod statements;

use std::{sync::Arc, time::Duration};

use lastunit::*;
use lastunit_store::{MySqlStore, RemoteConfig};
use lastunit_tests::{
    Bench,
    remote::{self, Holder},
    servers::MariaDb,
};

/// A shop on an empty database.
async fn open(url: &str, config: RemoteConfig, strategy: Strategy) -> Bench {
    open_servers(url, config, strategy, 1).await
}

/// The same, used by several servers.
async fn open_servers(url: &str, config: RemoteConfig, strategy: Strategy, servers: usize) -> Bench {
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..servers {
        stores.push(Arc::new(MySqlStore::connect(url, config.clone()).await.expect("a store")));
    }
    remote::shop(stores, strategy).await
}

/// The ids of the connections to a database that have a transaction which meets a condition on
/// `information_schema.innodb_trx`.
fn transactions(server: &MariaDb, database: &str, condition: &str) -> Vec<String> {
    // The server looks again only if nobody asked for a tenth of a second.
    std::thread::sleep(Duration::from_millis(150));
    let sql = format!(
        "SELECT p.id FROM information_schema.innodb_trx t
         JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
         WHERE p.db = '{database}' AND {condition}"
    );
    server.client(&sql).lines().map(str::to_owned).collect()
}

/// The condition on a transaction that it waits for somebody else's lock.
const WAITS: &str = "t.trx_state = 'LOCK WAIT'";

/// A number of the server's own statistics.
fn status(server: &MariaDb, name: &str) -> u64 {
    let sql =
        format!("SELECT variable_value FROM information_schema.global_status WHERE variable_name = '{name}'");
    server.client(&sql).parse().expect("a number")
}

/// Somebody else's transaction, which holds a lock on every SKU until it is ended.
async fn lock_all_skus(server: &'static MariaDb, database: &str) -> Holder {
    let name = database.to_owned();
    let hold =
        move || drop(server.client_of(&name, "BEGIN; SELECT 1 FROM sku FOR UPDATE; SELECT SLEEP(600)"));
    let sleeps = format!("db = '{database}' AND state = 'User sleep'");
    let holder = format!("SELECT id FROM information_schema.processlist WHERE {sleeps}");
    let id = move || server.client(&holder);
    let end = id.clone();
    Holder::start(hold, || !id().is_empty(), move || drop(server.client(&format!("KILL {}", end())))).await
}
