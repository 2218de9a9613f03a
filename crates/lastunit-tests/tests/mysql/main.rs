//! MariaDB: what it refuses to use, what it sends, and what becomes of orders when the server or the connection fails.

mod connections;
mod failures;
mod locks;
mod schema;
mod statements;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lastunit::*;
use lastunit_store::{MySqlStore, RemoteConfig};
use lastunit_tests::{Bench, Fresh, servers::MariaDb};

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
    Bench::new(Fresh { stores, keep: Box::new(()) }, strategy).await
}

/// Waits until it is so, at most a minute.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: it never came to that");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An answer that comes within a minute, whatever it is.
async fn bounded<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), call).await.expect("an answer")
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
struct Holder<'a> {
    server: &'a MariaDb,
    database: String,
    session: Option<JoinHandle<()>>,
}

impl<'a> Holder<'a> {
    async fn of_all_skus(server: &'static MariaDb, database: &str) -> Holder<'a> {
        let name = database.to_owned();
        let session = std::thread::spawn(move || {
            let hold = "BEGIN; SELECT 1 FROM sku FOR UPDATE; SELECT SLEEP(600)";
            // It ends with an error, when its connection is ended.
            std::panic::catch_unwind(|| server.client_of(&name, hold)).ok();
        });
        let holder = Holder { server, database: database.to_owned(), session: Some(session) };
        until("it holds", || !holder.sleeping().is_empty()).await;
        holder
    }

    fn sleeping(&self) -> String {
        self.server.client(&format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}' AND state = 'User sleep'",
            self.database
        ))
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        self.server.client(&format!("KILL {}", self.sleeping()));
        if let Some(session) = self.session.take() {
            session.join().ok();
        }
    }
}
