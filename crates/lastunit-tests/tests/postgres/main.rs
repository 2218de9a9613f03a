//! PostgreSQL: what it refuses to use, and what becomes of orders when the server, the connection or the standby fails.

mod connections;
mod failures;
mod pooler;
mod schema;
mod standby;
mod statements;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use lastunit::*;
use lastunit_store::{PostgresStore, RemoteConfig};
use lastunit_tests::{Bench, Fresh, servers::Postgres};

/// A shop on an empty database.
async fn open(url: &str, config: RemoteConfig, strategy: Strategy) -> Bench {
    let store = PostgresStore::connect(url, config).await.expect("a store");
    Bench::new(Fresh { stores: vec![Arc::new(store)], keep: Box::new(()) }, strategy).await
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

/// How many of a database's connections are Lastunit's and meet a condition on `pg_stat_activity`.
fn count(server: &Postgres, database: &str, condition: &str) -> usize {
    let sql = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE {}", ours(database, condition));
    server.client(&sql).parse().expect("a number")
}

/// The condition on `pg_stat_activity` that it is a connection of Lastunit's.
fn ours(database: &str, condition: &str) -> String {
    format!("datname = '{database}' AND application_name = 'lastunit' AND {condition}")
}

/// Somebody else's transaction, which holds a lock on every SKU until it is ended.
struct Holder<'a> {
    server: &'a Postgres,
    database: String,
    session: Option<JoinHandle<()>>,
}

impl<'a> Holder<'a> {
    async fn of_all_skus(server: &'static Postgres, database: &str) -> Holder<'a> {
        let name = database.to_owned();
        let session = std::thread::spawn(move || {
            let hold = "BEGIN; SELECT 1 FROM sku FOR UPDATE; SELECT pg_sleep(600)";
            // It ends with an error, when its connection is ended.
            std::panic::catch_unwind(|| server.client_of(&name, hold)).ok();
        });
        let holder = Holder { server, database: database.to_owned(), session: Some(session) };
        until("the lock is held", || holder.asks("COUNT(*)") == "1").await;
        holder
    }

    fn asks(&self, what: &str) -> String {
        self.server.client(&format!(
            "SELECT {what} FROM pg_stat_activity
             WHERE datname = '{}' AND application_name = 'psql' AND wait_event = 'PgSleep'",
            self.database
        ))
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        self.asks("pg_terminate_backend(pid)");
        if let Some(session) = self.session.take() {
            session.join().ok();
        }
    }
}
